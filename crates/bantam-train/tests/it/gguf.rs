//! GGUF's adapters here, and ours there.

use bantam_model::Checkpoint;
use bantam_runtime::{Adapter, AnyBase, Dora, read_gguf_adapter, read_peft, write_gguf_adapter};
use bantam_testkit::assert_close;

use crate::support::{AdapterGolden, Folder, json, logits};

const NAMES: [&str; 3] = ["tiny-qwen2-a", "tiny-llama-a", "tiny-phi3-a"];

fn last(logits: &[f32], width: usize) -> &[f32] {
    &logits[logits.len() - width..]
}

#[test]
fn llama_cpps_adapters_give_its_logits() {
    for golden in NAMES.map(AdapterGolden::load) {
        let model = &golden.models()[1];
        let adapter = read_gguf_adapter(&golden.path.join("random.gguf"), model.checkpoint(), AnyBase::No).unwrap();
        let expected: Vec<f32> = json(&golden.path.join("gguf_logits.json"))["logits"]
            .as_array()
            .unwrap()
            .iter()
            .map(|x| x.as_f64().unwrap() as f32)
            .collect();
        let found = logits(model, &[adapter], &golden.tokens);
        // llama.cpp adds up in another order, and some of its sums are of half precision.
        assert_close(last(&found, expected.len()), &expected, 5e-3, &golden.name);
    }
}

#[test]
fn what_is_written_is_read_back_alike() {
    for golden in NAMES.map(AdapterGolden::load) {
        let model = &golden.models()[1];
        // Rank-stabilised in one of them, of several ranks and alphas in another.
        let adapter = read_peft(&golden.path.join("random"), model.checkpoint(), AnyBase::No).unwrap();
        let folder = Folder::new("gguf");
        let path = folder.0.join("adapter.gguf");
        write_gguf_adapter(&path, model.checkpoint(), &adapter).unwrap();
        let again = read_gguf_adapter(&path, model.checkpoint(), AnyBase::No).unwrap();
        assert_close(&logits(model, &[again], &golden.tokens), &golden.logits, 1e-4, &golden.name);
    }
}

#[test]
fn a_merged_row_is_the_weights_and_the_adapters() {
    let golden = AdapterGolden::load("tiny-llama-a");
    let model = &golden.models()[1];
    let adapter = read_peft(&golden.path.join("random"), model.checkpoint(), AnyBase::No).unwrap();
    let part = &adapter.parts[0];
    let width = part.a.len() / part.rank;
    let mut row = vec![1.0; width];
    let base = row.clone();
    adapter.add_to_row(&part.weight, 2, &base, &mut row);
    for (column, found) in row.iter().enumerate() {
        let sum: f64 =
            (0..part.rank).map(|r| f64::from(part.b[2 * part.rank + r]) * f64::from(part.a[r * width + column])).sum();
        assert!((f64::from(*found) - 1.0 - f64::from(part.scale) * sum).abs() < 1e-5);
    }
    // With a magnitude it points the same way, and half of the change is half the way.
    let turned = row.clone();
    let mut adapter = adapter.clone();
    let rows = adapter.parts[0].b.len() / adapter.parts[0].rank;
    adapter.parts[0].dora = Some(Dora { magnitude: vec![3.0; rows], factor: 1.0 });
    let length = turned.iter().map(|x| x * x).sum::<f32>().sqrt();
    for (factor, scaled) in [(1.0, adapter.clone()), (0.5, adapter.scaled(0.5))] {
        let mut row = base.clone();
        scaled.add_to_row(&scaled.parts[0].weight, 2, &base, &mut row);
        let expected: Vec<f32> = turned.iter().map(|x| 1.0 + factor * (3.0 * x / length - 1.0)).collect();
        assert_close(&row, &expected, 1e-5, "a merged row of DoRA");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let [qwen, llama] = ["tiny-qwen2-a", "tiny-llama-a"].map(AdapterGolden::load);
    let refused = |checkpoint: &Checkpoint, adapter: &std::path::Path, expected: &str| {
        let error = read_gguf_adapter(adapter, checkpoint, AnyBase::No).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let models = qwen.models();
    refused(models[1].checkpoint(), &llama.path.join("random.gguf"), "architecture");
    refused(models[0].checkpoint(), &qwen.path.join("random.gguf"), "use it with the model as GGUF");
    let model = bantam_testkit::Golden::root().join("tiny-qwen2-a/model.gguf");
    refused(models[1].checkpoint(), &model, "expected an adapter");
    let folder = Folder::new("gguf-refused");
    let dora = AdapterGolden::load("tiny-qwen2-a-dora").path.join("random");
    let dora = read_peft(&dora, models[1].checkpoint(), AnyBase::No).unwrap();
    let error = write_gguf_adapter(&folder.0.join("a.gguf"), models[1].checkpoint(), &dora).unwrap_err().to_string();
    assert!(error.contains("no place for DoRA's magnitudes"), "{error}");
    let error = write_gguf_adapter(&folder.0.join("a.gguf"), models[0].checkpoint(), &Adapter::default()).unwrap_err();
    assert!(error.to_string().contains("name the model as GGUF"), "{error}");
    // Half of a file, and a file with every byte of its tensors' table turned, are refused and make no panic.
    let bytes = std::fs::read(qwen.path.join("random.gguf")).unwrap();
    let path = folder.0.join("damaged.gguf");
    for at in (0..900.min(bytes.len())).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x55;
        std::fs::write(&path, &damaged).unwrap();
        let _ = read_gguf_adapter(&path, models[1].checkpoint(), AnyBase::No);
        std::fs::write(&path, &bytes[..at]).unwrap();
        assert!(read_gguf_adapter(&path, models[1].checkpoint(), AnyBase::No).is_err());
    }
}
