package router

import (
	"maps"
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
// what its rules remember is immutable. There may be a million of them: what
// few have lies behind a pointer.
type route struct {
	src   source
	more  *siblings // only in what is kept for a host with several routes
	rules *rules    // nil: it has no options
	share *shares   // nil: at most one destination is live
	dests destinations
}

// source is what names a route.
type source struct{ Host, Path, GUID string }

// Key returns the name of the route within a table.
func (s *source) Key() RouteKey { return RouteKey{Host: s.Host, Path: s.Path} }

// shares divide the requests of a route among its live destinations.
type shares struct {
	live []*destination // weight > 0 and at least one backend, in order

	// seed and n walk the unit interval in steps of the golden ratio, so that
	// any stretch of requests is shared out almost exactly.
	seed uint64
	n    atomic.Uint64
}

// destinations are those of one route, as in the table.
type destinations []destination

// destination is one destination of one route.
type destination struct {
	*pool
	upto  uint64 // the end of its part of the interval, if live
	stats atomic.Pointer[destStats]
	arm   *arm // where evidence about its version is counted; nil: nowhere
	// warmUntil is when the last of its backends has its full share.
	warmUntil int64
	turn      atomic.Uint32 // for round-robin
}

// golden is 2^64 divided by the golden ratio.
const golden = 0x9E3779B97F4A7C15

// newRoute compiles src. It takes over the counts of those destinations that
// old has too, and acquires each pool.
func newRoute(src *Route, old *route, acquire func(*Destination) *pool) *route {
	r := &route{src: source{Host: src.Host, Path: src.Path, GUID: src.GUID}}
	var before *rules
	if old != nil {
		before = old.rules
	}
	r.rules = newRulesOf(src, before)
	r.dests = make(destinations, len(src.Destinations))
	live := 0
	for i := range r.dests {
		d := &r.dests[i]
		d.pool = acquire(&src.Destinations[i])
		if twin := r.dests[:i].of(d.src); twin != nil {
			d.stats.Store(twin.counts()) // the same process on two ports
		} else if old != nil {
			if was := old.dests.of(d.src); was != nil {
				d.stats.Store(was.stats.Load())
			}
		}
		if r.rules == nil && (len(d.match) > 0 || d.src.Shadow > 0) {
			r.rules = newRules()
		}
		if d.src.Shadow > 0 {
			r.rules.shadows = append(r.rules.shadows, d)
		}
		if d.isLive() {
			live++
		}
	}
	if live > 1 {
		r.share = newShares(r.dests)
	}
	return r
}

// isLive reports whether the destination gets requests by its share.
func (d *destination) isLive() bool {
	return d.src.Weight > 0 && d.src.Shadow == 0 && len(d.backends) > 0
}

// onlyApp returns whose requests those are that reach no instance: of the app
// that the route leads to, or nobody's if those are several.
func (r *route) onlyApp() (guid string) {
	for i := range r.dests {
		d := r.dests[i].src
		if d.OfRoute {
			continue
		}
		if guid != "" && d.AppGUID != guid {
			return ""
		}
		guid = d.AppGUID
	}
	return guid
}

func newShares(dests destinations) *shares {
	s := &shares{seed: rand.Uint64()}
	total, sum := uint64(0), uint64(0)
	for i := range dests {
		if d := &dests[i]; d.isLive() {
			s.live = append(s.live, d)
			total += uint64(d.src.Weight)
		}
	}
	for _, d := range s.live {
		sum += uint64(d.src.Weight)
		d.upto = math.MaxUint64
		if sum < total {
			d.upto, _ = bits.Div64(sum, 0, total)
		}
	}
	return s
}

// name returns the host's name as the index keeps it: of a wildcard what
// follows "*.".
func (r *route) name() string {
	h := r.src.Host
	if h != "" && h[0] == '*' {
		return h[min(2, len(h)):]
	}
	return h
}

// only returns the live destination of a route that has one; nil if it has
// none.
func (r *route) only() *destination {
	for i := range r.dests {
		if d := &r.dests[i]; d.isLive() {
			return d
		}
	}
	return nil
}

// live calls yield for each live destination until it returns false.
func (r *route) live(yield func(*destination) bool) {
	for i := range r.dests {
		if d := &r.dests[i]; d.isLive() && !yield(d) {
			return
		}
	}
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
	for i := range r.dests {
		if o := &r.dests[i]; o.like(d) && len(o.backends) > 0 {
			return o
		}
	}
	return nil
}

// of returns the destination of the same version of the same process, or nil.
func (l destinations) of(src *Destination) *destination {
	for i := range l {
		if sameProcess(l[i].src, src) {
			return &l[i]
		}
	}
	return nil
}

// counts returns the counts of the destination, which begin to exist with its
// first request.
func (d *destination) counts() *destStats {
	if s := d.stats.Load(); s != nil {
		return s
	}
	d.stats.CompareAndSwap(nil, new(destStats))
	return d.stats.Load()
}

// step returns the next place in the unit interval.
func (s *shares) step() uint64 { return s.seed + s.n.Add(1)*golden }

// next returns the destination of the next request; nil if none is live.
func (r *route) next() *destination {
	if r.share == nil {
		return r.only()
	}
	return r.share.at(r.share.step())
}

// at returns the live destination whose part of the interval u lies in.
func (s *shares) at(u uint64) *destination {
	for _, d := range s.live {
		if u < d.upto {
			return d
		}
	}
	return s.live[len(s.live)-1]
}

// labelled returns the destination of the version with this label, whatever
// its share; nil if there is none with an instance.
func (r *route) labelled(label string) *destination {
	for i := range r.dests {
		d := &r.dests[i]
		if len(d.backends) > 0 && d.src.Shadow == 0 && strings.EqualFold(label, d.src.Label) {
			return d
		}
	}
	return nil
}

// matching returns the first destination with an instance one of whose
// conditions the request meets.
func (r *route) matching(a *ask) *destination {
	for i := range r.dests {
		d := &r.dests[i]
		if len(d.match) == 0 || len(d.backends) == 0 {
			continue
		}
		for j := range d.match {
			if d.match[j].met(a) {
				return d
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
	for d := range r.live {
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

// route returns the route in the form it came in.
func (r *route) route() Route {
	out := Route{Host: r.src.Host, Path: r.src.Path, GUID: r.src.GUID}
	if r.rules != nil {
		out.Options, out.Cohort, out.Hold, out.Maintenance = r.rules.src.Options, r.rules.src.Cohort, r.rules.src.Hold, r.rules.src.Maintenance
	}
	for i := range r.dests {
		out.Destinations = append(out.Destinations, *r.dests[i].src)
	}
	return out
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
	case c.Header == "host":
		v = []byte(a.host)
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

// says reports whether the route was made from what src says.
func (r *route) says(src *Route) bool {
	if r.src.Host != src.Host || r.src.Path != src.Path || r.src.GUID != src.GUID || len(r.dests) != len(src.Destinations) {
		return false
	}
	var options ruleSource
	if r.rules != nil {
		options = r.rules.src
	}
	if options.Cohort != src.Cohort || !maps.Equal(options.Options, src.Options) || !sameState(&options, src) {
		return false
	}
	for i := range r.dests {
		if !sameDestination(r.dests[i].src, &src.Destinations[i]) {
			return false
		}
	}
	return true
}

// sameState compares what is seldom there.
func sameState(a *ruleSource, b *Route) bool {
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
		a.Version == b.Version && a.Label == b.Label && a.Split == b.Split && a.LeftAt == b.LeftAt && a.Shadow == b.Shadow && a.OfRoute == b.OfRoute && sameShadow(a.ShadowOptions, b.ShadowOptions) &&
		sameCounting(a.Counting, b.Counting) &&
		slices.Equal(a.Match, b.Match) && slices.Equal(a.Backends, b.Backends)
}

func sameShadow(a, b *ShadowOptions) bool {
	return a == b || a != nil && b != nil && a.AllMethods == b.AllMethods && a.StripAuth == b.StripAuth && a.Noise == b.Noise &&
		slices.Equal(a.Methods, b.Methods) && slices.Equal(a.Paths, b.Paths) && slices.Equal(a.Except, b.Except)
}
