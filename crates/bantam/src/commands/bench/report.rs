//! How measurements are written: a table for people, llama-bench's fields for scripts.

use std::io::{self, Write as _};
use std::time::Duration;

use bantam_kernels::KvFormat;
use bantam_plan::{Cost, CostQuestion, Weights as _, total_cost};
use bantam_runtime::{LoadOptions, Model};
use bantam_tensor::TensorType;
use serde_json::{Value, json};

use super::Test;
use crate::output::Style;
use crate::size;

/// What was measured before the tests.
#[derive(Clone, Copy, Debug)]
pub struct Machine {
    /// Threads that compute.
    pub threads: usize,
    /// Bytes a second that as many threads read from memory.
    pub bandwidth: f64,
    /// Multiplications and additions of int8 a second that as many threads do, where that was measured.
    pub int8_peak: Option<f64>,
    /// How long loading took.
    pub load: Duration,
}

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Columns.
    Terminal,
    /// A table in Markdown.
    Markdown,
}

/// What is known beside the measurements.
pub struct Report<'m> {
    model: &'m Model,
    options: LoadOptions,
    machine: Machine,
    parameters: u64,
    bytes: u64,
    type_name: String,
}

impl<'m> Report<'m> {
    /// For a model loaded like this.
    pub fn new(model: &'m Model, options: LoadOptions, machine: Machine) -> Self {
        let mut by_type: Vec<(&'static str, u64)> = Vec::new();
        let (mut parameters, mut bytes) = (0, 0);
        for (name, tensor) in model.checkpoint().tensors() {
            parameters += tensor.shape.iter().map(|&length| length as u64).product::<u64>();
            let (rows, width) = tensor.matrix().unwrap_or((1, 0));
            let Ok(stored) = &tensor.tensor_type else { continue };
            let loaded = model.loaded_type(name, *stored, width);
            let size = loaded.bytes(rows, width).unwrap_or(0) as u64;
            bytes += size;
            match by_type.iter_mut().find(|(name, _)| *name == loaded.name()) {
                Some((_, sum)) => *sum += size,
                None => by_type.push((loaded.name(), size)),
            }
        }
        // As llama-bench: a model is of the type that most of its bytes are of.
        let type_name = by_type.iter().max_by_key(|(_, size)| *size).map_or("", |(name, _)| name);
        let type_name = format!("{} {} {type_name}", model.spec().family, size::count(parameters));
        Self { model, options, machine, parameters, bytes, type_name }
    }

    /// The lines above the table.
    pub fn head(&self, form: Form) -> io::Result<()> {
        let style = Style::stdout();
        let (bytes, Machine { threads, bandwidth, int8_peak, .. }) = (size::format(self.bytes), self.machine);
        let mut out = io::stdout().lock();
        write!(out, "{}, {bytes}, {threads} threads; memory reads {:.1} GB/s", self.type_name, bandwidth / 1e9)?;
        match int8_peak {
            Some(peak) => writeln!(out, ", int8 peak {:.0} Gop/s\n", peak / 1e9)?,
            None => writeln!(out, "\n")?,
        }
        let (bold, reset) = (style.bold(), style.reset());
        let [test, speed, time, bandwidth, peak] = ["test", "tokens/s", "ms/token", "bandwidth", "int8 peak"];
        match form {
            Form::Terminal => {
                writeln!(out, "{bold}{test:<18} {speed:>22} {time:>12} {bandwidth:>10} {peak:>10}{reset}")
            }
            Form::Markdown => {
                writeln!(out, "| {test} | {speed} | {time} | {bandwidth} | {peak} |\n|---|--:|--:|--:|--:|")
            }
        }
    }

    /// One line of the table.
    pub fn row(&self, form: Form, test: Test, nanoseconds: &[u64]) -> io::Result<()> {
        let (speed, spread) = spread(&self.speeds(test, nanoseconds));
        let percent = |share: Option<f64>| share.map_or(String::new(), |share| format!("{:.0}%", 100.0 * share));
        let (bandwidth, peak) = (percent(self.bandwidth_share(test, speed)), percent(self.int8_share(test, speed)));
        let (name, speeds, time) = (test.name(), format!("{speed:.2} ± {spread:.2}"), 1e3 / speed);
        let mut out = io::stdout().lock();
        match form {
            Form::Terminal => writeln!(out, "{name:<18} {speeds:>22} {time:>12.3} {bandwidth:>10} {peak:>10}"),
            Form::Markdown => writeln!(out, "| {name} | {speeds} | {time:.3} | {bandwidth} | {peak} |"),
        }
    }

    /// The line below the table.
    pub fn foot(&self, peak_memory: Option<u64>) -> io::Result<()> {
        let memory = peak_memory.map_or(String::new(), |bytes| format!("; {} of memory at most", size::format(bytes)));
        writeln!(io::stdout(), "\nloaded in {:.2} s{memory}", self.machine.load.as_secs_f64())
    }

    /// One test with llama-bench's names, and ours behind them.
    pub fn json(&self, test: Test, nanoseconds: &[u64], peak_memory: Option<u64>) -> Value {
        let times: Vec<f64> = nanoseconds.iter().map(|&time| time as f64).collect();
        let speeds = self.speeds(test, nanoseconds);
        let ((average_time, spread_time), (speed, spread_speed)) = (spread(&times), spread(&speeds));
        let kv = match self.options.kv {
            KvFormat::F32 => "f32",
            KvFormat::F16 => "f16",
            KvFormat::Q8_0 => "q8_0",
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "backends": "CPU",
            "model_filename": self.model.path().display().to_string(),
            "model_type": self.type_name,
            "model_size": self.bytes,
            "model_n_params": self.parameters,
            "n_batch": self.options.chunk_rows,
            "n_threads": self.machine.threads,
            "type_k": kv,
            "type_v": kv,
            "n_prompt": test.prompt,
            "n_gen": test.generate,
            "n_depth": test.depth,
            "n_parallel": test.parallel,
            "avg_ns": average_time.round() as u64,
            "stddev_ns": spread_time.round() as u64,
            "avg_ts": speed,
            "stddev_ts": spread_speed,
            "samples_ns": nanoseconds,
            "samples_ts": speeds,
            "bandwidth": self.machine.bandwidth.round() as u64,
            "bytes_per_token": self.bytes_per_token(test),
            "bandwidth_share": self.bandwidth_share(test, speed),
            "int8_peak": self.machine.int8_peak.map(|peak| peak.round() as u64),
            "int8_share": self.int8_share(test, speed),
            "load_ns": u64::try_from(self.machine.load.as_nanos()).unwrap_or(u64::MAX),
            "peak_memory": peak_memory,
        })
    }

    fn speeds(&self, test: Test, nanoseconds: &[u64]) -> Vec<f64> {
        nanoseconds.iter().map(|&time| test.tokens() as f64 * 1e9 / time.max(1) as f64).collect()
    }

    /// The bytes that generating a token moves, weights (shared by sequences that generate together), keys and values, at
    /// the middle of the answer; nothing for prompts, whose tokens share what they read.
    fn bytes_per_token(&self, test: Test) -> Option<u64> {
        if test.generate == 0 {
            return None;
        }
        let cost = self.cost(1, 1, (test.depth + test.generate / 2) as u64);
        Some(cost.weights / test.parallel.max(1) as u64 + cost.memory)
    }

    fn cost(&self, tokens: u64, outputs: u64, context: u64) -> Cost {
        let weight_bytes = |name: &str, rows: usize, width: usize| {
            let stored = self.model.checkpoint().weight(name).map_or(TensorType::F32, |view| view.tensor_type);
            let loaded = self.model.loaded_type(name, stored, width);
            loaded.bytes(rows, width).unwrap_or(0) as u64
        };
        let kv_type = match self.options.kv {
            KvFormat::F32 => TensorType::F32,
            KvFormat::F16 => TensorType::F16,
            KvFormat::Q8_0 => TensorType::Q8_0,
        };
        let memory_bytes = |width: usize| kv_type.row_bytes(width).unwrap_or(0) as u64;
        let (memory_bytes, weight_bytes) = (&memory_bytes, &weight_bytes);
        total_cost(self.model.plan(), &CostQuestion { tokens, outputs, context, memory_bytes, weight_bytes })
    }

    /// How much of the bandwidth that makes.
    fn bandwidth_share(&self, test: Test, speed: f64) -> Option<f64> {
        let bytes = self.bytes_per_token(test)?;
        (self.machine.bandwidth > 0.0).then(|| bytes as f64 * speed / self.machine.bandwidth)
    }

    /// How much of the int8 peak a prompt's arithmetic makes (all of it, attention too; the head for one row).
    fn int8_share(&self, test: Test, speed: f64) -> Option<f64> {
        let peak = self.machine.int8_peak.filter(|_| test.prompt > 0)?;
        let cost = self.cost(test.prompt as u64, 1, (test.depth + test.prompt / 2) as u64);
        Some(cost.flops as f64 / test.prompt as f64 * speed / peak)
    }
}

/// Mean and sample standard deviation, as llama-bench has them.
fn spread(samples: &[f64]) -> (f64, f64) {
    let count = samples.len() as f64;
    let mean = samples.iter().sum::<f64>() / count.max(1.0);
    if samples.len() < 2 {
        return (mean, 0.0);
    }
    let squares: f64 = samples.iter().map(|sample| (sample - mean).powi(2)).sum();
    (mean, (squares / (count - 1.0)).sqrt())
}

#[cfg(test)]
mod tests {
    #[test]
    fn spread_is_that_of_a_sample() {
        for (samples, expected) in [
            (&[][..], (0.0, 0.0)),
            (&[3.0], (3.0, 0.0)),
            (&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0], (5.0, (32.0f64 / 7.0).sqrt())),
        ] {
            assert_eq!(super::spread(samples), expected);
        }
    }
}
