//! What a model is tuned on: examples, or answers that are compared.

use std::collections::HashSet;
use std::path::Path;

use anyhow::bail;
use bantam_runtime::{Fingerprint, Model};
use bantam_text::Moment;
use bantam_train::data::{Compared, Comparison, Encoder, Example, fingerprint, read, read_comparisons, step_order};
use bantam_train::trainer::Set;
use bantam_train::{Event, Tokens, TrainError, TrainOptions, Trainer};

use super::{DEFAULT_LENGTH, MethodChoice, TuneArguments};
use crate::failure::Usage;
use crate::output::note;

/// What is learned from.
pub enum List {
    /// Examples of what to say.
    Examples(Vec<Example>),
    /// Answers that are compared.
    Comparisons(Vec<Comparison>),
}

impl List {
    /// How many.
    pub fn len(&self) -> usize {
        match self {
            Self::Examples(list) => list.len(),
            Self::Comparisons(list) => list.len(),
        }
    }

    /// Tokens of all of them.
    pub fn tokens(&self) -> u64 {
        let count = |example: &Example| example.tokens.len() as u64;
        match self {
            Self::Examples(list) => list.iter().map(count).sum(),
            Self::Comparisons(list) => list.iter().flat_map(Comparison::answers).map(count).sum(),
        }
    }

    /// Takes the next step on them.
    pub fn step(&self, trainer: &mut Trainer, steps: usize, keep_on: &dyn Fn() -> bool) -> Result<Event, TrainError> {
        match self {
            Self::Examples(list) => trainer.step(list, steps, keep_on),
            Self::Comparisons(list) => trainer.step_on_comparisons(list, steps, keep_on),
        }
    }

    /// Their loss, without learning them.
    pub fn measure(&self, trainer: &mut Trainer, keep_on: &dyn Fn() -> bool) -> Result<f64, TrainError> {
        match self {
            Self::Examples(list) => trainer.evaluate(list, keep_on),
            Self::Comparisons(list) => Ok(trainer.evaluate_comparisons(list, keep_on)?.0),
        }
    }

    /// The lines they come from, in order, each once.
    fn lines(&self) -> Vec<usize> {
        let mut lines: Vec<usize> = match self {
            Self::Examples(list) => list.iter().map(|example| example.line).collect(),
            Self::Comparisons(list) => list.iter().map(Comparison::line).collect(),
        };
        lines.dedup();
        lines
    }

    /// Takes out what comes from some lines, in order.
    fn take(&mut self, lines: &HashSet<usize>) -> Self {
        fn some<T>(list: &mut Vec<T>, is_taken: impl Fn(&T) -> bool) -> Vec<T> {
            let (taken, left) = std::mem::take(list).into_iter().partition(is_taken);
            *list = left;
            taken
        }
        match self {
            Self::Examples(list) => Self::Examples(some(list, |example| lines.contains(&example.line))),
            Self::Comparisons(list) => Self::Comparisons(some(list, |comparison| lines.contains(&comparison.line()))),
        }
    }

    /// What is to be said: examples, and good answers.
    pub fn answers(&self) -> Vec<Example> {
        match self {
            Self::Examples(list) => list.clone(),
            Self::Comparisons(_) => {
                let [_, good] = self.examples();
                good
            }
        }
    }

    fn none(&self) -> Self {
        match self {
            Self::Examples(_) => Self::Examples(Vec::new()),
            Self::Comparisons(_) => Self::Comparisons(Vec::new()),
        }
    }

    /// Every example in it, and what tells good answers from bad ones.
    fn examples(&self) -> [Vec<Example>; 2] {
        match self {
            Self::Examples(list) => [list.clone(), Vec::new()],
            Self::Comparisons(list) => {
                let good = |comparison: &Comparison| match comparison {
                    Comparison::Single { answer, good } => Some(answer.clone()).filter(|_| *good),
                    Comparison::Pair { chosen, .. } => Some(chosen.clone()),
                };
                [list.iter().flat_map(Comparison::answers).cloned().collect(), list.iter().filter_map(good).collect()]
            }
        }
    }
}

/// What is learned from, and measured on.
pub struct Examples {
    /// To learn from.
    pub learned: List,
    /// To measure on.
    pub validation: List,
    /// Of all of them.
    pub fingerprint: Fingerprint,
}

impl Examples {
    /// What they need.
    pub fn room(&self, options: &TrainOptions) -> Tokens {
        match (&self.learned, &self.validation) {
            (List::Examples(learned), List::Examples(validation)) => {
                Tokens::of(learned.iter().chain(validation), options)
            }
            (List::Comparisons(learned), List::Comparisons(validation)) => {
                Tokens::of_comparisons(&[learned, validation], options)
            }
            _ => Tokens::of(&[], options),
        }
    }

    /// Takes what the model says before it learns, where the loss compares with it.
    pub fn take_reference(&self, trainer: &mut Trainer, keep_on: &dyn Fn() -> bool) -> Result<(), TrainError> {
        for (set, list) in [(Set::Learned, &self.learned), (Set::Measured, &self.validation)] {
            if let List::Comparisons(list) = list {
                trainer.take_reference(set, list, keep_on)?;
            }
        }
        Ok(())
    }
}

/// Reads them.
pub fn load(arguments: &TuneArguments, model: &Model, date: Moment) -> anyhow::Result<Examples> {
    let tokenizer = model.tokenizer()?;
    let template = |tools| if arguments.examples.raw { Ok(None) } else { model.chat_template(tools) };
    let encoder = Encoder::new(tokenizer, template(false)?, template(true)?).with_date(date);
    let context = model.context_length();
    let limit = arguments.examples.max_length.unwrap_or(DEFAULT_LENGTH.min(context));
    if limit > context {
        bail!("--max-length {limit} is more than the model's context of {context}");
    }
    let file = |path: &Path| -> anyhow::Result<List> {
        let (skip, method) = (arguments.examples.skip_long, arguments.adapter.method);
        let (list, skipped) = if method.compares() {
            let wanted = if method == MethodChoice::Kto { Compared::Singles } else { Compared::Pairs };
            let file = read_comparisons(path, &encoder, wanted, limit, skip)?;
            (List::Comparisons(file.examples), file.skipped)
        } else {
            let file = read(path, &encoder, limit, skip)?;
            (List::Examples(file.examples), file.skipped)
        };
        if skipped > 0 {
            note(format!("{}: {skipped} examples are longer than {limit} tokens and left out", path.display()));
        }
        Ok(list)
    };
    let mut learned = file(arguments.data.as_deref().unwrap_or(Path::new("")))?;
    let validation = match arguments.validation.parse::<f64>() {
        Ok(0.0) => learned.none(),
        Ok(part) if (0.0..1.0).contains(&part) => {
            // Lines are drawn, not examples: those of one chat are too much alike to measure one by the others. From the seed,
            // so that a resumed run keeps the same ones.
            let lines = learned.lines();
            let count = ((lines.len() as f64 * part).round() as usize).max(1);
            if count >= lines.len() {
                bail!("{} examples are too few to keep a share of {part} of them for validation", lines.len());
            }
            let kept = step_order(lines.len(), count, 0, Some(!arguments.learning.seed));
            learned.take(&kept.into_iter().map(|at| lines[at]).collect())
        }
        Ok(_) => return Err(Usage("--validation takes a file, or a share from 0 up to 1".into()).into()),
        Err(_) => file(Path::new(&arguments.validation))?,
    };
    let (learns, measures) = (learned.examples(), validation.examples());
    let fingerprint = fingerprint(&[&learns[0], &learns[1], &measures[0], &measures[1]]);
    Ok(Examples { learned, validation, fingerprint })
}
