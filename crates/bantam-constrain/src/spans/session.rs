//! One call on its way.

use std::fmt;
use std::sync::Arc;

use bantam_text::Tokenizer;

use super::CallForms;
use super::automaton::{Place, Texts, Utterance};
use crate::ConstraintError;

/// Longest utterance whose stretches are told apart, in bytes.
const LONGEST: usize = 1 << 16;

/// A model's calls, and the bytes of its tokens.
pub(crate) struct Known {
    forms: CallForms,
    texts: Texts,
    /// By token: its bytes; none for those that steer.
    tokens: Vec<Box<[u8]>>,
}

/// The calls that an utterance may be answered with.
#[derive(Clone)]
pub(crate) struct Spans {
    known: Arc<Known>,
    utterance: Arc<Utterance>,
}

impl Known {
    pub(crate) fn new(tokenizer: &Tokenizer, forms: &CallForms) -> Self {
        let bytes = |id: u32| match tokenizer.is_special(id) {
            true => Box::default(),
            false => tokenizer.token_bytes(id).unwrap_or_default().into(),
        };
        let ids = 0..u32::try_from(tokenizer.vocabulary_len()).unwrap_or(u32::MAX);
        Self { forms: forms.clone(), texts: Texts::new(forms), tokens: ids.map(bytes).collect() }
    }
}

impl Spans {
    pub(crate) fn new(known: &Arc<Known>, text: &str) -> Result<Self, ConstraintError> {
        if text.len() > LONGEST {
            return Err(ConstraintError::Stuck(format!("the utterance is longer than {LONGEST} bytes")));
        }
        Ok(Self { known: known.clone(), utterance: Arc::new(Utterance::new(text)) })
    }

    pub(crate) fn begin(&self) -> SpanSession {
        let places = (0..self.known.texts.names()).map(Place::begin).collect();
        let next = (Vec::new(), Vec::new());
        SpanSession { spans: self.clone(), places, next, allowed: Vec::new(), sure: 1.0, spared: None, begun: false }
    }
}

/// See the module.
pub(crate) struct SpanSession {
    spans: Spans,
    places: Vec<Place>,
    /// Room to move places in.
    next: (Vec<Place>, Vec<Place>),
    /// Tokens of the last mask with their probabilities among themselves.
    allowed: Vec<(u32, f64)>,
    /// The product of what was chosen.
    sure: f64,
    /// Where no name was likely enough: the probability of the likeliest.
    spared: Option<f64>,
    begun: bool,
}

impl fmt::Debug for SpanSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpanSession").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl SpanSession {
    /// The places behind these bytes, in `self.next.0`.
    fn moved(&mut self, bytes: &[u8]) -> &[Place] {
        let (now, next) = &mut self.next;
        now.clear();
        now.extend_from_slice(&self.places);
        for &byte in bytes {
            next.clear();
            now.iter().for_each(|place| place.step(byte, (&self.spans.known.texts, &self.spans.utterance), next));
            std::mem::swap(now, next);
            if now.is_empty() {
                break;
            }
        }
        now
    }

    pub(crate) fn mask(&mut self, logits: &mut [f32]) -> Result<(), ConstraintError> {
        let known = self.spans.known.clone();
        let mut allowed = std::mem::take(&mut self.allowed);
        allowed.clear();
        // By token: the name that it settles, where it does, and whether it may still become that of none of the others.
        let mut settles: Vec<(Option<usize>, bool)> = Vec::new();
        let none = known.forms.none;
        for (id, (bytes, logit)) in (0u32..).zip(known.tokens.iter().zip(logits.iter())) {
            if bytes.is_empty() || logit.is_nan() {
                continue;
            }
            let behind = self.moved(bytes);
            if !behind.is_empty() {
                let first = behind.first().map(Place::name);
                let settled = first.filter(|first| behind.iter().all(|place| place.name() == *first));
                settles.push((settled, behind.iter().any(|place| Some(place.name()) == none)));
                allowed.push((id, f64::from(*logit)));
            }
        }
        if allowed.is_empty() {
            return Err(ConstraintError::Stuck("no token of the vocabulary can follow".into()));
        }
        let greatest = allowed.iter().map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = allowed.iter().map(|(_, logit)| (logit - greatest).exp()).sum();
        allowed.iter_mut().for_each(|(_, logit)| *logit = (*logit - greatest).exp() / sum);
        if let Some(none) = known.forms.none.filter(|_| !self.begun) {
            let others = allowed.iter().zip(&settles).filter(|(_, (name, _))| *name != Some(none));
            let likeliest = others.map(|((_, p), _)| *p).fold(0.0, f64::max);
            let is_none =
                allowed.iter().zip(&settles).any(|((_, p), (name, _))| *name == Some(none) && *p >= likeliest);
            if !is_none && likeliest < f64::from(known.forms.least) {
                self.spared = Some(likeliest);
                let mut names = settles.iter();
                allowed.retain(|_| names.next().is_some_and(|(_, may_be)| *may_be));
                self.places.retain(|place| place.name() == none);
            }
        }
        let kept: Vec<(u32, f32)> =
            allowed.iter().filter_map(|(id, _)| Some((*id, *logits.get(*id as usize)?))).collect();
        logits.fill(f32::NEG_INFINITY);
        for (id, logit) in kept {
            if let Some(place) = logits.get_mut(id as usize) {
                *place = logit;
            }
        }
        self.allowed = allowed;
        Ok(())
    }

    pub(crate) fn accept(&mut self, token: u32) -> Result<(), ConstraintError> {
        let known = self.spans.known.clone();
        let bytes = known.tokens.get(token as usize).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or_else(|| ConstraintError::Stuck(format!("token {token} spells nothing")))?;
        let places = self.moved(bytes).to_vec();
        if places.is_empty() {
            return Err(ConstraintError::Stuck(format!("token {token} was not allowed")));
        }
        self.places = places;
        self.sure *= self.allowed.iter().find(|(id, _)| *id == token).map_or(1.0, |(_, p)| *p);
        self.begun = true;
        Ok(())
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.places.iter().all(Place::is_done)
    }

    pub(crate) fn is_accepting(&self) -> bool {
        self.places.iter().any(Place::is_done)
    }

    /// How sure the model is of the call: its probability among all that were allowed, on the calibrated curve.
    pub(crate) fn confidence(&self) -> f64 {
        let [slope, offset] = self.spans.known.forms.calibration.map(f64::from);
        let sure = self.spared.map_or(self.sure, |likeliest| 1.0 - likeliest).clamp(1e-9, 1.0 - 1e-9);
        let odds = slope * (sure / (1.0 - sure)).ln() + offset;
        1.0 / (1.0 + (-odds).exp())
    }
}
