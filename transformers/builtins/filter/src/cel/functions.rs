//! What can be called.

use std::borrow::Cow;

use builtin_kit::number::is_numeral;
use regex_lite::{Regex, RegexBuilder};

use super::value::Value;

/// A function; those of a text may be written `text.contains(part)` only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Function {
    Size,
    StartsWith,
    EndsWith,
    Contains,
    LowerAscii,
    UpperAscii,
    Trim,
    Int,
    Uint,
    Double,
    Decimal,
    Text,
    Bytes,
    Boolean,
    Type,
}

/// Name, function, whether it is called on a value and whether with a value, and how many values it takes with that.
const FUNCTIONS: [(&str, Function, bool, bool, usize); 15] = [
    ("size", Function::Size, true, true, 1),
    ("startsWith", Function::StartsWith, true, false, 2),
    ("endsWith", Function::EndsWith, true, false, 2),
    ("contains", Function::Contains, true, false, 2),
    ("lowerAscii", Function::LowerAscii, true, false, 1),
    ("upperAscii", Function::UpperAscii, true, false, 1),
    ("trim", Function::Trim, true, false, 1),
    ("int", Function::Int, false, true, 1),
    ("uint", Function::Uint, false, true, 1),
    ("double", Function::Double, false, true, 1),
    ("decimal", Function::Decimal, false, true, 1),
    ("string", Function::Text, false, true, 1),
    ("bytes", Function::Bytes, false, true, 1),
    ("bool", Function::Boolean, false, true, 1),
    ("type", Function::Type, false, true, 1),
];

impl Function {
    /// The function of this name that can be called so. The error says what is wrong with it.
    pub fn named(name: &str, is_method: bool, count: usize) -> Result<Self, String> {
        let Some((_, function, on, with, takes)) = FUNCTIONS.iter().find(|(known, ..)| *known == name) else {
            let names: Vec<&str> = FUNCTIONS.iter().map(|(name, ..)| *name).collect();
            return Err(format!(
                "there is no function `{name}`: there are has, matches, all, exists, exists_one, {}",
                names.join(", ")
            ));
        };
        if !(if is_method { *on } else { *with }) {
            let example = if *on { format!("value.{name}(…)") } else { format!("{name}(value)") };
            return Err(format!("`{name}` is called as {example}"));
        }
        if count != *takes {
            let own = takes - usize::from(is_method);
            return Err(format!("`{name}` takes {own} value(s), not {}", count - usize::from(is_method)));
        }
        Ok(*function)
    }

    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function, ..)| *function == self).map_or("", |(name, ..)| name)
    }
}

/// A regular expression whose matching takes time by the length of the text only, and whose own size is bounded.
pub(super) fn regex(pattern: &str) -> Result<Regex, String> {
    const SIZE_BYTES_MAX: usize = 256 << 10;
    const NEST_MAX: u32 = 32;
    let built = RegexBuilder::new(pattern).size_limit(SIZE_BYTES_MAX).nest_limit(NEST_MAX).build();
    built.map_err(|error| format!("no regular expression that can be used here: {error}"))
}

/// What a function makes of its values, of which there are as many as it takes.
pub(super) fn call<'a>(function: Function, values: &[Value<'a>]) -> Result<Value<'a>, String> {
    let wrong = || Err(format!("`{}` cannot be applied to {}", function.name(), kinds(values)));
    let made = match (function, values) {
        (Function::Size, [of]) => size(of).map(|size| Value::Int(size as i64)),
        (Function::StartsWith, [Value::Text(text), Value::Text(part)]) => {
            Some(Value::Boolean(text.starts_with(&**part)))
        }
        (Function::EndsWith, [Value::Text(text), Value::Text(part)]) => Some(Value::Boolean(text.ends_with(&**part))),
        (Function::Contains, [Value::Text(text), Value::Text(part)]) => Some(Value::Boolean(text.contains(&**part))),
        (Function::LowerAscii, [Value::Text(text)]) => Some(made_text(text.to_ascii_lowercase())),
        (Function::UpperAscii, [Value::Text(text)]) => Some(made_text(text.to_ascii_uppercase())),
        (Function::Trim, [Value::Text(text)]) => Some(made_text(text.trim().to_owned())),
        (Function::Type, [Value::Unavailable]) => None,
        (Function::Type, [of]) => Some(Value::Text(Cow::Borrowed(type_of(of)))),
        (_, [of]) => return converted(function, of).map_or_else(wrong, Ok),
        _ => None,
    };
    made.map_or_else(wrong, Ok)
}

fn made_text<'a>(text: String) -> Value<'a> {
    Value::Text(Cow::Owned(text))
}

fn kinds(values: &[Value]) -> String {
    values.iter().map(Value::kind).collect::<Vec<_>>().join(" and ")
}

/// Texts by their code points.
fn size(of: &Value) -> Option<usize> {
    match of {
        Value::Text(text) => Some(text.chars().count()),
        Value::Bytes(bytes) => Some(bytes.len()),
        Value::Nested(nested) => Some(nested.len()),
        Value::List(items) => Some(items.len()),
        Value::Headers(_) => of.names().map(|names| names.len()),
        _ => None,
    }
}

/// CEL's names of types.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null_type",
        Value::Boolean(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Double(_) => "double",
        Value::Decimal(_) => "decimal",
        Value::Text(_) | Value::Unavailable => "string",
        Value::Bytes(_) => "bytes",
        Value::Nested(nested) if nested.is_map() => "map",
        Value::Headers(_) => "map",
        Value::Nested(_) | Value::List(_) => "list",
    }
}

/// `None` for what has no such value: nothing is rounded to one but fractions, by `int` and `uint`, towards zero.
fn converted<'a>(function: Function, of: &Value<'a>) -> Option<Value<'a>> {
    match function {
        Function::Int => int(of).map(Value::Int),
        Function::Uint => uint(of).map(Value::Uint),
        Function::Double => double(of).map(Value::Double),
        Function::Decimal => digits(of).map(Value::Decimal),
        Function::Text => text(of).map(Value::Text),
        Function::Bytes => match of {
            Value::Bytes(bytes) => Some(Value::Bytes(bytes.clone())),
            Value::Text(Cow::Borrowed(text)) => Some(Value::Bytes(Cow::Borrowed(text.as_bytes()))),
            Value::Text(text) => Some(Value::Bytes(Cow::Owned(text.as_bytes().to_vec()))),
            _ => None,
        },
        Function::Boolean => match of {
            Value::Boolean(value) => Some(Value::Boolean(*value)),
            Value::Text(text) => match &**text {
                "true" | "True" | "TRUE" | "t" | "1" => Some(Value::Boolean(true)),
                "false" | "False" | "FALSE" | "f" | "0" => Some(Value::Boolean(false)),
                _ => None,
            },
            _ => None,
        },
        _ => None,
    }
}

fn int(of: &Value) -> Option<i64> {
    /// The first float that no i64 reaches.
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    match of {
        Value::Int(value) => Some(*value),
        Value::Uint(value) => i64::try_from(*value).ok(),
        Value::Double(value) if *value > -BEYOND && *value < BEYOND => Some(*value as i64),
        Value::Text(text) | Value::Decimal(text) => text.parse().ok().filter(|_| is_numeral(text)),
        _ => None,
    }
}

fn uint(of: &Value) -> Option<u64> {
    const BEYOND: f64 = 18_446_744_073_709_551_616.0;
    match of {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Uint(value) => Some(*value),
        Value::Double(value) if *value > -1.0 && *value < BEYOND => Some(*value as u64),
        Value::Text(text) | Value::Decimal(text) => text.parse().ok().filter(|_| is_numeral(text)),
        _ => None,
    }
}

fn double(of: &Value) -> Option<f64> {
    match of {
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Text(text) | Value::Decimal(text) if is_numeral(text) => text.parse().ok(),
        Value::Text(text) => match &**text {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn digits<'a>(of: &Value<'a>) -> Option<Cow<'a, str>> {
    match of {
        Value::Decimal(text) | Value::Text(text) if is_numeral(text) => Some(text.clone()),
        Value::Int(_) | Value::Uint(_) => text(of),
        Value::Double(value) if value.is_finite() => text(of),
        _ => None,
    }
}

fn text<'a>(of: &Value<'a>) -> Option<Cow<'a, str>> {
    Some(match of {
        Value::Text(text) | Value::Decimal(text) => text.clone(),
        Value::Int(value) => Cow::Owned(value.to_string()),
        Value::Uint(value) => Cow::Owned(value.to_string()),
        Value::Double(value) => Cow::Owned(format!("{value:?}")),
        Value::Boolean(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
        Value::Bytes(bytes) => Cow::Owned(String::from_utf8(bytes.to_vec()).ok()?),
        _ => return None,
    })
}
