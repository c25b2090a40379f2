//! How measurements are written: a table for people, llama-bench's fields for scripts.

use std::io::{self, Write as _};

use bantam_kernels::KvFormat;
use bantam_plan::{CostQuestion, Weights as _, total_cost};
use bantam_runtime::{LoadOptions, Model};
use bantam_tensor::TensorType;
use serde_json::{Value, json};

use super::Test;
use crate::output::Style;
use crate::size;

/// What is known beside the measurements.
pub struct Report<'m> {
    model: &'m Model,
    options: LoadOptions,
    threads: usize,
    /// Bytes a second that as many threads read from memory.
    bandwidth: f64,
    parameters: u64,
    bytes: u64,
    type_name: String,
}

impl<'m> Report<'m> {
    /// For a model loaded like this.
    pub fn new(model: &'m Model, options: LoadOptions, threads: usize, bandwidth: f64) -> Self {
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
        Self { model, options, threads, bandwidth, parameters, bytes, type_name }
    }

    /// The lines above the table.
    pub fn head(&self) -> io::Result<()> {
        let style = Style::stdout();
        let (bytes, bandwidth) = (size::format(self.bytes), self.bandwidth / 1e9);
        let mut out = io::stdout().lock();
        writeln!(out, "{}, {bytes}, {} threads, memory reads {bandwidth:.1} GB/s", self.type_name, self.threads)?;
        let (bold, reset) = (style.bold(), style.reset());
        writeln!(out, "\n{bold}{:<16} {:>22} {:>14} {:>10}{reset}", "test", "tokens/s", "ms/token", "bandwidth")
    }

    /// One line of the table.
    pub fn row(&self, test: Test, nanoseconds: &[u64]) -> io::Result<()> {
        let (speed, spread) = spread(&self.speeds(test, nanoseconds));
        let name = match (test.prompt, test.depth) {
            (0, 0) => format!("tg{}", test.generate),
            (prompt, 0) => format!("pp{prompt}"),
            (0, depth) => format!("tg{} @ d{depth}", test.generate),
            (prompt, depth) => format!("pp{prompt} @ d{depth}"),
        };
        let share = match self.share(test, speed) {
            Some(share) => format!("{:.0}%", 100.0 * share),
            None => String::new(),
        };
        let speeds = format!("{speed:.2} ± {spread:.2}");
        writeln!(io::stdout(), "{name:<16} {speeds:>22} {:>14.3} {share:>10}", 1e3 / speed)
    }

    /// One test with llama-bench's names, and ours behind them.
    pub fn json(&self, test: Test, nanoseconds: &[u64]) -> Value {
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
            "n_threads": self.threads,
            "type_k": kv,
            "type_v": kv,
            "n_prompt": test.prompt,
            "n_gen": test.generate,
            "n_depth": test.depth,
            "avg_ns": average_time.round() as u64,
            "stddev_ns": spread_time.round() as u64,
            "avg_ts": speed,
            "stddev_ts": spread_speed,
            "samples_ns": nanoseconds,
            "samples_ts": speeds,
            "bandwidth": self.bandwidth.round() as u64,
            "bytes_per_token": self.bytes_per_token(test),
            "bandwidth_share": self.share(test, speed),
        })
    }

    fn speeds(&self, test: Test, nanoseconds: &[u64]) -> Vec<f64> {
        nanoseconds.iter().map(|&time| test.tokens() as f64 * 1e9 / time.max(1) as f64).collect()
    }

    /// The bytes that generating a token moves, weights, keys and values, at the middle of the answer; nothing for prompts, whose tokens
    /// share what they read.
    fn bytes_per_token(&self, test: Test) -> Option<u64> {
        if test.generate == 0 {
            return None;
        }
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
        let cost = total_cost(
            self.model.plan(),
            &CostQuestion {
                tokens: 1,
                outputs: 1,
                context: (test.depth + test.generate / 2) as u64,
                memory_bytes: &memory_bytes,
                weight_bytes: &weight_bytes,
            },
        );
        Some(cost.weights + cost.memory)
    }

    /// How much of the bandwidth that makes.
    fn share(&self, test: Test, speed: f64) -> Option<f64> {
        let bytes = self.bytes_per_token(test)?;
        (self.bandwidth > 0.0).then(|| bytes as f64 * speed / self.bandwidth)
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
