//! Masks personal data in change events, in place: hashed, redacted or cut to its last four characters.
//!
//! A path without a prefix (`email`) names a column and applies to `before`, to `after` and to flattened rows; with a prefix
//! (`after.email`) it applies there only. See `docs/guests.md` for the configuration and for what is never masked.

mod config;
mod mask;
mod paths;

use penstock_guest::debezium::{self, Envelope, Value};
use penstock_guest::json::{self, Edits, Kind, Raw};
use penstock_guest::{Event, Outcome};

pub use config::Config;
use mask::Masker;
use paths::Node;

penstock_guest::transformer!(transform, Config);

/// Masks one event.
pub fn transform<'a>(event: &Event<'a>, config: &'a Config) -> Outcome<'a> {
    let Some(value) = event.value else { return Outcome::Unchanged };
    match masked(value, config) {
        Ok(edits) if edits.is_empty() => Outcome::Unchanged,
        Ok(edits) => Outcome::Edit(edits),
        Err(Fault::Json(error)) => Outcome::reject("bad-json", format!("the value is no JSON object: {error}")),
        Err(Fault::TooDeep) => {
            Outcome::reject("too-deep", format!("a masked path crosses more than {ARRAYS_MAX} nested arrays"))
        }
    }
}

/// Why an event cannot be masked; it must not pass then.
enum Fault {
    Json(json::Error),
    TooDeep,
}

impl From<json::Error> for Fault {
    fn from(error: json::Error) -> Self {
        Fault::Json(error)
    }
}

/// Arrays in arrays a path may cross. Each level is one more level of recursion, and the event chooses how many there are.
const ARRAYS_MAX: u32 = 32;

fn masked<'a>(value: &'a [u8], config: &Config) -> Result<Edits<'a>, Fault> {
    let text = json::text(value)?;
    let mut walk = Walk { edits: Edits::new(text), masker: &config.masker };
    match debezium::parse(text)? {
        Value::Null => (),
        Value::Change(Envelope { before, after, .. }) => {
            for (row, nodes) in [(before, &config.before), (after, &config.after)] {
                if let Some(row) = row {
                    walk.value(nodes, row, 0)?;
                }
            }
        }
        Value::Other(row) => walk.value(&config.flat, row, 0)?,
    }
    Ok(walk.edits)
}

/// A descent along the configured paths.
struct Walk<'a, 'c> {
    edits: Edits<'a>,
    masker: &'c Masker,
}

impl<'a> Walk<'a, '_> {
    /// Follows `nodes` into an object, or into every element of an array.
    fn value(&mut self, nodes: &[Node], value: Raw<'a>, arrays: u32) -> Result<(), Fault> {
        match value.kind() {
            Kind::Object if !nodes.is_empty() => self.object(nodes, value, arrays),
            Kind::Array => self.each_element(value, arrays, |walk, element, arrays| walk.value(nodes, element, arrays)),
            _ => Ok(()),
        }
    }

    /// Every member that a path names, repeated names included: a parser downstream may take any of them.
    fn object(&mut self, nodes: &[Node], object: Raw<'a>, arrays: u32) -> Result<(), Fault> {
        let mut result = Ok(());
        json::members(object.text(), |name, value| {
            if let (Some(node), true) = (nodes.iter().find(|node| node.name == name), result.is_ok()) {
                result = self.member(node, value, arrays);
            }
        })?;
        result
    }

    fn member(&mut self, node: &Node, value: Raw<'a>, arrays: u32) -> Result<(), Fault> {
        match node.action {
            Some(action) => self.leaf(action, value, arrays),
            None => self.value(&node.children, value, arrays),
        }
    }

    /// Masks a value; of an array, each element.
    fn leaf(&mut self, action: config::Action, value: Raw<'a>, arrays: u32) -> Result<(), Fault> {
        if value.kind() == Kind::Array {
            return self.each_element(value, arrays, |walk, element, arrays| walk.leaf(action, element, arrays));
        }
        Ok(self.masker.mask(action, value, &mut self.edits)?)
    }

    fn each_element(
        &mut self,
        array: Raw<'a>,
        arrays: u32,
        mut each: impl FnMut(&mut Self, Raw<'a>, u32) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if arrays == ARRAYS_MAX {
            return Err(Fault::TooDeep);
        }
        let mut result = Ok(());
        json::elements(array.text(), &mut |element| {
            if result.is_ok() {
                result = each(self, element, arrays + 1);
            }
        })?;
        result
    }
}
