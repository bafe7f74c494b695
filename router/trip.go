package router

import "time"

// trip is the way of one request: choose, claim, exchange, release. It is
// used by one goroutine.
type trip struct {
	r     *Router
	ask   ask
	begun int64 // on the router's clock
	over  int64 // when finish was called

	rt    *route
	dest  *destination
	b     *backend
	taken bool // b is claimed
	made  decision

	tried    [maxAttempts]*backend
	attempts int
	stale    bool  // the last one, for want of nothing but a fresh connection
	lastSent int64 // when the last attempt began

	rec record
}

// claim picks the destination and instance for the next attempt and counts
// the request in flight there. Each successful claim must be followed by
// unclaim.
func (t *trip) claim() reason {
	for {
		if t.rt == nil {
			return reasonUnknownRoute
		}
		d, b := t.pick()
		if b == nil {
			return t.nobody()
		}
		if t.r.backends.claim(b) {
			t.took(d, b)
			return reasonNone
		}
		// It left the table since this request loaded it: a newer table, and
		// only a newer one, does not have it.
		t.rt = t.r.table.Load().find(t.ask.host, t.ask.path)
	}
}

func (t *trip) took(d *destination, b *backend) {
	t.dest, t.b, t.taken = d, b, true
	t.tried[t.attempts] = b
	t.attempts++
	t.lastSent = t.r.now()
	t.passBaton()
	d.counts().inFlight.Add(1)
	if t.attempts > 1 {
		d.counts().retries.Add(1)
	}
}

// unclaim ends an attempt.
func (t *trip) unclaim() {
	if t.taken {
		t.taken = false
		t.dest.counts().inFlight.Add(-1)
		t.r.backends.unclaim(t.b)
	}
}

// answered notes that the claimed instance began an answer.
func (t *trip) answered() {
	t.headArrived()
	t.b.reached(t.made.headAt)
}

// lost ends an attempt that brought no answer, judges the instance by what
// the instance did, and reports whether to claim again.
func (t *trip) lost(o outcome, q request) (again bool) {
	switch o.why {
	case reasonUnreachable:
		t.b.failures.Add(1)
		if !o.local {
			t.b.unreachable(t.r.now())
		}
	case reasonClosed, reasonBadResponse, reasonTimeout:
		if !o.stale {
			t.b.failures.Add(1)
			t.b.brokeOff(t.r.now())
		}
	}
	t.stale = o.stale
	t.blame(o)
	t.unclaim()
	if !mayRetry(o, q, t.attempts) {
		return false
	}
	// The table may have changed, and the next pick must find something.
	t.rt = t.r.table.Load().find(t.ask.host, t.ask.path)
	if t.rt == nil {
		return false
	}
	_, b := t.pick()
	return b != nil
}

// finish counts and logs the request. The claim must have been released.
func (t *trip) finish(why reason) {
	now := t.r.now()
	t.over = now
	rec := &t.rec
	rec.total = time.Duration(now - t.begun)
	if t.attempts > 0 {
		rec.backend = time.Duration(now - t.lastSent)
		rec.failedAttempts = t.attempts
		if t.reached() {
			rec.failedAttempts--
		}
	}
	if why != reasonNone {
		rec.code, rec.reason = reasons[why].code, why.String()
	}
	switch {
	case t.dest != nil:
		rec.appGUID, rec.version = t.dest.src.AppGUID, t.dest.src.Label
		rec.instanceGUID, rec.instanceIndex, rec.backendAddr = t.b.guid, t.b.index, t.b.addr
	case t.rt != nil:
		rec.appGUID = t.rt.onlyApp()
	}
	t.conclude(why)
	t.r.metrics.count(t, why)
	t.r.log.offer(rec)
}

// reached reports whether the last attempt brought an answer.
func (t *trip) reached() bool { return t.rec.answered }
