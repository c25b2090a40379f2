//! The Spec: what a model is, as plain data. Nothing here names a family's peculiarity; everything is a property.

use bantam_plan::{Activation, NormKind, RopePairs, RopeTable};

/// A whole model.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// Name of the family that read it, for people.
    pub family: &'static str,
    /// Rows of the token embedding.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub width: usize,
    /// Positions the model was made for.
    pub context: usize,
    /// Factor on the embedding.
    pub embedding_scale: Option<f32>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Norm before the head.
    pub output_norm: Option<Norm>,
    /// From the last row to logits.
    pub head: Head,
}

/// One layer: a mixer over positions and a network over columns, each a branch beside the residual stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// How the two branches hang on the residual stream.
    pub wiring: Wiring,
    /// What mixes positions.
    pub mixer: Mixer,
    /// Norms of the mixer's branch.
    pub mixer_norms: Norms,
    /// What works on each position.
    pub feed_forward: FeedForward,
    /// Norms of the feed-forward branch.
    pub feed_forward_norms: Norms,
    /// Factor on what each branch adds to the stream.
    pub branch_scale: Option<f32>,
}

/// How the branches of a layer hang on the residual stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wiring {
    /// The feed-forward branch reads the stream after the mixer's sum.
    Sequential,
    /// Both read the layer's input and their results are added together; a feed-forward branch without a norm of its
    /// own reads the mixer's.
    Parallel,
}

/// Norms around a branch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Norms {
    /// On what the branch reads.
    pub before: Option<Norm>,
    /// On what the branch adds.
    pub after: Option<Norm>,
}

/// One norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    /// RMS or layer norm.
    pub kind: NormKind,
    /// Added under the root.
    pub eps: f32,
    /// Added to the stored factor.
    pub shift: f32,
    /// Whether it has a bias.
    pub bias: bool,
}

/// What mixes positions.
#[derive(Clone, Debug, PartialEq)]
pub enum Mixer {
    /// Softmax attention.
    Attention(Attention),
}

/// Softmax attention with grouped queries.
#[derive(Clone, Debug, PartialEq)]
pub struct Attention {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads.
    pub kv_heads: usize,
    /// Columns of a query or key head.
    pub key_width: usize,
    /// Columns of a value head.
    pub value_width: usize,
    /// Factor on scores.
    pub scale: f32,
    /// How many positions back a row sees, itself included.
    pub window: Option<usize>,
    /// Bound on scores.
    pub softcap: Option<f32>,
    /// Whether a row sees only positions up to its own.
    pub causal: bool,
    /// Position embedding on queries and keys.
    pub rope: Option<Rope>,
    /// Norm on queries and keys, before they turn.
    pub query_key_norm: Option<QueryKeyNorm>,
    /// Which projections have a bias.
    pub bias: AttentionBias,
}

/// A norm on queries and on keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QueryKeyNorm {
    /// The norm.
    pub norm: Norm,
    /// Whether each head is normalised by itself (all with one factor), or the whole row at once.
    pub per_head: bool,
}

/// Which projections of attention have a bias.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttentionBias {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The output projection.
    pub output: bool,
}

/// Rotary position embedding.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Columns of a head that turn.
    pub rotated: usize,
    /// Which columns form a pair.
    pub pairs: RopePairs,
    /// Base of the frequencies.
    pub theta: f32,
    /// How the frequencies were changed for a longer context.
    pub scaling: RopeScaling,
}

/// How rope frequencies were changed for a longer context.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// All divided by a factor (Chen et al. 2023).
    Linear {
        /// The divisor.
        factor: f32,
    },
    /// Low frequencies divided, high ones kept, between them a blend (Llama 3.1).
    Banded {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Wavelengths above `original / low` are low frequencies.
        low: f32,
        /// Wavelengths below `original / high` are high frequencies.
        high: f32,
        /// Context the model was first made for.
        original: usize,
    },
    /// Each divided by its own factor, as files that carry them.
    Divisors(Vec<f32>),
}

impl Rope {
    /// Angular frequencies in radians per position, in the order of pairs.
    ///
    /// Computed in f32 as checkpoints' own code does (`1 / theta^(2i / rotated)`), so that far positions agree with it.
    pub fn table(&self) -> RopeTable {
        let base = (0..self.rotated / 2).map(|i| 1.0 / self.theta.powf((2 * i) as f32 / self.rotated as f32));
        let frequencies = match &self.scaling {
            RopeScaling::None => base.collect(),
            RopeScaling::Linear { factor } => base.map(|frequency| frequency / factor).collect(),
            RopeScaling::Banded { factor, low, high, original } => {
                base.map(|frequency| banded(frequency, *factor, *low, *high, *original as f32)).collect()
            }
            RopeScaling::Divisors(divisors) => {
                base.zip(divisors).map(|(frequency, divisor)| frequency / divisor).collect()
            }
        };
        RopeTable { frequencies, magnitude: 1.0 }
    }
}

/// One frequency under [`RopeScaling::Banded`].
fn banded(frequency: f32, factor: f32, low: f32, high: f32, original: f32) -> f32 {
    let wavelength = 2.0 * std::f32::consts::PI / frequency;
    if wavelength < original / high {
        frequency
    } else if wavelength > original / low {
        frequency / factor
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * frequency / factor + smooth * frequency
    }
}

/// What works on each position.
#[derive(Clone, Debug, PartialEq)]
pub enum FeedForward {
    /// `down(activation(gate(x)) * up(x))`.
    Gated(Dense),
    /// `down(activation(up(x)))`.
    Plain(Dense),
}

/// A dense feed-forward network.
#[derive(Clone, Debug, PartialEq)]
pub struct Dense {
    /// Inner width.
    pub hidden: usize,
    /// Function on the inner values.
    pub activation: Activation,
    /// Whether its projections have a bias.
    pub bias: bool,
}

/// From the last row to logits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Head {
    /// Whether it is the token embedding itself.
    pub tied: bool,
    /// Whether it has a bias.
    pub bias: bool,
    /// Factor on logits.
    pub scale: Option<f32>,
    /// Bound on logits.
    pub softcap: Option<f32>,
}
