//! The Spec: what a model is, as plain data. Nothing here names a family's peculiarity; everything is a property.

use bantam_plan::{Activation, NormKind, RopePairs, RopeTable, Router};

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
    /// Whether a learned vector for each position is added to the embedding.
    pub learned_positions: bool,
    /// Rows of a table of segment kinds, of which the first is added to every embedding.
    pub segments: Option<usize>,
    /// Norm on the embedding.
    pub embedding_norm: Option<Norm>,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// Norm before the head.
    pub output_norm: Option<Norm>,
    /// From the last row to logits; without one the last hidden state is what the model makes.
    pub head: Option<Head>,
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
    /// One after the other, and the norms after a branch are on its sum with the stream.
    NormedSums,
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
    /// What is normalised at once.
    pub over: NormOver,
}

/// What a norm on queries or keys takes together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormOver {
    /// The whole row.
    Row,
    /// Each head by itself, all with one factor.
    Head,
    /// Each head by itself, each with a factor of its own.
    OwnHead,
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
    /// Low frequencies divided, high ones kept, a ramp between them by index (YaRN, Peng et al. 2023).
    Ramped {
        /// Divisor of the low frequencies.
        factor: f32,
        /// Turns in the original context above which a frequency is kept.
        fast: f32,
        /// Turns in the original context below which a frequency is divided whole.
        slow: f32,
        /// Whether the ramp's ends are rounded outwards to whole indices.
        rounded: bool,
        /// Context the model was first made for.
        original: usize,
        /// Factor on cosine and sine.
        magnitude: f32,
    },
    /// Each divided by its own factor: one list up to a context, another above it (LongRoPE, Ding et al. 2024).
    ///
    /// Which list holds is settled by the context a model is loaded with ([`Rope::table`]).
    ByContext {
        /// Longest context of the first list.
        original: usize,
        /// Divisors and magnitude up to it.
        short: (Vec<f32>, f32),
        /// Divisors and magnitude above it.
        long: (Vec<f32>, f32),
    },
}

impl Rope {
    /// Angular frequencies in radians per position, in the order of pairs.
    ///
    /// Computed in f32 as checkpoints' own code does (`1 / theta^(2i / rotated)`), so that far positions agree with it.
    ///
    /// `context` is the longest sequence there will be. [`RopeScaling::ByContext`] goes by it: checkpoints' own code
    /// goes by the sequence at hand, so both agree where sequences and context lie on one side of the original context.
    pub fn table(&self, context: usize) -> RopeTable {
        let mut magnitude = 1.0;
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
            RopeScaling::Ramped { factor, fast, slow, rounded, original, magnitude: stated } => {
                magnitude = *stated;
                let (low, high) = self.ramp(*fast, *slow, *rounded, *original);
                let kept = |i: usize| 1.0 - ((i as f32 - low) / (high - low)).clamp(0.0, 1.0);
                let blend = |(i, frequency): (usize, f32)| frequency / factor * (1.0 - kept(i)) + frequency * kept(i);
                base.enumerate().map(blend).collect()
            }
            RopeScaling::ByContext { original, short, long } => {
                let (divisors, stated) = if context > *original { long } else { short };
                magnitude = *stated;
                // As the checkpoints' code: the divisor goes to the power before the inversion.
                let power = |i: usize| self.theta.powf((2 * i) as f32 / self.rotated as f32);
                divisors.iter().enumerate().map(|(i, divisor)| 1.0 / (divisor * power(i))).collect()
            }
        };
        RopeTable { frequencies, magnitude }
    }

    /// First and last index of the ramp of [`RopeScaling::Ramped`].
    fn ramp(&self, fast: f32, slow: f32, rounded: bool, original: usize) -> (f32, f32) {
        let index = |turns: f32| {
            let wavelengths = original as f64 / (f64::from(turns) * 2.0 * std::f64::consts::PI);
            self.rotated as f64 * wavelengths.ln() / (2.0 * f64::from(self.theta).ln())
        };
        let (low, high) = (index(fast), index(slow));
        let (low, high) = if rounded { (low.floor(), high.ceil()) } else { (low, high) };
        let (low, high) = (low.max(0.0), high.min((self.rotated - 1) as f64));
        (low as f32, if low == high { high + 0.001 } else { high } as f32)
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
    /// Several gated networks, of which each row takes a few.
    Experts(Experts),
}

/// A mixture of gated networks.
#[derive(Clone, Debug, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: usize,
    /// How many a row takes.
    pub chosen: usize,
    /// How the router weighs them.
    pub router: Router,
    /// One of them.
    pub expert: Dense,
}

impl FeedForward {
    /// The network, or one of the experts.
    pub fn dense(&self) -> &Dense {
        match self {
            Self::Gated(dense) | Self::Plain(dense) => dense,
            Self::Experts(experts) => &experts.expert,
        }
    }

    /// The network, or one of the experts, to change.
    pub fn dense_mut(&mut self) -> &mut Dense {
        match self {
            Self::Gated(dense) | Self::Plain(dense) => dense,
            Self::Experts(experts) => &mut experts.expert,
        }
    }
}

impl Spec {
    /// Every norm on the residual stream: before and after branches, and the last.
    pub fn stream_norms(&mut self) -> impl Iterator<Item = &mut Norm> {
        let layers = self.layers.iter_mut().flat_map(|layer| [&mut layer.mixer_norms, &mut layer.feed_forward_norms]);
        layers.flat_map(|norms| [&mut norms.before, &mut norms.after]).chain([&mut self.output_norm]).flatten()
    }

    /// Makes every feed-forward network a plain one; with `activation` where the checkpoint does not say which.
    pub(crate) fn plain_feed_forward(&mut self, says: bool, activation: Activation) {
        for layer in &mut self.layers {
            let dense = layer.feed_forward.dense();
            let activation = if says { dense.activation } else { activation };
            layer.feed_forward = FeedForward::Plain(Dense { activation, ..dense.clone() });
        }
    }

    /// Makes every layer's activation `activation`.
    pub(crate) fn activate_by(&mut self, activation: Activation) {
        self.layers.iter_mut().for_each(|layer| layer.feed_forward.dense_mut().activation = activation);
    }

    /// The attention of every layer that has one.
    pub fn attentions(&mut self) -> impl Iterator<Item = &mut Attention> {
        self.layers.iter_mut().map(|layer| {
            let Mixer::Attention(attention) = &mut layer.mixer;
            attention
        })
    }

    /// Whether its head is the token embedding itself.
    pub fn is_tied(&self) -> bool {
        self.head.as_ref().is_some_and(|head| head.tied)
    }

    /// Whether every row sees only positions up to its own, so that sequences may be fed in pieces.
    pub fn is_causal(&self) -> bool {
        self.layers.iter().all(|layer| {
            let Mixer::Attention(attention) = &layer.mixer;
            attention.causal
        })
    }

    /// Columns of what it makes: logits, or hidden states.
    pub fn output_width(&self) -> usize {
        if self.head.is_some() { self.vocabulary } else { self.width }
    }

    /// The context up to which the model runs as it was first made: with a longer one its rope may differ.
    pub fn first_context(&self) -> usize {
        let original = |layer: &Layer| {
            let Mixer::Attention(attention) = &layer.mixer;
            match attention.rope.as_ref().map(|rope| &rope.scaling) {
                Some(RopeScaling::ByContext { original, .. }) => Some(*original),
                Some(
                    RopeScaling::None
                    | RopeScaling::Linear { .. }
                    | RopeScaling::Banded { .. }
                    | RopeScaling::Divisors(_)
                    | RopeScaling::Ramped { .. },
                )
                | None => None,
            }
        };
        self.layers.iter().filter_map(original).min().map_or(self.context, |original| original.min(self.context))
    }
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
