//! NumPy's `.npy` files: little-endian, C order, the element types tests use.
//!
//! Source: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>. Reads versions 1 to 3.

use std::path::Path;

/// An array read from a `.npy` file.
#[derive(Clone, Debug, PartialEq)]
pub struct Npy {
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// The elements in C order.
    pub data: Data,
}

/// The elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// `<f4`
    F32(Vec<f32>),
    /// `<i4`
    I32(Vec<i32>),
    /// `<i8`
    I64(Vec<i64>),
    /// `|u1`
    U8(Vec<u8>),
}

impl Npy {
    /// The elements, which must be `f32`.
    #[track_caller]
    pub fn f32(&self) -> &[f32] {
        match &self.data {
            Data::F32(values) => values,
            other => panic!("expected an array of f32, found {other:.0?}"),
        }
    }

    /// A row of a matrix of `f32`.
    #[track_caller]
    pub fn row(&self, index: usize) -> &[f32] {
        assert_eq!(self.shape.len(), 2, "rows are asked of an array of shape {:?}", self.shape);
        &self.f32()[index * self.shape[1]..][..self.shape[1]]
    }
}

/// Reads a file; panics with its path where that fails.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Npy {
    let path = path.as_ref();
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    parse(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Reads the bytes of a file; in an error, what is wrong with them.
pub fn parse(bytes: &[u8]) -> Result<Npy, String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("not a .npy file")?;
    let (&[major, _], rest) = rest.split_first_chunk().ok_or("cut off")?;
    let (header_len, rest) = if major == 1 {
        let (length, rest) = rest.split_first_chunk().ok_or("cut off")?;
        (u16::from_le_bytes(*length) as usize, rest)
    } else {
        let (length, rest) = rest.split_first_chunk().ok_or("cut off")?;
        (u32::from_le_bytes(*length) as usize, rest)
    };
    let (header, body) = rest.split_at_checked(header_len).ok_or("cut off")?;
    let header = std::str::from_utf8(header).map_err(|_| "the header is no text")?;
    let after = |key: &str| {
        let start = header.find(key).ok_or_else(|| format!("no {key} in the header"))?;
        Ok::<_, String>(header[start + key.len()..].trim_start_matches([':', ' ']))
    };
    if !after("'fortran_order'")?.starts_with("False") {
        return Err("Fortran order is not read".into());
    }
    let shape = after("'shape'")?.strip_prefix('(').and_then(|text| text.split_once(')')).ok_or("no shape")?.0;
    let shape: Vec<usize> = shape
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().map_err(|_| format!("{text} is no extent")))
        .collect::<Result<_, _>>()?;
    let count = shape.iter().try_fold(1usize, |product, &extent| product.checked_mul(extent)).ok_or("absurd shape")?;
    let kind = after("'descr'")?.trim_start_matches('\'').split('\'').next().unwrap_or_default();
    fn elements<const N: usize, T>(body: &[u8], count: usize, read: fn([u8; N]) -> T) -> Result<Vec<T>, String> {
        if Some(body.len()) != count.checked_mul(N) {
            return Err(format!("{count} elements of {N} bytes do not make {} bytes", body.len()));
        }
        Ok(body.as_chunks().0.iter().map(|bytes| read(*bytes)).collect())
    }
    let data = match kind {
        "<f4" => Data::F32(elements(body, count, f32::from_le_bytes)?),
        "<i4" => Data::I32(elements(body, count, i32::from_le_bytes)?),
        "<i8" => Data::I64(elements(body, count, i64::from_le_bytes)?),
        "|u1" => Data::U8(elements(body, count, |[byte]| byte)?),
        other => return Err(format!("elements of kind {other} are not read")),
    };
    Ok(Npy { shape, data })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, body: &[u8]) -> Vec<u8> {
        let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(body);
        bytes
    }

    #[test]
    fn reads_what_numpy_writes() {
        let check = |header: &str, body: &[u8], expected: Result<Npy, &str>| {
            assert_eq!(parse(&file(header, body)), expected.map_err(String::from));
        };
        check(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }   \n",
            &[0, 0, 128, 63, 0, 0, 0, 64],
            Ok(Npy { shape: vec![2, 1], data: Data::F32(vec![1.0, 2.0]) }),
        );
        check(
            "{'descr': '<i8', 'fortran_order': False, 'shape': (1,), }\n",
            &[255; 8],
            Ok(Npy { shape: vec![1], data: Data::I64(vec![-1]) }),
        );
        check(
            "{'descr': '|u1', 'fortran_order': False, 'shape': (), }",
            &[7],
            Ok(Npy { shape: vec![], data: Data::U8(vec![7]) }),
        );
        check(
            "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }",
            &[0; 4],
            Err("2 elements of 4 bytes do not make 4 bytes"),
        );
        check("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", &[0; 4], Err("Fortran order is not read"));
        check(
            "{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }",
            &[0; 4],
            Err("elements of kind >f4 are not read"),
        );
        assert_eq!(parse(b"GGUF"), Err("not a .npy file".into()));
        assert_eq!(parse(b"\x93NUMPY\x01\x00\xff\xff"), Err("cut off".into()));
    }
}
