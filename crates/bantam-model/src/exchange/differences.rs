//! Whether two Specs mean the same model, and if not, in what they differ.

use crate::spec::{Attention, FeedForward, Layer, Mixer, Norm, Rope, RopeScaling, Spec};

/// Numbers that went through another form may be off by their last bits, no more.
const CLOSE: f32 = 1e-6;

/// In what `made` differs from `meant`, in words; nothing where both compute the same. The family, which columns turn
/// together and how far a norm's factor is stored shifted are not compared: those are the form's own.
pub(super) fn of(meant: &Spec, made: &Spec) -> Vec<String> {
    let mut list = Vec::new();
    let mut note = |what: &str, meant: String, made: String| {
        if meant != made && list.len() < 8 {
            list.push(format!("{what} is {meant}, and would be {made}"));
        }
    };
    macro_rules! compare {
        ($($what:literal $field:ident),* $(,)?) => {
            $(note($what, format!("{:?}", meant.$field), format!("{:?}", made.$field));)*
        };
    }
    compare!("the vocabulary" vocabulary, "the width" width, "the context" context,
        "whether positions are learned" learned_positions, "the number of segment kinds" segments);
    let (one, other) = (meant.embedding_scale, made.embedding_scale);
    note("the embedding's scale", number(one, one), number(other, one));
    note(
        "the embedding's norm",
        norm(meant.embedding_norm.as_ref(), None),
        norm(made.embedding_norm.as_ref(), meant.embedding_norm.as_ref()),
    );
    note(
        "the last norm",
        norm(meant.output_norm.as_ref(), None),
        norm(made.output_norm.as_ref(), meant.output_norm.as_ref()),
    );
    match (&meant.head, &made.head) {
        (Some(one), Some(other)) => {
            note("whether the head is tied", one.tied.to_string(), other.tied.to_string());
            note("whether the head has a bias", one.bias.to_string(), other.bias.to_string());
            note("the logits' scale", number(one.scale, one.scale), number(other.scale, one.scale));
            note("the logits' softcap", number(one.softcap, one.softcap), number(other.softcap, one.softcap));
        }
        (one, other) => note("whether there is a head", one.is_some().to_string(), other.is_some().to_string()),
    }
    note("the number of layers", meant.layers.len().to_string(), made.layers.len().to_string());
    let contexts = [meant.first_context(), meant.context];
    for (index, (one, other)) in meant.layers.iter().zip(&made.layers).enumerate() {
        layer(one, other, contexts, &mut |what, one, other| note(&format!("{what} of layer {index}"), one, other));
    }
    list
}

/// A number, or the one it is close to.
fn number(x: Option<f32>, like: Option<f32>) -> String {
    match (x, like) {
        (Some(x), Some(like)) if (x - like).abs() <= CLOSE * like.abs() => format!("{like:?}"),
        (Some(x), _) => format!("{x:?}"),
        (None, _) => "none".to_owned(),
    }
}

fn norm(norm: Option<&Norm>, like: Option<&Norm>) -> String {
    let Some(norm) = norm else { return "none".to_owned() };
    let eps = number(Some(norm.eps), like.map(|like| like.eps));
    format!("{:?} with an epsilon of {eps}{}", norm.kind, if norm.bias { " and a bias" } else { "" })
}

fn layer(one: &Layer, other: &Layer, contexts: [usize; 2], note: &mut dyn FnMut(&str, String, String)) {
    note("the wiring", format!("{:?}", one.wiring), format!("{:?}", other.wiring));
    let scales = (one.branch_scale, other.branch_scale);
    note("the branches' scale", number(scales.0, scales.0), number(scales.1, scales.0));
    for (what, one, other) in [
        ("the norm before attention", &one.mixer_norms.before, &other.mixer_norms.before),
        ("the norm after attention", &one.mixer_norms.after, &other.mixer_norms.after),
        ("the norm before the feed-forward network", &one.feed_forward_norms.before, &other.feed_forward_norms.before),
        ("the norm after the feed-forward network", &one.feed_forward_norms.after, &other.feed_forward_norms.after),
    ] {
        note(what, norm(one.as_ref(), None), norm(other.as_ref(), one.as_ref()));
    }
    let (Mixer::Attention(mixed), Mixer::Attention(others)) = (&one.mixer, &other.mixer);
    attention(mixed, others, contexts, note);
    match (&one.feed_forward, &other.feed_forward) {
        (FeedForward::Experts(one), FeedForward::Experts(other)) => {
            note(
                "the experts",
                format!("{} of {}", one.chosen, one.count),
                format!("{} of {}", other.chosen, other.count),
            );
            note("the router", format!("{:?}", one.router), format!("{:?}", other.router));
            note("an expert", format!("{:?}", one.expert), format!("{:?}", other.expert));
        }
        (one, other) => note("the feed-forward network", format!("{one:?}"), format!("{other:?}")),
    }
}

fn attention(one: &Attention, other: &Attention, contexts: [usize; 2], note: &mut dyn FnMut(&str, String, String)) {
    let heads = |a: &Attention| format!("{} over {} of {} and {}", a.heads, a.kv_heads, a.key_width, a.value_width);
    note("the heads", heads(one), heads(other));
    note("the scale of scores", number(Some(one.scale), None), number(Some(other.scale), Some(one.scale)));
    note("the sliding window", format!("{:?}", one.window), format!("{:?}", other.window));
    note("the scores' softcap", number(one.softcap, None), number(other.softcap, one.softcap));
    note("whether attention is causal", one.causal.to_string(), other.causal.to_string());
    note("the biases", format!("{:?}", one.bias), format!("{:?}", other.bias));
    let on = |a: &Attention, like: &Attention| match &a.query_key_norm {
        Some(on) => {
            format!("{} over {:?}", norm(Some(&on.norm), like.query_key_norm.as_ref().map(|on| &on.norm)), on.over)
        }
        None => "none".to_owned(),
    };
    note("the norm on queries and keys", on(one, one), on(other, one));
    match (&one.rope, &other.rope) {
        (Some(one), Some(other)) => {
            if !same_rope(one, other, contexts) {
                note("the rotary embedding", rope(one), rope(other));
            }
        }
        (one, other) => {
            note(
                "the rotary embedding",
                one.as_ref().map_or("none".into(), rope),
                other.as_ref().map_or("none".into(), rope),
            );
        }
    }
}

fn rope(rope: &Rope) -> String {
    let scaling = match &rope.scaling {
        RopeScaling::ByContext { original, short, long } => {
            format!("short factors by {:?} up to {original}, long ones by {:?} above", short.1, long.1)
        }
        scaling @ (RopeScaling::None
        | RopeScaling::Linear { .. }
        | RopeScaling::Banded { .. }
        | RopeScaling::Divisors(_)
        | RopeScaling::Ramped { .. }) => format!("{scaling:?}"),
    };
    format!("{} columns, base {:?}, {scaling}", rope.rotated, rope.theta)
}

/// Ropes are the same that turn by the same angles in a context up to the first and in the whole one.
fn same_rope(one: &Rope, other: &Rope, contexts: [usize; 2]) -> bool {
    one.rotated == other.rotated
        && contexts.into_iter().all(|context| {
            let (one, other) = (one.table(context), other.table(context));
            let close = |(one, other): (&f32, &f32)| (one - other).abs() <= 4.0 * CLOSE * one.abs();
            (one.magnitude - other.magnitude).abs() <= CLOSE * one.magnitude
                && one.frequencies.len() == other.frequencies.len()
                && one.frequencies.iter().zip(&other.frequencies).all(close)
        })
}
