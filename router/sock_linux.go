package router

import (
	"net"
	"net/netip"
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

// mostUnsent is from how many bytes on, beyond those that a client's window
// lets out, the kernel takes no more for it. Without that it takes megabytes
// of an answer that a client asked for and does not read: a thousand such
// clients bring all connections of the machine to its limit (tcp_mem). What is
// on its way to a client that reads is not bounded by it. A client that took
// takesMuch of an answer gets more, which saves waits: mostUnsentMore.
const (
	mostUnsent     = 128 << 10
	mostUnsentMore = 1 << 20
)

// boundUnsent sets mostUnsent for the connections that ln will accept: the
// kernel copies it from a listener of plain TCP.
func boundUnsent(ln net.Listener) {
	if c, ok := ln.(syscall.Conn); ok {
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { bound(fd, mostUnsent) })
		}
	}
}

// boundMore sets mostUnsentMore.
func boundMore(fd uintptr) { bound(fd, mostUnsentMore) }

func bound(fd uintptr, n int) {
	_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, n)
}

// sockRead reads from a socket that does not block: such a call is too short
// for the scheduler to be told of. recvfrom and sendto take a shorter way
// through the kernel than read and write.
func sockRead(fd uintptr, p []byte) (int, error) {
	return sockCall(unix.SYS_RECVFROM, fd, p, 0)
}

// sockWrite writes p to a socket that does not block, and what may be behind
// it. If more comes, be it the end, what fills no packet waits for that.
func sockWrite(fd uintptr, p, behind []byte, more bool) (int, error) {
	if len(behind) == 0 {
		flags := uintptr(unix.MSG_NOSIGNAL)
		if more {
			flags |= unix.MSG_MORE
		}
		return sockCall(unix.SYS_SENDTO, fd, p, flags)
	}
	pair := [2]unix.Iovec{{Base: unsafe.SliceData(p)}, {Base: unsafe.SliceData(behind)}}
	pair[0].SetLen(len(p))
	pair[1].SetLen(len(behind))
	for {
		n, _, err := syscall.RawSyscall(unix.SYS_WRITEV, fd, uintptr(unsafe.Pointer(&pair)), uintptr(len(pair)))
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}

func sockCall(call, fd uintptr, p []byte, flags uintptr) (int, error) {
	for {
		n, _, err := syscall.RawSyscall6(call, fd, uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), flags, 0, 0)
		switch err {
		case 0:
			return int(n), nil
		case syscall.EINTR:
		default:
			return 0, err
		}
	}
}

// nearby is for the connections to instances. Within the machine there is no
// congestion to be controlled, and the simplest control, which every kernel
// has, costs the least: BBR, the default of many, computes a model of the path
// with each packet.
func nearby(_, address string, raw syscall.RawConn) error {
	if a, err := netip.ParseAddrPort(address); err == nil && a.Addr().IsLoopback() {
		return raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptString(int(fd), unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno")
		})
	}
	return nil
}
