//! A guest's values put into the JSON they came from: three things side by side, the text, the msgpack that was sent, the msgpack that
//! was answered. Where the two say the same, the text stays.

use super::bytes::{begins, push, same};
use super::envelope::{Layout, NAMES, PACKED_NAMES, is_fit, member};
use super::packed::{Head, end_of, head, put_scalar};
use super::text::plain_end;
use super::write::{write, write_text};
use super::{DEPTH_MAX, MEMBERS_MAX, number, text};

/// Of one map, behind what was sent; they are compared with all others.
const ADDED_MAX: usize = 64;

/// Buffers.
#[derive(Default)]
pub struct Pieces {
    members: Vec<Member>,
    packed: Vec<u8>,
}

/// Of an answered map.
#[derive(Clone, Copy)]
struct Member {
    name: (usize, usize),
    /// From, to.
    value: (usize, usize),
    is_used: bool,
}

/// Appends the envelope `text` with what a guest made of it, which lies at `at` in `got`; where that ends. `sent` is the change
/// event that the guest was told.
pub fn respell(
    pieces: &mut Pieces,
    out: &mut Vec<u8>,
    text: &[u8],
    layout: Layout,
    sent: &[u8],
    got: &[u8],
    at: usize,
) -> Option<usize> {
    if begins(&got[at..], sent) {
        out.extend_from_slice(text);
        return Some(at + sent.len());
    }
    pieces.members.clear();
    let answered = Answered::read(&mut pieces.members, layout, sent, got, at)?;
    let mut object = Object::begin(out, text);
    let mut had = [false; 6];
    for &end in layout.ends() {
        let place = object.next(end as usize)?;
        let Some(number) = member(&text[place.name + 1..place.colon - 1]) else {
            object.keep(out, place);
            continue;
        };
        had[number] = true;
        if answered.is_same[number] {
            object.keep(out, place);
            continue;
        }
        match answered.added[number] {
            Some((from, to)) if layout.is_compact(number) && text[place.value] == b'{' => {
                object.put_longer(out, place, &pieces.members[from..to], got)?;
            }
            _ => {
                let (was, told) = (part(sent, layout.member(number)), part(got, answered.parts[number]));
                object.put(out, place, was, told, pieces, DEPTH_MAX)?;
            }
        }
    }
    for &number in &answered.order {
        if !had[number] && !answered.is_same[number] {
            object.add(out, NAMES[number], part(got, answered.parts[number]))?;
        }
    }
    object.end(out);
    Some(answered.end)
}

fn part(bytes: &[u8], (from, to): (usize, usize)) -> &[u8] {
    &bytes[from..to]
}

/// A change event that was answered.
#[derive(Default)]
struct Answered {
    /// The numbers of its members as they come.
    order: [usize; 6],
    /// By number: where the values are.
    parts: [(usize, usize); 6],
    /// By number: byte for byte what was sent.
    is_same: [bool; 6],
    /// By number, for a map that is the one that was sent and more behind it: which of the collected members are the more.
    added: [Option<(usize, usize)>; 6],
    end: usize,
}

impl Answered {
    /// `None` for what is no change event.
    fn read(members: &mut Vec<Member>, layout: Layout, sent: &[u8], got: &[u8], at: usize) -> Option<Self> {
        let (Head::Map(6), mut at) = head(got, at)? else { return None };
        let mut answered = Answered::default();
        for index in 0..6 {
            let (number, next) = numbered(got, at, index)?;
            if answered.parts[number].1 != 0 {
                return None;
            }
            let was = part(sent, layout.member(number));
            at = next + was.len();
            answered.is_same[number] = begins(&got[next..], was);
            if !answered.is_same[number] {
                let from = members.len();
                if let Some(end) = longer(members, was, got, next) {
                    at = end;
                    answered.added[number] = Some((from, members.len()));
                } else {
                    members.truncate(from);
                    at = end_of(got, next)?;
                    if !is_fit(number, &got[next..at]) {
                        return None;
                    }
                }
            }
            answered.parts[number] = (next, at);
            answered.order[index] = number;
        }
        answered.end = at;
        Some(answered)
    }
}

/// Which member's name is at `at`, and where its value begins; nearly always it is the one that was sent in this place.
#[inline(always)]
fn numbered(got: &[u8], at: usize, index: usize) -> Option<(usize, usize)> {
    if begins(got.get(at..)?, PACKED_NAMES[index]) {
        return Some((index, at + PACKED_NAMES[index].len()));
    }
    let (Head::Text(from, to), next) = head(got, at)? else { return None };
    Some((member(&got[from..to])?, next))
}

/// Collects what a map has behind the members of `was`, when it begins with them as they were; where it ends.
fn longer(members: &mut Vec<Member>, was: &[u8], got: &[u8], at: usize) -> Option<usize> {
    let (Head::Map(few), sent_at) = head(was, 0)? else { return None };
    let (Head::Map(more), got_at) = head(got, at)? else { return None };
    let (body, from) = (&was[sent_at..], members.len());
    let count = more.checked_sub(few).filter(|&count| count <= ADDED_MAX)?;
    if !begins(&got[got_at..], body) {
        return None;
    }
    let end = collect(members, got, got_at + body.len(), count)?;
    let added = &members[from..];
    let mut body_at = 0;
    for _ in 0..few {
        let (Head::Text(from, to), value) = head(body, body_at)? else { return None };
        body_at = end_of(body, value)?;
        if added.iter().any(|one| same(part(got, one.name), &body[from..to])) {
            return None;
        }
    }
    let repeats = |index: usize| added[..index].iter().any(|one| same(part(got, one.name), part(got, added[index].name)));
    (!(0..added.len()).any(repeats)).then_some(end)
}

/// Where one member lies in its object's text.
#[derive(Clone, Copy)]
struct Place {
    /// Its opening quote.
    name: usize,
    /// Behind its closing quote.
    colon: usize,
    value: usize,
    end: usize,
    has_escapes: bool,
}

/// An object that is written anew while its text is walked through. Members that stay are copied together.
struct Object<'t> {
    text: &'t [u8],
    at: usize,
    /// What is to be copied: from, to.
    kept: (usize, usize),
    start: usize,
    is_empty: bool,
    is_same: bool,
}

impl<'t> Object<'t> {
    fn begin(out: &mut Vec<u8>, text: &'t [u8]) -> Self {
        let start = out.len();
        out.push(b'{');
        Object { text, at: 1, kept: (0, 0), start, is_empty: true, is_same: true }
    }

    /// The next member, when it is known where it ends.
    #[inline(always)]
    fn next(&mut self, end: usize) -> Option<Place> {
        let mut place = self.named()?;
        place.end = end;
        self.at = self.behind(end);
        Some(place)
    }

    /// The next member.
    #[inline(always)]
    fn next_value(&mut self) -> Option<Place> {
        let mut place = self.named()?;
        place.end = value_end(self.text, place.value)?;
        self.at = self.behind(place.end);
        Some(place)
    }

    #[inline(always)]
    fn named(&self) -> Option<Place> {
        let name = space_end(self.text, self.at);
        let plain = plain_end(self.text, name + 1);
        let has_escapes = *self.text.get(plain)? != b'"';
        let colon = if has_escapes { string_end(self.text, name)? } else { plain + 1 };
        let value = space_end(self.text, space_end(self.text, colon) + 1);
        Some(Place { name, colon, value, end: value, has_escapes })
    }

    /// Behind the comma.
    #[inline(always)]
    fn behind(&self, end: usize) -> usize {
        space_end(self.text, end) + 1
    }

    #[inline(always)]
    fn keep(&mut self, out: &mut Vec<u8>, place: Place) {
        if place.value == place.colon + 1 && !place.has_escapes {
            if self.kept.1 != 0 && place.name == self.kept.1 + 1 {
                self.kept.1 = place.end;
                return;
            }
            self.separate(out);
            self.kept = (place.name, place.end);
            return;
        }
        self.name(out, place);
        push(out, self.text, place.value, place.end - place.value);
    }

    /// What stays is written, and a comma if one is due.
    #[inline(always)]
    fn separate(&mut self, out: &mut Vec<u8>) {
        let (from, to) = core::mem::take(&mut self.kept);
        push(out, self.text, from, to - from);
        if !core::mem::take(&mut self.is_empty) {
            out.push(b',');
        }
    }

    fn name(&mut self, out: &mut Vec<u8>, place: Place) {
        self.separate(out);
        let raw = &self.text[place.name..place.colon];
        if place.has_escapes {
            let mut plain = Vec::new();
            let _ = text::unescape(&mut plain, &raw[1..raw.len() - 1]); // it was read before
            text::write(out, &plain);
        } else {
            push(out, self.text, place.name, raw.len());
        }
        out.push(b':');
    }

    /// A member that was `was` and now is `told`.
    fn put(
        &mut self,
        out: &mut Vec<u8>,
        place: Place,
        was: &[u8],
        told: &[u8],
        pieces: &mut Pieces,
        depth_left: u32,
    ) -> Option<()> {
        if same(was, told) {
            self.keep(out, place);
            return Some(());
        }
        self.name(out, place);
        let from = out.len();
        let text = &self.text[place.value..place.end];
        splice(pieces, out, text, was, told, depth_left)?;
        self.is_same = self.is_same && same(&out[from..], text);
        Some(())
    }

    /// An object that stays, with more behind it.
    fn put_longer(&mut self, out: &mut Vec<u8>, place: Place, added: &[Member], got: &[u8]) -> Option<()> {
        if added.is_empty() {
            self.keep(out, place);
            return Some(());
        }
        self.is_same = false;
        self.name(out, place);
        push(out, self.text, place.value, place.end - 1 - place.value);
        let mut is_first = place.end - place.value == 2;
        for one in added {
            if !core::mem::take(&mut is_first) {
                out.push(b',');
            }
            write_text(out, part(got, one.name))?;
            out.push(b':');
            write(out, got, one.value.0, DEPTH_MAX)?;
        }
        out.push(b'}');
        Some(())
    }

    /// A new member.
    fn add(&mut self, out: &mut Vec<u8>, name: &[u8], value: &[u8]) -> Option<()> {
        self.is_same = false;
        self.separate(out);
        write_text(out, name)?;
        out.push(b':');
        write(out, value, 0, DEPTH_MAX)?;
        Some(())
    }

    fn end(mut self, out: &mut Vec<u8>) {
        if self.is_same {
            out.truncate(self.start);
            push(out, self.text, 0, self.text.len());
            return;
        }
        self.is_empty = true; // no comma behind the last
        self.separate(out);
        out.push(b'}');
    }
}

/// Appends `text` as `got` has it. Anything but a map or array of the same kind is written anew, unless it says the same in other bytes.
fn splice(
    pieces: &mut Pieces,
    out: &mut Vec<u8>,
    text: &[u8],
    sent: &[u8],
    got: &[u8],
    depth_left: u32,
) -> Option<()> {
    let (answer, _) = head(got, 0)?;
    match (&answer, sent.first()?, text.first()?) {
        (Head::Map(members), 0x80..=0x8f | 0xde | 0xdf, b'{') => {
            return splice_object(pieces, out, text, sent, got, *members, depth_left.checked_sub(1)?);
        }
        (Head::Array(items), 0x90..=0x9f | 0xdc | 0xdd, b'[') => {
            return splice_array(pieces, out, text, sent, got, *items, depth_left.checked_sub(1)?);
        }
        _ => {}
    }
    pieces.packed.clear();
    put_scalar(&mut pieces.packed, got, &answer);
    if same(&pieces.packed, sent) {
        push(out, text, 0, text.len());
        return Some(());
    }
    if let Head::Text(from, to) = answer {
        // It was a number too wide for 64 bits and is another one now.
        let was_wide = text[0] != b'"' && matches!(sent[0], 0xa0..=0xbf | 0xd9..=0xdb);
        if was_wide && number::is_number(&got[from..to])? {
            out.extend_from_slice(&got[from..to]);
            return Some(());
        }
    }
    write(out, got, 0, depth_left).map(|_| ())
}

fn splice_object(
    pieces: &mut Pieces,
    out: &mut Vec<u8>,
    text: &[u8],
    sent: &[u8],
    got: &[u8],
    count: usize,
    depth_left: u32,
) -> Option<()> {
    let base = pieces.members.len();
    if count > MEMBERS_MAX || collect(&mut pieces.members, got, head(got, 0)?.1, count)? != got.len() {
        return None;
    }
    let (Head::Map(sent_count), mut at) = head(sent, 0)? else { return None };
    let mut object = Object::begin(out, text);
    let mut cursor = base;
    for _ in 0..sent_count {
        let place = object.next_value()?;
        let (Head::Text(from, to), value) = head(sent, at)? else { return None };
        at = end_of(sent, value)?;
        let Some(found) = find(&mut pieces.members, base, &mut cursor, got, &sent[from..to]) else {
            object.is_same = false;
            continue;
        };
        object.put(out, place, &sent[value..at], part(got, found), pieces, depth_left)?;
    }
    for index in base..pieces.members.len() {
        let Member { name, value, is_used } = pieces.members[index];
        if is_used {
            continue;
        }
        let name = part(got, name);
        let others = pieces.members[base..].iter().enumerate().filter(|&(other, _)| other != index - base);
        if others.into_iter().any(|(_, other)| same(part(got, other.name), name)) {
            return None;
        }
        object.add(out, name, part(got, value))?;
    }
    object.end(out);
    pieces.members.truncate(base);
    Some(())
}

/// The members of an answered map that begin at `at`; where they end.
fn collect(members: &mut Vec<Member>, got: &[u8], mut at: usize, count: usize) -> Option<usize> {
    for _ in 0..count {
        let (Head::Text(from, to), value) = head(got, at)? else { return None };
        at = end_of(got, value)?;
        members.push(Member { name: (from, to), value: (value, at), is_used: false });
    }
    Some(at)
}

/// The answered member of this name; nearly always the next one.
#[inline(always)]
fn find(members: &mut [Member], base: usize, cursor: &mut usize, got: &[u8], name: &[u8]) -> Option<(usize, usize)> {
    let is_it = |member: &Member| same(part(got, member.name), name);
    let index = match members.get(*cursor) {
        Some(next) if is_it(next) => *cursor,
        _ => base + members[base..].iter().position(is_it)?,
    };
    *cursor = index + 1;
    let found = &mut members[index];
    if core::mem::replace(&mut found.is_used, true) {
        return None;
    }
    Some(found.value)
}

/// Item by item where there are as many as before; else there is no telling which is which.
fn splice_array(
    pieces: &mut Pieces,
    out: &mut Vec<u8>,
    text: &[u8],
    sent: &[u8],
    got: &[u8],
    count: usize,
    depth_left: u32,
) -> Option<()> {
    let (Head::Array(sent_count), mut sent_at) = head(sent, 0)? else { return None };
    if count != sent_count {
        return write(out, got, 0, depth_left + 1).map(|_| ());
    }
    let (_, mut got_at) = head(got, 0)?;
    let (start, mut at, mut is_same) = (out.len(), 1, true);
    for item in 0..count {
        out.push(if item == 0 { b'[' } else { b',' });
        let from = space_end(text, at);
        let to = value_end(text, from)?;
        at = space_end(text, to) + 1;
        let (sent_end, got_end) = (end_of(sent, sent_at)?, end_of(got, got_at)?);
        let (was, told) = (&sent[sent_at..sent_end], &got[got_at..got_end]);
        (sent_at, got_at) = (sent_end, got_end);
        if same(was, told) {
            push(out, text, from, to - from);
            continue;
        }
        let written = out.len();
        splice(pieces, out, &text[from..to], was, told, depth_left)?;
        is_same = is_same && same(&out[written..], &text[from..to]);
    }
    if got_at != got.len() {
        return None;
    }
    if is_same {
        out.truncate(start);
        push(out, text, 0, text.len());
    } else {
        out.push(b']');
    }
    Some(())
}

#[inline(always)]
fn space_end(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

/// Behind the closing quote of the string at `at`.
#[inline(always)]
fn string_end(text: &[u8], at: usize) -> Option<usize> {
    let mut end = plain_end(text, at + 1);
    loop {
        match *text.get(end)? {
            b'"' => return Some(end + 1),
            _ => end = plain_end(text, end + 2),
        }
    }
}

/// Where the value at `at` ends; it is known to be JSON.
#[inline(always)]
fn value_end(text: &[u8], mut at: usize) -> Option<usize> {
    match *text.get(at)? {
        b'"' => string_end(text, at),
        b'{' | b'[' => nested_end(text, at),
        _ => {
            while !matches!(text.get(at), None | Some(b',' | b']' | b'}' | b' ' | b'\t' | b'\n' | b'\r')) {
                at += 1;
            }
            Some(at)
        }
    }
}

fn nested_end(text: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_u32;
    loop {
        match *text.get(at)? {
            b'"' => {
                at = string_end(text, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
        if depth == 0 {
            return Some(at);
        }
    }
}
