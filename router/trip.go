package router

import (
	"strconv"
	"strings"
	"time"
)

// ask is what decides about a request, read off it by the road it came on.
type ask struct {
	host   string // normalised
	path   string // raw, up to the query
	sticky string // the instance its session is pinned to, if it has a session
	wish   wish
}

// wish names one instance, or any instance of one process: the headers
// X-Cf-App-Instance and X-Cf-Process-Instance.
type wish struct {
	app, process string
	index        int // -1: any
}

func (w wish) isSet() bool { return w.app != "" || w.process != "" }

func (w wish) means(d *Destination) bool {
	if w.app != "" {
		return d.AppGUID == w.app
	}
	if d.ProcessGUID != "" {
		return d.ProcessGUID == w.process
	}
	return d.AppGUID == w.process
}

// parseWish reads the values of X-Cf-App-Instance and X-Cf-Process-Instance;
// either may be empty.
func parseWish(app, process string) (w wish, why reason) {
	w.index = -1
	value := app
	bad := reasonBadAppInstance
	if app == "" {
		value, bad = process, reasonBadProcessInstance
	}
	if value == "" {
		return w, reasonNone
	}
	guid, index, found := strings.Cut(value, ":")
	if guid == "" || len(guid) > 128 || app != "" && !found {
		return w, bad
	}
	if found {
		n, err := strconv.ParseUint(index, 10, 31)
		if err != nil || index[0] == '+' {
			return w, bad
		}
		w.index = int(n)
	}
	if app != "" {
		w.app = guid
	} else {
		w.process = guid
	}
	return w, reasonNone
}

// trip is the way of one request: choose, claim, exchange, release. It is
// used by one goroutine.
type trip struct {
	r     *Router
	ask   ask
	begun int64 // on the router's clock

	rt    *route
	dest  *destination
	b     *backend
	taken bool // b is claimed

	tried    [maxAttempts]*backend
	attempts int
	lastSent int64 // when the last attempt began

	rec Record
}

// choose finds the route. Any reason but reasonNone ends the trip.
func (t *trip) choose(a ask) reason {
	t.ask = a
	table := t.r.table.Load()
	t.rt = table.find(a.host, a.path)
	if !isPlainPath(a.path) {
		// The instance may read the path otherwise than we do. That is its
		// business, unless it is about which route it is.
		clean, ok := cleanPath(a.path)
		if !ok || table.find(a.host, clean) != t.rt {
			t.rt = nil
			return reasonBadRequest
		}
	}
	if t.rt == nil {
		return reasonUnknownRoute
	}
	return reasonNone
}

// claim picks the destination and instance for the next attempt and counts
// the request in flight there. Each successful claim must be followed by
// unclaim.
func (t *trip) claim() reason {
	for {
		if t.rt == nil {
			return reasonUnknownRoute
		}
		if len(t.rt.live) == 0 {
			return reasonNoEndpoints
		}
		d, b := t.pick()
		if b == nil {
			if t.ask.wish.isSet() {
				return reasonUnknownInstance
			}
			return reasonNoEndpoints
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
	d.stats.inFlight.Add(1)
	if t.attempts > 1 {
		d.stats.retries.Add(1)
	}
}

// pick chooses destination and backend; nil if there is none.
func (t *trip) pick() (*destination, *backend) {
	tried := t.tried[:t.attempts]
	if t.ask.wish.isSet() {
		d, b := t.rt.indexed(t.ask.wish)
		if d != nil && b == nil {
			b = d.pick(tried, t.r.now)
		}
		return d, b
	}
	if len(tried) == 0 {
		if t.ask.sticky != "" {
			if d, b := t.rt.instance(t.ask.sticky); b != nil {
				return d, b
			}
		}
		d := t.rt.next()
		b := d.pick(nil, t.r.now)
		if len(t.rt.live) > 1 && b.ejectedUntil.Load() != 0 {
			return t.failover(d, b)
		}
		return d, b
	}
	return t.pickAgain(tried)
}

// failover returns d and b, unless no instance of d can be reached at present
// but one of another destination can.
func (t *trip) failover(d *destination, b *backend) (*destination, *backend) {
	now := t.r.now()
	if !d.isDown(now) {
		return d, b
	}
	for _, o := range t.rt.live {
		if !o.isDown(now) {
			return o, o.pick(nil, t.r.now)
		}
	}
	return d, b
}

// pickAgain chooses for another attempt: a backend of the same destination
// that was not tried, then one of another destination, then, if there is
// nothing else at all, the same again.
func (t *trip) pickAgain(tried []*backend) (*destination, *backend) {
	for _, d := range t.rt.live {
		if d == t.dest {
			if b := d.pick(tried, t.r.now); b != nil {
				return d, b
			}
		}
	}
	for _, d := range t.rt.live {
		if b := d.pick(tried, t.r.now); b != nil {
			return d, b
		}
	}
	if len(t.rt.live) == 1 && len(t.rt.live[0].backends) == 1 {
		return t.rt.live[0], t.rt.live[0].backends[0]
	}
	return nil, nil
}

// unclaim ends an attempt.
func (t *trip) unclaim() {
	if t.taken {
		t.taken = false
		t.dest.stats.inFlight.Add(-1)
		t.r.backends.unclaim(t.b)
	}
}

// answered notes that the claimed instance began an answer.
func (t *trip) answered() { t.b.reached() }

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
		t.b.failures.Add(1)
	}
	t.unclaim()
	if !mayRetry(o, q, t.attempts) {
		return false
	}
	// The table may have changed, and the next pick must find something.
	t.rt = t.r.table.Load().find(t.ask.host, t.ask.path)
	if t.rt == nil || len(t.rt.live) == 0 {
		return false
	}
	_, b := t.pick()
	return b != nil
}

// finish counts and logs the request. The claim must have been released.
func (t *trip) finish(why reason) {
	now := t.r.now()
	rec := &t.rec
	rec.Total = time.Duration(now - t.begun)
	if t.attempts > 0 {
		rec.Backend = time.Duration(now - t.lastSent)
		rec.FailedAttempts = t.attempts
		if t.reached() {
			rec.FailedAttempts--
		}
	}
	if why != reasonNone {
		rec.Error, rec.Reason = reasons[why].code, why.String()
	}
	if t.rt != nil {
		rec.RouteGUID = t.rt.src.GUID
	}
	if t.dest != nil {
		rec.AppGUID, rec.AppName, rec.Process = t.dest.src.AppGUID, t.dest.src.AppName, t.dest.src.Process
		rec.InstanceGUID, rec.InstanceIndex, rec.BackendAddr = t.b.guid, t.b.index, t.b.addr
	}
	t.r.metrics.count(t, why)
	t.r.log.offer(rec)
}

// reached reports whether the last attempt brought an answer.
func (t *trip) reached() bool { return t.rec.Answered }
