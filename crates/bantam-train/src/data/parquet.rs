//! Rows of a Parquet file, through the library `parquet`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::rows::Row;

/// Hands out each row; what the library cannot read is one last row that says so.
pub(super) fn each<E>(bytes: &[u8], take: &mut dyn FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
    let wrong = |line: usize, problem: String| Row { line, text: None, value: Err(format!("no Parquet: {problem}")) };
    // The library checks what it reads, but files were found before that made it panic; here that is one more refusal.
    let guard = |line: usize, work: &mut dyn FnMut() -> Result<Option<Value>, String>| {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(format!("row {line} is damaged")))
    };
    let mut reader = None;
    let opened = guard(1, &mut || {
        let opened = SerializedFileReader::new(Bytes::copy_from_slice(bytes)).map_err(|error| error.to_string())?;
        reader = Some(opened);
        Ok(None)
    });
    let Some(reader) = reader.filter(|_| opened.is_ok()) else {
        return take(wrong(1, opened.err().unwrap_or_default()));
    };
    let mut rows = None;
    let begun = guard(1, &mut || {
        rows = Some(reader.get_row_iter(None).map_err(|error| error.to_string())?);
        Ok(None)
    });
    let Some(mut rows) = rows.filter(|_| begun.is_ok()) else {
        return take(wrong(1, begun.err().unwrap_or_default()));
    };
    for line in 1.. {
        let next = guard(line, &mut || match rows.next() {
            None => Ok(None),
            Some(Ok(row)) => Ok(Some(row.to_json_value())),
            Some(Err(error)) => Err(error.to_string()),
        });
        match next {
            Ok(None) => break,
            Ok(Some(Value::Object(map))) => take(Row { line, text: None, value: Ok(map) })?,
            Ok(Some(_)) => take(Row { line, text: None, value: Err("expected a row of columns".into()) })?,
            Err(problem) => return take(wrong(line, problem)),
        }
    }
    Ok(())
}
