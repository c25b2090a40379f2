//! Measures decoding and encoding of every tensor type on one thread: a row that stays in the cache, again and again.
//!
//! `cargo run --release -p bantam-tensor --example bench_blocks [-- TYPE]`

use bantam_tensor::TensorType;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Elements of the row.
const WIDTH: usize = 4096;

fn main() {
    let only = std::env::args().nth(1).and_then(|name| TensorType::from_name(&name));
    // Uneven enough for a search to work: a sum of sines of the index, weights of a usual size.
    let values: Vec<f32> =
        (0..WIDTH).map(|index| 0.02 * ((index as f32 * 0.37).sin() + (index as f32 * 1.713).sin())).collect();
    println!("{:>8} {:>14} {:>14}", "type", "decode M/s", "encode M/s");
    for &tensor_type in TensorType::ALL.iter().filter(|&&each| only.is_none_or(|only| only == each)) {
        // Bytes that mean something to every type; scales are small halves of either sign.
        let mut bytes: Vec<u8> = (0..tensor_type.row_bytes(WIDTH).expect("whole blocks"))
            .map(|index| (index as u32).wrapping_mul(2_654_435_761) as u8 & 0xbf)
            .collect();
        let mut decoded = vec![0.0; WIDTH];
        let decode = rate(|| tensor_type.decode(black_box(&bytes), &mut decoded).expect("lengths fit"));
        let encode = if tensor_type.can_encode() {
            format!("{:14.1}", rate(|| tensor_type.encode(black_box(&values), &mut bytes).expect("lengths fit")))
        } else {
            format!("{:>14}", "-")
        };
        println!("{:>8} {decode:14.1} {encode}", tensor_type.name());
    }
}

/// Millions of elements a second, the best of several stretches.
fn rate(mut work: impl FnMut()) -> f64 {
    let mut best: f64 = 0.0;
    for _ in 0..5 {
        let start = Instant::now();
        let mut rounds = 0;
        while start.elapsed() < Duration::from_millis(40) {
            for _ in 0..8 {
                work();
            }
            rounds += 8;
        }
        best = best.max((rounds * WIDTH) as f64 / start.elapsed().as_secs_f64() / 1e6);
    }
    best
}
