//! Where the time of a test goes, written below its line.

use std::io::{self, Write as _};

use bantam_runtime::{Profile, ProfiledStep};
use serde_json::{Value, json};

use super::report::Form;

/// Rates of one kind of step: multiplications and additions, and bytes, a nanosecond.
fn rates(step: &ProfiledStep) -> (f64, f64) {
    let time = step.nanoseconds.max(1) as f64;
    (step.operations as f64 / time, step.bytes as f64 / time)
}

/// One line for each kind of step, then what is left, then the waiting.
pub fn print(form: Form, profile: &Profile) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let (runs, all) = (profile.runs.max(1) as f64, profile.nanoseconds.max(1) as f64);
    let mut line = |name: &str, nanoseconds: f64, rest: [String; 3]| {
        let (time, share) = (nanoseconds / runs / 1e3, 100.0 * nanoseconds / all);
        let [calls, operations, bytes] = rest;
        match form {
            Form::Terminal => {
                writeln!(out, "  {name:<38} {time:>11.1} us {share:>5.1}% {calls:>7} {operations:>12} {bytes:>11}")
            }
            Form::Markdown => writeln!(out, "| {name} | {time:.1} us | {share:.1}% | {calls} {operations} {bytes} | |"),
        }
    };
    for step in profile.steps.iter().filter(|step| step.calls > 0) {
        let (operations, bytes) = rates(step);
        let some = |of: u64, text: String| if of == 0 { String::new() } else { text };
        let rest = [
            format!("x {:.0}", step.calls as f64 / runs),
            some(step.operations, format!("{operations:.0} Gop/s")),
            some(step.bytes, format!("{bytes:.1} GB/s")),
        ];
        line(&step.name, step.nanoseconds as f64, rest)?;
    }
    let steps: u64 = profile.steps.iter().map(|step| step.nanoseconds).sum();
    line("between steps", profile.nanoseconds.saturating_sub(steps) as f64, Default::default())?;
    let regions = format!("x {:.0}", profile.regions as f64 / runs);
    line("of it, waiting at ends of regions", profile.waited as f64, [regions, String::new(), String::new()])
}

/// The same for scripts, of all repetitions together.
pub fn json(profile: &Profile) -> Value {
    let step = |step: &ProfiledStep| {
        json!({
            "name": step.name,
            "calls": step.calls,
            "ns": step.nanoseconds,
            "operations": step.operations,
            "bytes": step.bytes,
        })
    };
    let steps: Vec<Value> = profile.steps.iter().map(step).collect();
    json!({
        "runs": profile.runs,
        "ns": profile.nanoseconds,
        "regions": profile.regions,
        "waited_ns": profile.waited,
        "steps": steps,
    })
}
