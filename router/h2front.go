package router

import (
	"errors"

	"weir/router/wire"
)

var errStreamReset = errors.New("router: the client does not want the answer any more")

// interim implements front.
func (s *stream2) interim(res *wire.Response) error {
	b := appendStatus(s.block(make([]byte, h2FrameHead)), res.Status)
	b = appendPacked(b, res.AppendKept(nil))
	return s.c.send(s, appendHeaders(b, 0, 0, s.id, s.largest()), nil)
}

// block begins a header block. A client that made its table of fields smaller
// wants to be told in the next block that what is used of it got smaller, too,
// RFC 7541 section 4.2; so each says that it is nothing.
func (s *stream2) block(b []byte) []byte {
	if s.c.shrunk.Load() {
		return append(b, 0x20)
	}
	return b
}

func (s *stream2) largest() int {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.peerFrame
}

// begin implements front: the head waits for the first of the body.
func (s *stream2) begin(a *reply) error {
	scratch := takeBuffer(headBuffer)
	lines := a.res.AppendKept(scratch.b[:0])
	if !a.res.HasDate {
		lines = append(lines, s.c.r.date()...)
	}
	lines = append(lines, a.lines...)
	b := append(s.x.out[:0], 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = appendPacked(appendStatus(s.block(b), a.res.Status), lines)
	scratch.free()
	if a.length >= 0 && a.res.Status >= 200 && a.res.Status != 204 {
		b = appendHpackInt(b, 0, 4, 28) // content-length
		at := len(b)
		b = wire.AppendUint(append(b, 0), uint64(a.length))
		b[at] = byte(len(b) - at - 1)
	}
	s.left = a.length
	if a.bodiless {
		s.left = 0
	}
	flags := byte(0)
	if s.left == 0 {
		flags, s.shut = h2EndStream, true
	}
	s.x.out = appendHeaders(b, 0, flags, s.id, s.largest())
	s.begun = true
	return nil
}

// write implements front.
func (s *stream2) write(p []byte) error {
	for len(p) > 0 && !s.shut {
		n, err := s.claim(len(p))
		if err != nil {
			return err
		}
		flags := byte(0)
		if s.left > 0 {
			if s.left -= int64(n); s.left == 0 {
				flags, s.shut = h2EndStream, true
			}
		}
		x := s.x
		x.out = appendFrameHead(x.out, n, h2Data, flags, s.id)
		if n <= cap(x.out)-len(x.out) {
			x.out = append(x.out, p[:n]...)
		} else if err := s.pass(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// claim takes up to n bytes out of the windows. It waits until there is room
// in them, after what is held was sent.
func (s *stream2) claim(n int) (int, error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		if err := s.errLocked(); err != nil {
			return 0, err
		}
		if k := min(int64(n), s.window, c.window, int64(c.peerFrame)); k > 0 {
			s.window -= k
			c.window -= k
			s.sent += uint64(k)
			return int(k), nil
		}
		if len(s.x.out) > 0 {
			c.mu.Unlock()
			err := s.flush()
			c.mu.Lock()
			if err != nil {
				return 0, err
			}
			continue
		}
		s.waits = true
		s.wake.Wait()
		s.waits = false
	}
}

// flush implements front.
func (s *stream2) flush() error {
	if !s.begun {
		return nil
	}
	return s.pass(nil)
}

// pass hands what is held, and p, to the connection.
func (s *stream2) pass(p []byte) error {
	x := s.x
	if len(x.out)+len(p) == 0 {
		return nil
	}
	err := s.c.send(s, x.out, p)
	x.out = x.out[:0]
	return err
}

// end implements front. The end is sent by finish, when the request has been
// counted and nothing of it is under way any more.
func (s *stream2) end(trailers []byte) error {
	x := s.x
	switch {
	case s.shut:
	case len(trailers) > 0:
		at := len(x.out)
		b := append(x.out, 0, 0, 0, 0, 0, 0, 0, 0, 0)
		block := appendHeaders(appendPacked(s.block(b), trailers), at, h2EndStream, s.id, s.largest())
		x.out, s.shut = block, true
	default:
		x.out, s.shut = appendFrameHead(x.out, 0, h2Data, h2EndStream, s.id), true
	}
	s.whole = true
	return nil
}

// abort implements front: finish resets the stream.
func (s *stream2) abort() { s.whole = false }
