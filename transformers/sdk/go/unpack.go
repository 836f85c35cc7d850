package penstock

import "math"

// reader reads msgpack. Once something is not as expected it is bad and stays so; what it returns then means nothing.
type reader struct {
	data []byte
	at   int
	bad  bool
}

func (r *reader) take(length int) []byte {
	if r.bad || length < 0 || length > len(r.data)-r.at {
		r.bad = true
		return nil
	}
	taken := r.data[r.at : r.at+length : r.at+length]
	r.at += length
	return taken
}

func (r *reader) byte() byte {
	if r.bad || r.at >= len(r.data) {
		r.bad = true
		return 0xc1
	}
	r.at++
	return r.data[r.at-1]
}

func (r *reader) big(width int) uint64 {
	var value uint64
	for _, one := range r.take(width) {
		value = value<<8 | uint64(one)
	}
	return value
}

// head is the next value's kind, and its length or number.
func (r *reader) head() (kind Kind, number uint64) {
	switch code := r.byte(); {
	case code < 0x80:
		return unsignedKind, uint64(code)
	case code < 0x90:
		return Object, uint64(code & 0x0f)
	case code < 0xa0:
		return Array, uint64(code & 0x0f)
	case code < 0xc0:
		return Text, uint64(code & 0x1f)
	case code >= 0xe0:
		return signedKind, uint64(int64(int8(code)))
	default:
		return r.longHead(code)
	}
}

func (r *reader) longHead(code byte) (Kind, uint64) {
	switch code {
	case 0xc0:
		return Null, 0
	case 0xc2, 0xc3:
		return Bool, uint64(code & 1)
	case 0xc4, 0xc5, 0xc6:
		return Bytes, r.big(1 << (code - 0xc4))
	case 0xc7, 0xc8, 0xc9:
		return extensionKind, r.big(1<<(code-0xc7)) + 1
	case 0xca:
		return floatKind, math.Float64bits(float64(math.Float32frombits(uint32(r.big(4)))))
	case 0xcb:
		return floatKind, r.big(8)
	case 0xcc, 0xcd, 0xce, 0xcf:
		return unsignedKind, r.big(1 << (code - 0xcc))
	case 0xd0, 0xd1, 0xd2, 0xd3:
		width := 1 << (code - 0xd0)
		shift := 64 - 8*width
		return signedKind, uint64(int64(r.big(width)<<shift) >> shift)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8:
		return extensionKind, 1<<(code-0xd4) + 1
	case 0xd9, 0xda, 0xdb:
		return Text, r.big(1 << (code - 0xd9))
	case 0xdc, 0xdd:
		return Array, r.big(2 << (code - 0xdc))
	case 0xde, 0xdf:
		return Object, r.big(2 << (code - 0xde))
	}
	r.bad = true
	return Missing, 0
}

func (r *reader) length(wanted Kind) int {
	kind, length := r.head()
	if kind != wanted {
		r.bad = true
		return 0
	}
	return int(length)
}

func (r *reader) text() []byte { return r.take(r.length(Text)) }

// bytes is nil for nil.
func (r *reader) bytes() []byte {
	kind, length := r.head()
	switch kind {
	case Null:
		return nil
	case Bytes:
		return r.take(int(length))
	}
	r.bad = true
	return nil
}

func (r *reader) integer() int64 {
	kind, number := r.head()
	if kind != unsignedKind && kind != signedKind {
		r.bad = true
	}
	return int64(number)
}

// skip is the bytes of the next value, whatever it is.
func (r *reader) skip() []byte {
	start := r.at
	for left := 1; left > 0 && !r.bad; left-- {
		switch kind, length := r.head(); kind {
		case Text, Bytes, extensionKind:
			r.take(int(length))
		case Array:
			left += int(length)
		case Object:
			left += 2 * int(length)
		}
	}
	if r.bad {
		return nil
	}
	return r.data[start:r.at:r.at]
}

// any is the next value as Go has it; a map's names are texts.
func (r *reader) any() any {
	kind, number := r.head()
	switch kind {
	case Null:
		return nil
	case Bool:
		return number == 1
	case unsignedKind:
		if number > math.MaxInt64 {
			return number
		}
		return int64(number)
	case signedKind:
		return int64(number)
	case floatKind:
		return math.Float64frombits(number)
	case Text:
		return string(r.take(int(number)))
	case Bytes, extensionKind:
		return append([]byte{}, r.take(int(number))...)
	case Array:
		return r.list(int(number))
	case Object:
		return r.table(int(number))
	}
	r.bad = true
	return nil
}

func (r *reader) list(length int) []any {
	list := []any{}
	for ; length > 0 && !r.bad; length-- {
		list = append(list, r.any())
	}
	return list
}

func (r *reader) table(length int) map[string]any {
	table := map[string]any{}
	for ; length > 0 && !r.bad; length-- {
		name := string(r.text())
		table[name] = r.any()
	}
	return table
}
