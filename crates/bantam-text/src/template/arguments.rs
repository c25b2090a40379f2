//! The arguments of a call, taken one by one by position or name.

use super::meter::{Fallible, Meter};
use super::value::Value;

/// Evaluated arguments.
#[derive(Debug, Default)]
pub(super) struct Values {
    pub(super) positional: std::collections::VecDeque<Value>,
    pub(super) named: Vec<(String, Value)>,
}

impl Values {
    /// The next positional argument, or the one called `name`.
    pub(super) fn take(&mut self, name: &str) -> Option<Value> {
        self.positional.pop_front().or_else(|| self.take_named(name))
    }

    /// The argument called `name`.
    pub(super) fn take_named(&mut self, name: &str) -> Option<Value> {
        let at = self.named.iter().position(|(found, _)| found == name)?;
        Some(self.named.swap_remove(at).1)
    }

    pub(super) fn required(&mut self, name: &str, meter: &Meter) -> Fallible<Value> {
        self.take(name).ok_or_else(|| meter.error(format!("the argument '{name}' is missing")))
    }

    pub(super) fn text(&mut self, name: &str, meter: &mut Meter) -> Fallible<Option<String>> {
        match self.take(name) {
            None | Some(Value::None) => Ok(None),
            Some(Value::Text(text)) => {
                meter.allocate(text.len())?;
                Ok(Some(text.to_string()))
            }
            Some(other) => meter.fail(format!("the argument '{name}' must be a string, not {}", other.type_name())),
        }
    }

    pub(super) fn required_text(&mut self, name: &str, meter: &mut Meter) -> Fallible<String> {
        match self.text(name, meter)? {
            Some(text) => Ok(text),
            None => meter.fail(format!("the argument '{name}' is missing")),
        }
    }

    pub(super) fn integer(&mut self, name: &str, meter: &Meter) -> Fallible<Option<i64>> {
        match self.take(name) {
            None | Some(Value::None) => Ok(None),
            Some(value) => match value.as_integer() {
                Some(value) => Ok(Some(value)),
                None => meter.fail(format!("the argument '{name}' must be an integer, not {}", value.type_name())),
            },
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.take(name).is_some_and(|value| value.is_true())
    }

    /// Refuses what nothing took.
    pub(super) fn finish(&self, of: &str, meter: &Meter) -> Fallible<()> {
        if let Some((name, _)) = self.named.first() {
            return meter.fail(format!("{of} got an unexpected argument '{name}'"));
        }
        if self.positional.is_empty() { Ok(()) } else { meter.fail(format!("{of} got too many arguments")) }
    }
}
