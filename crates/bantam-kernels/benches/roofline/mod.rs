//! What the benches share: a pool for every number of threads, the machine's limits, and a table of what each bench reached
//! of them.
//!
//! Divan measures and prints times, operations ("items") and bytes a second, but cannot hold them against anything. So
//! [`run`] takes the time of the same calls for [`table`]: each line has the fastest call, and beside what it did in a second
//! what the machine could do, measured just before (on a machine shared with others that changes within a minute). The
//! greater of the two shares says how near the kernel is to the roof over it.

#![allow(dead_code, reason = "each bench is a program of its own and needs some of it")]

use bantam_kernels::{Isa, Pool, f32_peak, float_peak, int8_peak, read_bandwidth};
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// What a kernel's operations are held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peak {
    Int8,
    Bf16,
    F32,
}

/// What the machine can do, in operations and bytes a second.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    read: f64,
    int8: Option<f64>,
    /// Of f32 where there are no products of bf16.
    bf16: Option<f64>,
    f32: Option<f64>,
}

impl Limits {
    /// Takes half a second.
    fn measure(pool: &Pool) -> Self {
        let isa = Isa::detect();
        Self {
            read: read_bandwidth(pool),
            int8: int8_peak(pool, isa),
            bf16: float_peak(pool, isa).map(|peak| peak.flops),
            f32: f32_peak(pool, isa).map(|peak| peak.flops),
        }
    }

    fn peak(&self, of: Peak) -> Option<f64> {
        match of {
            Peak::Int8 => self.int8,
            Peak::Bf16 => self.bf16,
            Peak::F32 => self.f32,
        }
    }
}

/// What one call does.
pub struct Work {
    /// For the table.
    pub name: String,
    /// The limits are measured anew when this (or the number of threads) is another one than before.
    pub group: String,
    /// Multiplications and additions, and what they are held against.
    pub operations: usize,
    pub peak: Peak,
    /// Bytes that come from memory, or would if there were no caches.
    pub bytes: usize,
}

/// A line of the table.
struct Line {
    name: String,
    threads: usize,
    seconds: f64,
    operations: f64,
    peak: Option<f64>,
    bytes: f64,
    read: f64,
    /// Fastest turn of what was measured in turns with it.
    control: Option<f64>,
}

static LINES: Mutex<Vec<Line>> = Mutex::new(Vec::new());
static LIMITS: Mutex<Option<(String, usize, Limits)>> = Mutex::new(None);
static POOLS: Mutex<BTreeMap<usize, &'static Pool>> = Mutex::new(BTreeMap::new());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pool of so many threads, kept for the program's life.
pub fn pool(threads: usize) -> &'static Pool {
    lock(&POOLS).entry(threads).or_insert_with(|| Box::leak(Box::new(Pool::new(threads))))
}

fn limits(pool: &Pool, group: &str) -> Limits {
    let mut known = lock(&LIMITS);
    match &*known {
        Some((of, threads, limits)) if of == group && *threads == pool.threads() => *limits,
        _ => {
            let limits = Limits::measure(pool);
            *known = Some((group.into(), pool.threads(), limits));
            limits
        }
    }
}

/// Has divan measure `call`, and notes the fastest for the table. Before each, outside of what is measured, goes a turn of
/// `control`, which says how long it took, if there is something to compare with.
pub fn run(
    bencher: Bencher<'_, '_>,
    pool: &Pool,
    work: Work,
    mut control: impl FnMut() -> Option<f64>,
    mut call: impl FnMut(),
) {
    let limits = limits(pool, &work.group);
    let (mut seconds, mut other) = (f64::INFINITY, None);
    bencher
        .counter(ItemsCount::new(work.operations))
        .counter(BytesCount::new(work.bytes))
        .with_inputs(|| {
            if let Some(turn) = control() {
                other = Some(turn.min(other.unwrap_or(turn)));
            }
        })
        .bench_local_values(|()| {
            let begin = Instant::now();
            call();
            seconds = seconds.min(begin.elapsed().as_secs_f64());
        });
    lock(&LINES).push(Line {
        name: work.name,
        threads: pool.threads(),
        seconds,
        operations: work.operations as f64,
        peak: limits.peak(work.peak),
        bytes: work.bytes as f64,
        read: limits.read,
        control: other,
    });
}

/// Prints what was measured, `control` being the name of what ran in turns with it.
pub fn table(control: Option<&str>) {
    let lines = lock(&LINES);
    if lines.is_empty() {
        return;
    }
    println!("\n{}: fastest calls, and what the machine could do just before", Isa::detect().name());
    let beside = control.map(|name| format!(" {:>8}", format!("/ {name}"))).unwrap_or_default();
    println!(
        "{:<36} {:>7} {:>10} {:>8} {:>8} {:>4} {:>7} {:>7} {:>4}{beside}",
        "", "threads", "us", "Gop/s", "peak", "%", "GB/s", "read", "%"
    );
    for line in lines.iter() {
        let (work, read) = (line.operations / line.seconds, line.bytes / line.seconds);
        let number = |value: f64, digits| format!("{:.digits$}", value / 1e9);
        let share = |part: f64, of: f64| format!("{:.0}", 100.0 * part / of);
        let none = || "-".to_string();
        let worked = line.operations > 0.0;
        let peak = line.peak.filter(|_| worked);
        let beside = match (control, line.control) {
            (Some(_), Some(other)) => format!(" {:>8.2}", line.seconds / other),
            _ => String::new(),
        };
        println!(
            "{:<36} {:>7} {:>10.1} {:>8} {:>8} {:>4} {:>7.1} {:>7.1} {:>4}{beside}",
            line.name,
            line.threads,
            line.seconds * 1e6,
            if worked { number(work, 1) } else { none() },
            peak.map_or_else(none, |peak| number(peak, 0)),
            peak.map_or_else(none, |peak| share(work, peak)),
            read / 1e9,
            line.read / 1e9,
            share(read, line.read),
        );
    }
}

/// The fastest call of that name on so many threads, in seconds.
pub fn fastest(name: &str, threads: usize) -> Option<f64> {
    lock(&LINES).iter().find(|line| line.name == name && line.threads == threads).map(|line| line.seconds)
}

/// What the environment variable `BANTAM_BENCH` asks for: `key=value,value…` with spaces between; what it does not name is as
/// `or` says.
///
/// # Panics
/// Where something of it cannot be read.
pub fn asked(key: &str, or: &str) -> Vec<String> {
    let asked = std::env::var("BANTAM_BENCH").unwrap_or_default();
    let values = asked.split_whitespace().find_map(|pair| pair.strip_prefix(key)?.strip_prefix('='));
    values.unwrap_or(or).split(',').map(String::from).collect()
}

/// As [`asked`], numbers.
///
/// # Panics
/// As [`asked`].
pub fn asked_numbers(key: &str, or: &str) -> Vec<usize> {
    let parse = |value: &String| value.parse().unwrap_or_else(|_| panic!("BANTAM_BENCH: {key}={value} is no number"));
    asked(key, or).iter().map(parse).collect()
}

/// Numbers of threads to measure with: one and two, or what was asked for.
pub fn threads() -> Vec<usize> {
    asked_numbers("threads", "1,2")
}

/// `OUTPUTSxINPUTS`.
///
/// # Panics
/// Where it is something else.
pub fn shape(text: &str) -> (usize, usize) {
    let sides = text.split_once('x').and_then(|(outputs, inputs)| Some((outputs.parse().ok()?, inputs.parse().ok()?)));
    sides.unwrap_or_else(|| panic!("BANTAM_BENCH: {text} is not OUTPUTSxINPUTS"))
}

/// Numbers between -1 and 1.
pub fn numbers(length: usize) -> Vec<f32> {
    (0..length).map(|i| (i.wrapping_mul(2_654_435_761) % 1000) as f32 / 500.0 - 1.0).collect()
}
