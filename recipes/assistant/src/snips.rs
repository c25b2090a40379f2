//! SNIPS: one file an intent, each utterance a list of stretches, some with the slot they fill.

use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::example::{Example, Fragment, Source};

/// Reads every `train_*.json` of a directory, in the order of their names.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Vec<Example>> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(|| directory.display().to_string())? {
        let path = entry.with_context(|| directory.display().to_string())?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("train_") && name.ends_with(".json") {
            paths.push(path);
        }
    }
    paths.sort();
    if paths.is_empty() {
        bail!("{}: no train_*.json here", directory.display());
    }
    let mut examples = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        examples.extend(parse(&bytes).with_context(|| path.display().to_string())?);
    }
    Ok(examples)
}

/// Reads one file: `{INTENT: [{"data": [{"text": …, "entity"?: SLOT}, …]}, …]}`.
pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Example>> {
    let file: Value = serde_json::from_str(&mended(bytes))?;
    let mut examples = Vec::new();
    for (intent, utterances) in file.as_object().context("expected an object")? {
        let utterances = utterances.as_array().with_context(|| format!("{intent}: expected a list"))?;
        for (place, utterance) in utterances.iter().enumerate() {
            let place = || format!("{intent}[{place}]");
            let stretches = utterance.get("data").and_then(Value::as_array);
            let stretches = stretches.with_context(|| format!("{}: data: expected a list", place()))?;
            let mut fragments = Vec::with_capacity(stretches.len());
            for stretch in stretches {
                let text = stretch.get("text").and_then(Value::as_str);
                fragments.push(Fragment {
                    text: text.with_context(|| format!("{}: text: expected a string", place()))?.to_owned(),
                    slot: stretch.get("entity").and_then(Value::as_str).map(str::to_owned),
                });
            }
            examples.push(Example { intent: intent.clone(), fragments, source: Source::Snips, marked: true });
        }
    }
    Ok(examples)
}

/// The text of a file in which a character may be spelled as two encoded surrogates (CESU-8): these become the character
/// they spell, anything else that is not UTF-8 becomes U+FFFD.
fn mended(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (good, bad) = match std::str::from_utf8(rest) {
            Ok(good) => (good, &rest[rest.len()..]),
            Err(error) => {
                let (good, bad) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(good).unwrap_or_default(), bad)
            }
        };
        text.push_str(good);
        rest = match bad {
            [] => bad,
            &[0xED, high @ 0xA0..=0xAF, high_end, 0xED, low @ 0xB0..=0xBF, low_end, ..] => {
                let ten = |byte: u8, end: u8| u32::from(byte & 0x0F) << 6 | u32::from(end & 0x3F);
                let code = 0x1_0000 + (ten(high, high_end) << 10 | ten(low & 0x0F, low_end));
                text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                &bad[6..]
            }
            _ => {
                text.push(char::REPLACEMENT_CHARACTER);
                &bad[1..]
            }
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::mended;

    #[test]
    fn two_surrogates_are_one_character() {
        let check = |bytes: &[u8], expected: &str| assert_eq!(mended(bytes), expected);
        check("plain ñ 😀".as_bytes(), "plain ñ 😀");
        check(b"a \xED\xA0\xBD\xED\xB8\x80 b", "a 😀 b");
        check(b"a \xED\xA0\xBD b", "a \u{FFFD}\u{FFFD}\u{FFFD} b");
        check(b"\xFF", "\u{FFFD}");
    }
}
