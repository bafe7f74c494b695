package router

import (
	"io"
	"net"
	"syscall"
)

// stream is a connection whose buffer is taken from a pool only when bytes
// are there, so that connections which wait for something cost little. One
// goroutine at a time reads it.
type stream struct {
	c   net.Conn
	tcp tcpConn         // c, if it is one: in the clear
	raw syscall.RawConn // of tcp

	buf      *buffer // nil: nothing is held
	from, to int     // the bytes of buf that were not taken yet

	ready func(fd uintptr) bool // readReady, or what stands for it; made once, because a closure costs memory
	n     int                   // what ready read
	err   error
	one   [1]byte

	writable func(fd uintptr) bool // writeReady
	rest     []byte                // what it has not written yet
	behind   []byte                // what may be written along with the last of rest
	ending   bool                  // nothing is sent after it: its last packet may wait for the end, which is said in it
	failed   error                 // what it met
}

func newStream(c net.Conn) stream {
	s := stream{c: c}
	if t, ok := c.(tcpConn); ok {
		if raw, err := t.SyscallConn(); err == nil {
			s.tcp, s.raw = t, raw
		}
	}
	return s
}

// bytes returns what was read and not taken. It is valid until the next fill
// or release.
func (s *stream) bytes() []byte {
	if s.buf == nil {
		return nil
	}
	return s.buf.b[s.from:s.to]
}

// take forgets the first n of bytes.
func (s *stream) take(n int) { s.from += n }

// release gives the buffer back if nothing is left in it.
func (s *stream) release() {
	if s.buf != nil && s.from == s.to {
		s.drop()
	}
}

// drop gives the buffer back whatever is in it.
func (s *stream) drop() {
	if s.buf != nil {
		s.buf.free()
		s.buf, s.from, s.to = nil, 0, 0
	}
}

// fill reads more behind what is there: at least one byte, or an error. There
// must be room; see grow.
func (s *stream) fill() error {
	if s.raw == nil {
		return s.fillPlain()
	}
	if s.ready == nil {
		s.ready = s.readReady
	}
	return s.result(s.raw.Read(s.ready))
}

// result is what came of a call of readReady, the last of a Read of raw that
// returned err.
func (s *stream) result(err error) error {
	switch {
	case err != nil:
		return err
	case s.err != nil:
		return s.err
	case s.n == 0:
		return io.EOF
	}
	return nil
}

// readReady reads what the socket holds; false means that there is nothing.
func (s *stream) readReady(fd uintptr) bool {
	buf := s.buf
	if buf == nil {
		buf = takeBuffer(headBuffer)
	}
	s.n, s.err = sockRead(fd, buf.b[s.to:])
	if s.n <= 0 {
		if s.buf == nil {
			buf.free()
		}
		return s.err != syscall.EAGAIN
	}
	s.buf = buf
	s.to += s.n
	return true
}

// send writes all of p, as the connection does, with less ado.
func (s *stream) send(p []byte) (n int, err error) {
	if s.raw == nil {
		return s.c.Write(p)
	}
	if s.writable == nil {
		s.writable = s.writeReady
	}
	s.rest, s.failed = p, nil
	err = s.raw.Write(s.writable)
	n = len(p) - len(s.rest)
	s.rest = nil
	if err == nil {
		err = s.failed
	}
	return n, err
}

// sendPair writes all of p and then all of q, at once where it can.
func (s *stream) sendPair(p, q []byte) error {
	s.behind = q
	_, err := s.send(p)
	q, s.behind = s.behind, nil
	if err == nil && len(q) > 0 {
		_, err = s.send(q)
	}
	return err
}

// writeReady writes what is left; false means that the socket is full.
func (s *stream) writeReady(fd uintptr) bool {
	for len(s.rest) > 0 {
		n, err := sockWrite(fd, s.rest, s.behind, s.ending)
		if err != nil {
			s.failed = err
			return err != syscall.EAGAIN
		}
		k := min(n, len(s.rest))
		s.rest, s.behind = s.rest[k:], s.behind[n-k:]
	}
	s.failed = nil
	return true
}

// fillPlain is fill for a connection that is not a plain socket: a single byte
// is awaited without a buffer.
func (s *stream) fillPlain() error {
	if s.buf == nil {
		n, err := s.c.Read(s.one[:])
		if n == 0 {
			return orUnexpected(err)
		}
		s.buf = takeBuffer(headBuffer)
		s.buf.b[0] = s.one[0]
		s.from, s.to = 0, 1
		return nil
	}
	n, err := s.c.Read(s.buf.b[s.to:])
	s.to += n
	if n == 0 {
		return orUnexpected(err)
	}
	return nil
}

func orUnexpected(err error) error {
	if err == nil {
		return io.ErrNoProgress
	}
	return err
}

// grow makes room behind what is there: by moving it to the front, or into a
// larger buffer. It returns false if there is no larger one.
func (s *stream) grow() bool {
	if s.buf == nil || s.to < len(s.buf.b) {
		return true
	}
	if s.from > 0 {
		s.to = copy(s.buf.b, s.buf.b[s.from:s.to])
		s.from = 0
		return true
	}
	if len(s.buf.b) >= relayBuffer {
		return false
	}
	b := takeBuffer(2 * len(s.buf.b))
	s.to = copy(b.b, s.buf.b[s.from:s.to])
	s.buf.free()
	s.buf, s.from = b, 0
	return true
}

// Read implements io.Reader: what is held, then the connection.
func (s *stream) Read(p []byte) (int, error) {
	if s.from < s.to {
		n := copy(p, s.buf.b[s.from:s.to])
		s.from += n
		return n, nil
	}
	return s.c.Read(p)
}
