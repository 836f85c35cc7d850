package penstock

import (
	"runtime"
	"strconv"
	"strings"
)

// panicText is what a recovered panic says.
func panicText(value any) string {
	switch value := value.(type) {
	case error:
		return value.Error()
	case string:
		return value
	case interface{ String() string }:
		return value.String()
	case int:
		return strconv.Itoa(value)
	}
	return "a value that is no text"
}

// panicPlace is the function, file and line that panicked. Call it from the deferred function that recovers.
func panicPlace() string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(2, counters[:])])
	panicking := false
	for {
		frame, more := frames.Next()
		inRuntime := strings.HasPrefix(frame.Function, "runtime.")
		if panicking && !inRuntime {
			return "at " + frame.File + ":" + strconv.Itoa(frame.Line) + " (" + frame.Function + ")"
		}
		panicking = panicking || frame.Function == "runtime.gopanic" || frame.Function == "runtime.sigpanic"
		if !more {
			return "at an unknown place"
		}
	}
}
