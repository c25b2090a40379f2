//! Where the read-only material outside the repository lies.

use std::path::PathBuf;

/// The folder of shared material: `$BANTAM_SHARED`, or `shared` beside the repository. Where there is none, prints that
/// the test is skipped and gives `None`; the test then returns.
pub fn shared_dir() -> Option<PathBuf> {
    let directory = match std::env::var_os("BANTAM_SHARED") {
        Some(path) => PathBuf::from(path),
        None => std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared"),
    };
    if directory.is_dir() {
        return Some(directory);
    }
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    eprintln!("SKIPPED {test}: no shared material at {} (set BANTAM_SHARED)", directory.display());
    None
}
