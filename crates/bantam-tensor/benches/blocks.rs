//! Decoding and encoding of every tensor type on one thread: a row of 4,096 elements that stays in the cache, again and again.
//!
//! `cargo bench -p bantam-tensor --bench blocks -- Q4_K` measures what matches. An item is an element; bytes are those of the type.

use bantam_tensor::TensorType;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// Elements of the row.
const WIDTH: usize = 4096;

fn main() {
    divan::main();
}

fn names(encoded: bool) -> Vec<&'static str> {
    let types = TensorType::ALL.iter().filter(|each| !encoded || each.can_encode());
    types.map(|each| each.name()).collect()
}

fn tensor_type(name: &str) -> (TensorType, usize) {
    let tensor_type = TensorType::from_name(name).expect("one of the names");
    (tensor_type, tensor_type.row_bytes(WIDTH).expect("whole blocks"))
}

#[divan::bench(args = names(false), max_time = 0.2)]
fn decode(bencher: Bencher<'_, '_>, name: &str) {
    let (tensor_type, length) = tensor_type(name);
    // Bytes that mean something to every type; scales are small halves of either sign.
    let bytes: Vec<u8> = (0..length).map(|index| (index as u32).wrapping_mul(2_654_435_761) as u8 & 0xbf).collect();
    let mut decoded = vec![0.0; WIDTH];
    bencher.counter(ItemsCount::new(WIDTH)).counter(BytesCount::new(length)).bench_local(|| {
        tensor_type.decode(black_box(&bytes), black_box(&mut decoded)).expect("lengths fit");
    });
}

#[divan::bench(args = names(true), max_time = 0.2)]
fn encode(bencher: Bencher<'_, '_>, name: &str) {
    let (tensor_type, length) = tensor_type(name);
    // Uneven enough for a search to work: a sum of sines of the index, weights of a usual size.
    let values: Vec<f32> =
        (0..WIDTH).map(|index| 0.02 * ((index as f32 * 0.37).sin() + (index as f32 * 1.713).sin())).collect();
    let mut bytes = vec![0; length];
    bencher.counter(ItemsCount::new(WIDTH)).counter(BytesCount::new(length)).bench_local(|| {
        tensor_type.encode(black_box(&values), black_box(&mut bytes)).expect("lengths fit");
    });
}
