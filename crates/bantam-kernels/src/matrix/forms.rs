//! What a panel of each block format looks like: width of the codes, scales, minima, and what codes stand for.
//!
//! A [`Form`] is what decides the instructions of a kernel: formats of the same form share one. Kernels are generic over
//! the number of a form (a constant), so every question they ask of it is answered by the compiler.
//!
//! All that is done to a code is exact: a weight is `scale · (u - offset) - minimum` with an unsigned byte `u`, which is the
//! code itself or what a table of 16 bytes has for it.

use super::ActivationKind;
use bantam_tensor::TensorType;

/// How scales (and minima) stand in the header of a unit, 16 columns next to each other everywhere.
///
/// Where sub-scales are whole numbers, the scale is an f16 for 256 inputs times the sub-scale: 11 bits by at most 8, exact
/// in f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scales {
    /// Two f16, each for this many blocks of 32 inputs.
    Half(usize),
    /// An f16 and an f16 offset (a minimum with its sign turned) for one block.
    HalfOffset,
    /// Four bytes, each the exponent of a power of two for a block: 2^(e - 128).
    Exponent,
    /// Four bytes, each a float of four bits exponent (bias 8: the values are kept doubled) and three bits fraction for 16
    /// inputs.
    Float8,
    /// An f16, then six bits less 32 for each of eight blocks: their upper two bits, then their lower four.
    Six32,
    /// Two f16, for scales and for minima; then lower four bits of the blocks' scales, those of their minima, upper two of
    /// both.
    Six32Minimum,
    /// An f16 (and as much of nothing), then six bits less 32 for each 16 inputs: lower four, upper two.
    Six16,
    /// An f16 (and as much of nothing), then a signed byte for each 16 inputs.
    Eight16,
    /// Two f16, then for each 16 inputs four bits of scale and, above, four bits of minimum.
    Four16Minimum,
    /// Of so many blocks taken apart beforehand: an f32 for each of their one or two parts, then (or not) one for each minimum.
    Wide(usize, bool, usize),
}

/// The form of a panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// Bits of a code.
    pub(super) bits: usize,
    /// Whether a table says what codes stand for.
    pub(super) table: bool,
    /// What is taken off the unsigned bytes: 128, or 8 (with scales for 16 inputs: 64) times a power of two, or nothing.
    pub(super) offset: usize,
    pub(super) scales: Scales,
}

impl Form {
    /// Blocks of 32 inputs under one header.
    pub(super) const fn unit_blocks(&self) -> usize {
        match self.scales {
            Scales::Half(span) => 2 * span,
            Scales::HalfOffset => 1,
            Scales::Wide(_, _, blocks) => blocks,
            Scales::Exponent => 4,
            Scales::Float8 => 2,
            Scales::Six32 | Scales::Six32Minimum | Scales::Six16 | Scales::Eight16 | Scales::Four16Minimum => 8,
        }
    }

    /// Bytes of a header: whole lines of 64.
    pub(super) const fn header_bytes(&self) -> usize {
        match self.scales {
            Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Float8 => 64,
            Scales::Six32 => 128,
            Scales::Six32Minimum | Scales::Six16 => 256,
            Scales::Eight16 | Scales::Four16Minimum => 320,
            Scales::Wide(parts, minimum, blocks) => 64 * parts * blocks * if minimum { 2 } else { 1 },
        }
    }

    /// Bytes of the codes of a block: a line of 64 for each bit.
    pub(super) const fn code_bytes(&self) -> usize {
        64 * self.bits
    }

    /// Bytes of a whole unit.
    pub(super) const fn unit_bytes(&self) -> usize {
        self.header_bytes() + self.unit_blocks() * self.code_bytes()
    }

    /// Parts of a block that have a scale of their own: 1 of 32 inputs, or 2 of 16.
    pub(super) const fn parts(&self) -> usize {
        match self.scales {
            Scales::Half(_) | Scales::HalfOffset | Scales::Exponent | Scales::Six32 | Scales::Six32Minimum => 1,
            Scales::Float8 | Scales::Six16 | Scales::Eight16 | Scales::Four16Minimum => 2,
            Scales::Wide(parts, ..) => parts,
        }
    }

    /// Blocks of 32 inputs whose activations share a scale: the products with them are added up before they are multiplied by
    /// it. With sub-scales those under a header, else one.
    pub(super) const fn span(&self) -> usize {
        match self.scales {
            Scales::Six32 | Scales::Six32Minimum | Scales::Six16 | Scales::Eight16 | Scales::Four16Minimum => SPAN,
            Scales::Wide(_, _, blocks) => blocks,
            _ => 1,
        }
    }

    /// Whether there are minima.
    pub(super) const fn has_minimum(&self) -> bool {
        matches!(
            self.scales,
            Scales::HalfOffset | Scales::Six32Minimum | Scales::Four16Minimum | Scales::Wide(_, true, _)
        )
    }

    /// The most an unsigned byte can be, as far as it matters to 16-bit sums.
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn greatest(&self) -> usize {
        match (self.table, self.scales, self.offset) {
            // Q5_K's and Q5_1's.
            (_, Scales::Wide(_, true, _), _) => 31,
            (false, Scales::Wide(..), offset) | (true, _, offset) => 2 * offset - 1,
            (false, ..) => (1 << self.bits) - 1,
        }
    }

    /// The number of the form that its blocks have when they are taken apart: with an offset of 128, or 64 with scales for
    /// 16 inputs, or 0 with minima.
    pub(super) const fn wide(&self) -> u8 {
        match (self.parts(), self.has_minimum()) {
            (1, false) => number::WIDE,
            (1, true) => number::WIDE_MINIMUM,
            (_, false) => number::WIDE16,
            (_, true) => number::WIDE16_MINIMUM,
        }
    }

    /// As [`Form::wide`], of whole units whose blocks share a scale of activations.
    #[cfg(target_arch = "x86_64")]
    pub(super) const fn wide_unit(&self) -> u8 {
        match (self.parts(), self.has_minimum()) {
            (1, false) => number::WIDE_UNIT,
            (1, true) => number::WIDE_UNIT_MINIMUM,
            (_, false) => number::WIDE_UNIT16,
            (_, true) => number::WIDE_UNIT16_MINIMUM,
        }
    }

    /// Which of an activation record's sums the offset is taken from, and the power of two it is multiplied by.
    pub(super) const fn correction(&self) -> Correction {
        match (self.offset, self.parts()) {
            (0, _) => Correction::None,
            (128, 1) => Correction::By128,
            (offset, 1) => Correction::By8(offset.ilog2() as i32 - 3),
            (offset, _) => Correction::Part(offset.ilog2() as i32 - 6),
        }
    }
}

/// Blocks whose activations share a scale, where more than one do.
pub(super) const SPAN: usize = 8;

/// How the offset of a [`Form`] is taken out of the integer sums, from which accumulation starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Correction {
    None,
    /// -128 Σa.
    By128,
    /// -8 Σa, shifted left (or, below zero, right).
    By8(i32),
    /// -64 Σa of the part's 16 inputs, shifted.
    Part(i32),
}

/// Products of minima start from -8 Σa, or -64 Σa of 16 inputs: what a minimum is multiplied by to make up for that.
pub(super) const fn minimum_factor(form: &Form) -> f32 {
    match form.scales {
        Scales::Four16Minimum => 1.0 / 64.0,
        _ => 1.0 / 8.0,
    }
}

macro_rules! forms {
    ($($(#[$doc:meta])* $name:ident = $bits:literal $(table $table:literal)?, $offset:literal, $scales:expr;)*) => {
        /// The forms by their names.
        pub(super) mod number {
            #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
            #[repr(u8)]
            enum Numbers { $($name,)* }
            $($(#[$doc])* pub(in crate::matrix) const $name: u8 = Numbers::$name as u8;)*
        }
        /// The forms by number.
        pub(super) const FORMS: &[Form] = &[$(
            Form { bits: $bits, table: false $(|| $table)?, offset: $offset, scales: $scales },
        )*];
    };
}

forms! {
    /// Q8_0.
    Q8 = 8, 128, Scales::Half(1);
    /// Q4_0.
    Q4 = 4, 8, Scales::Half(1);
    /// Q5_0.
    Q5 = 5, 16, Scales::Half(1);
    /// Q4_1.
    Q4_OFFSET = 4, 0, Scales::HalfOffset;
    /// Q5_1.
    Q5_OFFSET = 5, 0, Scales::HalfOffset;
    /// IQ4_NL.
    TABLE4 = 4 table true, 128, Scales::Half(1);
    /// MXFP4.
    TABLE4_EXPONENT = 4 table true, 128, Scales::Exponent;
    /// NVFP4.
    TABLE4_FLOAT8 = 4 table true, 32, Scales::Float8;
    /// IQ4_XS, IQ3_XXS, IQ3_S.
    TABLE4_SIX = 4 table true, 128, Scales::Six32;
    /// Q4_K.
    Q4_SIX = 4, 0, Scales::Six32Minimum;
    /// Q5_K.
    Q5_SIX = 5, 0, Scales::Six32Minimum;
    /// Q6_K.
    Q6_EIGHT = 6, 32, Scales::Eight16;
    /// Q3_K, IQ1_M.
    TABLE3_SIX = 3 table true, 32, Scales::Six16;
    /// IQ2_XS, IQ2_S.
    TABLE3_SIX_WIDE = 3 table true, 64, Scales::Six16;
    /// IQ2_XXS, IQ1_S.
    TABLE3_SIX32 = 3 table true, 128, Scales::Six32;
    /// Q2_K.
    Q2_FOUR = 2, 0, Scales::Four16Minimum;
    /// TQ2_0, TQ1_0.
    Q2_256 = 2, 1, Scales::Half(8);
    /// Q2_0.
    Q2_64 = 2, 1, Scales::Half(2);
    /// Q1_0.
    TABLE1 = 1 table true, 128, Scales::Half(4);
    /// Any without minima, taken apart.
    WIDE = 8, 128, Scales::Wide(1, false, 1);
    /// Any with minima, taken apart.
    WIDE_MINIMUM = 8, 0, Scales::Wide(1, true, 1);
    /// Any with scales for 16 inputs, taken apart.
    WIDE16 = 8, 64, Scales::Wide(2, false, 1);
    /// Any with scales for 16 inputs and minima, taken apart.
    WIDE16_MINIMUM = 8, 0, Scales::Wide(2, true, 1);
    /// As WIDE, of eight blocks that share a scale of activations.
    WIDE_UNIT = 8, 128, Scales::Wide(1, false, SPAN);
    /// As WIDE_MINIMUM, of eight blocks.
    WIDE_UNIT_MINIMUM = 8, 0, Scales::Wide(1, true, SPAN);
    /// As WIDE16, of eight blocks.
    WIDE_UNIT16 = 8, 64, Scales::Wide(2, false, SPAN);
    /// As WIDE16_MINIMUM, of eight blocks.
    WIDE_UNIT16_MINIMUM = 8, 0, Scales::Wide(2, true, SPAN);
}

/// Expands `$call!(number)` with the number of a form of the formats as a constant.
macro_rules! by_form {
    ($number:expr, $call:ident) => {
        match $number {
            0 => $call!(0),
            1 => $call!(1),
            2 => $call!(2),
            3 => $call!(3),
            4 => $call!(4),
            5 => $call!(5),
            6 => $call!(6),
            7 => $call!(7),
            8 => $call!(8),
            9 => $call!(9),
            10 => $call!(10),
            11 => $call!(11),
            12 => $call!(12),
            13 => $call!(13),
            14 => $call!(14),
            15 => $call!(15),
            16 => $call!(16),
            17 => $call!(17),
            18 => $call!(18),
            number => unreachable!("there is no form {number}"),
        }
    };
}
#[cfg(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    all(target_arch = "wasm32", target_feature = "simd128")
))]
pub(super) use by_form;

const _: () = assert!(number::WIDE == 19, "`by_form` lists every form before");

/// A block format that can be repacked.
#[derive(Debug)]
pub(super) struct PanelKind {
    pub(super) tensor_type: TensorType,
    /// The number of its form.
    pub(super) number: u8,
    /// What the codes stand for, where a table says so.
    pub(super) levels: &'static [i8],
    /// `levels` plus the form's offset.
    pub(super) table: [u8; 16],
    /// What the f16 before sub-scales is multiplied by, a power of two.
    pub(super) unit: f32,
}

impl PanelKind {
    const fn new(tensor_type: TensorType, number: u8, levels: &'static [i8], unit: f32) -> Self {
        let mut table = [0; 16];
        let mut code = 0;
        while code < levels.len() {
            table[code] = (levels[code] as i32 + FORMS[number as usize].offset as i32) as u8;
            code += 1;
        }
        Self { tensor_type, number, levels, table, unit }
    }

    /// That of a format, if it has one.
    pub(super) fn of(tensor_type: TensorType) -> Option<&'static Self> {
        KINDS.iter().find(|kind| kind.tensor_type == tensor_type)
    }

    pub(super) const fn form(&self) -> &'static Form {
        &FORMS[self.number as usize]
    }

    /// What it is multiplied with.
    pub(super) fn activation(&self) -> ActivationKind {
        if self.form().span() == SPAN { ActivationKind::Int8By256 } else { ActivationKind::Int8 }
    }
}

/// The values of IQ4_NL and IQ4_XS by code. Source: ggml's `kvalues_iq4nl`.
const NON_LINEAR: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
/// Twice the values of a 4-bit float by code. Source: OCP Microscaling Formats (MX) 1.0, section 5.3.3.
const E2M1_TWICE: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
/// Q3_K: the code less 4.
const LESS_4: [i8; 8] = [-4, -3, -2, -1, 0, 1, 2, 3];
/// A sign bit.
const SIGN: [i8; 2] = [-1, 1];
// The entries of the codebooks have few different numbers, with signs. (Codes in this order are of our own making.)
/// Those of IQ1, times eight, with the shift of an eighth.
const ENTRIES_1: [i8; 6] = [-9, -7, -1, 1, 7, 9];
/// Those of IQ2.
const ENTRIES_2: [i8; 6] = [-43, -25, -8, 8, 25, 43];
/// Those of IQ3_XXS.
const ENTRIES_3: [i8; 16] = [-62, -52, -44, -36, -28, -20, -12, -4, 4, 12, 20, 28, 36, 44, 52, 62];
/// Those of IQ3_S.
const ENTRIES_3_S: [i8; 16] = [-15, -13, -11, -9, -7, -5, -3, -1, 1, 3, 5, 7, 9, 11, 13, 15];

/// The formats that are repacked.
pub(super) static KINDS: [PanelKind; 25] = {
    use TensorType as T;
    use number::*;
    [
        PanelKind::new(T::Q8_0, Q8, &[], 1.0),
        PanelKind::new(T::Q4_0, Q4, &[], 1.0),
        PanelKind::new(T::Q5_0, Q5, &[], 1.0),
        PanelKind::new(T::Q4_1, Q4_OFFSET, &[], 1.0),
        PanelKind::new(T::Q5_1, Q5_OFFSET, &[], 1.0),
        PanelKind::new(T::IQ4_NL, TABLE4, &NON_LINEAR, 1.0),
        PanelKind::new(T::MXFP4, TABLE4_EXPONENT, &E2M1_TWICE, 1.0),
        PanelKind::new(T::NVFP4, TABLE4_FLOAT8, &E2M1_TWICE, 1.0),
        PanelKind::new(T::IQ4_XS, TABLE4_SIX, &NON_LINEAR, 1.0),
        PanelKind::new(T::Q4_K, Q4_SIX, &[], 1.0),
        PanelKind::new(T::Q5_K, Q5_SIX, &[], 1.0),
        PanelKind::new(T::Q6_K, Q6_EIGHT, &[], 1.0),
        PanelKind::new(T::Q3_K, TABLE3_SIX, &LESS_4, 1.0),
        PanelKind::new(T::Q2_K, Q2_FOUR, &[], 1.0),
        PanelKind::new(T::TQ2_0, Q2_256, &[], 1.0),
        PanelKind::new(T::TQ1_0, Q2_256, &[], 1.0),
        PanelKind::new(T::Q2_0, Q2_64, &[], 1.0),
        PanelKind::new(T::Q1_0, TABLE1, &SIGN, 1.0),
        PanelKind::new(T::IQ3_XXS, TABLE4_SIX, &ENTRIES_3, 0.25),
        PanelKind::new(T::IQ3_S, TABLE4_SIX, &ENTRIES_3_S, 1.0),
        PanelKind::new(T::IQ2_XXS, TABLE3_SIX32, &ENTRIES_2, 0.125),
        PanelKind::new(T::IQ2_XS, TABLE3_SIX_WIDE, &ENTRIES_2, 0.125),
        PanelKind::new(T::IQ2_S, TABLE3_SIX_WIDE, &ENTRIES_2, 0.125),
        PanelKind::new(T::IQ1_S, TABLE3_SIX32, &ENTRIES_1, 0.125),
        PanelKind::new(T::IQ1_M, TABLE3_SIX, &ENTRIES_1, 0.125),
    ]
};
