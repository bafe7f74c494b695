package router

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"time"

	"weir/router/wire"
)

// front1 carries HTTP/1.1: a goroutine per connection, which also makes the
// exchange with the instance. What is legal but rare it leaves to the slow
// road, for good and before anything about framing was decided.
type front1 struct {
	r     *Router
	slow  func(*arrival)
	http2 *front2     // takes connections that begin with its preface
	last  atomic.Bool // draining: no connection waits for another request
	open  carried[*conn1]
}

func newFront1(r *Router, slow func(*arrival), http2 *front2) *front1 {
	return &front1{r: r, slow: slow, http2: http2}
}

// conn1 is one connection.
type conn1 struct {
	stream
	watch watch
	r     *Router
	f     *front1
	a     *arrival

	peerText string // the client's address
	peerAddr string // and port

	x       *exchange   // the request under way
	proto0  bool        // it is of HTTP/1.0
	closing bool        // no other request on this connection
	linger  bool        // the client may still be sending: close gently
	aborted bool        // the answer must not look complete
	chunked bool        // the answer is sent in chunks
	begun   bool        // the head of the answer is in x.out, or sent
	takes   bool        // the client took much of an answer: the kernel may hold more for it
	dirty   atomic.Bool // unblock was called

	body    body1
	served  uint64
	over    int64                 // when the last request was, on the router's clock
	waiting func(fd uintptr) bool // readable
}

// serve carries a connection to its end.
func (f *front1) serve(a *arrival) {
	c := &conn1{stream: newStream(a.Conn), r: f.r, f: f, a: a}
	c.watch.ends = c
	c.peerText, c.peerAddr = a.peer.Addr().String(), a.peer.String()
	f.open.add(c)
	a.settle()
	shard := f.r.sweeper.add(&c.watch)
	slow := c.serve()
	if c.watch.down.enter(phaseNone, 0) == phaseExpired {
		slow = false
	}
	f.r.sweeper.drop(&c.watch, shard)
	var other *conn2
	switch {
	case slow:
		// All unread bytes go along; nothing of them was interpreted.
		isHTTP2 := bytes.HasPrefix(c.bytes(), preface)
		a.Conn = &prefixConn{Conn: a.Conn, prefix: append([]byte(nil), c.bytes()...)}
		c.drop()
		_ = a.SetDeadline(time.Time{})
		if isHTTP2 {
			other = f.http2.take(a) // at any moment one of the two knows it
		} else {
			f.slow(a)
		}
	default:
		c.finish()
	}
	f.open.remove(c)
	switch {
	case other != nil:
		f.http2.carry(other)
	case !slow:
		a.leave()
	}
}

// serve carries requests until the connection ends, or reports that the next
// one is for the slow road.
func (c *conn1) serve() (slow bool) {
	c.watch.down.enter(phaseFirst, c.r.now())
	for !c.closing {
		x := c.next()
		if x == nil {
			return false
		}
		v := c.readHead(x)
		switch {
		case v == wire.Incomplete:
			x.done()
			return false
		case v == wire.Slow:
			c.x = nil
			x.done()
			return true
		case v.Refused():
			c.refuse(x, reasonOf(v))
			return false
		}
		c.carry(x)
	}
	return false
}

// next waits for the first bytes of a request; nil if there will be none.
func (c *conn1) next() *exchange {
	if c.from == c.to {
		if c.served > 0 && c.watch.down.enter(phaseIdle, c.r.now()) == phaseExpired || c.f.last.Load() {
			return nil
		}
		c.release()
		if err := c.await(); err != nil || c.closing || c.from == c.to {
			return nil
		}
	}
	return c.newExchange()
}

func (c *conn1) newExchange() *exchange {
	x := c.r.newExchange()
	x.front, x.watch = c, &c.watch
	c.x = x
	return x
}

// readHead reads until the request head is complete, and judges it.
func (c *conn1) readHead(x *exchange) wire.Verdict {
	skipped := c.served == 0 // an empty line may precede all but the first
	seen := 0                // bytes of the head that were looked at
	for waited := false; ; {
		b := c.bytes()
		if !skipped && len(b) > 0 && b[0] == '\r' {
			if len(b) > 1 {
				if b[1] != '\n' {
					return wire.Malformed
				}
				c.take(2)
				skipped, seen = true, 0
				continue
			}
		} else if len(b) > 0 {
			if c.served == 0 && isPreface(b) {
				if len(b) >= len(preface) {
					return wire.Slow
				}
			} else if !worthParsing(b, seen) {
				// Only more bytes can help.
			} else if n, v := wire.ParseRequest(b, &x.req); v != wire.Incomplete {
				if v == wire.Fast && c.isChallenge(x) {
					v = wire.Slow
				}
				if v == wire.Fast {
					c.take(n)
				}
				return v
			} else {
				seen = len(b)
			}
		}
		if !waited {
			waited = true
			c.watch.down.enter(phaseRequest, c.r.now())
		}
		if !c.grow() {
			return wire.TooLarge
		}
		if err := c.fill(); err != nil {
			return wire.Incomplete
		}
	}
}

// isChallenge reports whether an authority may be asking for a proof.
func (c *conn1) isChallenge(x *exchange) bool {
	return c.r.cfg.HTTPChallenge != nil && !c.a.secure && bytes.HasPrefix(x.req.PathBytes(), []byte(challengePath))
}

func (c *conn1) ask(x *exchange) {
	x.asked.peer, x.asked.peerText, x.asked.peerAddr = c.a.peer.Addr(), c.peerText, c.peerAddr
	x.asked.secure, x.asked.sni = c.a.secure, c.a.sni
	x.asked.proto = "HTTP/1.1"
	if x.req.Minor == 0 {
		x.asked.proto = "HTTP/1.0"
	}
}

// refuse answers a head that is not served.
func (c *conn1) refuse(x *exchange, why reason) {
	c.ask(x)
	c.closing, c.linger, c.begun, c.proto0 = true, true, false, false
	x.req = wire.Request{} // nothing of it is to be believed
	x.refuse(why, c.r.now())
	x.done()
	c.x = nil
}

// carry makes the exchange of one request.
func (c *conn1) carry(x *exchange) {
	now := c.r.now()
	expired := c.watch.down.enter(phaseNone, 0) == phaseExpired
	c.ask(x)
	c.proto0 = x.req.Minor == 0
	c.closing, c.linger, c.begun, c.chunked = x.req.Close || expired, false, false, false
	why := reasonNone
	if x.req.Length != 0 {
		why = c.takeBody(x)
	}
	if why != reasonNone {
		c.closing, c.linger = true, true
		x.refuse(why, now)
	} else {
		x.serve(now)
	}
	if x.req.Length != 0 {
		c.leaveBody()
	}
	c.served++
	c.over = x.trip.over
	c.x = nil
	x.done()
	if c.dirty.Load() && !c.closing {
		c.dirty.Store(false)
		_ = c.c.SetDeadline(time.Time{})
	}
}

// finish closes the connection.
func (c *conn1) finish() {
	switch {
	case c.aborted || c.watch.tooSlow.Load():
		cut(c.c)
	case c.linger || c.from < c.to:
		c.lingerOn()
	case c.ending && c.tcp != nil:
		// Not left to Close, which forgets what was not sent if there is
		// something that was not read.
		_ = c.tcp.CloseWrite()
	}
	c.drop()
	_ = c.c.Close()
}

const (
	// lingerTime is for how long a connection that was closed for sending is
	// read, so that what the client still sends does not make the kernel take
	// the answer back.
	lingerTime  = time.Second
	lingerBytes = 1 << 20
)

func (c *conn1) lingerOn() {
	c.watch.down.enter(phaseNone, 0)
	_ = c.c.SetDeadline(time.Now().Add(lingerTime))
	if closeWrite(c.c) != nil {
		return
	}
	c.drop()
	buf := takeBuffer(headBuffer)
	defer buf.free()
	for left := lingerBytes; left > 0; {
		n, err := c.c.Read(buf.b)
		if err != nil {
			return
		}
		left -= n
	}
}

// unblock implements ends.
func (c *conn1) unblock(read, write bool) {
	c.dirty.Store(true)
	if read {
		_ = c.c.SetReadDeadline(past)
	}
	if write {
		_ = c.c.SetWriteDeadline(past)
	}
}

// client implements ends.
func (c *conn1) client() clientState { return clientOf(c.c) }

// interim implements front.
func (c *conn1) interim(res *wire.Response) error {
	if c.proto0 {
		return nil
	}
	b := res.AppendKept(res.AppendLine(nil))
	_, err := c.c.Write(append(b, '\r', '\n'))
	return err
}

// begin implements front: the head waits for the first of the body.
func (c *conn1) begin(a *reply) error {
	x := c.x
	c.begun = true
	b := a.res.AppendKept(a.res.AppendLine(x.out[:0]))
	if !a.res.HasDate {
		b = append(b, c.r.date()...)
	}
	b = append(b, a.lines...)
	bodiless204 := a.res.Status == 204 || a.res.Status < 200
	switch {
	case bodiless204:
	case a.length >= 0:
		b = append(b, "Content-Length: "...)
		b = wire.AppendUint(b, uint64(a.length))
		b = append(b, '\r', '\n')
	case a.bodiless:
	case c.proto0:
		c.closing = true
	default:
		c.chunked = true
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	}
	if a.close {
		c.closing, c.linger = true, true
	}
	if c.r.draining.Load() {
		c.closing = true
	}
	switch {
	case c.closing:
		b = append(b, "Connection: close\r\n"...)
	case c.proto0:
		b = append(b, "Connection: keep-alive\r\n"...)
	}
	x.out = append(b, '\r', '\n')
	return nil
}

// write implements front.
func (c *conn1) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	x := c.x
	if c.chunked {
		x.out = wire.AppendChunkHead(x.out, len(p))
	}
	if len(p) <= cap(x.out)-len(x.out)-2 || c.tcp == nil && len(x.out)+len(p) < recordSize {
		x.out = append(x.out, p...)
	} else if err := c.sendBoth(p); err != nil {
		return err
	}
	if c.chunked {
		x.out = append(x.out, '\r', '\n')
	}
	return nil
}

// recordSize is up to how many bytes TLS sends as one.
const recordSize = 16 << 10

// sendBoth sends what is held back and a large piece, at once where it can.
func (c *conn1) sendBoth(p []byte) error {
	x := c.x
	if c.tcp == nil || len(x.out) == 0 {
		if err := c.flush(); err != nil {
			return err
		}
		_, err := c.c.Write(p)
		return err
	}
	err := c.sendPair(x.out, p)
	x.out = x.out[:0]
	return err
}

// flush implements front.
func (c *conn1) flush() error {
	x := c.x
	if len(x.out) == 0 || !c.begun {
		return nil
	}
	_, err := c.send(x.out)
	x.out = x.out[:0]
	return err
}

// end implements front.
func (c *conn1) end(trailers []byte) error {
	if c.chunked {
		c.x.out = wire.AppendLastChunk(c.x.out, trailers)
	}
	c.ending = c.closing
	return c.flush()
}

// abort implements front.
func (c *conn1) abort() { c.closing, c.aborted = true, true }

// splice implements splicer.
func (c *conn1) splice(from tcpConn, n int64) (moved int64, ok bool, err error) {
	if c.tcp == nil || c.chunked {
		return 0, false, nil
	}
	if !c.takes {
		n = min(n, takesMuch)
	}
	lim := io.LimitedReader{R: from, N: n}
	moved, err = c.tcp.ReadFrom(&lim)
	if !c.takes && moved == takesMuch {
		c.takes = true
		_ = c.raw.Control(boundMore)
	}
	return moved, true, err
}

// drain waits until the last connection ended, and cuts what is left when ctx
// ends. Router.draining was set before; idle connections are closed at once.
func (f *front1) drain(ctx context.Context) {
	f.last.Store(true)
	f.open.each(func(c *conn1) {
		switch p, _, v := c.watch.down.load(); p {
		case phaseIdle, phaseFirst, phaseRequest:
			if c.watch.down.v.CompareAndSwap(v, int64(p)<<8|int64(phaseExpired)) {
				c.unblock(true, false)
			}
		}
	})
	if f.open.wait(ctx) {
		return
	}
	f.r.cfg.Logger.Warn("requests cut off at the end of the drain", "requests", f.r.metrics.requests.Load())
	f.open.each(func(c *conn1) {
		c.watch.cancel(reasonStopping)
		c.unblock(true, true)
	})
	last, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	f.open.wait(last)
}

// prefixConn is a connection of which some bytes were read already.
type prefixConn struct {
	net.Conn
	prefix []byte
}

// Read implements net.Conn.
func (c *prefixConn) Read(p []byte) (int, error) {
	if len(c.prefix) > 0 {
		n := copy(p, c.prefix)
		c.prefix = c.prefix[n:]
		return n, nil
	}
	return c.Conn.Read(p)
}

// CloseWrite closes the sending half.
func (c *prefixConn) CloseWrite() error { return closeWrite(c.Conn) }
