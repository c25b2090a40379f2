//! Attributes, calls, and the filters that call others.

use std::rc::Rc;

use super::arguments::Values;
use super::checks::check;
use super::filters;
use super::meter::{Fallible, Meter};
use super::methods;
use super::operators::{equal, items};
use super::print;
use super::render::{RecursiveLoop, Renderer};
use super::value::{Function, LoopState, Method, Text, Value};
use crate::error::TextError;

/// Jinja's sandbox allows no longer range.
const LONGEST_RANGE: usize = 100_000;

impl Renderer<'_> {
    /// `value.name`: a method or attribute first, then an item.
    pub(super) fn attribute(&mut self, value: &Value, name: &str) -> Fallible<Value> {
        if name.starts_with("__") {
            return self.meter.fail(format!("access to attribute '{name}' is unsafe"));
        }
        if let Some(found) = self.own_attribute(value, name)? {
            return Ok(found);
        }
        match value {
            Value::Undefined(of) => self.meter.fail(format!("'{of}' is undefined")),
            Value::Dict(_) => filters::item(value, &Value::text(name), &mut self.meter),
            _ => Ok(Value::undefined(name)),
        }
    }

    /// `value[key]`: an item first, then a method or attribute.
    pub(super) fn item(&mut self, value: &Value, key: &Value) -> Fallible<Value> {
        let found = filters::item(value, key, &mut self.meter)?;
        if matches!(found, Value::Undefined(_))
            && let Value::Text(name) = key
            && !name.starts_with("__")
            && let Some(own) = self.own_attribute(value, name)?
        {
            return Ok(own);
        }
        Ok(found)
    }

    fn own_attribute(&mut self, value: &Value, name: &str) -> Fallible<Option<Value>> {
        Ok(match value {
            Value::Namespace(at) => self.namespaces.get(*at).and_then(|all| all.get(name)).cloned(),
            Value::Loop(state) => self.loop_attribute(state, name)?,
            Value::Cycler(at) if name == "current" => {
                self.cyclers.get(*at).and_then(|(items, next)| items.get(*next)).cloned()
            }
            Value::Cycler(_) if matches!(name, "next" | "reset") => {
                self.meter.allocate(64)?;
                Some(Value::Method(Rc::new(Method { on: value.clone(), name: name.to_owned() })))
            }
            Value::Macro(at) if name == "name" => {
                self.macros.get(*at).map(|closure| Value::text(&closure.definition.name))
            }
            value if methods::exists(value, name) => {
                self.meter.allocate(64)?;
                Some(Value::Method(Rc::new(Method { on: value.clone(), name: name.to_owned() })))
            }
            _ => None,
        })
    }

    fn loop_attribute(&mut self, state: &Rc<LoopState>, name: &str) -> Fallible<Option<Value>> {
        let count = |value: usize| Value::Integer(i64::try_from(value).unwrap_or(i64::MAX));
        let len = state.items.items.len();
        Ok(Some(match name {
            "index" => count(state.index + 1),
            "index0" => count(state.index),
            "revindex" => count(len - state.index),
            "revindex0" => count(len - state.index - 1),
            "first" => Value::Bool(state.index == 0),
            "last" => Value::Bool(state.index + 1 == len),
            "length" => count(len),
            "depth" => count(state.level + 1),
            "depth0" => count(state.level),
            "previtem" | "nextitem" => {
                let at = if name == "previtem" { state.index.checked_sub(1) } else { Some(state.index + 1) };
                let found = at.and_then(|at| state.items.items.get(at));
                found.cloned().unwrap_or_else(|| Value::undefined(name))
            }
            "cycle" | "changed" => {
                self.meter.allocate(64)?;
                Value::Method(Rc::new(Method { on: Value::Loop(Rc::clone(state)), name: name.to_owned() }))
            }
            _ => return Ok(None),
        }))
    }

    pub(super) fn call(&mut self, callee: &Value, mut values: Values) -> Fallible<Value> {
        self.meter.work(4)?;
        match callee {
            Value::Method(method) => match &method.on {
                Value::Loop(state) => self.loop_method(state, &method.name, values),
                Value::Cycler(at) => {
                    values.finish(&method.name, &self.meter)?;
                    let Some((items, next)) = self.cyclers.get_mut(*at) else {
                        return self.meter.fail("no such cycler");
                    };
                    if method.name == "reset" {
                        *next = 0;
                        return Ok(Value::None);
                    }
                    let found = items.get(*next).cloned().unwrap_or(Value::None);
                    *next = (*next + 1) % items.len().max(1);
                    Ok(found)
                }
                on => methods::call(on, &method.name, values, &mut self.meter),
            },
            Value::Macro(at) => self.call_macro(*at, values),
            Value::Joiner(at) => {
                values.finish("joiner", &self.meter)?;
                match self.joiners.get_mut(*at) {
                    Some((separator, true)) => Ok(separator.clone()),
                    Some((_, used)) => {
                        *used = true;
                        Ok(Value::text(""))
                    }
                    None => self.meter.fail("no such joiner"),
                }
            }
            Value::Loop(state) => {
                let Some(at) = state.recursive else { return self.meter.fail("the loop is not recursive") };
                let iterable = values.required("iterable", &self.meter)?;
                let RecursiveLoop { definition, scopes } = &self.recursive_loops[at];
                let definition = *definition;
                let outer_scopes = std::mem::replace(&mut self.scopes, scopes.clone());
                let outer = self.begin_capture();
                self.meter.enter()?;
                self.run_loop(definition, &iterable, Some(at), state.level + 1)?;
                self.meter.leave();
                self.scopes = outer_scopes;
                let text = self.end_capture(outer);
                Ok(Value::Text(Text::from(text)))
            }
            Value::Function(function) => self.function(*function, values),
            Value::Undefined(name) => self.meter.fail(format!("'{name}' is undefined")),
            other => self.meter.fail(format!("'{}' object is not callable", other.type_name())),
        }
    }

    fn loop_method(&mut self, state: &Rc<LoopState>, name: &str, values: Values) -> Fallible<Value> {
        if name == "cycle" {
            if values.positional.is_empty() {
                return self.meter.fail("no items for cycling given");
            }
            let at = state.index % values.positional.len();
            return Ok(values.positional[at].clone());
        }
        let now = Value::tuple(values.positional.into(), &mut self.meter)?;
        let same = match self.changed.get(&state.id) {
            Some(before) => equal(before, &now, &mut self.meter)?,
            None => false,
        };
        self.changed.insert(state.id, now);
        Ok(Value::Bool(!same))
    }

    fn call_macro(&mut self, at: usize, mut values: Values) -> Fallible<Value> {
        let Some(closure) = self.macros.get(at) else { return self.meter.fail("no such macro") };
        let definition = closure.definition;
        self.meter.allocate(closure.scopes.len() * 8 + 64)?;
        let outer_scopes = std::mem::replace(&mut self.scopes, closure.scopes.clone());
        let outer = self.begin_capture();
        let line = self.meter.line;
        self.meter.enter()?;
        self.push_scope()?;
        let caller = values.take_named("caller").unwrap_or_else(|| Value::undefined("caller"));
        self.set("caller", caller)?;
        for (name, default) in &definition.parameters {
            let value = match (values.take(name), default) {
                (Some(value), _) => value,
                (None, Some(default)) => self.expr(default)?,
                (None, None) => Value::undefined(name),
            };
            self.set(name, value)?;
        }
        let rest = Value::tuple(values.positional.into(), &mut self.meter)?;
        self.set("varargs", rest)?;
        let named = values.named.into_iter().map(|(name, value)| (Value::text(&name), value)).collect();
        let named = Value::dict(named, &mut self.meter)?;
        self.set("kwargs", named)?;
        self.body(&definition.body)?;
        self.meter.leave();
        self.meter.line = line;
        self.scopes = outer_scopes;
        let text = self.end_capture(outer);
        self.meter.allocate(text.len())?;
        Ok(Value::Text(Text::from(text)))
    }

    fn function(&mut self, function: Function, mut values: Values) -> Fallible<Value> {
        match function {
            Function::Range => self.range(values),
            Function::Dict | Function::Namespace => {
                let mut entries = Vec::new();
                if let Some(first) = values.positional.pop_front() {
                    match &first {
                        Value::Dict(dict) => {
                            self.meter.values(dict.entries.len() * 2)?;
                            entries = dict.entries.clone();
                        }
                        other => {
                            for pair in items(other, &mut self.meter)? {
                                match items(&pair, &mut self.meter)?.as_slice() {
                                    [key, value] => {
                                        insert(&mut entries, key.clone(), value.clone(), &mut self.meter)?;
                                    }
                                    _ => return self.meter.fail("pairs are needed to make a dict"),
                                }
                            }
                        }
                    }
                }
                for (name, value) in values.named {
                    insert(&mut entries, Value::text(&name), value, &mut self.meter)?;
                }
                if function == Function::Dict {
                    return Value::dict(entries, &mut self.meter);
                }
                self.meter.allocate(entries.len() * 96 + 64)?;
                let names = entries.into_iter().filter_map(|(key, value)| Some((key.as_text()?.to_owned(), value)));
                self.namespaces.push(names.collect());
                Ok(Value::Namespace(self.namespaces.len() - 1))
            }
            Function::Cycler => {
                if values.positional.is_empty() {
                    return self.meter.fail("at least one item has to be provided");
                }
                self.meter.values(values.positional.len() + 2)?;
                self.cyclers.push((std::mem::take(&mut values.positional).into(), 0));
                values.finish("cycler", &self.meter)?;
                Ok(Value::Cycler(self.cyclers.len() - 1))
            }
            Function::Joiner => {
                let separator = values.take("sep").unwrap_or_else(|| Value::text(", "));
                values.finish("joiner", &self.meter)?;
                self.meter.values(3)?;
                self.joiners.push((separator, false));
                Ok(Value::Joiner(self.joiners.len() - 1))
            }
            Function::RaiseException => {
                let message = values.take("message").unwrap_or_else(|| Value::text(""));
                let message = print::text(&message, &mut self.meter)?;
                Err(TextError::TemplateRefused(crate::error::shorten(&message, 500)))
            }
            Function::StrftimeNow => {
                let format = values.required_text("format", &mut self.meter)?;
                Ok(Value::Text(Text::from(self.now.format(&format, &mut self.meter)?)))
            }
        }
    }

    fn range(&mut self, values: Values) -> Fallible<Value> {
        let numbers: Option<Vec<i64>> = values.positional.iter().map(Value::as_integer).collect();
        let (start, stop, step) = match numbers.as_deref() {
            Some([stop]) => (0, *stop, 1),
            Some([start, stop]) => (*start, *stop, 1),
            Some([start, stop, step]) if *step != 0 => (*start, *stop, *step),
            _ => return self.meter.fail("range needs one to three integers, the third not zero"),
        };
        let distance = if step > 0 { stop.checked_sub(start) } else { start.checked_sub(stop) };
        let count = match (distance, step.checked_abs()) {
            (Some(distance), Some(step)) if distance > 0 => (distance - 1) / step + 1,
            (Some(_), Some(_)) => 0,
            _ => i64::MAX,
        };
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if count > LONGEST_RANGE {
            return self.meter.fail(format!("Range too big. The sandbox blocks ranges larger than {LONGEST_RANGE}."));
        }
        self.meter.values(count)?;
        let mut numbers = Vec::with_capacity(count);
        let mut at = start;
        for _ in 0..count {
            numbers.push(Value::Integer(at));
            at = at.saturating_add(step);
        }
        Value::list(numbers, &mut self.meter)
    }

    /// A filter; those that take the name of another filter or test are here, the others in `filters.rs`.
    pub(super) fn filter(&mut self, name: &str, value: &Value, mut values: Values) -> Fallible<Value> {
        self.meter.work(4)?;
        match name {
            // Jinja2 looks at the items only of what is true, so that none gives none of them.
            "map" | "select" | "reject" | "selectattr" | "rejectattr" if !value.is_true() => {
                Value::generator(Vec::new(), &mut self.meter)
            }
            "map" => {
                let all = items(value, &mut self.meter)?;
                let mut mapped = Vec::with_capacity(all.len());
                if let Some(path) = values.take_named("attribute") {
                    let default = values.take_named("default");
                    for item in all {
                        let mut found = filters::attribute(&item, &path, &mut self.meter)?;
                        if let (Value::Undefined(_), Some(default)) = (&found, &default) {
                            found = default.clone();
                        }
                        mapped.push(found);
                    }
                } else {
                    let filter = values.required_text("filter", &mut self.meter)?;
                    for item in all {
                        let values = Values { positional: values.positional.clone(), named: values.named.clone() };
                        mapped.push(self.filter(&filter, &item, values)?);
                    }
                }
                Value::generator(mapped, &mut self.meter)
            }
            "select" | "reject" | "selectattr" | "rejectattr" => {
                let path = if name.ends_with("attr") { Some(values.required("attribute", &self.meter)?) } else { None };
                let test = values.text("test", &mut self.meter)?;
                let mut kept = Vec::new();
                for item in items(value, &mut self.meter)? {
                    let subject = match &path {
                        Some(path) => filters::attribute(&item, path, &mut self.meter)?,
                        None => item.clone(),
                    };
                    let holds = match &test {
                        Some(test) => {
                            let values = Values { positional: values.positional.clone(), named: values.named.clone() };
                            check(test, &subject, values, &mut self.meter)?
                        }
                        None => subject.is_true(),
                    };
                    if holds == name.starts_with("select") {
                        kept.push(item);
                    }
                }
                Value::generator(kept, &mut self.meter)
            }
            _ => filters::apply(name, value, values, &mut self.meter),
        }
    }
}

/// Sets `key`, in its old place if it has one.
pub(super) fn insert(entries: &mut Vec<(Value, Value)>, key: Value, value: Value, meter: &mut Meter) -> Fallible<()> {
    for (found, old) in entries.iter_mut() {
        if equal(found, &key, meter)? {
            *old = value;
            return Ok(());
        }
    }
    meter.values(2)?;
    entries.push((key, value));
    Ok(())
}
