package server

import "runtime"

// spareHeap is memory that nobody touches, for which the kernel gives none.
const spareHeap = 8 << 20

// collectRarely has the garbage collector of this process run after spareHeap
// more than otherwise, until release is called. It waits until the heap has
// doubled, which one of 3 MiB has some times a second while there are shadows;
// each time, all requests pay for some milliseconds.
func collectRarely() (release func()) {
	spare := make([]byte, spareHeap)
	return func() { runtime.KeepAlive(spare) }
}
