//! A cheap, shareable window into bytes owned elsewhere: a mapped file, a buffer made at load, or bytes that are only made
//! when somebody looks at them.

use std::ops::{Deref, Range};
use std::sync::{Arc, OnceLock};

/// Bytes that stay where they are.
pub trait OwnBytes: AsRef<[u8]> + Send + Sync {
    /// Told that nobody here will look at a range of them soon. A mapped file lets go of the memory they take, and reads
    /// them again should somebody look after all; owners that could not get them back do nothing.
    fn done_with(&self, _range: Range<usize>) {}

    /// Told that a range of them will be looked at soon: a mapped file begins to read it. Only a hint.
    fn will_need(&self, _range: Range<usize>) {}
}

impl OwnBytes for Vec<u8> {}

impl OwnBytes for &'static [u8] {}

/// Owner of bytes that stay where they are for as long as anyone holds a window into them.
pub type BytesOwner = Arc<dyn OwnBytes>;

/// Makes bytes that are stored nowhere in this form: weights decoded from one format into another.
pub trait MakeBytes: Send + Sync {
    /// How many there are.
    fn length(&self) -> usize;

    /// Those of a range inside `0..length()`, exactly as many as it is long. Always the same ones.
    fn make(&self, range: Range<usize>) -> Vec<u8>;
}

/// A window into shared bytes. Cloning copies the handle, never the bytes.
#[derive(Clone)]
pub struct SharedBytes {
    owner: Owner,
    range: Range<usize>,
}

#[derive(Clone)]
enum Owner {
    Held(BytesOwner),
    Made(Arc<Made>),
}

/// Bytes `of` a maker, once they are there.
struct Made {
    maker: Arc<dyn MakeBytes>,
    of: Range<usize>,
    bytes: OnceLock<Vec<u8>>,
}

impl SharedBytes {
    /// A window of `range` bytes into `owner`, or `None` where the range leaves it.
    pub fn new(owner: BytesOwner, range: Range<usize>) -> Option<Self> {
        let length = (*owner).as_ref().len();
        (range.start <= range.end && range.end <= length).then_some(Self { owner: Owner::Held(owner), range })
    }

    /// Takes over a buffer.
    pub fn from_vec(bytes: Vec<u8>) -> Self {
        let range = 0..bytes.len();
        Self { owner: Owner::Held(Arc::new(bytes)), range }
    }

    /// All of what lies in the program itself.
    pub fn from_static(bytes: &'static [u8]) -> Self {
        Self { owner: Owner::Held(Arc::new(bytes)), range: 0..bytes.len() }
    }

    /// All bytes of a maker: made when they are first looked at, kept while any window made from this one lives.
    pub fn from_maker(maker: Arc<dyn MakeBytes>) -> Self {
        let range = 0..maker.length();
        let made = Made { maker, of: range.clone(), bytes: OnceLock::new() };
        Self { owner: Owner::Made(Arc::new(made)), range }
    }

    /// How many bytes it shows; makes none.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether it shows none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Whether the bytes are made when looked at, into memory of their own.
    pub fn is_made(&self) -> bool {
        matches!(self.owner, Owner::Made(_))
    }

    /// The same bytes; where they are made, just these and for the one who asks: dropping what this gives frees them,
    /// whoever else holds the window it came from.
    pub fn fresh(&self) -> Self {
        match &self.owner {
            Owner::Held(_) => self.clone(),
            Owner::Made(made) => {
                // A window lies inside what its owner is of, so the sums cannot overflow.
                let of = made.of.start + self.range.start..made.of.start + self.range.end;
                let made = Made { maker: Arc::clone(&made.maker), of, bytes: OnceLock::new() };
                Self { owner: Owner::Made(Arc::new(made)), range: 0..self.range.len() }
            }
        }
    }

    /// Says that nobody will look at a range of this window soon: see [`OwnBytes::done_with`].
    pub fn done_with(&self, range: Range<usize>) {
        if let Some((owner, range)) = self.of_owner(range) {
            owner.done_with(range);
        }
    }

    /// Says that a range of this window will be looked at soon: see [`OwnBytes::will_need`].
    pub fn will_need(&self, range: Range<usize>) {
        if let Some((owner, range)) = self.of_owner(range) {
            owner.will_need(range);
        }
    }

    /// The owner of bytes that are held, and a range of this window as one of its own; `None` for an empty one.
    fn of_owner(&self, range: Range<usize>) -> Option<(&BytesOwner, Range<usize>)> {
        let end = self.range.start.saturating_add(range.end).min(self.range.end);
        let start = self.range.start.saturating_add(range.start);
        match &self.owner {
            Owner::Held(owner) if start < end => Some((owner, start..end)),
            _ => None,
        }
    }

    /// A narrower window, relative to this one, or `None` where it leaves it.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let start = self.range.start.checked_add(range.start)?;
        let end = self.range.start.checked_add(range.end)?;
        (start <= end && end <= self.range.end).then(|| Self { owner: self.owner.clone(), range: start..end })
    }
}

impl Deref for SharedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let bytes = match &self.owner {
            Owner::Held(owner) => (**owner).as_ref(),
            Owner::Made(made) => made.bytes.get_or_init(|| made.maker.make(made.of.clone())),
        };
        // An owner whose bytes shrank since `new` (none of ours does) gives an empty window, not a panic.
        bytes.get(self.range.clone()).unwrap_or(&[])
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

    #[test]
    fn owners_are_told_of_their_own_ranges() {
        #[derive(Default)]
        struct Told(std::sync::Mutex<Vec<(&'static str, Range<usize>)>>);
        impl AsRef<[u8]> for Told {
            fn as_ref(&self) -> &[u8] {
                &[0; 100]
            }
        }
        impl OwnBytes for Told {
            fn done_with(&self, range: Range<usize>) {
                self.0.lock().expect("whole").push(("done", range));
            }
            fn will_need(&self, range: Range<usize>) {
                self.0.lock().expect("whole").push(("need", range));
            }
        }
        let owner = Arc::new(Told::default());
        let window = SharedBytes::new(Arc::clone(&owner) as BytesOwner, 20..60).expect("inside");
        window.will_need(0..10);
        window.will_need(30..usize::MAX);
        window.done_with(5..6);
        window.will_need(40..50);
        window.done_with(7..7);
        let told = owner.0.lock().expect("whole");
        assert_eq!(*told, [("need", 20..30), ("need", 50..60), ("done", 25..26)]);
    }

    #[test]
    fn made_bytes_are_made_when_looked_at() {
        struct Counting(std::sync::atomic::AtomicUsize);
        impl MakeBytes for Counting {
            fn length(&self) -> usize {
                10
            }

            fn make(&self, range: Range<usize>) -> Vec<u8> {
                self.0.fetch_add(range.len(), std::sync::atomic::Ordering::Relaxed);
                range.map(|n| n as u8).collect()
            }
        }
        let maker = Arc::new(Counting(0.into()));
        let made = || maker.0.load(std::sync::atomic::Ordering::Relaxed);
        let all = SharedBytes::from_maker(Arc::clone(&maker) as Arc<dyn MakeBytes>);
        let part = all.slice(2..6).unwrap();
        let narrow = part.slice(1..3).unwrap().fresh();
        assert_eq!((all.len(), part.len(), narrow.len(), made()), (10, 4, 2, 0));
        assert!(all.is_made() && narrow.is_made() && !SharedBytes::from_vec(vec![1]).is_made());
        assert_eq!((&*narrow, made()), (&[3, 4][..], 2));
        assert_eq!((&*narrow.fresh().slice(1..2).unwrap(), made()), (&[4][..], 4));
        assert_eq!((&*part, &*all, made()), (&[2, 3, 4, 5][..], &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9][..], 14));
    }
}
