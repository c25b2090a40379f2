use crate::{Random, bits, close};
use bantam_kernels::{
    AttentionScratch, AttentionShape, Isa, KernelError, KvFormat, KvLayer, KvMemory, PAGE_CELLS, PageTables, Pool,
    RowPlace, attend,
};

const PLAIN: AttentionShape = AttentionShape {
    heads: 4,
    kv_heads: 2,
    key_width: 32,
    value_width: 32,
    scale: 0.4,
    window: None,
    softcap: None,
    causal: true,
};

/// Sequences with random queries, keys and values.
struct Case {
    shape: AttentionShape,
    lengths: Vec<usize>,
    /// Per sequence, `[length, heads * width]` each.
    data: Vec<[Vec<f32>; 3]>,
}

impl Case {
    fn new(shape: AttentionShape, lengths: &[usize]) -> Self {
        let mut random = Random(lengths.iter().sum::<usize>() as u64 + shape.key_width as u64);
        let data = lengths.iter().map(|&length| {
            let mut some = |width: usize| random.numbers(length * width).iter().map(|x| x * 2.0).collect::<Vec<f32>>();
            let (k, v) = (shape.kv_heads * shape.key_width, shape.kv_heads * shape.value_width);
            [some(shape.heads * shape.key_width), some(k), some(v)]
        });
        Self { shape, lengths: lengths.to_vec(), data: data.collect() }
    }

    fn layers(&self) -> [KvLayer; 2] {
        let shape = &self.shape;
        let other = KvLayer { kv_heads: 1, key_width: 64, value_width: 32 };
        [other, KvLayer { kv_heads: shape.kv_heads, key_width: shape.key_width, value_width: shape.value_width }]
    }

    /// Results per sequence, feeding `chunk` rows of each sequence at a time, in batches of all sequences.
    fn run(&self, isa: Isa, threads: usize, format: KvFormat, chunk: usize) -> Vec<Vec<f32>> {
        let shape = &self.shape;
        let pool = Pool::new(threads);
        let pages: usize = self.lengths.iter().map(|length| length.div_ceil(PAGE_CELLS)).sum();
        // Pages in descending order, one of them foreign and full of what is not a number.
        let mut next = pages as u32;
        let tables: Vec<Vec<u32>> = self
            .lengths
            .iter()
            .map(|length| {
                (0..length.div_ceil(PAGE_CELLS))
                    .map(|_| {
                        next -= 1;
                        next + 1
                    })
                    .collect()
            })
            .collect();
        let mut memory = KvMemory::new(&self.layers(), pages + 1, format).expect("fits");
        poison(&mut memory, &pool, shape, pages + 1);
        let most: usize = self.lengths.iter().map(|length| chunk.min(*length)).sum();
        let longest = self.lengths.iter().copied().max().unwrap_or(0);
        let mut scratch = AttentionScratch::new(&pool, &[*shape], most, longest).expect("fits");
        let mut results: Vec<Vec<f32>> = vec![Vec::new(); self.lengths.len()];
        let mut start = 0;
        while start < longest {
            let (mut rows, mut q, mut k, mut v) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            for (sequence, (length, data)) in self.lengths.iter().zip(&self.data).enumerate() {
                let range = start.min(*length)..(start + chunk).min(*length);
                for (all, part) in [&mut q, &mut k, &mut v].into_iter().zip(data) {
                    let width = part.len() / length;
                    all.extend_from_slice(&part[range.start * width..range.end * width]);
                }
                rows.extend(range.map(|position| RowPlace { sequence: sequence as u32, position: position as u32 }));
            }
            let tables = PageTables::new(&tables);
            memory.store(&pool, 1, &k, &v, &rows, &tables);
            let width = shape.heads * shape.value_width;
            let mut out = vec![f32::NAN; rows.len() * width];
            attend(&pool, isa, &mut scratch, &memory, 1, shape, &q, &rows, &tables, &mut out);
            for (row, out) in rows.iter().zip(out.chunks(width)) {
                results[row.sequence as usize].extend_from_slice(out);
            }
            start += chunk;
        }
        results
    }

    /// The same in f64.
    fn exact(&self) -> Vec<Vec<f64>> {
        let shape = &self.shape;
        self.lengths
            .iter()
            .zip(&self.data)
            .map(|(&length, [q, k, v])| {
                let mut out = Vec::new();
                for position in 0..length {
                    for head in 0..shape.heads {
                        let kv_head = head / (shape.heads / shape.kv_heads);
                        let q = &q[(position * shape.heads + head) * shape.key_width..][..shape.key_width];
                        let end = if shape.causal { position + 1 } else { length };
                        let start = shape.window.map_or(0, |window| (position + 1).saturating_sub(window as usize));
                        let scores: Vec<f64> = (start..end)
                            .map(|other| {
                                let k = &k[(other * shape.kv_heads + kv_head) * shape.key_width..][..shape.key_width];
                                let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                                let score = dot * f64::from(shape.scale);
                                shape.softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh())
                            })
                            .collect();
                        let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                        let weights: Vec<f64> = scores.iter().map(|score| (score - most).exp()).collect();
                        let sum: f64 = weights.iter().sum();
                        for column in 0..shape.value_width {
                            out.push(
                                weights
                                    .iter()
                                    .zip(start..end)
                                    .map(|(weight, other)| {
                                        weight / sum
                                            * f64::from(
                                                v[(other * shape.kv_heads + kv_head) * shape.value_width + column],
                                            )
                                    })
                                    .sum(),
                            );
                        }
                    }
                }
                out
            })
            .collect()
    }
}

/// Fills every cell with what is not a number, as a page of an earlier sequence might hold.
fn poison(memory: &mut KvMemory, pool: &Pool, shape: &AttentionShape, pages: usize) {
    let table = [(0..pages as u32).collect::<Vec<u32>>()];
    let rows: Vec<RowPlace> =
        (0..pages * PAGE_CELLS).map(|position| RowPlace { sequence: 0, position: position as u32 }).collect();
    let nan = |width: usize| vec![f32::NAN; rows.len() * shape.kv_heads * width];
    memory.store(pool, 1, &nan(shape.key_width), &nan(shape.value_width), &rows, &PageTables::new(&table));
}

/// Right within the format's error, and the same bits in any chunks, batches and threads.
fn check(shape: AttentionShape, lengths: &[usize], formats: &[KvFormat]) {
    let case = Case::new(shape, lengths);
    let exact = case.exact();
    let longest = lengths.iter().copied().max().unwrap_or(0);
    for &format in formats {
        let tolerance = match format {
            KvFormat::F32 => 1e-5,
            KvFormat::F16 => 1e-2,
            KvFormat::Q8_0 => 0.15,
        };
        let mut of_isas = Vec::new();
        for &isa in Isa::available() {
            let whole = case.run(isa, 1, format, longest);
            for (found, exact) in whole.iter().zip(&exact) {
                close(found, exact, tolerance, &format!("{shape:?} {lengths:?} {format:?} {}", isa.name()));
            }
            let same = |other: &[Vec<f32>], what: &str| {
                for (a, b) in whole.iter().zip(other) {
                    assert!(bits(a) == bits(b), "{shape:?} {lengths:?} {format:?} {}: {what}", isa.name());
                }
            };
            same(&case.run(isa, 4, format, longest), "threads");
            if shape.causal {
                same(&case.run(isa, 2, format, 37), "chunks");
                same(&case.run(isa, 3, format, if longest > 300 { 111 } else { 1 }), "row by row");
            }
            for (sequence, length) in lengths.iter().enumerate().take(if lengths.len() > 1 { 2 } else { 0 }) {
                let alone = Case { shape, lengths: vec![*length], data: vec![case.data[sequence].clone()] };
                let found = alone.run(isa, 1, format, longest);
                assert!(bits(&found[0]) == bits(&whole[sequence]), "{shape:?} {lengths:?} {format:?}: alone");
            }
            of_isas.push(whole);
        }
        // All but plain Rust, which may round twice where they round once.
        let agree = of_isas[1..].windows(2).all(|pair| pair[0] == pair[1]);
        assert!(agree, "{shape:?} {lengths:?} {format:?}: instruction sets");
    }
}

const ALL: [KvFormat; 3] = [KvFormat::F32, KvFormat::F16, KvFormat::Q8_0];

#[test]
fn one_and_several_sequences() {
    check(PLAIN, &[1], &ALL);
    check(PLAIN, &[70], &ALL);
    check(PLAIN, &[17, 130, 64], &ALL);
}

#[test]
fn groups_and_widths() {
    let shape =
        |heads, kv_heads, key_width, value_width| AttentionShape { heads, kv_heads, key_width, value_width, ..PLAIN };
    check(shape(3, 3, 64, 64), &[66, 5], &ALL);
    check(shape(7, 1, 96, 64), &[40, 20], &ALL);
    check(shape(2, 1, 20, 7), &[70, 3], &ALL[..2]);
    check(shape(70, 1, 16, 16), &[9], &ALL[..2]);
    // Every number of rows that stand one after the other has a kernel of its own.
    for group in [3, 8, 9] {
        check(shape(group, 1, 32, 32), &[70], &ALL);
    }
}

#[test]
fn windows_caps_and_looking_ahead() {
    check(AttentionShape { window: Some(1), ..PLAIN }, &[70], &ALL[..2]);
    check(AttentionShape { window: Some(50), softcap: Some(3.0), ..PLAIN }, &[150, 20], &ALL[..2]);
    // Narrower than the rows of a block, so that no cell is seen by all.
    check(AttentionShape { window: Some(5), ..PLAIN }, &[150], &ALL[..2]);
    check(AttentionShape { causal: false, ..PLAIN }, &[90, 33], &ALL[..2]);
}

#[test]
fn long_contexts_in_spans() {
    let shape = AttentionShape { heads: 2, kv_heads: 1, key_width: 16, value_width: 16, ..PLAIN };
    check(shape, &[1100], &ALL[..2]);
    check(AttentionShape { window: Some(600), key_width: 32, value_width: 32, ..shape }, &[1300, 40], &ALL[1..]);
}

#[test]
fn a_decoded_row_in_spans_has_the_bits_of_the_prefill() {
    // One row at a time beyond the first span, on enough threads that spans are worked on apart.
    // Few heads of a group stand one after the other, many side by side.
    for heads in [2, 12] {
        let shape = AttentionShape { heads, kv_heads: 1, key_width: 16, value_width: 16, ..PLAIN };
        let case = Case::new(shape, &[1060]);
        for &isa in Isa::available() {
            let whole = case.run(isa, 1, KvFormat::F16, 1060);
            let rows = case.run(isa, 4, KvFormat::F16, 1);
            assert!(bits(&whole[0]) == bits(&rows[0]), "{heads} heads on {}", isa.name());
        }
    }
}

#[test]
fn pages_are_copied_in_every_layer() {
    let pool = Pool::new(1);
    let layers = [
        KvLayer { kv_heads: 1, key_width: 32, value_width: 32 },
        KvLayer { kv_heads: 2, key_width: 32, value_width: 32 },
    ];
    let mut random = Random(9);
    for format in ALL {
        let mut memory = KvMemory::new(&layers, 3, format).expect("fits");
        let tables = [vec![1u32], vec![2u32]];
        let (tables, rows) = (PageTables::new(&tables), [RowPlace { sequence: 0, position: 5 }]);
        let shape = AttentionShape { heads: 2, ..PLAIN };
        let (k, v, q) = (random.numbers(64), random.numbers(64), random.numbers(64));
        memory.store(&pool, 1, &k, &v, &rows, &tables);
        memory.copy_page(1, 2);
        let mut scratch = AttentionScratch::new(&pool, &[shape], 1, 64).expect("fits");
        let mut outs = [vec![0f32; 64], vec![1f32; 64]];
        for (sequence, out) in outs.iter_mut().enumerate() {
            let rows = [RowPlace { sequence: sequence as u32, position: 5 }];
            attend(&pool, Isa::detect(), &mut scratch, &memory, 1, &shape, &q, &rows, &tables, out);
        }
        assert_eq!(outs[0], outs[1], "{format:?}");
        assert!(outs[0].iter().any(|x| *x != 0.0));
    }
}

#[test]
fn sizes_are_said_beforehand_and_bad_ones_refused() {
    let layer = |width| [KvLayer { kv_heads: 2, key_width: width, value_width: width }];
    assert_eq!(KvMemory::bytes(&layer(64), 10, KvFormat::F16), Some(10 * 64 * 2 * 2 * 64 * 2));
    assert_eq!(KvMemory::bytes(&layer(64), 10, KvFormat::Q8_0), Some(10 * 64 * 2 * 2 * (64 + 4)));
    assert_eq!(KvMemory::bytes(&layer(64), usize::MAX / 64, KvFormat::F16), None);
    let error = KvMemory::new(&layer(48), 1, KvFormat::Q8_0).expect_err("no multiple");
    assert_eq!(
        error.to_string(),
        "keys and values in q8_0 need a head width that is a multiple of 32, found 48 in layer 0"
    );
    assert!(matches!(KvMemory::new(&layer(64), usize::MAX / 64, KvFormat::F16), Err(KernelError::TooLarge(_))));
}
