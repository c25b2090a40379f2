//! What a checkpoint is refused for, each in one clear sentence.

use bantam_formats::Gguf;
use bantam_formats::gguf::GgufWriter;
use bantam_model::families::FAMILIES;
use bantam_model::spec::{Mixer, RopeScaling};
use bantam_model::{Checkpoint, Tensor};
use bantam_testkit::Golden;
use serde_json::{Value, json};

use crate::load;

fn parts() -> (Value, Vec<Tensor>) {
    load::parts(&Golden::load("tiny-llama-c").directory)
}

/// Changes one key of the configuration (null removes it) and expects a sentence, or none.
fn check_setting(key: &str, value: Value, expected: &str) {
    let (mut config, tensors) = parts();
    config[key] = value.clone();
    let found = Checkpoint::from_hugging_face(&config, tensors).map(drop).map_err(|error| error.to_string());
    match found {
        Ok(()) => assert_eq!("", expected, "{key} = {value} was accepted"),
        Err(found) => assert_eq!(found, expected, "{key} = {value}"),
    }
}

#[test]
fn settings_are_understood_or_refused_by_name() {
    let refused = "not understood by family `llama`: `sliding_window` = 4096; a model is only run when every setting is understood";
    check_setting("sliding_window", json!(4096), refused);
    check_setting("sliding_window", Value::Null, "");
    check_setting("torch_dtype", json!("float16"), "");
    check_setting("quantization_config", json!({"quant_method": "gptq"}), "setting `bits` is missing");
    check_setting(
        "hidden_size",
        json!("wide"),
        "setting `hidden_size`: expected a whole number from 1 to 2147483648, found wide",
    );
    check_setting("hidden_size", Value::Null, "setting `hidden_size` is missing");
    check_setting(
        "hidden_size",
        json!(1e12),
        "setting `hidden_size`: expected a whole number from 1 to 2147483648, found 1000000000000.0",
    );
    check_setting(
        "num_hidden_layers",
        json!(1 << 20),
        "setting `num_hidden_layers`: expected at most 4096, found 1048576",
    );
    check_setting(
        "num_key_value_heads",
        json!(3),
        "setting `key and value heads of layer 0`: expected a divisor of the 2 query heads, found 3",
    );
    check_setting(
        "hidden_act",
        json!("mish"),
        "setting `hidden_act`: expected silu, gelu, gelu_pytorch_tanh, relu or relu2, found mish",
    );
    check_setting("rms_norm_eps", json!(-1), "setting `rms_norm_eps`: expected a finite number above 0, found -1");
    check_setting("rope_interleaved", json!(true), "setting `rope_interleaved`: expected false, found true");
    check_setting(
        "rope_scaling",
        json!({"rope_type": "dynamic", "factor": 4.0}),
        "setting `rope_type`: expected default, linear, llama3, yarn or longrope, found dynamic",
    );
    check_setting(
        "rope_scaling",
        json!({"rope_type": "linear", "factor": 4.0, "beta_fast": 32}),
        "not understood by `rope_scaling`: `beta_fast` = 32; a model is only run when every setting is understood",
    );
    check_setting("rope_scaling", json!(7), "setting `rope_scaling`: expected an object, found 7");
    for (theta, scaling, longest) in
        [(json!(1e-44), Value::Null, 128), (json!(10000.0), json!({"rope_type": "linear", "factor": 1e-40}), 128)]
    {
        let (mut config, tensors) = parts();
        (config["rope_theta"], config["rope_scaling"]) = (theta, scaling);
        let found = Checkpoint::from_hugging_face(&config, tensors).map(drop).unwrap_err().to_string();
        let expected =
            format!("setting `rope`: expected a base and scaling that give finite angles up to position {longest}");
        assert!(found.starts_with(&expected), "{found}");
    }
    check_setting("architectures", json!(["T5Model"]), &format!("unknown model family `T5Model`; known: {}", known()));
    check_setting("architectures", json!([]), "setting `architectures`: expected a list of one name, found []");
    check_setting("architectures", Value::Null, "setting `architectures` is missing");
}

#[test]
fn both_forms_of_rope_settings_are_read() {
    let spec = |change: &dyn Fn(&mut Value)| {
        let (mut config, tensors) = parts();
        change(&mut config);
        Checkpoint::from_hugging_face(&config, tensors).unwrap().spec().clone()
    };
    let old = spec(&|_| {});
    let new = spec(&|config| {
        let mut parameters = config["rope_scaling"].take();
        parameters["rope_theta"] = config["rope_theta"].take();
        config["rope_parameters"] = parameters;
    });
    assert_eq!(old, new);
    let older_key = spec(&|config| {
        let kind = config["rope_scaling"]["rope_type"].take();
        config["rope_scaling"]["type"] = kind;
    });
    assert_eq!(old, older_key);
}

#[test]
fn contradicting_rope_settings_are_refused() {
    let with = |object: Value| {
        let (mut config, tensors) = parts();
        config["rope_parameters"] = object;
        Checkpoint::from_hugging_face(&config, tensors).map(drop).map_err(|error| error.to_string())
    };
    let same = json!({"rope_theta": 500.0, "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
        "high_freq_factor": 4.0, "original_max_position_embeddings": 32});
    assert_eq!(with(same.clone()), Ok(()));
    let mut other = same.clone();
    other["rope_theta"] = json!(700.0);
    assert_eq!(with(other).unwrap_err(), "setting `rope_theta`: expected 500 as elsewhere in the file, found 700");
    let mut other = same;
    other["factor"] = json!(4.0);
    let found = with(other).unwrap_err();
    assert!(found.starts_with("setting `rope_parameters`: expected Banded { factor: 8.0,"), "{found}");
}

/// A golden's GGUF with some metadata changed.
fn gguf_with(change: impl Fn(&mut GgufWriter)) -> Vec<u8> {
    let bytes = std::fs::read(Golden::load("tiny-llama-a").gguf.unwrap()).unwrap();
    let parsed = Gguf::parse(&bytes).unwrap();
    let mut writer = GgufWriter::new();
    for (key, value) in parsed.metadata() {
        writer.set(key, value.clone());
    }
    change(&mut writer);
    for tensor in parsed.tensors() {
        writer.add_tensor(&tensor.name, &tensor.dims, tensor.kind).unwrap();
    }
    writer.to_bytes(|header, out| out.write_all(&bytes[parsed.tensor(&header.name).unwrap().range.clone()])).unwrap()
}

#[test]
fn a_rope_factor_counts_with_and_without_its_type() {
    let scaling = |change: &dyn Fn(&mut GgufWriter)| {
        let checkpoint = load::gguf(gguf_with(change)).unwrap();
        let Mixer::Attention(attention) = checkpoint.spec().layers[0].mixer.clone();
        attention.rope.unwrap().scaling
    };
    let factor = |writer: &mut GgufWriter| {
        writer.set("llama.rope.scaling.factor", 2.0f32);
    };
    assert_eq!(scaling(&|_| ()), RopeScaling::None);
    assert_eq!(scaling(&factor), RopeScaling::Linear { factor: 2.0 });
    let typed = |kind: &'static str| {
        move |writer: &mut GgufWriter| {
            factor(writer);
            writer.set("llama.rope.scaling.type", kind);
        }
    };
    assert_eq!(scaling(&typed("linear")), RopeScaling::Linear { factor: 2.0 });
    assert_eq!(scaling(&typed("none")), RopeScaling::None);
}

/// Changes the tensors and expects a sentence.
fn check_tensors(change: impl Fn(&mut Vec<Tensor>), expected: &str) {
    let (config, mut tensors) = parts();
    change(&mut tensors);
    let found = Checkpoint::from_hugging_face(&config, tensors).map(drop).unwrap_err();
    assert_eq!(found.to_string(), expected);
}

#[test]
fn tensors_are_all_there_of_their_shape_and_no_more() {
    let named = |name: &'static str| {
        move |tensors: &Vec<Tensor>| tensors.iter().position(|tensor| tensor.file_name == name).unwrap()
    };
    let (norm, q) = (named("model.norm.weight"), named("model.layers.1.self_attn.q_proj.weight"));
    check_tensors(|tensors| drop(tensors.remove(norm(tensors))), "tensor `model.norm.weight` is missing");
    check_tensors(
        |tensors| {
            let n = q(tensors);
            tensors[n].shape = vec![32, 48];
        },
        "tensor `model.layers.1.self_attn.q_proj.weight`: expected [48, 32], found [32, 48]",
    );
    check_tensors(
        |tensors| {
            let n = q(tensors);
            tensors[n].shape = vec![2, 24, 32];
        },
        "tensor `model.layers.1.self_attn.q_proj.weight`: expected [48, 32], found [2, 24, 32]",
    );
    check_tensors(
        |tensors| {
            let n = q(tensors);
            tensors[n].tensor_type = Err("F6_E2M3".into());
        },
        "tensor `model.layers.1.self_attn.q_proj.weight` has type F6_E2M3, which Bantam cannot decode",
    );
    check_tensors(
        |tensors| {
            let n = q(tensors);
            tensors.push(Tensor { file_name: "model.layers.1.self_attn.q_norm.weight".into(), ..tensors[n].clone() });
        },
        "tensor `model.layers.1.self_attn.q_norm.weight` is not part of the model as family `llama` describes it",
    );
    check_tensors(
        |tensors| {
            let n = q(tensors);
            tensors.push(Tensor { file_name: "model.layers.2.self_attn.q_proj.weight".into(), ..tensors[n].clone() });
        },
        "the settings speak of 2 layers, the tensors of 3",
    );
}

/// Changes one tensor of another golden and expects a sentence.
fn check_tensor_of(golden: &str, name: &str, change: impl Fn(&mut Tensor), expected: &str) {
    let (config, mut tensors) = load::parts(&Golden::load(golden).directory);
    change(tensors.iter_mut().find(|tensor| tensor.file_name == name).unwrap());
    let found = Checkpoint::from_hugging_face(&config, tensors).map(drop).unwrap_err();
    assert_eq!(found.to_string(), expected);
}

#[test]
fn fused_stacked_and_turned_tensors_fit_or_are_refused() {
    let qkv = "model.layers.0.self_attn.qkv_proj.weight";
    let missing = "tensor `model.layers.0.self_attn.q_proj.weight` is missing";
    check_tensor_of("tiny-phi3-a", qkv, |tensor| tensor.shape[0] -= 8, missing);
    check_tensor_of("tiny-phi3-a", qkv, |tensor| tensor.shape = vec![0], missing);
    check_tensor_of("tiny-phi3-a", qkv, |tensor| tensor.bytes = tensor.bytes.slice(0..64).unwrap(), missing);
    check_tensor_of(
        "tiny-gpt2",
        "h.0.mlp.c_fc.weight",
        |tensor| tensor.shape = vec![usize::MAX, 96],
        "tensor `h.0.mlp.c_fc.weight`: expected a matrix of plain numbers, found [18446744073709551615, 96]",
    );
    check_tensor_of(
        "tiny-stablelm-b",
        "model.layers.1.self_attn.q_layernorm.norms.1.weight",
        |tensor| tensor.shape = vec![8],
        "tensor `model.layers.1.self_attn.q_norm.weight` is missing",
    );
    let settings = |golden: &str, key: &str, value: Value, expected: &str| {
        let (mut config, tensors) = load::parts(&Golden::load(golden).directory);
        config[key] = value;
        let found = Checkpoint::from_hugging_face(&config, tensors).map(drop).unwrap_err();
        assert_eq!(found.to_string(), expected);
    };
    settings(
        "tiny-mixtral",
        "num_local_experts",
        json!(4000),
        "tensor `model.layers.0.block_sparse_moe.experts.3999.w1.weight` is missing",
    );
    settings(
        "tiny-mixtral",
        "num_experts_per_tok",
        json!(5),
        "setting `num_experts_per_tok`: expected at most the 4 experts there are, and those at most 4096, found 5",
    );
    settings(
        "tiny-gemma2-a",
        "layer_types",
        json!(["sliding_attention", "chunked_attention", "full_attention"]),
        "setting `layer_types`: expected 3 times sliding_attention or full_attention, found sliding_attention, chunked_attention, full_attention",
    );
    settings(
        "tiny-smollm3-a",
        "no_rope_layers",
        json!([1, 2, 1, 0]),
        "setting `no_rope_layers`: expected a list of 4 times true or false, found [1,2,1,0]",
    );
    settings(
        "tiny-qwen2-a",
        "sliding_window_pattern",
        json!(0),
        "setting `sliding_window_pattern`: expected a whole number from 1 to 2147483648, found 0",
    );
}

#[test]
fn a_tied_model_may_carry_its_head_twice_and_old_rope_buffers() {
    let (config, mut tensors) = parts();
    let table = tensors.iter().find(|tensor| tensor.file_name == "model.embed_tokens.weight").unwrap().clone();
    tensors.push(Tensor { file_name: "lm_head.weight".into(), ..table.clone() });
    tensors.push(Tensor { file_name: "model.layers.0.self_attn.rotary_emb.inv_freq".into(), ..table });
    assert!(Checkpoint::from_hugging_face(&config, tensors).unwrap().spec().is_tied());
}

/// What `config.json` may name.
fn known() -> String {
    FAMILIES.iter().flat_map(|family| family.architectures).copied().collect::<Vec<_>>().join(", ")
}
