//! Log lines. Capability `log`.

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Level {
    /// For finding one's way.
    Trace = 0,
    /// For developers.
    Debug = 1,
    /// For operators.
    Info = 2,
    /// Something is odd.
    Warning = 3,
    /// Something is wrong.
    Error = 4,
}

/// Writes one line. The host cuts it at 4 KiB, and drops what goes beyond `log_bytes_per_batch`.
#[cfg(target_arch = "wasm32")]
pub fn write(level: Level, line: &str) {
    #[link(wasm_import_module = "penstock")]
    unsafe extern "C" {
        #[link_name = "log"]
        fn import(level: u32, line: *const u8, len: usize);
    }
    // SAFETY: the line lies in memory for the whole call.
    unsafe { import(level as u32, line.as_ptr(), line.len()) }
}

/// Outside WebAssembly lines go to stderr.
#[cfg(not(target_arch = "wasm32"))]
pub fn write(level: Level, line: &str) {
    eprintln!("{level:?}: {line}");
}

/// A line for operators.
pub fn info(line: &str) {
    write(Level::Info, line);
}

/// A line about something odd.
pub fn warning(line: &str) {
    write(Level::Warning, line);
}

/// A line about something wrong.
pub fn error(line: &str) {
    write(Level::Error, line);
}
