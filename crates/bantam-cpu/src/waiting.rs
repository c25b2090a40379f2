//! Weights that are repacked between the first batches instead of before them.
//!
//! Repacking writes as many bytes as the model has to memory that the system gives page by page, which takes longer than
//! multiplying a short prompt does. Until a weight's turn comes, products repack what they multiply in the caches.

use std::hint::black_box;

use bantam_kernels::{KernelError, Matrix, Pool};
use bantam_tensor::SharedBytes;

/// Batches, after the first, that repack all that waits.
const BATCHES: usize = 4;
/// Bytes of a file in a piece of work.
const PIECE: usize = 1 << 20;
/// The smallest page there is.
const PAGE: usize = 4096;

/// How far the repacking is.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// Whether there was a batch.
    begun: bool,
    /// Matrices before this one do not wait.
    next: usize,
    /// Bytes that each batch repacks.
    each: usize,
}

impl Waiting {
    /// For a Program's matrices. Where those that wait have fewer bytes than `least`, they are repacked at once.
    pub(crate) fn new(least: usize, matrices: &mut [Matrix], pool: &Pool) -> Result<Self, KernelError> {
        let total: usize = matrices.iter().filter(|matrix| matrix.is_waiting()).map(Matrix::bytes_read).sum();
        let mut waiting = Self { begun: false, next: 0, each: total.div_ceil(BATCHES) };
        if total < least {
            waiting.repack(matrices, pool, total)?;
        }
        Ok(waiting)
    }

    /// Before a batch: repacks its share, but for the first. Where there is no memory for a matrix it waits on, which is slower
    /// and as right, and is asked for again by the next batch.
    pub(crate) fn before_batch(&mut self, matrices: &mut [Matrix], pool: &Pool) {
        let over = self.next == matrices.len();
        if !over && std::mem::replace(&mut self.begun, true) {
            let _ = self.repack(matrices, pool, self.each);
            if self.next == matrices.len() {
                pool.drop_rooms();
            }
        }
    }

    fn repack(&mut self, matrices: &mut [Matrix], pool: &Pool, bytes: usize) -> Result<(), KernelError> {
        let mut done = 0;
        while let Some(matrix) = matrices.get_mut(self.next) {
            if matrix.is_waiting() {
                if done >= bytes {
                    break;
                }
                matrix.repack(pool)?;
                done += matrix.bytes_read();
            }
            self.next += 1;
        }
        Ok(())
    }
}

/// Looks at each page of a file's bytes, so that what must be read from a disk is read now, where progress is shown.
pub(crate) fn look_at(bytes: &SharedBytes, pool: &Pool) {
    let bytes = &bytes[..];
    pool.pieces(bytes.len().div_ceil(PIECE), |piece| {
        let some = &bytes[piece * PIECE..((piece + 1) * PIECE).min(bytes.len())];
        black_box(some.iter().step_by(PAGE).fold(0, |sum: u8, byte| sum.wrapping_add(*byte)));
    });
}

#[cfg(test)]
mod tests {
    use bantam_kernels::{Isa, Precision};
    use bantam_tensor::TensorType;

    use super::*;

    fn matrices(pool: &Pool) -> Vec<Matrix> {
        let make = |outputs: usize| {
            let bytes = SharedBytes::from_vec(vec![0x11; TensorType::Q4_0.bytes(outputs, 64).expect("fits")]);
            Matrix::waiting(Precision::F32, TensorType::Q4_0, outputs, 64, bytes, Isa::detect(), pool).expect("fits")
        };
        [16; 8].map(make).into()
    }

    /// How many wait before any batch, and after each.
    fn check(least: usize, expected: &[usize]) {
        let pool = Pool::new(1);
        let mut matrices = matrices(&pool);
        let count = |matrices: &[Matrix]| matrices.iter().filter(|matrix| matrix.is_waiting()).count();
        let mut waiting = Waiting::new(least, &mut matrices, &pool).expect("memory");
        let mut found = vec![count(&matrices)];
        while found.len() < expected.len() {
            waiting.before_batch(&mut matrices, &pool);
            found.push(count(&matrices));
        }
        assert_eq!(found, expected);
    }

    #[test]
    fn the_first_batch_repacks_nothing_and_the_next_four_all() {
        check(0, &[8, 8, 6, 4, 2, 0, 0]);
    }

    #[test]
    fn little_is_repacked_at_once() {
        check(usize::MAX, &[0, 0]);
    }
}
