// {{name}}: sets `full_name` in every row, in place.
package main

import "penstock"

// Settings are the registry's `config`.
type Settings struct {
	DropStatuses []string
}

func settings(config *penstock.Config) Settings {
	return Settings{DropStatuses: config.Strings("drop_statuses")}
}

func init() { penstock.ServeWith(settings, transform) }

func main() {}

func transform(event *penstock.Event, s *Settings) penstock.Outcome {
	change, err := event.Change()
	if err != nil {
		return penstock.Reject("bad-json", err.Error())
	}
	if change == nil || change.After() == nil {
		return penstock.Unchanged() // tombstones, deletes, truncates
	}
	row := change.After()
	for _, status := range s.DropStatuses {
		if row.Get("status").Is(status) {
			return penstock.Drop()
		}
	}
	first, ok := row.Get("first_name").Text()
	if !ok {
		return penstock.Reject("no-name", "after.first_name is "+row.Get("first_name").Shown())
	}
	last, ok := row.Get("last_name").Text()
	if !ok {
		return penstock.Reject("no-name", "after.last_name is "+row.Get("last_name").Shown())
	}
	row.SetString("full_name", first+" "+last)
	return change.Emit()
}
