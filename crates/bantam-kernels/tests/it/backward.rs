//! Kernels of training against plain sums in f64, on every instruction set and number of threads.

use crate::{Random, bits, close};
use bantam_kernels::{
    Activation, AttentionShape, Isa, Matrix, Pool, Precision, ProductScratch, SequenceScratch, WeightRows,
    activate_back, add_norm_gradients, add_row_sums, add_to, add_weight_gradient, attend_sequences,
    attend_sequences_back, cross_entropy, cross_entropy_back, glu_back, multiply_back, multiply_trained, norm_back,
    softcap_back,
};
use bantam_tensor::{SharedBytes, TensorType};
use std::ops::Range;

/// Runs `make` on every instruction set with one thread and with three, compares each with `expected`, and holds both
/// numbers of threads to the same bits.
fn check(what: &str, expected: &[f64], tolerance: f64, make: impl Fn(&Pool, Isa) -> Vec<f32>) {
    for &isa in Isa::available() {
        let alone = make(&Pool::new(1), isa);
        close(&alone, expected, tolerance, what);
        assert_eq!(bits(&alone), bits(&make(&Pool::new(3), isa)), "{what}: threads");
    }
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

/// `a · b` of `[rows, depth]` and `[depth, columns]`.
fn product(a: &[f64], b: &[f64], rows: usize, depth: usize, columns: usize) -> Vec<f64> {
    let mut c = vec![0.0; rows * columns];
    for row in 0..rows {
        for k in 0..depth {
            for column in 0..columns {
                c[row * columns + column] += a[row * depth + k] * b[k * columns + column];
            }
        }
    }
    c
}

fn turned(x: &[f64], rows: usize, columns: usize) -> Vec<f64> {
    (0..rows * columns).map(|at| x[at % rows * columns + at / rows]).collect()
}

fn check_products(rows: usize, outputs: usize, inputs: usize) {
    let mut random = Random((rows * outputs + inputs) as u64);
    let (x, dy) = (random.numbers(rows * inputs), random.numbers(rows * outputs));
    let (weight, bias) = (random.numbers(outputs * inputs), random.numbers(outputs));
    let tolerance = 1e-5 * (inputs.max(outputs).max(rows) as f64).sqrt();
    let forwards = product(&wide(&x), &turned(&wide(&weight), outputs, inputs), rows, inputs, outputs);
    let expected: Vec<f64> = forwards.iter().enumerate().map(|(at, y)| y + f64::from(bias[at % outputs])).collect();
    check("trained product", &expected, tolerance, |pool, isa| {
        let mut out = vec![7.0; rows * outputs];
        let mut scratch = ProductScratch::new(Precision::F32);
        multiply_trained(pool, isa, &mut scratch, &x, rows, &weight, Some(&bias), &mut out, false);
        out
    });
    let expected: Vec<f64> = forwards.iter().zip(&dy).map(|(y, dy)| y + f64::from(*dy)).collect();
    check("added trained product", &expected, tolerance, |pool, isa| {
        let mut out = dy.clone();
        multiply_trained(pool, isa, &mut ProductScratch::new(Precision::F32), &x, rows, &weight, None, &mut out, true);
        out
    });
    let expected = product(&wide(&dy), &wide(&weight), rows, outputs, inputs);
    check("back through a trained weight", &expected, tolerance, |pool, isa| {
        let mut out = vec![7.0; rows * inputs];
        let rows_of = WeightRows::Trained(&weight);
        multiply_back(pool, isa, &mut ProductScratch::new(Precision::F32), &dy, rows, rows_of, &mut out, false);
        out
    });
    let expected: Vec<f64> = expected.iter().zip(&x).map(|(dx, x)| dx + f64::from(*x)).collect();
    check("added back through a frozen weight", &expected, tolerance, |pool, isa| {
        let bytes = weight.iter().flat_map(|x| x.to_le_bytes()).collect();
        let bytes = SharedBytes::from_vec(bytes);
        let matrix = Matrix::new(TensorType::F32, outputs, inputs, bytes, isa, pool).unwrap();
        let mut out = x.clone();
        let rows_of = WeightRows::Frozen(&matrix);
        multiply_back(pool, isa, &mut ProductScratch::new(Precision::F32), &dy, rows, rows_of, &mut out, true);
        out
    });
    let expected = product(&turned(&wide(&dy), rows, outputs), &wide(&x), outputs, rows, inputs);
    let expected: Vec<f64> = expected.iter().zip(&weight).map(|(d, w)| d + f64::from(*w)).collect();
    check("gradient of a weight", &expected, tolerance, |pool, isa| {
        let mut out = weight.clone();
        add_weight_gradient(pool, isa, &mut ProductScratch::new(Precision::F32), &dy, &x, rows, &mut out);
        out
    });
    let sum = |column: usize| (0..rows).map(|row| f64::from(dy[row * outputs + column])).sum::<f64>();
    let expected: Vec<f64> = (0..outputs).map(|column| f64::from(bias[column]) + sum(column)).collect();
    check("gradient of a bias", &expected, tolerance, |pool, _| {
        let mut out = bias.clone();
        add_row_sums(pool, &dy, rows, &mut out);
        out
    });
}

#[test]
fn products_and_their_gradients() {
    for (rows, outputs, inputs) in
        [(1, 1, 1), (2, 3, 5), (7, 16, 64), (13, 65, 33), (100, 40, 130), (9, 300, 200), (5, 20, 4200), (3, 4200, 70)]
    {
        check_products(rows, outputs, inputs);
    }
}

#[test]
fn rows_go_back_through_every_type_as_it_decodes() {
    let (rows, outputs, inputs) = (5, 70, 256);
    let mut random = Random(4);
    let dy = random.numbers(rows * outputs);
    for tensor_type in TensorType::ALL.iter().copied().filter(|each| each.can_encode()) {
        let numbers = random.numbers(outputs * inputs);
        let mut bytes = vec![0; tensor_type.bytes(outputs, inputs).unwrap()];
        tensor_type.encode(&numbers, &mut bytes).unwrap();
        let mut decoded = vec![0.0; outputs * inputs];
        tensor_type.decode(&bytes, &mut decoded).unwrap();
        let expected = product(&wide(&dy), &wide(&decoded), rows, outputs, inputs);
        let bytes = SharedBytes::from_vec(bytes);
        check(tensor_type.name(), &expected, 1e-4, |pool, isa| {
            let matrix = Matrix::new(tensor_type, outputs, inputs, bytes.clone(), isa, pool).unwrap();
            let mut out = vec![0.0; rows * inputs];
            let rows_of = WeightRows::Frozen(&matrix);
            multiply_back(pool, isa, &mut ProductScratch::new(Precision::F32), &dy, rows, rows_of, &mut out, false);
            out
        });
    }
}

fn check_norm(rows: usize, width: usize, groups: usize, center: bool, own: bool) {
    let mut random = Random((rows * width + groups) as u64);
    let (x, dy) = (random.numbers(rows * width), random.numbers(rows * width));
    let group = width / groups;
    let weight = random.numbers(if own { width } else { group });
    let eps = 1e-2f32;
    let (mut dx, mut dw, mut db) = (Vec::new(), vec![0f64; weight.len()], vec![0f64; weight.len()]);
    for (n, (x, dy)) in x.chunks(group).zip(dy.chunks(group)).enumerate() {
        let at = |i: usize| if own { n % groups * group + i } else { i };
        let count = group as f64;
        let mean = if center { x.iter().map(|x| f64::from(*x)).sum::<f64>() / count } else { 0.0 };
        let variance = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / count;
        let inverse = 1.0 / (variance + f64::from(eps)).sqrt();
        let z: Vec<f64> = x.iter().map(|x| (f64::from(*x) - mean) * inverse).collect();
        let h: Vec<f64> = dy.iter().enumerate().map(|(i, dy)| f64::from(*dy) * f64::from(weight[at(i)])).collect();
        let mean_hz = h.iter().zip(&z).map(|(h, z)| h * z).sum::<f64>() / count;
        let mean_h = if center { h.iter().sum::<f64>() / count } else { 0.0 };
        for i in 0..group {
            dx.push(inverse * (h[i] - mean_h - z[i] * mean_hz));
            dw[at(i)] += f64::from(dy[i]) * z[i];
            db[at(i)] += f64::from(dy[i]);
        }
    }
    check("norm", &dx, 1e-4, |pool, isa| {
        let mut out = vec![0.0; rows * width];
        norm_back(pool, isa, &x, &dy, rows, width, groups, Some(&weight), eps, center, &mut out);
        out
    });
    let expected: Vec<f64> = dw.into_iter().chain(db).collect();
    check("norm's vectors", &expected, 1e-4, |pool, isa| {
        let (mut dw, mut db) = (vec![0.0; weight.len()], vec![0.0; weight.len()]);
        let (weight, bias) = (Some(&mut dw[..]), Some(&mut db[..]));
        add_norm_gradients(pool, isa, &x, &dy, rows, width, groups, eps, center, weight, bias);
        dw.into_iter().chain(db).collect()
    });
}

#[test]
fn norms() {
    for (rows, width, groups) in [(2, 16, 1), (3, 33, 1), (3, 96, 3), (40, 1000, 1), (9, 128, 4)] {
        for center in [false, true] {
            check_norm(rows, width, groups, center, false);
            check_norm(rows, width, groups, center, true);
        }
    }
}

/// A function's value and slope, the slope by a difference in f64.
fn value_and_slope(activation: Activation, x: f64) -> (f64, f64) {
    let value = |x: f64| match activation {
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x * x * x)).tanh())
        }
        Activation::GeluErf => {
            // Φ by its series, for the small numbers of this test.
            let z = x / std::f64::consts::SQRT_2;
            let (mut term, mut sum) = (z, z);
            for n in 1..200 {
                term *= -z * z / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            x * (0.5 + sum / std::f64::consts::PI.sqrt())
        }
        Activation::Relu => x.max(0.0),
        Activation::ReluSquared => x.max(0.0).powi(2),
    };
    let h = 1e-5;
    (value(x), (value(x + h) - value(x - h)) / (2.0 * h))
}

#[test]
fn activations_and_caps() {
    let mut random = Random(8);
    let count = 20_011;
    let x = random.numbers(count);
    // Away from the bend of ReLU, which a difference cannot look at.
    let x: Vec<f32> = x.into_iter().map(|x| if x.abs() < 1e-3 { 0.1 } else { 2.5 * x }).collect();
    let (up, dy) = (random.numbers(count), random.numbers(count));
    for activation in
        [Activation::Silu, Activation::GeluTanh, Activation::GeluErf, Activation::Relu, Activation::ReluSquared]
    {
        let both: Vec<(f64, f64)> = x.iter().map(|x| value_and_slope(activation, f64::from(*x))).collect();
        let expected: Vec<f64> = both.iter().zip(&dy).map(|((_, slope), dy)| slope * f64::from(*dy)).collect();
        check("activation", &expected, 2e-5, |pool, isa| {
            let mut out = vec![0.0; count];
            activate_back(pool, isa, activation, &x, &dy, &mut out);
            out
        });
        let gate = expected.iter().zip(&up).map(|(d, up)| d * f64::from(*up));
        let value = both.iter().zip(&dy).map(|((value, _), dy)| value * f64::from(*dy));
        let expected: Vec<f64> = gate.chain(value).collect();
        check("gate", &expected, 2e-5, |pool, isa| {
            let (mut d_gate, mut d_up) = (vec![0.0; count], vec![0.0; count]);
            glu_back(pool, isa, activation, &x, &up, &dy, &mut d_gate, &mut d_up);
            let mut alone = vec![0.0; count];
            glu_back(pool, isa, activation, &x, &up, &dy, &mut [], &mut alone);
            assert_eq!(bits(&alone), bits(&d_up));
            d_gate.into_iter().chain(d_up).collect()
        });
    }
    let capped = |x: f32| 1.0 - (f64::from(x) / 3.0).tanh().powi(2);
    let expected: Vec<f64> = x.iter().zip(&dy).map(|(x, dy)| f64::from(*dy) * capped(*x)).collect();
    check("softcap", &expected, 1e-5, |pool, isa| {
        let mut out = vec![0.0; count];
        softcap_back(pool, isa, 3.0, &x, &dy, &mut out);
        out
    });
    let expected: Vec<f64> = x.iter().zip(&dy).map(|(x, dy)| f64::from(x + dy)).collect();
    check("sum", &expected, 1e-9, |pool, isa| {
        let mut out = x.clone();
        add_to(pool, isa, &dy, &mut out);
        out
    });
}

#[test]
fn cross_entropies() {
    for (rows, width) in [(3, 5), (4, 16), (2, 9001)] {
        let mut random = Random((rows + width) as u64);
        let x: Vec<f32> = random.numbers(rows * width).into_iter().map(|x| 8.0 * x).collect();
        let tokens: Vec<u32> = (0..rows).map(|row| (row * 7 % width) as u32).collect();
        let weights: Vec<f32> = (0..rows).map(|row| if row == 1 { 0.0 } else { 0.5 }).collect();
        let (mut losses, mut gradients) = (Vec::new(), Vec::new());
        for (row, x) in x.chunks(width).enumerate() {
            let total = x.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let weight = f64::from(weights[row]);
            losses.push(weight * (total - f64::from(x[tokens[row] as usize])));
            for (i, x) in x.iter().enumerate() {
                let right = f64::from(u8::from(i == tokens[row] as usize));
                gradients.push(2.0 * weight * ((f64::from(*x) - total).exp() - right));
            }
        }
        check("losses", &losses, 1e-5, |pool, isa| {
            let mut out = vec![0.0; rows];
            cross_entropy(pool, isa, &x, width, &tokens, &weights, &mut out);
            out
        });
        check("gradients of logits", &gradients, 1e-5, |pool, isa| {
            let mut out = vec![0.0; rows * width];
            let twice = vec![2.0; rows];
            cross_entropy_back(pool, isa, &x, width, &tokens, &weights, Some(&twice), &mut out);
            out
        });
    }
}

/// Attention and its gradient, straight from the definition.
fn attention(
    shape: &AttentionShape,
    sequences: &[Range<usize>],
    [q, k, v, dy]: [&[f64]; 4],
) -> (Vec<f64>, [Vec<f64>; 3]) {
    let (kw, vw, group) = (shape.key_width, shape.value_width, shape.heads / shape.kv_heads);
    let mut out = vec![0.0; dy.len()];
    let (mut dq, mut dk, mut dv) = (vec![0.0; q.len()], vec![0.0; k.len()], vec![0.0; v.len()]);
    for range in sequences {
        for (row, head) in range.clone().flat_map(|row| (0..shape.heads).map(move |head| (row, head))) {
            let seen: Vec<usize> = range
                .clone()
                .filter(|&other| !shape.causal || other <= row)
                .filter(|&other| shape.window.is_none_or(|window| row < other + window as usize))
                .collect();
            let at = |row: usize, heads: usize, head: usize, width: usize| (row * heads + head) * width;
            let (q_at, y_at) = (at(row, shape.heads, head, kw), at(row, shape.heads, head, vw));
            let k_at = |other| at(other, shape.kv_heads, head / group, kw);
            let v_at = |other| at(other, shape.kv_heads, head / group, vw);
            let raw = |other| {
                let dot: f64 = (0..kw).map(|c| q[q_at + c] * k[k_at(other) + c]).sum();
                dot * f64::from(shape.scale)
            };
            let cap = |x: f64| shape.softcap.map_or(x, |cap| f64::from(cap) * (x / f64::from(cap)).tanh());
            let slope = |x: f64| shape.softcap.map_or(1.0, |cap| 1.0 - (x / f64::from(cap)).tanh().powi(2));
            let sum: f64 = seen.iter().map(|&other| cap(raw(other)).exp()).sum();
            let weights: Vec<f64> = seen.iter().map(|&other| cap(raw(other)).exp() / sum).collect();
            let d_weight = |other| (0..vw).map(|c| dy[y_at + c] * v[v_at(other) + c]).sum::<f64>();
            let mean: f64 = seen.iter().zip(&weights).map(|(&other, weight)| weight * d_weight(other)).sum();
            for (&other, weight) in seen.iter().zip(&weights) {
                for c in 0..vw {
                    out[y_at + c] += weight * v[v_at(other) + c];
                    dv[v_at(other) + c] += weight * dy[y_at + c];
                }
                let d = weight * (d_weight(other) - mean) * slope(raw(other)) * f64::from(shape.scale);
                for c in 0..kw {
                    dq[q_at + c] += d * k[k_at(other) + c];
                    dk[k_at(other) + c] += d * q[q_at + c];
                }
            }
        }
    }
    (out, [dq, dk, dv])
}

fn check_attention(shape: AttentionShape, sequences: &[Range<usize>]) {
    let rows = sequences.last().map_or(0, |range| range.end);
    let mut random = Random((rows * shape.heads + shape.key_width) as u64);
    let q = random.numbers(rows * shape.heads * shape.key_width);
    let k = random.numbers(rows * shape.kv_heads * shape.key_width);
    let v = random.numbers(rows * shape.kv_heads * shape.value_width);
    let dy = random.numbers(rows * shape.heads * shape.value_width);
    let (out, back) = attention(&shape, sequences, [&wide(&q), &wide(&k), &wide(&v), &wide(&dy)]);
    check("attention", &out, 1e-5, |pool, isa| {
        let mut out = vec![0.0; dy.len()];
        let scratch = SequenceScratch::new(pool);
        attend_sequences(pool, isa, &scratch, &shape, sequences, rows, (&q, &k, &v), &mut out);
        out
    });
    check("gradients of attention", &back.concat(), 1e-5, |pool, isa| {
        let (mut dq, mut dk, mut dv) = (vec![1.0; q.len()], vec![1.0; k.len()], vec![1.0; v.len()]);
        let scratch = SequenceScratch::new(pool);
        let results = (&mut dq[..], &mut dk[..], &mut dv[..]);
        attend_sequences_back(pool, isa, &scratch, &shape, sequences, rows, (&q, &k, &v), &dy, results);
        [dq, dk, dv].concat()
    });
}

#[test]
fn attention_within_sequences() {
    let shape = AttentionShape {
        heads: 4,
        kv_heads: 2,
        key_width: 24,
        value_width: 24,
        scale: 0.3,
        window: None,
        softcap: None,
        causal: true,
    };
    for ends in [&[1][..], &[5, 6, 70], &[200, 249]] {
        let starts = std::iter::once(&0).chain(ends);
        let sequences: Vec<Range<usize>> = starts.zip(ends).map(|(start, end)| *start..*end).collect();
        let sequences = &sequences[..];
        check_attention(shape, sequences);
        check_attention(AttentionShape { causal: false, ..shape }, sequences);
        check_attention(AttentionShape { window: Some(9), softcap: Some(1.5), ..shape }, sequences);
        check_attention(AttentionShape { window: Some(70), causal: false, ..shape }, sequences);
        check_attention(AttentionShape { value_width: 80, key_width: 65, heads: 2, ..shape }, sequences);
    }
}
