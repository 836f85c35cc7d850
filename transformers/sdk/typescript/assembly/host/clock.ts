// The time. Capability `clock`.

@external("penstock", "now_ms")
declare function hostNowMs(): i64;
@external("penstock", "monotonic_ns")
declare function hostMonotonicNs(): i64;

/** Milliseconds since 1970. */
export function nowMs(): i64 { return hostNowMs(); }

/** Nanoseconds of a clock that never goes back; only differences mean anything. */
export function monotonicNs(): i64 { return hostMonotonicNs(); }
