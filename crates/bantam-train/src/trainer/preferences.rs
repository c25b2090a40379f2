//! Steps on answers that are compared ([`crate::preference`]).
//!
//! Answers run forwards first; what the loss says of their log-probabilities becomes a weight for each, and with it they run
//! forwards and backwards. The reference is the model before its first step, whose log-probabilities are taken once and kept
//! in the state, so no second model is held.

use std::ops::Range;
use std::time::Instant;

use super::{Event, Taken, Tokens, TrainOptions, Trainer, within};
use crate::TrainError;
use crate::data::{Comparison, Example, weighted_batches};
use crate::preference::{Answer, Judged, Loss, dpo, kto, orpo};

/// What runs for some comparisons: their answers one after the other, and for KTO an answer to another prompt behind each.
struct Answers {
    examples: Vec<Example>,
    /// Of each comparison.
    each: usize,
}

/// Which comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// Those that are learned.
    Learned,
    /// Those that are only measured.
    Measured,
}

impl Tokens {
    /// What comparisons need.
    pub fn of_comparisons(lists: &[&[Comparison]], options: &TrainOptions) -> Self {
        let answers = lists.iter().flat_map(|list| list.iter()).flat_map(Comparison::answers);
        let longest = answers.map(|answer| answer.tokens.len()).max().unwrap_or(1);
        let comparisons: usize = lists.iter().map(|list| list.len()).sum();
        // Two for each comparison.
        let batch = options.batch.max(1).saturating_mul(2);
        Self::for_lengths(2 * comparisons, longest, &TrainOptions { batch, ..options.clone() })
    }
}

impl Trainer {
    fn answers(&self, list: &[Comparison], chosen: &[usize]) -> Result<Answers, TrainError> {
        let refuse = |what: &str| Err(TrainError::Option(format!("this loss learns from {what}")));
        let mut examples = Vec::new();
        let mut alike = 0..0;
        for &at in chosen {
            match (&list[at], self.options.loss) {
                (Comparison::Pair { chosen, rejected }, Loss::Dpo { .. } | Loss::Orpo { .. }) => {
                    examples.extend([chosen.clone(), rejected.clone()]);
                }
                (Comparison::Single { answer, .. }, Loss::Kto { .. }) => {
                    let Comparison::Single { answer: other, .. } = &list[other_prompt(list, at, &mut alike)] else {
                        return refuse("single answers");
                    };
                    examples.extend([answer.clone(), elsewhere(answer, other, self.tokens.longest)]);
                }
                (_, Loss::Dpo { .. } | Loss::Orpo { .. }) => return refuse("pairs of a chosen and a rejected answer"),
                (_, Loss::Kto { .. }) => return refuse("single answers that are good or bad"),
                (_, Loss::Tokens) => return refuse("examples, not from comparisons"),
            }
        }
        Ok(Answers { examples, each: 2 })
    }

    /// The log-probability of every answer, as the model is now. `drops`: with the masks of the next step.
    fn log_probabilities(
        &mut self,
        examples: &[Example],
        drops: bool,
        keep_on: &dyn Fn() -> bool,
    ) -> Result<Vec<f64>, TrainError> {
        let all: Vec<&Example> = examples.iter().collect();
        let mut sums = Vec::with_capacity(all.len());
        for (number, mut batch) in weighted_batches(&all, self.tokens.rows, 1.0).into_iter().enumerate() {
            batch.dropout = if drops { self.mask(number) } else { None };
            // Masks go by rows, so a batch that has one stays whole, as it will in the step.
            let parts = if drops { vec![batch] } else { within(&batch, self.tokens.sequences) };
            for batch in parts {
                if !keep_on() {
                    return Err(TrainError::Interrupted);
                }
                let first = sums.len();
                sums.resize(first + batch.tables.len(), 0.0);
                for (loss, row) in self.program.evaluate(&batch)?.iter().zip(&batch.outputs) {
                    sums[first + batch.places[*row as usize].sequence as usize] -= f64::from(*loss);
                }
            }
        }
        Ok(sums)
    }

    /// Takes the reference's log-probabilities, where the loss has one and they are not known yet. It is the model as it is
    /// before the first step.
    ///
    /// # Errors
    /// Comparisons of the wrong kind; a run that has taken steps without; an interruption.
    pub fn take_reference(
        &mut self,
        set: Set,
        list: &[Comparison],
        keep_on: &dyn Fn() -> bool,
    ) -> Result<(), TrainError> {
        if matches!(self.options.loss, Loss::Tokens | Loss::Orpo { .. })
            || list.is_empty()
            || self.reference[set as usize].len() == 2 * list.len()
        {
            return Ok(());
        }
        if self.state.step > 0 {
            return Err(TrainError::Option("the state lacks the reference of these comparisons".into()));
        }
        let chosen: Vec<usize> = (0..list.len()).collect();
        let answers = self.answers(list, &chosen)?;
        self.reference[set as usize] = self.log_probabilities(&answers.examples, false, keep_on)?;
        Ok(())
    }

    fn judge(&self, set: Set, list: &[Comparison], chosen: &[usize], examples: &[Example], found: &[f64]) -> Judged {
        let reference = &self.reference[set as usize];
        let answer = |n: usize| Answer {
            log_probability: found[n],
            reference: reference.get(2 * chosen[n / 2] + n % 2).copied().unwrap_or(0.0),
            tokens: examples[n].learned(),
        };
        let pairs = || (0..chosen.len()).map(|n| [answer(2 * n), answer(2 * n + 1)]).collect::<Vec<_>>();
        match self.options.loss {
            Loss::Dpo { beta, smoothing } => dpo(&pairs(), beta, smoothing),
            Loss::Orpo { beta } => orpo(&pairs(), beta),
            Loss::Kto { beta, desirable, undesirable } => {
                let good = |at: usize| matches!(&list[at], Comparison::Single { good: true, .. });
                let (own, other): (Vec<_>, Vec<_>) =
                    pairs().iter().zip(chosen).map(|([own, other], at)| ((*own, good(*at)), *other)).unzip();
                let judged = kto(&own, &other, beta, desirable, undesirable);
                // Answers to other prompts only say how far the model has gone.
                let gradients = judged.gradients.iter().flat_map(|gradient| [*gradient, 0.0]).collect();
                Judged { gradients, ..judged }
            }
            Loss::Tokens => Judged::default(),
        }
    }

    /// As [`Trainer::step`], on comparisons, whose reference has been taken.
    ///
    /// # Errors
    /// As [`Trainer::step`]; comparisons of the wrong kind.
    pub fn step_on_comparisons(
        &mut self,
        list: &[Comparison],
        steps: usize,
        keep_on: &dyn Fn() -> bool,
    ) -> Result<Event, TrainError> {
        self.take_reference(Set::Learned, list, keep_on)?;
        let begin = Instant::now();
        let chosen = self.order(list.len());
        let Answers { examples, each } = self.answers(list, &chosen)?;
        let found = self.log_probabilities(&examples, true, keep_on)?;
        let judged = self.judge(Set::Learned, list, &chosen, &examples, &found);
        let all: Vec<&Example> = examples.iter().collect();
        let mut first = 0;
        for (number, mut batch) in weighted_batches(&all, self.tokens.rows, 1.0).into_iter().enumerate() {
            self.go_on(keep_on)?;
            batch.dropout = self.mask(number);
            for (target, row) in batch.targets.iter_mut().zip(&batch.outputs) {
                // A token's cross-entropy is less by what its log-probability is more.
                target.weight = -judged.gradients[first + batch.places[*row as usize].sequence as usize] as f32;
            }
            first += batch.tables.len();
            self.program.run(&batch)?;
        }
        let counted = examples.iter().step_by(if matches!(self.options.loss, Loss::Kto { .. }) { each } else { 1 });
        let tokens = examples.iter().map(|example| example.tokens.len()).sum();
        let learned = counted.map(Example::learned).sum();
        self.update(begin, steps, Taken { loss: judged.loss, tokens, learned, right: Some(judged.right) })
    }

    /// The loss of comparisons, and the share of them on the right side, without learning them.
    pub fn evaluate_comparisons(
        &mut self,
        list: &[Comparison],
        keep_on: &dyn Fn() -> bool,
    ) -> Result<(f64, f64), TrainError> {
        self.take_reference(Set::Measured, list, keep_on)?;
        let chosen: Vec<usize> = (0..list.len()).collect();
        let Answers { examples, .. } = self.answers(list, &chosen)?;
        let found = self.log_probabilities(&examples, false, keep_on)?;
        let judged = self.judge(Set::Measured, list, &chosen, &examples, &found);
        Ok((judged.loss, judged.right))
    }
}

/// The first entry after `at`, going round, that has another prompt: of a pair both answers are entries here, and the other
/// answer to the same prompt says nothing of how far the model has gone elsewhere. The next entry where all have one prompt.
/// `alike`: entries found to have one prompt, the last time that this was asked.
fn other_prompt(list: &[Comparison], at: usize, alike: &mut Range<usize>) -> usize {
    let prompt = |at: usize| list[at % list.len()].answers().next().map(|example| &example.tokens[..begin(example)]);
    if !alike.contains(&at) {
        let own = prompt(at);
        let more = (at + 1..at + list.len()).take_while(|other| prompt(*other) == own).count();
        *alike = at..at + more + 1;
    }
    let other = if alike.len() < list.len() { alike.end } else { at + 1 };
    other % list.len()
}

/// Where an example's answer begins.
fn begin(example: &Example) -> usize {
    example.said.iter().position(|said| *said).unwrap_or(example.tokens.len())
}

/// An example's prompt with another one's answer, cut where it would be longer than anything learned: it is only measured.
fn elsewhere(prompt: &Example, answer: &Example, longest: usize) -> Example {
    let (before, from) = (begin(prompt), begin(answer));
    let mut tokens = prompt.tokens[..before].to_vec();
    tokens.extend(&answer.tokens[from..]);
    tokens.truncate(longest.max(before + 1));
    let said = (0..tokens.len()).map(|at| at >= before).collect();
    Example { tokens, said, line: prompt.line }
}

#[cfg(test)]
mod tests {
    use super::{Comparison, Example, other_prompt};

    #[test]
    fn answers_of_a_pair_are_not_each_others_measure() {
        // Each entry by its prompt's token.
        let check = |prompts: &[u32], expected: &[usize]| {
            let entry = |(n, prompt): (usize, &u32)| Comparison::Single {
                answer: Example { tokens: vec![*prompt, 90 + n as u32], said: vec![false, true], line: n },
                good: n % 2 == 0,
            };
            let list: Vec<Comparison> = prompts.iter().enumerate().map(entry).collect();
            let mut alike = 0..0;
            let in_order: Vec<usize> = (0..list.len()).map(|at| other_prompt(&list, at, &mut alike)).collect();
            let alone: Vec<usize> = (0..list.len()).map(|at| other_prompt(&list, at, &mut (0..0))).collect();
            assert_eq!((in_order.as_slice(), alone.as_slice()), (expected, expected), "{prompts:?}");
        };
        check(&[1, 1, 2, 2, 3, 3], &[2, 2, 4, 4, 0, 0]);
        check(&[1, 2, 3], &[1, 2, 0]);
        // Round the end, too.
        check(&[1, 2, 2, 1], &[1, 3, 3, 1]);
        check(&[1, 1, 1], &[1, 2, 0]);
        check(&[1], &[0]);
    }
}
