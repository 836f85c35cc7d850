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
    /// For values that are no change events: only paths without a prefix.
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
        if let Some(column) = path.strip_prefix("before.") {
            return paths::add(&mut self.before, path, column, *action);
        }
        if let Some(column) = path.strip_prefix("after.") {
            return paths::add(&mut self.after, path, column, *action);
        }
        for tree in [&mut self.before, &mut self.after, &mut self.flat] {
            paths::add(tree, path, path, *action)?;
        }
        Ok(())
    }
}
