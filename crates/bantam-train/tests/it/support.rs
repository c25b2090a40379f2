//! What the tests share: goldens of adapters, and folders of their own.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use bantam_plan::{Backend, Batch, CompileOptions};
use bantam_runtime::{Adapted, Adapter, Model, OpenOptions};
use bantam_testkit::Golden;
use bantam_train::data::Example;
use serde_json::Value;

/// Adapters that PEFT has made of a tiny model.
pub struct AdapterGolden {
    /// The folder.
    pub path: PathBuf,
    /// The model's name.
    pub name: String,
    /// Tokens, and the logits with the random adapter.
    pub tokens: Vec<u32>,
    pub logits: Vec<f32>,
}

pub fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn numbers(value: &Value) -> Vec<f64> {
    match value {
        Value::Array(list) => list.iter().flat_map(numbers).collect(),
        other => vec![other.as_f64().unwrap()],
    }
}

impl AdapterGolden {
    /// A model's, or with `-dora` or `-saved` behind its name that of DoRA or with saved modules.
    pub fn load(name: &str) -> Self {
        let path = Golden::root().parent().unwrap().join("goldens-adapters").join(name);
        let name = ["-dora", "-saved"].into_iter().find_map(|kind| name.strip_suffix(kind)).unwrap_or(name);
        let logits = json(&path.join("logits.json"));
        Self {
            tokens: numbers(&logits["tokens"]).into_iter().map(|token| token as u32).collect(),
            logits: numbers(&logits["logits"]).into_iter().map(|logit| logit as f32).collect(),
            name: name.to_owned(),
            path,
        }
    }

    /// The model from Hugging Face's form, and from GGUF.
    pub fn models(&self) -> Vec<Model> {
        let directory = Golden::root().join(&self.name);
        let open = |path: &Path| Model::open(path, &OpenOptions::default()).unwrap();
        vec![open(&directory), open(&directory.join("model.gguf"))]
    }
}

/// Logits of every token with adapters, on the CPU backend, with nothing rounded that the references do not round.
pub fn logits(model: &Model, adapters: &[Adapter], tokens: &[u32]) -> Vec<f32> {
    let pool = std::sync::Arc::new(bantam_kernels::Pool::new(2));
    let backend = bantam_cpu::CpuBackend::new(pool, bantam_kernels::Isa::detect(), bantam_kernels::KvFormat::F32)
        .with_precision(bantam_kernels::Precision::F32);
    let adapted = Adapted::new(model.plan(), model.checkpoint(), adapters).unwrap();
    let rows = tokens.len();
    let options = CompileOptions { rows, outputs: rows, sequences: 1, positions: rows, pages: rows };
    let mut program = backend.compile(&adapted.plan, &adapted, &options, &mut |_| true).unwrap();
    program.run(&Batch::packed(&[tokens])).unwrap().to_vec()
}

pub fn examples(value: &Value) -> Vec<Example> {
    let one = |example: &Value| Example {
        tokens: numbers(&example["tokens"]).into_iter().map(|token| token as u32).collect(),
        said: example["said"].as_array().unwrap().iter().map(|said| said.as_bool().unwrap()).collect(),
        line: 0,
    };
    value.as_array().unwrap().iter().map(one).collect()
}

/// A folder that is gone when this is.
pub struct Folder(pub PathBuf);

impl Folder {
    pub fn new(name: &str) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("bantam-train-{}-{number}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
