//! Sentences out of another library's messages.

/// The first line of a message that says something, without a trace, shortened.
pub(crate) fn sentence(message: &str) -> String {
    let line = message
        .lines()
        .map(str::trim)
        .find(|line| !line.is_empty() && !line.starts_with('<'))
        .unwrap_or("no reason was given");
    shorten(line, 300)
}

/// Cuts `text` to at most `limit` characters.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
