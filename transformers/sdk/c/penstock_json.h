/* penstock_json.h: reads and edits JSON in place, in freestanding C11 that needs no library and no memory of its own.
 *
 * It checks all of a text, looks only at what you ask for, and splices new values into the original: key order, white space
 * and the exact digits of every number nobody touched stay as they came. A parsed document would not keep them, and costs
 * several times as much.
 *
 *     penstock_json_error error;
 *     penstock_json root;
 *     if (!penstock_json_parse(text, &root, &error)) …                      // all of it checked: UTF-8, grammar, depth
 *     for (penstock_json_walk walk = penstock_json_members(root); penstock_json_next(&walk);)
 *         if (penstock_json_named(&walk, "status")) status = walk.value;    // a name that repeats comes repeatedly
 *
 * Without `penstock_json_parse` a walk checks what it walks over, of UTF-8 text: look at `walk.error.problem` behind the loop.
 */
#ifndef PENSTOCK_JSON_H
#define PENSTOCK_JSON_H

#include "penstock_json_scan.h"
#include "penstock_json_text.h"

/* One value: its text, checked, without white space around it, borrowed from the text it was found in. `data` is NULL
 * where there is no value. */
typedef penstock_bytes penstock_json;

typedef enum {
    PENSTOCK_JSON_NONE, /* there is no value */
    PENSTOCK_JSON_NULL,
    PENSTOCK_JSON_BOOLEAN,
    PENSTOCK_JSON_NUMBER,
    PENSTOCK_JSON_STRING,
    PENSTOCK_JSON_ARRAY,
    PENSTOCK_JSON_OBJECT
} penstock_json_kind;

/* What a value is, told by its first byte. */
static inline penstock_json_kind penstock_json_kind_of(penstock_json value) {
    if (!value.data) return PENSTOCK_JSON_NONE;
    switch (value.data[0]) {
    case 'n': return PENSTOCK_JSON_NULL;
    case 't': case 'f': return PENSTOCK_JSON_BOOLEAN;
    case '"': return PENSTOCK_JSON_STRING;
    case '[': return PENSTOCK_JSON_ARRAY;
    case '{': return PENSTOCK_JSON_OBJECT;
    default: return PENSTOCK_JSON_NUMBER;
    }
}

/* True where there is no value, and for `null`. */
static inline bool penstock_json_is_null(penstock_json value) {
    return penstock_json_kind_of(value) <= PENSTOCK_JSON_NULL;
}

/* What stands between the quotes of a string, escapes and all; nil for every other kind. */
static inline penstock_bytes penstock_json_inside(penstock_json value) {
    if (penstock_json_kind_of(value) != PENSTOCK_JSON_STRING) return (penstock_bytes){NULL, 0};
    return (penstock_bytes){value.data + 1, value.size - 2};
}

static inline penstock_json_scan penstock_json_scan_of(penstock_bytes text) {
    return (penstock_json_scan){.start = text.data, .end = text.data + text.size};
}

/* The value that `text` is, white space around it left out. Checks the grammar; the text must be UTF-8. */
PENSTOCK_APART bool penstock_json_value(penstock_bytes text, penstock_json *value, penstock_json_error *error) {
    penstock_json_scan scan = penstock_json_scan_of(text);
    penstock_json_at start = penstock_json_space(&scan, text.data);
    penstock_json_at end = penstock_json_skip(&scan, start);
    bool is_whole = end && penstock_json_ends(&scan, end);
    *value = is_whole ? (penstock_json){start, (uint32_t)(end - start)} : (penstock_json){NULL, 0};
    *error = scan.error;
    return is_whole;
}

/* The value that these bytes are, all of it checked. False, and why, when they are no JSON. */
static inline bool penstock_json_parse(penstock_bytes text, penstock_json *value, penstock_json_error *error) {
    *value = (penstock_json){NULL, 0};
    return penstock_json_utf8(text, error) && penstock_json_value(text, value, error);
}

/* ---- Members and elements, in order. ---- */

typedef struct {
    penstock_bytes name; /* between its quotes, escapes and all; nil in an array */
    bool has_escapes;    /* whether the name has any */
    penstock_json value;
    penstock_json_error error;
    /* Where the walk is; not for you. */
    penstock_json_scan scan;
    penstock_json_at at; /* NULL when it is over */
    uint8_t close;
} penstock_json_walk;

PENSTOCK_APART penstock_json_walk penstock_json_begin(penstock_bytes text, uint8_t open, const char *problem) {
    penstock_json_walk walk = {.scan = penstock_json_scan_of(text), .close = open + 2};
    penstock_json_at at = penstock_json_space(&walk.scan, text.data);
    if (penstock_json_peek(&walk.scan, at) != open) {
        penstock_json_fails(&walk.scan, at, problem);
        walk.error = walk.scan.error;
        return walk;
    }
    walk.at = penstock_json_space(&walk.scan, at + 1);
    if (penstock_json_peek(&walk.scan, walk.at) != walk.close) return walk;
    penstock_json_ends(&walk.scan, walk.at + 1);
    walk.error = walk.scan.error;
    walk.at = NULL;
    return walk;
}

/* A walk over the object that `text` is; with no member and an error when it is none. */
PENSTOCK_INLINE penstock_json_walk penstock_json_members(penstock_bytes text) {
    return penstock_json_begin(text, '{', "expected an object");
}

/* A walk over the array that `text` is. */
PENSTOCK_INLINE penstock_json_walk penstock_json_elements(penstock_bytes text) {
    return penstock_json_begin(text, '[', "expected an array");
}

/* The member's name, which is noted; the position of its value. */
PENSTOCK_INLINE penstock_json_at penstock_json_member_name(penstock_json_walk *walk, penstock_json_at at) {
    penstock_json_scan *scan = &walk->scan;
    scan->saw_escape = false;
    penstock_json_at end = penstock_json_string(scan, at);
    if (!end) return NULL;
    walk->name = (penstock_bytes){at + 1, (uint32_t)(end - at - 2)};
    walk->has_escapes = scan->saw_escape;
    if (walk->has_escapes && penstock_json_decode(walk->name, NULL) < 0)
        return penstock_json_fails(scan, at, "half of a surrogate pair in a string");
    return penstock_json_colon(scan, end);
}

/* Behind a value: where the next one begins, or NULL at the end. */
PENSTOCK_INLINE penstock_json_at penstock_json_continue(penstock_json_walk *walk, penstock_json_at at) {
    penstock_json_scan *scan = &walk->scan;
    at = penstock_json_space(scan, at);
    uint8_t next = penstock_json_peek(scan, at);
    if (next == ',') return penstock_json_space(scan, at + 1);
    if (next != walk->close) return penstock_json_fails(scan, at, "expected a comma or the end of the list");
    penstock_json_ends(scan, at + 1);
    return NULL;
}

/* Goes to the next member or element: true when there is one, in `walk->name` and `walk->value`. After false,
 * `walk->error.problem` is NULL unless the text is wrong. */
PENSTOCK_APART bool penstock_json_next(penstock_json_walk *walk) {
    penstock_json_at at = walk->at;
    walk->at = NULL;
    if (at && walk->close == '}') at = penstock_json_member_name(walk, at);
    if (at) {
        penstock_json_at end = penstock_json_skip(&walk->scan, at);
        if (end) {
            walk->value = (penstock_json){at, (uint32_t)(end - at)};
            walk->at = penstock_json_continue(walk, end);
        }
    }
    if (walk->scan.error.problem) walk->error = walk->scan.error;
    return at && !walk->error.problem;
}

static inline bool penstock_json_has_name(const penstock_json_walk *walk, penstock_bytes name) {
    return walk->has_escapes ? penstock_json_stands_for(walk->name, name) : penstock_equal(walk->name, name);
}

/* Whether the member has this name, a literal. */
#define penstock_json_named(walk, literal) penstock_json_has_name((walk), PENSTOCK_TEXT(literal))

/* The last member of this name in a checked object; no value when it has none, or when `object` is no object. */
static inline penstock_json penstock_json_member(penstock_json object, penstock_bytes name) {
    penstock_json found = {NULL, 0};
    if (penstock_json_kind_of(object) != PENSTOCK_JSON_OBJECT) return found;
    for (penstock_json_walk walk = penstock_json_members(object); penstock_json_next(&walk);)
        if (penstock_json_has_name(&walk, name)) found = walk.value;
    return found;
}

/* Whether the value is a string that stands for this text. */
static inline bool penstock_json_equals(penstock_json value, penstock_bytes text) {
    penstock_bytes inside = penstock_json_inside(value);
    return inside.data && penstock_json_stands_for(inside, text);
}

/* Whether a string stands for a text at all: half of a surrogate pair does not. True for every other kind. */
PENSTOCK_APART bool penstock_json_is_text(penstock_json value) {
    penstock_bytes inside = penstock_json_inside(value);
    return !inside.data || penstock_json_unescaped(inside) == inside.size || penstock_json_decode(inside, NULL) >= 0;
}

#include "penstock_json_edits.h"

#endif
