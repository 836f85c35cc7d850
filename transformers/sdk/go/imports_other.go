//go:build !wasip1

package penstock

import (
	"time"
	"unsafe"
)

// Outside of a module there is no host: `go test` runs a transformer's own functions natively. A failure panics, the log is lost, and
// what would need a capability is unavailable.

func hostFail(code unsafe.Pointer, codeLength uint32, message unsafe.Pointer, messageLength uint32) {
	panic(unsafe.String((*byte)(code), codeLength) + ": " + unsafe.String((*byte)(message), messageLength))
}

func hostLog(level uint32, text unsafe.Pointer, length uint32) {}

func hostNowMs() int64 { return time.Now().UnixMilli() }

func hostMonotonicNs() int64 { return time.Now().UnixNano() }

func hostRandom(out unsafe.Pointer, length uint32) int32 { return unavailableHere }

const unavailableHere = -4

func hostEnvGet(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostFileRead(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostFileWrite(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostHTTPRequest(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostKvGet(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostKvPut(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostKvDelete(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostLookup(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostLookupMany(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostDbExecute(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostDbQuery(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}

func hostDbTransaction(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32 {
	return unavailableHere
}
