//! Sentences out of another library's messages.

/// The first line of a message that says something, without a trace, shortened; of a regular expression that cannot be read,
/// what is wrong with it. Where in a grammar that is stays before it.
pub(crate) fn sentence(message: &str) -> String {
    let mut lines = message.lines().map(str::trim);
    let line = lines.find(|line| !line.is_empty() && !line.starts_with('<')).unwrap_or("no reason was given");
    let (place, line) = place(line);
    let reason = lines.find_map(|line| line.strip_prefix("error: "));
    let line = match reason {
        Some(reason) if line.contains("regex parse error") => format!("a regular expression can't be read: {reason}"),
        _ => line.to_owned(),
    };
    shorten(&format!("{place}{line}"), 300)
}

/// Takes the place, `at 3(8): `, from a message's line and says it in words.
fn place(line: &str) -> (String, &str) {
    let found = line.strip_prefix("at ").unwrap_or(line).split_once("): ").and_then(|(place, rest)| {
        let (row, column) = place.split_once('(')?;
        let row: usize = row.parse().ok()?;
        let column: usize = column.parse().ok()?;
        Some((format!("line {row}, column {column}: "), rest))
    });
    found.unwrap_or((String::new(), line))
}

/// A sentence without the place before it, which is one in a grammar that the user has not written.
pub(crate) fn without_place(sentence: &str) -> String {
    let rest = sentence.strip_prefix("line ").and_then(|rest| rest.split_once(": ")).map_or(sentence, |(_, rest)| rest);
    rest.to_owned()
}

/// Cuts `text` to at most `limit` characters.
pub(crate) fn shorten(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
