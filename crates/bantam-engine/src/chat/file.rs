//! Conversations in files: JSON with a key that says what it is.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ChatSettings, Message};
use crate::EngineError;

/// The key that tells a conversation from other JSON, with the version of its form.
const MARK: &str = "bantam_chat";
const VERSION: u64 = 1;
/// Longer files are no conversations.
const LARGEST: u64 = 64 << 20;

/// What a file holds.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    #[serde(rename = "bantam_chat")]
    _version: u64,
    #[serde(default)]
    pub(super) system: Option<String>,
    #[serde(default)]
    pub(super) settings: ChatSettings,
    pub(super) messages: Vec<Message>,
}

#[derive(Serialize)]
struct Saving<'a> {
    bantam_chat: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    system: Option<&'a str>,
    settings: &'a ChatSettings,
    messages: &'a [Message],
}

pub(super) fn save(
    path: &Path,
    system: Option<&str>,
    settings: &ChatSettings,
    messages: &[Message],
) -> Result<(), EngineError> {
    let saving = Saving { bantam_chat: VERSION, system, settings, messages };
    let written = serde_json::to_vec_pretty(&saving).map_err(io::Error::from).and_then(|mut text| {
        text.push(b'\n');
        replace(path, &text)
    });
    written.map_err(|source| EngineError::File { path: path.to_owned(), action: "written", source })
}

/// Writes beside the file and then puts it in its place, so that there is always a whole file.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut beside = std::ffi::OsString::from(".");
    beside.push(name);
    beside.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(beside);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&beside)?;
    let result = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&beside, path));
    if result.is_err() {
        let _ = fs::remove_file(&beside);
    }
    result
}

pub(super) fn load(path: &Path) -> Result<Saved, EngineError> {
    let read = File::open(path).and_then(|file| {
        let mut bytes = Vec::new();
        file.take(LARGEST + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    let bytes = read.map_err(|source| EngineError::File { path: path.to_owned(), action: "read", source })?;
    parse(&bytes).map_err(|reason| EngineError::NotAChat { path: PathBuf::from(path), reason })
}

fn parse(bytes: &[u8]) -> Result<Saved, String> {
    if bytes.len() as u64 > LARGEST {
        return Err(format!("it is larger than {} MiB", LARGEST >> 20));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("it is not JSON ({error})"))?;
    match value.get(MARK).map(Value::as_u64) {
        Some(Some(VERSION)) => {}
        Some(Some(version)) => return Err(format!("it is of version {version}, and version {VERSION} was expected")),
        Some(None) => return Err(format!("its \"{MARK}\" is no version number")),
        None => return Err(format!("it has no \"{MARK}\"")),
    }
    let saved: Saved = serde_json::from_value(value).map_err(|error| error.to_string())?;
    match saved.messages.iter().position(|message| !matches!(message.role.as_str(), "user" | "assistant" | "tool")) {
        Some(index) => Err(format!(
            "message {index} is by {:?}, and only \"user\", \"assistant\" and \"tool\" were expected",
            saved.messages[index].role
        )),
        None => Ok(saved),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<usize, &str>) {
        let found = parse(text.as_bytes()).map(|saved| saved.messages.len());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn files_that_are_none_are_refused() {
        check(r#"{"bantam_chat": 1, "messages": []}"#, Ok(0));
        check(
            r#"{"bantam_chat": 1, "system": "s", "settings": {"sampling": {"top_k": 3}, "think": true},
                "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "reasoning_content": "c"}]}"#,
            Ok(2),
        );
        check("", Err("it is not JSON (EOF while parsing a value at line 1 column 0)"));
        check("[]", Err("it has no \"bantam_chat\""));
        check("{}", Err("it has no \"bantam_chat\""));
        check(r#"{"bantam_chat": 2}"#, Err("it is of version 2, and version 1 was expected"));
        check(r#"{"bantam_chat": "1"}"#, Err("its \"bantam_chat\" is no version number"));
        check(r#"{"bantam_chat": 1}"#, Err("missing field `messages`"));
        check(
            r#"{"bantam_chat": 1, "messages": [{"role": "system", "content": "a"}]}"#,
            Err("message 0 is by \"system\", and only \"user\", \"assistant\" and \"tool\" were expected"),
        );
        check(
            r#"{"bantam_chat": 1, "messages": [], "settings": {"sampling": {"topk": 3}}}"#,
            Err("unknown field `topk`, expected one of `temperature`, `top_k`, `top_p`, `min_p`, `typical_p`, \
                 `repeat_penalty`, `presence_penalty`, `frequency_penalty`, `repeat_last_n`, `logit_bias`"),
        );
    }
}
