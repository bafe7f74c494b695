package router

import (
	"context"
	"time"
)

// front2 carries HTTP/2.
type front2 struct {
	r    *Router
	open carried[*conn2]
}

// preface is how a client says that it speaks HTTP/2.
var preface = []byte("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

// isPreface reports whether b is the preface, or may become it.
func isPreface(b []byte) bool {
	n := min(len(b), len(preface))
	return string(b[:n]) == string(preface[:n])
}

func newFront2(r *Router) *front2 { return &front2{r: r} }

// serve carries a connection to its end.
func (f *front2) serve(a *arrival) { f.carry(f.take(a)) }

// take makes a connection one that a drain finds.
func (f *front2) take(a *arrival) *conn2 {
	c := newConn2(f.r, a)
	f.open.add(c)
	a.settle()
	return c
}

func (f *front2) carry(c *conn2) {
	shard := f.r.sweeper.add(&c.watch)
	c.serve()
	f.r.sweeper.drop(&c.watch, shard)
	f.open.remove(c)
	c.a.leave()
}

// announce tells clients to go on elsewhere, until the grace is over: idle
// ones at once, busy ones along with their next answer, so that they do not
// learn it while they send a request, and the rest at half-time.
func (f *front2) announce(grace time.Duration, over <-chan struct{}) {
	// A client that does not read must not hold up others.
	f.open.each(func(c *conn2) { go c.announce(idleForLong) })
	timer := time.NewTimer(grace / 2)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.open.each(func(c *conn2) { go c.announce(0) })
	case <-over:
	}
}

// idleForLong is from when on a connection counts as one nobody is about to
// use.
const idleForLong = 100 * time.Millisecond

// drain waits until the last connection ended, and cuts what is left when ctx
// ends. Requests that came are served, idle connections closed.
func (f *front2) drain(ctx context.Context) {
	f.open.each(func(c *conn2) { go c.leave() })
	if f.open.wait(ctx) {
		return
	}
	f.open.each(func(c *conn2) {
		c.fail(context.Cause(ctx))
		_ = c.in.c.Close()
	})
	last, cancel := context.WithTimeout(context.Background(), 6*time.Second)
	defer cancel()
	f.open.wait(last)
}
