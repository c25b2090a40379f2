//! Every command of the guides, run as it stands.

use std::path::Path;
use std::process::Command;

use crate::support::{Folder, model_with_template};

const TEMPLATE: &str = "{% for m in messages %}{{ m.role + ':\\n' + m.content }}\
                        {% if m.role == 'assistant' %}{{ eos_token }}{% endif %}{{ '\\n' }}{% endfor %}\
                        {% if add_generation_prompt %}{{ 'assistant:\\n' }}{% endif %}";

/// The shell's blocks of a page, with the line each begins at.
fn blocks(page: &str) -> Vec<(usize, String)> {
    let (mut blocks, mut open) = (Vec::new(), None);
    for (at, line) in page.lines().enumerate() {
        open = match (open, line) {
            (None, "```sh") => Some((at + 2, String::new())),
            (Some(block), "```") => {
                blocks.push(block);
                None
            }
            (Some((begin, text)), line) => Some((begin, text + line + "\n")),
            (None, _) => None,
        };
    }
    blocks
}

#[cfg(unix)]
#[test]
fn the_guide_to_tuning_does_what_it_says() {
    let folder = Folder::new("guide");
    let model = model_with_template(&folder, TEMPLATE);
    std::fs::rename(&model, folder.0.join("model.gguf")).expect("the model is named");
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/guides/tune-your-own.md");
    let page = std::fs::read_to_string(page).expect("the guide is there");
    let binary = Path::new(env!("CARGO_BIN_EXE_bantam")).parent().expect("it lies in a folder");
    let path = std::env::join_paths(
        std::iter::once(binary.to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").expect("there is a PATH"))),
    )
    .expect("the path is one");
    let mut said = Vec::new();
    for (line, block) in blocks(&page) {
        let mut shell = Command::new("sh");
        let output =
            shell.arg("-ec").arg(&block).current_dir(&folder.0).env("PATH", &path).output().expect("there is a shell");
        let (out, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "line {line} of the guide:\n{block}\n{out}\n{errors}");
        said.push(format!("{out}{errors}"));
    }
    let all = said.join("\n");
    // What the guide says of its own examples.
    for part in [
        "something is to be mended",
        "1 row is a duplicate",
        "1 row has an empty answer",
        "left out line 10: the same as line 4",
        "left out line 11: an answer without a word",
        "assistant:\nlamp hall on</s>",
        "numbers are trained",
    ] {
        assert!(all.contains(part), "{part:?} is not in\n{all}");
    }
    let report = std::fs::read_to_string(folder.0.join("my-assistant/report.html")).expect("the report is there");
    for part in
        ["<svg", "Base and tuned on the held-out examples", "<pre dir=\"auto\">", "You help at home.", "perplexity"]
    {
        assert!(report.contains(part), "{part:?} is not in the report");
    }
    let run = std::fs::read(folder.0.join("my-assistant/run.json")).expect("run.json is there");
    let run: serde_json::Value = serde_json::from_slice(&run).expect("it is JSON");
    assert!(run["date"].as_str().is_some_and(|date| date.len() == 10 && date > "2024"), "{run}");
}
