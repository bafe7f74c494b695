package router

import (
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockListener accepts the connections of a listener of plain TCP as socks.
// What each of them shall have is set on the listener, from which the kernel
// copies it, so that a connection costs a single call.
type sockListener struct {
	file      *os.File // the listener's socket
	raw       syscall.RawConn
	addr      net.Addr
	accepting func(fd uintptr) bool // acceptReady; made once
	// What came of acceptReady.
	conn *sock
	err  error
}

// acceptor returns what accepts the connections of ln for the least effort: a
// sockListener, which takes ln's place, or ln itself.
func acceptor(ln net.Listener) net.Listener {
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return ln
	}
	f, err := tcp.File()
	if err != nil {
		return ln
	}
	raw, err := f.SyscallConn()
	ready := false
	if err == nil {
		err = raw.Control(func(fd uintptr) { ready = prepare(int(fd)) })
	}
	if err != nil || !ready {
		_ = f.Close()
		return ln
	}
	_ = tcp.Close() // f holds the socket
	l := &sockListener{file: f, raw: raw, addr: tcp.Addr()}
	l.accepting = l.acceptReady
	return l
}

// prepare sets on a listening socket what net sets on each connection, and
// reports whether connections will have it. Those of a socket that speaks
// multipath TCP may not.
func prepare(fd int) bool {
	if proto, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || proto != unix.IPPROTO_TCP {
		return false
	}
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15}, // seconds
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
	} {
		if unix.SetsockoptInt(fd, o.level, o.name, o.value) != nil {
			return false
		}
	}
	return true
}

// Accept implements net.Listener. It is called from one goroutine.
func (l *sockListener) Accept() (net.Conn, error) {
	err := l.raw.Read(l.accepting)
	if err == nil {
		err = l.err
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
	}
	return l.conn, nil
}

// acceptReady accepts a connection; false means that there is none.
func (l *sockListener) acceptReady(fd uintptr) bool {
	for {
		n, peer, err := acceptFrom(fd)
		switch err {
		case 0:
			l.conn, l.err = &sock{fd: n, peer: peer}, nil
		case unix.EAGAIN:
			return false
		case unix.EINTR, unix.ECONNABORTED:
			continue
		default:
			l.err = err
		}
		return true
	}
}

// acceptFrom accepts from a socket that does not block, which is too short for
// the scheduler to be told of.
func acceptFrom(ln uintptr) (fd int, peer netip.AddrPort, errno syscall.Errno) {
	var from unix.RawSockaddrAny
	size := uint32(unix.SizeofSockaddrAny)
	n, _, errno := syscall.RawSyscall6(unix.SYS_ACCEPT4, ln, uintptr(unsafe.Pointer(&from)), uintptr(unsafe.Pointer(&size)),
		unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
	if errno != 0 {
		return 0, netip.AddrPort{}, errno
	}
	return int(n), addrPortOf(&from), 0
}

// addrPortOf is what a socket's address says; an IPv4 address is one, however
// it is written.
func addrPortOf(a *unix.RawSockaddrAny) netip.AddrPort {
	switch a.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(a))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), bigEndian(&in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(a))
		addr := netip.AddrFrom16(in.Addr).Unmap()
		if in.Scope_id != 0 && addr.Is6() {
			if i, err := net.InterfaceByIndex(int(in.Scope_id)); err == nil {
				addr = addr.WithZone(i.Name)
			}
		}
		return netip.AddrPortFrom(addr, bigEndian(&in.Port))
	}
	return netip.AddrPort{}
}

// bigEndian reads a port as the kernel writes it.
func bigEndian(port *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(port))[:])
}

// SetDeadline ends a wait for connections.
func (l *sockListener) SetDeadline(t time.Time) error { return l.file.SetDeadline(t) }

// SyscallConn implements syscall.Conn.
func (l *sockListener) SyscallConn() (syscall.RawConn, error) { return l.raw, nil }

// Close implements net.Listener.
func (l *sockListener) Close() error { return l.file.Close() }

// Addr implements net.Listener.
func (l *sockListener) Addr() net.Addr { return l.addr }
