// Package penstock is for writing transformers: one function from an event to an outcome.
//
//	func init() { penstock.ServeWith(settings, transform) }
//
//	func transform(event *penstock.Event, s *Settings) penstock.Outcome {
//		change, err := event.Change()
//		if err != nil {
//			return penstock.Reject("bad-json", err.Error())
//		}
//		if change == nil || change.After() == nil {
//			return penstock.Unchanged()
//		}
//		change.After().SetString("region", s.Region)
//		return change.Emit()
//	}
//
// The package does the rest: memory, frames, the cursor, the configuration, panics. What an event hands out (keys, values, rows,
// the bytes in them) is good until the transformer returns; keep copies.
package penstock

// Event is one record of the stream.
type Event struct {
	// Topic and Partition are where it came from.
	Topic     string
	Partition int
	Offset    int64
	// Timestamp is in milliseconds since 1970.
	Timestamp int64
	// Key and Value are nil where the record has none: a nil value is a tombstone. Under `encoding: event` the value is the
	// change event's msgpack map; Change reads both.
	Key     []byte
	Value   []byte
	Headers []Header

	packed bool
	change Change
}

// Header is one header of a record; its value may be nil.
type Header struct {
	Name  string
	Value []byte
}

// Record is one record to emit.
type Record struct {
	// Topic is empty for the route's destination; any other must be in the route's `also_to`.
	Topic string
	Key   []byte
	// Value is in the encoding that the event came in; nil makes a tombstone.
	Value []byte
	// Headers are the event's own when this is nil.
	Headers []Header
}

// Record is a record with this event's key, for EmitMany.
func (e *Event) Record(value []byte) Record { return Record{Key: e.Key, Value: value} }

type outcomeKind byte

const (
	unchanged outcomeKind = iota
	dropped
	emitted
	edited
	emittedMany
	rejected
)

// Outcome is what becomes of an event.
type Outcome struct {
	kind    outcomeKind
	value   []byte
	change  *Change
	records []Record
	code    string
	message string
}

// Unchanged lets the event go on as it came.
func Unchanged() Outcome { return Outcome{} }

// Drop ends the event here.
func Drop() Outcome { return Outcome{kind: dropped} }

// Emit sends the event on with another value; nil makes it a tombstone.
func Emit(value []byte) Outcome { return Outcome{kind: emitted, value: value} }

// EmitMany sends these records on instead of the event: none, one or several.
func EmitMany(records ...Record) Outcome { return Outcome{kind: emittedMany, records: records} }

// Reject sends the event to the dead letters. The code is a short word for machines, the message says what is wrong and where.
func Reject(code, message string) Outcome {
	return Outcome{kind: rejected, code: code, message: message}
}

type transformer func(*Event) Outcome

var (
	serve     transformer
	configure = func(*Config) {}
)

// Serve makes this the module's transformer. Call it from an init function.
func Serve(transform func(*Event) Outcome) { serve = transform }

// ServeWith makes this the module's transformer, with the configuration that `read` makes of the registry's `config`. What `read`
// finds wrong (see Config) refuses the configuration, before any event.
func ServeWith[T any](read func(*Config) T, transform func(*Event, *T) Outcome) {
	var settings T
	configure = func(config *Config) { settings = read(config) }
	serve = func(event *Event) Outcome { return transform(event, &settings) }
}
