package penstock

import (
	"encoding/json"
	"testing"
)

func configOf(values map[string]any) *Config { return readConfig(appendAny(nil, values)) }

func TestAllFaultsAtOnce(t *testing.T) {
	config := configOf(map[string]any{
		"a": 1, "b": "x", "typo": 1, "list": []any{"x", 2}, "amount": 1.5,
		"section": map[string]any{"c": "x", "other": 1}, "sections": []any{map[string]any{"d": 1}, 5},
	})
	config.String("a", "")
	config.Int("b", 0)
	config.Strings("list")
	config.Digits("amount")
	config.Section("section").Int("c", 0)
	for _, one := range config.Sections("sections") {
		one.Int("e", 0)
	}
	const wanted = "a is not a text; amount may not be exact: write it in quotes; b is not a whole number of 64 bits; " +
		"list is not a list of texts; section.c is not a whole number of 64 bits; section.other is no key that this transformer knows; " +
		"sections.0.d is no key that this transformer knows; sections.1 is not a map; typo is no key that this transformer knows"
	if found := config.problems(); found != wanted {
		t.Error(found)
	}
}

func TestValuesAndDefaults(t *testing.T) {
	config := configOf(map[string]any{"s": "x", "i": -5, "u": uint64(1 << 63), "f": 2.5, "b": true, "l": []any{"p", "q"}})
	if config.String("s", "") != "x" || config.String("none", "y") != "y" || config.Int("i", 0) != -5 || config.Float("i", 0) != -5 ||
		config.Float("u", 0) != 1<<63 || config.Float("f", 0) != 2.5 || !config.Bool("b", false) || len(config.Strings("l")) != 2 ||
		config.Digits("i") != "-5" || config.Has("none") || config.Section("none").Has("x") {
		t.Error("values")
	}
	if problems := config.problems(); problems != "" {
		t.Error(problems)
	}
}

func TestAStructWithTags(t *testing.T) {
	config := configOf(map[string]any{"currency": "E\"UR", "limits": []any{1, 2.5, nil, true}, "deep": map[string]any{"x": uint64(1 << 63)}})
	var settings struct {
		Currency string            `json:"currency"`
		Limits   []any             `json:"limits"`
		Deep     map[string]uint64 `json:"deep"`
	}
	if err := json.Unmarshal(config.JSON(), &settings); err != nil || settings.Currency != "E\"UR" || len(settings.Limits) != 4 || settings.Deep["x"] != 1<<63 {
		t.Error(err, settings)
	}
	if problems := config.problems(); problems != "" {
		t.Error(problems)
	}
}

func TestNoMapIsNoConfig(t *testing.T) {
	if problems := readConfig([]byte{0x01}).problems(); problems != "is no map" {
		t.Error(problems)
	}
}
