//! `bantam show MODEL`.

use std::fmt::Write as _;

use bantam_runtime::{Description, OpenOptions, describe};
use clap::Args;

use crate::arguments::{ModelArgument, SizeArguments};
use crate::output::{Style, emit, emit_json_pretty, for_stdout};
use crate::{models, size};

/// Arguments of `bantam show`.
#[derive(Args, Debug)]
pub struct ShowArguments {
    #[command(flatten)]
    model: ModelArgument,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    size: SizeArguments,
}

/// Says what a model is.
pub fn run(arguments: &ShowArguments) -> anyhow::Result<()> {
    let open = OpenOptions { quantize: arguments.size.quantize, ..OpenOptions::default() };
    let options = models::size_options(&arguments.size, 1);
    let description = describe(&arguments.model.model, &open, &options)?;
    if arguments.json {
        return emit_json_pretty(&description);
    }
    Ok(emit(&page(&description, Style::stdout()))?)
}

/// Names to the left, values to the right of them.
struct Page {
    text: String,
    style: Style,
}

impl Page {
    fn row(&mut self, name: &str, value: impl std::fmt::Display) {
        // Names and notes come from strangers' files.
        let (value, bold, reset) = (value.to_string(), self.style.bold(), self.style.reset());
        let _ = writeln!(self.text, "{bold}{name:<14}{reset} {}", for_stdout(&value));
    }

    fn rows(&mut self, name: &str, values: impl IntoIterator<Item = String>) {
        for (index, value) in values.into_iter().enumerate() {
            self.row(if index == 0 { name } else { "" }, value);
        }
    }
}

fn page(description: &Description, style: Style) -> String {
    let mut page = Page { text: String::new(), style };
    page.row("model", description.name.as_deref().unwrap_or("without a name"));
    page.row("file", format_args!("{} ({})", description.path, description.format));
    if let Some(family) = &description.family {
        page.row("family", family);
    }
    if description.parameters > 0 {
        let (parameters, bytes) = (size::count(description.parameters), size::format(description.bytes));
        page.row("parameters", format_args!("{parameters} in {bytes}"));
    }
    if let Some(quantization) = &description.quantization {
        page.row("quantized", quantization);
    }
    let types = description.types.iter().map(|share| {
        let (tensors, plural) = (share.tensors, if share.tensors == 1 { "" } else { "s" });
        let (parameters, bytes) = (size::count(share.parameters), size::format(share.bytes));
        format!("{:<5} {tensors} tensor{plural}, {parameters} parameters, {bytes}", share.type_name)
    });
    page.rows("types", types);
    if let Some(shape) = &description.shape {
        page.row("context", shape.context);
        page.row("vocabulary", shape.vocabulary);
        let tied = if shape.tied { ", output tied to the embedding" } else { "" };
        let (layers, width, hidden) = (shape.layers, shape.width, shape.feed_forward);
        page.row("layers", format_args!("{layers} of width {width}, feed-forward {hidden}{tied}"));
        let (heads, kv_heads, head_width) = (shape.heads, shape.kv_heads, shape.head_width);
        page.row("attention", format_args!("{heads} heads over {kv_heads} of keys and values, width {head_width}"));
    }
    text_rows(description, &mut page);
    if !description.generation.is_empty() {
        let settings = description.generation.iter().map(|(name, value)| format!("{name} {value}"));
        page.row("sampling", settings.collect::<Vec<_>>().join(", "));
    }
    if let Some(memory) = &description.memory {
        let parts = [
            ("weights", memory.weights),
            ("weights in the file", memory.mapped),
            ("keys and values", memory.cache),
            ("scratch", memory.scratch),
            ("the rest", memory.overhead),
        ];
        let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let parts = parts.map(|(name, bytes)| format!("{name} {}", size::format(*bytes))).collect::<Vec<_>>();
        let (total, context) = (size::format(memory.total), memory.context);
        page.rows("memory", [format!("{total} at a context of {context}"), parts.join(", ")]);
    }
    page.rows("fallbacks", alike(&description.fallbacks));
    page.rows("notes", description.notes.iter().cloned());
    page.rows("can't run", description.problems.iter().cloned());
    page.text
}

/// Notes on tensors, those that differ in the layer's number alone put together.
fn alike(notes: &[String]) -> Vec<String> {
    let mut groups: Vec<(String, usize)> = Vec::new();
    for note in notes {
        let general = match note.strip_prefix("blk.").and_then(|rest| rest.split_once('.')) {
            Some((_, rest)) => format!("blk.*.{rest}"),
            None => note.clone(),
        };
        match groups.iter_mut().find(|(known, _)| *known == general) {
            Some((_, count)) => *count += 1,
            None => groups.push((general, 1)),
        }
    }
    let line = |(note, count)| if count == 1 { note } else { format!("{note} ({count} tensors)") };
    groups.into_iter().map(line).collect()
}

fn text_rows(description: &Description, page: &mut Page) {
    match &description.tokenizer {
        None => page.row("tokenizer", "none"),
        Some(facts) => {
            let id = |id: Option<u32>| id.map_or("none".to_owned(), |id| id.to_string());
            let adds = match (facts.adds_bos, facts.adds_eos) {
                (true, true) => ", adds BOS and EOS",
                (true, false) => ", adds BOS",
                (false, true) => ", adds EOS",
                (false, false) => "",
            };
            let ends: Vec<_> = facts.end_of_generation.iter().map(u32::to_string).collect();
            let (bos, eos) = (id(facts.bos), id(facts.eos));
            page.rows(
                "tokenizer",
                [
                    format!("{} tokens, BOS {bos}, EOS {eos}{adds}", facts.tokens),
                    format!(
                        "answers end with {}",
                        if ends.is_empty() { "no token".to_owned() } else { ends.join(", ") }
                    ),
                ],
            );
        }
    }
    match description.chat_templates.as_slice() {
        [] => page.row("chat template", "none"),
        names => page.row("chat template", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn notes_that_are_alike_are_one() {
        let notes = ["blk.0.a: why", "blk.10.a: why", "blk.0.b: why", "output: because"].map(str::to_owned);
        assert_eq!(super::alike(&notes), ["blk.*.a: why (2 tensors)", "blk.*.b: why", "output: because"]);
    }
}
