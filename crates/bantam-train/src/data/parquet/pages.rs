//! The library's readers, with each page looked at before it is unpacked and before it is decoded: the library makes
//! room for as many bytes and values as a page says it has.

use bytes::Bytes;
use parquet::basic::{Encoding, Type as Physical};
use parquet::bloom_filter::Sbbf;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::schema::types::{ColumnDescPtr, Type};

use super::thrift::{I32, STRUCT, Thrift};

/// Values that a row group's columns of lists may have beyond what their bytes hold: a run of repetitions of any
/// length takes a few bytes. Shared among the columns, as all of a row's values are in memory at once.
const REPEATED: usize = 4 << 20;
/// Rows that a file may have beyond 64 a byte, for the same reason.
const ROWS: u64 = 2 << 20;
/// Snappy's copies make at most 64 bytes of three.
/// Source: <https://github.com/google/snappy/blob/main/format_description.txt>.
const UNPACKED: usize = 22;

fn refuse<T>(problem: String) -> Result<T> {
    Err(ParquetError::General(problem))
}

/// A file whose row groups hand out pages that were looked at.
pub(super) struct CheckedFile {
    bytes: Bytes,
    inner: SerializedFileReader<Bytes>,
}

impl CheckedFile {
    /// The file's footer must have passed `footer::check`.
    pub(super) fn new(bytes: Bytes) -> Result<Self> {
        let inner = SerializedFileReader::new(bytes.clone())?;
        let rows = inner.metadata().row_groups().iter().map(|group| u64::try_from(group.num_rows()));
        let rows = rows.sum::<std::result::Result<u64, _>>().ok();
        let most = ROWS.saturating_add((bytes.len() as u64).saturating_mul(64));
        match rows {
            Some(rows) if rows <= most => Ok(Self { bytes, inner }),
            Some(rows) => refuse(format!("{rows} rows in {} bytes; at most {most} are read", bytes.len())),
            None => refuse("a row group of fewer than no rows".into()),
        }
    }
}

impl FileReader for CheckedFile {
    fn metadata(&self) -> &ParquetMetaData {
        self.inner.metadata()
    }

    fn num_row_groups(&self) -> usize {
        self.inner.num_row_groups()
    }

    fn get_row_group(&self, index: usize) -> Result<Box<dyn RowGroupReader + '_>> {
        Ok(Box::new(CheckedGroup { bytes: self.bytes.clone(), inner: self.inner.get_row_group(index)? }))
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_file(projection, self)
    }
}

struct CheckedGroup<'a> {
    bytes: Bytes,
    inner: Box<dyn RowGroupReader + 'a>,
}

impl RowGroupReader for CheckedGroup<'_> {
    fn metadata(&self) -> &RowGroupMetaData {
        self.inner.metadata()
    }

    fn num_columns(&self) -> usize {
        self.inner.num_columns()
    }

    fn get_column_page_reader(&self, index: usize) -> Result<Box<dyn PageReader>> {
        let group = self.inner.metadata();
        let Some(column) = group.columns().get(index) else { return refuse(format!("there is no column {index}")) };
        let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
        let length = column.compressed_size();
        let range = usize::try_from(start).ok().zip(usize::try_from(length).ok());
        let range = range.and_then(|(start, length)| Some(start..start.checked_add(length)?));
        let Some(range) = range.filter(|range| range.end <= self.bytes.len()) else {
            return refuse(format!("column {index} has {length} bytes at {start} in a file of {}", self.bytes.len()));
        };
        // Else many columns could be the same bytes, each unpacked for itself.
        let all = group.columns().iter().map(|column| column.compressed_size().max(0) as u64);
        if all.fold(0, u64::saturating_add) > self.bytes.len() as u64 {
            return refuse(format!(
                "the columns of a group of rows are longer than the file's {} bytes",
                self.bytes.len()
            ));
        }
        let column = column.column_descr_ptr();
        let left = if column.max_rep_level() == 0 {
            usize::try_from(group.num_rows()).unwrap_or(0)
        } else {
            REPEATED / self.num_columns().max(1)
        };
        let inner = self.inner.get_column_page_reader(index)?;
        Ok(Box::new(CheckedPages { chunk: self.bytes.slice(range), at: 0, left, column, inner }))
    }

    fn get_column_bloom_filter(&self, index: usize) -> Option<&Sbbf> {
        self.inner.get_column_bloom_filter(index)
    }

    fn get_row_iter(&self, projection: Option<Type>) -> Result<RowIter<'_>> {
        RowIter::from_row_group(projection, self)
    }
}

/// The pages of one column of one row group.
struct CheckedPages {
    chunk: Bytes,
    /// Where in the chunk the next page's header stands.
    at: usize,
    /// Values that the pages to come may have; where the column is of lists, each page's bytes add to them.
    left: usize,
    column: ColumnDescPtr,
    inner: Box<dyn PageReader>,
}

impl CheckedPages {
    /// Looks at the header of the page that the library reads next, before it does.
    fn check_header(&mut self) -> std::result::Result<(), String> {
        loop {
            let rest = self.chunk.get(self.at..).unwrap_or_default();
            if rest.is_empty() {
                return Ok(());
            }
            let mut thrift = Thrift::new(rest);
            let header = Header::read(&mut thrift)?;
            let data = rest.len() - thrift.at();
            if header.packed > data {
                return Err(format!("a page of {} bytes where {data} are left", header.packed));
            }
            self.at += thrift.at() + header.packed;
            // The library passes over an index's page.
            if header.kind == Header::INDEX {
                continue;
            }
            if header.unpacked > header.packed.saturating_mul(UNPACKED).saturating_add(64) {
                return Err(format!("a page of {} bytes that unpacks to {}", header.packed, header.unpacked));
            }
            if header.kind == Header::DICTIONARY {
                return Ok(());
            }
            if self.column.max_rep_level() > 0 {
                // A value takes a bit at least of what is no run of repetitions.
                self.left = self.left.saturating_add(header.unpacked.saturating_mul(8));
            }
            match self.left.checked_sub(header.values) {
                Some(left) => self.left = left,
                None => return Err(format!("a page of {} values where {} may follow", header.values, self.left)),
            }
            return Ok(());
        }
    }

    /// Looks at an unpacked page before it is decoded.
    fn check_page(&self, page: &Page) -> std::result::Result<(), String> {
        let bytes = page.buffer();
        let values = page.num_values() as usize;
        let levels = match page {
            Page::DictionaryPage { .. } => {
                let least = match self.column.physical_type() {
                    Physical::BOOLEAN => 1,
                    Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
                    Physical::INT64 | Physical::DOUBLE => 8,
                    Physical::INT96 => 12,
                    Physical::FIXED_LEN_BYTE_ARRAY => usize::try_from(self.column.type_length()).unwrap_or(0).max(1),
                };
                let most = bytes.len() / least;
                if values > most {
                    return Err(format!("a dictionary of {values} values in {} bytes", bytes.len()));
                }
                return Ok(());
            }
            // What is made room for by a number of its own, behind the levels.
            Page::DataPage { encoding, .. } | Page::DataPageV2 { encoding, .. } if !is_delta(*encoding) => {
                return Ok(());
            }
            Page::DataPage { .. } => {
                let mut at = 0;
                for most in [self.column.max_rep_level(), self.column.max_def_level()] {
                    if most > 0 {
                        let length = bytes.get(at..).and_then(|rest| rest.first_chunk());
                        let length = length.map_or(usize::MAX, |&length| u32::from_le_bytes(length) as usize);
                        at = length.saturating_add(4).saturating_add(at);
                    }
                }
                at
            }
            Page::DataPageV2 { def_levels_byte_len, rep_levels_byte_len, .. } => {
                (*def_levels_byte_len as usize).saturating_add(*rep_levels_byte_len as usize)
            }
        };
        let Some(data) = bytes.get(levels..) else {
            return Err(format!("levels of {levels} bytes in a page of {}", bytes.len()));
        };
        if data.is_empty() {
            return Ok(());
        }
        let lengths = deltas(data, values)?;
        if page.encoding() == Encoding::DELTA_BYTE_ARRAY {
            deltas(data.get(lengths..).unwrap_or_default(), values)?;
        }
        Ok(())
    }
}

impl PageReader for CheckedPages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        if let Err(problem) = self.check_header() {
            return refuse(problem);
        }
        let page = self.inner.get_next_page()?;
        match page.as_ref().map_or(Ok(()), |page| self.check_page(page)) {
            Ok(()) => Ok(page),
            Err(problem) => refuse(problem),
        }
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        refuse("pages are read in turn".into())
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for CheckedPages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

/// What a page's header says of it.
#[derive(Default)]
struct Header {
    kind: usize,
    /// Bytes in the file, and after decompression.
    packed: usize,
    unpacked: usize,
    /// Values, those that are null among them.
    values: usize,
}

impl Header {
    const INDEX: usize = 1;
    const DICTIONARY: usize = 2;

    /// Reads `PageHeader`; the structure of the page's own kind must be there.
    fn read(thrift: &mut Thrift<'_>) -> std::result::Result<Self, String> {
        let mut header = Self::default();
        let mut seen = [false; 9];
        thrift.fields(&mut |thrift, field, kind| {
            match (field, kind) {
                (1, I32) => header.kind = thrift.count()?,
                (2, I32) => header.unpacked = thrift.count()?,
                (3, I32) => header.packed = thrift.count()?,
                (5 | 7 | 8, STRUCT) => thrift.fields(&mut |thrift, field, kind| match (field, kind) {
                    (1, I32) => {
                        header.values = thrift.count()?;
                        Ok(true)
                    }
                    _ => Ok(false),
                })?,
                (1..=3 | 5..=8, kind) if kind != STRUCT || field < 4 => {
                    return Err(format!("a page's field {field} is of kind {kind}"));
                }
                _ => return Ok(false),
            }
            if let Some(seen) = usize::try_from(field).ok().and_then(|field| seen.get_mut(field)) {
                *seen = true;
            }
            Ok(true)
        })?;
        let own = match header.kind {
            0 => seen[5] && !seen[7] && !seen[8],
            Self::INDEX => true,
            Self::DICTIONARY => seen[7] && !seen[5] && !seen[8],
            3 => seen[8] && !seen[5] && !seen[7],
            kind => return Err(format!("a page of the unknown kind {kind}")),
        };
        if seen[1] && seen[2] && seen[3] && own { Ok(header) } else { Err("a page's header lacks fields".into()) }
    }
}

/// Whether a page begins with lengths as DELTA_BINARY_PACKED has them.
fn is_delta(encoding: Encoding) -> bool {
    matches!(encoding, Encoding::DELTA_LENGTH_BYTE_ARRAY | Encoding::DELTA_BYTE_ARRAY)
}

/// Looks through numbers as DELTA_BINARY_PACKED has them; where they end. There must be no more than `values`.
/// Source: <https://parquet.apache.org/docs/file-format/data-pages/encodings/>.
fn deltas(data: &[u8], values: usize) -> std::result::Result<usize, String> {
    let mut at = Thrift::new(data);
    let block = at.varint()?;
    let parts = at.varint()?;
    let count = at.varint()?;
    at.signed()?;
    if count > values as u64 {
        return Err(format!("{count} lengths in a page of {values} values"));
    }
    let part = block.checked_div(parts).unwrap_or(0);
    if part == 0 || part > 1 << 20 || parts > 1 << 20 || !part.is_multiple_of(32) || part * parts != block {
        return Err(format!("lengths in blocks of {block} in {parts} parts"));
    }
    let mut left = count.saturating_sub(1);
    while left > 0 {
        at.signed()?;
        let widths = at.take(usize::try_from(parts).unwrap_or(usize::MAX))?;
        for &width in widths {
            // The parts after the last value have widths, and no bytes.
            if left > 0 {
                at.take(usize::try_from(part / 8 * u64::from(width)).unwrap_or(usize::MAX))?;
            }
            left = left.saturating_sub(part);
        }
    }
    Ok(at.at())
}
