//! The SDK's own tests: `zig test testing.zig`, natively.

test {
    _ = @import("msgpack.zig");
    _ = @import("json.zig");
    _ = @import("json_edits.zig");
    _ = @import("debezium.zig");
}
