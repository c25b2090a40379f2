//! Products of every format behind a C interface, for programs that load it once for this machine and once for another, such
//! as a WebAssembly runtime: `tools/wasm.py` compares the two bit by bit and in time.
//!
//! One product at a time is prepared and kept. Lengths and places are of f32; everything is of one thread.

use bantam_kernels::{Activations, Int8Rows, Isa, Matrix, Pool, Precision, Product, multiply};
use bantam_tensor::{SharedBytes, TensorType};
use std::sync::{Mutex, OnceLock, PoisonError};

/// What is kept.
struct Prepared {
    matrix: Matrix,
    x: Vec<f32>,
    quantized: Int8Rows,
    out: Vec<f32>,
}

static PREPARED: Mutex<Option<Prepared>> = Mutex::new(None);

fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| Pool::new(1))
}

fn with<T>(act: impl FnOnce(&mut Option<Prepared>) -> T) -> T {
    act(&mut PREPARED.lock().unwrap_or_else(PoisonError::into_inner))
}

fn tensor_type(number: usize) -> Option<TensorType> {
    TensorType::ALL.get(number).copied()
}

/// How many formats there are.
// SAFETY: nothing else in a program that loads this has the name.
#[unsafe(no_mangle)]
pub extern "C" fn formats() -> usize {
    TensorType::ALL.len()
}

/// A format's name, in UTF-8, and how long it is.
// SAFETY: as `formats`.
#[unsafe(no_mangle)]
pub extern "C" fn format_name(number: usize) -> *const u8 {
    tensor_type(number).map_or("", TensorType::name).as_ptr()
}

/// See [`format_name`].
// SAFETY: as `formats`.
#[unsafe(no_mangle)]
pub extern "C" fn format_name_length(number: usize) -> usize {
    tensor_type(number).map_or("", TensorType::name).len()
}

/// Makes a weight of pseudo-random blocks and rows to multiply it with, `portable` (not 0) in plain Rust, else by the best
/// instructions of the machine; `rounded` lets BF16 be multiplied with rows rounded to bf16. 0 where the format cannot hold such
/// a shape, else the length of the result.
// SAFETY: as `formats`.
#[unsafe(no_mangle)]
pub extern "C" fn prepare(
    format: usize,
    outputs: usize,
    inputs: usize,
    rows: usize,
    portable: usize,
    rounded: usize,
) -> usize {
    let isa = if portable != 0 { Isa::Portable } else { Isa::detect() };
    let precision = if rounded != 0 { Precision::Bf16 } else { Precision::F32 };
    let prepared = tensor_type(format).and_then(|tensor_type| {
        let bytes = weight_bytes(tensor_type, outputs, inputs)?;
        let bytes = SharedBytes::from_vec(bytes);
        let matrix = Matrix::with_precision(precision, tensor_type, outputs, inputs, bytes, isa, pool()).ok()?;
        let x: Vec<f32> = (0..rows * inputs).map(|i| noise(i as u32 ^ 0x5bd1_e995) as i32 as f32 / 2e9).collect();
        let mut quantized = Int8Rows::with_capacity(rows, inputs).ok()?;
        if matrix.activation().is_int8() {
            quantized.quantize(pool(), isa, matrix.activation(), &x, rows, inputs);
        }
        Some(Prepared { matrix, x, quantized, out: vec![0.0; rows * outputs] })
    });
    with(|kept| {
        *kept = prepared;
        kept.as_ref().map_or(0, |kept| kept.out.len())
    })
}

/// Multiplies what was prepared, so many times.
// SAFETY: as `formats`.
#[unsafe(no_mangle)]
pub extern "C" fn multiply_again(times: usize) {
    with(|kept| {
        let Some(Prepared { matrix, x, quantized, out }) = kept else { return };
        let rows = out.len() / matrix.outputs();
        for _ in 0..times {
            let int8 = matrix.activation().is_int8();
            let activations = if int8 { Activations::Int8(quantized) } else { Activations::F32(x) };
            multiply(pool(), activations, rows, &mut [Product { matrix, out, bias: None, accumulate: false }]);
        }
    });
}

/// The result, in place until the next [`prepare`].
// SAFETY: as `formats`.
#[unsafe(no_mangle)]
pub extern "C" fn result() -> *const f32 {
    with(|kept| kept.as_ref().map_or(std::ptr::null(), |kept| kept.out.as_ptr()))
}

/// The same bits on every machine (MurmurHash3's last steps).
fn noise(mut word: u32) -> u32 {
    word = (word ^ word >> 16).wrapping_mul(0x85eb_ca6b);
    word = (word ^ word >> 13).wrapping_mul(0xc2b2_ae35);
    word ^ word >> 16
}

/// Codes at random, with every number that a block has as half or float near 2^-4: what is multiplied then is of a usual size.
/// One scale in 64 is next to nothing (subnormal).
fn weight_bytes(tensor_type: TensorType, outputs: usize, inputs: usize) -> Option<Vec<u8>> {
    let mut bytes: Vec<u8> = (0..tensor_type.bytes(outputs, inputs).ok()?).map(|i| noise(i as u32) as u8).collect();
    let scale = |bytes: &mut [u8]| bytes[1] = if bytes[0] & 63 == 0 { 0 } else { 0x2c } | bytes[1] & 0x83;
    for block in bytes.chunks_exact_mut(tensor_type.block_bytes()) {
        let places: &[usize] = match tensor_type {
            TensorType::F32 => {
                block[3] = 0x3d | block[3] & 0x80;
                &[]
            }
            TensorType::F64 => {
                block[7] = 0x3f | block[7] & 0x80;
                block[6] = 0xb0 | block[6] & 0x0f;
                &[]
            }
            TensorType::BF16 => {
                block[1] = 0x3d | block[1] & 0x80;
                &[]
            }
            TensorType::MXFP4 => {
                block[0] = if block[1] & 63 == 0 { block[0] & 3 } else { 0x78 | block[0] & 3 };
                &[]
            }
            TensorType::NVFP4 => {
                block[..4]
                    .iter_mut()
                    .for_each(|scale| *scale = if *scale & 0x70 == 0 { 0 } else { 0x20 } | *scale & 0x0f);
                &[]
            }
            TensorType::IQ1_M => {
                let words = block.len() - 8;
                block[words + 7] = 0x20 | block[words + 7] & 0x8f;
                &[]
            }
            TensorType::Q6_K => &[208],
            TensorType::Q3_K => &[108],
            TensorType::Q2_K => &[80, 82],
            TensorType::TQ2_0 => &[64],
            TensorType::TQ1_0 => &[52],
            TensorType::Q4_K | TensorType::Q5_K | TensorType::Q4_1 | TensorType::Q5_1 => &[0, 2],
            TensorType::I8 | TensorType::I16 | TensorType::I32 | TensorType::I64 => &[],
            _ => &[0],
        };
        places.iter().for_each(|&place| scale(&mut block[place..]));
    }
    Some(bytes)
}
