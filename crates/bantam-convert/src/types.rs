//! Which format each tensor gets.

use bantam_tensor::TensorType;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Types {
    /// Every tensor keeps its own.
    AsIs,
    /// Matrices get this one; vectors stay as they are.
    Plain(TensorType),
    /// Matrices get the formats of a named mix.
    Mix(&'static Mix),
}

/// A named mix: most matrices in one format, some that matter more in one of more bits.
///
/// The rules are llama.cpp's (`llama_tensor_get_type` of `src/llama-quant.cpp`), so that a name means the same file.
#[derive(Debug)]
pub struct Mix {
    name: &'static str,
    usual: TensorType,
    /// Number of the mix in `general.file_type`.
    file_type: u32,
    /// Values of attention and the projection out of the feed-forward network, by their place among all layers.
    more: fn(Place) -> Option<TensorType>,
}

/// Mixes are the same that go by the same name.
impl PartialEq for Mix {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// A matrix of a layer.
#[derive(Clone, Copy)]
struct Place {
    role: Role,
    layer: usize,
    layers: usize,
}

#[derive(Clone, Copy, PartialEq)]
enum Role {
    Value,
    Fused,
    Down,
    Output,
    Other,
}

/// The first and last eighth of the layers, and every third of those between.
fn matters(place: Place) -> bool {
    let eighth = place.layers / 8;
    place.layer < eighth || place.layer >= 7 * place.layers / 8 || (place.layer - eighth) % 3 == 2
}

const MIXES: &[Mix] = &[
    Mix {
        name: "q3_k_m",
        usual: TensorType::Q3_K,
        file_type: 12,
        more: |place| match place.role {
            Role::Value if place.layer < 2 => Some(TensorType::Q5_K),
            Role::Down if place.layer < place.layers / 16 => Some(TensorType::Q5_K),
            Role::Value | Role::Down | Role::Fused | Role::Output => Some(TensorType::Q4_K),
            Role::Other => None,
        },
    },
    Mix {
        name: "q4_k_s",
        usual: TensorType::Q4_K,
        file_type: 14,
        more: |place| match place.role {
            Role::Value if place.layer < 4 => Some(TensorType::Q5_K),
            Role::Down if place.layer < place.layers / 8 => Some(TensorType::Q5_K),
            Role::Value | Role::Down | Role::Fused | Role::Output | Role::Other => None,
        },
    },
    Mix {
        name: "q4_k_m",
        usual: TensorType::Q4_K,
        file_type: 15,
        more: |place| match place.role {
            Role::Value | Role::Down if matters(place) => Some(TensorType::Q6_K),
            Role::Fused => Some(TensorType::Q5_K),
            Role::Value | Role::Down | Role::Output | Role::Other => None,
        },
    },
    Mix { name: "q5_k_s", usual: TensorType::Q5_K, file_type: 16, more: |_| None },
    Mix {
        name: "q5_k_m",
        usual: TensorType::Q5_K,
        file_type: 17,
        more: |place| match place.role {
            Role::Value | Role::Down if matters(place) => Some(TensorType::Q6_K),
            Role::Fused => Some(TensorType::Q6_K),
            Role::Value | Role::Down | Role::Output | Role::Other => None,
        },
    },
];

/// Every name that may be asked for.
pub fn type_names() -> impl Iterator<Item = String> {
    let plain =
        TensorType::ALL.iter().filter(|known| known.can_encode()).map(|known| known.name().to_ascii_lowercase());
    plain.chain(MIXES.iter().map(|mix| mix.name.to_owned())).chain(["as-is".to_owned()])
}

/// A tensor's facts that its format depends on.
pub(crate) struct Matrix<'a> {
    /// Its GGUF name.
    pub(crate) name: &'a str,
    pub(crate) stored: TensorType,
    /// Layers of the model, and experts of a layer that has some.
    pub(crate) layers: usize,
    pub(crate) experts: usize,
    /// Whether it makes the logits.
    pub(crate) head: bool,
}

impl Types {
    /// The choice of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        if name.eq_ignore_ascii_case("as-is") {
            return Some(Self::AsIs);
        }
        let mix = MIXES.iter().find(|mix| mix.name.eq_ignore_ascii_case(name)).map(Self::Mix);
        mix.or_else(|| TensorType::from_name(name).filter(|known| known.can_encode()).map(Self::Plain))
    }

    /// The format a matrix is wanted in, before looking whether its rows fit.
    pub(crate) fn wanted(self, matrix: &Matrix<'_>) -> TensorType {
        let usual = match self {
            Self::AsIs => return matrix.stored,
            Self::Plain(usual) => usual,
            Self::Mix(mix) => mix.usual,
        };
        let few_bits = usual.bits_per_element() < 6.5;
        if matrix.head && few_bits {
            return TensorType::Q6_K;
        }
        let Self::Mix(mix) = self else { return usual };
        let role = role(matrix.name);
        let Some(layer) = layer(matrix.name) else { return usual };
        if matrix.experts == 8 && is_key_or_value(matrix.name) {
            return TensorType::Q8_0;
        }
        if matrix.experts == 8 && role == Role::Output && mix.usual != TensorType::Q5_K {
            return TensorType::Q5_K;
        }
        (mix.more)(Place { role, layer, layers: matrix.layers }).unwrap_or(usual)
    }

    /// The number for `general.file_type`, where one says it.
    pub(crate) fn file_type(tensor_type: TensorType) -> Option<u32> {
        // `enum llama_ftype` of llama.cpp's `llama.h`.
        const NUMBERS: &[(&str, u32)] = &[
            ("F32", 0),
            ("F16", 1),
            ("Q4_0", 2),
            ("Q4_1", 3),
            ("Q8_0", 7),
            ("Q5_0", 8),
            ("Q5_1", 9),
            ("Q2_K", 10),
            ("Q3_K", 11),
            ("Q4_K", 14),
            ("Q5_K", 16),
            ("Q6_K", 18),
            ("IQ4_NL", 25),
            ("IQ4_XS", 30),
            ("BF16", 32),
            ("TQ2_0", 37),
            ("MXFP4", 38),
        ];
        NUMBERS.iter().find(|(name, _)| *name == tensor_type.name()).map(|(_, number)| *number)
    }

    /// The number of a mix.
    pub(crate) fn mix_number(self) -> Option<u32> {
        match self {
            Self::Mix(mix) => Some(mix.file_type),
            Self::AsIs | Self::Plain(_) => None,
        }
    }
}

fn layer(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

fn is_key_or_value(name: &str) -> bool {
    name.contains("attn_k.") || name.contains("attn_v.")
}

fn role(name: &str) -> Role {
    [("attn_v.", Role::Value), ("attn_qkv.", Role::Fused), ("ffn_down", Role::Down), ("attn_output.", Role::Output)]
        .into_iter()
        .find(|(part, _)| name.contains(part))
        .map_or(Role::Other, |(_, role)| role)
}

/// What llama.cpp's `tensor_allows_quantization` leaves as it is, beside norms: state spaces, convolutions, biases by
/// distance, what mixes with the last token, and the small matrices of layers that have embeddings of their own.
const KEPT: &[&str] = &[
    "norm",
    "ffn_gate_inp",
    "position_embd",
    "token_types",
    "ssm_conv1d",
    "shortconv.conv",
    "attn_rel_b",
    "time_mix_first",
    "time_mix_w0",
    "time_mix_w1",
    "time_mix_w2",
    "time_mix_v0",
    "time_mix_v1",
    "time_mix_v2",
    "time_mix_a0",
    "time_mix_a1",
    "time_mix_a2",
    "time_mix_g1",
    "time_mix_g2",
    "time_mix_decay_w1",
    "time_mix_decay_w2",
    "time_mix_lerp_fused",
    "altup",
    "laurel",
    "per_layer_model_proj",
];

/// Whether a tensor of GGUF keeps its 32 bits whatever is asked for: vectors, norms, routers, tables of few rows.
pub(crate) fn is_small(name: &str, dimensions: usize) -> bool {
    dimensions < 2 || !name.ends_with("weight") || KEPT.iter().any(|part| name.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_to_types() {
        let check = |name: &str, expected: Option<Types>| assert_eq!(Types::from_name(name), expected, "{name}");
        check("Q8_0", Some(Types::Plain(TensorType::Q8_0)));
        check("as-is", Some(Types::AsIs));
        check("q4_k", Some(Types::Plain(TensorType::Q4_K)));
        check("iq1_s", None);
        check("q9", None);
        assert!(matches!(Types::from_name("Q4_K_M"), Some(Types::Mix(mix)) if mix.file_type == 15));
        for name in type_names() {
            assert!(Types::from_name(&name).is_some(), "{name}");
        }
    }
}
