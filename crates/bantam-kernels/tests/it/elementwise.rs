use crate::{Random, bits, close};
use bantam_kernels::{
    Activation, Isa, Pool, RopePairs, activate, add, glu, norm_layer, norm_rms, rope_angles, rope_apply, scale, softcap,
};

fn check_norm(rows: usize, width: usize, groups: usize, whole: bool) {
    let mut random = Random((rows * width + groups) as u64);
    let x = random.numbers(rows * width);
    let group = width / groups;
    let weight = random.numbers(if whole { width } else { group });
    let bias = random.numbers(weight.len());
    let eps = 1e-3;
    let (mut rms, mut layer) = (Vec::new(), Vec::new());
    for (i, x) in x.chunks(group).enumerate() {
        let x: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let at = |j: usize| if whole { i % groups * group + j } else { j };
        let mean = x.iter().sum::<f64>() / group as f64;
        let squares = x.iter().map(|x| x * x).sum::<f64>() / group as f64;
        let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / group as f64;
        for (j, x) in x.iter().enumerate() {
            let (w, b) = (f64::from(weight[at(j)]), f64::from(bias[at(j)]));
            rms.push(x / (squares + f64::from(eps)).sqrt() * w);
            layer.push((x - mean) / (variance + f64::from(eps)).sqrt() * w + b);
        }
    }
    let mut of_isas = Vec::new();
    for &isa in Isa::available() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let mut out = vec![0f32; x.len()];
            norm_rms(&pool, isa, &x, rows, width, groups, Some(&weight), eps, &mut out);
            close(&out, &rms, 2e-6 * 4.0, "rms");
            let mut alone = vec![0f32; width];
            norm_rms(&pool, isa, &x[..width], 1, width, groups, Some(&weight), eps, &mut alone);
            assert_eq!(bits(&alone), bits(&out[..width]));
            of_isas.push(bits(&out));
            norm_layer(&pool, isa, &x, rows, width, groups, Some(&weight), Some(&bias), eps, &mut out);
            // A part of one number is divided by its own rounding.
            close(&out, &layer, if group == 1 { 1e-2 } else { 2e-5 }, "layer");
        }
    }
    // All but plain Rust, which may round twice where they round once.
    for pair in of_isas[2..].windows(2) {
        assert_eq!(pair[0], pair[1]);
    }
}

#[test]
fn norms() {
    for (rows, width, groups) in
        [(1, 1, 1), (2, 16, 1), (3, 33, 1), (3, 96, 3), (5, 48, 2), (40, 2048, 1), (9, 2048, 32)]
    {
        check_norm(rows, width, groups, false);
        check_norm(rows, width, groups, true);
    }
}

fn check_rope(rows: usize, heads: usize, head_width: usize, rotated: usize, pairs: RopePairs) {
    let mut random = Random((rows * heads + head_width + rotated) as u64);
    let frequencies: Vec<f32> = (0..rotated / 2).map(|i| 10000f32.powf(-(2.0 * i as f32) / rotated as f32)).collect();
    let positions: Vec<u32> = (0..rows as u32).map(|row| row * 997 % 5000).collect();
    let half = rotated / 2;
    let (mut cos, mut sin) = (vec![0f32; rows * half], vec![0f32; rows * half]);
    rope_angles(&positions, &frequencies, 1.25, &mut cos, &mut sin);
    let x = random.numbers(rows * heads * head_width);
    let mut expected: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    for (i, head) in expected.chunks_mut(head_width).enumerate() {
        for (j, frequency) in frequencies.iter().enumerate() {
            let angle = f64::from(positions[i / heads] as f32 * frequency);
            let (a, b) = match pairs {
                RopePairs::Interleaved => (2 * j, 2 * j + 1),
                RopePairs::Halves => (j, j + half),
            };
            let (x, y) = (head[a], head[b]);
            head[a] = 1.25 * (x * angle.cos() - y * angle.sin());
            head[b] = 1.25 * (y * angle.cos() + x * angle.sin());
        }
    }
    for &isa in Isa::available() {
        let mut turned = x.clone();
        rope_apply(&Pool::new(2), isa, &mut turned, rows, heads, head_width, rotated, pairs, &cos, &sin);
        close(&turned, &expected, 1e-6, &format!("{pairs:?} {head_width} {rotated}"));
    }
}

#[test]
fn ropes() {
    for pairs in [RopePairs::Interleaved, RopePairs::Halves] {
        for (rows, heads, width, rotated) in
            [(1, 1, 2, 2), (3, 2, 48, 48), (2, 3, 64, 16), (50, 8, 64, 64), (2, 2, 80, 20), (1, 1, 8, 0)]
        {
            check_rope(rows, heads, width, rotated, pairs);
        }
    }
}

#[test]
fn steps_of_single_numbers() {
    let mut random = Random(3);
    for length in [0, 1, 16, 50, 40_000] {
        let a: Vec<f32> = random.numbers(length).iter().map(|x| x * 6.0).collect();
        let b = random.numbers(length);
        let exact = |f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            a.iter().zip(&b).map(|(a, b)| f(f64::from(*a), f64::from(*b))).collect()
        };
        for &isa in Isa::available() {
            for threads in [1, 2] {
                let pool = Pool::new(threads);
                let mut out = vec![0f32; length];
                let silu = |a: f64| a / (1.0 + (-a).exp());
                activate(&pool, isa, Activation::Silu, &a, &mut out);
                close(&out, &exact(&|a, _| silu(a)), 2e-6, "silu");
                glu(&pool, isa, Activation::Silu, &a, &b, &mut out);
                close(&out, &exact(&|a, b| silu(a) * b), 2e-6, "silu glu");
                glu(&pool, isa, Activation::ReluSquared, &a, &b, &mut out);
                close(&out, &exact(&|a, b| a.max(0.0).powi(2) * b), 1e-5, "squared relu glu");
                activate(&pool, isa, Activation::Relu, &a, &mut out);
                close(&out, &exact(&|a, _| a.max(0.0)), 0.0, "relu");
                add(&pool, isa, &a, &b, &mut out);
                close(&out, &exact(&|a, b| a + b), 1e-6, "add");
                scale(&pool, isa, 0.25, &a, &mut out);
                close(&out, &exact(&|a, _| a * 0.25), 0.0, "scale");
                softcap(&pool, isa, 5.0, &a, &mut out);
                close(&out, &exact(&|a, _| 5.0 * (a / 5.0).tanh()), 2e-6, "softcap");
            }
        }
    }
}
