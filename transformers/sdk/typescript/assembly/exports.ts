// What the exported functions do: blocks for the host, the configuration, the loop over a batch.
import { Buffer, forget, giveBack, take, taken } from "./memory";
import { Reader, writeArray } from "./msgpack";
import { Batch, Event } from "./record";
import { ChangeEvent, Parsed } from "./change";
import { Outcome } from "./outcome";
import { Settings } from "./settings";
import { fail } from "./host/fail";

type Transform = (event: ChangeEvent) => Outcome;
type TransformRecord = (event: Event) => Outcome;
type Configure = (settings: Settings) => void;

let ofChange: Transform | null = null;
let ofRecord: TransformRecord | null = null;
let configuring: Configure | null = null;
let isConfigured = false;

/**
 * Makes this function the guest: it sees change events, in either encoding. Tombstones pass unchanged; values that are no change events
 * are rejected as `bad-json` or `no-envelope`. `configure` reads the registry entry's `config`, once, before the first event.
 */
export function transformer(transform: Transform, configure: Configure | null = null): void {
  ofChange = transform;
  configuring = configure;
}

/** Makes this function the guest: it sees every record's own bytes, tombstones too. */
export function recordTransformer(transform: TransformRecord, configure: Configure | null = null): void {
  ofRecord = transform;
  configuring = configure;
}

/** Index of the event at work; the host reads it after a trap. */
const cursor = memory.data(4, 4);
const frame = new Reader();
const batch = new Batch();
const event = new Event(batch);
const change = new ChangeEvent(event);
const result = new Buffer();
/** The blocks the host asked for. They stay until the first `alloc` after the call that used them. */
const lent = new Array<usize>();
const rooms = new Array<u32>();
let isSpent = false;

export function penstock_v1_alloc(size: u32): usize {
  const kept = isSpent ? recycle(size) : 0;
  isSpent = false;
  const at = kept ? kept : take(max(size, 1));
  if (at && !kept) {
    lent.push(at);
    rooms.push(max(size, 1));
  }
  return at;
}

/** Frees every block but one that is large enough, if there is one. */
function recycle(size: u32): usize {
  let kept: usize = 0;
  let room: u32 = 0;
  for (let i = 0; i < lent.length; i++) {
    if (!kept && rooms[i] >= size) {
      kept = lent[i];
      room = rooms[i];
    } else giveBack(lent[i]);
  }
  lent.length = 0;
  rooms.length = 0;
  if (kept) {
    lent.push(kept);
    rooms.push(room);
  }
  return kept;
}

export function penstock_v1_cursor(): usize { return cursor; }

export function penstock_v1_configure(at: usize, size: usize): i32 {
  configure(at, at + size);
  isSpent = true;
  return 0;
}

function configure(at: usize, end: usize): void {
  isConfigured = true;
  const settings = new Settings(at, end);
  const reads = configuring;
  if (reads !== null) reads(settings);
  settings.finish();
}

const EMPTY_MAP = memory.data<u8>([0x80]);

export function penstock_v1_transform(at: usize, size: usize): u64 {
  if (!isConfigured) configure(EMPTY_MAP, EMPTY_MAP + 1);
  frame.set(at, at + size);
  result.size = 0;
  // Most values come back a little longer; growing a large frame later would hold it in memory twice.
  result.reserve(size + size / 4);
  if (frame.array() != 2) frame.bad = true;
  readMeta();
  const count = frame.array();
  writeArray(result, count);
  for (let index: u32 = 0; index < count && !frame.bad; index++) {
    store<u32>(cursor, index);
    event.read(frame);
    if (!frame.bad) outcome().write(result, batch.decoded);
    forget();
  }
  if (!frame.atEnd) fail("bad-frame", "the batch frame is not what guest ABI v1 says");
  isSpent = true;
  return <u64>result.start << 32 | <u64>result.size;
}

/** A batch mostly has the meta of the one before; its texts are made once. */
let metaStart: usize = 0;
let metaSize: usize = 0;

function readMeta(): void {
  const start = frame.at;
  frame.skip();
  const size = frame.at - start;
  if (frame.bad || (size == metaSize && !memory.compare(start, metaStart, size))) return;
  if (metaStart) giveBack(metaStart);
  metaStart = taken(max(size, 1));
  metaSize = size;
  memory.copy(metaStart, start, size);
  let encoding = "raw";
  const meta = new Reader().set(start, start + size);
  for (let left = meta.map(); left && !meta.bad; left--) {
    meta.text();
    const name = meta.string();
    if (name == "topic") {
      meta.text();
      batch.topic = meta.string();
    } else if (name == "partition") batch.partition = meta.integer();
    else if (name == "encoding") {
      meta.text();
      encoding = meta.string();
    } else meta.skip();
  }
  if (!meta.atEnd) frame.bad = true;
  batch.decoded = encoding == "event";
  if (batch.decoded ? ofChange === null : encoding != "raw") {
    fail("encoding", "this guest reads raw events: set `encoding: raw` in its registry entry");
  }
}

function outcome(): Outcome {
  const transformRecord = ofRecord;
  if (transformRecord !== null) return transformRecord(event);
  const parsed = change.parse();
  switch (parsed) {
    case Parsed.Change: break;
    case Parsed.Tombstone: return Outcome.unchanged();
    case Parsed.NoEnvelope:
      return Outcome.reject("no-envelope", "the value has no `op` of c, u, r, d, t or m: it is no change event");
    case Parsed.BadJson: return Outcome.reject("bad-json", "the value is no JSON change event: " + change.fault);
    default: return Outcome.reject("bad-event", "the decoded value is no change event map");
  }
  const transform = ofChange;
  if (transform === null) {
    fail("panic", "the guest never called transformer() or recordTransformer()");
    return Outcome.unchanged();
  }
  const answered = transform(change);
  const wrong = change.wrong;
  return wrong === null ? answered : Outcome.reject("bad-column", wrong);
}
