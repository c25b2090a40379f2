//! Files of a Hugging Face directory beside whole weights: the index of shards, defaults of sampling, settings of rope.

use std::path::{Path, PathBuf};

use bantam_formats::huggingface::HfDirectory;
use bantam_formats::safetensors::SafeTensors;
use bantam_model::Checkpoint;
use bantam_runtime::GenerationDefaults;
use bantam_testkit::mutate::Region;
use serde_json::Value;

use super::{Target, checkpoint};

pub(super) const INDEX: Target = Target {
    name: "index",
    about: "model.safetensors.index.json beside two whole shards",
    seeds: || vec![INDEX_JSON.to_vec()],
    text: false,
    region: everywhere,
    take: take_index,
};

pub(super) const GENERATION: Target = Target {
    name: "generation",
    about: "generation_config.json",
    seeds: || GENERATIONS.iter().map(|text| text.as_bytes().to_vec()).collect(),
    text: false,
    region: everywhere,
    take: take_generation,
};

pub(super) const ROPE: Target = Target {
    name: "rope",
    about: "settings of rope, as far as the angles",
    seeds: || ROPES.iter().map(|text| text.as_bytes().to_vec()).collect(),
    text: false,
    region: everywhere,
    take: take_rope,
};

const INDEX_JSON: &[u8] = include_bytes!("../../../bantam-testkit/goldens/tiny-llama-d/model.safetensors.index.json");
const SHARDS: [(&str, &[u8]); 2] = [
    (
        "model-00001-of-00002.safetensors",
        include_bytes!("../../../bantam-testkit/goldens/tiny-llama-d/model-00001-of-00002.safetensors"),
    ),
    (
        "model-00002-of-00002.safetensors",
        include_bytes!("../../../bantam-testkit/goldens/tiny-llama-d/model-00002-of-00002.safetensors"),
    ),
];

const GENERATIONS: [&str; 2] = [
    r#"{"do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "typical_p": 0.9, "repetition_penalty": 1.1,
"max_new_tokens": 2048, "eos_token_id": [1, 2], "bos_token_id": 0, "pad_token_id": 1, "transformers_version": "4.46.0"}"#,
    r#"{"stop_strings": ["\nUser:", "</s>"], "num_beams": 4, "suppress_tokens": [1, 2], "bad_words_ids": [[3], [4, 5]],
"exponential_decay_length_penalty": [1, 1.5], "eos_token_id": 1, "watermarking_config": null}"#,
];

/// Keys that stand in for those of the same names in a whole `config.json`.
const ROPES: [&str; 6] = [
    r#"{"rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 32}}"#,
    r#"{"rope_theta": 10000, "rope_scaling": {"type": "linear", "factor": 2.0}, "partial_rotary_factor": 0.5}"#,
    r#"{"rope_theta": 1e6, "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "beta_fast": 32, "beta_slow": 1, "truncate": false, "attention_factor": 1.1, "original_max_position_embeddings": 32}}"#,
    r#"{"rope_theta": 1e4, "original_max_position_embeddings": 32, "rope_scaling": {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1], "long_factor": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], "short_mscale": 1.0, "long_mscale": 1.2}}"#,
    r#"{"rope_parameters": {"rope_type": "linear", "factor": 3.0, "rope_theta": 2000.0}, "rope_theta": null, "rope_scaling": null}"#,
    r#"{"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1e6}, "sliding_attention": {"rope_type": "default", "rope_theta": 1e4}}, "rope_theta": null, "rope_scaling": null}"#,
];

fn everywhere(bytes: &[u8]) -> Region {
    Region { range: 0..bytes.len(), percent: 100 }
}

/// A folder of this thread's own, in memory where the system has such a place.
pub(super) fn folder(name: &str) -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let base = if shared.is_dir() { shared } else { std::env::temp_dir() };
    base.join(format!("bantam-fuzz-{name}-{}-{:?}", std::process::id(), std::thread::current().id()))
}

/// Writes files and hands the folder over; it is gone afterwards.
pub(super) fn with_files(name: &str, files: &[(&str, &[u8])], use_it: impl FnOnce(&Path) -> bool) -> bool {
    let folder = folder(name);
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| files.iter().try_for_each(|(name, bytes)| std::fs::write(folder.join(name), bytes)));
    let accepted = written.is_ok() && use_it(&folder);
    let _ = std::fs::remove_dir_all(&folder);
    accepted
}

fn take_index(bytes: &[u8]) -> bool {
    let files = [("config.json", &b"{}"[..]), ("model.safetensors.index.json", bytes), SHARDS[0], SHARDS[1]];
    with_files("index", &files, |folder| {
        let Ok(directory) = HfDirectory::open(folder) else { return false };
        let Ok(files) = directory.weight_files() else { return false };
        let parsed: Option<Vec<SafeTensors>> = files
            .paths
            .iter()
            .map(|path| {
                assert_eq!(path.parent(), Some(folder), "an index names no file elsewhere");
                SafeTensors::parse(&std::fs::read(path).ok()?).ok()
            })
            .collect();
        parsed.is_some_and(|shards| files.assemble(shards).is_ok())
    })
}

fn take_generation(bytes: &[u8]) -> bool {
    let Ok(Value::Object(config)) = serde_json::from_slice(bytes) else { return false };
    let defaults = GenerationDefaults::from_json(&config);
    assert!(defaults.stop_strings.iter().all(|text| !text.is_empty()), "no answer ends before nothing");
    let shares =
        [defaults.top_p, defaults.min_p, defaults.typical_p, defaults.temperature, defaults.repetition_penalty];
    assert!(shares.into_iter().flatten().all(|number| number >= 0.0), "{defaults:?}");
    true
}

fn take_rope(bytes: &[u8]) -> bool {
    let Ok(Value::Object(changes)) = serde_json::from_slice(bytes) else { return false };
    let Ok(Value::Object(mut config)) = serde_json::from_slice(checkpoint::CONFIG_JSON) else { return false };
    config.extend(changes);
    let config = Value::Object(config);
    let Ok(model) = Checkpoint::from_hugging_face(&config, checkpoint::config_tensors()) else { return false };
    for context in [1, 64, model.spec().context] {
        let Ok(plan) = model.plan_for(context) else { return false };
        for table in &plan.tables {
            assert!(table.magnitude.is_finite(), "{table:?}");
            assert!(table.frequencies.iter().all(|frequency| frequency.is_finite()), "{table:?}");
        }
    }
    true
}
