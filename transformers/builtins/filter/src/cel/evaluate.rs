//! What an expression says of an event.

use std::cmp::Ordering;

use penstock_guest::{Event, Value as Sent};

use super::Fault;
use super::ast::{Kind, Literal, Node, Operator, Variable};
use super::functions;
use super::operators::{computed, equal, order, overflow};
use super::value::{Value, of_bytes};

/// Nodes evaluated for one event, those within macros as often as they are.
const STEPS_MAX: u32 = 1_000_000;

/// The event that an expression is about.
#[derive(Debug)]
pub(crate) struct Scope<'s, 'a> {
    record: &'s Event<'a>,
    parts: [Sent<'a>; 6],
}

impl<'s, 'a> Scope<'s, 'a> {
    /// Takes a change event apart; `None` when it is no map.
    pub fn of(record: &'s Event<'a>, packed: &'a [u8]) -> Option<Self> {
        let Sent::Nested(map) = Sent::of_decoded(packed)? else { return None };
        let mut parts = [const { Sent::Null }; 6];
        for (name, value) in map.entries() {
            if let Some(place) = MEMBERS.iter().position(|known| *known == name) {
                parts[place] = value;
            }
        }
        Some(Scope { record, parts })
    }

    fn part(&self, place: usize) -> Value<'a> {
        self.parts[place].clone().into()
    }

    fn variable(&self, variable: Variable) -> Value<'a> {
        match variable {
            Variable::Op => self.part(0),
            Variable::Before => self.part(1),
            Variable::After => self.part(2),
            Variable::Row if matches!(self.parts[2], Sent::Null) => self.part(1),
            Variable::Row => self.part(2),
            Variable::Source => self.part(3),
            Variable::TsMs => self.part(4),
            Variable::Transaction => self.part(5),
            Variable::Key => of_bytes(self.record.key),
            Variable::Topic => Value::Text(self.record.topic.into()),
            Variable::Partition => Value::Int(self.record.partition),
            Variable::Offset => Value::Int(self.record.offset),
            Variable::TimestampMs => Value::Int(self.record.timestamp_ms),
            Variable::Headers => Value::Headers(self.record.headers),
        }
    }
}

const MEMBERS: [&str; 6] = ["op", "before", "after", "source", "ts_ms", "transaction"];

/// What the expression says, which must be true or false.
pub(super) fn truth<'a>(root: &'a Node, scope: &Scope<'_, 'a>) -> Result<bool, Fault> {
    let mut machine = Machine { scope, locals: Vec::new(), steps: 0 };
    let told = machine.value(root)?;
    boolean(root, &told)
}

fn boolean(node: &Node, value: &Value) -> Result<bool, Fault> {
    match value {
        Value::Boolean(value) => Ok(*value),
        other => Err(Fault::new(node.at, format!("{} found where true or false was expected", other.kind()))),
    }
}

/// One evaluation.
pub(super) struct Machine<'s, 'a> {
    scope: &'s Scope<'s, 'a>,
    /// What macros around this place have bound.
    pub locals: Vec<Value<'a>>,
    steps: u32,
}

type Told<'a> = Result<Value<'a>, Fault>;

impl<'a> Machine<'_, 'a> {
    /// A part's value. What the source did not send is none.
    pub fn value(&mut self, node: &'a Node) -> Told<'a> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Fault::new(node.at, format!("more than {STEPS_MAX} steps for one event")));
        }
        match &node.expression {
            Kind::Literal(literal) => Ok(of_literal(literal)),
            Kind::Variable(variable) => Ok(self.scope.variable(*variable)),
            Kind::Local(place) => Ok(self.locals[*place].clone()),
            Kind::List(items) => Ok(Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?)),
            Kind::Member(of, name) => self.member(node, of, name),
            Kind::Index(of, index) => self.index(node, of, index),
            Kind::Has(of, name) => self.has(node, of, name),
            Kind::Not(of) => Ok(Value::Boolean(!self.truth(of)?)),
            Kind::Negated(of) => self.negated(node, of),
            Kind::And(parts) => self.junction(parts, false),
            Kind::Or(parts) => self.junction(parts, true),
            Kind::Conditional(parts) => {
                let [condition, yes, no] = &**parts;
                if self.truth(condition)? { self.value(yes) } else { self.value(no) }
            }
            Kind::Binary(operator, sides) => self.binary(node, *operator, sides),
            Kind::Call(function, arguments) => {
                let values = arguments.iter().map(|one| self.value(one)).collect::<Result<Vec<_>, _>>()?;
                functions::call(*function, &values).map_err(|problem| Fault::new(node.at, problem))
            }
            Kind::Matches(of, regex) => match self.value(of)? {
                Value::Text(text) => Ok(Value::Boolean(regex.is_match(&text))),
                other => Err(Fault::new(node.at, format!("`matches` cannot be applied to {}", other.kind()))),
            },
            Kind::Over(over, parts) => self.over(node, *over, &parts[0], &parts[1]),
        }
    }

    /// A part's value, which must be true or false.
    pub fn truth(&mut self, node: &'a Node) -> Result<bool, Fault> {
        let value = self.value(node)?;
        boolean(node, &value)
    }

    /// A fault in one part is none when another part decides: `false && fault` is false, and so is `fault && false`.
    fn junction(&mut self, parts: &'a [Node], deciding: bool) -> Told<'a> {
        let mut first_fault = None;
        for part in parts {
            match self.truth(part) {
                Ok(truth) if truth == deciding => return Ok(Value::Boolean(deciding)),
                Ok(_) => (),
                Err(fault) => first_fault = first_fault.or(Some(fault)),
            }
        }
        first_fault.map_or(Ok(Value::Boolean(!deciding)), Err)
    }

    fn member(&mut self, node: &Node, of: &'a Node, name: &str) -> Told<'a> {
        let base = self.value(of)?;
        match base.member(name) {
            Ok(Some(Value::Unavailable)) => Err(not_sent(node.at, name)),
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Fault::new(node.at, format!("{} has no `{name}`", named(of)))),
            Err(()) => Err(Fault::new(node.at, format!("{} is {}: it has no `{name}`", named(of), base.kind()))),
        }
    }

    /// Null has no members; neither has it the right to stop the question.
    fn has(&mut self, node: &Node, of: &'a Node, name: &str) -> Told<'a> {
        match self.value(of)? {
            Value::Null => Ok(Value::Boolean(false)),
            base => match base.member(name) {
                Ok(found) => Ok(Value::Boolean(!matches!(found, None | Some(Value::Unavailable)))),
                Err(()) => Err(Fault::new(node.at, format!("{} is {}: it has no members", named(of), base.kind()))),
            },
        }
    }

    fn index(&mut self, node: &Node, of: &'a Node, index: &'a Node) -> Told<'a> {
        let (base, index) = (self.value(of)?, self.value(index)?);
        if let (Value::Text(name), Ok(found)) = (&index, base.member("")) {
            let found = if name.is_empty() { found } else { base.member(name).unwrap_or(None) };
            return match found {
                Some(Value::Unavailable) => Err(not_sent(node.at, name)),
                Some(value) => Ok(value),
                None => Err(Fault::new(node.at, format!("{} has no {name:?}", named(of)))),
            };
        }
        let Some(items) = base.elements() else {
            let problem = format!("{} cannot be asked for {}", base.kind(), index.kind());
            return Err(Fault::new(node.at, problem));
        };
        let at = match &index {
            Value::Int(at) => usize::try_from(*at).ok(),
            Value::Uint(at) => usize::try_from(*at).ok(),
            Value::Double(at) if at.fract() == 0.0 && *at >= 0.0 => Some(*at as usize),
            _ => return Err(Fault::new(node.at, format!("a list cannot be asked for {}", index.kind()))),
        };
        let count = items.len();
        let found = at.and_then(|at| items.into_iter().nth(at));
        found.ok_or_else(|| {
            Fault::new(node.at, format!("the list has {count} elements, counted from 0: there is none of this number"))
        })
    }

    fn negated(&mut self, node: &Node, of: &'a Node) -> Told<'a> {
        let value = self.value(of)?;
        match &value {
            Value::Double(value) => Ok(Value::Double(-value)),
            Value::Int(value) => value.checked_neg().map(Value::Int).ok_or_else(|| overflow(node.at)),
            other => Err(Fault::new(node.at, format!("`-` cannot be applied to {}", other.kind()))),
        }
    }

    fn binary(&mut self, node: &Node, operator: Operator, sides: &'a [Node; 2]) -> Told<'a> {
        let (one, other) = (self.value(&sides[0])?, self.value(&sides[1])?);
        let wrong = || Fault::new(node.at, format!("`{}` of {} and {}", operator.text(), one.kind(), other.kind()));
        let is = |truth| Ok(Value::Boolean(truth));
        let order = || order(&one, &other).map_err(|()| wrong());
        match operator {
            Operator::Equal => is(equal(&one, &other)),
            Operator::NotEqual => is(!equal(&one, &other)),
            Operator::Less => is(order()?.is_some_and(Ordering::is_lt)),
            Operator::LessOrEqual => is(order()?.is_some_and(Ordering::is_le)),
            Operator::Greater => is(order()?.is_some_and(Ordering::is_gt)),
            Operator::GreaterOrEqual => is(order()?.is_some_and(Ordering::is_ge)),
            Operator::In => {
                let items = other.elements().or_else(|| other.names()).ok_or_else(wrong)?;
                is(items.iter().any(|item| equal(item, &one)))
            }
            _ => computed(node.at, operator, &one, &other).ok_or_else(wrong)?,
        }
    }
}

/// What stands there, for a message.
fn named(node: &Node) -> String {
    match &node.expression {
        Kind::Variable(variable) => format!("`{}`", variable.name()),
        Kind::Member(_, name) => format!("`{name}`"),
        _ => "what stands before it".to_owned(),
    }
}

fn not_sent(at: usize, name: &str) -> Fault {
    Fault::new(at, format!("`{name}` was not sent by the source (unchanged and large): ask `has` first"))
}

fn of_literal(literal: &Literal) -> Value<'_> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Boolean(value) => Value::Boolean(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Smallest => unreachable!("the parser makes it an int, or refuses it"),
        Literal::Double(value) => Value::Double(*value),
        Literal::Text(text) => Value::Text(text.as_str().into()),
        Literal::Bytes(bytes) => Value::Bytes(bytes.as_slice().into()),
    }
}
