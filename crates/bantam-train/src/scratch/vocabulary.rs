//! The new model's tokenizer, learnt from the corpus.

use std::path::PathBuf;

use bantam_text::Vocabulary;
use bantam_text::training::{BpeOptions, BpeTrainer};
use serde_json::Value;

use super::ScratchSpec;
use super::corpus::has_rows;
use crate::TrainError;
use crate::data::Rows;

/// Learns the vocabulary from all texts of the corpus: plain files line by line, of rows what is said in them.
///
/// # Errors
/// A file that cannot be read, a row that is damaged, a size that cannot be.
pub fn learn(spec: &ScratchSpec, corpus: &[PathBuf], keep_on: &dyn Fn() -> bool) -> Result<Vocabulary, TrainError> {
    let tokenizer = &spec.tokenizer;
    let taken_out: Vec<String> = tokenizer.special.iter().chain(&tokenizer.user_defined).cloned().collect();
    let mut trainer = BpeTrainer::new(&tokenizer.pre_tokenizer)?.taking_out(&taken_out)?;
    for path in corpus {
        if !has_rows(path) {
            let text = super::corpus::text(path)?;
            for (number, line) in text.split_inclusive('\n').enumerate() {
                look(number, keep_on)?;
                trainer.feed(line)?;
            }
            continue;
        }
        let mut number = 0;
        Rows::read(path)?.each(|row| {
            number += 1;
            look(number, keep_on)?;
            let wrong = |problem| TrainError::Line { path: path.clone(), line: row.line, problem };
            let value = row.value.map_err(wrong)?;
            Ok::<_, TrainError>(said(&Value::Object(value), &mut |text| trainer.feed(text))?)
        })?;
    }
    let options = BpeOptions {
        size: tokenizer.size,
        specials: tokenizer.special.clone(),
        user_defined: tokenizer.user_defined.clone(),
        least_count: tokenizer.least_count,
    };
    let mut vocabulary = trainer.finish(&options, |_| {})?;
    let id = |token: &String| {
        let at = tokenizer.special.iter().position(|other| other == token);
        at.and_then(|at| u32::try_from(at).ok())
    };
    let ends = [Some(&tokenizer.end), tokenizer.begin.as_ref()];
    [vocabulary.eos, vocabulary.bos] = ends.map(|token| token.and_then(id));
    vocabulary.add_bos = Some(tokenizer.begin.is_some());
    vocabulary.add_eos = Some(false);
    Ok(vocabulary)
}

/// Whether to go on, now and then.
fn look(number: usize, keep_on: &dyn Fn() -> bool) -> Result<(), TrainError> {
    if number.is_multiple_of(4096) && !keep_on() { Err(TrainError::Interrupted) } else { Ok(()) }
}

/// Keys whose texts are said by nobody.
const UNSAID: [&str; 5] = ["role", "from", "type", "id", "name"];

/// What is said in a row: all its texts but those that say who speaks.
fn said(
    value: &Value,
    feed: &mut dyn FnMut(&str) -> Result<(), bantam_text::TextError>,
) -> Result<(), bantam_text::TextError> {
    match value {
        Value::String(text) => feed(text),
        Value::Array(list) => list.iter().try_for_each(|value| said(value, feed)),
        Value::Object(map) => {
            let mut spoken = map.iter().filter(|(key, _)| !UNSAID.contains(&key.as_str()));
            spoken.try_for_each(|(_, value)| said(value, feed))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(()),
    }
}
