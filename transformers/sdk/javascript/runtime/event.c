/* event.c: the classes Event and Row. Nothing of an event is copied before the script asks for it, and an edit is spliced into the
 * text (or the msgpack map) that came: key order, white space and the digits of untouched numbers stay.
 *
 * There is one event at a time. Its objects carry its serial number, so that one kept beyond its turn says so, and reads nothing.
 */
#include "runtime.h"

#include <stdlib.h>

typedef struct {
    penstock_bytes name;
    penstock_bytes value; /* as it lies in the event; nil for a member that was added */
    JSValue written;      /* undefined: not set */
    bool has_escapes, is_added, is_json;
} member;

typedef struct {
    penstock_bytes text; /* nil: there is no such row */
    member *members;
    uint32_t count, room;
    bool is_read, is_edited;
} row;

enum { BEFORE, AFTER, SIDES };

event current;
static uint32_t serial; /* of the event at work */
static bool is_over = true;
static bool is_read;
static char operation; /* 0 for a tombstone */
static penstock_bytes source;
static row rows[SIDES];
static JSClassID event_class, row_class;

/* ---- The turn. ---- */

JSValue event_begin(void) {
    serial = (serial + 1) & INT32_MAX;
    is_over = is_read = false;
    JSValue object = JS_NewObjectClass(js, (int)event_class);
    if (!JS_IsException(object)) JS_SetOpaque(object, (void *)(uintptr_t)(serial * 2));
    return object;
}

static void row_forget(row *row) {
    for (uint32_t at = 0; at < row->count; at++) {
        member *member = &row->members[at];
        JS_FreeValue(js, member->written);
        if (member->is_added) JS_FreeCString(js, (const char *)member->name.data);
    }
    row->count = 0;
    row->is_read = row->is_edited = false;
    row->text = (penstock_bytes){NULL, 0};
}

void event_end(void) {
    row_forget(&rows[BEFORE]);
    row_forget(&rows[AFTER]);
    is_over = true;
}

static bool is_current(uintptr_t mark) {
    if (!is_over && mark >> 1 == serial) return true;
    JS_ThrowTypeError(js, "the event is over: take what you need out of it before transform returns");
    return false;
}

bool is_event(JSValueConst value) { return JS_GetClassID(value) == event_class; }

static bool this_event(JSValueConst value) {
    if (is_event(value)) return is_current((uintptr_t)JS_GetOpaque(value, event_class));
    JS_ThrowTypeError(js, "this is no Event");
    return false;
}

/* ---- The envelope. ---- */

static bool read_decoded(void) {
    penstock_reader reader = penstock_read_from(current.value);
    penstock_item map = penstock_read(&reader);
    reader = penstock_read_from(map.bytes);
    operation = 0;
    for (uint32_t members = map.kind == PENSTOCK_MAP ? map.count : 0; members; members--) {
        penstock_bytes name = penstock_read(&reader).bytes;
        penstock_item value = penstock_read(&reader);
        penstock_bytes whole = value.kind == PENSTOCK_NIL ? (penstock_bytes){NULL, 0} : value.whole;
        if (penstock_is(name, "op")) operation = value.bytes.size == 1 ? (char)value.bytes.data[0] : 0;
        else if (penstock_is(name, "before")) rows[BEFORE].text = whole;
        else if (penstock_is(name, "after")) rows[AFTER].text = whole;
        else if (penstock_is(name, "source")) source = whole;
    }
    return true;
}

static bool read_json(void) {
    penstock_envelope envelope = penstock_debezium(current.value);
    if (envelope.kind == PENSTOCK_VALUE_BAD) return throw_bad_json(envelope.error), false;
    if (envelope.kind == PENSTOCK_VALUE_OTHER) {
        throw_rejection("no-envelope", "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event");
        return false;
    }
    operation = envelope.kind == PENSTOCK_VALUE_NULL ? 0 : envelope.operation;
    rows[BEFORE].text = envelope.before;
    rows[AFTER].text = envelope.after;
    source = envelope.source;
    return true;
}

static bool read_envelope(void) {
    if (is_read) return true;
    operation = 0;
    source = (penstock_bytes){NULL, 0};
    if (current.value.data && !(current.is_decoded ? read_decoded() : read_json())) return false;
    return is_read = true;
}

/* ---- Rows. ---- */

static member *row_add(row *row) {
    if (row->count == row->room) {
        uint32_t room = row->room ? 2 * row->room : 32;
        member *members = js_realloc(js, row->members, room * sizeof *members);
        if (!members) return NULL;
        row->members = members;
        row->room = room;
    }
    member *added = &row->members[row->count++];
    *added = (member){.written = JS_UNDEFINED};
    return added;
}

static bool row_read_json(row *row) {
    if (row->text.data[0] != '{') return throw_rejection("bad-json", "`before` or `after` is no object"), false;
    penstock_json_walk walk = penstock_json_members(row->text);
    while (penstock_json_next(&walk)) {
        member *added = row_add(row);
        if (!added) return false;
        added->name = walk.name;
        added->has_escapes = walk.has_escapes;
        added->value = walk.value;
    }
    return walk.error.problem ? throw_bad_json(walk.error), false : true;
}

static bool row_read_map(row *row) {
    penstock_reader reader = penstock_read_from(row->text);
    penstock_item map = penstock_read(&reader);
    reader = penstock_read_from(map.bytes);
    for (uint32_t members = map.kind == PENSTOCK_MAP ? map.count : 0; members; members--) {
        member *added = row_add(row);
        if (!added) return false;
        added->name = penstock_read(&reader).bytes;
        added->value = penstock_read(&reader).whole;
    }
    return true;
}

static row *this_row(JSValueConst value) {
    if (JS_GetClassID(value) != row_class) return JS_ThrowTypeError(js, "this is no Row"), NULL;
    uintptr_t mark = (uintptr_t)JS_GetOpaque(value, row_class);
    if (!is_current(mark)) return NULL;
    row *row = &rows[mark & 1];
    if (row->is_read) return row;
    row->count = 0;
    row->is_read = true;
    return (current.is_decoded ? row_read_map(row) : row_read_json(row)) ? row : NULL;
}

static member *row_find(row *row, penstock_bytes name) {
    for (uint32_t at = row->count; at; at--) { /* of a name that repeats, the last counts */
        member *member = &row->members[at - 1];
        if (member->has_escapes ? penstock_json_stands_for(member->name, name) : penstock_equal(member->name, name)) return member;
    }
    return NULL;
}

/* The member that the first argument names; `found` is NULL where there is none. False: an exception is pending. */
static bool row_argument(JSValueConst this, JSValueConst name, row **in, member **found) {
    penstock_bytes text;
    if (!(*in = this_row(this)) || !text_of(name, &text)) return false;
    *found = row_find(*in, text);
    JS_FreeCString(js, (const char *)text.data);
    return true;
}

static penstock_item item_of(penstock_bytes whole) {
    penstock_reader reader = penstock_read_from(whole);
    return penstock_read(&reader);
}

static JSValue member_value(const member *member) {
    if (!JS_IsUndefined(member->written)) {
        if (!member->is_json) return JS_DupValue(js, member->written);
        size_t size;
        const char *text = JS_ToCStringLen(js, &size, member->written);
        if (!text) return JS_EXCEPTION;
        JSValue value = of_json((penstock_json){(const uint8_t *)text, (uint32_t)size});
        JS_FreeCString(js, text);
        return value;
    }
    return current.is_decoded ? of_item(item_of(member->value)) : of_json(member->value);
}

static JSValue row_get(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    row *row;
    member *member;
    if (!row_argument(this, arguments[0], &row, &member)) return JS_EXCEPTION;
    return member ? member_value(member) : JS_UNDEFINED;
}

static JSValue row_has(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    row *row;
    member *member;
    if (!row_argument(this, arguments[0], &row, &member)) return JS_EXCEPTION;
    return JS_NewBool(js, member != NULL);
}

/* The text of a string, and of a number its digits as they were written; JSON of all else, null for null and for nothing. */
static JSValue row_text(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    row *row;
    member *member;
    if (!row_argument(this, arguments[0], &row, &member)) return JS_EXCEPTION;
    if (!member) return JS_NULL;
    if (JS_IsUndefined(member->written) && !current.is_decoded) {
        if (penstock_json_is_null(member->value)) return JS_NULL;
        return member->value.data[0] == '"' ? of_json_string(member->value) : of_text(member->value);
    }
    if (member->is_json) return JS_DupValue(js, member->written);
    JSValue value = member_value(member);
    if (JS_IsException(value) || JS_IsNull(value) || JS_IsString(value)) return value;
    if (JS_IsSymbol(value)) { /* the source did not send it */
        JS_FreeValue(js, value);
        return JS_NULL;
    }
    buffer json = {NULL, 0, 0};
    bool is_written = write_json(&json, value);
    JS_FreeValue(js, value);
    value = is_written ? of_text((penstock_bytes){json.data, json.size}) : JS_EXCEPTION;
    free(json.data);
    return value;
}

static JSValue row_names(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count, (void)arguments;
    row *row = this_row(this);
    if (!row) return JS_EXCEPTION;
    JSValue names = JS_NewArray(js);
    for (uint32_t at = 0; at < row->count; at++) {
        member *member = &row->members[at];
        penstock_bytes quoted = {member->name.data - 1, member->name.size + 2}; /* in a JSON text quotes stand around it */
        JSValue name = member->has_escapes ? of_json_string(quoted) : of_text(member->name);
        if (JS_IsException(name) || JS_DefinePropertyValueUint32(js, names, at, name, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(js, names);
            return JS_EXCEPTION;
        }
    }
    return names;
}

/* The member to set, added where there is none. */
static member *row_place(JSValueConst this, JSValueConst name) {
    row *row;
    member *member;
    if (!row_argument(this, name, &row, &member)) return NULL;
    row->is_edited = true;
    if (member) return member;
    penstock_bytes text;
    if (!text_of(name, &text) || !(member = row_add(row))) return NULL;
    member->name = text;
    member->is_added = true;
    return member;
}

static JSValue row_put(JSValueConst this, JSValueConst name, JSValue value, bool is_json) {
    member *member = JS_IsException(value) ? NULL : row_place(this, name);
    if (!member) {
        JS_FreeValue(js, value);
        return JS_EXCEPTION;
    }
    JS_FreeValue(js, member->written);
    member->written = value;
    member->is_json = is_json;
    return JS_DupValue(js, this);
}

/* Objects and arrays are written down at once: what the script does to them afterwards is not meant. */
static JSValue row_set(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    JSValueConst value = arguments[1];
    if (JS_IsUndefined(value)) return JS_ThrowTypeError(js, "a column cannot be set to undefined: set null");
    if (current.is_decoded || !JS_IsObject(value)) return row_put(this, arguments[0], JS_DupValue(js, value), false);
    buffer json = {NULL, 0, 0};
    JSValue text = write_json(&json, value) ? of_text((penstock_bytes){json.data, json.size}) : JS_EXCEPTION;
    free(json.data);
    return row_put(this, arguments[0], text, true);
}

/* JSON as it is to stand there: how a decimal is set exactly. */
static JSValue row_set_json(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    penstock_bytes text;
    penstock_json_error error;
    penstock_json value;
    if (current.is_decoded) return JS_ThrowTypeError(js, "setJson is for JSON values: with `encoding: event`, use set");
    if (!text_of(arguments[1], &text)) return JS_EXCEPTION;
    bool is_good = penstock_json_value(text, &value, &error);
    JSValue stored = is_good ? of_text(value) : JS_ThrowTypeError(js, "setJson: %s at byte %u", error.problem, error.at);
    JS_FreeCString(js, (const char *)text.data);
    return row_put(this, arguments[0], stored, true);
}

static JSValue row_to_json(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count, (void)arguments;
    row *row = this_row(this);
    JSValue names = row ? row_names(js, this, 0, NULL) : JS_EXCEPTION, object = JS_NewObject(js);
    for (uint32_t at = 0; row && !JS_IsException(names) && at < row->count; at++) {
        JSValue name = JS_GetPropertyUint32(js, names, at), value = member_value(&row->members[at]);
        JSAtom atom = JS_ValueToAtom(js, name);
        JS_FreeValue(js, name);
        if (JS_IsException(value) || JS_DefinePropertyValue(js, object, atom, value, JS_PROP_C_W_E) < 0) row = NULL;
        JS_FreeAtom(js, atom);
    }
    JS_FreeValue(js, names);
    if (row && !JS_IsException(names)) return object;
    JS_FreeValue(js, object);
    return JS_EXCEPTION;
}

/* ---- Writing the event as edited. ---- */

static bool member_write(buffer *out, const member *member) {
    if (current.is_decoded) return write_msgpack(out, member->written);
    if (!member->is_json) return write_json(out, member->written);
    penstock_bytes text;
    if (!text_of(member->written, &text)) return false;
    buffer_bytes(out, text);
    JS_FreeCString(js, (const char *)text.data);
    return true;
}

static bool added_write(buffer *out, const member *member, bool is_first) {
    if (!current.is_decoded) {
        if (!is_first) buffer_byte(out, ',');
        uint64_t size = penstock_json_quoted_size(member->name);
        penstock_json_quote(buffer_reserve(out, size), member->name);
        out->size += (uint32_t)size;
        buffer_byte(out, ':');
    } else {
        buffer_string(out, member->name);
    }
    return member_write(out, member);
}

static void copy_until(buffer *out, const uint8_t **done, const uint8_t *end) {
    buffer_bytes(out, (penstock_bytes){*done, (uint32_t)(end - *done)});
    *done = end;
}

/* Where the row's members end: behind the last one, before the white space that the brace may have. */
static const uint8_t *inner_end(penstock_bytes text) {
    const uint8_t *end = text.data + text.size;
    if (current.is_decoded) return end;
    for (end--; end[-1] <= ' ';) end--;
    return end;
}

/* A map's head is written anew, with the count it has then. */
static void row_head(buffer *out, const row *row, const uint8_t **done) {
    if (!current.is_decoded) return;
    penstock_item map = item_of(row->text);
    copy_until(out, done, row->text.data);
    *done = map.bytes.data;
    buffer_wide(out, 0xdf, row->count);
}

static bool row_write(buffer *out, const row *row, const uint8_t **done) {
    if (!row->is_edited) return true;
    row_head(out, row, done);
    bool is_first = true;
    for (uint32_t at = 0; at < row->count; at++) {
        const member *member = &row->members[at];
        if (member->is_added) {
            copy_until(out, done, inner_end(row->text));
            if (!added_write(out, member, is_first)) return false;
        } else if (!JS_IsUndefined(member->written)) {
            copy_until(out, done, member->value.data);
            if (!member_write(out, member)) return false;
            *done = member->value.data + member->value.size;
        }
        is_first = false;
    }
    return true;
}

bool event_write(buffer *out, JSValueConst value) {
    if (!this_event(value)) return false;
    if (!current.value.data) return buffer_byte(out, 0xc0), true;
    uint32_t head = out->size;
    if (!current.is_decoded) buffer_wide(out, 0xc6, 0);
    const uint8_t *done = current.value.data;
    bool after_first = rows[AFTER].text.data < rows[BEFORE].text.data;
    if (!row_write(out, &rows[after_first ? AFTER : BEFORE], &done)) return false;
    if (!row_write(out, &rows[after_first ? BEFORE : AFTER], &done)) return false;
    copy_until(out, &done, current.value.data + current.value.size);
    if (!current.is_decoded) buffer_patch(out, head, 0xc6, out->size - head - 5);
    return true;
}

/* ---- Event. ---- */

enum { TOPIC, PARTITION, OFFSET, TIMESTAMP, KEY, KEY_TEXT, VALUE, HEADERS, OPERATION, ROW_BEFORE, ROW_AFTER, SOURCE };

static JSValue checked_text(penstock_bytes bytes, const char *what) {
    penstock_json_error error;
    if (!bytes.data || penstock_json_utf8(bytes, &error)) return of_text(bytes);
    char message[80];
    snprintf(message, sizeof message, "the %s is not UTF-8 at byte %u", what, error.at);
    return throw_rejection("bad-text", message);
}

static JSValue event_headers(void) {
    JSValue headers = JS_NewArray(js);
    penstock_reader walk = penstock_read_from(current.headers);
    uint32_t count = penstock_array(&walk);
    for (uint32_t at = 0; at < count; at++) {
        penstock_array(&walk);
        penstock_item name = penstock_read(&walk), value = penstock_read(&walk);
        JSValue pair = JS_NewArray(js);
        JS_DefinePropertyValueUint32(js, pair, 0, of_item(name), JS_PROP_C_W_E);
        JS_DefinePropertyValueUint32(js, pair, 1, of_item(value), JS_PROP_C_W_E);
        JS_DefinePropertyValueUint32(js, headers, at, pair, JS_PROP_C_W_E);
    }
    return headers;
}

static JSValue event_row(int side) {
    if (!rows[side].text.data) return JS_NULL;
    JSValue row = JS_NewObjectClass(js, (int)row_class);
    if (!JS_IsException(row)) JS_SetOpaque(row, (void *)(uintptr_t)(serial * 2 + (uint32_t)side));
    return row;
}

static JSValue decoded_value(penstock_bytes whole) { return whole.data ? of_item(item_of(whole)) : JS_NULL; }

static JSValue event_change(int which) {
    if (!read_envelope()) return JS_EXCEPTION;
    if (which == OPERATION) return operation ? JS_NewStringLen(js, &operation, 1) : JS_NULL;
    if (which == SOURCE) return current.is_decoded ? decoded_value(source) : source.data ? of_json(source) : JS_NULL;
    return event_row(which == ROW_BEFORE ? BEFORE : AFTER);
}

static JSValue event_get(JSContext *context, JSValueConst this, int which) {
    (void)context;
    if (!this_event(this)) return JS_EXCEPTION;
    switch (which) {
    case TOPIC: return of_text(current.topic);
    case PARTITION: return JS_NewInt64(js, current.partition);
    case OFFSET: return of_item(penstock_of_integer(current.offset));
    case TIMESTAMP: return of_item(penstock_of_integer(current.timestamp_ms));
    case KEY: return of_bytes(current.key);
    case KEY_TEXT: return checked_text(current.key, "key");
    case VALUE: return current.is_decoded ? decoded_value(current.value) : of_bytes(current.value);
    case HEADERS: return event_headers();
    default: return event_change(which);
    }
}

static bool is_raw(const char *method) {
    if (!current.is_decoded) return true;
    JS_ThrowTypeError(js, "event.%s() is for raw values: with `encoding: event`, use event.after or event.value", method);
    return false;
}

static JSValue event_text(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count, (void)arguments;
    if (!this_event(this) || !is_raw("text")) return JS_EXCEPTION;
    return checked_text(current.value, "value");
}

static JSValue event_json(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count, (void)arguments;
    penstock_json value;
    penstock_json_error error;
    if (!this_event(this) || !is_raw("json")) return JS_EXCEPTION;
    if (!current.value.data) return JS_NULL;
    return penstock_json_parse(current.value, &value, &error) ? of_json(value) : throw_bad_json(error);
}

/* The last header of this name, which is the one that counts in Kafka; undefined when there is none. */
static JSValue event_header(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)count;
    penstock_bytes name;
    if (!this_event(this) || !text_of(arguments[0], &name)) return JS_EXCEPTION;
    penstock_reader walk = penstock_read_from(current.headers);
    penstock_item found = penstock_nil();
    bool is_there = false;
    for (uint32_t left = penstock_array(&walk); left; left--) {
        penstock_array(&walk);
        penstock_item key = penstock_read(&walk), value = penstock_read(&walk);
        if (!penstock_equal(key.bytes, name)) continue;
        found = value;
        is_there = true;
    }
    JS_FreeCString(js, (const char *)name.data);
    return is_there ? checked_text(found.bytes, "header") : JS_UNDEFINED;
}

#define GETTER(name, which) JS_CGETSET_MAGIC_DEF(name, event_get, NULL, which)

static const JSCFunctionListEntry event_members[] = {
    GETTER("topic", TOPIC), GETTER("partition", PARTITION), GETTER("offset", OFFSET), GETTER("timestamp", TIMESTAMP),
    GETTER("key", KEY), GETTER("keyText", KEY_TEXT), GETTER("value", VALUE), GETTER("headers", HEADERS),
    GETTER("operation", OPERATION), GETTER("before", ROW_BEFORE), GETTER("after", ROW_AFTER), GETTER("source", SOURCE),
    JS_CFUNC_DEF("text", 0, event_text), JS_CFUNC_DEF("json", 0, event_json), JS_CFUNC_DEF("header", 1, event_header),
};

static const JSCFunctionListEntry row_members[] = {
    JS_CFUNC_DEF("get", 1, row_get), JS_CFUNC_DEF("has", 1, row_has), JS_CFUNC_DEF("text", 1, row_text),
    JS_CFUNC_DEF("names", 0, row_names), JS_CFUNC_DEF("set", 2, row_set), JS_CFUNC_DEF("setJson", 2, row_set_json),
    JS_CFUNC_DEF("toJSON", 0, row_to_json),
};

static void class_of(JSContext *context, JSClassID *id, const char *name, const JSCFunctionListEntry *members, int count) {
    JSRuntime *runtime = JS_GetRuntime(context);
    JSClassDef definition = {.class_name = name};
    JS_NewClassID(runtime, id);
    JS_NewClass(runtime, *id, &definition);
    JSValue prototype = JS_NewObject(context);
    JS_SetPropertyFunctionList(context, prototype, members, count);
    JS_SetClassProto(context, *id, prototype);
}

void event_classes(JSContext *context) {
    class_of(context, &event_class, "Event", event_members, sizeof event_members / sizeof *event_members);
    class_of(context, &row_class, "Row", row_members, sizeof row_members / sizeof *row_members);
}
