//! From Spec to Plan. Weights go by GGUF's names.

use bantam_plan::{
    Activate, Add, Attend, Combine, Embed, EmbedBy, ExpertLinear, Glu, Linear, Norm as NormOp, Plan, PlanError,
    Rope as RopeOp, Route, Rows, Scale, Select, Softcap, Spread, ValueId, WeightId,
};

use crate::spec::{Attention, Dense, Experts, FeedForward, Layer, Mixer, Norm, NormOver, QueryKeyNorm, Spec, Wiring};

/// Name of the token embedding.
pub const TOKEN_EMBEDDING: &str = "token_embd.weight";
/// The weight of the head, where it is one of its own.
pub const HEAD: &str = "output.weight";

/// Writes down what the model computes in the context it was made for.
pub fn lower(spec: &Spec) -> Result<Plan, PlanError> {
    lower_for(spec, spec.context)
}

/// Writes down what the model computes where no sequence is longer than `context`.
pub fn lower_for(spec: &Spec, context: usize) -> Result<Plan, PlanError> {
    let mut plan = Plan::new();
    let table = plan.weight(TOKEN_EMBEDDING, spec.vocabulary, spec.width);
    let mut x = plan.step("x", Embed { table, by: EmbedBy::Token }, &[])?;
    if let Some(by) = spec.embedding_scale {
        x = plan.step("x scaled", Scale { by }, &[x])?;
    }
    if spec.learned_positions {
        let table = plan.weight("position_embd.weight", spec.context, spec.width);
        let position = plan.step("position", Embed { table, by: EmbedBy::Position }, &[])?;
        x = plan.step("x placed", Add, &[x, position])?;
    }
    if let Some(kinds) = spec.segments {
        let table = plan.weight("token_types.weight", kinds, spec.width);
        let segment = plan.step("segment", Embed { table, by: EmbedBy::First }, &[])?;
        x = plan.step("x of segment", Add, &[x, segment])?;
    }
    if let Some(norm) = &spec.embedding_norm {
        x = normed(&mut plan, "token_embd_norm", norm, Groups { count: 1, own: false }, x)?;
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        plan.current_layer = Some(index);
        let (prefix, is_last) = (format!("blk.{index}."), index + 1 == spec.layers.len());
        x = Lowering { plan: &mut plan, prefix, index, width: spec.width, context, is_last }.layer(layer, x)?;
    }
    plan.current_layer = None;
    if plan.get(x).rows == Rows::Tokens {
        x = plan.step("selected", Select, &[x])?;
    }
    if let Some(norm) = &spec.output_norm {
        x = normed(&mut plan, "output_norm", norm, Groups { count: 1, own: false }, x)?;
    }
    let Some(head) = &spec.head else {
        plan.output = Some(x);
        plan.check()?;
        return Ok(plan);
    };
    let weight = if head.tied { table } else { plan.weight("output.weight", spec.vocabulary, spec.width) };
    let bias = head.bias.then(|| plan.weight("output.bias", 1, spec.vocabulary));
    let mut logits = plan.step("logits", Linear { weight, bias }, &[x])?;
    if let Some(by) = head.scale {
        logits = plan.step("logits scaled", Scale { by }, &[logits])?;
    }
    if let Some(cap) = head.softcap {
        logits = plan.step("logits capped", Softcap { cap }, &[logits])?;
    }
    plan.output = Some(logits);
    debug_assert_eq!(plan.get(logits).rows, Rows::Outputs);
    plan.check()?;
    Ok(plan)
}

/// Parts of a row that are normalised each by itself, and whether each has a factor of its own.
#[derive(Clone, Copy)]
struct Groups {
    count: usize,
    own: bool,
}

fn normed(plan: &mut Plan, name: &str, norm: &Norm, groups: Groups, x: ValueId) -> Result<ValueId, PlanError> {
    let width = plan.get(x).width / groups.count;
    let rows = if groups.own { groups.count } else { 1 };
    let weight = Some(plan.weight(format!("{name}.weight"), rows, width));
    let bias = norm.bias.then(|| plan.weight(format!("{name}.bias"), rows, width));
    let op = NormOp { kind: norm.kind, eps: norm.eps, groups: groups.count, weight, shift: norm.shift, bias };
    plan.step(name, op, &[x])
}

/// One layer being written.
struct Lowering<'a> {
    plan: &'a mut Plan,
    prefix: String,
    index: usize,
    width: usize,
    context: usize,
    is_last: bool,
}

impl Lowering<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Attention and feed-forward one after the other, a norm on each sum.
    fn normed_sums(&mut self, layer: &Layer, x: ValueId) -> Result<ValueId, PlanError> {
        let Mixer::Attention(attention) = &layer.mixer;
        let attended = self.attended(attention, x)?;
        let mixed = self.linear("attn_output", self.width, attention.bias.output, attended)?;
        let sum = self.plan.step(self.name("x_mixed"), Add, &[x, mixed])?;
        let x = self.norm("attn_output_norm", layer.mixer_norms.after.as_ref(), sum)?;
        let made = self.feed_forward(&layer.feed_forward, x)?;
        let sum = self.plan.step(self.name("x"), Add, &[x, made])?;
        self.norm("layer_output_norm", layer.feed_forward_norms.after.as_ref(), sum)
    }

    fn layer(&mut self, layer: &Layer, x: ValueId) -> Result<ValueId, PlanError> {
        if layer.wiring == Wiring::NormedSums {
            return self.normed_sums(layer, x);
        }
        let read = self.norm("attn_norm", layer.mixer_norms.before.as_ref(), x)?;
        // What the last layer does once keys and values are kept, it does for the rows whose output is wanted alone.
        let narrows = self.is_last && !matches!(layer.feed_forward, FeedForward::Experts(_));
        let Mixer::Attention(attention) = &layer.mixer;
        let mut attended = self.attended(attention, read)?;
        let (mut x, mut read) = (x, read);
        if narrows {
            attended = self.plan.step(self.name("attended selected"), Select, &[attended])?;
            x = self.plan.step(self.name("selected"), Select, &[x])?;
            if layer.wiring == Wiring::Parallel && layer.feed_forward_norms.before.is_none() {
                read = self.plan.step(self.name("read selected"), Select, &[read])?;
            }
        }
        let mixed = self.linear("attn_output", self.width, attention.bias.output, attended)?;
        let mixed = self.norm("post_attention_norm", layer.mixer_norms.after.as_ref(), mixed)?;
        let mixed = self.scaled("mixed", layer.branch_scale, mixed)?;
        let (base, read) = match layer.wiring {
            Wiring::Sequential | Wiring::NormedSums => {
                let sum = self.plan.step(self.name("x_mixed"), Add, &[x, mixed])?;
                (sum, self.norm("ffn_norm", layer.feed_forward_norms.before.as_ref(), sum)?)
            }
            Wiring::Parallel => {
                let own = match &layer.feed_forward_norms.before {
                    Some(norm) => self.norm("ffn_norm", Some(norm), x)?,
                    None => read,
                };
                (self.plan.step(self.name("x_mixed"), Add, &[x, mixed])?, own)
            }
        };
        let made = self.feed_forward(&layer.feed_forward, read)?;
        let made = self.norm("post_ffw_norm", layer.feed_forward_norms.after.as_ref(), made)?;
        let made = self.scaled("made", layer.branch_scale, made)?;
        self.plan.step(self.name("x"), Add, &[base, made])
    }

    fn norm(&mut self, name: &str, norm: Option<&Norm>, x: ValueId) -> Result<ValueId, PlanError> {
        match norm {
            Some(norm) => {
                let whole = Groups { count: 1, own: false };
                normed(self.plan, &format!("{}{name}", self.prefix), norm, whole, x)
            }
            None => Ok(x),
        }
    }

    fn scaled(&mut self, name: &str, by: Option<f32>, x: ValueId) -> Result<ValueId, PlanError> {
        match by {
            Some(by) => self.plan.step(self.name(name), Scale { by }, &[x]),
            None => Ok(x),
        }
    }

    fn linear(&mut self, name: &str, rows: usize, bias: bool, x: ValueId) -> Result<ValueId, PlanError> {
        let name = self.name(name);
        let width = self.plan.get(x).width;
        let weight = self.plan.weight(format!("{name}.weight"), rows, width);
        let bias: Option<WeightId> = bias.then(|| self.plan.weight(format!("{name}.bias"), 1, rows));
        self.plan.step(name, Linear { weight, bias }, &[x])
    }

    /// Attention up to its last linear.
    fn attended(&mut self, attention: &Attention, x: ValueId) -> Result<ValueId, PlanError> {
        let Attention { heads, kv_heads, key_width, value_width, bias, .. } = *attention;
        let mut q = self.linear("attn_q", heads * key_width, bias.qkv, x)?;
        let mut k = self.linear("attn_k", kv_heads * key_width, bias.qkv, x)?;
        let v = self.linear("attn_v", kv_heads * value_width, bias.qkv, x)?;
        if let Some(QueryKeyNorm { norm, over }) = &attention.query_key_norm {
            let groups = |heads| match over {
                NormOver::Row => Groups { count: 1, own: false },
                NormOver::Head => Groups { count: heads, own: false },
                NormOver::OwnHead => Groups { count: heads, own: true },
            };
            q = normed(self.plan, &format!("{}attn_q_norm", self.prefix), norm, groups(heads), q)?;
            k = normed(self.plan, &format!("{}attn_k_norm", self.prefix), norm, groups(kv_heads), k)?;
        }
        if let Some(rope) = &attention.rope {
            let table = self.plan.table(rope.table(self.context));
            let (rotated, pairs) = (rope.rotated, rope.pairs);
            let turn = |heads| RopeOp { heads, head_width: key_width, rotated, pairs, table };
            q = self.plan.step(self.name("q"), turn(heads), &[q])?;
            k = self.plan.step(self.name("k"), turn(kv_heads), &[k])?;
        }
        let attend = Attend {
            memory: self.index,
            heads,
            kv_heads,
            key_width,
            value_width,
            scale: attention.scale,
            window: attention.window,
            softcap: attention.softcap,
            causal: attention.causal,
        };
        self.plan.step(self.name("attended"), attend, &[q, k, v])
    }

    fn experts(&mut self, experts: &Experts, x: ValueId) -> Result<ValueId, PlanError> {
        let Experts { count, chosen, router, expert } = experts;
        let logits = self.linear("ffn_gate_inp", *count, false, x)?;
        let route = self.plan.step(self.name("route"), Route { chosen: *chosen, router: *router }, &[logits])?;
        let spread = self.plan.step(self.name("spread"), Spread { chosen: *chosen }, &[x])?;
        let gate = self.expert_linear("ffn_gate", *count, expert.hidden, [spread, route])?;
        let up = self.expert_linear("ffn_up", *count, expert.hidden, [spread, route])?;
        let hidden = self.plan.step(self.name("ffn_glu"), Glu { activation: expert.activation }, &[gate, up])?;
        let made = self.expert_linear("ffn_down", *count, self.width, [hidden, route])?;
        self.plan.step(self.name("combined"), Combine, &[made, route])
    }

    fn expert_linear(
        &mut self,
        stem: &str,
        count: usize,
        rows: usize,
        inputs: [ValueId; 2],
    ) -> Result<ValueId, PlanError> {
        let name = self.name(stem);
        let width = self.plan.get(inputs[0]).width;
        let weights = (0..count).map(|n| self.plan.weight(format!("{name}.{n}.weight"), rows, width)).collect();
        self.plan.step(name, ExpertLinear { weights }, &inputs)
    }

    fn feed_forward(&mut self, feed_forward: &FeedForward, x: ValueId) -> Result<ValueId, PlanError> {
        let (hidden, Dense { bias, .. }) = match feed_forward {
            FeedForward::Experts(experts) => return self.experts(experts, x),
            FeedForward::Gated(dense) => {
                let gate = self.linear("ffn_gate", dense.hidden, dense.bias, x)?;
                let up = self.linear("ffn_up", dense.hidden, dense.bias, x)?;
                let glu = Glu { activation: dense.activation };
                (self.plan.step(self.name("ffn_glu"), glu, &[gate, up])?, dense)
            }
            FeedForward::Plain(dense) => {
                let up = self.linear("ffn_up", dense.hidden, dense.bias, x)?;
                let activate = Activate { activation: dense.activation };
                (self.plan.step(self.name("ffn_active"), activate, &[up])?, dense)
            }
        };
        self.linear("ffn_down", self.width, *bias, hidden)
    }
}
