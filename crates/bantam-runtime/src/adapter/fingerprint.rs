//! What tells one base model from another.

use bantam_model::Checkpoint;

/// Bytes looked at where a tensor begins, in its middle and where it ends: all of a model would take as long as loading it.
const LOOKED_AT: usize = 4096;

/// FNV-1a over some bytes (Fowler, Noll, Vo), as sixteen digits: tells contents apart, and is not for secrets.
pub fn fingerprint(bytes: &[u8]) -> String {
    format!("{:016x}", mixed(0xcbf2_9ce4_8422_2325, bytes))
}

fn mixed(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The fingerprint of a model: of its tensors' names, types, extents and some of the bytes of each.
pub fn base_fingerprint(checkpoint: &Checkpoint) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for (name, tensor) in checkpoint.tensors() {
        hash = mixed(hash, format!("{name} {} {:?};", tensor.element_name(), tensor.shape).as_bytes());
        // What is made when it is looked at has its bytes from elsewhere; its name and shape are enough.
        if tensor.bytes.is_made() {
            continue;
        }
        let bytes: &[u8] = &tensor.bytes;
        let middle = bytes.len() / 2;
        for start in [0, middle, bytes.len().saturating_sub(LOOKED_AT)] {
            hash = mixed(hash, &bytes[start..(start + LOOKED_AT).min(bytes.len())]);
        }
    }
    format!("{hash:016x}")
}
