//! Values as a schema sees them: their types, and which are equal.

use std::cmp::Ordering;

use builtin_kit::number::{self, Number};
use penstock_guest::Value;

use crate::json::Json;
use crate::number::{is_whole, number_of};
use crate::schema::Type;

/// Whether a value is of a type.
pub(crate) fn is_of(wanted: Type, value: &Value) -> bool {
    match (wanted, value) {
        (Type::Null, Value::Null) | (Type::Boolean, Value::Boolean(_)) => true,
        (Type::Text, Value::Text(_) | Value::Bytes(_)) => true,
        (Type::Map, Value::Nested(nested)) => nested.is_map(),
        (Type::List, Value::Nested(nested)) => !nested.is_map(),
        (Type::Number, value) => number_of(value, false).is_some(),
        (Type::Integer, value) => number_of(value, false).is_some_and(is_whole),
        _ => false,
    }
}

/// Types as a schema writes them.
pub(crate) fn named(types: &[Type]) -> String {
    let name = |wanted: &Type| match wanted {
        Type::Null => "null",
        Type::Boolean => "boolean",
        Type::Integer => "integer",
        Type::Number => "number",
        Type::Text => "string",
        Type::List => "array",
        Type::Map => "object",
    };
    types.iter().map(name).collect::<Vec<_>>().join(" or ")
}

/// A value's type as a schema writes it.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Unsigned(_) => "integer",
        Value::Float(_) | Value::Number(_) => "number",
        Value::Text(_) | Value::Bytes(_) | Value::Unavailable => "string",
        Value::Nested(nested) if nested.is_map() => "object",
        Value::Nested(_) => "array",
    }
}

/// Whether a value is what a schema says.
pub(crate) fn equal(said: &Json, value: &Value) -> bool {
    match (said, value) {
        (Json::Null, Value::Null) => true,
        (Json::Boolean(said), Value::Boolean(value)) => said == value,
        (Json::Text(said), Value::Text(value)) => said == value,
        (Json::Integer(said), value) => is_number(value, Number::Int(*said)),
        (Json::Unsigned(said), value) => is_number(value, Number::Uint(*said)),
        (Json::Float(said), value) => is_number(value, Number::Double(*said)),
        (Json::List(said), Value::Nested(list)) if !list.is_map() => {
            list.len() == said.len() && said.iter().zip(list.elements()).all(|(said, value)| equal(said, &value))
        }
        (Json::Map(said), Value::Nested(map)) if map.is_map() => {
            let is_there = |(name, said): &(String, Json)| map.get(name).is_some_and(|value| equal(said, &value));
            map.len() == said.len() && said.iter().all(is_there)
        }
        _ => false,
    }
}

fn is_number(value: &Value, said: Number) -> bool {
    number_of(value, false).is_some_and(|number| number::compare(number, said) == Some(Ordering::Equal))
}

/// Whether two values are the same.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Null, Value::Null) => true,
        (Value::Boolean(one), Value::Boolean(other)) => one == other,
        (Value::Text(one), Value::Text(other)) => one == other,
        (Value::Bytes(one), Value::Bytes(other)) => one == other,
        (Value::Nested(one), Value::Nested(other)) if one.is_map() != other.is_map() || one.len() != other.len() => {
            false
        }
        (Value::Nested(one), Value::Nested(other)) if one.is_map() => {
            one.entries().all(|(name, value)| other.get(&name).is_some_and(|other| same(&value, &other)))
        }
        (Value::Nested(one), Value::Nested(other)) => {
            one.elements().zip(other.elements()).all(|(one, other)| same(&one, &other))
        }
        _ => match (number_of(one, false), number_of(other, false)) {
            (Some(one), Some(other)) => number::compare(one, other) == Some(Ordering::Equal),
            _ => false,
        },
    }
}
