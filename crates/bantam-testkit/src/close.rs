//! Comparing floats: as near as a share of the expected values' range, or to the bit.

/// Distance between the smallest and the largest of the values; 0 for none.
pub fn range_of(values: &[f32]) -> f32 {
    let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let min = values.iter().copied().fold(f32::INFINITY, f32::min);
    if values.is_empty() { 0.0 } else { max - min }
}

/// Largest absolute difference and where it is; a NaN on one side only counts as infinite. Panics on unequal lengths.
#[track_caller]
pub fn largest_difference(actual: &[f32], expected: &[f32]) -> (f32, usize) {
    assert_eq!(actual.len(), expected.len(), "the number of values differs");
    let mut worst = (0.0f32, 0);
    for (index, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let same = actual.to_bits() == expected.to_bits() || actual == expected || actual.is_nan() && expected.is_nan();
        let difference = (actual - expected).abs();
        let difference = if same {
            0.0
        } else if difference.is_nan() {
            f32::INFINITY
        } else {
            difference
        };
        if difference > worst.0 {
            worst = (difference, index);
        }
    }
    worst
}

/// Panics unless every value lies within `tolerance_of_range` × (range of `expected`) of the expected one.
#[track_caller]
pub fn assert_close(actual: &[f32], expected: &[f32], tolerance_of_range: f32, context: &str) {
    assert_eq!(actual.len(), expected.len(), "{context}: the number of values differs");
    let range = range_of(expected);
    let (worst, index) = largest_difference(actual, expected);
    assert!(
        worst <= tolerance_of_range * range,
        "{context}: value {index} of {} is {}, expected {}: off by {worst:e}, {:e} of the range {range} (allowed {tolerance_of_range:e})",
        actual.len(),
        actual[index],
        expected[index],
        worst / range,
    );
}

/// Panics unless all values are the same to the bit.
#[track_caller]
pub fn assert_bits_equal(actual: &[f32], expected: &[f32], context: &str) {
    assert_eq!(actual.len(), expected.len(), "{context}: the number of values differs");
    let differing = actual.iter().zip(expected).filter(|(a, b)| a.to_bits() != b.to_bits()).count();
    if let Some(index) = actual.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits()) {
        panic!(
            "{context}: {differing} of {} values differ, the first is value {index}: {:e} ({:#010x}), expected {:e} ({:#010x})",
            actual.len(),
            actual[index],
            actual[index].to_bits(),
            expected[index],
            expected[index].to_bits(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panics(body: impl FnOnce() + std::panic::UnwindSafe) -> bool {
        std::panic::catch_unwind(body).is_err()
    }

    #[test]
    fn tolerance_is_a_share_of_the_range() {
        assert_close(&[0.0, 10.0009], &[0.0, 10.0], 1e-4, "near");
        assert!(panics(|| assert_close(&[0.0, 10.0011], &[0.0, 10.0], 1e-4, "far")));
        assert!(panics(|| assert_close(&[f32::NAN, 10.0], &[0.0, 10.0], 1e-4, "no number")));
        assert!(panics(|| assert_close(&[0.0], &[0.0, 10.0], 1.0, "short")));
        assert_close(&[f32::NEG_INFINITY, 1.0], &[f32::NEG_INFINITY, 1.0], 1e-4, "infinite on both sides");
        assert_close(&[], &[], 0.0, "none");
    }

    #[test]
    fn bits_are_bits() {
        assert_bits_equal(&[f32::NAN, 1.0], &[f32::NAN, 1.0], "same");
        assert!(panics(|| assert_bits_equal(&[0.0], &[-0.0], "sign")));
    }
}
