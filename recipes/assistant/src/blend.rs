//! A model between two others: each weight so much of the way from the one to the other.
//!
//! Where one training went on from the other, what lies between them is often better than both (Wortsman et al. 2022, "Robust
//! fine-tuning of zero-shot models"): it knows what the second learnt, and has forgotten less of the first.

use std::path::Path;

use anyhow::{Context, bail};
use bantam_formats::Gguf;
use bantam_formats::gguf::{GgufWriter, TensorKind};
use bantam_tensor::TensorType;

/// Writes the model that lies `share` (0 to 1) of the way from `one` to `other`, two files of f32 with the same tensors, with the metadata
/// of the first.
///
/// # Errors
/// Files that are damaged, or differ in their tensors; what the file system says.
pub fn blend(one: &Path, other: &Path, share: f32, target: &Path) -> anyhow::Result<()> {
    let read = |path: &Path| std::fs::read(path).with_context(|| path.display().to_string());
    let (bytes, other_bytes) = (read(one)?, read(other)?);
    let first = Gguf::parse(&bytes).with_context(|| one.display().to_string())?;
    let second = Gguf::parse(&other_bytes).with_context(|| other.display().to_string())?;
    if first.tensors().len() != second.tensors().len() {
        bail!("{} and {} differ in their tensors", one.display(), other.display());
    }
    let mut writer = GgufWriter::new();
    for (key, value) in first.metadata() {
        writer.set(key, value.clone());
    }
    let mut data = std::collections::BTreeMap::new();
    for tensor in first.tensors() {
        let beside = second.tensor(&tensor.name).filter(|beside| beside.dims == tensor.dims);
        let beside = beside.with_context(|| format!("{}: no such {}", other.display(), tensor.name))?;
        if [tensor.kind, beside.kind] != [TensorKind::Known(TensorType::F32); 2] {
            bail!("{}: expected F32 in both files", tensor.name);
        }
        let of = bytes.get(tensor.range.clone()).unwrap_or_default();
        let to = other_bytes.get(beside.range.clone()).unwrap_or_default();
        let between = numbers(of).zip(numbers(to)).flat_map(|(x, y)| (x + share * (y - x)).to_le_bytes());
        data.insert(tensor.name.clone(), between.collect::<Vec<u8>>());
        writer.add_tensor(tensor.name.as_str(), &tensor.dims, tensor.kind)?;
    }
    writer.write(target, |tensor, out| out.write_all(data.get(&tensor.name).map_or(&[][..], Vec::as_slice)))?;
    Ok(())
}

fn numbers(bytes: &[u8]) -> impl Iterator<Item = f32> {
    bytes.as_chunks().0.iter().map(|four| f32::from_le_bytes(*four))
}

#[cfg(test)]
mod tests {
    use super::{blend, numbers};
    use bantam_formats::Gguf;
    use bantam_formats::gguf::{GgufWriter, TensorKind};
    use bantam_tensor::TensorType;

    #[test]
    fn weights_lie_between() {
        let folder = std::env::temp_dir().join(format!("assistant-blend-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let written = |name: &str, tensor: &str, values: [f32; 2]| {
            let mut writer = GgufWriter::new();
            writer.set("general.architecture", "llama");
            writer.set("general.name", name);
            writer.add_tensor(tensor, &[2], TensorKind::Known(TensorType::F32)).unwrap();
            let path = folder.join(name);
            writer.write(&path, |_, out| values.iter().try_for_each(|x| out.write_all(&x.to_le_bytes()))).unwrap();
            path
        };
        let (one, other) = (written("one", "w", [1.0, -2.0]), written("other", "w", [3.0, 2.0]));
        let check = |share: f32, expected: [f32; 2]| {
            let target = folder.join("target");
            blend(&one, &other, share, &target).unwrap();
            let bytes = std::fs::read(&target).unwrap();
            let gguf = Gguf::parse(&bytes).unwrap();
            let found: Vec<f32> = numbers(&bytes[gguf.tensor("w").unwrap().range.clone()]).collect();
            assert_eq!((found, gguf.metadata().count()), (expected.to_vec(), 2));
        };
        check(0.0, [1.0, -2.0]);
        check(0.5, [2.0, 0.0]);
        check(1.0, [3.0, 2.0]);
        let stranger = written("stranger", "v", [0.0, 0.0]);
        assert!(blend(&one, &stranger, 0.5, &folder.join("none")).is_err() && !folder.join("none").exists());
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
