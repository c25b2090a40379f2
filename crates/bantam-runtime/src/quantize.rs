//! Quantize on load: weights given in another format than they are stored in.

use bantam_model::TOKEN_EMBEDDING;
use bantam_plan::{WeightView, Weights};
use bantam_tensor::{SharedBytes, TensorType};

/// Weights of which matrices are re-encoded to one type as they are asked for.
///
/// As llama-quantize does, a row that is no multiple of the block falls back to a type whose blocks fit, and the output
/// matrix (or the embedding that stands for it) keeps more bits than a 4- or 5-bit type would give it.
pub(crate) struct Quantized<'a> {
    inner: &'a dyn Weights,
    wanted: TensorType,
    /// Name of the matrix that makes logits.
    head: &'a str,
    /// Names of matrices; the rest are vectors and stay as they are.
    matrices: &'a dyn Fn(&str) -> bool,
}

impl<'a> Quantized<'a> {
    pub(crate) fn new(
        inner: &'a dyn Weights,
        wanted: TensorType,
        head: &'a str,
        matrices: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        Self { inner, wanted, head, matrices }
    }

    /// The type a matrix gets.
    pub(crate) fn target(wanted: TensorType, name: &str, head: &str, width: usize) -> TensorType {
        let few_bits = 8 * wanted.block_bytes() < 6 * wanted.block_len();
        let wanted = if (name == head || name == TOKEN_EMBEDDING) && few_bits { TensorType::Q6_K } else { wanted };
        wanted.fallback(width)
    }
}

impl Weights for Quantized<'_> {
    fn weight(&self, name: &str) -> Option<WeightView> {
        let view = self.inner.weight(name)?;
        if !(self.matrices)(name) {
            return Some(view);
        }
        let target = Self::target(self.wanted, name, self.head, view.width);
        if target == view.tensor_type {
            return Some(view);
        }
        let bytes = encode(&view, target)?;
        view.bytes.done_with(0..view.bytes.len());
        Some(WeightView { tensor_type: target, bytes: SharedBytes::from_vec(bytes), ..view })
    }
}

/// Rows that are re-encoded at a time: of a weight that is made when looked at, no more are there at once.
const ROWS: usize = 64;

/// Re-encodes a matrix row by row.
fn encode(view: &WeightView, target: TensorType) -> Option<Vec<u8>> {
    let from = view.tensor_type.row_bytes(view.width).ok()?;
    let to = target.row_bytes(view.width).ok()?;
    let mut out = vec![0; to.checked_mul(view.rows)?];
    let mut row = vec![0.0; view.width];
    let mut start: usize = 0;
    for made in out.chunks_mut(to.checked_mul(ROWS)?.max(1)) {
        let end = start.checked_add(made.len() / to.max(1) * from)?;
        let stored = view.bytes.slice(start..end)?.fresh();
        for (source, made) in stored.chunks_exact(from).zip(made.chunks_exact_mut(to)) {
            view.tensor_type.decode(source, &mut row).ok()?;
            target.encode(&row, made).ok()?;
        }
        start = end;
    }
    Some(out)
}
