/* runtime.h: a transformer in JavaScript under guest ABI v1; what the runtime's files share. */
#ifndef PENSTOCK_JS_RUNTIME_H
#define PENSTOCK_JS_RUNTIME_H

#include "penstock_debezium.h"
#include "penstock_msgpack.h"
#include "quickjs.h"

#include "imports.h"

/* The one context: made when the script is snapshotted, and there in every instance. */
extern JSContext *js;

/* ---- runtime.c ---- */

/* Names the reason, then traps. */
__attribute__((noreturn)) void fail_with(penstock_bytes code, penstock_bytes message);
__attribute__((noreturn)) void fail(const char *code, const char *message);
/* Fails with the pending exception: its text, and where in the script it was thrown. Out of memory is `memory`. */
__attribute__((noreturn)) void fail_with_exception(const char *code);
/* The clock's time where the guest declares it, else that of the event at work. */
int64_t now_ms(void);
bool has_capability(const char *name);
JSValue capabilities(void);
/* Throws a Rejection: the event goes to the dead letters with this code. */
JSValue throw_rejection(const char *code, const char *message);
JSValue throw_bad_json(penstock_json_error error);
void set_rejection_class(JSValueConst constructor);

/* ---- buffer.c: what is written, in memory that grows and is kept. ---- */

typedef struct {
    uint8_t *data;
    uint32_t size, room;
} buffer;

/* Room for so many bytes behind what is there; `memory` is the reason when there is none. */
uint8_t *buffer_reserve(buffer *out, uint64_t size);
void buffer_byte(buffer *out, uint8_t byte);
void buffer_bytes(buffer *out, penstock_bytes bytes);
void buffer_string(buffer *out, penstock_bytes text); /* msgpack */
void buffer_binary(buffer *out, penstock_bytes bytes);
void buffer_wide(buffer *out, uint8_t tag, uint32_t number);
/* Fills in a number that `buffer_wide` wrote at this place. */
void buffer_patch(buffer *out, uint32_t at, uint8_t tag, uint32_t number);

/* ---- values.c: JavaScript values from and to msgpack and JSON. False and JS_EXCEPTION: an exception is pending. ---- */

enum { DEPTH_MAX = 512 };

extern JSValue unavailable; /* the symbol for a column that the source did not send */

JSValue of_item(penstock_item item);
JSValue of_bytes(penstock_bytes bytes); /* a Uint8Array, a copy; null for nil */
JSValue of_text(penstock_bytes text);   /* null for nil */
JSValue of_json(penstock_json value);   /* of a checked text */
JSValue of_json_string(penstock_json value);

/* A string as UTF-8, until `JS_FreeCString`. False for half of a surrogate pair, which is no text. */
bool text_of(JSValueConst value, penstock_bytes *text);
bool write_msgpack(buffer *out, JSValueConst value);
bool write_json(buffer *out, JSValueConst value);
/* A record's value: bytes as they are, a string as UTF-8, null for nil, anything else as JSON. */
bool write_bytes(buffer *out, JSValueConst value);

/* ---- event.c: the event at work, and its rows. ---- */

typedef struct {
    penstock_bytes topic;
    int64_t partition, offset, timestamp_ms;
    penstock_bytes key, value, headers;
    bool is_decoded; /* `encoding: event`: the value is msgpack */
} event;

extern event current;

void event_classes(JSContext *context);
JSValue event_begin(void); /* a new Event for what `current` holds */
void event_end(void);
bool is_event(JSValueConst value);
/* The value with the edits that were made to its rows, as it goes into a frame. */
bool event_write(buffer *out, JSValueConst value);

/* ---- outcome.c ---- */

void outcome_classes(JSContext *context);
JSModuleDef *native_module(JSContext *context, const char *name);
/* One event's entry of the result frame. */
bool outcome_write(buffer *out, JSValueConst value);
void reject_write(buffer *out, penstock_bytes code, penstock_bytes message);

#endif
