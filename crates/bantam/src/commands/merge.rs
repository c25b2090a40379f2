//! `bantam merge MODEL ADAPTER… -o TARGET`: adapters made part of a model's weights, or into one another's form.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::bail;
use bantam_convert::{ConvertError, Edit, Form, Options, Types, convert, convert_edited};
use bantam_runtime::{Adapter, AnyBase, Model, write_gguf_adapter};
use clap::Args;

use crate::arguments::{ModelArgument, threads, types_to_write};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::progress::Progress;
use crate::size;

/// Arguments of `bantam merge`.
#[derive(Args, Debug)]
pub struct MergeArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Adapters: directories in PEFT's form or GGUF files, with a factor behind a colon where it is not 1
    #[arg(value_name = "ADAPTER[:SCALE]", required = true, value_hint = clap::ValueHint::AnyPath)]
    adapter: Vec<String>,
    /// The merged model, a .gguf file; with --adapter-only the adapter as a .gguf file
    #[arg(short = 'o', long = "output", value_name = "TARGET")]
    target: PathBuf,
    /// Write no model, but the adapter in GGUF's form, for llama.cpp
    #[arg(long, conflicts_with = "types")]
    adapter_only: bool,
    /// The format of the matrices, such as f16, q8_0 or q4_k_m; as-is keeps each tensor's own
    #[arg(long = "type", value_name = "TYPE", default_value = "as-is", value_parser = types_to_write)]
    types: Types,
    /// Use adapters that were trained on another form or type of the model, where their shapes fit
    #[arg(long)]
    any_base: bool,
    /// Replace what is there already
    #[arg(long)]
    force: bool,
    /// Threads that encode; by default all that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    threads: Option<usize>,
}

/// Adapters by the tensors of a file, which may hold several of our weights.
struct Merged<'a> {
    adapters: &'a [Adapter],
    /// By tensor: our weights in it, with the row where each begins.
    tensors: HashMap<String, Vec<(String, usize, usize)>>,
    /// By tensor: numbers in the place of its own.
    saved: Replaced,
}

impl<'a> Merged<'a> {
    fn new(model: &Model, adapters: &'a [Adapter]) -> anyhow::Result<Self> {
        let mut tensors: HashMap<String, Vec<(String, usize, usize)>> = HashMap::new();
        for place in bantam_runtime::adapter_tensors(model.checkpoint()) {
            if adapters.iter().flat_map(|adapter| &adapter.parts).any(|part| part.weight == place.weight) {
                let rows = place.rows;
                tensors.entry(place.tensor).or_default().push((place.weight, rows.start, rows.end));
            }
        }
        let mut saved = HashMap::new();
        for weight in adapters.iter().flat_map(|adapter| &adapter.saved) {
            let tensor = model.checkpoint().tensor(&weight.weight).map(|tensor| tensor.file_name.clone());
            if saved.insert(tensor.unwrap_or_else(|| weight.weight.clone()), weight.values.clone()).is_some() {
                bail!("two of the adapters bring weights of their own for `{}`: merge one of them", weight.weight);
            }
        }
        Ok(Self { adapters, tensors, saved: Replaced { weights: saved } })
    }
}

impl Edit for Merged<'_> {
    fn changes(&self, tensor: &str) -> bool {
        self.tensors.contains_key(tensor) || self.saved.changes(tensor)
    }

    fn row(&self, tensor: &str, row: usize, values: &mut [f32]) {
        self.saved.row(tensor, row, values);
        for (weight, start, end) in self.tensors.get(tensor).into_iter().flatten() {
            if (*start..*end).contains(&row) {
                let base = values.to_vec();
                self.adapters.iter().for_each(|adapter| adapter.add_to_row(weight, row - start, &base, values));
            }
        }
    }
}

/// A file that is gone when this is.
struct Temporary(PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Merges.
pub fn run(arguments: &MergeArguments) -> anyhow::Result<()> {
    let interrupt = Interrupt::install_for_files()?;
    let any_base = if arguments.any_base { AnyBase::Yes } else { AnyBase::No };
    if arguments.target.exists() && !arguments.force {
        bail!("{} is there already; --force replaces it", arguments.target.display());
    }
    let mut model = models::open_decoder(&arguments.model.model, None)?;
    let mut source = arguments.model.model.clone();
    let mut bar = Progress::start();
    // Adapters say which model they were trained on: they are read beside that one.
    let mut adapters = models::adapters(&model, &arguments.adapter, any_base)?;
    let mut between = None;
    if model.checkpoint().architecture().is_none() {
        // A directory's weights take GGUF's order first, and adapters with them.
        let path = arguments.target.with_extension(format!("{}.part.gguf", std::process::id()));
        let options = Options { threads: arguments.threads, ..Options::new(Form::Gguf) };
        let guard = Temporary(path.clone());
        let mut progress = |read: u64, total: u64| {
            bar.update("converting", read, total);
            !interrupt.is_set()
        };
        done(convert(&source, &path, &options, &mut progress))?;
        between = Some(guard);
        model = models::open_decoder(&path, None)?;
        source = path;
        // What was another base beside the directory stays one; its own conversion is none.
        let foreign = adapters.into_iter().map(|adapter| adapter.foreign_base).collect::<Vec<_>>();
        adapters = models::adapters(&model, &arguments.adapter, AnyBase::Yes)?;
        for (adapter, foreign_base) in adapters.iter_mut().zip(foreign) {
            adapter.foreign_base = foreign_base;
        }
    }
    if arguments.adapter_only {
        let [adapter] = &adapters[..] else { bail!("--adapter-only takes one adapter") };
        write_gguf_adapter(&arguments.target, model.checkpoint(), adapter)?;
        drop(bar);
        note(format!("{}: the adapter in GGUF's form", arguments.target.display()));
        return Ok(());
    }
    let edit = Merged::new(&model, &adapters)?;
    // A plan has no head but the table of tokens where the two are one.
    if adapters.iter().any(Adapter::is_of_token_table) {
        bail!(
            "the head of {} is its table of tokens, so that merging an adapter of the head would change the look-up as well: \
             use it with --adapter, or train without it (--target all-linear)",
            arguments.model.model.display()
        );
    }
    if let Some(saved) = adapters.iter().find_map(Adapter::saved_head).filter(|_| model.spec().is_tied()) {
        bail!(
            "the head of {} is its table of tokens, and an adapter has `{}` of its own: use it with --adapter",
            arguments.model.model.display(),
            saved.weight
        );
    }
    let options = Options {
        types: arguments.types,
        force: arguments.force,
        threads: arguments.threads,
        ..Options::new(Form::Gguf)
    };
    let mut progress = |read: u64, total: u64| {
        bar.update("merging", read, total);
        !interrupt.is_set()
    };
    let report = done(convert_edited(&source, &arguments.target, &options, &edit, &mut progress))?;
    drop(bar);
    drop(between);
    report.notes.iter().for_each(note);
    let bytes = report.files.iter().map(|file| file.bytes).sum();
    note(format!("{}  {}", arguments.target.display(), size::format(bytes)));
    Ok(())
}

/// An interruption as the command's own.
fn done<T>(result: Result<T, ConvertError>) -> anyhow::Result<T> {
    match result {
        Err(ConvertError::Interrupted) => Err(interrupted()),
        other => Ok(other?),
    }
}

/// Weights in the place of others, by name: a model that was trained in full.
pub struct Replaced {
    weights: HashMap<String, Vec<f32>>,
}

impl Replaced {
    /// Writes the model at `source`, which is GGUF, with other weights.
    pub fn write(
        source: &Path,
        target: &Path,
        weights: Vec<(String, Vec<f32>)>,
        (types, threads): (Types, Option<usize>),
    ) -> anyhow::Result<()> {
        let edit = Self { weights: weights.into_iter().collect() };
        let options = Options { types, threads, force: true, ..Options::new(Form::Gguf) };
        let report = done(convert_edited(source, target, &options, &edit, &mut |_, _| true))?;
        report.notes.iter().for_each(note);
        Ok(())
    }
}

impl Edit for Replaced {
    fn changes(&self, tensor: &str) -> bool {
        self.weights.contains_key(tensor)
    }

    fn row(&self, tensor: &str, row: usize, values: &mut [f32]) {
        let width = values.len();
        if let Some(numbers) = self.weights.get(tensor).and_then(|all| all.get(row * width..(row + 1) * width)) {
            values.copy_from_slice(numbers);
        }
    }
}
