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
    (15, "Q8_K", Some((256, 292))),
    (31, "Q4_0_4_4", None),
    (32, "Q4_0_4_8", None),
    (33, "Q4_0_8_8", None),
    (36, "IQ4_NL_4_4", None),
    (37, "IQ4_NL_4_8", None),
    (38, "IQ4_NL_8_8", None),
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
        check(41, Some("Q1_0"), Some((128, 18)));
        check(43, None, None);
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
