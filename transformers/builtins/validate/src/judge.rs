//! A value against a schema: where it breaks it, and which keyword.

use std::cmp::Ordering;

use builtin_kit::number::{self, Number};
use penstock_guest::{Nested, Value};

use crate::number::{is_multiple, number_of};
use crate::schema::{Bound, Check, Id, Schemas};
use crate::value::{equal, is_of, kind, named, same};

/// Levels of schemas and values within each other: references may go round as often as the value is deep.
const DEPTH_MAX: usize = 200;
/// Schemas asked for one event.
const STEPS_MAX: u32 = 1_000_000;

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Break {
    /// `after.lines[2].amount`
    pub path: String,
    pub keyword: &'static str,
    pub problem: String,
}

/// Why a value cannot be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    Depth,
    Steps,
}

impl Beyond {
    pub fn text(self) -> String {
        match self {
            Beyond::Depth => format!("more than {DEPTH_MAX} levels of schemas and values"),
            Beyond::Steps => format!("more than {STEPS_MAX} steps for one event"),
        }
    }
}

type Judged = Result<Option<Break>, Beyond>;

/// One value's judgement.
pub(crate) struct Judge<'s> {
    schemas: &'s Schemas,
    steps: u32,
    depth: usize,
    path: Vec<Step>,
    /// Values met that the source did not send.
    unsent: u32,
}

#[derive(Debug)]
enum Step {
    Name(String),
    At(usize),
}

/// Judges a row by the document's own schema.
pub(crate) fn judge(schemas: &Schemas, side: &str, row: &Value) -> Judged {
    let mut judge = Judge { schemas, steps: 0, depth: 0, path: vec![Step::Name(side.to_owned())], unsent: 0 };
    judge.value(0, row)
}

impl Judge<'_> {
    /// What the source did not send may be anything: it is right, and so is what would be wrong only because of that (`not`).
    fn value(&mut self, id: Id, value: &Value) -> Judged {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(Beyond::Steps);
        }
        if self.depth == DEPTH_MAX {
            return Err(Beyond::Depth);
        }
        if matches!(value, Value::Unavailable) {
            self.unsent += 1;
            return Ok(None);
        }
        self.depth += 1;
        let schemas = self.schemas;
        let schema = &schemas.0[id];
        let mut found = None;
        for check in &schema.checks {
            found = self.check(check, schema.decimal, value)?;
            if found.is_some() {
                break;
            }
        }
        self.depth -= 1;
        Ok(found)
    }

    fn holds(&mut self, id: Id, value: &Value) -> Result<bool, Beyond> {
        Ok(self.value(id, value)?.is_none())
    }

    fn below(&mut self, step: Step, id: Id, value: &Value) -> Judged {
        self.path.push(step);
        let found = self.value(id, value);
        self.path.pop();
        found
    }

    fn broken(&self, keyword: &'static str, problem: impl Into<String>) -> Judged {
        let mut path = String::new();
        for step in &self.path {
            match step {
                Step::Name(name) if path.is_empty() => path.push_str(name),
                Step::Name(name) => path.extend([".", name.as_str()]),
                Step::At(at) => path.push_str(&format!("[{at}]")),
            }
        }
        Ok(Some(Break { path, keyword, problem: problem.into() }))
    }

    /// `problem` when `is_right` is false.
    fn demand(&self, is_right: bool, keyword: &'static str, problem: impl FnOnce() -> String) -> Judged {
        if is_right { Ok(None) } else { self.broken(keyword, problem()) }
    }

    fn check(&mut self, check: &Check, decimal: bool, value: &Value) -> Judged {
        match (check, value) {
            (Check::Never, _) => self.broken("false", "nothing may be there"),
            (Check::Type(types), _) => {
                let is_right = types.iter().any(|wanted| is_of(*wanted, value));
                self.demand(is_right, "type", || format!("{} is not {}", kind(value), named(types)))
            }
            (Check::Enum(all), _) => self.demand(all.iter().any(|one| equal(one, value)), "enum", || {
                format!("none of the {} values", all.len())
            }),
            (Check::Const(one), _) => self.demand(equal(one, value), "const", || "another value".into()),
            (Check::Bound(bound, amount), _) => match number_of(value, decimal) {
                Some(number) => self.bound(*bound, number, amount.number()),
                None => Ok(None),
            },
            (Check::MultipleOf(step), _) => match number_of(value, decimal) {
                Some(number) => self.demand(is_multiple(number, step.number()), "multipleOf", || "no multiple".into()),
                None => Ok(None),
            },
            (Check::MinLength(_) | Check::MaxLength(_) | Check::Pattern(_) | Check::Format(_), Value::Text(text)) => {
                self.text(check, text)
            }
            (Check::Ref(id), _) => self.value(*id, value),
            (Check::AllOf(ids), _) => {
                for id in ids {
                    if let Some(found) = self.value(*id, value)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            (Check::AnyOf(ids), _) => {
                for id in ids {
                    if self.holds(*id, value)? {
                        return Ok(None);
                    }
                }
                self.broken("anyOf", format!("fits none of {}", ids.len()))
            }
            (Check::OneOf(ids), _) => self.one_of(ids, value),
            (Check::Not(id), _) => {
                let before = self.unsent;
                let is_right = !self.holds(*id, value)? || self.unsent != before;
                self.demand(is_right, "not", || "fits what it must not".into())
            }
            (Check::If { condition, then, otherwise }, _) => {
                let before = self.unsent;
                let branch = if self.holds(*condition, value)? { then } else { otherwise };
                let branch = branch.filter(|_| self.unsent == before);
                branch.map_or(Ok(None), |id| self.value(id, value))
            }
            (_, Value::Nested(nested)) if nested.is_map() => self.map(check, *nested, value),
            (_, Value::Nested(nested)) => self.list(check, *nested),
            _ => Ok(None),
        }
    }

    fn one_of(&mut self, ids: &[Id], value: &Value) -> Judged {
        let (mut count, before) = (0, self.unsent);
        for id in ids {
            count += usize::from(self.holds(*id, value)?);
        }
        self.demand(count == 1 || self.unsent != before, "oneOf", || format!("fits {count} of {}, not one", ids.len()))
    }

    fn bound(&self, bound: Bound, number: Number, amount: Number) -> Judged {
        let order = number::compare(number, amount);
        let (keyword, is_right, problem) = match bound {
            Bound::Minimum => ("minimum", order.is_some_and(Ordering::is_ge), "too small"),
            Bound::Maximum => ("maximum", order.is_some_and(Ordering::is_le), "too large"),
            Bound::ExclusiveMinimum => ("exclusiveMinimum", order.is_some_and(Ordering::is_gt), "too small"),
            Bound::ExclusiveMaximum => ("exclusiveMaximum", order.is_some_and(Ordering::is_lt), "too large"),
        };
        self.demand(is_right, keyword, || problem.into())
    }

    fn text(&self, check: &Check, text: &str) -> Judged {
        match check {
            Check::MinLength(least) => self.demand(text.chars().count() >= *least, "minLength", || "too short".into()),
            Check::MaxLength(most) => self.demand(text.chars().count() <= *most, "maxLength", || "too long".into()),
            Check::Pattern(regex) => {
                self.demand(regex.is_match(text), "pattern", || format!("does not match {}", regex.as_str()))
            }
            Check::Format(format) => self.demand(format.holds(text), "format", || format!("is no {}", format.name())),
            _ => Ok(None),
        }
    }

    fn map(&mut self, check: &Check, map: Nested, value: &Value) -> Judged {
        match check {
            Check::Required(names) => match names.iter().find(|name| map.get(name).is_none()) {
                Some(name) => self.broken("required", format!("there is no {name:?}")),
                None => Ok(None),
            },
            Check::Properties { named, patterns, others } => {
                for (name, value) in map.entries() {
                    let mut ids: Vec<Id> = named.get(&*name).copied().into_iter().collect();
                    ids.extend(patterns.iter().filter(|(regex, _)| regex.is_match(&name)).map(|(_, id)| *id));
                    if let (true, Some(others)) = (ids.is_empty(), others) {
                        ids.push(*others);
                    }
                    for id in ids {
                        if let Some(found) = self.below(Step::Name(name.to_string()), id, &value)? {
                            return Ok(Some(found));
                        }
                    }
                }
                Ok(None)
            }
            Check::PropertyNames(id) => {
                for (name, _) in map.entries() {
                    let step = Step::Name(name.to_string());
                    if let Some(found) = self.below(step, *id, &Value::Text(name))? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Check::MinProperties(least) => {
                self.demand(map.len() >= *least, "minProperties", || "too few members".into())
            }
            Check::MaxProperties(most) => {
                self.demand(map.len() <= *most, "maxProperties", || "too many members".into())
            }
            Check::DependentRequired(demands) => {
                for (name, wanted) in demands.iter().filter(|(name, _)| map.get(name).is_some()) {
                    if let Some(missing) = wanted.iter().find(|one| map.get(one).is_none()) {
                        return self.broken("dependentRequired", format!("there is {name:?}, and no {missing:?}"));
                    }
                }
                Ok(None)
            }
            Check::DependentSchemas(schemas) => {
                for (_, id) in schemas.iter().filter(|(name, _)| map.get(name).is_some()) {
                    if let Some(found) = self.value(*id, value)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            _ => Ok(None),
        }
    }

    fn list(&mut self, check: &Check, list: Nested) -> Judged {
        match check {
            Check::Items { first, others } => {
                for (at, item) in list.elements().enumerate() {
                    let Some(id) = first.get(at).or(others.as_ref()) else { continue };
                    if let Some(found) = self.below(Step::At(at), *id, &item)? {
                        return Ok(Some(found));
                    }
                }
                Ok(None)
            }
            Check::Contains { of, least, most } => {
                let (mut count, before) = (0, self.unsent);
                for item in list.elements() {
                    count += usize::from(self.holds(*of, &item)?);
                }
                match count {
                    _ if self.unsent != before => Ok(None),
                    _ if count < *least => {
                        self.broken(if *least == 1 { "contains" } else { "minContains" }, "too few elements fit")
                    }
                    _ if count > *most => self.broken("maxContains", "too many elements fit"),
                    _ => Ok(None),
                }
            }
            Check::MinItems(least) => self.demand(list.len() >= *least, "minItems", || "too few elements".into()),
            Check::MaxItems(most) => self.demand(list.len() <= *most, "maxItems", || "too many elements".into()),
            Check::UniqueItems => self.unique(list),
            _ => Ok(None),
        }
    }

    fn unique(&mut self, list: Nested) -> Judged {
        let items: Vec<Value> = list.elements().collect();
        for (at, item) in items.iter().enumerate() {
            self.steps = self.steps.saturating_add(at as u32);
            if self.steps > STEPS_MAX {
                return Err(Beyond::Steps);
            }
            if items[..at].iter().any(|other| same(item, other)) {
                return self.broken("uniqueItems", format!("element {at} is there before"));
            }
        }
        Ok(None)
    }
}
