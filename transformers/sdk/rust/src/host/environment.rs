//! Variables that the operator lists. Capability `environment`.

use super::call::ask;
use super::{Error, pack};

/// The variable's value; `None` when it is not set.
pub fn get(name: &str) -> Result<Option<String>, Error> {
    pack::answer(&ask!("env_get", pack::text(name))?)
}
