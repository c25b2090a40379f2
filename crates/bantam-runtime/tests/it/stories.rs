//! A real trained model tells its author's story.

use std::path::PathBuf;

use bantam_runtime::{Feed, LoadOptions, Model, OpenOptions, Outputs};
use bantam_tensor::TensorType;
use bantam_testkit::shared_dir;

/// The author's greedy text: the first block of output in the model's own description.
fn expected(directory: &std::path::Path) -> String {
    let page = std::fs::read_to_string(directory.join("stories260K.md")).unwrap();
    let start = page.find("Once upon a time").unwrap();
    let end = start + page[start..].find("\n```").unwrap();
    page[start..end].trim_end().to_owned()
}

/// Greedy text from the beginning token alone, at most `most` tokens.
fn greedy(path: PathBuf, quantize: Option<TensorType>, threads: usize, most: usize) -> (String, Vec<u32>) {
    let model = Model::open(&path, &OpenOptions { quantize, read_ahead: true }).unwrap();
    let options = LoadOptions { threads: Some(threads), ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let sequence = loaded.open_sequence().unwrap();
    let (mut next, mut ids) = (tokenizer.bos().unwrap(), Vec::new());
    while ids.len() < most {
        let logits = loaded.run(&[Feed { sequence, tokens: &[next], outputs: Outputs::Last }]).unwrap();
        let best = logits.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0))).unwrap();
        next = best.0 as u32;
        ids.push(next);
    }
    (tokenizer.decode(&ids, true).unwrap(), ids)
}

#[test]
fn the_authors_greedy_text_is_told_to_its_end() {
    let Some(shared) = shared_dir() else { return };
    let directory = shared.join("data/stories260k");
    let expected = expected(&directory);
    let (_, reference) = greedy(directory.join("stories260K-f32.gguf"), None, 1, 256);
    for (file, threads) in
        [("stories260K-f32.gguf", 1), ("stories260K-f32.gguf", 2), ("stories260K-f32.gguf-v1.gguf", 2)]
    {
        let (text, ids) = greedy(directory.join(file), None, threads, 256);
        assert!(text.trim_start().starts_with(&expected), "{file}, {threads} threads: {text}");
        assert_eq!(ids, reference, "{file}, {threads} threads");
    }
    let (_, quantized) = greedy(directory.join("stories260K-f32.gguf"), Some(TensorType::Q8_0), 2, 60);
    assert_eq!(quantized, reference[..60], "Q8_0 keeps the first 60 tokens");
}
