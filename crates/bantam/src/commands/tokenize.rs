//! `bantam tokenize MODEL [TEXT]`.

use std::io;

use anyhow::Context as _;
use bantam_runtime::open_text;
use bantam_text::{Special, Tokenizer};
use clap::Args;
use serde_json::json;

use crate::arguments::ModelArgument;
use crate::output::{Style, emit, emit_json, emit_json_pretty, for_stdout};
use crate::{prompt, tokens};

/// Arguments of `bantam tokenize`.
#[derive(Args, Debug)]
pub struct TokenizeArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// The text, or with --detokenize the ids; without one, stdin is read byte for byte
    text: Option<String>,
    /// Print the ids alone, separated by spaces
    #[arg(long, conflicts_with = "detokenize")]
    ids: bool,
    /// Add BOS and EOS where the model's metadata says so; text that spells a special token becomes the token
    #[arg(long)]
    special: bool,
    /// Join ids into the text they stand for
    #[arg(long)]
    detokenize: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the tokens of a text, or the text of tokens.
pub fn run(arguments: &TokenizeArguments) -> anyhow::Result<()> {
    let path = &arguments.model.model;
    let text_files = open_text(path)?;
    let tokenizer = text_files.tokenizer.as_ref();
    let tokenizer = tokenizer.with_context(|| format!("{} has no tokenizer", path.display()))?;
    let text = match &arguments.text {
        Some(text) => text.clone(),
        None => prompt::read_text(io::stdin().lock(), "stdin")?,
    };
    if arguments.detokenize {
        return detokenize(tokenizer, &text, arguments);
    }
    let ids = match arguments.special {
        true => tokenizer.encode_with_ends(&text, Special::Parse)?,
        false => tokenizer.encode(&text, Special::AsText)?,
    };
    match (arguments.ids, arguments.json) {
        (true, true) => emit_json(&ids),
        (true, false) => {
            let words: Vec<String> = ids.iter().map(u32::to_string).collect();
            Ok(emit(&format!("{}\n", words.join(" ")))?)
        }
        (false, true) => {
            let pieces = tokenizer.pieces(&ids)?.into_iter().map(
                |piece| json!({ "id": piece.id, "piece": String::from_utf8_lossy(&piece.bytes), "bytes": piece.bytes }),
            );
            emit_json_pretty(&pieces.collect::<Vec<_>>())
        }
        (false, false) => {
            let style = Style::stdout();
            let width = ids.iter().map(|id| id.to_string().len()).max().unwrap_or(0);
            let lines = tokenizer.pieces(&ids)?.into_iter().map(|piece| {
                format!("{}{:>width$}{}  {}\n", style.dim(), piece.id, style.reset(), quote(&piece.bytes))
            });
            Ok(emit(&lines.collect::<String>())?)
        }
    }
}

fn detokenize(tokenizer: &Tokenizer, text: &str, arguments: &TokenizeArguments) -> anyhow::Result<()> {
    let ids = tokens::parse_ids(text).map_err(anyhow::Error::msg)?.0;
    let text = tokenizer.decode(&ids, !arguments.special)?;
    if arguments.json { emit_json(&text) } else { Ok(emit(&for_stdout(&text))?) }
}

/// A token between quotes, what can't be seen written out: `'\n'`, `' the'`, `'\xe2\x82'`.
fn quote(bytes: &[u8]) -> String {
    let mut quoted = String::from("'");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\'' | '\\' => quoted.extend(['\\', c]),
                _ if c.is_control() => quoted.extend(c.escape_debug()),
                _ => quoted.push(c),
            }
        }
        quoted.extend(chunk.invalid().iter().map(|byte| format!("\\x{byte:02x}")));
    }
    quoted + "'"
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_cannot_be_seen_is_written_out() {
        let cases: [(&[u8], &str); 6] = [
            (b" the", "' the'"),
            (b"\n", r"'\n'"),
            (b"it's", r"'it\'s'"),
            ("€".as_bytes(), "'€'"),
            (b"\xe2\x82", r"'\xe2\x82'"),
            (b"", "''"),
        ];
        for (bytes, expected) in cases {
            assert_eq!(super::quote(bytes), expected);
        }
    }
}
