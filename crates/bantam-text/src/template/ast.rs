//! What a parsed template is. Chains of operators and postfixes are flat lists, so the depth of the tree is the depth
//! of the source's own nesting, which the parser bounds.

/// An expression.
#[derive(Debug, Clone)]
pub(super) enum Expr {
    None,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Name(String),
    List(Vec<Expr>),
    Tuple(Vec<Expr>),
    Dict(Vec<(Expr, Expr)>),
    /// Operators of one precedence, from the left.
    Arithmetic(Box<Expr>, Vec<(Operator, Expr)>),
    Concat(Vec<Expr>),
    Compare(Box<Expr>, Vec<(Comparison, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    /// `not` so many times.
    Not(Box<Expr>, usize),
    /// Signs, innermost last; true is a minus.
    Sign(Box<Expr>, Vec<bool>),
    If {
        test: Box<Expr>,
        yes: Box<Expr>,
        no: Option<Box<Expr>>,
    },
    Postfix(Box<Expr>, Vec<Postfix>),
}

#[derive(Debug, Clone)]
pub(super) enum Postfix {
    Attribute(String),
    Item(Expr),
    Slice(Box<[Option<Expr>; 3]>),
    Call(Arguments),
    Filter(String, Arguments),
    Test { name: String, negated: bool, arguments: Arguments },
}

#[derive(Debug, Clone, Default)]
pub(super) struct Arguments {
    pub(super) positional: Vec<Expr>,
    pub(super) named: Vec<(String, Expr)>,
    pub(super) star: Option<Box<Expr>>,
    pub(super) double_star: Option<Box<Expr>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
    FloorDivide,
    Remainder,
    Power,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    NotIn,
}

/// What an assignment writes to.
#[derive(Debug, Clone)]
pub(super) enum Target {
    Name(String),
    Tuple(Vec<Target>),
    /// An attribute of a namespace.
    Attribute(String, String),
}

#[derive(Debug, Clone)]
pub(super) struct Statement {
    pub(super) line: u32,
    pub(super) kind: StatementKind,
}

#[derive(Debug, Clone)]
pub(super) enum StatementKind {
    Text(String),
    Output(Expr),
    For(Box<ForLoop>),
    If {
        branches: Vec<(Expr, Vec<Statement>)>,
        otherwise: Vec<Statement>,
    },
    Set(Target, Expr),
    SetBlock {
        target: Target,
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    Macro(Box<Macro>),
    Call {
        call: Expr,
        body: Box<Macro>,
    },
    Filter {
        filters: Vec<Postfix>,
        body: Vec<Statement>,
    },
    With {
        assignments: Vec<(Target, Expr)>,
        body: Vec<Statement>,
    },
    /// A block with variables of its own and nothing else to it.
    Scope(Vec<Statement>),
    /// The same around words that are the model's own.
    Generation(Vec<Statement>),
    Evaluate(Expr),
    Break,
    Continue,
}

#[derive(Debug, Clone)]
pub(super) struct ForLoop {
    pub(super) target: Target,
    pub(super) iterable: Expr,
    pub(super) condition: Option<Expr>,
    pub(super) recursive: bool,
    pub(super) body: Vec<Statement>,
    pub(super) otherwise: Vec<Statement>,
}

#[derive(Debug, Clone)]
pub(super) struct Macro {
    pub(super) name: String,
    pub(super) parameters: Vec<(String, Option<Expr>)>,
    pub(super) body: Vec<Statement>,
}
