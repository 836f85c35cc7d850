package penstock

import (
	"strconv"
	"unicode/utf8"
)

// depthMax bounds how deep JSON may be nested.
const depthMax = 512

// SyntaxError says why a value is no JSON object.
type SyntaxError struct {
	Problem string
	// Offset is the byte where it shows.
	Offset int
}

func (e *SyntaxError) Error() string { return e.Problem + " at byte " + strconv.Itoa(e.Offset) }

// scanner walks over JSON text and checks it, strictly as RFC 8259 has it. Each method takes a position and returns the one behind
// what it read, or -1 once something is wrong.
type scanner struct {
	text    []byte
	problem string
	where   int
}

func (s *scanner) fail(at int, problem string) int {
	if s.problem == "" {
		s.problem, s.where = problem, at
	}
	return -1
}

func (s *scanner) err() error { return &SyntaxError{s.problem, s.where} }

const (
	plain = 1 << iota
	blank
	digit
)

// classes says what a byte may be: text between quotes that needs no second look, white space, a digit.
var classes = func() (table [256]byte) {
	for at := 0x20; at < 256; at++ {
		table[at] = plain
	}
	table['"'], table['\\'] = 0, 0
	for _, one := range " \t\r\n" {
		table[one] |= blank
	}
	for one := '0'; one <= '9'; one++ {
		table[one] |= digit
	}
	return
}()

func (s *scanner) space(at int) int {
	for at < len(s.text) && classes[s.text[at]]&blank != 0 {
		at++
	}
	return at
}

// object reads one, and appends its members to `members` unless that is nil.
func (s *scanner) object(at, depth int, members *[]member) int {
	if at >= len(s.text) || s.text[at] != '{' {
		return s.fail(at, "an object was expected")
	}
	if depth >= depthMax {
		return s.fail(at, "nested more than 512 levels deep")
	}
	at = s.space(at + 1)
	if at < len(s.text) && s.text[at] == '}' {
		return at + 1
	}
	for {
		start := at + 1
		at = s.name(at)
		if at < 0 {
			return -1
		}
		name := s.text[start : at-1]
		at = s.space(at)
		if at >= len(s.text) || s.text[at] != ':' {
			return s.fail(at, "a colon was expected")
		}
		at = s.space(at + 1)
		value := at
		if at = s.value(at, depth+1); at < 0 {
			return -1
		}
		if members != nil {
			*members = append(*members, member{name: name, value: Raw{text: s.text[value:at:at]}, start: value, end: at})
		}
		at = s.space(at)
		if at >= len(s.text) {
			return s.fail(at, "ends within an object")
		}
		switch s.text[at] {
		case ',':
			at = s.space(at + 1)
		case '}':
			return at + 1
		default:
			return s.fail(at, "a comma or } was expected")
		}
	}
}

func (s *scanner) name(at int) int {
	if at >= len(s.text) || s.text[at] != '"' {
		return s.fail(at, "a name was expected")
	}
	return s.string(at + 1)
}

func (s *scanner) array(at, depth int) int {
	if depth >= depthMax {
		return s.fail(at, "nested more than 512 levels deep")
	}
	at = s.space(at + 1)
	if at < len(s.text) && s.text[at] == ']' {
		return at + 1
	}
	for {
		if at = s.value(at, depth+1); at < 0 {
			return -1
		}
		at = s.space(at)
		if at >= len(s.text) {
			return s.fail(at, "ends within an array")
		}
		switch s.text[at] {
		case ',':
			at = s.space(at + 1)
		case ']':
			return at + 1
		default:
			return s.fail(at, "a comma or ] was expected")
		}
	}
}

func (s *scanner) value(at, depth int) int {
	if at >= len(s.text) {
		return s.fail(at, "ends where a value was expected")
	}
	switch s.text[at] {
	case '"':
		return s.string(at + 1)
	case '{':
		return s.object(at, depth, nil)
	case '[':
		return s.array(at, depth)
	case 't':
		return s.word(at, "true")
	case 'f':
		return s.word(at, "false")
	case 'n':
		return s.word(at, "null")
	}
	return s.number(at)
}

func (s *scanner) word(at int, word string) int {
	if end := at + len(word); end <= len(s.text) && string(s.text[at:end]) == word {
		return end
	}
	return s.fail(at, "a value was expected")
}

// string reads on from behind the opening quote.
func (s *scanner) string(at int) int {
	text := s.text
	for {
		for at < len(text) && classes[text[at]]&plain != 0 {
			at++
		}
		if at >= len(text) {
			return s.fail(at, "ends within a text")
		}
		switch text[at] {
		case '"':
			return at + 1
		case '\\':
			if at = s.escape(at); at < 0 {
				return -1
			}
		default:
			return s.fail(at, "a control character stands in a text")
		}
	}
}

func (s *scanner) escape(at int) int {
	if at+1 < len(s.text) {
		switch s.text[at+1] {
		case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			return at + 2
		case 'u':
			if at+6 <= len(s.text) && hex4(s.text[at+2:at+6]) >= 0 {
				return at + 6
			}
		}
	}
	return s.fail(at, "no such escape")
}

func (s *scanner) number(at int) int {
	start := at
	if s.text[at] == '-' {
		at++
	}
	first := at
	at = s.digits(at)
	if at == first || s.text[first] == '0' && at > first+1 {
		return s.fail(start, "a value was expected")
	}
	if at < len(s.text) && s.text[at] == '.' {
		first = at + 1
		if at = s.digits(first); at == first {
			return s.fail(start, "a number ends with its point")
		}
	}
	if at < len(s.text) && s.text[at]|0x20 == 'e' {
		first = at + 1
		if first < len(s.text) && (s.text[first] == '+' || s.text[first] == '-') {
			first++
		}
		if at = s.digits(first); at == first {
			return s.fail(start, "a number lacks its exponent")
		}
	}
	return at
}

func (s *scanner) digits(at int) int {
	for at < len(s.text) && classes[s.text[at]]&digit != 0 {
		at++
	}
	return at
}

func hex4(text []byte) rune {
	var value rune
	for _, one := range text {
		switch {
		case '0' <= one && one <= '9':
			value = value<<4 | rune(one-'0')
		case 'a' <= one|0x20 && one|0x20 <= 'f':
			value = value<<4 | rune(one|0x20-'a'+10)
		default:
			return -1
		}
	}
	return value
}

// appendUnescaped is what stands between the quotes, as text. Half a surrogate pair becomes U+FFFD.
func appendUnescaped(out, inside []byte) []byte {
	for at := 0; at < len(inside); at++ {
		if inside[at] != '\\' {
			out = append(out, inside[at])
			continue
		}
		at++
		switch inside[at] {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			one := hex4(inside[at+1 : at+5])
			at += 4
			if 0xd800 <= one && one < 0xdc00 && at+6 < len(inside) && inside[at+1] == '\\' && inside[at+2] == 'u' {
				if low := hex4(inside[at+3 : at+7]); 0xdc00 <= low && low < 0xe000 {
					one = (one-0xd800)<<10 + (low - 0xdc00) + 0x10000
					at += 6
				}
			}
			out = utf8.AppendRune(out, one)
		default:
			out = append(out, inside[at])
		}
	}
	return out
}

const hexDigits = "0123456789abcdef"

// appendQuoted is the text as JSON has it; what is not UTF-8 becomes U+FFFD.
func appendQuoted(out []byte, text string) []byte {
	out = append(out, '"')
	for _, one := range text {
		switch {
		case one == '"' || one == '\\':
			out = append(out, '\\', byte(one))
		case one == '\n':
			out = append(out, '\\', 'n')
		case one == '\t':
			out = append(out, '\\', 't')
		case one < 0x20:
			out = append(out, '\\', 'u', '0', '0', hexDigits[one>>4], hexDigits[one&15])
		case one < utf8.RuneSelf:
			out = append(out, byte(one))
		default:
			out = utf8.AppendRune(out, one)
		}
	}
	return append(out, '"')
}
