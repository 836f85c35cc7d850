//! A schema as it is written, compiled.
//!
//! A keyword that would not be checked is refused here, never passed over; nothing outside of the document is ever looked for.

use std::collections::BTreeMap;

use crate::format::Format;
use crate::json::Json;
use crate::number::Amount;
use crate::said::{Compiled, count, escaped, list, map, regex, text, texts, types, unescaped};
use crate::schema::{Bound, CHAIN_MAX, Check, Id, Schema, Schemas};

/// Schemas within a document, subschemas counted.
const SCHEMAS_MAX: usize = 10_000;
const DEPTH_MAX: usize = 64;
/// Keywords that say nothing about what is valid, and those that others take along.
const SILENT: [&str; 16] = [
    "$schema",
    "$comment",
    "$anchor",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "prefixItems",
    "patternProperties",
    "additionalProperties",
];

impl Schemas {
    /// Compiles a document. The error names the place and the keyword.
    pub fn compile(document: &Json) -> Result<Self, String> {
        let mut compiler = Compiler { document, schemas: Vec::new(), known: BTreeMap::new(), depth: 0 };
        compiler.schema("")?;
        let schemas = Schemas(compiler.schemas);
        match schemas.circle() {
            None => Ok(schemas),
            Some(id) => {
                let place = compiler.known.iter().find(|(_, known)| **known == id).map_or("", |(place, _)| place);
                Err(format!("#{place}: refers to itself, or through {CHAIN_MAX} schemas, without going into the value"))
            }
        }
    }
}

struct Compiler<'d> {
    document: &'d Json,
    schemas: Vec<Schema>,
    /// By JSON pointer, so that references in a circle end.
    known: BTreeMap<String, Id>,
    depth: usize,
}

impl<'d> Compiler<'d> {
    /// The schema at a pointer.
    fn schema(&mut self, place: &str) -> Compiled<Id> {
        if let Some(id) = self.known.get(place) {
            return Ok(*id);
        }
        if self.depth == DEPTH_MAX || self.schemas.len() == SCHEMAS_MAX {
            return Err(format!("#{place}: more than {DEPTH_MAX} schemas within each other, or {SCHEMAS_MAX} in all"));
        }
        let document = self.document;
        let Some(written) = document.at(place) else {
            return Err(format!("#{place}: there is nothing there to refer to"));
        };
        let id = self.schemas.len();
        self.schemas.push(Schema::default());
        self.known.insert(place.to_owned(), id);
        self.depth += 1;
        let schema = match written {
            Json::Boolean(true) => Schema::default(),
            Json::Boolean(false) => Schema { checks: vec![Check::Never], decimal: false },
            Json::Map(members) => self.keywords(place, written, members)?,
            _ => return Err(format!("#{place}: a schema is a mapping, true or false")),
        };
        self.depth -= 1;
        self.schemas[id] = schema;
        Ok(id)
    }

    fn keywords(&mut self, place: &str, written: &'d Json, members: &'d [(String, Json)]) -> Compiled<Schema> {
        let decimal = matches!(written.get("format"), Some(Json::Text(format)) if format == "decimal");
        let mut schema = Schema { checks: Vec::new(), decimal };
        for (keyword, said) in members {
            let found = self.check(place, written, keyword, said);
            schema.checks.extend(found.map_err(|problem| match problem.starts_with('#') {
                true => problem,
                false => format!("#{place}: {keyword}: {problem}"),
            })?);
        }
        let (is_list, is_map) = (has_any(written, &["prefixItems", "items"]), has_any(written, &PROPERTIES));
        if is_list {
            schema.checks.push(self.items(place, written)?);
        }
        if is_map {
            schema.checks.push(self.properties(place, written)?);
        }
        // What is cheap and telling comes first.
        schema.checks.sort_by_key(|check| !matches!(check, Check::Type(_) | Check::Required(_)));
        Ok(schema)
    }

    fn check(&mut self, place: &str, written: &'d Json, keyword: &str, said: &'d Json) -> Compiled<Option<Check>> {
        Ok(Some(match keyword {
            "type" => Check::Type(types(said)?),
            "enum" => Check::Enum(list(said)?.to_vec()),
            "const" => Check::Const(said.clone()),
            "minimum" => Check::Bound(Bound::Minimum, Amount::of(said)?),
            "maximum" => Check::Bound(Bound::Maximum, Amount::of(said)?),
            "exclusiveMinimum" => Check::Bound(Bound::ExclusiveMinimum, Amount::of(said)?),
            "exclusiveMaximum" => Check::Bound(Bound::ExclusiveMaximum, Amount::of(said)?),
            "multipleOf" => Check::MultipleOf(Amount::of_step(said)?),
            "minLength" => Check::MinLength(count(said)?),
            "maxLength" => Check::MaxLength(count(said)?),
            "pattern" => Check::Pattern(regex(text(said)?)?),
            "format" => Check::Format(Format::named(text(said)?)?),
            "propertyNames" => Check::PropertyNames(self.below(place, keyword)?),
            "required" => Check::Required(texts(said)?),
            "minProperties" => Check::MinProperties(count(said)?),
            "maxProperties" => Check::MaxProperties(count(said)?),
            "dependentRequired" => {
                let each = |(name, names): &(String, Json)| Ok((name.clone(), texts(names)?));
                Check::DependentRequired(map(said)?.iter().map(each).collect::<Compiled<_>>()?)
            }
            "dependentSchemas" => {
                let mut schemas = Vec::new();
                for (name, _) in map(said)? {
                    schemas.push((name.clone(), self.below(place, &format!("{keyword}/{}", escaped(name)))?));
                }
                Check::DependentSchemas(schemas)
            }
            "contains" => {
                let bound = |name| written.get(name).map(count).transpose();
                let (least, most) = (bound("minContains")?.unwrap_or(1), bound("maxContains")?.unwrap_or(usize::MAX));
                Check::Contains { of: self.below(place, keyword)?, least, most }
            }
            "minItems" => Check::MinItems(count(said)?),
            "maxItems" => Check::MaxItems(count(said)?),
            "uniqueItems" => match said {
                Json::Boolean(is_unique) => return Ok(is_unique.then_some(Check::UniqueItems)),
                _ => return Err("write true or false".into()),
            },
            "allOf" => Check::AllOf(self.each(place, keyword, said)?),
            "anyOf" => Check::AnyOf(self.each(place, keyword, said)?),
            "oneOf" => Check::OneOf(self.each(place, keyword, said)?),
            "not" => Check::Not(self.below(place, keyword)?),
            "if" => {
                let mut branch = |name| written.get(name).map(|_| self.below(place, name)).transpose();
                let (then, otherwise) = (branch("then")?, branch("else")?);
                Check::If { condition: self.below(place, keyword)?, then, otherwise }
            }
            "$ref" => Check::Ref(self.reference(text(said)?)?),
            "$defs" | "definitions" => {
                for (name, _) in map(said)? {
                    self.below(place, &format!("{keyword}/{}", escaped(name)))?;
                }
                return Ok(None);
            }
            "$id" if place.is_empty() => return Ok(None),
            "$id" => return Err("names a document within the document: references lead to #/… only".into()),
            "properties" | "items" => return Ok(None), // with their neighbours
            "then" | "else" => return beside(written, "if"),
            "minContains" | "maxContains" => return beside(written, "contains"),
            _ if SILENT.contains(&keyword) => return Ok(None),
            "unevaluatedProperties"
            | "unevaluatedItems"
            | "$dynamicRef"
            | "$dynamicAnchor"
            | "$vocabulary"
            | "$recursiveRef" => {
                return Err("is a keyword of JSON Schema that is not checked here".into());
            }
            "dependencies" | "additionalItems" => {
                return Err("was a keyword of older drafts: write it as JSON Schema 2020-12 has it".into());
            }
            _ => {
                return Err("is no keyword of JSON Schema 2020-12; put what is meant for people into `$comment`".into());
            }
        }))
    }

    fn below(&mut self, place: &str, step: &str) -> Compiled<Id> {
        self.schema(&format!("{place}/{step}"))
    }

    fn each(&mut self, place: &str, keyword: &str, said: &Json) -> Compiled<Vec<Id>> {
        let count = list(said)?.len();
        (0..count).map(|at| self.below(place, &format!("{keyword}/{at}"))).collect()
    }

    fn items(&mut self, place: &str, written: &Json) -> Compiled<Check> {
        let first = written.get("prefixItems").map(|said| self.each(place, "prefixItems", said)).transpose()?;
        let others = match written.get("items") {
            Some(Json::List(_)) => {
                return Err(format!("#{place}: items: is a list: JSON Schema 2020-12 says prefixItems for that"));
            }
            Some(_) => Some(self.below(place, "items")?),
            None => None,
        };
        Ok(Check::Items { first: first.unwrap_or_default(), others })
    }

    fn properties(&mut self, place: &str, written: &Json) -> Compiled<Check> {
        let wrong = |keyword: &'static str| move |problem| format!("#{place}: {keyword}: {problem}");
        let mut named = BTreeMap::new();
        if let Some(said) = written.get("properties") {
            for (name, _) in map(said).map_err(wrong("properties"))? {
                named.insert(name.clone(), self.below(place, &format!("properties/{}", escaped(name)))?);
            }
        }
        let mut patterns = Vec::new();
        if let Some(said) = written.get("patternProperties") {
            for (pattern, _) in map(said).map_err(wrong("patternProperties"))? {
                let id = self.below(place, &format!("patternProperties/{}", escaped(pattern)))?;
                patterns.push((regex(pattern).map_err(wrong("patternProperties"))?, id));
            }
        }
        let others =
            written.get("additionalProperties").map(|_| self.below(place, "additionalProperties")).transpose()?;
        Ok(Check::Properties { named, patterns, others })
    }

    /// Within the document only: nothing is ever fetched.
    fn reference(&mut self, to: &str) -> Compiled<Id> {
        let Some(fragment) = to.strip_prefix('#') else {
            return Err(format!("{to:?} is in another document: write it into `$defs` and refer to #/$defs/…"));
        };
        if fragment.is_empty() || fragment.starts_with('/') {
            let place = unescaped(fragment)?;
            return self.schema(&place);
        }
        let mut found = Vec::new();
        anchored(self.document, fragment, String::new(), &mut found, 0);
        match &found[..] {
            [place] => self.schema(place),
            [] => Err(format!("there is no `$anchor: {fragment}`")),
            _ => Err(format!("`$anchor: {fragment}` is there more than once")),
        }
    }
}

const PROPERTIES: [&str; 3] = ["properties", "patternProperties", "additionalProperties"];

fn has_any(written: &Json, names: &[&str]) -> bool {
    names.iter().any(|name| written.get(name).is_some())
}

/// A keyword that another one takes along; without that it would say nothing.
fn beside(written: &Json, other: &str) -> Compiled<Option<Check>> {
    if written.get(other).is_some() { Ok(None) } else { Err(format!("there is no `{other}` beside it")) }
}

fn anchored(value: &Json, anchor: &str, place: String, found: &mut Vec<String>, depth: usize) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Json::Map(members) => {
            if value.get("$anchor") == Some(&Json::Text(anchor.to_owned())) {
                found.push(place.clone());
            }
            for (name, inside) in members {
                anchored(inside, anchor, format!("{place}/{}", escaped(name)), found, depth + 1);
            }
        }
        Json::List(items) => {
            for (at, inside) in items.iter().enumerate() {
                anchored(inside, anchor, format!("{place}/{at}"), found, depth + 1);
            }
        }
        _ => (),
    }
}
