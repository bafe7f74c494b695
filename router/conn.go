package router

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// clientConn is a connection from a client as net/http's server sees it: what
// comes in has passed the guard, and a client that only closed its sending
// half is not taken for one that went away.
type clientConn struct {
	*arrival
	r    *Router
	peer netip.Addr

	reading  sync.Mutex // one Read at a time; guards guard
	guard    guard
	refused  atomic.Uint32 // the reason, once the guard refused a head
	badBody  atomic.Bool   // the guard refused a body
	open     atomic.Bool   // hijacked: the guard lets everything pass
	wasReset atomic.Bool   // the next Close is to be a reset

	mu       sync.Mutex
	deadline time.Time     // as net/http set it
	headEnd  time.Time     // when the head that began must be complete; zero: none began
	wake     chan struct{} // closed when the deadline changes; nil: nobody waits
	closed   bool
}

func newClientConn(r *Router, a *arrival) *clientConn {
	c := &clientConn{arrival: a, r: r, peer: a.peer.Addr()}
	c.guard.onSlow = c.headBegun
	return c
}

// RemoteAddr implements net.Conn: it is the client, whoever connected for it.
func (c *clientConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.arrival.peer) }

// Read implements net.Conn.
//
// net/http watches for the client's departure during a request by reading
// a single byte. An end of the stream at that moment may be a half-close, as
// netcat and some health checkers do after their request: it is held back for
// a while, so that the answer gets through. A reset is reported at once.
func (c *clientConn) Read(p []byte) (int, error) {
	if c.open.Load() {
		return c.readOpen(p)
	}
	n, err, half := c.readGuarded(p)
	if half {
		err = c.linger()
	}
	return n, err
}

// readGuarded reads past the guard. half says that the client may only have
// closed its sending half.
func (c *clientConn) readGuarded(p []byte) (n int, err error, half bool) {
	c.reading.Lock()
	defer c.reading.Unlock()
	g := &c.guard
	err = io.EOF
	if !g.eof {
		n, err = g.read(p, c.Conn)
		g.eof = err == io.EOF
		if g.wasSlow && !g.slow {
			g.wasSlow = false
			c.headDone()
		}
	}
	if g.refused != reasonNone {
		c.refused.Store(uint32(g.refused))
	}
	if g.bad == errBadBody {
		c.badBody.Store(true)
	}
	half = g.eof && len(p) == 1 && g.mode == guardHead
	return n, err, half
}

// release lets everything pass from now on: the connection is a tunnel.
func (c *clientConn) release() {
	c.open.Store(true)
	c.headDone()
}

// readOpen reads what the guard may hold, then the connection.
func (c *clientConn) readOpen(p []byte) (int, error) {
	c.reading.Lock()
	c.guard.mode = guardOpen
	if len(c.guard.buf) > 0 {
		c.guard.ready = len(c.guard.buf)
		n := c.guard.take(p)
		c.reading.Unlock()
		return n, nil
	}
	c.reading.Unlock()
	return c.Conn.Read(p)
}

// headBegun gives the rest of a head its own deadline: net/http still waits
// under that for idle connections.
func (c *clientConn) headBegun() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headEnd = time.Now().Add(c.r.cfg.HeadTimeout)
	_ = c.Conn.SetReadDeadline(c.limitLocked())
}

// headDone ends what headBegun began.
func (c *clientConn) headDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headEnd = time.Time{}
	_ = c.Conn.SetReadDeadline(c.deadline)
}

// limitLocked returns the earlier of the deadlines.
func (c *clientConn) limitLocked() time.Time {
	if c.deadline.IsZero() || !c.headEnd.IsZero() && c.headEnd.Before(c.deadline) {
		return c.headEnd
	}
	return c.deadline
}

// linger waits until net/http needs the connection, it is closed, or the
// client's half-close counts as its departure.
func (c *clientConn) linger() error {
	timer := time.NewTimer(c.r.cfg.HalfCloseGrace)
	defer timer.Stop()
	for {
		c.mu.Lock()
		if c.closed {
			c.mu.Unlock()
			return net.ErrClosed
		}
		if !c.deadline.IsZero() && !time.Now().Before(c.deadline) {
			c.mu.Unlock()
			return os.ErrDeadlineExceeded
		}
		if c.wake == nil {
			c.wake = make(chan struct{})
		}
		wake := c.wake
		c.mu.Unlock()
		select {
		case <-wake:
		case <-timer.C:
			return io.EOF
		}
	}
}

// SetReadDeadline implements net.Conn.
func (c *clientConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deadline = t
	c.wakeLocked()
	return c.Conn.SetReadDeadline(c.limitLocked())
}

// SetDeadline implements net.Conn.
func (c *clientConn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.Conn.SetWriteDeadline(t)
}

// Close implements net.Conn. The client of a refused request may still be
// sending: the kernel would take the answer back if nobody read that.
func (c *clientConn) Close() error {
	c.mu.Lock()
	again := c.closed
	c.closed = true
	c.wakeLocked()
	c.mu.Unlock()
	if again || c.refused.Load() == 0 && !c.badBody.Load() || c.wasReset.Load() || c.CloseWrite() != nil {
		return c.arrival.Close()
	}
	_ = c.Conn.SetReadDeadline(time.Now().Add(lingerTime))
	go func() {
		_, _ = io.CopyN(io.Discard, c.Conn, lingerBytes)
		_ = c.arrival.Close()
	}()
	return nil
}

// CloseWrite closes the sending half, if the connection has halves.
func (c *clientConn) CloseWrite() error { return closeWrite(c.Conn) }

func (c *clientConn) wakeLocked() {
	if c.wake != nil {
		close(c.wake)
		c.wake = nil
	}
}

// reset makes the next Close a reset, so that a client which reads until the
// end of the connection does not take it for the end of the answer.
func (c *clientConn) reset() {
	c.wasReset.Store(true)
	reset(c.Conn)
}

func closeWrite(c any) error {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return errors.ErrUnsupported
}

// stopListener accepts connections until it is stopped. Unlike a closed
// listener, a stopped one has handed over every connection it accepted, and
// leaves those not accepted in the kernel's queue for whoever shares it.
type stopListener struct {
	net.Listener
	stopped atomic.Bool
}

// stop makes Accept return without touching the queue.
func (l *stopListener) stop() {
	l.stopped.Store(true)
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok && d.SetDeadline(time.Unix(1, 0)) == nil {
		return
	}
	_ = l.Listener.Close()
}
