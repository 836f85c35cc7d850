// Does what the event says, well or badly.
package main

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"time"

	"penstock"
)

func init() { penstock.ServeWith(settings, transform) }

func main() {}

type state struct{ greeting string }

func settings(config *penstock.Config) state {
	if config.Bool("panics", false) {
		panic("no such luck")
	}
	return state{config.String("greeting", "hello")}
}

var (
	hoard [][]byte
	none  *penstock.Event
)

func transform(event *penstock.Event, s *state) penstock.Outcome {
	word, rest, _ := strings.Cut(string(event.Value), " ")
	if misbehaves(word, rest) {
		return penstock.Unchanged()
	}
	answer, err := ask(word, rest)
	switch {
	case errors.Is(err, errUnknown):
		return penstock.Emit([]byte(s.greeting))
	case err != nil:
		return penstock.Reject("host", err.Error())
	}
	return penstock.Emit([]byte(answer))
}

func misbehaves(word, rest string) bool {
	switch word {
	case "panic":
		panic(rest)
	case "index":
		_ = rest[len(rest)+1]
	case "nil":
		none.Offset = 1
	case "recurse":
		println(recurse(1))
	case "hoard":
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	case "huge":
		size, _ := strconv.Atoi(rest)
		hoard = append(hoard, make([]byte, size))
	case "loop":
		for {
		}
	case "deadlock":
		select {}
	case "exit":
		println("on the way out")
		os.Exit(3)
	case "print":
		println(rest)
	case "fail":
		penstock.Fail("custom", rest)
	default:
		return false
	}
	return true
}

func recurse(depth int) int {
	if depth < 0 {
		return 0
	}
	return recurse(depth+1) + depth
}

var errUnknown = errors.New("no such word")

func ask(word, rest string) (string, error) {
	name, value, _ := strings.Cut(rest, " ")
	switch word {
	case "sleep":
		began := time.Now()
		time.Sleep(time.Hour)
		return strconv.FormatBool(time.Since(began) >= time.Hour), nil
	case "log":
		penstock.Log(penstock.Warning, rest)
		return "logged", nil
	case "now":
		return strconv.FormatInt(penstock.NowMs(), 10) + " " + strconv.FormatInt(penstock.MonotonicNs(), 10), nil
	case "random":
		out := make([]byte, 4)
		err := penstock.Random(out)
		return string(out), err
	case "env":
		found, ok, err := penstock.Getenv(rest)
		return found + " " + strconv.FormatBool(ok), err
	case "read":
		data, err := penstock.ReadFile(rest)
		return strconv.Itoa(len(data)) + string(data[:min(len(data), 5)]), err
	case "write":
		return "written", penstock.WriteFile(name, []byte(value))
	case "get":
		data, err := penstock.KVGet(rest)
		return strconv.FormatBool(data == nil) + string(data), err
	case "put":
		return "put", penstock.KVPut(name, []byte(value))
	case "delete":
		return "deleted", penstock.KVDelete(rest)
	case "lookup":
		row, err := penstock.Lookup(name, value)
		text, _ := row["name"].(string)
		return text, err
	case "lookups":
		rows, err := penstock.LookupMany(name, []any{int64(1), "two"})
		return strconv.Itoa(len(rows)), err
	case "execute":
		changed, err := penstock.Execute(rest, int64(-5), 2.5, nil, []byte("x"), true)
		return strconv.FormatInt(changed, 10), err
	case "query":
		rows, err := penstock.Query(rest, int64(7), "two")
		names := make([]string, len(rows))
		for at, row := range rows {
			names[at], _ = row["name"].(string)
		}
		return strings.Join(names, " "), err
	case "select":
		rows, err := penstock.Query(rest)
		return strconv.Itoa(len(rows)), err
	case "transaction":
		changed, err := penstock.Transaction(penstock.Statement{Text: name, Parameters: []any{int64(1), []byte("x")}}, penstock.Statement{Text: value})
		text := ""
		for _, one := range changed {
			text += strconv.FormatInt(one, 10) + " "
		}
		return text, err
	case "http":
		response, err := penstock.HTTP(penstock.Request{Method: "POST", URL: rest, Headers: [][2]string{{"a", "b"}}, Body: []byte("ping")})
		if err != nil {
			return "", err
		}
		return strconv.Itoa(response.Status) + " " + response.Headers[0][0] + " " + string(response.Body), nil
	}
	return "", errUnknown
}
