/* penstock_json_scan.h: walks JSON text without building anything. Checks the grammar of RFC 8259 and says where values end.
 *
 * Strings and runs of digits are crossed sixteen bytes at a time. What is common (a short plain string, a single space) is
 * inline and without a loop: in a guest, each turn of a loop costs a look at the deadline.
 *
 * The text must be UTF-8: see `penstock_json_utf8`. The step functions take a position and return the one behind what they
 * read, or NULL after noting what is wrong in `scan->error`.
 */
#ifndef PENSTOCK_JSON_SCAN_H
#define PENSTOCK_JSON_SCAN_H

#include "penstock_bytes.h"

#ifdef __wasm_simd128__
#include <wasm_simd128.h>
#endif

/* How deep values may be nested. A bit per level is kept on the stack, so a text cannot make this cost anything. */
enum { PENSTOCK_JSON_DEPTH_MAX = 512, PENSTOCK_JSON_BLOCK = 16 };

/* Why a text is not the JSON that was expected, and how many bytes lie before that. `problem` is NULL where nothing is wrong. */
typedef struct {
    const char *problem;
    uint32_t at;
} penstock_json_error;

typedef struct {
    const uint8_t *start;
    const uint8_t *end;
    penstock_json_error error;
    bool saw_escape; /* set by every string with a backslash; whoever asks clears it before */
} penstock_json_scan;

typedef const uint8_t *penstock_json_at;

/* ---- Sixteen bytes at a time. ---- */

#ifdef __wasm_simd128__

/* How many of the next sixteen bytes come before the first quote, backslash or control character. */
PENSTOCK_INLINE uint32_t penstock_json_plain(penstock_json_at at) {
    v128_t block = wasm_v128_load(at);
    v128_t quotes = wasm_i8x16_eq(block, wasm_i8x16_splat('"'));
    v128_t backslashes = wasm_i8x16_eq(block, wasm_i8x16_splat('\\'));
    v128_t controls = wasm_u8x16_lt(block, wasm_i8x16_splat(0x20));
    uint32_t stops = wasm_i8x16_bitmask(wasm_v128_or(wasm_v128_or(quotes, backslashes), controls));
    return (uint32_t)__builtin_ctz(stops | 1u << PENSTOCK_JSON_BLOCK);
}

/* How many of the next sixteen bytes are digits before the first that is none. */
PENSTOCK_INLINE uint32_t penstock_json_digits(penstock_json_at at) {
    v128_t above_zero = wasm_i8x16_sub(wasm_v128_load(at), wasm_i8x16_splat('0'));
    uint32_t others = wasm_i8x16_bitmask(wasm_u8x16_gt(above_zero, wasm_i8x16_splat(9)));
    return (uint32_t)__builtin_ctz(others | 1u << PENSTOCK_JSON_BLOCK);
}

PENSTOCK_INLINE bool penstock_json_is_ascii(penstock_json_at at) {
    return !wasm_i8x16_bitmask(wasm_v128_load(at));
}

#else

/* Without SIMD: eight bytes in one word. The lowest flag is exact, whatever the bytes above it do; words are little-endian. */
#define PENSTOCK_JSON_EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

PENSTOCK_INLINE uint64_t penstock_json_zeros(uint64_t word) { return (word - PENSTOCK_JSON_EACH(1)) & ~word; }

PENSTOCK_INLINE uint64_t penstock_json_stops(penstock_json_at at) {
    uint64_t word = penstock_load8(at);
    uint64_t quotes = penstock_json_zeros(word ^ PENSTOCK_JSON_EACH('"'));
    uint64_t backslashes = penstock_json_zeros(word ^ PENSTOCK_JSON_EACH('\\'));
    uint64_t controls = (word - PENSTOCK_JSON_EACH(0x20)) & ~word;
    return (quotes | backslashes | controls) & PENSTOCK_JSON_EACH(0x80);
}

PENSTOCK_INLINE uint64_t penstock_json_others(penstock_json_at at) {
    uint64_t above_zero = penstock_load8(at) ^ PENSTOCK_JSON_EACH('0');
    uint64_t over_nine = (above_zero & PENSTOCK_JSON_EACH(0x7f)) + PENSTOCK_JSON_EACH(0x80 - 10);
    return (over_nine | above_zero) & PENSTOCK_JSON_EACH(0x80);
}

/* The place of the first flag in two words of flags. */
PENSTOCK_INLINE uint32_t penstock_json_first(uint64_t low, uint64_t high) {
    if (low) return (uint32_t)__builtin_ctzll(low) / 8;
    return high ? 8 + (uint32_t)__builtin_ctzll(high) / 8 : PENSTOCK_JSON_BLOCK;
}

PENSTOCK_INLINE uint32_t penstock_json_plain(penstock_json_at at) {
    return penstock_json_first(penstock_json_stops(at), penstock_json_stops(at + 8));
}

PENSTOCK_INLINE uint32_t penstock_json_digits(penstock_json_at at) {
    return penstock_json_first(penstock_json_others(at), penstock_json_others(at + 8));
}

PENSTOCK_INLINE bool penstock_json_is_ascii(penstock_json_at at) {
    return !((penstock_load8(at) | penstock_load8(at + 8)) & PENSTOCK_JSON_EACH(0x80));
}

#endif

PENSTOCK_INLINE bool penstock_json_has_block(const penstock_json_scan *scan, penstock_json_at at) {
    return scan->end - at >= PENSTOCK_JSON_BLOCK;
}

/* ---- Steps. ---- */

/* Notes that this is wrong here. */
PENSTOCK_APART penstock_json_at penstock_json_fails(penstock_json_scan *scan, penstock_json_at at, const char *problem) {
    bool is_cut = at >= scan->end;
    scan->error.problem = is_cut ? "the text ends too early" : problem;
    scan->error.at = (uint32_t)((is_cut ? scan->end : at) - scan->start);
    return NULL;
}

/* The byte here; 0, which is allowed nowhere, at the end. */
PENSTOCK_INLINE uint8_t penstock_json_peek(const penstock_json_scan *scan, penstock_json_at at) {
    return at < scan->end ? *at : 0;
}

PENSTOCK_APART penstock_json_at penstock_json_more_space(const penstock_json_scan *scan, penstock_json_at at) {
    while (at < scan->end && (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')) at++;
    return at;
}

/* Mostly there is none, or one. */
PENSTOCK_INLINE penstock_json_at penstock_json_space(const penstock_json_scan *scan, penstock_json_at at) {
    if (penstock_json_peek(scan, at) > ' ') return at;
    if (scan->end - at >= 2 && at[0] == ' ' && at[1] > ' ') return at + 1;
    return penstock_json_more_space(scan, at);
}

PENSTOCK_INLINE bool penstock_json_is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

PENSTOCK_APART penstock_json_at penstock_json_more_digits(penstock_json_scan *scan, penstock_json_at at) {
    if (!penstock_json_is_digit(penstock_json_peek(scan, at))) return penstock_json_fails(scan, at, "expected a digit");
    while (penstock_json_is_digit(penstock_json_peek(scan, at))) at++;
    return at;
}

/* At least one digit. */
PENSTOCK_INLINE penstock_json_at penstock_json_some_digits(penstock_json_scan *scan, penstock_json_at at) {
    if (penstock_json_has_block(scan, at)) {
        uint32_t digits = penstock_json_digits(at);
        if (digits > 0 && digits < PENSTOCK_JSON_BLOCK) return at + digits;
    }
    return penstock_json_more_digits(scan, at);
}

PENSTOCK_APART penstock_json_at penstock_json_exponent(penstock_json_scan *scan, penstock_json_at at) {
    uint8_t sign = penstock_json_peek(scan, at);
    return penstock_json_more_digits(scan, sign == '+' || sign == '-' ? at + 1 : at);
}

PENSTOCK_INLINE penstock_json_at penstock_json_number(penstock_json_scan *scan, penstock_json_at at) {
    if (penstock_json_peek(scan, at) == '-') at++;
    at = penstock_json_peek(scan, at) == '0' ? at + 1 : penstock_json_some_digits(scan, at);
    if (at && penstock_json_peek(scan, at) == '.') at = penstock_json_some_digits(scan, at + 1);
    if (at && (penstock_json_peek(scan, at) | 0x20) == 'e') return penstock_json_exponent(scan, at + 1);
    return at;
}

PENSTOCK_INLINE penstock_json_at penstock_json_literal(penstock_json_scan *scan, penstock_json_at at, penstock_bytes text) {
    if ((size_t)(scan->end - at) >= text.size && penstock_same(at, text.data, text.size)) return at + text.size;
    return penstock_json_fails(scan, at, "expected a value");
}

PENSTOCK_INLINE bool penstock_json_is_hex(uint8_t byte) {
    return penstock_json_is_digit(byte) || ((byte | 0x20) >= 'a' && (byte | 0x20) <= 'f');
}

/* What stands behind a backslash. */
static inline penstock_json_at penstock_json_escape(penstock_json_scan *scan, penstock_json_at at) {
    switch (penstock_json_peek(scan, at)) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return at + 1;
    case 'u':
        at++;
        for (int digit = 0; digit < 4; digit++, at++)
            if (!penstock_json_is_hex(penstock_json_peek(scan, at)))
                return penstock_json_fails(scan, at, "expected a hexadecimal digit");
        return at;
    default:
        return penstock_json_fails(scan, at, "no such escape");
    }
}

/* Moves to the next quote, backslash or control character, or to the end. */
PENSTOCK_INLINE penstock_json_at penstock_json_skip_plain(const penstock_json_scan *scan, penstock_json_at at) {
    while (penstock_json_has_block(scan, at)) {
        uint32_t plain = penstock_json_plain(at);
        at += plain;
        if (plain < PENSTOCK_JSON_BLOCK) return at;
    }
    while (at < scan->end && *at >= 0x20 && *at != '"' && *at != '\\') at++;
    return at;
}

PENSTOCK_APART penstock_json_at penstock_json_more_string(penstock_json_scan *scan, penstock_json_at at) {
    for (;;) {
        at = penstock_json_skip_plain(scan, at);
        uint8_t stop = penstock_json_peek(scan, at);
        if (stop == '"') return at + 1;
        if (stop != '\\') return penstock_json_fails(scan, at, "a control character inside a string");
        scan->saw_escape = true;
        at = penstock_json_escape(scan, at + 1);
        if (!at) return NULL;
    }
}

PENSTOCK_INLINE penstock_json_at penstock_json_string(penstock_json_scan *scan, penstock_json_at at) {
    if (penstock_json_peek(scan, at) != '"') return penstock_json_fails(scan, at, "expected a string");
    at++;
    if (penstock_json_has_block(scan, at)) {
        uint32_t plain = penstock_json_plain(at);
        if (plain < PENSTOCK_JSON_BLOCK && at[plain] == '"') return at + plain + 1;
    }
    return penstock_json_more_string(scan, at);
}

/* The colon behind a name, and the space around it. */
PENSTOCK_INLINE penstock_json_at penstock_json_colon(penstock_json_scan *scan, penstock_json_at at) {
    at = penstock_json_space(scan, at);
    if (penstock_json_peek(scan, at) != ':') return penstock_json_fails(scan, at, "expected a colon");
    return penstock_json_space(scan, at + 1);
}

PENSTOCK_INLINE penstock_json_at penstock_json_name(penstock_json_scan *scan, penstock_json_at at) {
    at = penstock_json_string(scan, at);
    return at ? penstock_json_colon(scan, at) : NULL;
}

PENSTOCK_INLINE penstock_json_at penstock_json_scalar(penstock_json_scan *scan, penstock_json_at at) {
    switch (penstock_json_peek(scan, at)) {
    case '"':
        return penstock_json_string(scan, at);
    case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9':
        return penstock_json_number(scan, at);
    case 't':
        return penstock_json_literal(scan, at, PENSTOCK_TEXT("true"));
    case 'f':
        return penstock_json_literal(scan, at, PENSTOCK_TEXT("false"));
    case 'n':
        return penstock_json_literal(scan, at, PENSTOCK_TEXT("null"));
    default:
        return penstock_json_fails(scan, at, "expected a value");
    }
}

/* The one loop over nested values: a turn is a member or an element. */
PENSTOCK_APART penstock_json_at penstock_json_nested(penstock_json_scan *scan, penstock_json_at at) {
    uint64_t in_object[PENSTOCK_JSON_DEPTH_MAX / 64]; /* by level: whether what encloses it is an object */
    uint32_t depth = 0;
    uint8_t close = 0;
    for (;;) {
        uint8_t open = penstock_json_peek(scan, at);
        if (open == '{' || open == '[') {
            at = penstock_json_space(scan, at + 1);
            if (penstock_json_peek(scan, at) != open + 2) {
                if (depth == PENSTOCK_JSON_DEPTH_MAX) return penstock_json_fails(scan, at, "nested too deeply");
                uint64_t bit = UINT64_C(1) << depth % 64, rest = depth % 64 ? in_object[depth / 64] & (bit - 1) : 0;
                in_object[depth++ / 64] = close == '}' ? rest | bit : rest;
                close = open + 2;
                if (close == '}' && !(at = penstock_json_name(scan, at))) return NULL;
                continue;
            }
            at++;
        } else if (!(at = penstock_json_scalar(scan, at))) {
            return NULL;
        }
        for (;;) { /* leave all levels that end here */
            if (depth == 0) return at;
            at = penstock_json_space(scan, at);
            uint8_t next = penstock_json_peek(scan, at);
            if (next == ',') break;
            if (next != close) return penstock_json_fails(scan, at, "expected a comma or the end of the list");
            at++;
            depth--;
            close = in_object[depth / 64] >> depth % 64 & 1 ? '}' : ']';
        }
        at = penstock_json_space(scan, at + 1);
        if (close == '}' && !(at = penstock_json_name(scan, at))) return NULL;
    }
}

/* Any value, which must begin here. */
PENSTOCK_INLINE penstock_json_at penstock_json_skip(penstock_json_scan *scan, penstock_json_at at) {
    uint8_t first = penstock_json_peek(scan, at);
    return first == '{' || first == '[' ? penstock_json_nested(scan, at) : penstock_json_scalar(scan, at);
}

/* Nothing but white space may follow. */
PENSTOCK_INLINE bool penstock_json_ends(penstock_json_scan *scan, penstock_json_at at) {
    at = penstock_json_space(scan, at);
    if (at == scan->end) return true;
    penstock_json_fails(scan, at, "more text after the value");
    return false;
}

/* ---- UTF-8. ---- */

/* Bytes of the character that begins here, or 0 when none does (RFC 3629: no surrogates, nothing longer than needed). */
static inline uint32_t penstock_json_character(penstock_json_at at, penstock_json_at end) {
    uint8_t first = at[0];
    if (first < 0x80) return 1;
    uint32_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || end - at < (ptrdiff_t)size) return 0;
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) return 0;
    for (uint32_t byte = 2; byte < size; byte++)
        if ((at[byte] & 0xc0) != 0x80) return 0;
    return size;
}

/* Whether all of it is UTF-8; else `error` says where it is not. Plain ASCII costs a sixteenth of the steps. */
PENSTOCK_APART bool penstock_json_utf8(penstock_bytes text, penstock_json_error *error) {
    penstock_json_at at = text.data, end = text.data + text.size;
    while (at < end) {
        if (end - at >= PENSTOCK_JSON_BLOCK && penstock_json_is_ascii(at)) {
            at += PENSTOCK_JSON_BLOCK;
            continue;
        }
        penstock_json_at stop = end - at > PENSTOCK_JSON_BLOCK ? at + PENSTOCK_JSON_BLOCK : end;
        while (at < stop) {
            uint32_t size = penstock_json_character(at, end);
            if (!size) {
                *error = (penstock_json_error){"not UTF-8", (uint32_t)(at - text.data)};
                return false;
            }
            at += size;
        }
    }
    return true;
}

#endif
