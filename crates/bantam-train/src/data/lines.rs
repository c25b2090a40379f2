//! The lines of a data file: which kind each is, told by its keys.

use std::path::{Path, PathBuf};

use bantam_runtime::Fingerprint;
use bantam_text::Tokenizer;
use serde_json::{Map, Value};

use super::{Encoder, Example};
use crate::TrainError;

/// What a line holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// `messages`: a conversation, with `tools` where there are some.
    Messages,
    /// `prompt` and `completion`.
    Completion,
    /// `text`: all of it is to be said.
    Text,
}

impl LineKind {
    /// The kind of a line by its keys.
    fn of(line: &Map<String, Value>) -> Result<Self, String> {
        let has = |key: &str| line.contains_key(key);
        match (has("messages"), has("prompt") || has("completion"), has("text")) {
            (true, false, false) => Ok(Self::Messages),
            (false, true, false) if has("prompt") && has("completion") => Ok(Self::Completion),
            (false, true, false) => Err("expected both `prompt` and `completion`".into()),
            (false, false, true) => Ok(Self::Text),
            (false, false, false) => {
                let keys: Vec<&str> = line.keys().take(6).map(String::as_str).collect();
                Err(format!("expected `messages`, `prompt` and `completion`, or `text`; found {}", list(&keys)))
            }
            _ => Err("`messages`, `prompt`/`completion` and `text` exclude each other".into()),
        }
    }
}

fn list(keys: &[&str]) -> String {
    if keys.is_empty() {
        "no keys".into()
    } else {
        keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ")
    }
}

/// The examples of one file.
#[derive(Clone, Debug, Default)]
pub struct DataFile {
    /// Where it lies.
    pub path: PathBuf,
    /// In the order of lines.
    pub examples: Vec<Example>,
    /// Lines left out because they were too long and the user said so.
    pub skipped: usize,
}

/// How many lines an error names.
const NAMED: usize = 10;

/// Reads a file of lines of JSON and encodes every example. One that is longer than `limit` tokens is refused, all of them at
/// once by their lines; or left out and counted, where `skip_long`.
///
/// # Errors
/// A line that is no such example, by its number; examples too long; a file without any.
pub fn read(path: &Path, encoder: &Encoder<'_>, limit: usize, skip_long: bool) -> Result<DataFile, TrainError> {
    let bytes =
        std::fs::read(path).map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })?;
    let wrong = |line: usize, problem: String| TrainError::Line { path: path.to_owned(), line: line + 1, problem };
    let mut file = DataFile { path: path.to_owned(), ..DataFile::default() };
    let mut long = Vec::new();
    for (number, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        let line = std::str::from_utf8(line).map_err(|error| wrong(number, format!("no UTF-8: {error}")))?;
        // Some editors begin a file so.
        let line = if number == 0 { line.trim_start_matches('\u{feff}') } else { line };
        if line.trim().is_empty() {
            continue;
        }
        let value: Value = serde_json::from_str(line).map_err(|error| {
            // Its own line is the only one.
            let error = error.to_string().replace(" at line 1 column ", " at column ");
            wrong(number, format!("no JSON: {error}"))
        })?;
        let Value::Object(map) = value else { return Err(wrong(number, "expected an object".into())) };
        let kind = LineKind::of(&map).map_err(|problem| wrong(number, problem))?;
        let made = encoder.encode(kind, &map).map_err(|problem| wrong(number, problem))?;
        for mut example in made {
            example.line = number + 1;
            if example.tokens.len() > limit {
                long.push((number + 1, example.tokens.len()));
            } else {
                file.examples.push(example);
            }
        }
    }
    if !long.is_empty() && !skip_long {
        let named: Vec<String> =
            long.iter().take(NAMED).map(|(line, tokens)| format!("line {line} ({tokens})")).collect();
        let more = if long.len() > NAMED { format!(" and {} more", long.len() - NAMED) } else { String::new() };
        return Err(TrainError::TooLong {
            path: path.to_owned(),
            count: long.len(),
            of: long.len() + file.examples.len(),
            limit,
            lines: named.join(", ") + &more,
            advice: "raise --max-length, shorten them, or leave them out with --skip-long",
        });
    }
    file.skipped = long.len();
    if file.examples.is_empty() {
        return Err(TrainError::Empty { path: path.to_owned() });
    }
    Ok(file)
}

/// Of every token and of what is to be learned, list by list: runs on the same examples agree on it, whatever file, template and
/// options these came from.
pub fn fingerprint(lists: &[&[Example]]) -> Fingerprint {
    let mut all = Fingerprint::default();
    for list in lists {
        all.add(&(list.len() as u64).to_le_bytes());
        for example in *list {
            all.add(&(example.tokens.len() as u64).to_le_bytes());
            example.tokens.iter().for_each(|token| all.add(&u64::from(*token).to_le_bytes()));
            example.said.iter().for_each(|said| all.add(&[u8::from(*said)]));
        }
    }
    all
}

/// The tokens a raw text begins with.
pub(super) fn begin(tokenizer: &Tokenizer) -> Vec<u32> {
    tokenizer.prefix_ids().to_vec()
}
