//! The formats, one file each, and the table that registers them.
//!
//! To add one: a file with a `FORMAT`, its `mod` line, its row below, and the line it had in `foreign.rs` taken away.

mod bf16;
mod codebooks;
mod f16;
mod f32;
mod f64;
mod format;
mod grids;
mod i16;
mod i32;
mod i64;
mod i8;
mod iq1_m;
mod iq1_s;
mod iq2_s;
mod iq2_xs;
mod iq2_xxs;
mod iq3_s;
mod iq3_xxs;
mod iq4_nl;
mod iq4_xs;
mod mxfp4;
mod nvfp4;
mod q1_0;
mod q2_0;
mod q2_k;
mod q3_k;
mod q4_0;
mod q4_1;
mod q4_k;
mod q5_0;
mod q5_1;
mod q5_k;
mod q6_k;
mod q8_0;
mod search;
mod sub_scales;
mod tq1_0;
mod tq2_0;

pub(crate) use format::BlockFormat;

// Beware: `f32`, `f64`, `i8` and others are modules in this file, so the table must not name the primitive types.
macro_rules! table {
    ($($variant:ident = $module:ident,)*) => {
        /// How the numbers of a tensor are stored. Blocks run along a row; a row is a whole number of blocks.
        #[allow(missing_docs, non_camel_case_types, reason = "the names are the formats' own")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum TensorType {
            $($variant,)*
        }

        const COUNT: usize = [$(TensorType::$variant),*].len();
        /// Every type, in the order of [`FORMATS`].
        pub(crate) const TYPES: [TensorType; COUNT] = [$(TensorType::$variant),*];
        /// The formats, indexed by type.
        pub(crate) const FORMATS: [&BlockFormat; COUNT] = [$(&$module::FORMAT),*];
    };
}

table! {
    F32 = f32,
    F16 = f16,
    BF16 = bf16,
    F64 = f64,
    I8 = i8,
    I16 = i16,
    I32 = i32,
    I64 = i64,
    Q4_0 = q4_0,
    Q4_1 = q4_1,
    Q5_0 = q5_0,
    Q5_1 = q5_1,
    Q8_0 = q8_0,
    Q2_K = q2_k,
    Q3_K = q3_k,
    Q4_K = q4_k,
    Q5_K = q5_k,
    Q6_K = q6_k,
    IQ1_S = iq1_s,
    IQ1_M = iq1_m,
    IQ2_XXS = iq2_xxs,
    IQ2_XS = iq2_xs,
    IQ2_S = iq2_s,
    IQ3_XXS = iq3_xxs,
    IQ3_S = iq3_s,
    IQ4_NL = iq4_nl,
    IQ4_XS = iq4_xs,
    TQ1_0 = tq1_0,
    TQ2_0 = tq2_0,
    MXFP4 = mxfp4,
    NVFP4 = nvfp4,
    Q1_0 = q1_0,
    Q2_0 = q2_0,
}
