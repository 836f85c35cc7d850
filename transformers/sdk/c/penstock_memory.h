/* penstock_memory.h: memcpy, memmove and memset for builds without bulk memory instructions (`-mcpu=mvp`), where the compiler calls
 * them. Include it in one file. Plain loops: slower than what the engine does by itself, so only where it must be. */
#ifndef PENSTOCK_MEMORY_H
#define PENSTOCK_MEMORY_H

#include <stddef.h>

/* The compiler must not make a call of memcpy out of memcpy's own loop. */
#define PENSTOCK_OWN __attribute__((no_builtin, used))

PENSTOCK_OWN void *memcpy(void *to, const void *from, size_t size) {
    unsigned char *out = to;
    for (const unsigned char *in = from; size; size--) *out++ = *in++;
    return to;
}

PENSTOCK_OWN void *memmove(void *to, const void *from, size_t size) {
    unsigned char *out = to;
    const unsigned char *in = from;
    if (out <= in) return memcpy(to, from, size);
    while (size--) out[size] = in[size];
    return to;
}

PENSTOCK_OWN void *memset(void *to, int byte, size_t size) {
    for (unsigned char *out = to; size; size--) *out++ = (unsigned char)byte;
    return to;
}

#endif
