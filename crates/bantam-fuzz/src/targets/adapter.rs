//! Adapters beside whole models: GGUF files and PEFT directories, read, written again and run with.

use std::path::Path;

use bantam_runtime::{
    Adapter, AnyBase, Feed, Model, OpenOptions, Outputs, PeftSettings, read_gguf_adapter, read_peft,
    write_gguf_adapter, write_peft,
};
use bantam_testkit::mutate::Region;

use super::model::load_options;
use super::{Target, directory, gguf, safetensors};

pub(super) const GGUF: Target = Target {
    name: "adapter-gguf",
    about: "a GGUF file of LoRA, beside its whole model",
    seeds: || seeds(FILES.iter().map(|(_, adapter)| *adapter)),
    text: false,
    region: |bytes| numbered(bytes, gguf::region),
    take: take_gguf,
};

pub(super) const CONFIG: Target = Target {
    name: "adapter-config",
    about: "adapter_config.json beside its whole tensors and model",
    seeds: || seeds(DIRECTORIES.iter().map(|directory| directory.config)),
    text: true,
    region: |bytes| Region { range: 1..bytes.len(), percent: 100 },
    take: |bytes| take_peft(bytes, Part::Config),
};

pub(super) const TENSORS: Target = Target {
    name: "adapter-tensors",
    about: "adapter_model.safetensors beside its whole configuration and model",
    seeds: || seeds(DIRECTORIES.iter().map(|directory| directory.tensors)),
    text: false,
    region: |bytes| numbered(bytes, safetensors::region),
    take: |bytes| take_peft(bytes, Part::Tensors),
};

/// A PEFT directory and the model it belongs to.
struct Directory {
    model: &'static [u8],
    config: &'static [u8],
    tensors: &'static [u8],
}

macro_rules! file {
    ($($name:literal),*) => { include_bytes!(concat!("../../../bantam-testkit/", $($name),*)) };
}

macro_rules! directory {
    ($model:literal, $adapter:literal) => {
        Directory {
            model: file!("goldens/", $model, "/model.gguf"),
            config: file!("goldens-adapters/", $adapter, "/random/adapter_config.json"),
            tensors: file!("goldens-adapters/", $adapter, "/random/adapter_model.safetensors"),
        }
    };
}

/// Ranks by pattern over fused modules, DoRA, modules saved whole, transposed ones.
const DIRECTORIES: &[Directory] = &[
    directory!("tiny-llama-a", "tiny-llama-a"),
    directory!("tiny-phi3-a", "tiny-phi3-a"),
    directory!("tiny-qwen2-a", "tiny-qwen2-a-dora"),
    directory!("tiny-gpt2", "tiny-gpt2-saved"),
];

/// Models and their adapters.
const FILES: &[(&[u8], &[u8])] = &[
    (file!("goldens/", "tiny-llama-a", "/model.gguf"), file!("goldens-adapters/", "tiny-llama-a", "/random.gguf")),
    (file!("goldens/", "tiny-phi3-a", "/model.gguf"), file!("goldens-adapters/", "tiny-phi3-a", "/random.gguf")),
];

/// Files, each behind its number.
fn seeds(files: impl Iterator<Item = &'static [u8]>) -> Vec<Vec<u8>> {
    files.zip(0u8..).map(|(file, number)| [&[number], file].concat()).collect()
}

fn numbered(bytes: &[u8], region: fn(&[u8]) -> Region) -> Region {
    let inner = region(bytes.get(1..).unwrap_or_default());
    Region { range: inner.range.start + 1..inner.range.end + 1, percent: inner.percent }
}

/// What the number in front names, and the file behind it.
fn of_number<'a, T>(list: &'a [T], bytes: &'a [u8]) -> Option<(&'a T, &'a [u8])> {
    let (number, file) = bytes.split_first()?;
    Some((list.get(usize::from(*number))?, file))
}

fn take_gguf(bytes: &[u8]) -> bool {
    let Some((&(model, _), adapter)) = of_number(FILES, bytes) else { return false };
    directory::with_files("adapter-gguf", &[("model.gguf", model), ("adapter.gguf", adapter)], |folder| {
        let read =
            |model: &Model| read_gguf_adapter(&folder.join("adapter.gguf"), model.checkpoint(), AnyBase::No).ok();
        use_it(folder, read)
    })
}

/// Which file of a directory another one takes the place of.
#[derive(Clone, Copy)]
enum Part {
    Config,
    Tensors,
}

fn take_peft(bytes: &[u8], part: Part) -> bool {
    let Some((whole, file)) = of_number(DIRECTORIES, bytes) else { return false };
    let (config, tensors) = match part {
        Part::Config => (file, whole.tensors),
        Part::Tensors => (whole.config, file),
    };
    let files = [("model.gguf", whole.model), (CONFIG_NAME, config), ("adapter_model.safetensors", tensors)];
    directory::with_files("adapter-peft", &files, |folder| {
        use_it(folder, |model| read_peft(folder, model.checkpoint(), AnyBase::No).ok())
    })
}

const CONFIG_NAME: &str = "adapter_config.json";

/// Reads an adapter of the model in a folder, writes it in both forms, reads what was written, and runs the model with it.
fn use_it(folder: &Path, read: impl Fn(&Model) -> Option<Adapter>) -> bool {
    let Ok(model) = Model::open(&folder.join("model.gguf"), &OpenOptions::default()) else { return false };
    let Some(adapter) = read(&model) else { return false };
    let (checkpoint, again) = (model.checkpoint(), folder.join("again"));
    let settings = PeftSettings { rank: 4, alpha: 8.0, ..PeftSettings::default() };
    if write_peft(&again, checkpoint, &adapter, &settings).is_ok() {
        let found = read_peft(&again, checkpoint, AnyBase::No).expect("what was written can be read");
        assert_eq!(found.parts.len(), adapter.parts.len());
    }
    let file = folder.join("again.gguf");
    if write_gguf_adapter(&file, checkpoint, &adapter).is_ok() {
        let found = read_gguf_adapter(&file, checkpoint, AnyBase::No).expect("what was written can be read");
        assert_eq!(found.parts.len(), adapter.parts.len());
    }
    let Ok(mut loaded) = model.with_adapters(vec![adapter]).load(&load_options(), &mut |_| true) else { return false };
    let Ok(sequence) = loaded.open_sequence() else { return false };
    loaded.run(&[Feed { sequence, tokens: &[0, 1, 2, 3], outputs: Outputs::All }]).is_ok()
}
