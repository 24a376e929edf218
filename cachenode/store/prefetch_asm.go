//go:build amd64 || arm64

package store

import "unsafe"

// prefetch asks the processor to load the cache line of p, and does not wait for it. Any address will do.
//
//go:noescape
func prefetch(p unsafe.Pointer)
