package penstock

import (
	"encoding/binary"
	"errors"
	"unsafe"
)

// Why the host did not do what it was asked.
var (
	ErrDenied      = errors.New("penstock: denied: the capability was not granted for this")
	ErrTooLarge    = errors.New("penstock: too large for one call")
	ErrUnavailable = errors.New("penstock: unavailable")
	ErrDeadline    = errors.New("penstock: the deadline is too near")
	ErrInvalid     = errors.New("penstock: invalid: the host does not take such a request")
	errAnswer      = errors.New("penstock: the host's answer cannot be read")
)

func failure(code int32) error {
	switch code {
	case -1:
		return ErrDenied
	case -3:
		return ErrTooLarge
	case -5:
		return ErrDeadline
	case -6:
		return ErrInvalid
	}
	return ErrUnavailable
}

func start(text string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(text)) }

// Fail gives up for good: the host stops the guest, and the event at work is dead-lettered with this code and message.
func Fail(code, message string) {
	hostFail(start(code), uint32(len(code)), start(message), uint32(len(message)))
	panic("penstock: stopped by the host")
}

// Level is a log line's.
type Level uint32

// The levels.
const (
	Trace Level = iota
	Debug
	Info
	Warning
	Error
)

// Log writes a line to the operator's log. Needs the capability `log`.
func Log(level Level, line string) { hostLog(uint32(level), start(line), uint32(len(line))) }

// NowMs is the time in milliseconds since 1970. Needs `clock`.
func NowMs() int64 { return hostNowMs() }

// MonotonicNs is for measuring: nanoseconds from an unnamed moment. Needs `clock`.
func MonotonicNs() int64 { return hostMonotonicNs() }

// Random fills `out` with random bytes, 1 MiB at most. Needs `random`.
func Random(out []byte) error {
	if len(out) == 0 {
		return nil
	}
	if code := hostRandom(unsafe.Pointer(&out[0]), uint32(len(out))); code < 0 {
		return failure(code)
	}
	return nil
}

type hostFunction func(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

const tooSmall = -3

var answers = make([]byte, 4096)

// ask sends a request and hands out the answer, which is good until the next call. One that needs more room is asked for again.
func ask(function hostFunction, request []byte) (reader, error) {
	for {
		code := function(unsafe.Pointer(&request[0]), uint32(len(request)), unsafe.Pointer(&answers[0]), uint32(len(answers)))
		if code >= 0 && int(code) <= len(answers) {
			return reader{data: answers[:code]}, nil
		}
		wanted := int(binary.LittleEndian.Uint32(answers))
		if code != tooSmall || wanted <= len(answers) {
			return reader{}, failure(code)
		}
		answers = make([]byte, wanted)
	}
}

// done is for answers that say nothing.
func done(_ reader, err error) error { return err }

// Getenv is a variable of the transformer's environment; false where there is none. Needs `environment`.
func Getenv(name string) (value string, ok bool, err error) {
	answer, err := ask(hostEnvGet, appendText(nil, name))
	if err != nil {
		return "", false, err
	}
	value, ok = answer.any().(string)
	return value, ok, nil
}

// ReadFile is a file's content. Needs `filesystem-read`.
func ReadFile(path string) ([]byte, error) {
	answer, err := ask(hostFileRead, appendText(nil, path))
	return content(answer, err)
}

func content(answer reader, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	data := answer.bytes()
	if answer.bad {
		return nil, errAnswer
	}
	if data == nil {
		return nil, nil
	}
	return append([]byte{}, data...), nil
}

// WriteFile replaces a file's content. Needs `filesystem-write`.
func WriteFile(path string, data []byte) error {
	return done(ask(hostFileWrite, appendPair(path, data)))
}

func appendPair(name string, data []byte) []byte {
	if data == nil {
		data = []byte{}
	}
	return appendBytes(appendText(appendArrayHead(nil, 2), name), data)
}

// KVGet is what is kept under a key; nil where there is nothing. Needs `key-value`, as do KVPut and KVDelete.
func KVGet(key string) ([]byte, error) {
	answer, err := ask(hostKvGet, appendText(nil, key))
	return content(answer, err)
}

// KVPut keeps a value under a key.
func KVPut(key string, value []byte) error { return done(ask(hostKvPut, appendPair(key, value))) }

// KVDelete forgets a key.
func KVDelete(key string) error { return done(ask(hostKvDelete, appendText(nil, key))) }

// Lookup is the row of a table under a key; nil where there is none. Needs `database-read`, as does LookupMany.
func Lookup(table string, key any) (map[string]any, error) {
	answer, err := ask(hostLookup, appendAny(appendText(appendArrayHead(nil, 2), table), key))
	if err != nil {
		return nil, err
	}
	row, _ := answer.any().(map[string]any)
	if answer.bad {
		return nil, errAnswer
	}
	return row, nil
}

// LookupMany is one row or nil per key, in order, for the price of one call.
func LookupMany(table string, keys []any) ([]map[string]any, error) {
	answer, err := ask(hostLookupMany, appendAny(appendText(appendArrayHead(nil, 2), table), keys))
	if err != nil {
		return nil, err
	}
	list, ok := answer.any().([]any)
	if answer.bad || !ok || len(list) != len(keys) {
		return nil, errAnswer
	}
	rows := make([]map[string]any, len(list))
	for at, one := range list {
		rows[at], _ = one.(map[string]any)
	}
	return rows, nil
}

// Execute runs a statement with its parameters, and tells how many rows it changed. Needs `database-write`.
func Execute(statement string, parameters ...any) (int64, error) {
	answer, err := ask(hostDbExecute, appendStatement(nil, statement, parameters))
	if err != nil {
		return 0, err
	}
	changed := answer.integer()
	if answer.bad {
		return 0, errAnswer
	}
	return changed, nil
}

func appendStatement(out []byte, statement string, parameters []any) []byte {
	return appendAny(appendText(appendArrayHead(out, 2), statement), parameters)
}

// Query is the rows of a statement that only reads. Needs `database-query`.
func Query(statement string, parameters ...any) ([]map[string]any, error) {
	answer, err := ask(hostDbQuery, appendStatement(nil, statement, parameters))
	if err != nil {
		return nil, err
	}
	list, ok := answer.any().([]any)
	if answer.bad || !ok {
		return nil, errAnswer
	}
	rows := make([]map[string]any, len(list))
	for at, one := range list {
		if rows[at], ok = one.(map[string]any); !ok {
			return nil, errAnswer
		}
	}
	return rows, nil
}

// Statement is one of a transaction's.
type Statement struct {
	Text       string
	Parameters []any
}

// Transaction runs statements of which all happen or none, and tells how many rows each changed. Needs `database-transaction`.
func Transaction(statements ...Statement) ([]int64, error) {
	request := appendArrayHead(nil, len(statements))
	for _, one := range statements {
		request = appendStatement(request, one.Text, one.Parameters)
	}
	answer, err := ask(hostDbTransaction, request)
	if err != nil {
		return nil, err
	}
	list, ok := answer.any().([]any)
	if answer.bad || !ok || len(list) != len(statements) {
		return nil, errAnswer
	}
	changed := make([]int64, len(list))
	for at, one := range list {
		if changed[at], ok = one.(int64); !ok {
			return nil, errAnswer
		}
	}
	return changed, nil
}
