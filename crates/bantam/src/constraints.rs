//! What answers are held to: from the command line, and from the lines of `--jsonl`.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use bantam_constrain::{CallForms, CallRules, Calls, Compiler, Constraint, ConstraintError};
use bantam_engine::Answer;
use bantam_runtime::Model;
use bantam_text::Tokenizer;
use clap::Args;
use serde_json::{Map, Value};

use crate::failure::Usage;
use crate::output::note;

/// Constraints of lines that are kept, so that lines that ask for the same do not compile it again.
const MOST_KEPT: usize = 64;
/// Largest schema or grammar file, in bytes.
const LARGEST: u64 = 1 << 20;

/// The options that hold an answer to a form.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Form of the answer")]
pub struct ConstraintArguments {
    /// Answer with JSON that this JSON schema describes
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, group = "constraint")]
    pub schema: Option<PathBuf>,
    /// Answer with text that this regular expression matches as a whole
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true, group = "constraint")]
    pub regex: Option<String>,
    /// Answer with one of these, separated by commas, or of a JSON array of strings
    #[arg(long, value_name = "A,B,…", allow_hyphen_values = true, group = "constraint")]
    pub choices: Option<String>,
    /// Answer with what this grammar derives: FILE.gbnf (llama.cpp's format) or FILE.lark (llguidance's)
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath, group = "constraint")]
    pub grammar: Option<PathBuf>,
}

/// What an answer is to be, not yet compiled.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// JSON by a schema.
    Schema(Value),
    /// Text by a regular expression.
    Regex(String),
    /// One of these.
    Choices(Vec<String>),
    /// A GBNF grammar.
    Gbnf(String),
    /// A Lark grammar.
    Lark(String),
    /// Any text, whatever the command line asks for.
    Text,
}

impl ConstraintArguments {
    /// The form asked for, if any is.
    ///
    /// # Errors
    /// Where a file can't be read, or is neither kind of grammar.
    pub fn form(&self) -> anyhow::Result<Option<Form>> {
        if let Some(path) = &self.schema {
            let text = read(path)?;
            let schema = serde_json::from_str(&text).with_context(|| format!("{} is no JSON", path.display()))?;
            return Ok(Some(Form::Schema(schema)));
        }
        if let Some(path) = &self.grammar {
            let kind = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            return match kind.to_ascii_lowercase().as_str() {
                "gbnf" => Ok(Some(Form::Gbnf(read(path)?))),
                "lark" => Ok(Some(Form::Lark(read(path)?))),
                _ => {
                    Err(Usage(format!("--grammar {}: its name ends in neither .gbnf nor .lark", path.display())).into())
                }
            };
        }
        if let Some(text) = &self.choices {
            return Ok(Some(Form::Choices(choices(text)?)));
        }
        Ok(self.regex.clone().map(Form::Regex))
    }
}

/// `a,b,c`, or a JSON array where a choice has a comma of its own.
fn choices(text: &str) -> anyhow::Result<Vec<String>> {
    if text.trim_start().starts_with('[') {
        let not_strings = || Usage("--choices: what begins with [ must be a JSON array of strings".into());
        return Ok(serde_json::from_str(text).map_err(|_| not_strings())?);
    }
    Ok(text.split(',').map(|choice| choice.trim().to_owned()).collect())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("{} can't be read", path.display()))?.len();
    if size > LARGEST {
        anyhow::bail!("{} is larger than {} MiB", path.display(), LARGEST >> 20);
    }
    std::fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))
}

/// Takes what a line of `--jsonl` asks the answer to be out of it.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn of_line(object: &mut Map<String, Value>) -> Result<Option<Form>, String> {
    let mut forms = Vec::new();
    let mut take = |key: &str| object.shift_remove(key).filter(|value| !value.is_null());
    if let Some(format) = take("response_format") {
        forms.push(response_format(format)?);
    }
    if let Some(regex) = take("regex") {
        forms.push(Form::Regex(text("regex", regex)?));
    }
    if let Some(list) = take("choices") {
        let list = serde_json::from_value(list).map_err(|_| "\"choices\" is no array of strings".to_owned())?;
        forms.push(Form::Choices(list));
    }
    if let Some(grammar) = take("grammar") {
        let grammar = text("grammar", grammar)?;
        // Only GBNF has this sign, and it has it in every rule.
        forms.push(if grammar.contains("::=") { Form::Gbnf(grammar) } else { Form::Lark(grammar) });
    }
    // Any text is no form beside another.
    if forms.len() > 1 {
        forms.retain(|form| *form != Form::Text);
    }
    if forms.len() > 1 {
        return Err("the line has more than one of \"response_format\", \"regex\", \"choices\" and \"grammar\"".into());
    }
    Ok(forms.pop())
}

fn text(key: &str, value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(format!("\"{key}\" is no string")),
    }
}

/// The chat API's `response_format`.
fn response_format(format: Value) -> Result<Form, String> {
    let Value::Object(mut format) = format else { return Err("\"response_format\" is no object".into()) };
    match format.get("type").and_then(Value::as_str) {
        Some("text") => Ok(Form::Text),
        Some("json_object") => match format.shift_remove("schema") {
            Some(schema) => Ok(Form::Schema(schema)),
            None => Ok(Form::Schema(serde_json::json!({ "type": "object" }))),
        },
        Some("json_schema") => match format.get_mut("json_schema").and_then(|wrapper| wrapper.get_mut("schema")) {
            Some(schema) => Ok(Form::Schema(schema.take())),
            None => Err("\"response_format\" has no \"json_schema\" with a \"schema\"".into()),
        },
        _ => Err("the \"type\" of \"response_format\" is none of text, json_object and json_schema".into()),
    }
}

/// Compiles constraints for one tokenizer, which is read when the first one comes.
pub struct LazyCompiler<'t> {
    tokenizer: &'t Tokenizer,
    compiler: OnceCell<Result<Compiler, ConstraintError>>,
    kept: RefCell<HashMap<String, Constraint>>,
}

impl<'t> LazyCompiler<'t> {
    /// For this tokenizer.
    pub fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, compiler: OnceCell::new(), kept: RefCell::default() }
    }

    fn compiler(&self) -> Result<&Compiler, ConstraintError> {
        self.compiler.get_or_init(|| Compiler::new(self.tokenizer)).as_ref().map_err(Clone::clone)
    }

    /// What is kept under a key, or else what is made.
    fn get(
        &self,
        key: String,
        make: impl FnOnce(&Compiler) -> Result<Option<Constraint>, ConstraintError>,
    ) -> Result<Option<Constraint>, ConstraintError> {
        if let Some(constraint) = self.kept.borrow().get(&key) {
            return Ok(Some(constraint.clone()));
        }
        let Some(constraint) = make(self.compiler()?)? else { return Ok(None) };
        let mut kept = self.kept.borrow_mut();
        if kept.len() >= MOST_KEPT {
            kept.clear();
        }
        kept.insert(key, constraint.clone());
        Ok(Some(constraint))
    }

    /// What holds calls to the schemas of their tools, or nothing where they can't be held.
    ///
    /// # Errors
    /// Where a schema can't be honoured, by tool and keyword.
    pub fn calls(&self, rules: &CallRules<'_>) -> Result<Option<Constraint>, ConstraintError> {
        let CallRules { convention, tools, required, parallel } = rules;
        if !convention.is_held() {
            return Ok(None);
        }
        let key = format!("calls {} {required} {parallel} {}", convention.name, tools.to_json());
        self.get(key, |compiler| {
            let constraint = compiler.tool_calls(rules)?;
            constraint.iter().flat_map(|constraint| constraint.notes()).for_each(note);
            Ok(constraint)
        })
    }
}

/// What forms ask of answers.
pub struct Constraints<'t> {
    compiler: &'t LazyCompiler<'t>,
    /// What the command line asks of every answer.
    chosen: Option<Constraint>,
    /// Where the model answers with calls of its own and nothing else is asked for.
    calls: Option<Calls>,
}

impl<'t> Constraints<'t> {
    /// With what the command line asks for.
    ///
    /// # Errors
    /// Where it can't be read or honoured.
    pub fn new(compiler: &'t LazyCompiler<'t>, arguments: &ConstraintArguments) -> anyhow::Result<Self> {
        let mut constraints = Self { compiler, chosen: None, calls: None };
        if let Some(form) = arguments.form()? {
            constraints.chosen = constraints.of(Some(&form))?;
        }
        Ok(constraints)
    }

    /// What the command line asks of every answer.
    pub fn chosen(&self) -> Option<&Constraint> {
        self.chosen.as_ref()
    }

    /// The same, with the calls that the model's metadata says are all it answers with, where it is asked through its
    /// template.
    ///
    /// # Errors
    /// Metadata that cannot be read.
    pub fn with_calls(&self, model: &Model, through_template: bool) -> anyhow::Result<Self> {
        let forms = model.calls().filter(|_| through_template && self.chosen.is_none());
        let calls = forms.map(|text| {
            let forms = CallForms::parse(text);
            let forms = forms.map_err(|problem| anyhow::anyhow!("the model's metadata `bantam.calls`: {problem}"))?;
            Ok::<_, anyhow::Error>(Calls::new(model.tokenizer()?, &forms))
        });
        Ok(Self { compiler: self.compiler, chosen: self.chosen.clone(), calls: calls.transpose()? })
    }

    /// What an answer to something said is held to.
    ///
    /// # Errors
    /// Where that is too long to be told about.
    pub fn about(&self, said: &str) -> Result<Option<Constraint>, ConstraintError> {
        match &self.calls {
            Some(calls) => calls.about(said.trim()).map(Some),
            None => Ok(self.chosen.clone()),
        }
    }

    /// The constraint of a line, or else of the command line.
    ///
    /// # Errors
    /// Where it can't be honoured.
    pub fn of(&self, form: Option<&Form>) -> Result<Option<Constraint>, ConstraintError> {
        let form = match form {
            None => return Ok(self.chosen.clone()),
            Some(Form::Text) => return Ok(None),
            Some(form) => form,
        };
        self.compiler.get(format!("{form:?}"), |compiler| {
            let constraint = match form {
                Form::Schema(schema) => compiler.json_schema(schema),
                Form::Regex(pattern) => compiler.regex(pattern),
                Form::Choices(choices) => compiler.choices(choices),
                Form::Gbnf(grammar) => compiler.gbnf(grammar),
                Form::Lark(grammar) => compiler.lark(grammar),
                Form::Text => return Ok(None),
            }?;
            constraint.notes().iter().for_each(note);
            Ok(Some(constraint))
        })
    }
}

/// What to say of an answer that is only a beginning of what it had to be.
pub fn unmet(answer: &Answer) -> Option<&'static str> {
    (answer.constraint_met == Some(false))
        .then_some("the answer was cut short: it is only the beginning of a valid one")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(line: Value, expected: Result<Option<Form>, &str>) {
        let Value::Object(mut object) = line.clone() else { panic!("{line} is no object") };
        match (of_line(&mut object), expected) {
            (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{line}"),
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{line}: {found}"),
            (found, _) => panic!("{line}: {found:?}"),
        }
    }

    #[test]
    fn lines_say_what_their_answers_are_to_be() {
        let object = json!({ "type": "object" });
        let wrapped =
            json!({ "type": "json_schema", "json_schema": { "name": "a", "strict": true, "schema": object } });
        check(json!({}), Ok(None));
        check(json!({ "regex": null, "response_format": { "type": "text" } }), Ok(Some(Form::Text)));
        check(json!({ "regex": "a", "response_format": { "type": "text" } }), Ok(Some(Form::Regex("a".into()))));
        check(json!({ "response_format": wrapped }), Ok(Some(Form::Schema(object.clone()))));
        check(json!({ "response_format": { "type": "json_object" } }), Ok(Some(Form::Schema(object))));
        check(json!({ "regex": "a+" }), Ok(Some(Form::Regex("a+".into()))));
        check(json!({ "choices": ["a", "b"] }), Ok(Some(Form::Choices(vec!["a".into(), "b".into()]))));
        check(json!({ "grammar": "root ::= \"a\"" }), Ok(Some(Form::Gbnf("root ::= \"a\"".into()))));
        check(json!({ "grammar": "start: \"a\"" }), Ok(Some(Form::Lark("start: \"a\"".into()))));
        check(json!({ "grammar": 1 }), Err("no string"));
        check(json!({ "choices": "a" }), Err("no array of strings"));
        check(json!({ "response_format": { "type": "xml" } }), Err("none of text"));
        check(json!({ "response_format": { "type": "json_schema" } }), Err("no \"json_schema\""));
        check(json!({ "regex": "a", "choices": ["a"] }), Err("more than one"));
    }

    #[test]
    fn choices_may_have_commas() {
        assert_eq!(choices("a, b,c").unwrap(), ["a", "b", "c"]);
        assert_eq!(choices("[\"a, b\", \"c\"]").unwrap(), ["a, b", "c"]);
        assert!(choices("[1]").is_err());
    }
}
