//! Rows of a Parquet file, through the library `parquet`.
//!
//! The library trusts a file's counts: it makes room for what they say, and panics at some that contradict each other.
//! So the footer is looked through first, each page before it is unpacked and before it is decoded, and a panic is one
//! more refusal.

mod footer;
mod pages;
mod quiet;
mod thrift;

use bytes::Bytes;
use parquet::file::reader::FileReader;
use serde_json::Value;

use super::rows::Row;
use pages::CheckedFile;

/// Rows decoded at a time: a value may be a copy of the one before it and a little more, so this bounds what a small
/// file can grow to.
const BATCH: usize = 8;

/// Hands out each row; what the library cannot read is one last row that says so.
pub(super) fn each<E>(bytes: &[u8], take: &mut dyn FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
    let wrong = |line: usize, problem: String| Row { line, text: None, value: Err(format!("no Parquet: {problem}")) };
    let damaged = |line: usize| format!("row {line} is damaged");
    let opened = quiet::catch(|| {
        footer::check(bytes)?;
        CheckedFile::new(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())
    });
    let file = match opened.unwrap_or_else(|| Err(damaged(1))) {
        Ok(file) => file,
        Err(problem) => return take(wrong(1, problem)),
    };
    let begun = quiet::catch(|| file.get_row_iter(None).map_err(|error| error.to_string()));
    let mut rows = match begun.unwrap_or_else(|| Err(damaged(1))) {
        Ok(rows) => rows.with_batch_size(BATCH),
        Err(problem) => return take(wrong(1, problem)),
    };
    for line in 1.. {
        let next = quiet::catch(|| match rows.next() {
            None => Ok(None),
            Some(Ok(row)) => Ok(Some(row.to_json_value())),
            Some(Err(error)) => Err(error.to_string()),
        });
        match next.unwrap_or_else(|| Err(damaged(line))) {
            Ok(None) => break,
            Ok(Some(Value::Object(map))) => take(Row { line, text: None, value: Ok(map) })?,
            Ok(Some(_)) => take(Row { line, text: None, value: Err("expected a row of columns".into()) })?,
            Err(problem) => return take(wrong(line, problem)),
        }
    }
    Ok(())
}
