/* Makes a to z in the value's bytes upper case and leaves every other byte alone; tombstones pass unchanged. */
#include "penstock.h"

static uint8_t upper(uint8_t byte) { return byte >= 'a' && byte <= 'z' ? byte - ('a' - 'A') : byte; }

static void penstock_transform(const penstock_event *event) {
    if (!event->value.data) {
        penstock_unchanged();
        return;
    }
    uint8_t *out = penstock_emit(event->value.size);
    for (uint32_t i = 0; i < event->value.size; i++) out[i] = upper(event->value.data[i]);
}
