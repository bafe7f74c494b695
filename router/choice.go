package router

import (
	"net/netip"
	"strconv"
	"strings"
)

// ask is what decides about a request, read off it by the road it came on.
// Its strings may be views of a buffer: they are good until the trip ends.
type ask struct {
	method string
	target string // as the client sent it
	host   string // normalised
	port   string // as the client addressed us
	path   string // raw, up to the query

	client netip.Addr // the nearest address that is no trusted proxy
	secure bool       // https, as far as can be believed
	length int64      // of the body; -1: not known

	sticky string // the instance its session is pinned to, if it has a session
	wish   wish
	head   fieldReader     // all fields as they came; may be nil
	gone   <-chan struct{} // closed when the client went away; nil: nobody notices
	from   ends            // asked about it then
}

// fieldReader gives the first value of a field, by its name in lower case;
// nil if the head has no such field.
type fieldReader interface{ Get(name string) []byte }

func (a *ask) field(name string) []byte {
	if a.head == nil {
		return nil
	}
	return a.head.Get(name)
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

// decision is what was decided about a request besides where it is sent.
type decision struct {
	how      how
	position uint32 // a new user's, if fresh
	fresh    bool   // the user gets a position with the answer

	want   string       // the label of the version the client asked for, where it may
	first  *destination // where it was assigned, whatever came of it
	other  *destination // to be asked for a file that first does not have
	headAt int64        // when an instance began its answer; 0: none did
	blamed bool         // an attempt failed and the instance was to blame
	event  string       // that the instance marked its answer with, if it counts

	location   string // of a redirect
	retryAfter int    // seconds; 0: nothing is said about it
	baton      *gate  // the queue whose next request follows this one
}

// how says what chose the destination.
type how uint8

const (
	byNobody   how = iota
	byCounter      // the route's counter
	bySticky       // the user's position
	byMatch        // a condition of the destination
	byOrigin       // the version the page came from
	byFallback     // the version chosen first has no such file
	byVersion      // X-Route-Version
	byWish         // X-Cf-App-Instance, X-Cf-Process-Instance
)

// choose finds the route and asks its rules; while the route is paused it
// waits. Any reason but reasonNone ends the trip.
func (t *trip) choose(a ask) reason {
	t.ask = a
	table := t.r.table.Load()
	t.rt = table.find(a.host, a.path)
	if !isPlainPath(a.path) && !t.isOneRoute(table) {
		t.rt = nil
		return reasonBadRequest
	}
	if t.rt == nil {
		return reasonUnknownRoute
	}
	return t.admit()
}

// isOneRoute reports whether all ways to read a path that is not plain lead
// to the same route. An instance may read it otherwise than we do; that is its
// business, unless it is about which route it is.
func (t *trip) isOneRoute(table *table) bool {
	clean, ok := cleanPath(t.ask.path)
	if !ok {
		return false
	}
	for {
		other := table.find(t.ask.host, clean)
		if other == t.rt {
			return true
		}
		// Perhaps the table changed between the two.
		again := table.find(t.ask.host, t.ask.path)
		if again == t.rt {
			return false
		}
		t.rt = again
	}
}

// assign chooses the destination of the first attempt; nil if there is none.
func (t *trip) assign() *destination {
	d, how := t.assigned()
	if t.made.first == nil || t.made.how != how {
		t.made.how = how
	}
	t.made.first = d
	return d
}

func (t *trip) assigned() (*destination, how) {
	rt := t.rt
	if rules := rt.rules; rules != nil {
		if t.made.want != "" {
			return rt.labelled(t.made.want), byVersion
		}
		if d := rt.matching(&t.ask); d != nil {
			return d, byMatch
		}
		if d := t.origin(); d != nil {
			return d, byOrigin
		}
		if rules.sticky.by != stickyOff && rt.share != nil {
			return rt.share.at(t.position(&rules.sticky)), bySticky
		}
	}
	return rt.next(), byCounter
}

// position returns where the user stands. A new one is given a position, one
// that cannot be told from others is put where the counter says.
func (t *trip) position(s *sticky) uint64 {
	if u, ok := s.position(&t.ask); ok {
		return u
	}
	if s.by != stickyCookie {
		return t.rt.share.step()
	}
	if !t.made.fresh {
		t.made.position, t.made.fresh = s.fresh(), true
	}
	return s.place(t.made.position)
}

// pick chooses destination and backend; nil if there is none.
func (t *trip) pick() (*destination, *backend) {
	tried := t.tried[:t.attempts]
	if o := t.rt.like(t.made.other); o != nil && !o.like(t.dest) {
		return o, o.pick(nil, t)
	}
	if t.ask.wish.isSet() {
		d, b := t.rt.indexed(t.ask.wish)
		switch {
		case d != nil && b == nil:
			b = d.pick(tried, t)
		case isTried(tried, b) && !t.stale:
			b = nil
		}
		t.made.how = byWish
		return d, b
	}
	if len(tried) > 0 {
		return t.pickAgain(tried)
	}
	d := t.assign()
	if d == nil {
		return nil, nil
	}
	if t.ask.sticky != "" {
		// A session holds within the version only.
		if b := d.instance(t.ask.sticky); b != nil {
			return d, b
		}
	}
	b := d.pick(nil, t)
	if t.made.how != byVersion && b.ejectedUntil.Load() != 0 {
		return t.failover(d, b)
	}
	return d, b
}

// failover returns d and b, unless no instance of d can be reached at present
// but one of another destination can.
func (t *trip) failover(d *destination, b *backend) (*destination, *backend) {
	now := t.r.now()
	if !d.isDown(now) {
		return d, b
	}
	for o := range t.rt.live {
		if !o.isDown(now) {
			return o, o.pick(nil, t)
		}
	}
	return d, b
}

// pickAgain chooses for another attempt: a backend of the same destination
// that was not tried, then one of another destination. The same again is
// chosen only if nothing but its old connection was at fault and there is no
// other.
func (t *trip) pickAgain(tried []*backend) (*destination, *backend) {
	same := t.rt.like(t.dest)
	if same != nil {
		if b := same.pick(tried, t); b != nil {
			return same, b
		}
	}
	if t.made.how != byVersion {
		for d := range t.rt.live {
			if b := d.pick(tried, t); b != nil {
				return d, b
			}
		}
	}
	if same != nil && t.stale {
		for _, b := range same.backends {
			if b == t.b {
				return same, b
			}
		}
	}
	return nil, nil
}

// nobody says why there is nobody to claim.
func (t *trip) nobody() reason {
	switch {
	case t.made.how == byVersion:
		return reasonUnknownVersion
	case t.ask.wish.isSet() && t.rt.only() != nil:
		return reasonUnknownInstance
	}
	return reasonNoEndpoints
}

// blame notes that an attempt failed, for the evidence about the version.
func (t *trip) blame(o outcome) {
	switch o.why {
	case reasonUnreachable, reasonClosed, reasonBadResponse, reasonTimeout:
		if !o.local && !o.stale && t.dest.like(t.made.first) {
			t.made.blamed = true
		}
	}
}

// headArrived notes when the instance began its answer.
func (t *trip) headArrived() { t.made.headAt = t.r.now() }

// conclude ends what choosing began. The claim must have been released.
func (t *trip) conclude(why reason) {
	t.passBaton()
	t.r.evidence.count(t, why)
}
