/* Does what an event's value says, and emits what came of it as text. */
#define PENSTOCK_HAS_CONFIG
#include "penstock.h"
#include "penstock_host.h"
#include "penstock_json.h"

PENSTOCK_METADATA("probe", "0.1.0", "log", "clock", "random", "environment", "filesystem-read", "filesystem-write", "network-client",
                  "key-value", "database-read", "database-query", "database-write", "database-transaction");

static struct {
    penstock_bytes text;
    int64_t whole;
    double real;
    bool flag;
    uint32_t count;
    penstock_bytes inner;
} config;

static void penstock_configure(penstock_config written) {
    penstock_config_only(written, "text", "whole", "real", "flag", "list", "inner");
    config.text = penstock_config_text(written, "text");
    config.whole = penstock_config_integer(written, "whole", -1);
    config.real = penstock_config_number(written, "real", 0.5);
    config.flag = penstock_config_boolean(written, "flag", true);
    const penstock_bytes *texts = penstock_config_texts(written, "list", &config.count);
    config.inner = config.count ? texts[config.count - 1] : (penstock_bytes){NULL, 0};
    penstock_config inner = penstock_config_map(written, "inner");
    penstock_config_only(inner, "text");
    if (penstock_config_text(inner, "text").data) config.inner = penstock_config_text(inner, "text");
}

static penstock_bytes number(int64_t value) {
    uint8_t *text = penstock_scratch(PENSTOCK_JSON_INTEGER_BYTES);
    return (penstock_bytes){text, (uint32_t)(penstock_json_put_integer(text, value) - text)};
}

static void emit_status(penstock_status status, penstock_bytes answer) {
    if (status != PENSTOCK_OK) answer = penstock_join(PENSTOCK_TEXT("status "), number(status));
    penstock_emit_value(answer.data ? answer : PENSTOCK_TEXT("nil"));
}

static void emit_config(void) {
    penstock_emit_value(penstock_join(config.text, PENSTOCK_TEXT("|"), number(config.whole), PENSTOCK_TEXT("|"),
        number((int64_t)(config.real * 100)), config.flag ? PENSTOCK_TEXT("|true|") : PENSTOCK_TEXT("|false|"), number(config.count),
        PENSTOCK_TEXT("|"), config.inner));
}

static void emit_records(const penstock_event *event) {
    penstock_header headers[] = {{PENSTOCK_TEXT("h"), PENSTOCK_TEXT("1")}, {PENSTOCK_TEXT("n"), {NULL, 0}}};
    penstock_record records[] = {
        {.topic = PENSTOCK_TEXT("flagged"), .key = PENSTOCK_TEXT("k"), .value = penstock_join(PENSTOCK_TEXT("made "), event->value),
         .headers = headers, .header_count = 2},
        {.key = event->key},
        {.key = event->key, .value = PENSTOCK_TEXT("bare"), .headers = headers},
    };
    penstock_emit_records(records, 3);
}

static void emit_header(const penstock_event *event) {
    penstock_bytes value;
    bool is_there = penstock_header_value(event, PENSTOCK_TEXT("trace"), &value);
    penstock_emit_value(penstock_join(event->topic, PENSTOCK_TEXT("/"), number(event->partition), PENSTOCK_TEXT("/"), number(event->offset),
        PENSTOCK_TEXT("/"), number(event->timestamp_ms), PENSTOCK_TEXT("/"), is_there ? value : PENSTOCK_TEXT("none")));
}

static void emit_large(void) {
    uint32_t size = 900000;
    uint8_t *text = penstock_scratch(size);
    __builtin_memset(text, 'x', size);
    penstock_emit_value((penstock_bytes){text, size});
}

static void ask_http(void) {
    penstock_header headers[] = {{PENSTOCK_TEXT("a"), PENSTOCK_TEXT("b")}};
    penstock_http_request request = {PENSTOCK_TEXT("POST"), PENSTOCK_TEXT("http://x"), headers, 1, PENSTOCK_TEXT("body")};
    penstock_http_response response;
    penstock_status status = penstock_http(&request, &response);
    emit_status(status, penstock_join(number(response.status), PENSTOCK_TEXT(" "), response.body));
}

static void ask_lookup(bool many) {
    penstock_item row, keys[] = {penstock_of_integer(1), penstock_of_text(PENSTOCK_TEXT("two")), penstock_of_boolean(true)};
    penstock_status status = many ? penstock_lookup_many(PENSTOCK_TEXT("people"), keys, 3, &row)
                                  : penstock_lookup(PENSTOCK_TEXT("people"), penstock_of_float(2.5), &row);
    penstock_bytes shown = many ? number(row.count) : penstock_get(row, PENSTOCK_TEXT("name")).bytes;
    emit_status(status, shown);
}

static void ask_db(void) {
    int64_t changed;
    penstock_item parameters[] = {penstock_of_integer(-5000000000), penstock_nil(), penstock_of_bytes(PENSTOCK_TEXT("\1\2"))};
    penstock_status status = penstock_db_execute(PENSTOCK_TEXT("delete"), parameters, 3, &changed);
    emit_status(status, number(changed));
}

static void ask_query(void) {
    penstock_item rows, parameters[] = {penstock_of_integer(7)};
    emit_status(penstock_db_query(PENSTOCK_TEXT("select"), parameters, 1, &rows), number(rows.count));
}

static void ask_transaction(void) {
    penstock_item changed, parameters[] = {penstock_of_integer(7)};
    penstock_db_change changes[] = {{PENSTOCK_TEXT("delete"), parameters, 1}, {PENSTOCK_TEXT("update"), NULL, 0}};
    emit_status(penstock_db_transaction(changes, 2, &changed), number(changed.count));
}

static void log_and_time(void) {
    uint8_t chance[4];
    penstock_log(PENSTOCK_WARNING, PENSTOCK_TEXT("a line"));
    penstock_status status = penstock_random(chance, sizeof chance);
    emit_status(status, penstock_join((penstock_bytes){chance, 4}, number(penstock_now_ms()), PENSTOCK_TEXT(" "), number(penstock_monotonic_ns())));
}

static void penstock_transform(const penstock_event *event) {
    penstock_bytes wish = event->value, answer = {NULL, 0};
    if (penstock_is(wish, "config")) emit_config();
    else if (penstock_is(wish, "records")) emit_records(event);
    else if (penstock_is(wish, "header")) emit_header(event);
    else if (penstock_is(wish, "large")) emit_large();
    else if (penstock_is(wish, "tombstone")) penstock_emit_value((penstock_bytes){NULL, 0});
    else if (penstock_is(wish, "drop")) penstock_drop();
    else if (penstock_is(wish, "reject")) penstock_reject_with(PENSTOCK_TEXT("no-good"), penstock_join(PENSTOCK_TEXT("after.x is "), wish));
    else if (penstock_is(wish, "panic")) penstock_assert(wish.size == 0);
    else if (penstock_is(wish, "memory")) penstock_scratch(1u << 30);
    else if (penstock_is(wish, "env")) emit_status(penstock_env_get(PENSTOCK_TEXT("HOME"), &answer), answer);
    else if (penstock_is(wish, "file_read")) emit_status(penstock_file_read(PENSTOCK_TEXT("/a"), &answer), answer);
    else if (penstock_is(wish, "file_write")) emit_status(penstock_file_write(PENSTOCK_TEXT("/a"), PENSTOCK_TEXT("c")), answer);
    else if (penstock_is(wish, "kv_get")) emit_status(penstock_kv_get(PENSTOCK_TEXT("k"), &answer), answer);
    else if (penstock_is(wish, "kv_put")) emit_status(penstock_kv_put(PENSTOCK_TEXT("k"), PENSTOCK_TEXT("v")), answer);
    else if (penstock_is(wish, "kv_delete")) emit_status(penstock_kv_delete(PENSTOCK_TEXT("k")), answer);
    else if (penstock_is(wish, "http")) ask_http();
    else if (penstock_is(wish, "lookup")) ask_lookup(false);
    else if (penstock_is(wish, "lookup_many")) ask_lookup(true);
    else if (penstock_is(wish, "db")) ask_db();
    else if (penstock_is(wish, "query")) ask_query();
    else if (penstock_is(wish, "transaction")) ask_transaction();
    else if (penstock_is(wish, "time")) log_and_time();
    else if (penstock_is(wish, "two")) penstock_unchanged(), penstock_drop();
    else if (!penstock_is(wish, "none")) penstock_unchanged();
}
