/* penstock_config.h: the registry entry's `config`, read with types; what is wrong about it is said with its key.
 *
 * Included by penstock.h with PENSTOCK_HAS_CONFIG. The guest defines `penstock_configure`; what it reads is borrowed from memory
 * that is kept for good, and so is what it takes with `penstock_scratch` meanwhile. Without a `config:` it gets an empty one.
 */
#ifndef PENSTOCK_CONFIG_H
#define PENSTOCK_CONFIG_H

/* A map of the config, and how to call it in a message. */
typedef struct {
    penstock_item map;
    penstock_bytes path; /* empty for the whole, else `fields[0].` */
} penstock_config;

/* The guest's own: called once, before the first batch. */
static void penstock_configure(penstock_config config);

/* Refuses the config: the key that is wrong, and a sentence about it: `currency: "eur" is no …`. */
__attribute__((noreturn, unused)) static void penstock_refuse(penstock_config config, const char *key, penstock_bytes problem) {
    penstock_fail_with(PENSTOCK_TEXT("config"), penstock_join(config.path, penstock_text(key), PENSTOCK_TEXT(": "), problem));
}

PENSTOCK_APART penstock_item penstock_config_value(penstock_config config, const char *key, penstock_kind kind, const char *wanted) {
    penstock_item value = penstock_get(config.map, penstock_text(key));
    if (value.kind == PENSTOCK_NIL || value.kind == kind) return value;
    penstock_refuse(config, key, penstock_join(penstock_text(wanted), PENSTOCK_TEXT(" was expected")));
}

/* A text; nil when the key is missing. */
static inline penstock_bytes penstock_config_text(penstock_config config, const char *key) {
    return penstock_config_value(config, key, PENSTOCK_STRING, "a text").bytes;
}

/* A whole number; `otherwise` when the key is missing. */
static inline int64_t penstock_config_integer(penstock_config config, const char *key, int64_t otherwise) {
    penstock_item value = penstock_config_value(config, key, PENSTOCK_INTEGER, "a whole number of 64 bits");
    return value.kind == PENSTOCK_NIL ? otherwise : value.integer;
}

/* A number, whole or not; `otherwise` when the key is missing. */
static inline double penstock_config_number(penstock_config config, const char *key, double otherwise) {
    penstock_item value = penstock_get(config.map, penstock_text(key));
    if (value.kind == PENSTOCK_INTEGER) return (double)value.integer;
    value = penstock_config_value(config, key, PENSTOCK_FLOAT, "a number");
    return value.kind == PENSTOCK_NIL ? otherwise : value.real;
}

/* True or false; `otherwise` when the key is missing. */
static inline bool penstock_config_boolean(penstock_config config, const char *key, bool otherwise) {
    penstock_item value = penstock_config_value(config, key, PENSTOCK_BOOLEAN, "true or false");
    return value.kind == PENSTOCK_NIL ? otherwise : value.boolean;
}

/* A list of texts, in memory that is kept; empty when the key is missing. */
static inline const penstock_bytes *penstock_config_texts(penstock_config config, const char *key, uint32_t *count) {
    penstock_item list = penstock_config_value(config, key, PENSTOCK_ARRAY, "a list");
    *count = list.kind == PENSTOCK_NIL ? 0 : list.count;
    penstock_bytes *texts = penstock_scratch((uint64_t)*count * sizeof *texts);
    penstock_reader reader = penstock_read_from(list.bytes);
    for (uint32_t at = 0; at < *count; at++) {
        penstock_item text = penstock_read(&reader);
        if (text.kind != PENSTOCK_STRING) penstock_refuse(config, key, PENSTOCK_TEXT("a list of texts was expected"));
        texts[at] = text.bytes;
    }
    return texts;
}

/* A map within the config; empty when the key is missing. */
static inline penstock_config penstock_config_map(penstock_config config, const char *key) {
    penstock_item map = penstock_config_value(config, key, PENSTOCK_MAP, "a map");
    return (penstock_config){map, penstock_join(config.path, penstock_text(key), PENSTOCK_TEXT("."))};
}

/* Refuses keys that are not in the list, which ends with NULL: a key that is spelt wrong would do nothing, and nobody would know. */
PENSTOCK_APART void penstock_config_keys(penstock_config config, const char *const *known) {
    penstock_reader reader = penstock_read_from(config.map.bytes);
    for (uint32_t members = config.map.kind == PENSTOCK_MAP ? config.map.count : 0; members; members--) {
        penstock_item key = penstock_read(&reader);
        penstock_read(&reader);
        bool is_known = false;
        for (const char *const *name = known; *name && !is_known; name++) is_known = penstock_equal(key.bytes, penstock_text(*name));
        if (!is_known)
            penstock_fail_with(PENSTOCK_TEXT("config"), penstock_join(config.path, key.bytes, PENSTOCK_TEXT(": there is no such key")));
    }
}

/* `penstock_config_only(config, "currency", "salt")`: see `penstock_config_keys`. */
#define penstock_config_only(config, ...) penstock_config_keys((config), (const char *const[]){__VA_ARGS__, NULL})

static void penstock_configure_from(penstock_bytes frame) {
    penstock_configured = true;
    penstock_reader reader = penstock_read_from(frame);
    penstock_config config = {penstock_read(&reader), PENSTOCK_TEXT("")};
    if (reader.is_bad) penstock_fail("config", "the config is no msgpack");
    uint8_t *kept = penstock_lent_to = (uint8_t *)(penstock_out > (uint8_t *)penstock_top ? penstock_out : (uint8_t *)penstock_top);
    if (config.map.kind != PENSTOCK_MAP) penstock_fail("config", "the config must be a map of keys and values");
    penstock_configure(config);
    if (penstock_lent_to != kept) penstock_base = (uintptr_t)penstock_lent_to;
}

PENSTOCK_EXPORT("penstock_v1_configure") uint32_t penstock_v1_configure(uint32_t ptr, uint32_t len) {
    penstock_base = penstock_top; /* the block with the config stays: it is borrowed from */
    penstock_configure_from((penstock_bytes){(const uint8_t *)(uintptr_t)ptr, len});
    penstock_top = penstock_base;
    return 0;
}

#endif
