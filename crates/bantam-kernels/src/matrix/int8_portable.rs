//! Panel × tile in plain Rust.

use super::int8_rows::RECORD;
use super::panels::{BLOCK, COLUMNS, PanelKind, SCALES};
use crate::simd::f16_to_f32;

/// Products of one panel with a tile of `sums.len()` rows: `sums[row][column]`.
///
/// # Safety
/// `panel` must be a whole panel of `kind` and `blocks`, `records` a whole tile of as many blocks.
pub(super) unsafe fn tile(
    kind: PanelKind,
    panel: *const u8,
    blocks: usize,
    records: *const u8,
    sums: &mut [[f32; COLUMNS]],
) {
    let rows = sums.len();
    // SAFETY: the caller gives both whole.
    let panel = unsafe { std::slice::from_raw_parts(panel, kind.panel_bytes(blocks)) };
    // SAFETY: as above.
    let records = unsafe { std::slice::from_raw_parts(records, rows * RECORD * blocks) };
    sums.fill([0.0; COLUMNS]);
    let offset = match kind {
        PanelKind::Q8 => rows * 4,
        PanelKind::Q4 => 0,
    };
    let pairs = panel.chunks(SCALES + 2 * kind.code_bytes()).zip(records.chunks(2 * rows * RECORD));
    for (pair, records) in pairs {
        let (scales, codes) = pair.split_at(SCALES);
        let halves = scales.chunks_exact(SCALES / 2).zip(codes.chunks_exact(kind.code_bytes()));
        for ((scales, codes), record) in halves.zip(records.chunks_exact(rows * RECORD)) {
            let mut scale = [0f32; COLUMNS];
            for (scale, half) in scale.iter_mut().zip(scales.as_chunks::<2>().0) {
                *scale = f16_to_f32(u16::from_le_bytes(*half));
            }
            for (row, sums) in sums.iter_mut().enumerate() {
                let word = |at: usize| -> [u8; 4] { std::array::from_fn(|i| record[at + i]) };
                let mut whole = [i32::from_ne_bytes(word(offset + 4 * row)); COLUMNS];
                for step in 0..BLOCK / 4 {
                    let a = word(4 * (3 * rows + step * rows + row)).map(|code| i32::from(code as i8));
                    let (line, shift, mask) = match kind {
                        PanelKind::Q8 => (step, 0, 0xff),
                        PanelKind::Q4 => (step % 4, step / 4 * 4, 0x0f),
                    };
                    for (whole, w) in whole.iter_mut().zip(codes[line * 64..][..64].as_chunks::<4>().0) {
                        *whole += (i32::from((w[0] >> shift) & mask) * a[0] + i32::from((w[1] >> shift) & mask) * a[1])
                            + (i32::from((w[2] >> shift) & mask) * a[2] + i32::from((w[3] >> shift) & mask) * a[3]);
                    }
                }
                let by = f32::from_ne_bytes(word(4 * (2 * rows + row)));
                for column in 0..COLUMNS {
                    let (x, y) = (whole[column] as f32, scale[column] * by);
                    // As in the lanes: fused where the target has it.
                    sums[column] = if cfg!(any(target_feature = "fma", target_arch = "aarch64")) {
                        x.mul_add(y, sums[column])
                    } else {
                        x * y + sums[column]
                    };
                }
            }
        }
    }
}
