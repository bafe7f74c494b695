package router

import (
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultHold = 30 * time.Second // how long a request waits, unless the Hold says otherwise
	maxHold     = 10 * time.Minute // and at most
	maxHeld     = 1000             // how many do
)

// gate is where new requests of a paused route wait. It lives as long as the
// pause, whatever else changes about the route.
type gate struct {
	maxWait atomic.Int64 // how long one request may, a time.Duration

	mu    sync.Mutex // guards what follows
	most  int        // how many may wait; more are refused at once
	open  bool
	queue []*waiter // in order of arrival; those who left are nil
	n     int
}

// waiter is a request at a gate.
type waiter struct {
	at int
	// freed is closed when it is its turn. It then must call next.
	freed chan struct{}
}

func newGate(h *Hold) *gate {
	d := time.Duration(min(h.MaxWaitMS, maxHold.Milliseconds())) * time.Millisecond
	if d <= 0 {
		d = defaultHold
	}
	g := &gate{most: maxHeld}
	g.maxWait.Store(int64(d))
	return g
}

// enter queues a request. It returns nil if too many wait already, and false
// if the gate is open by now.
func (g *gate) enter() (w *waiter, shut bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open {
		return nil, false
	}
	if g.n >= g.most {
		return nil, true
	}
	w = &waiter{at: len(g.queue), freed: make(chan struct{})}
	g.queue = append(g.queue, w)
	g.n++
	return w, true
}

// leave takes a request out that does not wait any longer. It returns false
// if its turn came meanwhile.
func (g *gate) leave(w *waiter) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.at >= len(g.queue) || g.queue[w.at] != w {
		return false
	}
	g.queue[w.at] = nil
	g.n--
	if g.n == 0 {
		g.queue = nil
	}
	return true
}

// release lets the first of those that wait go, and all after it in turn.
func (g *gate) release() {
	g.mu.Lock()
	g.open = true
	g.mu.Unlock()
	g.next()
}

// next lets the first of those that wait go.
func (g *gate) next() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, w := range g.queue {
		if w != nil {
			g.queue[i] = nil
			g.n--
			close(w.freed)
			return
		}
	}
	g.queue = nil
}

// wait holds the request until the route is not paused any more, and then
// finds the route anew.
func (t *trip) wait() reason {
	for t.rt != nil && t.rt.rules != nil && t.rt.rules.hold != nil {
		g := t.rt.rules.hold
		w, shut := g.enter()
		if shut {
			if w == nil {
				t.made.retryAfter = 5
				return reasonPaused
			}
			if why := t.queue(g, w); why != reasonNone {
				return why
			}
			// The next one may follow as soon as this one is on its way.
			t.made.baton = g
		}
		t.rt = t.r.table.Load().find(t.ask.host, t.ask.path)
	}
	if t.rt == nil {
		return reasonUnknownRoute
	}
	return reasonNone
}

// queue waits for its turn.
func (t *trip) queue(g *gate, w *waiter) reason {
	timer := time.NewTimer(time.Duration(g.maxWait.Load()))
	defer timer.Stop()
	t.r.metrics.held.Add(1)
	defer t.r.metrics.held.Add(-1)
	look := time.NewTicker(heldLook)
	defer look.Stop()
	v := vigil{grace: t.r.cfg.HalfCloseGrace}
	why := reasonNone
	for why == reasonNone {
		select {
		case <-w.freed:
			return reasonNone
		case <-timer.C:
			t.made.retryAfter = 5
			why = reasonPaused
		case <-t.ask.gone:
			why = reasonClientGone
		case <-look.C:
			if v.left(t.ask.from.client()) {
				why = reasonClientGone
			}
		}
	}
	if g.leave(w) {
		return why
	}
	return reasonNone
}

// heldLook is how often it is looked whether the client of a request that
// waits is still there.
const heldLook = 250 * time.Millisecond

// vigil tells of the client of a request that waits whether it gave up. Whoever
// closes its sending half along with the request, as netcat and some health
// checkers do, wants the answer, and has a while. Whoever closes it while it
// waits has nothing to say by that, and most likely closed it all, which looks
// the same: its request shall neither keep others from waiting nor be made.
type vigil struct {
	grace  time.Duration // how long one that closed its half at first is waited for
	looks  int
	halved bool // at the first look
}

// left takes what was seen, once every heldLook.
func (v *vigil) left(st clientState) bool {
	if v.looks++; v.looks == 1 {
		v.halved = st.halved
	}
	return st.gone || st.halved && (!v.halved || time.Duration(v.looks)*heldLook > v.grace)
}

// passBaton lets the next request of a queue go that this one waited in.
func (t *trip) passBaton() {
	if g := t.made.baton; g != nil {
		t.made.baton = nil
		g.next()
	}
}
