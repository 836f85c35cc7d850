package penstock

import "unsafe"

//go:wasmexport penstock_v1_alloc
func exportAlloc(size uint32) uint32 { return alloc(size) }

//go:wasmexport penstock_v1_configure
func exportConfigure(pointer, length uint32) uint32 { return doConfigure(pointer, length) }

//go:wasmexport penstock_v1_transform
func exportTransform(pointer, length uint32) uint64 { return doTransform(pointer, length) }

//go:wasmexport penstock_v1_cursor
func exportCursor() uint32 { return uint32(uintptr(unsafe.Pointer(&cursor))) }
