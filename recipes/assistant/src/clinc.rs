//! CLINC150: one file with lists of `[utterance, intent]`.

use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use crate::example::{Example, Fragment, Source};

/// The name of what no intent fits.
pub const OUT_OF_SCOPE: &str = "out_of_scope";

/// Intents of CLINC150 that SNIPS has too, with slots: SNIPS' name wins.
const SHARED: [(&str, &str); 4] = [
    ("play_music", "PlayMusic"),
    ("weather", "GetWeather"),
    ("update_playlist", "AddToPlaylist"),
    ("restaurant_reservation", "BookRestaurant"),
];

/// Reads `data_full_train_val.json`.
pub(crate) fn read(directory: &Path) -> anyhow::Result<Vec<Example>> {
    let path = directory.join("data_full_train_val.json");
    let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
    parse(&bytes).with_context(|| path.display().to_string())
}

pub(crate) fn parse(bytes: &[u8]) -> anyhow::Result<Vec<Example>> {
    let file: Value = serde_json::from_slice(bytes)?;
    let mut examples = Vec::new();
    let (train, validation) = (Source::ClincTrain, Source::ClincValidation);
    for (list, source) in [("train", train), ("oos_train", train), ("val", validation), ("oos_val", validation)] {
        let rows = file.get(list).and_then(Value::as_array).with_context(|| format!("{list}: expected a list"))?;
        for (place, row) in rows.iter().enumerate() {
            let pair = row.as_array().and_then(|row| Some((row.first()?.as_str()?, row.get(1)?.as_str()?)));
            let (text, intent) =
                pair.with_context(|| format!("{list}[{place}]: expected an utterance and an intent"))?;
            let shared = SHARED.iter().find(|(theirs, _)| *theirs == intent).map(|(_, snips)| *snips);
            let intent = if intent == "oos" { OUT_OF_SCOPE } else { shared.unwrap_or(intent) };
            examples.push(Example {
                intent: intent.to_owned(),
                fragments: vec![Fragment { text: text.to_owned(), slot: None }],
                source,
                marked: shared.is_none(),
            });
        }
    }
    Ok(examples)
}
