/* penstock_bytes.h: spans of bytes, and what a freestanding guest needs of memory functions. */
#ifndef PENSTOCK_BYTES_H
#define PENSTOCK_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PENSTOCK_INLINE static inline __attribute__((always_inline))
/* Long and rarely needed: a call, so that what is short and frequent stays in registers. */
#define PENSTOCK_APART static __attribute__((noinline, unused))

/* Borrowed bytes. `data` is NULL for nil and for what is absent; an empty span that is there has an address. */
typedef struct {
    const uint8_t *data;
    uint32_t size;
} penstock_bytes;

/* A string literal as a span, without its closing zero. */
#define PENSTOCK_TEXT(literal) ((penstock_bytes){(const uint8_t *)("" literal), (uint32_t)sizeof(literal) - 1})

PENSTOCK_INLINE uint64_t penstock_load8(const uint8_t *at) {
    uint64_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

PENSTOCK_INLINE uint32_t penstock_load4(const uint8_t *at) {
    uint32_t word;
    __builtin_memcpy(&word, at, sizeof word);
    return word;
}

/* Whether `size` bytes are the same: a few loads where the size is a constant, and no loop over bytes. */
PENSTOCK_INLINE bool penstock_same(const uint8_t *one, const uint8_t *other, uint32_t size) {
    if (size >= 8) {
        for (uint32_t at = 0; at < size - 8; at += 8)
            if (penstock_load8(one + at) != penstock_load8(other + at)) return false;
        return penstock_load8(one + size - 8) == penstock_load8(other + size - 8);
    }
    if (size >= 4)
        return penstock_load4(one) == penstock_load4(other) &&
               penstock_load4(one + size - 4) == penstock_load4(other + size - 4);
    if (size == 0) return true;
    return one[0] == other[0] && one[size / 2] == other[size / 2] && one[size - 1] == other[size - 1];
}

PENSTOCK_INLINE bool penstock_equal(penstock_bytes one, penstock_bytes other) {
    return one.size == other.size && penstock_same(one.data, other.data, one.size);
}

/* `penstock_is(name, "after")`: whether the span is this literal. */
#define penstock_is(span, literal) penstock_equal((span), PENSTOCK_TEXT(literal))

static inline uint32_t penstock_length(const char *text) {
    uint32_t size = 0;
    while (text[size]) size++;
    return size;
}

/* A text that ends with a zero, as a span. NULL is nil. */
static inline penstock_bytes penstock_text(const char *text) {
    return (penstock_bytes){(const uint8_t *)text, text ? penstock_length(text) : 0};
}

/* Copies the span; returns the address behind it. The span may be nil or empty. */
PENSTOCK_INLINE uint8_t *penstock_copy(uint8_t *out, penstock_bytes span) {
    if (span.size) __builtin_memcpy(out, span.data, span.size);
    return out + span.size;
}

#endif
