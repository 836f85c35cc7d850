package penstock

import (
	"math"
	"strconv"
)

// member is one column of a row as it came, and what becomes of it.
type member struct {
	name       []byte
	value      Raw
	start, end int // of the value, in the event; both 0 for a new column
	set, gone  bool
}

// Row is one row of a change event: columns by name. What is not set keeps every byte it came with.
type Row struct {
	change     *Change
	start, end int // of the row, in the event
	head       int // of the row's first byte behind its bracket or its msgpack head
	members    []member
	isRead     bool
	isEdited   bool
}

func (r *Row) place(change *Change, start, end int) {
	*r = Row{change: change, start: start, end: end, members: r.members[:0]}
}

// read lists the columns, once.
func (r *Row) read() {
	if r.isRead {
		return
	}
	r.isRead = true
	if r.change.packed {
		r.readPacked()
		return
	}
	scanner := scanner{text: r.change.document[:r.end]}
	r.head = r.start + 1
	scanner.object(r.start, 0, &r.members) // it was checked with the whole event
}

func (r *Row) readPacked() {
	reader := reader{data: r.change.document[:r.end], at: r.start}
	left := reader.length(Object)
	r.head = reader.at
	for ; left > 0 && !reader.bad; left-- {
		name := reader.text()
		start := reader.at
		value := Raw{text: reader.skip(), packed: true}
		r.members = append(r.members, member{name: name, value: value, start: start, end: reader.at})
	}
}

// find is the column of this name; the last one if it repeats.
func (r *Row) find(name string) *member {
	r.read()
	for at := len(r.members) - 1; at >= 0; at-- {
		one := &r.members[at]
		if !one.gone && r.is(one.name, name) {
			return one
		}
	}
	return nil
}

func (r *Row) is(have []byte, name string) bool {
	if string(have) == name {
		return true
	}
	return !r.change.packed && len(have) > len(name) && isEscaped(have) && string(appendUnescaped(nil, have)) == name
}

// Get is the column of this name; a missing Raw if the row has none.
func (r *Row) Get(name string) Raw {
	if found := r.find(name); found != nil {
		return found.value
	}
	return Raw{}
}

// Each calls `visit` for every column in order.
func (r *Row) Each(visit func(name string, value Raw)) {
	r.read()
	for at := range r.members {
		if one := &r.members[at]; !one.gone {
			name := one.name
			if !r.change.packed && isEscaped(name) {
				name = appendUnescaped(nil, name)
			}
			visit(string(name), one.value)
		}
	}
}

// Remove takes a column away.
func (r *Row) Remove(name string) {
	for found := r.find(name); found != nil; found = r.find(name) {
		found.gone, r.isEdited = true, true
	}
}

// set gives a column its new source text: in place if it is there, else at the row's end.
func (r *Row) set(name string, text []byte) {
	r.isEdited = true
	value := Raw{text: text, packed: r.change.packed}
	if found := r.find(name); found != nil {
		found.value, found.set = value, true
		return
	}
	written := []byte(name)
	if !r.change.packed {
		quoted := appendQuoted(nil, name)
		written = quoted[1 : len(quoted)-1]
	}
	r.members = append(r.members, member{name: written, value: value, set: true})
}

// build lets `write` append a new value's source text to the event's own buffer.
func (r *Row) build(name string, write func(out []byte) []byte) {
	change := r.change
	start := len(change.written)
	change.written = write(change.written)
	r.set(name, change.written[start:len(change.written):len(change.written)])
}

// SetString sets a column to a text.
func (r *Row) SetString(name, value string) {
	r.build(name, func(out []byte) []byte {
		if r.change.packed {
			return appendText(out, value)
		}
		return appendQuoted(out, value)
	})
}

// SetInt sets a column to a whole number.
func (r *Row) SetInt(name string, value int64) {
	r.build(name, func(out []byte) []byte {
		if r.change.packed {
			return appendInt(out, value)
		}
		return strconv.AppendInt(out, value, 10)
	})
}

// SetFloat sets a column to a float64. JSON has no NaN and no infinities: there they become null.
func (r *Row) SetFloat(name string, value float64) {
	r.build(name, func(out []byte) []byte {
		switch {
		case r.change.packed:
			return appendFloat(out, value)
		case math.IsNaN(value) || math.IsInf(value, 0):
			return append(out, "null"...)
		}
		return strconv.AppendFloat(out, value, 'g', -1, 64)
	})
}

// SetDecimal sets a column to a decimal number, digit by digit: a JSON number, or a text under `encoding: event`, which has no
// decimals. The digits must be a number as JSON writes it; anything else panics.
func (r *Row) SetDecimal(name, digits string) {
	scanner := scanner{text: []byte(digits)}
	if digits == "" || scanner.number(0) != len(digits) {
		panic("penstock: SetDecimal(" + strconv.Quote(name) + ", " + strconv.Quote(digits) + "): not a number")
	}
	if r.change.packed {
		r.SetString(name, digits)
		return
	}
	r.set(name, scanner.text)
}

// SetBool sets a column to true or false.
func (r *Row) SetBool(name string, value bool) {
	r.build(name, func(out []byte) []byte {
		if r.change.packed {
			return appendBool(out, value)
		}
		return strconv.AppendBool(out, value)
	})
}

// SetNull sets a column to null.
func (r *Row) SetNull(name string) {
	if r.change.packed {
		r.set(name, []byte{0xc0})
		return
	}
	r.set(name, []byte("null"))
}

// SetRaw sets a column to another one's value, byte for byte.
func (r *Row) SetRaw(name string, value Raw) {
	if value.Kind() == Missing {
		r.SetNull(name)
		return
	}
	if value.packed != r.change.packed {
		panic("penstock: SetRaw(" + strconv.Quote(name) + "): the value is of another encoding")
	}
	r.set(name, value.text)
}

// SetQuoted sets a column of a JSON event to a text whose escapes are written already, as Raw.Inside has them: pieces of texts can
// be joined without reading them.
func (r *Row) SetQuoted(name string, pieces ...[]byte) {
	if r.change.packed {
		panic("penstock: SetQuoted is for JSON events")
	}
	r.build(name, func(out []byte) []byte {
		out = append(out, '"')
		for _, piece := range pieces {
			out = append(out, piece...)
		}
		return append(out, '"')
	})
}

// pieces lists what changes in the event's text, in order of place.
func (r *Row) pieces(into []piece) []piece {
	if !r.isEdited {
		return into
	}
	count, gone := 0, false
	for at := range r.members {
		if r.members[at].gone {
			gone = true
		} else {
			count++
		}
	}
	if gone {
		return append(into, piece{r.start, r.end, r.rebuilt(count)})
	}
	if r.change.packed {
		into = append(into, piece{r.start, r.head, appendMapHead(nil, count)})
	}
	tail := r.head
	for at := range r.members {
		one := &r.members[at]
		if one.end == 0 {
			break
		}
		tail = one.end
		if one.set {
			into = append(into, piece{one.start, one.end, one.value.text})
		}
	}
	if text := r.added(); len(text) > 0 {
		into = append(into, piece{tail, tail, text})
	}
	return into
}

// added is the text of the new columns, which follow the others.
func (r *Row) added() []byte {
	change := r.change
	start := len(change.written)
	for at := range r.members {
		if one := &r.members[at]; one.end == 0 {
			change.written = r.appendMember(change.written, one, at == 0)
		}
	}
	return change.written[start:len(change.written):len(change.written)]
}

func (r *Row) appendMember(out []byte, one *member, isFirst bool) []byte {
	if r.change.packed {
		out = append(appendTextHead(out, len(one.name)), one.name...)
		return append(out, one.value.text...)
	}
	if !isFirst {
		out = append(out, ',')
	}
	out = append(append(append(out, '"'), one.name...), '"', ':')
	return append(out, one.value.text...)
}

// rebuilt is the whole row, for when columns went away.
func (r *Row) rebuilt(count int) []byte {
	var out []byte
	if r.change.packed {
		out = appendMapHead(out, count)
	} else {
		out = append(out, '{')
	}
	isFirst := true
	for at := range r.members {
		if one := &r.members[at]; !one.gone {
			out = r.appendMember(out, one, isFirst)
			isFirst = false
		}
	}
	if !r.change.packed {
		out = append(out, '}')
	}
	return out
}

// piece replaces a range of the event's text.
type piece struct {
	start, end int
	text       []byte
}
