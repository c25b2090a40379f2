//! The weights of a Hugging Face directory: one file, or several and an index.

use std::collections::HashMap;
use std::path::PathBuf;

use serde_json::Value;

use super::{HfDirectory, HfFile};
use crate::error::{FormatError, quoted};
use crate::safetensors::{SafeTensor, SafeTensors};

const SINGLE_WEIGHTS: &str = "model.safetensors";

impl HfDirectory {
    /// The files that hold the weights.
    ///
    /// # Errors
    ///
    /// Where there are none, only ones of another format, or a shard is missing or has a name that leaves the directory.
    pub fn weight_files(&self) -> Result<WeightFiles, FormatError> {
        let single = self.path.join(SINGLE_WEIGHTS);
        if single.is_file() {
            return Ok(WeightFiles { paths: vec![single], index: None });
        }
        match self.json(HfFile::WeightIndex)? {
            Some(mut object) => {
                let index_path = self.path.join(HfFile::WeightIndex.name());
                self.sharded(object.remove("weight_map")).map_err(|error| error.in_file(&index_path))
            }
            None => Err(self.no_weights()),
        }
    }

    fn sharded(&self, weight_map: Option<Value>) -> Result<WeightFiles, FormatError> {
        let Some(Value::Object(map)) = weight_map else {
            return Err(FormatError::damaged("`weight_map`", "should be an object of tensor names and file names"));
        };
        let mut names: Vec<String> = Vec::new();
        let mut numbers: HashMap<String, usize> = HashMap::new();
        let mut index = Vec::with_capacity(map.len());
        for (tensor, shard) in map {
            let Value::String(shard) = shard else {
                return Err(FormatError::damaged(
                    format!("the shard of tensor {}", quoted(&tensor)),
                    "should be a file name",
                ));
            };
            if !is_plain_name(&shard) {
                return Err(FormatError::damaged(
                    format!("the shard of tensor {}", quoted(&tensor)),
                    format!("is {}, which is not the name of a file in this directory", quoted(&shard)),
                ));
            }
            let number = *numbers.entry(shard.clone()).or_insert_with(|| {
                names.push(shard);
                names.len() - 1
            });
            index.push((tensor, number));
        }
        if names.is_empty() {
            return Err(FormatError::damaged("`weight_map`", "names no tensor"));
        }
        let mut paths = Vec::with_capacity(names.len());
        for name in &names {
            let path = self.path.join(name);
            if !path.is_file() {
                let what = format!("the shard {}, one of {} that the index names,", quoted(name), names.len());
                return Err(FormatError::Missing { what, advice: String::new() });
            }
            paths.push(path);
        }
        Ok(WeightFiles { paths, index: Some(index) })
    }

    /// Says what stands where weights should.
    fn no_weights(&self) -> FormatError {
        let names: Vec<String> = std::fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();
        let any = |test: &dyn Fn(&str) -> bool| names.iter().any(|name| test(name));
        let directory = self.path.display();
        FormatError::NotAModel(if any(&|name| name == "adapter_model.safetensors" || name == "adapter_config.json") {
            format!("{directory} holds an adapter, which needs the model it was trained for")
        } else if any(&|name| name.starts_with("model-") && name.ends_with(".safetensors")) {
            format!("{directory} has shards of weights but no {}", HfFile::WeightIndex.name())
        } else if any(&|name| {
            (name.starts_with("pytorch_model") && name.contains(".bin"))
                || name.ends_with(".pth")
                || name.ends_with(".pt")
        }) {
            format!(
                "{directory} has its weights only as a PyTorch pickle (pytorch_model.bin), which can run code and is not \
                 read; save it as safetensors with transformers' `save_pretrained`"
            )
        } else if any(&|name| name.ends_with(".safetensors")) {
            format!(
                "{directory} has .safetensors files but neither {SINGLE_WEIGHTS} nor {}",
                HfFile::WeightIndex.name()
            )
        } else {
            format!("{directory} has a configuration but no weights ({SINGLE_WEIGHTS})")
        })
    }
}

/// A file name without any directory: what an index may name.
fn is_plain_name(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\\', ':', '\0'])
}

/// The weights of a directory before they are read: the files in order, and what the index says of them.
#[derive(Clone, Debug)]
pub struct WeightFiles {
    /// The files, whose bytes [`WeightFiles::assemble`] wants in this order.
    pub paths: Vec<PathBuf>,
    /// Each tensor that the index names with the number of its file; `None` without an index.
    index: Option<Vec<(String, usize)>>,
}

impl WeightFiles {
    /// Puts the parsed files together, in the order of [`WeightFiles::paths`].
    ///
    /// # Errors
    ///
    /// Where a tensor that the index names is not in its file, or one tensor is in two files and the index decides for neither.
    pub fn assemble(&self, shards: Vec<SafeTensors>) -> Result<ShardedTensors, FormatError> {
        if shards.len() != self.paths.len() {
            return Err(FormatError::damaged(
                "the sharded model",
                format!("has {} files, {} given", self.paths.len(), shards.len()),
            ));
        }
        let mut places: HashMap<String, usize> = HashMap::new();
        for (name, number) in self.index.iter().flatten() {
            if shards.get(*number).is_none_or(|shard| shard.tensor(name).is_none()) {
                let file = self.paths.get(*number).and_then(|path| path.file_name()).unwrap_or_default();
                return Err(FormatError::Missing {
                    what: format!("tensor {}, which the index places in {},", quoted(name), file.display()),
                    advice: String::new(),
                });
            }
            places.insert(name.clone(), *number);
        }
        let indexed = places.len();
        for (number, shard) in shards.iter().enumerate() {
            for tensor in shard.tensors() {
                match places.get(&tensor.name) {
                    None => {
                        places.insert(tensor.name.clone(), number);
                    }
                    // A copy in a file other than the one the index names does no harm.
                    Some(&other) if other == number || indexed > 0 => {}
                    Some(_) => return Err(FormatError::Duplicate { what: "tensor", name: quoted(&tensor.name) }),
                }
            }
        }
        Ok(ShardedTensors { shards, places })
    }
}

/// The tensors of one or several safetensors files.
#[derive(Clone, Debug)]
pub struct ShardedTensors {
    shards: Vec<SafeTensors>,
    places: HashMap<String, usize>,
}

impl ShardedTensors {
    /// The tensor of this name and the number of its file.
    pub fn tensor(&self, name: &str) -> Option<(usize, &SafeTensor)> {
        let number = *self.places.get(name)?;
        self.shards.get(number)?.tensor(name).map(|tensor| (number, tensor))
    }

    /// All tensors, file by file, each with the number of its file.
    pub fn tensors(&self) -> impl Iterator<Item = (usize, &SafeTensor)> {
        self.shards.iter().enumerate().flat_map(move |(number, shard)| {
            shard
                .tensors()
                .iter()
                .filter(move |tensor| self.places.get(&tensor.name) == Some(&number))
                .map(move |tensor| (number, tensor))
        })
    }

    /// The parsed files.
    pub fn shards(&self) -> &[SafeTensors] {
        &self.shards
    }
}
