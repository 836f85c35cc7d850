//! What a guest may ask of the host, each behind a capability that the registry must grant.
//!
//! A function that is not used is not imported, so the module asks for nothing it does not need. Name the capabilities in
//! [`transformer!`](crate::transformer!) too: tools show them to whoever decides about the grant. Outside WebAssembly, in a
//! native test, `log` writes to stderr, the clock and chance are the system's, and all others are [`Error::Unavailable`].

pub mod clock;
pub mod database;
pub mod environment;
pub mod file;
pub mod http;
pub mod kv;
pub mod log;
pub mod random;

#[cfg_attr(not(target_arch = "wasm32"), allow(dead_code))] // natively there is no host to call
mod call;
mod pack;

pub use call::Error;
pub use pack::Scalar;
