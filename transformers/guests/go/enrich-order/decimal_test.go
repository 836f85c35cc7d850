package main

import (
	"math/big"
	"math/rand"
	"strings"
	"testing"
)

func decimal(t *testing.T, text string) Decimal {
	t.Helper()
	found, err := ParseDecimal(text)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return found
}

func TestTextGoesInAndOut(t *testing.T) {
	for text, wanted := range map[string]string{
		"0": "0", "-7": "-7", "12.50": "12.50", "0.05": "0.05", "-0.001": "-0.001", "1.25e3": "1250", "125E-4": "0.0125", "-0.0": "0.0", "0e99": "0",
		"170141183460469231731687303715884105727": "170141183460469231731687303715884105727",
	} {
		if found := decimal(t, text).String(); found != wanted {
			t.Errorf("%s: %s", text, found)
		}
	}
}

func TestWhatIsNoDecimal(t *testing.T) {
	for _, text := range strings.Split(",-,.5,5.,+5,1e,1e+,0x1,1_0,NaN, 1,1.2.3,--1,1e5e5", ",") {
		if _, err := ParseDecimal(text); err != ErrInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"1e39", "1e-39", "170141183460469231731687303715884105728", "1e99999999999"} {
		if _, err := ParseDecimal(text); err != ErrTooLarge {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestHalvesRoundAwayFromZero(t *testing.T) {
	for text, wanted := range map[string]int64{
		"1.005": 101, "-1.005": -101, "1.0049999999": 100, "0.015": 2, "3": 300, "2.5": 250, "1e-38": 0, "0.995": 100, "0.004999": 0,
		"92233720368547758.07": 1<<63 - 1, "-92233720368547758.08": -1 << 63,
	} {
		if cents, fits := decimal(t, text).Hundredths(); !fits || cents != wanted {
			t.Errorf("%s: %d", text, cents)
		}
	}
	if _, fits := decimal(t, "92233720368547758.08").Hundredths(); fits {
		t.Error("64 bits do not hold it")
	}
}

// Products and comparisons agree with math/big.
func TestArithmeticIsExact(t *testing.T) {
	random := rand.New(rand.NewSource(3))
	text := func() string {
		digits := make([]byte, 1+random.Intn(19))
		for at := range digits {
			digits[at] = byte('0' + random.Intn(10))
		}
		if at := random.Intn(len(digits)); at > 0 {
			return string(digits[:at]) + "." + string(digits[at:])
		}
		return "-" + string(digits)
	}
	for round := 0; round < 50_000; round++ {
		left, right := text(), text()
		one, _ := new(big.Rat).SetString(left)
		other, _ := new(big.Rat).SetString(right)
		product, fits := decimal(t, left).Times(decimal(t, right))
		if found, _ := new(big.Rat).SetString(product.String()); fits && found.Cmp(new(big.Rat).Mul(one, other)) != 0 {
			t.Fatalf("%s × %s: %s", left, right, product)
		}
		if decimal(t, left).Exceeds(decimal(t, right)) != (one.Cmp(other) > 0) {
			t.Fatalf("%s > %s", left, right)
		}
	}
}
