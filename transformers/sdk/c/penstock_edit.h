/* penstock_edit.h: edits of an event's JSON text, with room from the guest's arena. */
#ifndef PENSTOCK_EDIT_H
#define PENSTOCK_EDIT_H

#include "penstock.h"
#include "penstock_json.h"

static inline bool penstock_more_edits(penstock_json_edits *edits, uint32_t count_max, uint32_t size_max) {
    uint64_t count = count_max > edits->count_max ? 2 * (uint64_t)count_max : edits->count_max;
    uint64_t size = size_max > edits->size_max ? 2 * (uint64_t)size_max : edits->size_max;
    if (count > UINT32_MAX || size > UINT32_MAX) return false;
    penstock_json_edit *places = penstock_scratch(count * sizeof *places);
    uint8_t *inserted = penstock_scratch(size);
    penstock_copy((uint8_t *)places, (penstock_bytes){(uint8_t *)edits->edits, edits->count * (uint32_t)sizeof *places});
    penstock_copy(inserted, (penstock_bytes){edits->inserted, edits->size});
    edits->edits = places;
    edits->inserted = inserted;
    edits->count_max = (uint32_t)count;
    edits->size_max = (uint32_t)size;
    return true;
}

/* No changes to the text yet. There is room for a few at first, and more is made when it is needed. */
static inline penstock_json_edits penstock_edit(penstock_bytes text) {
    enum { COUNT = 8, SIZE = 256 };
    penstock_json_edit *places = penstock_scratch(COUNT * sizeof *places);
    penstock_json_edits edits = penstock_json_edit_text(text, places, COUNT, penstock_scratch(SIZE), SIZE);
    edits.grow = penstock_more_edits;
    return edits;
}

/* Bytes of the edited text. Fails with the place in the source when an edit went wrong: that is the guest's fault. */
static inline uint32_t penstock_edited_size(penstock_json_edits *edits) {
    uint64_t size = penstock_json_edited_size(edits);
    if (edits->problem) penstock_fail("edit", edits->problem);
    if (size > UINT32_MAX) penstock_fail("memory", "the edited text has more than 4 GiB");
    return (uint32_t)size;
}

/* Answer: the event goes on with its text edited. */
static inline void penstock_emit_edited(penstock_json_edits *edits) {
    penstock_json_write(edits, penstock_emit(penstock_edited_size(edits)));
}

/* The edited text in scratch, for records. */
static inline penstock_bytes penstock_edited(penstock_json_edits *edits) {
    uint32_t size = penstock_edited_size(edits);
    uint8_t *text = penstock_scratch(size);
    penstock_json_write(edits, text);
    return (penstock_bytes){text, size};
}

#endif
