package router

import (
	"math/rand/v2"
	"time"
)

// balance says how an instance of a destination is chosen.
type balance uint8

const (
	balanceTwoChoices balance = iota // of two random ones the one with fewer requests in flight
	balanceRoundRobin
	balanceLeast // the one with the fewest in flight
	balanceHash  // by a field or the client's address
)

// pick returns the instance for a request, leaving out those already tried
// and, as long as at least half of the destination is well, those that are
// ejected. A new one gets its share bit by bit. It returns nil if every
// instance was tried.
func (d *destination) pick(tried []*backend, t *trip) *backend {
	n := len(d.backends)
	if n == 1 && len(tried) == 0 {
		return d.backends[0]
	}
	how := balanceTwoChoices
	if t.rt.rules != nil {
		how = t.rt.rules.balance
	}
	if how != balanceTwoChoices || len(tried) > 0 || d.warmUntil > t.begun {
		return d.pickSlowly(tried, t, how)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	a, b := d.backends[i], d.backends[j]
	if a.ejectedUntil.Load() != 0 || b.ejectedUntil.Load() != 0 {
		return d.pickSlowly(tried, t, how)
	}
	if b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// pickSlowly is pick for all but the common case.
func (d *destination) pickSlowly(tried []*backend, t *trip, how balance) *backend {
	f := d.filter(tried, t)
	var b *backend
	switch how {
	case balanceRoundRobin:
		b = d.inTurn(&f)
	case balanceLeast:
		b = d.least(&f)
	case balanceHash:
		b = d.hashed(&f, t)
	default:
		var two reservoir
		for _, b := range d.backends {
			if f.takes(b) && f.warm(b) {
				two.offer(b)
			}
		}
		b = two.best()
	}
	if b != nil {
		return b
	}
	// Every instance that is well was tried.
	var ill reservoir
	for _, b := range d.backends {
		if !isTried(tried, b) {
			ill.offer(b)
		}
	}
	return ill.best()
}

// filter says which instances of a destination may be chosen.
type filter struct {
	tried     []*backend
	now       int64
	panicking bool    // more than half are ejected: ejection is ignored
	warming   bool    // some do not have their full share yet
	best      float64 // the largest share of one that may be chosen
	slow      time.Duration
}

func (d *destination) filter(tried []*backend, t *trip) filter {
	f := filter{tried: tried, now: t.r.now(), slow: t.r.slowStart(t.rt)}
	ejected := 0
	for _, b := range d.backends {
		if b.ejectedUntil.Load() > f.now {
			ejected++
		}
	}
	f.panicking = ejected*2 > len(d.backends)
	if f.warming = d.warmUntil > f.now; f.warming {
		for _, b := range d.backends {
			if f.takes(b) {
				f.best = max(f.best, b.share(f.now, f.slow))
			}
		}
	}
	return f
}

func (f *filter) takes(b *backend) bool {
	return !isTried(f.tried, b) && (f.panicking || b.ejectedUntil.Load() <= f.now)
}

// warm draws whether an instance that is not warm yet gets its chance this
// time. The warmest of those that may be chosen always does.
func (f *filter) warm(b *backend) bool {
	if !f.warming {
		return true
	}
	share := b.share(f.now, f.slow)
	return share >= f.best || rand.Float64()*f.best < share
}

// leastShare is how likely a brand-new instance is chosen, compared with one
// that is warm.
const leastShare = 0.05

// share is how likely b is chosen compared with an instance that is warm: it
// rises in a straight line while b is new.
func (b *backend) share(now int64, slow time.Duration) float64 {
	if age := now - b.since; age < int64(slow) {
		return max(float64(age)/float64(slow), leastShare)
	}
	return 1
}

// slowStart is how long a new instance of the route takes to get warm.
func (r *Router) slowStart(rt *route) time.Duration {
	if rt.rules != nil && rt.rules.hasSlowStart {
		return rt.rules.slowStart
	}
	return r.cfg.SlowStart
}

// settle notes since when the instances of a new route are there. The caller
// holds writer, and the route is not published yet.
func (r *Router) settle(rt *route) {
	now, slow := r.now(), int64(r.slowStart(rt))
	for i := range rt.dests {
		d := &rt.dests[i]
		for _, b := range d.backends {
			if b.since == 0 {
				b.since = now
			}
			d.warmUntil = max(d.warmUntil, b.since+slow)
		}
	}
}

func (d *destination) inTurn(f *filter) *backend {
	n := len(d.backends)
	at := int(d.turn.Add(1) % uint32(n))
	var cold *backend
	for i := range n {
		b := d.backends[(at+i)%n]
		if f.takes(b) {
			if f.warm(b) {
				return b
			}
			cold = b
		}
	}
	return cold
}

func (d *destination) least(f *filter) *backend {
	var best *backend
	few, same := int64(0), 0
	for _, b := range d.backends {
		if !f.takes(b) || !f.warm(b) {
			continue
		}
		n := b.inFlight.Load()
		switch {
		case best == nil || n < few:
			best, few, same = b, n, 1
		case n == few:
			// Ties are broken at random, each with the same chance.
			if same++; rand.IntN(same) == 0 {
				best = b
			}
		}
	}
	return best
}

// hashed returns the instance with the highest score for what is hashed
// (rendezvous hashing): when one comes or goes, only its own share moves. One
// that is busier than the balance allows is passed over.
func (d *destination) hashed(f *filter, t *trip) *backend {
	rules := t.rt.rules
	key := uint64(0)
	if v := t.ask.field(rules.hashHeader); rules.hashHeader != "" && v != nil {
		key = hashText(v, 0)
	} else {
		key = hashAddr(t.ask.client, 0)
	}
	limit := int64(0)
	if rules.hashBalance > 0 {
		sum, n := int64(0), 0
		for _, b := range d.backends {
			if f.takes(b) {
				sum += b.inFlight.Load()
				n++
			}
		}
		limit = int64(rules.hashBalance*float64(sum+1)/float64(max(n, 1))) + 1
	}
	var best, first *backend
	var high, highest uint64
	for _, b := range d.backends {
		if !f.takes(b) {
			continue
		}
		score := mix(key ^ b.hash)
		if first == nil || score > highest {
			first, highest = b, score
		}
		if (limit == 0 || b.inFlight.Load() < limit) && (best == nil || score > high) {
			best, high = b, score
		}
	}
	if best == nil {
		return first
	}
	return best
}

// isDown reports whether every instance of d is ejected.
func (d *destination) isDown(now int64) bool {
	for _, b := range d.backends {
		if b.ejectedUntil.Load() <= now {
			return false
		}
	}
	return true
}

// reservoir keeps two random ones of the backends it is offered.
type reservoir struct {
	two [2]*backend
	n   int
}

func (r *reservoir) offer(b *backend) {
	r.n++
	if r.n <= 2 {
		r.two[r.n-1] = b
	} else if i := rand.IntN(r.n); i < 2 {
		r.two[i] = b
	}
}

// best returns the kept backend with fewer requests in flight; ties are
// broken at random.
func (r *reservoir) best() *backend {
	a, b := r.two[0], r.two[1]
	if b == nil {
		return a
	}
	x, y := a.inFlight.Load(), b.inFlight.Load()
	if y < x || x == y && rand.IntN(2) == 0 {
		return b
	}
	return a
}

func isTried(tried []*backend, b *backend) bool {
	for _, t := range tried {
		if t == b {
			return true
		}
	}
	return false
}
