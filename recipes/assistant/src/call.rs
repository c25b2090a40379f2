//! A call for a tool, as chat models write it.

use anyhow::{Context, bail};
use serde_json::Value;

/// `{"name": …, "arguments": {…}}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Call {
    /// The intent.
    pub name: String,
    /// Slots in the order of their first words, each with its values in the order of the words.
    pub arguments: Vec<(String, Vec<String>)>,
}

impl Call {
    /// A call of this name with no arguments yet.
    pub fn named(name: &str) -> Self {
        Self { name: name.to_owned(), arguments: Vec::new() }
    }

    /// Adds a value to a slot.
    pub fn add(&mut self, slot: &str, value: &str) {
        match self.arguments.iter_mut().find(|(name, _)| name == slot) {
            Some((_, values)) => values.push(value.to_owned()),
            None => self.arguments.push((slot.to_owned(), vec![value.to_owned()])),
        }
    }

    /// Slot and value, one pair for every value.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.arguments.iter().flat_map(|(slot, values)| values.iter().map(move |value| (slot.as_str(), value.as_str())))
    }

    /// The call on one line, with a space behind `:` and `,`. A slot of one value has a string, one of several a list.
    pub fn json(&self) -> String {
        let text = |text: &str| Value::from(text).to_string();
        let slots: Vec<String> = self
            .arguments
            .iter()
            .map(|(slot, values)| {
                let values: Vec<String> = values.iter().map(|value| text(value)).collect();
                match &values[..] {
                    [only] => format!("{}: {only}", text(slot)),
                    several => format!("{}: [{}]", text(slot), several.join(", ")),
                }
            })
            .collect();
        format!("{{\"name\": {}, \"arguments\": {{{}}}}}", text(&self.name), slots.join(", "))
    }

    /// Reads a call.
    ///
    /// # Errors
    /// A sentence that says what of a call is missing or of the wrong type.
    pub fn parse(json: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(json).context("not JSON")?;
        let object = value.as_object().context("expected an object")?;
        if let Some(key) = object.keys().find(|key| !["name", "arguments"].contains(&key.as_str())) {
            bail!("expected name and arguments, found {key:?}");
        }
        let mut call = Self::named(object.get("name").and_then(Value::as_str).context("name: expected a string")?);
        let arguments = object.get("arguments").and_then(Value::as_object).context("arguments: expected an object")?;
        for (slot, value) in arguments {
            let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
            for value in values {
                let value =
                    value.as_str().with_context(|| format!("{slot}: expected a string or a list of strings"))?;
                call.add(slot, value);
            }
        }
        Ok(call)
    }
}
