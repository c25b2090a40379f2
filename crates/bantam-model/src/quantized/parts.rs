//! The tensors of a checkpoint while the parts of its weights are put together.

use std::collections::BTreeMap;
use std::sync::Arc;

use bantam_tensor::{SharedBytes, TensorType};

use super::codebook::Codebook;
use super::codes::Codes;
use super::float8;
use super::grid::{Grid, Number};
use super::scaled::{Base, Groups, Scaled};
use crate::{ModelError, Tensor};

/// Tensors by their names in the file.
pub(crate) struct Parts {
    tensors: BTreeMap<String, Tensor>,
    made: Vec<Tensor>,
    /// The type that the model's settings give its weights.
    dtype: Option<TensorType>,
}

impl Parts {
    pub(super) fn new(found: Vec<Tensor>, dtype: Option<TensorType>) -> Self {
        let tensors = found.into_iter().map(|tensor| (tensor.file_name.clone(), tensor)).collect();
        Self { tensors, made: Vec::new(), dtype }
    }

    /// What comes before `.part` in the names that end so.
    pub(super) fn modules(&self, part: &str) -> Vec<String> {
        let module = |name: &String| Some(name.strip_suffix(part)?.strip_suffix('.')?.to_owned());
        self.tensors.keys().filter_map(module).collect()
    }

    /// Like [`Parts::modules`], and refuses a checkpoint that has none.
    pub(super) fn some_modules(&self, part: &str) -> Result<Vec<String>, ModelError> {
        let modules = self.modules(part);
        if modules.is_empty() { Err(ModelError::MissingTensor { name: format!("….{part}") }) } else { Ok(modules) }
    }

    /// Names of tensors that hold a text, and what comes before and after it.
    pub(super) fn around(&self, middle: &str) -> Vec<(String, String)> {
        let split = |name: &String| name.split_once(middle).map(|(a, b)| (a.to_owned(), b.to_owned()));
        self.tensors.keys().filter_map(split).collect()
    }

    /// A part, taken out.
    pub(super) fn take(&mut self, module: &str, part: &str) -> Option<Tensor> {
        self.tensors.remove(&format!("{module}.{part}"))
    }

    /// A part that must be there, taken out.
    pub(super) fn need(&mut self, module: &str, part: &str) -> Result<Tensor, ModelError> {
        self.take(module, part).ok_or_else(|| ModelError::MissingTensor { name: format!("{module}.{part}") })
    }

    /// Takes out every tensor with such an ending.
    pub(super) fn drop_all(&mut self, part: &str) {
        self.modules(part).iter().for_each(|module| drop(self.take(module, part)));
    }

    /// The type that the model's settings give its weights, `F32` where they say nothing.
    pub(super) fn dtype(&self) -> TensorType {
        self.dtype.unwrap_or(TensorType::F32)
    }

    /// A weight put together; refused where it cannot be addressed.
    pub(super) fn put(&mut self, module: &str, scaled: Scaled, otherwise: TensorType) -> Result<(), ModelError> {
        let name = format!("{module}.weight");
        let found = format!("[{}, {}]", scaled.rows, scaled.width);
        let tensor = scaled.tensor(name.clone(), otherwise);
        self.keep(tensor.ok_or(ModelError::TensorShape {
            name,
            expected: "a matrix that fits memory".into(),
            found,
        })?)
    }

    /// The same of a codebook.
    pub(super) fn put_codebook(&mut self, module: &str, codebook: Codebook) -> Result<(), ModelError> {
        let name = format!("{module}.weight");
        let (shape, output) = (vec![codebook.rows, codebook.width], codebook.output);
        if output.bytes(codebook.rows, codebook.width).is_err() {
            let (expected, found) = ("a matrix that fits memory".into(), format!("{shape:?}"));
            return Err(ModelError::TensorShape { name, expected, found });
        }
        let bytes = SharedBytes::from_maker(Arc::new(codebook));
        self.keep(Tensor { file_name: name, tensor_type: Ok(output), shape, bytes })
    }

    fn keep(&mut self, tensor: Tensor) -> Result<(), ModelError> {
        if self.tensors.contains_key(&tensor.file_name) {
            let (expected, found) = ("either parts or a whole weight".into(), "both".into());
            return Err(ModelError::TensorShape { name: tensor.file_name, expected, found });
        }
        self.made.push(tensor);
        Ok(())
    }

    /// All weights, and what was no part of any. Codes that no scheme took are refused: as plain numbers they would be
    /// silently wrong.
    pub(super) fn finish(mut self) -> Result<Vec<Tensor>, ModelError> {
        for tensor in self.tensors.values().filter(|tensor| tensor.file_name.ends_with(".weight")) {
            let plain = [TensorType::F32, TensorType::F16, TensorType::BF16, TensorType::F64];
            if !tensor.tensor_type.as_ref().is_ok_and(|kind| plain.contains(kind)) {
                return Err(misshapen(tensor, "a plain weight, or the parts of a quantized one"));
            }
        }
        self.made.extend(self.tensors.into_values());
        Ok(self.made)
    }

    /// All tensors of a checkpoint without a scheme: eight-bit floats alone are numbers of BF16 too.
    pub(super) fn finish_plain(self) -> Vec<Tensor> {
        self.tensors.into_values().map(|tensor| widened(&tensor).unwrap_or(tensor)).collect()
    }
}

/// A tensor of eight-bit floats as one of BF16, which holds them all.
fn widened(tensor: &Tensor) -> Option<Tensor> {
    let table = float8(tensor.element_name())?;
    let (rows, width) = tensor.matrix()?;
    let scaled = Scaled {
        rows,
        width,
        codes: Codes::lines(tensor.bytes.clone(), 8, rows, width)?,
        lines_are_columns: false,
        base: Base::Table(table),
        scale: Grid::stored(SharedBytes::from_vec(1f32.to_le_bytes().to_vec()), Number::F32, (0, 0), 1, 1)?,
        divisor: 1.0,
        factor: 1.0,
        offset: None,
        groups: Groups::Even(width.max(1)),
        group_count: 1,
    };
    let made = scaled.tensor(tensor.file_name.clone(), TensorType::BF16)?;
    Some(Tensor { shape: tensor.shape.clone(), ..made })
}

/// The tensor type that settings call so.
pub(super) fn named_type(name: &str) -> Option<TensorType> {
    match name.strip_prefix("torch.").unwrap_or(name) {
        "float16" => Some(TensorType::F16),
        "bfloat16" => Some(TensorType::BF16),
        "float32" => Some(TensorType::F32),
        _ => None,
    }
}

/// Refuses a tensor of other elements or extents than expected.
pub(super) fn misshapen(tensor: &Tensor, expected: &str) -> ModelError {
    ModelError::TensorShape {
        name: tensor.file_name.clone(),
        expected: expected.to_owned(),
        found: format!("{} {:?}", tensor.element_name(), tensor.shape),
    }
}

/// Extents of a matrix of such elements, neither of them 0.
pub(super) fn matrix(tensor: &Tensor, elements: &[&str]) -> Result<(usize, usize), ModelError> {
    match tensor.shape[..] {
        [rows, width] if rows > 0 && width > 0 && elements.contains(&tensor.element_name()) => Ok((rows, width)),
        _ => Err(misshapen(tensor, &format!("a matrix of {}", elements.join(" or ")))),
    }
}

/// Refuses a tensor of other extents.
pub(super) fn shaped(tensor: &Tensor, elements: &[&str], shape: &[usize]) -> Result<(), ModelError> {
    if tensor.shape == shape && elements.contains(&tensor.element_name()) {
        return Ok(());
    }
    Err(misshapen(tensor, &format!("{} {shape:?}", elements.join(" or "))))
}

/// Little-endian whole numbers of 32 bits.
pub(super) fn whole_numbers(tensor: &Tensor) -> Vec<i32> {
    let bytes: &[u8] = &tensor.bytes;
    bytes.chunks_exact(4).filter_map(|four| four.try_into().ok().map(i32::from_le_bytes)).collect()
}

/// The group of each column by a list of the file, where every one of them is there.
pub(super) fn listed(tensor: &Tensor, columns: usize, groups: usize) -> Result<Groups, ModelError> {
    shaped(tensor, &["I32"], &[columns])?;
    let listed: Option<Vec<u32>> = whole_numbers(tensor)
        .into_iter()
        .map(|group| u32::try_from(group).ok().filter(|group| (*group as usize) < groups))
        .collect();
    listed.map(Groups::Listed).ok_or_else(|| misshapen(tensor, &format!("numbers of {groups} groups")))
}
