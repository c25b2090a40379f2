//! Whole conversions: a Hugging Face directory with one damaged file, and a damaged GGUF file, each into other forms.

use std::path::Path;

use bantam_convert::{Form, Options, SplitLimits, Types, convert};
use bantam_formats::gguf::{Gguf, GgufWriter};
use bantam_formats::safetensors::SafeTensors;
use bantam_testkit::mutate::Region;

use super::{Target, directory, gguf, safetensors, tokenizer};

pub(super) const DIRECTORY: Target = Target {
    name: "convert-directory",
    about: "a Hugging Face directory with one damaged file, to GGUF and to another directory",
    seeds: directory_seeds,
    text: false,
    region: |bytes| match of_directory(bytes) {
        // A header is worth damaging more than weights are.
        Some((_, _, file)) if SafeTensors::parse(file).is_ok() => {
            let inner = safetensors::region(file);
            Region { range: inner.range.start + 2..inner.range.end + 2, percent: inner.percent }
        }
        _ => Region { range: 2..bytes.len(), percent: 100 },
    },
    take: take_directory,
};

pub(super) const GGUF: Target = Target {
    name: "convert-gguf",
    about: "a damaged GGUF file to a Hugging Face directory and to other GGUF files",
    seeds: gguf_seeds,
    text: false,
    region: gguf::region,
    take: take_gguf,
};

type Files = &'static [(&'static str, &'static [u8])];

macro_rules! goldens {
    ($($golden:literal: $($name:literal)*;)*) => {
        &[$(&[$(($name, include_bytes!(concat!("../../../bantam-testkit/goldens/", $golden, "/", $name)))),*]),*]
    };
}

/// Directories that differ in what has to be done: shards, fused and transposed tensors, shifted norms, experts, modules.
const DIRECTORIES: &[Files] = goldens! {
    "tiny-llama-d": "config.json" "generation_config.json" "tokenizer.json" "model.safetensors.index.json"
        "model-00001-of-00002.safetensors" "model-00002-of-00002.safetensors";
    "tiny-gemma2-b": "config.json" "tokenizer.json" "model.safetensors";
    "tiny-phi3-long": "config.json" "tokenizer.json" "model.safetensors";
    "tiny-gpt2": "config.json" "tokenizer.json" "model.safetensors";
    "tiny-qwen3-moe-b": "config.json" "tokenizer.json" "model.safetensors";
    "tiny-bert-mean": "config.json" "tokenizer.json" "tokenizer_config.json" "modules.json" "1_Pooling/config.json"
        "sentence_bert_config.json" "model.safetensors";
};

const MODELS: &[Files] = goldens! {
    "tiny-llama-c": "model.gguf";
    "tiny-gemma2-a": "model.gguf";
    "tiny-phi3-a": "model.gguf";
    "tiny-gpt2": "model.gguf";
    "tiny-qwen3-moe-a": "model.gguf";
    "tiny-bert-mean": "model.gguf";
};

/// Makes whole inputs.
type Seeds = fn() -> Vec<Vec<u8>>;

/// Tokenizers stand beside the weights of the first directory, whose vocabulary has more rows than they have tokens.
const TOKENIZERS: &[(&str, Seeds)] =
    &[("tokenizer.json", tokenizer::json_seeds), ("tokenizer.model", tokenizer::sentencepiece_seeds)];

/// The number of the directory, the number of the file in it, the file.
fn directory_seeds() -> Vec<Vec<u8>> {
    let seed = |directory: usize, file: usize, bytes: &[u8]| [&[directory as u8, file as u8], bytes].concat();
    let whole = DIRECTORIES
        .iter()
        .enumerate()
        .flat_map(|(number, files)| files.iter().enumerate().map(move |(file, (_, bytes))| seed(number, file, bytes)));
    let beside = TOKENIZERS.iter().enumerate().flat_map(|(number, (_, seeds))| {
        seeds().into_iter().map(move |bytes| seed(DIRECTORIES.len(), number, &bytes)).collect::<Vec<_>>()
    });
    whole.chain(beside).collect()
}

/// The directory, the name of its damaged file, and that file.
fn of_directory(bytes: &[u8]) -> Option<(Files, &'static str, &[u8])> {
    let (&[directory, file], rest) = bytes.split_first_chunk()?;
    match DIRECTORIES.get(usize::from(directory)) {
        Some(files) => Some((files, files.get(usize::from(file))?.0, rest)),
        None => Some((DIRECTORIES.first()?, TOKENIZERS.get(usize::from(file))?.0, rest)),
    }
}

/// Every model with a vocabulary of each kind in its metadata, and as it is.
fn gguf_seeds() -> Vec<Vec<u8>> {
    let whole = MODELS.iter().filter_map(|files| Some(files.first()?.1.to_vec()));
    let with_vocabulary = tokenizer::vocabulary_seeds().into_iter().filter_map(|vocabulary| {
        let (model, vocabulary) = (MODELS.first()?.first()?.1, Gguf::parse(&vocabulary).ok()?);
        let parsed = Gguf::parse(model).ok()?;
        let mut writer = GgufWriter::new();
        let from = |gguf: &Gguf, writer: &mut GgufWriter| {
            gguf.metadata().for_each(|(key, value)| {
                writer.set(key, value.clone());
            });
        };
        from(&vocabulary, &mut writer);
        from(&parsed, &mut writer);
        // The vocabulary's own keys last: they are what this input is about.
        vocabulary.metadata().filter(|(key, _)| key.starts_with("tokenizer.")).for_each(|(key, value)| {
            writer.set(key, value.clone());
        });
        for tensor in parsed.tensors() {
            writer.add_tensor(tensor.name.as_str(), &tensor.dims, tensor.kind).ok()?;
        }
        let data = |header: &bantam_formats::gguf::TensorHeader, out: &mut dyn std::io::Write| {
            let range = parsed.tensor(&header.name).map(|tensor| tensor.range.clone()).unwrap_or_default();
            out.write_all(model.get(range).unwrap_or_default())
        };
        writer.to_bytes(data).ok()
    });
    whole.chain(with_vocabulary).collect()
}

fn take_directory(bytes: &[u8]) -> bool {
    let Some((files, damaged, rest)) = of_directory(bytes) else { return false };
    // A model has one file of its tokenizer or the other.
    let replaced = |name: &str| name == damaged || damaged == "tokenizer.model" && name == "tokenizer.json";
    let whole = files.iter().copied().filter(|(name, _)| !replaced(name));
    let all: Vec<(&str, &[u8])> = whole.chain([(damaged, rest)]).collect();
    in_folder("convert-directory", &all, "in", |folder| {
        let source = folder.join("in");
        let mut taken = false;
        for (number, types) in [Types::AsIs, types("q4_k_m"), types("f16")].into_iter().enumerate() {
            taken |= converted(&source, &folder.join(format!("{number}.gguf")), Form::Gguf, types, number);
        }
        taken | converted(&source, &folder.join("copy"), Form::HuggingFace, types("bf16"), 0)
    })
}

fn take_gguf(bytes: &[u8]) -> bool {
    in_folder("convert-gguf", &[("model.gguf", bytes)], "", |folder| {
        let source = folder.join("model.gguf");
        let mut taken = converted(&source, &folder.join("directory"), Form::HuggingFace, Types::AsIs, 0);
        for (number, types) in [Types::AsIs, types("q8_0")].into_iter().enumerate() {
            taken |= converted(&source, &folder.join(format!("{number}.gguf")), Form::Gguf, types, number);
        }
        taken
    })
}

/// The types of this name; those that the source has where there is no such name.
fn types(name: &str) -> Types {
    Types::from_name(name).unwrap_or(Types::AsIs)
}

/// Writes files into a folder in a folder, and hands the outer one over; it is gone afterwards.
fn in_folder(name: &str, files: &[(&str, &[u8])], inner: &str, use_it: impl FnOnce(&Path) -> bool) -> bool {
    let outer = directory::folder(name);
    let _ = std::fs::remove_dir_all(&outer);
    let write = |(name, bytes): &(&str, &[u8])| {
        let path = outer.join(inner).join(name);
        path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
        std::fs::write(path, bytes)
    };
    let accepted = files.iter().try_for_each(write).is_ok() && use_it(&outer);
    let _ = std::fs::remove_dir_all(&outer);
    accepted
}

/// Converts; what was refused leaves nothing, what was made can be read.
fn converted(source: &Path, target: &Path, form: Form, types: Types, number: usize) -> bool {
    let mut options = Options { types, threads: Some(1), ..Options::new(form) };
    if number == 1 {
        options.split = (form == Form::Gguf).then_some(SplitLimits { bytes: 16 << 10, tensors: usize::MAX });
    }
    let folder = target.parent().unwrap_or(target);
    let entries = || std::fs::read_dir(folder).map_or(0, Iterator::count);
    let before = entries();
    match convert(source, target, &options, &mut |_, _| true) {
        Ok(report) => {
            for file in &report.files {
                let bytes = std::fs::read(&file.path).unwrap_or_default();
                assert_eq!(
                    bytes.len() as u64,
                    file.bytes,
                    "{} has the length that the report says",
                    file.path.display()
                );
                if form == Form::Gguf {
                    assert!(Gguf::parse(&bytes).is_ok(), "{} can be read", file.path.display());
                } else if file.path.extension().is_some_and(|end| end == "safetensors") {
                    assert!(SafeTensors::parse(&bytes).is_ok(), "{} can be read", file.path.display());
                }
            }
            true
        }
        Err(_) => {
            assert_eq!(entries(), before, "what was refused leaves nothing");
            false
        }
    }
}
