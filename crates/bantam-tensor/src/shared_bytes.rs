//! A cheap, shareable window into bytes owned elsewhere: a mapped file, a buffer made at load.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// Owner of bytes that stay where they are for as long as anyone holds a window into them.
pub type BytesOwner = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A window into shared bytes. Cloning copies the handle, never the bytes.
#[derive(Clone)]
pub struct SharedBytes {
    owner: BytesOwner,
    range: Range<usize>,
}

impl SharedBytes {
    /// A window of `range` bytes into `owner`, or `None` where the range leaves it.
    pub fn new(owner: BytesOwner, range: Range<usize>) -> Option<Self> {
        let length = (*owner).as_ref().len();
        (range.start <= range.end && range.end <= length).then_some(Self { owner, range })
    }

    /// Takes over a buffer.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Arc::new(bytes), range }
    }

    /// A narrower window, relative to this one, or `None` where it leaves it.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Self { owner: Arc::clone(&self.owner), range: start..end })
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // An owner whose bytes shrank since `new` (none of ours does) gives an empty window, not a panic.
        (*self.owner).as_ref().get(self.range.clone()).unwrap_or(&[])
    }
}

impl AsRef<[u8]> for SharedBytes {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl std::fmt::Debug for SharedBytes {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "SharedBytes({} bytes)", self.range.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::reversed_empty_ranges, reason = "that they are refused is the point")]
    fn windows_stay_inside() {
        let bytes = SharedBytes::from_vec((0..10).collect());
        let check = |window: Option<SharedBytes>, expected: Option<&[u8]>| assert_eq!(window.as_deref(), expected);
        check(bytes.slice(0..10), Some(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
        check(bytes.slice(2..5), Some(&[2, 3, 4]));
        check(bytes.slice(2..5).and_then(|inner| inner.slice(1..3)), Some(&[3, 4]));
        check(bytes.slice(2..5).and_then(|inner| inner.slice(1..4)), None);
        check(bytes.slice(10..10), Some(&[]));
        check(bytes.slice(11..11), None);
        check(bytes.slice(5..2), None);
        check(bytes.slice(1..usize::MAX), None);
        check(bytes.slice(2..5).and_then(|inner| inner.slice(usize::MAX..usize::MAX)), None);
        check(SharedBytes::new(Arc::new(vec![1u8, 2]), 1..2), Some(&[2]));
        check(SharedBytes::new(Arc::new(vec![1u8, 2]), 1..3), None);
        check(SharedBytes::new(Arc::new(vec![1u8, 2]), 2..1), None);
    }

    #[test]
    fn cloning_shares_the_owner() {
        let bytes = SharedBytes::from_vec(vec![7; 100]);
        let clone = bytes.clone();
        assert_eq!(bytes.as_ptr(), clone.as_ptr());
        assert_eq!(format!("{bytes:?}"), "SharedBytes(100 bytes)");
    }
}
