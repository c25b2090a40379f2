//! A small Rust lexer: words, texts and signs with their lines, and which of them are tests.
//!
//! Tidy rules ask about *code*, so comments (which may cite anything) are kept apart and never become tokens.
//! The lexer accepts everything rustc accepts; what rustc would refuse it reads somehow, as the compiler will say it.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An identifier or keyword (`r#` dropped).
    Word,
    /// The inside of a string literal of any sort, escapes as written.
    Text,
    /// A number or a character literal.
    Literal,
    /// One character of punctuation.
    Sign,
}

/// One token of a source file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// How it is spelt.
    pub text: String,
    /// Line where it begins, from 1.
    pub line: usize,
    /// Whether it belongs to an item under `#[cfg(test)]` or `#[test]`.
    pub in_test: bool,
}

impl Token {
    /// Whether this is the punctuation character `sign`.
    pub fn is_sign(&self, sign: char) -> bool {
        self.kind == Kind::Sign && self.text.starts_with(sign)
    }

    /// Whether this is the word `word`.
    pub fn is_word(&self, word: &str) -> bool {
        self.kind == Kind::Word && self.text == word
    }
}

/// A lexed file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Everything but comments and white space.
    pub tokens: Vec<Token>,
    /// Comments with the line where each begins.
    pub comments: Vec<(usize, String)>,
}

impl Source {
    /// Lexes a file.
    pub fn read(text: &str) -> Source {
        let mut lexer = Lexer { chars: text.chars().collect(), at: 0, line: 1, source: Source::default() };
        while lexer.step() {}
        let mut source = lexer.source;
        mark_tests(&mut source.tokens);
        source
    }

    /// Whether a comment on `line` or the line before grants `rule`: `// tidy: allow(rule) reason`.
    pub fn allows(&self, rule: &str, line: usize) -> bool {
        self.comments.iter().any(|(at, text)| (*at == line || at + 1 == line) && grants(text, rule))
    }

    /// Whether a comment (documentation is none) stands on `line` or ends on the line before.
    pub fn is_explained(&self, line: usize) -> bool {
        let plain = self.comments.iter().filter(|(_, text)| !text.starts_with("///") && !text.starts_with("//!"));
        plain.into_iter().any(|(at, text)| *at == line || at + text.lines().count() == line)
    }

    /// Whether a comment anywhere in the file grants `rule`.
    pub fn allows_anywhere(&self, rule: &str) -> bool {
        self.comments.iter().any(|(_, text)| grants(text, rule))
    }

    /// Lines that hold at least one token outside of tests.
    pub fn code_lines(&self) -> usize {
        distinct_lines(self.tokens.iter().filter(|token| !token.in_test))
    }

    /// Lines that hold at least one token of a test.
    pub fn test_lines(&self) -> usize {
        distinct_lines(self.tokens.iter().filter(|token| token.in_test))
    }

    /// Index of the token that closes the bracket at `open`, or of the last token where it is never closed.
    pub fn closing(&self, open: usize) -> usize {
        closing(&self.tokens, open)
    }
}

/// `tidy: allow(rule) reason`, the reason not empty.
fn grants(comment: &str, rule: &str) -> bool {
    comment
        .split_once("tidy: allow(")
        .and_then(|(_, rest)| rest.split_once(')'))
        .is_some_and(|(name, reason)| name == rule && reason.trim().len() > 3)
}

fn distinct_lines<'a>(tokens: impl Iterator<Item = &'a Token>) -> usize {
    let mut last = 0;
    tokens.filter(|token| std::mem::replace(&mut last, token.line) != token.line).count()
}

fn closing(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        if token.kind != Kind::Sign {
            continue;
        }
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return index;
                }
            }
            _ => {}
        }
    }
    tokens.len().saturating_sub(1)
}

/// Marks the items that stand under `#[cfg(test)]` or `#[test]`, and the whole file under `#![cfg(test)]`.
fn mark_tests(tokens: &mut [Token]) {
    let mut index = 0;
    while index < tokens.len() {
        let inner = tokens[index].is_sign('#') && tokens.get(index + 1).is_some_and(|token| token.is_sign('!'));
        let open = index + 1 + usize::from(inner);
        if !tokens[index].is_sign('#') || !tokens.get(open).is_some_and(|token| token.is_sign('[')) {
            index += 1;
            continue;
        }
        let close = closing(tokens, open);
        if !is_test_attribute(&tokens[open + 1..close]) {
            index = close + 1;
            continue;
        }
        let end = if inner { tokens.len() } else { item_end(tokens, close + 1) };
        for token in &mut tokens[index..end] {
            token.in_test = true;
        }
        index = end;
    }
}

fn is_test_attribute(inside: &[Token]) -> bool {
    match inside {
        [only] => only.is_word("test"),
        [first, rest @ ..] => {
            first.is_word("cfg")
                && rest.iter().any(|token| token.is_word("test"))
                && !rest.iter().any(|token| token.is_word("not"))
        }
        [] => false,
    }
}

/// One past the item that begins at `start`: its block's end, or its semicolon.
fn item_end(tokens: &[Token], start: usize) -> usize {
    let mut index = start;
    while index < tokens.len() {
        let token = &tokens[index];
        if token.is_sign(';') {
            return index + 1;
        }
        if token.is_sign('{') {
            return closing(tokens, index) + 1;
        }
        // Attributes, parameter lists and array types may hold semicolons of their own.
        index = if token.is_sign('(') || token.is_sign('[') { closing(tokens, index) + 1 } else { index + 1 };
    }
    tokens.len()
}

struct Lexer {
    chars: Vec<char>,
    at: usize,
    line: usize,
    source: Source,
}

impl Lexer {
    fn peek(&self, ahead: usize) -> char {
        self.chars.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn bump(&mut self) {
        if self.peek(0) == '\n' {
            self.line += 1;
        }
        self.at += 1;
    }

    fn done(&self) -> bool {
        self.at >= self.chars.len()
    }

    fn push(&mut self, kind: Kind, text: String, line: usize) {
        self.source.tokens.push(Token { kind, text, line, in_test: false });
    }

    /// Everything up to the first character that `keep` refuses.
    fn take(&mut self, keep: impl Fn(char) -> bool) -> String {
        let start = self.at;
        while !self.done() && keep(self.peek(0)) {
            self.bump();
        }
        self.chars[start..self.at].iter().collect()
    }

    fn step(&mut self) -> bool {
        if self.done() {
            return false;
        }
        let line = self.line;
        match (self.peek(0), self.peek(1)) {
            (c, _) if c.is_whitespace() => self.bump(),
            ('/', '/') => {
                let text = self.take(|c| c != '\n');
                self.source.comments.push((line, text));
            }
            ('/', '*') => self.block_comment(),
            ('"', _) => self.quoted(),
            ('\'', _) => self.quote_or_lifetime(),
            (c, _) if c.is_ascii_digit() => {
                let text = self.take(|c| c.is_alphanumeric() || c == '_');
                self.push(Kind::Literal, text, line);
            }
            (c, _) if c.is_alphabetic() || c == '_' => self.word(),
            (c, _) => {
                self.bump();
                self.push(Kind::Sign, c.to_string(), line);
            }
        }
        true
    }

    fn block_comment(&mut self) {
        let (line, start, mut depth) = (self.line, self.at, 0_usize);
        while !self.done() {
            let pair = (self.peek(0), self.peek(1));
            self.bump();
            if matches!(pair, ('/', '*') | ('*', '/')) {
                self.bump();
                depth = if pair.0 == '/' { depth + 1 } else { depth - 1 };
                if depth == 0 {
                    break;
                }
            }
        }
        let end = self.at.min(self.chars.len());
        self.source.comments.push((line, self.chars[start..end].iter().collect()));
    }

    fn quoted(&mut self) {
        let line = self.line;
        self.bump();
        let mut text = String::new();
        while !self.done() && self.peek(0) != '"' {
            if self.peek(0) == '\\' {
                text.push('\\');
                self.bump();
            }
            text.push(self.peek(0));
            self.bump();
        }
        self.bump();
        self.push(Kind::Text, text, line);
    }

    fn raw_quoted(&mut self) {
        let line = self.line;
        let hashes = self.take(|c| c == '#').len();
        self.bump();
        let start = self.at;
        let closes = |lexer: &Self| lexer.peek(0) == '"' && (1..=hashes).all(|ahead| lexer.peek(ahead) == '#');
        while !self.done() && !closes(self) {
            self.bump();
        }
        let text = self.chars[start..self.at].iter().collect();
        for _ in 0..=hashes {
            self.bump();
        }
        self.push(Kind::Text, text, line);
    }

    fn quote_or_lifetime(&mut self) {
        let line = self.line;
        let lifetime = (self.peek(1).is_alphabetic() || self.peek(1) == '_') && self.peek(2) != '\'';
        self.bump();
        if lifetime {
            self.take(|c| c.is_alphanumeric() || c == '_');
            return;
        }
        if self.peek(0) == '\\' {
            self.bump();
        }
        self.bump();
        let text = self.take(|c| c != '\'');
        self.bump();
        self.push(Kind::Literal, text, line);
    }

    fn word(&mut self) {
        let line = self.line;
        let text = self.take(|c| c.is_alphanumeric() || c == '_');
        let hashes = self.chars[self.at..].iter().take_while(|c| **c == '#').count();
        let prefix = matches!(text.as_str(), "r" | "b" | "c" | "br" | "cr");
        if prefix && text.ends_with('r') && self.peek(hashes) == '"' {
            self.raw_quoted();
        } else if prefix && self.peek(0) == '"' {
            self.quoted();
        } else if text == "b" && self.peek(0) == '\'' {
            self.quote_or_lifetime();
        } else if text == "r" && hashes == 1 {
            self.bump();
        } else {
            self.push(Kind::Word, text, line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let source = Source::read(text);
        let found: Vec<String> = source
            .tokens
            .iter()
            .map(|token| {
                let mark = if token.in_test { "T" } else { "" };
                match token.kind {
                    Kind::Word => format!("{mark}{}", token.text),
                    Kind::Text => format!("{mark}\"{}\"", token.text),
                    Kind::Literal | Kind::Sign => format!("{mark}{}", token.text),
                }
            })
            .collect();
        assert_eq!(found, expected, "tokens of {text:?}");
    }

    #[test]
    fn comments_are_no_tokens() {
        check("a // llama\nb /* x /* y */ z */ c", &["a", "b", "c"]);
    }

    #[test]
    fn literals_of_every_sort() {
        check(
            r###"f("a\"b", r#"c"d"#, b"e", 'x', '\'', b'\n', 1_000u32)"###,
            &["f", "(", "\"a\\\"b\"", ",", "\"c\"d\"", ",", "\"e\"", ",", "", ",", "", ",", "", ",", "1_000u32", ")"],
        );
    }

    #[test]
    fn lifetimes_and_raw_words() {
        check("fn r#type<'a>(x: &'a str)", &["fn", "type", "<", ">", "(", "x", ":", "&", "str", ")"]);
    }

    #[test]
    fn tests_are_marked() {
        check(
            "a; #[cfg(test)] mod t { b } c",
            &["a", ";", "T#", "T[", "Tcfg", "T(", "Ttest", "T)", "T]", "Tmod", "Tt", "T{", "Tb", "T}", "c"],
        );
        check(
            "#[test] fn f(x: [u8; 2]) { y } z",
            &[
                "T#", "T[", "Ttest", "T]", "Tfn", "Tf", "T(", "Tx", "T:", "T[", "Tu8", "T;", "T2", "T]", "T)", "T{",
                "Ty", "T}", "z",
            ],
        );
        check("#[cfg(not(test))] a", &["#", "[", "cfg", "(", "not", "(", "test", ")", ")", "]", "a"]);
    }

    #[test]
    fn a_grant_needs_a_reason() {
        assert!(Source::read("// tidy: allow(length) one table\nx").allows("length", 2));
        assert!(!Source::read("// tidy: allow(length)\nx").allows("length", 2));
        assert!(!Source::read("// tidy: allow(length) one table\n\nx").allows("length", 3));
        assert!(Source::read("// tidy: allow(length) one table\n\nx").allows_anywhere("length"));
    }
}
