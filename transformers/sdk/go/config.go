package penstock

import (
	"math"
	"strconv"
	"strings"
)

// Config is the registry's `config`. Each method takes a key, and what to return where the key is absent. What is there and of
// another kind is noted, and so is a key that nobody asked for: together they refuse the configuration.
type Config struct {
	values map[string]any
	place  string
	asked  map[string]bool
	found  *findings
}

// findings are shared by a config and its sections.
type findings struct {
	faults   []string
	sections []*Config
}

func readConfig(data []byte) *Config {
	reader := reader{data: data}
	values, ok := reader.any().(map[string]any)
	config := (&Config{found: &findings{}}).within("", values)
	if !ok || reader.bad {
		config.Fault("", "is no map")
	}
	return config
}

// Fault notes what is wrong with a key, for the operator to read: `config.Fault("currency", "is no ISO 4217 code")`.
func (c *Config) Fault(key, problem string) {
	c.found.faults = append(c.found.faults, strings.TrimSpace(strings.Trim(c.place+"."+key, ".")+" "+problem))
}

// Has tells whether the key is there.
func (c *Config) Has(key string) bool { return c.Value(key) != nil }

// Value is what stands under the key: nil, bool, int64, uint64, float64, string, []any or map[string]any.
func (c *Config) Value(key string) any {
	c.asked[key] = true
	return c.values[key]
}

func get[T any](c *Config, key string, otherwise T, wanted string) T {
	value := c.Value(key)
	if value == nil {
		return otherwise
	}
	if found, ok := value.(T); ok {
		return found
	}
	c.Fault(key, "is not "+wanted)
	return otherwise
}

// String is a text.
func (c *Config) String(key, otherwise string) string { return get(c, key, otherwise, "a text") }

// Int is a whole number.
func (c *Config) Int(key string, otherwise int64) int64 {
	return get(c, key, otherwise, "a whole number of 64 bits")
}

// Bool is true or false.
func (c *Config) Bool(key string, otherwise bool) bool {
	return get(c, key, otherwise, "true or false")
}

// Float is any number.
func (c *Config) Float(key string, otherwise float64) float64 {
	switch number := c.Value(key).(type) {
	case int64:
		return float64(number)
	case uint64:
		return float64(number)
	}
	return get(c, key, otherwise, "a number")
}

// Digits is a decimal number, written as a text or a whole number. Other numbers are refused: they may not be what was written.
func (c *Config) Digits(key string) string {
	switch number := c.Value(key).(type) {
	case int64:
		return strconv.FormatInt(number, 10)
	case uint64:
		return strconv.FormatUint(number, 10)
	case float64:
		c.Fault(key, "may not be exact: write it in quotes")
		return ""
	}
	return c.String(key, "")
}

// Strings is a list of texts.
func (c *Config) Strings(key string) []string {
	var texts []string
	for _, one := range get[[]any](c, key, nil, "a list of texts") {
		text, ok := one.(string)
		if !ok {
			c.Fault(key, "is not a list of texts")
			return nil
		}
		texts = append(texts, text)
	}
	return texts
}

// Section is a map within the config; an empty one where the key is absent.
func (c *Config) Section(key string) *Config {
	return c.within(key, get[map[string]any](c, key, nil, "a map"))
}

// Sections is a list of maps.
func (c *Config) Sections(key string) []*Config {
	var found []*Config
	for at, one := range get[[]any](c, key, nil, "a list of maps") {
		values, ok := one.(map[string]any)
		place := key + "." + strconv.Itoa(at)
		if !ok {
			c.Fault(place, "is not a map")
			continue
		}
		found = append(found, c.within(place, values))
	}
	return found
}

func (c *Config) within(key string, values map[string]any) *Config {
	place := strings.Trim(c.place+"."+key, ".")
	section := &Config{values: values, place: place, asked: map[string]bool{}, found: c.found}
	c.found.sections = append(c.found.sections, section)
	return section
}

// JSON is the config as JSON text, for a struct with tags: `json.Unmarshal(config.JSON(), &settings)`. Every key counts as asked for;
// encoding/json makes a module about 1 MB larger.
func (c *Config) JSON() []byte {
	for key := range c.values {
		c.asked[key] = true
	}
	return appendJSON(nil, c.values)
}

func appendJSON(out []byte, value any) []byte {
	switch value := value.(type) {
	case bool:
		return strconv.AppendBool(out, value)
	case int64:
		return strconv.AppendInt(out, value, 10)
	case uint64:
		return strconv.AppendUint(out, value, 10)
	case float64:
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return append(out, "null"...)
		}
		return strconv.AppendFloat(out, value, 'g', -1, 64)
	case string:
		return appendQuoted(out, value)
	case []any:
		out = append(out, '[')
		for at, one := range value {
			if at > 0 {
				out = append(out, ',')
			}
			out = appendJSON(out, one)
		}
		return append(out, ']')
	case map[string]any:
		out = append(out, '{')
		start := len(out)
		for name, one := range value {
			if len(out) > start {
				out = append(out, ',')
			}
			out = appendJSON(append(appendQuoted(out, name), ':'), one)
		}
		return append(out, '}')
	}
	return append(out, "null"...)
}

// problems is everything that is wrong, unknown keys included; empty when nothing is.
func (c *Config) problems() string {
	for _, section := range c.found.sections {
		for key := range section.values {
			if !section.asked[key] {
				section.Fault(key, "is no key that this transformer knows")
			}
		}
	}
	sortTexts(c.found.faults)
	return strings.Join(c.found.faults, "; ")
}

// sortTexts puts a few texts in order: what goes over a map comes in any.
func sortTexts(texts []string) {
	for at := 1; at < len(texts); at++ {
		for below := at; below > 0 && texts[below] < texts[below-1]; below-- {
			texts[below], texts[below-1] = texts[below-1], texts[below]
		}
	}
}
