//! Walks the tree and writes the prompt.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::rc::Rc;

use super::arguments::Values;
use super::ast::{Arguments, Comparison, Expr, ForLoop, Macro, Postfix, Statement, StatementKind, Target};
use super::calls::insert;
use super::checks::check;
use super::meter::{Fallible, Meter};
use super::operators::{self, arithmetic, contains, equal, items, order};
use super::print;
use super::time::Moment;
use super::value::{List, LoopState, Text, Value};

pub(super) type Variables<'t> = Rc<RefCell<HashMap<&'t str, Value>>>;

/// What a template writes, and the bytes of it that it marks as the model's own; none where that cannot be told.
pub(super) type Rendered = (String, Option<Vec<Range<usize>>>);

pub(super) enum Flow {
    Normal,
    Break,
    Continue,
}

/// A macro with the variables it sees.
pub(super) struct Closure<'t> {
    pub(super) definition: &'t Macro,
    pub(super) scopes: Vec<Variables<'t>>,
}

pub(super) struct RecursiveLoop<'t> {
    pub(super) definition: &'t ForLoop,
    pub(super) scopes: Vec<Variables<'t>>,
}

/// One rendering.
pub(super) struct Renderer<'t> {
    pub(super) globals: HashMap<String, Value>,
    pub(super) scopes: Vec<Variables<'t>>,
    pub(super) namespaces: Vec<HashMap<String, Value>>,
    /// Items of each cycler, and which of them comes next.
    pub(super) cyclers: Vec<(Vec<Value>, usize)>,
    /// What each joiner writes, and whether it was called.
    pub(super) joiners: Vec<(Value, bool)>,
    pub(super) macros: Vec<Closure<'t>>,
    pub(super) recursive_loops: Vec<RecursiveLoop<'t>>,
    /// What `loop.changed` saw last, by run of a loop.
    pub(super) changed: HashMap<usize, Value>,
    pub(super) loops: usize,
    pub(super) out: String,
    /// Where in `out` the model's own words stand, in bytes; none any more once such words went elsewhere first.
    pub(super) generated: Option<Vec<Range<usize>>>,
    /// How many captures `out` is in.
    pub(super) captures: usize,
    pub(super) meter: Meter,
    pub(super) now: Moment,
}

impl<'t> Renderer<'t> {
    pub(super) fn new(globals: HashMap<String, Value>, meter: Meter, now: Moment) -> Renderer<'t> {
        Renderer {
            globals,
            scopes: vec![Variables::default()],
            namespaces: Vec::new(),
            cyclers: Vec::new(),
            joiners: Vec::new(),
            macros: Vec::new(),
            recursive_loops: Vec::new(),
            changed: HashMap::new(),
            loops: 0,
            out: String::new(),
            generated: Some(Vec::new()),
            captures: 0,
            meter,
            now,
        }
    }

    /// Renders a whole template; with where the model's own words stand, if that can be told.
    pub(super) fn render(mut self, body: &'t [Statement]) -> Fallible<Rendered> {
        self.body(body)?;
        Ok((self.out, self.generated))
    }

    pub(super) fn body(&mut self, body: &'t [Statement]) -> Fallible<Flow> {
        for statement in body {
            if statement.line > 0 {
                self.meter.line = statement.line;
            }
            self.meter.enter()?;
            let flow = self.statement(&statement.kind)?;
            self.meter.leave();
            if !matches!(flow, Flow::Normal) {
                return Ok(flow);
            }
        }
        Ok(Flow::Normal)
    }

    fn statement(&mut self, kind: &'t StatementKind) -> Fallible<Flow> {
        match kind {
            StatementKind::Text(text) => {
                self.meter.allocate(text.len())?;
                self.out.push_str(text);
            }
            StatementKind::Output(expr) => {
                let value = self.expr(expr)?;
                print::write_text(&value, &mut self.out, &mut self.meter)?;
            }
            StatementKind::If { branches, otherwise } => {
                for (test, body) in branches {
                    if self.expr(test)?.is_true() {
                        return self.body(body);
                    }
                }
                return self.body(otherwise);
            }
            StatementKind::For(definition) => self.for_loop(definition)?,
            StatementKind::Set(target, expr) => {
                let value = self.expr(expr)?;
                self.assign(target, value)?;
            }
            StatementKind::SetBlock { target, filters, body } => {
                let text = self.capture(body)?;
                let value = self.filtered(Value::Text(Text::from(text)), filters)?;
                self.assign(target, value)?;
            }
            StatementKind::Macro(definition) => {
                let value = self.closure(definition)?;
                self.set(&definition.name, value)?;
            }
            StatementKind::Call { call, body } => {
                let caller = self.closure(body)?;
                let Expr::Postfix(base, steps) = call else { return self.meter.fail("expected a call") };
                let Some((Postfix::Call(arguments), before)) = steps.split_last() else {
                    return self.meter.fail("expected a call");
                };
                let callee = self.postfixes(base, before)?;
                let mut values = self.arguments(arguments)?;
                values.named.push(("caller".to_owned(), caller));
                let value = self.call(&callee, values)?;
                print::write_text(&value, &mut self.out, &mut self.meter)?;
            }
            StatementKind::Filter { filters, body } => {
                let text = self.capture(body)?;
                let value = self.filtered(Value::Text(Text::from(text)), filters)?;
                print::write_text(&value, &mut self.out, &mut self.meter)?;
            }
            StatementKind::With { assignments, body } => {
                let mut values = Vec::with_capacity(assignments.len());
                for (target, expr) in assignments {
                    values.push((target, self.expr(expr)?));
                }
                self.push_scope()?;
                for (target, value) in values {
                    self.assign(target, value)?;
                }
                let flow = self.body(body)?;
                self.scopes.pop();
                return Ok(flow);
            }
            StatementKind::Scope(body) => {
                self.push_scope()?;
                let flow = self.body(body)?;
                self.scopes.pop();
                return Ok(flow);
            }
            StatementKind::Generation(body) => {
                let start = self.out.len();
                self.push_scope()?;
                let flow = self.body(body)?;
                self.scopes.pop();
                self.meter.allocate(size_of::<Range<usize>>())?;
                match &mut self.generated {
                    Some(spans) if self.captures == 0 => spans.push(start..self.out.len()),
                    // What is captured may be changed before it is written, or never be.
                    generated => *generated = None,
                }
                return Ok(flow);
            }
            StatementKind::Evaluate(expr) => {
                self.expr(expr)?;
            }
            StatementKind::Break => return Ok(Flow::Break),
            StatementKind::Continue => return Ok(Flow::Continue),
        }
        Ok(Flow::Normal)
    }

    pub(super) fn push_scope(&mut self) -> Fallible<()> {
        self.meter.allocate(96)?;
        self.scopes.push(Variables::default());
        Ok(())
    }

    /// What is written from here on goes elsewhere; gives what was written before.
    pub(super) fn begin_capture(&mut self) -> String {
        self.captures += 1;
        std::mem::take(&mut self.out)
    }

    /// What was written meanwhile.
    pub(super) fn end_capture(&mut self, outer: String) -> String {
        self.captures = self.captures.saturating_sub(1);
        std::mem::replace(&mut self.out, outer)
    }

    /// What a body writes, with variables of its own.
    fn capture(&mut self, body: &'t [Statement]) -> Fallible<String> {
        let outer = self.begin_capture();
        self.push_scope()?;
        self.body(body)?;
        self.scopes.pop();
        Ok(self.end_capture(outer))
    }

    fn closure(&mut self, definition: &'t Macro) -> Fallible<Value> {
        self.meter.allocate(self.scopes.len() * 8 + 64)?;
        self.macros.push(Closure { definition, scopes: self.scopes.clone() });
        Ok(Value::Macro(self.macros.len() - 1))
    }

    pub(super) fn set(&mut self, name: &'t str, value: Value) -> Fallible<()> {
        let Some(scope) = self.scopes.last() else { return Ok(()) };
        let before = scope.borrow_mut().insert(name, value);
        if before.is_none() { self.meter.allocate(96) } else { Ok(()) }
    }

    fn assign(&mut self, target: &'t Target, value: Value) -> Fallible<()> {
        match target {
            Target::Name(name) => self.set(name, value),
            Target::Tuple(targets) => {
                let values = items(&value, &mut self.meter)?;
                if values.len() != targets.len() {
                    let (expected, found) = (targets.len(), values.len());
                    return self.meter.fail(format!("cannot unpack {found} values into {expected} variables"));
                }
                targets.iter().zip(values).try_for_each(|(target, value)| self.assign(target, value))
            }
            Target::Attribute(name, attribute) => {
                let Value::Namespace(at) = self.name(name) else {
                    return self.meter.fail("cannot assign attribute on non-namespace object");
                };
                self.meter.allocate(attribute.len() + 64)?;
                if let Some(namespace) = self.namespaces.get_mut(at) {
                    namespace.insert(attribute.clone(), value);
                }
                Ok(())
            }
        }
    }

    fn name(&self, name: &str) -> Value {
        for scope in self.scopes.iter().rev() {
            if let Some(value) = scope.borrow().get(name) {
                return value.clone();
            }
        }
        self.globals.get(name).cloned().unwrap_or_else(|| Value::undefined(name))
    }

    fn for_loop(&mut self, definition: &'t ForLoop) -> Fallible<()> {
        let iterable = self.expr(&definition.iterable)?;
        let recursive = if definition.recursive {
            self.meter.allocate(self.scopes.len() * 8 + 64)?;
            self.recursive_loops.push(RecursiveLoop { definition, scopes: self.scopes.clone() });
            Some(self.recursive_loops.len() - 1)
        } else {
            None
        };
        self.run_loop(definition, &iterable, recursive, 0)
    }

    pub(super) fn run_loop(
        &mut self,
        definition: &'t ForLoop,
        iterable: &Value,
        recursive: Option<usize>,
        level: usize,
    ) -> Fallible<()> {
        let mut values = items(iterable, &mut self.meter)?;
        if let Some(condition) = &definition.condition {
            let mut kept = Vec::with_capacity(values.len());
            for value in values {
                self.push_scope()?;
                self.assign(&definition.target, value.clone())?;
                if self.expr(condition)?.is_true() {
                    kept.push(value);
                }
                self.scopes.pop();
            }
            values = kept;
        }
        if values.is_empty() {
            self.push_scope()?;
            self.body(&definition.otherwise)?;
            self.scopes.pop();
            return Ok(());
        }
        let values = List::new(values, &mut self.meter)?;
        self.loops += 1;
        let id = self.loops;
        for index in 0..values.items.len() {
            self.push_scope()?;
            self.assign(&definition.target, values.items[index].clone())?;
            let state = LoopState { id, recursive, items: Rc::clone(&values), index, level };
            self.set("loop", Value::Loop(Rc::new(state)))?;
            let flow = self.body(&definition.body)?;
            self.scopes.pop();
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(())
    }

    pub(super) fn expr(&mut self, expr: &'t Expr) -> Fallible<Value> {
        self.meter.enter()?;
        let value = self.expr_inside(expr)?;
        self.meter.leave();
        Ok(value)
    }

    fn expr_inside(&mut self, expr: &'t Expr) -> Fallible<Value> {
        Ok(match expr {
            Expr::None => Value::None,
            Expr::Bool(value) => Value::Bool(*value),
            Expr::Integer(value) => Value::Integer(*value),
            Expr::Float(value) => Value::Float(*value),
            Expr::Text(text) => {
                self.meter.allocate(text.len())?;
                Value::text(text)
            }
            Expr::Name(name) => {
                self.meter.work(self.scopes.len() / 8)?;
                self.name(name)
            }
            Expr::List(list) => {
                let values = self.all(list)?;
                Value::list(values, &mut self.meter)?
            }
            Expr::Tuple(list) => {
                let values = self.all(list)?;
                Value::tuple(values, &mut self.meter)?
            }
            Expr::Dict(entries) => self.dict(entries)?,
            Expr::Arithmetic(first, rest) => {
                let mut value = self.expr(first)?;
                for (operator, right) in rest {
                    let right = self.expr(right)?;
                    value = arithmetic(*operator, &value, &right, &mut self.meter)?;
                }
                value
            }
            Expr::Concat(parts) => {
                let mut text = String::new();
                for part in parts {
                    let value = self.expr(part)?;
                    print::write_text(&value, &mut text, &mut self.meter)?;
                }
                self.meter.allocate(text.len())?;
                Value::Text(Text::from(text))
            }
            Expr::Compare(first, rest) => self.compare(first, rest)?,
            Expr::And(parts) => self.either(parts, false)?,
            Expr::Or(parts) => self.either(parts, true)?,
            Expr::Not(inner, count) => Value::Bool(self.expr(inner)?.is_true() == count.is_multiple_of(2)),
            Expr::Sign(inner, signs) => self.sign(inner, signs)?,
            Expr::If { test, yes, no } => {
                if self.expr(test)?.is_true() {
                    self.expr(yes)?
                } else {
                    match no {
                        Some(no) => self.expr(no)?,
                        None => Value::undefined("the inline if-expression"),
                    }
                }
            }
            Expr::Postfix(base, steps) => self.postfixes(base, steps)?,
        })
    }

    fn all(&mut self, list: &'t [Expr]) -> Fallible<Vec<Value>> {
        list.iter().map(|item| self.expr(item)).collect()
    }

    fn dict(&mut self, parts: &'t [(Expr, Expr)]) -> Fallible<Value> {
        let mut entries: Vec<(Value, Value)> = Vec::with_capacity(parts.len());
        for (key, value) in parts {
            let (key, value) = (self.expr(key)?, self.expr(value)?);
            if matches!(key, Value::List(_) | Value::Dict(_)) {
                return self.meter.fail(format!("unhashable type: '{}'", key.type_name()));
            }
            insert(&mut entries, key, value, &mut self.meter)?;
        }
        Value::dict(entries, &mut self.meter)
    }

    fn compare(&mut self, first: &'t Expr, rest: &'t [(Comparison, Expr)]) -> Fallible<Value> {
        let mut left = self.expr(first)?;
        for (comparison, right) in rest {
            let right = self.expr(right)?;
            let meter = &mut self.meter;
            let holds = match comparison {
                Comparison::Equal => equal(&left, &right, meter)?,
                Comparison::NotEqual => !equal(&left, &right, meter)?,
                Comparison::Less => order(&left, &right, meter)?.is_lt(),
                Comparison::LessEqual => order(&left, &right, meter)?.is_le(),
                Comparison::Greater => order(&left, &right, meter)?.is_gt(),
                Comparison::GreaterEqual => order(&left, &right, meter)?.is_ge(),
                Comparison::In => contains(&right, &left, meter)?,
                Comparison::NotIn => !contains(&right, &left, meter)?,
            };
            if !holds {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    /// The first operand that is true (`or`) or false (`and`), else the last.
    fn either(&mut self, parts: &'t [Expr], wanted: bool) -> Fallible<Value> {
        let mut value = Value::None;
        for part in parts {
            value = self.expr(part)?;
            if value.is_true() == wanted {
                break;
            }
        }
        Ok(value)
    }

    fn sign(&mut self, inner: &'t Expr, signs: &[bool]) -> Fallible<Value> {
        let value = self.expr(inner)?;
        let negative = signs.iter().filter(|minus| **minus).count() % 2 == 1;
        match &value {
            Value::Float(float) => Ok(Value::Float(if negative { -float } else { *float })),
            other => match other.as_integer() {
                Some(integer) if negative => match integer.checked_neg() {
                    Some(integer) => Ok(Value::Integer(integer)),
                    None => self.meter.fail("the negated number is too large"),
                },
                Some(integer) => Ok(Value::Integer(integer)),
                None => self.meter.fail(format!("bad operand type for unary -: '{}'", other.type_name())),
            },
        }
    }

    fn postfixes(&mut self, base: &'t Expr, steps: &'t [Postfix]) -> Fallible<Value> {
        let mut value = self.expr(base)?;
        for step in steps {
            self.meter.work(1)?;
            value = match step {
                Postfix::Attribute(name) => self.attribute(&value, name)?,
                Postfix::Item(key) => {
                    let key = self.expr(key)?;
                    self.item(&value, &key)?
                }
                Postfix::Slice(bounds) => self.slice(&value, bounds)?,
                Postfix::Call(arguments) => {
                    let values = self.arguments(arguments)?;
                    self.call(&value, values)?
                }
                Postfix::Filter(name, arguments) => {
                    let values = self.arguments(arguments)?;
                    self.filter(name, &value, values)?
                }
                Postfix::Test { name, negated, arguments } => {
                    let values = self.arguments(arguments)?;
                    Value::Bool(check(name, &value, values, &mut self.meter)? != *negated)
                }
            };
        }
        Ok(value)
    }

    fn slice(&mut self, value: &Value, bounds: &'t [Option<Expr>; 3]) -> Fallible<Value> {
        let mut numbers = [None; 3];
        for (number, bound) in numbers.iter_mut().zip(bounds) {
            let Some(bound) = bound else { continue };
            *number = match self.expr(bound)? {
                Value::None => None,
                other => match other.as_integer() {
                    Some(number) => Some(number),
                    None => return self.meter.fail("slice indices must be integers or None"),
                },
            };
        }
        operators::slice(value, numbers, &mut self.meter)
    }

    fn filtered(&mut self, mut value: Value, filters: &'t [Postfix]) -> Fallible<Value> {
        for filter in filters {
            if let Postfix::Filter(name, arguments) = filter {
                let values = self.arguments(arguments)?;
                value = self.filter(name, &value, values)?;
            }
        }
        Ok(value)
    }

    fn arguments(&mut self, arguments: &'t Arguments) -> Fallible<Values> {
        let mut values = Values::default();
        for expr in &arguments.positional {
            let value = self.expr(expr)?;
            values.positional.push_back(value);
        }
        if let Some(star) = &arguments.star {
            let star = self.expr(star)?;
            values.positional.extend(items(&star, &mut self.meter)?);
        }
        for (name, expr) in &arguments.named {
            let value = self.expr(expr)?;
            values.named.push((name.clone(), value));
        }
        if let Some(star) = &arguments.double_star {
            let star = self.expr(star)?;
            let Value::Dict(dict) = &star else { return self.meter.fail("argument after ** must be a mapping") };
            self.meter.values(dict.entries.len() * 2)?;
            for (key, value) in &dict.entries {
                if let Some(key) = key.as_text() {
                    values.named.push((key.to_owned(), value.clone()));
                }
            }
        }
        Ok(values)
    }
}
