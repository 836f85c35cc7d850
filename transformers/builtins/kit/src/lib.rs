//! What penstock's built-in transformers have in common. They all read change events that the host decoded (`encoding: event`), so
//! one module does for every source format.
//!
//! A value stays the very bytes it came in until somebody looks at it ([`Value::Span`]): a built-in that changes one column of
//! fifty neither decodes nor encodes the other forty-nine.

mod change;
pub mod number;
mod pattern;
mod text;
mod value;
mod visit;

pub use change::{Change, Row};
pub use pattern::{Path, Pattern, Tables, ways};
pub use text::{UNAVAILABLE, hex, json_of, looks_like_json, of_json, text_of, write_json, write_object};
pub use value::Value;
pub use visit::{Way, visit};
