//! One record as the guest sees it: its own bytes, borrowed from the batch frame.

use crate::frame::{BadFrame, Reader};

/// One record of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Topic of the source record.
    pub topic: &'a str,
    /// Partition of the source record.
    pub partition: i64,
    /// Offset of the source record.
    pub offset: i64,
    /// Milliseconds since the epoch, as the source record has it.
    pub timestamp_ms: i64,
    /// The record's key; `None` when it has none.
    pub key: Option<&'a [u8]>,
    /// The record's value; `None` is a tombstone. Under `encoding: event` it is the change event's msgpack map:
    /// take a [`ChangeEvent`](crate::ChangeEvent) in place of an `Event` there.
    pub value: Option<&'a [u8]>,
    /// The record's headers, in order; names may repeat.
    pub headers: Headers<'a>,
}

impl<'a> Event<'a> {
    /// An event with this value and nothing else, as tests want it.
    pub fn of_value(value: &'a [u8]) -> Self {
        Event {
            topic: "",
            partition: 0,
            offset: 0,
            timestamp_ms: 0,
            key: None,
            value: Some(value),
            headers: Headers::EMPTY,
        }
    }
}

/// Headers still in their frame, decoded while they are walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers<'a> {
    count: u32,
    reader: Reader<'a>,
}

impl<'a> Headers<'a> {
    /// No headers at all.
    pub const EMPTY: Headers<'static> = Headers { count: 0, reader: Reader::new(&[]) };

    /// Takes the headers off `reader` without looking into them.
    pub(crate) fn take(reader: &mut Reader<'a>) -> Result<Self, BadFrame> {
        let count = reader.array()?;
        let start = *reader;
        for _ in 0..count {
            reader.skip()?;
        }
        Ok(Headers { count, reader: start })
    }

    /// How many headers there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// True when there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The value of the last header of this name, which is the one that counts in Kafka.
    pub fn value_of(&self, name: &str) -> Option<Option<&'a [u8]>> {
        (*self).filter(|(found, _)| *found == name).last().map(|(_, value)| value)
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a str, Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        let pair = self.reader.header().expect("the host wrote a header that is no [str, bin | nil] pair");
        Some(pair)
    }
}
