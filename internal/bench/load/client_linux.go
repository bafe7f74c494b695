package load

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"golang.org/x/sys/unix"
)

// client is one connection to the proxy.
type client struct {
	r  *run
	fd int

	rec *records // nil: in the clear
	h2  *http2   // nil: HTTP/1.1

	number uint32
	due    time.Duration // when the request should have begun
	busy   bool          // asked and not answered
	opened bool          // asked at least once

	part []byte // what was read and is not complete: of a record, or of a head
	head []byte // under TLS: of a head
	want []byte // what the body still has to bring
	out  []byte // what the kernel did not take at once
}

// ask sends the next request, which should have begun at due.
func (c *client) ask(due time.Duration) {
	c.r.asked++
	c.number, c.due, c.busy, c.opened = c.r.asked, due, true, true
	req := c.r.template
	number(req[firstDigit:], c.number)
	if c.rec != nil {
		c.r.sealed = c.rec.seal(c.r.sealed[:0], req)
		req = c.r.sealed
	}
	c.write(req)
}

// askHTTP2 sends as many requests as may be under way, in one record.
func (c *client) askHTTP2() {
	for c.h2.ready && len(c.h2.streams) < max(1, c.r.plan.Streams) {
		c.r.asked++
		c.h2.ask(c.r.asked)
	}
	if len(c.h2.out) > 0 {
		c.r.sealed = c.rec.seal(c.r.sealed[:0], c.h2.out)
		c.h2.out = c.h2.out[:0]
		c.write(c.r.sealed)
	}
}

// write sends b, or keeps what the kernel does not take.
func (c *client) write(b []byte) {
	n, errno := 0, unix.Errno(0)
	if len(c.out) == 0 {
		n, errno = write(c.fd, b)
	}
	if errno != 0 && errno != unix.EAGAIN && errno != unix.EINTR {
		c.broken(errno.Error())
		return
	}
	if rest := b[max(n, 0):]; len(rest) > 0 {
		if errno != 0 {
			rest = b
		}
		c.out = append(c.out, rest...)
		c.r.l.want(c.fd, unix.EPOLLIN|unix.EPOLLOUT)
	}
}

func (c *client) ready(l *Loop, events uint32) {
	if events&unix.EPOLLOUT != 0 {
		out := c.out
		c.out = nil
		l.want(c.fd, unix.EPOLLIN)
		if len(out) > 0 {
			c.write(out)
		}
		if events&^unix.EPOLLOUT == 0 {
			return
		}
	}
	n, errno := read(c.fd, l.buf)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		return
	case errno != 0:
		c.broken(errno.Error())
	case n == 0:
		c.ended()
	default:
		if err := c.feed(l.buf[:n]); err != nil {
			c.broken(err.Error())
		}
	}
}

// ended tells what the end of the connection means.
func (c *client) ended() {
	if c.busy || c.h2 != nil {
		c.broken("the proxy closed the connection before it answered")
		return
	}
	if !c.r.plan.Reconnect {
		c.r.result.Reopened++
	}
	c.r.replace(c)
}

// broken counts a failure and begins anew.
func (c *client) broken(why string) {
	c.r.wrong(why)
	c.r.replace(c)
}

// feed takes what came from the socket.
func (c *client) feed(b []byte) error {
	if c.rec == nil {
		return c.plain(b, &c.part)
	}
	if len(c.part) > 0 {
		c.part = append(c.part, b...)
		b = c.part
	}
	for {
		n, data, err := c.rec.open(b)
		if errors.Is(err, io.EOF) {
			c.ended()
			return nil
		}
		if err != nil {
			return err
		}
		if n == 0 {
			break
		}
		if len(data) > 0 {
			if err := c.data(data); err != nil {
				return err
			}
		}
		b = b[n:]
	}
	c.part = append(c.part[:0], b...)
	if c.h2 != nil {
		c.askHTTP2()
	}
	return nil
}

// data takes what came in a record.
func (c *client) data(b []byte) error {
	if c.h2 == nil {
		return c.plain(b, &c.head)
	}
	return c.h2.feed(b, c.r.body, func(uint32) { c.r.answered(c, 0) })
}

// plain takes bytes of an HTTP/1.1 answer; what is not a whole head stays in
// part.
func (c *client) plain(b []byte, part *[]byte) error {
	if !c.busy {
		return errors.New("bytes that nobody asked for")
	}
	if c.want == nil {
		if len(*part) > 0 {
			*part = append(*part, b...)
			b = *part
		}
		head, length, wrong := head1(b)
		if wrong != "" {
			return errors.New(wrong)
		}
		// The number is looked at in one piece.
		if head == 0 || len(b) < head+digits {
			*part = append((*part)[:0], b...)
			return nil
		}
		*part = (*part)[:0]
		if length != len(c.r.body) {
			return fmt.Errorf("an answer of %d bytes", length)
		}
		c.want, b = c.r.body, b[head:]
	}
	return c.compare(b)
}

// compare checks a piece of the body: the number, and of the rest all that
// came if it is little, its ends if it is much.
func (c *client) compare(b []byte) error {
	if len(b) > len(c.want) {
		return errors.New("an answer that is too long")
	}
	if len(c.want) == len(c.r.body) && len(b) > 0 {
		var d [digits]byte
		number(d[:], c.number)
		n := min(digits, len(b))
		if !bytes.Equal(b[:n], d[:n]) {
			return errors.New("the answer to another request")
		}
		b, c.want = b[n:], c.want[n:]
	}
	const much = 512
	want := c.want[:len(b)]
	c.want = c.want[len(b):]
	same := len(b) <= much && bytes.Equal(b, want) ||
		len(b) > much && bytes.Equal(b[:16], want[:16]) && bytes.Equal(b[len(b)-16:], want[len(b)-16:])
	if !same {
		return errors.New("an answer with other content")
	}
	if len(c.want) == 0 {
		c.want, c.busy = nil, false
		c.r.answered(c, c.due)
	}
	return nil
}
