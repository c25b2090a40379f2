//! How the rows of a text become its vector, from sentence-transformers' files to GGUF's one key and back.

use std::path::Path;

use bantam_formats::FormatError;
use bantam_formats::gguf::{Gguf, GgufWriter};
use bantam_formats::huggingface::{HfDirectory, HfFile};
use bantam_model::Spec;
use bantam_runtime::{EmbeddingDefaults, Pooling};
use serde_json::json;

use crate::huggingface_out::put_json;
use crate::{ConvertError, Report};

/// GGUF's number of a pooling (`enum llama_pooling_type` of llama.cpp), and the key that switches it on in a directory.
const POOLINGS: &[(u32, Pooling, &str)] = &[
    (1, Pooling::Mean, "pooling_mode_mean_tokens"),
    (2, Pooling::Cls, "pooling_mode_cls_token"),
    (3, Pooling::Last, "pooling_mode_lasttoken"),
];

/// Says the pooling in GGUF's metadata, refuses what changes vectors and has no key, and names what else has none.
pub(crate) fn to_gguf(
    directory: &HfDirectory,
    architecture: &str,
    spec: &Spec,
    model: &mut GgufWriter,
    report: &mut Report,
) -> Result<(), ConvertError> {
    if spec.head.is_some() && directory.value(HfFile::Modules)?.is_none() {
        return Ok(());
    }
    let place = directory.path().display();
    let defaults = EmbeddingDefaults::from_directory(directory)
        .map_err(|error| ConvertError::Request(format!("{place}: {error}")))?;
    if let Some(pooling) = defaults.pooling {
        let Some((number, ..)) = POOLINGS.iter().find(|(_, known, _)| *known == pooling) else {
            return Err(ConvertError::Request(format!("{place}: GGUF has no way to say the pooling {pooling:?}")));
        };
        model.set(format!("{architecture}.pooling_type"), *number);
    }
    if defaults.normalize == Some(false) {
        report.note(
            "its vectors are not scaled to length 1, which GGUF has no key for: say so where they are made".into(),
        );
    }
    let context = model.metadata().iter().find(|(key, _)| *key == format!("{architecture}.context_length"));
    let context = context.and_then(|(_, value)| value.as_i64()).and_then(|most| usize::try_from(most).ok());
    if let (Some(most), Some(context)) = (defaults.max_tokens, context)
        && most < context
    {
        report.note(format!("texts are cut at {most} tokens, which GGUF has no key for: its context is {context}"));
    }
    if defaults.lowercase {
        report.note("texts are lower-cased before anything else (do_lower_case), which GGUF has no key for".into());
    }
    if let Some(prompt) = defaults.prompt {
        report.note(format!("{prompt:?} is put before every text, which GGUF has no key for"));
    }
    Ok(())
}

/// Writes the modules of sentence-transformers where a GGUF file names a pooling.
pub(crate) fn to_directory(gguf: &Gguf, folder: &Path, report: &mut Report) -> Result<(), ConvertError> {
    let architecture = gguf.str("general.architecture")?.unwrap_or_default();
    let key = |name: &str| format!("{architecture}.{name}");
    let number = match gguf.u32(&key("pooling_type"))? {
        None | Some(0) => return Ok(()),
        Some(number) => number,
    };
    let Some((_, pooling, _)) = POOLINGS.iter().find(|(known, ..)| *known == number) else {
        report.note(format!("{} is {number}, which a directory has no module for", key("pooling_type")));
        return Ok(());
    };
    let module = |index: usize, path: &str, kind: &str| json!({ "idx": index, "name": index.to_string(), "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let modules =
        json!([module(0, "", "Transformer"), module(1, "1_Pooling", "Pooling"), module(2, "2_Normalize", "Normalize")]);
    put_json(&folder.join(HfFile::Modules.name()), &modules)?;
    let mut config = json!({ "word_embedding_dimension": gguf.u32(&key("embedding_length"))? });
    for (_, known, name) in POOLINGS {
        config[*name] = json!(known == pooling);
    }
    for (path, config) in [("1_Pooling", Some(config)), ("2_Normalize", None)] {
        let inner = folder.join(path);
        std::fs::create_dir(&inner).map_err(|source| FormatError::Io {
            action: "write",
            path: inner.clone(),
            source,
        })?;
        if let Some(config) = config {
            put_json(&inner.join("config.json"), &config)?;
        }
    }
    if let Some(context) = gguf.u32(&key("context_length"))? {
        put_json(
            &folder.join(HfFile::SentenceConfig.name()),
            &json!({ "max_seq_length": context, "do_lower_case": false }),
        )?;
    }
    report.note("its vectors are scaled to length 1 (2_Normalize), as the readers of GGUF do".into());
    Ok(())
}
