package router

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// sock is a TCP connection that was accepted. Go's poller is told of it when
// something has to be waited for the first time: a client that sends its only
// request at once, takes the answer and goes, costs it nothing.
//
// Until then a sock belongs to the goroutine that carries it, and no other one
// may close it, or use its descriptor but through Control. It is as free as
// any other net.Conn from the first Read or Write on.
type sock struct {
	fd   int
	peer netip.AddrPort

	polled atomic.Bool // the poller knows it: file and raw are set, and do not change
	file   *os.File
	raw    syscall.RawConn

	mu              sync.Mutex // guards what follows, and the change of polled
	closed          bool
	readBy, writeBy time.Time // deadlines; file's, once polled
}

// poll makes the poller know the connection.
func (s *sock) poll() error {
	if s.polled.Load() {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.polled.Load():
		return nil
	case s.closed:
		return net.ErrClosed
	}
	s.file = os.NewFile(uintptr(s.fd), "tcp")
	s.raw, _ = s.file.SyscallConn() // fails for a nil file only
	if !s.readBy.IsZero() {
		_ = s.file.SetReadDeadline(s.readBy)
	}
	if !s.writeBy.IsZero() {
		_ = s.file.SetWriteDeadline(s.writeBy)
	}
	s.polled.Store(true)
	return nil
}

// rawSock is how a sock's descriptor is used.
type rawSock sock

// SyscallConn implements syscall.Conn.
func (s *sock) SyscallConn() (syscall.RawConn, error) { return (*rawSock)(s), nil }

// Read implements syscall.RawConn. f is called first on suspicion.
func (r *rawSock) Read(f func(fd uintptr) bool) error {
	if s := (*sock)(r); !s.polled.Load() {
		if s.isPast(&s.readBy) {
			return os.ErrDeadlineExceeded
		}
		if f(uintptr(s.fd)) {
			return nil
		}
		if err := s.poll(); err != nil {
			return err
		}
	}
	return r.raw.Read(f)
}

// Write implements syscall.RawConn.
func (r *rawSock) Write(f func(fd uintptr) bool) error {
	if s := (*sock)(r); !s.polled.Load() {
		if s.isPast(&s.writeBy) {
			return os.ErrDeadlineExceeded
		}
		if f(uintptr(s.fd)) {
			return nil
		}
		if err := s.poll(); err != nil {
			return err
		}
	}
	return r.raw.Write(f)
}

// Control implements syscall.RawConn.
func (r *rawSock) Control(f func(fd uintptr)) error {
	if called, err := (*sock)(r).alone(func(fd uintptr) error { f(fd); return nil }); called {
		return err
	}
	return r.raw.Control(f)
}

// isPast reports whether a deadline, readBy or writeBy, is over.
func (s *sock) isPast(deadline *time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !deadline.IsZero() && !time.Now().Before(*deadline)
}

// Read implements net.Conn.
func (s *sock) Read(p []byte) (n int, err error) {
	if err = s.poll(); err == nil {
		n, err = s.file.Read(p)
	}
	return n, s.netError("read", err)
}

// Write implements net.Conn.
func (s *sock) Write(p []byte) (n int, err error) {
	if err = s.poll(); err == nil {
		n, err = s.file.Write(p)
	}
	return n, s.netError("write", err)
}

// ReadFrom implements io.ReaderFrom: what comes from another socket does not
// pass through here.
func (s *sock) ReadFrom(from io.Reader) (n int64, err error) {
	if err = s.poll(); err == nil {
		n, err = s.file.ReadFrom(from)
	}
	return n, s.netError("readfrom", err)
}

// netError makes an error of file one of a connection, which says whether it may
// be over soon.
func (s *sock) netError(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var of *os.PathError
	if errors.As(err, &of) {
		err = of.Err
	}
	if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	}
	return &net.OpError{Op: op, Net: "tcp", Addr: s.RemoteAddr(), Err: err}
}

// Close implements net.Conn.
func (s *sock) Close() error {
	s.mu.Lock()
	again := s.closed
	s.closed = true
	s.mu.Unlock()
	switch {
	case again:
		return net.ErrClosed
	case s.polled.Load():
		return s.netError("close", s.file.Close())
	}
	return unix.Close(s.fd)
}

// CloseWrite closes the sending half.
func (s *sock) CloseWrite() error {
	return s.control("shutdown", func(fd uintptr) error { return unix.Shutdown(int(fd), unix.SHUT_WR) })
}

// SetLinger says what the kernel does, from Close on, with what the client did
// not take yet: with 0 it forgets it and resets the connection.
func (s *sock) SetLinger(seconds int) error {
	l := unix.Linger{Onoff: 1, Linger: int32(seconds)}
	if seconds < 0 {
		l = unix.Linger{}
	}
	return s.control("set", func(fd uintptr) error {
		return unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &l)
	})
}

func (s *sock) control(op string, do func(fd uintptr) error) error {
	if called, err := s.alone(do); called {
		return s.netError(op, err)
	}
	var failed error
	err := s.raw.Control(func(fd uintptr) { failed = do(fd) })
	if err == nil {
		err = failed
	}
	return s.netError(op, err)
}

// alone calls do unless the poller knows of the connection.
func (s *sock) alone(do func(fd uintptr) error) (called bool, err error) {
	if s.polled.Load() {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.polled.Load():
		return false, nil
	case s.closed:
		return true, net.ErrClosed
	}
	return true, do(uintptr(s.fd))
}

// SetDeadline implements net.Conn.
func (s *sock) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (s *sock) SetReadDeadline(t time.Time) error {
	if s.keep(&s.readBy, t) {
		return nil
	}
	return s.netError("set", s.file.SetReadDeadline(t))
}

// SetWriteDeadline implements net.Conn.
func (s *sock) SetWriteDeadline(t time.Time) error {
	if s.keep(&s.writeBy, t) {
		return nil
	}
	return s.netError("set", s.file.SetWriteDeadline(t))
}

// keep notes a deadline for later, unless the poller can be told of it.
func (s *sock) keep(deadline *time.Time, t time.Time) bool {
	if s.polled.Load() {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.polled.Load() {
		return false
	}
	*deadline = t
	return true
}

// peerAddr is RemoteAddr at less cost.
func (s *sock) peerAddr() netip.AddrPort { return s.peer }

// RemoteAddr implements net.Conn.
func (s *sock) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(s.peer) }

// LocalAddr implements net.Conn.
func (s *sock) LocalAddr() net.Addr {
	addr := &net.TCPAddr{}
	_ = s.control("getsockname", func(fd uintptr) error {
		sa, err := unix.Getsockname(int(fd))
		switch a := sa.(type) {
		case *unix.SockaddrInet4:
			addr.IP, addr.Port = a.Addr[:], a.Port
		case *unix.SockaddrInet6:
			addr.IP, addr.Port = a.Addr[:], a.Port
		}
		return err
	})
	return addr
}
