/* outcome.c: what transform returns, what the script imports, and what it may ask of the host. */
#include "runtime.h"

#include <stdlib.h>

typedef enum { UNCHANGED, DROP, EMIT, EMIT_MANY, REJECT } outcome_kind;

typedef struct {
    outcome_kind kind;
    JSValue first, second;
} outcome;

static JSClassID outcome_class;
enum { RECORDS_MAX = 10000 };

static void outcome_free(JSRuntime *runtime, JSValueConst value) {
    outcome *outcome = JS_GetOpaque(value, outcome_class);
    JS_FreeValueRT(runtime, outcome->first);
    JS_FreeValueRT(runtime, outcome->second);
    js_free_rt(runtime, outcome);
}

static void outcome_mark(JSRuntime *runtime, JSValueConst value, JS_MarkFunc *mark) {
    outcome *outcome = JS_GetOpaque(value, outcome_class);
    JS_MarkValue(runtime, outcome->first, mark);
    JS_MarkValue(runtime, outcome->second, mark);
}

void outcome_classes(JSContext *context) {
    static const JSClassDef definition = {.class_name = "Outcome", .finalizer = outcome_free, .gc_mark = outcome_mark};
    JS_NewClassID(JS_GetRuntime(context), &outcome_class);
    JS_NewClass(JS_GetRuntime(context), outcome_class, &definition);
    JS_SetClassProto(context, outcome_class, JS_NewObject(context));
}

static JSValue outcome_new(JSContext *context, outcome_kind kind, JSValueConst first, JSValueConst second) {
    outcome *made = js_malloc(context, sizeof *made);
    if (!made) return JS_EXCEPTION;
    *made = (outcome){kind, JS_DupValue(context, first), JS_DupValue(context, second)};
    JSValue object = JS_NewObjectClass(context, (int)outcome_class);
    JS_SetOpaque(object, made);
    return object;
}

static JSValue outcome_make(JSContext *context, JSValueConst this, int count, JSValueConst *arguments, int kind) {
    (void)this, (void)count;
    return outcome_new(context, (outcome_kind)kind, arguments[0], kind == REJECT ? arguments[1] : JS_UNDEFINED);
}

/* ---- Writing the entry. ---- */

static bool write_emitted(buffer *out, JSValueConst value) {
    if (is_event(value)) return event_write(out, value);
    if (JS_IsUndefined(value)) return JS_ThrowTypeError(js, "emit() got undefined: give it the event, a value, or null for a tombstone"), false;
    return current.is_decoded ? write_msgpack(out, value) : write_bytes(out, value);
}

static bool write_topic(buffer *out, JSValueConst topic) {
    return JS_IsNull(topic) || JS_IsUndefined(topic) ? buffer_byte(out, 0xc0), true : write_msgpack(out, topic);
}

/* Headers as `[[name, value], …]` with values that are texts, bytes or null. */
static bool write_headers(buffer *out, JSValueConst headers) {
    if (JS_IsNull(headers) || JS_IsUndefined(headers)) return buffer_byte(out, 0xc0), true;
    int64_t count;
    if (!JS_IsArray(headers)) return JS_ThrowTypeError(js, "headers must be an array of [name, value]"), false;
    if (JS_GetLength(js, headers, &count) < 0) return false;
    buffer_wide(out, 0xdd, (uint32_t)count);
    bool is_written = true;
    for (int64_t at = 0; is_written && at < count; at++) {
        JSValue pair = JS_GetPropertyInt64(js, headers, at);
        JSValue name = JS_GetPropertyUint32(js, pair, 0), value = JS_GetPropertyUint32(js, pair, 1);
        buffer_byte(out, 0x92);
        is_written = JS_IsString(name) && write_msgpack(out, name) && write_bytes(out, value);
        if (!is_written && !JS_HasException(js)) JS_ThrowTypeError(js, "a header is [name, value], and its name is a string");
        JS_FreeValue(js, name), JS_FreeValue(js, value), JS_FreeValue(js, pair);
    }
    return is_written;
}

static bool write_field(buffer *out, JSValueConst record, const char *name, bool (*write)(buffer *, JSValueConst), bool otherwise_null) {
    JSValue value = JS_GetPropertyStr(js, record, name);
    if (JS_IsException(value)) return false;
    bool is_written = write(out, otherwise_null && JS_IsUndefined(value) ? JS_NULL : value);
    JS_FreeValue(js, value);
    return is_written;
}

/* An event in a record's place: as it is edited, with its key. A record without `key` keeps the event's. */
static bool write_record(buffer *out, JSValueConst record) {
    if (!JS_IsObject(record)) return JS_ThrowTypeError(js, "emitMany takes records: {topic, key, value, headers}, or the event"), false;
    buffer_byte(out, 0x94);
    if (is_event(record)) {
        buffer_byte(out, 0xc0);
        buffer_binary(out, current.key);
        if (!event_write(out, record)) return false;
        return buffer_byte(out, 0xc0), true;
    }
    if (!write_field(out, record, "topic", write_topic, true)) return false;
    JSValue key = JS_GetPropertyStr(js, record, "key");
    bool is_written = !JS_IsException(key);
    if (JS_IsUndefined(key)) buffer_binary(out, current.key);
    else is_written = is_written && write_bytes(out, key);
    JS_FreeValue(js, key);
    return is_written && write_field(out, record, "value", write_emitted, false) &&
           write_field(out, record, "headers", write_headers, true);
}

static bool write_records(buffer *out, JSValueConst records) {
    int64_t count;
    if (!JS_IsArray(records)) return JS_ThrowTypeError(js, "emitMany takes an array of records"), false;
    if (JS_GetLength(js, records, &count) < 0) return false;
    if (count > RECORDS_MAX) return JS_ThrowRangeError(js, "emitMany takes %d records at most", RECORDS_MAX), false;
    buffer_wide(out, 0xdd, (uint32_t)count);
    for (int64_t at = 0; at < count; at++) {
        JSValue record = JS_GetPropertyInt64(js, records, at);
        bool is_written = !JS_IsException(record) && write_record(out, record);
        JS_FreeValue(js, record);
        if (!is_written) return false;
    }
    return true;
}

void reject_write(buffer *out, penstock_bytes code, penstock_bytes message) {
    buffer_bytes(out, PENSTOCK_TEXT("\x93\x03"));
    buffer_string(out, code);
    buffer_string(out, message);
}

static bool write_rejection(buffer *out, const outcome *outcome) {
    penstock_bytes code, message;
    if (!text_of(outcome->first, &code)) return false;
    bool is_written = text_of(outcome->second, &message);
    if (is_written) {
        reject_write(out, code, message);
        JS_FreeCString(js, (const char *)message.data);
    }
    JS_FreeCString(js, (const char *)code.data);
    return is_written;
}

bool outcome_write(buffer *out, JSValueConst value) {
    const outcome *outcome = JS_GetOpaque(value, outcome_class);
    if (!outcome) {
        JS_ThrowTypeError(js, "transform must return unchanged, drop, emit(…), emitMany(…) or reject(…)");
        return false;
    }
    switch (outcome->kind) {
    case UNCHANGED: return buffer_byte(out, 0xc0), true;
    case DROP: return buffer_bytes(out, PENSTOCK_TEXT("\x91\x00")), true;
    case EMIT: return buffer_bytes(out, PENSTOCK_TEXT("\x92\x01")), write_emitted(out, outcome->first);
    case EMIT_MANY: return buffer_bytes(out, PENSTOCK_TEXT("\x92\x02")), write_records(out, outcome->first);
    default: return write_rejection(out, outcome);
    }
}

/* ---- What the host is asked for; penstock.js has the functions that the script sees. ---- */

static penstock_request *const requests[] = {
    penstock_host_env_get, penstock_host_file_read, penstock_host_file_write, penstock_host_http_request, penstock_host_kv_get,
    penstock_host_kv_put, penstock_host_kv_delete, penstock_host_lookup, penstock_host_lookup_many, penstock_host_db_execute,
    penstock_host_db_query, penstock_host_db_transaction,
};
enum { TOO_LARGE = -3, REQUESTS = sizeof requests / sizeof *requests };

/* `ask(which, request)`: the answer, or the host's error as a negative number. */
static JSValue native_ask(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)this, (void)count;
    static buffer request, answer;
    uint32_t which;
    request.size = answer.size = 0;
    if (JS_ToUint32(context, &which, arguments[0]) < 0 || !write_msgpack(&request, arguments[1])) return JS_EXCEPTION;
    if (which >= REQUESTS) return JS_ThrowRangeError(context, "there is no such request");
    buffer_reserve(&answer, 4096);
    int32_t size = requests[which](request.data, request.size, answer.data, answer.room);
    if (size == TOO_LARGE) {
        buffer_reserve(&answer, penstock_load4(answer.data));
        size = requests[which](request.data, request.size, answer.data, answer.room);
    }
    if (size < 0) return JS_NewInt32(context, size);
    penstock_reader reader = penstock_read_from((penstock_bytes){answer.data, (uint32_t)size});
    JSValue wrapped = JS_NewArray(context);
    JS_DefinePropertyValueUint32(context, wrapped, 0, of_item(penstock_read(&reader)), JS_PROP_C_W_E);
    return wrapped;
}

static JSValue native_log(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)this, (void)count;
    uint32_t level;
    penstock_bytes line;
    if (JS_ToUint32(context, &level, arguments[0]) < 0 || !text_of(arguments[1], &line)) return JS_EXCEPTION;
    penstock_host_log(level, line.data, line.size);
    JS_FreeCString(context, (const char *)line.data);
    return JS_UNDEFINED;
}

static JSValue native_now(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)this, (void)count, (void)arguments;
    return JS_NewInt64(context, penstock_host_now_ms());
}

static JSValue native_monotonic(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)this, (void)count, (void)arguments;
    return JS_NewBigInt64(context, penstock_host_monotonic_ns());
}

static JSValue native_random(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)this, (void)count;
    static buffer bytes;
    uint32_t size;
    if (JS_ToUint32(context, &size, arguments[0]) < 0) return JS_EXCEPTION;
    bytes.size = 0;
    buffer_reserve(&bytes, (uint64_t)size + 1);
    int32_t status = penstock_host_random(bytes.data, size);
    return status < 0 ? JS_NewInt32(context, status) : of_bytes((penstock_bytes){bytes.data, size});
}

static JSValue native_fail(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)this, (void)count;
    penstock_bytes code, message;
    if (!text_of(arguments[0], &code) || !text_of(arguments[1], &message)) return JS_EXCEPTION;
    fail_with(code, message);
}

static JSValue native_rejection(JSContext *context, JSValueConst this, int count, JSValueConst *arguments) {
    (void)context, (void)this, (void)count;
    set_rejection_class(arguments[0]);
    return JS_UNDEFINED;
}

static const JSCFunctionListEntry natives[] = {
    JS_CFUNC_MAGIC_DEF("emit", 1, outcome_make, EMIT),
    JS_CFUNC_MAGIC_DEF("emitMany", 1, outcome_make, EMIT_MANY),
    JS_CFUNC_MAGIC_DEF("reject", 2, outcome_make, REJECT),
    JS_CFUNC_DEF("fail", 2, native_fail),
    JS_CFUNC_DEF("ask", 2, native_ask),
    JS_CFUNC_DEF("logLine", 2, native_log),
    JS_CFUNC_DEF("nowMs", 0, native_now),
    JS_CFUNC_DEF("monotonicNs", 0, native_monotonic),
    JS_CFUNC_DEF("randomBytes", 1, native_random),
    JS_CFUNC_DEF("setRejection", 1, native_rejection),
};
enum { NATIVES = sizeof natives / sizeof *natives };

static int native_fill(JSContext *context, JSModuleDef *module) {
    JS_SetModuleExportList(context, module, natives, NATIVES);
    JS_SetModuleExport(context, module, "unchanged", outcome_new(context, UNCHANGED, JS_UNDEFINED, JS_UNDEFINED));
    JS_SetModuleExport(context, module, "drop", outcome_new(context, DROP, JS_UNDEFINED, JS_UNDEFINED));
    JS_SetModuleExport(context, module, "UNAVAILABLE", JS_DupValue(context, unavailable));
    return JS_SetModuleExport(context, module, "declared", capabilities());
}

JSModuleDef *native_module(JSContext *context, const char *name) {
    JSModuleDef *module = JS_NewCModule(context, name, native_fill);
    JS_AddModuleExportList(context, module, natives, NATIVES);
    static const char *const others[] = {"unchanged", "drop", "UNAVAILABLE", "declared"};
    for (int at = 0; at < 4; at++) JS_AddModuleExport(context, module, others[at]);
    return module;
}
