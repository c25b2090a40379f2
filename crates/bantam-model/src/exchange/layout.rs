//! How the tensors of one form are laid out in the other: fused, stacked, turned, shifted.

use std::collections::{BTreeMap, BTreeSet};

use bantam_plan::RopePairs;
use bantam_tensor::{SharedBytes, TensorType};

use crate::arrange::rows;
use crate::families::Family;
use crate::names::Names;
use crate::spec::{Mixer, NormOver, Spec};
use crate::{Checkpoint, ModelError, Tensor};

/// A tensor of the new form and what it is made of.
#[derive(Clone, Debug)]
pub struct Made {
    /// Its name there.
    pub name: String,
    /// Its extents there, slowest first.
    pub shape: Vec<usize>,
    /// What lies in it, one below the other; all of one width, but of types that may differ.
    pub parts: Vec<Tensor>,
    /// What is done to each part on the way.
    pub change: Change,
    /// Whether both forms keep it in 32 bits: vectors, norms, routers, and tables of positions and segments.
    pub small: bool,
}

/// What is done to a tensor on the way to another form.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// In each of so many heads, the first `rotated` rows come in pairs of neighbours that were a half apart.
    Interleave {
        /// How many heads there are.
        heads: usize,
        /// Rows of a head that turn.
        rotated: usize,
    },
    /// The other direction of [`Change::Interleave`].
    Separate {
        /// How many heads there are.
        heads: usize,
        /// Rows of a head that turn.
        rotated: usize,
    },
    /// This is added to every number.
    Shift(f32),
    /// Rows become columns.
    Transpose,
}

impl Change {
    /// The row of the source that becomes row `row`, of `rows` in all.
    pub fn source_row(self, row: usize, rows: usize) -> usize {
        let (heads, rotated, together) = match self {
            Self::Interleave { heads, rotated } => (heads, rotated, true),
            Self::Separate { heads, rotated } => (heads, rotated, false),
            Self::None | Self::Shift(_) | Self::Transpose => return row,
        };
        let width = rows / heads.max(1);
        if width == 0 || rotated > width || rotated < 2 {
            return row;
        }
        let (head, at) = (row / width, row % width);
        let half = rotated / 2;
        let from = match at {
            at if at >= rotated => at,
            at if together => at % 2 * half + at / 2,
            at => at % half * 2 + at / half,
        };
        head * width + from
    }
}

/// Layer and stem of a name, and what it ends in: `blk.3.attn_q.weight` is `(Some(3), "attn_q", "weight")`.
pub(super) fn pieces(name: &str) -> (Option<usize>, &str, &str) {
    let (stem, ending) = name.rsplit_once('.').unwrap_or((name, ""));
    let inside = stem.strip_prefix("blk.").and_then(|rest| rest.split_once('.'));
    match inside.and_then(|(layer, stem)| Some((layer.parse().ok()?, stem))) {
        Some((layer, stem)) => (Some(layer), stem, ending),
        None => (None, stem, ending),
    }
}

/// The stem of an expert's tensor and the expert's number: `ffn_gate.7`.
fn expert(stem: &str) -> Option<(&str, usize)> {
    let (stem, number) = stem.rsplit_once('.')?;
    stem.starts_with("ffn_").then_some(())?;
    Some((stem, number.parse().ok()?))
}

fn is_small(name: &str, shape: &[usize]) -> bool {
    let named = ["norm", "ffn_gate_inp", "position_embd", "token_types"].iter().any(|part| name.contains(part));
    shape.len() == 1 || named
}

/// The name a fused tensor goes by, and those that are fused with it, where `stem` is one of them.
pub(super) fn fused(names: &Names, stem: &str) -> Option<&'static (&'static str, &'static [&'static str])> {
    names.fused.iter().find(|(_, parts)| parts.contains(&stem))
}

/// Which rows of queries and keys change places between ropes of `from` and of `to`.
pub(super) fn turn(spec: &Spec, layer: Option<usize>, stem: &str, from: RopePairs, to: RopePairs) -> Option<Change> {
    let layer = spec.layers.get(layer?)?;
    let Mixer::Attention(attention) = &layer.mixer;
    let heads = match stem {
        "attn_q" => attention.heads,
        "attn_k" => attention.kv_heads,
        _ => return None,
    };
    // Layers without rope are laid out like the others, as converters do: queries and keys move alike.
    let rotated = attention.rope.as_ref().map_or(attention.key_width, |rope| rope.rotated);
    match (from, to) {
        (RopePairs::Halves, RopePairs::Interleaved) => Some(Change::Interleave { heads, rotated }),
        (RopePairs::Interleaved, RopePairs::Halves) => Some(Change::Separate { heads, rotated }),
        (RopePairs::Halves, RopePairs::Halves) | (RopePairs::Interleaved, RopePairs::Interleaved) => None,
    }
}

/// The columns that turn together in this checkpoint's own form.
pub(super) fn pairs_of(spec: &Spec) -> RopePairs {
    let ropes = spec.layers.iter().filter_map(|layer| {
        let Mixer::Attention(attention) = &layer.mixer;
        attention.rope.as_ref()
    });
    ropes.map(|rope| rope.pairs).next().unwrap_or(RopePairs::Halves)
}

/// What norms of the stream store their factor less of.
fn shift_of(spec: &Spec) -> f32 {
    spec.output_norm.as_ref().map_or(0.0, |norm| norm.shift)
}

fn tensor(checkpoint: &Checkpoint, name: &str) -> Result<Tensor, ModelError> {
    checkpoint.tensor(name).cloned().ok_or_else(|| ModelError::MissingTensor { name: name.to_owned() })
}

/// Names of all weights that the model computes with, each once, in the order of layers.
fn weights(checkpoint: &Checkpoint) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let all = checkpoint.plan().weights.iter().map(|weight| weight.name.as_str());
    all.filter(|name| seen.insert(*name)).collect()
}

/// Rows that parts have together, and their one width.
fn extent(parts: &[Tensor]) -> Vec<usize> {
    match parts {
        [one] => one.shape.clone(),
        [first, ..] if first.shape.len() == 1 => vec![parts.iter().map(|part| part.shape[0]).sum()],
        _ => {
            let rows = parts.iter().filter_map(Tensor::matrix).map(|(rows, _)| rows).sum();
            vec![rows, parts.first().and_then(Tensor::matrix).map_or(0, |(_, width)| width)]
        }
    }
}

/// The tensors as GGUF has them.
pub(super) fn gguf(
    checkpoint: &Checkpoint,
    vectors: &BTreeMap<&'static str, Vec<f32>>,
) -> Result<Vec<Made>, ModelError> {
    let (family, spec) = (checkpoint.family(), checkpoint.spec());
    let shift = shift_of(spec);
    let from = pairs_of(spec);
    let mut made = Vec::new();
    for (name, values) in vectors {
        let bytes = values.iter().flat_map(|x| x.to_le_bytes()).collect();
        let (tensor_type, shape) = (Ok(TensorType::F32), vec![values.len()]);
        let part = Tensor {
            file_name: (*name).to_owned(),
            tensor_type,
            shape: shape.clone(),
            bytes: SharedBytes::from_vec(bytes),
        };
        made.push(Made { name: (*name).to_owned(), shape, parts: vec![part], change: Change::None, small: true });
    }
    for name in weights(checkpoint) {
        let (layer, stem, ending) = pieces(name);
        let at = layer.map_or(String::new(), |layer| format!("blk.{layer}."));
        let numbered = |stem: &str| format!("{at}{stem}.{ending}");
        let (name, parts, stacked) = if let Some((whole, parts)) = fused(family.names, stem) {
            if parts.first() != Some(&stem) {
                continue;
            }
            // What is fused is written under the second one's name.
            let whole = if *whole == "ffn_gate_up" { "ffn_up" } else { whole };
            let parts = parts.iter().map(|part| tensor(checkpoint, &numbered(part))).collect::<Result<Vec<_>, _>>()?;
            (numbered(whole), parts, false)
        } else if let Some((stem, number)) = expert(stem) {
            if number != 0 {
                continue;
            }
            let part = |number: usize| checkpoint.tensor(&numbered(&format!("{stem}.{number}"))).cloned();
            (numbered(&format!("{stem}_exps")), (0..).map_while(part).collect(), true)
        } else {
            (name.to_owned(), vec![tensor(checkpoint, name)?], false)
        };
        let shape = if stacked { [vec![parts.len()], parts[0].shape.clone()].concat() } else { extent(&parts) };
        let shifted = (shift != 0.0 && stem.ends_with("norm") && ending == "weight").then_some(Change::Shift(shift));
        let change = turn(spec, layer, stem, from, family.gguf_pairs).or(shifted).unwrap_or(Change::None);
        let small = is_small(&name, &shape);
        made.push(Made { name, shape, parts, change, small });
    }
    Ok(made)
}

/// The tensors as a directory of `family` has them, of which `target` was read back.
pub(super) fn hugging_face(checkpoint: &Checkpoint, family: &Family, target: &Spec) -> Result<Vec<Made>, ModelError> {
    let spec = checkpoint.spec();
    let shift = shift_of(target) - shift_of(spec);
    let from = pairs_of(spec);
    let unnamed = |name: &str| ModelError::UnknownTensor { name: name.to_owned(), family: family.name };
    let translate = |name: &str| family.names.to_hugging_face(name).ok_or_else(|| unnamed(name));
    let mut made = Vec::new();
    for name in weights(checkpoint) {
        let (layer, stem, ending) = pieces(name);
        let at = layer.map_or(String::new(), |layer| format!("blk.{layer}."));
        let numbered = |stem: &str| format!("{at}{stem}.{ending}");
        let small = is_small(name, &tensor(checkpoint, name)?.shape);
        if let Some((whole, parts)) = fused(family.names, stem) {
            if parts.first() == Some(&stem) {
                let parts =
                    parts.iter().map(|part| tensor(checkpoint, &numbered(part))).collect::<Result<Vec<_>, _>>()?;
                let shape = extent(&parts);
                made.push(transposable(family, translate(&numbered(whole))?, shape, parts, small));
            }
            continue;
        }
        let of_layer = layer.and_then(|layer| spec.layers.get(layer)).and_then(|layer| {
            let Mixer::Attention(attention) = &layer.mixer;
            attention.query_key_norm
        });
        if matches!(stem, "attn_q_norm" | "attn_k_norm") && of_layer.is_some_and(|on| on.over == NormOver::OwnHead) {
            let whole = tensor(checkpoint, name)?;
            let (heads, width) = whole.matrix().ok_or_else(|| unnamed(name))?;
            for head in 0..heads {
                // A single head's row is a vector already.
                let part = if whole.shape.len() == 1 { Some(whole.clone()) } else { rows(&whole, head..head + 1) };
                let mut part = part.ok_or_else(|| unnamed(name))?;
                part.shape = vec![width];
                let (name, shape) = (translate(&numbered(&format!("{stem}.{head}")))?, part.shape.clone());
                made.push(Made { name, shape, parts: vec![part], change: Change::None, small });
            }
            continue;
        }
        let part = tensor(checkpoint, name)?;
        let mut one = transposable(family, translate(name)?, part.shape.clone(), vec![part], small);
        let shifted = (shift != 0.0 && stem.ends_with("norm") && ending == "weight").then_some(Change::Shift(-shift));
        if let Some(change) = turn(spec, layer, stem, from, RopePairs::Halves).or(shifted) {
            one.change = change;
        }
        made.push(one);
    }
    Ok(made)
}

/// A tensor that is stored the other way round where the family does so.
fn transposable(family: &Family, name: String, mut shape: Vec<usize>, parts: Vec<Tensor>, small: bool) -> Made {
    let change = if family.names.is_transposed(&name) { Change::Transpose } else { Change::None };
    if change == Change::Transpose {
        shape.reverse();
    }
    Made { name, shape, parts, change, small }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_change_places_and_back() {
        let check = |rotated: usize, rows: usize, heads: usize, expected: &[usize]| {
            let together = Change::Interleave { heads, rotated };
            let apart = Change::Separate { heads, rotated };
            let moved: Vec<usize> = (0..rows).map(|row| together.source_row(row, rows)).collect();
            assert_eq!(moved, expected);
            let back: Vec<usize> = (0..rows).map(|row| moved[apart.source_row(row, rows)]).collect();
            assert_eq!(back, (0..rows).collect::<Vec<_>>());
        };
        check(4, 4, 1, &[0, 2, 1, 3]);
        check(6, 6, 1, &[0, 3, 1, 4, 2, 5]);
        check(4, 8, 2, &[0, 2, 1, 3, 4, 6, 5, 7]);
        check(4, 6, 1, &[0, 2, 1, 3, 4, 5]);
    }
}
