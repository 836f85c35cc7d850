//! A store of keys and values that outlives the guest. Capability `key-value`.

use super::Error;
use super::call::ask;
use super::pack::{self, Bytes, Request};

/// The value; `None` when there is no such key.
pub fn get(key: &str) -> Result<Option<Vec<u8>>, Error> {
    let answer = ask!("kv_get", pack::text(key))?;
    pack::answer::<Option<Bytes>>(&answer).map(|value| value.map(|bytes| bytes.0))
}

/// Sets a value.
pub fn put(key: &str, value: &[u8]) -> Result<(), Error> {
    let request = Request::array(2).text(key).bytes(Some(value));
    pack::nothing(&ask!("kv_put", request.0)?)
}

/// Removes a key, if it is there.
pub fn delete(key: &str) -> Result<(), Error> {
    pack::nothing(&ask!("kv_delete", pack::text(key))?)
}
