//! The target is GGUF.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use bantam_formats::gguf::{GgufWriter, TensorHeader, TensorKind, Value, is_split_key, plan_split, write_parts};
use bantam_model::exchange::{self, Change, Made};
use bantam_model::families::FAMILIES;
use bantam_model::spec::FeedForward;
use bantam_model::{Spec, TOKEN_EMBEDDING, Tensor};
use bantam_tensor::TensorType;

use crate::encode::{Outcome, Work, is_narrowed, matrix, numbers, stored, through, unwrapped, values};
use crate::report::WrittenFile;
use crate::source::{DirectorySource, GgufSource, Source};
use crate::types::{Matrix, is_small};
use crate::{ConvertError, Options, Report, Types, about, place, vocabulary};

const HEAD: &str = "output.weight";

/// A tensor with the format it gets.
struct Placed {
    made: Made,
    target: TensorKind,
}

/// Writes the target.
pub(crate) fn write(
    source: &Source,
    target: &Path,
    options: &Options,
    work: &mut Work<'_>,
    mut report: Report,
) -> Result<Report, ConvertError> {
    let mut model = GgufWriter::new();
    let placed = match source {
        Source::Gguf(gguf) => from_gguf(gguf, options.types, &mut model, &mut report)?,
        Source::Directory(directory) => from_directory(directory, options.types, &mut model, &mut report)?,
    };
    let mut by_name = HashMap::with_capacity(placed.len());
    for each in &placed {
        let dims: Vec<u64> = each.made.shape.iter().rev().map(|&n| n as u64).collect();
        model.add_tensor(each.made.name.as_str(), &dims, each.target)?;
        by_name.insert(each.made.name.as_str(), each);
    }
    let parts: Vec<(PathBuf, GgufWriter)> = match options.split {
        None => vec![(target.to_owned(), model)],
        Some(limits) => {
            let name = target.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let prefix = target.with_file_name(name.strip_suffix(".gguf").unwrap_or(&name));
            plan_split(&model, &prefix, limits)?
        }
    };
    let mut needed = 0u64;
    for (path, writer) in &parts {
        place::check(path, source, work.files, options.form, options.force)?;
        let bytes = writer.file_length()?;
        needed = needed.saturating_add(bytes);
        report.files.push(WrittenFile { path: path.clone(), bytes });
    }
    place::check_space(target, needed)?;
    let mut overflowed = Vec::new();
    let write = |header: &TensorHeader, out: &mut dyn Write| -> io::Result<()> {
        let Some(each) = by_name.get(header.name.as_str()) else { return Ok(()) };
        let outcome = match each.target {
            TensorKind::Known(target) => work.write(&each.made, target, out).map_err(through)?,
            TensorKind::Foreign { .. } => {
                each.made.parts.iter().try_for_each(|part| work.copy(&part.bytes, out)).map_err(through)?;
                Outcome::default()
            }
        };
        if outcome.overflowed > 0 {
            overflowed.push(each.made.name.clone());
        }
        report.count(each.target.name(), header.byte_length);
        Ok(())
    };
    write_parts(&parts, write).map_err(unwrapped)?;
    report.note_tensors(&overflowed, "had numbers beyond the range of F16, which are infinite now");
    Ok(report)
}

/// The format that most matrices have, by bytes.
fn main_type(placed: &[Placed]) -> Option<TensorType> {
    let mut totals: Vec<(TensorType, usize)> = Vec::new();
    for each in placed.iter().filter(|each| !each.made.small) {
        let Some(known) = each.target.known() else { continue };
        let count = numbers(&each.made.shape);
        match totals.iter_mut().find(|(other, _)| *other == known) {
            Some((_, total)) => *total = total.saturating_add(count),
            None => totals.push((known, count)),
        }
    }
    totals.into_iter().max_by_key(|(_, total)| *total).map(|(known, _)| known)
}

fn set_file_type(model: &mut GgufWriter, types: Types, placed: &[Placed]) {
    let main = main_type(placed);
    let number = types.mix_number().or_else(|| main.and_then(Types::file_type));
    if let Some(number) = number {
        model.set("general.file_type", Value::U32(number));
    } else {
        model.remove("general.file_type");
    }
    let quantized = |each: &Placed| each.target.known().is_none_or(TensorType::is_quantized);
    if placed.iter().any(quantized) {
        model.set("general.quantization_version", Value::U32(2));
    }
}

/// What decides about formats beside a tensor itself.
struct Facts {
    layers: usize,
    experts: usize,
    head: String,
}

/// The format each matrix gets, and who had to make do with another one.
fn choose(
    made: &Made,
    types: Types,
    facts: &Facts,
    fallbacks: &mut Vec<(TensorType, TensorType, String)>,
) -> Result<TensorType, ConvertError> {
    let stored = stored(made)?;
    let (_, width) = matrix(&made.shape);
    let head = made.name == facts.head;
    let matrix = Matrix { name: &made.name, stored, layers: facts.layers, experts: facts.experts, head };
    let wanted = types.wanted(&matrix);
    let target = wanted.fallback(width);
    if target != wanted {
        fallbacks.push((wanted, target, made.name.clone()));
    }
    Ok(target)
}

fn note_fallbacks(fallbacks: &[(TensorType, TensorType, String)], report: &mut Report) {
    let mut kinds: Vec<(TensorType, TensorType)> = fallbacks.iter().map(|(from, to, _)| (*from, *to)).collect();
    kinds.dedup();
    for (from, to) in kinds {
        let names: Vec<String> =
            fallbacks.iter().filter(|each| (each.0, each.1) == (from, to)).map(|each| each.2.clone()).collect();
        let fate = format!("got {to}: rows are no multiple of the {} numbers in a block of {from}", from.block_len());
        report.note_tensors(&names, &fate);
    }
}

/// Whether a family goes by the name.
fn is_known(architecture: &str) -> bool {
    FAMILIES.iter().any(|family| family.gguf.contains(&architecture))
}

fn from_gguf(
    gguf: &GgufSource,
    types: Types,
    model: &mut GgufWriter,
    report: &mut Report,
) -> Result<Vec<Placed>, ConvertError> {
    let metadata = gguf.model.first();
    for (key, value) in metadata.metadata().filter(|(key, _)| !is_split_key(key)) {
        model.set(key, value.clone());
    }
    let architecture = metadata.str("general.architecture")?.unwrap_or_default();
    if types != Types::AsIs && !is_known(architecture) {
        let problem = format!(
            "{}: the architecture {architecture:?} is not one whose tensors are known, so that --type cannot say which of \
             them may be rounded; without it the file is copied, split or put together as it is",
            gguf.path.display()
        );
        return Err(ConvertError::Request(problem));
    }
    let count = |key: &str| metadata.usize(&format!("{architecture}.{key}")).ok().flatten().unwrap_or(0);
    let head = if gguf.model.tensor(HEAD).is_some() { HEAD } else { TOKEN_EMBEDDING };
    let facts = Facts { layers: count("block_count"), experts: count("expert_count"), head: head.to_owned() };
    let (mut placed, mut fallbacks, mut again) = (Vec::new(), Vec::new(), Vec::new());
    for (part, info) in gguf.model.tensors() {
        let tensor_type = info.kind.known().ok_or_else(|| info.kind.name().to_owned());
        let shape: Vec<usize> = info.dims.iter().rev().map(|&n| n as usize).collect();
        let bytes = gguf.data(part, info.range.clone());
        let small = is_small(&info.name, shape.len());
        let file_name = info.name.clone();
        let tensor = Tensor { file_name: file_name.clone(), tensor_type, shape: shape.clone(), bytes };
        let made = Made { name: file_name, shape, parts: vec![tensor], change: Change::None, small };
        let keeps = small || types == Types::AsIs;
        let target = if keeps { info.kind } else { TensorKind::Known(choose(&made, types, &facts, &mut fallbacks)?) };
        if target != info.kind && info.kind.known().is_some_and(TensorType::is_quantized) {
            again.push(made.name.clone());
        }
        placed.push(Placed { made, target });
    }
    if types != Types::AsIs {
        set_file_type(model, types, &placed);
        note_fallbacks(&fallbacks, report);
        report.note_tensors(&again, "had been quantized before: what that lost stays lost");
    }
    Ok(placed)
}

fn from_directory(
    directory: &DirectorySource,
    types: Types,
    model: &mut GgufWriter,
    report: &mut Report,
) -> Result<Vec<Placed>, ConvertError> {
    let checkpoint = directory.checkpoint()?;
    let path = directory.directory.path().to_owned();
    let form = exchange::to_gguf(&checkpoint).map_err(|error| ConvertError::Model { path: path.clone(), error })?;
    model.set("general.architecture", form.architecture);
    model.set("general.type", "model");
    let name = path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    if let Some(name) = name {
        model.set("general.name", name);
    }
    for (key, value) in form.metadata {
        model.set(key, value);
    }
    about::to_gguf(&path, model, report);
    form.elsewhere.iter().for_each(|what| report.note(format!("llama.cpp runs the file otherwise: it {what}")));
    let head = if checkpoint.spec().is_tied() { TOKEN_EMBEDDING } else { HEAD };
    let facts =
        Facts { layers: checkpoint.spec().layers.len(), experts: experts(checkpoint.spec()), head: head.to_owned() };
    let (mut placed, mut fallbacks, mut rounded) = (Vec::new(), Vec::new(), Vec::new());
    let mut narrowed = Vec::new();
    for made in form.tensors {
        let target = if made.small {
            let (_, lost) = if made.change == Change::None { (Vec::new(), 0) } else { values(&made)? };
            if lost > 0 {
                rounded.push(made.parts.first().map_or_else(|| made.name.clone(), |part| part.file_name.clone()));
            }
            if is_narrowed(&made) {
                narrowed.push(made.name.clone());
            }
            TensorType::F32
        } else {
            choose(&made, types, &facts, &mut fallbacks)?
        };
        placed.push(Placed { made, target: TensorKind::Known(target) });
    }
    set_file_type(model, types, &placed);
    note_fallbacks(&fallbacks, report);
    report.note_tensors(&rounded, "hold one more in GGUF, which rounded some of their numbers in 32 bits");
    report.note_tensors(&narrowed, "had numbers of 64 bits, of which 32 are kept");
    vocabulary::to_gguf(directory, form.architecture, checkpoint.spec(), model, report)?;
    Ok(placed)
}

fn experts(spec: &Spec) -> usize {
    let count = |feed_forward: &FeedForward| match feed_forward {
        FeedForward::Experts(experts) => experts.count,
        FeedForward::Gated(_) | FeedForward::Plain(_) => 0,
    };
    spec.layers.iter().map(|layer| count(&layer.feed_forward)).max().unwrap_or(0)
}
