//! Reads batch frames: msgpack in every width the format knows, without copying.

use crate::event::{Event, Headers};

/// The frame is not what guest ABI v1 says. The host wrote it, so no event is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame;

/// What holds for every event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta<'a> {
    pub topic: &'a str,
    pub partition: i64,
    /// `None` is one that this library does not know.
    pub encoding: Option<Encoding>,
}

/// The head of any value: a scalar in full, or how many items or entries follow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// A value with nothing inside.
    Scalar(Scalar<'a>),
    /// An array of so many items.
    Array(u32),
    /// A map of so many entries.
    Map(u32),
}

/// A value with nothing inside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar<'a> {
    /// `nil`
    Nil,
    /// `true` or `false`
    Boolean(bool),
    /// An integer in one of the unsigned forms.
    Unsigned(u64),
    /// Any other integer.
    Signed(i64),
    /// A float of either width.
    Float(f64),
    /// A text.
    Text(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// An extension's type; its bytes are of no use to anybody yet.
    Extension(i8),
}

/// How the batch's values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// The record's own bytes.
    Raw,
    /// A msgpack map that the host decoded from whatever the source wrote.
    Event,
}

/// A position in a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl Encoding {
    fn named(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Encoding::Raw),
            "event" => Some(Encoding::Event),
            _ => None,
        }
    }
}

impl<'a> Reader<'a> {
    /// At the start of these bytes.
    pub const fn new(frame: &'a [u8]) -> Self {
        Reader { rest: frame }
    }

    /// Whether nothing is left.
    pub fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    /// The batch's head: its meta and how many events follow.
    pub(crate) fn batch(&mut self) -> Result<(Meta<'a>, u32), BadFrame> {
        if self.array()? != 2 {
            return Err(BadFrame);
        }
        Ok((self.meta()?, self.array()?))
    }

    fn meta(&mut self) -> Result<Meta<'a>, BadFrame> {
        let mut meta = Meta { topic: "", partition: 0, encoding: Some(Encoding::Raw) };
        for _ in 0..self.map()? {
            match self.text()? {
                "topic" => meta.topic = self.text()?,
                "partition" => meta.partition = self.integer()?,
                "encoding" => meta.encoding = Encoding::named(self.text()?),
                _ => self.skip()?,
            }
        }
        Ok(meta)
    }

    /// The next event.
    pub(crate) fn event(&mut self, meta: &Meta<'a>) -> Result<Event<'a>, BadFrame> {
        if self.array()? != 5 {
            return Err(BadFrame);
        }
        Ok(Event {
            topic: meta.topic,
            partition: meta.partition,
            offset: self.integer()?,
            timestamp_ms: self.integer()?,
            key: self.bytes()?,
            value: if meta.encoding == Some(Encoding::Event) { self.whole()? } else { self.bytes()? },
            headers: Headers::take(self)?,
        })
    }

    /// The next value with its head, however deep it is nested; `None` for nil.
    fn whole(&mut self) -> Result<Option<&'a [u8]>, BadFrame> {
        let value = self.span()?;
        Ok(Some(value).filter(|value| *value != [0xc0]))
    }

    /// The next value with its head.
    pub fn span(&mut self) -> Result<&'a [u8], BadFrame> {
        let start = self.rest;
        self.skip()?;
        Ok(&start[..start.len() - self.rest.len()])
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// One `[name, value]` pair.
    pub fn header(&mut self) -> Result<(&'a str, Option<&'a [u8]>), BadFrame> {
        if self.array()? != 2 {
            return Err(BadFrame);
        }
        Ok((self.text()?, self.bytes()?))
    }

    /// The head of an array: how many items follow.
    pub fn array(&mut self) -> Result<u32, BadFrame> {
        match self.tag()? {
            tag @ 0x90..=0x9f => Ok(u32::from(tag & 0x0f)),
            0xdc => self.count(2),
            0xdd => self.count(4),
            _ => Err(BadFrame),
        }
    }

    /// The head of a map: how many entries follow.
    pub fn map(&mut self) -> Result<u32, BadFrame> {
        match self.tag()? {
            tag @ 0x80..=0x8f => Ok(u32::from(tag & 0x0f)),
            0xde => self.count(2),
            0xdf => self.count(4),
            _ => Err(BadFrame),
        }
    }

    /// An integer of 64 bits.
    pub fn integer(&mut self) -> Result<i64, BadFrame> {
        match self.tag()? {
            tag @ (0x00..=0x7f | 0xe0..=0xff) => Ok(i64::from(tag as i8)),
            tag @ 0xcc..=0xcf => i64::try_from(self.number(1 << (tag - 0xcc))?).map_err(|_| BadFrame),
            tag @ 0xd0..=0xd3 => {
                let width = 1 << (tag - 0xd0);
                let unused = 64 - 8 * width as u32;
                Ok((self.number(width)? << unused) as i64 >> unused)
            }
            _ => Err(BadFrame),
        }
    }

    /// A text.
    pub fn text(&mut self) -> Result<&'a str, BadFrame> {
        let size = match self.tag()? {
            tag @ 0xa0..=0xbf => u32::from(tag & 0x1f),
            tag @ 0xd9..=0xdb => self.count(1 << (tag - 0xd9))?,
            _ => return Err(BadFrame),
        };
        std::str::from_utf8(self.take(size as usize)?).map_err(|_| BadFrame)
    }

    fn bytes(&mut self) -> Result<Option<&'a [u8]>, BadFrame> {
        match self.tag()? {
            0xc0 => Ok(None),
            tag @ 0xc4..=0xc6 => {
                let size = self.count(1 << (tag - 0xc4))?;
                self.take(size as usize).map(Some)
            }
            _ => Err(BadFrame),
        }
    }

    /// The next value of whatever type.
    pub fn token(&mut self) -> Result<Token<'a>, BadFrame> {
        let tag = *self.rest.first().ok_or(BadFrame)?;
        Ok(match tag {
            0x80..=0x8f | 0xde..=0xdf => Token::Map(self.map()?),
            0x90..=0x9f | 0xdc..=0xdd => Token::Array(self.array()?),
            _ => Token::Scalar(self.scalar(tag)?),
        })
    }

    fn scalar(&mut self, tag: u8) -> Result<Scalar<'a>, BadFrame> {
        if matches!(tag, 0xc0 | 0xc2 | 0xc3 | 0xca | 0xcb | 0xcf) {
            self.tag()?;
        }
        Ok(match tag {
            0xc0 => Scalar::Nil,
            0xc2..=0xc3 => Scalar::Boolean(tag == 0xc3),
            0xca => Scalar::Float(f64::from(f32::from_bits(self.number(4)? as u32))),
            0xcb => Scalar::Float(f64::from_bits(self.number(8)?)),
            0xcf => Scalar::Unsigned(self.number(8)?),
            0xa0..=0xbf | 0xd9..=0xdb => Scalar::Text(self.text()?),
            0xc4..=0xc6 => Scalar::Bytes(self.bytes()?.ok_or(BadFrame)?),
            0xc7..=0xc9 | 0xd4..=0xd8 => Scalar::Extension(self.extension()?),
            _ => Scalar::Signed(self.integer()?),
        })
    }

    fn extension(&mut self) -> Result<i8, BadFrame> {
        let value = self.span()?;
        let kind_at = match value[0] {
            tag @ 0xc7..=0xc9 => 1 + (1 << (tag - 0xc7)),
            _ => 1,
        };
        Ok(value[kind_at] as i8)
    }

    /// Moves past one value, however deep it is nested.
    pub fn skip(&mut self) -> Result<(), BadFrame> {
        let mut pending = 1_u64;
        while pending > 0 {
            pending = pending - 1 + self.skip_head()?;
        }
        Ok(())
    }

    /// Moves past a value's own bytes; returns how many values inside it follow.
    fn skip_head(&mut self) -> Result<u64, BadFrame> {
        let (size, inside) = match self.tag()? {
            0x00..=0x7f | 0xc0..=0xc3 | 0xe0..=0xff => (0, 0),
            tag @ 0x80..=0x8f => (0, 2 * u64::from(tag & 0x0f)),
            tag @ 0x90..=0x9f => (0, u64::from(tag & 0x0f)),
            tag @ 0xa0..=0xbf => (u64::from(tag & 0x1f), 0),
            tag @ 0xc4..=0xc6 => (self.number(1 << (tag - 0xc4))?, 0),
            tag @ 0xc7..=0xc9 => (self.number(1 << (tag - 0xc7))? + 1, 0),
            tag @ 0xca..=0xcb => (4 << (tag - 0xca), 0),
            tag @ 0xcc..=0xcf => (1 << (tag - 0xcc), 0),
            tag @ 0xd0..=0xd3 => (1 << (tag - 0xd0), 0),
            tag @ 0xd4..=0xd8 => (1 + (1 << (tag - 0xd4)), 0),
            tag @ 0xd9..=0xdb => (self.number(1 << (tag - 0xd9))?, 0),
            tag @ 0xdc..=0xdd => (0, self.number(2 << (tag - 0xdc))?),
            tag @ 0xde..=0xdf => (0, 2 * self.number(2 << (tag - 0xde))?),
        };
        self.take(usize::try_from(size).map_err(|_| BadFrame)?)?;
        Ok(inside)
    }

    fn tag(&mut self) -> Result<u8, BadFrame> {
        let (&tag, rest) = self.rest.split_first().ok_or(BadFrame)?;
        self.rest = rest;
        Ok(tag)
    }

    fn take(&mut self, size: usize) -> Result<&'a [u8], BadFrame> {
        let (taken, rest) = self.rest.split_at_checked(size).ok_or(BadFrame)?;
        self.rest = rest;
        Ok(taken)
    }

    fn count(&mut self, width: usize) -> Result<u32, BadFrame> {
        self.number(width).map(|number| number as u32)
    }

    /// A big-endian number of `width` bytes: one, two, four or eight.
    #[inline(always)]
    fn number(&mut self, width: usize) -> Result<u64, BadFrame> {
        Ok(match width {
            1 => u64::from(self.tag()?),
            2 => u64::from(u16::from_be_bytes(self.array_of()?)),
            4 => u64::from(u32::from_be_bytes(self.array_of()?)),
            _ => u64::from_be_bytes(self.array_of()?),
        })
    }

    #[inline(always)]
    fn array_of<const WIDTH: usize>(&mut self) -> Result<[u8; WIDTH], BadFrame> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(BadFrame)?;
        self.rest = rest;
        Ok(*taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width() {
        let cases: &[(&[u8], i64)] = &[
            (&[0x7f], 127),
            (&[0xff], -1),
            (&[0xe0], -32),
            (&[0xcc, 0xff], 255),
            (&[0xcd, 1, 0], 256),
            (&[0xce, 0xff, 0xff, 0xff, 0xff], u32::MAX as i64),
            (&[0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], i64::MAX),
            (&[0xd0, 0x80], -128),
            (&[0xd1, 0x80, 0], -32768),
            (&[0xd2, 0x80, 0, 0, 0], i32::MIN as i64),
            (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN),
        ];
        for (bytes, number) in cases {
            assert_eq!(Reader::new(bytes).integer(), Ok(*number));
        }
        assert_eq!(Reader::new(&[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]).integer(), Err(BadFrame));
    }

    #[test]
    fn skips_every_type() {
        let values: &[&[u8]] = &[
            &[0xc0],
            &[0xc3],
            &[0x82, 1, 2, 3, 0x91, 4],
            &[0xa2, b'h', b'i'],
            &[0xc4, 1, 0],
            &[0xc5, 0, 1, 0],
            &[0xc6, 0, 0, 0, 1, 0],
            &[0xc7, 1, 9, 0],
            &[0xc8, 0, 1, 9, 0],
            &[0xc9, 0, 0, 0, 1, 9, 0],
            &[0xca, 0, 0, 0, 0],
            &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0],
            &[0xd4, 1, 0],
            &[0xd5, 1, 0, 0],
            &[0xd6, 1, 0, 0, 0, 0],
            &[0xd9, 1, b'x'],
            &[0xda, 0, 1, b'x'],
            &[0xdb, 0, 0, 0, 1, b'x'],
            &[0xdc, 0, 2, 1, 2],
            &[0xdd, 0, 0, 0, 1, 1],
            &[0xde, 0, 1, 1, 2],
            &[0xdf, 0, 0, 0, 1, 1, 2],
        ];
        for value in values {
            let mut reader = Reader::new(value);
            assert_eq!(reader.skip(), Ok(()), "{value:x?}");
            assert!(reader.is_at_end(), "{value:x?}");
            assert_eq!(Reader::new(&value[..value.len() - 1]).skip(), Err(BadFrame), "{value:x?}");
        }
    }

    #[test]
    fn an_extension_is_told_by_its_type() {
        for value in
            [&[0xc7, 0, 1][..], &[0xc8, 0, 1, 1, 9], &[0xc9, 0, 0, 0, 1, 1, 9], &[0xd4, 1, 0], &[0xd5, 1, 0, 0]]
        {
            let mut reader = Reader::new(value);
            assert_eq!(reader.token(), Ok(Token::Scalar(Scalar::Extension(1))), "{value:x?}");
            assert!(reader.is_at_end());
        }
    }

    #[test]
    fn a_decoded_value_keeps_its_head() {
        let mut reader = Reader::new(&[0x81, 1, 0x91, 2, 0xc0]);
        assert_eq!(reader.whole(), Ok(Some(&[0x81, 1, 0x91, 2][..])));
        assert_eq!(reader.whole(), Ok(None));
    }

    #[test]
    fn an_event_is_borrowed_from_its_frame() {
        let frame = [
            &[0x92, 0x82, 0xa5][..],
            b"topic",
            &[0xa1, b't', 0xa1, b'?', 0x90],
            &[0x91, 0x95, 7, 8, 0xc0, 0xc4, 2, b'{', b'}', 0x91, 0x92, 0xa1, b'h', 0xc4, 1, 5],
        ]
        .concat();
        let mut reader = Reader::new(&frame);
        let (meta, count) = reader.batch().unwrap();
        assert_eq!((meta.topic, meta.encoding, count), ("t", Some(Encoding::Raw), 1));
        let event = reader.event(&meta).unwrap();
        assert_eq!((event.offset, event.timestamp_ms, event.key, event.value), (7, 8, None, Some(&b"{}"[..])));
        assert_eq!(event.headers.collect::<Vec<_>>(), [("h", Some(&[5][..]))]);
        assert_eq!(event.headers.value_of("h"), Some(Some(&[5][..])));
        assert_eq!(event.headers.value_of("x"), None);
        assert!(reader.is_at_end());
    }
}
