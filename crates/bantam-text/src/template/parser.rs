//! Segments to statements, following Jinja's own grammar.

use super::ast::{Expr, ForLoop, Macro, Postfix, Statement, StatementKind};
use super::expressions::Tokens;
use super::lexer::{Segment, Token, segments, syntax};
use crate::error::TextError;

/// How deep brackets, conditions and blocks may nest; real templates stay below 30.
pub(super) const DEEPEST: usize = 80;
/// The longest template accepted, in bytes; real ones stay below 64 KiB.
const LONGEST: usize = 1 << 20;

pub(super) type Parsed<T> = Result<T, TextError>;

/// Parses a whole template; and says whether some of its words are marked as the model's own.
pub(super) fn parse(source: &str) -> Parsed<(Vec<Statement>, bool)> {
    if source.len() > LONGEST {
        return Err(syntax(1, format!("{} bytes long, at most {LONGEST} are accepted", source.len())));
    }
    let mut parser = Parser { segments: segments(source)?.into_iter(), depth: 0, loops: 0, generation: false };
    let (body, end) = parser.body(&[], "")?;
    debug_assert!(end.is_none());
    Ok((body, parser.generation))
}

struct Parser {
    segments: std::vec::IntoIter<Segment>,
    depth: usize,
    loops: usize,
    generation: bool,
}

/// The tag that ended a body, its tokens not yet read.
type End = Option<(String, Tokens)>;

impl Parser {
    /// Statements up to a tag named in `ends`, or to the end of the template if there are none.
    fn body(&mut self, ends: &[&str], opened: &str) -> Parsed<(Vec<Statement>, End)> {
        let mut body = Vec::new();
        while let Some(segment) = self.segments.next() {
            match segment {
                Segment::Text(text) => body.push(Statement { line: 0, kind: StatementKind::Text(text) }),
                Segment::Output(tokens, line) => {
                    let mut tokens = Tokens::new(tokens, line, self.depth);
                    let expr = tokens.tuple()?;
                    tokens.finish()?;
                    body.push(Statement { line, kind: StatementKind::Output(expr) });
                }
                Segment::Block(tokens, line) => {
                    let mut tokens = Tokens::new(tokens, line, self.depth);
                    let name = tokens.name("a tag")?;
                    if ends.contains(&name.as_str()) {
                        return Ok((body, Some((name, tokens))));
                    }
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return Err(syntax(line, format!("blocks nest deeper than {DEEPEST}")));
                    }
                    let kind = self.statement(&name, &mut tokens)?;
                    self.depth -= 1;
                    body.push(Statement { line, kind });
                }
            }
        }
        if ends.is_empty() {
            return Ok((body, None));
        }
        Err(syntax(0, format!("the template ends inside {{% {opened} %}}, expected {}", ends.join(" or "))))
    }

    /// A body that one tag ends.
    fn simple_body(&mut self, end: &str, opened: &str) -> Parsed<Vec<Statement>> {
        let (body, found) = self.body(&[end], opened)?;
        if let Some((_, mut tokens)) = found {
            // `{% endblock name %}` and `{% endmacro name %}` may repeat the name.
            if matches!(tokens.peek(), Some(Token::Name(_))) {
                tokens.next();
            }
            tokens.finish()?;
        }
        Ok(body)
    }

    fn statement(&mut self, name: &str, tokens: &mut Tokens) -> Parsed<StatementKind> {
        let kind = match name {
            "if" => return self.if_statement(tokens),
            "for" => return self.for_statement(tokens),
            "set" => return self.set_statement(tokens),
            "macro" => {
                let name = tokens.name("the macro's name")?;
                tokens.expect("(")?;
                let parameters = tokens.parameters()?;
                tokens.finish()?;
                let body = self.macro_body("endmacro", "macro")?;
                StatementKind::Macro(Box::new(Macro { name, parameters, body }))
            }
            "call" => {
                let parameters = if tokens.accept("(") { tokens.parameters()? } else { Vec::new() };
                let call = tokens.expression()?;
                if !matches!(&call, Expr::Postfix(_, steps) if matches!(steps.last(), Some(Postfix::Call(_)))) {
                    return Err(syntax(tokens.line, "expected a call in {% call %}"));
                }
                tokens.finish()?;
                let body = self.macro_body("endcall", "call")?;
                let name = "caller".to_owned();
                StatementKind::Call { call, body: Box::new(Macro { name, parameters, body }) }
            }
            "filter" => {
                let filters = tokens.filter_chain()?;
                tokens.finish()?;
                StatementKind::Filter { filters, body: self.simple_body("endfilter", "filter")? }
            }
            "with" => {
                let mut assignments = Vec::new();
                while !tokens.is_empty() {
                    if !assignments.is_empty() {
                        tokens.expect(",")?;
                    }
                    let target = tokens.target(false)?;
                    tokens.expect("=")?;
                    assignments.push((target, tokens.expression()?));
                }
                StatementKind::With { assignments, body: self.simple_body("endwith", "with")? }
            }
            // transformers marks the assistant's words for training with this tag; it renders as its body.
            "generation" => {
                tokens.finish()?;
                self.generation = true;
                StatementKind::Generation(self.simple_body("endgeneration", "generation")?)
            }
            "autoescape" => {
                // Nothing is escaped of itself in a chat template; one that asks for it would render something else.
                if !matches!(tokens.expression()?, Expr::Bool(false)) {
                    return Err(syntax(tokens.line, "{% autoescape %} other than false is not supported"));
                }
                tokens.finish()?;
                StatementKind::Scope(self.simple_body("endautoescape", "autoescape")?)
            }
            "block" => {
                tokens.name("the block's name")?;
                while matches!(tokens.peek(), Some(Token::Name(_))) {
                    tokens.next();
                }
                tokens.finish()?;
                StatementKind::Scope(self.simple_body("endblock", "block")?)
            }
            "do" => StatementKind::Evaluate(tokens.tuple()?),
            "break" | "continue" => {
                if self.loops == 0 {
                    return Err(syntax(tokens.line, format!("'{name}' outside of a loop")));
                }
                if name == "break" { StatementKind::Break } else { StatementKind::Continue }
            }
            "include" | "import" | "from" | "extends" => {
                return Err(syntax(tokens.line, format!("'{name}' needs other files, a chat template is one file")));
            }
            other => return Err(syntax(tokens.line, format!("unknown tag '{other}'"))),
        };
        if matches!(kind, StatementKind::Evaluate(_) | StatementKind::Break | StatementKind::Continue) {
            tokens.finish()?;
        }
        Ok(kind)
    }

    fn macro_body(&mut self, end: &str, opened: &str) -> Parsed<Vec<Statement>> {
        let loops = std::mem::take(&mut self.loops);
        let body = self.simple_body(end, opened)?;
        self.loops = loops;
        Ok(body)
    }

    fn if_statement(&mut self, tokens: &mut Tokens) -> Parsed<StatementKind> {
        let mut branches = Vec::new();
        let mut test = tokens.tuple()?;
        tokens.finish()?;
        loop {
            let (body, end) = self.body(&["elif", "else", "endif"], "if")?;
            branches.push((test, body));
            let Some((name, mut tokens)) = end else { unreachable!("a body with ends has one") };
            match name.as_str() {
                "elif" => {
                    test = tokens.tuple()?;
                    tokens.finish()?;
                }
                "else" => {
                    tokens.finish()?;
                    let otherwise = self.simple_body("endif", "if")?;
                    return Ok(StatementKind::If { branches, otherwise });
                }
                _ => {
                    tokens.finish()?;
                    return Ok(StatementKind::If { branches, otherwise: Vec::new() });
                }
            }
        }
    }

    fn for_statement(&mut self, tokens: &mut Tokens) -> Parsed<StatementKind> {
        let target = tokens.target(false)?;
        if !tokens.accept_name("in") {
            return Err(syntax(tokens.line, "expected 'in' in {% for %}"));
        }
        let iterable = tokens.tuple_without_condition()?;
        let condition = if tokens.accept_name("if") { Some(tokens.expression()?) } else { None };
        let recursive = tokens.accept_name("recursive");
        tokens.finish()?;
        self.loops += 1;
        let (body, end) = self.body(&["else", "endfor"], "for")?;
        self.loops -= 1;
        let mut otherwise = Vec::new();
        if let Some((name, mut tokens)) = end {
            tokens.finish()?;
            if name == "else" {
                otherwise = self.simple_body("endfor", "for")?;
            }
        }
        Ok(StatementKind::For(Box::new(ForLoop { target, iterable, condition, recursive, body, otherwise })))
    }

    fn set_statement(&mut self, tokens: &mut Tokens) -> Parsed<StatementKind> {
        let target = tokens.target(true)?;
        if tokens.accept("=") {
            let value = tokens.tuple()?;
            tokens.finish()?;
            return Ok(StatementKind::Set(target, value));
        }
        let filters = if tokens.accept("|") { tokens.filter_chain()? } else { Vec::new() };
        tokens.finish()?;
        Ok(StatementKind::SetBlock { target, filters, body: self.simple_body("endset", "set")? })
    }
}
