//! All steps, one behind the other, each done once: from the data sets to the shipped file.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow, bail};

/// What the steps are done with.
#[derive(Debug, clap::Args)]
pub struct Make {
    /// Where everything goes; what is there already is not made again, and a training that was stopped goes on
    #[arg(short, long)]
    pub output: PathBuf,
    /// The directory with snips/ and clinc150/
    #[arg(long, default_value = "../shared/data/assistant")]
    pub data: PathBuf,
    /// all-MiniLM-L6-v2, whose vectors the words begin with and which is the teacher: a directory or a .gguf file
    #[arg(long)]
    pub encoder: PathBuf,
    /// The command
    #[arg(long, default_value = "target/release/bantam")]
    pub bantam: PathBuf,
    /// What the weights are quantized to
    #[arg(long = "type", default_value = "q6_k")]
    pub quantized: String,
    /// Variations of each utterance to learn from, beside itself
    #[arg(long, default_value_t = 10)]
    pub variations: u64,
    /// Where chance begins
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// What must stay right in scope while the threshold is chosen, in percent
    #[arg(long, default_value_t = 94.0)]
    pub in_scope: f64,
}

impl Make {
    /// A file of the recipe.
    pub fn file(&self, name: &str) -> PathBuf {
        self.output.join(name)
    }

    /// Does a step unless its file is there; the step writes to the path it is given.
    ///
    /// # Errors
    /// What the step says.
    pub fn once(&self, name: &str, step: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let target = self.file(name);
        if target.exists() {
            return Ok(());
        }
        eprintln!("{name}");
        // What a step that fails leaves behind is no result.
        let part = self.file(&format!("part-{name}"));
        step(&part).with_context(|| name.to_owned())?;
        std::fs::rename(&part, &target).with_context(|| target.display().to_string())
    }

    /// Runs the command.
    ///
    /// # Errors
    /// Where it does not start, or fails.
    pub fn bantam(&self, arguments: &[&str], from: Option<&Path>, to: Option<&Path>) -> anyhow::Result<()> {
        let file = |path: &Path| File::open(path).with_context(|| path.display().to_string());
        let made = |path: &Path| File::create(path).with_context(|| path.display().to_string());
        let stdin = from.map(file).transpose()?.map_or_else(Stdio::null, Stdio::from);
        let stdout = to.map(made).transpose()?.map_or_else(Stdio::inherit, Stdio::from);
        let mut command = Command::new(&self.bantam);
        let status = command.args(arguments).stdin(stdin).stdout(stdout).status();
        let status = status.with_context(|| self.bantam.display().to_string())?;
        if !status.success() {
            bail!("bantam {} failed: {status}", arguments.first().copied().unwrap_or_default());
        }
        Ok(())
    }

    /// A training, begun or gone on with.
    ///
    /// # Errors
    /// Where the command fails; what it has learnt so far is kept.
    pub fn train(&self, spec: &str, learn: &str, target: &str) -> anyhow::Result<()> {
        if self.file(target).exists() {
            return Ok(());
        }
        let text = |name: &str| self.file(name).display().to_string();
        let (spec, learn, choose, out) = (text(spec), text(learn), text("choose.jsonl"), text(target));
        let mut arguments = vec!["tune", "--from-scratch", &spec, &learn, "--validation", &choose, "-o", &out];
        if self.file(&format!("{target}.training/training-state.safetensors")).exists() {
            arguments.push("--resume");
        }
        self.bantam(&arguments, None, None)
    }

    /// The encoder's vectors of a file's lines, one after the other.
    ///
    /// # Errors
    /// Where the command fails, or gives what is no vector.
    pub fn embed(&self, lines: &Path, each: &mut dyn FnMut(Vec<f32>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let from = File::open(lines).with_context(|| lines.display().to_string())?;
        let mut command = Command::new(&self.bantam);
        command.arg("embed").arg(&self.encoder).args(["--lines", "--parallel", "32"]);
        let mut child = command.stdin(from).stdout(Stdio::piped()).spawn();
        let child = child.as_mut().map_err(|error| anyhow!("{}: {error}", self.bantam.display()))?;
        for line in BufReader::new(child.stdout.take().context("no stdout")?).lines() {
            let numbers = line?.split_whitespace().map(str::parse).collect::<Result<Vec<f32>, _>>();
            each(numbers.context("a vector of the encoder")?)?;
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("bantam embed failed: {status}");
        }
        Ok(())
    }

    /// Answers of a model to a part of the data.
    ///
    /// # Errors
    /// Where the command fails.
    pub fn answer(&self, model: &Path, prompts: &Path, answers: &Path) -> anyhow::Result<()> {
        self.bantam(&["run", &model.display().to_string(), "--jsonl"], Some(prompts), Some(answers))
    }
}
