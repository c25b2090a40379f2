//! `bantam optimise MODEL`: weights kept in the form that this processor reads, so that loading need not repack them.

use anyhow::Context as _;
use bantam_runtime::RuntimeError;
use bantam_tensor::TensorType;
use clap::Args;
use serde_json::json;

use crate::arguments::{ModelArgument, tensor_type, threads};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::{emit, emit_json_pretty};
use crate::progress::Progress;
use crate::size;

/// Arguments of `bantam optimise`.
#[derive(Args, Debug)]
pub struct OptimiseArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Remove what was kept of this model
    #[arg(long)]
    remove: bool,
    /// The type that the weights are quantized to while loading, as in the commands that load the model
    #[arg(long = "type", value_name = "TYPE", value_parser = tensor_type)]
    quantize: Option<TensorType>,
    /// Threads that compute; by default one for each performance core that this process may use
    #[arg(short = 't', long, value_name = "N", value_parser = threads())]
    threads: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Writes the repacked weights, or removes them.
pub fn run(arguments: &OptimiseArguments) -> anyhow::Result<()> {
    let directory = models::optimised_directory().context("there is no folder for caches: set XDG_CACHE_HOME")?;
    let model = models::open(&arguments.model.model, arguments.quantize)?;
    if arguments.remove {
        let bytes = model.remove_optimised(&directory)?;
        return match arguments.json {
            true => emit_json_pretty(&json!({ "removed": bytes })),
            false if bytes == 0 => Ok(emit("nothing was kept of this model\n")?),
            false => Ok(emit(&format!("removed {}\n", size::format(bytes)))?),
        };
    }
    let interrupt = Interrupt::install_for_files()?;
    let mut bar = Progress::start();
    let result = model.optimise(&directory, arguments.threads, &mut |progress| {
        bar.update("repacking", progress.done_bytes, progress.total_bytes);
        !interrupt.is_set()
    });
    drop(bar);
    let kept = match result {
        Err(RuntimeError::Interrupted) => return Err(interrupted()),
        other => other?,
    };
    match arguments.json {
        true => emit_json_pretty(&json!({ "path": kept.path, "bytes": kept.bytes })),
        false => Ok(emit(&format!("{}  {}\n", kept.path.display(), size::format(kept.bytes)))?),
    }
}
