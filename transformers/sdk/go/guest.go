package penstock

import (
	"runtime"
	"runtime/debug"
	"unsafe"
)

const (
	// stackBytesMax stops an endless recursion before it eats the memory.
	stackBytesMax = 1 << 20
	// garbagePercent makes collections come at 2 MiB of garbage instead of 4.
	garbagePercent = 50
	// collectBytes of frames are a reason to collect, too: the runtime's own collector runs beside the guest, and a guest that ends
	// with each batch leaves it no time to finish. Memory would grow for thousands of batches before it stays.
	collectBytes = 1 << 20
)

var (
	block  []byte // what the host writes into
	work   batch
	cursor uint32
	taken  int // bytes of frames since the last collection
)

func init() {
	debug.SetMaxStack(stackBytesMax)
	debug.SetGCPercent(garbagePercent)
}

// alloc is a block of this size; the one before is gone. 0 when the size is more than memory could ever hold.
func alloc(size uint32) uint32 {
	if int(size) > cap(block) {
		block = make([]byte, (int(size)+4095)&^4095)
	}
	block = block[:cap(block)]
	if len(block) == 0 {
		block = make([]byte, 4096)
	}
	return address(block)
}

// at is the part of the block that the host has written.
func at(pointer, length uint32) []byte {
	if len(block) == 0 || pointer != address(block) || int(length) > len(block) {
		panic("penstock: the host wrote somewhere else than into its block")
	}
	return block[:length:length]
}

func address(data []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(data)))) }

func doTransform(pointer, length uint32) uint64 {
	defer tell("panic")
	if serve == nil {
		Fail("penstock", "the module has no transformer: call penstock.Serve from an init function")
	}
	result := work.run(at(pointer, length), serve, &cursor)
	if taken += int(length); taken >= collectBytes {
		taken = 0
		runtime.GC()
	}
	return uint64(address(result))<<32 | uint64(len(result))
}

func doConfigure(pointer, length uint32) uint32 {
	defer tell("panic")
	config := readConfig(at(pointer, length))
	configure(config)
	if problems := config.problems(); problems != "" {
		Fail("config", problems)
	}
	return 0
}

// tell names a panic to the host, with its place; the guest ends there.
func tell(code string) {
	if value := recover(); value != nil {
		Fail(code, panicText(value)+" "+panicPlace())
	}
}
