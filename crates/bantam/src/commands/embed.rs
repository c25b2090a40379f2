//! `bantam embed MODEL [TEXT]`: texts as vectors.

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use anyhow::bail;
use bantam_runtime::{
    EmbeddingDefaults, Feed, LoadOptions, Loaded, Model, Outputs, Pooling, Precision, RuntimeError, SequenceId,
    normalize,
};
use bantam_text::{Special, Tokenizer};
use clap::{Args, ValueEnum};
use serde::Serialize;
use serde_json::json;

use super::run::{GLANCE, Line, read_lines};
use crate::arguments::{KvChoice, LoadArguments, ModelArgument, sequences};
use crate::failure::{interrupted, some_failed};
use crate::interrupt::Interrupt;
use crate::output::{emit, emit_json, error};
use crate::{models, prompt};

/// Arguments of `bantam embed`.
#[derive(Args, Debug)]
pub struct EmbedArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// The text; without one, stdin is read byte for byte
    #[arg(conflicts_with = "file")]
    text: Option<String>,
    /// Read the text from a file
    #[arg(short = 'f', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    file: Option<PathBuf>,
    /// Read one text a line from stdin, write one vector a line
    #[arg(long, conflicts_with_all = ["text", "file"])]
    lines: bool,
    /// Texts that run together; by default 8, fewer where memory is short
    #[arg(long, value_name = "N", value_parser = sequences(), requires = "lines")]
    parallel: Option<usize>,
    /// Write each vector as one JSON object
    #[arg(long)]
    json: bool,
    /// Which rows make the vector; by default what the model's files say
    #[arg(long, value_name = "POOLING")]
    pooling: Option<PoolingChoice>,
    /// Scale vectors to length 1, whatever the model's files say
    #[arg(long, overrides_with = "no_normalize")]
    normalize: bool,
    /// Leave vectors as long as they are
    #[arg(long, overrides_with = "normalize")]
    no_normalize: bool,
    #[command(flatten)]
    load: LoadArguments,
}

/// Which rows of a text make its vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PoolingChoice {
    /// The mean of all tokens
    Mean,
    /// The first token, `[CLS]`
    Cls,
    /// The last token
    Last,
    /// The largest value of each column
    Max,
}

impl PoolingChoice {
    fn pooling(self) -> Pooling {
        match self {
            Self::Mean => Pooling::Mean,
            Self::Cls => Pooling::Cls,
            Self::Last => Pooling::Last,
            Self::Max => Pooling::Max,
        }
    }
}

/// Texts that run together, unless asked otherwise.
const PARALLEL: usize = 8;

/// A vector as it is printed with `--json`.
#[derive(Serialize)]
struct Embedded<'a> {
    index: usize,
    embedding: &'a [f32],
}

/// Prints the vectors of texts.
pub fn run(arguments: &EmbedArguments) -> anyhow::Result<()> {
    let model = models::open(&arguments.model.model, arguments.load.size.quantize)?;
    let model = models::adapted(model, &arguments.load)?;
    let defaults = model.embedding_defaults()?;
    let Some(pooling) = arguments.pooling.map(PoolingChoice::pooling).or(defaults.pooling) else {
        bail!("the model's files do not say how rows become one vector; say it with --pooling mean, cls, last or max");
    };
    let model = if model.makes_text() { model.without_head()? } else { model };
    // Without a word about it, length 1 is what programs that compare vectors expect.
    let unit = match (arguments.normalize, arguments.no_normalize) {
        (true, _) => true,
        (_, true) => false,
        (false, false) => defaults.normalize.unwrap_or(true),
    };
    let mut load = arguments.load.clone();
    // Vectors are compared with each other: nothing is rounded on the way.
    load.size.kv = load.size.kv.or(Some(KvChoice::F32));
    let options = LoadOptions { precision: Precision::F32, ..models::load_options(&load, 1) };
    let limit = match load.size.context {
        Some(_) => model.context_for(&options),
        None => defaults.max_tokens.unwrap_or(usize::MAX).min(model.context_for(&options)),
    };
    let embedder = Embedder { model: &model, defaults, pooling, unit, limit, json: arguments.json };
    if arguments.lines {
        return embedder.lines(&options, arguments.parallel);
    }
    let text = match (&arguments.text, &arguments.file) {
        (Some(text), _) => text.clone(),
        (None, Some(path)) => prompt::read_text(
            std::fs::File::open(path)
                .map_err(|cause| anyhow::anyhow!("{} can't be opened: {cause}", path.display()))?,
            &path.display().to_string(),
        )?,
        (None, None) => prompt::read_text(io::stdin().lock(), "stdin")?,
    };
    embedder.one(&text, &options)
}

struct Embedder<'a> {
    model: &'a Model,
    defaults: EmbeddingDefaults,
    pooling: Pooling,
    /// Vectors get length 1.
    unit: bool,
    /// Most tokens of a text.
    limit: usize,
    json: bool,
}

impl Embedder<'_> {
    /// The tokens of a text, framed as the model wants it.
    fn tokens(&self, tokenizer: &Tokenizer, text: &str) -> anyhow::Result<Vec<u32>> {
        let mut text = match &self.defaults.prompt {
            Some(prompt) => format!("{prompt}{text}"),
            None => text.to_owned(),
        };
        if self.defaults.lowercase {
            text = text.to_lowercase();
        }
        let ids = tokenizer.encode_with_ends(&text, Special::AsText)?;
        if ids.is_empty() {
            bail!("the text has no tokens, so it has no vector");
        }
        if ids.len() > self.limit {
            bail!("the text has {} tokens, but the model takes at most {}", ids.len(), self.limit);
        }
        Ok(ids)
    }

    /// Where rows see what follows, memory is only needed for what there is; elsewhere the context may decide the rope.
    fn fitted(&self, options: &LoadOptions, tokens: usize, sequences: usize) -> LoadOptions {
        let context = if self.model.spec().is_causal() { options.context } else { Some(tokens) };
        LoadOptions { context, sequences, ..*options }
    }

    fn one(&self, text: &str, options: &LoadOptions) -> anyhow::Result<()> {
        let ids = self.tokens(self.model.tokenizer()?, text)?;
        let interrupt = Interrupt::install()?;
        let mut loaded = models::load(self.model, &self.fitted(options, ids.len(), 1), &interrupt)?;
        let vectors = self.vectors(&mut loaded, &[&ids])?;
        vectors.iter().enumerate().try_for_each(|(index, vector)| self.print(index, vector))
    }

    /// The vectors of texts that run together.
    fn vectors(&self, loaded: &mut Loaded, texts: &[&[u32]]) -> anyhow::Result<Vec<Vec<f32>>> {
        let width = loaded.output_width();
        let sequences = texts.iter().map(|_| loaded.open_sequence()).collect::<Result<Vec<SequenceId>, _>>()?;
        // The last row needs no others to be made for it.
        let only_last = self.pooling == Pooling::Last;
        let outputs = if only_last { Outputs::Last } else { Outputs::All };
        let feeds: Vec<Feed<'_>> =
            sequences.iter().zip(texts).map(|(&sequence, &tokens)| Feed { sequence, tokens, outputs }).collect();
        let mut rows = match loaded.run(&feeds) {
            Ok(rows) => rows,
            Err(RuntimeError::Interrupted) => return Err(interrupted()),
            Err(failure) => return Err(failure.into()),
        };
        let mut vectors = Vec::with_capacity(texts.len());
        for tokens in texts {
            let count = if only_last { 1 } else { tokens.len() };
            let (own, others) = rows.split_at_checked(count * width).unwrap_or((rows, &[]));
            rows = others;
            let mut vector = self.pooling.pool(own, width);
            if self.unit {
                normalize(&mut vector);
            }
            vectors.push(vector);
        }
        sequences.into_iter().for_each(|sequence| loaded.close_sequence(sequence));
        Ok(vectors)
    }

    fn print(&self, index: usize, vector: &[f32]) -> anyhow::Result<()> {
        if self.json {
            return emit_json(&Embedded { index, embedding: vector });
        }
        let numbers: Vec<String> = vector.iter().map(f32::to_string).collect();
        Ok(emit(&format!("{}\n", numbers.join(" ")))?)
    }

    /// Says that a line has no vector.
    fn fail(&self, index: usize, failure: &anyhow::Error) -> anyhow::Result<()> {
        if self.json {
            return emit_json(&json!({ "index": index, "error": { "message": failure.to_string() } }));
        }
        error(format_args!("line {index}: {failure}"));
        Ok(emit("\n")?)
    }

    /// Loads for as many texts as were asked for, or else for as many as memory allows.
    fn load(&self, options: &LoadOptions, asked: Option<usize>, interrupt: &Interrupt) -> anyhow::Result<Loaded> {
        let mut sequences = asked.unwrap_or(PARALLEL);
        loop {
            match models::load(self.model, &self.fitted(options, self.limit, sequences), interrupt) {
                Err(failure)
                    if asked.is_none()
                        && sequences > 1
                        && matches!(failure.downcast_ref(), Some(RuntimeError::Memory { .. })) =>
                {
                    sequences /= 2;
                }
                other => return other,
            }
        }
    }

    fn lines(&self, options: &LoadOptions, parallel: Option<usize>) -> anyhow::Result<()> {
        let tokenizer = self.model.tokenizer()?;
        let interrupt = Interrupt::install()?;
        let mut loaded = self.load(options, parallel, &interrupt)?;
        let lines = read_lines();
        let (mut index, mut failed) = (0, false);
        loop {
            let batch = next_batch(&lines, loaded.most_sequences(), &interrupt)?;
            if batch.is_empty() {
                break;
            }
            let texts = batch.into_iter().map(|line| {
                let bytes = line.map_err(anyhow::Error::msg)?;
                let text = String::from_utf8(bytes).map_err(|wrong| {
                    let at = wrong.utf8_error().valid_up_to();
                    anyhow::anyhow!("the line is not UTF-8: byte {at} begins no character")
                })?;
                self.tokens(tokenizer, &text)
            });
            let texts: Vec<anyhow::Result<Vec<u32>>> = texts.collect();
            let whole: Vec<&[u32]> = texts.iter().flatten().map(Vec::as_slice).collect();
            let mut vectors = self.vectors(&mut loaded, &whole)?.into_iter();
            for text in &texts {
                match text {
                    Ok(_) => self.print(index, &vectors.next().unwrap_or_default())?,
                    Err(failure) => {
                        failed = true;
                        self.fail(index, failure)?;
                    }
                }
                index += 1;
            }
        }
        if failed { Err(some_failed()) } else { Ok(()) }
    }
}

/// Waits for a line and takes with it those that are there already, up to `most`; none at the end of stdin.
fn next_batch(lines: &Receiver<Line>, most: usize, interrupt: &Interrupt) -> anyhow::Result<Vec<Line>> {
    let first = loop {
        if interrupt.is_set() {
            return Err(interrupted());
        }
        match lines.recv_timeout(GLANCE) {
            Ok(line) => break line,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(Vec::new()),
        }
    };
    let mut batch = vec![first];
    while batch.len() < most
        && let Ok(line) = lines.try_recv()
    {
        batch.push(line);
    }
    Ok(batch)
}
