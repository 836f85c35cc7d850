package penstock

import (
	"math"
	"testing"
)

const order = `{ "before" : null, "op":"c", "after" : { "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":1.50 } }`

func edit(t *testing.T, text string, change func(*Row)) string {
	t.Helper()
	found, err := parse(t, text)
	if err != nil {
		t.Fatal(err)
	}
	change(found.After())
	if outcome := found.Emit(); outcome.kind == unchanged {
		return "unchanged"
	}
	if length := found.length(); length != len(found.Value()) {
		t.Errorf("%d bytes were foretold, not %d", length, len(found.Value()))
	}
	return string(found.Value())
}

func TestWhatIsNotSetKeepsItsBytes(t *testing.T) {
	const head, tail = `{ "before" : null, "op":"c", "after" : `, ` }`
	for name, one := range map[string]struct {
		change func(*Row)
		wanted string
	}{
		"replace":                 {func(r *Row) { r.SetInt("amount", -7) }, `{ "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":-7 }`},
		"replace an escaped name": {func(r *Row) { r.SetString("name", "é\"") }, `{ "id" : 12345678901234567890 , "n\u0061me" : "é\"", "amount":1.50 }`},
		"add two":                 {func(r *Row) { r.SetBool("a", true); r.SetNull("b\n") }, `{ "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":1.50,"a":true,"b\n":null }`},
		"set twice":               {func(r *Row) { r.SetInt("a", 1); r.SetFloat("a", 2.5) }, `{ "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":1.50,"a":2.5 }`},
		"remove":                  {func(r *Row) { r.Remove("name"); r.SetDecimal("a", "1.10") }, `{"id":12345678901234567890,"amount":1.50,"a":1.10}`},
		"copy":                    {func(r *Row) { r.SetRaw("id", r.Get("amount")); r.SetRaw("x", r.Get("none")) }, `{ "id" : 1.50 , "n\u0061me" : "x", "amount":1.50,"x":null }`},
		"NaN":                     {func(r *Row) { r.SetFloat("amount", math.NaN()) }, `{ "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":null }`},
		"quoted as is":            {func(r *Row) { r.SetQuoted("amount", []byte(`\u0041`), []byte("b")) }, `{ "id" : 12345678901234567890 , "n\u0061me" : "x", "amount":"\u0041b" }`},
	} {
		if found := edit(t, order, one.change); found != head+one.wanted+tail {
			t.Errorf("%s: %s", name, found)
		}
	}
}

func TestAnEmptyRowTakesColumns(t *testing.T) {
	if found := edit(t, `{"op":"r","after":{ }}`, func(r *Row) { r.SetInt("a", 1) }); found != `{"op":"r","after":{"a":1 }}` {
		t.Error(found)
	}
}

func TestNothingSetIsUnchanged(t *testing.T) {
	if found := edit(t, order, func(r *Row) { r.Get("id"); r.Remove("none") }); found != "unchanged" {
		t.Error(found)
	}
}

func TestBothRowsAreSplicedInOrder(t *testing.T) {
	for _, text := range []string{`{"op":"u","before":{"a":1},"after":{"a":2}}`, `{"op":"u","after":{"a":1},"before":{"a":2}}`} {
		found, _ := parse(t, text)
		found.After().SetInt("b", 3)
		found.Before().SetInt("a", 30)
		if again, err := parse(t, string(found.Value())); err != nil || again.After().Get("b").Shown() != "3" || again.Before().Get("a").Shown() != "30" {
			t.Errorf("%s: %s", text, found.Value())
		}
	}
}

func TestValuesAreReadAsTheyStand(t *testing.T) {
	found, _ := parse(t, order)
	row := found.After()
	if digits, ok := row.Get("id").Digits(); !ok || digits != "12345678901234567890" {
		t.Error(digits)
	}
	if _, ok := row.Get("id").Int(); ok {
		t.Error("64 bits do not hold it")
	}
	if number, ok := row.Get("amount").Float(); !ok || number != 1.5 {
		t.Error(number)
	}
	if !row.Get("none").IsNull() || row.Get("none").Kind() != Missing {
		t.Error("missing")
	}
	if (Raw{text: []byte(`"__debezium_unavailable_value"`)}).Kind() != Unavailable {
		t.Error("unavailable")
	}
}

func packedEvent() []byte {
	out := appendMapHead(nil, 4)
	out = appendText(appendText(out, "op"), "u")
	out = appendNil(appendText(out, "before"))
	out = appendMapHead(appendText(out, "after"), 3)
	out = appendUint(appendText(out, "id"), math.MaxUint64)
	out = appendText(appendText(out, "amount"), "1.50")
	out = append(appendText(out, "toast"), 0xc7, 0, 1)
	out = appendMapHead(appendText(out, "source"), 1)
	return appendText(appendText(out, "table"), "orders")
}

func TestTheEventEncodingReadsAlike(t *testing.T) {
	event := &Event{Value: packedEvent(), packed: true}
	change, err := event.Change()
	if err != nil || change.Operation != Update || change.Before() != nil {
		t.Fatal(err)
	}
	row := change.After()
	if digits, _ := row.Get("id").Digits(); digits != "18446744073709551615" {
		t.Error(digits)
	}
	if row.Get("toast").Kind() != Unavailable || !row.Get("amount").Is("1.50") || !change.Source().Get("table").Is("orders") {
		t.Error("values")
	}
	row.SetString("amount", "2")
	row.SetFloat("f", math.Inf(1))
	row.SetDecimal("d", "12.50")
	if length := change.length(); length != len(change.Value()) {
		t.Error(length)
	}
	again := &Event{Value: change.Value(), packed: true}
	read, err := again.Change()
	if err != nil {
		t.Fatal(err)
	}
	value := (&reader{data: again.Value}).any().(map[string]any)["after"].(map[string]any)
	if value["id"] != uint64(math.MaxUint64) || value["amount"] != "2" || value["f"] != math.Inf(1) || value["d"] != "12.50" || len(value) != 5 {
		t.Error(value)
	}
	read.After().Remove("id")
	if value := (&reader{data: read.Value()}).any().(map[string]any)["after"].(map[string]any); len(value) != 4 {
		t.Error(value)
	}
}
