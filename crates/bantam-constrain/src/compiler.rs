//! From schemas, expressions, choices and grammars to constraints.

use std::fmt;
use std::sync::Arc;

use bantam_text::Tokenizer;
use llguidance::api::{ParserLimits, TopLevelGrammar};
use llguidance::toktrie::{InferenceCapabilities, TokEnv};
use llguidance::{Matcher, ParserFactory};
use serde_json::Value;

use crate::brackets::{self, Kind};
use crate::error::ConstraintError;
use crate::session::{Leading, Session};
use crate::spans::{CallForms, Known, Spans};
use crate::text::{sentence, without_place};
use crate::tools::{self, CallRules};
use crate::vocabulary::Vocabulary;
use crate::{gbnf, schema, watch};

/// Longest schema, expression or grammar, in bytes.
pub(crate) const LONGEST_SOURCE: usize = 1 << 20;
/// Deepest nesting of brackets in a grammar or expression: what reads them is recursive.
const DEEPEST: usize = 200;
/// Most rules of a grammar: chains of them are followed recursively, too.
const MOST_RULES: usize = 4_000;
/// Stack for compiling, in bytes: expressions are rewritten recursively. Only what is used of it takes memory.
const STACK: usize = 512 << 20;

/// Makes constraints for one tokenizer.
///
/// Building one reads the whole vocabulary (tens of milliseconds for 150,000 tokens), so it is kept beside the model.
pub struct Compiler {
    factory: Arc<ParserFactory>,
    leading: Arc<Leading>,
    tokenizer: Tokenizer,
}

impl fmt::Debug for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compiler").finish_non_exhaustive()
    }
}

/// What an answer must be, compiled: the start of any number of sessions.
#[derive(Clone)]
pub struct Constraint {
    start: Start,
    notes: Arc<[String]>,
}

/// What a session begins with.
#[derive(Clone)]
enum Start {
    Matcher(Arc<Matcher>, Arc<Leading>),
    Spans(Arc<Spans>),
}

/// Makes constraints that hold answers to a model's own calls, whose arguments are stretches of what was said.
#[derive(Clone)]
pub struct Calls(Arc<Known>);

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}

impl Calls {
    /// For a tokenizer's tokens and a model's calls.
    pub fn new(tokenizer: &Tokenizer, forms: &CallForms) -> Self {
        Self(Arc::new(Known::new(tokenizer, forms)))
    }

    /// The calls that this utterance may be answered with.
    ///
    /// # Errors
    /// [`ConstraintError::Stuck`] for one of more than 64 KiB.
    pub fn about(&self, utterance: &str) -> Result<Constraint, ConstraintError> {
        let spans = Spans::new(&self.0, utterance)?;
        Ok(Constraint { start: Start::Spans(Arc::new(spans)), notes: Arc::new([]) })
    }
}

/// A constraint is equal to itself and its copies alone.
impl PartialEq for Constraint {
    fn eq(&self, other: &Self) -> bool {
        match (&self.start, &other.start) {
            (Start::Matcher(one, _), Start::Matcher(other, _)) => Arc::ptr_eq(one, other),
            (Start::Spans(one), Start::Spans(other)) => Arc::ptr_eq(one, other),
            (Start::Matcher(..), Start::Spans(_)) | (Start::Spans(_), Start::Matcher(..)) => false,
        }
    }
}

impl Eq for Constraint {}

impl fmt::Debug for Constraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Constraint").finish_non_exhaustive()
    }
}

impl Constraint {
    /// The start of one answer. Sessions share nothing that changes, so none depends on another.
    pub fn begin(&self) -> Session {
        match &self.start {
            Start::Matcher(start, leading) => Session::new(start.deep_clone(), leading.clone()),
            Start::Spans(spans) => Session::of_spans(spans.begin()),
        }
    }

    /// What the source says that no answer is held to, each in one sentence: words in a schema that are none of JSON
    /// Schema's.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }
}

/// What bounds the work: for one token, half a second at the very worst; some 100 MB of automaton.
fn limits() -> ParserLimits {
    ParserLimits {
        max_items_in_row: 20_000,
        initial_lexer_fuel: 1_000_000,
        step_lexer_fuel: 200_000,
        step_max_items: 1_000_000,
        max_lexer_states: 50_000,
        max_grammar_size: 500_000,
        precompute_large_lexemes: false,
        verbose_errors: false,
    }
}

impl Compiler {
    /// For a tokenizer's vocabulary.
    ///
    /// # Errors
    /// [`ConstraintError::Vocabulary`] for one too large to be masked.
    pub fn new(tokenizer: &Tokenizer) -> Result<Self, ConstraintError> {
        let environment: TokEnv = Vocabulary::environment(tokenizer.clone())?;
        let slices = llguidance::earley::SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
            .map_err(|error| ConstraintError::Vocabulary(sentence(&error.to_string())))?;
        factory.quiet();
        *factory.limits_mut() = limits();
        let leading = Arc::new(Leading::new(&environment));
        Ok(Self { factory: Arc::new(factory), leading, tokenizer: tokenizer.clone() })
    }

    /// JSON that a schema describes (drafts 4 to 2020-12, in so far as every keyword can be honoured).
    ///
    /// Properties come in the order of the schema. White space between the parts is the model's choice, a little of it.
    ///
    /// # Errors
    /// [`ConstraintError::Schema`] names a keyword that cannot be honoured and where it stands.
    pub fn json_schema(&self, schema: &Value) -> Result<Constraint, ConstraintError> {
        let rewritten = schema::rewrite(schema)?;
        let grammar = TopLevelGrammar::from_json_schema(rewritten.schema.clone());
        match self.compile(grammar) {
            Ok(mut constraint) => {
                constraint.notes = rewritten.notes.into();
                Ok(constraint)
            }
            Err(reason) => Err(self.blame(&rewritten).unwrap_or(ConstraintError::BadSchema(reason))),
        }
    }

    /// Any JSON object.
    ///
    /// # Errors
    /// None in practice.
    pub fn json_object(&self) -> Result<Constraint, ConstraintError> {
        self.json_schema(&serde_json::json!({ "type": "object" }))
    }

    /// Text that a regular expression matches from its beginning to its end (the syntax of Rust's `regex`, without
    /// look-around and back-references).
    ///
    /// # Errors
    /// [`ConstraintError::Regex`] for one that is invalid, too large, or matches nothing.
    pub fn regex(&self, pattern: &str) -> Result<Constraint, ConstraintError> {
        check_length(pattern).map_err(ConstraintError::Regex)?;
        if pattern.is_empty() {
            return Err(ConstraintError::Regex("it is empty, and only the empty answer matches it".into()));
        }
        schema::check_groups(pattern).map_err(ConstraintError::Regex)?;
        schema::parse_expression(pattern).map_err(ConstraintError::Regex)?;
        let compiled = self.compile(TopLevelGrammar::from_regex(pattern));
        compiled.map_err(|reason| ConstraintError::Regex(without_place(&reason)))
    }

    /// One of these texts, exactly.
    ///
    /// # Errors
    /// [`ConstraintError::Choices`] where there is none, or one is empty.
    pub fn choices<S: AsRef<str>>(&self, choices: &[S]) -> Result<Constraint, ConstraintError> {
        let refuse = |reason: &str| Err(ConstraintError::Choices(reason.to_owned()));
        if choices.is_empty() {
            return refuse("there are none");
        }
        if choices.iter().any(|choice| choice.as_ref().is_empty()) {
            return refuse("one of them is empty");
        }
        if choices.iter().map(|choice| choice.as_ref().len()).sum::<usize>() > LONGEST_SOURCE {
            return refuse("they are longer than 1 MiB");
        }
        let pattern: Vec<String> = choices.iter().map(|choice| schema::escape(choice.as_ref())).collect();
        let pattern = format!("(?:{})", pattern.join("|"));
        let compiled = self.compile(TopLevelGrammar::from_regex(&pattern));
        compiled.map_err(|reason| ConstraintError::Choices(without_place(&reason)))
    }

    /// What a Lark grammar derives from its rule `start`, in llguidance's variant of Lark. Schemas behind `%json` are read as
    /// [`json_schema`](Self::json_schema) reads them.
    ///
    /// # Errors
    /// [`ConstraintError::Grammar`] for one that cannot be read, or is too large; [`ConstraintError::Schema`] for a schema in
    /// it that cannot be honoured.
    pub fn lark(&self, grammar: &str) -> Result<Constraint, ConstraintError> {
        check_grammar(grammar, Kind::Lark).map_err(ConstraintError::Grammar)?;
        let mut schemas = Vec::new();
        let grammar = brackets::with_schemas(grammar, |schema| {
            let rewritten = schema::rewrite(schema)?;
            let written = rewritten.schema.clone();
            schemas.push(rewritten);
            Ok::<_, ConstraintError>(written)
        })?;
        match self.compile(TopLevelGrammar::from_lark(brackets::with_text_complements(&grammar))) {
            Ok(mut constraint) => {
                constraint.notes = schemas.into_iter().flat_map(|schema| schema.notes).collect();
                Ok(constraint)
            }
            Err(reason) => {
                let blamed = schemas.iter().find_map(|schema| self.blame(schema));
                Err(blamed.unwrap_or(ConstraintError::Grammar(reason)))
            }
        }
    }

    /// What a GBNF grammar (llama.cpp's format) derives from its rule `root`.
    ///
    /// # Errors
    /// [`ConstraintError::Gbnf`] says in which line it cannot be read.
    pub fn gbnf(&self, grammar: &str) -> Result<Constraint, ConstraintError> {
        check_grammar(grammar, Kind::Gbnf).map_err(ConstraintError::Grammar)?;
        let lark = gbnf::to_lark(grammar, &self.tokenizer)?;
        let compiled = self.compile(TopLevelGrammar::from_lark(lark));
        compiled.map_err(|reason| ConstraintError::Grammar(without_place(&reason)))
    }

    /// Answers whose calls name one of these tools, with arguments that its schema describes: free text with or without calls
    /// behind it, or calls alone where they are required. `None` for a convention whose calls can't be held
    /// ([`Convention::is_held`](bantam_text::tool_calls::Convention::is_held)).
    ///
    /// # Errors
    /// [`ConstraintError::Tool`] names the tool and the keyword that cannot be honoured.
    pub fn tool_calls(&self, rules: &CallRules<'_>) -> Result<Option<Constraint>, ConstraintError> {
        let Some(grammar) = tools::grammar(rules, &self.tokenizer)? else { return Ok(None) };
        match self.compile(TopLevelGrammar::from_lark(grammar.lark)) {
            Ok(mut constraint) => {
                constraint.notes = grammar.notes.into();
                Ok(Some(constraint))
            }
            Err(reason) => Err(self.blame_tool(rules, reason)),
        }
    }

    /// Finds the tool whose schema cannot be compiled, and the keyword in it.
    fn blame_tool(&self, rules: &CallRules<'_>, reason: String) -> ConstraintError {
        for tool in rules.tools.iter() {
            let parameters = tool.parameters.as_ref().map(|parameters| self.json_schema(parameters));
            if let Some(Err(error)) = parameters {
                return ConstraintError::Tool { tool: tool.name.clone(), reason: error.to_string() };
            }
        }
        ConstraintError::Grammar(reason)
    }

    /// Compiles on a thread with a large stack; panics inside become sentences, as llguidance catches them.
    pub(crate) fn compile(&self, grammar: TopLevelGrammar) -> Result<Constraint, String> {
        let factory = self.factory.clone();
        let work = move || {
            let mut matcher = Matcher::new(factory.create_parser(grammar)).into_cancellable();
            // The first masks show what compiling leaves to them: a start that allows nothing, an automaton too large, too
            // many ways to go on.
            let mut trial = matcher.deep_clone();
            let _watched = trial.cancellation_handle().as_ref().map(watch::begin);
            let first = trial.compute_mask_or_eos().and_then(|mask| match mask.first_bit_set() {
                Some(token) if !trial.is_accepting()? => {
                    trial.consume_token(token as u32)?;
                    trial.compute_mask_or_eos().map(|_| ())
                }
                _ => Ok(()),
            });
            let first = first.map_err(|error| error.to_string());
            match matcher.get_error() {
                Some(error) => Err(error),
                None => first.and_then(|()| {
                    matcher.is_accepting().map_err(|error| error.to_string())?;
                    Ok(matcher)
                }),
            }
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn(work);
        let result = match thread.map(std::thread::JoinHandle::join) {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err("it makes the library that compiles it fail".to_owned()),
            Err(error) => Err(format!("no thread can be started to compile it: {error}")),
        };
        let matcher = result.map_err(|error| explain(&error))?;
        Ok(Constraint { start: Start::Matcher(Arc::new(matcher), self.leading.clone()), notes: Arc::new([]) })
    }

    /// Finds the keyword that a compiler's refusal is about: the first part that is refused for itself.
    fn blame(&self, rewritten: &schema::Rewritten) -> Option<ConstraintError> {
        rewritten.parts.iter().find_map(|part| {
            let reason = self.compile(TopLevelGrammar::from_json_schema(schema::alone(&part.schema))).err()?;
            let (keyword, pointer) = (part.keyword.clone(), part.pointer.clone());
            Some(ConstraintError::Schema { keyword, pointer, reason })
        })
    }
}

fn check_grammar(source: &str, kind: Kind) -> Result<(), String> {
    // Both kinds of grammar write a colon in every rule.
    if source.lines().filter(|line| line.contains(':')).count() > MOST_RULES {
        return Err(format!("it has more than {MOST_RULES} rules"));
    }
    check_length(source)?;
    if brackets::deepest(source, kind) > DEEPEST {
        return Err(format!("its brackets nest deeper than {DEEPEST}"));
    }
    Ok(())
}

fn check_length(source: &str) -> Result<(), String> {
    if source.len() > LONGEST_SOURCE {
        return Err("it is longer than 1 MiB".to_owned());
    }
    Ok(())
}

/// What a refusal of llguidance's contains, and what is said in its place.
const WORDS: &[(&str, &str)] = &[
    ("panic: ", "it makes the library that compiles it fail"),
    ("NoExtensionBias", "no token of the vocabulary can begin an answer"),
    ("Regex is empty", "nothing fulfils all that it asks for"),
    ("lookarounds not supported", "^, $ and word boundaries are only supported at the two ends of an expression"),
    (
        "oneOf constraints are not supported",
        "an answer might fit two branches: they must differ in their types, in the values they list, or in the \"const\" of a \
         property that each requires",
    ),
    (
        "min/maxProperties only supported",
        "the number of properties is only counted where all of \"properties\" are \"required\"",
    ),
    (
        "Current row has",
        "there are too many ways to go on at one place, as from one of very many optional properties to another",
    ),
    (
        "Too many items",
        "there are too many ways to go on at one place, as from one of very many optional properties to another",
    ),
];

/// llguidance's words for a refusal, as a sentence that needs no knowledge of llguidance.
fn explain(error: &str) -> String {
    let line = sentence(error);
    if line.to_lowercase().contains("cancel") {
        return "what an answer must begin with takes more than two seconds to find".to_owned();
    }
    if let Some((_, words)) = WORDS.iter().find(|(found, _)| error.contains(found)) {
        return (*words).to_owned();
    }
    if let Some(reason) = line.strip_prefix("Unsatisfiable schema: ") {
        return format!("nothing fulfils it: {reason}");
    }
    line
}
