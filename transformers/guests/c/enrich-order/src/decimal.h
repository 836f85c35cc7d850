/* Exact decimal numbers, read from and written to text; nothing goes through a double. Most amounts fit 64 bits and take short
 * ways; the long ones know 127 bits, some 38 digits. */
#ifndef DECIMAL_H
#define DECIMAL_H

#include "penstock_bytes.h"

/* Only added, compared and shifted: what multiplies and divides 128 bits is a library, and larger than all of this guest. */
typedef unsigned __int128 decimal_units;

/* `units × 10^-scale`. */
typedef struct {
    decimal_units units;
    bool is_negative;
    uint32_t scale;
} decimal;

typedef enum { DECIMAL_OK, DECIMAL_INVALID, DECIMAL_TOO_LARGE } decimal_error;

/* Digits behind the point that are still exact, and digits that surely fit 64 bits, signed. */
enum { DECIMAL_SCALE_MAX = 38, DECIMAL_SHORT_DIGITS = 18 };

static const uint64_t decimal_powers[DECIMAL_SHORT_DIGITS + 1] = {
    1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000, 10000000000, 100000000000, 1000000000000,
    10000000000000, 100000000000000, 1000000000000000, 10000000000000000, 100000000000000000, 1000000000000000000};

PENSTOCK_INLINE decimal_units decimal_units_max(bool is_negative) { return ((decimal_units)1 << 127) - !is_negative; }

PENSTOCK_INLINE bool decimal_is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

/* All 128 bits of a product. */
static inline decimal_units decimal_product(uint64_t one, uint64_t other) {
    uint64_t low = (uint32_t)one * (uint64_t)(uint32_t)other, high = (one >> 32) * (other >> 32);
    uint64_t left = (one >> 32) * (uint32_t)other, right = (other >> 32) * (uint32_t)one;
    uint64_t middle = (low >> 32) + (uint32_t)left + (uint32_t)right;
    high += (left >> 32) + (right >> 32) + (middle >> 32);
    return (decimal_units)high << 64 | (middle << 32 | (uint32_t)low);
}

/* Divides by ten; what is left. */
static inline uint32_t decimal_divide(decimal_units *units) {
    uint64_t high = (uint64_t)(*units >> 64), low = (uint64_t)*units;
    uint64_t third = high % 10 << 32 | low >> 32, last = third % 10 << 32 | (uint32_t)low;
    *units = (decimal_units)(high / 10) << 64 | (third / 10 << 32 | last / 10);
    return (uint32_t)(last % 10);
}

/* Multiplies by a power of ten; false when that has too many digits. */
PENSTOCK_APART bool decimal_shift(decimal_units *units, uint64_t power) {
    for (; power && *units; power--) {
        decimal_units low = decimal_product((uint64_t)*units, 10), high = decimal_product((uint64_t)(*units >> 64), 10);
        if (high >> 63) return false;
        *units = low + (high << 64);
        if (*units > decimal_units_max(false)) return false;
    }
    return true;
}

/* Any decimal text, right or wrong. */
PENSTOCK_APART decimal_error decimal_parse_long(penstock_bytes text, decimal *number) {
    const uint8_t *at = text.data, *end = text.data + text.size;
    decimal_units units = 0;
    int64_t scale = 0, exponent = 0;
    bool is_too_large = false, has_point = false, is_negative = at < end && *at == '-';
    at += is_negative;
    if (at == end || !decimal_is_digit(*at)) return DECIMAL_INVALID;
    for (; at < end && (decimal_is_digit(*at) || (*at == '.' && !has_point)); at++) {
        if (*at == '.') {
            has_point = true;
            continue;
        }
        scale += has_point;
        is_too_large |= !decimal_shift(&units, 1) || units > decimal_units_max(false) - (*at - '0');
        if (!is_too_large) units += *at - '0';
    }
    if (has_point && !scale) return DECIMAL_INVALID;
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        bool is_below = at < end && *at == '-';
        at += at < end && (*at == '-' || *at == '+');
        if (at == end) return DECIMAL_INVALID;
        for (; at < end && decimal_is_digit(*at); at++)
            exponent = exponent > INT32_MAX ? exponent : 10 * exponent + (*at - '0');
        is_too_large |= exponent > INT32_MAX;
        if (is_below) exponent = -exponent;
    }
    if (at < end) return DECIMAL_INVALID;
    scale -= exponent;
    if (!units && !is_too_large) scale = scale < 0 ? 0 : scale > DECIMAL_SCALE_MAX ? DECIMAL_SCALE_MAX : scale;
    if (is_too_large || scale > DECIMAL_SCALE_MAX) return DECIMAL_TOO_LARGE;
    if (scale < 0 && !decimal_shift(&units, (uint64_t)-scale)) return DECIMAL_TOO_LARGE;
    *number = (decimal){units, is_negative, scale < 0 ? 0 : (uint32_t)scale};
    return DECIMAL_OK;
}

/* Reads `-12.50`, `12`, `1.25e3`. Keeps zeros at the end: they are the column's scale. */
PENSTOCK_INLINE decimal_error decimal_parse(penstock_bytes text, decimal *number) {
    bool is_negative = text.size && text.data[0] == '-';
    uint32_t start = is_negative, point = text.size;
    if (text.size == start || text.size - start > DECIMAL_SHORT_DIGITS) return decimal_parse_long(text, number);
    uint64_t units = 0;
    for (uint32_t at = start; at < text.size; at++) {
        uint8_t digit = (uint8_t)(text.data[at] - '0');
        if (digit <= 9) units = units * 10 + digit;
        else if (text.data[at] == '.' && point == text.size && at > start && at + 1 < text.size) point = at;
        else return decimal_parse_long(text, number);
    }
    *number = (decimal){units, is_negative, point < text.size ? text.size - 1 - point : 0};
    return DECIMAL_OK;
}

/* The exact product; false when it has too many digits. */
static inline bool decimal_times(decimal one, decimal other, decimal *product) {
    *product = (decimal){0, one.is_negative != other.is_negative, one.scale + other.scale};
    if (!((one.units | other.units) >> 32)) {
        product->units = (uint64_t)one.units * (uint64_t)other.units;
        return true;
    }
    if (one.units >> 64 && other.units >> 64) return false;
    if (other.units >> 64) return decimal_times(other, one, product);
    decimal_units low = decimal_product((uint64_t)one.units, (uint64_t)other.units);
    decimal_units high = decimal_product((uint64_t)(one.units >> 64), (uint64_t)other.units);
    if (high >> 63) return false;
    product->units = low + (high << 64);
    return product->units >= low && product->units <= decimal_units_max(product->is_negative);
}

/* Divides by a power of ten, halves away from zero: the last digit that goes decides. */
PENSTOCK_APART decimal_units decimal_round(decimal_units units, uint32_t power) {
    uint32_t gone = 0;
    for (; power; power--) gone = decimal_divide(&units);
    return units + (gone >= 5);
}

/* Hundredths, halves rounded away from zero; false when they do not fit 64 bits. */
PENSTOCK_INLINE bool decimal_hundredths(decimal number, int64_t *hundredths) {
    decimal_units units = number.units;
    if (number.scale > 2) {
        uint32_t power = number.scale - 2;
        if (power <= DECIMAL_SHORT_DIGITS && !(units >> 63)) {
            uint64_t divisor = decimal_powers[power], rest = (uint64_t)units % divisor;
            units = (uint64_t)units / divisor + (rest >= divisor - rest);
        } else {
            units = decimal_round(units, power);
        }
    } else if (units >> 56) {
        if (!decimal_shift(&units, 2 - number.scale)) return false;
    } else {
        units = (uint64_t)units * decimal_powers[2 - number.scale];
    }
    if (units > (decimal_units)INT64_MAX + number.is_negative) return false;
    *hundredths = (int64_t)(number.is_negative ? 0 - (uint64_t)units : (uint64_t)units);
    return true;
}

/* Whether a number exceeds another. */
PENSTOCK_APART bool decimal_exceeds(decimal one, decimal other) {
    bool one_negative = one.is_negative && one.units, other_negative = other.is_negative && other.units;
    if (one_negative != other_negative) return other_negative;
    /* Only the side with the smaller scale grows: when it outgrows its bits it is the larger one. */
    bool one_fits = decimal_shift(&one.units, other.scale > one.scale ? other.scale - one.scale : 0);
    bool other_fits = decimal_shift(&other.units, one.scale > other.scale ? one.scale - other.scale : 0);
    bool is_larger = other_fits && (!one_fits || one.units > other.units);
    bool is_smaller = one_fits && (!other_fits || one.units < other.units);
    return one_negative ? is_smaller : is_larger;
}

/* A product's scale, its digits, a digit before the point, the point, a sign, two quotes. */
enum { DECIMAL_TEXT_MAX = 2 * DECIMAL_SCALE_MAX + 5 };

/* Writes all digits of the number's scale, at least one before the point, so that they end before `end`; where they begin. */
PENSTOCK_APART uint8_t *decimal_write(uint8_t *end, decimal number) {
    uint32_t written = 0;
    for (decimal_units rest = number.units; rest || written <= number.scale; written++) {
        if (written == number.scale && written) *--end = '.';
        *--end = (uint8_t)('0' + decimal_divide(&rest));
    }
    if (number.is_negative && number.units) *--end = '-';
    return end;
}

#endif
