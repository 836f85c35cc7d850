/* runtime.c: the exports of guest ABI v1, and the call that a snapshot is made by.
 *
 * `penstock_snapshot` runs once, while the guest is built: it evaluates the script's modules, and memory as it is then becomes the
 * module's data. Instances begin there, so that none ever parses anything. The input lies at the very end of memory:
 * a msgpack map, its size, and a mark. What went wrong is left in its place, for the build to read.
 */
#include "runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT(name) __attribute__((export_name(name)))

enum { STACK_CHECKED_BYTES = 160 << 10, BLOCKS_MAX = 8, MARK = 0x706e7374, GC_BYTES = 512 << 10 };
static const char NATIVE[] = "penstock:native", SDK[] = "penstock";

JSContext *js;
static JSValue transform = JS_UNDEFINED, configure = JS_UNDEFINED, settings = JS_UNDEFINED, rejection = JS_UNDEFINED;
static bool is_configured;
static uint32_t cursor;
static bool has_clock;

/* ---- Failing. ---- */

void fail_with(penstock_bytes code, penstock_bytes message) {
    penstock_import_fail(code.data, code.size, message.data, message.size);
}

void fail(const char *code, const char *message) { fail_with(penstock_text(code), penstock_text(message)); }

/* The first place in the stack that is the script's own: `src/orders.js:12:5`. */
static penstock_bytes place_of(const char *stack) {
    for (const char *line = stack; line && *line; line = strchr(line, '\n'), line = line ? line + 1 : NULL) {
        size_t size = strcspn(line, "\n");
        const char *start = memchr(line, '(', size);
        start = start ? start + 1 : strstr(line, "at ") ? strstr(line, "at ") + 3 : line;
        uint32_t length = (uint32_t)strcspn(start, ")\n");
        bool is_native = !memchr(start, ':', length) || !strncmp(start, SDK, sizeof SDK - 1);
        if (!is_native) return (penstock_bytes){(const uint8_t *)start, length};
    }
    return (penstock_bytes){NULL, 0};
}

static void describe(JSValueConst exception, char *out, size_t size) {
    JSValue stack = JS_IsError(exception) ? JS_GetPropertyStr(js, exception, "stack") : JS_UNDEFINED;
    const char *text = JS_ToCString(js, exception), *lines = JS_IsString(stack) ? JS_ToCString(js, stack) : NULL;
    penstock_bytes place = place_of(lines ? lines : "");
    if (place.data) snprintf(out, size, "%.1000s (%.*s)", text ? text : "?", (int)place.size, (const char *)place.data);
    else snprintf(out, size, "%.1000s", text ? text : "an exception that has no text");
    JS_FreeCString(js, text), JS_FreeCString(js, lines);
    JS_FreeValue(js, stack);
}

static bool is_out_of_memory(const char *text) { return strstr(text, "InternalError: out of memory") == text; }

void fail_with_exception(const char *code) {
    char text[1400];
    JSValue exception = JS_GetException(js);
    if (JS_IsNull(exception)) fail("memory", "the guest's memory limit left no room for an exception");
    describe(exception, text, sizeof text);
    if (is_out_of_memory(text)) fail("memory", text);
    fail(code, text);
}

void set_rejection_class(JSValueConst constructor) { rejection = JS_DupValue(js, constructor); }

JSValue throw_rejection(const char *code, const char *message) {
    JSValue arguments[] = {JS_NewString(js, code), JS_NewString(js, message)};
    JSValue made = JS_CallConstructor(js, rejection, 2, (JSValueConst *)arguments);
    JS_FreeValue(js, arguments[0]), JS_FreeValue(js, arguments[1]);
    return JS_IsException(made) ? made : JS_Throw(js, made);
}

JSValue throw_bad_json(penstock_json_error error) {
    char message[160];
    snprintf(message, sizeof message, "the value is no JSON change event: %s at byte %u", error.problem, error.at);
    return throw_rejection("bad-json", message);
}

int64_t now_ms(void) { return has_clock ? penstock_host_now_ms() : current.timestamp_ms; }

/* ---- Memory of the host's. ---- */

static void *blocks[BLOCKS_MAX];
static uint32_t block_count;
static bool are_spent; /* by the batch that they held */

EXPORT("penstock_v1_alloc") void *penstock_v1_alloc(uint32_t size) {
    while (are_spent && block_count) free(blocks[--block_count]);
    are_spent = false;
    if (block_count == BLOCKS_MAX) return NULL;
    void *block = malloc(size ? size : 1);
    if (block) blocks[block_count++] = block;
    return block;
}

EXPORT("penstock_v1_cursor") uint32_t *penstock_v1_cursor(void) { return &cursor; }

/* ---- Configuring. ---- */

/* A promise's value, once every job that is waiting has run. There is nothing else to wait for. */
static JSValue settled(JSValue value) {
    if (!JS_IsPromise(value)) return value;
    JSContext *context;
    while (JS_PromiseState(js, value) == JS_PROMISE_PENDING)
        if (JS_ExecutePendingJob(JS_GetRuntime(js), &context) <= 0) fail("exception", "a promise was returned that nothing will settle");
    JSValue result = JS_PromiseResult(js, value);
    bool is_rejected = JS_PromiseState(js, value) == JS_PROMISE_REJECTED;
    JS_FreeValue(js, value);
    return is_rejected ? JS_Throw(js, result) : result;
}

static void configure_with(JSValue config) {
    is_configured = true;
    if (JS_IsException(config)) fail_with_exception("config");
    JSValue made = JS_IsFunction(js, configure) ? settled(JS_Call(js, configure, JS_UNDEFINED, 1, (JSValueConst[]){config}))
                                                 : JS_DupValue(js, config);
    if (JS_IsException(made)) fail_with_exception("config");
    JS_FreeValue(js, config);
    JS_FreeValue(js, settings);
    settings = made;
}

EXPORT("penstock_v1_configure") uint32_t penstock_v1_configure(const uint8_t *config, uint32_t size) {
    JS_UpdateStackTop(JS_GetRuntime(js));
    penstock_reader reader = penstock_read_from((penstock_bytes){config, size});
    penstock_item map = penstock_read(&reader);
    if (reader.is_bad) fail("config", "the config is no msgpack");
    configure_with(of_item(map));
    are_spent = true;
    return 0;
}

/* ---- A batch. ---- */

static void bad_frame(void) { fail("bad-frame", "the batch frame is not what guest ABI v1 says"); }

static void read_meta(penstock_reader *reader) {
    for (uint32_t members = penstock_map(reader); members && !reader->is_bad; members--) {
        penstock_item name = penstock_read(reader), value = penstock_read(reader);
        if (penstock_is(name.bytes, "topic")) current.topic = value.bytes;
        else if (penstock_is(name.bytes, "partition")) current.partition = value.integer;
        else if (penstock_is(name.bytes, "encoding")) {
            current.is_decoded = penstock_is(value.bytes, "event");
            if (!current.is_decoded && !penstock_is(value.bytes, "raw"))
                fail("encoding", "this guest reads the encodings `raw` and `event`: set one in its registry entry");
        }
    }
}

static void read_event(penstock_reader *reader) {
    if (penstock_array(reader) != 5) reader->is_bad = true;
    current.offset = penstock_integer(reader);
    current.timestamp_ms = penstock_integer(reader);
    current.key = penstock_binary(reader);
    if (current.is_decoded) {
        current.value = penstock_skip(reader, 1);
        if (current.value.size == 1 && current.value.data[0] == 0xc0) current.value = (penstock_bytes){NULL, 0};
    } else {
        current.value = penstock_binary(reader);
    }
    current.headers = penstock_skip(reader, 1);
    if (reader->is_bad) bad_frame();
}

/* A Rejection that was thrown is an outcome; any other exception is the guest's failure. */
static void write_thrown(buffer *out, uint32_t start) {
    JSValue exception = JS_GetException(js);
    if (JS_IsInstanceOf(js, exception, rejection) <= 0) {
        JS_Throw(js, exception);
        fail_with_exception("exception");
    }
    JSValue code = JS_GetPropertyStr(js, exception, "code"), message = JS_GetPropertyStr(js, exception, "message");
    penstock_bytes code_text, message_text;
    if (!text_of(code, &code_text) || !text_of(message, &message_text)) fail_with_exception("exception");
    out->size = start;
    reject_write(out, code_text, message_text);
    JS_FreeCString(js, (const char *)code_text.data), JS_FreeCString(js, (const char *)message_text.data);
    JS_FreeValue(js, code), JS_FreeValue(js, message), JS_FreeValue(js, exception);
}

/* What the script left to do later is done within the event's turn. */
static void run_jobs(void) {
    JSContext *context;
    while (JS_IsJobPending(JS_GetRuntime(js)))
        if (JS_ExecutePendingJob(JS_GetRuntime(js), &context) < 0) fail_with_exception("exception");
}

static void turn(buffer *out) {
    uint32_t start = out->size;
    JSValue event = event_begin();
    if (JS_IsException(event)) fail_with_exception("exception");
    JSValue result = settled(JS_Call(js, transform, JS_UNDEFINED, 2, (JSValueConst[]){event, settings}));
    if (JS_IsException(result) || !outcome_write(out, result)) write_thrown(out, start);
    JS_FreeValue(js, result);
    run_jobs();
    JS_FreeValue(js, event);
    event_end();
}

EXPORT("penstock_v1_transform") uint64_t penstock_v1_transform(const uint8_t *frame, uint32_t size) {
    static buffer out;
    JS_UpdateStackTop(JS_GetRuntime(js));
    if (!is_configured) configure_with(JS_NewObject(js));
    penstock_reader reader = penstock_read_from((penstock_bytes){frame, size});
    if (penstock_array(&reader) != 2) bad_frame();
    read_meta(&reader);
    uint32_t count = penstock_array(&reader);
    out.size = 0;
    buffer_wide(&out, 0xdd, count);
    for (cursor = 0; cursor < count; cursor++) {
        read_event(&reader);
        turn(&out);
    }
    if (reader.is_bad || reader.at != reader.end) bad_frame();
    are_spent = true;
    return (uint64_t)(uintptr_t)out.data << 32 | out.size;
}

/* ---- The snapshot. ---- */

static penstock_item input;

bool has_capability(const char *name) {
    penstock_reader reader = penstock_read_from(penstock_get(input, PENSTOCK_TEXT("capabilities")).bytes);
    while (reader.at < reader.end && !reader.is_bad)
        if (penstock_equal(penstock_read(&reader).bytes, penstock_text(name))) return true;
    return false;
}

JSValue capabilities(void) { return of_item(penstock_get(input, PENSTOCK_TEXT("capabilities"))); }

/* Modules are those of the project and the SDK; there is no file to read one from. */
static JSModuleDef *load_module(JSContext *context, const char *name, void *opaque) {
    (void)opaque;
    if (!strcmp(name, NATIVE)) return native_module(context, name);
    penstock_item text = penstock_get(penstock_get(input, PENSTOCK_TEXT("modules")), penstock_text(name));
    if (text.kind != PENSTOCK_STRING) {
        JS_ThrowReferenceError(context, "there is no module '%s' in the guest's sources", name);
        return NULL;
    }
    char *copy = js_malloc(context, text.bytes.size + 1); /* the parser wants a zero behind the text */
    if (!copy) return NULL;
    *penstock_copy((uint8_t *)copy, text.bytes) = 0;
    JSValue compiled = JS_Eval(context, copy, text.bytes.size, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    js_free(context, copy);
    if (JS_IsException(compiled)) return NULL;
    JSModuleDef *module = JS_VALUE_GET_PTR(compiled);
    JS_FreeValue(context, compiled);
    return module;
}

/* The transformer that the script exports; an exception is pending where it exports none. */
static bool take_transformer(JSValueConst module) {
    JSValue made = JS_GetPropertyStr(js, module, "default");
    if (!JS_IsObject(made)) return JS_ThrowTypeError(js, "the script has no `export default transformer({…})`"), false;
    transform = JS_GetPropertyStr(js, made, "transform");
    configure = JS_GetPropertyStr(js, made, "configure");
    JS_FreeValue(js, made);
    if (!JS_IsFunction(js, transform)) return JS_ThrowTypeError(js, "the transformer has no function `transform`"), false;
    if (!JS_IsUndefined(configure) && !JS_IsFunction(js, configure)) return JS_ThrowTypeError(js, "`configure` is no function"), false;
    return true;
}

static bool run_script(void) {
    penstock_bytes main = penstock_get(input, PENSTOCK_TEXT("main")).bytes;
    char code[600];
    snprintf(code, sizeof code, "import * as made from '%.*s'; globalThis.penstockMade = made;", (int)main.size, (const char *)main.data);
    JSValue done = settled(JS_Eval(js, code, strlen(code), "penstock:main", JS_EVAL_TYPE_MODULE));
    if (JS_IsException(done)) return false;
    JS_FreeValue(js, done);
    JSValue global = JS_GetGlobalObject(js), made = JS_GetPropertyStr(js, global, "penstockMade");
    JSAtom name = JS_NewAtom(js, "penstockMade");
    JS_DeleteProperty(js, global, name, 0);
    JS_FreeAtom(js, name);
    bool is_taken = take_transformer(made);
    JS_FreeValue(js, made), JS_FreeValue(js, global);
    return is_taken;
}

static bool begin(void) {
    JSRuntime *runtime = JS_NewRuntime();
    js = runtime ? JS_NewContext(runtime) : NULL;
    if (!js) return false;
    JS_SetMaxStackSize(runtime, STACK_CHECKED_BYTES);
    JS_SetGCThreshold(runtime, GC_BYTES);
    JS_SetModuleLoaderFunc(runtime, NULL, load_module, NULL);
    unavailable = JS_NewSymbol(js, "UNAVAILABLE", false);
    event_classes(js);
    outcome_classes(js);
    return true;
}

/* Wizer calls it; the input is what the build put at the end of memory. */
EXPORT("penstock_snapshot") void penstock_snapshot(void) {
    uint8_t *end = (uint8_t *)(uintptr_t)((uint64_t)__builtin_wasm_memory_size(0) << 16) - 8;
    uint32_t size = penstock_load4(end);
    if (penstock_load4(end + 4) != MARK) __builtin_trap();
    penstock_reader reader = penstock_read_from((penstock_bytes){end - size, size});
    input = penstock_read(&reader);
    char problem[1400] = "";
    if (!begin()) snprintf(problem, sizeof problem, "there is no memory for the engine");
    else if (!run_script()) {
        JSValue exception = JS_GetException(js);
        describe(exception, problem, sizeof problem);
        JS_FreeValue(js, exception);
    } else {
        has_clock = has_capability("clock");
        JS_RunGC(JS_GetRuntime(js));
    }
    input = penstock_nil();
    memset(end - size, 0, size + 8);
    uint32_t length = (uint32_t)strlen(problem);
    if (!length) return;
    if (length > size) length = size;
    memcpy(end - length, problem, length);
    memcpy(end, &length, 4);
}
