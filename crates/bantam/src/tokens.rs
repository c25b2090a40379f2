//! Tokens on the command line: lists of ids.

/// A list of token ids as one argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids(pub Vec<u32>);

/// Reads ids separated by white space or commas, with or without brackets around them (as JSON and Python print lists).
///
/// # Errors
/// Names what is no id.
pub fn parse_ids(text: &str) -> Result<Ids, String> {
    let inner = text.trim();
    let inner = inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(inner);
    let words = inner.split(|c: char| c == ',' || c.is_whitespace()).filter(|word| !word.is_empty());
    let ids = words.map(|word| word.parse().map_err(|_| format!("'{word}' is no token id")));
    ids.collect::<Result<_, _>>().map(Ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<&[u32], &str>) {
        let found = parse_ids(text);
        assert_eq!(found.as_ref().map(|ids| ids.0.as_slice()).map_err(String::as_str), expected, "{text:?}");
    }

    #[test]
    fn ids_are_read() {
        check("1 2 3", Ok(&[1, 2, 3]));
        check("[1, 2,3]\n", Ok(&[1, 2, 3]));
        check("", Ok(&[]));
        check("[]", Ok(&[]));
        check("1 two", Err("'two' is no token id"));
        check("-1", Err("'-1' is no token id"));
        check("4294967296", Err("'4294967296' is no token id"));
    }
}
