//! Files that are no models: one clear sentence each.

use bantam_formats::gguf::Value;

use crate::support::{Folder, bantam, changed_model, check, fails, model, model_with_template, shared, split_model};

#[test]
fn what_is_no_model_is_named() {
    let folder = Folder::new("bad");
    let cases: [(&str, Vec<u8>, &str); 5] = [
        ("empty.gguf", Vec::new(), "empty"),
        ("text.gguf", b"hello there, this is text".to_vec(), ""),
        ("short.gguf", b"GGUF\x03\0\0\0".to_vec(), ""),
        ("pointer.gguf", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n".to_vec(), "LFS"),
        ("page.gguf", b"<!DOCTYPE html><html></html>".to_vec(), "web page"),
    ];
    for (name, bytes, word) in cases {
        let path = folder.file(name, bytes);
        for command in [&["run", &path, "hello"][..], &["show", &path], &["tokenize", &path, "a"], &["bench", &path]] {
            check(command, "", &fails(1, &[word, name]));
        }
    }
    let directory = folder.0.join("nothing");
    std::fs::create_dir_all(&directory).expect("the folder is made");
    check(&["run", directory.to_str().expect("UTF-8"), "hello"], "", &fails(1, &["config.json"]));
}

#[test]
fn damaged_models_are_refused() {
    let Some(model) = shared("data/stories260k/stories260K-f32.gguf") else { return };
    let bytes = std::fs::read(model).expect("the model is read");
    let folder = Folder::new("damaged");
    for length in [4, 24, 100, 5000, bytes.len() / 2, bytes.len() - 1] {
        let path = folder.file("cut.gguf", bytes.get(..length).expect("shorter"));
        check(&["run", &path, "--raw", "a"], "", &fails(1, &["cut.gguf"]));
    }
}

/// Ids that the vocabulary does not have: a special token's in the metadata, a user's on the command line.
#[test]
fn ids_outside_the_vocabulary_are_refused() {
    let folder = Folder::new("ids");
    for key in ["bos_token_id", "eos_token_id"] {
        let path = changed_model(&folder, "ids.gguf", |writer| {
            writer.set(format!("tokenizer.ggml.{key}"), Value::U32(99_999));
        });
        for command in [&["run", &path, "--raw", "a"][..], &["tokenize", &path, "a"]] {
            check(command, "", &fails(1, &["99999", "512"]));
        }
    }
    check(&["tokenize", &model(), "--detokenize", "1 99999"], "", &fails(1, &["99999"]));
    check(&["logits", &model(), "--ids", "99999", "-o", "-"], "", &fails(1, &["99999", "512"]));
}

#[test]
fn unknown_tensor_types_are_refused() {
    let folder = Folder::new("types");
    let mut bytes = std::fs::read(model()).expect("the model is read");
    // Behind a tensor's name stand the number of dimensions, they themselves (one here), and its type.
    let name = b"output_norm.weight";
    let at = bytes.windows(name.len()).position(|part| part == name).expect("it is there") + name.len() + 4 + 8;
    bytes.get_mut(at..at + 4).expect("the header goes on").copy_from_slice(&9999_u32.to_le_bytes());
    let path = folder.file("types.gguf", bytes);
    check(&["run", &path, "--raw", "a"], "", &fails(1, &["output_norm.weight", "9999"]));
}

#[test]
fn parts_are_found_from_the_first() {
    let folder = Folder::new("parts");
    let parts = split_model(&folder);
    let [first, second, rest @ ..] = parts.as_slice() else { panic!("{} parts", parts.len()) };
    let [first, second] = [first, second].map(|path| path.to_str().expect("the path is UTF-8"));
    assert!(!rest.is_empty(), "three parts or more");
    let tell = |model: &str| bantam(&["run", model, "--raw", "--temperature", "0", "-n", "16", "Once"], b"");
    let (whole, split) = (tell(&model()), tell(first));
    assert_eq!((split.status.code(), &split.stdout), (Some(0), &whole.stdout));
    let name = first.rsplit('/').next().expect("a name");
    check(&["run", second, "--raw", "a"], "", &fails(1, &["part 2 of", "give the first", name]));
    std::fs::remove_file(second).expect("the part was there");
    check(&["run", first, "--raw", "a"], "", &fails(1, &["part 2 of", second, "missing"]));
}

#[test]
fn what_does_not_fit_is_refused() {
    check(&["run", &model(), "--raw", "--memory", "1M", "a"], "", &fails(1, &["memory"]));
    check(&["bench", &model(), "--memory", "1M"], "", &fails(1, &["memory"]));
    check(&["logits", &model(), "a", "-o", "-", "--memory", "1M"], "", &fails(1, &["memory"]));
}

/// Templates that loop or grow without end, in a model and by themselves.
#[test]
fn hostile_templates_are_stopped() {
    let folder = Folder::new("templates");
    let chat = r#"[{"role": "user", "content": "Hi"}]"#;
    for source in [
        "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
        "{% set ns = namespace(s='x') %}{% for a in range(100) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}",
        "{{ '-' * 10**10 }}",
        "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
    ] {
        let model = model_with_template(&folder, source);
        let bare = folder.file("bare.jinja", source);
        check(&["template", &model, "-"], chat, &fails(1, &["template"]));
        check(&["template", &bare, "-"], chat, &fails(1, &["template"]));
        check(&["run", &model, "Hi"], "", &fails(1, &["template"]));
    }
}
