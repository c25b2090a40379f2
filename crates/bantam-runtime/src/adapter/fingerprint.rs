//! What tells one base model from another.

use bantam_model::Checkpoint;

/// Bytes looked at where a tensor begins, in its middle and where it ends: all of a model would take as long as loading it.
const LOOKED_AT: usize = 4096;

/// FNV-1a (Fowler, Noll, Vo) over all bytes that are added, as sixteen digits: tells contents apart, and is not for secrets.
#[derive(Clone, Copy, Debug)]
pub struct Fingerprint(u64);

impl Default for Fingerprint {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Fingerprint {
    /// Adds some bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        self.0 = bytes.iter().fold(self.0, mix);
    }
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:016x}", self.0)
    }
}

/// The fingerprint of some bytes.
pub fn fingerprint(bytes: &[u8]) -> String {
    let mut all = Fingerprint::default();
    all.add(bytes);
    all.to_string()
}

/// The fingerprint of a model: of its tensors' names, types, extents and some of the bytes of each.
pub fn base_fingerprint(checkpoint: &Checkpoint) -> String {
    let mut all = Fingerprint::default();
    for (name, tensor) in checkpoint.tensors() {
        all.add(format!("{name} {} {:?};", tensor.element_name(), tensor.shape).as_bytes());
        let (bytes, middle) = (&tensor.bytes, tensor.bytes.len() / 2);
        for start in [0, middle, bytes.len().saturating_sub(LOOKED_AT)] {
            // What is made when it is looked at is made for the moment, and no more of it than this.
            let part = bytes.slice(start..(start + LOOKED_AT).min(bytes.len())).map(|part| part.fresh());
            all.add(part.as_deref().unwrap_or_default());
        }
    }
    all.to_string()
}
