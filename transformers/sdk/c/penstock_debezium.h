/* penstock_debezium.h: Debezium's JSON envelope, with the embedded schema (`{"schema": …, "payload": …}`) or without. */
#ifndef PENSTOCK_DEBEZIUM_H
#define PENSTOCK_DEBEZIUM_H

#include "penstock_json.h"

typedef enum {
    PENSTOCK_VALUE_BAD,    /* not UTF-8, no JSON object, or a member of the envelope repeats: see `error` */
    PENSTOCK_VALUE_CHANGE, /* a change event */
    PENSTOCK_VALUE_OTHER,  /* any other object: a flattened row, a heartbeat, a transaction's boundary */
    PENSTOCK_VALUE_NULL    /* a null payload, or a plain `null`: a tombstone */
} penstock_value_kind;

typedef struct {
    penstock_value_kind kind;
    char operation;       /* c inserted, u updated, d deleted, r read by a snapshot, t truncated, m a message */
    penstock_json before; /* no value when it is absent or null */
    penstock_json after;
    penstock_json source;
    penstock_json payload; /* the whole change event, without the schema around it */
    penstock_json_error error;
} penstock_envelope;

/* True when the row exists after it, so that there should be an `after`. */
static inline bool penstock_leaves_a_row(char operation) {
    return operation == 'c' || operation == 'u' || operation == 'r';
}

typedef struct {
    penstock_json schema, payload, operation, before, after, source;
    penstock_json_error error;
} penstock_debezium_parts;

/* False when there was one already: readers differ in which one they take, so a guest that looks at one would let the other pass. */
PENSTOCK_INLINE void penstock_debezium_note(penstock_json *part, penstock_json value, bool *repeats) {
    *repeats |= part->data != NULL;
    *part = value;
}

PENSTOCK_APART penstock_debezium_parts penstock_debezium_walk(penstock_bytes object) {
    penstock_debezium_parts parts = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    bool repeats = false;
    penstock_json_walk walk = penstock_json_members(object);
    while (penstock_json_next(&walk)) {
        if (penstock_json_named(&walk, "op")) penstock_debezium_note(&parts.operation, walk.value, &repeats);
        else if (penstock_json_named(&walk, "after")) penstock_debezium_note(&parts.after, walk.value, &repeats);
        else if (penstock_json_named(&walk, "before")) penstock_debezium_note(&parts.before, walk.value, &repeats);
        else if (penstock_json_named(&walk, "source")) parts.source = walk.value;
        else if (penstock_json_named(&walk, "schema")) penstock_debezium_note(&parts.schema, walk.value, &repeats);
        else if (penstock_json_named(&walk, "payload")) penstock_debezium_note(&parts.payload, walk.value, &repeats);
    }
    parts.error = walk.error;
    if (repeats && !parts.error.problem) parts.error = (penstock_json_error){"a member of the envelope repeats", 0};
    return parts;
}

static inline penstock_json penstock_debezium_row(penstock_json row) {
    return penstock_json_is_null(row) ? (penstock_json){NULL, 0} : row;
}

PENSTOCK_INLINE penstock_envelope penstock_debezium_envelope(const penstock_debezium_parts *parts, penstock_bytes payload) {
    penstock_envelope envelope = {.kind = PENSTOCK_VALUE_OTHER, .payload = payload, .error = parts->error};
    if (parts->error.problem) envelope.kind = PENSTOCK_VALUE_BAD;
    penstock_bytes operation = penstock_json_inside(parts->operation);
    if (envelope.kind == PENSTOCK_VALUE_BAD || operation.size != 1) return envelope;
    switch (operation.data[0]) {
    case 'c': case 'u': case 'd': case 'r': case 't': case 'm': break;
    default: return envelope;
    }
    envelope.kind = PENSTOCK_VALUE_CHANGE;
    envelope.operation = (char)operation.data[0];
    envelope.before = penstock_debezium_row(parts->before);
    envelope.after = penstock_debezium_row(parts->after);
    envelope.source = penstock_debezium_row(parts->source);
    return envelope;
}

/* Whether the text is a `null` with nothing but white space around it. */
static inline bool penstock_debezium_is_null(penstock_bytes text) {
    penstock_json value;
    penstock_json_error error;
    return (!text.size || text.data[0] != '{') && penstock_json_value(text, &value, &error) && value.data[0] == 'n';
}

/* Reads a record's value as far as its envelope; all of it is checked. */
static inline penstock_envelope penstock_debezium(penstock_bytes text) {
    penstock_envelope none = {.kind = PENSTOCK_VALUE_BAD};
    if (!penstock_json_utf8(text, &none.error)) return none;
    if (penstock_debezium_is_null(text)) return (penstock_envelope){.kind = PENSTOCK_VALUE_NULL};
    penstock_debezium_parts parts = penstock_debezium_walk(text);
    if (parts.error.problem || !parts.schema.data || !parts.payload.data) return penstock_debezium_envelope(&parts, text);
    penstock_json payload = parts.payload;
    if (penstock_json_is_null(payload)) return (penstock_envelope){.kind = PENSTOCK_VALUE_NULL};
    parts = penstock_debezium_walk(payload);
    if (parts.error.problem) parts.error.at += (uint32_t)(payload.data - text.data);
    return penstock_debezium_envelope(&parts, payload);
}

#endif
