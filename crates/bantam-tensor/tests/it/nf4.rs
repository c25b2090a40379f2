//! NF4 beside bitsandbytes (`tools/goldens/nf4.py`).

use bantam_tensor::{Nf4, TensorError};

/// The numbers that the goldens are made of.
fn at(n: u64) -> f32 {
    let part = |by: u64| (n * by % 10_007) as f64 / 10_007.0 * 2.0 - 1.0;
    ((part(7_919) + part(104_729) + part(1_299_709)) / 3.0 * (1 + n / 1000 % 5) as f64) as f32
}

#[test]
fn codes_and_numbers_are_those_of_bitsandbytes() {
    let mut golden = &include_bytes!("../goldens/nf4.bin")[..];
    for (rows, width) in [(6, 128), (171, 100), (1, 24)] {
        let count = rows * width;
        let fill = |row: usize, out: &mut [f32]| {
            out.iter_mut().enumerate().for_each(|(column, out)| *out = at((row * width + column) as u64));
            Ok::<(), TensorError>(())
        };
        let found = Nf4::encode(rows, width, fill).unwrap();
        let (codes, rest) = golden.split_at(count / 2);
        let (values, rest) = rest.split_at(4 * count);
        assert_eq!(found.codes(), codes, "[{rows}, {width}]");
        let expected: Vec<f32> = values.as_chunks::<4>().0.iter().map(|four| f32::from_le_bytes(*four)).collect();
        let mut row = vec![0.0; width];
        for number in 0..rows {
            found.decode(number, 0, &mut row);
            for (column, (found, expected)) in row.iter().zip(&expected[number * width..]).enumerate() {
                let apart = (found - expected).abs();
                assert!(apart <= 1e-6 * expected.abs(), "[{number}, {column}]: {found} against {expected}");
            }
            // Some of a row are the same.
            let (mut some, first) = (vec![0.0; width / 3], width / 4);
            found.decode(number, first, &mut some);
            assert_eq!(some, row[first..first + width / 3]);
        }
        golden = rest;
    }
    assert!(golden.is_empty());
    assert!((Nf4::bytes(4096, 4096) * 8) as f64 / f64::from(4096 * 4096) < 4.128);
}
