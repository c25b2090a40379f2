//! Weights kept in repacked form: the same logits, and never a broken file's.

use std::fs;
use std::path::{Path, PathBuf};

use bantam_runtime::{Feed, LoadOptions, Model, OpenOptions, Outputs, RuntimeError};
use bantam_tensor::TensorType;
use bantam_testkit::Golden;

/// A directory that is removed with the value.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("bantam-optimised-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open(quantize: Option<TensorType>) -> Model {
    Model::open(&Golden::load("tiny-llama-a").directory, &OpenOptions { quantize }).unwrap()
}

fn logits(model: &Model) -> Vec<u32> {
    let options = LoadOptions { threads: Some(2), ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let sequence = loaded.open_sequence().unwrap();
    let tokens: Vec<u32> = (1..20).collect();
    let feed = Feed { sequence, tokens: &tokens, outputs: Outputs::All };
    loaded.run(&[feed]).unwrap().iter().map(|logit| logit.to_bits()).collect()
}

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).map_or(Vec::new(), |entries| entries.map(|entry| entry.unwrap().path()).collect())
}

#[test]
fn kept_weights_give_the_same_logits_and_broken_ones_are_not_used() {
    let directory = Directory::new("whole");
    let plain = open(Some(TensorType::Q8_0));
    let expected = logits(&plain);
    assert_eq!(plain.remove_optimised(&directory.0).unwrap(), 0);
    let kept = plain.optimise(&directory.0, Some(2), &mut |_| true).unwrap();
    assert_eq!(files(&directory.0), std::slice::from_ref(&kept.path));
    assert_eq!(fs::metadata(&kept.path).unwrap().len(), kept.bytes);
    let written = fs::read(&kept.path).unwrap();
    assert!(written.len() > 4096, "some weight is in blocks");
    // Done already: nothing is written.
    assert_eq!(plain.optimise(&directory.0, Some(1), &mut |_| panic!("repacked again")).unwrap(), kept);
    let model = open(Some(TensorType::Q8_0)).with_optimised(Some(directory.0.clone()));
    assert_eq!(logits(&model), expected);
    // Another type is another model.
    let other = open(Some(TensorType::Q4_0));
    let other_expected = logits(&other);
    assert_eq!(logits(&other.with_optimised(Some(directory.0.clone()))), other_expected);
    for (at, length) in
        [(4096, written.len()), (4100, written.len()), (0, 0), (0, 40), (written.len() - 40, written.len())]
    {
        let mut broken = written[..length].to_vec();
        if let Some(byte) = broken.get_mut(at) {
            *byte ^= 0x55;
        }
        // By another name first: what is mapped elsewhere stays as it is.
        let other = directory.0.join("other");
        fs::write(&other, &broken).unwrap();
        fs::rename(&other, &kept.path).unwrap();
        assert_eq!(logits(&model), expected, "byte {at} of {length}");
    }
    assert_eq!(plain.optimise(&directory.0, Some(1), &mut |_| true).unwrap(), kept);
    assert_eq!(fs::read(&kept.path).unwrap(), written, "made anew");
    assert_eq!(plain.remove_optimised(&directory.0).unwrap(), kept.bytes);
    assert!(files(&directory.0).is_empty());
}

#[test]
fn what_is_stopped_leaves_nothing() {
    let directory = Directory::new("stopped");
    let stopped = open(Some(TensorType::Q8_0)).optimise(&directory.0, Some(1), &mut |_| false);
    assert!(matches!(stopped, Err(RuntimeError::Interrupted)));
    assert!(files(&directory.0).is_empty());
}
