package router

import (
	"io"
	"time"

	"weir/router/wire"
)

// body1 is the body of a request on a conn1.
type body1 struct {
	c       *conn1
	left    int64 // -1: chunked
	chunks  wire.Chunks
	raw     *buffer // chunked: what was read
	at, end int     // of raw: not taken yet
	over    bool    // the last byte was read
	failed  bool
}

// takeBody sees how much of the body is here already. A whole one is taken at
// once, so that it can be sent with the head and, if need be, again.
func (c *conn1) takeBody(x *exchange) reason {
	b := c.bytes()
	p := &c.body
	*p = body1{c: c, left: x.req.Length, chunks: p.chunks}
	if n := x.req.Length; n > 0 {
		if int64(len(b)) >= n {
			x.whole, p.over = b[:n], true
			c.take(int(n))
			return reasonNone
		}
		x.source = p
		return reasonNone
	}
	p.chunks.Reset()
	if len(b) == 0 {
		x.source = p
		return reasonNone
	}
	held := takeBuffer(len(b))
	body := held.b[:0]
	n := 0
	for n < len(b) && !p.chunks.Done() {
		data, k, ok := p.chunks.Next(b[n:])
		if !ok {
			held.free()
			return reasonBadRequest
		}
		body = append(body, data...)
		n += k
	}
	if !p.chunks.Done() || len(p.chunks.AppendTrailers(nil)) > 0 {
		held.free()
		p.chunks.Reset()
		x.source = p
		return reasonNone
	}
	x.whole, x.held, p.over = body, held, true
	c.take(n)
	return reasonNone
}

// Read implements bodySource.
func (p *body1) Read(b []byte) (int, error) {
	if p.over {
		return 0, io.EOF
	}
	n, err := p.read(b)
	if err != nil && !p.over {
		p.failed = true
	}
	return n, err
}

func (p *body1) read(b []byte) (int, error) {
	if p.left < 0 {
		return p.readChunks(b)
	}
	if int64(len(b)) > p.left {
		b = b[:p.left]
	}
	n, err := p.c.stream.Read(b)
	if p.left -= int64(n); p.left == 0 {
		p.over = true
		return n, io.EOF
	}
	if n > 0 {
		return n, nil
	}
	return 0, noEOF(err)
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (p *body1) readChunks(b []byte) (n int, err error) {
	if p.raw == nil {
		p.raw = takeBuffer(relayBuffer)
	}
	for n < len(b) {
		if p.at == p.end {
			if n > 0 {
				return n, nil
			}
			k, err := p.c.stream.Read(p.raw.b)
			if k == 0 {
				return 0, noEOF(err)
			}
			p.at, p.end = 0, k
		}
		take := p.raw.b[p.at:min(p.end, p.at+len(b)-n)]
		data, k, ok := p.chunks.Next(take)
		if !ok {
			return n, errBadBody
		}
		n += copy(b[n:], data)
		p.at += k
		if p.chunks.Done() {
			p.over = true
			return n, io.EOF
		}
	}
	return n, nil
}

// trailers implements bodySource.
func (p *body1) trailers() []byte { return p.chunks.AppendTrailers(nil) }

const (
	drainBytes = 256 << 10 // of a body nobody wants
	drainTime  = time.Second
)

// leaveBody gets what is left of a body out of the way, so that it is not read
// as the next request, or gives the connection up.
func (c *conn1) leaveBody() {
	p := &c.body
	if !p.over && !c.closing && !c.aborted {
		if p.failed || p.left > drainBytes {
			c.closing = true
		} else {
			c.drainBody()
		}
	}
	if !p.over {
		c.closing, c.linger = true, true
	}
	if p.raw == nil {
		return
	}
	if p.over && p.at < p.end {
		c.unread(p.raw.b[p.at:p.end])
	}
	p.raw.free()
	p.raw = nil
}

func (c *conn1) drainBody() {
	buf := takeBuffer(headBuffer)
	defer buf.free()
	c.watch.down.enter(phaseNone, 0)
	_ = c.c.SetReadDeadline(time.Now().Add(drainTime))
	for n := 0; n < drainBytes && !c.body.over; {
		k, err := c.body.Read(buf.b)
		n += k
		if err != nil {
			break
		}
	}
	if c.body.over {
		_ = c.c.SetReadDeadline(time.Time{})
	}
}

// unread makes b, which was read ahead, the next bytes of the connection.
func (c *conn1) unread(b []byte) {
	if len(b) == 0 {
		return
	}
	c.drop()
	c.buf = takeBuffer(len(b))
	c.from, c.to = 0, copy(c.buf.b, b)
}
