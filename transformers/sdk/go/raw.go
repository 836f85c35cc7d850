package penstock

import (
	"math"
	"strconv"
	"unicode/utf8"
)

// Kind is what a value is.
type Kind byte

// The kinds. A JSON number is a Number whatever its digits; so is a number of an `event` batch.
const (
	Missing Kind = iota
	Null
	Bool
	Number
	Text
	Bytes
	Array
	Object
	// Unavailable is a column that the source did not send because it did not change (Postgres' TOAST).
	Unavailable

	unsignedKind
	signedKind
	floatKind
	extensionKind
)

var kindNames = [...]string{"missing", "null", "a boolean", "a number", "a text", "bytes", "an array", "an object", "unavailable"}

func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return "unknown"
}

// unavailable is what Debezium writes in place of such a column.
const unavailable = "__debezium_unavailable_value"

// Raw is a value as it stands in the event; the zero Raw is a missing one.
type Raw struct {
	text   []byte
	packed bool
}

// Kind says what it is.
func (r Raw) Kind() Kind {
	if len(r.text) == 0 {
		return Missing
	}
	if r.packed {
		return packedKind(r.text)
	}
	switch r.text[0] {
	case 'n':
		return Null
	case 't', 'f':
		return Bool
	case '"':
		if string(r.text[1:len(r.text)-1]) == unavailable {
			return Unavailable
		}
		return Text
	case '[':
		return Array
	case '{':
		return Object
	}
	return Number
}

func packedKind(text []byte) Kind {
	reader := reader{data: text}
	switch kind, _ := reader.head(); kind {
	case unsignedKind, signedKind, floatKind:
		return Number
	case extensionKind:
		return Unavailable
	default:
		return kind
	}
}

// IsNull is true for null and for a missing value.
func (r Raw) IsNull() bool { kind := r.Kind(); return kind == Null || kind == Missing }

// Source is the value as it stands in the event: JSON text, or msgpack under `encoding: event`.
func (r Raw) Source() []byte { return r.text }

// Inside is what stands between the quotes of a JSON text, escapes and all; nil for anything else.
func (r Raw) Inside() []byte {
	if r.packed || len(r.text) < 2 || r.text[0] != '"' {
		return nil
	}
	return r.text[1 : len(r.text)-1]
}

// bytes is a text's bytes, without a copy unless it has escapes.
func (r Raw) bytes() ([]byte, bool) {
	if r.packed {
		reader := reader{data: r.text}
		kind, length := reader.head()
		if kind != Text {
			return nil, false
		}
		return reader.take(int(length)), true
	}
	inside := r.Inside()
	if inside == nil {
		return nil, false
	}
	if isEscaped(inside) {
		return appendUnescaped(make([]byte, 0, len(inside)), inside), true
	}
	return inside, true
}

func isEscaped(inside []byte) bool {
	for _, one := range inside {
		if one == '\\' {
			return true
		}
	}
	return false
}

// Text is the value of a text; false for any other kind.
func (r Raw) Text() (string, bool) {
	text, ok := r.bytes()
	return string(text), ok
}

// Is tells whether it is this text.
func (r Raw) Is(text string) bool {
	have, ok := r.bytes()
	return ok && string(have) == text
}

// Digits is a number as the source writes it, all its digits: `1.50`, `1e3`. False for any other kind.
func (r Raw) Digits() (string, bool) {
	if r.Kind() != Number {
		return "", false
	}
	if !r.packed {
		return string(r.text), true
	}
	reader := reader{data: r.text}
	switch kind, number := reader.head(); kind {
	case unsignedKind:
		return strconv.FormatUint(number, 10), true
	case signedKind:
		return strconv.FormatInt(int64(number), 10), true
	default:
		return strconv.FormatFloat(math.Float64frombits(number), 'g', -1, 64), true
	}
}

// Int is a whole number that 64 bits hold; false for any other value.
func (r Raw) Int() (int64, bool) {
	digits, ok := r.Digits()
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseInt(digits, 10, 64)
	return number, err == nil
}

// Float is the nearest float64 of a number; false for any other kind. Amounts of money want Digits.
func (r Raw) Float() (float64, bool) {
	digits, ok := r.Digits()
	if !ok {
		return 0, false
	}
	number, err := strconv.ParseFloat(digits, 64)
	return number, err == nil
}

// Bool is a boolean's value; false, false for any other kind.
func (r Raw) Bool() (value, ok bool) {
	if r.Kind() != Bool {
		return false, false
	}
	return r.text[0] == 't' || r.text[0] == 0xc3, true
}

// Bytes are those of a binary column under `encoding: event`; in JSON they are a text in base64.
func (r Raw) Bytes() ([]byte, bool) {
	if !r.packed || r.Kind() != Bytes {
		return nil, false
	}
	reader := reader{data: r.text}
	return reader.bytes(), true
}

// Shown is the value for a message: its source text, cut when it is long.
func (r Raw) Shown() string {
	const most = 80
	text, ok := r.Digits()
	if !ok && r.packed {
		text, ok = r.Text()
	}
	if !ok && r.packed {
		return r.Kind().String()
	}
	if !ok {
		text = string(r.text)
	}
	if len(text) <= most {
		return text
	}
	end := most
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
