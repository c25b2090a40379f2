//! `error_bound` held by blocks of every nature.

use bantam_tensor::TensorType;
use bantam_testkit::Random;

/// Encodes and decodes blocks of 256; panics where an element is further off than promised, or no number. Gives the
/// largest error as a share of the bound.
fn check(tensor_type: TensorType, values: &[f32; 256], what: &str) -> f32 {
    let mut bytes = vec![0xa5; tensor_type.row_bytes(256).unwrap()];
    tensor_type.encode(values, &mut bytes).unwrap();
    let mut decoded = [f32::NAN; 256];
    tensor_type.decode(&bytes, &mut decoded).unwrap();
    let mut share = 0.0f32;
    for (values, decoded) in values.chunks(tensor_type.block_len()).zip(decoded.chunks(tensor_type.block_len())) {
        let min = values.iter().copied().fold(f32::INFINITY, f32::min);
        let max = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let bound = tensor_type.error_bound(min, max);
        assert!(bound >= 0.0, "{tensor_type}, {what}: a bound of {bound} for {min:e}..{max:e}");
        for (index, (value, decoded)) in values.iter().zip(decoded).enumerate() {
            assert!(!decoded.is_nan(), "{tensor_type}, {what}: {value:e} became NaN");
            assert!(
                decoded.is_finite() || !tensor_type.is_quantized(),
                "{tensor_type}, {what}: {value:e} became {decoded}"
            );
            let error = (value - decoded).abs();
            assert!(
                error <= bound,
                "{tensor_type}, {what}: element {index}, {value:e}, became {decoded:e}; allowed {bound:e} in {min:e}..{max:e}"
            );
            if error > 0.0 {
                share = share.max(error / bound);
            }
        }
    }
    share
}

/// The types that encode.
fn encoded() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.iter().copied().filter(|each| each.can_encode())
}

/// Makes the element at an index.
type Element = Box<dyn FnMut(&mut Random, usize) -> f32>;

/// Blocks of every nature, by name.
fn blocks(random: &mut Random) -> Vec<(String, [f32; 256])> {
    let mut all: Vec<(String, [f32; 256])> = Vec::new();
    for scale in [1.0, 1e-2, 1e-4, 1e-6, 1e-12, 1e-30, 1e-37, 1e-42, 300.0, 1e5, 1e7, 1e9, 1e20, 1e30] {
        let mut of = |what: &str, mut value: Element| {
            let block =
                std::array::from_fn(|index| (scale * value(random, index) as f64).clamp(-3.4e38, 3.4e38) as f32);
            all.push((format!("{what} × {scale:e}"), block));
        };
        of("normal", Box::new(|random, _| random.normal()));
        of("normal again", Box::new(|random, _| random.normal()));
        of("uniform", Box::new(|random, _| random.between(-1.0, 1.0)));
        of("positive", Box::new(|random, _| random.between(0.5, 1.0)));
        of("negative", Box::new(|random, _| random.between(-1.0, -0.9)));
        of("far from zero", Box::new(|random, _| 100.0 + random.unit()));
        of("constant", Box::new(|_, _| 0.7));
        of("constant below zero", Box::new(|_, _| -0.7));
        of("zero", Box::new(|_, _| 0.0));
        of("one outlier", Box::new(|random, index| if index == 77 { 1000.0 } else { random.normal() }));
        of("one negative outlier", Box::new(|random, index| if index == 77 { -1000.0 } else { random.normal() }));
        of("two opposite ends", Box::new(|_, index| if index % 2 == 0 { 1.0 } else { -1.0 }));
        of("one element", Box::new(|_, index| if index == 255 { -1.0 } else { 0.0 }));
        of("sub-blocks apart", Box::new(|random, index| random.normal() * 10f32.powi(index as i32 / 16 - 8)));
        of("a ramp", Box::new(|_, index| index as f32 / 128.0 - 1.0));
        of("halves of steps", Box::new(|random, _| random.below(64) as f32 - 31.5));
        of("few levels", Box::new(|random, _| random.below(3) as f32 - 1.0));
        of("mostly at the top", Box::new(|random, _| if random.below(8) == 0 { random.unit() } else { 1.0 }));
        of("cubes", Box::new(|random, _| random.normal().powi(3)));
    }
    all.push((
        "the largest numbers".into(),
        std::array::from_fn(|index| if index % 3 == 0 { f32::MIN } else { f32::MAX }),
    ));
    all.push(("the largest number".into(), [f32::MAX; 256]));
    all.push(("the smallest numbers".into(), std::array::from_fn(|index| f32::from_bits(index as u32 % 3))));
    all.push(("negative zero".into(), [-0.0; 256]));
    all
}

#[test]
fn errors_stay_within_their_bound() {
    let mut random = Random::new(7);
    let mut worst = vec![(0.0f32, String::new()); TensorType::ALL.len()];
    for _ in 0..20 {
        for (what, block) in blocks(&mut random) {
            for (tensor_type, worst) in encoded().zip(&mut worst) {
                let share = check(tensor_type, &block, &what);
                if share > worst.0 {
                    *worst = (share, what.clone());
                }
            }
        }
    }
    for (tensor_type, (share, what)) in encoded().zip(worst) {
        println!("{tensor_type}: at most {share:.3} of the bound ({what})");
    }
}

#[test]
fn random_bits_encode_within_their_bound() {
    let mut random = Random::new(8);
    for _ in 0..300 {
        let block: [f32; 256] = std::array::from_fn(|_| {
            let value = f32::from_bits(random.bits() as u32);
            if value.is_finite() { value } else { 0.0 }
        });
        for tensor_type in encoded() {
            check(tensor_type, &block, "random bits");
        }
    }
}

#[test]
fn any_bytes_decode() {
    let mut random = Random::new(9);
    for &tensor_type in TensorType::ALL {
        for count in [0, 1, 7] {
            let bytes = random.bytes(count * tensor_type.block_bytes());
            let mut values = vec![0.0; count * tensor_type.block_len()];
            assert_eq!(tensor_type.decode(&bytes, &mut values), Ok(()));
        }
    }
}

#[test]
fn blocks_do_not_know_their_neighbours() {
    let mut random = Random::new(10);
    let values = random.normals(1024, 0.1);
    for tensor_type in encoded() {
        let mut together = vec![0; tensor_type.row_bytes(1024).unwrap()];
        tensor_type.encode(&values, &mut together).unwrap();
        let mut apart = vec![0; together.len()];
        let (len, bytes) = (tensor_type.block_len(), tensor_type.block_bytes());
        for (values, block) in values.chunks(len).zip(apart.chunks_mut(bytes)) {
            tensor_type.encode(values, block).unwrap();
        }
        assert!(together == apart, "{tensor_type}");
    }
}
