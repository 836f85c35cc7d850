//! Rows of the tables that the operator lists. Capabilities `database-read` (look-ups), `database-query` (statements that only
//! read), `database-write` (statements that change rows) and `database-transaction` (several that all happen or do not).

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

/// The rows that a statement answers with, each decoded with serde.
pub fn query<T: DeserializeOwned>(statement: &str, parameters: &[Scalar]) -> Result<Vec<T>, Error> {
    pack::answer(&ask!("db_query", Request::array(2).text(statement).scalars(parameters).0)?)
}

/// Runs a statement; how many rows it changed.
pub fn execute(statement: &str, parameters: &[Scalar]) -> Result<u64, Error> {
    pack::answer(&ask!("db_execute", Request::array(2).text(statement).scalars(parameters).0)?)
}

/// Runs all of these statements, or none; how many rows each changed.
pub fn transaction(statements: &[(&str, &[Scalar])]) -> Result<Vec<u64>, Error> {
    let request = statements.iter().fold(Request::array(statements.len()), |request, (statement, parameters)| {
        request.pair().text(statement).scalars(parameters)
    });
    pack::answer(&ask!("db_transaction", request.0)?)
}
