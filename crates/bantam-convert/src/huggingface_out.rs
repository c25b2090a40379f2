//! The target is a Hugging Face directory.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::Path;

use bantam_formats::FormatError;
use bantam_formats::atomic::write_atomically;
use bantam_formats::safetensors::{Dtype, SafeTensorHeader, SafeTensorsWriter};
use bantam_model::Tensor;
use bantam_model::exchange::{self, Change, Made};
use bantam_tensor::TensorType;
use serde_json::{Map, Value as Json, json};

use crate::encode::{Work, is_exact, is_narrowed, numbers, stored, through, unwrapped, values};
use crate::place::{self, NewFolder};
use crate::report::{WrittenFile, torch_name};
use crate::source::{DirectorySource, GgufSource, Source};
use crate::{ConvertError, Options, Report, Types, rest, vocabulary};

/// A tensor with the format it gets; `Err` for one that is copied as it is.
struct Placed {
    made: Made,
    dtype: Dtype,
}

/// Writes the target.
pub(crate) fn write(
    source: &Source,
    target: &Path,
    options: &Options,
    work: &mut Work<'_>,
    mut report: Report,
) -> Result<Report, ConvertError> {
    if options.split.is_some() {
        let advice = "--split-max-size and --split-max-tensors are for GGUF; --shard-size says how large the files of a \
                      directory may be";
        return Err(ConvertError::Request(advice.to_owned()));
    }
    let wanted = match options.types {
        Types::AsIs => None,
        Types::Plain(known) if torch_name(known).is_some() => Some(known),
        Types::Plain(_) | Types::Mix(_) => {
            let problem = "a Hugging Face directory holds f32, f16 or bf16; other formats are GGUF's";
            return Err(ConvertError::Request(problem.to_owned()));
        }
    };
    place::check(target, source, work.files, options.form, options.force)?;
    let (placed, config) = match source {
        Source::Gguf(gguf) => from_gguf(gguf, wanted, &mut report)?,
        Source::Directory(directory) => from_directory(directory, wanted)?,
    };
    let rest = match source {
        Source::Gguf(_) => Vec::new(),
        Source::Directory(directory) => rest::list(directory.directory.path(), work.files, &mut report)?,
    };
    let beside = rest.iter().map(|file| file.bytes);
    let needed = placed.iter().map(bytes_of).chain(beside).fold(1 << 20, u64::saturating_add);
    place::check_space(target, needed)?;
    let folder = NewFolder::create(target)?;
    put_json(&folder.path().join("config.json"), &Json::Object(config))?;
    // What is small comes first: a tokenizer that cannot be written is known before the weights are.
    match source {
        Source::Gguf(gguf) => vocabulary::to_directory(gguf, folder.path(), &mut report)?,
        Source::Directory(_) => rest::copy(&rest, folder.path())?,
    }
    weights(&placed, options.shard_bytes, folder.path(), work, &mut report)?;
    list_files(folder.path(), target, Path::new(""), &mut report)?;
    folder.keep()?;
    Ok(report)
}

fn bytes_of(placed: &Placed) -> u64 {
    (numbers(&placed.made.shape) as u64).saturating_mul(placed.dtype.bits()) / 8
}

fn dtype(tensor_type: TensorType) -> Dtype {
    let same = |dtype: &&Dtype| dtype.tensor_type() == Some(tensor_type);
    Dtype::ALL.iter().find(same).copied().unwrap_or(Dtype::F32)
}

fn from_gguf(
    gguf: &GgufSource,
    wanted: Option<TensorType>,
    report: &mut Report,
) -> Result<(Vec<Placed>, Map<String, Json>), ConvertError> {
    let checkpoint = gguf.checkpoint()?;
    let form = exchange::to_hugging_face(&checkpoint)
        .map_err(|error| ConvertError::Model { path: gguf.path.clone(), error })?;
    // What the matrices have, where that is a format of single numbers; else the format that loses nothing of note.
    let mut totals: Vec<(TensorType, usize)> = Vec::new();
    for made in form.tensors.iter().filter(|made| !made.small) {
        let (stored, count) = (stored(made)?, numbers(&made.shape));
        match totals.iter_mut().find(|(other, _)| *other == stored) {
            Some((_, total)) => *total = total.saturating_add(count),
            None => totals.push((stored, count)),
        }
    }
    let main = totals.iter().max_by_key(|(_, total)| *total).map_or(TensorType::F32, |(main, _)| *main);
    let floats = if torch_name(main).is_some() { main } else { TensorType::F32 };
    let usual = wanted.unwrap_or(floats);
    let mut narrowed = Vec::new();
    let (mut placed, mut decoded, mut wide, mut rounded) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for made in form.tensors {
        let stored = stored(&made)?;
        let target = if made.small {
            let (values, lost) = values(&made)?;
            if is_narrowed(&made) {
                narrowed.push(made.name.clone());
            }
            if lost > 0 {
                rounded.push(made.name.clone());
            }
            // A directory has norms and biases in the format of the rest; what that would round stays wider.
            if wanted.is_some() || is_exact(&values, usual) {
                usual
            } else {
                wide.push(made.name.clone());
                TensorType::F32
            }
        } else if torch_name(stored).is_some() && wanted.is_none() {
            stored
        } else {
            usual
        };
        if stored.is_quantized() {
            decoded.push(made.name.clone());
        }
        placed.push(Placed { dtype: dtype(target), made });
    }
    report.note_tensors(
        &decoded,
        &format!("were quantized and are {usual} now; nothing of what quantizing lost is back"),
    );
    report.note_tensors(&narrowed, "had numbers of 64 bits, of which 32 are kept");
    report.note_tensors(&wide, &format!("are kept as F32: {usual} would round them"));
    report.note_tensors(&rounded, "hold one less than in GGUF, which rounded some of their numbers in 32 bits");
    let mut config = form.config;
    config.insert("torch_dtype".into(), json!(torch_name(usual).unwrap_or("float32")));
    config.extend(vocabulary::special_ids(gguf)?);
    Ok((placed, config))
}

fn from_directory(
    directory: &DirectorySource,
    wanted: Option<TensorType>,
) -> Result<(Vec<Placed>, Map<String, Json>), ConvertError> {
    let mut config = directory.directory.config().clone();
    if wanted.is_some() && config.contains_key("quantization_config") {
        let problem = "the weights are quantized (`quantization_config`): --type would need them decoded first";
        return Err(ConvertError::Request(problem.to_owned()));
    }
    let mut placed = Vec::new();
    for (shard, tensor) in directory.tensors.tensors() {
        let tensor_type = tensor.dtype.tensor_type();
        let floats = tensor_type.and_then(torch_name).is_some();
        let target = wanted.filter(|_| floats).map_or(tensor.dtype, dtype);
        let shape: Vec<usize> = tensor.shape.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
        let part = Tensor {
            file_name: tensor.name.clone(),
            tensor_type: tensor_type.ok_or_else(|| tensor.dtype.name().to_owned()),
            shape: shape.clone(),
            bytes: directory.data(shard, tensor.range.clone()),
        };
        let made = Made { name: tensor.name.clone(), shape, parts: vec![part], change: Change::None, small: false };
        placed.push(Placed { made, dtype: target });
    }
    if let Some(name) = wanted.and_then(torch_name) {
        for key in ["torch_dtype", "dtype"] {
            let nested = config.get_mut("text_config").and_then(Json::as_object_mut);
            for map in nested.into_iter() {
                if map.contains_key(key) {
                    map.insert(key.to_owned(), json!(name));
                }
            }
        }
        let key = if config.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        config.insert(key.to_owned(), json!(name));
    }
    Ok((placed, config))
}

/// Writes the weights into as many files as the limit asks for, and their index.
fn weights(
    placed: &[Placed],
    limit: u64,
    folder: &Path,
    work: &mut Work<'_>,
    report: &mut Report,
) -> Result<(), ConvertError> {
    let mut shards: Vec<Vec<&Placed>> = vec![Vec::new()];
    let mut filled = 0u64;
    for each in placed {
        let bytes = bytes_of(each);
        if filled > 0 && filled.saturating_add(bytes) > limit {
            shards.push(Vec::new());
            filled = 0;
        }
        filled = filled.saturating_add(bytes);
        if let Some(last) = shards.last_mut() {
            last.push(each);
        }
    }
    let count = shards.len();
    let (mut index, mut total, mut overflowed) = (Map::new(), 0u64, Vec::new());
    for (number, shard) in shards.iter().enumerate() {
        let name = match count {
            1 => "model.safetensors".to_owned(),
            _ => format!("model-{:05}-of-{count:05}.safetensors", number + 1),
        };
        let mut writer = SafeTensorsWriter::new();
        writer.set("format", "pt");
        let mut by_name = HashMap::new();
        for each in shard {
            let shape: Vec<u64> = each.made.shape.iter().map(|&n| n as u64).collect();
            writer.add_tensor(each.made.name.as_str(), each.dtype, &shape)?;
            by_name.insert(each.made.name.as_str(), *each);
            index.insert(each.made.name.clone(), json!(name));
            total += bytes_of(each);
            report.count(each.dtype.name(), bytes_of(each));
        }
        let write = |header: &SafeTensorHeader, out: &mut dyn Write| -> io::Result<()> {
            let Some(each) = by_name.get(header.name.as_str()) else { return Ok(()) };
            let same = each.made.parts.iter().all(|part| match &part.tensor_type {
                Ok(stored) => Some(*stored) == each.dtype.tensor_type(),
                Err(_) => true,
            });
            match each.dtype.tensor_type() {
                Some(target) if !same || each.made.change != Change::None => {
                    let outcome = work.write(&each.made, target, out).map_err(through)?;
                    if outcome.overflowed > 0 {
                        overflowed.push(each.made.name.clone());
                    }
                    Ok(())
                }
                _ => each.made.parts.iter().try_for_each(|part| work.copy(&part.bytes, out)).map_err(through),
            }
        };
        writer.write(&folder.join(&name), write).map_err(unwrapped)?;
    }
    if count > 1 {
        let json = json!({ "metadata": { "total_size": total }, "weight_map": index });
        put_json(&folder.join("model.safetensors.index.json"), &json)?;
    }
    report.note_tensors(&overflowed, "had numbers beyond the range of F16, which are infinite now");
    Ok(())
}

/// Writes a JSON file for people too.
pub(crate) fn put_json(path: &Path, json: &Json) -> Result<(), ConvertError> {
    let mut text = serde_json::to_string_pretty(json).unwrap_or_default();
    text.push('\n');
    put(path, text.as_bytes())
}

/// Writes a small file.
pub(crate) fn put(path: &Path, bytes: &[u8]) -> Result<(), ConvertError> {
    let failed = |source| FormatError::Io { action: "write", path: path.to_owned(), source };
    Ok(write_atomically(path, |file| file.write_all(bytes).map_err(failed))?)
}

/// Says which files there are now, by their final names.
fn list_files(folder: &Path, target: &Path, inside: &Path, report: &mut Report) -> Result<(), ConvertError> {
    let failed = |source| FormatError::Io { action: "read", path: folder.to_owned(), source };
    let mut entries =
        std::fs::read_dir(folder.join(inside)).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let (found, name) = (entry.metadata().map_err(failed)?, inside.join(entry.file_name()));
        if found.is_dir() {
            list_files(folder, target, &name, report)?;
        } else {
            report.files.push(WrittenFile { path: target.join(name), bytes: found.len() });
        }
    }
    Ok(())
}
