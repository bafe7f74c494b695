package router

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The states of a TCP connection, as the kernel numbers them.
const (
	tcpClose     = 7
	tcpCloseWait = 8
)

// stateOf asks the kernel about a client's connection.
func stateOf(raw syscall.RawConn) (st clientState) {
	err := raw.Control(func(fd uintptr) {
		info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO)
		if err != nil {
			return
		}
		st = clientState{
			known: true, gone: info.State == tcpClose, halved: info.State == tcpCloseWait,
			taken: info.Bytes_acked, behind: info.Unacked > 0 || info.Notsent_bytes > 0,
		}
	})
	if err != nil {
		return clientState{known: true, gone: true}
	}
	return st
}

// sockRead reads from a socket that does not block: such a call is too short
// for the scheduler to be told of.
func sockRead(fd uintptr, p []byte) (int, error) {
	return sockCall(syscall.SYS_READ, fd, p)
}

// sockWrite writes to a socket that does not block.
func sockWrite(fd uintptr, p []byte) (int, error) {
	return sockCall(syscall.SYS_WRITE, fd, p)
}

func sockCall(call, fd uintptr, p []byte) (int, error) {
	for {
		n, _, err := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}
