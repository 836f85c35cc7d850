//! Debezium's JSON as change events of guest ABI v1 and back: what `schemas/formats/debezium.py` and `schemas/formats/splice.py` do,
//! byte for byte, for what nearly all records are. Those two are the reference. `None` everywhere means "not usual": a fault, or a
//! form that is not looked at here; the host does it by the reference, and says what is wrong if something is.

#[allow(dead_code)] // the SDK uses more of it
#[path = "../../../../../sdk/rust/src/json/block.rs"]
mod block;
mod bytes;
mod envelope;
mod number;
mod packed;
mod scan;
mod splice;
mod text;
mod write;

pub use envelope::{Decoder, Layout};
pub use splice::{Pieces, respell};

/// Objects and arrays within each other. The reference takes 128; recursion here has a small stack.
const DEPTH_MAX: u32 = 32;
/// Members of one object: names are compared with each other.
const MEMBERS_MAX: usize = 1024;
/// What stands for a large value that did not change and was not sent.
const PLACEHOLDER: &[u8] = b"__debezium_unavailable_value";
const PLACEHOLDER_BASE64: &[u8] = b"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==";
/// The same in msgpack: extension type 1, empty.
const UNAVAILABLE: [u8; 3] = [0xc7, 0, 1];
