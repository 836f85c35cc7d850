//! What the exported functions do: blocks for the host, configuration, the batch loop, and how a guest dies with a reason.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, RefCell};
use std::sync::{Once, OnceLock};

use serde::de::DeserializeOwned;

use crate::config;
use crate::frame::{BadFrame, Encoding, Reader};
use crate::outcome::{self, Outcome};
use crate::transformer::{Batch, Transformer};

/// State of the one instance. Guests have one thread, so nothing is ever shared.
struct Instance {
    /// Index of the event at work; the host reads it after a trap.
    cursor: Cell<u32>,
    blocks: RefCell<Blocks>,
    result: RefCell<Vec<u8>>,
}

// SAFETY: WebAssembly without the threads proposal has one thread; penstock refuses shared memories.
unsafe impl Sync for Instance {}

static INSTANCE: Instance = Instance {
    cursor: Cell::new(0),
    blocks: RefCell::new(Blocks { live: Vec::new(), spent: false }),
    result: RefCell::new(Vec::new()),
};

/// The blocks the host asked for. They stay valid until the first `alloc` after the call that used them, so a host may
/// write the next batch into the same block, and an instance kept for many batches does not grow.
struct Blocks {
    live: Vec<(u32, u32)>,
    spent: bool,
}

const ALIGN: usize = 8;

impl Blocks {
    fn lend(&mut self, size: u32) -> u32 {
        let kept = if std::mem::take(&mut self.spent) { self.recycle(size) } else { None };
        let block = kept.unwrap_or_else(|| (allocate(size), size));
        if block.0 != 0 {
            self.live.push(block);
        }
        block.0
    }

    /// Frees every block but one that is large enough, if there is one.
    fn recycle(&mut self, size: u32) -> Option<(u32, u32)> {
        let mut kept = None;
        for block in self.live.drain(..) {
            if kept.is_none() && block.1 >= size {
                kept = Some(block);
            } else {
                release(block);
            }
        }
        kept
    }
}

fn layout(size: u32) -> Option<Layout> {
    Layout::from_size_align(size.max(1) as usize, ALIGN).ok()
}

/// The address of a new block; 0 when there is no room, which is for the host to judge.
fn allocate(size: u32) -> u32 {
    // SAFETY: `layout` never has a size of zero.
    layout(size).map_or(0, |layout| unsafe { System.alloc(layout) } as usize as u32)
}

fn release((ptr, size): (u32, u32)) {
    let layout = layout(size).expect("the block was allocated with this layout");
    // SAFETY: the block came from `allocate(size)` and is released once: `recycle` drains the list.
    unsafe { System.dealloc(ptr as usize as *mut u8, layout) };
}

/// `penstock_v1_alloc`.
pub fn alloc(size: u32) -> u32 {
    INSTANCE.blocks.borrow_mut().lend(size)
}

/// `penstock_v1_cursor`.
pub fn cursor() -> u32 {
    INSTANCE.cursor.as_ptr() as usize as u32
}

/// `penstock_v1_configure`: decodes the configuration, or fails with what is wrong about it.
pub fn configure<C: DeserializeOwned>(slot: &OnceLock<C>, ptr: u32, len: u32) -> u32 {
    prepare();
    let decoded = decode(frame(ptr, len));
    INSTANCE.blocks.borrow_mut().spent = true;
    u32::from(slot.set(decoded).is_err())
}

/// `penstock_v1_transform`: one result per event of the batch, in order.
pub fn transform<C: DeserializeOwned, Form>(
    slot: &'static OnceLock<C>,
    ptr: u32,
    len: u32,
    transformer: impl Transformer<C, Form>,
) -> u64 {
    prepare();
    const EMPTY_MAP: &[u8] = &[0x80];
    let config = slot.get_or_init(|| decode(EMPTY_MAP));
    let mut result = INSTANCE.result.borrow_mut();
    let batch = frame(ptr, len);
    result.clear();
    // Most values come back a little longer; growing a large frame later would hold it in memory twice.
    result.reserve(batch.len() + batch.len() / 4);
    if run(batch, config, transformer, &mut result).is_err() {
        fail("bad-frame", "the batch frame is not what guest ABI v1 says");
    }
    INSTANCE.blocks.borrow_mut().spent = true;
    (result.as_ptr() as usize as u64) << 32 | result.len() as u64
}

fn run<'a, C, Form, T: Transformer<C, Form>>(
    batch: &'a [u8],
    config: &'a C,
    transformer: T,
    result: &mut Vec<u8>,
) -> Result<(), BadFrame> {
    let mut reader = Reader::new(batch);
    let (meta, count) = reader.batch()?;
    let encoding = encoding_for(&transformer, meta.encoding);
    outcome::write_count(result, count as usize);
    if T::READS_BATCHES {
        let events = (0..count).map(|_| reader.event(&meta)).collect::<Result<Vec<_>, _>>()?;
        write_all(&transformer, &Batch { events, encoding }, config, result);
        return if reader.is_at_end() { Ok(()) } else { Err(BadFrame) };
    }
    for index in 0..count {
        INSTANCE.cursor.set(index);
        let event = reader.event(&meta)?;
        outcome::write(result, transformer.outcome(event, encoding, config), encoding);
    }
    if reader.is_at_end() { Ok(()) } else { Err(BadFrame) }
}

fn write_all<'a, C, Form, T: Transformer<C, Form>>(
    transformer: &T,
    batch: &Batch<'a>,
    config: &'a C,
    result: &mut Vec<u8>,
) {
    let outcomes = transformer.outcomes(batch, config);
    assert_eq!(outcomes.len(), batch.events.len(), "a transformer of batches answers each event once");
    (0..).zip(outcomes).for_each(|(index, outcome)| write_at(index, outcome, batch.encoding, result));
}

fn encoding_for<C, Form, T: Transformer<C, Form>>(_: &T, encoding: Option<Encoding>) -> Encoding {
    match encoding {
        Some(Encoding::Event) if !T::READS_DECODED => {
            fail("encoding", "this guest reads raw events: set `encoding: raw` in its registry entry")
        }
        Some(encoding) => encoding,
        None => fail("encoding", "this guest reads the encodings `raw` and `event`: set one in its registry entry"),
    }
}

/// The host's bytes at `ptr`.
fn frame<'a>(ptr: u32, len: u32) -> &'a [u8] {
    // SAFETY: the host passes a block it got from `alloc` and has written in full; it stays until the next `alloc`.
    unsafe { std::slice::from_raw_parts(ptr as usize as *const u8, len as usize) }
}

fn decode<C: DeserializeOwned>(config: &[u8]) -> C {
    config::decode(config).unwrap_or_else(|error| fail("config", &error.to_string()))
}

/// Panics tell the host what and where before they trap.
fn prepare() {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let text = panic.payload_as_str().unwrap_or("a panic without a text");
            match panic.location() {
                Some(at) => fail("panic", &format!("{text} ({}:{})", at.file(), at.line())),
                None => fail("panic", text),
            }
        }))
    });
}

/// Names the reason to the host, then traps. `code` is short and stable, `message` one sentence.
#[cfg(target_arch = "wasm32")]
pub(crate) fn fail(code: &str, message: &str) -> ! {
    #[link(wasm_import_module = "penstock")]
    unsafe extern "C" {
        #[link_name = "fail"]
        fn import(code: *const u8, code_len: usize, message: *const u8, message_len: usize) -> !;
    }
    // SAFETY: both texts lie in memory for the whole call, which never returns.
    unsafe { import(code.as_ptr(), code.len(), message.as_ptr(), message.len()) }
}

/// Outside WebAssembly there is no host to tell.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn fail(code: &str, message: &str) -> ! {
    eprintln!("{code}: {message}");
    std::process::abort()
}

/// The system's allocator, except that a refused allocation is named to the host instead of a bare trap.
#[cfg(target_arch = "wasm32")]
struct NamedFailure;

#[cfg(target_arch = "wasm32")]
#[global_allocator]
static ALLOCATOR: NamedFailure = NamedFailure;

#[cfg(target_arch = "wasm32")]
impl NamedFailure {
    fn check(ptr: *mut u8) -> *mut u8 {
        if ptr.is_null() {
            // A constant text: formatting one would allocate.
            fail("memory", "the guest's memory limit left no room for an allocation");
        }
        ptr
    }
}

// SAFETY: every call is `System`'s own; a null result never reaches the caller.
#[cfg(target_arch = "wasm32")]
unsafe impl GlobalAlloc for NamedFailure {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::check(unsafe { System.alloc(layout) })
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        unsafe { System.dealloc(ptr, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Self::check(unsafe { System.realloc(ptr, layout, size) })
    }
}

/// The cursor tells which answer is being written: a transformer of batches has worked on all events before the first.
fn write_at(index: u32, outcome: Outcome<'_>, encoding: Encoding, result: &mut Vec<u8>) {
    INSTANCE.cursor.set(index);
    outcome::write(result, outcome, encoding);
}
