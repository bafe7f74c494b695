//go:build !linux

package router

import (
	"net"
	"syscall"
)

// stateOf knows nothing where the kernel cannot be asked: a client that went
// away is noticed when the answer is written.
func stateOf(syscall.RawConn) clientState { return clientState{} }

// boundUnsent does nothing: how much a kernel takes for a client differs.
func boundUnsent(net.Listener) {}

// boundMore does nothing either.
func boundMore(uintptr) {}

// sockRead reads from a socket that does not block.
func sockRead(fd uintptr, p []byte) (int, error) {
	n, err := syscall.Read(int(fd), p)
	return max(n, 0), err
}

// sockWrite writes to a socket that does not block.
func sockWrite(fd uintptr, p []byte) (int, error) {
	n, err := syscall.Write(int(fd), p)
	return max(n, 0), err
}
