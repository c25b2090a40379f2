//! The tensor types of model files, by GGUF's names and numbers.

use crate::TensorError;
use crate::TensorType;
use crate::blocks::{BlockFormat, FORMATS, TYPES};

impl TensorType {
    /// Every type, in the order of the table of formats.
    pub const ALL: &'static [TensorType] = &TYPES;

    #[inline]
    fn format(self) -> &'static BlockFormat {
        FORMATS[self as usize]
    }

    /// Name as GGUF tools write it: `"Q4_K"`.
    pub fn name(self) -> &'static str {
        self.format().name
    }

    /// Number of the type in GGUF files.
    pub fn ggml_id(self) -> u32 {
        self.format().ggml_id
    }

    /// The type with that number in GGUF files, if Bantam computes with it.
    pub fn from_ggml_id(id: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|each| each.ggml_id() == id)
    }

    /// The type of that name, in capitals or not, if Bantam computes with it.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|each| each.name().eq_ignore_ascii_case(name))
    }

    /// Elements in a block.
    #[inline]
    pub fn block_len(self) -> usize {
        self.format().block_len
    }

    /// Bytes of a block.
    #[inline]
    pub fn block_bytes(self) -> usize {
        self.format().block_bytes
    }

    /// Bits an element takes, scales included.
    pub fn bits_per_element(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_len() as f64
    }

    /// Whether several elements share a scale (all types but floats and integers).
    pub fn is_quantized(self) -> bool {
        self.block_len() > 1
    }

    /// Bytes of a row of `width` elements.
    ///
    /// # Errors
    /// [`TensorError::RowWidth`] where a row is no whole number of blocks, [`TensorError::TooLarge`].
    pub fn row_bytes(self, width: usize) -> Result<usize, TensorError> {
        self.bytes(1, width)
    }

    /// Bytes of a tensor `[rows, width]`.
    ///
    /// # Errors
    /// [`TensorError::RowWidth`] where a row is no whole number of blocks, [`TensorError::TooLarge`].
    pub fn bytes(self, rows: usize, width: usize) -> Result<usize, TensorError> {
        if !width.is_multiple_of(self.block_len()) {
            return Err(TensorError::RowWidth { tensor_type: self, width });
        }
        (width / self.block_len())
            .checked_mul(self.block_bytes())
            .and_then(|row| row.checked_mul(rows))
            .filter(|&bytes| isize::try_from(bytes).is_ok())
            .ok_or(TensorError::TooLarge { tensor_type: self, rows, width })
    }

    /// Decodes whole blocks: `bytes` into `values`, whose length says how many elements there are.
    ///
    /// # Errors
    /// [`TensorError::RowWidth`] where `values` is no whole number of blocks, [`TensorError::ByteLength`] where `bytes`
    /// is not exactly as long as that takes.
    pub fn decode(self, bytes: &[u8], values: &mut [f32]) -> Result<(), TensorError> {
        self.check_lengths(bytes.len(), values.len())?;
        (self.format().decode)(bytes, values);
        Ok(())
    }

    /// Encodes whole blocks: `values` into `bytes`. [`TensorType::error_bound`] says how far off decoding them can be.
    /// Each block depends on its own values only, so rows may be encoded apart.
    ///
    /// # Errors
    /// As [`TensorType::decode`]; [`TensorError::NotFinite`] for an infinity or NaN on the way to a quantized type;
    /// [`TensorError::CannotEncode`] for a type that is only read.
    pub fn encode(self, values: &[f32], bytes: &mut [u8]) -> Result<(), TensorError> {
        self.check_lengths(bytes.len(), values.len())?;
        let encode = self.format().encode.ok_or(TensorError::CannotEncode { tensor_type: self })?;
        if self.is_quantized()
            && let Some((index, &value)) = values.iter().enumerate().find(|(_, value)| !value.is_finite())
        {
            return Err(TensorError::NotFinite { tensor_type: self, index, value });
        }
        encode(values, bytes);
        Ok(())
    }

    /// Whether [`TensorType::encode`] knows the type.
    pub fn can_encode(self) -> bool {
        self.format().encode.is_some()
    }

    /// The most by which an element of `decode(encode(block))` can differ from the block's, where the block's smallest
    /// and largest element are `min` and `max`. Infinite where the block leaves the range of a float type.
    pub fn error_bound(self, min: f32, max: f32) -> f32 {
        (self.format().error_bound)(min, max)
    }

    /// The type a tensor gets when this one was asked for and its rows are `width` elements: this one where blocks fit,
    /// else a type of smaller blocks of about the same quality, else [`TensorType::F16`].
    ///
    /// Source: `tensor_type_fallback` of llama.cpp's `src/llama-quant.cpp`.
    pub fn fallback(self, width: usize) -> TensorType {
        let fits = |each: TensorType| width.is_multiple_of(each.block_len());
        if fits(self) {
            return self;
        }
        self.format().fallback.filter(|&each| fits(each)).unwrap_or(TensorType::F16)
    }

    fn check_lengths(self, found: usize, elements: usize) -> Result<(), TensorError> {
        let expected = self.row_bytes(elements)?;
        if found == expected {
            Ok(())
        } else {
            Err(TensorError::ByteLength { tensor_type: self, elements, expected, found })
        }
    }
}

impl std::fmt::Display for TensorType {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use TensorType::*;

    #[test]
    fn names_and_ids_lead_back() {
        for &each in TensorType::ALL {
            assert_eq!(TensorType::from_ggml_id(each.ggml_id()), Some(each));
            assert_eq!(TensorType::from_name(each.name()), Some(each));
            assert_eq!(TensorType::from_name(&each.name().to_lowercase()), Some(each));
            assert_eq!(each.to_string(), each.name());
        }
        assert_eq!(TensorType::from_name("q4_k"), Some(Q4_K));
        assert_eq!(TensorType::from_name("Q4_K_M"), None);
        assert_eq!(TensorType::from_ggml_id(9), None);
    }

    #[test]
    fn sizes_are_checked() {
        let check = |tensor_type: TensorType, rows, width, expected: Result<usize, &str>| {
            assert_eq!(
                tensor_type.bytes(rows, width).map_err(|error| error.to_string()),
                expected.map_err(String::from)
            );
        };
        check(Q4_K, 3, 512, Ok(3 * 2 * 144));
        check(Q8_0, 1, 0, Ok(0));
        check(F32, 0, 7, Ok(0));
        check(Q8_0, 2, 33, Err("Q8_0 stores rows in blocks of 32, and a row of 33 is no multiple of that"));
        let huge = usize::MAX / 256 * 256;
        check(
            Q6_K,
            2,
            huge,
            Err(&format!("a Q6_K tensor of 2 rows of {huge} has more bytes than this machine can address")),
        );
        check(
            F32,
            1,
            usize::MAX / 4,
            Err(&format!("a F32 tensor of 1 rows of {} has more bytes than this machine can address", usize::MAX / 4)),
        );
    }

    #[test]
    fn rows_that_do_not_fit_fall_back() {
        let check =
            |tensor_type: TensorType, width, expected| assert_eq!(tensor_type.fallback(width), expected, "{width}");
        check(Q4_K, 2048, Q4_K);
        check(Q4_K, 896, Q5_0);
        check(Q5_K, 896, Q5_1);
        check(Q6_K, 896, Q8_0);
        check(Q4_K, 900, F16);
        check(Q8_0, 900, F16);
        check(Q2_K, 896, IQ4_NL);
        check(IQ4_XS, 896, IQ4_NL);
        check(IQ4_XS, 900, F16);
        check(TQ2_0, 896, Q4_0);
        check(Q4_0, 64, Q4_0);
        check(F32, 1, F32);
        check(BF16, 3, BF16);
    }

    #[test]
    fn wrong_requests_are_refused_in_words() {
        let check = |outcome: Result<(), TensorError>, expected: &str| {
            assert_eq!(outcome.map_err(|error| error.to_string()), Err(expected.to_owned()));
        };
        check(Q8_0.decode(&[0; 33], &mut [0.0; 32]), "32 elements of Q8_0 take 34 bytes, not 33");
        check(Q8_0.encode(&[0.0; 32], &mut [0; 68]), "32 elements of Q8_0 take 34 bytes, not 68");
        check(
            Q4_0.decode(&[0; 18], &mut [0.0; 31]),
            "Q4_0 stores rows in blocks of 32, and a row of 31 is no multiple of that",
        );
        let mut values = [0.0; 32];
        values[3] = f32::NAN;
        check(Q4_0.encode(&values, &mut [0; 18]), "Q4_0 holds finite numbers only, and element 3 is NaN");
        values[3] = f32::NEG_INFINITY;
        check(Q4_0.encode(&values, &mut [0; 18]), "Q4_0 holds finite numbers only, and element 3 is -inf");
        assert_eq!(F16.encode(&values, &mut [0; 64]), Ok(()));
        check(IQ1_S.encode(&[0.0; 256], &mut [0; 50]), "IQ1_S can be read but not written");
    }
}
