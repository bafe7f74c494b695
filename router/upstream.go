package router

import (
	"context"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// upConn is a connection to an instance. It is used by one request at a time.
type upConn struct {
	stream
	b     *backend
	reuse bool  // it carried a request before
	used  int64 // when it was last given back, on the router's clock
	limit int64 // for how long it may lie unused after that
	sent  atomic.Int64
	ended bool // a wait for it was ended; guarded by the watch that did

	asking  func(fd uintptr) bool // exchange
	looking func(fd uintptr)      // look
	alive   bool                  // what it saw
}

// Write implements io.Writer. It counts what the kernel took, because whether
// a request may be repeated hangs on whether any of it was sent.
func (u *upConn) Write(p []byte) (int, error) {
	n, err := u.send(p)
	u.sent.Add(int64(n))
	return n, err
}

// ask writes p, a whole request, and waits for the first bytes of the answer.
// unsent says that not all of p was written: an error is about that, and
// without one the rest is for the caller to write and the answer to wait for.
//
// Both are done within one wait for the answer, which began before the request
// left. So the kernel need not be asked in vain whether the answer is there;
// but what the instance said before, such as that it closed the connection,
// may be forgotten. That is why it is for a connection that was just used.
func (u *upConn) ask(p []byte) (unsent []byte, err error) {
	if u.asking == nil {
		u.asking = u.exchange
	}
	u.rest, u.failed, u.n, u.err = p, nil, 0, nil
	err = u.raw.Read(u.asking)
	unsent, u.rest = u.rest, nil
	switch {
	case len(unsent) == 0:
		return nil, u.result(err)
	case err == nil:
		err = u.failed
	}
	return unsent, err
}

// exchange writes when it is called first, and reads when it is called again.
func (u *upConn) exchange(fd uintptr) bool {
	if len(u.rest) == 0 {
		return u.readReady(fd)
	}
	n, err := sockWrite(fd, u.rest, nil, false)
	u.sent.Add(int64(n))
	u.rest = u.rest[n:]
	if err != nil && err != syscall.EAGAIN {
		u.failed = err
	}
	return len(u.rest) > 0
}

// isHot reports whether u was used so lately that ask may be used.
func (u *upConn) isHot(now int64) bool {
	return u.raw != nil && u.reuse && now-u.used < int64(hotReuse)
}

// CloseWrite closes the sending half.
func (u *upConn) CloseWrite() error { return closeWrite(u.c) }

// Close implements io.Closer. It may be called while others read or write.
func (u *upConn) Close() error { return u.c.Close() }

// discard closes a connection that nobody uses.
func (u *upConn) discard() {
	u.drop()
	_ = u.c.Close()
}

// The rules of taking an idle connection.
const (
	maxIdlePerInstance = 1024
	// blindReuse is for how long an idle connection is believed to be open;
	// an older one is looked at first.
	blindReuse = time.Second
	// hastyReuse is up to what age one is taken at all for a request that could
	// not be repeated; it is looked at in any case.
	hastyReuse = 100 * time.Millisecond
	// hotReuse is for how long an instance is believed not to have begun to
	// close.
	hotReuse = 10 * time.Millisecond
)

// idlePool holds the idle connections to one instance, the last used on top. The
// zero value is empty.
type idlePool struct {
	mu     sync.Mutex // guards idle and closed
	idle   []*upConn
	closed bool // the instance left the table: nothing is kept any more
}

// take returns an idle connection that is alive, or nil. A request that could
// not be repeated gets only one that was used a moment ago.
func (p *idlePool) take(now int64, repeatable bool) *upConn {
	for {
		p.mu.Lock()
		n := len(p.idle)
		if n == 0 {
			p.mu.Unlock()
			return nil
		}
		u := p.idle[n-1]
		age := now - u.used
		if !repeatable && age > int64(hastyReuse) && age < u.limit {
			p.mu.Unlock()
			return nil // a fresh one is safer; this one stays
		}
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		p.mu.Unlock()
		if age < u.limit && (repeatable && age < int64(blindReuse) || u.isAlive()) {
			u.reuse = true
			u.sent.Store(0)
			return u
		}
		u.discard()
	}
}

// put gives a connection back that may carry another request.
func (p *idlePool) put(u *upConn, now int64) {
	u.release()
	u.used = now
	p.mu.Lock()
	if p.closed || len(p.idle) >= maxIdlePerInstance {
		p.mu.Unlock()
		u.discard()
		return
	}
	p.idle = append(p.idle, u)
	p.mu.Unlock()
}

// open lets connections be kept again: the instance is back in the table.
func (p *idlePool) open() {
	p.mu.Lock()
	p.closed = false
	p.mu.Unlock()
}

// sweep closes the connections that lay unused for too long; all of them if
// the instance is gone.
func (p *idlePool) sweep(now int64, gone bool) {
	p.mu.Lock()
	p.closed = gone
	n := 0
	for n < len(p.idle) && (gone || now-p.idle[n].used > p.idle[n].limit) {
		n++
	}
	var old []*upConn
	if n > 0 {
		old = append(old, p.idle[:n]...)
		rest := copy(p.idle, p.idle[n:])
		clear(p.idle[rest:])
		p.idle = p.idle[:rest]
	}
	p.mu.Unlock()
	for _, u := range old {
		u.discard()
	}
}

// dial opens a connection to b.
func (b *backend) dial(ctx context.Context, cfg *Config) (*upConn, error) {
	d := net.Dialer{Timeout: cfg.DialTimeout, KeepAlive: 15 * time.Second, Control: nearby}
	c, err := d.DialContext(ctx, "tcp", b.addr)
	if err != nil {
		return nil, &dialError{err}
	}
	return &upConn{stream: newStream(c), b: b, limit: int64(cfg.BackendIdleTimeout)}, nil
}

// isAlive looks at an idle connection: nothing may have come on it.
func (u *upConn) isAlive() bool {
	if u.raw == nil {
		return false
	}
	if u.looking == nil {
		u.looking = u.look
	}
	u.alive = false
	return u.raw.Control(u.looking) == nil && u.alive
}

func (u *upConn) look(fd uintptr) {
	_, _, err := syscall.Recvfrom(int(fd), u.one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	u.alive = err == syscall.EAGAIN
}

// keepAlive takes over how long the instance keeps the connection: it must not
// be the one who closes it.
func (u *upConn) keepAlive(seconds int, def time.Duration) {
	limit := def
	if seconds >= 0 {
		limit = time.Duration(seconds)*time.Second - time.Second
		if seconds <= 1 {
			limit = time.Duration(seconds) * 500 * time.Millisecond
		}
		limit = min(limit, time.Minute)
	}
	u.limit = int64(limit)
}

// dialError says that no connection came about.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// isLocal reports whether dialling failed for want of something on this side.
func (e *dialError) isLocal() bool {
	for _, no := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
	} {
		if errors.Is(e.err, no) {
			return true
		}
	}
	return false
}
