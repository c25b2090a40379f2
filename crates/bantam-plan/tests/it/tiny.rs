//! A tiny decoder Plan that holds every op, with random weights.

use std::collections::HashMap;

use bantam_plan::*;
use bantam_tensor::{SharedBytes, TensorType};

/// Weights by name, in f32.
#[derive(Clone)]
pub struct MapWeights(pub HashMap<String, (usize, usize, Vec<f32>)>);

impl Weights for MapWeights {
    fn weight(&self, name: &str) -> Option<WeightView> {
        let (rows, width, values) = self.0.get(name)?;
        let bytes = SharedBytes::from_vec(values.iter().flat_map(|x| x.to_le_bytes()).collect());
        Some(WeightView { tensor_type: TensorType::F32, rows: *rows, width: *width, bytes })
    }
}

/// SplitMix64 to numbers in [-1, 1).
pub fn random(seed: u64) -> impl FnMut() -> f32 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / 8_388_608.0 - 1.0
    }
}

/// Random weights for a Plan: matrices at `1 / sqrt(width)` times 1.5, vectors around 1.
pub fn weights_for(plan: &Plan, seed: u64) -> MapWeights {
    let mut next = random(seed);
    let mut map = HashMap::new();
    for weight in &plan.weights {
        let count = weight.rows * weight.width;
        let values = if weight.rows == 1 {
            (0..count).map(|_| 1.0 + 0.3 * next()).collect()
        } else {
            let scale = 1.5 / (weight.width as f32).sqrt();
            (0..count).map(|_| next() * scale * 1.7).collect()
        };
        map.insert(weight.name.clone(), (weight.rows, weight.width, values));
    }
    MapWeights(map)
}

/// What differs between the tiny Plans.
#[derive(Clone)]
pub struct Tiny {
    pub layers: usize,
    pub norm: NormKind,
    pub pairs: RopePairs,
    pub rotated: usize,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
    pub causal: bool,
    pub gated: bool,
    pub activation: Activation,
    pub head_norm: bool,
    /// Whether each head's norm has a factor of its own.
    pub own_factors: bool,
    /// Adds learned positions.
    pub positions: bool,
    /// Experts, how many are chosen, and how.
    pub experts: Option<(usize, usize, Router)>,
    pub magnitude: f32,
    pub scale: Option<f32>,
}

impl Default for Tiny {
    fn default() -> Self {
        Self {
            layers: 2,
            norm: NormKind::Rms,
            pairs: RopePairs::Halves,
            rotated: 4,
            window: None,
            softcap: None,
            causal: true,
            gated: true,
            activation: Activation::Silu,
            head_norm: false,
            own_factors: false,
            positions: false,
            experts: None,
            magnitude: 1.0,
            scale: None,
        }
    }
}

const VOCABULARY: usize = 11;
const WIDTH: usize = 8;
const HEADS: usize = 4;
const KV_HEADS: usize = 2;
const HEAD: usize = 4;
const HIDDEN: usize = 12;

impl Tiny {
    pub fn plan(&self) -> Plan {
        let mut plan = Plan::new();
        let table = plan.weight("token_embd.weight", VOCABULARY, WIDTH);
        let mut x = plan.step("x", Embed { table, by: EmbedBy::Token }, &[]).unwrap();
        if let Some(by) = self.scale {
            x = plan.step("x scaled", Scale { by }, &[x]).unwrap();
        }
        if self.positions {
            let table = plan.weight("position_embd.weight", 8, WIDTH);
            let position = plan.step("position", Embed { table, by: EmbedBy::Position }, &[]).unwrap();
            x = plan.step("x placed", Add, &[x, position]).unwrap();
        }
        let frequencies = (0..self.rotated / 2).map(|i| 0.7f32.powi(i as i32)).collect();
        let rope_table = plan.table(RopeTable { frequencies, magnitude: self.magnitude });
        for layer in 0..self.layers {
            plan.current_layer = Some(layer);
            let normed = self.norm(&mut plan, &format!("blk.{layer}.attn_norm"), x, 1);
            let linear = |plan: &mut Plan, name: &str, rows, width, bias, from| {
                let name = format!("blk.{layer}.{name}");
                let weight = plan.weight(format!("{name}.weight"), rows, width);
                let bias = if bias { Some(plan.weight(format!("{name}.bias"), 1, rows)) } else { None };
                plan.step(name, Linear { weight, bias }, &[from]).unwrap()
            };
            let q = linear(&mut plan, "attn_q", HEADS * HEAD, WIDTH, true, normed);
            let k = linear(&mut plan, "attn_k", KV_HEADS * HEAD, WIDTH, false, normed);
            let v = linear(&mut plan, "attn_v", KV_HEADS * HEAD, WIDTH, true, normed);
            let (mut q, mut k) = (q, k);
            if self.head_norm {
                q = self.norm(&mut plan, &format!("blk.{layer}.attn_q_norm"), q, HEADS);
                k = self.norm(&mut plan, &format!("blk.{layer}.attn_k_norm"), k, KV_HEADS);
            }
            let rope =
                |heads| Rope { heads, head_width: HEAD, rotated: self.rotated, pairs: self.pairs, table: rope_table };
            let q = plan.step("q turned", rope(HEADS), &[q]).unwrap();
            let k = plan.step("k turned", rope(KV_HEADS), &[k]).unwrap();
            let attend = Attend {
                memory: layer,
                heads: HEADS,
                kv_heads: KV_HEADS,
                key_width: HEAD,
                value_width: HEAD,
                scale: 0.6,
                window: self.window,
                softcap: self.softcap,
                causal: self.causal,
            };
            let attended = plan.step("attended", attend, &[q, k, v]).unwrap();
            let out = linear(&mut plan, "attn_output", WIDTH, HEADS * HEAD, false, attended);
            x = plan.step("x attn", Add, &[x, out]).unwrap();
            let normed = self.norm(&mut plan, &format!("blk.{layer}.ffn_norm"), x, 1);
            if let Some((count, chosen, router)) = self.experts {
                let logits = linear(&mut plan, "ffn_gate_inp", count, WIDTH, false, normed);
                let route = plan.step("route", Route { chosen, router }, &[logits]).unwrap();
                let spread = plan.step("spread", Spread { chosen }, &[normed]).unwrap();
                let experts = |plan: &mut Plan, stem: &str, rows, width, from| {
                    let name = |n| format!("blk.{layer}.{stem}.{n}.weight");
                    let weights = (0..count).map(|n| plan.weight(name(n), rows, width)).collect();
                    plan.step(stem, ExpertLinear { weights }, &[from, route]).unwrap()
                };
                let gate = experts(&mut plan, "ffn_gate", HIDDEN, WIDTH, spread);
                let up = experts(&mut plan, "ffn_up", HIDDEN, WIDTH, spread);
                let hidden = plan.step("glu", Glu { activation: self.activation }, &[gate, up]).unwrap();
                let down = experts(&mut plan, "ffn_down", WIDTH, HIDDEN, hidden);
                let made = plan.step("combined", Combine, &[down, route]).unwrap();
                x = plan.step("x ffn", Add, &[x, made]).unwrap();
                continue;
            }
            let up = linear(&mut plan, "ffn_up", HIDDEN, WIDTH, false, normed);
            let hidden = if self.gated {
                let gate = linear(&mut plan, "ffn_gate", HIDDEN, WIDTH, false, normed);
                plan.step("glu", Glu { activation: self.activation }, &[gate, up]).unwrap()
            } else {
                plan.step("hidden", Activate { activation: self.activation }, &[up]).unwrap()
            };
            let down = linear(&mut plan, "ffn_down", WIDTH, HIDDEN, true, hidden);
            x = plan.step("x ffn", Add, &[x, down]).unwrap();
        }
        plan.current_layer = None;
        let selected = plan.step("selected", Select, &[x]).unwrap();
        let normed = self.norm(&mut plan, "output_norm", selected, 1);
        let head = plan.weight("output.weight", VOCABULARY, WIDTH);
        let mut logits = plan.step("logits", Linear { weight: head, bias: None }, &[normed]).unwrap();
        if let Some(cap) = self.softcap {
            logits = plan.step("logits capped", Softcap { cap: cap * 3.0 }, &[logits]).unwrap();
        }
        plan.output = Some(logits);
        plan.check().unwrap();
        plan
    }

    fn norm(&self, plan: &mut Plan, name: &str, x: ValueId, groups: usize) -> ValueId {
        let width = plan.get(x).width / groups;
        let rows = if self.own_factors { groups } else { 1 };
        let weight = Some(plan.weight(format!("{name}.weight"), rows, width));
        let bias = (self.norm == NormKind::Layer).then(|| plan.weight(format!("{name}.bias"), rows, width));
        let op = Norm { kind: self.norm, eps: 1e-2, groups, weight, shift: 0.25, bias };
        plan.step(name, op, &[x]).unwrap()
    }
}

/// Two sequences packed into one batch, each row predicting the next token.
pub fn training_batch() -> Batch {
    let sequences: [&[u32]; 2] = [&[3, 1, 4, 1, 5, 9], &[2, 7, 1, 8]];
    let mut batch = Batch::packed(&sequences);
    let targets: [u32; 10] = [1, 4, 1, 5, 9, 2, 7, 1, 8, 2];
    batch.targets = targets
        .iter()
        .enumerate()
        .map(|(i, &token)| Target { token, weight: if i == 5 { 0.0 } else { 0.1 } })
        .collect();
    batch
}
