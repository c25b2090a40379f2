//! Metadata values: thirteen types, with arrays kept compact.
//!
//! A vocabulary is an array of some hundred thousand strings, so an array is one typed vector (for strings one buffer and
//! the ends), not a vector of values. Strings keep their bytes: token lists in the wild hold bytes that are not UTF-8.

use std::fmt;

use super::array::Array;

/// The type of a metadata value, with GGUF's number for it.
#[allow(missing_docs, reason = "the names say it: Rust's own types")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum ValueType {
    U8 = 0,
    I8 = 1,
    U16 = 2,
    I16 = 3,
    U32 = 4,
    I32 = 5,
    F32 = 6,
    Bool = 7,
    String = 8,
    Array = 9,
    U64 = 10,
    I64 = 11,
    F64 = 12,
}

impl ValueType {
    /// Every type, in the order of GGUF's numbers.
    pub const ALL: [Self; 13] = [
        Self::U8,
        Self::I8,
        Self::U16,
        Self::I16,
        Self::U32,
        Self::I32,
        Self::F32,
        Self::Bool,
        Self::String,
        Self::Array,
        Self::U64,
        Self::I64,
        Self::F64,
    ];

    /// The type with this number in files.
    pub fn from_id(id: u32) -> Option<Self> {
        usize::try_from(id).ok().and_then(|index| Self::ALL.get(index)).copied()
    }

    /// Name as format documentation has it, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::U8 => "uint8",
            Self::I8 => "int8",
            Self::U16 => "uint16",
            Self::I16 => "int16",
            Self::U32 => "uint32",
            Self::I32 => "int32",
            Self::F32 => "float32",
            Self::Bool => "bool",
            Self::String => "string",
            Self::Array => "array",
            Self::U64 => "uint64",
            Self::I64 => "int64",
            Self::F64 => "float64",
        }
    }
}

/// A metadata value.
#[allow(missing_docs, reason = "the names say it: Rust's own types")]
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    /// The string's bytes, which are not always UTF-8.
    String(Vec<u8>),
    Array(Array),
    U64(u64),
    I64(i64),
    F64(f64),
}

impl Value {
    /// Which type it is.
    pub fn value_type(&self) -> ValueType {
        match self {
            Self::U8(_) => ValueType::U8,
            Self::I8(_) => ValueType::I8,
            Self::U16(_) => ValueType::U16,
            Self::I16(_) => ValueType::I16,
            Self::U32(_) => ValueType::U32,
            Self::I32(_) => ValueType::I32,
            Self::F32(_) => ValueType::F32,
            Self::Bool(_) => ValueType::Bool,
            Self::String(_) => ValueType::String,
            Self::Array(_) => ValueType::Array,
            Self::U64(_) => ValueType::U64,
            Self::I64(_) => ValueType::I64,
            Self::F64(_) => ValueType::F64,
        }
    }

    /// Any whole number (never a bool), as wide as any type has it.
    fn as_i128(&self) -> Option<i128> {
        Some(match *self {
            Self::U8(value) => value.into(),
            Self::I8(value) => value.into(),
            Self::U16(value) => value.into(),
            Self::I16(value) => value.into(),
            Self::U32(value) => value.into(),
            Self::I32(value) => value.into(),
            Self::U64(value) => value.into(),
            Self::I64(value) => value.into(),
            Self::F32(_) | Self::F64(_) | Self::Bool(_) | Self::String(_) | Self::Array(_) => return None,
        })
    }

    /// The value of any integer type, where it fits.
    pub fn as_u32(&self) -> Option<u32> {
        self.as_i128().and_then(|value| value.try_into().ok())
    }

    /// The value of any integer type, where it fits.
    pub fn as_u64(&self) -> Option<u64> {
        self.as_i128().and_then(|value| value.try_into().ok())
    }

    /// The value of any integer type, where it fits.
    pub fn as_i64(&self) -> Option<i64> {
        self.as_i128().and_then(|value| value.try_into().ok())
    }

    /// The value of any integer type, where it fits.
    pub fn as_usize(&self) -> Option<usize> {
        self.as_i128().and_then(|value| value.try_into().ok())
    }

    /// A float (a double is rounded), or an integer that an `f32` holds exactly.
    pub fn as_f32(&self) -> Option<f32> {
        match *self {
            Self::F32(value) => Some(value),
            Self::F64(value) => Some(value as f32),
            _ => self.as_i128().and_then(|value| (value as f32 as i128 == value).then_some(value as f32)),
        }
    }

    /// A float, or an integer that an `f64` holds exactly.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Self::F32(value) => Some(value.into()),
            Self::F64(value) => Some(value),
            _ => self.as_i128().and_then(|value| (value as f64 as i128 == value).then_some(value as f64)),
        }
    }

    /// A bool and nothing else.
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The bytes of a string.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Self::String(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// A string that is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_bytes().and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// An array.
    pub fn as_array(&self) -> Option<&Array> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// The type and, where it is short, the value: for error messages.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::String(bytes) if std::str::from_utf8(bytes).is_err() => {
                format!("a string that is not UTF-8: {}", crate::error::quoted_bytes(bytes))
            }
            Self::String(bytes) => format!("the string {}", crate::error::quoted_bytes(bytes)),
            Self::Array(array) => format!("an array of {} {}", array.len(), array.element_type().name()),
            other => format!("the {} {other}", other.value_type().name()),
        }
    }
}

/// Prints a value as a person wants to see it: strings lossily, arrays shortened to their first eight elements.
impl fmt::Display for Value {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::U8(value) => value.fmt(formatter),
            Self::I8(value) => value.fmt(formatter),
            Self::U16(value) => value.fmt(formatter),
            Self::I16(value) => value.fmt(formatter),
            Self::U32(value) => value.fmt(formatter),
            Self::I32(value) => value.fmt(formatter),
            Self::F32(value) => value.fmt(formatter),
            Self::Bool(value) => value.fmt(formatter),
            Self::U64(value) => value.fmt(formatter),
            Self::I64(value) => value.fmt(formatter),
            Self::F64(value) => value.fmt(formatter),
            Self::String(bytes) => String::from_utf8_lossy(bytes).fmt(formatter),
            Self::Array(array) => {
                const SHOWN: usize = 8;
                formatter.write_str("[")?;
                for (index, element) in array.iter().take(SHOWN).enumerate() {
                    let separator = if index == 0 { "" } else { ", " };
                    match element {
                        Value::String(bytes) => write!(formatter, "{separator}{:?}", String::from_utf8_lossy(&bytes))?,
                        other => write!(formatter, "{separator}{other}")?,
                    }
                }
                if array.len() > SHOWN {
                    write!(formatter, ", … {} in all", array.len())?;
                }
                formatter.write_str("]")
            }
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $variant:ident),* $(,)?) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Self {
                Self::$variant(value)
            }
        })*
    };
}

value_from!(u8 => U8, i8 => I8, u16 => U16, i16 => I16, u32 => U32, i32 => I32, f32 => F32, bool => Bool,
    u64 => U64, i64 => I64, f64 => F64, Array => Array);

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::String(value.as_bytes().to_vec())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::String(value.into_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_convert_where_they_fit() {
        fn check(value: impl Into<Value>, u32_: Option<u32>, u64_: Option<u64>, i64_: Option<i64>, f32_: Option<f32>) {
            let value = value.into();
            assert_eq!((value.as_u32(), value.as_u64()), (u32_, u64_), "{value:?}");
            assert_eq!((value.as_i64(), value.as_f32()), (i64_, f32_), "{value:?}");
        }
        check(7u8, Some(7), Some(7), Some(7), Some(7.0));
        check(-7i8, None, None, Some(-7), Some(-7.0));
        check(u64::MAX, None, Some(u64::MAX), None, None);
        check(1u64 << 63, None, Some(1 << 63), None, Some(9.223_372e18));
        check(i64::MIN, None, None, Some(i64::MIN), Some(-9.223_372e18));
        check((1u32 << 24) + 1, Some(16_777_217), Some(16_777_217), Some(16_777_217), None);
        check(1.5f64, None, None, None, Some(1.5));
        check(true, None, None, None, None);
        check("7", None, None, None, None);
    }

    #[test]
    fn values_print_shortly() {
        fn check(value: impl Into<Value>, expected: &str) {
            assert_eq!(value.into().to_string(), expected);
        }
        check(10_000.0f32, "10000");
        check("text", "text");
        check(Array::I32(vec![1, -2]), "[1, -2]");
        check(Array::U8((0..20).collect()), "[0, 1, 2, 3, 4, 5, 6, 7, … 20 in all]");
        check(Array::Strings(["a", "\n"].into_iter().collect()), r#"["a", "\n"]"#);
        check(Array::Arrays(vec![Array::Bool(vec![true])]), "[[true]]");
    }
}
