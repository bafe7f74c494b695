package router

import (
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rules are the options and the state of a route, compiled once. What they
// remember between requests (a rate, verified passwords, who waits) survives
// a change of the route. Routes without any have none.
type rules struct {
	src    ruleSource
	broken error // an option nobody understands: fail closed

	limit limits

	balance      balance
	hashHeader   string
	hashBalance  float64
	slowStart    time.Duration
	hasSlowStart bool

	hsts      string
	toHTTPS   bool
	canonical string
	gzip      bool
	auth      *users
	allow     []netip.Prefix
	deny      []netip.Prefix
	rate      rate
	pages     map[int]string // by status; 0: from 500

	versionIn, versionOut bool
	sticky                sticky
	skew                  skew
	strip                 bool
	farewell              farewell // of WebSockets

	shadows []*destination // that get copies of requests

	hold        *gate // nil: the route is not paused
	maintenance *maintenance
}

// ruleSource is what rules are made from.
type ruleSource struct {
	Options     map[string]string
	Cohort      uint64
	Hold        *Hold
	Maintenance *Maintenance
}

// limits are what a route allows in place of the router's defaults.
type limits struct {
	head time.Duration // for the response head; 0: the default
	idle time.Duration // for silence of a stream or tunnel; 0: the default
	body int64         // bytes of a request body; 0: any
}

func newRules() *rules {
	return &rules{sticky: sticky{maxAge: 30 * 24 * time.Hour, sameSite: "Lax", cookie: "weir-position"}}
}

// maintenance is a Maintenance, compiled.
type maintenance struct {
	page       string
	nets       []netip.Prefix
	headers    []Match
	retryAfter int
}

// newRulesOf compiles the options and the state of src; nil if it has none.
// What old remembers is taken over.
func newRulesOf(src *Route, old *rules) *rules {
	r, err := parseOptions(src.Options)
	if r == nil && (err != nil || src.Hold != nil || src.Maintenance != nil || src.Cohort != 0) {
		r = newRules()
	}
	if r == nil {
		return nil
	}
	r.src = ruleSource{src.Options, src.Cohort, src.Hold, src.Maintenance}
	if r.broken = err; err != nil {
		return r
	}
	r.sticky.seal(src)
	if m := src.Maintenance; m != nil {
		r.maintenance, r.broken = newMaintenance(m)
	}
	if src.Hold != nil {
		r.hold = newGate(src.Hold)
	}
	if old != nil {
		r.inherit(old)
	}
	return r
}

// inherit takes over what must not begin anew with each change of the route.
func (r *rules) inherit(old *rules) {
	if r.auth != nil && old.auth != nil {
		r.auth.seen = old.auth.seen
	}
	if r.rate.same(&old.rate) {
		r.rate.buckets = old.rate.buckets
	}
	if r.hold != nil && old.hold != nil {
		old.hold.maxWait.Store(r.hold.maxWait.Load())
		r.hold = old.hold
	}
}

// newMaintenance compiles m. An entry of Allow that is not understood lets
// nobody in.
func newMaintenance(m *Maintenance) (*maintenance, error) {
	c := &maintenance{page: m.Page, retryAfter: m.RetryAfter}
	if c.retryAfter <= 0 {
		c.retryAfter = 60
	}
	for _, entry := range m.Allow {
		if err := c.allow(entry); err != nil {
			return c, err
		}
	}
	return c, nil
}

// CheckAllow reports an entry of Maintenance.Allow that is not understood, with
// which a route would answer nobody.
func CheckAllow(entry string) error { return new(maintenance).allow(entry) }

func (m *maintenance) allow(entry string) error {
	if rest, ok := strings.CutPrefix(entry, "header:"); ok {
		name, value, _ := strings.Cut(rest, "=")
		name, err := fieldName(name)
		m.headers = append(m.headers, Match{Header: name, Exact: value})
		return err
	}
	p, err := network(entry)
	m.nets = append(m.nets, p)
	return err
}

// lets reports whether a request passes in spite of the maintenance.
func (m *maintenance) lets(a *ask) bool {
	if contains(m.nets, a.client) {
		return true
	}
	for _, h := range m.headers {
		if v := a.field(h.Header); v != nil && (h.Exact == "" || sameSecret(v, h.Exact)) {
			return true
		}
	}
	return false
}

// admit asks the rules of the route that was found. It waits while the route
// is paused. Any reason but reasonNone ends the trip.
func (t *trip) admit() reason {
	r := t.rt.rules
	if r == nil {
		return reasonNone
	}
	if r.versionIn {
		t.made.want = string(t.ask.field("x-route-version"))
	}
	if why := t.ruled(r); why != reasonNone || r.hold == nil {
		return why
	}
	return t.wait()
}

// ruled asks the rules in the order in which they concern fewer and fewer:
// where the client should have gone, who it is, how often it comes, what it
// sends.
func (t *trip) ruled(r *rules) reason {
	a := &t.ask
	switch {
	case r.broken != nil:
		return reasonInternal
	case r.toHTTPS && !a.secure:
		return t.redirect("https://", r.canonicalOr(a.host), t.r.securePort(a.port))
	case r.canonical != "" && a.host != r.canonical:
		return t.redirect(a.scheme(), r.canonical, a.port)
	case contains(r.deny, a.client), r.allow != nil && !contains(r.allow, a.client):
		return reasonForbidden
	case r.maintenance != nil && !r.maintenance.lets(a):
		t.made.retryAfter = r.maintenance.retryAfter
		return reasonMaintenance
	case r.limit.body > 0 && a.length > r.limit.body:
		return reasonBodyTooLarge
	}
	// The rate comes before the password, so that passwords cannot be tried
	// as fast as they can be sent.
	if r.rate.every > 0 {
		if wait := r.rate.take(a, t.r.now()); wait > 0 {
			t.made.retryAfter = int((wait + time.Second - 1) / time.Second)
			return reasonRateLimited
		}
	}
	if r.auth != nil {
		return r.auth.check(a)
	}
	return reasonNone
}

func (r *rules) canonicalOr(host string) string {
	if r.canonical != "" {
		return r.canonical
	}
	return host
}

// redirect sends the client to another origin with the same target.
func (t *trip) redirect(scheme, host, port string) reason {
	if port != portOf("", strings.TrimSuffix(scheme, "://")) {
		host += ":" + port
	}
	t.made.location = scheme + host + clampTarget(t.ask.target)
	switch t.ask.method {
	case "GET", "HEAD":
		return reasonMoved
	}
	return reasonMovedKeepMethod
}

// securePort returns the port for https of a client that came in the clear to
// a port: our own, if that was our own too. Otherwise somebody in between gave
// us others, and the default is the best guess.
func (r *Router) securePort(port string) string {
	is := func(ln net.Listener) bool { return portOf(ln.Addr().String(), "") == port }
	if len(r.cfg.TLSListeners) == 0 || !slices.ContainsFunc(r.cfg.Listeners, is) {
		return "443"
	}
	return portOf(r.cfg.TLSListeners[0].Addr().String(), "https")
}

// clampTarget returns a request target in the form of a path.
func clampTarget(target string) string {
	path, query, ok := splitTarget(target)
	if !ok || path == "*" {
		return "/"
	}
	// Two slashes would be read as another host by some clients.
	return "/" + strings.TrimLeft(path, "/") + query
}

func (a *ask) scheme() string {
	if a.secure {
		return "https://"
	}
	return "http://"
}

// limits returns what the route allows in place of the defaults.
func (t *trip) limits() limits {
	if t.rt == nil || t.rt.rules == nil {
		return limits{}
	}
	return t.rt.rules.limit
}

// strip returns how many bytes the path that is sent on loses at its front.
// If the rest is empty or begins with "?", a slash has to stand before it.
func (t *trip) strip() int {
	if t.rt == nil || t.rt.rules == nil || !t.rt.rules.strip {
		return 0
	}
	return len(t.rt.src.Path)
}

// compresses reports whether answers of the route may have to be compressed.
func (r *route) compresses() bool { return r != nil && r.rules != nil && r.rules.gzip }

// appendRequestLines appends the field lines the claimed instance gets because
// of the route: "Name: value\r\n" each.
func (t *trip) appendRequestLines(b []byte) []byte {
	if label := t.dest.src.Label; label != "" {
		b = appendLine(b, "X-Route-Version", label)
	}
	if t.strip() > 0 {
		b = appendLine(b, "X-Forwarded-Prefix", t.rt.src.Path)
	}
	return b
}

// appendAnswerLines appends the field lines the client gets because of the
// route, besides those of the instance. Has says whether the instance set a
// field by itself; it may be nil.
func (t *trip) appendAnswerLines(b []byte, has func(name string) bool) []byte {
	if t.rt == nil || t.rt.rules == nil {
		return b
	}
	r := t.rt.rules
	if r.hsts != "" && t.ask.secure && (has == nil || !has("strict-transport-security")) {
		b = appendLine(b, "Strict-Transport-Security", r.hsts)
	}
	if r.versionOut && t.dest != nil && t.dest.src.Label != "" {
		b = appendLine(b, "X-Route-Version", t.dest.src.Label)
	}
	if t.made.fresh {
		b = r.sticky.appendCookie(b, t.made.position, t.ask.secure)
	}
	return t.appendOriginCookie(b)
}

// appendErrorLines appends the field lines of the router's own answer, besides
// those that describe its body.
func (t *trip) appendErrorLines(b []byte, why reason) []byte {
	switch why {
	case reasonMoved, reasonMovedKeepMethod:
		b = appendLine(b, "Location", t.made.location)
	case reasonUnauthorized:
		b = appendLine(b, "WWW-Authenticate", `Basic realm="`+t.ask.host+`", charset="UTF-8"`)
	case reasonMethod:
		b = appendLine(b, "Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
	case reasonNoEndpoints:
		b = appendLine(b, "Retry-After", "5")
	}
	if t.made.retryAfter > 0 {
		b = appendLine(b, "Retry-After", strconv.Itoa(t.made.retryAfter))
	}
	if t.rt != nil && t.rt.rules != nil && t.rt.rules.hsts != "" && t.ask.secure {
		b = appendLine(b, "Strict-Transport-Security", t.rt.rules.hsts)
	}
	return b
}

func appendLine(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}
