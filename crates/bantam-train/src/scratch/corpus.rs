//! What a new model learns from: rows of examples as in tuning, or plain text.

use std::path::{Path, PathBuf};

use bantam_text::{Special, Tokenizer};

use crate::TrainError;
use crate::data::{DataFile, Encoder, Example, read};

/// Endings of files that have rows of examples; all others are plain text.
const ROWS: [&str; 6] = ["jsonl", "json", "csv", "tsv", "tab", "parquet"];

/// Whether a file has rows of examples: its name says so.
pub(super) fn has_rows(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str());
    ending.is_some_and(|ending| ROWS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// A file as text.
pub(super) fn text(path: &Path) -> Result<String, TrainError> {
    std::fs::read_to_string(path)
        .map_err(|error| TrainError::Read { path: path.to_owned(), problem: error.to_string() })
}

/// The examples of all files of a corpus. A plain text is one stream, cut into windows of at most `limit` tokens, each of
/// which begins with the last token of the one before it, so that every token is learned once. Rows that are longer are refused, or
/// left out and counted, where `skip_long`.
///
/// # Errors
/// A file that cannot be read; lines that are no examples or too long.
pub fn examples(
    corpus: &[PathBuf],
    tokenizer: &Tokenizer,
    encoder: &Encoder<'_>,
    limit: usize,
    skip_long: bool,
) -> Result<Vec<DataFile>, TrainError> {
    let file = |path: &PathBuf| {
        if has_rows(path) {
            return read(path, encoder, limit, skip_long).map_err(|error| match error {
                TrainError::TooLong { path, count, of, limit, lines, .. } => {
                    let advice = "a longer `context`, shorter examples, or leaving them out (--skip-long) would do";
                    TrainError::TooLong { path, count, of, limit, lines, advice }
                }
                other => other,
            });
        }
        let text = text(path)?;
        let mut tokens: Vec<u32> = tokenizer.bos().filter(|_| tokenizer.add_bos()).into_iter().collect();
        tokens.extend(tokenizer.encode(&text, Special::AsText)?);
        tokens.extend(tokenizer.eos());
        Ok(DataFile { path: path.clone(), examples: windows(&tokens, limit), skipped: 0 })
    };
    corpus.iter().map(file).collect()
}

fn windows(tokens: &[u32], limit: usize) -> Vec<Example> {
    let step = limit.saturating_sub(1).max(1);
    let starts = (0..tokens.len().saturating_sub(1)).step_by(step);
    let window = |first: usize| {
        let tokens = tokens[first..(first + step + 1).min(tokens.len())].to_vec();
        let said = (0..tokens.len()).map(|at| at > 0).collect();
        Example { tokens, said, line: 0 }
    };
    starts.map(window).collect()
}

#[cfg(test)]
mod tests {
    use super::windows;

    #[test]
    fn every_token_is_learned_once() {
        let check = |count: u32, limit: usize, expected: &[&[u32]]| {
            let tokens: Vec<u32> = (0..count).collect();
            let made = windows(&tokens, limit);
            assert_eq!(made.iter().map(|example| &example.tokens[..]).collect::<Vec<_>>(), expected);
            let learned: usize = made.iter().map(crate::data::Example::learned).sum();
            assert_eq!(learned, tokens.len().saturating_sub(1));
        };
        check(7, 4, &[&[0, 1, 2, 3], &[3, 4, 5, 6]]);
        check(8, 4, &[&[0, 1, 2, 3], &[3, 4, 5, 6], &[6, 7]]);
        check(2, 4, &[&[0, 1]]);
        check(1, 4, &[]);
        check(0, 4, &[]);
    }
}
