//! Who made a model, of what and on what terms: from the front matter of a directory's `README.md` to GGUF's `general.*`
//! keys and back. The keys are those of llama.cpp's converter (`gguf-py`, `metadata.py`), the front matter is a model card's.

use std::io::Read;
use std::path::Path;

use bantam_formats::gguf::{Array, Gguf, GgufWriter, Strings};

use crate::huggingface_out::put;
use crate::{ConvertError, Report};

const README: &str = "README.md";
/// How much of a README is looked at: a front matter is at its beginning.
const READ_BYTES: u64 = 1 << 20;
/// Most items of a list that are taken over.
const ITEMS: usize = 4096;
const HUB: &str = "https://huggingface.co/";

/// One line of text: what a model card calls it, its own name first, and its key.
const TEXTS: &[(&[&str], &str)] = &[
    (&["license"], "general.license"),
    (&["license_name"], "general.license.name"),
    (&["license_link"], "general.license.link"),
    (&["model_author", "author", "model_creator"], "general.author"),
    (&["model_organization", "organization"], "general.organization"),
    (&["model_version", "version"], "general.version"),
    (&["model_description", "description"], "general.description"),
];
/// Lists of words.
const LISTS: &[(&[&str], &str)] = &[(&["language", "languages"], "general.languages"), (&["tags"], "general.tags")];
/// Lists of other works, each with a name, who made it and where it is.
const WORKS: &[(&[&str], &str)] =
    &[(&["base_model", "base_models"], "general.base_model"), (&["datasets", "dataset"], "general.dataset")];

/// The front matter's keys with their values, one or several; what is nested deeper than that is left out.
fn front_matter(text: &str) -> Vec<(String, Vec<String>)> {
    let mut lines = text.lines();
    if lines.next().map(str::trim_end) != Some("---") {
        return Vec::new();
    }
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut open = false;
    for line in lines.map(str::trim_end).take_while(|line| *line != "---" && *line != "...") {
        let item = line.trim_start();
        if let Some(item) = item.strip_prefix("- ").filter(|_| open) {
            // An item that is itself a map says more than a word.
            if let Some((_, values)) = found.last_mut()
                && values.len() < ITEMS
                && let Some(value) = scalar(item)
            {
                values.push(value);
            }
            continue;
        }
        if item.is_empty() || item.starts_with('#') || item.len() != line.len() {
            open &= item.is_empty() || item.starts_with('#');
            continue;
        }
        let Some((key, value)) = line.split_once(':') else {
            open = false;
            continue;
        };
        let value = value.trim();
        open = value.is_empty();
        let flow = value.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let values = match flow {
            Some(items) => items.split(',').filter_map(scalar).take(ITEMS).collect(),
            None => scalar(value).into_iter().collect(),
        };
        found.push((key.trim().to_owned(), values));
    }
    found
}

/// A plain or quoted scalar of YAML; nothing for one of several lines, a map, a reference or nothing at all.
fn scalar(text: &str) -> Option<String> {
    let text = text.trim();
    if text.starts_with('"') {
        return serde_json::from_str(text).ok();
    }
    if let Some(inner) = text.strip_prefix('\'') {
        return Some(inner.strip_suffix('\'')?.replace("''", "'"));
    }
    let text = text.split_once(" #").map_or(text, |(text, _)| text.trim_end());
    let plain = !text.starts_with(['|', '>', '{', '[', '&', '*', '!', '%', '@', '`']) && !text.contains(": ");
    (plain && !text.is_empty() && text != "~" && text != "null").then(|| text.to_owned())
}

/// A scalar as YAML takes it for text, whatever stands in it.
fn written(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    // `no` is a language, and YAML takes it for a truth value.
    let word = !matches!(
        text.to_ascii_lowercase().as_str(),
        "yes" | "no" | "on" | "off" | "true" | "false" | "null" | "y" | "n"
    );
    let letter = text.starts_with(|c: char| c.is_ascii_alphabetic());
    if letter && word && text.chars().all(plain) { text.to_owned() } else { serde_json::Value::from(text).to_string() }
}

/// Takes the front matter of a directory's `README.md` over into GGUF's keys.
pub(crate) fn to_gguf(directory: &Path, model: &mut GgufWriter, report: &mut Report) {
    let Ok(file) = std::fs::File::open(directory.join(README)) else { return };
    let mut bytes = Vec::new();
    if file.take(READ_BYTES).read_to_end(&mut bytes).is_err() {
        return;
    }
    let card = front_matter(&String::from_utf8_lossy(&bytes));
    let named = |names: &[&str]| {
        let of = |name: &&str| card.iter().find(|(key, values)| key == name && !values.is_empty());
        names.iter().find_map(of).map(|(_, values)| values.as_slice())
    };
    for (names, key) in TEXTS {
        if let Some(values) = named(names) {
            model.set(*key, values.join(","));
        }
    }
    for (names, key) in LISTS {
        let mut values = named(names).unwrap_or_default().to_vec();
        if *key == "general.tags" {
            values.extend(named(&["pipeline_tag"]).unwrap_or_default().iter().cloned());
        }
        if !values.is_empty() {
            model.set(*key, Array::Strings(values.iter().map(String::as_str).collect::<Strings>()));
        }
    }
    for (names, key) in WORKS {
        let Some(values) = named(names) else { continue };
        model.set(format!("{key}.count"), u32::try_from(values.len()).unwrap_or(u32::MAX));
        for (number, work) in values.iter().enumerate() {
            let id = work.strip_prefix(HUB).unwrap_or(work);
            let (owner, name) = id.split_once('/').filter(|(_, name)| !name.contains('/')).unwrap_or(("", id));
            let place = match (id.contains("://"), owner.is_empty()) {
                (true, _) => id.to_owned(),
                (false, true) => String::new(),
                (false, false) => format!("{HUB}{id}"),
            };
            let spaced = |text: &str| text.replace('-', " ");
            let parts = [("name", spaced(name)), ("organization", spaced(owner)), ("repo_url", place)];
            for (what, value) in parts.into_iter().filter(|(_, value)| !value.is_empty()) {
                model.set(format!("{key}.{number}.{what}"), value);
            }
        }
    }
    report.note(format!(
        "the text of {README} is left out: GGUF has keys for what its front matter says of licence and origin"
    ));
}

/// Writes a `README.md` with the front matter that GGUF's keys amount to; names those that it has no entry for.
pub(crate) fn to_directory(gguf: &Gguf, folder: &Path, report: &mut Report) -> Result<(), ConvertError> {
    let mut text = String::new();
    let mut known: Vec<String> = Vec::new();
    let mut list = |name: &str, values: &[String]| match values {
        [] => {}
        [one] if name == "license" || !LISTS.iter().chain(WORKS).any(|(names, _)| names[0] == name) => {
            text += &format!("{name}: {}\n", written(one));
        }
        values => {
            text += &format!("{name}:\n");
            values.iter().for_each(|value| text += &format!("- {}\n", written(value)));
        }
    };
    for (names, key) in TEXTS {
        if let Some(value) = gguf.get(key).and_then(|value| value.as_str()) {
            list(names[0], &[value.to_owned()]);
            known.push((*key).to_owned());
        }
    }
    for (names, key) in LISTS {
        let strings = gguf.get(key).and_then(|value| value.as_array()).and_then(Array::as_strings);
        let Some(strings) = strings else { continue };
        let values: Vec<String> = strings.iter().map(|item| String::from_utf8_lossy(item).into_owned()).collect();
        list(names[0], &values);
        known.push((*key).to_owned());
    }
    for (names, key) in WORKS {
        let count = gguf.get(&format!("{key}.count")).and_then(|count| count.as_u64()).unwrap_or(0);
        let mut works = Vec::new();
        for number in 0..usize::try_from(count).unwrap_or(0).min(ITEMS) {
            let part = |what: &str| gguf.get(&format!("{key}.{number}.{what}")).and_then(|value| value.as_str());
            let Some(work) = part("repo_url").or_else(|| part("name")) else { continue };
            works.push(work.strip_prefix(HUB).unwrap_or(work).to_owned());
            known.extend(["name", "organization", "repo_url"].map(|what| format!("{key}.{number}.{what}")));
        }
        list(names[0], &works);
        known.push(format!("{key}.count"));
    }
    let left: Vec<&str> = gguf
        .metadata()
        .map(|(key, _)| key)
        .filter(|key| is_about(key) && !known.iter().any(|each| each == key))
        .collect();
    if !left.is_empty() {
        report.note(format!("a directory has no file for {}", left.join(", ")));
    }
    if text.is_empty() { Ok(()) } else { put(&folder.join(README), format!("---\n{text}---\n").as_bytes()) }
}

/// Whether a key says who made a model and on what terms.
fn is_about(key: &str) -> bool {
    const PARTS: &[&str] = &[
        "author",
        "organization",
        "version",
        "license",
        "url",
        "repo_url",
        "doi",
        "uuid",
        "description",
        "tags",
        "languages",
        "base_model",
        "dataset",
        "source",
        "quantized_by",
    ];
    key.strip_prefix("general.").is_some_and(|rest| PARTS.iter().any(|part| rest.split('.').next() == Some(*part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_read_as_far_as_it_is_plain() {
        let check = |text: &str, expected: &[(&str, &[&str])]| {
            let found = front_matter(text);
            let found: Vec<(&str, Vec<&str>)> =
                found.iter().map(|(key, values)| (key.as_str(), values.iter().map(String::as_str).collect())).collect();
            let expected: Vec<(&str, Vec<&str>)> =
                expected.iter().map(|(key, values)| (*key, values.to_vec())).collect();
            assert_eq!(found, expected, "{text:?}");
        };
        check("# A model\n", &[]);
        check("", &[]);
        check("---\nlicense: mit\n", &[("license", &["mit"])]);
        check("---\r\nlicense: mit # free\r\n---\r\nlicense: no\r\n", &[("license", &["mit"])]);
        check(
            "---\nlanguage:\n- en\n  - \"no\"\n# two\n- 'it''s'\ntags: [a, \"b\"]\n---\n",
            &[("language", &["en", "no", "it's"]), ("tags", &["a", "b"])],
        );
        // What is nested, folded or none is left out, and what belongs to it too.
        check(
            "---\nmodel-index:\n- name: x\n  results:\n  - y\nwidget: |\n  license: gpl\nlicense: ~\n---\n",
            &[("model-index", &[]), ("widget", &[]), ("license", &[])],
        );
    }

    #[test]
    fn scalars_are_written_so_that_they_are_read_the_same() {
        for text in ["mit", "no", "1.0", "a: b", "# x", "a\nb", "it's \"so\"", "", "org/name-1.5", "true", "äöü"] {
            let back = scalar(&written(text));
            assert_eq!(back.as_deref(), Some(text), "{}", written(text));
        }
    }
}
