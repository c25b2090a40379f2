//! Safetensors: the header.

use bantam_formats::safetensors::SafeTensors;
use bantam_testkit::mutate::Region;

use super::Target;

pub(super) const TARGET: Target =
    Target { name: "safetensors", about: "length and JSON header of safetensors", seeds, text: false, region, take };

/// The length and the header.
pub(super) fn region(bytes: &[u8]) -> Region {
    let length = bytes.first_chunk::<8>().map_or(0, |length| u64::from_le_bytes(*length));
    Region::half_in_first(usize::try_from(length.saturating_add(8)).unwrap_or(bytes.len()).min(bytes.len()))
}

fn take(bytes: &[u8]) -> bool {
    let Ok(file) = SafeTensors::parse(bytes) else { return false };
    for tensor in file.tensors() {
        assert_eq!(file.tensor(&tensor.name), Some(tensor), "a tensor of the file is not found");
        let data = bytes.get(tensor.range.clone());
        assert!(data.is_some(), "a tensor leaves the file");
        if !tensor.range.is_empty() {
            let bits = (tensor.rows() as u64) * (tensor.width() as u64) * tensor.dtype.bits();
            assert_eq!(bits, tensor.range.len() as u64 * 8, "a tensor's range does not fit its shape");
        }
    }
    true
}

fn seeds() -> Vec<Vec<u8>> {
    let with_header = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(header.as_bytes());
        bytes.resize(bytes.len() + data, 0x3c);
        bytes
    };
    vec![
        with_header("{}", 0),
        with_header(
            r#"{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"scalar":{"dtype":"I64","shape":[],"data_offsets":[32,40]},"none":{"dtype":"F16","shape":[0,7],"data_offsets":[40,40]}} "#,
            40,
        ),
    ]
}
