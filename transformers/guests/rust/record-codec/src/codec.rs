//! One batch at a time: records in, a batch frame out, the guest's result frame in, records out.

use core::ops::Range;

use crate::change::{Decoder, Layout, Pieces, respell};
use crate::frame::{Answer, Results, Values, put_array, put_bin, put_int, put_str};
use crate::kafka::{NULL, Reader, block_size, part, put_block, put_signed, signed_size};

/// What `absorb` says about a result frame that is not made of the usual forms: the host's own decoder must look at it.
pub const UNUSUAL: i64 = -1;
/// What `scan` and `load` say about records that are not what Kafka's format says.
pub const MALFORMED: i64 = -1;

/// New values of one batch have room for this much and so many times its bytes: a few bytes of msgpack may stand for many of JSON.
const MADE_MIN_BYTES: usize = 1 << 20;
const MADE_MAX_TIMES: usize = 4;

#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Kept,
    Gone,
}

struct Row {
    offset: i64,
    timestamp: i64,
    key: Range<u32>,
    value: Range<u32>,
    headers: Range<u32>,
    header_count: u32,
    fate: Fate,
    /// The value lies in `made`.
    is_made: bool,
}

/// What a guest was told of one row's value in place of it.
struct Told {
    /// Where the change event lies in `told`; `NULL` for a tombstone.
    change: Range<u32>,
    /// Where its layout begins in `layouts`.
    layout: u32,
}

/// Everything of one batch. All places are places in `bytes`, unless another buffer is named.
#[derive(Default)]
pub struct Codec {
    /// What the host wrote: sections of records, then the guest's result frame.
    pub bytes: Vec<u8>,
    rows: Vec<Row>,
    /// A batch frame of change events, while the answer to it is awaited.
    pub told: Vec<u8>,
    /// By row; empty when the frame was of the values themselves.
    told_rows: Vec<Told>,
    layouts: Vec<u32>,
    /// Values with what the guest changed in them.
    made: Vec<u8>,
    decoder: Decoder,
    pieces: Pieces,
    /// What the host reads: a frame, records, numbers.
    pub out: Vec<u8>,
    /// Small numbers about `out`; their meaning is each function's.
    pub facts: [i64; 8],
}

impl Codec {
    /// Forget everything; buffers stay.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.rows.clear();
        self.out.clear();
        self.forget_told();
        self.made.clear();
    }

    fn forget_told(&mut self) {
        self.told.clear();
        self.told_rows.clear();
        self.layouts.clear();
    }

    /// Look through a section without keeping its records. Facts: how many have an offset delta below `from`, the first and
    /// the last delta at or after it, and the least timestamp delta. The number of records at or after `from`, or `MALFORMED`.
    pub fn scan(&mut self, section: Range<usize>, count: u32, from: i32) -> i64 {
        let Some(bytes) = self.bytes.get(..section.end) else { return MALFORMED };
        let mut reader = Reader::new(bytes, section.start);
        let (mut skipped, mut first, mut last, mut least) = (0_i64, -1_i64, -1_i64, i64::MAX);
        for _ in 0..count {
            let Some(record) = reader.record() else { return MALFORMED };
            if i64::from(record.offset_delta) <= last {
                return MALFORMED;
            }
            last = i64::from(record.offset_delta);
            if record.offset_delta < from {
                skipped += 1;
                continue;
            }
            if first < 0 {
                first = last;
            }
            least = least.min(record.timestamp_delta);
        }
        if reader.at != section.end {
            return MALFORMED;
        }
        self.facts[..4].copy_from_slice(&[skipped, first, last, least]);
        i64::from(count) - skipped
    }

    /// Take up records `[skip, skip + take)` of a section. A record's offset is `base_offset` and its delta; with `offsets` it is
    /// the number there, one little-endian i64 for each record taken. Its timestamp is `base_timestamp` and its
    /// delta, or without the delta when `flat`. The rows there are now, or `MALFORMED`.
    #[allow(clippy::too_many_arguments)]
    pub fn load(
        &mut self,
        section: Range<usize>,
        skip: u32,
        take: u32,
        base_offset: i64,
        base_timestamp: i64,
        flat: bool,
        offsets: Option<usize>,
    ) -> i64 {
        let Some(bytes) = self.bytes.get(..section.end) else { return MALFORMED };
        let mut reader = Reader::new(bytes, section.start);
        for _ in 0..skip {
            if reader.block().is_none() {
                return MALFORMED;
            }
        }
        self.rows.reserve(take as usize);
        for index in 0..take as usize {
            let Some(record) = reader.record() else { return MALFORMED };
            let offset = match offsets {
                None => base_offset + i64::from(record.offset_delta),
                Some(at) => match self.bytes.get(at + 8 * index..at + 8 * index + 8) {
                    Some(number) => i64::from_le_bytes(number.try_into().unwrap_or_default()),
                    None => return MALFORMED,
                },
            };
            self.rows.push(Row {
                offset,
                timestamp: if flat { base_timestamp } else { base_timestamp.wrapping_add(record.timestamp_delta) },
                key: record.key,
                value: record.value,
                headers: record.headers,
                header_count: record.header_count,
                fate: Fate::Kept,
                is_made: false,
            });
        }
        self.rows.len() as i64
    }

    /// Take up events that lie there as the second element of a batch frame. The rows there are now, or `MALFORMED`.
    pub fn take(&mut self, at: usize) -> i64 {
        let mut headers = Vec::new();
        let from = self.rows.len();
        if self.take_rows(at, &mut headers).is_none() {
            return MALFORMED;
        }
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&headers);
        for row in &mut self.rows[from..] {
            row.headers = row.headers.start + base..row.headers.end + base;
        }
        self.rows.len() as i64
    }

    fn take_rows(&mut self, at: usize, headers: &mut Vec<u8>) -> Option<()> {
        let mut values = Values::new(&self.bytes, at);
        for _ in 0..values.array()? {
            values.array().filter(|&fields| fields == 5)?;
            let (offset, timestamp) = (values.int()?, values.int()?);
            let (key, value) = (values.bin()?.unwrap_or(NULL), values.bin()?.unwrap_or(NULL));
            let header_count = u32::try_from(values.array()?).ok()?;
            let start = headers.len() as u32;
            put_signed(headers, i64::from(header_count));
            for _ in 0..header_count {
                values.array().filter(|&fields| fields == 2)?;
                let name = values.text()?;
                put_block(headers, Some(part(&self.bytes, &name)));
                let content = values.bin()?;
                put_block(headers, content.as_ref().map(|content| part(&self.bytes, content)));
            }
            let headers = start..headers.len() as u32;
            let (fate, is_made) = (Fate::Kept, false);
            self.rows.push(Row { offset, timestamp, key, value, headers, header_count, fate, is_made });
        }
        Some(())
    }

    /// Give every row this timestamp.
    pub fn restamp(&mut self, timestamp: i64) {
        for row in &mut self.rows {
            row.timestamp = timestamp;
        }
    }

    /// Change every row's headers as `[drop, drop_folded, add]` says, which lies there in msgpack: two lists of names, the second in lower case and
    /// for names in any case, and a list of `[name, value]`. 0, or `MALFORMED`.
    pub fn dress(&mut self, at: usize) -> i64 {
        let mut headers = Vec::new();
        let Some(places) = self.dressed(at, &mut headers) else { return MALFORMED };
        let base = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&headers);
        for (row, (range, count)) in self.rows.iter_mut().zip(places) {
            row.headers = range.start + base..range.end + base;
            row.header_count = count;
        }
        0
    }

    fn dressed(&self, at: usize, headers: &mut Vec<u8>) -> Option<Vec<(Range<u32>, u32)>> {
        let bytes = &self.bytes;
        let mut values = Values::new(bytes, at);
        values.array().filter(|&fields| fields == 3)?;
        let (drop, folded) = (names(&mut values)?, names(&mut values)?);
        let (mut added, added_count) = (Vec::new(), u32::try_from(values.array()?).ok()?);
        for _ in 0..added_count {
            values.array().filter(|&fields| fields == 2)?;
            let name = values.text()?;
            put_block(&mut added, Some(part(bytes, &name)));
            let value = values.bin()?;
            put_block(&mut added, value.as_ref().map(|value| part(bytes, value)));
        }
        let (mut places, mut kept) = (Vec::with_capacity(self.rows.len()), Vec::new());
        for row in &self.rows {
            kept.clear();
            let mut count = added_count;
            let mut reader = Reader::new(&bytes[..row.headers.end as usize], row.headers.start as usize);
            for _ in 0..reader.count()? {
                let from = reader.at;
                let name = part(bytes, &reader.block()?);
                reader.block()?;
                let goes = drop.iter().any(|one| part(bytes, one) == name)
                    || folded.iter().any(|one| part(bytes, one).eq_ignore_ascii_case(name));
                if !goes {
                    kept.extend_from_slice(&bytes[from..reader.at]);
                    count += 1;
                }
            }
            let start = headers.len() as u32;
            put_signed(headers, i64::from(count));
            headers.extend_from_slice(&kept);
            headers.extend_from_slice(&added);
            places.push((start..headers.len() as u32, count));
        }
        Some(places)
    }

    /// Write the second element of a batch frame: `[[offset, timestamp, key, value, [[name, value], …]], …]`.
    pub fn frame(&mut self) {
        self.forget_told();
        let (bytes, out) = (&self.bytes, &mut self.out);
        out.clear();
        put_array(out, self.rows.len() as u32);
        for row in &self.rows {
            row.put_head(out, bytes);
            put_bin(out, get(bytes, &row.value));
            row.put_headers(out, bytes);
        }
    }

    /// The same with values as change events, in `told`: the number of rows, or `UNUSUAL` when one of them is not Debezium's JSON as
    /// it nearly always is. What `absorb` takes next is the answer to it.
    pub fn frame_changes(&mut self) -> i64 {
        self.forget_told();
        let (bytes, out) = (&self.bytes, &mut self.told);
        put_array(out, self.rows.len() as u32);
        for row in &self.rows {
            row.put_head(out, bytes);
            let (from, layout) = (out.len() as u32, self.layouts.len() as u32);
            let change = match get(bytes, &row.value) {
                Some(value) if self.decoder.decode(value, out, &mut self.layouts).is_none() => return UNUSUAL,
                Some(_) => from..out.len() as u32,
                None => {
                    out.push(0xc0);
                    NULL
                }
            };
            self.told_rows.push(Told { change, layout });
            row.put_headers(out, bytes);
        }
        self.rows.len() as i64
    }

    /// Take the guest's word for each row. `UNUSUAL` when any answer is not of a usual form, is for more bytes than
    /// `output_bytes_max`, or when their number is not that of the rows; nothing is changed then. Else the number of
    /// rejections, written to `out` as triples of u32: row, place and length of the answer. Facts: rows kept, rows dropped.
    pub fn absorb(&mut self, frame: Range<usize>, output_bytes_max: u64) -> i64 {
        self.out.clear();
        if frame.end > self.bytes.len() {
            return UNUSUAL;
        }
        if !self.told_rows.is_empty() {
            return self.absorb_changes(frame, output_bytes_max).unwrap_or(UNUSUAL);
        }
        if !self.is_usual(frame.clone(), output_bytes_max) {
            return UNUSUAL;
        }
        let (mut kept, mut dropped, mut rejected) = (0, 0, 0);
        let mut results = Results::new(&self.bytes, frame);
        results.array();
        for (index, row) in self.rows.iter_mut().enumerate() {
            match results.answer() {
                Some(Answer::Unchanged) => kept += 1,
                Some(Answer::Replaced(value)) => {
                    row.value = value.map_or(NULL, |value| value.start as u32..value.end as u32);
                    kept += 1;
                }
                Some(Answer::Dropped | Answer::Changed(_)) | None => {
                    row.fate = Fate::Gone;
                    dropped += 1;
                }
                Some(Answer::Rejected(answer)) => {
                    row.fate = Fate::Gone;
                    rejected += 1;
                    for number in [index, answer.start, answer.len()] {
                        self.out.extend_from_slice(&(number as u32).to_le_bytes());
                    }
                }
            }
        }
        self.facts[..2].copy_from_slice(&[kept, dropped]);
        rejected
    }

    /// `absorb`, of change events: what was changed in them is put into the texts they came from.
    fn absorb_changes(&mut self, frame: Range<usize>, output_bytes_max: u64) -> Option<i64> {
        let answers = self.respelled(frame, output_bytes_max)?;
        let mut made = 0;
        let (mut kept, mut dropped, mut rejected) = (0, 0, 0);
        for (index, (row, answer)) in self.rows.iter_mut().zip(answers).enumerate() {
            match answer {
                Answer::Unchanged => kept += 1,
                Answer::Replaced(value) => {
                    row.value = value.map_or(NULL, |value| value.start as u32..value.end as u32);
                    kept += 1;
                }
                Answer::Changed(end) => {
                    row.is_made = true;
                    row.value = made..end;
                    made = end;
                    kept += 1;
                }
                Answer::Dropped => {
                    row.fate = Fate::Gone;
                    dropped += 1;
                }
                Answer::Rejected(answer) => {
                    row.fate = Fate::Gone;
                    rejected += 1;
                    for number in [index, answer.start, answer.len()] {
                        self.out.extend_from_slice(&(number as u32).to_le_bytes());
                    }
                }
            }
        }
        self.facts[..2].copy_from_slice(&[kept, dropped]);
        Some(rejected)
    }

    /// The answers; what was changed is in `made`, one behind the other. Changes nothing else.
    fn respelled(&mut self, frame: Range<usize>, output_bytes_max: u64) -> Option<Vec<Answer>> {
        let (bytes, made) = (&self.bytes, &mut self.made);
        made.clear();
        made.reserve(frame.len());
        let made_max = MADE_MIN_BYTES + MADE_MAX_TIMES * bytes.len();
        let mut results = Results::new(bytes, frame);
        if results.array() != Some(self.rows.len()) {
            return None;
        }
        let mut answers = Vec::with_capacity(self.rows.len());
        let frame = &bytes[..results.to()];
        let ends = self.told_rows.iter().skip(1).map(|told| told.layout as usize).chain([self.layouts.len()]);
        for ((row, told), layout_end) in self.rows.iter().zip(&self.told_rows).zip(ends) {
            let from = made.len();
            let mut answer = results.change_answer(|at| {
                let sent = get(&self.told, &told.change)?;
                let layout = Layout(&self.layouts[told.layout as usize..layout_end]);
                respell(&mut self.pieces, made, part(bytes, &row.value), layout, sent, frame, at)
            })?;
            let size = match &mut answer {
                Answer::Replaced(value) => value.as_ref().map_or(0, |value| value.len()),
                Answer::Changed(end) => {
                    *end = made.len() as u32;
                    made.len() - from
                }
                Answer::Unchanged | Answer::Dropped | Answer::Rejected(_) => {
                    answers.push(answer);
                    continue;
                }
            };
            let weight = size + row.key.len() + row.headers.len();
            if weight as u64 > output_bytes_max || made.len() > made_max {
                return None;
            }
            answers.push(answer);
        }
        results.ended().then_some(answers)
    }

    fn is_usual(&self, frame: Range<usize>, output_bytes_max: u64) -> bool {
        let mut results = Results::new(&self.bytes, frame);
        if results.array() != Some(self.rows.len()) {
            return false;
        }
        for row in &self.rows {
            match results.answer() {
                None | Some(Answer::Changed(_)) => return false,
                Some(Answer::Replaced(value)) => {
                    let weight = value.map_or(0, |value| value.len()) + row.key.len() + row.headers.len();
                    if weight as u64 > output_bytes_max {
                        return false;
                    }
                }
                Some(_) => {}
            }
        }
        results.ended()
    }

    /// Write the kept rows from row `from` on as records, with offset deltas 0, 1, 2 …, until they have more than `bytes_max`
    /// bytes. The number of records. Facts: the row to go on at, the first, the least and the greatest timestamp, the size of
    /// the largest record, and how many keys are null.
    pub fn build(&mut self, from: usize, bytes_max: usize) -> i64 {
        let (bytes, out) = (&self.bytes, &mut self.out);
        out.clear();
        let mut facts = Built { next: self.rows.len(), ..Built::default() };
        let (mut count, mut base) = (0_i64, 0_i64);
        for (index, row) in self.rows.iter().enumerate().skip(from) {
            if row.fate == Fate::Gone {
                continue;
            }
            if count == 0 {
                base = row.timestamp;
                (facts.least, facts.greatest) = (base, base);
            }
            let delta = row.timestamp.wrapping_sub(base);
            let (key, value) = (get(bytes, &row.key), get(if row.is_made { &self.made } else { bytes }, &row.value));
            let headers = part(bytes, &row.headers);
            let length = 1
                + signed_size(delta)
                + signed_size(count)
                + block_size(key.map(<[u8]>::len))
                + block_size(value.map(<[u8]>::len))
                + headers.len();
            let size = signed_size(length as i64) + length;
            if count > 0 && out.len() + size > bytes_max {
                facts.next = index;
                break;
            }
            out.reserve(size);
            put_signed(out, length as i64);
            out.push(0);
            put_signed(out, delta);
            put_signed(out, count);
            put_block(out, key);
            put_block(out, value);
            out.extend_from_slice(headers);
            facts.least = facts.least.min(row.timestamp);
            facts.greatest = facts.greatest.max(row.timestamp);
            facts.largest = facts.largest.max(size);
            facts.keyless += i64::from(key.is_none());
            count += 1;
        }
        self.facts[..6].copy_from_slice(&[
            facts.next as i64,
            base,
            facts.least,
            facts.greatest,
            facts.largest as i64,
            facts.keyless,
        ]);
        count
    }

    /// Write the offsets of the kept rows, little-endian i64.
    pub fn offsets(&mut self) {
        self.out.clear();
        for row in self.rows.iter().filter(|row| row.fate == Fate::Kept) {
            self.out.extend_from_slice(&row.offset.to_le_bytes());
        }
    }

    /// Write the numbers of the kept rows, little-endian u32.
    pub fn kept(&mut self) {
        self.out.clear();
        for (index, _) in self.rows.iter().enumerate().filter(|(_, row)| row.fate == Fate::Kept) {
            self.out.extend_from_slice(&(index as u32).to_le_bytes());
        }
    }
}

impl Row {
    /// Its first three fields in a batch frame.
    #[inline(always)]
    fn put_head(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        out.push(0x95);
        put_int(out, self.offset);
        put_int(out, self.timestamp);
        put_bin(out, get(bytes, &self.key));
    }

    /// Its last.
    #[inline(always)]
    fn put_headers(&self, out: &mut Vec<u8>, bytes: &[u8]) {
        put_array(out, self.header_count);
        if self.header_count == 0 {
            return;
        }
        let mut reader = Reader::new(&bytes[..self.headers.end as usize], self.headers.start as usize);
        reader.count();
        while let (true, Some(name)) = (reader.at < self.headers.end as usize, reader.block()) {
            let value = reader.block().unwrap_or(NULL);
            out.push(0x92);
            put_str(out, part(bytes, &name));
            put_bin(out, get(bytes, &value));
        }
    }
}

#[derive(Default)]
struct Built {
    next: usize,
    least: i64,
    greatest: i64,
    largest: usize,
    keyless: i64,
}

fn names(values: &mut Values) -> Option<Vec<Range<u32>>> {
    (0..values.array()?).map(|_| values.text()).collect()
}

fn get<'a>(bytes: &'a [u8], range: &Range<u32>) -> Option<&'a [u8]> {
    (*range != NULL).then(|| part(bytes, range))
}
