//! Which weights get an adapter, and what it begins with.

use bantam_model::exchange::{AdapterPlace, SavedPlace, adapter_places, saved_places};
use bantam_model::{Checkpoint, HEAD, TOKEN_EMBEDDING};
use bantam_plan::rewrite::Adapter as PlanAdapter;
use bantam_runtime::{Adapter, AdapterPart, Dora};

use crate::TrainError;
use crate::random::Random;

/// Low-rank adaptation (LoRA, Hu et al. 2021).
#[derive(Clone, Debug, PartialEq)]
pub struct Lora {
    /// Inner width of each adapter.
    pub rank: usize,
    /// Other ranks of modules that a pattern names, as in `targets`; the last that fits counts.
    pub ranks: Vec<(String, usize)>,
    /// The scale is `alpha / rank`, or `alpha / √rank` where it is rank-stabilised.
    pub alpha: f32,
    /// rsLoRA (Kalajdzievski 2023).
    pub rank_stabilised: bool,
    /// DoRA (Liu et al. 2024): the lengths of the adapted weights' rows are trained apart from their directions.
    pub dora: bool,
    /// Share of what an adapter reads that is left out while it is trained.
    pub dropout: f32,
    /// Names of modules, as Hugging Face or GGUF call them (`q_proj`, `attn_q`, `model.layers.3.mlp.down_proj`), `*` for any
    /// part of a name, `all-linear` for all linears of all layers.
    pub targets: Vec<String>,
    /// Modules that are trained wholly beside the adapters (PEFT's `modules_to_save`), named in the same way.
    pub saved: Vec<String>,
}

impl Default for Lora {
    fn default() -> Self {
        Self {
            rank: 16,
            ranks: Vec::new(),
            alpha: 32.0,
            rank_stabilised: false,
            dora: false,
            dropout: 0.0,
            targets: vec![ALL.into()],
            saved: Vec::new(),
        }
    }
}

/// Most that a rank may be: more than any model is wide.
pub const MOST_RANK: usize = 65_536;

/// The target that stands for all linears of all layers.
pub const ALL: &str = "all-linear";

/// Whether a name is, or a path ends in, what a pattern says; `*` stands for any part.
fn matches(pattern: &str, name: &str) -> bool {
    fn whole(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| whole(rest, &name[at..])),
            Some((first, rest)) => name.split_first().is_some_and(|(other, name)| first == other && whole(rest, name)),
        }
    }
    let starts = std::iter::once(0).chain(name.match_indices('.').map(|(at, _)| at + 1));
    // A pattern of many stars would try every way to part a name; names are short and patterns are the user's own.
    starts.into_iter().any(|at| whole(pattern.as_bytes(), &name.as_bytes()[at..]))
}

/// Whether a pattern names a place.
fn named(pattern: &str, place: &AdapterPlace) -> bool {
    if pattern == ALL {
        return place.in_layer;
    }
    let ours = place.weight.strip_suffix(".weight").unwrap_or(&place.weight);
    // A part of a fused module goes by the name it would have alone, too.
    let alone = ours.rsplit_once('.').map_or(ours, |(_, stem)| stem);
    let alone = ALONE.iter().find(|(stem, _)| *stem == alone).map_or("", |(_, name)| name);
    [&place.module, ours, alone].iter().any(|name| !name.is_empty() && matches(pattern, name))
}

impl Lora {
    /// Factor on what an adapter of this rank adds.
    pub fn scale(&self, rank: usize) -> f32 {
        let rank = rank as f32;
        self.alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// The rank of a place.
    pub fn rank_of(&self, place: &AdapterPlace) -> usize {
        let last = self.ranks.iter().rev().find(|(pattern, _)| named(pattern, place));
        last.map_or(self.rank, |(_, rank)| *rank)
    }

    /// The places it adapts, in the Plan's order.
    ///
    /// # Errors
    /// A target that names nothing, with the names there are; a rank of 0 or beyond [`MOST_RANK`], a dropout that is none.
    pub fn places(&self, checkpoint: &Checkpoint) -> Result<Vec<AdapterPlace>, TrainError> {
        let ranks = self.ranks.iter().map(|(_, rank)| *rank);
        let sound = |rank: usize| (1..=MOST_RANK).contains(&rank) && self.scale(rank).is_finite();
        if !ranks.chain([self.rank]).all(sound) || !(0.0..1.0).contains(&self.dropout) {
            return Err(TrainError::Option(format!(
                "a rank of at least 1 and at most {MOST_RANK}, a finite alpha and a dropout of at least 0 and below 1 are needed"
            )));
        }
        let places = adapter_places(checkpoint);
        let patterns = self.targets.iter().chain(self.ranks.iter().map(|(pattern, _)| pattern));
        if let Some(pattern) = patterns.into_iter().find(|pattern| !places.iter().any(|place| named(pattern, place))) {
            let mut known: Vec<&str> = places.iter().map(AdapterPlace::module_name).collect();
            known.sort_unstable();
            known.dedup();
            return Err(TrainError::Target { pattern: pattern.clone(), known: known.join(", ") });
        }
        Ok(places.into_iter().filter(|place| self.targets.iter().any(|pattern| named(pattern, place))).collect())
    }

    /// The weights that are trained wholly.
    ///
    /// # Errors
    /// A name of nothing that can be, with the names there are; one that gets an adapter as well.
    pub fn saved_places(&self, checkpoint: &Checkpoint) -> Result<Vec<SavedPlace>, TrainError> {
        if self.saved.is_empty() {
            return Ok(Vec::new());
        }
        let all = saved_places(checkpoint).map_err(|error| TrainError::Option(error.to_string()))?;
        // As PEFT finds them, and by our names.
        let fits = |pattern: &String, place: &SavedPlace| {
            let ours = place.weight.strip_suffix(".weight").unwrap_or(&place.weight);
            matches(pattern, place.module()) || matches(pattern, ours)
        };
        if let Some(pattern) = self.saved.iter().find(|pattern| !all.iter().any(|place| fits(pattern, place))) {
            let short = |place: &SavedPlace| place.module().rsplit('.').next().unwrap_or_default().to_owned();
            let mut known: Vec<String> = all.iter().map(short).collect();
            known.sort_unstable();
            known.dedup();
            return Err(TrainError::Target { pattern: pattern.clone(), known: known.join(", ") });
        }
        let chosen: Vec<SavedPlace> =
            all.into_iter().filter(|place| self.saved.iter().any(|pattern| fits(pattern, place))).collect();
        let adapted = self.places(checkpoint)?;
        let both = |place: &&SavedPlace| {
            let tied = checkpoint.spec().is_tied() && [HEAD, TOKEN_EMBEDDING].contains(&place.weight.as_str());
            adapted.iter().any(|other| other.weight == place.weight || (tied && other.weight == TOKEN_EMBEDDING))
        };
        match chosen.iter().find(both) {
            Some(place) => {
                Err(TrainError::Option(format!("`{}` is to be trained wholly and by an adapter", place.module())))
            }
            None => Ok(chosen),
        }
    }

    /// The adapters of a Plan, and what they begin with: A drawn evenly within `1/√inputs` (as PEFT does), B zero. DoRA's
    /// magnitudes begin as the lengths of the weights' rows, which are not looked at here.
    pub fn begin(&self, places: &[AdapterPlace], seed: u64) -> (Vec<PlanAdapter>, Adapter) {
        let wanted = places.iter().map(|place| {
            let rank = self.rank_of(place);
            let (weight, scale) = (place.weight.clone(), self.scale(rank));
            PlanAdapter { weight, rank, scale, dropout: self.dropout, dora: self.dora.then_some(1.0) }
        });
        let parts = places.iter().enumerate().map(|(n, place)| {
            let rank = self.rank_of(place);
            let mut random = Random::new(seed, n as u64 + 1);
            let bound = 1.0 / (place.inputs as f32).sqrt();
            let a = (0..rank * place.inputs).map(|_| random.within(bound)).collect();
            let (scale, b) = (self.scale(rank), vec![0.0; place.outputs * rank]);
            let dora = self.dora.then(|| Dora { magnitude: vec![0.0; place.outputs], factor: 1.0 });
            AdapterPart { weight: place.weight.clone(), rank, scale, a, b, dora }
        });
        (wanted.collect(), Adapter { parts: parts.collect(), ..Adapter::default() })
    }
}

/// What the parts of fused modules are called where they stand alone.
const ALONE: [(&str, &str); 5] = [
    ("attn_q", "q_proj"),
    ("attn_k", "k_proj"),
    ("attn_v", "v_proj"),
    ("ffn_gate", "gate_proj"),
    ("ffn_up", "up_proj"),
];

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_name_the_end_of_a_path() {
        let check =
            |pattern: &str, name: &str, expected: bool| assert_eq!(matches(pattern, name), expected, "{pattern}");
        check("q_proj", "model.layers.3.self_attn.q_proj", true);
        check("proj", "model.layers.3.self_attn.q_proj", false);
        check("*_proj", "model.layers.3.self_attn.q_proj", true);
        check("layers.3.*.q_proj", "model.layers.3.self_attn.q_proj", true);
        check("layers.3.*.q_proj", "model.layers.13.self_attn.q_proj", false);
        check("model.layers.3.self_attn.q_proj", "model.layers.3.self_attn.q_proj", true);
        check("attn_q", "blk.0.attn_q", true);
        check("", "blk.0.attn_q", false);
    }
}
