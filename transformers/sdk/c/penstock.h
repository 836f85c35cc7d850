/* penstock.h: a penstock transformer in C, under guest ABI v1. Freestanding C11: no libc, no capability asked for.
 *
 * Include it in one file, define `penstock_transform`, and answer each event with exactly one of the answers below. The header
 * brings the exports, the reader of batch frames and the writer of result frames; its only import is `penstock.fail`.
 *
 *     #define PENSTOCK_HAS_CONFIG       the guest takes a config: define `penstock_configure` too (penstock_config.h)
 *     #define PENSTOCK_ENCODING_EVENT   values are change events that the host decoded (penstock_change.h)
 *
 * Beside it: penstock_json.h and penstock_edit.h (JSON in place), penstock_debezium.h, penstock_host.h (capabilities).
 *
 * Memory is one arena above `__heap_base`: what the configuration kept, the host's blocks, the result frame, and above it what
 * `penstock_scratch` lends until the event is answered. The next `penstock_v1_alloc` after a batch starts over: a guest that is
 * kept for many batches does not grow.
 */
#ifndef PENSTOCK_H
#define PENSTOCK_H

#include "penstock_msgpack.h"

#define PENSTOCK_EXPORT(name) __attribute__((export_name(name)))
#define PENSTOCK_IMPORT(name) __attribute__((import_module("penstock"), import_name(name)))

#ifdef PENSTOCK_ENCODING_EVENT
#define PENSTOCK_ENCODING "event"
enum { PENSTOCK_IS_EVENT = 1 };
#else
#define PENSTOCK_ENCODING "raw"
enum { PENSTOCK_IS_EVENT = 0 };
#endif

/* `PENSTOCK_METADATA("mask-names", "0.1.0", "log", "clock");` names the guest, its version and the capabilities it wants in the
 * module's section `penstock`. Not needed where `penstock build` makes the module: it takes them from guest.toml. */
#define PENSTOCK_METADATA(name, version, ...)                                                                                  \
    __asm__(".section .custom_section.penstock,\"\",@\n"                                                                       \
            PENSTOCK_ASCII("{\"abi\":1,\"name\":\"") PENSTOCK_ASCII(name) PENSTOCK_ASCII("\",\"version\":\"")                    \
            PENSTOCK_ASCII(version) PENSTOCK_ASCII("\",\"sdk\":\"c/0.1.0\",\"encoding\":\"")                                    \
            ".ascii \"" PENSTOCK_ENCODING "\"\n" PENSTOCK_ASCII("\",\"capabilities\":[")                                       \
            PENSTOCK_ASCII_OF(PENSTOCK_LITERAL(__VA_ARGS__)) PENSTOCK_ASCII("]}"))
#define PENSTOCK_ASCII(literal) ".ascii " #literal "\n" /* the assembler reads string literals as C does */
#define PENSTOCK_ASCII_OF(literal) PENSTOCK_ASCII(literal)
#define PENSTOCK_LITERAL(...) #__VA_ARGS__

/* Bytes are borrowed until the batch ends. `data` is NULL for nil: an absent key, a tombstone. */
typedef struct {
    penstock_bytes topic;
    int64_t partition;
    int64_t offset;
    int64_t timestamp_ms;
    penstock_bytes key;
    penstock_bytes value;   /* with PENSTOCK_ENCODING_EVENT: the change event's msgpack map */
    penstock_bytes headers; /* the msgpack array of pairs, as it came: see `penstock_headers` */
} penstock_event;

typedef struct {
    penstock_bytes name;
    penstock_bytes value;
} penstock_header;

/* One record to emit. Zeros mean: to the route's destination, without a key, a tombstone, with the event's own headers. */
typedef struct {
    penstock_bytes topic;
    penstock_bytes key;
    penstock_bytes value;
    const penstock_header *headers; /* NULL keeps the event's own */
    uint32_t header_count;
} penstock_record;

/* The guest's own: called once per event, in order. */
static void penstock_transform(const penstock_event *event);

/* ---- Failing: names the reason, then traps. ---- */

PENSTOCK_IMPORT("fail") __attribute__((noreturn)) void
penstock_import_fail(const uint8_t *code, uint32_t code_size, const uint8_t *message, uint32_t message_size);

__attribute__((noreturn, noinline, unused)) static void penstock_fail_with(penstock_bytes code, penstock_bytes message) {
    penstock_import_fail(code.data, code.size, message.data, message.size);
}

/* A fault of the guest, or of the host, at no event in particular: short stable code, one sentence. */
__attribute__((noreturn)) static inline void penstock_fail(const char *code, const char *message) {
    penstock_fail_with(penstock_text(code), penstock_text(message));
}

#define PENSTOCK_STRING_OF(line) #line
#define PENSTOCK_PLACE(file, line) file ":" PENSTOCK_STRING_OF(line)

/* Fails with the text and the place unless it holds: what must be true whatever the event is. */
#define penstock_assert(condition)                                                                                             \
    ((condition) ? (void)0 : penstock_fail("panic", "assertion failed: " #condition " (" PENSTOCK_PLACE(__FILE_NAME__, __LINE__) ")"))

/* ---- The arena. ---- */

extern uint8_t __heap_base;
static uintptr_t penstock_base;     /* first address behind what is kept for good; 0 before the first block */
static uintptr_t penstock_top;      /* first address behind the host's blocks */
static bool penstock_spent;         /* the blocks so far were used up by a batch */
static uint32_t penstock_index;     /* the cursor: index of the event at work */
static uint8_t *penstock_out;       /* where the result frame goes on */
static uint8_t *penstock_lent_from; /* what `penstock_scratch` lends begins here */
static uint8_t *penstock_lent_to;

/* Grows the memory until `end` lies inside of it; false when the host refuses. */
PENSTOCK_INLINE bool penstock_reach(uintptr_t end) {
    uintptr_t have = (uintptr_t)__builtin_wasm_memory_size(0) << 16;
    if (end <= have) return true;
    return __builtin_wasm_memory_grow(0, (end - have + 0xffff) >> 16) != (size_t)-1;
}

PENSTOCK_INLINE uintptr_t penstock_align(uintptr_t address) { return (address + 7) & ~(uintptr_t)7; }

PENSTOCK_EXPORT("penstock_v1_alloc") uint32_t penstock_v1_alloc(uint32_t size) {
    if (!penstock_base) penstock_base = penstock_top = penstock_align((uintptr_t)&__heap_base);
    if (penstock_spent) penstock_top = penstock_base;
    penstock_spent = false;
    uintptr_t block = penstock_top;
    if (size > UINT32_MAX - 7 - block || !penstock_reach(block + size)) return 0;
    penstock_top = penstock_align(block + size);
    return (uint32_t)block;
}

PENSTOCK_EXPORT("penstock_v1_cursor") uint32_t *penstock_v1_cursor(void) { return &penstock_index; }

/* Makes sure that so many bytes can be written at an address above everything else. */
PENSTOCK_APART void penstock_need(const uint8_t *at, uint64_t size) {
    uint64_t end = (uintptr_t)at + size;
    if (end > UINT32_MAX || !penstock_reach((uintptr_t)end)) penstock_fail("memory", "the guest's memory limit left no room for what it writes");
}

/* Lends memory, aligned to 8, until the event is answered; what is taken while configuring is kept for good. */
PENSTOCK_APART void *penstock_scratch(uint64_t size) {
    uint8_t *block = penstock_lent_to;
    penstock_need(block, size + 7);
    penstock_lent_to = (uint8_t *)penstock_align((uintptr_t)block + (uintptr_t)size);
    return block;
}

/* ---- Texts made of parts. ---- */

PENSTOCK_APART penstock_bytes penstock_join_parts(const penstock_bytes *parts, uint32_t count) {
    uint64_t size = 0;
    for (uint32_t part = 0; part < count; part++) size += parts[part].size;
    uint8_t *text = penstock_scratch(size), *end = text;
    for (uint32_t part = 0; part < count; part++) end = penstock_copy(end, parts[part]);
    return (penstock_bytes){text, (uint32_t)size};
}

/* `penstock_join(PENSTOCK_TEXT("after."), column, …)`: the parts in one, in scratch. */
#define penstock_join(...)                                                                                                     \
    penstock_join_parts((penstock_bytes[]){__VA_ARGS__}, sizeof((penstock_bytes[]){__VA_ARGS__}) / sizeof(penstock_bytes))

/* A text for a message: cut, at a character, when it is longer than 80 bytes. */
static inline penstock_bytes penstock_shown(penstock_bytes text) {
    enum { SHOWN_BYTES_MAX = 80 };
    if (text.size <= SHOWN_BYTES_MAX) return text;
    uint32_t size = SHOWN_BYTES_MAX;
    while (size && (text.data[size] & 0xc0) == 0x80) size--;
    return penstock_join((penstock_bytes){text.data, size}, PENSTOCK_TEXT("\xe2\x80\xa6"));
}

/* ---- The answers: exactly one for each event. ---- */

static uint8_t *penstock_answer_at; /* NULL while the event has none */
static uint64_t penstock_answer_size;

/* Where an answer of so many bytes is written: at its place in the frame, or behind the scratch that it may be made of. */
PENSTOCK_APART uint8_t *penstock_answer(uint64_t size) {
    if (penstock_answer_at) penstock_fail("two-answers", "the transformer answered one event twice");
    bool fits = penstock_lent_to == penstock_lent_from || size <= (uint64_t)(penstock_lent_from - penstock_out);
    penstock_answer_at = fits ? penstock_out : penstock_lent_to;
    penstock_need(penstock_answer_at, size);
    penstock_answer_size = size;
    return penstock_answer_at;
}

PENSTOCK_INLINE uint8_t *penstock_put_byte(uint8_t *out, uint8_t byte) { return *out = byte, out + 1; }

/* The answer's head, `[kind, …]`. */
PENSTOCK_INLINE uint8_t *penstock_put_answer(uint8_t *out, uint8_t fields, uint8_t kind) {
    return penstock_put_byte(penstock_put_byte(out, 0x90 | fields), kind);
}

/* The event goes on as it came. */
static inline void penstock_unchanged(void) { *penstock_answer(1) = 0xc0; }

/* The event ends here. */
static inline void penstock_drop(void) { penstock_put_answer(penstock_answer(2), 1, 0); }

/* The event goes on with a new value of `size` bytes, which the caller writes at the returned address before it returns. */
static inline uint8_t *penstock_emit(uint32_t size) {
    uint32_t head = PENSTOCK_IS_EVENT ? 0 : 5; /* a change event is msgpack already */
    uint8_t *out = penstock_put_answer(penstock_answer(2 + head + (uint64_t)size), 2, 1);
    return head ? penstock_put_wide(out, 0xc6, size) : out;
}

/* The event goes on as a tombstone. */
static inline void penstock_emit_tombstone(void) {
    penstock_put_byte(penstock_put_answer(penstock_answer(3), 2, 1), 0xc0);
}

/* The event goes on with this value; nil makes it a tombstone. */
static inline void penstock_emit_value(penstock_bytes value) {
    if (value.data) penstock_copy(penstock_emit(value.size), value);
    else penstock_emit_tombstone();
}

PENSTOCK_INLINE uint8_t *penstock_put_value(uint8_t *out, penstock_bytes value) {
    return PENSTOCK_IS_EVENT && value.data ? penstock_copy(out, value) : penstock_put_binary(out, value);
}

PENSTOCK_INLINE uint8_t *penstock_put_record(uint8_t *out, const penstock_record *record) {
    out = penstock_put_byte(out, 0x94);
    out = record->topic.data ? penstock_put_string(out, record->topic) : penstock_put_byte(out, 0xc0);
    out = penstock_put_value(penstock_put_binary(out, record->key), record->value);
    if (!record->headers) return penstock_put_byte(out, 0xc0);
    out = penstock_put_wide(out, 0xdd, record->header_count);
    for (uint32_t at = 0; at < record->header_count; at++) {
        out = penstock_put_string(penstock_put_byte(out, 0x92), record->headers[at].name);
        out = penstock_put_binary(out, record->headers[at].value);
    }
    return out;
}

/* Bytes that a record needs at most. */
PENSTOCK_INLINE uint64_t penstock_record_size(const penstock_record *record) {
    uint64_t size = 21 + (uint64_t)record->topic.size + record->key.size + record->value.size;
    for (uint32_t at = 0; record->headers && at < record->header_count; at++)
        size += 11 + (uint64_t)record->headers[at].name.size + record->headers[at].value.size;
    return size;
}

/* These records go on in the event's place, in this order; 10,000 at most. */
PENSTOCK_APART void penstock_emit_records(const penstock_record *records, uint32_t count) {
    uint64_t size = 7;
    for (uint32_t at = 0; at < count; at++) size += penstock_record_size(&records[at]);
    uint8_t *out = penstock_put_wide(penstock_put_answer(penstock_answer(size), 2, 2), 0xdd, count);
    for (uint32_t at = 0; at < count; at++) out = penstock_put_record(out, &records[at]);
    penstock_answer_size = (uint64_t)(out - penstock_answer_at);
}

/* The event goes to the dead letters: a short stable code, and a sentence for people. Both are UTF-8. */
PENSTOCK_APART void penstock_reject_with(penstock_bytes code, penstock_bytes message) {
    uint8_t *out = penstock_put_answer(penstock_answer(12 + (uint64_t)code.size + message.size), 3, 3);
    out = penstock_put_string(penstock_put_string(out, code), message);
    penstock_answer_size = (uint64_t)(out - penstock_answer_at);
}

static inline void penstock_reject(const char *code, const char *message) {
    penstock_reject_with(penstock_text(code), penstock_text(message));
}

/* ---- Headers. ---- */

/* A walk over the event's headers: `penstock_reader walk = penstock_headers(event, &count)`, then `penstock_next_header(&walk)`. */
PENSTOCK_INLINE penstock_reader penstock_headers(const penstock_event *event, uint32_t *count) {
    penstock_reader walk = penstock_read_from(event->headers);
    *count = penstock_array(&walk);
    return walk;
}

static inline penstock_header penstock_next_header(penstock_reader *walk) {
    penstock_array(walk);
    penstock_item name = penstock_read(walk), value = penstock_read(walk);
    return (penstock_header){name.bytes, value.bytes};
}

/* Whether the event has a header of this name; `value` is that of the last one, which is the one that counts in Kafka. */
static inline bool penstock_header_value(const penstock_event *event, penstock_bytes name, penstock_bytes *value) {
    uint32_t count;
    bool is_there = false;
    for (penstock_reader walk = penstock_headers(event, &count); count; count--) {
        penstock_header header = penstock_next_header(&walk);
        if (!penstock_equal(header.name, name)) continue;
        *value = header.value;
        is_there = true;
    }
    return is_there;
}

/* ---- The batch. The host wrote it, so a fault here is a fault of the host. ---- */

__attribute__((noreturn, noinline)) static void penstock_bad_frame(void) {
    penstock_fail("bad-frame", "the batch frame is not what guest ABI v1 says");
}

/* Topic and partition, which all events of a batch have in common. */
PENSTOCK_INLINE penstock_event penstock_meta(penstock_reader *reader) {
    penstock_event event = {.partition = 0};
    for (uint32_t members = penstock_map(reader); members && !reader->is_bad; members--) {
        penstock_item name = penstock_read(reader), value = penstock_read(reader);
        if (penstock_is(name.bytes, "topic")) event.topic = value.bytes;
        else if (penstock_is(name.bytes, "partition")) event.partition = value.integer;
        else if (penstock_is(name.bytes, "encoding") && !penstock_is(value.bytes, PENSTOCK_ENCODING))
            penstock_fail("encoding", "this guest reads `encoding: " PENSTOCK_ENCODING "`: set that in its registry entry");
    }
    return event;
}

PENSTOCK_INLINE void penstock_next_event(penstock_reader *reader, penstock_event *event) {
    if (penstock_array(reader) != 5) reader->is_bad = true;
    event->offset = penstock_integer(reader);
    event->timestamp_ms = penstock_integer(reader);
    event->key = penstock_binary(reader);
    if (PENSTOCK_IS_EVENT) {
        event->value = penstock_skip(reader, 1);
        if (event->value.size == 1 && event->value.data[0] == 0xc0) event->value = (penstock_bytes){NULL, 0};
    } else {
        event->value = penstock_binary(reader);
    }
    event->headers = penstock_skip(reader, 1);
    if (reader->is_bad) penstock_bad_frame();
}

/* One event's turn. Scratch begins far enough behind the frame's end for the answer that is most likely: a little longer than
 * the value. An answer that was written elsewhere moves to its place. */
PENSTOCK_INLINE void penstock_turn(const penstock_event *event) {
    enum { LONGER = 512 };
    uint8_t *before = penstock_out;
    penstock_lent_from = penstock_lent_to = (uint8_t *)penstock_align((uintptr_t)penstock_out + event->value.size + LONGER);
    penstock_answer_at = NULL;
    penstock_transform(event);
    if (penstock_answer_at) {
        if (penstock_answer_at != penstock_out)
            __builtin_memmove(penstock_out, penstock_answer_at, (size_t)penstock_answer_size);
        penstock_out += penstock_answer_size;
    } else if (penstock_out == before) {
        penstock_fail("no-answer", "the transformer returned without an answer for the event");
    }
}

#ifdef PENSTOCK_HAS_CONFIG
static void penstock_configure_from(penstock_bytes config);
static bool penstock_configured;
#endif

PENSTOCK_EXPORT("penstock_v1_transform") uint64_t penstock_v1_transform(uint32_t ptr, uint32_t len) {
    penstock_reader reader = penstock_read_from((penstock_bytes){(const uint8_t *)(uintptr_t)ptr, len});
    uintptr_t end = penstock_align((uintptr_t)reader.end);
    penstock_out = (uint8_t *)(end > penstock_top ? end : penstock_top);
    penstock_spent = true;
#ifdef PENSTOCK_HAS_CONFIG
    if (!penstock_configured) penstock_configure_from(PENSTOCK_TEXT("\x80"));
    if (penstock_out < (uint8_t *)penstock_base) penstock_out = (uint8_t *)penstock_base;
#endif
    if (penstock_array(&reader) != 2) penstock_bad_frame();
    penstock_event event = penstock_meta(&reader);
    uint32_t count = penstock_array(&reader);

    uint8_t *result = penstock_out;
    penstock_need(result, 5);
    penstock_out = penstock_put_wide(result, 0xdd, count);
    for (penstock_index = 0; penstock_index < count; penstock_index++) {
        penstock_next_event(&reader, &event);
        penstock_turn(&event);
    }
    if (reader.is_bad || reader.at != reader.end) penstock_bad_frame();
    return (uint64_t)(uintptr_t)result << 32 | (uint32_t)(penstock_out - result);
}

#ifdef PENSTOCK_HAS_CONFIG
#include "penstock_config.h"
#endif

#endif
