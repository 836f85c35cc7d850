package penstock

import (
	"encoding/json"
	"math/rand"
	"strings"
	"testing"
	"unicode/utf8"
)

func parse(t *testing.T, text string) (*Change, error) {
	t.Helper()
	event := &Event{Value: []byte(text)}
	return event.Change()
}

var documents = []string{
	`{}`, ` { } `, `{"a":1}`, `{"a":[1,2,{"b":null}],"c":"\u00e9\n\"\\"}`, `{"n":-0.5e+10,"t":true,"f":false}`,
	`{"op":"c","before":null,"after":{"id":1,"name":"Zo\u00eb 😀"}}`, `{"a":"\ud83d\ude00","b":"\ud800"}`,
	`{"schema":{"type":"struct"},"payload":{"op":"u","before":{"x":1},"after":{"x":2}}}`, `{"a":{"b":{"c":[[],[{}]]}}}`,
}

// Whatever is done to a document, the scanner and encoding/json agree whether it is an object (and Go's takes bad UTF-8, which this does not).
func TestScannerAgreesWithGo(t *testing.T) {
	random := rand.New(rand.NewSource(5))
	letters := `{}[]",:\u0123456789abcdef-+.eEtrufalsn ` + "\n\t\x01\xff\xc3"
	for round := 0; round < 200_000; round++ {
		text := []byte(documents[random.Intn(len(documents))])
		for changes := random.Intn(3); changes >= 0; changes-- {
			at := random.Intn(len(text))
			switch random.Intn(3) {
			case 0:
				text[at] = letters[random.Intn(len(letters))]
			case 1:
				text = append(text[:at], text[at+1:]...)
			default:
				text = append(text[:at], append([]byte{letters[random.Intn(len(letters))]}, text[at:]...)...)
			}
			if len(text) == 0 {
				text = []byte(" ")
			}
		}
		scanner := scanner{text: text}
		end := scanner.object(scanner.space(0), 0, nil)
		valid := end >= 0 && scanner.space(end) == len(text)
		var object map[string]json.RawMessage
		wanted := json.Unmarshal(text, &object) == nil && strings.TrimSpace(string(text)) != "null"
		if valid != wanted {
			t.Fatalf("%q: %v, encoding/json says %v", text, valid, wanted)
		}
	}
}

func TestTextsAreReadAsGoReadsThem(t *testing.T) {
	for _, quoted := range []string{`""`, `"a"`, `"\"\\\/\b\f\n\r\t"`, `"Zo\u00EB \ud83d\ude00"`, `"\ud800"`, `"\ud800x"`, `"\udc00\ud800"`, `"\ud800\ud800\udc00"`, `"é😀"`} {
		var wanted string
		if err := json.Unmarshal([]byte(quoted), &wanted); err != nil {
			t.Fatal(err)
		}
		raw := Raw{text: []byte(quoted)}
		if text, ok := raw.Text(); !ok || text != wanted || !raw.Is(wanted) {
			t.Errorf("%s: %q, not %q", quoted, text, wanted)
		}
	}
}

func TestTextsAreWrittenAsGoReadsThem(t *testing.T) {
	for _, text := range []string{"", "a\"b\\c/\n\t\r\x00\x1f", "é😀", "\xff", "\u2028"} {
		var read string
		if err := json.Unmarshal(appendQuoted(nil, text), &read); err != nil || read != strings.ToValidUTF8(text, "\ufffd") {
			t.Errorf("%q: %q (%v)", text, read, err)
		}
	}
}

func TestErrorsNameThePlace(t *testing.T) {
	for text, wanted := range map[string]string{
		`{`:                                "a name was expected at byte 1",
		`[1]`:                              "an object was expected at byte 0",
		`{"a":1} x`:                        "something follows the value at byte 7",
		`{"a":01}`:                         "a value was expected at byte 5",
		`{"a":1,}`:                         "a name was expected at byte 7",
		"{\"a\":\"\x01\"}":                 "a control character stands in a text at byte 6",
		"{\"a\":\"\xff\"}":                 "not UTF-8 at byte 6",
		`{"op":"c","after":5}`:             "`after` is a number, not an object at byte 18",
		`{"op":"c","op":"d"}`:              "a member of the envelope repeats at byte 15",
		`{"schema":1,"payload":2}`:         "the payload is no object at byte 22",
		`{"a":` + strings.Repeat("[", 600): "nested more than 512 levels deep at byte 516",
	} {
		if _, err := parse(t, text); err == nil || err.Error() != wanted {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestTombstonesAreNoChange(t *testing.T) {
	for _, text := range []string{"null", " null ", `{"schema":null,"payload":null}`} {
		if change, err := parse(t, text); change != nil || err != nil {
			t.Errorf("%q: %v %v", text, change, err)
		}
	}
	if change, err := (&Event{}).Change(); change != nil || err != nil {
		t.Error("a nil value")
	}
}

func TestOtherObjectsHaveNoOperation(t *testing.T) {
	for _, text := range []string{"{}", `{"op":"x","after":{}}`, `{"op":1}`, `{"id":1}`} {
		if change, err := parse(t, text); err != nil || change.Operation != None || change.After() != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestShownIsCutBetweenCharacters(t *testing.T) {
	shown := Raw{text: []byte(`"` + strings.Repeat("é", 100) + `"`)}.Shown()
	if !utf8.ValidString(shown) || len(shown) > 90 {
		t.Errorf("%q", shown)
	}
}
