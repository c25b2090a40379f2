//! The data doctor: what is wrong with a file of examples before anything is learned from it.
//!
//! One pass over the rows, linear in their length: damaged rows, duplicates and nearly so, what leaks into validation, answers
//! that are empty or contradict each other, labels that are rare, lengths, personal data, and advice on what is missing.

mod content;
mod near;
mod personal;
mod report;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher as _, RandomState};
use std::io::Write;
use std::path::Path;

pub use personal::{Personal, find as find_personal};
pub use report::{Finding, Kind, Label, Lengths, Report, Severity};

use crate::TrainError;
use crate::data::{Compared, Encoder, Form, Learning, Record, Rows, Shape};
use content::{Content, declines};

/// What rows are held against.
#[derive(Default)]
pub struct Against<'a> {
    /// A model's encoder, and most tokens of an example.
    pub model: Option<(&'a Encoder<'a>, usize)>,
    /// A file of examples to measure on.
    pub validation: Option<&'a Path>,
}

/// What is kept of a row.
struct Seen {
    line: usize,
    whole: u64,
    prompt: u64,
    answer: u64,
    rejected: Option<u64>,
    good: Option<bool>,
    asks: bool,
    empty: bool,
    label: Option<String>,
    calls: bool,
    declines: bool,
    learning: Learning,
}

/// Words of all texts, without what stands between them: the same whatever their spaces are.
fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(word);
    }
    out
}

/// Rows of a file as they are compared.
struct Gathered {
    report: Report,
    seen: Vec<Seen>,
    shingles: Vec<Vec<u32>>,
}

fn gather(
    path: &Path,
    rows: &Rows,
    hasher: &RandomState,
    model: Option<(&Encoder<'_>, usize)>,
    personal: bool,
) -> Result<Gathered, TrainError> {
    let (form, place) = (rows.form().name().to_owned(), rows.form().place());
    let report = Report { path: path.to_owned(), form, place, ..Report::default() };
    let mut all = Gathered { report, seen: Vec::new(), shingles: Vec::new() };
    let (mut shapes, mut kinds) = (BTreeMap::<Shape, usize>::new(), BTreeMap::<Personal, usize>::new());
    let (mut characters, mut tokens) = (Vec::new(), Vec::new());
    rows.each(|row| -> Result<(), TrainError> {
        all.report.rows += 1;
        let line = if place == "line" { row.line } else { all.report.rows };
        let in_line = if rows.form() == Form::List { format!(" (line {})", row.line) } else { String::new() };
        let note = |kind: Kind, text: String| Finding { kind, line: Some(line), other: None, text };
        let parsed = row.value.and_then(|row| {
            let shape = Shape::of(&row)?;
            Ok((shape, Record::of(shape, &row)?))
        });
        let (shape, record) = match parsed {
            Ok(parsed) => parsed,
            Err(problem) => {
                all.report.findings.push(note(Kind::Malformed, problem + &in_line));
                return Ok(());
            }
        };
        *shapes.entry(shape).or_default() += 1;
        let content = Content::of(&record);
        if let Some((encoder, limit)) = model {
            match lengths(encoder, &record, limit) {
                Ok(length) => {
                    tokens.push(length);
                    if length > limit {
                        let text = format!("{length} tokens, and {limit} are the most");
                        all.report.findings.push(note(Kind::TooLong, text));
                    }
                }
                // An empty answer is told as such.
                Err(_) if content.empty > 0 => {}
                Err(problem) => {
                    all.report.findings.push(note(Kind::Malformed, problem));
                    return Ok(());
                }
            }
        }
        let whole = content.whole();
        characters.push(whole.chars().count().saturating_sub(3));
        if personal {
            let mut found = find_personal(&whole);
            found.dedup();
            for (kind, _) in &found {
                *kinds.entry(*kind).or_default() += 1;
            }
            if !found.is_empty() {
                let words: Vec<String> =
                    found.iter().take(4).map(|(kind, masked)| format!("{} {masked}", kind.name())).collect();
                let more = if found.len() > 4 { format!(" and {} more", found.len() - 4) } else { String::new() };
                all.report.findings.push(note(Kind::Personal, words.join(", ") + &more));
            }
        }
        let key = |text: &str| hasher.hash_one(plain(text));
        let parts = (key(&content.prompt), key(&content.answer), content.rejected.as_deref().map(key), content.good);
        all.shingles.push(near::shingles(&whole));
        all.seen.push(Seen {
            line,
            whole: hasher.hash_one(parts),
            prompt: key(&content.prompt),
            answer: key(&content.answer),
            rejected: content.rejected.as_deref().map(key),
            good: content.good,
            asks: !content.prompt.trim().is_empty(),
            empty: content.empty > 0,
            declines: declines(&content),
            label: content.label,
            calls: content.calls,
            learning: shape.learning(),
        });
        Ok(())
    })?;
    all.report.shapes = shapes.into_iter().map(|(shape, rows)| (shape.name().to_owned(), rows)).collect();
    all.report.personal = kinds.into_iter().collect();
    all.report.characters = summary(characters, None);
    all.report.tokens = model.map(|(_, limit)| summary(tokens, Some(limit)));
    Ok(all)
}

/// Tokens of a row's longest example.
fn lengths(encoder: &Encoder<'_>, record: &Record, limit: usize) -> Result<usize, String> {
    let longest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0);
    match record {
        Record::Pair { .. } => {
            let made = encoder.compare(record, Compared::Pairs, limit)?;
            Ok(longest(&mut made.iter().flat_map(|one| one.answers()).map(|example| example.tokens.len())))
        }
        Record::Judged { .. } => {
            let made = encoder.compare(record, Compared::Singles, limit)?;
            Ok(longest(&mut made.iter().flat_map(|one| one.answers()).map(|example| example.tokens.len())))
        }
        Record::Text(_) | Record::Completion { .. } | Record::Chat { .. } => {
            let made = encoder.encode(record, limit)?;
            Ok(longest(&mut made.iter().map(|example| example.tokens.len())))
        }
    }
}

fn summary(mut lengths: Vec<usize>, limit: Option<usize>) -> Lengths {
    lengths.sort_unstable();
    let at = |share: f64| {
        let place = (lengths.len() as f64 * share).ceil() as usize;
        lengths.get(place.saturating_sub(1)).copied().unwrap_or(0)
    };
    Lengths { median: at(0.5), most: at(0.95), longest: at(1.0), limit }
}

/// Looks through a file.
///
/// # Errors
/// A file that cannot be read at all. What is wrong with its rows is in the report.
pub fn check(path: &Path, against: &Against<'_>) -> Result<Report, TrainError> {
    check_rows(path, &Rows::read(path)?, against)
}

/// The same with a file that has been read.
///
/// # Errors
/// A validation file that cannot be read.
pub fn check_rows(path: &Path, rows: &Rows, against: &Against<'_>) -> Result<Report, TrainError> {
    let hasher = RandomState::new();
    let kept = match against.validation {
        Some(path) => Some(gather(path, &Rows::read(path)?, &hasher, None, false)?),
        None => None,
    };
    let Gathered { mut report, seen, shingles } = gather(path, rows, &hasher, against.model, true)?;
    let place = report.place;
    let kept = kept.unwrap_or(Gathered { report: Report::default(), seen: Vec::new(), shingles: Vec::new() });
    let mut find = |kind: Kind, line: usize, other: usize, text: String| {
        report.findings.push(Finding { kind, line: Some(line), other: Some(other), text });
    };
    let mut removed = HashSet::new();
    let mut wholes: HashMap<u64, usize> = HashMap::new();
    for row in &seen {
        if let Some(first) = wholes.get(&row.whole) {
            find(Kind::Duplicate, row.line, *first, format!("the same as {place} {first}"));
            removed.insert(row.line);
        } else {
            wholes.insert(row.whole, row.line);
        }
    }
    let before = kept.seen.len();
    // Validation comes first, so that what is like it is found by it.
    let mut texts = kept.shingles;
    texts.extend(shingles);
    let mut near = near::nearly_the_same(&mut texts);
    drop(texts);
    let near = near.split_off(before);
    let known: HashMap<u64, usize> = kept.seen.iter().map(|row| (row.whole, row.line)).collect();
    let asked: HashMap<u64, usize> =
        kept.seen.iter().filter(|row| row.asks).map(|row| (row.prompt, row.line)).collect();
    for (row, near) in seen.iter().zip(near) {
        let leak = known.get(&row.whole).map(|line| (*line, "the same as"));
        let leak = leak.or_else(|| asked.get(&row.prompt).filter(|_| row.asks).map(|line| (*line, "asks the same as")));
        let like = near.filter(|other| *other < before).map(|other| (kept.seen[other].line, "nearly the same as"));
        if let Some((line, how)) = leak.or(like) {
            find(Kind::Leak, row.line, line, format!("{how} {} {line} of the validation file", kept.report.place));
        }
        if let Some(other) = near.and_then(|other| other.checked_sub(before)).map(|other| &seen[other])
            && !removed.contains(&row.line)
            // The same question with another answer is told as such.
            && !(row.asks && row.prompt == other.prompt && row.answer != other.answer)
        {
            find(Kind::NearDuplicate, row.line, other.line, format!("nearly the same as {place} {}", other.line));
        }
    }
    contradictions(&seen, &removed, place, &mut find);
    for row in seen.iter().filter(|row| row.empty) {
        let text = "an answer without a word";
        report.findings.push(Finding { kind: Kind::Empty, line: Some(row.line), other: None, text: text.into() });
    }
    if let Some(first) = seen.first() {
        for row in seen.iter().filter(|row| row.learning != first.learning) {
            let text = match row.learning {
                Learning::Answers => format!("an answer to learn, where {place} {} is to be compared", first.line),
                Learning::Comparisons => format!("answers to compare, where {place} {} is one to learn", first.line),
            };
            let other = Some(first.line);
            report.findings.push(Finding { kind: Kind::Mixed, line: Some(row.line), other, text });
        }
    }
    labels(&seen, &mut report);
    report.findings.sort_by_key(|finding| (finding.kind, finding.line));
    report.advice = advice(&report, &seen, against.validation.is_some());
    Ok(report)
}

fn contradictions(
    seen: &[Seen],
    removed: &HashSet<usize>,
    place: &str,
    find: &mut dyn FnMut(Kind, usize, usize, String),
) {
    // By prompt the first answer; by prompt and answer the first line that calls it good, or bad.
    let mut answers: HashMap<u64, (u64, usize)> = HashMap::new();
    let mut judged: HashMap<(u64, u64), (Option<usize>, Option<usize>)> = HashMap::new();
    for row in seen.iter().filter(|row| !removed.contains(&row.line)) {
        let judgements = match (row.rejected, row.good) {
            (Some(rejected), _) if rejected == row.answer => {
                find(Kind::Contradiction, row.line, row.line, "the chosen answer is the rejected one".into());
                continue;
            }
            (Some(rejected), _) => vec![(row.answer, true), (rejected, false)],
            (None, Some(good)) => vec![(row.answer, good)],
            (None, None) => {
                if row.asks && !row.empty {
                    let (answer, line) = *answers.entry(row.prompt).or_insert((row.answer, row.line));
                    if answer != row.answer {
                        find(
                            Kind::Contradiction,
                            row.line,
                            line,
                            format!("asks the same as {place} {line}, which answers otherwise"),
                        );
                    }
                }
                continue;
            }
        };
        for (answer, good) in judgements {
            let (liked, disliked) = judged.entry((row.prompt, answer)).or_default();
            let (mine, other) = if good { (liked, disliked) } else { (disliked, liked) };
            if let Some(line) = *other {
                let (now, then) = if good { ("good", "bad") } else { ("bad", "good") };
                find(
                    Kind::Contradiction,
                    row.line,
                    line,
                    format!("calls an answer {now} that {place} {line} calls {then}"),
                );
            }
            mine.get_or_insert(row.line);
        }
    }
}

/// Rows from which on labels are looked for, and rows that a label has at least, on average.
const ENOUGH: usize = 20;
const PER_LABEL: usize = 4;
/// Rows of a label that are too few to learn it from.
const RARE: usize = 5;
/// How much rarer than the median of labels is much rarer.
const RARER: usize = 10;

fn labels(seen: &[Seen], report: &mut Report) {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for label in seen.iter().filter_map(|row| row.label.as_deref()) {
        *counts.entry(label).or_default() += 1;
    }
    let labelled: usize = counts.values().sum();
    // Nearly all answers are of a few: a classification, or calls.
    if seen.len() < ENOUGH || labelled * 10 < seen.len() * 9 || counts.len() < 2 || counts.len() * PER_LABEL > labelled
    {
        return;
    }
    let mut list: Vec<Label> =
        counts.into_iter().map(|(label, rows)| Label { label: label.to_owned(), rows }).collect();
    list.sort_by(|one, other| other.rows.cmp(&one.rows).then_with(|| one.label.cmp(&other.label)));
    let median = list[list.len() / 2].rows;
    let shorten = |label: &str| label.chars().take(60).collect::<String>();
    for label in list.iter().filter(|label| label.rows < RARE || label.rows * RARER < median) {
        let text = format!("`{}` has {} of {labelled} rows", shorten(&label.label), label.rows);
        report.findings.push(Finding { kind: Kind::Imbalance, line: None, other: None, text });
    }
    if let Some(first) = list.first().filter(|first| first.rows * 2 > labelled && list.len() > 2) {
        let text =
            format!("`{}` has {} of {labelled} rows, more than all others together", shorten(&first.label), first.rows);
        report.findings.push(Finding { kind: Kind::Imbalance, line: None, other: None, text });
    }
    report.labels = list;
}

fn advice(report: &Report, seen: &[Seen], validation: bool) -> Vec<String> {
    let mut advice = Vec::new();
    let left_out: HashSet<usize> =
        report.findings.iter().filter(|finding| finding.kind.is_removed()).filter_map(|finding| finding.line).collect();
    let good = report.rows - left_out.len().min(report.rows);
    if good < 500 {
        advice.push(format!(
            "{good} good rows: 500 to 1,000 that are right and varied are a good size; fewer teach a manner, hardly a task"
        ));
    }
    let answers = seen.iter().filter(|row| row.asks).count();
    let declined = seen.iter().filter(|row| row.declines || row.good == Some(false) || row.rejected.is_some()).count();
    let uncalled = seen.iter().filter(|row| !row.calls).count();
    let calls = seen.len() - uncalled;
    if answers > 0 && declined == 0 && (calls == 0 || uncalled == 0) {
        advice.push(match calls {
            0 => "no answer declines: add negative examples (5 to 10 of 100), questions that it should not answer, with what \
                  it should say then"
                .into(),
            _ => "every answer calls a tool: add negative examples (5 to 10 of 100), requests that no tool is for, with what \
                  it should say then"
                .into(),
        });
    }
    if !validation {
        advice.push(
            "no validation file: keep 5 to 10 of 100 rows apart (--validation FILE here, --validation FILE or 0.1 in `bantam \
             tune`), or nobody can tell learning from learning by heart"
                .into(),
        );
    }
    if report.tokens.is_none() {
        advice.push(
            "no model: with --model MODEL lengths are counted in its tokens, and its chat template is tried".into(),
        );
    }
    advice
}

/// What a mended file leaves out: the line and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Removed {
    /// The line.
    pub line: usize,
    /// Why.
    pub kind: Kind,
    /// In words.
    pub text: String,
}

/// Writes the rows that nothing speaks against as lines of JSON, each as it was, and says which ones it leaves out. Rows that
/// contradict each other or hold personal data stay: a person has to decide on those.
///
/// # Errors
/// A file that cannot be read any more, or what writing says.
pub fn mend(report: &Report, out: &mut dyn Write) -> Result<Vec<Removed>, TrainError> {
    let mut removed: BTreeMap<usize, Removed> = BTreeMap::new();
    for finding in report.findings.iter().filter(|finding| finding.kind.is_removed()) {
        if let Some(line) = finding.line {
            let Finding { kind, text, .. } = finding;
            removed.entry(line).or_insert_with(|| Removed { line, kind: *kind, text: text.clone() });
        }
    }
    let failed = |error: std::io::Error| TrainError::Read { path: report.path.clone(), problem: error.to_string() };
    let mut number = 0;
    Rows::read(&report.path)?.each(|row| -> Result<(), TrainError> {
        number += 1;
        let line = if report.place == "line" { row.line } else { number };
        let (false, Ok(value)) = (removed.contains_key(&line), &row.value) else { return Ok(()) };
        let line = match row.text {
            Some(text) => text.trim().to_owned(),
            None => serde_json::Value::Object(value.clone()).to_string(),
        };
        writeln!(out, "{line}").map_err(failed)
    })?;
    Ok(removed.into_values().collect())
}
