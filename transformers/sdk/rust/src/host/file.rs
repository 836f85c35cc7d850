//! Files below the folders that the operator lists. Capabilities `filesystem-read` and `filesystem-write`.

use super::Error;
use super::call::ask;
use super::pack::{self, Bytes, Request};

/// A file's content.
pub fn read(path: &str) -> Result<Vec<u8>, Error> {
    pack::answer::<Bytes>(&ask!("file_read", pack::text(path))?).map(|bytes| bytes.0)
}

/// Replaces a file's content.
pub fn write(path: &str, content: &[u8]) -> Result<(), Error> {
    let request = Request::array(2).text(path).bytes(Some(content));
    pack::nothing(&ask!("file_write", request.0)?)
}
