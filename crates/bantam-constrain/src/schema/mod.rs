//! JSON schemas: every keyword is understood, known to say nothing of the instance, or refused by name.
//!
//! llguidance compiles a good part of JSON Schema and lets some of the rest pass: keywords of other drafts, `prefixItems`
//! beside `additionalItems`, bounds and constants that a double cannot hold, names that an escape could spell a second time,
//! dates like 30 February. So a schema is read here first and written anew with nothing but what llguidance honours exactly;
//! what it would approximate is made narrower (an answer still fulfils the schema) or refused. References are resolved on
//! the way: whatever is referred to becomes an entry of `$defs`, and what nobody refers to is left out.
//!
//! Sources: JSON Schema drafts 4, 6, 7, 2019-09 and 2020-12, <https://json-schema.org/specification-links>.

mod formats;
mod keywords;
mod literals;
mod numbers;
mod objects;
mod pattern;
mod references;

use serde_json::{Map, Value, json};

use crate::ConstraintError;
use keywords::Meaning;
pub(crate) use pattern::{check_groups, escape, parse as parse_expression};
use references::References;

/// Most subschemas that are read, a referred one counted once.
const MOST_SCHEMAS: usize = 20_000;
/// Most parts that are tried one by one to find the one to blame.
const MOST_PARTS: usize = 100;
/// White space between the parts of an answer: a blank, or one or two newlines with up to 20 blanks or tabs. More would let
/// a model that is not sure go on with white space for ever.
const WHITE_SPACE: &str = r"\x20|\x0A{1,2}[\x20\x09]{0,20}";

/// A schema that llguidance honours exactly.
#[derive(Debug)]
pub(crate) struct Rewritten {
    /// The whole schema.
    pub(crate) schema: Value,
    /// Keywords that may turn out to be impossible, each as a schema of its own.
    pub(crate) parts: Vec<Part>,
    /// What it says that no answer is held to.
    pub(crate) notes: Vec<String>,
}

/// One keyword's share of a schema.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) keyword: String,
    pub(crate) pointer: String,
    pub(crate) schema: Value,
}

/// Reads a schema and writes it anew.
pub(crate) fn rewrite(schema: &Value) -> Result<Rewritten, ConstraintError> {
    let mut writer = Writer { root: schema, references: References::new(schema)?, ..Writer::new(schema) };
    let written = writer.schema(schema, "", 0)?;
    // Each definition may refer to more of them.
    let mut definitions = Map::new();
    while let Some((name, pointer)) = writer.references.next() {
        let target = writer.root.pointer(&pointer).cloned().unwrap_or(Value::Bool(true));
        let written = writer.schema(&target, &pointer, 0)?;
        definitions.insert(name, written);
    }
    let definitions = Value::Object(definitions);
    let parts = writer.parts.into_iter().map(|part| Part { schema: with(part.schema, &definitions), ..part });
    Ok(Rewritten { parts: parts.collect(), schema: alone(&with(written, &definitions)), notes: writer.notes })
}

/// A schema with definitions to refer to.
fn with(schema: Value, definitions: &Value) -> Value {
    let mut schema = object(schema);
    if definitions.as_object().is_some_and(|definitions| !definitions.is_empty()) {
        schema.insert("$defs".to_owned(), definitions.clone());
    }
    Value::Object(schema)
}

/// A schema with the settings that llguidance is to compile it with. Without `u` among the escapes every string has one
/// spelling, so that a name that is taken cannot come again in disguise.
pub(crate) fn alone(schema: &Value) -> Value {
    let mut schema = object(schema.clone());
    let settings = json!({ "whitespace_pattern": WHITE_SPACE, "json_allowed_escapes": "nrbtf\\\"" });
    schema.insert("x-guidance".to_owned(), settings);
    Value::Object(schema)
}

fn object(schema: Value) -> Map<String, Value> {
    match schema {
        Value::Object(object) => object,
        // `true` is the empty schema; `false` is one that nothing fulfils.
        Value::Bool(false) => Map::from_iter([("type".to_owned(), json!([]))]),
        _ => Map::new(),
    }
}

struct Writer<'s> {
    root: &'s Value,
    references: References<'s>,
    parts: Vec<Part>,
    notes: Vec<String>,
    /// Subschemas read.
    read: usize,
    /// Least common multiple of all `multipleOf`, as a decimal.
    multiple: numbers::Multiple,
}

/// One schema while it is written.
struct Place<'a> {
    pointer: &'a str,
    source: &'a Map<String, Value>,
    out: Map<String, Value>,
    /// What is to hold beside it.
    all_of: Vec<Value>,
    depth: usize,
}

impl<'s> Writer<'s> {
    fn new(root: &'s Value) -> Self {
        let references = References::default();
        let multiple = numbers::Multiple::default();
        Self { root, references, parts: Vec::new(), notes: Vec::new(), read: 0, multiple }
    }

    /// Writes one schema anew.
    fn schema(&mut self, schema: &Value, pointer: &str, depth: usize) -> Result<Value, ConstraintError> {
        self.read += 1;
        if self.read > MOST_SCHEMAS {
            return Err(ConstraintError::BadSchema(format!("it has more than {MOST_SCHEMAS} subschemas")));
        }
        if depth > 100 {
            return Err(ConstraintError::BadSchema("its subschemas nest deeper than 100".to_owned()));
        }
        let source = match schema {
            Value::Bool(_) => return Ok(schema.clone()),
            Value::Object(source) => source,
            other => {
                let place = if pointer.is_empty() { "at its top" } else { pointer };
                let found = literals::kind(other);
                let reason = format!("{place}, an object, true or false was expected, found {found}");
                return Err(ConstraintError::BadSchema(reason));
            }
        };
        let mut place = Place { pointer, source, out: Map::new(), all_of: Vec::new(), depth };
        for (keyword, value) in source {
            self.keyword(&mut place, keyword, value)?;
        }
        objects::finish(&mut place)?;
        if let Some(keyword) = ["minProperties", "maxProperties"].into_iter().find(|name| place.out.contains_key(*name))
        {
            self.part(&place, keyword, Value::Object(place.out.clone()));
        }
        if !place.all_of.is_empty() {
            let all = place.out.entry("allOf").or_insert_with(|| json!([]));
            if let Value::Array(all) = all {
                all.append(&mut place.all_of);
            }
        }
        Ok(Value::Object(place.out))
    }

    /// Writes one keyword anew.
    fn keyword(&mut self, place: &mut Place<'_>, keyword: &str, value: &Value) -> Result<(), ConstraintError> {
        match keywords::meaning(keyword) {
            Meaning::Nothing => Ok(()),
            Meaning::Unknown => {
                let spot = if place.pointer.is_empty() { "its top" } else { place.pointer };
                self.notes.push(format!(
                    "the schema's \"{keyword}\" at {spot} is no keyword of JSON Schema: no answer is held to it"
                ));
                Ok(())
            }
            Meaning::Refused(harmless, reason) => {
                if harmless(place.source, value) {
                    Ok(())
                } else {
                    Err(place.refuse(keyword, reason))
                }
            }
            Meaning::Honoured(write) => write(self, place, keyword, value),
        }
    }

    /// Remembers a keyword that only the compiler can judge.
    fn part(&mut self, place: &Place<'_>, keyword: &str, schema: Value) {
        if self.parts.len() < MOST_PARTS {
            self.parts.push(Part { keyword: keyword.to_owned(), pointer: place.pointer.to_owned(), schema });
        }
    }

    /// Writes a subschema anew.
    fn sub(&mut self, place: &Place<'_>, path: &[&str], schema: &Value) -> Result<Value, ConstraintError> {
        let mut pointer = place.pointer.to_owned();
        for token in path {
            pointer.push('/');
            pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
        }
        self.schema(schema, &pointer, place.depth + 1)
    }
}

impl Place<'_> {
    fn refuse(&self, keyword: &str, reason: impl Into<String>) -> ConstraintError {
        let (keyword, pointer) = (keyword.to_owned(), self.pointer.to_owned());
        ConstraintError::Schema { keyword, pointer, reason: reason.into() }
    }

    fn expected(&self, keyword: &str, expected: &str, found: &Value) -> ConstraintError {
        self.refuse(keyword, format!("{expected} was expected, found {}", literals::kind(found)))
    }

    fn put(&mut self, keyword: &str, value: Value) {
        self.out.insert(keyword.to_owned(), value);
    }
}
