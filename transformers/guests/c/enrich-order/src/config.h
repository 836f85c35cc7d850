/* The registry entry's `config`, checked. */
#ifndef CONFIG_H
#define CONFIG_H

#include "decimal.h"
#include "penstock.h"

static struct {
    penstock_bytes currency; /* added to each row; nil for none */
    const penstock_bytes *drop_statuses;
    uint32_t drop_count;
    penstock_bytes flag_topic; /* nil: nothing is flagged */
    decimal flag_above;
} config;

static bool is_currency(penstock_bytes code) {
    for (uint32_t at = 0; at < code.size; at++)
        if (code.data[at] < 'A' || code.data[at] > 'Z') return false;
    return code.size == 3;
}

/* An integer or a text. Floating-point numbers are refused: they may not be what was written. */
static decimal limit_of(penstock_config written, const char *key) {
    decimal limit = {0, false, 0};
    penstock_item value = penstock_get(written.map, penstock_text(key));
    if (value.kind == PENSTOCK_INTEGER) {
        limit.is_negative = value.integer < 0;
        limit.units = limit.is_negative ? 0 - (uint64_t)value.integer : (uint64_t)value.integer;
    } else if (value.kind != PENSTOCK_STRING || decimal_parse(value.bytes, &limit) != DECIMAL_OK) {
        penstock_refuse(written, key, PENSTOCK_TEXT("a decimal number in quotes was expected, such as \"10000.00\""));
    }
    return limit;
}

static void penstock_configure(penstock_config written) {
    penstock_config_only(written, "currency", "drop_statuses", "flag_above", "flag_topic");
    config.currency = penstock_config_text(written, "currency");
    if (config.currency.data && !is_currency(config.currency))
        penstock_refuse(written, "currency", penstock_join(PENSTOCK_TEXT("\""), config.currency,
            PENSTOCK_TEXT("\" is no ISO 4217 code: write three capital letters, such as EUR")));
    config.drop_statuses = penstock_config_texts(written, "drop_statuses", &config.drop_count);
    config.flag_topic = penstock_config_text(written, "flag_topic");
    bool has_limit = penstock_get(written.map, PENSTOCK_TEXT("flag_above")).kind != PENSTOCK_NIL;
    if (has_limit && !config.flag_topic.data)
        penstock_refuse(written, "flag_above", PENSTOCK_TEXT("needs flag_topic: the topic for the flagged orders"));
    if (!has_limit && config.flag_topic.data)
        penstock_refuse(written, "flag_topic", PENSTOCK_TEXT("needs flag_above: the total from which orders are flagged"));
    if (has_limit) config.flag_above = limit_of(written, "flag_above");
}

#endif
