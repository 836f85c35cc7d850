/* penstock.h: guest ABI v1 for C, in one header.
 *
 * Include it in one file and define `penstock_transform`; answer each event with exactly one of the five answers below.
 * The header brings the exports, the reader of batch frames and the writer of result frames. It needs no libc and asks for
 * no capability: its only import is `penstock.fail`, and only when something can fail.
 *
 * Memory is one arena above `__heap_base`. The host's blocks come first, the result frame grows behind them, and the next
 * `penstock_v1_alloc` after a batch starts over: a guest that is kept for many batches does not grow.
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PENSTOCK_EXPORT(name) __attribute__((export_name(name)))

/* Bytes of the batch frame, borrowed until the batch ends. `data` is NULL for nil: an absent key, a tombstone. */
typedef struct {
    const uint8_t *data;
    uint32_t size;
} penstock_bytes;

typedef struct {
    int64_t offset;
    int64_t timestamp_ms;
    penstock_bytes key;
    penstock_bytes value;
    penstock_bytes headers; /* the msgpack array of [name, bytes | nil] pairs, as it came */
} penstock_event;

/* The guest's own: called once per event, in order. */
static void penstock_transform(const penstock_event *event);

/* ---- Failing: names the reason, then traps. ---- */

__attribute__((import_module("penstock"), import_name("fail"), noreturn)) void
penstock_import_fail(const char *code, uint32_t code_size, const char *message, uint32_t message_size);

static uint32_t penstock_length(const char *text) {
    uint32_t size = 0;
    while (text[size]) size++;
    return size;
}

__attribute__((noreturn)) static void penstock_fail(const char *code, const char *message) {
    penstock_import_fail(code, penstock_length(code), message, penstock_length(message));
}

/* ---- The arena. ---- */

extern uint8_t __heap_base;
static uintptr_t penstock_top;   /* first free address; 0 before the first block */
static bool penstock_spent;      /* the blocks so far were used up by a batch */
static uint32_t penstock_index;  /* the cursor: index of the event at work */

/* Grows the memory until `end` lies inside it; false when the host refuses. */
static bool penstock_reach(uintptr_t end) {
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    if (end <= have) return true;
    return __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) != (size_t)-1;
}

static uintptr_t penstock_align(uintptr_t address) { return (address + 7) & ~(uintptr_t)7; }

PENSTOCK_EXPORT("penstock_v1_alloc") uint32_t penstock_v1_alloc(uint32_t size) {
    if (penstock_spent || !penstock_top) {
        penstock_top = penstock_align((uintptr_t)&__heap_base);
        penstock_spent = false;
    }
    uintptr_t block = penstock_top;
    if (size > UINT32_MAX - 7 - block || !penstock_reach(block + size)) return 0;
    penstock_top = penstock_align(block + size);
    return (uint32_t)block;
}

PENSTOCK_EXPORT("penstock_v1_cursor") uint32_t *penstock_v1_cursor(void) { return &penstock_index; }

/* ---- Writing the result frame. ---- */

static uint8_t *penstock_out;

/* Makes sure `size` more bytes can be written at `penstock_out`. */
static void penstock_reserve(uint32_t size) {
    uintptr_t end = (uintptr_t)penstock_out + size;
    if (end < size || !penstock_reach(end)) penstock_fail("memory", "the result frame does not fit into memory");
}

static void penstock_put(uint8_t byte) { *penstock_out++ = byte; }

static void penstock_put_be32(uint8_t tag, uint32_t number) {
    penstock_put(tag);
    for (int shift = 24; shift >= 0; shift -= 8) penstock_put((uint8_t)(number >> shift));
}

static void penstock_put_text(const char *text) {
    uint32_t size = penstock_length(text);
    penstock_reserve(size + 5);
    penstock_put_be32(0xdb, size);
    __builtin_memcpy(penstock_out, text, size);
    penstock_out += size;
}

/* Answer: emit the event as it came. */
static inline void penstock_unchanged(void) {
    penstock_reserve(1);
    penstock_put(0xc0);
}

/* Answer: drop the event. */
static inline void penstock_drop(void) {
    penstock_reserve(2);
    penstock_put(0x91);
    penstock_put(0);
}

/* Answer: emit with a new value of `size` bytes, which the caller writes at the returned address before it returns. */
static inline uint8_t *penstock_emit(uint32_t size) {
    if (size > UINT32_MAX - 7) penstock_fail("memory", "the value does not fit into memory");
    penstock_reserve(size + 7);
    penstock_put(0x92);
    penstock_put(1);
    penstock_put_be32(0xc6, size);
    uint8_t *value = penstock_out;
    penstock_out += size;
    return value;
}

/* Answer: emit with a nil value, a tombstone. */
static inline void penstock_emit_tombstone(void) {
    penstock_reserve(3);
    penstock_put(0x92);
    penstock_put(1);
    penstock_put(0xc0);
}

/* Answer: send the event to the dead-letter topic. Both texts are UTF-8. */
static inline void penstock_reject(const char *code, const char *message) {
    penstock_reserve(2);
    penstock_put(0x93);
    penstock_put(3);
    penstock_put_text(code);
    penstock_put_text(message);
}

/* ---- Reading the batch frame. The host wrote it, so a fault here is a fault of the host. ---- */

static const uint8_t *penstock_in;
static const uint8_t *penstock_end;

__attribute__((noreturn)) static void penstock_bad_frame(void) {
    penstock_fail("bad-frame", "the batch frame is not what guest ABI v1 says");
}

static const uint8_t *penstock_take(uint32_t size) {
    if ((uint32_t)(penstock_end - penstock_in) < size) penstock_bad_frame();
    const uint8_t *at = penstock_in;
    penstock_in += size;
    return at;
}

/* A big-endian number of `width` bytes. */
static uint64_t penstock_number(uint32_t width) {
    const uint8_t *at = penstock_take(width);
    uint64_t number = 0;
    while (width--) number = number << 8 | *at++;
    return number;
}

static uint32_t penstock_array(void) {
    uint8_t tag = *penstock_take(1);
    if ((tag & 0xf0) == 0x90) return tag & 0x0f;
    if (tag == 0xdc) return (uint32_t)penstock_number(2);
    if (tag == 0xdd) return (uint32_t)penstock_number(4);
    penstock_bad_frame();
}

static int64_t penstock_integer(void) {
    uint8_t tag = *penstock_take(1);
    if (tag < 0x80 || tag >= 0xe0) return (int8_t)tag;
    if (tag >= 0xcc && tag <= 0xcf) return (int64_t)penstock_number(1u << (tag - 0xcc));
    if (tag < 0xd0 || tag > 0xd3) penstock_bad_frame();
    uint32_t width = 1u << (tag - 0xd0);
    int shift = 64 - 8 * (int)width;
    return (int64_t)(penstock_number(width) << shift) >> shift;
}

static penstock_bytes penstock_binary(void) {
    uint8_t tag = *penstock_take(1);
    if (tag == 0xc0) return (penstock_bytes){NULL, 0};
    if (tag < 0xc4 || tag > 0xc6) penstock_bad_frame();
    uint32_t size = (uint32_t)penstock_number(1u << (tag - 0xc4));
    return (penstock_bytes){penstock_take(size), size};
}

/* Skips one value; returns how many values nested in it follow. */
static uint32_t penstock_skip_head(void) {
    uint8_t tag = *penstock_take(1);
    if (tag < 0x80 || tag >= 0xe0) return 0;
    if (tag < 0x90) return 2u * (tag & 0x0f);
    if (tag < 0xa0) return tag & 0x0f;
    if (tag < 0xc0) return penstock_take(tag & 0x1f), 0;
    if (tag <= 0xc3) return 0;
    if (tag <= 0xc6) return penstock_take((uint32_t)penstock_number(1u << (tag - 0xc4))), 0;
    if (tag <= 0xc9) return penstock_take((uint32_t)penstock_number(1u << (tag - 0xc7))), penstock_take(1), 0;
    if (tag <= 0xcb) return penstock_take(4u << (tag - 0xca)), 0;
    if (tag <= 0xcf) return penstock_take(1u << (tag - 0xcc)), 0;
    if (tag <= 0xd3) return penstock_take(1u << (tag - 0xd0)), 0;
    if (tag <= 0xd8) return penstock_take(1 + (1u << (tag - 0xd4))), 0;
    if (tag <= 0xdb) return penstock_take((uint32_t)penstock_number(1u << (tag - 0xd9))), 0;
    if (tag <= 0xdd) return (uint32_t)penstock_number(tag == 0xdc ? 2 : 4);
    return 2u * (uint32_t)penstock_number(tag == 0xde ? 2 : 4);
}

static penstock_bytes penstock_skip(void) {
    const uint8_t *start = penstock_in;
    for (uint64_t pending = 1; pending; pending--) pending += penstock_skip_head();
    return (penstock_bytes){start, (uint32_t)(penstock_in - start)};
}

static penstock_event penstock_next(void) {
    if (penstock_array() != 5) penstock_bad_frame();
    penstock_event event;
    event.offset = penstock_integer();
    event.timestamp_ms = penstock_integer();
    event.key = penstock_binary();
    event.value = penstock_binary();
    event.headers = penstock_skip();
    return event;
}

PENSTOCK_EXPORT("penstock_v1_transform") uint64_t penstock_v1_transform(uint32_t ptr, uint32_t len) {
    penstock_in = (const uint8_t *)(uintptr_t)ptr;
    penstock_end = penstock_in + len;
    penstock_spent = true;
    if (penstock_array() != 2) penstock_bad_frame();
    penstock_skip(); /* meta: topic, partition, encoding */
    uint32_t count = penstock_array();

    uint8_t *result = penstock_out = (uint8_t *)penstock_align((uintptr_t)penstock_end);
    penstock_reserve(5);
    penstock_put_be32(0xdd, count);
    for (penstock_index = 0; penstock_index < count; penstock_index++) {
        penstock_event event = penstock_next();
        penstock_transform(&event);
    }
    return (uint64_t)(uintptr_t)result << 32 | (uint32_t)(penstock_out - result);
}

#endif
