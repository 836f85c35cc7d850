/* engine.c: QuickJS itself, with its check of the stack's depth, which it leaves out for WASI.
 *
 * A script that recurses without end gets a RangeError while there is still stack to report it on. Nothing else of
 * the engine depends on WASI: cutils.h has what it takes from there.
 */
#include "cutils.h"
#undef __wasi__
#define EMSCRIPTEN 1 /* no atomics, no threads, a switch in place of computed jumps */
#include "quickjs.c"
