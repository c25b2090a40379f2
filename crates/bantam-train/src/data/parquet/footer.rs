//! A look through a file's footer before the library builds anything from it: the library makes room for as many
//! children as an element says it has, and follows them by recursion.
//!
//! Format: <https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift>, `FileMetaData`.

use super::thrift::{BINARY, BYTE, I32, LIST, STRUCT, Thrift};

/// Largest footer read, in bytes; the library's structures take up to some hundred times as much.
const FOOTER: usize = 16 << 20;
/// Columns, and the groups they stand in, that a file may have; how deep they may stand; bytes of a name.
const COLUMNS: usize = 1024;
const DEPTH: usize = 32;
const NAME: usize = 1024;

/// Whether the footer's schema is one to read; else what is wrong.
pub(super) fn check(bytes: &[u8]) -> Result<(), String> {
    let Some((rest, [a, b, c, d, magic @ ..])) = bytes.split_last_chunk::<8>() else {
        return Err(format!("a file of {} bytes has no footer", bytes.len()));
    };
    if magic != b"PAR1" {
        return Err("it does not end with PAR1".into());
    }
    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
    let footer = rest.len().checked_sub(length).and_then(|start| rest.get(start..));
    let footer = footer.ok_or_else(|| format!("a footer of {length} bytes in a file of {}", bytes.len()))?;
    if length > FOOTER {
        return Err(format!("a footer of {length} bytes; at most {FOOTER} are read"));
    }
    let mut found = false;
    Thrift::new(footer).fields(&mut |thrift, field, kind| match (field, kind) {
        (1, I32) => thrift.signed().map(|_| true),
        (2, LIST) => {
            found = true;
            schema(thrift).map(|()| true)
        }
        (1 | 2, _) => Err(format!("the footer's field {field} is of kind {kind}")),
        _ => Ok(false),
    })?;
    if found { Ok(()) } else { Err("the footer has no schema".into()) }
}

/// The schema's elements, each group before its children.
fn schema(thrift: &mut Thrift<'_>) -> Result<(), String> {
    let (kind, count) = thrift.list()?;
    if kind != STRUCT || count > COLUMNS {
        return Err(format!("a schema of {count} elements of kind {kind}; at most {COLUMNS} structures are read"));
    }
    // Children that are still to come of each group that is open.
    let mut open: Vec<usize> = Vec::new();
    for left in (0..count).rev() {
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(expected) = open.last_mut() {
            *expected -= 1;
        }
        let children = element(thrift)?;
        if children > left {
            return Err(format!("a group of {children} columns where {left} are left"));
        }
        if children > 0 {
            open.push(children);
        }
        if open.len() > DEPTH {
            return Err(format!("columns nested over {DEPTH} deep"));
        }
    }
    Ok(())
}

/// One element; how many children it has. Each field's kind is looked at, so that the library reads the same.
fn element(thrift: &mut Thrift<'_>) -> Result<usize, String> {
    let mut children = 0;
    thrift.fields(&mut |thrift, field, kind| {
        match (field, kind) {
            (5, I32) => children = thrift.count()?,
            (1..=3 | 6..=9, I32) => drop(thrift.signed()?),
            (4, BINARY) => {
                let length = thrift.binary()?.len();
                if length > NAME {
                    return Err(format!("a column's name of {length} bytes; at most {NAME} are read"));
                }
            }
            (10, STRUCT) => logical_type(thrift)?,
            (1..=10, _) => return Err(format!("a column's field {field} is of kind {kind}")),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok(children)
}

/// A column's meaning: one structure of numbers, truth values, names and units.
fn logical_type(thrift: &mut Thrift<'_>) -> Result<(), String> {
    thrift.fields(&mut |thrift, meaning, kind| {
        if kind != STRUCT {
            return Err(format!("a column's meaning {meaning} is of kind {kind}"));
        }
        thrift.fields(&mut |_, field, kind| match (meaning, field, kind) {
            // DECIMAL; TIME and TIMESTAMP; INTEGER; VARIANT; GEOMETRY and GEOGRAPHY.
            (5, 1 | 2, I32) | (7 | 8, 1, 1 | 2) | (7 | 8, 2, STRUCT) | (10, 1, BYTE) | (10, 2, 1 | 2) => Ok(false),
            (16, 1, BYTE) | (17 | 18, 1, BINARY) | (18, 2, I32) => Ok(false),
            _ => Err(format!("a column's meaning {meaning} has a field {field} of kind {kind}")),
        })?;
        Ok(true)
    })
}
