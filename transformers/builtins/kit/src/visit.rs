//! Columns that rules name, and what is inside of them.

use std::borrow::Cow;

use crate::pattern::Pattern;
use crate::value::Value;

/// A rule and what is left of its path.
pub type Way<'p, R> = (R, &'p [Pattern]);

/// Calls `act` on every value that a path leads to, with the rule whose path it is. The first that fits a value is the one that counts;
/// lists on the way are gone through.
pub fn visit<R: Copy, E>(
    columns: &mut [(Cow<str>, Value)],
    ways: &[Way<R>],
    act: &mut impl FnMut(R, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    columns.iter_mut().try_for_each(|(name, value)| entry(ways, name, value, act))
}

fn entry<R: Copy, E>(
    ways: &[Way<R>],
    name: &str,
    value: &mut Value,
    act: &mut impl FnMut(R, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    let mut further = Vec::new();
    for (rule, path) in ways {
        match path {
            [last] if last.matches(name) => return act(*rule, value),
            [step, rest @ ..] if !rest.is_empty() && step.matches(name) => further.push((*rule, rest)),
            _ => (),
        }
    }
    if further.is_empty() { Ok(()) } else { inside(&further, value, act) }
}

fn inside<R: Copy, E>(
    ways: &[Way<R>],
    value: &mut Value,
    act: &mut impl FnMut(R, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    match value.open() {
        Value::Map(entries) => visit(entries, ways, act),
        Value::List(items) => items.iter_mut().try_for_each(|item| inside(ways, item, act)),
        _ => Ok(()),
    }
}
