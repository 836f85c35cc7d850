//! A record under `encoding: event`, for transformers that look at everything themselves.

use crate::event::Event;
use crate::exports::fail;
use crate::frame::Encoding;
use crate::outcome::{Outcome, Rejection};
use crate::transformer::Transformer;

/// A record whose value, where it has one, is a change event's msgpack map; tombstones are among them.
///
/// A transformer that takes it works with `encoding: event` only. Its answers are such maps too, or
/// [`plain`](crate::plain) bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decoded<'a>(pub Event<'a>);

#[doc(hidden)]
pub struct OfDecoded;

impl<C, F> Transformer<C, OfDecoded> for F
where
    F: for<'a, 'e> Fn(&'e Decoded<'a>, &'a C) -> Result<Outcome<'a>, Rejection>,
{
    const READS_DECODED: bool = true;

    fn outcome<'a>(&self, event: Event<'a>, encoding: Encoding, config: &'a C) -> Outcome<'a> {
        if encoding == Encoding::Raw {
            fail("encoding", "this guest reads change events: leave `encoding` out of its registry entry");
        }
        self(&Decoded(event), config).unwrap_or_else(Outcome::from)
    }
}

/// Bytes that are no change event any more, as a value under `encoding: event`: the record's value is exactly these.
pub fn plain(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(5 + bytes.len());
    crate::outcome::write_bytes(&mut out, Some(bytes));
    out
}
