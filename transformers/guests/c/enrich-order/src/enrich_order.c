/* Enriches order rows: `full_name`, `amount_cents`, `total` and `currency` are added to `after`, in place.
 *
 * Rows whose `status` is listed in `drop_statuses` are dropped; rows without a usable `amount` are rejected; deletes, tombstones,
 * truncates and messages pass unchanged. docs/guests.md has the configuration. */
#define PENSTOCK_HAS_CONFIG
#include "config.h"
#include "penstock_debezium.h"
#include "penstock_edit.h"

/* The columns that matter, as they stand in the row; a column that repeats counts as its last. */
typedef struct {
    penstock_json first_name, last_name, amount, quantity, status;
    penstock_json full_name, amount_cents, total, currency;
    penstock_json_error error;
} row_columns;

static row_columns columns_of(penstock_json after) {
    row_columns row;
    __builtin_memset(&row, 0, sizeof row);
    penstock_json_walk walk = penstock_json_members(after);
    while (penstock_json_next(&walk)) {
        if (penstock_json_named(&walk, "first_name")) row.first_name = walk.value;
        else if (penstock_json_named(&walk, "last_name")) row.last_name = walk.value;
        else if (penstock_json_named(&walk, "amount")) row.amount = walk.value;
        else if (penstock_json_named(&walk, "quantity")) row.quantity = walk.value;
        else if (penstock_json_named(&walk, "status")) row.status = walk.value;
        else if (penstock_json_named(&walk, "full_name")) row.full_name = walk.value;
        else if (penstock_json_named(&walk, "amount_cents")) row.amount_cents = walk.value;
        else if (penstock_json_named(&walk, "total")) row.total = walk.value;
        else if (penstock_json_named(&walk, "currency")) row.currency = walk.value;
    }
    row.error = walk.error;
    return row;
}

/* ---- Rejections: what is wrong, where. ---- */

static penstock_bytes integer_text(int64_t number) {
    uint8_t *text = penstock_scratch(PENSTOCK_JSON_INTEGER_BYTES);
    return (penstock_bytes){text, (uint32_t)(penstock_json_put_integer(text, number) - text)};
}

PENSTOCK_APART void reject_json(penstock_json_error error) {
    penstock_reject_with(PENSTOCK_TEXT("bad-json"), penstock_join(PENSTOCK_TEXT("the value is no JSON change event: "),
        penstock_text(error.problem), PENSTOCK_TEXT(" (at byte "), integer_text(error.at), PENSTOCK_TEXT(")")));
}

PENSTOCK_APART void reject_no_after(char operation) {
    penstock_bytes change = operation == 'c' ? PENSTOCK_TEXT("Create") : operation == 'u' ? PENSTOCK_TEXT("Update") : PENSTOCK_TEXT("Read");
    penstock_reject_with(PENSTOCK_TEXT("no-after"), penstock_join(change, PENSTOCK_TEXT(" without `after`: there is no row to enrich")));
}

PENSTOCK_APART bool reject_column(const char *code, const char *column, penstock_json value, const char *problem) {
    penstock_reject_with(penstock_text(code), penstock_join(PENSTOCK_TEXT("after."), penstock_text(column), PENSTOCK_TEXT(" is "),
        penstock_shown(value), PENSTOCK_TEXT(": "), penstock_text(problem)));
    return false;
}

/* ---- The columns' values. The functions answer the event and return false when one will not do. ---- */

static bool number_of(penstock_json value, const char *column, const char *code, decimal *number) {
    penstock_bytes text = value;
    if (penstock_json_kind_of(value) == PENSTOCK_JSON_STRING) {
        text = penstock_json_inside(value);
        if (penstock_json_unescaped(text) < text.size) {
            uint8_t *decoded = penstock_scratch(text.size);
            int64_t size = penstock_json_decode(text, decoded);
            if (size < 0) {
                reject_json((penstock_json_error){"half of a surrogate pair in a string", 0});
                return false;
            }
            text = (penstock_bytes){decoded, (uint32_t)size};
        }
    }
    switch (decimal_parse(text, number)) {
    case DECIMAL_OK: return true;
    case DECIMAL_TOO_LARGE: return reject_column("overflow", column, value, "too many digits");
    default:
        return reject_column(code, column, value, "a decimal number was expected (Debezium writes decimals as bytes "
                                                  "unless decimal.handling.mode is string)");
    }
}

/* What stands between the quotes, escapes and all; empty for null and for a missing column. */
static bool name_of(penstock_json value, const char *column, penstock_bytes *name) {
    *name = penstock_json_inside(value);
    if (name->data || penstock_json_is_null(value)) return true;
    return reject_column("bad-name", column, value, "a string or null was expected");
}

/* First and last name in one JSON string, empty ones skipped; null when there is neither. */
static penstock_bytes full_name(penstock_bytes first, penstock_bytes last) {
    if (!first.size && !last.size) return PENSTOCK_TEXT("null");
    penstock_bytes space = first.size && last.size ? PENSTOCK_TEXT(" ") : PENSTOCK_TEXT("");
    return penstock_join(PENSTOCK_TEXT("\""), first, space, last, PENSTOCK_TEXT("\""));
}

/* The number as JSON: in quotes where the source writes amounts as texts. */
static penstock_bytes number_text(decimal number, bool is_text) {
    uint8_t *room = penstock_scratch(DECIMAL_TEXT_MAX), *end = room + DECIMAL_TEXT_MAX;
    if (is_text) *--end = '"';
    uint8_t *start = decimal_write(end, number);
    if (is_text) *--start = '"', end++;
    return (penstock_bytes){start, (uint32_t)(end - start)};
}

static void emit_row(const penstock_event *event, penstock_json_edits *edits, decimal total) {
    if (!config.flag_topic.data || !decimal_exceeds(total, config.flag_above)) {
        penstock_emit_edited(edits);
        return;
    }
    penstock_record enriched = {.key = event->key, .value = penstock_edited(edits)}, flagged = enriched;
    flagged.topic = config.flag_topic;
    penstock_emit_records((penstock_record[]){enriched, flagged}, 2);
}

static void enrich_row(const penstock_event *event, penstock_json after, const row_columns *row) {
    decimal amount, quantity, total;
    int64_t cents;
    penstock_bytes first, last;
    if (!row->amount.data) {
        penstock_reject("bad-amount", "after.amount is missing");
        return;
    }
    if (!number_of(row->amount, "amount", "bad-amount", &amount)) return;
    if (!decimal_hundredths(amount, &cents)) {
        reject_column("overflow", "amount", row->amount, "its cents do not fit 64 bits");
        return;
    }
    bool has_quantity = !penstock_json_is_null(row->quantity);
    if (has_quantity) {
        if (!number_of(row->quantity, "quantity", "bad-quantity", &quantity)) return;
        if (!decimal_times(amount, quantity, &total)) {
            reject_column("overflow", "amount", row->amount, "times the quantity it has too many digits");
            return;
        }
    }
    if (!name_of(row->first_name, "first_name", &first) || !name_of(row->last_name, "last_name", &last)) return;

    penstock_json_edits edits = penstock_edit(event->value);
    penstock_json_set(&edits, after, row->full_name, PENSTOCK_TEXT("full_name"), penstock_json_new_raw(full_name(first, last)));
    penstock_json_set(&edits, after, row->amount_cents, PENSTOCK_TEXT("amount_cents"), penstock_json_new_integer(cents));
    if (has_quantity) {
        penstock_bytes text = number_text(total, row->amount.data[0] == '"');
        penstock_json_set(&edits, after, row->total, PENSTOCK_TEXT("total"), penstock_json_new_raw(text));
    }
    if (config.currency.data)
        penstock_json_set(&edits, after, row->currency, PENSTOCK_TEXT("currency"), penstock_json_new_text(config.currency));
    emit_row(event, &edits, has_quantity ? total : amount);
}

static bool is_dropped(penstock_json status) {
    for (uint32_t at = 0; at < config.drop_count; at++)
        if (penstock_json_equals(status, config.drop_statuses[at])) return true;
    return false;
}

static void penstock_transform(const penstock_event *event) {
    if (!event->value.data) {
        penstock_unchanged();
        return;
    }
    penstock_envelope envelope = penstock_debezium(event->value);
    if (envelope.kind == PENSTOCK_VALUE_BAD) {
        reject_json(envelope.error);
    } else if (envelope.kind == PENSTOCK_VALUE_OTHER) {
        penstock_reject("no-envelope", "the value has no `op` of c, u, r, d, t or m: it is no Debezium change event");
    } else if (envelope.kind == PENSTOCK_VALUE_NULL || !penstock_leaves_a_row(envelope.operation)) {
        penstock_unchanged();
    } else if (!envelope.after.data) {
        reject_no_after(envelope.operation);
    } else {
        row_columns row = columns_of(envelope.after);
        if (row.error.problem) reject_json(row.error);
        else if (config.drop_count && !penstock_json_is_text(row.status))
            reject_json((penstock_json_error){"half of a surrogate pair in a string", 0});
        else if (is_dropped(row.status)) penstock_drop();
        else enrich_row(event, envelope.after, &row);
    }
}
