package penstock

import (
	"math"
	"math/rand"
	"strings"
	"testing"
)

func frameOf(encoding string, values ...[]byte) []byte {
	out := appendMapHead(append([]byte{}, 0x92), 3)
	out = appendText(appendText(out, "topic"), "t")
	out = appendUint(appendText(out, "partition"), 7)
	out = appendText(appendText(out, "encoding"), encoding)
	out = appendArrayHead(out, len(values))
	for at, value := range values {
		out = appendInt(appendInt(appendArrayHead(out, 5), int64(at)-1), math.MaxInt64)
		out = appendBytes(out, []byte("key"))
		if encoding == "event" && value != nil {
			out = append(out, value...)
		} else {
			out = appendBytes(out, value)
		}
		out = appendBytes(appendText(append(out, 0x91, 0x92), "h"), nil)
	}
	return out
}

func resultsOf(t *testing.T, frame []byte, transform transformer) []any {
	t.Helper()
	var cursor uint32
	work := &batch{}
	reader := reader{data: work.run(frame, transform, &cursor)}
	list, ok := reader.any().([]any)
	if !ok || reader.bad || reader.at != len(reader.data) {
		t.Fatal("the result frame cannot be read")
	}
	return list
}

func TestEveryOutcomeHasItsShape(t *testing.T) {
	var seen *Event
	outcomes := []Outcome{
		Unchanged(), Drop(), Emit([]byte("v")), Emit(nil), Reject("code", strings.Repeat("x", 300)),
		EmitMany(Record{Topic: "to", Key: []byte("k"), Headers: []Header{{"a", []byte("b")}, {"c", nil}}}), EmitMany(),
	}
	next := 0
	found := resultsOf(t, frameOf("raw", make([][]byte, len(outcomes))...), func(event *Event) Outcome {
		seen = event
		next++
		return outcomes[next-1]
	})
	if seen.Topic != "t" || seen.Partition != 7 || seen.Offset != 5 || seen.Timestamp != math.MaxInt64 || string(seen.Key) != "key" ||
		seen.Value != nil || len(seen.Headers) != 1 || seen.Headers[0].Name != "h" {
		t.Errorf("%+v", seen)
	}
	if found[0] != nil || len(found[1].([]any)) != 1 || string(found[2].([]any)[1].([]byte)) != "v" || found[3].([]any)[1] != nil {
		t.Error(found)
	}
	if rejected := found[4].([]any); rejected[0] != int64(3) || rejected[1] != "code" || len(rejected[2].(string)) != 300 {
		t.Error(rejected)
	}
	record := found[5].([]any)[1].([]any)[0].([]any)
	if record[0] != "to" || string(record[1].([]byte)) != "k" || record[2] != nil || len(record[3].([]any)) != 2 {
		t.Error(record)
	}
	if many := found[6].([]any)[1].([]any); len(many) != 0 {
		t.Error(many)
	}
}

func TestAnEventBatchAnswersWithMaps(t *testing.T) {
	found := resultsOf(t, frameOf("event", packedEvent(), nil), func(event *Event) Outcome {
		change, err := event.Change()
		if err != nil || change == nil {
			return Unchanged()
		}
		change.After().SetNull("id")
		if event.Offset == -1 {
			return change.Emit()
		}
		return EmitMany(event.Record(change.Value()))
	})
	after := found[0].([]any)[1].(map[string]any)["after"].(map[string]any)
	if value, there := after["id"]; value != nil || !there || found[1] != nil {
		t.Error(found)
	}
}

func TestBatchesOfEveryWidth(t *testing.T) {
	for _, count := range []int{0, 1, 15, 16, 300, 70_000} {
		values := make([][]byte, count)
		for at := range values {
			values[at] = []byte("x")
		}
		if found := resultsOf(t, frameOf("raw", values...), func(*Event) Outcome { return Drop() }); len(found) != count {
			t.Error(len(found))
		}
	}
}

func TestADamagedFrameIsAPanicAndNoHang(t *testing.T) {
	random := rand.New(rand.NewSource(1))
	whole := frameOf("raw", []byte("abc"), nil, []byte("d"))
	for round := 0; round < 20_000; round++ {
		frame := append([]byte{}, whole[:random.Intn(len(whole)+1)]...)
		for at := range frame {
			if random.Intn(12) == 0 {
				frame[at] = byte(random.Intn(256))
			}
		}
		func() {
			defer func() { _ = recover() }()
			(&batch{}).run(frame, func(event *Event) Outcome { return Emit(event.Value) }, new(uint32))
		}()
	}
}

func TestNumbersOfEveryWidthComeBack(t *testing.T) {
	for _, number := range []int64{0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 32, math.MaxInt64, -1, -32, -33, -128, -129, -32768, -32769, -1 << 31, -1<<31 - 1, math.MinInt64} {
		reader := reader{data: appendInt(nil, number)}
		if back := reader.integer(); back != number || reader.bad || reader.at != len(reader.data) {
			t.Error(number, back)
		}
	}
	for _, length := range []int{0, 31, 32, 255, 256, 65535, 65536} {
		text := strings.Repeat("x", length)
		for _, data := range [][]byte{appendText(nil, text), appendBytes(nil, []byte(text))} {
			reader := reader{data: data}
			if reader.skip(); reader.bad || reader.at != len(data) {
				t.Error(length)
			}
		}
	}
}
