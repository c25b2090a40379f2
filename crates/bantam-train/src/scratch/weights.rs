//! What a new model's weights begin with.
//!
//! Matrices are drawn from a normal distribution of deviation `√(2 / (5·width))` (Nguyen & Salazar 2019), those that write into
//! the residual stream from one smaller by `√(2·layers)` (Radford et al. 2019), so that the stream's variance does not grow
//! with depth; norms begin with 1.

use std::collections::HashMap;
use std::io::BufRead as _;
use std::path::Path;

use bantam_text::{Tokenizer, Vocabulary};
use serde_json::Value;

use super::ScratchSpec;
use crate::TrainError;
use crate::random::Random;

/// What the draws are for; each tensor has its own stream.
const WEIGHTS: u64 = 0x5ca7_c4ed;

/// A tensor of the model: its name, its rows and width, and how it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor {
    pub(super) name: String,
    pub(super) rows: usize,
    pub(super) width: usize,
    pub(super) begin: Begin,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Begin {
    /// With 1 throughout.
    Ones,
    /// Normally distributed with this deviation.
    Normal(f32),
}

impl Tensor {
    fn new(name: impl Into<String>, (rows, width): (usize, usize), begin: Begin) -> Self {
        Self { name: name.into(), rows, width, begin }
    }

    /// Its dimensions as GGUF has them, fastest first.
    pub(super) fn dims(&self) -> Vec<u64> {
        match self.rows {
            1 if self.begin == Begin::Ones => vec![self.width as u64],
            rows => vec![self.width as u64, rows as u64],
        }
    }
}

/// The tensors of a decoder of this shape, in GGUF's order.
pub(super) fn tensors(spec: &ScratchSpec, vocabulary: usize) -> Vec<Tensor> {
    let width = spec.width;
    let (q, kv) = (spec.heads * spec.head_width(), spec.kv_heads() * spec.head_width());
    let inner = spec.feed_forward();
    let deviation = (0.4 / width as f32).sqrt();
    let (normal, residual) = (Begin::Normal(deviation), Begin::Normal(deviation / (2.0 * spec.layers as f32).sqrt()));
    let mut all = vec![Tensor::new("token_embd.weight", (vocabulary, width), normal)];
    for layer in 0..spec.layers {
        let parts = [
            ("attn_norm", (1, width), Begin::Ones),
            ("attn_q", (q, width), normal),
            ("attn_k", (kv, width), normal),
            ("attn_v", (kv, width), normal),
            ("attn_output", (width, q), residual),
            ("ffn_norm", (1, width), Begin::Ones),
            ("ffn_gate", (inner, width), normal),
            ("ffn_up", (inner, width), normal),
            ("ffn_down", (width, inner), residual),
        ];
        all.extend(parts.map(|(name, shape, begin)| Tensor::new(format!("blk.{layer}.{name}.weight"), shape, begin)));
    }
    all.push(Tensor::new("output_norm.weight", (1, width), Begin::Ones));
    if !spec.tied {
        all.push(Tensor::new("output.weight", (vocabulary, width), normal));
    }
    all
}

/// A tensor's first numbers: a function of the seed and its place among the tensors.
pub(super) fn draw(tensor: &Tensor, place: usize, seed: u64) -> Vec<f32> {
    let count = tensor.rows * tensor.width;
    match tensor.begin {
        Begin::Ones => vec![1.0; count],
        Begin::Normal(deviation) => {
            let mut random = Random::new(seed, WEIGHTS ^ (place as u64) << 32);
            (0..count).map(|_| deviation * random.normal()).collect()
        }
    }
}

/// Rows of the embedding from a file of vectors: a token whose text stands there, but for a space before it, begins with that
/// direction, at the length that a drawn row has. Gives the number of tokens found.
pub(super) fn begin_with(
    path: &Path,
    vocabulary: &Vocabulary,
    (embedding, width): (&mut [f32], usize),
) -> Result<usize, TrainError> {
    let wrong = |line: usize, problem: String| TrainError::Line { path: path.to_owned(), line: line + 1, problem };
    let unread = |problem: std::io::Error| TrainError::Read { path: path.to_owned(), problem: problem.to_string() };
    let file = std::io::BufReader::new(std::fs::File::open(path).map_err(unread)?);
    let mut vectors: HashMap<String, Vec<f32>> = HashMap::new();
    for (number, line) in file.lines().enumerate() {
        let line = line.map_err(unread)?;
        let value: Value = serde_json::from_str(&line).map_err(|error| wrong(number, format!("no JSON: {error}")))?;
        let text = value.get("text").and_then(Value::as_str).ok_or_else(|| wrong(number, "no `text`".into()))?;
        let numbers = value.get("embedding").and_then(Value::as_array);
        let numbers: Option<Vec<f32>> =
            numbers.and_then(|list| list.iter().map(|x| x.as_f64().map(|x| x as f32)).collect());
        let numbers = numbers.filter(|numbers| numbers.len() == width);
        let numbers = numbers.ok_or_else(|| wrong(number, format!("`embedding` is no list of {width} numbers")))?;
        vectors.insert(text.to_owned(), numbers);
    }
    let tokenizer = Tokenizer::from_vocabulary(vocabulary.clone())?;
    let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
    let mut found = 0;
    for (id, row) in (0u32..).zip(embedding.chunks_exact_mut(width)) {
        // A word behind a space is the same word.
        let known = |text: &str| vectors.get(text).or_else(|| vectors.get(text.strip_prefix(' ')?));
        let text = tokenizer.token_bytes(id).and_then(|bytes| std::str::from_utf8(bytes).ok());
        let vector = text.and_then(known);
        let Some(vector) = vector.filter(|vector| length(vector) > 0.0) else { continue };
        let factor = length(row) / length(vector);
        row.iter_mut().zip(vector).for_each(|(x, of)| *x = factor * of);
        found += 1;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::{Begin, Tensor, draw};

    #[test]
    fn draws_are_normal_and_each_tensor_has_its_own() {
        let tensor = Tensor::new("x", (64, 64), Begin::Normal(0.5));
        let (one, other) = (draw(&tensor, 0, 3), draw(&tensor, 1, 3));
        assert_ne!(one, other);
        assert_eq!(one, draw(&tensor, 0, 3));
        let count = one.len() as f32;
        let mean = one.iter().sum::<f32>() / count;
        let deviation = (one.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count).sqrt();
        assert!(mean.abs() < 0.03 && (deviation - 0.5).abs() < 0.02, "{mean} {deviation}");
        // Of a normal distribution, 68.3% lie within one deviation and 95.4% within two.
        let within = |k: f32| one.iter().filter(|x| x.abs() < k * 0.5).count() as f32 / count;
        assert!((within(1.0) - 0.683).abs() < 0.03 && (within(2.0) - 0.954).abs() < 0.02);
    }
}
