/* penstock_msgpack.h: reads msgpack values in every width the format knows, and writes them. Nothing is copied on reading. */
#ifndef PENSTOCK_MSGPACK_H
#define PENSTOCK_MSGPACK_H

#include "penstock_bytes.h"

typedef enum {
    PENSTOCK_NIL,
    PENSTOCK_BOOLEAN,
    PENSTOCK_INTEGER,  /* fits int64 */
    PENSTOCK_UNSIGNED, /* from 2^63 on */
    PENSTOCK_FLOAT,
    PENSTOCK_STRING,
    PENSTOCK_BINARY,
    PENSTOCK_ARRAY,
    PENSTOCK_MAP,
    PENSTOCK_EXTENSION
} penstock_kind;

typedef struct {
    penstock_kind kind;
    int8_t extension; /* an extension's type; 1, empty, is a column that the source did not send */
    union {
        bool boolean;
        int64_t integer;
        uint64_t number; /* PENSTOCK_UNSIGNED */
        double real;
        uint32_t count; /* elements of an array, members of a map */
    };
    penstock_bytes bytes; /* the text or bytes; what an array or a map holds, one value after the other */
    penstock_bytes whole; /* all of the value, as it is written */
} penstock_item;

/* Where reading is. `is_bad` once something was no msgpack or ended too early: all that is read from then on is nil. */
typedef struct {
    const uint8_t *at;
    const uint8_t *end;
    bool is_bad;
} penstock_reader;

PENSTOCK_INLINE penstock_reader penstock_read_from(penstock_bytes bytes) {
    return (penstock_reader){bytes.data, bytes.data + bytes.size, false};
}

/* ---- Reading. ---- */

PENSTOCK_APART const uint8_t *penstock_take(penstock_reader *reader, uint64_t size) {
    static const uint8_t zeros[8]; /* what a number is read from that is not there */
    if ((uint64_t)(reader->end - reader->at) < size) {
        reader->is_bad = true;
        reader->end = reader->at;
        return zeros;
    }
    const uint8_t *at = reader->at;
    reader->at += size;
    return at;
}

PENSTOCK_INLINE uint8_t penstock_tag(penstock_reader *reader) { return *penstock_take(reader, 1); }

/* A big-endian number of one, two, four or eight bytes. */
PENSTOCK_APART uint64_t penstock_number(penstock_reader *reader, uint32_t width) {
    const uint8_t *at = penstock_take(reader, width);
    if (width == 1) return at[0];
    if (width == 2) return (uint64_t)(at[0] << 8 | at[1]);
    uint64_t high = __builtin_bswap32(penstock_load4(at));
    return width == 4 ? high : high << 32 | __builtin_bswap32(penstock_load4(at + 4));
}

PENSTOCK_INLINE int64_t penstock_signed(uint64_t number, uint32_t width) {
    int unused = 64 - 8 * (int)width;
    return (int64_t)(number << unused) >> unused;
}

/* Moves past one value's own bytes; returns how many values inside of it follow. */
PENSTOCK_INLINE uint64_t penstock_skip_head(penstock_reader *reader) {
    uint8_t tag = penstock_tag(reader);
    if (tag < 0x80 || tag >= 0xe0) return 0;
    if (tag < 0x90) return 2u * (tag & 0x0f);
    if (tag < 0xa0) return tag & 0x0f;
    if (tag < 0xc0) return penstock_take(reader, tag & 0x1f), 0;
    if (tag <= 0xc3) return 0;
    if (tag <= 0xc6) return penstock_take(reader, penstock_number(reader, 1u << (tag - 0xc4))), 0;
    if (tag <= 0xc9) return penstock_take(reader, penstock_number(reader, 1u << (tag - 0xc7)) + 1), 0;
    if (tag <= 0xcb) return penstock_take(reader, 4u << (tag - 0xca)), 0;
    if (tag <= 0xcf) return penstock_take(reader, 1u << (tag - 0xcc)), 0;
    if (tag <= 0xd3) return penstock_take(reader, 1u << (tag - 0xd0)), 0;
    if (tag <= 0xd8) return penstock_take(reader, 1 + (1u << (tag - 0xd4))), 0;
    if (tag <= 0xdb) return penstock_take(reader, penstock_number(reader, 1u << (tag - 0xd9))), 0;
    if (tag <= 0xdd) return penstock_number(reader, tag == 0xdc ? 2 : 4);
    return 2 * penstock_number(reader, tag == 0xde ? 2 : 4);
}

/* Moves past so many values, however deep they are nested. */
PENSTOCK_APART penstock_bytes penstock_skip(penstock_reader *reader, uint64_t values) {
    const uint8_t *start = reader->at;
    for (; values && !reader->is_bad; values--) values += penstock_skip_head(reader);
    return (penstock_bytes){start, (uint32_t)(reader->at - start)};
}

/* An array's or a map's head: how many values or members follow. */
static inline uint32_t penstock_count(penstock_reader *reader, uint8_t fixed, uint8_t wide) {
    uint8_t tag = penstock_tag(reader);
    if ((tag & 0xf0) == fixed) return tag & 0x0f;
    if (tag == wide) return (uint32_t)penstock_number(reader, 2);
    if (tag == wide + 1) return (uint32_t)penstock_number(reader, 4);
    reader->is_bad = true;
    return 0;
}

PENSTOCK_INLINE uint32_t penstock_array(penstock_reader *reader) { return penstock_count(reader, 0x90, 0xdc); }

PENSTOCK_INLINE uint32_t penstock_map(penstock_reader *reader) { return penstock_count(reader, 0x80, 0xde); }

static inline int64_t penstock_integer(penstock_reader *reader) {
    uint8_t tag = penstock_tag(reader);
    if (tag < 0x80 || tag >= 0xe0) return (int8_t)tag;
    if (tag >= 0xcc && tag <= 0xcf) return (int64_t)penstock_number(reader, 1u << (tag - 0xcc));
    uint32_t width = 1u << (tag & 3);
    if (tag >= 0xd0 && tag <= 0xd3) return penstock_signed(penstock_number(reader, width), width);
    reader->is_bad = true;
    return 0;
}

/* Bytes or nil. */
static inline penstock_bytes penstock_binary(penstock_reader *reader) {
    uint8_t tag = penstock_tag(reader);
    if (tag >= 0xc4 && tag <= 0xc6) {
        uint32_t size = (uint32_t)penstock_number(reader, 1u << (tag - 0xc4));
        return (penstock_bytes){penstock_take(reader, size), reader->is_bad ? 0 : size};
    }
    if (tag != 0xc0) reader->is_bad = true;
    return (penstock_bytes){NULL, 0};
}

/* A text of `size` bytes, bytes, or an extension's. */
PENSTOCK_APART penstock_item penstock_payload(penstock_reader *reader, penstock_kind kind, uint64_t size) {
    penstock_item item = {.kind = kind};
    if (kind == PENSTOCK_EXTENSION) item.extension = (int8_t)penstock_tag(reader);
    item.bytes = (penstock_bytes){penstock_take(reader, size), (uint32_t)size};
    return item;
}

PENSTOCK_APART penstock_item penstock_container(penstock_reader *reader, penstock_kind kind, uint64_t count) {
    penstock_item item = {.kind = kind, .count = (uint32_t)count};
    item.bytes = penstock_skip(reader, kind == PENSTOCK_MAP ? 2 * count : count);
    return item;
}

static inline penstock_item penstock_read_value(penstock_reader *reader) {
    uint8_t tag = penstock_tag(reader);
    uint32_t low = tag & 0x0f, width = 1u << (tag & 3);
    if (tag < 0x80 || tag >= 0xe0) return (penstock_item){.kind = PENSTOCK_INTEGER, .integer = (int8_t)tag};
    if (tag < 0x90) return penstock_container(reader, PENSTOCK_MAP, low);
    if (tag < 0xa0) return penstock_container(reader, PENSTOCK_ARRAY, low);
    if (tag < 0xc0) return penstock_payload(reader, PENSTOCK_STRING, tag & 0x1f);
    if (tag >= 0xc4 && tag <= 0xc6) return penstock_payload(reader, PENSTOCK_BINARY, penstock_number(reader, width));
    if (tag >= 0xc7 && tag <= 0xc9) return penstock_payload(reader, PENSTOCK_EXTENSION, penstock_number(reader, 1u << (tag - 0xc7)));
    if (tag >= 0xcc && tag <= 0xcf) {
        uint64_t number = penstock_number(reader, width);
        return (penstock_item){.kind = number >> 63 ? PENSTOCK_UNSIGNED : PENSTOCK_INTEGER, .number = number};
    }
    if (tag >= 0xd0 && tag <= 0xd3)
        return (penstock_item){.kind = PENSTOCK_INTEGER, .integer = penstock_signed(penstock_number(reader, width), width)};
    if (tag >= 0xd4 && tag <= 0xd8) return penstock_payload(reader, PENSTOCK_EXTENSION, 1u << (tag - 0xd4));
    switch (tag) {
    case 0xc0: return (penstock_item){.kind = PENSTOCK_NIL};
    case 0xc2: case 0xc3: return (penstock_item){.kind = PENSTOCK_BOOLEAN, .boolean = tag == 0xc3};
    case 0xca: {
        union { uint32_t bits; float real; } single = {.bits = (uint32_t)penstock_number(reader, 4)};
        return (penstock_item){.kind = PENSTOCK_FLOAT, .real = (double)single.real};
    }
    case 0xcb: return (penstock_item){.kind = PENSTOCK_FLOAT, .number = penstock_number(reader, 8)};
    case 0xd9: case 0xda: case 0xdb: return penstock_payload(reader, PENSTOCK_STRING, penstock_number(reader, 1u << (tag - 0xd9)));
    case 0xdc: case 0xdd: return penstock_container(reader, PENSTOCK_ARRAY, penstock_number(reader, tag == 0xdc ? 2 : 4));
    case 0xde: case 0xdf: return penstock_container(reader, PENSTOCK_MAP, penstock_number(reader, tag == 0xde ? 2 : 4));
    default:
        reader->is_bad = true;
        return (penstock_item){.kind = PENSTOCK_NIL};
    }
}

/* The next value with everything inside of it; nil when it is bad. */
PENSTOCK_APART penstock_item penstock_read(penstock_reader *reader) {
    const uint8_t *start = reader->at;
    penstock_item item = penstock_read_value(reader);
    if (reader->is_bad) item = (penstock_item){.kind = PENSTOCK_NIL};
    item.whole = (penstock_bytes){start, (uint32_t)(reader->at - start)};
    return item;
}

/* The member of this name in a map; nil when there is none. Walks the map: read many members in one walk of your own. */
static inline penstock_item penstock_get(penstock_item map, penstock_bytes name) {
    penstock_reader reader = penstock_read_from(map.bytes);
    for (uint32_t members = map.kind == PENSTOCK_MAP ? map.count : 0; members; members--) {
        penstock_item key = penstock_read(&reader), value = penstock_read(&reader);
        if (key.kind == PENSTOCK_STRING && penstock_equal(key.bytes, name)) return value;
    }
    return (penstock_item){.kind = PENSTOCK_NIL};
}

/* ---- Values to write. ---- */

PENSTOCK_INLINE penstock_item penstock_nil(void) { return (penstock_item){.kind = PENSTOCK_NIL}; }
PENSTOCK_INLINE penstock_item penstock_of_boolean(bool boolean) {
    return (penstock_item){.kind = PENSTOCK_BOOLEAN, .boolean = boolean};
}
PENSTOCK_INLINE penstock_item penstock_of_integer(int64_t integer) {
    return (penstock_item){.kind = PENSTOCK_INTEGER, .integer = integer};
}
PENSTOCK_INLINE penstock_item penstock_of_float(double real) { return (penstock_item){.kind = PENSTOCK_FLOAT, .real = real}; }
/* A text, in UTF-8. */
PENSTOCK_INLINE penstock_item penstock_of_text(penstock_bytes text) {
    return (penstock_item){.kind = PENSTOCK_STRING, .bytes = text};
}
PENSTOCK_INLINE penstock_item penstock_of_bytes(penstock_bytes bytes) {
    return (penstock_item){.kind = PENSTOCK_BINARY, .bytes = bytes};
}

/* Bytes that `penstock_put_item` needs at most. */
PENSTOCK_INLINE uint64_t penstock_item_size(penstock_item item) {
    return item.whole.data ? item.whole.size : 9 + (uint64_t)item.bytes.size;
}

PENSTOCK_INLINE uint8_t *penstock_put_wide(uint8_t *out, uint8_t tag, uint32_t number) {
    *out++ = tag;
    number = __builtin_bswap32(number);
    __builtin_memcpy(out, &number, 4);
    return out + 4;
}

/* A text. */
PENSTOCK_INLINE uint8_t *penstock_put_string(uint8_t *out, penstock_bytes text) {
    if (text.size < 32) *out++ = (uint8_t)(0xa0 | text.size);
    else out = penstock_put_wide(out, 0xdb, text.size);
    return penstock_copy(out, text);
}

/* Bytes or nil. */
PENSTOCK_INLINE uint8_t *penstock_put_binary(uint8_t *out, penstock_bytes bytes) {
    if (bytes.data) return penstock_copy(penstock_put_wide(out, 0xc6, bytes.size), bytes);
    *out++ = 0xc0;
    return out;
}

PENSTOCK_INLINE uint8_t *penstock_put_long(uint8_t *out, uint8_t tag, uint64_t number) {
    out = penstock_put_wide(out, tag, (uint32_t)(number >> 32));
    number = __builtin_bswap32((uint32_t)number);
    __builtin_memcpy(out, &number, 4);
    return out + 4;
}

/* Writes a value that was read (as it was written), or one of the scalars above; returns the address behind it. */
static inline uint8_t *penstock_put_item(uint8_t *out, penstock_item item) {
    if (item.whole.data) return penstock_copy(out, item.whole);
    switch (item.kind) {
    case PENSTOCK_BOOLEAN: return *out = item.boolean ? 0xc3 : 0xc2, out + 1;
    case PENSTOCK_INTEGER:
        if (item.integer >= -32 && item.integer < 128) return *out = (uint8_t)item.integer, out + 1;
        return penstock_put_long(out, 0xd3, (uint64_t)item.integer);
    case PENSTOCK_UNSIGNED: return penstock_put_long(out, 0xcf, item.number);
    case PENSTOCK_FLOAT: return penstock_put_long(out, 0xcb, item.number);
    case PENSTOCK_STRING: return penstock_put_string(out, item.bytes);
    case PENSTOCK_BINARY: return penstock_put_binary(out, item.bytes);
    default: return *out = 0xc0, out + 1;
    }
}

#endif
