//! penstock's own codec, run by the host for itself: Kafka record batches to batch frames (guest ABI v1), the guests'
//! result frames to record batches. Nothing is decided here that the host could not decide by itself, only faster: what is
//! not in one of the usual forms is left to it.
//!
//! It is WebAssembly like any guest, so that the bytes of strangers are taken apart inside a sandbox, and so that the
//! package has no platform.

mod change;
mod codec;
mod frame;
mod kafka;

pub use codec::{Codec, MALFORMED, UNUSUAL};

#[cfg(target_arch = "wasm32")]
mod exports {
    use super::Codec;
    use core::cell::UnsafeCell;

    struct Only(UnsafeCell<Option<Codec>>);
    // SAFETY: wasm without threads has one.
    unsafe impl Sync for Only {}
    static CODEC: Only = Only(UnsafeCell::new(None));

    #[allow(clippy::mut_from_ref)]
    fn codec() -> &'static mut Codec {
        // SAFETY: exports are called one at a time, and none of them calls another.
        unsafe { (*CODEC.0.get()).get_or_insert_with(Codec::default) }
    }

    fn pack(out: &[u8]) -> u64 {
        (out.as_ptr() as u64) << 32 | out.len() as u64
    }

    /// Make room for `length` bytes behind those there are, after forgetting all when `fresh`; their address. Places given to
    /// the other functions count from the address of the first byte.
    #[unsafe(no_mangle)]
    extern "C" fn reserve(length: u32, fresh: u32) -> u32 {
        let codec = codec();
        if fresh != 0 {
            codec.clear();
        }
        let from = codec.bytes.len();
        codec.bytes.reserve_exact(length as usize); // doubling would cost more memory than time
        codec.bytes.resize(from + length as usize, 0);
        codec.bytes.as_ptr() as u32 + from as u32
    }

    #[unsafe(no_mangle)]
    extern "C" fn facts() -> u32 {
        codec().facts.as_ptr() as u32
    }

    #[unsafe(no_mangle)]
    extern "C" fn scan(at: u32, length: u32, count: u32, from: i32) -> i64 {
        codec().scan(at as usize..at as usize + length as usize, count, from)
    }

    #[unsafe(no_mangle)]
    extern "C" fn load(
        at: u32,
        length: u32,
        skip: u32,
        take: u32,
        base_offset: i64,
        base_timestamp: i64,
        flat: u32,
        offsets: u32,
    ) -> i64 {
        let offsets = (offsets != u32::MAX).then_some(offsets as usize);
        let section = at as usize..at as usize + length as usize;
        codec().load(section, skip, take, base_offset, base_timestamp, flat != 0, offsets)
    }

    #[unsafe(no_mangle)]
    extern "C" fn take(at: u32) -> i64 {
        codec().take(at as usize)
    }

    #[unsafe(no_mangle)]
    extern "C" fn restamp(timestamp: i64) {
        codec().restamp(timestamp);
    }

    #[unsafe(no_mangle)]
    extern "C" fn dress(at: u32) -> i64 {
        codec().dress(at as usize)
    }

    #[unsafe(no_mangle)]
    extern "C" fn frame() -> u64 {
        let codec = codec();
        codec.frame();
        pack(&codec.out)
    }

    #[unsafe(no_mangle)]
    extern "C" fn frame_changes() -> i64 {
        codec().frame_changes()
    }

    /// Where the frame of change events is.
    #[unsafe(no_mangle)]
    extern "C" fn told() -> u64 {
        pack(&codec().told)
    }

    #[unsafe(no_mangle)]
    extern "C" fn absorb(at: u32, length: u32, output_bytes_max: u64) -> i64 {
        codec().absorb(at as usize..at as usize + length as usize, output_bytes_max)
    }

    #[unsafe(no_mangle)]
    extern "C" fn build(from: u32, bytes_max: u32) -> i64 {
        codec().build(from as usize, bytes_max as usize)
    }

    #[unsafe(no_mangle)]
    extern "C" fn offsets() {
        codec().offsets();
    }

    #[unsafe(no_mangle)]
    extern "C" fn kept() {
        codec().kept();
    }

    /// Where the last function wrote what is to be read.
    #[unsafe(no_mangle)]
    extern "C" fn out() -> u64 {
        pack(&codec().out)
    }
}
