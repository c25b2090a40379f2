//! Peak memory of loading and running a model: its file once, not twice.
//!
//! Each run is a process of its own (this binary, asked for one test by name), whose peak the system counts. What every process
//! takes is taken out by a model of next to nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use bantam_formats::gguf::{GgufWriter, TensorKind};
use bantam_kernels::{Isa, Matrix};
use bantam_runtime::{Feed, LoadOptions, Model, OpenOptions, Outputs, peak_memory};
use bantam_tensor::TensorType;
use bantam_testkit::Random;

const MODEL: &str = "BANTAM_TEST_PEAK_MODEL";
const LATER: &str = "BANTAM_TEST_PEAK_LATER";
const KEPT: &str = "BANTAM_TEST_PEAK_KEPT";
const CHILD: &str = "peak::a_process_of_its_own";
const SAID: &str = "peak bytes: ";
const VOCABULARY: usize = 64;

/// A model of so many layers, `width` wide, its matrices of one type: rows that repeat.
fn write_model(path: &Path, tensor_type: TensorType, width: usize, layers: usize) {
    let mut writer = GgufWriter::new();
    // tidy: allow(families) a file must name one
    writer.set("general.architecture", "llama");
    for (key, value) in [
        ("block_count", layers),
        ("context_length", 64),
        ("embedding_length", width),
        ("feed_forward_length", 4 * width),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 4),
        ("vocab_size", VOCABULARY),
    ] {
        writer.set(format!("llama.{key}"), value as u32); // tidy: allow(families) as above
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32); // tidy: allow(families) as above
    let mut add = |name: String, shape: &[usize], tensor_type| {
        let shape: Vec<u64> = shape.iter().map(|&extent| extent as u64).collect();
        writer.add_tensor(name, &shape, TensorKind::Known(tensor_type)).unwrap();
    };
    for name in ["token_embd", "output"] {
        add(format!("{name}.weight"), &[width, VOCABULARY], tensor_type);
    }
    add("output_norm.weight".into(), &[width], TensorType::F32);
    for layer in 0..layers {
        for (name, rows, columns) in [
            ("attn_q", width, width),
            ("attn_k", width, width),
            ("attn_v", width, width),
            ("attn_output", width, width),
            ("ffn_gate", 4 * width, width),
            ("ffn_up", 4 * width, width),
            ("ffn_down", width, 4 * width),
        ] {
            add(format!("blk.{layer}.{name}.weight"), &[columns, rows], tensor_type);
        }
        for name in ["attn_norm", "ffn_norm"] {
            add(format!("blk.{layer}.{name}.weight"), &[width], TensorType::F32);
        }
    }
    let numbers = Random::new(3).normals(4 * width, 0.02);
    let mut row = vec![0; tensor_type.row_bytes(4 * width).unwrap()];
    tensor_type.encode(&numbers, &mut row).unwrap();
    let norm = 1f32.to_le_bytes();
    let bytes = writer.to_bytes(|header, out| {
        let pattern: &[u8] = if header.dims.len() == 1 { &norm } else { &row };
        let mut left = header.byte_length as usize;
        while left > 0 {
            let some = left.min(pattern.len());
            out.write_all(&pattern[..some])?;
            left -= some;
        }
        Ok(())
    });
    std::fs::write(path, bytes.unwrap()).unwrap();
}

/// What the other tests here start: without their settings there is nothing to do.
#[test]
fn a_process_of_its_own() {
    let Some(path) = std::env::var_os(MODEL).map(PathBuf::from) else { return };
    let model = Model::open(&path, &OpenOptions { read_ahead: true, ..OpenOptions::default() }).unwrap();
    let model = model.with_optimised(std::env::var_os(KEPT).map(PathBuf::from));
    let repacking_later = std::env::var_os(LATER).is_some();
    let options = LoadOptions { threads: Some(2), repacking_later, ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let sequence = loaded.open_sequence().unwrap();
    // More batches than waiting weights wait for.
    for tokens in [&[1u32; 16][..], &[2], &[3], &[4], &[5], &[6], &[7]] {
        loaded.run(&[Feed { sequence, tokens, outputs: Outputs::Last }]).unwrap();
    }
    println!("{SAID}{}", peak_memory().unwrap());
}

fn peak(path: &Path, later: bool, kept: Option<&Path>) -> u64 {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", CHILD, "--nocapture", "--test-threads", "1"]).env(MODEL, path);
    if later {
        command.env(LATER, "1");
    }
    if let Some(kept) = kept {
        command.env(KEPT, kept);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let bytes = said.lines().find_map(|line| line.split_once(SAID)?.1.trim().parse().ok());
    bytes.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
fn a_model_is_in_memory_once() {
    if peak_memory().is_none() {
        eprintln!("skipped: this system does not tell a process's peak");
        return;
    }
    let folder = std::env::temp_dir().join(format!("bantam-peak-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (nothing, model, kept) = (folder.join("nothing.gguf"), folder.join("model.gguf"), folder.join("kept"));
    // Of the model's file: panels of these types are as large as the file's blocks, and 5% more at the most.
    for (tensor_type, layers) in [(TensorType::Q4_0, 8), (TensorType::Q8_0, 5), (TensorType::Q4_K, 8)] {
        write_model(&nothing, tensor_type, 256, 1);
        write_model(&model, tensor_type, 1024, layers);
        let size = std::fs::metadata(&model).unwrap().len();
        assert!(size > 66 << 20, "{tensor_type}: {size} bytes are repacked at once");
        Model::open(&model, &OpenOptions::default()).unwrap().optimise(&kept, Some(2), &mut |_| true).unwrap();
        for (what, later, kept) in [
            ("at once", false, None),
            ("later", true, None),
            ("kept", false, Some(&kept)),
            ("kept, later", true, Some(&kept)),
        ] {
            let fixed = peak(&nothing, later, None);
            let taken = peak(&model, later, kept.map(PathBuf::as_path)).saturating_sub(fixed);
            println!("{tensor_type} {what}: {taken} bytes for {size}, beside {fixed}");
            // Scratch, activations and keys and values of a wider model, pieces that are being repacked, and what of the file the
            // system maps beside what was asked for: less than half a second copy.
            assert!(taken <= size + size / 20 + (32 << 20), "{tensor_type} {what}: {taken} bytes for a file of {size}");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

/// Types whose repacked form is larger than what the file has, by more than a twentieth: how many times as large it is at the most.
const LARGER: &[(TensorType, f64)] = &[
    // Whole numbers that nobody quantizes to are multiplied as f32.
    (TensorType::I8, 4.0),
    (TensorType::I16, 2.0),
    // Codes of codebooks and powers of three are unpacked to four bits or two.
    (TensorType::IQ1_S, 2.1),
    (TensorType::IQ1_M, 2.0),
    (TensorType::IQ2_XXS, 1.6),
    (TensorType::IQ2_XS, 1.6),
    (TensorType::IQ2_S, 1.4),
    (TensorType::IQ3_XXS, 1.4),
    (TensorType::IQ3_S, 1.3),
    (TensorType::TQ1_0, 1.3),
];

#[test]
fn repacked_weights_take_what_the_file_does() {
    for &tensor_type in TensorType::ALL {
        let (rows, width) = (1024, 1024);
        let stored = tensor_type.bytes(rows, width).unwrap() as f64;
        let times = Matrix::owned_bytes(tensor_type, rows, width, Isa::detect()) as f64 / stored;
        let larger = LARGER.iter().find(|(larger, _)| *larger == tensor_type);
        match larger {
            Some((_, most)) => assert!(times > 1.05 && times <= *most, "{tensor_type}: {times}"),
            None => assert!(times <= 1.05, "{tensor_type}: {times}"),
        }
    }
}
