//! The formats, one file each, and the table that registers them.
//!
//! To add one: a file with a `FORMAT`, its `mod` line, its row below, and the line it had in `foreign.rs` taken away.

mod bf16;
mod f16;
mod f32;
mod format;
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

pub(crate) use format::BlockFormat;

// Beware: `f32` and `f16` are modules in this file, so the table must not name the primitive types.
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
    Q4_0 = q4_0,
    Q4_1 = q4_1,
    Q5_0 = q5_0,
    Q5_1 = q5_1,
    Q8_0 = q8_0,
    Q4_K = q4_k,
    Q5_K = q5_k,
    Q6_K = q6_k,
}
