//! What tests have shown, for the support matrix.
//!
//! A test that has compared something with an independent implementation says so *after* its asserts held: [`shown`] writes
//! one line to the file that `$BANTAM_EVIDENCE` names, and does nothing where there is none. `cargo xtask test` gathers the
//! lines of a whole run and compares them with `docs/evidence.tsv`, from which the support matrix is generated: so a cell
//! of it says yes only if a test said so in the last run.
//!
//! A line: what kind of thing, which, what was shown of it, whether that needs material outside the repository
//! (`shared` or `-`), the test's file.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::panic::Location;

/// The variable that names the file lines are added to.
pub const VARIABLE: &str = "BANTAM_EVIDENCE";

/// `subject` of the kind `matrix` was shown to have `capability`: `shown("family", "llama", "run from GGUF")`.
#[track_caller]
pub fn shown(matrix: &str, subject: &str, capability: &str) {
    write([matrix, subject, capability, "-"], Location::caller());
}

/// The same for what can be shown only where there is material outside the repository ([`crate::shared_dir`]).
#[track_caller]
pub fn shown_with_shared(matrix: &str, subject: &str, capability: &str) {
    write([matrix, subject, capability, "shared"], Location::caller());
}

fn write(fields: [&str; 4], place: &Location<'_>) {
    let Some(path) = std::env::var_os(VARIABLE) else { return };
    assert!(fields.iter().all(|field| !field.contains(['\t', '\n'])), "a field of evidence is plain: {fields:?}");
    let line = format!("{}\t{}\n", fields.join("\t"), place.file().replace('\\', "/"));
    // One write of a whole line: those of tests running side by side don't mix.
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("cannot write evidence to {}: {error}", path.display()));
}
