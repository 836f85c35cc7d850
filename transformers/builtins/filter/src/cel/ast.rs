//! What an expression is made of.

use regex_lite::Regex;

use super::functions::Function;

/// A part of an expression, and the bytes before it.
#[derive(Debug)]
pub(crate) struct Node {
    pub at: usize,
    /// Nodes within each other, itself included.
    pub depth: usize,
    pub expression: Kind,
}

/// A value that stands in the expression.
#[derive(Debug)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Int(i64),
    Uint(u64),
    /// 2^63, which is an int behind a minus only.
    Smallest,
    Double(f64),
    Text(String),
    Bytes(Vec<u8>),
}

#[derive(Debug)]
pub(crate) enum Kind {
    Literal(Literal),
    Variable(Variable),
    /// A macro's own variable: how many were bound before it.
    Local(usize),
    List(Vec<Node>),
    Member(Box<Node>, String),
    Index(Box<Node>, Box<Node>),
    Has(Box<Node>, String),
    Not(Box<Node>),
    Negated(Box<Node>),
    And(Vec<Node>),
    Or(Vec<Node>),
    Conditional(Box<[Node; 3]>),
    Binary(Operator, Box<[Node; 2]>),
    Call(Function, Vec<Node>),
    Matches(Box<Node>, Regex),
    Over(Macro, Box<[Node; 2]>),
}

impl Kind {
    /// Nodes within each other.
    pub fn depth(&self) -> usize {
        let of = |nodes: &[Node]| nodes.iter().map(|node| node.depth).max().unwrap_or(0);
        match self {
            Kind::Literal(_) | Kind::Variable(_) | Kind::Local(_) => 0,
            Kind::Member(node, _)
            | Kind::Has(node, _)
            | Kind::Not(node)
            | Kind::Negated(node)
            | Kind::Matches(node, _) => node.depth,
            Kind::Index(one, other) => one.depth.max(other.depth),
            Kind::List(nodes) | Kind::And(nodes) | Kind::Or(nodes) | Kind::Call(_, nodes) => of(nodes),
            Kind::Binary(_, nodes) | Kind::Over(_, nodes) => of(&nodes[..]),
            Kind::Conditional(nodes) => of(&nodes[..]),
        }
    }
}

/// What an event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variable {
    Op,
    Before,
    After,
    Row,
    Source,
    TsMs,
    Transaction,
    Key,
    Topic,
    Partition,
    Offset,
    TimestampMs,
    Headers,
}

impl Variable {
    pub const NAMES: [(&'static str, Variable); 13] = [
        ("op", Variable::Op),
        ("before", Variable::Before),
        ("after", Variable::After),
        ("row", Variable::Row),
        ("source", Variable::Source),
        ("ts_ms", Variable::TsMs),
        ("transaction", Variable::Transaction),
        ("key", Variable::Key),
        ("topic", Variable::Topic),
        ("partition", Variable::Partition),
        ("offset", Variable::Offset),
        ("timestamp_ms", Variable::TimestampMs),
        ("headers", Variable::Headers),
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, variable)| *variable == self).map_or("", |(name, _)| name)
    }
}

/// What stands between two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Operator {
    /// The operator, and how tightly it binds.
    pub fn of(sign: &str) -> Option<(u8, Self)> {
        Some(match sign {
            "==" => (1, Operator::Equal),
            "!=" => (1, Operator::NotEqual),
            "<" => (1, Operator::Less),
            "<=" => (1, Operator::LessOrEqual),
            ">" => (1, Operator::Greater),
            ">=" => (1, Operator::GreaterOrEqual),
            "in" => (1, Operator::In),
            "+" => (2, Operator::Add),
            "-" => (2, Operator::Subtract),
            "*" => (3, Operator::Multiply),
            "/" => (3, Operator::Divide),
            "%" => (3, Operator::Remainder),
            _ => return None,
        })
    }

    pub fn text(self) -> &'static str {
        match self {
            Operator::Equal => "==",
            Operator::NotEqual => "!=",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
            Operator::In => "in",
            Operator::Add => "+",
            Operator::Subtract => "-",
            Operator::Multiply => "*",
            Operator::Divide => "/",
            Operator::Remainder => "%",
        }
    }
}

/// What is said of the elements of a list, or of the names of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Macro {
    All,
    Exists,
    ExistsOne,
}
