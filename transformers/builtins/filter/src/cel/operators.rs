//! What operators make of two values.

use std::cmp::Ordering;

use builtin_kit::number;

use super::Fault;
use super::ast::Operator;
use super::value::Value;

/// Where an integer has no room for a result.
pub(super) fn overflow(at: usize) -> Fault {
    Fault::new(at, "the result is beyond 64 bits, or a division by zero")
}

/// Values of different kinds are different, numbers apart: those are compared by what they are worth, and so is a number with a text
/// of digits. Two texts are equal when they are the same text.
pub(super) fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        // Within rows: what was not sent did not change.
        (Value::Unavailable, _) | (_, Value::Unavailable) | (Value::Null, Value::Null) => true,
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::Bytes(one), Value::Bytes(other)) => one == other,
        _ if one.number().is_some() || other.number().is_some() => match (one.numeral(), other.numeral()) {
            (Some(one), Some(other)) => number::compare(one, other) == Some(Ordering::Equal),
            _ => false,
        },
        _ => equal_inside(one, other),
    }
}

fn equal_inside(one: &Value, other: &Value) -> bool {
    if let (Some(one), Some(other)) = (one.elements(), other.elements()) {
        return one.len() == other.len() && one.iter().zip(&other).all(|(one, other)| equal(one, other));
    }
    let (Some(names), Some(others)) = (one.names(), other.names()) else { return false };
    let same = |name: &Value| match name {
        Value::Text(name) => match (one.member(name), other.member(name)) {
            (Ok(Some(one)), Ok(Some(other))) => equal(&one, &other),
            _ => false,
        },
        _ => false,
    };
    names.len() == others.len() && names.iter().all(same)
}

/// `Ok(None)` when one is NaN; `Err` for what has no order. Two texts of digits are decimals, others are ordered by code points.
pub(super) fn order(one: &Value, other: &Value) -> Result<Option<Ordering>, ()> {
    if let (Some(one), Some(other)) = (one.numeral(), other.numeral()) {
        return Ok(number::compare(one, other));
    }
    match (one, other) {
        (Value::Text(one), Value::Text(other)) => Ok(Some(one.as_bytes().cmp(other.as_bytes()))),
        (Value::Bytes(one), Value::Bytes(other)) => Ok(Some(one.cmp(other))),
        (Value::Boolean(one), Value::Boolean(other)) => Ok(Some(one.cmp(other))),
        _ => Err(()),
    }
}

/// `None` for values that are not computed with.
pub(super) fn computed<'a>(
    at: usize,
    operator: Operator,
    one: &Value<'a>,
    other: &Value<'a>,
) -> Option<Result<Value<'a>, Fault>> {
    Some(match (one, other) {
        (Value::Int(one), Value::Int(other)) => {
            whole(operator, *one, *other).map(Value::Int).ok_or_else(|| overflow(at))
        }
        (Value::Uint(one), Value::Uint(other)) => {
            natural(operator, *one, *other).map(Value::Uint).ok_or_else(|| overflow(at))
        }
        (Value::Double(one), Value::Double(other)) => Ok(Value::Double(match operator {
            Operator::Add => one + other,
            Operator::Subtract => one - other,
            Operator::Multiply => one * other,
            Operator::Divide => one / other,
            _ => return None,
        })),
        (Value::Text(one), Value::Text(other)) if operator == Operator::Add => {
            Ok(Value::Text([&**one, &**other].concat().into()))
        }
        _ => return None,
    })
}

fn whole(operator: Operator, one: i64, other: i64) -> Option<i64> {
    match operator {
        Operator::Add => one.checked_add(other),
        Operator::Subtract => one.checked_sub(other),
        Operator::Multiply => one.checked_mul(other),
        Operator::Divide => one.checked_div(other),
        _ => one.checked_rem(other),
    }
}

fn natural(operator: Operator, one: u64, other: u64) -> Option<u64> {
    match operator {
        Operator::Add => one.checked_add(other),
        Operator::Subtract => one.checked_sub(other),
        Operator::Multiply => one.checked_mul(other),
        Operator::Divide => one.checked_div(other),
        _ => one.checked_rem(other),
    }
}
