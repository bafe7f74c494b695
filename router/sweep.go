package router

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// phase is what an exchange, or a connection between two, waits for.
type phase uint8

const (
	phaseNone    phase = iota // nothing that is bounded here
	phaseFirst                // the first request of a connection
	phaseIdle                 // the next one
	phaseRequest              // the rest of a request head
	phaseLinger               // the end of a connection that was closed
	phaseHead                 // the instance's response head
	phaseBody                 // more of the instance's response body
	phaseWrite                // the client, to take the answer
	phaseSplice               // both: the kernel moves the body
	phaseUpRead               // upload: the client, to send more of its body
	phaseUpWrite              // upload: the instance, to take it
	phaseExpired              // the sweeper ended the wait
	phaseMask    = 1<<8 - 1
)

// moment is a phase and since when, on the router's clock: one atomic word.
type moment struct{ v atomic.Int64 }

// enter begins a phase and returns the one before it, phaseExpired if the
// sweeper ended that.
func (m *moment) enter(p phase, now int64) phase {
	return phase(m.v.Swap(now&^phaseMask|int64(p)) & phaseMask)
}

// again begins the given phase anew, if it is the one under way.
func (m *moment) again(p phase, now int64) {
	if q, _, v := m.load(); q == p {
		m.v.CompareAndSwap(v, now&^phaseMask|int64(p))
	}
}

func (m *moment) load() (p phase, since, v int64) {
	v = m.v.Load()
	return phase(v & phaseMask), v &^ phaseMask, v
}

// watch is what the sweeper knows about a connection from a client, or about
// an exchange that came otherwise. There are no timers: whoever waits notes
// for what and since when, and the sweeper, which comes by several times a
// second, ends the waits that took too long.
type watch struct {
	down      moment                             // the way of the answer, and between requests
	up        moment                             // an upload beside it
	head      atomic.Int64                       // limit of phaseHead
	stream    atomic.Int64                       // limit of phaseBody
	moved     atomic.Uint64                      // what the client had taken when last looked at
	begun     atomic.Int64                       // of the request under way; 0: none
	slowSince atomic.Int64                       // since when a client that takes little was waited for; 0: it is not
	slowFrom  atomic.Uint64                      // what it had taken then
	tooSlow   atomic.Bool                        // it took too little: what the kernel holds for it goes
	halved    atomic.Int64                       // since when the client's sending half is known to be closed
	stop      atomic.Pointer[context.CancelFunc] // ends an exchange over HTTP/2
	hasty     atomic.Bool                        // the upload must come at a minimum rate
	got       atomic.Int64                       // bytes of the upload

	cause   atomic.Uint32 // a reason: why the exchange was ended from outside
	ends    ends
	streams bool // it is of a connection with streams: in phaseNone some may be written to

	mu   sync.Mutex // guards over, and the deadlines set on it
	over *upConn    // the connection to the instance; nil: none
}

// use makes u the connection whose waits are ended.
func (w *watch) use(u *upConn) {
	w.mu.Lock()
	w.over = u
	w.mu.Unlock()
}

// letGo ends use, and reports whether nobody ended a wait meanwhile: such a
// connection is of no use to others.
func (w *watch) letGo() (good bool) {
	w.mu.Lock()
	u := w.over
	w.over = nil
	good = u == nil || !u.ended
	w.mu.Unlock()
	return good
}

// ends are how the waits of a watch are ended from another goroutine.
type ends interface {
	// unblock makes reads from and writes to the client that are under way,
	// and later ones, fail.
	unblock(read, write bool)
	// client tells how the client's side of the connection is, if that can
	// be known.
	client() clientState
}

// clientState is what the kernel says about a client's connection.
type clientState struct {
	gone   bool   // reset, or closed
	halved bool   // it closed its sending half
	known  bool   // what follows is
	taken  uint64 // bytes it acknowledged
	behind bool   // there are bytes it did not acknowledge
}

// limit returns how long a phase may take.
func (w *watch) limit(p phase, cfg *Config) time.Duration {
	switch p {
	case phaseFirst, phaseRequest:
		return cfg.HeadTimeout
	case phaseIdle:
		return cfg.IdleTimeout
	case phaseWrite, phaseUpWrite:
		return cfg.StallTimeout
	case phaseUpRead:
		if q, _, _ := w.down.load(); q != phaseHead && q != phaseNone || !w.hasty.Load() {
			return cfg.StreamTimeout // the two may be talking to each other
		}
		return cfg.StallTimeout
	case phaseHead:
		return time.Duration(w.head.Load())
	case phaseBody, phaseSplice:
		return time.Duration(w.stream.Load())
	case phaseLinger:
		return lingerTime
	}
	return 0
}

// cancel ends the exchange for the given reason. It may be called from any
// goroutine; the first one counts.
func (w *watch) cancel(why reason) {
	if w.cause.CompareAndSwap(uint32(reasonNone), uint32(why)) {
		w.expire()
	}
}

// expire ends whatever is waited for on the way down.
func (w *watch) expire() {
	w.down.enter(phaseExpired, 0)
	w.endRead()
}

// endRead ends a wait for the instance.
func (w *watch) endRead() {
	w.mu.Lock()
	if u := w.over; u != nil {
		u.ended = true
		_ = u.c.SetReadDeadline(past)
	}
	w.mu.Unlock()
	if stop := w.stop.Load(); stop != nil {
		(*stop)()
	}
}

// endWrite ends a wait for the instance to take more of an upload.
func (w *watch) endWrite() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if u := w.over; u != nil {
		u.ended = true
		_ = u.c.SetWriteDeadline(past)
	}
}

var past = time.Unix(1, 0)

// sweeper ends waits that take too long, and idle connections to instances.
type sweeper struct {
	r      *Router
	shards [16]struct {
		mu  sync.Mutex // guards all
		all map[*watch]struct{}
	}
	next atomic.Uint32 // shard of the next watch
}

// add makes s watch w until drop; shard is what drop needs.
func (s *sweeper) add(w *watch) (shard uint32) {
	shard = s.next.Add(1) % uint32(len(s.shards))
	sh := &s.shards[shard]
	sh.mu.Lock()
	if sh.all == nil {
		sh.all = make(map[*watch]struct{})
	}
	sh.all[w] = struct{}{}
	sh.mu.Unlock()
	return shard
}

func (s *sweeper) drop(w *watch, shard uint32) {
	w.down.enter(phaseNone, 0) // if it is just being looked at
	w.up.enter(phaseNone, 0)
	sh := &s.shards[shard]
	sh.mu.Lock()
	delete(sh.all, w)
	sh.mu.Unlock()
}

// period is how often the sweeper comes by: often enough for the shortest of
// the limits.
func (c *Config) period() time.Duration {
	d := time.Second
	for _, t := range []time.Duration{c.HeadTimeout, c.IdleTimeout, c.HalfCloseGrace, c.ResponseTimeout, c.StallTimeout, c.SlowTimeout, c.StreamTimeout, c.IdleGrace, c.BackendIdleTimeout} {
		d = min(d, t/8)
	}
	return min(max(d, 2*time.Millisecond), 250*time.Millisecond)
}

// Connections that were opened together and do nothing are all to be ended in
// the same moment, and what that takes would hold up the requests beside it. So
// the sweeper pauses for endPause after every endAtOnce, or, where there are
// many, after such a part of all connections that it pauses endTurns times at
// most.
const (
	endAtOnce = 4
	endTurns  = 256
	endPause  = 4 * time.Millisecond
)

// run sweeps until stop is closed.
func (s *sweeper) run(stop <-chan struct{}) {
	tick := time.NewTicker(s.r.cfg.period())
	defer tick.Stop()
	var all []*watch
	seen, lastPools := 0, int64(0)
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
		}
		now := s.r.tick()
		ended, atOnce := 0, max(endAtOnce, seen/endTurns)
		seen = 0
		for i := range s.shards {
			sh := &s.shards[i]
			all = all[:0]
			sh.mu.Lock()
			for w := range sh.all {
				all = append(all, w)
			}
			sh.mu.Unlock()
			seen += len(all)
			for _, w := range all {
				if !s.look(w, now) {
					continue
				}
				if ended++; ended%atOnce == 0 {
					time.Sleep(endPause)
					now = s.r.tick()
				}
			}
		}
		clear(all)
		s.r.tunnels.sweep(now, s.r.draining.Load(), s.r.cfg.DrainTimeout)
		if now-lastPools > int64(s.r.cfg.BackendIdleTimeout)/4 {
			lastPools = now
			s.r.workers.trim()
			s.r.backends.each(func(b *backend) { b.up.sweep(now, b.gone.Load()) })
		}
	}
}

// look ends the waits of w that took too long, and reports whether there was
// one.
func (s *sweeper) look(w *watch, now int64) (ended bool) {
	cfg := &s.r.cfg
	if p, since, v := w.up.load(); p != phaseNone && p != phaseExpired {
		ended = s.lookUpload(w, p, since, v, now)
	}
	p, since, v := w.down.load()
	if begun := w.begun.Load(); begun != 0 && now-begun > int64(time.Second) {
		s.probe(w, now)
	}
	if p == phaseIdle && now-since < 4*int64(cfg.period()) {
		s.lookForEnd(w, v)
	}
	if s.mayTakeTooLittle(w, p, since, now) && s.takesTooLittle(w, since, now) {
		if !w.down.v.CompareAndSwap(v, int64(p)<<8|int64(phaseExpired)) {
			return ended
		}
		w.tooSlow.Store(true)
		w.endRead()
		w.ends.unblock(p == phaseIdle, true)
		return true
	}
	limit := w.limit(p, cfg)
	if limit == 0 || time.Duration(now-since) < limit {
		if p != phaseSplice || time.Duration(now-since) < cfg.StallTimeout {
			return ended
		}
	}
	switch p {
	case phaseWrite, phaseSplice:
		st := w.ends.client()
		if st.known && w.moved.Swap(st.taken) != st.taken {
			w.down.v.CompareAndSwap(v, now&^phaseMask|int64(p)) // it moves, if slowly
			return ended
		}
		if p == phaseSplice && !st.behind && time.Duration(now-since) < limit {
			return ended // the instance is silent, not the client
		}
	case phaseHead:
		if up, _, _ := w.up.load(); up == phaseUpRead {
			return ended // while the client still sends, the instance need not answer
		}
	}
	if !w.down.v.CompareAndSwap(v, int64(p)<<8|int64(phaseExpired)) {
		return ended
	}
	switch p {
	case phaseHead, phaseBody:
		w.endRead()
	case phaseSplice:
		w.endRead()
		w.ends.unblock(false, true)
	case phaseWrite:
		w.ends.unblock(false, true)
	default:
		// What is complete by now is still served.
		w.ends.unblock(true, false)
	}
	return true
}

// mayTakeTooLittle reports whether it is worth to ask the kernel. Behind an
// answer that went out as a whole, into the kernel's buffers, it is asked once,
// and again only if the client did not have all of it by then.
func (s *sweeper) mayTakeTooLittle(w *watch, p phase, since, now int64) bool {
	waited, least := time.Duration(now-since), s.r.cfg.SlowTimeout/10
	if w.slowSince.Load() != 0 {
		return p == phaseWrite || p == phaseSplice || p == phaseIdle || p == phaseNone && w.streams
	}
	switch p {
	case phaseWrite, phaseSplice:
		return waited >= least
	case phaseIdle:
		return waited >= least && waited < least+2*s.r.cfg.period()
	}
	return false
}

// takesTooLittle reports whether a client that is written to takes the answer
// so slowly that it can only mean to keep us busy. Since when is counted from
// the first time it was waited for; what it took by then does not count.
func (s *sweeper) takesTooLittle(w *watch, since, now int64) bool {
	st := w.ends.client()
	if !st.known || !st.behind {
		w.slowSince.Store(0)
		return false
	}
	if w.slowSince.Load() == 0 {
		w.slowSince.Store(since)
		w.slowFrom.Store(st.taken)
		return false
	}
	waited := time.Duration(now - w.slowSince.Load())
	return waited >= s.r.cfg.SlowTimeout && float64(st.taken-w.slowFrom.Load()) < slowReadRate*waited.Seconds()
}

// lookUpload is look for the way of an upload.
func (s *sweeper) lookUpload(w *watch, p phase, since, v, now int64) (ended bool) {
	waited := time.Duration(now - since)
	begun := time.Duration(now - w.begun.Load())
	down, _, _ := w.down.load()
	slow := p == phaseUpRead && (down == phaseHead || down == phaseNone) && w.hasty.Load() &&
		begun >= s.r.cfg.SlowTimeout && waited >= s.r.cfg.SlowTimeout/10 &&
		float64(w.got.Load()) < slowBodyRate*begun.Seconds()
	if waited < w.limit(p, &s.r.cfg) && !slow {
		return false
	}
	if !w.up.v.CompareAndSwap(v, int64(p)<<8|int64(phaseExpired)) {
		return false
	}
	if p == phaseUpRead {
		w.ends.unblock(true, false)
	} else {
		w.endWrite()
	}
	return true
}

// lookForEnd ends the wait for another request if there will be none. An end
// that comes together with a request wakes nobody, because a wait that follows
// it is for what comes then.
func (s *sweeper) lookForEnd(w *watch, v int64) {
	if st := w.ends.client(); !st.gone && !st.halved {
		return
	}
	if w.down.v.CompareAndSwap(v, int64(phaseIdle)<<8|int64(phaseExpired)) {
		w.ends.unblock(true, false)
	}
}

// probe looks whether the client of a request under way is still there. One
// that closed only its sending half, as netcat and some health checkers do
// after their request, is waited for.
func (s *sweeper) probe(w *watch, now int64) {
	switch p, _, _ := w.down.load(); p {
	case phaseHead, phaseBody:
	default:
		return // whoever reads or writes sees it
	}
	st := w.ends.client()
	switch {
	case st.gone:
		w.cancel(reasonClientGone)
	case st.halved:
		if w.halved.CompareAndSwap(0, now) {
			return
		}
		if time.Duration(now-w.halved.Load()) > s.r.cfg.HalfCloseGrace {
			w.cancel(reasonClientGone)
		}
	}
}
