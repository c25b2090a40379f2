//! Hugging Face directories, and what a path given as a model is.

use bantam_formats::huggingface::{HfDirectory, HfFile};
use bantam_formats::safetensors::SafeTensors;
use bantam_formats::{ModelReference, what_is_it};

use crate::scratch::{Raw, Scratch};

fn weights(tensors: &[&str]) -> Vec<u8> {
    let entries: Vec<String> = tensors
        .iter()
        .enumerate()
        .map(|(index, name)| format!(r#""{name}":{{"dtype":"U8","shape":[1],"data_offsets":[{index},{}]}}"#, index + 1))
        .collect();
    let header = format!("{{{}}}", entries.join(","));
    Raw::default().u64(header.len() as u64).bytes(header.as_bytes()).bytes(&vec![0; tensors.len()]).0
}

const INDEX: &str = "model.safetensors.index.json";

#[test]
fn a_path_is_a_model_or_says_what_it_is() {
    let gguf = Raw::gguf(3, 0, 0).0;
    let check = |files: &[(&str, &[u8])], given: &str, expected: Result<ModelReference, &str>| {
        let scratch = Scratch::new("reference");
        for (name, bytes) in files {
            scratch.file(name, bytes);
        }
        let found = what_is_it(&scratch.path().join(given));
        match (found, expected) {
            (Ok(found), Ok(expected)) => {
                assert_eq!(std::mem::discriminant(&found), std::mem::discriminant(&expected));
                let relative = found.path().strip_prefix(scratch.path()).unwrap().to_path_buf();
                assert_eq!(relative, expected.path(), "{files:?}");
            }
            (found, expected) => {
                assert_eq!(found.map_err(|error| scratch.shorten(error)), expected.map_err(str::to_owned));
            }
        }
    };
    let is_gguf = |path: &str| Ok(ModelReference::Gguf(path.into()));
    let is_directory = |path: &str| Ok(ModelReference::HuggingFace(path.into()));
    let config: (&str, &[u8]) = ("d/config.json", b"{}");

    check(&[("m.gguf", &gguf)], "m.gguf", is_gguf("m.gguf"));
    check(&[("odd-name", &gguf)], "odd-name", is_gguf("odd-name"));
    check(&[("d/m.gguf", &gguf)], "d", is_gguf("d/m.gguf"));
    check(
        &[("d/m-00001-of-00002.gguf", &gguf), ("d/m-00002-of-00002.gguf", &gguf)],
        "d",
        is_gguf("d/m-00001-of-00002.gguf"),
    );
    check(&[config], "d", is_directory("d"));
    check(&[config, ("d/model.safetensors", &weights(&["a"]))], "d", is_directory("d"));
    check(&[config, ("d/model.safetensors", &weights(&["a"])), ("d/m.gguf", &gguf)], "d", is_directory("d"));
    check(&[config, ("d/m.gguf", &gguf)], "d", is_gguf("d/m.gguf"));
    check(&[config, ("d/model.safetensors", &weights(&["a"]))], "d/model.safetensors", is_directory("d"));

    check(&[], "absent.gguf", Err("there is no file or directory absent.gguf"));
    check(&[("m", b"")], "m", Err("m: the file is empty"));
    check(&[("m", b"text")], "m", Err("m: expected a model (.gguf) file, found the bytes `text`"));
    check(
        &[("m.gguf", b"version https://git-lfs.github.com/spec/v1\noid")],
        "m.gguf",
        Err("m.gguf: this is a Git LFS pointer, not the model: fetch the real file with `git lfs pull`"),
    );
    check(
        &[("m.gguf", b"<html><body>404")],
        "m.gguf",
        Err("m.gguf: expected a model (.gguf) file, found a web page: the download gave a page instead of the file"),
    );
    check(
        &[("m.bin", b"lmgg\x01\0\0\0")],
        "m.bin",
        Err(
            "m.bin: expected a model (.gguf) file, found the old ggml format, which came before GGUF: convert the model anew",
        ),
    );
    check(
        &[("m.bin", b"PK\x03\x04")],
        "m.bin",
        Err(
            "m.bin is a zip archive or PyTorch checkpoint; Bantam reads .gguf files and Hugging Face directories with safetensors",
        ),
    );
    check(
        &[("d/model.safetensors", &weights(&["a"]))],
        "d/model.safetensors",
        Err("d/model.safetensors holds only weights; a model also needs config.json beside it"),
    );
    check(
        &[config, ("d/model-00001-of-00002.safetensors", &weights(&["a"]))],
        "d/model-00001-of-00002.safetensors",
        Err("d/model-00001-of-00002.safetensors is one file of a Hugging Face directory; give the directory d"),
    );
    check(
        &[config],
        "d/config.json",
        Err("d/config.json is the configuration of a model; give the directory it lies in"),
    );
    check(&[("d/readme", b"x")], "d", Err("d holds neither a config.json nor a .gguf file"));
    check(
        &[("d/model.safetensors", &weights(&["a"]))],
        "d",
        Err("d has weights but no config.json; a Hugging Face directory needs it"),
    );
    check(
        &[("d/a.gguf", &gguf), ("d/b.gguf", &gguf)],
        "d",
        Err("d holds 2 GGUF models (`a.gguf`, `b.gguf`); give one of them"),
    );
}

#[test]
fn configuration_files() {
    let check = |files: &[(&str, &[u8])], expected: Result<(), &str>| {
        let scratch = Scratch::new("configuration");
        for (name, bytes) in files {
            scratch.file(name, bytes);
        }
        let found = HfDirectory::open(scratch.path()).and_then(|directory| {
            directory.json(HfFile::GenerationConfig)?;
            directory.text(HfFile::Tokenizer).map(|_| ())
        });
        assert_eq!(found.map_err(|error| scratch.shorten(error)), expected.map_err(str::to_owned));
    };
    let config: (&str, &[u8]) = ("config.json", b"{\"b\": 1, \"a\": 2}");
    check(&[config], Ok(()));
    check(&[config, ("generation_config.json", b"{}"), ("tokenizer.json", b"{}")], Ok(()));
    check(&[], Err("DIR has no config.json; a Hugging Face directory needs it"));
    check(&[("config.json", b"[]")], Err("config.json: the file is not a JSON object: found a list"));
    check(
        &[("config.json", b"{\"a\": ")],
        Err("config.json: the file is not a JSON object: EOF while parsing a value at line 1 column 6"),
    );
    check(
        &[("config.json", b"version https://git-lfs.github.com/spec/v1")],
        Err("config.json: this is a Git LFS pointer, not the model: fetch the real file with `git lfs pull`"),
    );
    check(&[config, ("tokenizer.json", b"\"\xff\"")], Err("tokenizer.json: the file is not UTF-8 at byte 1"));
    let long = vec![b' '; (HfFile::GenerationConfig.limit() + 1) as usize];
    check(
        &[config, ("generation_config.json", &long)],
        Err("generation_config.json: the file is larger than the 1048576 bytes allowed for it"),
    );
    check(
        &[("config.json", "[".repeat(10_000).as_bytes())],
        Err("config.json: the file is not a JSON object: recursion limit exceeded at line 1 column 128"),
    );
    check(
        &[("config.json", format!("{{\"a\":{}", "[".repeat(10_000)).as_bytes())],
        Err("config.json: the file is not a JSON object: recursion limit exceeded at line 1 column 132"),
    );
}

#[test]
fn chat_templates_are_found_as_transformers_does() {
    let check = |files: &[(&str, &str)], expected: &[(&str, &str)]| {
        let scratch = Scratch::new("templates");
        scratch.file("config.json", "{}");
        for (name, text) in files {
            scratch.file(name, text);
        }
        let templates = HfDirectory::open(scratch.path()).unwrap().chat_templates().unwrap();
        let found: Vec<(&str, &str)> =
            templates.iter().map(|template| (template.name.as_str(), template.source.as_str())).collect();
        assert_eq!(found, expected);
    };
    let old = ("tokenizer_config.json", r#"{"chat_template": "old"}"#);
    check(&[], &[]);
    check(&[("tokenizer_config.json", "{}")], &[]);
    check(&[old], &[("default", "old")]);
    check(
        &[(
            "tokenizer_config.json",
            r#"{"chat_template": [{"name": "default", "template": "a"}, {"name": "rag", "template": "b"}]}"#,
        )],
        &[("default", "a"), ("rag", "b")],
    );
    check(&[old, ("chat_template.json", r#"{"chat_template": "json"}"#)], &[("default", "json")]);
    check(
        &[old, ("chat_template.jinja", "new"), ("additional_chat_templates/tool_use.jinja", "tools")],
        &[("default", "new"), ("tool_use", "tools")],
    );
}

#[test]
fn weights_in_one_file_or_several() {
    let check = |files: &[(&str, &[u8])], expected: Result<&[(usize, &str)], &str>| {
        let scratch = Scratch::new("weights");
        scratch.file("config.json", "{}");
        for (name, bytes) in files {
            scratch.file(name, bytes);
        }
        let read = || {
            let files = HfDirectory::open(scratch.path())?.weight_files()?;
            let mut shards = Vec::new();
            for path in &files.paths {
                shards.push(SafeTensors::parse(&std::fs::read(path).unwrap())?);
            }
            files.assemble(shards)
        };
        let found = read().map_err(|error| scratch.shorten(error)).map(|tensors| {
            tensors
                .tensors()
                .map(|(file, tensor)| {
                    assert_eq!(tensors.tensor(&tensor.name), Some((file, tensor)));
                    (file, tensor.name.clone())
                })
                .collect::<Vec<_>>()
        });
        let expected = expected
            .map(|list| list.iter().map(|&(file, name)| (file, name.to_owned())).collect::<Vec<_>>())
            .map_err(str::to_owned);
        assert_eq!(found, expected);
    };
    let (one, two) = ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors");
    let index = |text: &str| text.replace("ONE", one).replace("TWO", two);
    let good = index(r#"{"metadata": {}, "weight_map": {"a": "ONE", "b": "TWO"}}"#);

    check(&[("model.safetensors", &weights(&["b", "a"]))], Ok(&[(0, "a"), (0, "b")]));
    check(&[(INDEX, good.as_bytes()), (one, &weights(&["a"])), (two, &weights(&["b"]))], Ok(&[(0, "a"), (1, "b")]));
    // A copy of `a` in the second file: the index decides.
    check(
        &[(INDEX, good.as_bytes()), (one, &weights(&["a"])), (two, &weights(&["a", "b"]))],
        Ok(&[(0, "a"), (1, "b")]),
    );
    check(
        &[(INDEX, good.as_bytes()), (one, &weights(&["a"])), (two, &weights(&["c"]))],
        Err("tensor `b`, which the index places in model-00002-of-00002.safetensors, is missing"),
    );
    check(
        &[(INDEX, good.as_bytes()), (one, &weights(&["a"]))],
        Err(
            "model.safetensors.index.json: the shard `model-00002-of-00002.safetensors`, one of 2 that the index names, is missing",
        ),
    );
    for escape in ["../x.safetensors", "/etc/passwd", "a/b", "..", "C:\\\\x"] {
        let text = format!(r#"{{"weight_map": {{"a": "{escape}"}}}}"#);
        let shown = escape.replace("\\\\", "\\");
        let expected = format!(
            "model.safetensors.index.json: the shard of tensor `a` is `{shown}`, which is not the name of a file in this directory"
        );
        check(&[(INDEX, text.as_bytes())], Err(&expected));
    }
    check(
        &[(INDEX, br#"{"weight_map": {"a": 1}}"#)],
        Err("model.safetensors.index.json: the shard of tensor `a` should be a file name"),
    );
    check(
        &[(INDEX, b"{}")],
        Err("model.safetensors.index.json: `weight_map` should be an object of tensor names and file names"),
    );
    check(&[], Err("DIR has a configuration but no weights (model.safetensors)"));
    check(
        &[("pytorch_model.bin", b"PK\x03\x04")],
        Err("DIR has its weights only as a PyTorch pickle (pytorch_model.bin), which can run code and is not read; \
             save it as safetensors with transformers' `save_pretrained`"),
    );
    check(&[(one, &weights(&["a"]))], Err("DIR has shards of weights but no model.safetensors.index.json"));
    check(
        &[("adapter_model.safetensors", &weights(&["a"]))],
        Err("DIR holds an adapter, which needs the model it was trained for"),
    );
}

/// Directories that PyPI's transformers wrote (`tools/goldens/tiny_llama.py`), one of them sharded.
#[test]
fn directories_of_transformers() {
    let goldens = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../bantam-testkit/goldens");
    let check = |name: &str, files: usize, tensors: usize| {
        let path = goldens.join(name);
        assert_eq!(what_is_it(&path).unwrap(), ModelReference::HuggingFace(path.clone()));
        let directory = HfDirectory::open(&path).unwrap();
        assert_eq!(directory.config()["model_type"], "llama");
        let weights = directory.weight_files().unwrap();
        assert_eq!(weights.paths.len(), files);
        let shards = weights.paths.iter().map(|path| SafeTensors::parse(&std::fs::read(path).unwrap()).unwrap());
        let found = weights.assemble(shards.collect()).unwrap();
        assert_eq!(found.tensors().count(), tensors, "{name}");
        assert_eq!(found.tensor("model.embed_tokens.weight").unwrap().1.shape.len(), 2);
    };
    // Two layers of nine weights, two of them with seven biases in `d`; embedding, last norm and, untied, the head.
    check("tiny-llama-a", 1, 2 * 9 + 3);
    check("tiny-llama-c", 1, 2 * 9 + 2);
    check("tiny-llama-d", 2, 2 * (9 + 7) + 3);
}
