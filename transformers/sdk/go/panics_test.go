package penstock

import (
	"errors"
	"strings"
	"testing"
)

func placeOf(action func()) (place, text string) {
	defer func() { text, place = panicText(recover()), panicPlace() }()
	action()
	return
}

func TestAPanicSaysWhatAndWhere(t *testing.T) {
	var none *Event
	var list []int
	for wanted, action := range map[string]func(){
		"by hand":                    func() { panic("by hand") },
		"an error":                   func() { panic(errors.New("an error")) },
		"invalid memory address":     func() { none.Offset = 1 },
		"index out of range [3]":     func() { list[len(list)+3] = 1 },
		"integer divide by zero":     func() { list = append(list, 1/len(list)) },
		"assignment to entry in nil": func() { var table map[string]int; table["x"] = 1 },
	} {
		place, text := placeOf(action)
		if !strings.Contains(text, wanted) || !strings.Contains(place, "panics_test.go:") || !strings.Contains(place, "TestAPanicSaysWhatAndWhere") {
			t.Errorf("%q: %q %q", wanted, text, place)
		}
	}
}
