/* penstock_json_text.h: strings and integers, from their JSON text and back. */
#ifndef PENSTOCK_JSON_TEXT_H
#define PENSTOCK_JSON_TEXT_H

#include "penstock_json_scan.h"

/* The value of four hexadecimal digits, which are there. */
static inline uint32_t penstock_json_hex4(penstock_json_at at) {
    uint32_t number = 0;
    for (int digit = 0; digit < 4; digit++)
        number = number << 4 | (uint32_t)(at[digit] <= '9' ? at[digit] - '0' : (at[digit] | 0x20) - 'a' + 10);
    return number;
}

/* Writes a code point as UTF-8; returns how many bytes. */
static inline uint32_t penstock_json_put_character(uint8_t out[4], uint32_t point) {
    if (point < 0x80) return out[0] = (uint8_t)point, 1;
    uint32_t size = point < 0x800 ? 2 : point < 0x10000 ? 3 : 4;
    for (uint32_t byte = size - 1; byte > 0; byte--, point >>= 6) out[byte] = 0x80 | (point & 0x3f);
    out[0] = (uint8_t)(0xf00 >> size | point);
    return size;
}

/* `\u00e9` or a pair of surrogates, `at` behind its first `u`. Sets the code point; NULL for half of a pair. */
static inline penstock_json_at penstock_json_unicode(penstock_json_at at, penstock_json_at end, uint32_t *point) {
    *point = penstock_json_hex4(at);
    at += 4;
    if (*point < 0xd800 || *point > 0xdfff) return at;
    if (*point > 0xdbff || end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
    uint32_t low = penstock_json_hex4(at + 2);
    if (low < 0xdc00 || low > 0xdfff) return NULL;
    *point = 0x10000 + ((*point - 0xd800) << 10) + (low - 0xdc00);
    return at + 6;
}

/* The escape behind a backslash of a checked string. Writes what it stands for; NULL for half of a surrogate pair. */
PENSTOCK_APART penstock_json_at penstock_json_unescape(penstock_json_at at, penstock_json_at end, uint8_t out[4], uint32_t *size) {
    uint32_t point = *at++;
    switch (point) {
    case 'b': point = '\b'; break;
    case 'f': point = '\f'; break;
    case 'n': point = '\n'; break;
    case 'r': point = '\r'; break;
    case 't': point = '\t'; break;
    case 'u': at = penstock_json_unicode(at, end, &point); break;
    default: break; /* itself */
    }
    if (at) *size = penstock_json_put_character(out, point);
    return at;
}

/* The bytes before the first backslash. (Quotes and control characters cannot be inside of a checked string.) */
PENSTOCK_INLINE uint32_t penstock_json_unescaped(penstock_bytes inside) {
    penstock_json_scan scan = {.start = inside.data, .end = inside.data + inside.size};
    return (uint32_t)(penstock_json_skip_plain(&scan, inside.data) - inside.data);
}

/* The text that the inside of a checked string stands for: `out` needs as much room as `inside` has; NULL only counts.
 * Returns the text's bytes, or -1 for half of a surrogate pair, which is no text. */
PENSTOCK_APART int64_t penstock_json_decode(penstock_bytes inside, uint8_t *out) {
    penstock_json_at at = inside.data, end = inside.data + inside.size;
    int64_t size = 0;
    while (at < end) {
        uint32_t plain = penstock_json_unescaped((penstock_bytes){at, (uint32_t)(end - at)});
        if (out && plain) __builtin_memcpy(out + size, at, plain);
        at += plain;
        size += plain;
        if (at == end) break;
        uint8_t character[4];
        uint32_t bytes;
        at = penstock_json_unescape(at + 1, end, character, &bytes);
        if (!at) return -1;
        for (uint32_t byte = 0; out && byte < bytes; byte++) out[size + byte] = character[byte];
        size += bytes;
    }
    return size;
}

/* Whether the inside of a checked string stands for this text. */
PENSTOCK_APART bool penstock_json_stands_for(penstock_bytes inside, penstock_bytes text) {
    penstock_json_at at = inside.data, end = inside.data + inside.size;
    uint32_t done = 0;
    while (at < end) {
        uint32_t size = penstock_json_unescaped((penstock_bytes){at, (uint32_t)(end - at)});
        uint8_t character[4];
        const uint8_t *part = at;
        at += size;
        if (size == 0) {
            at = penstock_json_unescape(at + 1, end, character, &size);
            part = character;
            if (!at) return false;
        }
        if (size > text.size - done || !penstock_same(part, text.data + done, size)) return false;
        done += size;
    }
    return done == text.size;
}

/* ---- Writing. ---- */

/* Bytes that the character needs within a JSON string. */
PENSTOCK_INLINE uint32_t penstock_json_escaped_size(uint8_t byte) {
    if (byte == '"' || byte == '\\' || byte == '\n' || byte == '\r' || byte == '\t') return 2;
    return byte < 0x20 ? 6 : 1;
}

/* Bytes of `text` as a JSON string, quotes included. */
PENSTOCK_APART uint64_t penstock_json_quoted_size(penstock_bytes text) {
    uint32_t plain = penstock_json_unescaped(text);
    uint64_t size = 2 + (uint64_t)plain;
    for (; plain < text.size; plain++) size += penstock_json_escaped_size(text.data[plain]);
    return size;
}

PENSTOCK_INLINE uint8_t *penstock_json_put_escape(uint8_t *out, uint8_t byte) {
    *out++ = '\\';
    if (penstock_json_escaped_size(byte) == 2) {
        *out++ = byte == '\n' ? 'n' : byte == '\r' ? 'r' : byte == '\t' ? 't' : byte;
        return out;
    }
    out = penstock_copy(out, PENSTOCK_TEXT("u00"));
    *out++ = '0' + (byte >> 4);
    *out++ = (uint8_t)((byte & 15) < 10 ? '0' + (byte & 15) : 'a' - 10 + (byte & 15));
    return out;
}

/* Writes `text` as a JSON string, in `penstock_json_quoted_size(text)` bytes; returns the address behind it. */
PENSTOCK_APART uint8_t *penstock_json_quote(uint8_t *out, penstock_bytes text) {
    uint32_t at = penstock_json_unescaped(text);
    *out++ = '"';
    out = penstock_copy(out, (penstock_bytes){text.data, at});
    for (; at < text.size; at++) {
        if (penstock_json_escaped_size(text.data[at]) == 1) *out++ = text.data[at];
        else out = penstock_json_put_escape(out, text.data[at]);
    }
    *out++ = '"';
    return out;
}

enum { PENSTOCK_JSON_INTEGER_BYTES = 20 };

/* Writes an integer in at most 20 bytes; returns the address behind it. */
PENSTOCK_APART uint8_t *penstock_json_put_integer(uint8_t *out, int64_t number) {
    uint8_t digits[PENSTOCK_JSON_INTEGER_BYTES];
    uint32_t start = sizeof digits;
    uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;
    do digits[--start] = '0' + (uint8_t)(rest % 10);
    while (rest /= 10);
    if (number < 0) digits[--start] = '-';
    return penstock_copy(out, (penstock_bytes){digits + start, (uint32_t)sizeof digits - start});
}

#endif
