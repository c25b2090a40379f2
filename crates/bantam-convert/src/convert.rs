//! The one door: from a path to another.

use std::path::Path;

use bantam_formats::gguf::SplitLimits;
use bantam_kernels::{Pool, available_threads};

use crate::encode::{Edit, Work};
use crate::source::Source;
use crate::{ConvertError, Report, Types, gguf_out, huggingface_out};

/// The form of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A GGUF file, or several.
    Gguf,
    /// A Hugging Face directory.
    HuggingFace,
}

/// What is asked for.
#[derive(Clone, Debug)]
pub struct Options {
    /// The form of the target.
    pub form: Form,
    /// The formats of its tensors.
    pub types: Types,
    /// Where a GGUF target goes into several files.
    pub split: Option<SplitLimits>,
    /// Most bytes of one file of weights in a directory.
    pub shard_bytes: u64,
    /// Whether what is there may be replaced.
    pub force: bool,
    /// Threads that encode; all that there are where none is said.
    pub threads: Option<usize>,
}

impl Options {
    /// Into this form, with nothing else asked for.
    pub fn new(form: Form) -> Self {
        Self { form, types: Types::AsIs, split: None, shard_bytes: 5_000_000_000, force: false, threads: None }
    }
}

/// Converts the model at `source` to `target`. `progress` is told how many bytes of how many have been read, and where it
/// gives `false` the work stops and leaves nothing.
///
/// # Errors
/// [`ConvertError`]: whatever it is, the target is then as it was before.
pub fn convert(
    source: &Path,
    target: &Path,
    options: &Options,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Report, ConvertError> {
    run(source, target, options, None, progress)
}

/// As [`convert`], from GGUF to GGUF, with some tensors changed on the way: an adapter added to them, or trained weights in
/// their place. What is changed is encoded anew.
///
/// # Errors
/// As [`convert`]; a source or a target in another form.
pub fn convert_edited(
    source: &Path,
    target: &Path,
    options: &Options,
    edit: &dyn Edit,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Report, ConvertError> {
    run(source, target, options, Some(edit), progress)
}

fn run(
    source: &Path,
    target: &Path,
    options: &Options,
    edit: Option<&dyn Edit>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<Report, ConvertError> {
    let (opened, files) = Source::open(source)?;
    if edit.is_some() && !(matches!(opened, Source::Gguf(_)) && options.form == Form::Gguf) {
        let problem = "weights are changed on their way from GGUF to GGUF alone; convert the model first";
        return Err(ConvertError::Request(problem.into()));
    }
    let pool = Pool::new(options.threads.unwrap_or_else(available_threads));
    let total: u64 = match &opened {
        Source::Gguf(gguf) => gguf.model.tensors().map(|(_, tensor)| tensor.range.len() as u64).sum(),
        Source::Directory(directory) => directory.tensors.tensors().map(|(_, tensor)| tensor.range.len() as u64).sum(),
    };
    let mut done = 0u64;
    let mut advance = |bytes: u64| {
        done = done.saturating_add(bytes).min(total);
        progress(done, total)
    };
    let mut work = Work { pool: &pool, files: &files, progress: &mut advance, edit };
    let report = Report { source: source.to_owned(), target: target.to_owned(), ..Report::default() };
    match options.form {
        Form::Gguf => gguf_out::write(&opened, target, options, &mut work, report),
        Form::HuggingFace => huggingface_out::write(&opened, target, options, &mut work, report),
    }
}
