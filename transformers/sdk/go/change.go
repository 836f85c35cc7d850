package penstock

import "unicode/utf8"

// Operation is what happened to a row.
type Operation byte

// The operations. None is for JSON objects that are no change events: flattened rows, heartbeats.
const (
	None     Operation = 0
	Create   Operation = 'c'
	Update   Operation = 'u'
	Delete   Operation = 'd'
	Read     Operation = 'r'
	Truncate Operation = 't'
	Message  Operation = 'm'
)

// LeavesRow is true when the row exists after it, so that there should be an `after`.
func (o Operation) LeavesRow() bool { return o == Create || o == Update || o == Read }

func (o Operation) String() string {
	switch o {
	case Create:
		return "create"
	case Update:
		return "update"
	case Delete:
		return "delete"
	case Read:
		return "read"
	case Truncate:
		return "truncate"
	case Message:
		return "message"
	}
	return "no change"
}

func operation(raw Raw) Operation {
	text, ok := raw.bytes()
	if ok && len(text) == 1 {
		switch one := Operation(text[0]); one {
		case Create, Update, Delete, Read, Truncate, Message:
			return one
		}
	}
	return None
}

// Change is a change event. Its rows are read when they are asked for; what is set in them is spliced into the event, which otherwise
// keeps every byte it came with.
type Change struct {
	// Operation is what happened.
	Operation Operation

	document      []byte
	packed        bool
	before, after Row
	hasBefore     bool
	hasAfter      bool
	source        Raw
	timestamp     Raw
	transaction   Raw
	members       []member
	written       []byte
	spliced       []piece
	isSpliced     bool
}

// Change reads the event's value as a change event: Debezium's JSON, with the embedded schema or without, or the map of
// `encoding: event`. It is nil for a tombstone. An error is a SyntaxError: the value is no JSON object, or an envelope that readers
// could take in two ways.
//
// The change belongs to the event: reading it again forgets what was set.
func (e *Event) Change() (*Change, error) {
	if e.Value == nil {
		return nil, nil
	}
	c := &e.change
	c.Operation, c.document, c.packed = None, e.Value, e.packed
	c.hasBefore, c.hasAfter, c.isSpliced = false, false, false
	c.source, c.timestamp, c.transaction = Raw{}, Raw{}, Raw{}
	c.members, c.written = c.members[:0], c.written[:0]
	if e.packed {
		return c, c.readPacked()
	}
	return c.readJSON()
}

func (c *Change) readPacked() error {
	reader := reader{data: c.document}
	for left := reader.length(Object); left > 0 && !reader.bad; left-- {
		name := reader.text()
		start := reader.at
		value := Raw{text: reader.skip(), packed: true}
		c.members = append(c.members, member{name: name, value: value, start: start, end: reader.at})
	}
	if reader.bad {
		return &SyntaxError{"not a change event's map", reader.at}
	}
	return c.takeMembers()
}

func (c *Change) readJSON() (*Change, error) {
	text := c.document
	if !utf8.Valid(text) {
		return nil, &SyntaxError{"not UTF-8", invalidAt(text)}
	}
	scanner := scanner{text: text}
	start := scanner.space(0)
	if isNull(&scanner, start) {
		return nil, nil
	}
	end := scanner.object(start, 0, &c.members)
	if end >= 0 && scanner.space(end) < len(text) {
		end = scanner.fail(end, "something follows the value")
	}
	if end < 0 {
		return nil, scanner.err()
	}
	payload := c.payload()
	if payload == nil {
		return c, c.takeMembers()
	}
	if payload.value.Kind() == Null {
		return nil, nil
	}
	start = payload.start
	c.members = c.members[:0]
	if scanner.object(start, 0, &c.members) < 0 {
		return nil, &SyntaxError{"the payload is no object", start}
	}
	return c, c.takeMembers()
}

func isNull(s *scanner, at int) bool {
	return at < len(s.text) && s.text[at] == 'n' && s.word(at, "null") > 0 && s.space(at+4) == len(s.text)
}

func invalidAt(text []byte) int {
	at := 0
	for at < len(text) {
		one, size := utf8.DecodeRune(text[at:])
		if one == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}

// payload is the member of that name where a schema is embedded.
func (c *Change) payload() (found *member) {
	hasSchema := false
	for at := range c.members {
		switch one := &c.members[at]; {
		case c.isNamed(one, "schema"):
			hasSchema = true
		case c.isNamed(one, "payload"):
			found = one
		}
	}
	if !hasSchema {
		return nil
	}
	return found
}

func (c *Change) isNamed(one *member, name string) bool {
	return string(one.name) == name || !c.packed && isEscaped(one.name) && string(appendUnescaped(nil, one.name)) == name
}

var envelope = [...]string{"op", "before", "after", "source", "ts_ms", "transaction", "schema", "payload"}

// takeMembers finds the envelope's parts. Those that decide what is emitted may not repeat: readers differ in which one they take.
func (c *Change) takeMembers() error {
	var found [len(envelope)]*member
	for at := range c.members {
		one := &c.members[at]
		for part, name := range envelope {
			if !c.isNamed(one, name) {
				continue
			}
			if found[part] != nil && name != "source" && name != "ts_ms" && name != "transaction" {
				return &SyntaxError{"a member of the envelope repeats", one.start}
			}
			found[part] = one
			break
		}
	}
	if found[0] == nil {
		return nil
	}
	if c.Operation = operation(found[0].value); c.Operation == None {
		return nil
	}
	var err error
	if c.hasBefore, err = c.takeRow(&c.before, found[1], "before"); err != nil {
		return err
	}
	if c.hasAfter, err = c.takeRow(&c.after, found[2], "after"); err != nil {
		return err
	}
	c.source, c.timestamp, c.transaction = valueOf(found[3]), valueOf(found[4]), valueOf(found[5])
	return nil
}

func valueOf(one *member) Raw {
	if one == nil {
		return Raw{}
	}
	return one.value
}

func (c *Change) takeRow(row *Row, from *member, name string) (bool, error) {
	if from == nil {
		return false, nil
	}
	switch from.value.Kind() {
	case Null:
		return false, nil
	case Object:
		row.place(c, from.start, from.end)
		return true, nil
	}
	return false, &SyntaxError{"`" + name + "` is " + from.value.Kind().String() + ", not an object", from.start}
}

// Before is the row as it was; nil when the event has none.
func (c *Change) Before() *Row {
	if !c.hasBefore {
		return nil
	}
	return &c.before
}

// After is the row as it is now; nil when the event has none.
func (c *Change) After() *Row {
	if !c.hasAfter {
		return nil
	}
	return &c.after
}

// Source says where the change was made: a row of `db`, `table`, `lsn` and the like, not to be set. Nil when the event has none.
func (c *Change) Source() *Row { return c.section(c.source) }

// Transaction is the transaction's `id` and orders, not to be set. Nil when the event has none.
func (c *Change) Transaction() *Row { return c.section(c.transaction) }

func (c *Change) section(value Raw) *Row {
	if value.Kind() != Object {
		return nil
	}
	change := &Change{document: value.text, packed: c.packed}
	row := &Row{}
	row.place(change, 0, len(value.text))
	return row
}

// Timestamp is when the source saw the change, in milliseconds since 1970.
func (c *Change) Timestamp() (int64, bool) { return c.timestamp.Int() }

// Emit sends the event on with what was set in its rows.
func (c *Change) Emit() Outcome {
	if !(c.hasBefore && c.before.isEdited || c.hasAfter && c.after.isEdited) {
		return Unchanged()
	}
	return Outcome{kind: edited, change: c}
}

// Value is the event's value with what was set in its rows, for a Record.
func (c *Change) Value() []byte { return c.appendTo(make([]byte, 0, c.length())) }

// splice collects the pieces of both rows, once, in order of place.
func (c *Change) splice() {
	if c.isSpliced {
		return
	}
	c.isSpliced = true
	c.spliced = c.spliced[:0]
	first, second := &c.before, &c.after
	hasFirst, hasSecond := c.hasBefore, c.hasAfter
	if hasFirst && hasSecond && first.start > second.start {
		first, second = second, first
	}
	if hasFirst && first == &c.before || hasSecond && first == &c.after {
		c.spliced = first.pieces(c.spliced)
	}
	if hasSecond && second == &c.after || hasFirst && second == &c.before {
		c.spliced = second.pieces(c.spliced)
	}
}

func (c *Change) length() int {
	c.splice()
	length := len(c.document)
	for _, one := range c.spliced {
		length += len(one.text) - (one.end - one.start)
	}
	return length
}

func (c *Change) appendTo(out []byte) []byte {
	c.splice()
	at := 0
	for _, one := range c.spliced {
		out = append(append(out, c.document[at:one.start]...), one.text...)
		at = one.end
	}
	return append(out, c.document[at:]...)
}
