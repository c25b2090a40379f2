//! Arguments that stand as bare text, with the types their schemas give.

use serde_json::Value;

use super::{Tool, json, python};

/// How deep a schema's references and choices are followed.
const DEEPEST: usize = 8;

/// The types a schema allows, as far as it says.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Types {
    null: bool,
    boolean: bool,
    number: bool,
    object: bool,
    array: bool,
    string: bool,
}

impl Types {
    fn collect(&mut self, schema: &Value, root: &Value, depth: usize) {
        if depth == DEEPEST {
            return;
        }
        match schema.get("type") {
            Some(Value::String(kind)) => self.add(kind),
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).for_each(|kind| self.add(kind)),
            _ => {}
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            for inner in schema.get(choice).and_then(Value::as_array).into_iter().flatten() {
                self.collect(inner, root, depth + 1);
            }
        }
        if let Some(inner) =
            schema.get("$ref").and_then(Value::as_str).and_then(|path| root.pointer(path.strip_prefix('#')?))
        {
            self.collect(inner, root, depth + 1);
        }
        if *self == Self::default() {
            let constants =
                schema.get("enum").and_then(Value::as_array).into_iter().flatten().chain(schema.get("const"));
            for constant in constants {
                match constant {
                    Value::Null => self.null = true,
                    Value::Bool(_) => self.boolean = true,
                    Value::Number(_) => self.number = true,
                    Value::String(_) => self.string = true,
                    Value::Array(_) => self.array = true,
                    Value::Object(_) => self.object = true,
                }
            }
        }
    }

    fn add(&mut self, kind: &str) {
        match kind.to_ascii_lowercase().as_str() {
            "null" => self.null = true,
            "boolean" | "bool" => self.boolean = true,
            "number" | "integer" | "int" | "float" => self.number = true,
            "object" | "dict" => self.object = true,
            "array" | "list" => self.array = true,
            "string" | "str" => self.string = true,
            _ => {}
        }
    }
}

/// The JSON of an argument that was written as bare text. Text that is none of the types allowed is a string.
pub(super) fn typed(tool: Option<&Tool>, key: &str, text: &str) -> String {
    let mut types = Types::default();
    if let Some(root) = tool.and_then(|tool| tool.parameters.as_ref())
        && let Some(schema) = root.get("properties").and_then(|properties| properties.get(key))
    {
        types.collect(schema, root, 0);
    }
    let plain = text.trim();
    let fits = |value: &str| match value.chars().next() {
        Some('{') => types.object,
        Some('[') => types.array,
        Some('t' | 'f') => types.boolean,
        Some('n') => types.null,
        Some('-' | '0'..='9') => types.number,
        _ => false,
    };
    if fits(plain) && json::is_value(plain) {
        return json::escaped(plain).into_owned();
    }
    match python::literal(plain) {
        Some(value) if fits(&value) => value,
        _ => json::quoted(text),
    }
}
