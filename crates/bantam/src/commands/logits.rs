//! `bantam logits MODEL [TEXT] -o FILE`.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::bail;
use bantam_formats::npy::NpyWriter;
use bantam_runtime::{Feed, LoadOptions, Loaded, Outputs, Precision, RuntimeError};
use bantam_text::Special;
use clap::Args;

use crate::arguments::{KvChoice, LoadArguments, ModelArgument};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::{models, prompt, tokens};

/// Arguments of `bantam logits`.
#[derive(Args, Debug)]
pub struct LogitsArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// The text; without one, stdin is read byte for byte
    #[arg(conflicts_with = "ids")]
    text: Option<String>,
    /// Exactly these tokens instead of a text, such as "1 2 3"
    #[arg(long, value_name = "IDS", value_parser = tokens::parse_ids)]
    ids: Option<tokens::Ids>,
    /// Text that spells a special token becomes the token
    #[arg(long)]
    special: bool,
    /// The .npy file to write; - is stdout
    #[arg(short = 'o', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    output: PathBuf,
    #[command(flatten)]
    load: LoadArguments,
}

/// Tokens run at a time: their logits are all that is held in memory.
const CHUNK: usize = 64;

/// Writes the logits.
pub fn run(arguments: &LogitsArguments) -> anyhow::Result<()> {
    let model = models::open_decoder(&arguments.model.model, arguments.load.size.quantize)?;
    let model = models::adapted(model, &arguments.load)?;
    let ids = match &arguments.ids {
        Some(ids) => ids.0.clone(),
        None => {
            let text = match &arguments.text {
                Some(text) => text.clone(),
                None => prompt::read_text(io::stdin().lock(), "stdin")?,
            };
            let special = if arguments.special { Special::Parse } else { Special::AsText };
            models::raw_tokens(model.tokenizer()?, &text, special)?
        }
    };
    if ids.is_empty() {
        bail!("the text has no tokens, so there are no logits");
    }
    let vocabulary = model.spec().vocabulary;
    if let Some(id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
        bail!("token {id} is outside the vocabulary of {vocabulary}");
    }
    // Whoever compares wants the model's numbers, not what rounding its memory and its activations makes of them.
    let mut load = arguments.load.clone();
    load.size.kv = load.size.kv.or(Some(KvChoice::F32));
    let options = LoadOptions { precision: Precision::F32, ..models::load_options(&load, 1) };
    let context = model.context_for(&options);
    if ids.len() > context {
        bail!("the text has {} tokens and does not fit the context of {context}", ids.len());
    }
    let interrupt = Interrupt::install()?;
    let mut loaded = models::load(&model, &options, &interrupt)?;
    if arguments.output.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        out.write_all(&npy_header(ids.len(), loaded.vocabulary_len()))?;
        each_chunk(&mut loaded, &ids, &mut |logits| {
            let bytes: Vec<u8> = logits.iter().flat_map(|value| value.to_le_bytes()).collect();
            Ok(out.write_all(&bytes)?)
        })?;
        return Ok(out.flush()?);
    }
    let mut writer = NpyWriter::create(&arguments.output, ids.len(), loaded.vocabulary_len())?;
    each_chunk(&mut loaded, &ids, &mut |logits| Ok(writer.write_rows(logits)?))?;
    Ok(writer.finish()?)
}

/// What stands before the numbers in version 1.0 of NumPy's format (`numpy.lib.format`), for a stream.
fn npy_header(rows: usize, width: usize) -> Vec<u8> {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {width}), }}");
    // Magic, version and length take 10 bytes; the whole is padded to 128, which two numbers of 20 digits do not fill.
    format!("\u{93}NUMPY\u{1}\0\u{76}\0{dictionary:<117}\n").chars().map(|c| c as u8).collect()
}

/// Runs the tokens and hands out their logits, some rows at a time.
fn each_chunk(
    loaded: &mut Loaded,
    ids: &[u32],
    take: &mut dyn FnMut(&[f32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let sequence = loaded.open_sequence()?;
    for tokens in ids.chunks(CHUNK) {
        match loaded.run(&[Feed { sequence, tokens, outputs: Outputs::All }]) {
            Ok(logits) => take(logits)?,
            Err(RuntimeError::Interrupted) => return Err(interrupted()),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
