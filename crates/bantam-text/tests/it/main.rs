//! Integration tests: vocabularies, streams and templates against what independent implementations gave.
#![allow(missing_docs)]

mod companions;
mod cut_calls;
mod exchange;
mod gguf;
mod guarded;
mod hostile;
mod mutations;
mod streams;
mod taught_calls;
mod templates;
mod thinking;
mod tokenizers;
mod tool_calls;
mod training;
mod vocabularies;

use std::path::PathBuf;

/// The shared material, or `None` (with a note) where this checkout has none.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("BANTAM_SHARED")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared"), PathBuf::from);
    let path = root.join(path);
    if path.exists() {
        return Some(path);
    }
    println!("skipped: {} is not here", path.display());
    None
}
