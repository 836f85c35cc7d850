//! Write a penstock transformer in Rust.
//!
//! A transformer is one function from a change event and a configuration to an [`Outcome`]; [`transformer!`] exports it under
//! guest ABI v1:
//!
//! ```
//! use penstock_guest::{ChangeEvent, Outcome, Rejection, Result};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     #[serde(default)]
//!     country: String,
//! }
//!
//! fn transform<'a>(event: &mut ChangeEvent<'a>, config: &'a Config) -> Result<'a> {
//!     if !event.operation().leaves_a_row() {
//!         return Ok(Outcome::Unchanged);
//!     }
//!     let row = event.after()?;
//!     let Some(name) = row.text("name")? else {
//!         return Err(Rejection::new("no-name", "after.name is missing"));
//!     };
//!     row.set("full_name", format!("{name}, {}", config.country));
//!     Ok(event.emit())
//! }
//!
//! penstock_guest::transformer!(transform, Config);
//! ```
//!
//! The same function runs on Debezium's JSON as it lies in the topic (`encoding: raw`) and on events that the host has decoded
//! (`encoding: event`); either way changes are spliced into the bytes that came. A transformer of any other bytes takes an
//! [`Event`]: the record as it is. [`Transformer`] lists the shapes a function may have.
//!
//! Everything an event lends is borrowed from the batch frame. A panic, a refused configuration and a refused allocation are named
//! to the host before the guest traps. What a guest may ask of the host is in [`host`]; it imports only what it uses.

mod bytes;
mod change;
mod config;
mod decoded;
mod event;
mod exports;
mod frame;
mod metadata;
mod outcome;
mod transformer;

pub mod constant_time;
pub mod debezium;
pub mod host;
pub mod json;

pub use change::{ChangeEvent, Nested, NewValue, Number, Row, Value};
pub use debezium::Operation;
pub use decoded::{Decoded, plain};
pub use event::{Event, Headers};
pub use frame::Encoding;
pub use outcome::{NewHeaders, Outcome, Record, Rejection, Result};
pub use transformer::{Batch, Transformer};

/// Reads the msgpack of a [`Decoded`] value, in every width the format knows, without copying.
pub mod msgpack {
    pub use crate::frame::{BadFrame, Reader, Scalar, Token};
}

#[doc(hidden)]
pub use exports::{alloc, configure, cursor, transform};
#[doc(hidden)]
pub use metadata::bytes;

/// Exports a transformer function and its configuration type under guest ABI v1.
///
/// The function has one of the shapes in [`Transformer`]. The configuration is any `serde::Deserialize` type; the registry entry's
/// `config` is decoded into it once per instance, and what serde says against it is what the operator reads, so refuse unknown
/// fields and check relations with `#[serde(try_from = "…")]`. Use an empty struct for transformers without any.
///
/// The module's custom section `penstock` gets the crate's name and version from Cargo, and from here, each of them optional and in
/// this order: the encoding it is made for (`raw` unless given), the capabilities it wants, another name for the exported function.
///
/// ```
/// # use penstock_guest::{ChangeEvent, Outcome};
/// # #[derive(serde::Deserialize)]
/// # struct Config {}
/// fn transform<'a>(event: &mut ChangeEvent<'a>, _: &'a Config) -> Outcome<'a> {
///     penstock_guest::host::log::info("seen");
///     event.emit()
/// }
///
/// penstock_guest::transformer!(transform, Config, encoding: "event", capabilities: ["log"], function: redact);
/// ```
#[macro_export]
macro_rules! transformer {
    (
        $transform:path, $config:ty
        $(, encoding: $encoding:literal)? $(, capabilities: [$($capability:literal),* $(,)?])? $(, function: $function:ident)? $(,)?
    ) => {
        $crate::__transformer!($transform, $config, [$($encoding)?], [$($($capability),*)?], [$($function)?]);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __transformer {
    ($transform:path, $config:ty, [], $capabilities:tt, $function:tt) => {
        $crate::__transformer!($transform, $config, ["raw"], $capabilities, $function);
    };
    ($transform:path, $config:ty, [$encoding:literal], $capabilities:tt, [$($function:ident)?]) => {
        #[allow(dead_code)] // in a native build, for tests, nobody calls them
        const _: () = {
            const METADATA: &str =
                $crate::__metadata!($encoding, $capabilities, env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));

            #[cfg(target_arch = "wasm32")]
            #[used]
            #[unsafe(link_section = "penstock")]
            static SECTION: [u8; METADATA.len()] = $crate::bytes(METADATA);

            static CONFIG: std::sync::OnceLock<$config> = std::sync::OnceLock::new();

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn penstock_v1_alloc(size: u32) -> u32 {
                $crate::alloc(size)
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn penstock_v1_configure(ptr: u32, len: u32) -> u32 {
                $crate::configure(&CONFIG, ptr, len)
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn penstock_v1_transform(ptr: u32, len: u32) -> u64 {
                $crate::transform(&CONFIG, ptr, len, $transform)
            }

            #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
            extern "C" fn penstock_v1_cursor() -> u32 {
                $crate::cursor()
            }

            $(
                #[cfg_attr(target_arch = "wasm32", unsafe(no_mangle))]
                extern "C" fn $function(ptr: u32, len: u32) -> u64 {
                    $crate::transform(&CONFIG, ptr, len, $transform)
                }
            )?
        };
    };
}
