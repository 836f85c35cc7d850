/* penstock_json_edits.h: changes to a JSON text, spliced in where the values lie, all at once. Included by penstock_json.h.
 *
 * Values are named by where they lie: pass what a walk lent from the very same text. The caller lends the room:
 *
 *     penstock_json_edit places[8];
 *     uint8_t inserted[256];
 *     penstock_json_edits edits = penstock_json_edit_text(text, places, 8, inserted, sizeof inserted);
 *     penstock_json_set(&edits, row, old_total, PENSTOCK_TEXT("total"), penstock_json_new_raw(PENSTOCK_TEXT("12.50")));
 *     if (!edits.problem) end = penstock_json_write(&edits, out);    // `penstock_json_edited_size(&edits)` bytes
 */
#ifndef PENSTOCK_JSON_EDITS_H
#define PENSTOCK_JSON_EDITS_H

#include "penstock_json.h"

/* `source[start..end]` becomes `inserted[from..to]`. */
typedef struct {
    uint32_t start, end;
    uint32_t from, to;
} penstock_json_edit;

typedef struct penstock_json_edits penstock_json_edits;
struct penstock_json_edits {
    penstock_bytes source;
    penstock_json_edit *edits;
    uint32_t count, count_max;
    uint8_t *inserted;
    uint32_t size, size_max;
    const char *problem; /* the first thing that went wrong; NULL while nothing did. The edit that met it was not made. */
    /* Makes both arrays at least this large and keeps what is in them; false when it cannot. NULL: the first room is all. */
    bool (*grow)(penstock_json_edits *edits, uint32_t count_max, uint32_t size_max);
};

/* A new value. */
typedef struct {
    enum { PENSTOCK_JSON_NEW_RAW, PENSTOCK_JSON_NEW_TEXT, PENSTOCK_JSON_NEW_INTEGER } form;
    penstock_bytes bytes;
    int64_t integer;
} penstock_json_new;

/* JSON text that is written as it is: it must be one value. */
PENSTOCK_INLINE penstock_json_new penstock_json_new_raw(penstock_bytes json) {
    return (penstock_json_new){.form = PENSTOCK_JSON_NEW_RAW, .bytes = json};
}

/* A string; quotes and escapes are added. The text must be UTF-8. */
PENSTOCK_INLINE penstock_json_new penstock_json_new_text(penstock_bytes text) {
    return (penstock_json_new){.form = PENSTOCK_JSON_NEW_TEXT, .bytes = text};
}

PENSTOCK_INLINE penstock_json_new penstock_json_new_integer(int64_t number) {
    return (penstock_json_new){.form = PENSTOCK_JSON_NEW_INTEGER, .integer = number};
}

PENSTOCK_INLINE penstock_json_new penstock_json_new_null(void) { return penstock_json_new_raw(PENSTOCK_TEXT("null")); }

PENSTOCK_INLINE penstock_json_new penstock_json_new_boolean(bool boolean) {
    return penstock_json_new_raw(boolean ? PENSTOCK_TEXT("true") : PENSTOCK_TEXT("false"));
}

/* No changes to `source` yet; room for so many edits and so many inserted bytes. */
PENSTOCK_INLINE penstock_json_edits penstock_json_edit_text(
    penstock_bytes source, penstock_json_edit *edits, uint32_t count_max, uint8_t *inserted, uint32_t size_max) {
    return (penstock_json_edits){
        .source = source, .edits = edits, .count_max = count_max, .inserted = inserted, .size_max = size_max};
}

PENSTOCK_INLINE bool penstock_json_refuse_edit(penstock_json_edits *edits, const char *problem) {
    if (!edits->problem) edits->problem = problem;
    return false;
}

/* Room for one more edit and so many more bytes. */
PENSTOCK_APART bool penstock_json_room(penstock_json_edits *edits, uint64_t bytes) {
    if (edits->problem) return false;
    uint64_t size = edits->size + bytes;
    if (edits->count < edits->count_max && size <= edits->size_max) return true;
    bool grew = size <= UINT32_MAX && edits->grow && edits->grow(edits, edits->count + 1, (uint32_t)size);
    return grew || penstock_json_refuse_edit(edits, "no room for another edit");
}

PENSTOCK_INLINE uint64_t penstock_json_new_size(penstock_json_new value) {
    if (value.form == PENSTOCK_JSON_NEW_INTEGER) return PENSTOCK_JSON_INTEGER_BYTES;
    return value.form == PENSTOCK_JSON_NEW_TEXT ? penstock_json_quoted_size(value.bytes) : value.bytes.size;
}

PENSTOCK_APART uint8_t *penstock_json_put_new(uint8_t *out, penstock_json_new value) {
    if (value.form == PENSTOCK_JSON_NEW_INTEGER) return penstock_json_put_integer(out, value.integer);
    if (value.form == PENSTOCK_JSON_NEW_TEXT) return penstock_json_quote(out, value.bytes);
    return penstock_copy(out, value.bytes);
}

/* Whether the value lies in the source; sets where. */
PENSTOCK_APART bool penstock_json_place(penstock_json_edits *edits, penstock_json value, uint32_t *start) {
    uintptr_t offset = (uintptr_t)value.data - (uintptr_t)edits->source.data;
    *start = (uint32_t)offset;
    if (value.size && offset <= edits->source.size && value.size <= edits->source.size - offset) return true;
    return penstock_json_refuse_edit(edits, "the value is not of the text that is edited");
}

/* Replaces a value; what was put in its place before is forgotten. */
PENSTOCK_APART void penstock_json_replace(penstock_json_edits *edits, penstock_json value, penstock_json_new new_value) {
    uint32_t start;
    if (!penstock_json_place(edits, value, &start)) return;
    if (!penstock_json_room(edits, penstock_json_new_size(new_value))) return;
    uint32_t end = start + value.size, from = edits->size, at = 0;
    edits->size = (uint32_t)(penstock_json_put_new(edits->inserted + from, new_value) - edits->inserted);
    while (at < edits->count && !(edits->edits[at].start == start && edits->edits[at].end == end)) at++;
    edits->edits[at] = (penstock_json_edit){start, end, from, edits->size};
    if (at == edits->count) edits->count++;
}

/* Where members are appended: behind the last one, before the white space that the brace may have. */
PENSTOCK_INLINE uint32_t penstock_json_inner_size(penstock_json object) {
    uint32_t size = object.size - 1;
    while (object.data[size - 1] <= ' ') size--;
    return size;
}

/* Adds a member at the end of an object, behind those appended before. The name is UTF-8. */
PENSTOCK_APART void penstock_json_append(
    penstock_json_edits *edits, penstock_json object, penstock_bytes name, penstock_json_new new_value) {
    uint32_t place;
    if (!penstock_json_place(edits, object, &place)) return;
    if (object.data[0] != '{') {
        penstock_json_refuse_edit(edits, "only objects have members");
        return;
    }
    if (!penstock_json_room(edits, penstock_json_quoted_size(name) + 2 + penstock_json_new_size(new_value))) return;
    uint32_t inner = penstock_json_inner_size(object), from = edits->size;
    place += inner;
    bool is_first = inner == 1;
    for (uint32_t at = 0; is_first && at < edits->count; at++)
        is_first = edits->edits[at].start != place || edits->edits[at].end != place;
    uint8_t *out = edits->inserted + from;
    if (!is_first) *out++ = ',';
    out = penstock_json_quote(out, name);
    *out++ = ':';
    edits->size = (uint32_t)(penstock_json_put_new(out, new_value) - edits->inserted);
    penstock_json_edit *last = edits->count ? &edits->edits[edits->count - 1] : NULL;
    if (last && last->start == place && last->end == place && last->to == from) last->to = edits->size;
    else edits->edits[edits->count++] = (penstock_json_edit){place, place, from, edits->size};
}

/* Replaces the member's value where there is one, else appends the member. */
static inline void penstock_json_set(
    penstock_json_edits *edits, penstock_json object, penstock_json existing, penstock_bytes name, penstock_json_new new_value) {
    if (existing.data) penstock_json_replace(edits, existing, new_value);
    else penstock_json_append(edits, object, name, new_value);
}

/* By position; members appended to one object keep their order. Edits are few, and mostly in order already. */
PENSTOCK_INLINE void penstock_json_sort(penstock_json_edits *edits) {
    for (uint32_t sorted = 1; sorted < edits->count; sorted++) {
        penstock_json_edit edit = edits->edits[sorted];
        uint32_t at = sorted;
        for (; at > 0; at--) {
            penstock_json_edit before = edits->edits[at - 1];
            if (edit.start > before.start || (edit.start == before.start && edit.end >= before.end)) break;
            edits->edits[at] = before;
        }
        edits->edits[at] = edit;
    }
}

/* Bytes of the text with all changes made, which are sorted and checked here: two that change the same text are a problem. */
PENSTOCK_APART uint64_t penstock_json_edited_size(penstock_json_edits *edits) {
    penstock_json_sort(edits);
    uint64_t size = edits->source.size;
    uint32_t done = 0;
    for (uint32_t at = 0; at < edits->count; at++) {
        penstock_json_edit edit = edits->edits[at];
        if (edit.start < done) penstock_json_refuse_edit(edits, "two edits change the same text");
        size += (uint64_t)(edit.to - edit.from) - (edit.end - edit.start);
        done = edit.end;
    }
    return size;
}

/* Writes the text with all changes made, after `penstock_json_edited_size`; returns the address behind it. */
PENSTOCK_APART uint8_t *penstock_json_write(const penstock_json_edits *edits, uint8_t *out) {
    uint32_t done = 0;
    for (uint32_t at = 0; at < edits->count; at++) {
        penstock_json_edit edit = edits->edits[at];
        out = penstock_copy(out, (penstock_bytes){edits->source.data + done, edit.start - done});
        out = penstock_copy(out, (penstock_bytes){edits->inserted + edit.from, edit.to - edit.from});
        done = edit.end;
    }
    return penstock_copy(out, (penstock_bytes){edits->source.data + done, edits->source.size - done});
}

#endif
