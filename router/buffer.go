package router

import "sync"

// The sizes of pooled buffers. A head begins in the smallest; bodies on their
// way use the largest. The smallest is no power of two, because then the heads
// of many buffers would compete for the same lines of the processor's caches.
var bufferSizes = [...]int{headBuffer, 16 << 10, 32 << 10, 64 << 10}

const (
	headBuffer  = 9472
	relayBuffer = 64 << 10
)

var bufferPools [len(bufferSizes)]sync.Pool

// buffer is memory from a pool. Who takes it gives it back once, with free.
type buffer struct {
	b     []byte // all of it
	class int
}

// takeBuffer returns a buffer of at least n bytes, at most relayBuffer.
func takeBuffer(n int) *buffer {
	class := 0
	for bufferSizes[class] < n {
		class++
	}
	if b, ok := bufferPools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, bufferSizes[class]), class}
}

func (b *buffer) free() { bufferPools[b.class].Put(b) }
