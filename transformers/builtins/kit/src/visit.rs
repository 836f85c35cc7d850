//! Columns that rules name, and what is inside of them.

use std::borrow::Cow;

use crate::pattern::Pattern;
use crate::text::{json_of, looks_like_json, of_json};
use crate::value::Value;

/// A rule and what is left of its path.
pub type Way<'p, R> = (R, &'p [Pattern]);

/// Calls `act` on every value that a path leads to, with the rule whose path it is. The first that fits a value is the one that counts;
/// lists on the way are gone through, and so are texts that are objects or lists in JSON, as sources write columns of that type. A text
/// that looks like one and is none is taken for what the path leads to: nobody can say what is in it.
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
        Value::Text(text) if looks_like_json(text) => match of_json(text) {
            Some(read) => inside_json(ways, read, value, act),
            None => act(ways[0].0, value),
        },
        _ => Ok(()),
    }
}

/// The text is written anew only when something in it has changed.
fn inside_json<R: Copy, E>(
    ways: &[Way<R>],
    mut read: Value<'static>,
    value: &mut Value,
    act: &mut impl FnMut(R, &mut Value) -> Result<(), E>,
) -> Result<(), E> {
    let before = read.clone();
    inside(ways, &mut read, act)?;
    if read != before {
        *value = Value::Text(json_of(&read).into());
    }
    Ok(())
}
