//! PEFT's adapters here, and ours in PEFT's form.

use bantam_formats::safetensors::SafeTensors;
use bantam_model::exchange::adapter_places;
use bantam_runtime::{
    AnyBase, PeftSettings, base_fingerprint, read_gguf_adapter, read_peft, write_gguf_adapter, write_peft,
};
use bantam_testkit::{assert_close, range_of};

use crate::support::{AdapterGolden, Folder, json, logits};

const NAMES: [&str; 7] = [
    "tiny-qwen2-a",
    "tiny-llama-a",
    "tiny-phi3-a",
    "tiny-gpt2",
    "tiny-qwen2-a-dora",
    "tiny-phi3-a-dora",
    "tiny-gpt2-dora",
];

#[test]
fn peft_adapters_give_the_same_logits() {
    for golden in NAMES.map(AdapterGolden::load) {
        for (n, model) in golden.models().into_iter().enumerate() {
            let adapter = read_peft(&golden.path.join("random"), model.checkpoint(), AnyBase::No).unwrap();
            let name = format!("{} {}", golden.name, ["from Hugging Face", "from GGUF"][n]);
            let found = logits(&model, std::slice::from_ref(&adapter), &golden.tokens);
            assert_close(&found, &golden.logits, 1e-4, &name);
            // At no scale it is not there, and twice half of it is all of it.
            let off = logits(&model, &[adapter.clone().scaled(0.0)], &golden.tokens);
            assert_close(&off, &logits(&model, &[], &golden.tokens), 1e-6, &format!("{name}, switched off"));
            let twice = [adapter.clone().scaled(0.5), adapter.scaled(0.5)];
            assert_close(&logits(&model, &twice, &golden.tokens), &golden.logits, 1e-4, &format!("{name}, in halves"));
            assert!(range_of(&off) > 0.0);
        }
    }
}

#[test]
fn what_is_written_is_what_peft_has_written() {
    for golden in NAMES.map(AdapterGolden::load) {
        let theirs = golden.path.join("random");
        let config = json(&theirs.join("adapter_config.json"));
        for model in golden.models() {
            let adapter = read_peft(&theirs, model.checkpoint(), AnyBase::No).unwrap();
            let folder = Folder::new("peft");
            let settings = PeftSettings {
                rank: config["r"].as_u64().unwrap() as usize,
                alpha: config["lora_alpha"].as_f64().unwrap(),
                rank_stabilised: config["use_rslora"].as_bool().unwrap(),
                base: golden.name.clone(),
                ..PeftSettings::default()
            };
            write_peft(&folder.0, model.checkpoint(), &adapter, &settings).unwrap();
            let again = read_peft(&folder.0, model.checkpoint(), AnyBase::No).unwrap();
            let names = |parts: &[bantam_runtime::AdapterPart]| {
                parts.iter().map(|part| part.weight.clone()).collect::<Vec<_>>()
            };
            assert_eq!(names(&again.parts), names(&adapter.parts));
            let found = logits(&model, &[again], &golden.tokens);
            assert_close(&found, &golden.logits, 1e-4, &format!("{} written and read", golden.name));
            // Where no module holds several of our weights, the file has the very same tensors.
            let fused = adapter_places(model.checkpoint()).iter().any(|place| place.rows.len() != place.module_outputs);
            let bytes =
                |directory: &std::path::Path| std::fs::read(directory.join("adapter_model.safetensors")).unwrap();
            let (ours, theirs) = (bytes(&folder.0), bytes(&theirs));
            let (our_file, their_file) = (SafeTensors::parse(&ours).unwrap(), SafeTensors::parse(&theirs).unwrap());
            for tensor in their_file.tensors() {
                let found = our_file.tensor(&tensor.name).unwrap_or_else(|| panic!("{} is written", tensor.name));
                if !fused {
                    assert_eq!((found.shape.clone(), found.dtype), (tensor.shape.clone(), tensor.dtype));
                    assert_eq!(ours[found.range.clone()], theirs[tensor.range.clone()], "{}", tensor.name);
                }
            }
            assert_eq!(our_file.tensors().len(), their_file.tensors().len());
            if !fused {
                let ours = json(&folder.0.join("adapter_config.json"));
                let sorted = |value: &serde_json::Value| {
                    let mut names: Vec<String> =
                        value.as_array().unwrap().iter().map(|name| name.as_str().unwrap().to_owned()).collect();
                    names.sort();
                    names
                };
                assert_eq!(sorted(&ours["target_modules"]), sorted(&config["target_modules"]));
                for key in ["r", "lora_alpha", "peft_type", "task_type", "bias", "use_rslora", "use_dora"] {
                    assert_eq!(ours[key], config[key], "{key}");
                }
            }
        }
    }
}

/// The fields of `LoraConfig` in PEFT 0.10.0, by `dataclasses.fields`: whoever loads a configuration with another key is refused by
/// PEFT up to 0.13 and warned by later ones.
const KNOWN_TO_PEFT: [&str; 24] = [
    "alpha_pattern",
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "fan_in_fan_out",
    "inference_mode",
    "init_lora_weights",
    "layer_replication",
    "layers_pattern",
    "layers_to_transform",
    "loftq_config",
    "lora_alpha",
    "lora_dropout",
    "megatron_config",
    "megatron_core",
    "modules_to_save",
    "peft_type",
    "r",
    "rank_pattern",
    "revision",
    "target_modules",
    "task_type",
    "use_dora",
    "use_rslora",
];

#[test]
fn configurations_have_only_keys_that_peft_knows() {
    for name in ["tiny-qwen2-a", "tiny-qwen2-a-dora", "tiny-qwen2-a-saved", "tiny-phi3-a"] {
        let golden = AdapterGolden::load(name);
        let model = &golden.models()[0];
        let mut adapter = read_peft(&golden.path.join("random"), model.checkpoint(), AnyBase::No).unwrap();
        adapter.template = Some("0123456789abcdef".into());
        let folder = Folder::new("keys");
        let settings = PeftSettings { rank: 8, alpha: 12.0, dropout: 0.05, ..PeftSettings::default() };
        write_peft(&folder.0, model.checkpoint(), &adapter, &settings).unwrap();
        let config = json(&folder.0.join("adapter_config.json"));
        for key in config.as_object().unwrap().keys() {
            assert!(KNOWN_TO_PEFT.contains(&key.as_str()), "{name}: PEFT does not know `{key}`");
        }
    }
}

#[test]
fn an_adapter_notes_its_base_and_template() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let models = golden.models();
    // One model in two forms: what fits both, and is two bases.
    let (own, other) = (models[1].checkpoint(), models[0].checkpoint());
    let theirs = golden.path.join("random");
    let mut adapter = read_peft(&theirs, own, AnyBase::No).unwrap();
    assert_eq!(adapter.template, None);
    adapter.template = Some("0123456789abcdef".into());
    let folder = Folder::new("notes");
    write_peft(&folder.0, own, &adapter, &PeftSettings { rank: 4, alpha: 8.0, ..PeftSettings::default() }).unwrap();
    let written = std::fs::read(folder.0.join("adapter_model.safetensors")).unwrap();
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let noted = [
        pair("format", "pt"),
        pair("bantam.base_fingerprint", &base_fingerprint(own)),
        pair("bantam.template_fingerprint", "0123456789abcdef"),
    ];
    assert_eq!(SafeTensors::parse(&written).unwrap().metadata(), noted);
    // Where the notes stood before, beside matrices that say nothing.
    let before = Folder::new("notes-before");
    std::fs::copy(theirs.join("adapter_model.safetensors"), before.0.join("adapter_model.safetensors")).unwrap();
    let mut config = json(&theirs.join("adapter_config.json"));
    config["bantam"] = serde_json::json!({
        "base_fingerprint": base_fingerprint(own), "template_fingerprint": "0123456789abcdef", "steps": 3,
    });
    std::fs::write(before.0.join("adapter_config.json"), config.to_string()).unwrap();
    for directory in [&folder.0, &before.0] {
        let found = read_peft(directory, own, AnyBase::No).unwrap();
        assert_eq!(found.template, adapter.template);
        let refused = read_peft(directory, other, AnyBase::No).unwrap_err().to_string();
        assert!(refused.contains("it was trained on another model"), "{refused}");
        // Used all the same, and written beside the other model, it is still of its own.
        let used = read_peft(directory, other, AnyBase::Yes).unwrap();
        assert_eq!((used.parts.len(), &used.foreign_base), (adapter.parts.len(), &Some(base_fingerprint(own))));
        let again = Folder::new("notes-again");
        write_peft(&again.0, other, &used, &PeftSettings { rank: 4, alpha: 8.0, ..PeftSettings::default() }).unwrap();
        let refused = read_peft(&again.0, other, AnyBase::No).unwrap_err().to_string();
        assert!(refused.contains("it was trained on another model"), "{refused}");
    }
    // The metadata is what is written now, so it goes before what stands in the old place.
    config["bantam"]["base_fingerprint"] = "0".into();
    std::fs::write(folder.0.join("adapter_config.json"), config.to_string()).unwrap();
    read_peft(&folder.0, own, AnyBase::No).unwrap();
    // GGUF's form has both under the same names.
    let file = folder.0.join("adapter.gguf");
    write_gguf_adapter(&file, own, &adapter).unwrap();
    assert_eq!(read_gguf_adapter(&file, own, AnyBase::No).unwrap().template, adapter.template);
    // Another base of the same size, which is refused.
    let (base, mut bytes) = (base_fingerprint(own), std::fs::read(&file).unwrap());
    let at = bytes.windows(base.len()).position(|window| window == base.as_bytes()).expect("the base is noted");
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let refused = read_gguf_adapter(&file, own, AnyBase::No).unwrap_err().to_string();
    assert!(refused.contains("it was trained on another model"), "{refused}");
    // A note that is none is not passed over.
    for (damaged, problem) in
        [(serde_json::json!({"base_fingerprint": 7}), "`bantam.base_fingerprint`"), (7.into(), "`bantam`")]
    {
        config["bantam"] = damaged;
        std::fs::write(before.0.join("adapter_config.json"), config.to_string()).unwrap();
        let refused = read_peft(&before.0, own, AnyBase::No).unwrap_err().to_string();
        assert!(refused.contains(problem), "{refused}");
    }
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let golden = AdapterGolden::load("tiny-qwen2-a");
    let model = &golden.models()[0];
    let theirs = golden.path.join("random");
    let refused = |change: &dyn Fn(&mut serde_json::Value), expected: &str| {
        let folder = Folder::new("refused");
        let mut config = json(&theirs.join("adapter_config.json"));
        change(&mut config);
        std::fs::write(folder.0.join("adapter_config.json"), config.to_string()).unwrap();
        std::fs::copy(theirs.join("adapter_model.safetensors"), folder.0.join("adapter_model.safetensors")).unwrap();
        let error = read_peft(&folder.0, model.checkpoint(), AnyBase::No).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    refused(&|config| config["peft_type"] = "IA3".into(), "expected an adapter of type LORA, found `IA3`");
    let begun = "`init_lora_weights` is pissa: it changes the base";
    refused(&|config| config["init_lora_weights"] = "pissa".into(), begun);
    refused(&|config| config["use_dora"] = true.into(), "expected a magnitude for each of its");
    refused(&|config| config["use_qalora"] = true.into(), "`use_qalora` is true, which Bantam does not understand");
    refused(&|config| config["bias"] = "all".into(), "`bias` is all: adapters with biases are not supported");
    refused(&|config| config["modules_to_save"] = serde_json::json!([3]), "`modules_to_save` is no list of names");
    refused(
        &|config| config["modules_to_save"] = serde_json::json!(["lm_head"]),
        "`modules_to_save` names `lm_head`, and the file holds no weight of it",
    );
    refused(&|config| config["ensure_weight_tying"] = serde_json::json!(true), "`ensure_weight_tying` is true");
    refused(&|config| config["lora_alpha"] = "x".into(), "`lora_alpha` is no number");
    refused(&|config| config["lora_alpha"] = 1e300.into(), "its alpha makes a scale that is no number");
    refused(
        &|config| config["alpha_pattern"] = serde_json::json!({ "q_proj": 1e40 }),
        "layers.0.self_attn.q_proj`: its alpha",
    );
    refused(&|config| config["alpha_pattern"] = serde_json::json!({ "q|k": 3 }), "the expression `q|k`");
    let other = &AdapterGolden::load("tiny-phi3-a").models()[0];
    let error = read_peft(&golden.path.join("random"), other.checkpoint(), AnyBase::No).unwrap_err().to_string();
    assert!(error.contains("this model has no linear"), "{error}");
}

#[test]
fn saved_modules_are_read_and_written_as_peft_has_them() {
    for (name, modules) in [
        // PEFT finds them by the ends of their names, so that its `norm` is three kinds of modules.
        ("tiny-qwen2-a-saved", &["input_layernorm", "lm_head", "norm", "post_attention_layernorm"][..]),
        ("tiny-gemma-a-saved", &["embed_tokens", "model.norm"]),
        ("tiny-gpt2-saved", &["ln_f", "wte"]),
    ] {
        let golden = AdapterGolden::load(name);
        let theirs = golden.path.join("random");
        for model in golden.models() {
            let adapter = read_peft(&theirs, model.checkpoint(), AnyBase::No).unwrap();
            let found = logits(&model, std::slice::from_ref(&adapter), &golden.tokens);
            assert_close(&found, &golden.logits, 1e-4, name);
            let folder = Folder::new("saved");
            let config = json(&theirs.join("adapter_config.json"));
            let (rank, alpha) = (config["r"].as_u64().unwrap() as usize, config["lora_alpha"].as_f64().unwrap());
            let settings = PeftSettings { rank, alpha, ..PeftSettings::default() };
            write_peft(&folder.0, model.checkpoint(), &adapter, &settings).unwrap();
            let bytes = |folder: &std::path::Path| std::fs::read(folder.join("adapter_model.safetensors")).unwrap();
            let (ours, theirs) = (bytes(&folder.0), bytes(&theirs));
            let (our_file, their_file) = (SafeTensors::parse(&ours).unwrap(), SafeTensors::parse(&theirs).unwrap());
            let floats = |bytes: &[u8]| {
                bytes.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect::<Vec<_>>()
            };
            for tensor in their_file.tensors() {
                let found = our_file.tensor(&tensor.name).unwrap_or_else(|| panic!("{} is written", tensor.name));
                // What is fused there is written with a rank for each part.
                if !tensor.name.contains("c_attn") {
                    assert_eq!((&found.shape, found.dtype), (&tensor.shape, tensor.dtype), "{}", tensor.name);
                    let (ours, theirs) = (floats(&ours[found.range.clone()]), floats(&theirs[tensor.range.clone()]));
                    assert_close(&ours, &theirs, 1e-6, &tensor.name);
                }
            }
            assert_eq!(our_file.tensors().len(), their_file.tensors().len());
            assert_eq!(json(&folder.0.join("adapter_config.json"))["modules_to_save"], serde_json::json!(modules));
            let error =
                write_gguf_adapter(&folder.0.join("a.gguf"), model.checkpoint(), &adapter).unwrap_err().to_string();
            assert!(
                error.contains("no place for saved modules") || model.checkpoint().architecture().is_none(),
                "{error}"
            );
        }
    }
}

#[test]
fn rows_that_no_part_adapts_keep_their_length() {
    // Of Phi-3's fused module only queries and values are adapted; PEFT has one magnitude for all its rows.
    let golden = AdapterGolden::load("tiny-phi3-a-dora");
    for model in golden.models() {
        let mut adapter = read_peft(&golden.path.join("random"), model.checkpoint(), AnyBase::No).unwrap();
        adapter.parts.retain(|part| part.weight.contains("attn_q") || part.weight.contains("attn_v"));
        assert!(!adapter.parts.is_empty());
        let expected = logits(&model, std::slice::from_ref(&adapter), &golden.tokens);
        let folder = Folder::new("slices");
        let settings = PeftSettings { rank: 8, alpha: 12.0, ..PeftSettings::default() };
        write_peft(&folder.0, model.checkpoint(), &adapter, &settings).unwrap();
        let again = read_peft(&folder.0, model.checkpoint(), AnyBase::No).unwrap();
        assert!(again.parts.len() > adapter.parts.len());
        assert_close(&logits(&model, &[again], &golden.tokens), &expected, 1e-4, "slices written and read");
    }
}

#[test]
fn damaged_adapters_are_refused_without_a_panic() {
    let golden = AdapterGolden::load("tiny-qwen2-a-dora");
    let model = &golden.models()[0];
    let theirs = golden.path.join("random");
    let folder = Folder::new("damaged");
    let mut random = bantam_testkit::Random::new(5);
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        for other in ["adapter_config.json", "adapter_model.safetensors"] {
            std::fs::copy(theirs.join(other), folder.0.join(other)).unwrap();
        }
        let whole = std::fs::read(theirs.join(file)).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..1 + random.below(4) {
                let at = random.below(bytes.len().min(3000));
                bytes[at] = random.below(256) as u8;
            }
            bytes.truncate(if random.below(4) == 0 { random.below(bytes.len()) } else { bytes.len() });
            std::fs::write(folder.0.join(file), &bytes).unwrap();
            let _ = read_peft(&folder.0, model.checkpoint(), AnyBase::No);
        }
    }
}
