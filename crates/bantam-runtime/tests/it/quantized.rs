//! Quantized Hugging Face directories: right logits, described and promised as they are kept.

use bantam_kernels::{ActivationKind, Matrix, Precision};
use bantam_plan::Batch;
use bantam_runtime::{Feed, KvFormat, LoadOptions, Model, OpenOptions, Outputs, describe};
use bantam_tensor::TensorType;
use bantam_testkit::{Golden, assert_close, evidence};

/// The scheme of each, what of it is said, and the type its projections are kept in.
const EXPECTED: &[(&str, &str, TensorType)] = &[
    ("awq", "AWQ: 4 bits, groups of 32", TensorType::Q8_0),
    ("bnb-int8", "bitsandbytes: LLM.int8()", TensorType::F16),
    ("bnb-nf4", "bitsandbytes: NF4, blocks of 64, nested scales", TensorType::BF16),
    ("compressed-fp8", "compressed-tensors: FP8 by channel", TensorType::BF16),
    ("compressed-int4", "compressed-tensors: INT4 by group of 32", TensorType::Q4_0),
    ("fp8", "FP8: 8-bit floats in blocks of 32 × 32", TensorType::F16),
    ("gptq", "GPTQ: 4 bits, groups of 32, asymmetric", TensorType::Q8_0),
    ("gptq-by-order", "GPTQ: 4 bits, groups of 32, symmetric, by order of activations", TensorType::F16),
    ("mlx", "MLX: 4 bits, groups of 32", TensorType::Q4_1),
];

#[test]
fn quantized_directories_give_the_logits_of_their_schemes_software() {
    let goldens = Golden::quantized();
    assert_eq!(goldens.len(), EXPECTED.len());
    for (golden, (name, said, kept_in)) in goldens.iter().zip(EXPECTED) {
        assert_eq!(golden.name, *name);
        let open = OpenOptions::default();
        let model = Model::open(&golden.directory, &open).unwrap_or_else(|error| panic!("{name}: {error}"));
        let sequence = &golden.sequences[0];
        // On the reference interpreter the weights alone decide.
        let plan = model.checkpoint().plan_for(sequence.tokens.len()).unwrap();
        let mut batch = Batch::packed(&[&sequence.tokens]);
        batch.outputs = (0..sequence.tokens.len()).map(|row| row as u32).collect();
        let reference = plan.run_reference(model.checkpoint(), &batch).unwrap();
        assert_close(&reference, &sequence.logits, golden.tolerance, name);

        let options = LoadOptions { threads: Some(2), kv: KvFormat::F32, ..LoadOptions::default() };
        let mut loaded = model.load(&options, &mut |_| true).unwrap();
        let id = loaded.open_sequence().unwrap();
        let feed = Feed { sequence: id, tokens: &sequence.tokens, outputs: Outputs::All };
        let tolerance = match Matrix::activation_in(Precision::Bf16, *kept_in) {
            ActivationKind::F32 => golden.tolerance,
            ActivationKind::Bf16 => 2e-2,
            ActivationKind::Int8 | ActivationKind::Int8By256 => 3e-2,
        };
        assert_close(loaded.run(&[feed]).unwrap(), &sequence.logits, tolerance, name);

        let description = describe(&golden.directory, &open, &options).unwrap();
        assert_eq!(description.quantization.as_deref(), Some(*said));
        assert!(
            description.types.iter().any(|share| share.type_name == kept_in.name()),
            "{name}: {:?}",
            description.types
        );
        assert_eq!(description.problems, [""; 0]);
        // What is decoded takes memory of its own, beside the file.
        let kept: u64 = model
            .checkpoint()
            .tensors()
            .filter(|(_, tensor)| tensor.bytes.is_made())
            .map(|(_, tensor)| tensor.bytes.len() as u64)
            .sum();
        let promise = model.memory(&options).unwrap();
        assert!(kept > 0 && promise.weights >= kept, "{name}: {promise:?}, {kept}");
        // It can be re-encoded as any other.
        let smaller =
            Model::open(&golden.directory, &OpenOptions { quantize: Some(TensorType::Q8_0), read_ahead: true })
                .unwrap();
        let mut loaded = smaller.load(&options, &mut |_| true).unwrap();
        let id = loaded.open_sequence().unwrap();
        let feed = Feed { sequence: id, tokens: &sequence.tokens, outputs: Outputs::All };
        assert_close(loaded.run(&[feed]).unwrap(), &sequence.logits, 5e-2, name);
        evidence::shown("scheme", said.split(':').next().unwrap(), "run");
    }
}
