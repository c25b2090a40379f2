//! The recipe's own steps, on a few utterances and, where they are, on the data sets.
#![allow(missing_docs)]

mod make;

use std::collections::{BTreeSet, HashSet};

use assistant_recipe::augment::{Augmentation, Values, cross, vary};
use assistant_recipe::distil::{Told, candidates, lesson};
use assistant_recipe::elsewhere::Elsewhere;
use assistant_recipe::judge::{Answer, judge, threshold};
use assistant_recipe::near::Near;
use assistant_recipe::second::onward;
use assistant_recipe::spec::spec;
use assistant_recipe::split::split;
use assistant_recipe::teacher::Judgement;
use assistant_recipe::{Call, Chance, Example, Fragment, OUT_OF_SCOPE, Source, read};

fn example(intent: &str, source: Source, stretches: &[(&str, &str)]) -> Example {
    let fragment = |(text, slot): &(&str, &str)| Fragment {
        text: (*text).to_owned(),
        slot: (!slot.is_empty()).then(|| (*slot).to_owned()),
    };
    Example { intent: intent.to_owned(), fragments: stretches.iter().map(fragment).collect(), source, marked: true }
}

fn song() -> Example {
    example(
        "PlayMusic",
        Source::Snips,
        &[
            ("Play ", ""),
            ("\"Heroes\"", "track"),
            (" by ", ""),
            ("David Bowie", "artist"),
            (" and ", ""),
            ("Queen", "artist"),
            ("\n", ""),
        ],
    )
}

#[test]
fn a_call_is_one_line_of_json_and_back() {
    let check = |example: &Example, expected: &str| {
        let call = example.call();
        assert_eq!(call.json(), expected);
        assert_eq!(Call::parse(expected).unwrap(), call);
    };
    check(
        &song(),
        r#"{"name": "PlayMusic", "arguments": {"track": "\"Heroes\"", "artist": ["David Bowie", "Queen"]}}"#,
    );
    check(&example(OUT_OF_SCOPE, Source::ClincTrain, &[("eh", "")]), r#"{"name": "out_of_scope", "arguments": {}}"#);
    assert_eq!(song().text(), "Play \"Heroes\" by David Bowie and Queen");

    let refused = |json: &str, expected: &str| {
        let error = format!("{:#}", Call::parse(json).unwrap_err());
        assert!(error.contains(expected), "{error}");
    };
    refused("{", "not JSON");
    refused("[]", "expected an object");
    refused(r#"{"name": 1, "arguments": {}}"#, "name: expected a string");
    refused(r#"{"name": "a"}"#, "arguments: expected an object");
    refused(r#"{"name": "a", "arguments": {}, "more": 1}"#, "found \"more\"");
    refused(r#"{"name": "a", "arguments": {"slot": [1]}}"#, "slot: expected a string");
}

#[test]
fn a_variation_is_a_function_of_its_seed_and_keeps_slots_in_its_words() {
    let others = [song(), example("PlayMusic", Source::Snips, &[("put on ", ""), ("Nina Simone", "artist")])];
    let values = Values::of(&others);
    let always = Augmentation { swap: 100, listed: 25, lower: 50, mistype: 50, drop: 50, frame: 50, end: 50 };
    let mut seen = HashSet::new();
    for seed in 0..200 {
        let varied = vary(&song(), &values, always, &mut Chance::new(seed));
        assert_eq!(varied, vary(&song(), &values, always, &mut Chance::new(seed)));
        for (slot, value) in varied.call().pairs() {
            assert!(varied.text().contains(value), "{slot} {value} is not in {}", varied.text());
        }
        let slots: Vec<String> = varied.call().arguments.into_iter().map(|(slot, _)| slot).collect();
        assert_eq!(slots, ["track", "artist"]);
        seen.insert(varied.text());
    }
    assert!(seen.len() > 100, "{} kinds", seen.len());
    let never = Augmentation { swap: 0, listed: 0, lower: 0, mistype: 0, drop: 0, frame: 0, end: 0 };
    assert_eq!(vary(&song(), &values, never, &mut Chance::new(1)), song());
}

#[test]
fn utterances_of_one_intent_are_crossed_where_they_have_no_slots() {
    let plain = |text: &str| example("timer", Source::ClincTrain, &[(text, "")]);
    let (one, other) = (plain("wake me in ten minutes"), plain("set a timer for the eggs"));
    let mut seen = HashSet::new();
    for seed in 0..50 {
        let crossed = cross(&one, &other, &mut Chance::new(seed)).unwrap();
        assert!(
            crossed.text().starts_with("wake me") && crossed.text().ends_with("for the eggs"),
            "{}",
            crossed.text()
        );
        assert_eq!(crossed.call(), one.call());
        seen.insert(crossed.text());
    }
    assert!(seen.len() > 3 && seen.contains("wake me in ten minutes set a timer for the eggs"), "{seen:?}");
    assert!(cross(&song(), &one, &mut Chance::new(1)).is_none());
    assert!(cross(&one, &plain("a timer please"), &mut Chance::new(1)).is_none());
}

#[test]
fn what_is_made_up_is_out_of_scope_and_has_no_gaps() {
    let (elsewhere, mut seen) = (Elsewhere::default(), HashSet::new());
    for seed in 0..2000 {
        let made = elsewhere.utterance(&mut Chance::new(seed));
        let text = made.text();
        assert_eq!(made.call(), Call::named(OUT_OF_SCOPE));
        assert!(!text.contains(['{', '}']) && !text.contains("  ") && text == text.to_lowercase(), "{text}");
        seen.insert(text);
    }
    assert!(seen.len() > 1500, "{} kinds", seen.len());
}

#[test]
fn what_the_teacher_is_asked_about_is_made_of_words_and_pieces() {
    let words = ["egg", "eggs", "omelette", "timer", "clock"].map(str::to_owned);
    let vectors = [[1.0, 0.0], [1.0, 0.1], [0.9, 0.2], [0.0, 1.0], [0.1, 1.0]].map(|vector| vector.to_vec());
    let near = Near::of(&words, &vectors);
    let told = [
        ("set a timer for the eggs", "timer", [1.0, 0.0]),
        ("wake me in ten minutes", "timer", [0.8, 0.6]),
        ("how long do eggs cook?", "cook_time", [0.6, 0.8]),
    ];
    let told = told.each_ref().map(|(text, intent, vector)| Told { text, intent, vector });
    let made = candidates(&told, &near, 100, 1);
    assert_eq!(made, candidates(&told, &near, 100, 1));
    let distinct: HashSet<&String> = made.iter().collect();
    assert!(distinct.len() == made.len() && made.len() > 80, "{} of {}", distinct.len(), made.len());
    for text in &made {
        assert!(told.iter().all(|told| told.text != text), "{text}");
        let known = |word: &str| {
            let bare = word.trim_end_matches('?').to_owned();
            words.contains(&bare) || told.iter().any(|told| told.text.split(' ').any(|other| other == word))
        };
        assert!(text.split(' ').all(known), "{text:?}");
    }
    for expected in ["set a clock for the eggs", "how long do omelette cook?", "set a me in ten minutes"] {
        assert!(made.iter().any(|text| text == expected), "{expected}: {made:?}");
    }

    let check = |probability: f32, expected: Option<&str>| {
        assert_eq!(lesson(&Judgement { name: "timer", probability }), expected, "{probability}");
    };
    check(0.9, Some("timer"));
    check(0.3, None);
    check(0.05, Some(OUT_OF_SCOPE));
}

#[test]
fn the_second_spec_goes_on_from_the_first_model() {
    let first = spec(&[song()]);
    let second = onward(&first).unwrap();
    assert!(second.contains("[begin]\nmodel = \"trained.gguf\"\n\n[training]"), "{second}");
    assert!(first.contains("looks_back") && !second.contains("looks_back") && !second.contains("vectors.jsonl"));
    // It is changed where it says how, and nowhere twice.
    assert!(onward(&second).is_err());
}

#[test]
fn figures_count_intents_slots_and_what_is_out_of_scope() {
    let other = |intent: &str| example(intent, Source::ClincValidation, &[("so", "")]);
    let examples = [song(), song(), song(), other("timer"), other("alarm"), other(OUT_OF_SCOPE), other(OUT_OF_SCOPE)];
    let answer = |call: Option<Call>, confidence: f64| Answer { call, confidence };
    let mut half = Call::named("PlayMusic");
    half.add("artist", "Queen");
    half.add("artist", "Queen");
    let answers = [
        answer(Some(song().call()), 0.9),
        answer(Some(half), 0.8),
        answer(None, 0.9),
        answer(Some(Call::named("timer")), 0.6),
        answer(Some(Call::named("timer")), 0.3),
        answer(Some(Call::named(OUT_OF_SCOPE)), 0.9),
        answer(Some(Call::named("alarm")), 0.4),
    ];
    let figures = judge(&examples, &answers, 0.0);
    let share = |share: assistant_recipe::judge::Share| (share.right, share.of);
    assert_eq!(share(figures.snips_intent), (2, 3));
    assert_eq!(share(figures.snips_call), (1, 3));
    assert_eq!(share(figures.slot_precision), (4, 5));
    assert_eq!(share(figures.slot_recall), (4, 9));
    assert_eq!(share(figures.in_scope), (1, 2));
    assert_eq!(share(figures.out_of_scope), (1, 2));
    assert_eq!(figures.invalid, 1);
    assert!((figures.slot_f1() - 100.0 * 2.0 * 0.8 * (4.0 / 9.0) / (0.8 + 4.0 / 9.0)).abs() < 1e-9);

    let chosen = threshold(&examples, &answers, 50.0);
    assert!((chosen - 0.6).abs() < 1e-9, "{chosen}");
    assert_eq!(share(judge(&examples, &answers, chosen).out_of_scope), (2, 2));
    assert!(threshold(&examples, &answers, 51.0).abs() < 1e-9);
}

#[test]
fn the_data_sets_are_read_whole_and_split_apart() {
    let Some(directory) = bantam_testkit::shared_dir() else { return };
    let examples = read(&directory.join("data/assistant")).unwrap();
    let count = |source: Source| examples.iter().filter(|example| example.source == source).count();
    assert_eq!(
        [count(Source::Snips), count(Source::ClincTrain), count(Source::ClincValidation)],
        [13_784, 15_100, 3_100]
    );
    let intents: BTreeSet<&str> = examples.iter().map(|example| example.intent.as_str()).collect();
    assert_eq!(intents.len(), 7 + 150 - 4 + 1);
    for example in &examples {
        let (text, call) = (example.text(), example.call());
        assert!(call.pairs().all(|(_, value)| text.contains(value)), "{text}: {}", call.json());
        assert!(!text.contains('\u{FFFD}'), "{text}");
    }
    let parts = split(examples);
    let keys = |part: &[Example]| part.iter().map(Example::key).collect::<HashSet<String>>();
    let (learn, choose, measure) = (keys(&parts.learn), keys(&parts.choose), keys(&parts.measure));
    assert!(learn.is_disjoint(&choose) && learn.is_disjoint(&measure) && choose.is_disjoint(&measure));
    println!("{} to learn, {} to choose by, {} to measure", parts.learn.len(), parts.choose.len(), parts.measure.len());
    assert!(parts.learn.len() > 25_000 && parts.measure.len() > 3_500 && parts.choose.len() > 1_200);
}
