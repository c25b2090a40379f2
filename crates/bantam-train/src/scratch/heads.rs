//! Heads of the first layer that begin by looking at the token some places back.
//!
//! To copy what was said before, a layer needs to know beside each token which one came before it (Olsson et al. 2022, "In-context
//! Learning and Induction Heads"). A model finds that out for itself, but late: until then it cannot copy. Weights that begin
//! with the pattern that training would find (mimetic initialisation, Trockman & Kolter 2023) spare it the wait.
//!
//! One number of every embedding is the same, so queries and keys can be the same at every place, and the rotary embedding
//! alone tells places apart: a query turned back by so many places agrees most with the key that stands there.

use bantam_model::spec::{Attention, Rope, RopeScaling};
use bantam_plan::RopePairs;

use super::{ScratchSpec, weights::Tensor};

/// The number that all embeddings share, as a part of the length that an embedding begins with.
const SHARED: f32 = 0.55;
/// Factor on the sum of the pairs' cosines, which is the score.
const SHARPNESS: f32 = 6.0;
/// Least angle, in radians, by which a pair turns from one place to the next. Slower ones tell neighbours hardly apart, and the
/// sizes of keys, which differ a little, would count more than their places.
const SLOWEST: f32 = 0.5;
/// What is kept of the numbers drawn.
const KEPT: f32 = 0.3;

/// Changes the first weights (`tensors` and what was drawn for them, in order) so that head `n` of the first layer looks
/// `looks_back[n]` places back; where heads share keys, the first head of each group.
///
/// # Errors
/// A model whose first layer has no plain rotary embedding over whole heads, or too few heads, in words.
pub(super) fn look_back(
    spec: &ScratchSpec,
    attention: &Attention,
    tensors: &[Tensor],
    drawn: &mut [Vec<f32>],
) -> Result<(), String> {
    let plain = |rope: &&Rope| rope.scaling == RopeScaling::None && rope.rotated == attention.key_width;
    let refuse =
        || "`begin.looks_back` needs rotary embeddings over whole heads, and no norm on queries and keys".to_owned();
    let rope = attention.rope.as_ref().filter(plain).ok_or_else(refuse)?;
    if attention.query_key_norm.is_some() {
        return Err(refuse());
    }
    let (width, head, last) = (spec.width, attention.key_width, spec.width - 1);
    let group = attention.heads / attention.kv_heads.max(1);
    let places: Vec<(usize, f32)> =
        (0..).step_by(group.max(1)).zip(spec.begin.looks_back.iter().map(|&back| back as f32)).collect();
    if places.len() > attention.kv_heads {
        let (found, most) = (places.len(), attention.kv_heads);
        return Err(format!("`begin.looks_back` names {found} heads of the {most} with keys of their own"));
    }
    let mut named = |name: &str| {
        let at = tensors.iter().position(|tensor| tensor.name == name)?;
        Some((at, std::mem::take(drawn.get_mut(at)?)))
    };
    let all = ["token_embd.weight", "blk.0.attn_q.weight", "blk.0.attn_k.weight"].map(&mut named);
    let [Some((e, mut embedding)), Some((q, mut queries)), Some((k, mut keys))] = all else { return Err(refuse()) };

    let rows = embedding.chunks_exact(width);
    let count = rows.len().max(1) as f32;
    let length = rows.map(|row| row.iter().map(|x| x * x).sum::<f32>().sqrt()).sum::<f32>() / count;
    let shared = SHARED * length;
    embedding.chunks_exact_mut(width).for_each(|row| row[last] = shared);
    // What the norm before the layer makes of it.
    let normed = shared * (width as f32).sqrt() / length.hypot(shared);
    let size = (SHARPNESS / attention.scale).sqrt() / normed;
    for (query_head, back) in places {
        let key_head = query_head / group.max(1);
        for (numbers, head_at) in [(&mut queries, query_head), (&mut keys, key_head)] {
            let rows = &mut numbers[head_at * head * width..(head_at + 1) * head * width];
            rows.iter_mut().for_each(|x| *x *= KEPT);
            rows.chunks_exact_mut(width).for_each(|row| row[last] = 0.0);
        }
        for pair in 0..head / 2 {
            let (one, other) = match rope.pairs {
                RopePairs::Interleaved => (2 * pair, 2 * pair + 1),
                RopePairs::Halves => (pair, pair + head / 2),
            };
            let turn = rope.theta.powf(-2.0 * pair as f32 / head as f32);
            if turn < SLOWEST {
                break;
            }
            let angle = back * turn;
            let place = |head_at: usize, row: usize| (head_at * head + row) * width + last;
            keys[place(key_head, one)] = size;
            queries[place(query_head, one)] = size * angle.cos();
            queries[place(query_head, other)] = -size * angle.sin();
        }
    }
    for (at, numbers) in [(e, embedding), (q, queries), (k, keys)] {
        drawn[at] = numbers;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::weights::{draw, tensors};
    use super::*;
    use bantam_model::spec::AttentionBias;

    /// Share of the attention of head `n` that goes to each place, for a row at the end of random tokens.
    fn attention(spec: &ScratchSpec, rope: &Rope, drawn: &[Vec<f32>], n: usize) -> Vec<f32> {
        let (width, head, rows) = (spec.width, spec.head_width(), 12);
        let x: Vec<Vec<f32>> = (0..rows)
            .map(|row| {
                let x = &drawn[0][row * width..][..width];
                let length = (x.iter().map(|x| x * x).sum::<f32>() / width as f32).sqrt();
                x.iter().map(|x| x / length).collect()
            })
            .collect();
        let project = |matrix: &[f32], head_at: usize, x: &[f32], position: usize| -> Vec<f32> {
            let rows = matrix[head_at * head * width..].chunks_exact(width).take(head);
            let plain: Vec<f32> = rows.map(|row| row.iter().zip(x).map(|(w, x)| w * x).sum()).collect();
            let mut turned = plain.clone();
            for pair in 0..head / 2 {
                let (a, b) = match rope.pairs {
                    RopePairs::Interleaved => (2 * pair, 2 * pair + 1),
                    RopePairs::Halves => (pair, pair + head / 2),
                };
                let angle = position as f32 * rope.theta.powf(-2.0 * pair as f32 / head as f32);
                turned[a] = plain[a] * angle.cos() - plain[b] * angle.sin();
                turned[b] = plain[a] * angle.sin() + plain[b] * angle.cos();
            }
            turned
        };
        let group = spec.heads / spec.kv_heads();
        let query = project(&drawn[2], n * group, &x[rows - 1], rows - 1);
        let scores: Vec<f32> = (0..rows)
            .map(|row| {
                let key = project(&drawn[3], n, &x[row], row);
                query.iter().zip(&key).map(|(q, k)| q * k).sum::<f32>() / (head as f32).sqrt()
            })
            .collect();
        let most = scores.iter().fold(f32::NEG_INFINITY, |most, score| most.max(*score));
        let sum: f32 = scores.iter().map(|score| (score - most).exp()).sum();
        scores.iter().map(|score| (score - most).exp() / sum).collect()
    }

    #[test]
    fn heads_look_where_they_are_told() {
        for (kv_heads, pairs) in [(4, RopePairs::Interleaved), (2, RopePairs::Halves)] {
            let text = format!(
                "family = \"llama\"\nwidth = 128\nlayers = 1\nheads = 4\nkv_heads = {kv_heads}\nhead_width = 64\n\
                 [tokenizer]\nsize = 300\nspecial = [\"<end>\"]\nend = \"<end>\"\n[begin]\nlooks_back = [1, 3]\n"
            );
            let spec = ScratchSpec::parse(&text).unwrap();
            let list = tensors(&spec, 300);
            let mut drawn: Vec<Vec<f32>> = list.iter().enumerate().map(|(n, tensor)| draw(tensor, n, 7)).collect();
            let rope = Rope { rotated: 64, pairs, theta: 10_000.0, scaling: RopeScaling::None };
            let mut of = Attention {
                heads: 4,
                kv_heads,
                key_width: 64,
                value_width: 64,
                scale: 0.125,
                window: None,
                softcap: None,
                causal: true,
                rope: Some(rope.clone()),
                query_key_norm: None,
                bias: AttentionBias::default(),
            };
            look_back(&spec, &of, &list, &mut drawn).unwrap();
            for (head, back) in [(0, 1), (1, 3)] {
                let shares = attention(&spec, &rope, &drawn, head);
                assert!(shares[11 - back] > 0.6, "{back} back: {shares:?}");
            }
            of.rope = None;
            let refused = look_back(&spec, &of, &list, &mut drawn).unwrap_err();
            assert!(refused.contains("needs rotary embeddings"), "{refused}");
        }
    }
}
