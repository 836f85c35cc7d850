//! The registry entry's `config`, checked and made into the trees that rows are matched against.

use serde::Deserialize;

use crate::mask::Masker;
use crate::paths::{self, Node};

/// What is done to a value.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// SHA-256 of salt and value, in hex: equal values stay equal.
    Hash,
    /// `"***"`
    Redact,
    /// All but the last four characters become `*`.
    #[serde(rename = "keep-last-4")]
    KeepLast4,
}

/// What the operator chose.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Written")]
pub struct Config {
    pub(crate) before: Vec<Node>,
    pub(crate) after: Vec<Node>,
    /// For values that are no change events: from the root, with `before` and `after` as plain members, so that a damaged
    /// envelope hides nothing.
    pub(crate) flat: Vec<Node>,
    pub(crate) masker: Masker,
}

/// The config as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    fields: Vec<Field>,
    #[serde(default)]
    salt: String,
}

/// One path and what to do there.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Field {
    path: String,
    action: Action,
}

impl TryFrom<Written> for Config {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        if written.fields.is_empty() {
            return Err("fields is empty: name at least one path to mask".into());
        }
        if written.salt.is_empty() && written.fields.iter().any(|field| field.action == Action::Hash) {
            return Err("hash needs a salt: without one, hashed values can be looked up in a table".into());
        }
        let mut config =
            Config { before: Vec::new(), after: Vec::new(), flat: Vec::new(), masker: Masker::new(written.salt) };
        for field in &written.fields {
            config.add(field)?;
        }
        Ok(config)
    }
}

impl Config {
    fn add(&mut self, field: &Field) -> Result<(), String> {
        let Field { path, action } = field;
        if path == "before" || path == "after" {
            return Err(format!("path {path:?} is a whole row: name columns in it"));
        }
        if let Some(column) = path.strip_prefix("before.") {
            paths::add(&mut self.before, path, column, *action)?;
        } else if let Some(column) = path.strip_prefix("after.") {
            paths::add(&mut self.after, path, column, *action)?;
        } else {
            for (tree, side) in [(&mut self.before, "before"), (&mut self.after, "after")] {
                paths::add(tree, path, path, *action)?;
                paths::add(&mut self.flat, path, &format!("{side}.{path}"), *action)?;
            }
        }
        paths::add(&mut self.flat, path, path, *action)
    }
}
