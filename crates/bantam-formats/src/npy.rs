//! Writing `.npy`: a two-dimensional `f32` array for NumPy, row by row.
//!
//! Source: NumPy's format page (`numpy.lib.format`), version 1.0: magic, version, the length of a Python dictionary padded
//! so that the data begins at a multiple of 64 bytes, the dictionary, the numbers little-endian and row-major.

use std::io::Write;
use std::path::Path;

use crate::atomic::AtomicFile;
use crate::error::FormatError;

/// A `.npy` file being written; dropped before [`NpyWriter::finish`], it leaves nothing.
#[derive(Debug)]
pub struct NpyWriter {
    file: AtomicFile,
    rows_left: usize,
    width: usize,
}

impl NpyWriter {
    /// Begins a file of `rows` rows of `width` numbers.
    ///
    /// # Errors
    ///
    /// Where the file cannot be made or written.
    pub fn create(path: &Path, rows: usize, width: usize) -> Result<Self, FormatError> {
        let mut file = AtomicFile::create(path)?;
        file.write_all(&header(rows, width)).map_err(|error| FormatError::io("write", path, error))?;
        Ok(Self { file, rows_left: rows, width })
    }

    /// Appends whole rows: `values` is `[rows, width]`.
    ///
    /// # Errors
    ///
    /// Where `values` is no whole number of rows or more than announced, or the file cannot be written.
    pub fn write_rows(&mut self, values: &[f32]) -> Result<(), FormatError> {
        let rows = values.len().checked_div(self.width).unwrap_or(0);
        let refused =
            |problem: String| FormatError::unwritable(format!("rows of {}", self.file.path().display()), problem);
        if rows * self.width != values.len() {
            return Err(refused(format!("{} numbers are no whole rows of {}", values.len(), self.width)));
        }
        if rows > self.rows_left {
            return Err(refused(format!("{rows} given, {} still announced", self.rows_left)));
        }
        self.rows_left -= rows;
        let mut buffer = [0u8; 4096];
        for chunk in values.chunks(buffer.len() / 4) {
            for (to, value) in buffer.as_chunks_mut::<4>().0.iter_mut().zip(chunk) {
                *to = value.to_le_bytes();
            }
            let bytes = buffer.get(..chunk.len() * 4).unwrap_or(&[]);
            if let Err(error) = self.file.write_all(bytes) {
                return Err(FormatError::io("write", self.file.path(), error));
            }
        }
        Ok(())
    }

    /// Gives the file its name.
    ///
    /// # Errors
    ///
    /// Where rows are missing or the file cannot be written.
    pub fn finish(self) -> Result<(), FormatError> {
        if self.rows_left != 0 && self.width != 0 {
            return Err(FormatError::unwritable(
                self.file.path().display().to_string(),
                format!("{} rows were announced and not given", self.rows_left),
            ));
        }
        self.file.commit()
    }
}

fn header(rows: usize, width: usize) -> Vec<u8> {
    const BEFORE_DICTIONARY: usize = 10;
    let mut dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    let unpadded = BEFORE_DICTIONARY + dictionary.len() + 1;
    dictionary.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
    dictionary.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    // At most 64 + 2 × 20 digits long.
    header.extend((dictionary.len() as u16).to_le_bytes());
    header.extend_from_slice(dictionary.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_numpys() {
        // As `numpy.save` writes them (NumPy 2.4), see tools/goldens/gguf_values.py.
        fn check(rows: usize, width: usize, expected: &str) {
            let header = header(rows, width);
            assert_eq!(header.len() % 64, 0);
            assert!(header.starts_with(b"\x93NUMPY\x01\x00\x76\x00"));
            let text = String::from_utf8_lossy(&header[10..]).into_owned();
            assert_eq!(text.trim_end(), expected);
            assert!(text.ends_with('\n'));
        }
        check(3, 512, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 512), }");
        check(0, 7, "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 7), }");
    }
}
