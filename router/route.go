package router

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// route is a Route made ready for choosing. Everything but its counter is
// immutable.
type route struct {
	src     Route
	timeout time.Duration // for the response head; 0: the router's default

	dests []*destination // as in src
	live  []*destination // weight > 0 and at least one backend, in order

	// seed and n walk the unit interval in steps of the golden ratio, so that
	// any stretch of requests is shared out almost exactly.
	seed uint64
	n    atomic.Uint64
}

// destination is a Destination made ready for choosing.
type destination struct {
	src      *Destination
	http2    bool
	upto     uint64 // the end of its part of the interval, if live
	backends []*backend
	stats    *destStats
}

// golden is 2^64 divided by the golden ratio.
const golden = 0x9E3779B97F4A7C15

// newRoute compiles src. It takes over the counts of those destinations that
// old has too, and acquires each backend.
func newRoute(src Route, old *route, acquire func(Backend) *backend) *route {
	r := &route{src: src, seed: rand.Uint64(), timeout: responseTimeout(src.Options)}
	r.dests = make([]*destination, len(src.Destinations))
	total := uint64(0)
	for i := range src.Destinations {
		d := &destination{src: &src.Destinations[i]}
		d.http2 = d.src.Protocol == ProtocolHTTP2
		for _, b := range d.src.Backends {
			d.backends = append(d.backends, acquire(b))
		}
		if d.stats = r.statsOf(d.src, i); d.stats == nil && old != nil {
			d.stats = old.statsOf(d.src, len(old.dests))
		}
		if d.stats == nil {
			d.stats = new(destStats)
		}
		r.dests[i] = d
		if d.src.Weight > 0 && len(d.backends) > 0 {
			r.live = append(r.live, d)
			total += uint64(d.src.Weight)
		}
	}
	sum := uint64(0)
	for _, d := range r.live {
		sum += uint64(d.src.Weight)
		d.upto = math.MaxUint64
		if sum < total {
			d.upto, _ = bits.Div64(sum, 0, total)
		}
	}
	return r
}

// statsOf returns the counts of the same process among the first n
// destinations, or nil.
func (r *route) statsOf(d *Destination, n int) *destStats {
	for _, o := range r.dests[:n] {
		if o.src.AppGUID == d.AppGUID && o.src.Process == d.Process {
			return o.stats
		}
	}
	return nil
}

// next returns the destination of the next request. There must be a live one.
func (r *route) next() *destination {
	if len(r.live) == 1 {
		return r.live[0]
	}
	u := r.seed + r.n.Add(1)*golden
	for _, d := range r.live {
		if u < d.upto {
			return d
		}
	}
	return r.live[len(r.live)-1]
}

// instance returns the live destination and backend with the given instance
// GUID, or nils.
func (r *route) instance(guid string) (*destination, *backend) {
	for _, d := range r.live {
		for _, b := range d.backends {
			if b.guid == guid {
				return d, b
			}
		}
	}
	return nil, nil
}

// indexed returns a live destination and backend by app or process and index.
// An index of -1 stands for any.
func (r *route) indexed(w wish) (*destination, *backend) {
	for _, d := range r.live {
		if !w.means(d.src) {
			continue
		}
		if w.index < 0 {
			return d, nil
		}
		for _, b := range d.backends {
			if b.index == w.index {
				return d, b
			}
		}
	}
	return nil, nil
}

// pick returns the one of two random backends with fewer requests in flight,
// leaving out those already tried and, as long as at least half of the
// destination is well, those that are ejected. It returns nil if every
// backend was tried.
func (d *destination) pick(tried []*backend, now func() int64) *backend {
	n := len(d.backends)
	if n == 1 || len(tried) > 0 {
		return d.pickSlowly(tried, now)
	}
	i := rand.IntN(n)
	j := rand.IntN(n - 1)
	if j >= i {
		j++
	}
	a, b := d.backends[i], d.backends[j]
	if a.ejectedUntil.Load() != 0 || b.ejectedUntil.Load() != 0 {
		return d.pickSlowly(tried, now)
	}
	if b.inFlight.Load() < a.inFlight.Load() {
		return b
	}
	return a
}

// pickSlowly is pick for a request that was tried before, and for a
// destination with an ejected backend.
func (d *destination) pickSlowly(tried []*backend, now func() int64) *backend {
	if len(d.backends) == 1 {
		if isTried(tried, d.backends[0]) {
			return nil
		}
		return d.backends[0]
	}
	t := now()
	ejected := 0
	for _, b := range d.backends {
		if b.ejectedUntil.Load() > t {
			ejected++
		}
	}
	panicking := ejected*2 > len(d.backends)
	well := reservoir{}
	ill := reservoir{}
	for _, b := range d.backends {
		switch {
		case isTried(tried, b):
		case !panicking && b.ejectedUntil.Load() > t:
			ill.offer(b)
		default:
			well.offer(b)
		}
	}
	if b := well.best(); b != nil {
		return b
	}
	return ill.best()
}

// isDown reports whether every backend of d is ejected.
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

// sameRoute reports whether two routes of a table say the same.
func sameRoute(a, b *Route) bool {
	if a.Host != b.Host || a.Path != b.Path || a.GUID != b.GUID ||
		len(a.Options) != len(b.Options) || len(a.Destinations) != len(b.Destinations) {
		return false
	}
	for k, v := range a.Options {
		if w, ok := b.Options[k]; !ok || v != w {
			return false
		}
	}
	for i := range a.Destinations {
		if !sameDestination(&a.Destinations[i], &b.Destinations[i]) {
			return false
		}
	}
	return true
}

func sameDestination(a, b *Destination) bool {
	if a.AppGUID != b.AppGUID || a.AppName != b.AppName || a.Process != b.Process ||
		a.ProcessGUID != b.ProcessGUID || a.Weight != b.Weight || a.Protocol != b.Protocol ||
		len(a.Backends) != len(b.Backends) {
		return false
	}
	for i := range a.Backends {
		if a.Backends[i] != b.Backends[i] {
			return false
		}
	}
	return true
}
