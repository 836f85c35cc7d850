/* values.c: JavaScript values from msgpack and JSON, and back. Integers that a double would round are BigInts, both ways. */
#include "runtime.h"

#include <math.h>
#include <stdlib.h>

JSValue unavailable = JS_UNDEFINED;

enum { COUNT_AHEAD_MAX = 1 << 20 };
static const int64_t SAFE_MAX = (1LL << 53) - 1;

static JSValue of_integer(int64_t number) {
    return number < -SAFE_MAX || number > SAFE_MAX ? JS_NewBigInt64(js, number) : JS_NewInt64(js, number);
}

JSValue of_bytes(penstock_bytes bytes) {
    return bytes.data ? JS_NewUint8ArrayCopy(js, bytes.data, bytes.size) : JS_NULL;
}

JSValue of_text(penstock_bytes text) {
    return text.data ? JS_NewStringLen(js, (const char *)text.data, text.size) : JS_NULL;
}

static bool define(JSValueConst object, penstock_bytes name, JSValue value) {
    if (JS_IsException(value)) return false;
    JSAtom atom = JS_NewAtomLen(js, (const char *)name.data, name.size);
    bool is_set = atom != JS_ATOM_NULL && JS_DefinePropertyValue(js, object, atom, value, JS_PROP_C_W_E) >= 0;
    JS_FreeAtom(js, atom);
    return is_set;
}

/* A property's name from any map key. */
static bool define_item(JSValueConst object, penstock_item key, JSValue value) {
    if (key.kind == PENSTOCK_STRING) return define(object, key.bytes, value);
    JS_FreeValue(js, value);
    JS_ThrowTypeError(js, "a map with a key that is no text cannot be read");
    return false;
}

static JSValue of_array(penstock_item item) {
    JSValue array = JS_NewArray(js);
    penstock_reader reader = penstock_read_from(item.bytes);
    for (uint32_t at = 0; at < item.count && !JS_IsException(array); at++) {
        JSValue element = of_item(penstock_read(&reader));
        if (JS_IsException(element) || JS_DefinePropertyValueUint32(js, array, at, element, JS_PROP_C_W_E) < 0) {
            JS_FreeValue(js, array);
            return JS_EXCEPTION;
        }
    }
    return array;
}

static JSValue of_map(penstock_item item) {
    JSValue object = JS_NewObject(js);
    penstock_reader reader = penstock_read_from(item.bytes);
    for (uint32_t at = 0; at < item.count && !JS_IsException(object); at++) {
        penstock_item key = penstock_read(&reader);
        if (define_item(object, key, of_item(penstock_read(&reader)))) continue;
        JS_FreeValue(js, object);
        return JS_EXCEPTION;
    }
    return object;
}

static uint32_t depth;

static JSValue nested(JSValue (*read)(penstock_item), penstock_item item) {
    if (depth == DEPTH_MAX) return JS_ThrowRangeError(js, "a value is nested more than %d levels deep", DEPTH_MAX);
    depth++;
    JSValue value = read(item);
    depth--;
    return value;
}

JSValue of_item(penstock_item item) {
    switch (item.kind) {
    case PENSTOCK_BOOLEAN: return JS_NewBool(js, item.boolean);
    case PENSTOCK_INTEGER: return of_integer(item.integer);
    case PENSTOCK_UNSIGNED: return JS_NewBigUint64(js, item.number);
    case PENSTOCK_FLOAT: return JS_NewFloat64(js, item.real);
    case PENSTOCK_STRING: return JS_NewStringLen(js, (const char *)item.bytes.data, item.bytes.size);
    case PENSTOCK_BINARY: return of_bytes(item.bytes);
    case PENSTOCK_ARRAY: return nested(of_array, item);
    case PENSTOCK_MAP: return nested(of_map, item);
    case PENSTOCK_EXTENSION: return item.extension == 1 ? JS_DupValue(js, unavailable) : of_bytes(item.bytes);
    default: return JS_NULL;
    }
}

/* ---- From JSON, which was checked. ---- */

static JSValue of_decoded(penstock_bytes inside) {
    uint8_t *text = malloc(inside.size + 1);
    if (!text) return JS_ThrowOutOfMemory(js);
    int64_t size = penstock_json_decode(inside, text);
    JSValue value = size < 0 ? throw_rejection("bad-json", "half of a surrogate pair in a string")
                             : JS_NewStringLen(js, (const char *)text, (size_t)size);
    free(text);
    return value;
}

JSValue of_json_string(penstock_json value) {
    penstock_bytes inside = penstock_json_inside(value);
    if (penstock_json_unescaped(inside) == inside.size) return JS_NewStringLen(js, (const char *)inside.data, inside.size);
    return of_decoded(inside);
}

static bool is_whole(penstock_json number) {
    for (uint32_t at = 0; at < number.size; at++)
        if (number.data[at] == '.' || (number.data[at] | 0x20) == 'e') return false;
    return true;
}

/* Whole numbers are exact, as BigInts where they must be; others are doubles. `row.text()` has the digits. */
static JSValue of_number(penstock_json number) {
    enum { SHORT = 15 };
    if (is_whole(number)) {
        if (number.size <= SHORT) {
            int64_t whole = 0;
            bool is_negative = number.data[0] == '-';
            for (uint32_t at = is_negative; at < number.size; at++) whole = whole * 10 + (number.data[at] - '0');
            if (whole || !is_negative) return JS_NewInt64(js, is_negative ? -whole : whole);
        } else {
            JSValue global = JS_GetGlobalObject(js), text = of_text(number), convert = JS_GetPropertyStr(js, global, "BigInt");
            JSValue whole = JS_Call(js, convert, JS_UNDEFINED, 1, (JSValueConst[]){text});
            JS_FreeValue(js, convert), JS_FreeValue(js, text), JS_FreeValue(js, global);
            int64_t safe;
            if (!JS_IsException(whole) && number.size <= 17 && !JS_ToBigInt64(js, &safe, whole) && safe >= -SAFE_MAX && safe <= SAFE_MAX) {
                JS_FreeValue(js, whole);
                return JS_NewInt64(js, safe);
            }
            return whole;
        }
    }
    char small[64], *text = number.size < sizeof small ? small : malloc(number.size + 1);
    if (!text) return JS_ThrowOutOfMemory(js);
    *penstock_copy((uint8_t *)text, number) = 0;
    double real = strtod(text, NULL);
    if (text != small) free(text);
    return JS_NewFloat64(js, real);
}

static JSValue of_container(penstock_json value) {
    bool is_object = value.data[0] == '{';
    JSValue made = is_object ? JS_NewObject(js) : JS_NewArray(js);
    penstock_json_walk walk = is_object ? penstock_json_members(value) : penstock_json_elements(value);
    for (uint32_t at = 0; !JS_IsException(made) && penstock_json_next(&walk); at++) {
        JSValue part = of_json(walk.value);
        bool is_set = false;
        if (JS_IsException(part)) is_set = false;
        else if (!is_object) is_set = JS_DefinePropertyValueUint32(js, made, at, part, JS_PROP_C_W_E) >= 0;
        else if (!walk.has_escapes) is_set = define(made, walk.name, part);
        else {
            JSValue name = of_decoded(walk.name);
            JSAtom atom = JS_ValueToAtom(js, name);
            is_set = JS_DefinePropertyValue(js, made, atom, part, JS_PROP_C_W_E) >= 0;
            JS_FreeAtom(js, atom), JS_FreeValue(js, name);
        }
        if (is_set) continue;
        JS_FreeValue(js, made);
        made = JS_EXCEPTION;
    }
    return made;
}

JSValue of_json(penstock_json value) {
    switch (penstock_json_kind_of(value)) {
    case PENSTOCK_JSON_BOOLEAN: return JS_NewBool(js, value.data[0] == 't');
    case PENSTOCK_JSON_NUMBER: return of_number(value);
    case PENSTOCK_JSON_STRING: return of_json_string(value);
    case PENSTOCK_JSON_ARRAY: case PENSTOCK_JSON_OBJECT: return of_container(value); /* as deep as the check allowed */
    case PENSTOCK_JSON_NULL: return JS_NULL;
    default: return JS_UNDEFINED;
    }
}

/* ---- To msgpack and JSON. ---- */

bool text_of(JSValueConst value, penstock_bytes *text) {
    size_t size;
    const char *data = JS_ToCStringLen(js, &size, value);
    if (!data) return false;
    penstock_json_error error;
    *text = (penstock_bytes){(const uint8_t *)data, (uint32_t)size};
    if (penstock_json_utf8(*text, &error)) return true;
    JS_FreeCString(js, data);
    JS_ThrowTypeError(js, "a string holds half of a surrogate pair, which is no text");
    return false;
}

static void drop_text(penstock_bytes text) { JS_FreeCString(js, (const char *)text.data); }

static bool write_text(buffer *out, JSValueConst value, bool is_json) {
    penstock_bytes text;
    if (!text_of(value, &text)) return false;
    if (is_json) {
        uint64_t size = penstock_json_quoted_size(text);
        penstock_json_quote(buffer_reserve(out, size), text);
        out->size += (uint32_t)size;
    } else {
        buffer_string(out, text);
    }
    drop_text(text);
    return true;
}

static bool write_digits(buffer *out, JSValueConst value) {
    penstock_bytes text;
    if (!text_of(value, &text)) return false;
    buffer_bytes(out, text);
    drop_text(text);
    return true;
}

static bool write_number(buffer *out, JSValueConst value, bool is_json) {
    double real;
    if (JS_ToFloat64(js, &real, value) < 0) return false;
    if (is_json && !isfinite(real)) return JS_ThrowTypeError(js, "%s is no number in JSON", isnan(real) ? "NaN" : "Infinity"), false;
    bool is_integer = real == trunc(real) && fabs(real) <= (double)SAFE_MAX && !(real == 0 && signbit(real));
    if (is_json && !is_integer) return write_digits(out, value);
    uint8_t *at = buffer_reserve(out, PENSTOCK_JSON_INTEGER_BYTES);
    uint8_t *end = is_json ? penstock_json_put_integer(at, (int64_t)real)
                           : penstock_put_item(at, is_integer ? penstock_of_integer((int64_t)real) : penstock_of_float(real));
    out->size += (uint32_t)(end - at);
    return true;
}

static bool write_bigint(buffer *out, JSValueConst value) {
    int64_t number;
    if (JS_ToBigInt64(js, &number, value) < 0) return false;
    JSValue same = JS_NewBigInt64(js, number);
    bool is_signed = JS_IsStrictEqual(js, same, value);
    JS_FreeValue(js, same);
    same = JS_NewBigUint64(js, (uint64_t)number);
    bool is_unsigned = JS_IsStrictEqual(js, same, value);
    JS_FreeValue(js, same);
    if (!is_signed && !is_unsigned) return write_text(out, value, false); /* wider ones are texts in change events */
    penstock_item item = is_signed ? penstock_of_integer(number) : (penstock_item){.kind = PENSTOCK_UNSIGNED, .number = (uint64_t)number};
    uint8_t *at = buffer_reserve(out, 9);
    out->size += (uint32_t)(penstock_put_item(at, item) - at);
    return true;
}

static bool write_value(buffer *out, JSValueConst value, bool is_json);

static bool write_array(buffer *out, JSValueConst array, bool is_json) {
    int64_t count;
    if (JS_GetLength(js, array, &count) < 0) return false;
    if (is_json) buffer_byte(out, '[');
    else buffer_wide(out, 0xdd, (uint32_t)count);
    for (int64_t at = 0; at < count; at++) {
        if (is_json && at) buffer_byte(out, ',');
        JSValue element = JS_GetPropertyInt64(js, array, at);
        bool is_written = !JS_IsException(element) && write_value(out, JS_IsUndefined(element) ? JS_NULL : element, is_json);
        JS_FreeValue(js, element);
        if (!is_written) return false;
    }
    if (is_json) buffer_byte(out, ']');
    return true;
}

/* One member; `undefined` is left out, as JSON.stringify does. */
static bool write_member(buffer *out, JSValueConst object, JSAtom name, bool is_json, uint32_t *count) {
    JSValue value = JS_GetProperty(js, object, name);
    if (JS_IsException(value)) return false;
    bool is_written = true;
    if (!JS_IsUndefined(value)) {
        if (is_json && *count) buffer_byte(out, ',');
        ++*count;
        JSValue text = JS_AtomToString(js, name);
        is_written = write_text(out, text, is_json);
        JS_FreeValue(js, text);
        if (is_written && is_json) buffer_byte(out, ':');
        is_written = is_written && write_value(out, value, is_json);
    }
    JS_FreeValue(js, value);
    return is_written;
}

static bool write_members(buffer *out, JSValueConst object, bool is_json) {
    JSPropertyEnum *names;
    uint32_t total, count = 0, head = out->size;
    if (JS_GetOwnPropertyNames(js, &names, &total, object, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY) < 0) return false;
    if (is_json) buffer_byte(out, '{');
    else buffer_wide(out, 0xdf, 0);
    bool is_written = true;
    for (uint32_t at = 0; is_written && at < total; at++) is_written = write_member(out, object, names[at].atom, is_json, &count);
    JS_FreePropertyEnum(js, names, total);
    if (is_json) buffer_byte(out, '}');
    else buffer_patch(out, head, 0xdf, count);
    return is_written;
}

static bool write_object(buffer *out, JSValueConst value, bool is_json) {
    size_t size;
    if (!is_json && JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) {
        const uint8_t *data = JS_GetUint8Array(js, &size, value);
        static const uint8_t empty;
        buffer_binary(out, (penstock_bytes){size ? data : &empty, (uint32_t)size});
        return true;
    }
    if (JS_IsFunction(js, value)) return JS_ThrowTypeError(js, "a function is no value that can be emitted"), false;
    JSValue method = JS_GetPropertyStr(js, value, "toJSON");
    if (JS_IsException(method)) return false;
    if (JS_IsFunction(js, method)) {
        JSValue plain = JS_Call(js, method, value, 0, NULL);
        JS_FreeValue(js, method);
        bool is_written = !JS_IsException(plain) && write_value(out, plain, is_json);
        JS_FreeValue(js, plain);
        return is_written;
    }
    JS_FreeValue(js, method);
    return JS_IsArray(value) ? write_array(out, value, is_json) : write_members(out, value, is_json);
}

static bool write_value(buffer *out, JSValueConst value, bool is_json) {
    if (JS_IsNull(value)) return is_json ? buffer_bytes(out, PENSTOCK_TEXT("null")) : buffer_byte(out, 0xc0), true;
    if (JS_IsBool(value)) {
        bool is_true = JS_ToBool(js, value);
        if (is_json) buffer_bytes(out, is_true ? PENSTOCK_TEXT("true") : PENSTOCK_TEXT("false"));
        else buffer_byte(out, is_true ? 0xc3 : 0xc2);
        return true;
    }
    if (JS_IsNumber(value)) return write_number(out, value, is_json);
    if (JS_IsBigInt(value)) return is_json ? write_digits(out, value) : write_bigint(out, value);
    if (JS_IsString(value)) return write_text(out, value, is_json);
    if (JS_IsSymbol(value) && JS_IsStrictEqual(js, value, unavailable)) {
        if (is_json) return write_value(out, JS_NULL, true);
        buffer_bytes(out, PENSTOCK_TEXT("\xc7\x00\x01"));
        return true;
    }
    if (!JS_IsObject(value)) return JS_ThrowTypeError(js, "this value cannot be written: it is undefined or a symbol"), false;
    if (depth == DEPTH_MAX) return JS_ThrowRangeError(js, "a value is nested more than %d levels deep", DEPTH_MAX), false;
    depth++;
    bool is_written = write_object(out, value, is_json);
    depth--;
    return is_written;
}

bool write_msgpack(buffer *out, JSValueConst value) { return write_value(out, value, false); }

bool write_json(buffer *out, JSValueConst value) { return write_value(out, value, true); }

bool write_bytes(buffer *out, JSValueConst value) {
    if (JS_IsNull(value) || JS_GetTypedArrayType(value) == JS_TYPED_ARRAY_UINT8) return write_msgpack(out, value);
    uint32_t head = out->size;
    buffer_wide(out, 0xc6, 0);
    if (!(JS_IsString(value) ? write_digits(out, value) : write_json(out, value))) return false;
    buffer_patch(out, head, 0xc6, out->size - head - 5);
    return true;
}
