//! The shapes that a transformer function may have.

use crate::change::ChangeEvent;
use crate::event::Event;
use crate::frame::Encoding;
use crate::outcome::{Outcome, Rejection};

/// A function that [`transformer!`](crate::transformer!) exports. There are five shapes; `Form` tells them apart and is never named:
///
/// | function | sees |
/// |---|---|
/// | `fn(&mut ChangeEvent<'a>, &'a Config) -> Result<'a>` | change events, in either encoding |
/// | `fn(&mut ChangeEvent<'a>, &'a Config) -> Outcome<'a>` | the same, without `?` |
/// | `fn(&Event<'a>, &'a Config) -> Result<'a>` | every record's own bytes, tombstones too |
/// | `fn(&Event<'a>, &'a Config) -> Outcome<'a>` | the same, without `?` |
/// | `fn(&Batch<'a>, &'a Config) -> Vec<Outcome<'a>>` | a whole batch in either encoding, tombstones too; answers each event, in order |
pub trait Transformer<Config, Form> {
    /// Whether it can be used with `encoding: event`.
    #[doc(hidden)]
    const READS_DECODED: bool;

    /// What becomes of one event.
    #[doc(hidden)]
    fn outcome<'a>(&self, event: Event<'a>, encoding: Encoding, config: &'a Config) -> Outcome<'a>;

    /// Whether it takes a batch at once.
    #[doc(hidden)]
    const READS_BATCHES: bool = false;

    /// What becomes of a whole batch.
    #[doc(hidden)]
    fn outcomes<'a>(&self, batch: &Batch<'a>, config: &'a Config) -> Vec<Outcome<'a>> {
        batch.events.iter().map(|event| self.outcome(*event, batch.encoding, config)).collect()
    }
}

/// The events of one crossing, for transformers that ask the host something for all of them at once, or that see tombstones beside
/// change events. When it panics, the host takes the batch apart and finds the event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch<'a> {
    /// In the order they came.
    pub events: Vec<Event<'a>>,
    /// How their values are written.
    pub encoding: Encoding,
}

impl<'a> Batch<'a> {
    /// The change event in a record of this batch; `None` for a tombstone.
    pub fn change(&self, event: &Event<'a>) -> Result<Option<ChangeEvent<'a>>, Rejection> {
        change(*event, self.encoding)
    }
}

#[doc(hidden)]
pub struct OfRecord;
#[doc(hidden)]
pub struct OfRecordOrRejection;
#[doc(hidden)]
pub struct OfChange;
#[doc(hidden)]
pub struct OfChangeOrRejection;
#[doc(hidden)]
pub struct OfBatch;

impl<C, F> Transformer<C, OfRecord> for F
where
    F: for<'a, 'e> Fn(&'e Event<'a>, &'a C) -> Outcome<'a>,
{
    const READS_DECODED: bool = false;

    #[inline(always)]
    fn outcome<'a>(&self, event: Event<'a>, _: Encoding, config: &'a C) -> Outcome<'a> {
        self(&event, config)
    }
}

impl<C, F> Transformer<C, OfRecordOrRejection> for F
where
    F: for<'a, 'e> Fn(&'e Event<'a>, &'a C) -> Result<Outcome<'a>, Rejection>,
{
    const READS_DECODED: bool = false;

    #[inline(always)]
    fn outcome<'a>(&self, event: Event<'a>, _: Encoding, config: &'a C) -> Outcome<'a> {
        self(&event, config).unwrap_or_else(Outcome::from)
    }
}

impl<C, F> Transformer<C, OfChange> for F
where
    F: for<'a, 'e> Fn(&'e mut ChangeEvent<'a>, &'a C) -> Outcome<'a>,
{
    const READS_DECODED: bool = true;

    fn outcome<'a>(&self, event: Event<'a>, encoding: Encoding, config: &'a C) -> Outcome<'a> {
        match change(event, encoding) {
            Ok(Some(mut change)) => self(&mut change, config),
            Ok(None) => Outcome::Unchanged,
            Err(rejection) => rejection.into(),
        }
    }
}

impl<C, F> Transformer<C, OfChangeOrRejection> for F
where
    F: for<'a, 'e> Fn(&'e mut ChangeEvent<'a>, &'a C) -> Result<Outcome<'a>, Rejection>,
{
    const READS_DECODED: bool = true;

    fn outcome<'a>(&self, event: Event<'a>, encoding: Encoding, config: &'a C) -> Outcome<'a> {
        match change(event, encoding) {
            Ok(Some(mut change)) => self(&mut change, config).unwrap_or_else(Outcome::from),
            Ok(None) => Outcome::Unchanged,
            Err(rejection) => rejection.into(),
        }
    }
}

impl<C, F> Transformer<C, OfBatch> for F
where
    F: for<'a, 'e> Fn(&'e Batch<'a>, &'a C) -> Vec<Outcome<'a>>,
{
    const READS_DECODED: bool = true;
    const READS_BATCHES: bool = true;

    fn outcome<'a>(&self, event: Event<'a>, encoding: Encoding, config: &'a C) -> Outcome<'a> {
        self(&Batch { events: vec![event], encoding }, config).pop().expect("an answer for each event")
    }

    fn outcomes<'a>(&self, batch: &Batch<'a>, config: &'a C) -> Vec<Outcome<'a>> {
        self(batch, config)
    }
}

/// `None` for a tombstone.
fn change(event: Event<'_>, encoding: Encoding) -> Result<Option<ChangeEvent<'_>>, Rejection> {
    match encoding {
        Encoding::Raw => ChangeEvent::of(event),
        Encoding::Event => ChangeEvent::of_decoded(event),
    }
}
