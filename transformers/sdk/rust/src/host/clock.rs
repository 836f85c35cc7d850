//! The time. Capability `clock`.

/// Milliseconds since 1970.
#[cfg(target_arch = "wasm32")]
pub fn now_ms() -> i64 {
    #[link(wasm_import_module = "penstock")]
    unsafe extern "C" {
        #[link_name = "now_ms"]
        fn import() -> i64;
    }
    // SAFETY: it takes nothing and returns a number.
    unsafe { import() }
}

/// Nanoseconds of a clock that never goes back; only differences mean anything.
#[cfg(target_arch = "wasm32")]
pub fn monotonic_ns() -> i64 {
    #[link(wasm_import_module = "penstock")]
    unsafe extern "C" {
        #[link_name = "monotonic_ns"]
        fn import() -> i64;
    }
    // SAFETY: it takes nothing and returns a number.
    unsafe { import() }
}

/// Milliseconds since 1970.
#[cfg(not(target_arch = "wasm32"))]
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}

/// Nanoseconds of a clock that never goes back; only differences mean anything.
#[cfg(not(target_arch = "wasm32"))]
pub fn monotonic_ns() -> i64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_nanos() as i64
}
