/* {{name}}: makes a to z in the value upper case. Tombstones pass, empty values are dropped, binary ones are rejected. */
#include "penstock.h"

static uint8_t upper(uint8_t byte) { return byte >= 'a' && byte <= 'z' ? byte - ('a' - 'A') : byte; }

static bool is_text(penstock_bytes value) {
    for (uint32_t i = 0; i < value.size; i++) {
        if (!value.data[i]) return false;
    }
    return true;
}

static void penstock_transform(const penstock_event *event) {
    penstock_bytes value = event->value;
    if (!value.data) {
        penstock_unchanged();
    } else if (!value.size) {
        penstock_drop();
    } else if (!is_text(value)) {
        penstock_reject("not-text", "the value holds a zero byte");
    } else {
        uint8_t *out = penstock_emit(value.size);
        for (uint32_t i = 0; i < value.size; i++) out[i] = upper(value.data[i]);
    }
}
