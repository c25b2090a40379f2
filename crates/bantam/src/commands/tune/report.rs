//! What is said while a model is tuned, and written down afterwards.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use bantam_formats::atomic::AtomicFile;
use bantam_runtime::Model;
use bantam_train::adapters::Lora;
use bantam_train::checkpoint::State;
use bantam_train::preference::Loss;
use bantam_train::{Event, Method, TrainOptions};
use serde_json::{Value, json};

use super::page::{Page, Sample, number};
use crate::size;

/// Follows a run for its line.
pub struct Report {
    begin: Instant,
    first: usize,
    steps: usize,
    tokens: usize,
    /// The loss, evened out over some steps.
    loss: Option<f64>,
}

/// Share of a step's loss in the one that is shown.
const NEW: f64 = 0.1;

impl Report {
    /// Begins at a step.
    pub fn begin(first: usize, steps: usize) -> Self {
        Self { begin: Instant::now(), first, steps, tokens: 0, loss: None }
    }

    /// Takes note of a step.
    pub fn add(&mut self, event: &Event) {
        self.tokens += event.tokens;
        self.loss = Some(self.loss.map_or(event.loss, |loss| loss + NEW * (event.loss - loss)));
    }

    /// The line after a step.
    pub fn line(&self, event: &Event, validation: Option<f64>, memory: Option<u64>) -> String {
        let loss = self.loss.unwrap_or(event.loss);
        let seconds = self.begin.elapsed().as_secs_f64().max(1e-9);
        let done = (event.step - self.first).max(1) as f64;
        let left = seconds / done * (self.steps - event.step) as f64;
        let validation = validation.map_or(String::new(), |loss| format!(" · validation {loss:.4}"));
        let memory = memory.map_or(String::new(), |bytes| format!(" · {}", size::format(bytes)));
        format!(
            "step {} of {} · loss {loss:.4}{validation} · {:.0} tokens/s{memory} · {} left",
            event.step,
            self.steps,
            self.tokens as f64 / seconds,
            duration(left),
        )
    }
}

/// A time for people: `42 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// What an adapter's method is called.
fn lora_name(lora: &Lora) -> &'static str {
    match (lora.dora, lora.rank_stabilised) {
        (true, _) => "DoRA",
        (false, true) => "rsLoRA",
        (false, false) => "LoRA",
    }
}

/// What steps, by the name that `--optimiser` has for it.
fn optimiser(options: &TrainOptions) -> &'static str {
    match (options.optimiser.muon.is_some(), options.optimiser.eight_bit) {
        (true, _) => "muon",
        (false, true) => "adamw-8bit",
        (false, false) => "adamw",
    }
}

/// Writes `run.json`: what was trained how, and how the losses went.
pub fn write(path: &Path, model: &Model, options: &TrainOptions, state: &State, promised: u64) -> anyhow::Result<()> {
    let method = match &options.method {
        Method::Lora(lora) => json!({
            "name": lora_name(lora).to_lowercase(),
            "rank": lora.rank,
            "rank_pattern": lora.ranks.iter().cloned().collect::<BTreeMap<_, _>>(),
            "alpha": lora.alpha,
            "dropout": lora.dropout,
            "target": lora.targets,
            "modules_to_save": lora.saved,
        }),
        Method::Full => json!({ "name": "full" }),
    };
    let validation: Vec<Value> =
        state.validation.iter().map(|(step, loss)| json!({ "step": step, "loss": loss })).collect();
    let run = json!({
        "model": model.name(),
        "method": method,
        "quantize": options.nf4.then_some("nf4"),
        "loss": match options.loss {
            Loss::Tokens => json!("cross-entropy"),
            Loss::Dpo { beta, smoothing } => json!({ "name": "dpo", "beta": beta, "label_smoothing": smoothing }),
            Loss::Orpo { beta } => json!({ "name": "orpo", "beta": beta }),
            Loss::Kto { beta, .. } => json!({ "name": "kto", "beta": beta }),
        },
        "rate": options.rate,
        "schedule": options.schedule,
        "warmup": options.warmup,
        "epochs": options.epochs,
        "batch": options.batch,
        "optimiser": optimiser(options),
        "average": options.average,
        "weight_decay": options.optimiser.weight_decay,
        "clip": options.clip,
        "seed": options.seed,
        "steps": state.step,
        "tokens": state.tokens,
        "seconds": state.seconds,
        "tokens_per_second": state.tokens as f64 / state.seconds.max(1e-9),
        "promised_memory": promised,
        "peak_memory": bantam_runtime::peak_memory(),
        "date": state.date,
        "losses": state.losses,
        "validation": validation,
    });
    let mut file = AtomicFile::create(path)?;
    writeln!(file, "{}", serde_json::to_string_pretty(&run)?)?;
    file.commit()?;
    Ok(())
}

/// What came of a run.
pub struct Outcome {
    /// Steps that were planned.
    pub steps: usize,
    /// Whether the weights that measured best were kept, and not the last.
    pub best: bool,
    /// Both models' answers.
    pub samples: Vec<Sample>,
}

/// Writes the report as a page: the curves, and both models' answers.
pub fn page(path: &Path, model: &Model, options: &TrainOptions, state: &State, outcome: Outcome) -> anyhow::Result<()> {
    let Outcome { steps, best, samples } = outcome;
    let warmup = (steps as f64 * f64::from(options.warmup)).ceil() as usize;
    let rate = |step| f64::from(options.rate * options.schedule.factor(step, steps, warmup));
    let method = match &options.method {
        Method::Lora(lora) => {
            let others = lora.ranks.iter().map(|(name, rank)| format!(" ({name}: {rank})")).collect::<String>();
            let (alpha, targets) = (number(f64::from(lora.alpha)), lora.targets.join(", "));
            format!("{}, rank {}{others}, alpha {alpha}, on {targets}", lora_name(lora), lora.rank)
        }
        Method::Full => "all weights".into(),
    };
    let method = match options.loss {
        Loss::Tokens => method,
        Loss::Dpo { beta, .. } => format!("DPO, beta {beta}, by {method}"),
        Loss::Orpo { beta } => format!("ORPO, beta {beta}, by {method}"),
        Loss::Kto { beta, .. } => format!("KTO, beta {beta}, by {method}"),
    };
    let fact = |name: &str, value: String| (name.to_owned(), value);
    let mut facts = vec![fact("method", method)];
    if let Method::Lora(lora) = &options.method {
        facts.extend((!lora.saved.is_empty()).then(|| fact("trained wholly beside it", lora.saved.join(", "))));
    }
    if options.nf4 {
        facts.push(fact("frozen matrices of layers", "held as NF4 with double quantization (QLoRA)".into()));
    }
    facts.extend([
        fact("optimiser", optimiser(options).into()),
        fact("steps", format!("{} of {steps}, {} epochs of batches of {}", state.step, options.epochs, options.batch)),
        fact(
            "tokens",
            format!("{}, {:.0} a second", size::count(state.tokens), state.tokens as f64 / state.seconds.max(1e-9)),
        ),
        fact("time", duration(state.seconds)),
        fact("date told to templates", state.date.clone()),
        fact("seed", options.seed.to_string()),
    ]);
    facts.extend(bantam_runtime::peak_memory().map(|bytes| fact("memory at the most", size::format(bytes))));
    let page = Page {
        model: model.name().to_owned(),
        facts,
        losses: state.losses.clone(),
        validation: state.validation.clone(),
        kept: if best { state.best() } else { state.validation.last().copied() },
        likelihood: matches!(options.loss, Loss::Tokens),
        rates: (0..state.losses.len()).map(rate).collect(),
        samples,
    };
    let mut file = AtomicFile::create(path)?;
    file.write_all(page.html().as_bytes())?;
    file.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_read_as_people_say_them() {
        for (seconds, words) in [(0.2, "0 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (7500.0, "2 h 5 min")] {
            assert_eq!(super::duration(seconds), words);
        }
    }
}
