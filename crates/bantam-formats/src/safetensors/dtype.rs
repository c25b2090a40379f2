//! The element types of safetensors.

use bantam_tensor::TensorType;

macro_rules! dtypes {
    ($($variant:ident $name:literal $bits:literal $tensor_type:expr;)*) => {
        /// How the numbers of a tensor in a safetensors file are stored.
        #[allow(missing_docs, non_camel_case_types, reason = "the names are the format's own")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Dtype {
            $($variant,)*
        }

        impl Dtype {
            /// Every type.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name in files.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// Bits a number takes.
            pub fn bits(self) -> u64 {
                match self {
                    $(Self::$variant => $bits,)*
                }
            }

            /// The type that decodes it, where there is one.
            pub fn tensor_type(self) -> Option<TensorType> {
                match self {
                    $(Self::$variant => $tensor_type,)*
                }
            }
        }
    };
}

dtypes! {
    Bool "BOOL" 8 None;
    F4 "F4" 4 None;
    F6_E2M3 "F6_E2M3" 6 None;
    F6_E3M2 "F6_E3M2" 6 None;
    U8 "U8" 8 None;
    I8 "I8" 8 Some(TensorType::I8);
    F8_E5M2 "F8_E5M2" 8 None;
    F8_E4M3 "F8_E4M3" 8 None;
    F8_E8M0 "F8_E8M0" 8 None;
    F8_E4M3FNUZ "F8_E4M3FNUZ" 8 None;
    F8_E5M2FNUZ "F8_E5M2FNUZ" 8 None;
    U16 "U16" 16 None;
    I16 "I16" 16 Some(TensorType::I16);
    F16 "F16" 16 Some(TensorType::F16);
    BF16 "BF16" 16 Some(TensorType::BF16);
    U32 "U32" 32 None;
    I32 "I32" 32 Some(TensorType::I32);
    F32 "F32" 32 Some(TensorType::F32);
    C64 "C64" 64 None;
    U64 "U64" 64 None;
    I64 "I64" 64 Some(TensorType::I64);
    F64 "F64" 64 Some(TensorType::F64);
}

impl Dtype {
    /// The type of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|dtype| dtype.name() == name)
    }

    /// Bytes that a tensor of this shape takes: `None` where that overflows or is no whole number of bytes.
    pub(super) fn bytes(self, shape: &[u64]) -> Option<u64> {
        let elements = shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size))?;
        let bits = elements.checked_mul(self.bits())?;
        bits.is_multiple_of(8).then_some(bits / 8)
    }
}
