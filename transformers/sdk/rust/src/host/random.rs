//! Chance. Capability `random`.

use super::Error;

/// Fills `bytes` with chance; at most 1 MiB at a time.
#[cfg(target_arch = "wasm32")]
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    #[link(wasm_import_module = "penstock")]
    unsafe extern "C" {
        #[link_name = "random"]
        fn import(bytes: *mut u8, len: usize) -> i32;
    }
    // SAFETY: the bytes lie in memory, and are borrowed for writing, for the whole call.
    match unsafe { import(bytes.as_mut_ptr(), bytes.len()) } {
        0 => Ok(()),
        code => Err(Error::of_code(code)),
    }
}

/// Outside WebAssembly: from the randomness that the library's hash maps are seeded with.
#[cfg(not(target_arch = "wasm32"))]
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    use std::hash::{BuildHasher, RandomState};
    for (at, chunk) in bytes.chunks_mut(8).enumerate() {
        let chance = RandomState::new().hash_one(at).to_le_bytes();
        chunk.copy_from_slice(&chance[..chunk.len()]);
    }
    Ok(())
}
