//! Calls whose arguments are stretches of an utterance: what is let through, what is not, and how sure a model is.

use bantam_constrain::{CallForms, Calls, Session};
use bantam_text::training::{BpeOptions, BpeTrainer};
use bantam_text::{Special, Tokenizer};

const FORMS: &str = r#"{
    "calls": {"Play": ["artist", "track", "genre"], "timer": [], "timers": [], "none": []},
    "none": "none", "least": 0.4, "calibration": [1, 0]
}"#;

fn tokenizer() -> Tokenizer {
    let user_defined: Vec<String> =
        [" ", "{\"name\": \"timer\", \"arguments\": {}}", "\", \"track\": \"", "\"}}"].map(str::to_owned).into();
    let mut trainer = BpeTrainer::new("gpt-2").unwrap().taking_out(&user_defined).unwrap();
    trainer.feed("play play jazz jazz by by Nina Nina").unwrap();
    let options = BpeOptions { size: 290, specials: vec!["<e>".into()], user_defined, least_count: 2 };
    let mut vocabulary = trainer.finish(&options, |_| {}).unwrap();
    vocabulary.eos = Some(0);
    Tokenizer::from_vocabulary(vocabulary).unwrap()
}

fn calls(tokenizer: &Tokenizer) -> Calls {
    Calls::new(tokenizer, &CallForms::parse(FORMS).unwrap())
}

/// Feeds an answer token by token, likelier than all others; how many bytes of it pass, and whether it is whole then.
fn passes(session: &mut Session, tokenizer: &Tokenizer, answer: &str) -> (usize, bool) {
    let mut passed = 0;
    for id in tokenizer.encode(answer, Special::AsText).unwrap() {
        let mut logits = vec![0.0; tokenizer.vocabulary_len()];
        logits[id as usize] = 10.0;
        if session.is_finished() || session.mask(&mut logits, false).is_err() || logits[id as usize] < 1.0 {
            return (passed, false);
        }
        session.accept(id, false).unwrap();
        passed += tokenizer.token_bytes(id).unwrap().len();
    }
    (passed, session.is_finished() && session.is_accepting())
}

#[test]
fn only_calls_of_stretches_of_the_utterance_pass() {
    let tokenizer = tokenizer();
    let calls = calls(&tokenizer);
    // Where an answer stops being one: `Some(text)` up to which it passes.
    let check = |said: &str, answer: &str, stops_behind: Option<&str>| {
        let mut session = calls.about(said).unwrap().begin();
        let expected = stops_behind.map_or((answer.len(), true), |text| (text.len(), false));
        let found = passes(&mut session, &tokenizer, answer);
        assert_eq!(found, expected, "{said:?}: {answer} passes up to {:?}", &answer[..found.0]);
    };
    let said = "play jazz by Nina Simone";
    check(said, r#"{"name": "timer", "arguments": {}}"#, None);
    check(said, r#"{"name": "timers", "arguments": {}}"#, None);
    check(said, r#"{"name": "Play", "arguments": {}}"#, None);
    check(said, r#"{"name": "Play", "arguments": {"genre": "jazz"}}"#, None);
    check(said, r#"{"name": "Play", "arguments": {"track": "jazz", "artist": "Nina Simone"}}"#, None);
    check(said, r#"{"name": "Play", "arguments": {"genre": "play", "artist": ["Nina", "Simone"]}}"#, None);
    check(
        said,
        r#"{"name": "Play", "arguments": {"artist": ["play", "jazz", "Nina", "Simone"], "genre": "by"}}"#,
        None,
    );
    // A name or a slot that there is not, a slot twice, a list of one.
    check(said, r#"{"name": "alarm", "arguments": {}}"#, Some(r#"{"name": ""#));
    check(said, r#"{"name": "timer", "arguments": {"a""#, Some(r#"{"name": "timer", "arguments": {"#));
    let twice = r#"{"name": "Play", "arguments": {"genre": "jazz", "genre": "by"}}"#;
    check(said, twice, Some(r#"{"name": "Play", "arguments": {"genre": "jazz", ""#));
    // Values that overlap, or come in another order than they were said.
    let begin = r#"{"name": "Play", "arguments": {"artist": ""#;
    check(said, &format!("{begin}Nina\", \"genre\": \"jazz\"}}}}"), Some(&format!("{begin}Nina\", \"genre\": \"")));
    check(
        said,
        &format!("{begin}by Nina\", \"genre\": \"Nina\"}}}}"),
        Some(&format!("{begin}by Nina\", \"genre\": \"")),
    );
    let one = r#"{"name": "Play", "arguments": {"genre": ["jazz"]}}"#;
    check(said, one, Some(r#"{"name": "Play", "arguments": {"genre": ["jazz""#));
    // Words that were not said, parts of words, white space at an end, an empty value.
    let begin = r#"{"name": "Play", "arguments": {"genre": ""#;
    let stopping = |value: &str, upto: &str| check(said, &format!("{begin}{value}"), Some(&format!("{begin}{upto}")));
    stopping("rock\"", "");
    stopping("azz\"", "");
    stopping("jaz\"", "jaz");
    stopping(" jazz\"", "");
    stopping("jazz \"", "jazz ");
    stopping("\"", "");
    stopping("jazz Nina\"", "jazz ");
    // What JSON escapes is said escaped; punctuation parts words; letters need not be ASCII.
    let one = |said: &str, value: &str| {
        check(said, &format!("{{\"name\": \"Play\", \"arguments\": {{\"track\": {value}}}}}"), None);
    };
    one("play \"Heroes\" now", r#""\"Heroes\"""#);
    one("play \"Heroes\" now", r#""Heroes""#);
    one("Bowie's best", r#""Bowie""#);
    one("füge Größe hinzu", r#""Größe""#);
    one("a\\b", r#""a\\b""#);
    check("", r#"{"name": "Play", "arguments": {}}"#, None);
}

/// Whatever a model likes, an answer that has begun can be ended.
#[test]
fn no_answer_ends_in_a_dead_end() {
    let tokenizer = tokenizer();
    let calls = calls(&tokenizer);
    let mut state = 1u64;
    let mut draw = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / 1e6
    };
    for said in ["play jazz by Nina Simone", "a", "", "a b ", "play \"Heroes\" now", "4/17/2033", "¡x y!", "  "] {
        for _ in 0..60 {
            let mut session = calls.about(said).unwrap().begin();
            let mut steps = 0;
            while !session.is_finished() {
                let mut logits: Vec<f32> = (0..tokenizer.vocabulary_len()).map(|_| draw()).collect();
                session.mask(&mut logits, false).unwrap_or_else(|error| panic!("{said:?}: {error}"));
                let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
                session.accept(u32::try_from(best).unwrap(), false).unwrap();
                steps += 1;
                assert!(steps < 2000, "{said:?}");
            }
            assert!(session.is_accepting());
        }
    }
}

#[test]
fn what_is_not_likely_enough_is_none_of_the_calls() {
    let tokenizer = tokenizer();
    let calls = calls(&tokenizer);
    let first = |text: &str| tokenizer.encode(text, Special::AsText).unwrap()[0];
    let (timer, other) = (first(r#"{"name": "timer", "arguments": {}}"#), first("{"));
    // Two tokens may begin an answer here: `timer` whole, and the byte that begins all others.
    let check = |odds: f32, expected: f64| {
        let mut session = calls.about("so").unwrap().begin();
        let mut logits = vec![-30.0; tokenizer.vocabulary_len()];
        logits[timer as usize] = odds;
        logits[other as usize] = 0.0;
        session.mask(&mut logits, false).unwrap();
        assert!(logits[timer as usize] > -1e9, "{odds}");
        session.accept(timer, false).unwrap();
        let found = session.confidence().unwrap();
        assert!((found - expected).abs() < 1e-3, "{odds}: {found} against {expected}");
    };
    // e^3 / (e^3 + 1).
    check(3.0, 0.952_574);
    check(0.1, 0.524_979);
    let forms = FORMS.replace("0.4", "0.99");
    let strict = Calls::new(&tokenizer, &CallForms::parse(&forms).unwrap());
    let mut session = strict.about("so").unwrap().begin();
    let mut logits = vec![-30.0; tokenizer.vocabulary_len()];
    logits[timer as usize] = 3.0;
    logits[other as usize] = 0.0;
    session.mask(&mut logits, false).unwrap();
    assert!(logits[timer as usize] == f32::NEG_INFINITY && logits[other as usize] > -1.0);
    session.accept(other, false).unwrap();
    assert!(passes(&mut session, &tokenizer, r#""name": "none", "arguments": {}}"#).1, "it is none of the others");
    // 1 less the likeliest of them.
    let found = session.confidence().unwrap();
    assert!((found - (1.0 - 0.952_574)).abs() < 0.01, "{found}");
}

#[test]
fn metadata_of_strangers_is_read_with_care() {
    let check = |text: &str, expected: &str| {
        let error = CallForms::parse(text).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    };
    check("", "no JSON");
    check("[]", "expected an object");
    check("{}", "`calls`");
    check(r#"{"calls": {}}"#, "0 names");
    check(r#"{"calls": {"a": 1}}"#, "lists");
    check(r#"{"calls": {"a": [1]}}"#, "no string");
    check(r#"{"calls": {"": []}}"#, "0 bytes");
    check(&format!(r#"{{"calls": {{"a": [{}"b"]}}}}"#, "\"c\", ".repeat(64)), "at most 64");
    check(r#"{"calls": {"a": []}, "none": "b"}"#, "`none`");
    check(r#"{"calls": {"a": []}, "least": 2}"#, "`least`");
    check(r#"{"calls": {"a": []}, "calibration": [1]}"#, "`calibration`");
    check(r#"{"calls": {"a": []}, "more": 1}"#, "`more`");
    let tokenizer = tokenizer();
    assert!(calls(&tokenizer).about(&"a ".repeat(40_000)).is_err());
}
