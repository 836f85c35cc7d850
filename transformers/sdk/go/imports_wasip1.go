package penstock

import "unsafe"

// The host's functions. A module imports those that something in it calls.

//go:wasmimport penstock fail
func hostFail(code unsafe.Pointer, codeLength uint32, message unsafe.Pointer, messageLength uint32)

//go:wasmimport penstock log
func hostLog(level uint32, text unsafe.Pointer, length uint32)

//go:wasmimport penstock now_ms
func hostNowMs() int64

//go:wasmimport penstock monotonic_ns
func hostMonotonicNs() int64

//go:wasmimport penstock random
func hostRandom(out unsafe.Pointer, length uint32) int32

//go:wasmimport penstock env_get
func hostEnvGet(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock file_read
func hostFileRead(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock file_write
func hostFileWrite(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock http_request
func hostHTTPRequest(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock kv_get
func hostKvGet(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock kv_put
func hostKvPut(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock kv_delete
func hostKvDelete(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock lookup
func hostLookup(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock lookup_many
func hostLookupMany(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock db_execute
func hostDbExecute(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock db_query
func hostDbQuery(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32

//go:wasmimport penstock db_transaction
func hostDbTransaction(request unsafe.Pointer, length uint32, out unsafe.Pointer, room uint32) int32
