//! A real model, where the shared material is there.

use std::sync::atomic::AtomicBool;

use bantam_engine::{Answer, BatchOptions, FromIterator, Request, SamplingSettings, generate, generate_batch};
use bantam_runtime::{LoadOptions, Model, OpenOptions};
use bantam_testkit::shared_dir;
use bantam_text::Special;

/// The beginning of the author's own greedy text, in `stories260K.md`.
const STORY: &str = "Once upon a time, there was a little girl named Lily. She loved to play outside in the park. One day, \
                     she saw a big, red ball. She wanted to play with it, but it was too high.";

fn timeless(answer: Answer) -> Answer {
    Answer { timings: Default::default(), ..answer }
}

#[test]
fn a_real_model_tells_its_stories_alone_and_together() {
    let Some(shared) = shared_dir() else { return };
    let path = shared.join("data/stories260k/stories260K-f32.gguf");
    let model = Model::open(&path, &OpenOptions::default()).unwrap();
    let tokenizer = model.tokenizer().unwrap();
    let options = LoadOptions { threads: Some(2), context: Some(128), sequences: 4, ..LoadOptions::default() };
    let mut loaded = model.load(&options, &mut |_| true).unwrap();
    let cancel = AtomicBool::new(false);
    let prompts = ["", "One day", "Lily and Tom", "The dog said \"", "", "Once upon a time, there was a cat"];
    let requests: Vec<_> = (0..)
        .zip(prompts)
        .map(|(number, text)| Request {
            sampling: if number == 0 { SamplingSettings::greedy() } else { SamplingSettings::default() },
            seed: Some(number),
            logprobs: Some(3),
            max_tokens: Some(100 - 7 * number as usize),
            ..Request::new(tokenizer.encode_with_ends(text, Special::AsText).unwrap())
        })
        .collect();
    let alone: Vec<_> = requests
        .iter()
        .map(|asked| timeless(generate(&mut loaded, tokenizer, asked.clone(), &cancel, &mut |_| {}).unwrap()))
        .collect();
    assert!(alone[0].text.starts_with(STORY), "{}", alone[0].text);
    let (mut together, options) = (Vec::new(), BatchOptions { live: 4 });
    let mut source = FromIterator(requests.into_iter().map(Ok));
    let mut deliver = |_: usize, result: Result<Answer, _>| together.push(timeless(result.unwrap()));
    generate_batch(&mut loaded, tokenizer, &mut source, options, &cancel, &mut deliver).unwrap();
    assert_eq!(together, alone);
}
