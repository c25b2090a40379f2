//! The rows of a data file, whatever form it has: lines of JSON, a list of JSON, CSV, Parquet.
//!
//! The form is told by the bytes, and by the file's ending only where bytes say nothing (CSV). A row that is damaged is given
//! as such, with its line, and reading goes on behind it where that is possible.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

use crate::TrainError;

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A JSON object a line (JSONL).
    Lines,
    /// One JSON list of objects.
    List,
    /// Values between commas or tabs, with a line of names.
    Csv {
        /// What stands between values.
        delimiter: u8,
    },
    /// Apache Parquet.
    Parquet,
}

impl Form {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Lines => "JSON lines",
            Self::List => "a JSON list",
            Self::Csv { delimiter: b'\t' } => "TSV",
            Self::Csv { .. } => "CSV",
            Self::Parquet => "Parquet",
        }
    }

    /// What its rows are told apart by: `line`, or `row` where they need not have lines of their own.
    pub fn place(self) -> &'static str {
        match self {
            Self::Lines | Self::Csv { .. } => "line",
            Self::List | Self::Parquet => "row",
        }
    }

    /// The form of a file: by its first bytes, and where these are no JSON's, by its ending.
    pub fn of(path: &Path, bytes: &[u8]) -> Self {
        if bytes.starts_with(b"PAR1") {
            return Self::Parquet;
        }
        let ending = path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("csv") => return Self::Csv { delimiter: b',' },
            Some("tsv" | "tab") => return Self::Csv { delimiter: b'\t' },
            _ => {}
        }
        let text = without_mark(bytes);
        let mut solid = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace());
        match (solid.next(), ending.as_deref()) {
            // A line of JSON may be a list too, and is refused as a line then: only a list of objects is one.
            (Some(b'['), Some("json")) => Self::List,
            (Some(b'['), _) if matches!(solid.next(), Some(b'{' | b']')) => Self::List,
            _ => Self::Lines,
        }
    }
}

/// One row.
#[derive(Debug)]
pub struct Row<'b> {
    /// The line it begins at, from 1; of a Parquet file the row.
    pub line: usize,
    /// Its own words, where a row is a line of JSON.
    pub text: Option<&'b str>,
    /// What it holds, or what is wrong with it.
    pub value: Result<Map<String, Value>, String>,
}

/// A file in memory.
#[derive(Clone, Debug)]
pub struct Rows {
    form: Form,
    bytes: Vec<u8>,
}

impl Rows {
    /// Reads a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(path: &Path) -> Result<Self, TrainError> {
        let bytes = std::fs::read(path)
            .map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
        Ok(Self::new(path, bytes))
    }

    /// The rows in the bytes of a file of that name.
    pub fn new(path: &Path, bytes: Vec<u8>) -> Self {
        Self { form: Form::of(path, &bytes), bytes }
    }

    /// How they are written.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Hands out each row in turn, until `take` fails.
    ///
    /// # Errors
    /// What `take` says.
    pub fn each<E>(&self, mut take: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        match self.form {
            Form::Lines => lines(&self.bytes, &mut take),
            Form::List => list(without_mark(&self.bytes), &mut take),
            Form::Csv { delimiter } => csv(without_mark(&self.bytes), delimiter, &mut take),
            Form::Parquet => parquet(&self.bytes, &mut take),
        }
    }
}

/// Some editors begin a file with a byte order mark.
fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes)
}

type Take<'t, E> = &'t mut dyn FnMut(Row<'_>) -> Result<(), E>;

fn object(value: Value) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(map) => Ok(map),
        _ => Err("expected an object".into()),
    }
}

fn lines<E>(bytes: &[u8], take: Take<'_, E>) -> Result<(), E> {
    for (number, line) in without_mark(bytes).split(|byte| *byte == b'\n').enumerate() {
        let parsed = std::str::from_utf8(line).map_err(|error| format!("no UTF-8: {error}"));
        let text = parsed.as_ref().ok().map(|text| text.trim_end_matches('\r'));
        if text.is_some_and(|text| text.trim().is_empty()) {
            continue;
        }
        let value = parsed.and_then(|text| {
            serde_json::from_str::<Value>(text)
                // Its own line is the only one.
                .map_err(|error| format!("no JSON: {}", error.to_string().replace(" at line 1 column ", " at column ")))
                .and_then(object)
        });
        take(Row { line: number + 1, text, value })?;
    }
    Ok(())
}

fn list<E>(bytes: &[u8], take: Take<'_, E>) -> Result<(), E> {
    let (mut at, mut line) = (0, 1);
    // Steps over white space and gives the byte behind it.
    let skip = |at: &mut usize, line: &mut usize| {
        while let Some(byte) = bytes.get(*at).filter(|byte| byte.is_ascii_whitespace()) {
            *line += usize::from(*byte == b'\n');
            *at += 1;
        }
        bytes.get(*at).copied()
    };
    let wrong = |line: usize, problem: &str| Row { line, text: None, value: Err(problem.into()) };
    skip(&mut at, &mut line);
    // The opening bracket, by which the form was told.
    at += 1;
    if skip(&mut at, &mut line) == Some(b']') {
        at += 1;
    } else {
        loop {
            if skip(&mut at, &mut line).is_none() {
                return take(wrong(line, "no JSON: the list ends without `]`"));
            }
            let mut values = serde_json::Deserializer::from_slice(&bytes[at..]).into_iter::<Value>();
            match values.next() {
                Some(Ok(value)) => {
                    take(Row { line, text: None, value: object(value) })?;
                    let end = (at + values.byte_offset()).min(bytes.len());
                    line += bytes[at..end].iter().filter(|byte| **byte == b'\n').count();
                    at = end;
                }
                Some(Err(error)) => {
                    let inside = error.line().saturating_sub(1);
                    let problem = error.to_string();
                    let problem = problem.split(" at line ").next().unwrap_or_default();
                    return take(wrong(line + inside, &format!("no JSON: {problem}; nothing behind it was read")));
                }
                None => return take(wrong(line, "no JSON: the list ends without `]`")),
            }
            match skip(&mut at, &mut line) {
                Some(b',') => at += 1,
                Some(b']') => {
                    at += 1;
                    break;
                }
                _ => return take(wrong(line, "no JSON: expected `,` or `]`; nothing behind it was read")),
            }
        }
    }
    match skip(&mut at, &mut line) {
        None => Ok(()),
        Some(_) => take(wrong(line, "no JSON: expected nothing behind the list's `]`")),
    }
}

/// Columns that hold more than text, written as JSON.
const STRUCTURED: [&str; 8] =
    ["messages", "conversations", "tools", "prompt", "completion", "chosen", "rejected", "history"];

fn csv<E>(bytes: &[u8], delimiter: u8, take: Take<'_, E>) -> Result<(), E> {
    let mut reader =
        csv::ReaderBuilder::new().delimiter(delimiter).has_headers(false).flexible(true).from_reader(bytes);
    let mut names: Option<Vec<String>> = None;
    let mut record = csv::ByteRecord::new();
    // The library's own count of lines is one behind where lines end with `\r\n`.
    let (mut counted, mut line) = (0, 1);
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => return Ok(()),
            // Reading bytes in memory fails in no way that can be gone on from.
            Err(error) => {
                return take(Row { line, text: None, value: Err(format!("no CSV: {error}")) });
            }
        }
        let start = record.position().map_or(counted, |position| position.byte() as usize).min(bytes.len());
        let begin = start + bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += bytes[counted.min(begin)..begin].iter().filter(|byte| **byte == b'\n').count();
        counted = begin;
        let fields: Result<Vec<Cow<'_, str>>, String> = record
            .iter()
            .map(|field| std::str::from_utf8(field).map(Cow::Borrowed).map_err(|error| format!("no UTF-8: {error}")))
            .collect();
        let value = match (&names, fields) {
            (None, Ok(fields)) => {
                let found: Vec<String> = fields.iter().map(|field| field.trim().to_owned()).collect();
                let twice = found.iter().enumerate().find(|(at, name)| found[..*at].contains(name));
                if let Some((_, name)) = twice {
                    let problem = format!("two columns are called `{name}`");
                    return take(Row { line, text: None, value: Err(problem) });
                }
                names = Some(found);
                continue;
            }
            (None, Err(problem)) => return take(Row { line, text: None, value: Err(problem) }),
            (Some(_), Err(problem)) => Err(problem),
            (Some(names), Ok(fields)) if names.len() != fields.len() => {
                Err(format!("expected {} values, one for each column, found {}", names.len(), fields.len()))
            }
            (Some(names), Ok(fields)) => Ok(names.iter().zip(&fields).map(|(name, field)| cell(name, field)).collect()),
        };
        take(Row { line, text: None, value })?;
    }
}

/// A cell: text, but for columns that hold lists, and a judgement.
fn cell(name: &str, field: &str) -> (String, Value) {
    let text = || Value::String(field.to_owned());
    let value = match name {
        "label" => match field.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Value::Bool(true),
            "false" | "0" => Value::Bool(false),
            _ => text(),
        },
        // An empty cell of a column that not every row uses.
        "tools" | "history" | "system" | "input" if field.trim().is_empty() => Value::Null,
        name if STRUCTURED.contains(&name) && field.trim_start().starts_with('[') => {
            serde_json::from_str(field).ok().filter(Value::is_array).unwrap_or_else(text)
        }
        _ => text(),
    };
    (name.to_owned(), value)
}

#[cfg(not(feature = "parquet"))]
fn parquet<E>(_: &[u8], take: Take<'_, E>) -> Result<(), E> {
    let problem = "this is a Parquet file, and this program was built without the feature `parquet`";
    take(Row { line: 1, text: None, value: Err(problem.into()) })
}

#[cfg(feature = "parquet")]
fn parquet<E>(bytes: &[u8], take: Take<'_, E>) -> Result<(), E> {
    super::parquet::each(bytes, take)
}
