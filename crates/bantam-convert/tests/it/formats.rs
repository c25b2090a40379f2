//! GGUF to GGUF: other types, several files, and what is kept.

use std::path::{Path, PathBuf};

use bantam_convert::{Form, Options, SplitLimits, Types};
use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, TensorKind, Value};
use bantam_tensor::TensorType;
use bantam_testkit::Golden;

use crate::support::{Folder, converted};

fn to(types: &str) -> impl FnOnce(&mut Options) {
    let types = Types::from_name(types).unwrap();
    move |options| options.types = types
}

fn split(bytes: u64, tensors: usize) -> impl FnOnce(&mut Options) {
    move |options| options.split = Some(SplitLimits { bytes, tensors })
}

fn parsed(path: &Path) -> (Gguf, Vec<u8>) {
    let bytes = std::fs::read(path).unwrap();
    (Gguf::parse(&bytes).unwrap(), bytes)
}

/// Two files with the same tensors, bit for bit, and the same metadata, in the same order.
fn assert_same(one: &Path, other: &Path) {
    let ((one, one_bytes), (other, other_bytes)) = (parsed(one), parsed(other));
    assert_eq!(one.metadata().collect::<Vec<_>>(), other.metadata().collect::<Vec<_>>());
    assert_eq!(one.tensors().len(), other.tensors().len());
    for (one, other) in one.tensors().iter().zip(other.tensors()) {
        assert_eq!((&one.name, &one.dims, one.kind), (&other.name, &other.dims, other.kind));
        assert!(one_bytes[one.range.clone()] == other_bytes[other.range.clone()], "{}", one.name);
    }
}

/// A model that cannot run, with unusual metadata and 256 numbers a row.
fn strange(folder: &Folder) -> PathBuf {
    let mut writer = GgufWriter::new();
    writer.set("general.architecture", "llama").set("llama.block_count", 8u32).set("odd.key", Value::F64(0.1));
    writer.set("general.alignment", 64u32);
    writer.add_tensor("token_embd.weight", &[256, 6], TensorKind::Known(TensorType::F32)).unwrap();
    for layer in 0..8 {
        for (name, dims) in [
            ("attn_norm", &[256][..]),
            ("attn_v", &[256, 4]),
            ("attn_k", &[256, 4]),
            ("ffn_down", &[256, 3]),
            ("ffn_up", &[96, 3]),
        ] {
            let name = format!("blk.{layer}.{name}.weight");
            writer.add_tensor(name, dims, TensorKind::Known(TensorType::F32)).unwrap();
        }
    }
    writer.add_tensor("output.weight", &[256, 6], TensorKind::Known(TensorType::F32)).unwrap();
    let path = folder.path("strange.gguf");
    let mut state = 1u32;
    writer
        .write(&path, |header, out| {
            (0..header.byte_length / 4).try_for_each(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                out.write_all(&((state >> 8) as f32 / 16_777_216.0 - 0.5).to_le_bytes())
            })
        })
        .unwrap();
    path
}

#[test]
fn parts_and_the_whole_again() {
    let folder = Folder::new("split");
    let source = strange(&folder);
    let copy = folder.path("copy.gguf");
    converted(&source, &copy, Form::Gguf, |_| ()).unwrap();
    assert_same(&source, &copy);
    assert_eq!(parsed(&copy).0.alignment, 64);
    for (name, limits, count) in [("by-size", split(12_000, usize::MAX), 9), ("one", split(u64::MAX, usize::MAX), 1)] {
        check_split(&folder, &source, name, limits, count);
    }
    check_split(&folder, &source, "by-number", split(u64::MAX, 10), 5);
}

fn check_split(folder: &Folder, source: &Path, name: &str, limits: impl FnOnce(&mut Options), least: usize) {
    let report = converted(source, &folder.path(&format!("{name}.gguf")), Form::Gguf, limits).unwrap();
    let count = report.files.len();
    assert!(count >= least, "{name}: {count} files");
    let first = &report.files[0].path;
    assert_eq!(first, &folder.path(&format!("{name}-00001-of-{count:05}.gguf")));
    let (part, _) = parsed(&report.files[count - 1].path);
    assert_eq!(part.u32("split.no").unwrap(), Some(count as u32 - 1));
    assert_eq!(part.u32("split.count").unwrap(), Some(count as u32));
    for file in &report.files {
        assert_eq!(std::fs::metadata(&file.path).unwrap().len(), file.bytes);
    }
    let merged = folder.path(&format!("{name}-merged.gguf"));
    converted(first, &merged, Form::Gguf, |_| ()).unwrap();
    assert_same(source, &merged);
}

#[test]
fn matrices_get_the_type_that_is_asked_for() {
    let folder = Folder::new("types");
    let source = strange(&folder);
    let check = |types: &str, file_type: u32, expected: &[(&str, TensorType)], note: &str| {
        let target = folder.path(&format!("{types}.gguf"));
        let report = converted(&source, &target, Form::Gguf, to(types)).unwrap();
        let (gguf, _) = parsed(&target);
        assert_eq!(gguf.u32("general.file_type").unwrap(), Some(file_type), "{types}");
        for (name, tensor_type) in expected {
            assert_eq!(gguf.tensor(name).unwrap().kind.known(), Some(*tensor_type), "{types}: {name}");
        }
        assert!(report.notes.join("\n").contains(note), "{types}: {:?}", report.notes);
    };
    use TensorType::{F16, F32, Q4_0, Q4_K, Q5_0, Q5_K, Q6_K, Q8_0};
    let norm = ("blk.0.attn_norm.weight", F32);
    check("f16", 1, &[norm, ("blk.0.ffn_up.weight", F16), ("output.weight", F16)], "");
    check("q8_0", 7, &[norm, ("blk.0.ffn_up.weight", Q8_0), ("output.weight", Q8_0)], "");
    check("q4_0", 2, &[("token_embd.weight", Q4_0), ("output.weight", Q6_K)], "");
    // Every third layer between the first and the last eighth, and those.
    let mixed = [
        norm,
        ("token_embd.weight", Q4_K),
        ("output.weight", Q6_K),
        ("blk.0.attn_v.weight", Q6_K),
        ("blk.1.attn_v.weight", Q4_K),
        ("blk.2.ffn_down.weight", Q4_K),
        ("blk.3.ffn_down.weight", Q6_K),
        ("blk.7.ffn_down.weight", Q6_K),
        ("blk.3.attn_k.weight", Q4_K),
        ("blk.0.ffn_up.weight", Q5_0),
    ];
    check("q4_k_m", 15, &mixed, "got Q5_0: rows are no multiple of the 256 numbers in a block of Q4_K");
    let small = [("blk.3.attn_v.weight", Q5_K), ("blk.4.attn_v.weight", Q4_K), ("blk.0.ffn_down.weight", Q5_K)];
    check("q4_k_s", 14, &small, "");
    let again = folder.path("again.gguf");
    let report = converted(&folder.path("q8_0.gguf"), &again, Form::Gguf, to("q4_0")).unwrap();
    assert!(report.notes.join("\n").contains("had been quantized before"), "{:?}", report.notes);
}

#[test]
fn encoding_is_that_of_the_formats() {
    let folder = Folder::new("encoding");
    let source = strange(&folder);
    let target = folder.path("q4_k.gguf");
    converted(&source, &target, Form::Gguf, to("q4_k")).unwrap();
    let ((source, source_bytes), (made, made_bytes)) = (parsed(&source), parsed(&target));
    let name = "blk.5.ffn_down.weight";
    let mut values = vec![0.0; 256 * 3];
    TensorType::F32.decode(&source_bytes[source.tensor(name).unwrap().range.clone()], &mut values).unwrap();
    let mut expected = vec![0; TensorType::Q4_K.row_bytes(values.len()).unwrap()];
    TensorType::Q4_K.encode(&values, &mut expected).unwrap();
    assert_eq!(made_bytes[made.tensor(name).unwrap().range.clone()], expected);
}

#[test]
fn targets_are_guarded() {
    let folder = Folder::new("guarded");
    let source = strange(&folder);
    let refused = |target: &Path, form: Form, change: &dyn Fn(&mut Options), expected: &str| {
        let error = converted(&source, target, form, change).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    let there = folder.path("there.gguf");
    std::fs::write(&there, "mine").unwrap();
    refused(&there, Form::Gguf, &|_| (), "is there already; --force replaces it");
    assert_eq!(std::fs::read(&there).unwrap(), b"mine");
    refused(&source, Form::Gguf, &|options| options.force = true, "it is never written to");
    refused(&folder.0, Form::HuggingFace, &|options| options.force = true, "it is never written to");
    refused(&folder.path("no/where.gguf"), Form::Gguf, &|_| (), "cannot write");
    refused(
        &folder.path("hf"),
        Form::HuggingFace,
        &|options| options.types = Types::from_name("q8_0").unwrap(),
        "f32, f16 or bf16",
    );
    refused(&folder.path("hf"), Form::HuggingFace, &|_| (), "setting `llama.embedding_length` is missing");
    converted(&source, &there, Form::Gguf, |options| options.force = true).unwrap();
    assert_same(&source, &there);
    // Stopped on the way, nothing is left.
    let target = folder.path("stopped.gguf");
    let options = Options { types: Types::from_name("q8_0").unwrap(), ..Options::new(Form::Gguf) };
    let error = bantam_convert::convert(&source, &target, &options, &mut |done, _| done < 10_000).unwrap_err();
    assert_eq!(error.to_string(), "interrupted");
    let left: Vec<_> = std::fs::read_dir(&folder.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("stopped")), "{left:?}");
}

#[test]
fn directories_are_merged_split_and_rounded() {
    let folder = Folder::new("directories");
    let golden = Golden::load("tiny-llama-d");
    let merged = folder.path("merged");
    converted(&golden.directory, &merged, Form::HuggingFace, |_| ()).unwrap();
    assert!(merged.join("model.safetensors").is_file() && merged.join("tokenizer.json").is_file());
    let (config, tensors) = crate::load::parts(&merged);
    let (meant, expected) = crate::load::parts(&golden.directory);
    assert_eq!(config, meant);
    for tensor in &expected {
        let made = tensors.iter().find(|made| made.file_name == tensor.file_name).unwrap();
        assert!(made.bytes[..] == tensor.bytes[..], "{}", tensor.file_name);
    }
    let sharded = folder.path("sharded");
    let report = converted(&merged, &sharded, Form::HuggingFace, |options| options.shard_bytes = 8_000).unwrap();
    let weights = report.files.iter().filter(|file| file.path.extension().is_some_and(|end| end == "safetensors"));
    assert!(weights.count() > 2);
    assert_eq!(crate::load::parts(&sharded).1.len(), expected.len());
    let wide = folder.path("wide");
    converted(&merged, &wide, Form::HuggingFace, to("f32")).unwrap();
    let (config, tensors) = crate::load::parts(&wide);
    assert_eq!(config.get("dtype").or(config.get("torch_dtype")).unwrap(), "float32");
    assert!(tensors.iter().all(|tensor| tensor.tensor_type == Ok(TensorType::F32)));
}
