/* penstock_host.h: what a guest may ask of the host. Each function needs its capability in guest.toml and in the registry; only
 * those that are called are imported.
 *
 * Functions that return a `penstock_status` answer in scratch: use it before the event is answered, and copy what you keep.
 */
#ifndef PENSTOCK_HOST_H
#define PENSTOCK_HOST_H

#include "penstock.h"

typedef enum {
    PENSTOCK_OK = 0,
    PENSTOCK_DENIED = -1,
    PENSTOCK_BAD_RANGE = -2,
    PENSTOCK_TOO_LARGE = -3,
    PENSTOCK_UNAVAILABLE = -4,
    PENSTOCK_DEADLINE = -5,
    PENSTOCK_INVALID = -6 /* the request is not what the ABI's table says */
} penstock_status;

/* ---- `log` ---- */

typedef enum { PENSTOCK_TRACE, PENSTOCK_DEBUG, PENSTOCK_INFO, PENSTOCK_WARNING, PENSTOCK_ERROR } penstock_level;

PENSTOCK_IMPORT("log") void penstock_import_log(uint32_t level, const uint8_t *line, uint32_t size);

/* One line; the host cuts what goes beyond 4 KiB. */
static inline void penstock_log(penstock_level level, penstock_bytes line) { penstock_import_log(level, line.data, line.size); }

/* ---- `clock` ---- */

/* Milliseconds since 1970. */
PENSTOCK_IMPORT("now_ms") int64_t penstock_now_ms(void);
/* Nanoseconds of a clock that never goes back. */
PENSTOCK_IMPORT("monotonic_ns") int64_t penstock_monotonic_ns(void);

/* ---- `random` ---- */

PENSTOCK_IMPORT("random") int32_t penstock_import_random(uint8_t *out, uint32_t size);

/* Fills so many bytes, 1 MiB at most. */
static inline penstock_status penstock_random(void *out, uint32_t size) {
    return (penstock_status)penstock_import_random(out, size);
}

/* ---- Requests: a msgpack value there, a msgpack value back. ---- */

typedef int32_t penstock_request(const uint8_t *request, uint32_t size, uint8_t *out, uint32_t capacity);

/* Calls the import; once more, with the room that it said it needs, when the answer did not fit. */
PENSTOCK_APART penstock_status penstock_ask(penstock_request *import, penstock_bytes request, penstock_item *answer) {
    uint32_t capacity = 4096;
    int32_t size = PENSTOCK_TOO_LARGE;
    *answer = penstock_nil();
    for (int attempt = 0; attempt < 2 && size == PENSTOCK_TOO_LARGE; attempt++) {
        uint8_t *out = penstock_scratch(capacity);
        size = import(request.data, request.size, out, capacity);
        penstock_reader reader = penstock_read_from((penstock_bytes){out, size > 0 ? (uint32_t)size : 0});
        if (size > 0) *answer = penstock_read(&reader);
        if (size == PENSTOCK_TOO_LARGE) capacity = penstock_load4(out);
    }
    return size < 0 ? (penstock_status)size : PENSTOCK_OK;
}

/* An array of values as a request, in scratch; a single value alone when `is_list` is false. */
PENSTOCK_APART penstock_bytes penstock_pack(const penstock_item *items, uint32_t count, bool is_list) {
    uint64_t size = 5;
    for (uint32_t at = 0; at < count; at++) size += penstock_item_size(items[at]);
    uint8_t *start = penstock_scratch(size), *out = is_list ? penstock_put_wide(start, 0xdd, count) : start;
    for (uint32_t at = 0; at < count; at++) out = penstock_put_item(out, items[at]);
    return (penstock_bytes){start, (uint32_t)(out - start)};
}

/* The values as one value, an array. */
static inline penstock_item penstock_list(const penstock_item *items, uint32_t count) {
    return (penstock_item){.kind = PENSTOCK_ARRAY, .count = count, .whole = penstock_pack(items, count, true)};
}

static inline penstock_status penstock_ask_one(penstock_request *import, penstock_item item, penstock_item *answer) {
    return penstock_ask(import, penstock_pack(&item, 1, false), answer);
}

static inline penstock_status penstock_ask_two(penstock_request *import, penstock_item one, penstock_item two, penstock_item *answer) {
    return penstock_ask(import, penstock_pack((penstock_item[]){one, two}, 2, true), answer);
}

#define PENSTOCK_REQUEST(name) \
    PENSTOCK_IMPORT(#name) int32_t penstock_import_##name(const uint8_t *request, uint32_t size, uint8_t *out, uint32_t capacity)

PENSTOCK_REQUEST(env_get);
PENSTOCK_REQUEST(file_read);
PENSTOCK_REQUEST(file_write);
PENSTOCK_REQUEST(http_request);
PENSTOCK_REQUEST(kv_get);
PENSTOCK_REQUEST(kv_put);
PENSTOCK_REQUEST(kv_delete);
PENSTOCK_REQUEST(lookup);
PENSTOCK_REQUEST(lookup_many);
PENSTOCK_REQUEST(db_query);
PENSTOCK_REQUEST(db_execute);
PENSTOCK_REQUEST(db_transaction);

/* `environment`: a variable that the host lists; nil when it is not set. */
static inline penstock_status penstock_env_get(penstock_bytes name, penstock_bytes *value) {
    penstock_item answer;
    penstock_status status = penstock_ask_one(penstock_import_env_get, penstock_of_text(name), &answer);
    *value = answer.bytes;
    return status;
}

/* `filesystem-read` */
static inline penstock_status penstock_file_read(penstock_bytes path, penstock_bytes *content) {
    penstock_item answer;
    penstock_status status = penstock_ask_one(penstock_import_file_read, penstock_of_text(path), &answer);
    *content = answer.bytes;
    return status;
}

/* `filesystem-write` */
static inline penstock_status penstock_file_write(penstock_bytes path, penstock_bytes content) {
    penstock_item answer;
    return penstock_ask_two(penstock_import_file_write, penstock_of_text(path), penstock_of_bytes(content), &answer);
}

/* `key-value`: nil when the key is not there. */
static inline penstock_status penstock_kv_get(penstock_bytes key, penstock_bytes *value) {
    penstock_item answer;
    penstock_status status = penstock_ask_one(penstock_import_kv_get, penstock_of_text(key), &answer);
    *value = answer.bytes;
    return status;
}

/* `key-value` */
static inline penstock_status penstock_kv_put(penstock_bytes key, penstock_bytes value) {
    penstock_item answer;
    return penstock_ask_two(penstock_import_kv_put, penstock_of_text(key), penstock_of_bytes(value), &answer);
}

/* `key-value` */
static inline penstock_status penstock_kv_delete(penstock_bytes key) {
    penstock_item answer;
    return penstock_ask_one(penstock_import_kv_delete, penstock_of_text(key), &answer);
}

/* `database-read`: the row as a map, or nil. */
static inline penstock_status penstock_lookup(penstock_bytes table, penstock_item key, penstock_item *row) {
    return penstock_ask_two(penstock_import_lookup, penstock_of_text(table), key, row);
}

/* `database-read`: a list of one row or nil per key, in order. */
static inline penstock_status penstock_lookup_many(
    penstock_bytes table, const penstock_item *keys, uint32_t count, penstock_item *rows) {
    return penstock_ask_two(penstock_import_lookup_many, penstock_of_text(table), penstock_list(keys, count), rows);
}

/* `database-query`: a list of rows as maps. */
static inline penstock_status penstock_db_query(
    penstock_bytes statement, const penstock_item *parameters, uint32_t count, penstock_item *rows) {
    return penstock_ask_two(penstock_import_db_query, penstock_of_text(statement), penstock_list(parameters, count), rows);
}

/* `database-write`: how many rows changed. */
static inline penstock_status penstock_db_execute(
    penstock_bytes statement, const penstock_item *parameters, uint32_t count, int64_t *changed) {
    penstock_item answer;
    penstock_item list = penstock_list(parameters, count);
    penstock_status status = penstock_ask_two(penstock_import_db_execute, penstock_of_text(statement), list, &answer);
    *changed = answer.kind == PENSTOCK_INTEGER ? answer.integer : 0;
    return status;
}

typedef struct {
    penstock_bytes statement;
    const penstock_item *parameters;
    uint32_t parameter_count;
} penstock_db_change;

/* `database-transaction`: all statements or none; a list of how many rows each changed. */
static inline penstock_status penstock_db_transaction(
    const penstock_db_change *changes, uint32_t count, penstock_item *changed) {
    penstock_item *pairs = penstock_scratch((uint64_t)count * sizeof *pairs);
    for (uint32_t at = 0; at < count; at++) {
        penstock_item parameters = penstock_list(changes[at].parameters, changes[at].parameter_count);
        pairs[at] = penstock_list((penstock_item[]){penstock_of_text(changes[at].statement), parameters}, 2);
    }
    return penstock_ask(penstock_import_db_transaction, penstock_pack(pairs, count, true), changed);
}

typedef struct {
    penstock_bytes method;
    penstock_bytes url;
    const penstock_header *headers;
    uint32_t header_count;
    penstock_bytes body; /* nil for none */
} penstock_http_request;

typedef struct {
    int64_t status;
    penstock_item headers; /* a list of pairs of texts */
    penstock_bytes body;
} penstock_http_response;

/* `network-client` */
static inline penstock_status penstock_http(const penstock_http_request *request, penstock_http_response *response) {
    penstock_item *pairs = penstock_scratch((uint64_t)request->header_count * sizeof *pairs);
    for (uint32_t at = 0; at < request->header_count; at++) {
        penstock_header header = request->headers[at];
        pairs[at] = penstock_list((penstock_item[]){penstock_of_text(header.name), penstock_of_text(header.value)}, 2);
    }
    penstock_item members[] = {
        penstock_of_text(PENSTOCK_TEXT("method")),  penstock_of_text(request->method),
        penstock_of_text(PENSTOCK_TEXT("url")),     penstock_of_text(request->url),
        penstock_of_text(PENSTOCK_TEXT("headers")), penstock_list(pairs, request->header_count),
        penstock_of_text(PENSTOCK_TEXT("body")),    penstock_of_bytes(request->body),
    };
    penstock_item map = penstock_list(members, 8), answer;
    penstock_put_wide((uint8_t *)map.whole.data, 0xdf, 4); /* a map of four, in place of a list of eight */
    penstock_status status = penstock_ask(penstock_import_http_request, map.whole, &answer);
    response->status = penstock_get(answer, PENSTOCK_TEXT("status")).integer;
    response->headers = penstock_get(answer, PENSTOCK_TEXT("headers"));
    response->body = penstock_get(answer, PENSTOCK_TEXT("body")).bytes;
    return status;
}

#endif
