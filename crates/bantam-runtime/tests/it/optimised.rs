//! Weights kept in repacked form: the same logits, and never a broken file's.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

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
    Model::open(&Golden::load("tiny-llama-a").directory, &OpenOptions { quantize, read_ahead: false }).unwrap()
}

fn logits(model: &Model) -> Vec<u32> {
    let options = LoadOptions { threads: Some(2), ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let sequence = loaded.open_sequence().unwrap();
    let tokens: Vec<u32> = (1..20).collect();
    let feed = Feed { sequence, tokens: &tokens, outputs: Outputs::All };
    loaded.run(&[feed]).unwrap().iter().map(|logit| logit.to_bits()).collect()
}

/// What lies in a directory, but for the index.
fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
    entries.filter(|path| !path.ends_with("index.json")).collect()
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

/// A model's file and another that differs from it by one byte, a quarter into a tensor, where no sample is taken.
fn two() -> [Vec<u8>; 2] {
    let path = Golden::load("tiny-llama-a").gguf.unwrap();
    let one = fs::read(&path).unwrap();
    let model = Model::open(&path, &OpenOptions::default()).unwrap();
    let (_, tensor) = model.checkpoint().tensors().find(|(name, _)| *name == "blk.0.ffn_gate.weight").unwrap();
    let tensor: &[u8] = &tensor.bytes;
    let start = one.windows(tensor.len()).position(|window| window == tensor).unwrap();
    let mut other = one.clone();
    // The last byte of an f32: sign and most of the exponent.
    other[start + (tensor.len() / 4).next_multiple_of(4) + 3] ^= 0x80;
    [one, other]
}

fn open_file(path: &Path, directory: Option<&Path>) -> Model {
    let options = OpenOptions { quantize: Some(TensorType::Q8_0), ..OpenOptions::default() };
    Model::open(path, &options).unwrap().with_optimised(directory.map(Path::to_owned))
}

#[test]
fn a_kept_form_is_found_by_what_a_model_holds() {
    let (directory, elsewhere) = (Directory::new("content"), Directory::new("marked"));
    let folder = Directory::new("models");
    fs::create_dir_all(&folder.0).unwrap();
    let path = folder.0.join("model.gguf");
    let [one, other] = two();
    fs::write(&path, &other).unwrap();
    let marked = open_file(&path, None).optimise(&elsewhere.0, Some(1), &mut |_| true).unwrap();
    let other_logits = logits(&open_file(&path, None));
    fs::write(&path, &one).unwrap();
    let own_logits = logits(&open_file(&path, None));
    assert_ne!(own_logits, other_logits);
    let kept = open_file(&path, None).optimise(&directory.0, Some(1), &mut |_| true).unwrap();
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let set_time = |path: &Path, time| fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();

    // In the place of its own form stands the other's: where it is used, the logits say so.
    fs::copy(&marked.path, &kept.path).unwrap();
    let check = |path: &Path, expected: &[u32], what: &str| {
        // Twice: what the first has remembered is right too.
        for turn in ["first", "again"] {
            assert!(logits(&open_file(path, Some(&directory.0))) == expected, "{what}, {turn}");
        }
    };
    check(&path, &other_logits, "as it was");
    set_time(&path, SystemTime::UNIX_EPOCH);
    check(&path, &other_logits, "touched");
    let copy = folder.0.join("copy.gguf");
    fs::copy(&path, &copy).unwrap();
    check(&copy, &other_logits, "copied");
    let moved = folder.0.join("moved.gguf");
    fs::rename(&path, &moved).unwrap();
    check(&moved, &other_logits, "moved");
    for damage in [&b""[..], b"{", b"{\"models\":[{\"path\":1}]}", &[0xff; 100]] {
        fs::write(directory.0.join("index.json"), damage).unwrap();
        check(&moved, &other_logits, "with a damaged index");
    }
    assert_eq!(files(&directory.0), std::slice::from_ref(&kept.path));

    // Its own form again; now a model that differs by one byte, under the first's name, of its size and time.
    fs::remove_file(&kept.path).unwrap();
    assert_eq!(open_file(&moved, None).optimise(&directory.0, Some(1), &mut |_| true).unwrap(), kept);
    check(&moved, &own_logits, "with its own form");
    set_time(&moved, time);
    check(&moved, &own_logits, "touched again");
    fs::write(&moved, &other).unwrap();
    set_time(&moved, time);
    check(&moved, &other_logits, "another in its place");
}

#[test]
fn two_places_of_one_model_share_its_form_until_neither_needs_it() {
    let directory = Directory::new("shared");
    let folder = Directory::new("places");
    fs::create_dir_all(&folder.0).unwrap();
    let [a, b] = ["a.gguf", "b.gguf"].map(|name| folder.0.join(name));
    let [one, other] = two();
    fs::write(&a, &one).unwrap();
    fs::write(&b, &one).unwrap();
    let optimise = |path: &Path| open_file(path, None).optimise(&directory.0, Some(1), &mut |_| true).unwrap();
    let kept = optimise(&a);
    let again = open_file(&b, None).optimise(&directory.0, Some(1), &mut |_| panic!("repacked again")).unwrap();
    assert_eq!(again, kept);
    assert_eq!(files(&directory.0), std::slice::from_ref(&kept.path));
    let sorted = |mut paths: Vec<PathBuf>| {
        paths.sort();
        paths
    };
    fs::write(&a, &other).unwrap();
    let other_kept = optimise(&a);
    assert_eq!(sorted(files(&directory.0)), sorted(vec![kept.path.clone(), other_kept.path.clone()]), "b has it still");
    fs::write(&b, &other).unwrap();
    assert_eq!(optimise(&b), other_kept);
    assert_eq!(files(&directory.0), std::slice::from_ref(&other_kept.path), "nobody has the first any more");
    assert_eq!(open_file(&b, None).remove_optimised(&directory.0).unwrap(), other_kept.bytes);
    assert!(files(&directory.0).is_empty());
}
