package penstock

import "math"

// Writing msgpack: each function appends and returns the longer slice.

func appendNil(out []byte) []byte { return append(out, 0xc0) }

func appendBool(out []byte, value bool) []byte {
	if value {
		return append(out, 0xc3)
	}
	return append(out, 0xc2)
}

func appendBig(out []byte, value uint64, width int) []byte {
	for shift := 8 * (width - 1); shift >= 0; shift -= 8 {
		out = append(out, byte(value>>shift))
	}
	return out
}

func appendUint(out []byte, value uint64) []byte {
	switch {
	case value < 0x80:
		return append(out, byte(value))
	case value <= math.MaxUint8:
		return append(out, 0xcc, byte(value))
	case value <= math.MaxUint16:
		return appendBig(append(out, 0xcd), value, 2)
	case value <= math.MaxUint32:
		return appendBig(append(out, 0xce), value, 4)
	}
	return appendBig(append(out, 0xcf), value, 8)
}

func appendInt(out []byte, value int64) []byte {
	switch {
	case value >= 0:
		return appendUint(out, uint64(value))
	case value >= -32:
		return append(out, byte(value))
	case value >= math.MinInt8:
		return append(out, 0xd0, byte(value))
	case value >= math.MinInt16:
		return appendBig(append(out, 0xd1), uint64(value), 2)
	case value >= math.MinInt32:
		return appendBig(append(out, 0xd2), uint64(value), 4)
	}
	return appendBig(append(out, 0xd3), uint64(value), 8)
}

func appendFloat(out []byte, value float64) []byte {
	return appendBig(append(out, 0xcb), math.Float64bits(value), 8)
}

// appendLength is the head of a text, array or map, which have a short form and two or three long ones.
func appendLength(out []byte, length int, short byte, shortMax int, long8, long16, long32 byte) []byte {
	switch {
	case length <= shortMax:
		return append(out, short|byte(length))
	case length <= math.MaxUint8 && long8 != 0:
		return append(out, long8, byte(length))
	case length <= math.MaxUint16:
		return appendBig(append(out, long16), uint64(length), 2)
	}
	return appendBig(append(out, long32), uint64(length), 4)
}

func appendTextHead(out []byte, length int) []byte {
	return appendLength(out, length, 0xa0, 31, 0xd9, 0xda, 0xdb)
}

func appendText(out []byte, text string) []byte {
	return append(appendTextHead(out, len(text)), text...)
}

func appendArrayHead(out []byte, length int) []byte {
	return appendLength(out, length, 0x90, 15, 0, 0xdc, 0xdd)
}

func appendMapHead(out []byte, length int) []byte {
	return appendLength(out, length, 0x80, 15, 0, 0xde, 0xdf)
}

func appendBytesHead(out []byte, length int) []byte {
	return appendLength(out, length, 0, -1, 0xc4, 0xc5, 0xc6)
}

// appendBytes is nil for a nil slice.
func appendBytes(out []byte, data []byte) []byte {
	if data == nil {
		return appendNil(out)
	}
	return append(appendBytesHead(out, len(data)), data...)
}

// appendAny is for requests to the host: keys, parameters.
func appendAny(out []byte, value any) []byte {
	switch value := value.(type) {
	case nil:
		return appendNil(out)
	case bool:
		return appendBool(out, value)
	case int:
		return appendInt(out, int64(value))
	case int32:
		return appendInt(out, int64(value))
	case int64:
		return appendInt(out, value)
	case uint32:
		return appendUint(out, uint64(value))
	case uint64:
		return appendUint(out, value)
	case float64:
		return appendFloat(out, value)
	case string:
		return appendText(out, value)
	case []byte:
		return appendBytes(out, value)
	case []any:
		out = appendArrayHead(out, len(value))
		for _, one := range value {
			out = appendAny(out, one)
		}
		return out
	case map[string]any:
		out = appendMapHead(out, len(value))
		for name, one := range value {
			out = appendAny(appendText(out, name), one)
		}
		return out
	}
	panic("penstock: the host takes nil, bool, int, int32, int64, uint32, uint64, float64, string, []byte, []any and map[string]any")
}
