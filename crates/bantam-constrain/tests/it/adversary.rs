//! Logits that want an answer to go wrong.

use bantam_constrain::{Constraint, Session};
use bantam_text::{Detokenizer, Tokenizer};

/// Numbers that look random (SplitMix64).
#[derive(Clone)]
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.roll() % end.max(1) as u64) as usize
    }
}

/// What a model would rather say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Anything.
    Random,
    /// One token above all others, another one each time, most often one that may not come.
    Peaked,
    /// The end, and control tokens.
    Ending,
    /// Anything but the end.
    Endless,
    /// Single bytes and pieces of characters.
    Bytes,
    /// Long tokens.
    Long,
}

pub const MOODS: [Mood; 6] = [Mood::Random, Mood::Peaked, Mood::Ending, Mood::Endless, Mood::Bytes, Mood::Long];

/// What is known of each token, computed once.
pub struct Traits {
    end: Vec<bool>,
    special: Vec<bool>,
    broken: Vec<bool>,
    length: Vec<f32>,
    closing: Vec<bool>,
    width: usize,
}

impl Traits {
    /// `width` is the number of logits, which may be more than the tokens.
    pub fn new(tokenizer: &Tokenizer, width: usize) -> Self {
        let bytes = |id: usize| tokenizer.token_bytes(id as u32).unwrap_or_default();
        let of = |test: &dyn Fn(usize) -> bool| (0..width).map(test).collect::<Vec<bool>>();
        Self {
            end: of(&|id| tokenizer.end_of_generation().contains(&(id as u32))),
            special: of(&|id| tokenizer.is_special(id as u32)),
            broken: of(&|id| std::str::from_utf8(bytes(id)).is_err() || bytes(id).len() == 1),
            length: (0..width).map(|id| bytes(id).len() as f32).collect(),
            closing: of(&|id| matches!(bytes(id), b"\"" | b"}" | b"]" | b"\"}" | b"\"]" | b")" | b".")),
            width,
        }
    }

    /// Logits in a mood, or, in none, such as want the answer to be done.
    pub fn logits(&self, mood: Option<Mood>, dice: &mut Dice, logits: &mut Vec<f32>) {
        logits.clear();
        logits.extend((0..self.width).map(|_| (dice.roll() >> 40) as f32 / (1 << 22) as f32));
        let peak = dice.below(self.width);
        for (id, logit) in logits.iter_mut().enumerate() {
            *logit += match mood {
                Some(Mood::Random) => 0.0,
                Some(Mood::Peaked) => {
                    if id == peak {
                        1e30
                    } else {
                        0.0
                    }
                }
                Some(Mood::Ending) if self.end[id] => 1e9,
                Some(Mood::Ending) => {
                    if self.special[id] {
                        1e6
                    } else {
                        0.0
                    }
                }
                Some(Mood::Endless) => {
                    if self.end[id] {
                        -1e9
                    } else {
                        0.0
                    }
                }
                Some(Mood::Bytes) => {
                    if self.broken[id] {
                        20.0
                    } else {
                        0.0
                    }
                }
                Some(Mood::Long) => self.length[id],
                // Wants to be done.
                None if self.end[id] => 1e9,
                None => {
                    if self.closing[id] {
                        1e3
                    } else {
                        -self.length[id] / 8.0
                    }
                }
            };
        }
    }
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The constraint let it end.
    Whole,
    /// It had to be helped to its end behind this many bytes.
    Helped(usize),
    /// It did not end in the tokens it was given.
    Cut,
    /// It could not go on.
    Stuck(String),
}

/// One answer.
#[allow(dead_code, reason = "the example counts tokens")]
pub struct Answer {
    pub text: String,
    pub end: End,
    pub tokens: Vec<u32>,
}

/// Has a model in some mood answer under a constraint: greedily, `most` tokens, then up to eight times as many in which it
/// is helped to an end. `behind` is what the answer follows.
pub fn answer(
    (constraint, tokenizer, traits): (&Constraint, &Tokenizer, &Traits),
    mood: Mood,
    seed: u64,
    (most, behind): (usize, &[u32]),
) -> Answer {
    let mut session: Session = constraint.begin();
    let mut detokenizer = Detokenizer::after(tokenizer, behind).skip_special(true);
    let mut dice = Dice(seed);
    let (mut text, mut tokens, mut logits) = (String::new(), Vec::new(), Vec::new());
    let mut helped = None;
    let mut end = End::Cut;
    for number in 0..most * 9 {
        if number == most {
            helped = Some(text.len());
        }
        traits.logits(if number < most { Some(mood) } else { None }, &mut dice, &mut logits);
        let at_start = detokenizer.drops_leading_space();
        if let Err(error) = session.mask(&mut logits, at_start) {
            end = End::Stuck(error.to_string());
            break;
        }
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]).then(b.cmp(&a))).unwrap_or(0);
        assert!(logits[best] > f32::NEG_INFINITY, "a mask that allows nothing");
        let token = best as u32;
        tokens.push(token);
        // A grammar may name a token that ends answers elsewhere.
        if tokenizer.end_of_generation().contains(&token) && session.is_accepting() {
            end = End::Whole;
            break;
        }
        if let Err(error) = session.accept(token, at_start) {
            end = End::Stuck(format!("{error}, at token {token} behind {text:?}"));
            break;
        }
        text.push_str(detokenizer.push(token).expect("the mask lets no token through that is not there"));
        if session.is_finished() {
            assert!(session.is_accepting());
            end = End::Whole;
            break;
        }
    }
    text.push_str(detokenizer.finish());
    if let (Some(at), End::Whole) = (helped, &end) {
        end = End::Helped(at);
    }
    Answer { text, end, tokens }
}
