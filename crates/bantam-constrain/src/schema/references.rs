//! `$ref`: within the document only. Each place that is referred to gets a name of its own among the definitions.

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::ConstraintError;

const DRAFTS: [(&str, bool); 5] = [
    ("json-schema.org/draft/2020-12/schema", false),
    ("json-schema.org/draft/2019-09/schema", true),
    ("json-schema.org/draft-07/schema", true),
    ("json-schema.org/draft-06/schema", true),
    ("json-schema.org/draft-04/schema", true),
];

/// The places that are referred to.
#[derive(Debug, Default)]
pub(super) struct References<'s> {
    /// The document's own address, if it has one.
    base: Option<&'s str>,
    /// A subschema that changes the base of references inside it.
    nested: bool,
    old: bool,
    /// Pointer to name.
    names: BTreeMap<String, String>,
    waiting: VecDeque<(String, String)>,
}

impl<'s> References<'s> {
    pub(super) fn new(root: &'s Value) -> Result<Self, ConstraintError> {
        let mut references = Self::default();
        let text = |key: &str| root.get(key).and_then(Value::as_str);
        references.base = text("$id").or_else(|| text("id")).map(|id| id.trim_end_matches('#'));
        if let Some(draft) = root.get("$schema") {
            let name = draft.as_str().unwrap_or_default().trim_end_matches('#');
            let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
            let known = DRAFTS.iter().find(|(known, _)| *known == name);
            references.old = match known {
                Some((_, old)) => *old,
                None => {
                    return Err(ConstraintError::Schema {
                        keyword: "$schema".to_owned(),
                        pointer: String::new(),
                        reason: format!("{draft} is none of the drafts 4, 6, 7, 2019-09 and 2020-12"),
                    });
                }
            };
        }
        references.nested = root.as_object().is_some_and(|root| root.values().any(|value| has_base(value, 0)));
        Ok(references)
    }

    pub(super) fn draft_before_2020(&self) -> bool {
        self.old
    }

    /// The name of what is referred to.
    pub(super) fn resolve(&mut self, root: &Value, reference: &str) -> Result<String, String> {
        if self.nested {
            return Err("a subschema has an \"$id\" of its own, and references by it are not followed".to_owned());
        }
        let (address, fragment) = reference.split_once('#').unwrap_or((reference, ""));
        if !address.is_empty() && self.base != Some(address) {
            return Err(format!("{reference:?} is outside the schema, and nothing is fetched"));
        }
        let fragment = unescape(fragment).ok_or_else(|| format!("{reference:?} is no reference"))?;
        let pointer = if fragment.is_empty() || fragment.starts_with('/') {
            fragment
        } else {
            let mut found = Vec::new();
            anchors(root, &fragment, String::new(), &mut found);
            match found.len() {
                1 => found.swap_remove(0),
                0 => return Err(format!("there is no anchor {fragment:?}")),
                _ => return Err(format!("there are several anchors {fragment:?}")),
            }
        };
        if root.pointer(&pointer).is_none() {
            return Err(format!("there is nothing at {reference:?}"));
        }
        if let Some(name) = self.names.get(&pointer) {
            return Ok(name.clone());
        }
        let name = format!("d{}", self.names.len());
        self.names.insert(pointer.clone(), name.clone());
        self.waiting.push_back((name.clone(), pointer));
        Ok(name)
    }

    /// A definition that is not written yet: its name and where it stands.
    pub(super) fn next(&mut self) -> Option<(String, String)> {
        self.waiting.pop_front()
    }
}

/// Whether a value has, somewhere, an `$id` that begins a document of its own. A property of that name is none, but looks
/// the same from here; it is an object, and an `$id` is a string.
fn has_base(value: &Value, depth: usize) -> bool {
    match value {
        Value::Object(object) => {
            depth < 200
                && (object.get("$id").is_some_and(|id| id.as_str().is_some_and(|id| !id.starts_with('#')))
                    || object.values().any(|value| has_base(value, depth + 1)))
        }
        Value::Array(items) => depth < 200 && items.iter().any(|value| has_base(value, depth + 1)),
        _ => false,
    }
}

/// The places with an anchor of this name.
fn anchors(value: &Value, name: &str, pointer: String, found: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            let is = |key: &str, text: &str| object.get(key).and_then(Value::as_str) == Some(text);
            let hash = format!("#{name}");
            if is("$anchor", name) || is("$dynamicAnchor", name) || is("$id", &hash) || is("id", &hash) {
                found.push(pointer.clone());
            }
            for (key, value) in object {
                let key = key.replace('~', "~0").replace('/', "~1");
                anchors(value, name, format!("{pointer}/{key}"), found);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                anchors(value, name, format!("{pointer}/{index}"), found);
            }
        }
        _ => {}
    }
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|byte| char::from(byte).to_digit(16));
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}
