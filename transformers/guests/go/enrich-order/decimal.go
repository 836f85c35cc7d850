package main

import (
	"errors"
	"math"
	"math/bits"
	"strconv"
	"strings"
)

// Decimal is an exact number, units × 10^-scale, whose units 127 bits hold; nothing goes through a float64.
type Decimal struct {
	units    natural
	scale    int
	negative bool
}

// Why a text is no Decimal.
var (
	ErrInvalid  = errors.New("not a decimal number")
	ErrTooLarge = errors.New("too many digits")
)

// scaleMax is how many digits behind the point are still exact.
const scaleMax = 38

// ParseDecimal reads `-12.50`, `12`, `1.25e3`. Trailing zeros stay: they are the column's scale.
func ParseDecimal(text string) (Decimal, error) {
	mantissa, exponent := text, 0
	if at := strings.IndexAny(text, "eE"); at >= 0 {
		var err error
		if exponent, err = parseExponent(text[at+1:]); err != nil {
			return Decimal{}, err
		}
		mantissa = text[:at]
	}
	digits, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, hasPoint := strings.Cut(digits, ".")
	if whole == "" || hasPoint && fraction == "" || !areDigits(whole) || !areDigits(fraction) {
		return Decimal{}, ErrInvalid
	}
	units, fits := appendDigits(natural{}, whole)
	if fits {
		units, fits = appendDigits(units, fraction)
	}
	if !fits {
		return Decimal{}, ErrTooLarge
	}
	return scaled(units, negative, len(fraction)-exponent)
}

func parseExponent(text string) (int, error) {
	digits := text
	if text != "" && (text[0] == '+' || text[0] == '-') {
		digits = text[1:]
	}
	if digits == "" || !areDigits(digits) {
		return 0, ErrInvalid
	}
	exponent, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, ErrTooLarge
	}
	return int(exponent), nil
}

func areDigits(text string) bool {
	for at := range len(text) {
		if text[at] < '0' || text[at] > '9' {
			return false
		}
	}
	return true
}

func appendDigits(units natural, digits string) (natural, bool) {
	fits := true
	for at := 0; at < len(digits) && fits; at++ {
		if units, fits = units.times(natural{low: 10}); fits {
			units, fits = units.plus(uint64(digits[at] - '0'))
		}
	}
	return units, fits
}

func scaled(units natural, negative bool, scale int) (Decimal, error) {
	if units.isZero() {
		return Decimal{scale: min(max(scale, 0), scaleMax)}, nil
	}
	if scale > scaleMax {
		return Decimal{}, ErrTooLarge
	}
	if scale < 0 {
		var fits bool
		if units, fits = units.timesPower(-scale); !fits {
			return Decimal{}, ErrTooLarge
		}
		scale = 0
	}
	return Decimal{units, scale, negative}, nil
}

// Times is the exact product; false when it has too many digits.
func (d Decimal) Times(other Decimal) (Decimal, bool) {
	units, fits := d.units.times(other.units)
	return Decimal{units, d.scale + other.scale, d.negative != other.negative && !units.isZero()}, fits
}

// Hundredths are halves rounded away from zero; false when 64 bits do not hold them.
func (d Decimal) Hundredths() (int64, bool) {
	units, fits := d.units, true
	if d.scale <= 2 {
		units, fits = units.timesPower(2 - d.scale)
	} else {
		units = units.dividedByPower(d.scale - 2)
	}
	switch {
	case !fits || units.high > 0:
		return 0, false
	case d.negative && units.low <= 1<<63:
		return -int64(units.low), true
	case !d.negative && units.low <= math.MaxInt64:
		return int64(units.low), true
	}
	return 0, false
}

// Exceeds compares by value.
func (d Decimal) Exceeds(other Decimal) bool {
	if d.negative != other.negative {
		return other.negative
	}
	if d.negative {
		return compareMagnitudes(other, d) > 0
	}
	return compareMagnitudes(d, other) > 0
}

func compareMagnitudes(left, right Decimal) int {
	scale := max(left.scale, right.scale)
	one, oneFits := left.units.timesPower(scale - left.scale)
	other, otherFits := right.units.timesPower(scale - right.scale)
	switch { // only the side with the smaller scale grows
	case !oneFits:
		return 1
	case !otherFits:
		return -1
	}
	return one.compare(other)
}

// AppendTo appends all digits of its scale, at least one before the point.
func (d Decimal) AppendTo(out []byte) []byte {
	digits := d.units.digits()
	if missing := d.scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if d.negative {
		out = append(out, '-')
	}
	point := len(digits) - d.scale
	out = append(out, digits[:point]...)
	if d.scale > 0 {
		out = append(append(out, '.'), digits[point:]...)
	}
	return out
}

func (d Decimal) String() string { return string(d.AppendTo(nil)) }

// natural is a number below 2^127.
type natural struct{ high, low uint64 }

func (n natural) isZero() bool { return n.high|n.low == 0 }

func (n natural) compare(other natural) int {
	switch {
	case n == other:
		return 0
	case n.high > other.high || n.high == other.high && n.low > other.low:
		return 1
	}
	return -1
}

func (n natural) plus(small uint64) (natural, bool) {
	low, carry := bits.Add64(n.low, small, 0)
	high, over := bits.Add64(n.high, 0, carry)
	return natural{high, low}, over == 0 && high>>63 == 0
}

func (n natural) times(other natural) (natural, bool) {
	high, low := bits.Mul64(n.low, other.low)
	overOne, crossOne := bits.Mul64(n.high, other.low)
	overTwo, crossTwo := bits.Mul64(n.low, other.high)
	high, carryOne := bits.Add64(high, crossOne, 0)
	high, carryTwo := bits.Add64(high, crossTwo, 0)
	fits := overOne|overTwo|carryOne|carryTwo == 0 && (n.high == 0 || other.high == 0) && high>>63 == 0
	return natural{high, low}, fits
}

func (n natural) timesPower(power int) (natural, bool) {
	fits := true
	for ; power > 0 && fits && !n.isZero(); power-- {
		n, fits = n.times(natural{low: 10})
	}
	return n, fits
}

// dividedByPower divides by 10^power, halves rounded up.
func (n natural) dividedByPower(power int) natural {
	last := uint64(0)
	for ; power > 0 && (!n.isZero() || last > 0); power-- {
		n, last = n.dividedByTen()
	}
	if last >= 5 && power == 0 {
		n, _ = n.plus(1)
	}
	return n
}

func (n natural) dividedByTen() (natural, uint64) {
	high, rest := n.high/10, n.high%10
	low, rest := bits.Div64(rest, n.low, 10)
	return natural{high, low}, rest
}

func (n natural) digits() string {
	if n.high == 0 {
		return strconv.FormatUint(n.low, 10)
	}
	var digits []byte
	for last := uint64(0); !n.isZero(); {
		n, last = n.dividedByTen()
		digits = append(digits, byte('0'+last))
	}
	for left, right := 0, len(digits)-1; left < right; left, right = left+1, right-1 {
		digits[left], digits[right] = digits[right], digits[left]
	}
	return string(digits)
}
