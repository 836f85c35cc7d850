//! Reads checked JSON with serde, without a document in between.

use std::borrow::Cow;
use std::vec;

use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess, VariantAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Kind, Raw, elements, members_at};
use crate::config::Error;

impl Raw<'_> {
    /// True for what Debezium writes in place of a large value that the change did not touch.
    pub fn is_unavailable(self) -> bool {
        self.inside() == Some("__debezium_unavailable_value")
    }
}

impl From<super::Error> for Error {
    fn from(error: super::Error) -> Self {
        Error::new(error.to_string())
    }
}

impl<'de> Deserializer<'de> for Raw<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind() {
            Kind::Null => visitor.visit_unit(),
            Kind::Boolean => visitor.visit_bool(self.text() == "true"),
            Kind::Number => number(self.text(), visitor),
            Kind::String => text(self, visitor),
            Kind::Array => visitor.visit_seq(Elements::of(self)?),
            Kind::Object => visitor.visit_map(Members::of(self)?),
        }
    }

    /// A number read as text keeps its digits: the way to decimals.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind() {
            Kind::Number => visitor.visit_borrowed_str(self.text()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// What the source did not send is nothing, like null.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.kind() {
            Kind::Null => visitor.visit_none(),
            _ if self.is_unavailable() => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_enum(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf unit unit_struct
        seq tuple tuple_struct map struct identifier ignored_any
    }
}

fn number<'de, V: Visitor<'de>>(text: &str, visitor: V) -> Result<V::Value, Error> {
    if let Ok(number) = text.parse::<u64>() {
        return visitor.visit_u64(number);
    }
    if let Ok(number) = text.parse::<i64>() {
        return visitor.visit_i64(number);
    }
    match text.parse::<f64>() {
        Ok(number) => visitor.visit_f64(number),
        Err(_) => Err(Error::new("not a number".into())),
    }
}

fn text<'de, V: Visitor<'de>>(string: Raw<'de>, visitor: V) -> Result<V::Value, Error> {
    match string.string()? {
        Some(Cow::Borrowed(text)) => visitor.visit_borrowed_str(text),
        Some(Cow::Owned(text)) => visitor.visit_string(text),
        None => visitor.visit_unit(),
    }
}

struct Elements<'de> {
    rest: vec::IntoIter<Raw<'de>>,
    index: usize,
}

impl<'de> Elements<'de> {
    fn of(array: Raw<'de>) -> Result<Self, Error> {
        let mut found = Vec::new();
        elements(array.text(), &mut |element| found.push(element))?;
        Ok(Elements { rest: found.into_iter(), index: 0 })
    }
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(element) = self.rest.next() else { return Ok(None) };
        let at = self.index;
        self.index += 1;
        seed.deserialize(element).map(Some).map_err(|error| error.inside(&format!("[{at}]")))
    }
}

type Member<'de> = (Cow<'de, str>, Raw<'de>);

struct Members<'de> {
    rest: vec::IntoIter<Member<'de>>,
    at_work: Option<Member<'de>>,
}

impl<'de> Members<'de> {
    fn of(object: Raw<'de>) -> Result<Self, Error> {
        let mut found = Vec::new();
        members_at(object.text(), |name, _, value| found.push((name, value)))?;
        Ok(Members { rest: found.into_iter(), at_work: None })
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.at_work = self.rest.next();
        let Some((name, _)) = &self.at_work else { return Ok(None) };
        seed.deserialize(serde::de::value::StrDeserializer::new(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (name, value) = self.at_work.take().expect("a key comes before its value");
        seed.deserialize(value).map_err(|error| error.inside(&name))
    }
}

/// A text names a variant without data.
impl<'de> EnumAccess<'de> for Raw<'de> {
    type Error = Error;
    type Variant = NoData;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, NoData), Error> {
        let name = self.inside().filter(|name| !name.contains('\\'));
        let name = name.ok_or_else(|| Error::new("a name was expected".into()))?;
        Ok((seed.deserialize(BorrowedStrDeserializer::<Error>::new(name))?, NoData))
    }
}

/// Nothing stands behind a variant's name.
pub struct NoData;

impl<'de> VariantAccess<'de> for NoData {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, Error> {
        Err(no_data())
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Error> {
        Err(no_data())
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, Error> {
        Err(no_data())
    }
}

fn no_data() -> Error {
    Error::new("a column's text has no data behind it".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Row<'a> {
        id: i64,
        name: Cow<'a, str>,
        amount: String,
        rate: f64,
        status: Status,
        tags: Vec<Option<String>>,
        note: Option<String>,
        #[serde(default)]
        more: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Status {
        Paid,
    }

    fn read(text: &str) -> Result<Row<'_>, String> {
        Row::deserialize(Raw::parse(text).unwrap()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_row_is_read_into_a_struct() {
        let text = r#"{"id":-7,"name":"\u00e9","amount":19.90,"rate":1e-2,"status":"paid","tags":["a",null],"x":{},
            "note":"__debezium_unavailable_value"}"#;
        let row = read(text).unwrap();
        assert_eq!((row.id, &*row.name, &*row.amount, row.rate), (-7, "é", "19.90", 0.01));
        assert_eq!((row.status, row.tags, row.note, row.more), (Status::Paid, vec![Some("a".into()), None], None, 0));
    }

    #[test]
    fn errors_name_the_place() {
        let text = r#"{"id":1,"name":"","amount":"1","rate":1,"status":"paid","tags":["a",[7]]}"#;
        assert!(read(text).unwrap_err().starts_with("tags[1]: a list found where"));
        assert!(read(r#"{"id":1.5}"#).unwrap_err().starts_with("id: a floating-point number found"));
        assert!(read(r#"{"id":1,"status":"gone"}"#).unwrap_err().starts_with("status: unknown variant `gone`"));
    }
}
