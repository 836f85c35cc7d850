/* penstock_change.h: change events that the host decoded, whatever the source wrote; for PENSTOCK_ENCODING_EVENT.
 *
 *     penstock_change change = penstock_change_of(event);
 *     penstock_item name = penstock_get(change.after, PENSTOCK_TEXT("name"));
 *     penstock_column set[] = {{PENSTOCK_TEXT("name"), penstock_of_text(PENSTOCK_TEXT("***"))}};
 *     penstock_emit_after(event, set, 1);
 *
 * Integers from -2^63 to 2^64-1 are integers; wider ones and decimals are texts with the source's own digits. A column that the
 * source did not send (a large value that did not change) is an extension of type 1.
 */
#ifndef PENSTOCK_CHANGE_H
#define PENSTOCK_CHANGE_H

#include "penstock.h"

typedef struct {
    char operation;       /* c inserted, u updated, d deleted, r read by a snapshot, t truncated, m a message; 0 for a tombstone */
    penstock_item before; /* a map of columns, or nil */
    penstock_item after;
    penstock_item source;
    penstock_item ts_ms;
    penstock_item transaction;
} penstock_change;

/* A column and its value. */
typedef struct {
    penstock_bytes name;
    penstock_item value;
} penstock_column;

static inline penstock_item penstock_change_map(const penstock_event *event) {
    penstock_reader reader = penstock_read_from(event->value);
    return event->value.data ? penstock_read(&reader) : penstock_nil();
}

/* The parts of the event's change; all nil for a tombstone. */
static inline penstock_change penstock_change_of(const penstock_event *event) {
    penstock_change change = {.operation = 0};
    penstock_item map = penstock_change_map(event);
    penstock_reader reader = penstock_read_from(map.bytes);
    for (uint32_t members = map.kind == PENSTOCK_MAP ? map.count : 0; members; members--) {
        penstock_bytes name = penstock_read(&reader).bytes;
        penstock_item value = penstock_read(&reader);
        if (penstock_is(name, "op")) change.operation = value.bytes.size == 1 ? (char)value.bytes.data[0] : 0;
        else if (penstock_is(name, "before")) change.before = value;
        else if (penstock_is(name, "after")) change.after = value;
        else if (penstock_is(name, "source")) change.source = value;
        else if (penstock_is(name, "ts_ms")) change.ts_ms = value;
        else if (penstock_is(name, "transaction")) change.transaction = value;
    }
    return change;
}

/* Whether the source left this column's value out because it did not change. */
static inline bool penstock_is_unavailable(penstock_item value) {
    return value.kind == PENSTOCK_EXTENSION && value.extension == 1;
}

PENSTOCK_INLINE const penstock_column *penstock_find_column(const penstock_column *columns, uint32_t count, penstock_item name) {
    for (uint32_t at = 0; at < count; at++)
        if (penstock_equal(columns[at].name, name.bytes)) return &columns[at];
    return NULL;
}

/* Writes the row with these columns set: in their place where it has them, else at its end. */
PENSTOCK_APART uint8_t *penstock_put_row(uint8_t *out, penstock_item row, const penstock_column *columns, uint32_t count) {
    uint32_t members = row.kind == PENSTOCK_MAP ? row.count : 0, total = members;
    uint8_t *head = out;
    out += 5;
    penstock_reader reader = penstock_read_from(row.bytes);
    for (; members; members--) {
        penstock_item name = penstock_read(&reader), value = penstock_read(&reader);
        const penstock_column *set = penstock_find_column(columns, count, name);
        out = penstock_put_item(penstock_put_item(out, name), set ? set->value : value);
    }
    for (uint32_t at = 0; at < count; at++) {
        if (penstock_get(row, columns[at].name).whole.data) continue;
        out = penstock_put_item(penstock_put_string(out, columns[at].name), columns[at].value);
        total++;
    }
    penstock_put_wide(head, 0xdf, total);
    return out;
}

/* The event's map with these columns of `after` set, in scratch: the value of a record. A column may be named once. */
PENSTOCK_APART penstock_bytes penstock_with_after(const penstock_event *event, const penstock_column *columns, uint32_t count) {
    penstock_item map = penstock_change_map(event);
    uint64_t size = 10 + (uint64_t)event->value.size;
    for (uint32_t at = 0; at < count; at++) size += 5 + (uint64_t)columns[at].name.size + penstock_item_size(columns[at].value);
    uint8_t *start = penstock_scratch(size), *out = penstock_put_wide(start, 0xdf, map.kind == PENSTOCK_MAP ? map.count : 0);
    penstock_reader reader = penstock_read_from(map.bytes);
    for (uint32_t members = map.kind == PENSTOCK_MAP ? map.count : 0; members; members--) {
        penstock_item name = penstock_read(&reader), value = penstock_read(&reader);
        out = penstock_put_item(out, name);
        out = penstock_is(name.bytes, "after") ? penstock_put_row(out, value, columns, count) : penstock_put_item(out, value);
    }
    return (penstock_bytes){start, (uint32_t)(out - start)};
}

/* Answer: the event goes on with these columns of `after` set. */
static inline void penstock_emit_after(const penstock_event *event, const penstock_column *columns, uint32_t count) {
    penstock_emit_value(penstock_with_after(event, columns, count));
}

#endif
