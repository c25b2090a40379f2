//! Names of model families stay in `bantam-model/src/families/`, and a family stays small.

use super::{Finding, Rule};
use crate::scan::{Kind, Source, Token};
use crate::tree::{Tree, is_test_file};

/// Code asks for a property, never for a family.
pub(super) const NAMES: Rule = Rule {
    name: "family-names",
    about: "no name of a model family in code (words and texts, comments are free) outside of families/ and bantam-text",
    check: check_names,
};

/// A family is a few lines over the common decoder.
pub(super) const LENGTH: Rule = Rule {
    name: "family-length",
    about: "a family takes 4 to 40 lines of code; more than 60 needs a reason in `// tidy: allow(family-length) …`",
    check: check_length,
};

const FAMILIES: &str = "crates/bantam-model/src/families/";

/// Sources that may speak of families: their own home, the tables of text conventions, and what only tests use.
const FREE: &[&str] = &[FAMILIES, "crates/bantam-text/", "crates/bantam-testkit/", "crates/bantam-fuzz/", "xtask/"];

/// Names as they stand at the head of a word part, in lower case and without version digits.
const WORDS: &[&str] = &[
    "baichuan",
    "bert",
    "bloomz",
    "chatglm",
    "cohere",
    "deepseek",
    "ernie",
    "exaone",
    "falcon",
    "gemma",
    "glm",
    "gpt",
    "granite",
    "hunyuan",
    "internlm",
    "llama",
    "llamas",
    "minicpm",
    "ministral",
    "mistral",
    "mixtral",
    "mpt",
    "nemotron",
    "neox",
    "olmo",
    "olmoe",
    "phi",
    "qwen",
    "rwkv",
    "smollm",
    "stablelm",
    "starcoder",
    "tinyllama",
];

/// Names of programs and formats, not of families, that a text may mention.
const PROGRAMS: &[&str] =
    &["llama.cpp", "llama-bench", "llama-quantize", "llama-cpp-python", "llama-cli", "llama-server"];

fn check_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (path, source) in tree.sources_under("crates/") {
        if FREE.iter().any(|free| path.starts_with(free)) || is_test_file(path) || !path.contains("/src/") {
            continue;
        }
        for token in source.tokens.iter().filter(|token| !token.in_test) {
            if let Some(name) = family_in(token).filter(|_| !source.allows(NAMES.name, token.line)) {
                let message = format!("{:?} names the family {name}: ask for a property instead", token.text);
                findings.push(Finding::refused(path, token.line, message));
            }
        }
    }
    findings
}

fn family_in(token: &Token) -> Option<&'static str> {
    let text = match token.kind {
        Kind::Word => token.text.clone(),
        Kind::Text => PROGRAMS.iter().fold(token.text.clone(), |text, program| text.replace(program, "")),
        Kind::Literal | Kind::Sign => return None,
    };
    let parts = parts(&text);
    let pairs = parts.windows(2).map(|pair| pair.concat());
    let candidates: Vec<String> = parts.iter().cloned().chain(pairs).collect();
    candidates.iter().find_map(|part| WORDS.iter().copied().find(|word| part == word))
}

/// The parts of a name in lower case, up to the first digit: `Qwen2ForCausalLM` gives qwen, for, causal, lm.
fn parts(text: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    let mut previous = ' ';
    for c in text.chars() {
        if c.is_alphabetic() {
            let begins =
                !previous.is_alphanumeric() || (c.is_uppercase() && previous.is_lowercase()) || parts.is_empty();
            if begins || (c.is_uppercase() && previous.is_ascii_digit()) {
                parts.push(String::new());
            }
            // Letters after a version's digits belong to the version: qwen2moe is qwen.
            if let Some(part) = parts.last_mut().filter(|_| begins || !previous.is_ascii_digit() || c.is_uppercase()) {
                part.extend(c.to_lowercase());
                previous = c;
            }
        } else {
            previous = c;
        }
    }
    parts
}

fn check_length(tree: &Tree) -> Vec<Finding> {
    let registers =
        |source: &Source| source.tokens.windows(2).any(|pair| pair[0].is_word("const") && pair[1].is_word("FAMILY"));
    let families = tree.sources_under(FAMILIES).filter(|(path, source)| !is_test_file(path) && registers(source));
    families
        .filter_map(|(path, source)| match source.code_lines() {
            lines if lines > 60 && !source.allows_anywhere(LENGTH.name) => Some(Finding::refused(
                path,
                0,
                format!("{lines} lines of code: at most 60 without a reason, 40 are the aim"),
            )),
            lines if lines > 40 => Some(Finding::warned(path, 0, format!("{lines} lines of code: 40 are the aim"))),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::check_rule;
    use super::*;

    #[track_caller]
    fn check(path: &str, text: &str, expected: &[&str]) {
        check_rule(&NAMES, &Tree::of(&[(path, text)]), expected);
    }

    const PLAN: &str = "crates/bantam-plan/src/x.rs";

    #[test]
    fn names_in_code() {
        check(PLAN, "fn is_llama() {}", &["x.rs:1: \"is_llama\" names the family llama"]);
        check(PLAN, "struct Qwen2Config;", &["family qwen"]);
        check(PLAN, "struct DeepSeekV3;", &["family deepseek"]);
        check(PLAN, "const A: &str = \"LlamaForCausalLM\";", &["family llama"]);
        check(PLAN, "const A: &str = \"qwen2moe\";", &["family qwen"]);
        check(PLAN, "const A: &str = \"gpt2\";", &["family gpt"]);
        check(PLAN, "let x = SmolLM3;", &["family smollm"]);
        check(PLAN, "const A: &str = \"phi3.rope\";", &["family phi"]);
    }

    #[test]
    fn names_that_are_none() {
        check(PLAN, "fn graphics(morphism: Alphi) {}", &[]);
        check(PLAN, "// as the llama family does\n/// like llama.cpp's `llama-quantize`\nfn x() {}", &[]);
        check(PLAN, "const A: &str = \"as llama.cpp and llama-bench do\";", &[]);
        check(PLAN, "// tidy: allow(family-names) the key's published spelling\nconst A: &str = \"llama\";", &[]);
        check(PLAN, "#[cfg(test)] mod tests { fn llama() {} }", &[]);
    }

    #[test]
    fn names_at_home() {
        for path in [
            "crates/bantam-model/src/families/llama.rs",
            "crates/bantam-text/src/a.rs",
            "crates/bantam-cpu/tests/main.rs",
        ] {
            check(path, "fn llama() {}", &[]);
        }
        check("crates/bantam-model/src/lib.rs", "fn llama() {}", &["family llama"]);
    }

    #[test]
    fn lines_of_a_family() {
        let path = "crates/bantam-model/src/families/llama.rs";
        let lines = |head: &str, count: usize| format!("{head}\nconst FAMILY;\n{}", "x;\n".repeat(count - 1));
        check_rule(&LENGTH, &Tree::of(&[(path, &lines("// comment", 40))]), &[]);
        check_rule(&LENGTH, &Tree::of(&[(path, &lines("", 41))]), &["warning"]);
        check_rule(&LENGTH, &Tree::of(&[(path, &lines("", 61))]), &["error"]);
        check_rule(&LENGTH, &Tree::of(&[(path, &"what several families share;\n".repeat(61))]), &[]);
        check_rule(
            &LENGTH,
            &Tree::of(&[(path, &lines("// tidy: allow(family-length) three wirings", 61))]),
            &["warning"],
        );
    }
}
