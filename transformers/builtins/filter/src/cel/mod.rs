//! Expressions in a subset of CEL, the Common Expression Language: compiled once, then evaluated for each event.
//!
//! Compiling refuses what can be refused without an event: syntax, names and functions that nobody knows, regular expressions.
//! Evaluating ends: there are no loops but the macros over lists, and every step counts against a maximum.

mod ast;
#[cfg(test)]
mod conformance;
mod evaluate;
mod functions;
mod lexer;
mod literal;
mod macros;
mod operators;
mod parser;
mod value;

use std::fmt;

pub(crate) use evaluate::Scope;

use ast::Node;

/// Bytes of an expression.
const TEXT_BYTES_MAX: usize = 16 << 10;

/// What is wrong, and where in the expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Bytes before the place.
    pub at: usize,
    pub problem: String,
}

impl Fault {
    fn new(at: usize, problem: impl Into<String>) -> Self {
        Fault { at, problem: problem.into() }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub(crate) struct Expression {
    text: String,
    root: Node,
}

impl Expression {
    /// Compiles a text; the error names line and column.
    pub fn compile(text: &str) -> Result<Self, String> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
        }
        let root = parser::parse(text).map_err(|fault| Placed { text, fault: &fault }.to_string())?;
        Ok(Expression { text: text.to_owned(), root })
    }

    /// What it says of an event. The error names line and column.
    pub fn is_true<'a>(&'a self, scope: &Scope<'_, 'a>) -> Result<bool, String> {
        let told = evaluate::truth(&self.root, scope);
        told.map_err(|fault| Placed { text: &self.text, fault: &fault }.to_string())
    }
}

/// A fault with its place as people count: from one, in characters.
struct Placed<'f> {
    text: &'f str,
    fault: &'f Fault,
}

impl fmt::Display for Placed<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter) -> fmt::Result {
        let before = &self.text[..self.fault.at.min(self.text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        match self.text.contains('\n') {
            true => write!(formatter, "line {line}, column {column}: {}", self.fault.problem),
            false => write!(formatter, "column {column}: {}", self.fault.problem),
        }
    }
}
