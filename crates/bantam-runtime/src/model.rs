//! A model that was opened: known, checked, not yet in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bantam_cpu::{CpuBackend, RepackedWeights};
use bantam_formats::huggingface::HfDirectory;
use bantam_formats::{ModelReference, what_is_it};
use bantam_kernels::{Isa, KvFormat, Matrix, Pool, Precision};
use bantam_model::{Checkpoint, Spec, TOKEN_EMBEDDING};
use bantam_plan::{Backend, CompileOptions, PAGE_CELLS, Plan, Weights};
use bantam_tensor::TensorType;
use bantam_text::{ChatTemplate, Tokenizer};

use crate::adapter::{Adapted, Adapter};
use crate::embedding::EmbeddingDefaults;
use crate::files::ModelFile;
use crate::generation::GenerationDefaults;
use crate::machine::memory_limit;
use crate::memory::{MemoryPromise, in_words};
use crate::open::{GgufFiles, TextFiles};
use crate::optimised::Kept;
use crate::processors::preferred_threads;
use crate::quantize::Quantized;
use crate::{Loaded, RuntimeError};

/// How to open a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenOptions {
    /// Re-encode matrices to this type when loading.
    pub quantize: Option<TensorType>,
    /// Have the system begin to read the weights, which are going to be loaded.
    pub read_ahead: bool,
}

/// How to load a model.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions {
    /// Threads; [`preferred_threads`] where not given.
    pub threads: Option<usize>,
    /// Most tokens of one sequence; the model's own up to [`DEFAULT_CONTEXT`] where not given.
    pub context: Option<usize>,
    /// Sequences open at once.
    pub sequences: usize,
    /// Number format of keys and values.
    pub kv: KvFormat,
    /// What BF16 weights are multiplied as: bf16 rounds activations to it, as BF16 models are run elsewhere, and is about
    /// twice as fast on long prompts where the processor multiplies bf16.
    pub precision: Precision,
    /// Whether the weights of a file are repacked between the first batches instead of before them: the first token comes
    /// sooner, the next four later.
    pub repacking_later: bool,
    /// Rows that run together in a long prompt.
    pub chunk_rows: usize,
    /// Most memory to take, where the user says so.
    pub memory_limit: Option<u64>,
}

/// The context a model gets where nobody says how long it should be.
pub const DEFAULT_CONTEXT: usize = 8192;
/// Bytes of weights that take a moment to repack.
const WORTH_WAITING: usize = 64 << 20;
/// Output rows a batch has room for at least.
const LEAST_OUTPUTS: usize = 8;

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            threads: None,
            context: None,
            sequences: 1,
            kv: KvFormat::F16,
            precision: Precision::Bf16,
            repacking_later: false,
            chunk_rows: 512,
            memory_limit: None,
        }
    }
}

/// How far a load is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Bytes of weights that are ready.
    pub done_bytes: u64,
    /// Bytes of weights in all.
    pub total_bytes: u64,
}

/// A model that was opened.
pub struct Model {
    path: PathBuf,
    name: Option<String>,
    pub(crate) checkpoint: Checkpoint,
    text: TextFiles,
    defaults: GenerationDefaults,
    pub(crate) quantize: Option<TensorType>,
    /// Where repacked weights may lie.
    pub(crate) optimised: Option<PathBuf>,
    /// All that it was opened from.
    files: Vec<ModelFile>,
    /// By weight of the Plan: whether it may be re-encoded.
    matrices: Vec<bool>,
    /// Put beside its linears when it is loaded.
    adapters: Vec<Adapter>,
    /// The calls it answers with, as its metadata says them.
    calls: Option<String>,
}

impl Model {
    pub(crate) fn new(
        path: PathBuf,
        name: Option<String>,
        checkpoint: Checkpoint,
        text: TextFiles,
        defaults: GenerationDefaults,
    ) -> Result<Self, RuntimeError> {
        let rows = checkpoint.spec().vocabulary;
        if let Some(tokens) = text.tokenizer.as_ref().map(Tokenizer::vocabulary_len).filter(|tokens| *tokens > rows) {
            return Err(RuntimeError::Vocabulary { path, tokens, rows });
        }
        let matrices = checkpoint.plan().matrices();
        Ok(Self {
            path,
            name,
            checkpoint,
            text,
            defaults,
            quantize: None,
            optimised: None,
            files: Vec::new(),
            matrices,
            adapters: Vec::new(),
            calls: None,
        })
    }

    pub(crate) fn with_files(self, files: Vec<ModelFile>) -> Self {
        Self { files, ..self }
    }

    pub(crate) fn files(&self) -> &[ModelFile] {
        &self.files
    }

    pub(crate) fn with_calls(self, calls: Option<String>) -> Self {
        Self { calls, ..self }
    }

    pub(crate) fn with(mut self, options: &OpenOptions) -> Result<Self, RuntimeError> {
        if let Some(wanted) = options.quantize {
            if !wanted.can_encode() {
                return Err(RuntimeError::Option(format!("Bantam cannot quantize to {}", wanted.name())));
            }
            self.quantize = Some(wanted);
        }
        Ok(self)
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What its makers call it, or its file's name.
    pub fn name(&self) -> String {
        let file = || self.path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        self.name.clone().or_else(file).unwrap_or_default()
    }

    /// What it is.
    pub fn spec(&self) -> &Spec {
        self.checkpoint.spec()
    }

    /// What it computes.
    pub fn plan(&self) -> &Plan {
        self.checkpoint.plan()
    }

    /// Its settings and tensors.
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// Its tokenizer; an error where the files bring none.
    pub fn tokenizer(&self) -> Result<&Tokenizer, RuntimeError> {
        let none = || RuntimeError::Option(format!("{} has no tokenizer", self.path.display()));
        self.text.tokenizer.as_ref().ok_or_else(none)
    }

    /// Its tokenizer, where the files bring one.
    pub fn has_tokenizer(&self) -> bool {
        self.text.tokenizer.is_some()
    }

    /// Its chat template: the one for tools where `tools` and there is one, else the default; `None` where it has none.
    pub fn chat_template(&self, tools: bool) -> Result<Option<ChatTemplate>, RuntimeError> {
        self.text.chat_template(&self.path, tools)
    }

    /// The sampling its makers recommend.
    pub fn generation_defaults(&self) -> &GenerationDefaults {
        &self.defaults
    }

    /// What its files say about embeddings.
    ///
    /// # Errors
    /// Where they cannot be read, or ask for what is not supported, by name.
    pub fn embedding_defaults(&self) -> Result<EmbeddingDefaults, RuntimeError> {
        match what_is_it(&self.path)? {
            ModelReference::Gguf(path) => EmbeddingDefaults::from_gguf(GgufFiles::open(&path)?.model.first()),
            ModelReference::HuggingFace(path) => EmbeddingDefaults::from_directory(&HfDirectory::open(&path)?),
        }
    }

    /// Whether it makes text: it has a head over its vocabulary.
    pub fn makes_text(&self) -> bool {
        self.spec().head.is_some()
    }

    /// The same model up to its hidden states: what it makes is `[rows, width]` instead of logits.
    ///
    /// # Errors
    /// [`RuntimeError::Model`] where such a model cannot be.
    pub fn without_head(mut self) -> Result<Self, RuntimeError> {
        let checkpoint = self.checkpoint.without_head();
        self.checkpoint = checkpoint.map_err(|error| RuntimeError::Model { path: self.path.clone(), error })?;
        self.matrices = self.checkpoint.plan().matrices();
        Ok(self)
    }

    /// The context it was made for.
    pub fn context_length(&self) -> usize {
        self.spec().context
    }

    /// The context it would be loaded with.
    pub fn context_for(&self, options: &LoadOptions) -> usize {
        // Not so long that a model's rope would change for it, unless somebody asks.
        options.context.unwrap_or_else(|| self.spec().first_context().min(DEFAULT_CONTEXT))
    }

    /// The type a tensor has once loaded.
    pub fn loaded_type(&self, name: &str, stored: TensorType, width: usize) -> TensorType {
        match self.quantize {
            Some(wanted) if self.is_matrix(name) => Quantized::target(wanted, name, self.head(), width),
            _ => stored,
        }
    }

    /// The calls that are all it answers with, as `bantam.calls` in its metadata says them, where it does.
    pub fn calls(&self) -> Option<&str> {
        self.calls.as_deref()
    }

    /// Names of its chat templates.
    pub fn template_names(&self) -> impl Iterator<Item = &str> {
        self.text.template_names()
    }

    /// Why a tensor is loaded as another type than asked for, where it is.
    pub(crate) fn fallback_note(&self, name: &str, width: usize, loaded: TensorType) -> Option<String> {
        let wanted = self.quantize.filter(|wanted| *wanted != loaded && self.is_matrix(name))?;
        let (wanted_name, loaded_name) = (wanted.name(), loaded.name());
        Some(if wanted.fallback(width) == wanted {
            format!("{name}: {loaded_name}, since the output matrix needs more bits than {wanted_name} has")
        } else {
            let block = wanted.block_len();
            format!("{name}: {loaded_name}, since rows of {width} are no multiple of {wanted_name}'s blocks of {block}")
        })
    }

    fn is_matrix(&self, name: &str) -> bool {
        let id = self.plan().weight_named(name);
        id.and_then(|id| self.matrices.get(id.0)).copied().unwrap_or(false)
    }

    fn head(&self) -> &'static str {
        if self.spec().is_tied() { TOKEN_EMBEDDING } else { "output.weight" }
    }

    fn compile_options(&self, options: &LoadOptions) -> Result<CompileOptions, RuntimeError> {
        let context = self.context_for(options);
        if context == 0 || options.sequences == 0 || options.chunk_rows == 0 {
            return Err(RuntimeError::Option("context, sequences and chunk rows must be at least 1".into()));
        }
        if context > self.context_length() {
            return Err(RuntimeError::Context { asked: context, trained: self.context_length() });
        }
        let outputs = options.sequences.max(LEAST_OUTPUTS);
        let too_many =
            || RuntimeError::Option(format!("{} sequences of {context} tokens are too many", options.sequences));
        let pages = context.div_ceil(PAGE_CELLS).checked_mul(options.sequences).filter(|pages| *pages < 1 << 31);
        let all = context.saturating_mul(options.sequences);
        // Where rows see those after them, sequences run whole.
        let whole = !self.spec().is_causal();
        let rows = if whole { all } else { options.chunk_rows.min(all).max(options.sequences) };
        Ok(CompileOptions {
            rows,
            outputs: if whole { all } else { outputs },
            sequences: options.sequences,
            positions: context,
            pages: pages.ok_or_else(too_many)?,
        })
    }

    /// Loads it with these adapters beside its linears; several add up.
    #[must_use]
    pub fn with_adapters(mut self, adapters: Vec<Adapter>) -> Self {
        self.adapters.extend(adapters);
        self
    }

    pub(crate) fn with_weights<T>(&self, use_them: impl FnOnce(&dyn Weights) -> T) -> T {
        match self.quantize {
            None => use_them(&self.checkpoint),
            Some(wanted) => {
                use_them(&Quantized::new(&self.checkpoint, wanted, self.head(), &|name| self.is_matrix(name)))
            }
        }
    }

    /// Bytes of its tensors as they are stored.
    pub(crate) fn total_bytes(&self) -> u64 {
        self.checkpoint.tensors().map(|(_, tensor)| tensor.bytes.len() as u64).sum()
    }

    /// What loading would take. Reads no weights.
    pub fn memory(&self, options: &LoadOptions) -> Result<MemoryPromise, RuntimeError> {
        let compile = self.compile_options(options)?;
        let threads = options.threads.unwrap_or_else(preferred_threads);
        let backend = CpuBackend::new(Arc::new(Pool::new(1)), Isa::detect(), options.kv)
            .with_repacking_later(self.repacking_later(options))
            .counted_for(threads);
        let types = |name: &str, stored: TensorType, width: usize| self.loaded_type(name, stored, width);
        let sizes = crate::memory::Sizes::new(&self.checkpoint, &types);
        let adapted = Adapted::new(self.plan(), &sizes, &self.adapters)?;
        let mut program = backend.memory(&adapted.plan, &adapted, &compile)?;
        // A weight made for this model stands beside its repacked form for a moment, before there is anything else.
        let later = program.cache.saturating_add(program.scratch);
        program.scratch = program.scratch.saturating_add(self.largest_made().saturating_sub(later));
        Ok(MemoryPromise::new(program, crate::memory::overhead(self.text.tokenizer.as_ref(), threads)))
    }

    /// From how many bytes of weights on they are repacked later. Those that are encoded anew lie in memory already.
    fn repacking_later(&self, options: &LoadOptions) -> Option<usize> {
        (options.repacking_later && self.quantize.is_none()).then_some(WORTH_WAITING)
    }

    /// Bytes of the largest weight that is decoded or re-encoded and then repacked.
    fn largest_made(&self) -> u64 {
        let made = |weight: &bantam_plan::Weight| {
            let view = self.checkpoint.weight(&weight.name)?;
            let loaded = self.loaded_type(&weight.name, view.tensor_type, view.width);
            let made = view.bytes.is_made() || loaded != view.tensor_type;
            let repacked = Matrix::owned_bytes(loaded, view.rows, view.width, Isa::detect()) > 0;
            if made && repacked { loaded.bytes(view.rows, view.width).ok() } else { None }
        };
        self.plan().weights.iter().filter_map(made).max().map_or(0, |bytes| bytes as u64)
    }

    /// Says whether it fits, and with which context it would.
    fn fits(&self, options: &LoadOptions) -> Result<(), RuntimeError> {
        let Some(limit) = memory_limit(options.memory_limit) else { return Ok(()) };
        let promise = self.memory(options)?;
        if promise.total() <= limit.bytes {
            return Ok(());
        }
        let context = self.context_for(options);
        let fitting = |context| {
            let smaller = LoadOptions { context: Some(context), ..*options };
            self.memory(&smaller).is_ok_and(|promise| promise.total() <= limit.bytes)
        };
        // Memory grows with the context, so the largest that fits is found by halving.
        let (mut fits, mut too_much) = (0, context.div_ceil(PAGE_CELLS));
        while fits + 1 < too_much {
            let middle = fits.midpoint(too_much);
            if fitting(middle * PAGE_CELLS) { fits = middle } else { too_much = middle }
        }
        let advice = match fits * PAGE_CELLS {
            0 => "no context fits; a smaller model or type would (see --type)".to_owned(),
            largest => format!("a context of {largest} fits (--context {largest})"),
        };
        Err(RuntimeError::Memory {
            needed: in_words(promise.total()),
            context,
            limit: limit.whose.to_owned(),
            available: in_words(limit.bytes),
            advice,
        })
    }

    /// Loads it, if it fits the machine. `progress` is told now and then how far it is; where it gives `false` the load
    /// stops with [`RuntimeError::Interrupted`].
    pub fn load(
        &self,
        options: &LoadOptions,
        progress: &mut dyn FnMut(Progress) -> bool,
    ) -> Result<Loaded, RuntimeError> {
        let compile = self.compile_options(options)?;
        self.fits(options)?;
        let threads = options.threads.unwrap_or_else(preferred_threads);
        let pool = Arc::new(Pool::new(threads));
        // What an adapter brings of its own is not what was kept.
        let replaced = self.adapters.iter().any(|adapter| !adapter.saved.is_empty());
        let optimised = self.optimised.as_deref().filter(|_| !replaced);
        let total_bytes = self.total_bytes();
        let kept = match optimised {
            Some(directory) => {
                let mut go_on = || progress(Progress { done_bytes: 0, total_bytes });
                Kept::find(self, directory, &pool, &mut go_on)?
            }
            None => None,
        };
        let kept = kept.map(|kept| Arc::new(kept) as Arc<dyn RepackedWeights>);
        let backend = CpuBackend::new(pool, Isa::detect(), options.kv)
            .with_precision(options.precision)
            .with_repacked(kept)
            .with_repacking_later(self.repacking_later(options));
        let plan = self.checkpoint.plan_for(self.context_for(options));
        let plan = plan.map_err(|error| RuntimeError::Model { path: self.path.clone(), error })?;
        let mut done_bytes = 0u64;
        if !progress(Progress { done_bytes, total_bytes }) {
            return Err(RuntimeError::Interrupted);
        }
        let program = self.with_weights(|weights| {
            let adapted = Adapted::new(&plan, weights, &self.adapters)?;
            backend.compile(&adapted.plan, &adapted, &compile, &mut |bytes| {
                done_bytes = done_bytes.saturating_add(bytes).min(total_bytes);
                progress(Progress { done_bytes, total_bytes })
            })
        })?;
        progress(Progress { done_bytes: total_bytes, total_bytes });
        let widths = (self.spec().vocabulary, self.spec().output_width());
        Ok(Loaded::new(program, widths, self.context_for(options)))
    }
}

impl TextFiles {
    /// The chat template: the one for tools where `tools` and there is one, else the default; `None` where there is none.
    pub fn chat_template(&self, path: &Path, tools: bool) -> Result<Option<ChatTemplate>, RuntimeError> {
        let named = |name: &str| self.templates.iter().find(|template| template.name == name);
        let for_tools = if tools { named("tool_use") } else { None };
        let Some(chosen) = for_tools.or_else(|| named("default")).or(self.templates.first()) else { return Ok(None) };
        let spelled = |id: Option<u32>| {
            let text = self.tokenizer.as_ref().and_then(|tokenizer| tokenizer.token_text(id?));
            text.map(|text| text.into_owned()).unwrap_or_default()
        };
        let tokenizer = self.tokenizer.as_ref();
        let (bos, eos) = (tokenizer.and_then(Tokenizer::bos), tokenizer.and_then(Tokenizer::eos));
        ChatTemplate::new(&chosen.source, &spelled(bos), &spelled(eos), &chosen.name)
            .map(Some)
            .map_err(|error| RuntimeError::Text { path: path.to_owned(), error })
    }

    /// Names of the chat templates.
    pub fn template_names(&self) -> impl Iterator<Item = &str> {
        self.templates.iter().map(|template| template.name.as_str())
    }
}
