//! The second training: on from the first, with utterances that the teacher has named.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};

use crate::augment::Augmentation;
use crate::blend::blend;
use crate::distil::{Told, candidates, lesson};
use crate::elsewhere::Elsewhere;
use crate::judge::{Answer, judge};
use crate::lines::{Variations, chat, varied, write};
use crate::make::Make;
use crate::near::Near;
use crate::split::Split;
use crate::teacher::Teacher;
use crate::{Call, Chance, Example, OUT_OF_SCOPE, Source, vectors};

/// Utterances made of each, for the teacher to name.
const TIMES: u64 = 10;
/// Utterances of each of SNIPS' intents that the teacher learns from: as many as CLINC150 has of one.
const OF_SNIPS: usize = 100;
/// Utterances that are made up and out of scope, which the teacher learns from.
const MADE_UP: usize = 300;
/// The lines that stand beside what the teacher has named.
const BESIDE: Variations = Variations { slots: 3, others: 0 };

/// How far from the first model to the second the one lies that is shipped.
const SHARE: f32 = 0.5;

/// Makes `second.jsonl` and `second.toml`, of `trained.gguf` with these `taught.gguf`, and between the two `blended.gguf`.
///
/// # Errors
/// What a step says.
pub fn run(make: &Make, parts: &Split, words: &BTreeMap<String, usize>) -> anyhow::Result<()> {
    make.once("lessons.jsonl", |path| write(path, &lessons(make, parts, words)?))?;
    make.once("second.jsonl", |path| {
        let how = Augmentation { swap: 60, listed: 60, ..Augmentation::default() };
        let mut lines = varied(&parts.learn, BESIDE, how, make.seed + 1);
        lines.extend(std::fs::read_to_string(make.file("lessons.jsonl"))?.lines().map(str::to_owned));
        Chance::new(make.seed + 1).shuffle(&mut lines);
        write(path, &lines)
    })?;
    make.once("second.toml", |path| write(path, &[onward(&std::fs::read_to_string(make.file("spec.toml"))?)?]))?;
    make.train("second.toml", "second.jsonl", "taught.gguf")?;
    make.once("blended.gguf", |path| blend(&make.file("trained.gguf"), &make.file("taught.gguf"), SHARE, path))
}

/// The spec of the second training: all of the first model, and smaller steps.
///
/// # Errors
/// Where the first spec does not say what is changed.
pub fn onward(spec: &str) -> anyhow::Result<String> {
    let changes = [
        ("embeddings = \"vectors.jsonl\"\nlooks_back = [1, 2]\n", "model = \"trained.gguf\"\n"),
        ("\nrate = 1.5e-3\n", "\nrate = 1e-3\n"),
    ];
    let mut spec = spec.to_owned();
    for (from, to) in changes {
        if spec.matches(from).count() != 1 {
            bail!("the spec has no {from:?}");
        }
        spec = spec.replace(from, to);
    }
    Ok(spec)
}

/// Chats of the utterances that the teacher has named.
fn lessons(make: &Make, parts: &Split, words: &BTreeMap<String, usize>) -> anyhow::Result<Vec<String>> {
    let pupils = pupils(&parts.learn, make.seed);
    let texts: Vec<String> = pupils.iter().map(Example::text).collect();
    let intents: Vec<&str> = pupils.iter().map(|example| example.intent.as_str()).collect();
    let found = embedded(make, "told.txt", &texts)?;
    let teacher = Teacher::learn(&found, &intents, make.seed);
    report(make, parts, &teacher)?;

    let told = texts.iter().zip(&intents).zip(&found);
    let told: Vec<Told<'_>> = told.map(|((text, intent), vector)| Told { text, intent, vector }).collect();
    let made = candidates(&told, &near(make, words)?, TIMES, make.seed);
    write(&make.file("candidates.txt"), &made)?;
    // Calls of these names have slots, of which the teacher knows nothing.
    let slots: BTreeSet<&str> =
        parts.learn.iter().filter(|example| example.source == Source::Snips).map(|example| &*example.intent).collect();
    let (mut texts, mut lines, mut strangers) = (made.iter(), Vec::new(), 0);
    make.embed(&make.file("candidates.txt"), &mut |vector| {
        let text = texts.next().context("more vectors than utterances")?;
        if let Some(intent) = lesson(&teacher.judge(&vector)).filter(|intent| !slots.contains(intent)) {
            strangers += usize::from(intent == OUT_OF_SCOPE);
            lines.push(chat(text, &Call::named(intent).json()));
        }
        Ok(())
    })?;
    if texts.next().is_some() {
        bail!("fewer vectors than utterances");
    }
    eprintln!("the teacher has named {} of {} utterances, {strangers} of them out of scope", lines.len(), made.len());
    Ok(lines)
}

/// What the teacher learns from: CLINC150's utterances, as many of each of SNIPS' intents, and some that are made up.
fn pupils(learn: &[Example], seed: u64) -> Vec<Example> {
    let mut pupils: Vec<Example> = learn.to_vec();
    Chance::of(&format!("{seed} teacher")).shuffle(&mut pupils);
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    pupils.retain(|example| {
        let count = taken.entry(example.intent.clone()).or_default();
        *count += usize::from(example.source == Source::Snips);
        example.source != Source::Snips || *count <= OF_SNIPS
    });
    let (elsewhere, mut chance) = (Elsewhere::default(), Chance::of(&format!("{seed} teacher elsewhere")));
    pupils.extend((0..MADE_UP).map(|_| elsewhere.utterance(&mut chance)));
    pupils
}

/// What the teacher itself gets right of what choices are made by.
fn report(make: &Make, parts: &Split, teacher: &Teacher) -> anyhow::Result<()> {
    let texts: Vec<String> = parts.choose.iter().map(Example::text).collect();
    let found = embedded(make, "choose.txt", &texts)?;
    let answer = |vector: &Vec<f32>| {
        let judgement = teacher.judge(vector);
        Answer { call: Some(Call::named(judgement.name)), confidence: f64::from(judgement.probability) }
    };
    let answers: Vec<Answer> = found.iter().map(answer).collect();
    for threshold in [0.0, 0.2, 0.3] {
        let figures = judge(&parts.choose, &answers, threshold);
        let (in_scope, out_of_scope) = (figures.in_scope.percent(), figures.out_of_scope.percent());
        eprintln!("the teacher, from {threshold} on: {in_scope:.1} in scope, {out_of_scope:.0} out of scope");
    }
    Ok(())
}

/// Near words among those that are said more than once and are made of letters.
fn near(make: &Make, words: &BTreeMap<String, usize>) -> anyhow::Result<Near> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for (word, count) in words {
        *counts.entry(word.to_lowercase()).or_default() += count;
    }
    let asked = vectors::asked(words);
    let found = vectors::read(&std::fs::read_to_string(make.file("words.vectors"))?, asked.len())?;
    let may = |word: &String| counts.get(word).is_some_and(|&count| count > 1) && word.chars().all(char::is_alphabetic);
    let (words, found): (Vec<String>, Vec<Vec<f32>>) = asked
        .into_iter()
        .zip(found)
        .filter(|(word, _)| may(word))
        .map(|(word, vector)| (word, vector.into_iter().map(|x| x as f32).collect()))
        .unzip();
    Ok(Near::of(&words, &found))
}

fn embedded(make: &Make, name: &str, texts: &[String]) -> anyhow::Result<Vec<Vec<f32>>> {
    write(&make.file(name), texts)?;
    let mut found = Vec::new();
    make.embed(&make.file(name), &mut |vector| {
        found.push(vector);
        Ok(())
    })?;
    if found.len() != texts.len() {
        bail!("{name}: expected {} vectors, found {}", texts.len(), found.len());
    }
    Ok(found)
}
