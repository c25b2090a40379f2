//! The new model's spec: its shape, its template, and a token for every stretch of a call that is always the same.

use std::collections::BTreeSet;

use crate::{Call, Example};

/// What precedes the tokens and the template, and is settled.
const SHAPE: &str = include_str!("spec.toml");

/// Tokens of their own: the whole of a call that never has arguments, the beginning of one that may, and all that stands
/// between two values.
pub fn tokens(examples: &[Example]) -> Vec<String> {
    let (mut with, mut without, mut slots) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for example in examples {
        let call = example.call();
        if call.arguments.is_empty() {
            without.insert(example.intent.clone());
        } else {
            with.insert(example.intent.clone());
            slots.extend(call.arguments.into_iter().map(|(slot, _)| slot));
        }
    }
    let mut tokens = Vec::new();
    for intent in &with {
        let whole = Call::named(intent).json();
        tokens.push(whole[..whole.len() - 2].to_owned());
    }
    tokens.extend(without.difference(&with).map(|intent| Call::named(intent).json()));
    for slot in &slots {
        for before in ["", "\", ", "\"], "] {
            tokens.extend(["\"", "[\""].map(|begin| format!("{before}\"{slot}\": {begin}")));
        }
    }
    tokens.extend(["}}", "\"}}", "\"]}}", "\", \""].map(str::to_owned));
    tokens
}

/// The spec as `bantam tune --from-scratch` reads it.
pub fn spec(examples: &[Example]) -> String {
    let list: Vec<String> = tokens(examples).iter().map(|token| format!("    {},\n", quoted(token))).collect();
    SHAPE.replace("user_defined = []", &format!("user_defined = [\n{}]", list.concat()))
}

/// The width that it says.
///
/// # Errors
/// Where it says none.
pub fn width() -> anyhow::Result<usize> {
    let line = SHAPE.lines().find_map(|line| line.strip_prefix("width = "));
    line.and_then(|number| number.parse().ok()).ok_or_else(|| anyhow::anyhow!("the spec has no width"))
}

/// What it says that the model is.
///
/// # Errors
/// Where it says nothing.
pub fn description() -> anyhow::Result<&'static str> {
    let line = SHAPE.lines().find_map(|line| line.strip_prefix("description = \""));
    line.and_then(|text| text.strip_suffix('"')).ok_or_else(|| anyhow::anyhow!("the spec has no description"))
}

/// A TOML string: JSON's escapes are among TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
