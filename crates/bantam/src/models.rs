//! From the command line to a model in memory.

use std::path::{Path, PathBuf};

use bantam_engine::SamplingOptions;
use bantam_runtime::{
    Adapter, AnyBase, GenerationDefaults, KvFormat, LoadOptions, Loaded, Model, OpenOptions, RuntimeError, fingerprint,
    read_gguf_adapter, read_peft,
};
use bantam_tensor::TensorType;
use bantam_text::{Special, TextError, Tokenizer};

use crate::arguments::{KvChoice, LoadArguments, SizeArguments};
use crate::failure::interrupted;
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// Reads what a model is, without its weights.
pub fn open(path: &Path, quantize: Option<TensorType>) -> anyhow::Result<Model> {
    open_with(path, &OpenOptions { quantize, ..OpenOptions::default() })
}

fn open_with(path: &Path, options: &OpenOptions) -> anyhow::Result<Model> {
    Ok(Model::open(path, options)?.with_optimised(optimised_directory()))
}

/// Where repacked weights are kept: `$XDG_CACHE_HOME/bantam/optimised`, by default below `~/.cache`.
pub fn optimised_directory() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = cache.or_else(|| Some(std::env::home_dir()?.join(".cache")))?;
    Some(cache.join("bantam").join("optimised"))
}

/// The same for what makes text: an encoder is refused.
pub fn open_decoder(path: &Path, quantize: Option<TensorType>) -> anyhow::Result<Model> {
    makes_text(open(path, quantize)?, path)
}

/// The same for a model that is going to be loaded at once: the system begins to read its weights. Where some models are kept
/// repacked this may be one of them, whose own weights nobody reads.
pub fn open_to_run(path: &Path, quantize: Option<TensorType>) -> anyhow::Result<Model> {
    let folder = optimised_directory().and_then(|folder| std::fs::read_dir(folder).ok());
    let kept =
        folder.into_iter().flatten().flatten().any(|file| file.path().extension().is_some_and(|kind| kind == "panels"));
    makes_text(open_with(path, &OpenOptions { quantize, read_ahead: !kept })?, path)
}

fn makes_text(model: Model, path: &Path) -> anyhow::Result<Model> {
    if !model.makes_text() {
        anyhow::bail!("{} makes vectors and no text: see bantam embed", path.display());
    }
    Ok(model)
}

/// The model with the adapters that the arguments name.
pub fn adapted(model: Model, arguments: &LoadArguments) -> anyhow::Result<Model> {
    let any_base = if arguments.any_base { AnyBase::Yes } else { AnyBase::No };
    let adapters = adapters(&model, &arguments.adapter, any_base)?;
    Ok(model.with_adapters(adapters))
}

/// Adapters of a model, each a path with a factor behind a colon where it is not 1.
pub fn adapters(model: &Model, named: &[String], any_base: AnyBase) -> anyhow::Result<Vec<Adapter>> {
    let mut adapters = Vec::new();
    for named in named {
        // A path may have a colon in its name; a factor is a number.
        let parts = named.rsplit_once(':').and_then(|(path, scale)| Some((path, scale.parse::<f32>().ok()?)));
        let (path, scale) =
            if Path::new(named).exists() { (named.as_str(), 1.0) } else { parts.unwrap_or((named, 1.0)) };
        if !scale.is_finite() {
            anyhow::bail!("the factor of {path} is no number");
        }
        let path = Path::new(path);
        let adapter = if path.is_file() {
            read_gguf_adapter(path, model.checkpoint(), any_base)?
        } else {
            read_peft(path, model.checkpoint(), any_base)?
        };
        if any_base == AnyBase::No {
            check_template(path, model, &adapter)?;
        }
        if let Some(saved) = adapter.saved.first().filter(|_| scale != 1.0) {
            anyhow::bail!(
                "{} brings `{}` of its own, which is used or not: it takes no factor",
                path.display(),
                saved.weight
            );
        }
        adapters.push(adapter.scaled(scale));
    }
    Ok(adapters)
}

/// Refuses an adapter that was trained with another chat template than the model has.
fn check_template(path: &Path, model: &Model, adapter: &Adapter) -> anyhow::Result<()> {
    let Some(trained) = &adapter.template else { return Ok(()) };
    let own = model.chat_template(false)?.map(|template| fingerprint(template.source().as_bytes()));
    if own.as_ref() != Some(trained) {
        anyhow::bail!(
            "{}: it was trained with another chat template than this model has; --any-base uses it all the same",
            path.display()
        );
    }
    Ok(())
}

/// A text as it is: behind what the model's metadata puts before a text (BOS), and nothing behind it, so that it can be
/// gone on with.
pub fn raw_tokens(tokenizer: &Tokenizer, text: &str, special: Special) -> Result<Vec<u32>, TextError> {
    let mut ids = tokenizer.prefix_ids().to_vec();
    ids.extend(tokenizer.encode(text, special)?);
    Ok(ids)
}

/// The options of loading that the arguments ask for, with room for this many sequences.
pub fn load_options(arguments: &LoadArguments, sequences: usize) -> LoadOptions {
    LoadOptions { memory_limit: arguments.memory, ..size_options(&arguments.size, sequences) }
}

/// The same, where only what it would take is asked for.
pub fn size_options(arguments: &SizeArguments, sequences: usize) -> LoadOptions {
    LoadOptions {
        threads: arguments.threads,
        context: arguments.context,
        sequences,
        kv: match arguments.kv.unwrap_or_default() {
            KvChoice::F32 => KvFormat::F32,
            KvChoice::F16 => KvFormat::F16,
            KvChoice::Q8_0 => KvFormat::Q8_0,
        },
        ..LoadOptions::default()
    }
}

/// Brings a model into memory, showing how far it is; Ctrl-C stops it.
pub fn load(model: &Model, options: &LoadOptions, interrupt: &Interrupt) -> anyhow::Result<Loaded> {
    let mut bar = Progress::start();
    let result = model.load(options, &mut |progress| {
        bar.update("loading", progress.done_bytes, progress.total_bytes);
        !interrupt.is_set()
    });
    drop(bar);
    let loaded = match result {
        Err(RuntimeError::Interrupted) => return Err(interrupted()),
        other => other?,
    };
    interrupt.also(loaded.interrupt());
    Ok(loaded)
}

/// The sampling that the model's makers recommend.
pub fn sampling_defaults(defaults: &GenerationDefaults) -> SamplingOptions {
    SamplingOptions {
        temperature: defaults.temperature,
        top_k: defaults.top_k.and_then(|count| usize::try_from(count).ok()),
        top_p: defaults.top_p,
        min_p: defaults.min_p,
        typical_p: defaults.typical_p,
        repeat_penalty: defaults.repetition_penalty,
        ..SamplingOptions::default()
    }
}
