//! How a one-shot prompt is put together from `--file`, the argument and stdin.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{Context as _, bail};

/// Longest text taken from a file or stdin: far above any context, far below what would exhaust memory.
const MOST_BYTES: u64 = 256 << 20;

/// The parts of a prompt in their order: file, argument, stdin.
#[derive(Debug, Default)]
pub struct Parts {
    /// What `--file` holds.
    pub file: Option<String>,
    /// The argument.
    pub argument: Option<String>,
    /// What stdin holds; nothing where it is a terminal.
    pub stdin: Option<String>,
}

impl Parts {
    /// Joins what is there: with an empty line between the parts of a message, with nothing where `raw` is set, since
    /// a raw prompt is exactly what was given. An empty part is no part.
    pub fn join(self, raw: bool) -> String {
        let parts = [self.file, self.argument, self.stdin].into_iter().flatten();
        let parts: Vec<String> = parts.filter(|text| !text.is_empty()).collect();
        parts.join(if raw { "" } else { "\n\n" })
    }
}

/// Reads a text file without its last newline.
pub fn read_file(path: &Path) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("{} can't be opened", path.display()))?;
    read_text(file, &path.display().to_string()).map(without_last_newline)
}

/// Reads stdin without its last newline.
pub fn read_stdin() -> anyhow::Result<String> {
    read_text(io::stdin().lock(), "stdin").map(without_last_newline)
}

/// Reads UTF-8 text of bounded length, byte for byte.
pub fn read_text(reader: impl Read, name: &str) -> anyhow::Result<String> {
    let bytes = read_bytes(reader, name)?;
    String::from_utf8(bytes).map_err(|error| {
        anyhow::anyhow!("{name} is not UTF-8: byte {} begins no character", error.utf8_error().valid_up_to())
    })
}

/// Reads bytes of bounded length.
pub fn read_bytes(reader: impl Read, name: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(MOST_BYTES + 1).read_to_end(&mut bytes).with_context(|| format!("{name} can't be read"))?;
    if bytes.len() as u64 > MOST_BYTES {
        bail!("{name} is longer than {} MiB", MOST_BYTES >> 20);
    }
    Ok(bytes)
}

/// One newline at the end belongs to the file or the pipe, not to the text: `echo text |` means `text`.
fn without_last_newline(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(file: Option<&str>, argument: Option<&str>, stdin: Option<&str>, raw: bool, expected: &str) {
        let own = |text: Option<&str>| text.map(str::to_owned);
        let parts = Parts { file: own(file), argument: own(argument), stdin: own(stdin) };
        assert_eq!(parts.join(raw), expected);
    }

    #[test]
    fn parts_are_joined() {
        check(None, Some("a"), None, false, "a");
        check(None, Some("a"), Some(""), false, "a");
        check(None, Some("a"), Some("b"), false, "a\n\nb");
        check(Some("f"), Some("a"), Some("b"), false, "f\n\na\n\nb");
        check(Some("f"), Some("a"), Some("b"), true, "fab");
        check(None, Some(""), Some("b"), false, "b");
        check(None, Some(""), None, false, "");
        check(None, None, Some(""), false, "");
        check(Some("f"), None, Some(""), false, "f");
    }

    #[test]
    fn one_newline_goes() {
        for (text, expected) in [("a", "a"), ("a\n", "a"), ("a\n\n", "a\n"), ("a\r\n", "a"), ("\n", ""), ("", "")] {
            assert_eq!(without_last_newline(text.to_owned()), expected);
        }
    }
}
