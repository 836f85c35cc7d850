//! Write a penstock transformer in Rust.
//!
//! A transformer is one function from an event and its configuration to an [`Outcome`]; [`transformer!`] exports it under
//! guest ABI v1:
//!
//! ```
//! use penstock_guest::{Event, Outcome};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     keep: u64,
//! }
//!
//! fn transform<'a>(event: &Event<'a>, config: &'a Config) -> Outcome<'a> {
//!     match event.value {
//!         Some(value) if value.len() as u64 > config.keep => Outcome::Drop,
//!         _ => Outcome::Unchanged,
//!     }
//! }
//!
//! penstock_guest::transformer!(transform, Config);
//! ```
//!
//! Everything an event lends (key, value, headers) is borrowed from the batch frame; nothing is copied on the way in. A
//! panic, a refused configuration and a refused allocation are named to the host before the guest traps. The crate asks
//! for no capability: its only import is `penstock.fail`, which is always granted.

mod bytes;
mod config;
mod event;
mod exports;
mod frame;
mod outcome;

pub mod debezium;
pub mod json;
#[cfg(feature = "log")]
pub mod log;

pub use event::{Event, Headers};
pub use outcome::{NewHeaders, Outcome, Record};

#[doc(hidden)]
pub use exports::{alloc, configure, cursor, transform};

/// Exports a transformer function and its configuration type under guest ABI v1.
///
/// The function is `for<'a> fn(&Event<'a>, &'a Config) -> Outcome<'a>`. The configuration is any `serde::Deserialize` type; the
/// registry entry's `config` is decoded into it once per instance, and what serde says against it is what the operator
/// reads, so refuse unknown fields and check relations with `#[serde(try_from = "…")]`. Use `()`-like empty structs for
/// transformers without any.
#[macro_export]
macro_rules! transformer {
    ($transform:path, $config:ty) => {
        #[cfg(target_arch = "wasm32")]
        const _: () = {
            static CONFIG: std::sync::OnceLock<$config> = std::sync::OnceLock::new();

            #[unsafe(no_mangle)]
            extern "C" fn penstock_v1_alloc(size: u32) -> u32 {
                $crate::alloc(size)
            }

            #[unsafe(no_mangle)]
            extern "C" fn penstock_v1_configure(ptr: u32, len: u32) -> u32 {
                $crate::configure(&CONFIG, ptr, len)
            }

            #[unsafe(no_mangle)]
            extern "C" fn penstock_v1_transform(ptr: u32, len: u32) -> u64 {
                $crate::transform(&CONFIG, ptr, len, $transform)
            }

            #[unsafe(no_mangle)]
            extern "C" fn penstock_v1_cursor() -> u32 {
                $crate::cursor()
            }
        };
    };
}
