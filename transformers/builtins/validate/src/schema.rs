//! A JSON Schema, compiled: what each keyword demands.

use std::collections::BTreeMap;

use regex_lite::Regex;

use crate::format::Format;
use crate::json::Json;
use crate::number::Amount;

/// A schema's place in [`Schemas`].
pub(crate) type Id = usize;

/// One keyword's demand.
#[derive(Debug)]
pub(crate) enum Check {
    Never,
    Type(Vec<Type>),
    Enum(Vec<Json>),
    Const(Json),
    Bound(Bound, Amount),
    MultipleOf(Amount),
    MinLength(usize),
    MaxLength(usize),
    Pattern(Regex),
    Format(Format),
    Properties { named: BTreeMap<String, Id>, patterns: Vec<(Regex, Id)>, others: Option<Id> },
    PropertyNames(Id),
    Required(Vec<String>),
    MinProperties(usize),
    MaxProperties(usize),
    DependentRequired(Vec<(String, Vec<String>)>),
    DependentSchemas(Vec<(String, Id)>),
    Items { first: Vec<Id>, others: Option<Id> },
    Contains { of: Id, least: usize, most: usize },
    MinItems(usize),
    MaxItems(usize),
    UniqueItems,
    AllOf(Vec<Id>),
    AnyOf(Vec<Id>),
    OneOf(Vec<Id>),
    Not(Id),
    If { condition: Id, then: Option<Id>, otherwise: Option<Id> },
    Ref(Id),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    Text,
    List,
    Map,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bound {
    Minimum,
    Maximum,
    ExclusiveMinimum,
    ExclusiveMaximum,
}

/// What one schema object demands. `decimal`: a text of digits is a number to the keywords for numbers.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    pub checks: Vec<Check>,
    pub decimal: bool,
}

/// A document's schemas; the first is the document's own.
#[derive(Debug)]
pub(crate) struct Schemas(pub Vec<Schema>);

/// Schemas that ask each other of the same value.
pub(crate) const CHAIN_MAX: usize = 100;

impl Schemas {
    /// A schema that leads back to itself for the same value.
    pub fn circle(&self) -> Option<Id> {
        let mut done = vec![false; self.0.len()];
        (0..self.0.len()).rev().find(|id| self.leads_back(*id, &mut done, 0))
    }

    /// A circle is a way without an end.
    fn leads_back(&self, id: Id, done: &mut [bool], steps: usize) -> bool {
        if done[id] || steps == CHAIN_MAX {
            return !done[id];
        }
        let mut ways = self.0[id].checks.iter().flat_map(Check::in_place);
        let is_circle = ways.any(|next| self.leads_back(next, done, steps + 1));
        done[id] = !is_circle;
        is_circle
    }
}

impl Check {
    /// The schemas that it asks of the same value.
    fn in_place(&self) -> Vec<Id> {
        match self {
            Check::AllOf(ids) | Check::AnyOf(ids) | Check::OneOf(ids) => ids.clone(),
            Check::Not(id) | Check::Ref(id) => vec![*id],
            Check::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            Check::DependentSchemas(schemas) => schemas.iter().map(|(_, id)| *id).collect(),
            _ => Vec::new(),
        }
    }
}
