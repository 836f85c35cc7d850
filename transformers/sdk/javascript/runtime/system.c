/* system.c: what the C library would import of WASI, so that the module imports none of it. There are no files, and the time is
 * that of the event at work unless the guest declares `clock`: the same input gives the same bytes. */
#include "runtime.h"

enum { BAD_FILE = 8 };

uint32_t __imported_wasi_snapshot_preview1_clock_time_get(uint32_t clock, uint64_t precision, uint64_t *time_ns) {
    (void)clock, (void)precision;
    *time_ns = (uint64_t)now_ms() * 1000000;
    return 0;
}

uint32_t __imported_wasi_snapshot_preview1_fd_close(uint32_t file) { return (void)file, BAD_FILE; }

uint32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(uint32_t file, void *status) { return (void)file, (void)status, BAD_FILE; }

uint32_t __imported_wasi_snapshot_preview1_fd_seek(uint32_t file, int64_t offset, uint32_t from, void *position) {
    return (void)file, (void)offset, (void)from, (void)position, BAD_FILE;
}

uint32_t __imported_wasi_snapshot_preview1_fd_write(uint32_t file, const void *parts, uint32_t count, void *written) {
    return (void)file, (void)parts, (void)count, (void)written, BAD_FILE;
}
