package penstock

// batch is a frame on its way through the transformer. Its buffers are used again, so that memory does not grow.
type batch struct {
	event  Event
	topic  string
	result []byte
}

// run answers a frame with a result frame. `cursor` follows the event at work.
func (b *batch) run(frame []byte, transform transformer, cursor *uint32) []byte {
	reader := reader{data: frame}
	if reader.length(Array) != 2 {
		reader.bad = true
	}
	b.readMeta(&reader)
	count := reader.length(Array)
	b.result = appendArrayHead(b.result[:0], count)
	for index := 0; index < count && !reader.bad; index++ {
		*cursor = uint32(index)
		b.readEvent(&reader)
		if !reader.bad {
			b.answer(transform(&b.event))
		}
	}
	if reader.bad || reader.at != len(frame) {
		panic("penstock: the host's frame cannot be read")
	}
	return b.result
}

func (b *batch) readMeta(r *reader) {
	for left := r.length(Object); left > 0 && !r.bad; left-- {
		switch string(r.text()) {
		case "topic":
			if name := r.text(); string(name) != b.topic {
				b.topic = string(name)
			}
		case "partition":
			b.event.Partition = int(r.integer())
		case "encoding":
			b.event.packed = string(r.text()) == "event"
		default:
			r.skip()
		}
	}
	b.event.Topic = b.topic
}

func (b *batch) readEvent(r *reader) {
	event := &b.event
	if r.length(Array) != 5 {
		r.bad = true
	}
	event.Offset, event.Timestamp = r.integer(), r.integer()
	event.Key = r.bytes()
	if event.packed {
		event.Value = packedValue(r.skip())
	} else {
		event.Value = r.bytes()
	}
	event.Headers = event.Headers[:0]
	for left := r.length(Array); left > 0 && !r.bad; left-- {
		if r.length(Array) != 2 {
			r.bad = true
		}
		name := string(r.text())
		event.Headers = append(event.Headers, Header{name, r.bytes()})
	}
}

// packedValue is nil for msgpack's nil.
func packedValue(value []byte) []byte {
	if len(value) == 1 && value[0] == 0xc0 {
		return nil
	}
	return value
}

func (b *batch) answer(outcome Outcome) {
	out := b.result
	switch outcome.kind {
	case unchanged:
		out = appendNil(out)
	case dropped:
		out = append(out, 0x91, 0)
	case emitted:
		out = b.appendValue(append(out, 0x92, 1), outcome.value)
	case edited:
		out = append(out, 0x92, 1)
		if !outcome.change.packed {
			out = appendBytesHead(out, outcome.change.length())
		}
		out = outcome.change.appendTo(out)
	case emittedMany:
		out = appendArrayHead(append(out, 0x92, 2), len(outcome.records))
		for at := range outcome.records {
			out = b.appendRecord(out, &outcome.records[at])
		}
	case rejected:
		out = appendText(appendText(append(out, 0x93, 3), outcome.code), outcome.message)
	}
	b.result = out
}

func (b *batch) appendValue(out []byte, value []byte) []byte {
	if b.event.packed && value != nil {
		return append(out, value...)
	}
	return appendBytes(out, value)
}

func (b *batch) appendRecord(out []byte, record *Record) []byte {
	out = append(out, 0x94)
	if record.Topic == "" {
		out = appendNil(out)
	} else {
		out = appendText(out, record.Topic)
	}
	out = b.appendValue(appendBytes(out, record.Key), record.Value)
	if record.Headers == nil {
		return appendNil(out)
	}
	out = appendArrayHead(out, len(record.Headers))
	for _, header := range record.Headers {
		out = appendBytes(appendText(append(out, 0x92), header.Name), header.Value)
	}
	return out
}
