/* buffer.c: see runtime.h. */
#include "runtime.h"

#include <stdlib.h>

uint8_t *buffer_reserve(buffer *out, uint64_t size) {
    uint64_t needed = out->size + size;
    if (needed > out->room) {
        uint64_t room = needed < 4096 ? 4096 : needed + needed / 2;
        uint8_t *data = room <= INT32_MAX ? realloc(out->data, (size_t)room) : NULL;
        if (!data && needed <= INT32_MAX) data = realloc(out->data, (size_t)(room = needed));
        if (!data) fail("memory", "the guest's memory limit left no room for what it writes");
        out->data = data;
        out->room = (uint32_t)room;
    }
    return out->data + out->size;
}

static void buffer_end(buffer *out, const uint8_t *end) { out->size = (uint32_t)(end - out->data); }

void buffer_byte(buffer *out, uint8_t byte) {
    *buffer_reserve(out, 1) = byte;
    out->size++;
}

void buffer_bytes(buffer *out, penstock_bytes bytes) { buffer_end(out, penstock_copy(buffer_reserve(out, bytes.size), bytes)); }

void buffer_string(buffer *out, penstock_bytes text) {
    buffer_end(out, penstock_put_string(buffer_reserve(out, 5 + (uint64_t)text.size), text));
}

void buffer_binary(buffer *out, penstock_bytes bytes) {
    buffer_end(out, penstock_put_binary(buffer_reserve(out, 5 + (uint64_t)bytes.size), bytes));
}

void buffer_wide(buffer *out, uint8_t tag, uint32_t number) { buffer_end(out, penstock_put_wide(buffer_reserve(out, 5), tag, number)); }

void buffer_patch(buffer *out, uint32_t at, uint8_t tag, uint32_t number) { penstock_put_wide(out->data + at, tag, number); }
