package router

import (
	"errors"
	"os"
	"time"

	"weir/router/wire"
)

// await waits for the first bytes of a request that quick leaves to others.
func (c *conn1) await() error {
	if c.raw == nil {
		return c.fill()
	}
	if c.waiting == nil {
		c.waiting = c.readable
	}
	err := c.result(c.raw.Read(c.waiting))
	if errors.Is(err, os.ErrDeadlineExceeded) && c.from == c.to {
		// What came along with the end of the wait is still served.
		_ = c.c.SetReadDeadline(time.Time{})
		err = c.result(c.raw.Read(func(fd uintptr) bool { c.readReady(fd); return true }))
	}
	return err
}

// readable is called when there may be something to read, at first on
// suspicion. While it returns false it is called again after the next bytes
// came. In this way a connection that brings one simple request after another
// never asks the kernel in vain whether the next one is here.
func (c *conn1) readable(fd uintptr) bool {
	return c.readReady(fd) && (c.n == 0 || !c.quick())
}

// quick carries requests that are here as a whole, and reports whether the
// connection is to wait for another one. It must not read.
func (c *conn1) quick() bool {
	for c.from < c.to {
		x, b := c.newExchange(), c.bytes()
		n, v := wire.ParseRequest(b, &x.req)
		if v != wire.Fast || x.req.Length < 0 || x.req.Length > int64(len(b)-n) || c.isChallenge(x) {
			c.x = nil
			x.done()
			return false
		}
		c.take(n)
		c.carry(x)
		if c.closing {
			return false
		}
	}
	if c.watch.down.enter(phaseIdle, c.over) == phaseExpired || c.f.last.Load() {
		return false
	}
	c.release()
	return true
}
