//go:build !linux

package router

import "syscall"

// stateOf knows nothing where the kernel cannot be asked: a client that went
// away is noticed when the answer is written.
func stateOf(syscall.RawConn) clientState { return clientState{} }

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
