//! Rows of the tables that the operator lists. Capabilities `database-read` (look-ups) and `database-write` (statements).

use serde::de::DeserializeOwned;

use super::Error;
use super::call::ask;
use super::pack::{self, Request, Scalar};

/// The row of `table` with this key, decoded with serde; `None` when there is none.
pub fn lookup<T: DeserializeOwned>(table: &str, key: Scalar) -> Result<Option<T>, Error> {
    pack::answer(&ask!("lookup", Request::array(2).text(table).scalar(key).0)?)
}

/// One row, or `None`, for each key, in order: one question for all of them.
pub fn lookup_many<T: DeserializeOwned>(table: &str, keys: &[Scalar]) -> Result<Vec<Option<T>>, Error> {
    pack::answer(&ask!("lookup_many", Request::array(2).text(table).scalars(keys).0)?)
}

/// Runs a statement; how many rows it changed.
pub fn execute(statement: &str, parameters: &[Scalar]) -> Result<u64, Error> {
    pack::answer(&ask!("db_execute", Request::array(2).text(statement).scalars(parameters).0)?)
}
