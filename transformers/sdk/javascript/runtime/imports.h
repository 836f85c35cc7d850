/* imports.h: what the runtime may ask of the host. Each import is called from one function of its own, which is exported.
 *
 * `penstock build` keeps those that guest.toml declares and replaces the others by a trap, without moving any other function
 * (pipeline/workshop/languages/javascript.py): so the body must be the call and nothing else.
 */
#ifndef PENSTOCK_JS_IMPORTS_H
#define PENSTOCK_JS_IMPORTS_H

#include <stdint.h>

#define PENSTOCK_IMPORT(name) __attribute__((import_module("penstock"), import_name(name)))

PENSTOCK_IMPORT("fail") __attribute__((noreturn)) void
penstock_import_fail(const uint8_t *code, uint32_t code_size, const uint8_t *message, uint32_t message_size);

typedef int32_t penstock_request(const uint8_t *request, uint32_t size, uint8_t *out, uint32_t capacity);

void penstock_host_log(uint32_t level, const uint8_t *line, uint32_t size);
int64_t penstock_host_now_ms(void);
int64_t penstock_host_monotonic_ns(void);
int32_t penstock_host_random(uint8_t *out, uint32_t size);
penstock_request penstock_host_env_get, penstock_host_file_read, penstock_host_file_write, penstock_host_http_request,
    penstock_host_kv_get, penstock_host_kv_put, penstock_host_kv_delete, penstock_host_lookup, penstock_host_lookup_many,
    penstock_host_db_execute, penstock_host_db_query, penstock_host_db_transaction;

#endif
