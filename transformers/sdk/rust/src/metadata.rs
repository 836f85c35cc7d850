//! The custom section `penstock`: who the module is and what it wants.

/// The section's text, as JSON. For [`transformer!`](crate::transformer!).
#[doc(hidden)]
#[macro_export]
macro_rules! __metadata {
    ($encoding:literal, [$($capability:literal),*], $name:expr, $version:expr) => {
        concat!(
            "{\"abi\":1,\"name\":\"", $name, "\",\"version\":\"", $version,
            "\",\"sdk\":\"rust/0.1.0\",\"encoding\":\"", $encoding,
            "\",\"capabilities\":[", $crate::__quoted!($($capability),*), "]}"
        )
    };
}

/// Texts in quotes with commas between them.
#[doc(hidden)]
#[macro_export]
macro_rules! __quoted {
    () => { "" };
    ($only:literal) => { concat!("\"", $only, "\"") };
    ($first:literal, $($rest:literal),+) => { concat!("\"", $first, "\",", $crate::__quoted!($($rest),+)) };
}

/// The text's bytes as an array, which is what a section holds.
#[doc(hidden)]
pub const fn bytes<const LENGTH: usize>(text: &str) -> [u8; LENGTH] {
    match text.as_bytes().first_chunk() {
        Some(bytes) => *bytes,
        None => panic!("the text is shorter"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_section_is_json() {
        let text = crate::__metadata!("event", ["log", "clock"], "shout", "1.2.3");
        let metadata: serde_json::Value = serde_json::from_str(text).unwrap();
        let sdk = concat!("rust/", env!("CARGO_PKG_VERSION"));
        let expected = serde_json::json!({"abi": 1, "name": "shout", "version": "1.2.3", "sdk": sdk, "encoding": "event",
            "capabilities": ["log", "clock"]});
        assert_eq!(metadata, expected);
        assert!(crate::__metadata!("raw", [], "a", "1").ends_with("[]}"));
        assert_eq!(super::bytes::<2>("ab"), *b"ab");
    }
}
