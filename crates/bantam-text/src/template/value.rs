//! The values a template computes with: Python's, as far as templates see them.
//!
//! Lists and dictionaries never change once built (transformers renders in Jinja's immutable sandbox), so sharing is
//! free and nothing can hold itself. Namespaces, cyclers and joiners, which do change, live in the renderer and are named by a
//! number.

use std::rc::Rc;

use super::meter::{DEEPEST_VALUE, Fallible, Meter};

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What is not there, with the name it was looked for by.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(Text),
    List(Rc<List>),
    Tuple(Rc<List>),
    Dict(Rc<Dict>),
    Namespace(usize),
    Cycler(usize),
    Joiner(usize),
    Macro(usize),
    Function(Function),
    Method(Rc<Method>),
    Loop(Rc<LoopState>),
}

/// Text. What is safe is MarkupSafe's `Markup`, which the filters `safe` and `escape` give: it escapes what is put into it.
#[derive(Debug, Clone)]
pub(super) struct Text {
    text: Rc<str>,
    pub(super) safe: bool,
}

impl std::ops::Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl<T: Into<Rc<str>>> From<T> for Text {
    fn from(text: T) -> Self {
        Self { text: text.into(), safe: false }
    }
}

#[derive(Debug)]
pub(super) struct List {
    pub(super) items: Vec<Value>,
    depth: u16,
    /// A generator in Python: it has no length, is always true, and is no JSON.
    pub(super) lazy: bool,
}

/// Entries in the order they came. Looked up one by one: dictionaries of chats are small, and large ones are paid for.
#[derive(Debug)]
pub(super) struct Dict {
    pub(super) entries: Vec<(Value, Value)>,
    depth: u16,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    Range,
    Dict,
    Namespace,
    Cycler,
    Joiner,
    RaiseException,
    StrftimeNow,
}

/// A method with the value it belongs to.
#[derive(Debug)]
pub(super) struct Method {
    pub(super) on: Value,
    pub(super) name: String,
}

/// The `loop` variable of one iteration.
#[derive(Debug)]
pub(super) struct LoopState {
    /// Which run of which loop this is.
    pub(super) id: usize,
    /// The loop's place among those that call themselves.
    pub(super) recursive: Option<usize>,
    pub(super) items: Rc<List>,
    pub(super) index: usize,
    pub(super) level: usize,
}

impl Value {
    pub(super) fn text(text: &str) -> Value {
        Value::Text(Text::from(text))
    }

    /// Text that is safe, or not.
    pub(super) fn marked(text: impl Into<Rc<str>>, safe: bool) -> Value {
        Value::Text(Text { text: text.into(), safe })
    }

    /// Whether it is text that is safe.
    pub(super) fn is_safe(&self) -> bool {
        matches!(self, Value::Text(text) if text.safe)
    }

    /// Itself, texts in it safe.
    pub(super) fn into_safe(self, meter: &mut Meter) -> Fallible<Value> {
        let all = |list: &List| {
            list.items
                .iter()
                .cloned()
                .map(|item| match item {
                    Value::Text(text) => Value::Text(Text { safe: true, ..text }),
                    other => other,
                })
                .collect()
        };
        Ok(match self {
            Value::Text(text) => Value::Text(Text { safe: true, ..text }),
            Value::List(list) => Value::list(all(&list), meter)?,
            Value::Tuple(list) => Value::tuple(all(&list), meter)?,
            other => other,
        })
    }

    /// What is a generator in Python.
    pub(super) fn generator(items: Vec<Value>, meter: &mut Meter) -> Fallible<Value> {
        meter.values(items.len())?;
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        check_depth(depth, meter)?;
        Ok(Value::List(Rc::new(List { items, depth, lazy: true })))
    }

    pub(super) fn undefined(name: &str) -> Value {
        Value::Undefined(Rc::from(crate::error::shorten(name, 80)))
    }

    pub(super) fn list(items: Vec<Value>, meter: &mut Meter) -> Fallible<Value> {
        Ok(Value::List(List::new(items, meter)?))
    }

    pub(super) fn tuple(items: Vec<Value>, meter: &mut Meter) -> Fallible<Value> {
        Ok(Value::Tuple(List::new(items, meter)?))
    }

    pub(super) fn dict(entries: Vec<(Value, Value)>, meter: &mut Meter) -> Fallible<Value> {
        meter.values(entries.len() * 2)?;
        let depth = entries.iter().map(|(key, value)| key.depth().max(value.depth())).max().unwrap_or(0) + 1;
        check_depth(depth, meter)?;
        Ok(Value::Dict(Rc::new(Dict { entries, depth })))
    }

    pub(super) fn depth(&self) -> u16 {
        match self {
            Value::List(list) | Value::Tuple(list) => list.depth,
            Value::Dict(dict) => dict.depth,
            Value::Method(method) => method.on.depth() + 1,
            Value::Loop(state) => state.items.depth + 1,
            _ => 0,
        }
    }

    /// Python's truth.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(value) => *value,
            Value::Integer(value) => *value != 0,
            Value::Float(value) => *value != 0.0,
            Value::Text(text) => !text.is_empty(),
            Value::List(list) | Value::Tuple(list) => list.lazy || !list.items.is_empty(),
            Value::Dict(dict) => !dict.entries.is_empty(),
            Value::Namespace(_) | Value::Cycler(_) | Value::Joiner(_) => true,
            Value::Macro(_) | Value::Function(_) | Value::Method(_) | Value::Loop(_) => true,
        }
    }

    /// The name of the type, as Python's messages give it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Integer(_) => "int",
            Value::Float(_) => "float",
            Value::Text(_) => "str",
            Value::List(list) if list.lazy => "generator",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::Namespace(_) => "namespace",
            Value::Cycler(_) => "Cycler",
            Value::Joiner(_) => "Joiner",
            Value::Macro(_) => "macro",
            Value::Function(_) => "function",
            Value::Method(_) => "method",
            Value::Loop(_) => "loop",
        }
    }

    pub(super) fn as_text(&self) -> Option<&str> {
        match self {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Integers and truth values, which count as 0 and 1.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(value) => Some(*value),
            Value::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    #[allow(clippy::cast_precision_loss)]
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(value) => Some(*value),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// A value from JSON. What comes from the caller is not paid for; the limits grow with its size instead.
    pub(super) fn from_json(json: &serde_json::Value, depth: u16, meter: &Meter) -> Fallible<Value> {
        use serde_json::Value as Json;
        check_depth(depth + 1, meter)?;
        Ok(match json {
            Json::Null => Value::None,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(value), _) => Value::Integer(value),
                (None, Some(value)) => Value::Float(value),
                (None, None) => return meter.fail(format!("the number {number} is too large")),
            },
            Json::String(text) => Value::text(text),
            Json::Array(items) => {
                let items: Vec<Value> =
                    items.iter().map(|item| Value::from_json(item, depth + 1, meter)).collect::<Fallible<_>>()?;
                let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
                Value::List(Rc::new(List { items, depth, lazy: false }))
            }
            Json::Object(entries) => {
                let entries: Vec<(Value, Value)> = entries
                    .iter()
                    .map(|(key, value)| Ok((Value::text(key), Value::from_json(value, depth + 1, meter)?)))
                    .collect::<Fallible<_>>()?;
                let depth = entries.iter().map(|(_, value)| value.depth()).max().unwrap_or(0) + 1;
                Value::Dict(Rc::new(Dict { entries, depth }))
            }
        })
    }
}

impl List {
    pub(super) fn new(items: Vec<Value>, meter: &mut Meter) -> Fallible<Rc<List>> {
        meter.values(items.len())?;
        let depth = items.iter().map(Value::depth).max().unwrap_or(0) + 1;
        check_depth(depth, meter)?;
        Ok(Rc::new(List { items, depth, lazy: false }))
    }
}

fn check_depth(depth: u16, meter: &Meter) -> Fallible<()> {
    if depth > DEEPEST_VALUE {
        return meter.fail(format!("lists and dictionaries nest deeper than {DEEPEST_VALUE}"));
    }
    Ok(())
}

/// White space as Python's `str.isspace` sees it.
pub(super) fn is_space(character: char) -> bool {
    character.is_whitespace() || ('\x1c'..='\x1f').contains(&character)
}
