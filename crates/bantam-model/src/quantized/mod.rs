//! Quantized Hugging Face checkpoints: the parts of each weight (codes, scales, zeros) put together into one tensor.
//!
//! A scheme reads its own settings and names the parts; what it makes is an ordinary [`Tensor`], decoded when somebody
//! looks at it, in the smallest block format that holds every value exactly, else rounded once to the type in which the
//! scheme's reference gives it. So nothing after this asks how a weight was stored. What a scheme does not understand is
//! refused by name, here or, where parts are left over, as tensors that are not part of the model.

mod awq;
mod bitsandbytes;
mod codebook;
mod codes;
mod compressed_tensors;
mod fp8;
mod gptq;
mod grid;
mod mlx;
mod parts;
mod scaled;

use bantam_tensor::TensorType;
use serde_json::{Map, Value as Json};

use crate::settings::{Key, Settings, Source, Tensors};
use crate::{ModelError, Tensor};
use parts::Parts;

/// One scheme of quantized checkpoints.
pub struct Scheme {
    /// Its name, for people.
    pub name: &'static str,
    /// What `quant_method` calls it.
    pub methods: &'static [&'static str],
    /// What of it is read.
    pub reads: &'static str,
    /// What its values are: the arithmetic, and what it is rounded to where no block format holds it exactly.
    pub values: &'static str,
    /// Reads the settings and puts the parts together.
    pub(crate) read: fn(&mut Settings<'_>, &mut Parts) -> Result<Facts, ModelError>,
}

/// Every scheme.
pub const SCHEMES: &[Scheme] =
    &[gptq::SCHEME, awq::SCHEME, bitsandbytes::SCHEME, compressed_tensors::SCHEME, fp8::SCHEME, mlx::SCHEME];

/// What a scheme has to say of a checkpoint.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Bits, groups and the like.
    pub(crate) detail: String,
    /// What its makers do that is not done here, each in one sentence.
    pub(crate) notes: Vec<String>,
}

/// How a checkpoint is quantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quantization {
    /// Name of the scheme.
    pub scheme: &'static str,
    /// Bits, groups and the like, in a few words.
    pub detail: String,
    /// What its makers do that is not done here, each in one sentence.
    pub notes: Vec<String>,
}

/// Nothing to ask of tensors while a scheme's settings are read.
struct NoTensors;

impl Tensors for NoTensors {
    fn shape(&self, _: &str) -> Option<(usize, usize)> {
        None
    }

    fn vector(&self, _: &str) -> Option<Vec<f32>> {
        None
    }
}

/// Where `config.json` keeps a scheme's settings, newer and older.
const PLACES: [&str; 2] = ["quantization_config", "compression_config"];

/// Puts the parts of quantized weights together, as the settings in `config` say, which are taken out of it. Tensors that
/// are no parts stay as they are.
///
/// # Errors
/// An unknown scheme, a setting that is not understood, a part that is missing or does not fit the others.
pub fn unpack(
    config: &mut Map<String, Json>,
    found: Vec<Tensor>,
) -> Result<(Vec<Tensor>, Option<Quantization>), ModelError> {
    let dtype =
        ["dtype", "torch_dtype"].into_iter().find_map(|key| config.get(key)?.as_str().and_then(parts::named_type));
    let stated: Vec<(&str, Json)> = PLACES.into_iter().filter_map(|key| Some((key, config.remove(key)?))).collect();
    let mut stated: Vec<(&str, Json)> = stated.into_iter().filter(|(_, value)| !value.is_null()).collect();
    // MLX writes its settings twice, and names no method.
    if let Some(settings) = config.remove(mlx::PLACE).filter(|settings| !settings.is_null()) {
        if let Some((key, other)) = stated.iter().find(|(_, other)| *other != settings) {
            return Err(wrong(key, "the same as `quantization`", other));
        }
        stated = vec![(mlx::PLACE, settings)];
    }
    let mut parts = Parts::new(found, dtype);
    let (key, settings) = match &stated[..] {
        [] => return Ok((parts.finish_plain(), None)),
        [(key, settings)] => (*key, settings),
        [_, (key, second), ..] => return Err(wrong(key, "the settings of one scheme", second)),
    };
    let map = settings.as_object().ok_or_else(|| wrong(key, "an object", settings))?;
    let method = match map.get("quant_method") {
        Some(method) => method.as_str().ok_or_else(|| wrong("quant_method", "a text", method))?,
        None if key == mlx::PLACE => mlx::METHOD,
        None => return Err(ModelError::MissingSetting { key: "quant_method".into() }),
    };
    let known = || SCHEMES.iter().flat_map(|scheme| scheme.methods).copied().collect::<Vec<_>>().join(", ");
    let scheme = SCHEMES
        .iter()
        .find(|scheme| scheme.methods.contains(&method))
        .ok_or_else(|| wrong("quant_method", &format!("one of {}", known()), &Json::from(method)))?;
    let mut reader = Settings::new(Source::Config(map), &NoTensors);
    reader.get(Key("quant_method", ""));
    let Facts { detail, notes } = (scheme.read)(&mut reader, &mut parts)?;
    Ok((parts.finish()?, Some(Quantization { scheme: scheme.name, detail, notes })))
}

fn wrong(key: &str, expected: &str, found: &Json) -> ModelError {
    let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
    let found = found.chars().take(80).collect();
    ModelError::Setting { key: key.to_owned(), expected: expected.to_owned(), found }
}

/// A setting that is a whole number above 0, or -1 for all columns at once (`None`).
fn group_size(settings: &mut Settings<'_>, key: Key) -> Result<Option<usize>, ModelError> {
    let Some(setting) = settings.get(key) else { return Err(ModelError::MissingSetting { key: key.0.to_owned() }) };
    match setting.integer() {
        Some(-1) => Ok(None),
        Some(size @ 1..=0x8000_0000) => Ok(usize::try_from(size).ok()),
        _ => Err(settings.wrong(key, "a whole number above 0, or -1", &setting.to_string())),
    }
}

/// A group size in words.
fn groups_in_words(size: Option<usize>) -> String {
    size.map_or("one group a row".to_owned(), |size| format!("groups of {size}"))
}

/// Keys of settings that say how weights were quantized, not how they are stored.
const HOW_IT_WAS_DONE: &[&str] = &[
    "act_group_aware",
    "backend",
    "batch_size",
    "block_name_to_quantize",
    "cache_block_outputs",
    "cache_examples_on_gpu",
    "damp_auto_increment",
    "damp_percent",
    "dataset",
    "disable_exllama",
    "do_fuse",
    "exllama_config",
    "fuse_max_seq_len",
    "max_input_length",
    "meta",
    "model_file_base_name",
    "model_name_or_path",
    "model_seqlen",
    "module_name_preceding_first_block",
    "modules_in_block_to_quantize",
    "modules_to_fuse",
    "mse",
    "offload_to_disk",
    "pad_token_id",
    "static_groups",
    "tokenizer",
    "true_sequential",
    "use_cuda_fp16",
    "use_exllama",
];

/// The table of a number format of eight bits or fewer.
fn table(bits: u32, value: fn(u8) -> f32) -> Vec<f32> {
    (0..=u8::MAX).take(1 << bits).map(value).collect()
}

/// The values of an eight-bit float by the name of its element type.
fn float8(name: &str) -> Option<Vec<f32>> {
    match name {
        "F8_E4M3" => Some(table(8, bantam_tensor::e4m3_to_f32)),
        "F8_E5M2" => Some(table(8, bantam_tensor::e5m2_to_f32)),
        _ => None,
    }
}

/// The type a scale's product has in the reference: the scale's own.
fn type_of(scales: &Tensor) -> Result<TensorType, ModelError> {
    match scales.tensor_type {
        Ok(kind @ (TensorType::F16 | TensorType::BF16 | TensorType::F32)) => Ok(kind),
        Ok(_) | Err(_) => Err(parts::misshapen(scales, "F16, BF16 or F32")),
    }
}
