//! A checkpoint: settings and tensors of one model, checked against each other.

use std::collections::BTreeMap;

use bantam_formats::gguf::{SplitGguf, TensorKind};
use bantam_plan::{Plan, WeightView, Weights};
use bantam_tensor::{SharedBytes, TensorType};
use serde_json::Value as Json;

use crate::arrange::{arrange, transposed};
use crate::families::{self, Family};
use crate::quantized::{self, Quantization};
use crate::settings::{Settings, Source, Tensors};
use crate::spec::FeedForward;
use crate::{ModelError, Spec, lower, lower_for};

/// One tensor of a checkpoint.
#[derive(Clone, Debug)]
pub struct Tensor {
    /// What its file calls it.
    pub file_name: String,
    /// Its format, or the name of one we cannot decode.
    pub tensor_type: Result<TensorType, String>,
    /// Extents, slowest first.
    pub shape: Vec<usize>,
    /// Its bytes.
    pub bytes: SharedBytes,
}

impl Tensor {
    /// Name of its format, whether we can decode it or not.
    pub fn element_name(&self) -> &str {
        match &self.tensor_type {
            Ok(known) => known.name(),
            Err(unknown) => unknown,
        }
    }

    /// Rows and width: a vector is one row.
    pub fn matrix(&self) -> Option<(usize, usize)> {
        match self.shape[..] {
            [width] => Some((1, width)),
            [rows, width] => Some((rows, width)),
            _ => None,
        }
    }
}

/// Settings and tensors of one model. Every tensor the Plan names is there, of its extents and decodable; no tensor is
/// left over.
pub struct Checkpoint {
    family: &'static Family,
    spec: Spec,
    plan: Plan,
    tensors: BTreeMap<String, Tensor>,
    quantization: Option<Quantization>,
    /// What a GGUF file calls it.
    architecture: Option<String>,
}

/// Tensors by GGUF name, as settings see them.
struct ByName<'a>(&'a BTreeMap<String, Tensor>);

/// Largest vector read while settings are read, in numbers.
const LARGEST_VECTOR: usize = 1 << 16;

impl Tensors for ByName<'_> {
    fn shape(&self, name: &str) -> Option<(usize, usize)> {
        self.0.get(name)?.matrix()
    }

    fn vector(&self, name: &str) -> Option<Vec<f32>> {
        let tensor = self.0.get(name)?;
        let (rows, width) = tensor.matrix().filter(|(rows, width)| *rows == 1 && *width <= LARGEST_VECTOR)?;
        let mut values = vec![0.0; rows * width];
        tensor.tensor_type.as_ref().ok()?.decode(&tensor.bytes, &mut values).ok()?;
        Some(values)
    }
}

impl Checkpoint {
    /// Reads a GGUF model whose parts' bytes are `files`, in order.
    pub fn from_gguf(model: &SplitGguf, files: &[SharedBytes]) -> Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for (part, info) in model.tensors() {
            let bytes = files.get(part).and_then(|file| file.slice(info.range.clone()));
            let bytes = bytes.ok_or_else(|| ModelError::MissingTensor { name: info.name.clone() })?;
            let tensor_type = match info.kind {
                TensorKind::Known(known) => Ok(known),
                TensorKind::Foreign { .. } => Err(info.kind.name().to_owned()),
            };
            let mut shape: Vec<usize> =
                info.dims.iter().rev().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect();
            // Trailing ones of a vector written with more dimensions say nothing.
            while shape.len() > 1 && shape[0] == 1 {
                shape.remove(0);
            }
            tensors.insert(info.name.clone(), Tensor { file_name: info.name.clone(), tensor_type, shape, bytes });
        }
        let metadata = model.first();
        let architecture = metadata.str("general.architecture")?.unwrap_or_default();
        if architecture.is_empty() {
            return Err(ModelError::MissingSetting { key: "general.architecture".into() });
        }
        let family = families::by_gguf(architecture)?;
        let lookup = ByName(&tensors);
        let mut settings = Settings::new(Source::Gguf(metadata, architecture.to_owned()), &lookup);
        let spec = family.spec(&mut settings, architecture)?;
        let ignored = ["rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];
        let architecture = Some(architecture.to_owned());
        Ok(Self { architecture, ..Self::new(family, spec, tensors, &ignored, str::to_owned)? })
    }

    /// Reads a Hugging Face model: `config.json` and its tensors under their own names.
    pub fn from_hugging_face(config: &Json, found: Vec<Tensor>) -> Result<Self, ModelError> {
        let wrong = |key: &str, expected: &str, found: &Json| ModelError::Setting {
            key: key.into(),
            expected: expected.into(),
            found: found.to_string().chars().take(80).collect(),
        };
        let map = config.as_object().ok_or_else(|| wrong("config.json", "an object", config))?;
        let architecture = match map.get("architectures") {
            None | Some(Json::Null) => return Err(ModelError::MissingSetting { key: "architectures".into() }),
            Some(list) => list
                .as_array()
                .and_then(|list| if list.len() == 1 { list[0].as_str() } else { None })
                .ok_or_else(|| wrong("architectures", "a list of one name", list))?,
        };
        let family = families::by_architecture(architecture)?;
        let mut map = map.clone();
        // A model of several parts nests the settings of the one for text.
        if let Some(Json::Object(text)) = map.remove("text_config") {
            map.extend(text.into_iter().filter(|(key, _)| key != "architectures"));
        }
        family.add_defaults(&mut map);
        let (found, quantization) = quantized::unpack(&mut map, found)?;
        let mut tensors = BTreeMap::new();
        for mut tensor in found {
            if family.names.is_transposed(&tensor.file_name) {
                let expected = || "a matrix of plain numbers".to_owned();
                let found = format!("{:?}", tensor.shape);
                let wrong = || ModelError::TensorShape { name: tensor.file_name.clone(), expected: expected(), found };
                // Which way round a scheme keeps such a matrix is not for us to guess.
                let plain = Some(&tensor).filter(|tensor| !tensor.bytes.is_made());
                tensor = plain.and_then(transposed).ok_or_else(wrong)?;
            }
            match family.names.to_gguf(&tensor.file_name) {
                Some(name) => drop(tensors.insert(name, tensor)),
                None if family.names.is_ignored(&tensor.file_name) => {}
                None => return Err(ModelError::UnknownTensor { name: tensor.file_name, family: family.name }),
            }
        }
        let lookup = ByName(&tensors);
        let mut settings = Settings::new(Source::Config(&map), &lookup);
        let spec = family.spec(&mut settings, "")?;
        // Transformers ties the head whatever the file also carries.
        let ignored: &[&str] = if spec.is_tied() { &["output.weight"] } else { &[] };
        let file_name = |name: &str| family.names.to_hugging_face(name).unwrap_or_else(|| name.to_owned());
        Ok(Self { quantization, ..Self::new(family, spec, tensors, ignored, file_name)? })
    }

    fn new(
        family: &'static Family,
        spec: Spec,
        mut tensors: BTreeMap<String, Tensor>,
        ignored: &[&str],
        file_name: impl Fn(&str) -> String,
    ) -> Result<Self, ModelError> {
        // A damaged number of layers is seen before thousands of them are written down.
        let layers = tensors.keys().filter_map(|name| layer_of(name)).max().map_or(0, |last| last + 1);
        if layers != spec.layers.len() {
            return Err(ModelError::Layers { settings: spec.layers.len(), tensors: layers });
        }
        arrange(&spec, &mut tensors);
        // So is a damaged number of experts.
        for (index, layer) in spec.layers.iter().enumerate() {
            if let FeedForward::Experts(experts) = &layer.feed_forward {
                let last = format!("blk.{index}.ffn_gate.{}.weight", experts.count - 1);
                if !tensors.contains_key(&last) {
                    return Err(ModelError::MissingTensor { name: file_name(&last) });
                }
            }
        }
        let plan = lower(&spec)?;
        for weight in &plan.weights {
            let Some(tensor) = tensors.get(&weight.name) else {
                return Err(ModelError::MissingTensor { name: file_name(&weight.name) });
            };
            if tensor.matrix() != Some((weight.rows, weight.width)) {
                let expected = if weight.rows == 1 {
                    format!("[{}]", weight.width)
                } else {
                    format!("[{}, {}]", weight.rows, weight.width)
                };
                let found = format!("{:?}", tensor.shape);
                return Err(ModelError::TensorShape { name: tensor.file_name.clone(), expected, found });
            }
            if let Err(found) = &tensor.tensor_type {
                return Err(ModelError::TensorType { name: tensor.file_name.clone(), found: found.clone() });
            }
        }
        let known = |name: &str| ignored.contains(&name) || plan.weight_named(name).is_some();
        if let Some((_, tensor)) = tensors.iter().find(|(name, _)| !known(name) && !family.names.is_ignored(name)) {
            return Err(ModelError::UnknownTensor { name: tensor.file_name.clone(), family: family.name });
        }
        Ok(Self { family, spec, plan, tensors, quantization: None, architecture: None })
    }

    /// The same model up to its hidden states: what comes out is what the head would read, `[rows, width]`.
    ///
    /// # Errors
    /// [`ModelError::Plan`] where such a model cannot be.
    pub fn without_head(mut self) -> Result<Self, ModelError> {
        self.spec.head = None;
        self.plan = lower(&self.spec)?;
        let plan = &self.plan;
        self.tensors.retain(|name, _| plan.weight_named(name).is_some());
        Ok(self)
    }

    /// What the GGUF file that it comes from calls its architecture; nothing where it comes from another form.
    pub fn architecture(&self) -> Option<&str> {
        self.architecture.as_deref()
    }

    /// The family that read it.
    pub fn family(&self) -> &'static Family {
        self.family
    }

    /// What the model is.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What it computes.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What it computes where no sequence is longer than `context`: of the same weights and shapes as
    /// [`Checkpoint::plan`], with the rope that such a context calls for.
    pub fn plan_for(&self, context: usize) -> Result<Plan, ModelError> {
        Ok(lower_for(&self.spec, context)?)
    }

    /// How a Hugging Face directory is quantized, where it is.
    pub fn quantization(&self) -> Option<&Quantization> {
        self.quantization.as_ref()
    }

    /// GGUF's name of a tensor that Hugging Face's directories call `name`.
    pub fn gguf_name(&self, name: &str) -> Option<String> {
        self.family.names.to_gguf(name)
    }

    /// The tensor of this GGUF name.
    pub fn tensor(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Its tensors by GGUF name.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }
}

/// The layer a tensor belongs to by its GGUF name.
fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("blk.")?.split_once('.')?.0.parse().ok()
}

impl Weights for Checkpoint {
    fn weight(&self, name: &str) -> Option<WeightView> {
        let tensor = self.tensors.get(name)?;
        let (rows, width) = tensor.matrix()?;
        let tensor_type = *tensor.tensor_type.as_ref().ok()?;
        // Bytes that are made for this live as long as who asked for them needs them.
        Some(WeightView { tensor_type, rows, width, bytes: tensor.bytes.fresh() })
    }
}
