//! Files that are no models: one clear sentence each.

use crate::support::{Folder, check, fails, shared};

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
