//! `bantam run MODEL [PROMPT]`: one answer, many answers, or a chat.

mod lines;
mod once;
mod request;

pub use lines::{GLANCE, Line, read_lines};

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;

use bantam_engine::ChatSettings;
use bantam_runtime::{LoadOptions, Loaded, Model};
use clap::Args;

use crate::answer::Thoughts;
use crate::arguments::{LoadArguments, SamplingArguments, ThinkArguments, sequences};
use crate::assistant;
use crate::chat;
use crate::constraints::{ConstraintArguments, Constraints};
use crate::failure::Usage;
use crate::interrupt::Interrupt;
use crate::models;
use crate::output::note;
use crate::prompter::Prompter;
use crate::tools::{ToolArguments, ToolRequest};

/// Arguments of `bantam run`.
#[derive(Args, Debug)]
#[command(
    after_help = "Stdin joins the prompt after an empty line, or is the prompt. Without a prompt, on a terminal, a chat begins."
)]
pub struct RunArguments {
    /// A .gguf file, the first part of a split GGUF, or a Hugging Face directory; where the only argument is several words
    /// and no path, it is the prompt, and @assistant answers, the model within Bantam
    #[arg(value_name = "MODEL", value_hint = clap::ValueHint::AnyPath)]
    pub model: Option<PathBuf>,
    /// What to ask; "" is an empty prompt, never a chat
    pub prompt: Option<String>,
    /// Text put before the prompt
    #[arg(short = 'f', long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub file: Option<PathBuf>,
    /// The system prompt
    #[arg(long, value_name = "TEXT", conflicts_with = "raw")]
    pub system: Option<String>,
    /// Give the prompt to the model without its chat template
    #[arg(long)]
    pub raw: bool,
    #[command(flatten)]
    pub think: ThinkArguments,
    /// Read one prompt a line from stdin, write one answer a line
    #[arg(long, conflicts_with_all = ["prompt", "jsonl"], help_heading = "Many prompts")]
    pub lines: bool,
    /// Read one {"prompt": …} or {"messages": […]} a line from stdin, write one JSON object a line
    #[arg(long, conflicts_with_all = ["prompt", "file"], help_heading = "Many prompts")]
    pub jsonl: bool,
    /// Prompts decoded together; by default 8, fewer where memory is short
    #[arg(long, value_name = "N", value_parser = sequences(), help_heading = "Many prompts")]
    pub parallel: Option<usize>,
    /// Write each answer as one JSON object
    #[arg(long, help_heading = "Output")]
    pub json: bool,
    /// With --json: each token's log probability, and those of the N likeliest beside it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100), help_heading = "Output")]
    pub logprobs: Option<u32>,
    #[command(flatten)]
    pub tools: ToolArguments,
    #[command(flatten)]
    pub constraint: ConstraintArguments,
    #[command(flatten)]
    pub sampling: SamplingArguments,
    #[command(flatten)]
    pub load: LoadArguments,
}

/// Which of its jobs `run` was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Job {
    Once,
    Lines,
    Chat,
}

fn job(arguments: &RunArguments) -> Job {
    if arguments.lines || arguments.jsonl {
        Job::Lines
    } else if arguments.prompt.is_none()
        && arguments.file.is_none()
        && io::stdin().is_terminal()
        && io::stdout().is_terminal()
    {
        Job::Chat
    } else {
        Job::Once
    }
}

/// Answers what was asked.
pub fn run(mut arguments: RunArguments) -> anyhow::Result<()> {
    if arguments.tools.tools.is_none() && !arguments.jsonl && arguments.tools.tool_choice.is_some() {
        return Err(Usage("--tool-choice needs --tools".into()).into());
    }
    if arguments.logprobs.is_some() && !arguments.json && !arguments.jsonl {
        return Err(Usage("--logprobs needs --json".into()).into());
    }
    let (path, prompt) = assistant::model_and_prompt(arguments.model.as_ref(), arguments.prompt.as_ref())?;
    let is_named = arguments.model.as_ref() == Some(&path);
    arguments.prompt = prompt;
    let arguments = arguments;
    let job = job(&arguments);
    if arguments.json && job == Job::Chat {
        return Err(Usage("--json needs a prompt".into()).into());
    }
    if arguments.prompt.is_some() && (arguments.lines || arguments.jsonl) {
        return Err(
            Usage("--lines and --jsonl read prompts from stdin: they go with a MODEL and no prompt".into()).into()
        );
    }
    let model = models::open_to_run(&path, arguments.load.size.quantize)?;
    let model = models::adapted(model, &arguments.load)?;
    let prompter = Prompter::new(&model, arguments.raw)?;
    let think = arguments.think.choice();
    prompter.check_think(think).map_err(anyhow::Error::msg)?;
    if !prompter.has_template() {
        without_template(&arguments, job)?;
    }
    let settings = arguments.sampling.settings(think);
    let constraints = &Constraints::new(prompter.compiler(), &arguments.constraint)?;
    let constraints = &constraints.with_calls(&model, prompter.has_template())?;
    if !is_named && job != Job::Chat {
        assistant::introduce();
    }
    let tools = &ToolRequest::from_arguments(&arguments.tools)?;
    if arguments.tools.tools.is_some() && constraints.chosen().is_some() {
        return Err(Usage("--tools doesn't go with a constraint of the whole answer".into()).into());
    }
    let asked =
        Asked { arguments: &arguments, model: &model, prompter: &prompter, settings: &settings, constraints, tools };
    match job {
        Job::Once => once::run(&asked),
        Job::Lines => lines::run(&asked),
        Job::Chat => chat::run(&asked),
    }
}

/// Says that a model is run as it is, or refuses what can't be done without a template.
fn without_template(arguments: &RunArguments, job: Job) -> anyhow::Result<()> {
    if arguments.tools.tools.is_some() {
        anyhow::bail!("--tools needs a chat template, and the model has none");
    }
    if arguments.system.is_some() {
        anyhow::bail!("--system needs a chat template, and the model has none");
    }
    if !arguments.raw && !arguments.jsonl {
        note(match job {
            Job::Once => "the model has no chat template: the prompt is given to it as it is, as with --raw",
            Job::Lines => "the model has no chat template: prompts are given to it as they are, as with --raw",
            Job::Chat => "the model has no chat template: it goes on with each text you give it, as with --raw",
        });
    }
    Ok(())
}

/// What all jobs need.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// The command line.
    pub arguments: &'a RunArguments,
    /// The model, not yet loaded.
    pub model: &'a Model,
    /// What makes prompts for it.
    pub prompter: &'a Prompter<'a>,
    /// What answers are held to.
    pub constraints: &'a Constraints<'a>,
    /// What was chosen on the command line.
    pub settings: &'a ChatSettings,
    /// What the model may call.
    pub tools: &'a ToolRequest,
}

impl Asked<'_> {
    /// Loads the model with room for this many sequences.
    ///
    /// # Errors
    /// Where it doesn't fit, can't be loaded, or Ctrl-C came.
    pub fn load(&self, sequences: usize, interrupt: &Interrupt) -> anyhow::Result<Loaded> {
        let options = LoadOptions { repacking_later: true, ..models::load_options(&self.arguments.load, sequences) };
        models::load(self.model, &options, interrupt)
    }

    /// Positions that a sequence will hold once loaded.
    pub fn context(&self) -> usize {
        self.model.context_for(&models::load_options(&self.arguments.load, 1))
    }

    /// How thoughts are shown on stdout.
    pub fn thoughts(&self) -> Thoughts {
        if io::stdout().is_terminal() {
            Thoughts::Faint
        } else if self.arguments.think.think {
            Thoughts::Marked
        } else {
            Thoughts::Hidden
        }
    }

    /// Log probabilities beside each token, where asked for.
    pub fn logprobs(&self) -> Option<usize> {
        self.arguments.logprobs.and_then(|count| usize::try_from(count).ok())
    }
}
