//! Brings tensors into the one form that lowering names: fused ones cut by rows, stacks cut into their parts, parts of a
//! vector put together. Cuts copy nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bantam_tensor::{MakeBytes, SharedBytes};

use crate::Tensor;
use crate::spec::{FeedForward, Mixer, Spec};

/// Tensors by GGUF name.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The tensor stored the other way round, `[columns, rows]` to `[rows, columns]`; only for formats of single numbers. Its
/// bytes are put in that order when somebody looks at them.
pub(crate) fn transposed(tensor: &Tensor) -> Option<Tensor> {
    let (rows, columns) = tensor.matrix()?;
    let tensor_type = *tensor.tensor_type.as_ref().ok()?;
    let size = tensor_type.block_bytes();
    if tensor_type.block_len() != 1 || rows.checked_mul(columns)?.checked_mul(size)? != tensor.bytes.len() {
        return None;
    }
    let turned = Turned { bytes: tensor.bytes.clone(), rows, columns, size };
    let bytes = SharedBytes::from_maker(Arc::new(turned));
    Some(Tensor { shape: vec![columns, rows], bytes, ..tensor.clone() })
}

/// A matrix `[rows, columns]` of numbers of `size` bytes, the other way round.
struct Turned {
    bytes: SharedBytes,
    rows: usize,
    columns: usize,
    size: usize,
}

impl MakeBytes for Turned {
    fn length(&self) -> usize {
        self.bytes.len()
    }

    fn make(&self, range: Range<usize>) -> Vec<u8> {
        let source: &[u8] = &self.bytes;
        let (first, last) = (range.start / self.size, range.end.div_ceil(self.size));
        let mut made = Vec::with_capacity((last - first) * self.size);
        for number in first..last {
            let (column, row) = (number / self.rows, number % self.rows);
            let at = (row * self.columns + column) * self.size;
            made.extend_from_slice(source.get(at..at + self.size).unwrap_or(&[]));
        }
        // A range that cuts a number asks for a part of the first and of the last.
        let skipped = range.start - first * self.size;
        made.drain(..skipped.min(made.len()));
        made.resize(range.len(), 0);
        made
    }
}

/// Whole rows of a tensor; of a vector, numbers.
pub(crate) fn rows(tensor: &Tensor, range: Range<usize>) -> Option<Tensor> {
    let width = if tensor.shape.len() == 1 { 1 } else { *tensor.shape.last()? };
    let row = tensor.tensor_type.as_ref().ok()?.row_bytes(width).ok()?;
    let mut shape = tensor.shape.clone();
    // One of a stack of matrices is so many rows.
    let (each, shape) = match shape[..] {
        [_, rows, width] if range.len() == 1 => (rows.checked_mul(row)?, vec![rows, width]),
        _ => {
            *shape.first_mut()? = range.len();
            (row, shape)
        }
    };
    let bytes = tensor.bytes.slice(range.start.checked_mul(each)?..range.end.checked_mul(each)?)?;
    Some(Tensor { shape, bytes, ..tensor.clone() })
}

/// Cuts a tensor by rows into others, where they add up to all its rows.
fn cut(tensors: &mut Tensors, from: &str, into: &[(String, usize)]) {
    let Some(tensor) = tensors.get(from) else { return };
    if into.iter().try_fold(0usize, |sum, (_, count)| sum.checked_add(*count)) != tensor.shape.first().copied() {
        return;
    }
    let mut start = 0;
    let mut made = Vec::new();
    for (name, count) in into {
        let Some(part) = rows(tensor, start..start + count) else { return };
        made.push((name.clone(), part));
        start += count;
    }
    tensors.remove(from);
    tensors.extend(made);
}

/// Arranges all tensors as the Spec calls for; what does not fit stays as it is, to be refused by its own name.
pub(crate) fn arrange(spec: &Spec, tensors: &mut Tensors) {
    for (index, layer) in spec.layers.iter().enumerate() {
        let Mixer::Attention(attention) = &layer.mixer;
        for ending in ["weight", "bias"] {
            let name = |stem: &str| format!("blk.{index}.{stem}.{ending}");
            let q = attention.heads.saturating_mul(attention.key_width);
            let k = attention.kv_heads.saturating_mul(attention.key_width);
            let v = attention.kv_heads.saturating_mul(attention.value_width);
            let parts = [(name("attn_q"), q), (name("attn_k"), k), (name("attn_v"), v)];
            cut(tensors, &name("attn_qkv"), &parts);
            match &layer.feed_forward {
                FeedForward::Gated(dense) => {
                    let parts = [(name("ffn_gate"), dense.hidden), (name("ffn_up"), dense.hidden)];
                    // GGUF calls the fused form as the second half alone.
                    cut(tensors, &name("ffn_gate_up"), &parts);
                    cut(tensors, &name("ffn_up"), &parts);
                }
                FeedForward::Plain(_) => {}
                FeedForward::Experts(experts) => {
                    for stem in ["ffn_gate", "ffn_up", "ffn_down"] {
                        let fused = name(&format!("{stem}_exps"));
                        if !tensors.contains_key(&fused) {
                            continue;
                        }
                        let part = |n| format!("blk.{index}.{stem}.{n}.{ending}");
                        let parts: Vec<_> = (0..experts.count).map(|n| (part(n), 1)).collect();
                        cut(tensors, &fused, &parts);
                    }
                }
            }
            for (stem, heads) in [("attn_q_norm", attention.heads), ("attn_k_norm", attention.kv_heads)] {
                join(tensors, &format!("blk.{index}.{stem}"), ending, heads);
            }
        }
    }
}

/// Puts vectors `stem.0.ending` … together into one matrix `stem.ending` of `count` rows.
fn join(tensors: &mut Tensors, stem: &str, ending: &str, count: usize) {
    let part = |n: usize| format!("{stem}.{n}.{ending}");
    if !tensors.contains_key(&part(0)) || count > tensors.len() {
        return;
    }
    let parts: Vec<&Tensor> = (0..count).map_while(|n| tensors.get(&part(n))).collect();
    let Some(first) = parts.first().map(|first| (*first).clone()) else { return };
    let alike = |part: &&Tensor| part.shape == first.shape && part.tensor_type == first.tensor_type;
    if parts.len() != count || first.shape.len() != 1 || !parts.iter().all(alike) {
        return;
    }
    let bytes = parts.iter().flat_map(|part| part.bytes.iter().copied()).collect();
    let shape = vec![count, first.shape[0]];
    (0..count).for_each(|n| drop(tensors.remove(&part(n))));
    tensors.insert(format!("{stem}.{ending}"), Tensor { shape, bytes: SharedBytes::from_vec(bytes), ..first });
}
