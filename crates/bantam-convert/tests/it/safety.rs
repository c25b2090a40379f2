//! What is there is not harmed, and what cannot be kept is said.

use std::path::Path;

use bantam_convert::{Form, Report, SplitLimits};
use bantam_formats::Gguf;
use bantam_formats::safetensors::{Dtype, SafeTensorsWriter};
use bantam_testkit::Golden;
use serde_json::{Value, json};

use crate::support::{Folder, converted};

fn copied(golden: &str, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for name in ["config.json", "generation_config.json", "tokenizer.json", "model.safetensors"] {
        let from = Golden::load(golden).directory.join(name);
        if from.is_file() {
            std::fs::copy(from, to.join(name)).unwrap();
        }
    }
}

fn forced(source: &Path, target: &Path, form: Form) -> Result<Report, String> {
    converted(source, target, form, |options| options.force = true).map_err(|error| error.to_string())
}

fn write(folder: &Path, name: &str, text: &str) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn force_harms_neither_the_source_nor_strange_folders() {
    let folder = Folder::new("force");
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    write(&source, "old.gguf", "old");
    write(&folder.0, "home/diary.txt", "dear");
    write(&folder.0, "file.txt", "text");
    std::fs::create_dir(folder.path("empty")).unwrap();
    let check = |target: &str, form: Form, expected: &str| {
        let error = forced(&source, &folder.path(target), form).unwrap_err();
        assert!(error.contains(expected), "{target}: {error}");
    };
    for name in ["model.safetensors", "config.json", "tokenizer.json", "old.gguf"] {
        check(&format!("source/{name}"), Form::Gguf, "is part of the model that is read");
    }
    check("source", Form::HuggingFace, "is part of the model that is read");
    check("home/..", Form::HuggingFace, "is part of the model that is read");
    check("home", Form::HuggingFace, "has files, but no config.json");
    check("file.txt", Form::HuggingFace, "is a file");
    check("home", Form::Gguf, "is a folder");
    assert_eq!(std::fs::read_to_string(folder.path("home/diary.txt")).unwrap(), "dear");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(source.join("config.json"), folder.path("link.gguf")).unwrap();
        check("link.gguf", Form::Gguf, "is part of the model that is read");
    }
    // An empty folder and an older model are replaced; nothing else stays behind.
    forced(&source, &folder.path("empty"), Form::HuggingFace).unwrap();
    write(&folder.path("empty"), "older.txt", "old");
    forced(&source, &folder.path("empty"), Form::HuggingFace).unwrap();
    assert!(folder.path("empty/model.safetensors").is_file() && !folder.path("empty/older.txt").exists());
    let left = std::fs::read_dir(&folder.0).unwrap().filter(|each| {
        let name = each.as_ref().unwrap().file_name();
        name.to_string_lossy().contains(".part") || name.to_string_lossy().contains(".old")
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn parts_appear_together_or_not_at_all() {
    let folder = Folder::new("together");
    let source = Golden::load("tiny-qwen2-a").directory;
    let split = |name: &str| {
        converted(&source, &folder.path(name), Form::Gguf, |options| {
            options.split = Some(SplitLimits { bytes: u64::MAX, tensors: 4 });
            options.force = true;
        })
    };
    let whole = split("whole.gguf").unwrap();
    let last = whole.files.last().unwrap().path.file_name().unwrap().to_string_lossy().replace("whole", "blocked");
    std::fs::create_dir(folder.path(&last)).unwrap();
    assert!(split("blocked.gguf").unwrap_err().to_string().contains("is a folder"));
    let blocked = std::fs::read_dir(&folder.0)
        .unwrap()
        .filter(|each| each.as_ref().unwrap().file_name().to_string_lossy().starts_with("blocked"));
    assert_eq!(blocked.count(), 1);
}

#[test]
fn files_beside_the_weights_come_along() {
    let folder = Folder::new("beside");
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    for name in
        ["2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "a/b/c/notes.txt", "adapter_model.safetensors"]
    {
        write(&source, name, name);
    }
    for name in ["pytorch_model.bin", "onnx/model.onnx", ".git/config"] {
        write(&source, name, name);
    }
    #[cfg(unix)]
    std::os::unix::fs::symlink("nowhere", source.join("dangling.txt")).unwrap();
    let target = folder.path("target");
    // The weights stand in `model.safetensors`; what another name's index might say is not asked.
    let report = converted(&source, &target, Form::HuggingFace, |_| ()).unwrap();
    for name in
        ["2_Dense/model.safetensors", "2_Dense/pytorch_model.bin", "a/b/c/notes.txt", "adapter_model.safetensors"]
    {
        assert_eq!(std::fs::read_to_string(target.join(name)).unwrap(), name);
    }
    let notes = report.notes.join("\n");
    for name in ["pytorch_model.bin", "onnx/model.onnx"] {
        assert!(!target.join(name).exists() && notes.contains(&format!("{name} is left out")), "{notes}");
    }
    assert!(!target.join(".git").exists());
    assert!(!cfg!(unix) || notes.contains("dangling.txt is left out: it is a link to nothing"), "{notes}");
}

#[test]
fn tensors_without_numbers_pass() {
    let folder = Folder::new("empty-tensors");
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    let mut writer = SafeTensorsWriter::new();
    for (name, shape) in [("a", &[0, 4][..]), ("b", &[4, 0]), ("c", &[0, 1 << 20, 3]), ("d", &[0])] {
        writer.add_tensor(name, Dtype::F32, shape).unwrap();
    }
    writer.add_tensor("e", Dtype::F32, &[2, 2]).unwrap();
    let bytes = |header: &bantam_formats::safetensors::SafeTensorHeader, out: &mut dyn std::io::Write| match header
        .name
        .as_str()
    {
        "e" => out.write_all(&[0; 16]),
        _ => Ok(()),
    };
    writer.write(&source.join("model.safetensors"), bytes).unwrap();
    for types in ["as-is", "f16"] {
        let types = bantam_convert::Types::from_name(types).unwrap();
        let target = folder.path(&format!("{types:?}"));
        converted(&source, &target, Form::HuggingFace, |options| options.types = types).unwrap();
    }
}

#[test]
fn embedding_settings_are_kept_said_or_refused() {
    let folder = Folder::new("embedding");
    let golden = Golden::load("tiny-bert-mean").directory;
    let check = |name: &str, files: &[(&str, Value)], expected: Result<(u32, &[&str]), &str>| {
        let source = folder.path(name);
        copied("tiny-bert-mean", &source);
        files.iter().for_each(|(file, json)| write(&source, file, &json.to_string()));
        let target = folder.path(&format!("{name}.gguf"));
        match (converted(&source, &target, Form::Gguf, |_| ()), expected) {
            (Ok(report), Ok((pooling, notes))) => {
                let bytes = std::fs::read(&target).unwrap();
                let gguf = Gguf::parse(&bytes).unwrap();
                assert_eq!(gguf.u32("bert.pooling_type").unwrap(), Some(pooling), "{name}");
                let said = report.notes.join("\n");
                notes.iter().for_each(|note| assert!(said.contains(note), "{name}: {said}"));
            }
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{name}: {error}"),
            (made, expected) => panic!("{name}: {made:?}, expected {expected:?}"),
        }
    };
    assert!(golden.is_dir());
    let module =
        |path: &str, kind: &str| json!({ "path": path, "type": format!("sentence_transformers.models.{kind}") });
    let usual = json!([module("", "Transformer"), module("1_Pooling", "Pooling"), module("2_Normalize", "Normalize")]);
    let pooling = |mode: &str| ("1_Pooling/config.json", json!({ mode: true }));
    let modules = ("modules.json", usual.clone());
    check("mean", &[modules.clone(), pooling("pooling_mode_mean_tokens")], Ok((1, &[])));
    check("last", &[modules.clone(), ("1_Pooling/config.json", json!({ "pooling_mode": "lasttoken" }))], Ok((3, &[])));
    check("max", &[modules.clone(), pooling("pooling_mode_max_tokens")], Err("no way to say the pooling Max"));
    let dense = json!([module("", "Transformer"), module("1_Pooling", "Pooling"), module("2_Dense", "Dense")]);
    check("dense", &[("modules.json", dense), pooling("pooling_mode_cls_token")], Err("'Dense'"));
    let plain = json!([module("", "Transformer"), module("1_Pooling", "Pooling")]);
    let settings = [
        ("modules.json", plain),
        pooling("pooling_mode_cls_token"),
        ("sentence_bert_config.json", json!({ "max_seq_length": 7, "do_lower_case": true })),
        ("config_sentence_transformers.json", json!({ "prompts": { "q": "query: " }, "default_prompt_name": "q" })),
    ];
    let said = ["not scaled to length 1", "cut at 7 tokens", "lower-cased", "\"query: \" is put before"];
    check("settings", &settings, Ok((2, &said)));
    // And back.
    let back = folder.path("back");
    converted(&folder.path("last.gguf"), &back, Form::HuggingFace, |_| ()).unwrap();
    assert_eq!(read(&back.join("1_Pooling/config.json"))["pooling_mode_lasttoken"], json!(true));
    let types: Vec<Value> =
        read(&back.join("modules.json")).as_array().unwrap().iter().map(|m| m["path"].clone()).collect();
    assert_eq!(types, [json!(""), json!("1_Pooling"), json!("2_Normalize")]);
    assert!(read(&back.join("sentence_bert_config.json"))["max_seq_length"].is_u64());
}

#[test]
fn a_tokenizer_that_is_not_the_vocabulary_s_is_not_believed() {
    let folder = Folder::new("believed");
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    write(
        &source,
        "generation_config.json",
        r#"{"max_new_tokens": 5, "typical_p": 0.5, "top_k": 3, "eos_token_id": 1}"#,
    );
    let good = folder.path("good.gguf");
    let report = converted(&source, &good, Form::Gguf, |_| ()).unwrap();
    let notes = report.notes.join("\n");
    assert!(notes.contains("GGUF has no key for max_new_tokens, typical_p"), "{notes}");
    let own = std::fs::read_to_string(source.join("tokenizer.json")).unwrap();
    let mut other: Value = serde_json::from_str(&own).unwrap();
    other["added_tokens"] = json!([{ "id": 5, "content": "Hello", "special": true }]);
    for (name, json, note) in [
        ("same", own, None),
        ("other", other.to_string(), Some("is not the tokenizer")),
        ("damaged", "{".to_owned(), Some("is not the tokenizer")),
    ] {
        let file = folder.path(&format!("{name}.gguf"));
        let bytes = std::fs::read(&good).unwrap();
        let gguf = Gguf::parse(&bytes).unwrap();
        let mut writer = bantam_formats::gguf::GgufWriter::new();
        for (key, value) in gguf.metadata() {
            writer.set(key, value.clone());
        }
        writer.set("tokenizer.huggingface.json", json.as_str());
        for tensor in gguf.tensors() {
            writer.add_tensor(tensor.name.as_str(), &tensor.dims, tensor.kind).unwrap();
        }
        let data = |header: &bantam_formats::gguf::TensorHeader, out: &mut dyn std::io::Write| {
            out.write_all(&bytes[gguf.tensor(&header.name).unwrap().range.clone()])
        };
        writer.write(&file, data).unwrap();
        let back = folder.path(&format!("{name}-back"));
        let report = converted(&file, &back, Form::HuggingFace, |_| ()).unwrap();
        let notes = report.notes.join("\n");
        assert_eq!(notes.contains("is not the tokenizer"), note.is_some(), "{name}: {notes}");
        let made = std::fs::read_to_string(back.join("tokenizer.json")).unwrap();
        assert_eq!(made == json, note.is_none(), "{name}");
    }
}

/// A README's front matter goes along, and what it cannot say is named.
#[test]
fn licence_and_origin_go_along() {
    let folder = Folder::new("about");
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    let card = "---\nlicense: other\nlicense_name: my-own\nlanguage:\n- en\n- \"no\"\ntags: [chat]\npipeline_tag: text-generation\n\
                base_model: An-Org/Base-1.5\ndatasets:\n- own/data\n- https://example.org/x/y/z\nmodel_author: \"A: B\"\n---\n# Text\n";
    write(&source, "README.md", card);
    let gguf = folder.path("model.gguf");
    let report = converted(&source, &gguf, Form::Gguf, |_| ()).unwrap();
    assert!(
        report.notes.iter().any(|note| note.starts_with("the text of README.md is left out")),
        "{:?}",
        report.notes
    );
    let bytes = std::fs::read(&gguf).unwrap();
    let parsed = Gguf::parse(&bytes).unwrap();
    for (key, expected) in [
        ("general.license", "other"),
        ("general.license.name", "my-own"),
        ("general.author", "A: B"),
        ("general.base_model.0.name", "Base 1.5"),
        ("general.base_model.0.organization", "An Org"),
        ("general.base_model.0.repo_url", "https://huggingface.co/An-Org/Base-1.5"),
        ("general.dataset.1.repo_url", "https://example.org/x/y/z"),
    ] {
        assert_eq!(parsed.str(key).unwrap(), Some(expected), "{key}");
    }
    let strings = |key: &str| -> Vec<String> {
        let strings = parsed.array(key).unwrap().unwrap().as_strings().unwrap();
        strings.iter().map(|item| String::from_utf8(item.to_vec()).unwrap()).collect()
    };
    assert_eq!(
        (parsed.u32("general.base_model.count").unwrap(), parsed.u32("general.dataset.count").unwrap()),
        (Some(1), Some(2))
    );
    assert_eq!(
        (strings("general.languages"), strings("general.tags")),
        (vec!["en".to_owned(), "no".to_owned()], vec!["chat".to_owned(), "text-generation".to_owned()],)
    );
    let back = folder.path("back");
    converted(&gguf, &back, Form::HuggingFace, |_| ()).unwrap();
    let made = std::fs::read_to_string(back.join("README.md")).unwrap();
    let expected = "---\nlicense: other\nlicense_name: my-own\nmodel_author: \"A: B\"\nlanguage:\n- en\n- \"no\"\ntags:\n- chat\n\
                    - text-generation\nbase_model:\n- An-Org/Base-1.5\ndatasets:\n- own/data\n- \"https://example.org/x/y/z\"\n---\n";
    assert_eq!(made, expected);
}

#[test]
fn what_llama_cpp_does_otherwise_is_said() {
    let folder = Folder::new("elsewhere");
    let check = |golden: &str, part: Option<&str>| {
        let source = Golden::load(golden).directory;
        let report = converted(&source, &folder.path(&format!("{golden}.gguf")), Form::Gguf, |_| ()).unwrap();
        let said: Vec<&String> = report.notes.iter().filter(|note| note.starts_with("llama.cpp runs")).collect();
        match part {
            Some(part) => assert!(said.len() == 1 && said[0].contains(part), "{golden}: {said:?}"),
            None => assert!(said.is_empty(), "{golden}: {said:?}"),
        }
    };
    check("tiny-mistral-a", Some("no sliding window"));
    check("tiny-phi3-a", Some("no sliding window"));
    check("tiny-qwen2-b", Some("no sliding window"));
    check("tiny-gemma2-b", Some("query_pre_attn_scalar"));
    check("tiny-gemma3-b", Some("query_pre_attn_scalar"));
    check("tiny-qwen3-moe-b", Some("norm_topk_prob"));
    check("tiny-bert-mean", Some("gelu"));
    for golden in
        ["tiny-mistral-b", "tiny-qwen2-a", "tiny-gemma2-a", "tiny-gemma3-a", "tiny-qwen3-moe-a", "tiny-phi3-short"]
    {
        check(golden, None);
    }
}

#[test]
fn types_are_for_known_architectures_and_doubles_are_noted() {
    let folder = Folder::new("types");
    let write = |name: &str, architecture: &str| {
        let path = folder.path(name);
        let mut writer = bantam_formats::gguf::GgufWriter::new();
        writer.set("general.architecture", architecture);
        writer
            .add_tensor("ssm_in.weight", &[32, 2], bantam_formats::gguf::TensorKind::from_ggml_id(0).unwrap())
            .unwrap();
        writer.write(&path, |_, out| out.write_all(&[0; 256])).unwrap();
        path
    };
    let q8_0 = bantam_convert::Types::from_name("q8_0").unwrap();
    let strange = write("strange.gguf", "strange");
    let error = converted(&strange, &folder.path("a.gguf"), Form::Gguf, |options| options.types = q8_0).unwrap_err();
    assert!(error.to_string().contains("architecture \"strange\" is not one whose tensors are known"), "{error}");
    converted(&strange, &folder.path("b.gguf"), Form::Gguf, |_| ()).unwrap();
    let known = write("known.gguf", "llama");
    converted(&known, &folder.path("c.gguf"), Form::Gguf, |options| options.types = q8_0).unwrap();

    // A norm in doubles that 32 bits do not hold.
    let source = folder.path("source");
    copied("tiny-qwen2-a", &source);
    let bytes = std::fs::read(source.join("model.safetensors")).unwrap();
    let parsed = bantam_formats::safetensors::SafeTensors::parse(&bytes).unwrap();
    let mut writer = SafeTensorsWriter::new();
    for tensor in parsed.tensors() {
        let dtype = if tensor.name == "model.norm.weight" { Dtype::F64 } else { tensor.dtype };
        writer.add_tensor(tensor.name.as_str(), dtype, &tensor.shape).unwrap();
    }
    let data = |header: &bantam_formats::safetensors::SafeTensorHeader, out: &mut dyn std::io::Write| {
        let tensor = parsed.tensor(&header.name).unwrap();
        match header.name.as_str() {
            "model.norm.weight" => {
                (0..tensor.range.len() / 2).try_for_each(|_| out.write_all(&1.000_000_000_1_f64.to_le_bytes()))
            }
            _ => out.write_all(&bytes[tensor.range.clone()]),
        }
    };
    writer.write(&source.join("model.safetensors"), data).unwrap();
    let report = converted(&source, &folder.path("d.gguf"), Form::Gguf, |_| ()).unwrap();
    let note = "tensor output_norm.weight had numbers of 64 bits, of which 32 are kept";
    assert!(report.notes.iter().any(|said| said == note), "{:?}", report.notes);
}
