//! What a keyword says, read as what it must be; the error is what to write.

use regex_lite::{Regex, RegexBuilder};

use crate::json::Json;
use crate::schema::Type;

pub(crate) type Compiled<T> = Result<T, String>;

/// One type, or a list of them.
pub(crate) fn types(said: &Json) -> Compiled<Vec<Type>> {
    let one = |said: &Json| {
        Ok(match text(said)? {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "integer" => Type::Integer,
            "number" => Type::Number,
            "string" => Type::Text,
            "array" => Type::List,
            "object" => Type::Map,
            _ => return Err("is no type: null, boolean, integer, number, string, array and object are".into()),
        })
    };
    match said {
        Json::List(types) => types.iter().map(one).collect(),
        said => Ok(vec![one(said)?]),
    }
}

/// Linear in the text's length; its own size is bounded.
pub(crate) fn regex(pattern: &str) -> Compiled<Regex> {
    const SIZE_BYTES_MAX: usize = 256 << 10;
    const NEST_MAX: u32 = 32;
    let built = RegexBuilder::new(pattern).size_limit(SIZE_BYTES_MAX).nest_limit(NEST_MAX).build();
    built.map_err(|error| format!("no regular expression that can be used here: {error}"))
}

/// A text.
pub(crate) fn text(said: &Json) -> Compiled<&str> {
    match said {
        Json::Text(text) => Ok(text),
        _ => Err("write a text".into()),
    }
}

/// A list of texts.
pub(crate) fn texts(said: &Json) -> Compiled<Vec<String>> {
    list(said)?.iter().map(|one| text(one).map(str::to_owned)).collect()
}

/// A list.
pub(crate) fn list(said: &Json) -> Compiled<&[Json]> {
    match said {
        Json::List(items) => Ok(items),
        _ => Err("write a list".into()),
    }
}

/// A mapping.
pub(crate) fn map(said: &Json) -> Compiled<&[(String, Json)]> {
    match said {
        Json::Map(members) => Ok(members),
        _ => Err("write a mapping".into()),
    }
}

/// A whole number that is not negative.
pub(crate) fn count(said: &Json) -> Compiled<usize> {
    match said {
        Json::Integer(count) => usize::try_from(*count).map_err(|_| "write a whole number from 0 on".into()),
        Json::Float(count) if *count >= 0.0 && *count < 1e9 && count.fract() == 0.0 => Ok(*count as usize),
        _ => Err("write a whole number from 0 on".into()),
    }
}

/// A name as a step of a JSON pointer.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A fragment of a URI without its percent signs.
pub(crate) fn unescaped(fragment: &str) -> Compiled<String> {
    let mut bytes = Vec::with_capacity(fragment.len());
    let mut rest = fragment;
    while let Some((before, behind)) = rest.split_once('%') {
        bytes.extend_from_slice(before.as_bytes());
        let code = behind.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(code.ok_or("a % without two digits")?);
        rest = &behind[2..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "is no text".into())
}
