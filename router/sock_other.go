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

// nearby leaves a connection as it is.
func nearby(_, _ string, _ syscall.RawConn) error { return nil }

// sockRead reads from a socket that does not block.
func sockRead(fd uintptr, p []byte) (int, error) {
	n, err := syscall.Read(int(fd), p)
	return max(n, 0), err
}

// sockWrite writes p to a socket that does not block, and what may be behind
// it.
func sockWrite(fd uintptr, p, _ []byte, _ bool) (int, error) {
	n, err := syscall.Write(int(fd), p)
	return max(n, 0), err
}

// acceptor returns what accepts the connections of ln for the least effort.
func acceptor(ln net.Listener) net.Listener { return ln }
