//! Every tensor type there is, from a file to logits, against the reference interpreter on the same weights.

use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, SplitGguf, TensorKind};
use bantam_kernels::{ActivationKind, Matrix, Precision};
use bantam_model::Checkpoint;
use bantam_plan::Batch;
use bantam_runtime::{Feed, KvFormat, LoadOptions, Model, OpenOptions, Outputs};
use bantam_tensor::{SharedBytes, TensorType};
use bantam_testkit::{Random, assert_bits_equal, assert_close, evidence};

/// Rows of 256: the longest block.
const WIDTH: u64 = 256;
const VOCABULARY: u64 = 64;

/// One block whose numbers are fit for a weight. Where the type cannot be encoded, random bytes are drawn until they
/// decode to such: that knows nothing of the type's layout.
fn block(tensor_type: TensorType, random: &mut Random) -> Vec<u8> {
    let numbers = random.normals(tensor_type.block_len(), 0.1);
    let whole = |number: f32| (number * 20.0).round() as i64;
    match tensor_type {
        // Whole numbers of -3 to 3 or so, in little-endian bytes of as many as the type has.
        TensorType::I8 | TensorType::I16 | TensorType::I32 | TensorType::I64 => {
            whole(numbers[0]).to_le_bytes()[..tensor_type.block_bytes()].to_vec()
        }
        TensorType::F64 => f64::from(numbers[0]).to_le_bytes().to_vec(),
        _ if tensor_type.can_encode() => {
            let mut bytes = vec![0; tensor_type.block_bytes()];
            tensor_type.encode(&numbers, &mut bytes).unwrap();
            bytes
        }
        _ => loop {
            let bytes = random.bytes(tensor_type.block_bytes());
            let mut values = vec![0.0f32; tensor_type.block_len()];
            tensor_type.decode(&bytes, &mut values).unwrap();
            let square: f32 = values.iter().map(|value| value * value).sum();
            let size = (square / values.len() as f32).sqrt();
            // Of such a size as those that are encoded: larger ones make of attention a choice that rounding decides.
            if (0.02..0.2).contains(&size) {
                return bytes;
            }
        },
    }
}

/// A model of one layer whose matrices are of the type.
fn file(tensor_type: TensorType) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    // tidy: allow(families) a file must name one
    writer.set("general.architecture", "llama");
    for (key, value) in [
        ("block_count", 1u32),
        ("context_length", 64),
        ("embedding_length", WIDTH as u32),
        ("feed_forward_length", WIDTH as u32),
        ("attention.head_count", 4),
        ("attention.head_count_kv", 2),
        ("vocab_size", VOCABULARY as u32),
    ] {
        writer.set(format!("llama.{key}"), value); // tidy: allow(families) as above
    }
    writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5f32); // tidy: allow(families) as above
    let matrix = TensorKind::Known(tensor_type);
    for (name, rows) in [
        ("token_embd", VOCABULARY),
        ("output", VOCABULARY),
        ("blk.0.attn_q", WIDTH),
        ("blk.0.attn_k", WIDTH / 2),
        ("blk.0.attn_v", WIDTH / 2),
        ("blk.0.attn_output", WIDTH),
        ("blk.0.ffn_gate", WIDTH),
        ("blk.0.ffn_up", WIDTH),
        ("blk.0.ffn_down", WIDTH),
    ] {
        writer.add_tensor(format!("{name}.weight"), &[WIDTH, rows], matrix).unwrap();
    }
    for name in ["blk.0.attn_norm", "blk.0.ffn_norm", "output_norm"] {
        writer.add_tensor(format!("{name}.weight"), &[WIDTH], TensorKind::Known(TensorType::F32)).unwrap();
    }
    let mut random = Random::new(5);
    let bytes = writer.to_bytes(|header, out| {
        if header.dims.len() == 1 {
            return (0..WIDTH).try_for_each(|_| out.write_all(&random.between(0.5, 1.5).to_le_bytes()));
        }
        let blocks = header.byte_length as usize / tensor_type.block_bytes();
        (0..blocks).try_for_each(|_| out.write_all(&block(tensor_type, &mut random)))
    });
    bytes.unwrap()
}

#[test]
fn every_tensor_type_runs_from_a_file() {
    let folder = std::env::temp_dir().join(format!("bantam-types-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let tokens: Vec<u32> = (0..20).map(|i| i * 7 % VOCABULARY as u32).collect();
    for &tensor_type in TensorType::ALL {
        let bytes = file(tensor_type);
        let path = folder.join("model.gguf");
        std::fs::write(&path, &bytes).unwrap();
        let parts = SplitGguf::new(vec![Gguf::parse(&bytes).unwrap()]).unwrap();
        let checkpoint = Checkpoint::from_gguf(&parts, &[SharedBytes::from_vec(bytes)]).unwrap();
        let plan = checkpoint.plan_for(tokens.len()).unwrap();
        let expected = plan.run_reference(&checkpoint, &Batch::packed(&[&tokens])).unwrap();

        let model =
            Model::open(&path, &OpenOptions::default()).unwrap_or_else(|error| panic!("{tensor_type}: {error}"));
        let run = |threads: usize, piece: usize| {
            let options = LoadOptions { threads: Some(threads), kv: KvFormat::F32, ..LoadOptions::default() };
            let mut loaded = model.load(&options, &mut |_| true).unwrap();
            let sequence = loaded.open_sequence().unwrap();
            let feed = |tokens| Feed { sequence, tokens, outputs: Outputs::All };
            tokens.chunks(piece).flat_map(|tokens| loaded.run(&[feed(tokens)]).unwrap().to_vec()).collect::<Vec<f32>>()
        };
        let found = run(2, usize::MAX);
        // Weights are exact on both sides; what differs is that some products round their activations.
        let tolerance = match Matrix::activation_in(Precision::Bf16, tensor_type) {
            ActivationKind::F32 => 1e-5,
            ActivationKind::Bf16 => 2e-2,
            ActivationKind::Int8 => 5e-2,
            // One scale for 256 rounds more coarsely, and a model of noise bends much.
            ActivationKind::Int8By256 => 8e-2,
        };
        assert_close(&found, &expected, tolerance, tensor_type.name());
        assert_bits_equal(&run(1, 1), &found, tensor_type.name());
        evidence::shown("tensor type", tensor_type.name(), "run");
    }
    std::fs::remove_dir_all(folder).unwrap();
}
