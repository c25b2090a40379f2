//! Lists of words that are no data set's: names of places as everybody writes them, and what the made-up utterances are made of.

/// The lists, each below its name in brackets, their items parted by `;`.
const TEXT: &str = include_str!("words.txt");

/// A list by its name; empty where there is none of it.
pub fn list(name: &str) -> Vec<&'static str> {
    let behind = TEXT.split_once(&format!("[{name}]\n")).map_or("", |(_, behind)| behind);
    let own = behind.split('[').next().unwrap_or_default();
    own.split(';').map(str::trim).filter(|item| !item.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn lists_are_whole() {
        assert_eq!((list("country").len(), list("state").len(), list("pattern").len()), (229, 102, 134));
        assert_eq!(list("year")[..2], ["1966", "1984"]);
        assert!(list("nothing").is_empty());
    }
}
