//! The model within the program, `@assistant`: it turns an utterance into one call. `recipes/assistant` makes it.

use std::path::{Path, PathBuf};

use bantam_formats::embedded::{self, Embedded};

use crate::output::note;

/// Its name, wherever a model is named.
pub const NAME: &str = "@assistant";

/// Weights are read where they lie, so they lie as in a mapped file.
#[repr(C, align(64))]
struct Aligned<B: ?Sized>(B);

static FILE: &Aligned<[u8]> = &Aligned(*include_bytes!("../assets/assistant.gguf"));

/// Makes it known to all that opens models.
pub fn register() {
    static FILES: [Embedded; 1] = [Embedded { name: NAME, bytes: &FILE.0 }];
    embedded::register(&FILES);
}

/// Endings of model files.
const ENDINGS: [&str; 8] = ["gguf", "ggml", "safetensors", "bin", "json", "pt", "pth", "onnx"];

/// Which model and which prompt the arguments of `run` mean: with one alone, what is no model and looks like none is a
/// prompt for [`NAME`].
///
/// # Errors
/// Never a prompt: what looks like a path, or is one word, as models' names are, but is not there.
pub fn model_and_prompt(model: Option<&PathBuf>, prompt: Option<&String>) -> anyhow::Result<(PathBuf, Option<String>)> {
    let assistant = || PathBuf::from(NAME);
    let Some(first) = model else { return Ok((assistant(), None)) };
    if prompt.is_some() || first.exists() || embedded::bytes(first).is_some() {
        return Ok((first.clone(), prompt.cloned()));
    }
    match first.to_str() {
        Some(text) if is_said(text, &|path| path.is_dir()) => Ok((assistant(), Some(text.to_owned()))),
        Some(text) if !text.is_empty() => {
            let shown = text.escape_debug();
            let text = if text.contains(['/', '\\', '@']) { String::new() } else { format!(" {shown:?}") };
            anyhow::bail!(
                "there is no file or directory {shown}; to ask the model within Bantam: bantam run {NAME}{text}"
            )
        }
        // What opens it says what is wrong with it.
        _ => Ok((first.clone(), None)),
    }
}

/// Says once which model answers where none was named.
pub fn introduce() {
    note(format!("{NAME}, Bantam's own small model, answers with a call; another: bantam run MODEL PROMPT"));
}

/// Whether a text is something said rather than a path or a model's name: several words, of which none shows a path.
fn is_said(text: &str, is_directory: &dyn Fn(&Path) -> bool) -> bool {
    let words: Vec<&str> = text.split_whitespace().collect();
    let [first, .., last] = &words[..] else { return false };
    let ends_as_a_file =
        last.rsplit_once('.').is_some_and(|(_, ending)| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)));
    let begins_as_a_path = text.starts_with(['/', '.', '~', '@', '\\']) || first.contains(['/', '\\']);
    // `My models/one`: of two words with a slash one cannot tell; where a directory of that name is, it is meant.
    let slash = text.find(['/', '\\']);
    let within_a_directory = slash.is_some_and(|at| words.len() < 3 || is_directory(Path::new(&text[..at])));
    !(ends_as_a_file || begins_as_a_path || within_a_directory || text.contains('\\'))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::is_said;

    #[test]
    fn a_path_or_a_name_is_no_utterance() {
        let check = |text: &str, expected: bool| {
            assert_eq!(is_said(text, &|path| path == Path::new("my models")), expected, "{text:?}");
        };
        check("play some jazz in the kitchen", true);
        check("what's 3/4 of 200", true);
        check("put on some AC/DC please", true);
        check("Play Mr. Brightside.", true);
        check("model.gguf", false);
        check("qwen2.5-0.5b", false);
        check("jazz", false);
        check("", false);
        check("  ", false);
        check("my model.gguf", false);
        check("My Model.GGUF", false);
        check("./my model", false);
        check("models/my model", false);
        check("/home/me/my model", false);
        check("~/my model", false);
        check("my models/a new one", false);
        check("My models/one", false);
        check("C:\\my models\\one", false);
        check("@assistant please", false);
    }
}
