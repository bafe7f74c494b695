package router

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
)

// route is a Route made ready for choosing. Everything but its counter and
// what its rules remember is immutable.
type route struct {
	src   Route
	rules *rules // nil: it has no options

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
	match    []condition
	stats    *destStats
	arm      *arm // where evidence about its version is counted; nil: nowhere

	turn atomic.Uint32 // for round-robin
	// warmUntil is when the last of its backends has its full share.
	warmUntil int64
}

// golden is 2^64 divided by the golden ratio.
const golden = 0x9E3779B97F4A7C15

// newRoute compiles src. It takes over the counts of those destinations that
// old has too, and acquires each backend.
func newRoute(src Route, old *route, acquire func(Backend) *backend) *route {
	r := &route{src: src, seed: rand.Uint64()}
	var before *rules
	if old != nil {
		before = old.rules
	}
	r.rules = newRulesOf(&r.src, before)
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
		if len(d.src.Match) > 0 {
			d.match = compileMatch(d.src.Match)
			if r.rules == nil {
				r.rules = newRules()
			}
		}
		if d.src.Weight > 0 && d.src.Shadow == 0 && len(d.backends) > 0 {
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

// like reports whether two destinations are the same version of the same
// process, perhaps of two tables.
func (d *destination) like(o *destination) bool {
	return d == o || d != nil && o != nil && sameProcess(d.src, o.src)
}

func sameProcess(a, b *Destination) bool {
	return a.AppGUID == b.AppGUID && a.Process == b.Process && a.Version == b.Version
}

// like returns the route's own destination that is like d, if it may get
// requests.
func (r *route) like(d *destination) *destination {
	if d == nil {
		return nil
	}
	for _, o := range r.dests {
		if o.like(d) && len(o.backends) > 0 {
			return o
		}
	}
	return nil
}

// statsOf returns the counts of the same process among the first n
// destinations, or nil.
func (r *route) statsOf(d *Destination, n int) *destStats {
	for _, o := range r.dests[:n] {
		if sameProcess(o.src, d) {
			return o.stats
		}
	}
	return nil
}

// step returns the next place in the unit interval.
func (r *route) step() uint64 { return r.seed + r.n.Add(1)*golden }

// next returns the destination of the next request; nil if none is live.
func (r *route) next() *destination {
	switch len(r.live) {
	case 0:
		return nil
	case 1:
		return r.live[0]
	}
	return r.at(r.step())
}

// at returns the live destination whose part of the interval u lies in.
func (r *route) at(u uint64) *destination {
	for _, d := range r.live {
		if u < d.upto {
			return d
		}
	}
	return r.live[len(r.live)-1]
}

// labelled returns the destination of the version with this label, whatever
// its share; nil if there is none with an instance.
func (r *route) labelled(label string) *destination {
	for _, d := range r.dests {
		if len(d.backends) > 0 && d.src.Shadow == 0 && strings.EqualFold(label, d.src.Label) {
			return d
		}
	}
	return nil
}

// matching returns the first destination with an instance one of whose
// conditions the request meets.
func (r *route) matching(a *ask) *destination {
	for _, d := range r.dests {
		if len(d.match) > 0 && len(d.backends) > 0 {
			for i := range d.match {
				if d.match[i].met(a) {
					return d
				}
			}
		}
	}
	return nil
}

// instance returns the backend with this instance GUID, or nil.
func (d *destination) instance(guid string) *backend {
	for _, b := range d.backends {
		if b.guid == guid {
			return b
		}
	}
	return nil
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

// condition is a Match, compiled.
type condition struct {
	Match
	regex *regexp.Regexp
	net   *netip.Prefix
}

// compileMatch compiles conditions that checkMatch accepts; others are never
// met.
func compileMatch(list []Match) []condition {
	out := make([]condition, 0, len(list))
	for _, m := range list {
		if checkMatch(m) != nil {
			continue
		}
		c := condition{Match: m}
		c.Header = strings.ToLower(m.Header)
		if m.Regex != "" {
			c.regex = regexp.MustCompile(m.Regex)
		}
		if m.CIDR != "" {
			n, _ := network(m.CIDR)
			c.net = &n
		}
		out = append(out, c)
	}
	return out
}

func (c *condition) met(a *ask) bool {
	var v []byte
	switch {
	case c.net != nil:
		return c.net.Contains(a.client)
	case c.Header != "":
		v = a.field(c.Header)
	default:
		v = a.cookie([]byte(c.Cookie))
	}
	switch {
	case v == nil:
		return false
	case c.Exact != "":
		return string(v) == c.Exact
	case c.Prefix != "":
		return len(v) >= len(c.Prefix) && string(v[:len(c.Prefix)]) == c.Prefix
	case c.regex != nil:
		return c.regex.Match(v)
	}
	return true
}

// sameRoute reports whether two routes of a table say the same.
func sameRoute(a, b *Route) bool {
	if a.Host != b.Host || a.Path != b.Path || a.GUID != b.GUID || a.Cohort != b.Cohort ||
		len(a.Options) != len(b.Options) || len(a.Destinations) != len(b.Destinations) ||
		!sameState(a, b) {
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

// sameState compares what is seldom there.
func sameState(a, b *Route) bool {
	if (a.Hold == nil) != (b.Hold == nil) || a.Hold != nil && *a.Hold != *b.Hold {
		return false
	}
	if (a.Maintenance == nil) != (b.Maintenance == nil) {
		return false
	}
	if m, o := a.Maintenance, b.Maintenance; m != nil {
		return m.Page == o.Page && m.RetryAfter == o.RetryAfter && slices.Equal(m.Allow, o.Allow)
	}
	return true
}

func sameDestination(a, b *Destination) bool {
	return a.AppGUID == b.AppGUID && a.AppName == b.AppName && a.Process == b.Process &&
		a.ProcessGUID == b.ProcessGUID && a.Weight == b.Weight && a.Protocol == b.Protocol &&
		a.Version == b.Version && a.Label == b.Label && a.Split == b.Split && a.Shadow == b.Shadow &&
		slices.Equal(a.Match, b.Match) && slices.Equal(a.Backends, b.Backends)
}
