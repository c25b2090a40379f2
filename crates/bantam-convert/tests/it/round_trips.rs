//! Every tiny model from its directory to GGUF and back: the same logits, the same bytes, the same meaning.

use std::collections::BTreeMap;
use std::path::Path;

use bantam_convert::Form;
use bantam_model::Checkpoint;
use bantam_plan::Batch;
use bantam_testkit::{Golden, assert_close, evidence};

use crate::load;
use crate::support::{Folder, converted};

/// Models of which GGUF cannot say all, and a word of what is named.
const REFUSED: &[(&str, &str)] = &[
    ("tiny-phimoe-long", "router"),
    ("tiny-phimoe-short", "router"),
    ("tiny-smollm3-b", "the rotary embedding of layer"),
];

fn check_logits(golden: &Golden, checkpoint: &Checkpoint, what: &str) {
    let longest = golden.sequences.iter().map(|sequence| sequence.tokens.len()).max().unwrap();
    let plan = if golden.is_encoder { None } else { Some(checkpoint.plan_for(longest).unwrap()) };
    let plan = plan.as_ref().unwrap_or(checkpoint.plan());
    for sequence in &golden.sequences {
        let logits = plan.run_reference(checkpoint, &Batch::packed(&[&sequence.tokens])).unwrap();
        let first = sequence.first_row * sequence.width;
        assert_close(&logits[first..], &sequence.logits, golden.tolerance, &format!("{} {what}", golden.name));
    }
}

/// Bytes, types and shapes of a directory's tensors by name, without those that carry nothing.
fn tensors(directory: &Path, checkpoint: &Checkpoint) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let (_, tensors) = load::parts(directory);
    let used = |name: &str| checkpoint.gguf_name(name).is_some();
    tensors
        .into_iter()
        .filter(|tensor| used(&tensor.file_name))
        .map(|tensor| {
            let facts = (format!("{:?}", tensor.tensor_type), tensor.shape, tensor.bytes.to_vec());
            // Parts of larger models have names that the text model's own files do not begin with.
            (tensor.file_name.replace("language_model.", ""), facts)
        })
        .collect()
}

#[test]
fn every_tiny_model_survives() {
    let folder = Folder::new("round-trips");
    for name in Golden::names().into_iter().chain(Golden::encoders()) {
        let golden = Golden::load(&name);
        let (gguf, back) = (folder.path(&format!("{name}.gguf")), folder.path(&format!("{name}-back")));
        let report = converted(&golden.directory, &gguf, Form::Gguf, |_| ());
        if let Some((_, expected)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
            let error = report.unwrap_err().to_string();
            assert!(error.contains("GGUF has no way to say") && error.contains(expected), "{name}: {error}");
            assert!(!gguf.exists());
            continue;
        }
        report.unwrap_or_else(|error| panic!("{name}: {error}"));
        let there = load::gguf(std::fs::read(&gguf).unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
        check_logits(&golden, &there, "as GGUF");
        evidence::shown("family", load::hugging_face(&golden.directory).family().name, "export to GGUF");

        converted(&gguf, &back, Form::HuggingFace, |_| ()).unwrap_or_else(|error| panic!("{name}: {error}"));
        let meant = load::hugging_face(&golden.directory);
        let made = load::hugging_face(&back);
        check_logits(&golden, &made, "back from GGUF");
        // A model without a window or experts is the same under the first family of its GGUF name.
        assert_eq!(meant.family().gguf, made.family().gguf, "{name}");
        let (meant_tensors, made_tensors) = (tensors(&golden.directory, &meant), tensors(&back, &made));
        let names = |tensors: &BTreeMap<String, _>| tensors.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&meant_tensors), names(&made_tensors), "{name}");
        for (tensor, facts) in &meant_tensors {
            assert!(made_tensors[tensor] == *facts, "{name}: {tensor} is as it was");
        }
        evidence::shown("family", made.family().name, "export to Hugging Face");
    }
}

#[test]
fn quantized_directories_keep_every_value() {
    let folder = Folder::new("quantized");
    for golden in Golden::quantized() {
        let gguf = folder.path(&format!("{}.gguf", golden.name));
        converted(&golden.directory, &gguf, Form::Gguf, |_| ())
            .unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        let there =
            load::gguf(std::fs::read(&gguf).unwrap()).unwrap_or_else(|error| panic!("{}: {error}", golden.name));
        check_logits(&golden, &there, "as GGUF");
    }
}
