//! Adapters beside models that are not the one they were trained on.

use crate::support::{Folder, bantam, check, fails, model_with_template};

const DATA: &str = r#"{"messages": [{"role": "user", "content": "Where was the fox?"}, {"role": "assistant", "content": "In the park."}]}
{"messages": [{"role": "user", "content": "Who was small?"}, {"role": "assistant", "content": "The fox."}]}
"#;
const TEMPLATE: &str = "{% for message in messages %}<{{ message.role }}>{{ message.content }}\n{% endfor %}\
                        {% if add_generation_prompt %}<assistant>{% endif %}";

fn succeeds(arguments: &[&str]) {
    let output = bantam(arguments, b"");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn another_chat_template_is_refused_unless_told() {
    let folder = Folder::new("adapter-template");
    // The same weights; only the template differs, by one space.
    let own = model_with_template(&folder, TEMPLATE);
    let kept = folder.0.join("own.gguf");
    std::fs::rename(&own, &kept).expect("the model gets another name");
    let other = model_with_template(&folder, &TEMPLATE.replace("}}\n", "}} \n"));
    let (own, data) = (kept.to_str().expect("the path is UTF-8"), folder.file("data.jsonl", DATA));
    let path = |name: &str| folder.0.join(name).to_str().expect("the path is UTF-8").to_owned();
    let (adapter, raw, gguf, merged) = (path("adapter"), path("raw"), path("adapter.gguf"), path("merged.gguf"));
    let (text, few) =
        (folder.file("text.jsonl", r#"{"text": "The fox was small."}"#), ["--rank", "2", "--epochs", "1", "-o"]);
    succeeds(&[&["tune", own, &data][..], &few, &[&adapter]].concat());
    succeeds(&[&["tune", own, &text][..], &few, &[&raw, "--raw"]].concat());
    succeeds(&["merge", own, &adapter, "--adapter-only", "-o", &gguf]);
    let told = fails(1, &["trained with another chat template", "--any-base uses it all the same"]);
    for adapter in [&adapter, &gguf] {
        let run = ["run", &other, "Who?", "-n", "1", "--adapter", adapter];
        let logits = ["logits", &other, "Who?", "-o", &path("logits.npy"), "--adapter", adapter];
        let merge = ["merge", &other, adapter, "-o", &merged];
        for arguments in [&run[..], &logits, &merge] {
            check(arguments, "", &told);
        }
        assert!(!folder.0.join("merged.gguf").exists());
        for arguments in [&run[..], &logits, &merge] {
            succeeds(&[arguments, &["--any-base"]].concat());
        }
        std::fs::remove_file(&merged).expect("the merged model was written");
        succeeds(&["run", own, "Who?", "-n", "1", "--adapter", adapter]);
    }
    // What was learned without a template belongs to none.
    succeeds(&["run", &other, "Who?", "-n", "1", "--adapter", &raw]);
}
