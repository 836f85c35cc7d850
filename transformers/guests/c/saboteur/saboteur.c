/* Passes every event unchanged, except those that ask for trouble: a value that holds
 * "penstock_demo":"loop" | "memory" | "stack" | "trap" | "bad-output" | "reject" | "drop" gets what it asks for.
 * Shows what the sandbox does with guests that misbehave on one event; `penstock demo` runs it. */
#include "penstock.h"

/* Misdeeds stay functions of their own, so that backtraces name them. */
#define MISDEED __attribute__((noinline)) static

static const char NEEDLE[] = "\"penstock_demo\"";
enum { NEEDLE_SIZE = sizeof NEEDLE - 1 };

static volatile uint32_t weight = 1; /* volatile: the compiler must not see through the misdeeds */

/* Horspool's search: how far the window may move, by its last byte. */
static uint8_t shifts[256];

static void prepare_shifts(void) {
    for (int byte = 0; byte < 256; byte++) shifts[byte] = NEEDLE_SIZE;
    for (int i = 0; i < NEEDLE_SIZE - 1; i++) shifts[(uint8_t)NEEDLE[i]] = (uint8_t)(NEEDLE_SIZE - 1 - i);
}

static bool starts_with(const uint8_t *at, const uint8_t *end, const char *text) {
    for (; *text; at++, text++)
        if (at == end || *at != (uint8_t)*text) return false;
    return true;
}

/* The address behind the needle, or NULL. */
static const uint8_t *find_needle(penstock_bytes value) {
    const uint8_t *end = value.data + value.size;
    for (uint32_t at = 0; value.size >= NEEDLE_SIZE && at <= value.size - NEEDLE_SIZE;) {
        uint8_t last = value.data[at + NEEDLE_SIZE - 1];
        if (last == '"' && starts_with(value.data + at, end, NEEDLE)) return value.data + at + NEEDLE_SIZE;
        at += shifts[last];
    }
    return NULL;
}

/* The misdeed's name with its closing quote, or NULL when the value asks for none. */
static const uint8_t *misdeed_of(penstock_bytes value) {
    const uint8_t *at = value.data ? find_needle(value) : NULL;
    if (!at) return NULL;
    const uint8_t *end = value.data + value.size;
    while (at < end && (*at == ' ' || *at == ':')) at++;
    return at < end && *at == '"' ? at + 1 : NULL;
}

MISDEED void loop_forever(void) {
    while (weight) {
    }
}

MISDEED void take_all_memory(void) {
    while (__builtin_wasm_memory_grow(0, 1) != (size_t)-1) {
    }
    penstock_fail("memory", "the host refused to grow the memory any further");
}

MISDEED uint32_t recurse(uint32_t depth) {
    uint32_t below = weight ? recurse(depth + 1) : depth;
    return below + weight;
}

MISDEED void trap(void) { __builtin_trap(); }

/* Ends this batch's result frame in the middle of nowhere: one byte that no msgpack value starts with. */
MISDEED void write_garbage(void) { *penstock_answer(1) = 0xc1; }

static void misbehave(const uint8_t *name, const uint8_t *end) {
    if (starts_with(name, end, "loop\"")) loop_forever();
    else if (starts_with(name, end, "memory\"")) take_all_memory();
    else if (starts_with(name, end, "stack\"")) weight = recurse(0);
    else if (starts_with(name, end, "trap\"")) trap();
    else if (starts_with(name, end, "bad-output\"")) write_garbage();
    else if (starts_with(name, end, "reject\"")) penstock_reject("demo-reject", "the event asked to be rejected");
    else if (starts_with(name, end, "drop\"")) penstock_drop();
    else penstock_unchanged();
}

static void penstock_transform(const penstock_event *event) {
    if (!shifts[0]) prepare_shifts();
    const uint8_t *name = misdeed_of(event->value);
    if (name) misbehave(name, event->value.data + event->value.size);
    else penstock_unchanged();
}
