use crate::{Random, bits, close};
use bantam_kernels::{
    Activation, ActivationKind, Activations, FloatRows, Int8Rows, Isa, KernelError, Matrix, Pool, Precision, Product,
    glu, multiply, multiply_gated, multiply_tiles,
};
use bantam_tensor::{SharedBytes, TensorType};

/// A number as bf16 rounds it.
fn bf16(x: f32) -> f64 {
    let bits = x.to_bits();
    f64::from(f32::from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000))
}

/// Every type of numbers that a weight can have.
fn types() -> impl Iterator<Item = TensorType> {
    TensorType::ALL.iter().copied().filter(|tensor_type| {
        tensor_type.is_quantized() || matches!(tensor_type, TensorType::F32 | TensorType::F16 | TensorType::BF16)
    })
}

/// Bytes of a weight, its values as the format decodes them.
fn weight(tensor_type: TensorType, outputs: usize, inputs: usize, random: &mut Random) -> (Vec<u8>, Vec<f32>) {
    let count = outputs * inputs;
    let mut bytes = vec![0u8; tensor_type.bytes(outputs, inputs).expect("fits")];
    if tensor_type.can_encode() {
        tensor_type.encode(&random.numbers(count), &mut bytes).expect("encodes");
    } else {
        noise(tensor_type, &mut bytes, random);
    }
    let mut decoded = vec![0f32; count];
    tensor_type.decode(&bytes, &mut decoded).expect("decodes");
    (bytes, decoded)
}

/// Any codes, with scales that keep the values below about 1: for types that are only read.
fn noise(tensor_type: TensorType, bytes: &mut [u8], random: &mut Random) {
    bytes.iter_mut().for_each(|byte| *byte = random.bits() as u8);
    for block in bytes.chunks_exact_mut(tensor_type.block_bytes()) {
        // f16 of 2^-12 or, for few bits, of 1/2.
        match tensor_type {
            TensorType::NVFP4 => block[..4].iter_mut().for_each(|scale| *scale &= 0x1f),
            TensorType::IQ1_M => [49, 51, 53, 55].into_iter().zip([0, 0, 0, 2]).for_each(|(at, four)| {
                block[at] = block[at] & 15 | four << 4;
            }),
            TensorType::Q1_0 | TensorType::Q2_0 => block[..2].copy_from_slice(&[0x00, 0x38]),
            TensorType::IQ1_S => block[..2].copy_from_slice(&[0x00, 0x24]),
            _ => block[..2].copy_from_slice(&[0x00, 0x0c]),
        }
    }
}

/// At an odd address, as in a file.
fn unaligned(bytes: &[u8]) -> SharedBytes {
    let mut shifted = vec![0u8];
    shifted.extend_from_slice(bytes);
    SharedBytes::from_vec(shifted).slice(1..bytes.len() + 1).expect("inside")
}

fn product(
    pool: &Pool,
    matrix: &Matrix,
    x: &[f32],
    rows: usize,
    bias: Option<&[f32]>,
    out: &mut [f32],
    accumulate: bool,
) {
    let mut int8 = Int8Rows::with_capacity(rows, matrix.inputs()).expect("small");
    let activations = match matrix.activation() {
        ActivationKind::F32 | ActivationKind::Bf16 => Activations::F32(x),
        kind => {
            int8.quantize(pool, matrix.isa(), kind, x, rows, matrix.inputs());
            Activations::Int8(&int8)
        }
    };
    multiply(pool, activations, rows, &mut [Product { matrix, out, bias, accumulate }]);
}

/// A row as int8 with a scale for so many numbers rounds it.
fn rounded(x: &[f32], block: usize) -> Vec<f64> {
    let mut result = Vec::new();
    for block in x.chunks(block) {
        let greatest = block.iter().fold(0f32, |greatest, x| greatest.max(x.abs()));
        let scale = greatest / 127.0;
        result.extend(block.iter().map(|x| {
            if greatest == 0.0 { 0.0 } else { f64::from((x * (127.0 / greatest)).round_ties_even()) * f64::from(scale) }
        }));
    }
    result
}

fn check(tensor_type: TensorType, outputs: usize, inputs: usize, rows: usize) {
    check_in(Precision::F32, tensor_type, outputs, inputs, rows);
    if tensor_type == TensorType::BF16 {
        check_in(Precision::Bf16, tensor_type, outputs, inputs, rows);
    }
}

fn check_in(precision: Precision, tensor_type: TensorType, outputs: usize, inputs: usize, rows: usize) {
    let what = format!("{} [{outputs}, {inputs}] on {rows} rows in {precision:?}", tensor_type.name());
    let mut random = Random(outputs as u64 * 31 + inputs as u64 * 7 + rows as u64);
    let (bytes, values) = weight(tensor_type, outputs, inputs, &mut random);
    let x = random.numbers(rows * inputs);
    let bias = random.numbers(outputs);
    let before = random.numbers(rows * outputs);
    let mut expected = Vec::new();
    for x in x.chunks(inputs) {
        let x: Vec<f64> = match Matrix::activation_in(precision, tensor_type) {
            ActivationKind::Int8 => rounded(x, 32),
            ActivationKind::Int8By256 => rounded(x, 256),
            ActivationKind::Bf16 => x.iter().map(|x| bf16(*x)).collect(),
            ActivationKind::F32 => x.iter().map(|x| f64::from(*x)).collect(),
        };
        for (w, bias) in values.chunks(inputs).zip(&bias) {
            expected.push(w.iter().zip(&x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*bias));
        }
    }
    let tolerance = 2e-6 * (inputs as f64).sqrt().max(2.0);
    let mut of_isas = Vec::new();
    for &isa in Isa::available() {
        let mut of_threads = Vec::new();
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let bytes = unaligned(&bytes);
            let matrix = Matrix::with_precision(precision, tensor_type, outputs, inputs, bytes, isa, &pool);
            let matrix = matrix.expect("makes");
            let mut out = vec![f32::NAN; rows * outputs];
            product(&pool, &matrix, &x, rows, Some(&bias), &mut out, false);
            close(&out, &expected, tolerance, &format!("{what}, {}", isa.name()));
            // Row by row, the same bits.
            for row in 0..rows {
                let mut alone = vec![f32::NAN; outputs];
                product(&pool, &matrix, &x[row * inputs..][..inputs], 1, Some(&bias), &mut alone, false);
                assert_eq!(bits(&alone), bits(&out[row * outputs..][..outputs]), "{what}, row {row} alone");
            }
            let mut sum = before.clone();
            product(&pool, &matrix, &x, rows, Some(&bias), &mut sum, true);
            let expected: Vec<f32> = before.iter().zip(&out).map(|(before, out)| before + out).collect();
            assert_eq!(bits(&sum), bits(&expected), "{what}, accumulated");
            let mut row = vec![0f32; inputs];
            let mut tile = vec![0f32; outputs * inputs];
            matrix.decode_tile(0..outputs, 0..inputs, &mut tile);
            assert_eq!(bits(&tile), bits(&values), "{what}, decoded in one");
            for i in 0..outputs {
                matrix.decode_row(i, &mut row);
                assert_eq!(bits(&row), bits(&values[i * inputs..][..inputs]), "{what}, decoded row {i}");
            }
            of_threads.push(bits(&out));
        }
        assert_eq!(of_threads[0], of_threads[1], "{what}: threads");
        of_isas.push(of_threads.swap_remove(0));
    }
    // All but plain Rust, which may round twice where they round once.
    for pair in of_isas[1..].windows(2) {
        assert_eq!(pair[0], pair[1], "{what}: instruction sets");
    }
}

#[test]
fn products_are_right_and_do_not_depend_on_the_batch() {
    for tensor_type in types() {
        let block = tensor_type.block_len();
        for (outputs, blocks, rows) in [(1, 1, 1), (16, 2, 2), (37, 3, 7), (40, 1, 13), (130, 2, 29)] {
            check(tensor_type, outputs, blocks * block.max(32), rows);
        }
    }
    // Widths that are no multiple of a vector.
    for tensor_type in [TensorType::F32, TensorType::F16, TensorType::BF16] {
        for inputs in [1, 15, 17, 50, 513] {
            check(tensor_type, 9, inputs, 8);
        }
    }
    // Several tiles of decoded weights.
    check(TensorType::F16, 70, 2080, 7);
    check(TensorType::BF16, 70, 1056, 27);
    check(TensorType::Q5_1, 70, 2080, 7);
    check(TensorType::Q4_0, 70, 2080, 12);
    // More tiles of rows than pass over a panel together, in blocks that end within a unit.
    check(TensorType::Q8_0, 33, 544, 110);
    check(TensorType::Q6_K, 49, 256, 100);
    // So many rows that units are taken apart for all of them: several groups of blocks, several groups of tiles.
    check(TensorType::Q4_K, 33, 1024, 64);
    check(TensorType::Q2_K, 33, 768, 65);
    check(TensorType::IQ4_XS, 33, 1024, 67);
    check(TensorType::Q6_K, 17, 1024, 64);
    check(TensorType::Q4_K, 17, 256, 520);
}

#[test]
fn extreme_codes_do_not_saturate() {
    let pool = Pool::new(1);
    // Scale 1 (f16 0x3c00), every code at an end.
    for (tensor_type, code, value) in [
        (TensorType::Q8_0, 0x80, -128.0),
        (TensorType::Q8_0, 0x7f, 127.0),
        (TensorType::Q4_0, 0x00, -8.0),
        (TensorType::Q4_0, 0xff, 7.0),
    ] {
        let mut block = vec![code; tensor_type.block_bytes()];
        block[..2].copy_from_slice(&[0x00, 0x3c]);
        let bytes = SharedBytes::from_vec(block.repeat(16));
        for x in [1.0f32, -1.0] {
            for &isa in Isa::available() {
                let matrix = Matrix::new(tensor_type, 16, 32, bytes.clone(), isa, &pool).expect("makes");
                let mut out = [0f32; 16];
                product(&pool, &matrix, &[x; 32], 1, None, &mut out, false);
                close(
                    &out,
                    &[value * f64::from(x) * 32.0; 16],
                    1e-3,
                    &format!("{} of {code} on {}", tensor_type.name(), isa.name()),
                );
            }
        }
    }
}

#[test]
fn what_is_not_finite_shows_and_stays_in_its_row() {
    let pool = Pool::new(2);
    let mut random = Random(5);
    for tensor_type in types() {
        let inputs = tensor_type.block_len().max(64);
        let (bytes, _) = weight(tensor_type, 20, inputs, &mut random);
        for &isa in Isa::available() {
            let matrix = Matrix::new(tensor_type, 20, inputs, unaligned(&bytes), isa, &pool).expect("makes");
            let mut x = random.numbers(3 * inputs);
            x[inputs + 3] = f32::NAN;
            let mut out = vec![0f32; 60];
            product(&pool, &matrix, &x, 3, None, &mut out, false);
            for (row, out) in out.chunks(20).enumerate() {
                assert!(out.iter().all(|out| out.is_nan() == (row == 1)), "{} row {row}", tensor_type.name());
            }
        }
    }
}

#[test]
fn several_products_of_one_region() {
    let pool = Pool::new(2);
    let mut random = Random(11);
    for tensor_type in [TensorType::Q8_0, TensorType::F16, TensorType::BF16] {
        let made: Vec<Matrix> = [64, 16, 33, 1, 5, 70, 128, 9, 40]
            .map(|outputs| {
                let (bytes, _) = weight(tensor_type, outputs, 64, &mut random);
                Matrix::new(tensor_type, outputs, 64, unaligned(&bytes), Isa::detect(), &pool).expect("makes")
            })
            .into();
        let x = random.numbers(5 * 64);
        let mut int8 = Int8Rows::with_capacity(5, 64).expect("small");
        int8.quantize(&pool, Isa::detect(), ActivationKind::Int8, &x, 5, 64);
        let activations = match made[0].activation() {
            ActivationKind::F32 | ActivationKind::Bf16 => Activations::F32(&x),
            _ => Activations::Int8(&int8),
        };
        let mut outs: Vec<Vec<f32>> = made.iter().map(|matrix| vec![0f32; 5 * matrix.outputs()]).collect();
        let mut products: Vec<Product<'_>> = made
            .iter()
            .zip(&mut outs)
            .map(|(matrix, out)| Product { matrix, out, bias: None, accumulate: false })
            .collect();
        multiply(&pool, activations, 5, &mut products);
        for (matrix, out) in made.iter().zip(&outs) {
            let mut alone = vec![0f32; out.len()];
            product(&pool, matrix, &x, 5, None, &mut alone, false);
            assert_eq!(bits(&alone), bits(out));
        }
    }
}

/// Two products and a gated activation in one pass against the three of them.
fn check_gated(tensor_type: TensorType, activation: Activation, outputs: usize, inputs: usize, rows: usize) {
    let mut random = Random(7);
    let x = random.numbers(rows * inputs);
    let weights = [0; 2].map(|_| weight(tensor_type, outputs, inputs, &mut random).0);
    for &isa in Isa::available() {
        let pool = Pool::new(2);
        let [gate, up] = weights.each_ref().map(|bytes| {
            let bytes = SharedBytes::from_vec(bytes.clone());
            Matrix::new(tensor_type, outputs, inputs, bytes, isa, &pool).expect("fits")
        });
        let mut int8 = Int8Rows::with_capacity(rows, inputs).expect("small");
        int8.quantize(&pool, isa, gate.activation(), &x, rows, inputs);
        let [mut gated, mut plain, mut expected, mut found] = [(); 4].map(|()| vec![f32::NAN; rows * outputs]);
        let made = multiply_gated(&pool, &int8, (&gate, &up), activation, &mut found);
        assert_eq!(
            made,
            rows >= 4 && (isa == Isa::Avx512 || rows <= 12),
            "{tensor_type:?}, {rows} rows, {}",
            isa.name()
        );
        let product = |matrix, out| Product { matrix, out, bias: None, accumulate: false };
        let mut products = [product(&gate, &mut gated[..]), product(&up, &mut plain[..])];
        multiply(&pool, Activations::Int8(&int8), rows, &mut products);
        glu(&pool, isa, activation, &gated, &plain, &mut expected);
        if made {
            assert_eq!(bits(&found), bits(&expected), "{tensor_type:?}, {outputs} by {inputs}, {rows} rows");
        } else {
            assert!(found.iter().all(|x| x.is_nan()), "nothing is done");
        }
    }
}

#[test]
fn gated_products_in_one_pass_have_the_bits_of_three() {
    let activations =
        [Activation::Silu, Activation::GeluTanh, Activation::GeluErf, Activation::Relu, Activation::ReluSquared];
    let quantized = types().filter(|tensor_type| tensor_type.is_quantized());
    for (number, tensor_type) in quantized.enumerate() {
        for rows in [3, 4, 12, 13, 70] {
            check_gated(tensor_type, activations[(number + rows) % 5], 40 + number % 9, 512, rows);
        }
    }
    check_gated(TensorType::Q4_K, Activation::Silu, 300, 256, 600);
    check_gated(TensorType::Q8_0, Activation::Silu, 16, 32, 16);
}

fn check_waiting(tensor_type: TensorType, outputs: usize, inputs: usize, rows: usize) {
    let mut random = Random(11);
    let x = random.numbers(rows * inputs);
    let weights = [0; 2].map(|_| unaligned(&weight(tensor_type, outputs, inputs, &mut random).0));
    for &isa in Isa::available() {
        let pool = Pool::new(2);
        let made = |bytes: &SharedBytes, pool| {
            Matrix::waiting(Precision::F32, tensor_type, outputs, inputs, bytes.clone(), isa, pool).expect("fits")
        };
        let mut pair = weights.each_ref().map(|bytes| made(bytes, &pool));
        let name = format!("{tensor_type:?}, {outputs} by {inputs}, {rows} rows, {}", isa.name());
        let results = |[first, second]: &[Matrix; 2]| {
            let [mut plain, mut gated] = [(); 2].map(|()| vec![0f32; rows * outputs]);
            product(&pool, first, &x, rows, None, &mut plain, false);
            if first.activation().is_int8() {
                let mut int8 = Int8Rows::with_capacity(rows, inputs).expect("small");
                int8.quantize(&pool, isa, first.activation(), &x, rows, inputs);
                multiply_gated(&pool, &int8, (first, second), Activation::Silu, &mut gated);
            }
            let [mut row, mut tile] = [inputs, outputs.min(20) * inputs].map(|length| vec![0f32; length]);
            first.decode_row(outputs - 1, &mut row);
            first.decode_tile(outputs - outputs.min(20)..outputs, 0..inputs, &mut tile);
            [plain, gated, row, tile].map(|numbers| bits(&numbers))
        };
        let waits = pair[0].is_waiting();
        assert!(!waits || pair[0].panels().is_none(), "{name}");
        let before = results(&pair);
        pair.iter_mut().for_each(|matrix| matrix.repack(&pool).expect("small"));
        assert!(!pair[0].is_waiting(), "{name}");
        assert!(before == results(&pair), "{name}: another result once it was repacked (it waited: {waits})");
        if waits {
            let elsewhere = Matrix::new(tensor_type, outputs, inputs, weights[0].clone(), Isa::Portable, &pool);
            assert!(pair[0].panels() == elsewhere.expect("fits").panels(), "{name}: other panels");
        }
    }
}

#[test]
fn weights_that_wait_give_the_bits_of_those_that_were_repacked() {
    let mut waiting = 0;
    for tensor_type in types() {
        // An odd number of blocks.
        let inputs = if tensor_type.block_len() <= 32 { 544 } else { 768 };
        for (outputs, rows) in [(48, 1), (37, 12), (20, 13), (100, 70)] {
            check_waiting(tensor_type, outputs, inputs, rows);
        }
        let pool = Pool::new(1);
        let bytes = SharedBytes::from_vec(vec![0; tensor_type.bytes(16, 256).expect("fits")]);
        let made = Matrix::waiting(Precision::F32, tensor_type, 16, 256, bytes, Isa::detect(), &pool);
        waiting += usize::from(made.expect("fits").is_waiting());
    }
    assert_eq!(waiting, 10, "formats that wait");
}

#[test]
fn gated_products_of_unlike_matrices_are_left_alone() {
    let (pool, mut random) = (Pool::new(1), Random(3));
    let mut matrix = |tensor_type, outputs| {
        let bytes = SharedBytes::from_vec(weight(tensor_type, outputs, 64, &mut random).0);
        Matrix::new(tensor_type, outputs, 64, bytes, Isa::detect(), &pool).expect("fits")
    };
    let [gate, other_type, other_shape] =
        [(TensorType::Q4_0, 32), (TensorType::Q5_0, 32), (TensorType::Q4_0, 48)].map(|(t, n)| matrix(t, n));
    let mut int8 = Int8Rows::with_capacity(20, 64).expect("small");
    int8.quantize(&pool, Isa::detect(), ActivationKind::Int8, &[0.5; 20 * 64], 20, 64);
    for up in [other_type, other_shape] {
        let mut out = vec![f32::NAN; 20 * 32];
        assert!(!multiply_gated(&pool, &int8, (&gate, &up), Activation::Silu, &mut out), "{up:?}");
        assert!(out.iter().all(|x| x.is_nan()));
    }
}

#[test]
fn weights_that_do_not_fit_are_refused() {
    let pool = Pool::new(1);
    let make = |tensor_type, outputs, inputs, length| {
        Matrix::new(tensor_type, outputs, inputs, SharedBytes::from_vec(vec![0; length]), Isa::detect(), &pool)
    };
    for (tensor_type, outputs, inputs, length) in [
        (TensorType::Q8_0, 2, 33, 68),
        (TensorType::F32, 0, 4, 0),
        (TensorType::F32, 4, 0, 0),
        (TensorType::F16, usize::MAX / 4, 8, 16),
        (TensorType::Q4_0, usize::MAX / 8, 32, 16),
    ] {
        assert!(matches!(make(tensor_type, outputs, inputs, length), Err(KernelError::WeightShape { .. })));
    }
    let error = make(TensorType::Q8_0, 2, 32, 67).expect_err("too short").to_string();
    assert_eq!(error, "a Q8_0 weight of 2 rows of 32 takes 68 bytes, found 67");
    assert_eq!(Matrix::owned_bytes(TensorType::Q8_0, 17, 96, Isa::Portable), 2 * (2 * 64 + 3 * 512));
    assert_eq!(Matrix::owned_bytes(TensorType::F16, 17, 96, Isa::Portable), 32 * 96 * 2);
    assert_eq!(Matrix::owned_bytes(TensorType::BF16, 33, 95, Isa::Portable), 2 * 32 * 96 * 2);
}

/// `a · b` by tiles against f64, whatever the instruction set and the number of threads; also with `a` turned, added to what
/// is there, and row by row.
fn check_tiles(precision: Precision, rows: usize, depth: usize, columns: usize) {
    let what = format!("{precision:?} {rows} x {depth} x {columns}");
    let mut random = Random((rows * 31 + depth * 7 + columns) as u64);
    let (a, b) = (random.numbers(rows * depth), random.numbers(depth * columns));
    let before = random.numbers(rows * columns);
    let number = |x: f32| if precision == Precision::Bf16 { bf16(x) } else { f64::from(x) };
    let mut expected = vec![0f64; rows * columns];
    for (row, expected) in expected.chunks_mut(columns).enumerate() {
        for (k, b) in b.chunks(columns).enumerate() {
            let a = number(a[row * depth + k]);
            expected.iter_mut().zip(b).for_each(|(expected, b)| *expected += a * number(*b));
        }
    }
    let turned: Vec<f32> = (0..rows * depth).map(|i| a[i % rows * depth + i / rows]).collect();
    let fill = |depths: std::ops::Range<usize>, range: std::ops::Range<usize>, tile: &mut [f32]| {
        for (k, tile) in depths.zip(tile.chunks_exact_mut(range.len())) {
            tile.copy_from_slice(&b[k * columns..][range.clone()]);
        }
    };
    let mut all = Vec::new();
    for &isa in Isa::available() {
        for threads in [1, 3] {
            let pool = Pool::new(threads);
            let mut packed = FloatRows::with_capacity(precision, rows, depth).expect("small");
            packed.pack(&pool, isa, &a, rows, depth);
            let mut out = vec![f32::NAN; rows * columns];
            multiply_tiles(&pool, isa, &packed, columns, &fill, &mut out, false);
            close(&out, &expected, 2e-6 * (depth as f64).sqrt().max(2.0), &format!("{what}, {}", isa.name()));
            packed.pack_transposed(&pool, isa, &turned, rows, depth);
            let mut sum = vec![0f32; rows * columns];
            multiply_tiles(&pool, isa, &packed, columns, &fill, &mut sum, true);
            assert_eq!(bits(&sum), bits(&out), "{what}, turned");
            sum.copy_from_slice(&before);
            multiply_tiles(&pool, isa, &packed, columns, &fill, &mut sum, true);
            let more: Vec<f64> = expected.iter().zip(&before).map(|(a, b)| a + f64::from(*b)).collect();
            close(&sum, &more, 2e-6 * (depth as f64).sqrt().max(2.0), &format!("{what}, added"));
            packed.pack(&pool, isa, &a[(rows - 1) * depth..], 1, depth);
            let mut alone = vec![0f32; columns];
            multiply_tiles(&pool, isa, &packed, columns, &fill, &mut alone, false);
            assert_eq!(bits(&alone), bits(&out[(rows - 1) * columns..]), "{what}, a row alone");
            if isa != Isa::Portable {
                all.push(bits(&out));
            }
        }
    }
    assert!(all.windows(2).all(|two| two[0] == two[1]), "{what}: instruction sets and threads");
}

#[test]
fn products_by_tiles_are_right() {
    for precision in [Precision::F32, Precision::Bf16] {
        for (rows, depth, columns) in [(1, 1, 1), (3, 17, 16), (13, 300, 33), (50, 7, 290), (70, 1030, 40)] {
            check_tiles(precision, rows, depth, columns);
        }
    }
}

#[test]
fn gradients_pass_through_weights_of_every_format() {
    let (pool, isa) = (Pool::new(2), Isa::detect());
    let mut random = Random(3);
    for tensor_type in types() {
        let (rows, outputs, inputs) = (5, 37, 2 * tensor_type.block_len().max(128));
        let (bytes, values) = weight(tensor_type, outputs, inputs, &mut random);
        let matrix = Matrix::new(tensor_type, outputs, inputs, unaligned(&bytes), isa, &pool).expect("makes");
        let mut tile = vec![0f32; 3 * 32];
        matrix.decode_tile(30..33, 64..96, &mut tile);
        for (row, tile) in (30..33).zip(tile.chunks(32)) {
            assert_eq!(bits(tile), bits(&values[row * inputs + 64..][..32]), "{} row {row}", tensor_type.name());
        }
        let dy = random.numbers(rows * outputs);
        let mut packed = FloatRows::with_capacity(Precision::F32, rows, outputs).expect("small");
        packed.pack(&pool, isa, &dy, rows, outputs);
        let mut dx = vec![0f32; rows * inputs];
        let decode = |outputs, inputs, tile: &mut [f32]| matrix.decode_tile(outputs, inputs, tile);
        multiply_tiles(&pool, isa, &packed, inputs, &decode, &mut dx, false);
        let expected: Vec<f64> = (0..rows * inputs)
            .map(|i| {
                let (row, input) = (i / inputs, i % inputs);
                let products = |k: usize| f64::from(dy[row * outputs + k]) * f64::from(values[k * inputs + input]);
                (0..outputs).map(products).sum()
            })
            .collect();
        close(&dx, &expected, 2e-5, tensor_type.name());
    }
}
