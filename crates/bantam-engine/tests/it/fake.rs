//! A model whose logits are a function of the tokens a sequence holds, a small tokenizer, and their misuse caught.

use std::collections::HashMap;

use bantam_engine::{Feed, LanguageModel, ModelError, Outputs, Request, SamplingSettings, SequenceId};
use bantam_text::{Special, Tokenizer, Vocabulary};

pub const START: u32 = 1;
pub const END: u32 = 2;
/// The first of the 256 tokens for single bytes.
pub const BYTES: u32 = 3;
pub const THINK: u32 = BYTES + 256;
pub const CONTROL: u32 = THINK + 2; // behind `</think>`
/// A token that no tokenizer has: models have more rows than vocabularies.
pub const NAMELESS: u32 = CONTROL + 2;
pub const VOCABULARY: usize = NAMELESS as usize + 3;

/// Single bytes, start and end of text, a spelled pair of markers (one of them a control token), one more control token.
pub fn tokenizer() -> Tokenizer {
    let mut tokens: Vec<Vec<u8>> = [&b"<unk>"[..], b"<s>", b"</s>"].map(<[u8]>::to_vec).into();
    let mut types = vec![2, 3, 3];
    for byte in 0..=255u8 {
        tokens.push(format!("<0x{byte:02X}>").into_bytes());
        types.push(6);
    }
    for (text, kind) in [("<think>", 3), ("</think>", 4), ("<|im_start|>", 3), ("▁", 1)] {
        tokens.push(text.into());
        types.push(kind);
    }
    let scores = vec![0.0; tokens.len()];
    Tokenizer::from_vocabulary(Vocabulary {
        model: "llama".into(),
        tokens,
        types,
        scores,
        bos: Some(START),
        eos: Some(END),
        unknown: Some(0),
        add_bos: Some(true),
        add_space_prefix: Some(false),
        ..Vocabulary::default()
    })
    .unwrap()
}

/// The tokens of a text, markers as tokens, without BOS.
pub fn tokens(text: &str) -> Vec<u32> {
    tokenizer().encode(text, Special::Parse).unwrap()
}

/// What the model would say next.
pub enum Mind {
    /// Logits that look random, from a hash of everything held; the end gets likelier as the sequence grows.
    Hash(u64),
    /// Behind a prompt its answer, and the end where the answer ends.
    Script(HashMap<Vec<u32>, Vec<u32>>),
    /// These logits always.
    Fixed(Vec<f32>),
}

pub struct FakeModel {
    pub mind: Mind,
    pub context: usize,
    pub most_sequences: usize,
    /// A token that the model cannot bear.
    pub poison: Option<u32>,
    /// Interrupts the run with this number, from 0.
    pub interrupt_at: Option<usize>,
    /// Runs so far, rows so far, most feeds in one run, most rows in one run.
    pub runs: usize,
    pub rows: usize,
    pub widest: usize,
    pub most_rows: usize,
    pub sequences: Vec<Option<Vec<u32>>>,
    pub logits: Vec<f32>,
}

impl FakeModel {
    pub fn new(mind: Mind) -> Self {
        Self {
            mind,
            context: 512,
            most_sequences: 64,
            poison: None,
            interrupt_at: None,
            runs: 0,
            rows: 0,
            widest: 0,
            most_rows: 0,
            sequences: Vec::new(),
            logits: Vec::new(),
        }
    }

    /// Answers as written, text to text.
    pub fn script(lines: &[(&str, &str)]) -> Self {
        let prompt = |text| [vec![START], tokens(text)].concat();
        Self::new(Mind::Script(lines.iter().map(|(asked, answer)| (prompt(asked), tokens(answer))).collect()))
    }

    pub fn open_sequences(&self) -> usize {
        self.sequences.iter().flatten().count()
    }

    fn held(&mut self, sequence: SequenceId) -> &mut Vec<u32> {
        let number = sequence.number();
        self.sequences[number].as_mut().expect("a sequence that is open")
    }
}

/// The request of a text, greedy.
pub fn request(text: &str) -> Request {
    Request { sampling: SamplingSettings::greedy(), ..Request::new([vec![START], tokens(text)].concat()) }
}

pub fn hash(mut seed: u64, tokens: &[u32]) -> u64 {
    for &token in tokens {
        seed = (seed ^ u64::from(token)).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }
    seed
}

fn think(mind: &Mind, held: &[u32], logits: &mut Vec<f32>) {
    match mind {
        Mind::Hash(seed) => {
            let seed = hash(*seed, held);
            logits.extend((0..VOCABULARY as u32).map(|id| (hash(seed, &[id]) >> 40) as f32 / (1 << 22) as f32));
            let end = logits.len() - VOCABULARY + END as usize;
            logits[end] += held.len() as f32 / 40.0;
        }
        Mind::Script(lines) => {
            let said = lines.iter().find_map(|(asked, answer)| {
                let rest = held.strip_prefix(asked.as_slice())?;
                answer.starts_with(rest).then(|| answer.get(rest.len()).copied().unwrap_or(END))
            });
            let said = said.unwrap_or_else(|| panic!("nothing is written behind {held:?}"));
            logits.extend((0..VOCABULARY as u32).map(|id| if id == said { 10.0 } else { 0.0 }));
        }
        Mind::Fixed(fixed) => logits.extend_from_slice(fixed),
    }
}

impl LanguageModel for FakeModel {
    fn context(&self) -> usize {
        self.context
    }

    fn vocabulary_len(&self) -> usize {
        match &self.mind {
            Mind::Fixed(logits) => logits.len(),
            Mind::Hash(_) | Mind::Script(_) => VOCABULARY,
        }
    }

    fn open_sequence(&mut self) -> Result<SequenceId, ModelError> {
        if self.open_sequences() == self.most_sequences {
            return Err(ModelError::Failed("no more sequences".into()));
        }
        let context = self.context;
        let number = self.sequences.iter().position(Option::is_none).unwrap_or_else(|| {
            self.sequences.push(None);
            self.sequences.len() - 1
        });
        self.sequences[number] = Some(Vec::with_capacity(context));
        Ok(SequenceId::new(number))
    }

    fn close_sequence(&mut self, sequence: SequenceId) {
        self.held(sequence);
        self.sequences[sequence.number()] = None;
    }

    fn truncate(&mut self, sequence: SequenceId, length: usize) {
        self.held(sequence).truncate(length);
    }

    fn length(&self, sequence: SequenceId) -> usize {
        self.sequences[sequence.number()].as_ref().unwrap().len()
    }

    fn run(&mut self, feeds: &[Feed<'_>]) -> Result<&[f32], ModelError> {
        let number = self.runs;
        self.runs += 1;
        self.widest = self.widest.max(feeds.len());
        assert!(!feeds.is_empty(), "a run of nothing");
        if self.interrupt_at == Some(number) {
            // Half of the first feed got through.
            let (sequence, tokens) = (feeds[0].sequence, feeds[0].tokens);
            self.held(sequence).extend(&tokens[..tokens.len() / 2]);
            return Err(ModelError::Interrupted);
        }
        if let Some(token) = self.poison.filter(|poison| feeds.iter().any(|feed| feed.tokens.contains(poison))) {
            // Some feeds are done when it fails.
            let (sequence, tokens) = (feeds[0].sequence, feeds[0].tokens);
            self.held(sequence).extend(tokens);
            return Err(ModelError::Failed(format!("token {token} is poison").into()));
        }
        self.logits.clear();
        let mut rows = 0;
        for (index, feed) in feeds.iter().enumerate() {
            assert!(!feed.tokens.is_empty(), "a feed of nothing");
            assert!(feeds[..index].iter().all(|other| other.sequence != feed.sequence), "a sequence fed twice");
            rows += feed.tokens.len();
            let context = self.context;
            let held = self.sequences[feed.sequence.number()].as_mut().expect("an open sequence");
            for (place, &token) in feed.tokens.iter().enumerate() {
                held.push(token);
                assert!(held.len() <= context, "more than the context");
                let last = place + 1 == feed.tokens.len();
                if feed.outputs == Outputs::All || (feed.outputs == Outputs::Last && last) {
                    think(&self.mind, held, &mut self.logits);
                }
            }
        }
        self.rows += rows;
        self.most_rows = self.most_rows.max(rows);
        Ok(&self.logits)
    }
}
