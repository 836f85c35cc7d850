/* imports.c: see imports.h. */
#include "imports.h"

#define ASK(name) __attribute__((noinline, export_name("penstock_host_" name)))

PENSTOCK_IMPORT("log") void import_log(uint32_t level, const uint8_t *line, uint32_t size);
ASK("log") void penstock_host_log(uint32_t level, const uint8_t *line, uint32_t size) { import_log(level, line, size); }

PENSTOCK_IMPORT("now_ms") int64_t import_now_ms(void);
ASK("now_ms") int64_t penstock_host_now_ms(void) { return import_now_ms(); }

PENSTOCK_IMPORT("monotonic_ns") int64_t import_monotonic_ns(void);
ASK("monotonic_ns") int64_t penstock_host_monotonic_ns(void) { return import_monotonic_ns(); }

PENSTOCK_IMPORT("random") int32_t import_random(uint8_t *out, uint32_t size);
ASK("random") int32_t penstock_host_random(uint8_t *out, uint32_t size) { return import_random(out, size); }

#define REQUEST(name)                                                                                                          \
    PENSTOCK_IMPORT(#name) penstock_request import_##name;                                                                     \
    ASK(#name) int32_t penstock_host_##name(const uint8_t *request, uint32_t size, uint8_t *out, uint32_t capacity) {          \
        return import_##name(request, size, out, capacity);                                                                    \
    }

REQUEST(env_get)
REQUEST(file_read)
REQUEST(file_write)
REQUEST(http_request)
REQUEST(kv_get)
REQUEST(kv_put)
REQUEST(kv_delete)
REQUEST(lookup)
REQUEST(lookup_many)
REQUEST(db_execute)
REQUEST(db_query)
REQUEST(db_transaction)
