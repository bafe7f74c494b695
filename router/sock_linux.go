package router

import (
	"syscall"

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
