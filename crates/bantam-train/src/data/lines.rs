//! A data file to examples, or to comparisons.

use std::path::{Path, PathBuf};

use bantam_runtime::Fingerprint;

use super::comparison::{Compared, Comparison};
use super::record::{Record, Shape};
use super::rows::Rows;
use super::{Encoder, Example};
use crate::TrainError;

/// The examples of one file.
#[derive(Clone, Debug)]
pub struct DataFile<T = Example> {
    /// Where it lies.
    pub path: PathBuf,
    /// In the order of lines.
    pub examples: Vec<T>,
    /// Examples left out because they were too long and the user said so.
    pub skipped: usize,
}

/// How many lines an error names.
const NAMED: usize = 10;

/// Reads a file (JSON lines, a JSON list, CSV, TSV or Parquet; rows of any shape of [`Shape`] that says answers) and encodes
/// every example. One that is longer than `limit` tokens is refused, all of them at once by their lines; or left out and
/// counted, where `skip_long`.
///
/// # Errors
/// A line that is no such example, by its number; examples too long; a file without any.
pub fn read(path: &Path, encoder: &Encoder<'_>, limit: usize, skip_long: bool) -> Result<DataFile, TrainError> {
    gather(
        path,
        limit,
        skip_long,
        |record, line| {
            let mut examples = encoder.encode(record, limit)?;
            examples.iter_mut().for_each(|example| example.line = line);
            Ok(examples)
        },
        |example| example.tokens.len(),
    )
}

/// Reads a file of answers that are compared, as [`read`] does.
///
/// # Errors
/// As [`read`]; answers that are there to be learned and not to be compared.
pub fn read_comparisons(
    path: &Path,
    encoder: &Encoder<'_>,
    wanted: Compared,
    limit: usize,
    skip_long: bool,
) -> Result<DataFile<Comparison>, TrainError> {
    gather(
        path,
        limit,
        skip_long,
        |record, line| {
            let made = encoder.compare(record, wanted, limit)?;
            Ok(made.into_iter().map(|comparison| comparison.at_line(line)).collect())
        },
        |comparison| comparison.answers().map(|example| example.tokens.len()).max().unwrap_or(0),
    )
}

fn gather<T>(
    path: &Path,
    limit: usize,
    skip_long: bool,
    make: impl Fn(&Record, usize) -> Result<Vec<T>, String>,
    length: impl Fn(&T) -> usize,
) -> Result<DataFile<T>, TrainError> {
    let mut file = DataFile { path: path.to_owned(), examples: Vec::new(), skipped: 0 };
    let mut long = Vec::new();
    let rows = Rows::read(path)?;
    let place = rows.form().place();
    let mut number = 0;
    rows.each(|row| -> Result<(), TrainError> {
        let line = row.line;
        number += 1;
        // All rows of a list may stand in one line.
        let here = if place == "line" { line } else { number };
        let encode = || {
            let row = row.value?;
            let record = Record::of(Shape::of(&row)?, &row)?;
            make(&record, here)
        };
        let made = encode().map_err(|problem| TrainError::Line { path: path.to_owned(), line, problem })?;
        for example in made {
            let tokens = length(&example);
            if tokens > limit {
                long.push((here, tokens));
            } else {
                file.examples.push(example);
            }
        }
        Ok(())
    })?;
    if !long.is_empty() && !skip_long {
        let named: Vec<String> =
            long.iter().take(NAMED).map(|(line, tokens)| format!("{place} {line} ({tokens})")).collect();
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
