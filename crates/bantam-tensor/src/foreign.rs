//! Every tensor type id that model files use, so that one Bantam cannot compute with is refused by its name and the
//! sizes of its tensors can be checked all the same.
//!
//! Source: `enum ggml_type` and the block structs of ggml (`ggml.h`, `ggml-common.h`) and the table `GGML_QUANT_SIZES`
//! of the Python package gguf. Ids 4, 5, 31–33 and 36–38 were once in use and have been withdrawn: named, no layout.

use crate::TensorType;

/// `(id, name, Some((elements of a block, bytes of a block)))`.
type ForeignType = (u32, &'static str, Option<(usize, usize)>);

const FOREIGN: &[ForeignType] = &[
    (4, "Q4_2", None),
    (5, "Q4_3", None),
    (9, "Q8_1", Some((32, 36))),
    (10, "Q2_K", Some((256, 84))),
    (11, "Q3_K", Some((256, 110))),
    (15, "Q8_K", Some((256, 292))),
    (16, "IQ2_XXS", Some((256, 66))),
    (17, "IQ2_XS", Some((256, 74))),
    (18, "IQ3_XXS", Some((256, 98))),
    (19, "IQ1_S", Some((256, 50))),
    (20, "IQ4_NL", Some((32, 18))),
    (21, "IQ3_S", Some((256, 110))),
    (22, "IQ2_S", Some((256, 82))),
    (23, "IQ4_XS", Some((256, 136))),
    (24, "I8", Some((1, 1))),
    (25, "I16", Some((1, 2))),
    (26, "I32", Some((1, 4))),
    (27, "I64", Some((1, 8))),
    (28, "F64", Some((1, 8))),
    (29, "IQ1_M", Some((256, 56))),
    (31, "Q4_0_4_4", None),
    (32, "Q4_0_4_8", None),
    (33, "Q4_0_8_8", None),
    (34, "TQ1_0", Some((256, 54))),
    (35, "TQ2_0", Some((256, 66))),
    (36, "IQ4_NL_4_4", None),
    (37, "IQ4_NL_4_8", None),
    (38, "IQ4_NL_8_8", None),
    (39, "MXFP4", Some((32, 17))),
    (40, "NVFP4", Some((64, 36))),
    (41, "Q1_0", Some((128, 18))),
];

fn foreign(id: u32) -> Option<&'static ForeignType> {
    // A type that has become one of ours wins over its old line here.
    FOREIGN.iter().find(|entry| entry.0 == id)
}

/// Name of a tensor type by its number in GGUF files, whether Bantam computes with it or not; `None` if no such type
/// has ever existed.
pub fn known_ggml_type_name(id: u32) -> Option<&'static str> {
    TensorType::from_ggml_id(id).map(TensorType::name).or_else(|| foreign(id).map(|entry| entry.1))
}

/// Elements and bytes of a block of any tensor type by its number in GGUF files, where its layout is documented.
pub fn foreign_block_layout(id: u32) -> Option<(usize, usize)> {
    match TensorType::from_ggml_id(id) {
        Some(ours) => Some((ours.block_len(), ours.block_bytes())),
        None => foreign(id).and_then(|entry| entry.2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_layouts_by_id() {
        let check = |id, name, layout| {
            assert_eq!(known_ggml_type_name(id), name, "{id}");
            assert_eq!(foreign_block_layout(id), layout, "{id}");
        };
        check(0, Some("F32"), Some((1, 4)));
        check(12, Some("Q4_K"), Some((256, 144)));
        check(10, Some("Q2_K"), Some((256, 84)));
        check(23, Some("IQ4_XS"), Some((256, 136)));
        check(31, Some("Q4_0_4_4"), None);
        check(39, Some("MXFP4"), Some((32, 17)));
        check(42, None, None);
        check(u32::MAX, None, None);
    }

    #[test]
    fn no_foreign_type_is_ours() {
        for &(id, name, _) in FOREIGN {
            assert_eq!(TensorType::from_ggml_id(id), None, "{name} can be decoded now: take its line away");
            assert_eq!(TensorType::from_name(name), None);
        }
    }
}
