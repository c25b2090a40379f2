//! `bantam convert SOURCE -o TARGET`.

use std::path::PathBuf;

use bantam_convert::{ConvertError, Form, Options, Report, SplitLimits, Types, convert};
use clap::{Args, ValueEnum};

use crate::arguments::{positive, threads, types_to_write};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::output::{Style, emit, emit_json_pretty, note};
use crate::progress::Progress;
use crate::size;

/// Arguments of `bantam convert`.
#[derive(Args, Debug)]
pub struct ConvertArguments {
    /// The model: a Hugging Face directory, a .gguf file, or the first part of a split one
    #[arg(value_name = "SOURCE")]
    source: PathBuf,
    /// Where it goes: a .gguf file, or with --to hf a directory
    #[arg(short = 'o', long = "output", value_name = "TARGET")]
    target: PathBuf,
    /// The form of the target
    #[arg(long, value_name = "FORM", default_value = "gguf")]
    to: FormChoice,
    /// The format of the matrices, such as f16, q8_0 or q4_k_m; as-is keeps each tensor's own
    #[arg(long = "type", value_name = "TYPE", default_value = "as-is", value_parser = types_to_write)]
    types: Types,
    /// Split into files of at most this much tensor data each, such as 2G
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    split_max_size: Option<u64>,
    /// Split into files of at most so many tensors each
    #[arg(long, value_name = "N", value_parser = positive())]
    split_max_tensors: Option<usize>,
    /// Largest file of weights in a directory [default: 5GB]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    shard_size: Option<u64>,
    /// Replace what is there already
    #[arg(long)]
    force: bool,
    /// Threads that encode; by default all that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Forms of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FormChoice {
    /// A GGUF file, or several
    Gguf,
    /// A Hugging Face directory
    Hf,
}

/// Converts a model and says what became of it.
pub fn run(arguments: &ConvertArguments) -> anyhow::Result<()> {
    let interrupt = Interrupt::install_for_files()?;
    anyhow::ensure!(
        arguments.target.as_os_str() != "-",
        "-o - is no target: a model's header is written when its tensors are known; name a file, or a device such as /dev/stdout"
    );
    anyhow::ensure!(arguments.split_max_size != Some(0), "--split-max-size 0 leaves no room for a tensor");
    anyhow::ensure!(arguments.shard_size != Some(0), "--shard-size 0 leaves no room for a tensor");
    anyhow::ensure!(
        arguments.shard_size.is_none() || arguments.to == FormChoice::Hf,
        "--shard-size is for --to hf; --split-max-size says how large the files of a GGUF model may be"
    );
    let split = (arguments.split_max_size.is_some() || arguments.split_max_tensors.is_some()).then(|| SplitLimits {
        bytes: arguments.split_max_size.unwrap_or(u64::MAX),
        tensors: arguments.split_max_tensors.unwrap_or(usize::MAX),
    });
    let form = match arguments.to {
        FormChoice::Gguf => Form::Gguf,
        FormChoice::Hf => Form::HuggingFace,
    };
    let options = Options {
        types: arguments.types,
        split,
        force: arguments.force,
        threads: arguments.threads,
        ..Options::new(form)
    };
    let shard_bytes = arguments.shard_size.unwrap_or(options.shard_bytes);
    let options = Options { shard_bytes, ..options };
    let mut bar = Progress::start();
    let result = convert(&arguments.source, &arguments.target, &options, &mut |done, total| {
        bar.update("converting", done, total);
        !interrupt.is_set()
    });
    drop(bar);
    let report = match result {
        Err(ConvertError::Interrupted) => return Err(interrupted()),
        other => other?,
    };
    if arguments.json {
        return emit_json_pretty(&report);
    }
    report.notes.iter().for_each(note);
    Ok(emit(&in_words(&report))?)
}

fn in_words(report: &Report) -> String {
    let style = Style::stdout();
    let mut text = String::new();
    for file in &report.files {
        text += &format!("{}  {}{}{}\n", file.path.display(), style.dim(), size::format(file.bytes), style.reset());
    }
    for (name, count) in &report.types {
        let size = size::format(count.bytes);
        text += &format!("{}{name:8} {:>6} tensors  {size:>10}{}\n", style.dim(), count.tensors, style.reset());
    }
    text
}
