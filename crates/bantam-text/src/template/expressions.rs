//! The tokens of one tag to expressions, by precedence as in Jinja's own grammar.

use super::ast::{Arguments, Comparison, Expr, Operator, Postfix, Target};
use super::lexer::{Token, syntax};
use super::parser::{DEEPEST, Parsed};

/// The tokens of one tag.
pub(super) struct Tokens {
    tokens: std::vec::IntoIter<Token>,
    pub(super) line: u32,
    depth: usize,
}

const LEVELS: &[&[(&str, Operator)]] = &[
    &[("+", Operator::Add), ("-", Operator::Subtract)],
    &[("*", Operator::Multiply), ("/", Operator::Divide), ("//", Operator::FloorDivide), ("%", Operator::Remainder)],
    &[("**", Operator::Power)],
];

impl Tokens {
    pub(super) fn new(tokens: Vec<Token>, line: u32, depth: usize) -> Tokens {
        Tokens { tokens: tokens.into_iter(), line, depth }
    }

    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.as_slice().first()
    }

    pub(super) fn next(&mut self) -> Option<Token> {
        self.tokens.next()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.peek().is_none()
    }

    fn error<T>(&self, expected: &str) -> Parsed<T> {
        let found = match self.peek() {
            Some(Token::Name(name)) => format!("'{name}'"),
            Some(Token::Sign(sign)) => format!("'{sign}'"),
            Some(Token::Text(_)) => "a string".to_owned(),
            Some(Token::Integer(_) | Token::Float(_)) => "a number".to_owned(),
            None => "the end of the tag".to_owned(),
        };
        Err(syntax(self.line, format!("expected {expected}, found {found}")))
    }

    pub(super) fn finish(&mut self) -> Parsed<()> {
        if self.is_empty() { Ok(()) } else { self.error("the end of the tag") }
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.peek(), Some(Token::Sign(found)) if *found == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Name(found)) if found == name)
    }

    pub(super) fn accept(&mut self, sign: &str) -> bool {
        let found = self.is_sign(sign);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn accept_name(&mut self, name: &str) -> bool {
        let found = self.is_name(name);
        if found {
            self.next();
        }
        found
    }

    pub(super) fn expect(&mut self, sign: &str) -> Parsed<()> {
        if self.accept(sign) { Ok(()) } else { self.error(&format!("'{sign}'")) }
    }

    pub(super) fn name(&mut self, what: &str) -> Parsed<String> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.next();
                Ok(name)
            }
            _ => self.error(what),
        }
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Tokens) -> Parsed<T>) -> Parsed<T> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(syntax(self.line, format!("expressions nest deeper than {DEEPEST}")));
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    /// A name, names with commas, or (for `set`) an attribute of a namespace.
    pub(super) fn target(&mut self, attributes: bool) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            if self.accept("(") {
                let inner = self.nested(|tokens| tokens.target(attributes))?;
                self.expect(")")?;
                targets.push(inner);
            } else {
                let name = self.name("a variable")?;
                if ["true", "false", "none", "True", "False", "None"].contains(&name.as_str()) {
                    return Err(syntax(self.line, format!("cannot assign to '{name}'")));
                }
                if attributes && self.accept(".") {
                    targets.push(Target::Attribute(name, self.name("an attribute")?));
                } else {
                    targets.push(Target::Name(name));
                }
            }
            if !self.accept(",") {
                break;
            }
            is_tuple = true;
            if self.is_sign("=") || self.is_name("in") || self.is_sign(")") {
                break;
            }
        }
        match targets.pop() {
            Some(only) if targets.is_empty() && !is_tuple => Ok(only),
            Some(last) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
            None => self.error("a variable"),
        }
    }

    pub(super) fn parameters(&mut self) -> Parsed<Vec<(String, Option<Expr>)>> {
        let mut parameters: Vec<(String, Option<Expr>)> = Vec::new();
        while !self.accept(")") {
            if !parameters.is_empty() {
                self.expect(",")?;
                if self.accept(")") {
                    break;
                }
            }
            let name = self.name("a parameter")?;
            let default = if self.accept("=") { Some(self.expression()?) } else { None };
            if default.is_none() && parameters.last().is_some_and(|(_, default)| default.is_some()) {
                return Err(syntax(self.line, "a parameter without a default follows one that has one"));
            }
            parameters.push((name, default));
        }
        Ok(parameters)
    }

    /// An expression, or several with commas, which make a tuple.
    pub(super) fn tuple(&mut self) -> Parsed<Expr> {
        self.tuple_of(Tokens::expression)
    }

    pub(super) fn tuple_without_condition(&mut self) -> Parsed<Expr> {
        self.tuple_of(|tokens| tokens.nested(Tokens::or))
    }

    fn tuple_of(&mut self, element: impl Fn(&mut Tokens) -> Parsed<Expr>) -> Parsed<Expr> {
        let first = element(self)?;
        if !self.is_sign(",") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.accept(",") {
            if self.is_empty() || self.is_sign(")") || self.is_name("if") || self.is_name("recursive") {
                break;
            }
            items.push(element(self)?);
        }
        Ok(Expr::Tuple(items))
    }

    pub(super) fn expression(&mut self) -> Parsed<Expr> {
        self.nested(|tokens| {
            let mut expr = tokens.or()?;
            while tokens.accept_name("if") {
                let test = tokens.or()?;
                let no = if tokens.accept_name("else") { Some(Box::new(tokens.expression()?)) } else { None };
                let wrapped = tokens.depth + 1;
                if wrapped > DEEPEST {
                    return Err(syntax(tokens.line, format!("expressions nest deeper than {DEEPEST}")));
                }
                let done = no.is_some();
                expr = Expr::If { test: Box::new(test), yes: Box::new(expr), no };
                // `a if b if c` would nest without end; Jinja reads it, no template writes it.
                if !done && tokens.is_name("if") {
                    return tokens.error("'else'");
                }
            }
            Ok(expr)
        })
    }

    fn or(&mut self) -> Parsed<Expr> {
        let first = self.and()?;
        if !self.is_name("or") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.accept_name("or") {
            items.push(self.and()?);
        }
        Ok(Expr::Or(items))
    }

    fn and(&mut self) -> Parsed<Expr> {
        let first = self.not()?;
        if !self.is_name("and") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.accept_name("and") {
            items.push(self.not()?);
        }
        Ok(Expr::And(items))
    }

    fn not(&mut self) -> Parsed<Expr> {
        let mut count = 0;
        while self.accept_name("not") {
            count += 1;
        }
        let expr = self.compare()?;
        Ok(if count == 0 { expr } else { Expr::Not(Box::new(expr), count) })
    }

    fn compare(&mut self) -> Parsed<Expr> {
        let first = self.level(0)?;
        let mut rest = Vec::new();
        loop {
            let comparison = match self.peek() {
                Some(Token::Sign("==")) => Comparison::Equal,
                Some(Token::Sign("!=")) => Comparison::NotEqual,
                Some(Token::Sign("<")) => Comparison::Less,
                Some(Token::Sign("<=")) => Comparison::LessEqual,
                Some(Token::Sign(">")) => Comparison::Greater,
                Some(Token::Sign(">=")) => Comparison::GreaterEqual,
                Some(Token::Name(name)) if name == "in" => Comparison::In,
                Some(Token::Name(name))
                    if name == "not" && matches!(self.tokens.as_slice().get(1), Some(Token::Name(n)) if n == "in") =>
                {
                    self.next();
                    Comparison::NotIn
                }
                _ => break,
            };
            self.next();
            rest.push((comparison, self.level(0)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Compare(Box::new(first), rest) })
    }

    /// Sums, then `~`, then products, then powers.
    fn level(&mut self, level: usize) -> Parsed<Expr> {
        let next = |tokens: &mut Tokens| match level {
            0 => tokens.concat(),
            1 => tokens.level(2),
            _ => tokens.unary(true),
        };
        let first = next(self)?;
        let mut rest = Vec::new();
        while let Some(Token::Sign(sign)) = self.peek() {
            let Some(&(_, operator)) = LEVELS[level].iter().find(|(name, _)| name == sign) else { break };
            self.next();
            rest.push((operator, next(self)?));
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    fn concat(&mut self) -> Parsed<Expr> {
        let first = self.level(1)?;
        if !self.is_sign("~") {
            return Ok(first);
        }
        let mut items = vec![first];
        while self.accept("~") {
            items.push(self.level(1)?);
        }
        Ok(Expr::Concat(items))
    }

    fn unary(&mut self, with_filters: bool) -> Parsed<Expr> {
        let mut signs = Vec::new();
        loop {
            if self.accept("-") {
                signs.push(true);
            } else if self.accept("+") {
                signs.push(false);
            } else {
                break;
            }
        }
        let primary = self.primary()?;
        let mut steps = Vec::new();
        self.postfixes(&mut steps)?;
        // Signs bind tighter than filters and looser than attributes, as in Jinja.
        let mut expr = with_postfixes(primary, std::mem::take(&mut steps));
        if !signs.is_empty() {
            expr = Expr::Sign(Box::new(expr), signs);
        }
        if with_filters {
            self.filters(&mut steps)?;
        }
        Ok(match expr {
            Expr::Postfix(base, mut before) if !steps.is_empty() => {
                before.extend(steps);
                Expr::Postfix(base, before)
            }
            expr => with_postfixes(expr, steps),
        })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        match self.peek().cloned() {
            Some(Token::Name(name)) => {
                self.next();
                Ok(match name.as_str() {
                    "true" | "True" => Expr::Bool(true),
                    "false" | "False" => Expr::Bool(false),
                    "none" | "None" => Expr::None,
                    _ => Expr::Name(name),
                })
            }
            Some(Token::Text(mut text)) => {
                self.next();
                while let Some(Token::Text(more)) = self.peek() {
                    text.push_str(more);
                    self.next();
                }
                Ok(Expr::Text(text))
            }
            Some(Token::Integer(value)) => {
                self.next();
                Ok(Expr::Integer(value))
            }
            Some(Token::Float(value)) => {
                self.next();
                Ok(Expr::Float(value))
            }
            Some(Token::Sign("(")) => {
                self.next();
                if self.accept(")") {
                    return Ok(Expr::Tuple(Vec::new()));
                }
                let expr = self.tuple()?;
                self.expect(")")?;
                Ok(expr)
            }
            Some(Token::Sign("[")) => {
                self.next();
                Ok(Expr::List(self.items("]", Tokens::expression)?))
            }
            Some(Token::Sign("{")) => {
                self.next();
                Ok(Expr::Dict(self.items("}", |tokens| {
                    let key = tokens.expression()?;
                    tokens.expect(":")?;
                    Ok((key, tokens.expression()?))
                })?))
            }
            _ => self.error("an expression"),
        }
    }

    fn items<T>(&mut self, end: &str, item: impl Fn(&mut Tokens) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        while !self.accept(end) {
            if !items.is_empty() {
                self.expect(",")?;
                if self.accept(end) {
                    break;
                }
            }
            items.push(item(self)?);
        }
        Ok(items)
    }

    fn postfixes(&mut self, steps: &mut Vec<Postfix>) -> Parsed<()> {
        loop {
            if self.accept(".") {
                match self.next() {
                    Some(Token::Name(name)) => steps.push(Postfix::Attribute(name)),
                    Some(Token::Integer(index)) => steps.push(Postfix::Item(Expr::Integer(index))),
                    _ => return self.error("a name behind '.'"),
                }
            } else if self.accept("[") {
                steps.push(self.nested(Tokens::subscript)?);
            } else if self.accept("(") {
                steps.push(Postfix::Call(self.nested(Tokens::arguments)?));
            } else {
                return Ok(());
            }
        }
    }

    fn subscript(&mut self) -> Parsed<Postfix> {
        let mut parts: [Option<Expr>; 3] = [None, None, None];
        let mut colons = 0;
        loop {
            if self.accept("]") {
                break;
            }
            if self.accept(":") {
                colons += 1;
                if colons > 2 {
                    return self.error("']'");
                }
            } else if parts[colons].is_none() {
                parts[colons] = Some(self.tuple()?);
            } else {
                return self.error("']'");
            }
        }
        match (colons, parts) {
            (0, [Some(index), _, _]) => Ok(Postfix::Item(index)),
            (0, _) => self.error("an index"),
            (_, parts) => Ok(Postfix::Slice(Box::new(parts))),
        }
    }

    /// Arguments, the opening bracket already read.
    fn arguments(&mut self) -> Parsed<Arguments> {
        let mut arguments = Arguments::default();
        let mut first = true;
        while !self.accept(")") {
            if !std::mem::take(&mut first) {
                self.expect(",")?;
                if self.accept(")") {
                    break;
                }
            }
            if self.accept("**") {
                arguments.double_star = Some(Box::new(self.expression()?));
            } else if self.accept("*") {
                arguments.star = Some(Box::new(self.expression()?));
            } else if let [Token::Name(name), Token::Sign("="), ..] = self.tokens.as_slice() {
                let name = name.clone();
                self.next();
                self.next();
                arguments.named.push((name, self.expression()?));
            } else if arguments.named.is_empty() {
                arguments.positional.push(self.expression()?);
            } else {
                return self.error("a named argument");
            }
        }
        Ok(arguments)
    }

    fn filters(&mut self, steps: &mut Vec<Postfix>) -> Parsed<()> {
        loop {
            if self.accept("|") {
                steps.push(self.filter()?);
            } else if self.accept_name("is") {
                let negated = self.accept_name("not");
                let name = self.name("a test")?;
                let mut arguments = Arguments::default();
                if self.accept("(") {
                    arguments = self.nested(Tokens::arguments)?;
                } else if self.starts_test_argument() {
                    let primary = self.nested(Tokens::primary)?;
                    let mut steps = Vec::new();
                    self.postfixes(&mut steps)?;
                    arguments.positional.push(with_postfixes(primary, steps));
                }
                steps.push(Postfix::Test { name, negated, arguments });
            } else if self.accept("(") {
                steps.push(Postfix::Call(self.nested(Tokens::arguments)?));
            } else {
                return Ok(());
            }
        }
    }

    fn starts_test_argument(&self) -> bool {
        match self.peek() {
            Some(Token::Name(name)) => !["else", "or", "and", "if", "is", "not", "in"].contains(&name.as_str()),
            Some(Token::Text(_) | Token::Integer(_) | Token::Float(_)) => true,
            Some(Token::Sign(sign)) => ["(", "[", "{"].contains(sign),
            None => false,
        }
    }

    fn filter(&mut self) -> Parsed<Postfix> {
        let mut name = self.name("a filter")?;
        while self.accept(".") {
            name = format!("{name}.{}", self.name("a filter")?);
        }
        let arguments = if self.accept("(") { self.nested(Tokens::arguments)? } else { Arguments::default() };
        Ok(Postfix::Filter(name, arguments))
    }

    /// `name(…) | name(…)`, as in `{% filter … %}`.
    pub(super) fn filter_chain(&mut self) -> Parsed<Vec<Postfix>> {
        let mut filters = vec![self.filter()?];
        while self.accept("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }
}

fn with_postfixes(base: Expr, steps: Vec<Postfix>) -> Expr {
    if steps.is_empty() { base } else { Expr::Postfix(Box::new(base), steps) }
}
