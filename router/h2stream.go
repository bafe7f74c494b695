package router

import (
	"io"
	"os"
	"sync"

	"weir/router/wire"
)

// stream2 is one request on a conn2, the front of its exchange, and the source
// of its body.
type stream2 struct {
	c      *conn2
	id     uint32
	x      *exchange
	watch  watch
	why    reason // why it is not even looked at
	expect bool   // the client waits for a 100 before it sends its body
	length int64  // of the body as the head says; -1: it does not
	trail  []byte // lines behind the body

	// What follows is guarded by the connection's mu.
	wake   sync.Cond // something below changed
	ended  bool      // the client sends no more of it
	reset  bool      // nobody wants the answer any more
	spoke  bool      // some of the answer was sent
	waits  bool      // for a window, or for room
	noRead bool      // reads fail
	noSend bool      // and writes
	window int64     // bytes of the body the client takes
	sent   uint64    // that went out
	got    int64     // bytes of the request's body that came
	room   int64     // bytes of it that may come
	taken  int64     // bytes that were read and not yet allowed anew
	body   []piece   // what came and was not read

	left  int64 // of the answer's body; -1: not known
	begun bool
	shut  bool // the end is in x.out, or sent
	whole bool // the answer ends well
}

// piece is a part of a body.
type piece struct {
	b        *buffer
	from, to int
}

func newStream2(c *conn2, id uint32) *stream2 {
	s := &stream2{c: c, id: id, room: h2StreamRoom, x: c.r.newExchange()}
	s.wake.L = &c.mu
	s.watch.ends = s
	return s
}

// run makes the exchange.
func (s *stream2) run() {
	c, x := s.c, s.x
	defer c.handlers.Done()
	x.front, x.watch = s, &s.watch
	x.asked.peer, x.asked.peerText, x.asked.peerAddr = c.a.peer.Addr(), c.peerText, c.peerAddr
	x.asked.secure, x.asked.sni = c.a.secure, c.a.sni
	x.asked.proto, x.asked.gone = "HTTP/2.0", c.gone
	why := s.why
	if why == reasonNone {
		n, v := wire.ParseRequest(x.head, &x.req)
		switch {
		case v.Refused():
			why = reasonOf(v)
		case n != len(x.head):
			why = reasonBadRequest
		}
	}
	c.mu.Lock()
	reset := s.reset
	c.mu.Unlock()
	if reset {
		x.done() // nobody waits for it any more
		s.finish()
		return
	}
	shard := c.r.sweeper.add(&s.watch)
	if why != reasonNone {
		x.req = wire.Request{} // nothing of it is to be believed
		x.refuse(why, c.r.now())
	} else {
		if x.req.Length != 0 {
			x.source = s
			x.asked.endless = x.req.Length < 0
		}
		x.serve(c.r.now())
	}
	c.r.sweeper.drop(&s.watch, shard)
	if s.whole {
		if c.r.draining.Load() {
			c.mu.Lock()
			c.announceLocked() // before the client can ask for more
			c.mu.Unlock()
		}
		s.whole = s.pass(nil) == nil
	}
	x.done()
	s.finish()
}

// finish forgets the stream.
func (s *stream2) finish() {
	c := s.c
	c.mu.Lock()
	switch {
	case s.reset || c.dead != nil:
	case !s.whole:
		c.sendResetLocked(s.id, h2InternalError)
	case !s.ended:
		c.sendResetLocked(s.id, h2NoError) // the rest of the body is not needed
	}
	s.reset = true
	for _, p := range s.body {
		c.returnLocked(int64(p.to - p.from))
		p.b.free()
	}
	s.body = nil
	delete(c.streams, s.id)
	if c.active--; c.active == 0 {
		if !c.inHead {
			c.restLocked()
		}
		if c.over {
			c.closeLocked()
		}
		if len(c.out) == 0 && cap(c.out) > h2OutKept {
			c.out = nil
		}
		if cap(c.spare) > h2OutKept {
			c.spare = nil
		}
	}
	c.mu.Unlock()
	c.push()
}

// resetLocked notes that the client does not want the answer any more, or
// that it does not get it. The caller cancels the watch, without the lock.
func (s *stream2) resetLocked() {
	s.reset = true
	s.wake.Broadcast()
	if s.waits {
		s.c.room.Broadcast()
	}
}

// deaf reports whether there is no use in writing. The caller holds mu.
func (s *stream2) deaf() bool { return s.reset || s.noSend }

// errLocked returns why the stream cannot be written to.
func (s *stream2) errLocked() error {
	switch {
	case s.c.dead != nil:
		return s.c.dead
	case s.reset:
		return errStreamReset
	case s.noSend:
		return os.ErrDeadlineExceeded
	}
	return nil
}

// dataLocked takes a piece of the body, in a frame of n bytes with padding.
func (s *stream2) dataLocked(data []byte, n int64) h2Code {
	c := s.c
	if s.ended {
		c.returnLocked(n)
		return h2StreamClosed
	}
	s.got += int64(len(data))
	switch s.room -= n; {
	case s.room < 0:
		c.returnLocked(n)
		return h2FlowControlError
	case s.length >= 0 && s.got > s.length:
		c.returnLocked(n)
		return h2ProtocolError
	}
	if pad := n - int64(len(data)); pad > 0 {
		s.allowLocked(pad)
	}
	if len(data) == 0 {
		return h2NoError
	}
	s.keepLocked(data)
	s.wake.Broadcast()
	return h2NoError
}

// keepLocked appends to what was not read yet.
func (s *stream2) keepLocked(data []byte) {
	if k := len(s.body); k > 0 {
		p := &s.body[k-1]
		n := copy(p.b.b[p.to:], data)
		p.to += n
		data = data[n:]
	}
	for len(data) > 0 {
		size := len(data)
		if len(s.body) > 0 {
			size = relayBuffer
		}
		b := takeBuffer(size)
		n := copy(b.b, data)
		s.body = append(s.body, piece{b, 0, n})
		data = data[n:]
	}
}

// endLocked notes the end of the body, and reports whether it is as long as it
// should be.
func (s *stream2) endLocked() bool {
	s.ended = true
	s.wake.Broadcast()
	return s.length < 0 || s.got == s.length
}

// allowLocked lets the client send n bytes more, once it is worth a frame.
func (s *stream2) allowLocked(n int64) {
	s.c.returnLocked(n)
	if s.taken += n; s.taken >= h2StreamRoom/4 && !s.ended && !s.reset {
		s.c.out = appendWindow(s.c.out, s.id, s.taken)
		s.room += s.taken
		s.taken = 0
	}
}

// Read implements bodySource.
func (s *stream2) Read(b []byte) (n int, err error) {
	c := s.c
	c.mu.Lock()
	if s.expect {
		s.expect = false
		s.continueLocked()
	}
	for len(s.body) == 0 && err == nil {
		switch {
		case s.noRead:
			err = os.ErrDeadlineExceeded
		case c.dead != nil || s.reset:
			err = errStreamReset
		case s.ended:
			err = io.EOF
		default:
			s.wake.Wait()
		}
	}
	for n < len(b) && len(s.body) > 0 {
		p := &s.body[0]
		k := copy(b[n:], p.b.b[p.from:p.to])
		n += k
		if p.from += k; p.from == p.to {
			p.b.free()
			s.body = append(s.body[:0], s.body[1:]...)
		}
	}
	s.allowLocked(int64(n))
	due := len(c.out) > 0
	c.mu.Unlock()
	if due {
		c.push()
	}
	return n, err
}

// continueLocked asks for the body, unless the answer is on its way already.
func (s *stream2) continueLocked() {
	c := s.c
	if s.spoke || s.errLocked() != nil {
		return
	}
	at := len(c.out)
	c.out = appendStatus(s.block(append(c.out, 0, 0, 0, 0, 0, 0, 0, 0, 0)), 100)
	c.out = appendHeaders(c.out, at, 0, s.id, c.peerFrame)
	c.mu.Unlock()
	c.push()
	c.mu.Lock()
}

// trailers implements bodySource.
func (s *stream2) trailers() []byte {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return wire.AppendTrailers(nil, s.trail)
}

// unblock implements ends.
func (s *stream2) unblock(read, write bool) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.noRead, s.noSend = s.noRead || read, s.noSend || write
	if s.watch.tooSlow.Load() {
		s.c.tooSlowLocked(s.watch.slowSince.Load())
	}
	s.wake.Broadcast()
	if s.waits {
		s.c.room.Broadcast()
	}
}

// client implements ends: whoever reads the connection sees when it is gone.
func (s *stream2) client() clientState {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return clientState{known: true, gone: s.c.dead != nil || s.reset, taken: s.sent, behind: true}
}
