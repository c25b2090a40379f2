//! Renders templates from standard input, one JSON string a line, and prints what each took.
#![allow(missing_docs)]
use std::io::BufRead;
use std::time::Instant;

use bantam_text::{ChatInput, ChatTemplate};

fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let find = |key: &str| {
        status.lines().find(|line| line.starts_with(key)).map(|l| l.trim_start_matches(key).trim().to_owned())
    };
    find("VmHWM:").unwrap_or_default()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let source: String = serde_json::from_str(&line?)?;
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        let before = peak();
        let start = Instant::now();
        let found = ChatTemplate::new(&source, "", "", "t").and_then(|t| t.render(&ChatInput::default()));
        let took = start.elapsed().as_secs_f64() * 1e3;
        let said = found.map_or_else(|error| error.to_string(), |text| format!("{} bytes", text.len()));
        println!(
            "{took:7.1} ms, peak {before} -> {}: {} {said:.100}",
            peak(),
            source.chars().take(60).collect::<String>()
        );
    }
    Ok(())
}
