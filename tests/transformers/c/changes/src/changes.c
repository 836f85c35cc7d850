/* Sets `name` in place and adds `seen`; deletes are dropped; a large name is said to be unavailable. */
#define PENSTOCK_ENCODING_EVENT
#include "penstock_change.h"

static void penstock_transform(const penstock_event *event) {
    penstock_change change = penstock_change_of(event);
    penstock_item name = penstock_get(change.after, PENSTOCK_TEXT("name"));
    penstock_column set[] = {
        {PENSTOCK_TEXT("name"), penstock_of_text(penstock_join(name.bytes, PENSTOCK_TEXT("!")))},
        {PENSTOCK_TEXT("seen"), penstock_of_integer(7)},
    };
    if (!change.operation) penstock_unchanged();
    else if (change.operation == 'd') penstock_drop();
    else if (penstock_is_unavailable(name)) penstock_reject("unavailable", "after.name did not come");
    else if (change.operation == 'r') {
        penstock_bytes value = penstock_with_after(event, set, 2);
        penstock_emit_records((penstock_record[]){{.key = event->key, .value = value}, {.key = event->key}}, 2);
    } else penstock_emit_after(event, set, 2);
}
