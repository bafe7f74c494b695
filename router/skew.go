package router

import (
	"bytes"
	"net/http"
	"strings"
	"time"
)

// skew is about pages that are older than the version which would get their
// next request. A browser that shows a page of v1 asks for v1's scripts and
// speaks v1's API, whatever the shares say since.
type skew struct {
	// age is for how many seconds after its last share a version still
	// answers what its own pages ask for; 0: the shares alone decide.
	age int64
	// fallback has another version asked for a file that has a hash in its
	// name and that the one chosen does not know.
	fallback bool
}

// versionCookie keeps which version a browser's last page came from; over
// https "__Host-" stands before it.
const versionCookie = "weir-version"

func appendVersionCookie(b []byte, secure bool) []byte {
	if secure {
		b = append(b, "__Host-"...)
	}
	return append(b, versionCookie...)
}

// origin returns the destination of the version that the page which makes the
// request came from, as the field X-Deployment-Id, the query's dpl= or the
// cookie says: a label or the GUID of a version. Nil if the request is for a
// page itself, does not say, or that version answers no more.
func (t *trip) origin() *destination {
	s := &t.rt.rules.skew
	if s.age == 0 || t.ask.isNavigation() {
		return nil
	}
	id := t.ask.origin()
	if len(id) == 0 {
		return nil
	}
	for i := range t.rt.dests {
		d := &t.rt.dests[i]
		if d.isNamed(id) && d.answersOwn(t.rec.start.Unix()-s.age) {
			return d
		}
	}
	return nil
}

// isNamed reports whether id is the label or the GUID of the version.
func (d *destination) isNamed(id []byte) bool {
	return d.src.Version != "" && (string(id) == d.src.Version || strings.EqualFold(string(id), d.src.Label))
}

// answersOwn reports whether the destination gets requests, or got some until
// after a time and was not taken back for its faults.
func (d *destination) answersOwn(since int64) bool {
	return len(d.backends) > 0 && d.src.Shadow == 0 && (d.src.Weight > 0 || d.src.LeftAt > since)
}

// origin returns what the request says about the page it belongs to. Several
// tabs share the cookie, so it counts least.
func (a *ask) origin() []byte {
	if v := a.field("x-deployment-id"); len(v) > 0 {
		return v
	}
	if v := queryValue(a.target, "dpl"); v != "" {
		return []byte(v)
	}
	var name [32]byte
	return a.cookie(appendVersionCookie(name[:0], a.secure))
}

// isNavigation reports whether the request is for a page, not for something a
// page loads. Old browsers do not say so, but ask for HTML.
func (a *ask) isNavigation() bool {
	if mode := a.field("sec-fetch-mode"); len(mode) > 0 {
		return string(mode) == "navigate"
	}
	return bytes.Contains(a.field("accept"), []byte("text/html"))
}

// queryValue returns the first value of a name in the query of a target, as
// it stands there.
func queryValue(target, name string) string {
	_, query, _ := strings.Cut(target, "?")
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		if k, v, ok := strings.Cut(pair, "="); ok && k == name {
			return v
		}
	}
	return ""
}

// appendOriginCookie tells the browser which version its page came from,
// unless it knows.
func (t *trip) appendOriginCookie(b []byte) []byte {
	if t.rt.rules.skew.age == 0 || t.dest == nil || t.dest.src.Version == "" || !t.ask.isNavigation() {
		return b
	}
	var name [32]byte
	if string(t.ask.cookie(appendVersionCookie(name[:0], t.ask.secure))) == t.dest.src.Version {
		return b
	}
	b = append(b, "Set-Cookie: "...)
	b = appendVersionCookie(b, t.ask.secure)
	b = append(b, '=')
	b = append(b, t.dest.src.Version...)
	b = append(b, "; Path=/; HttpOnly; SameSite=Lax"...)
	if t.ask.secure {
		b = append(b, "; Secure"...)
	}
	return append(b, "\r\n"...)
}

// elsewhere reports whether another version is to be asked because the one
// that was has no such file. The next claim is of that other version; this
// happens once to a request.
func (t *trip) elsewhere(status int) bool {
	if status != http.StatusNotFound || t.rt == nil || t.rt.rules == nil || !t.rt.rules.skew.fallback {
		return false
	}
	switch {
	case t.made.other != nil, t.attempts == maxAttempts, t.made.how == byVersion, t.made.how == byWish:
		return false
	case t.ask.method != http.MethodGet && t.ask.method != http.MethodHead, !isHashedFile(t.ask.path):
		return false
	}
	if t.made.other = t.rt.besides(t.dest); t.made.other == nil {
		return false
	}
	t.made.how = byFallback
	t.b.reached(t.r.now())
	return true
}

// besides returns who to ask instead of d: of the other versions that get
// requests the one that gets most, else the one that lost them last.
func (r *route) besides(d *destination) *destination {
	var best *destination
	for i := range r.dests {
		o := &r.dests[i]
		if o.like(d) || !o.answersOwn(0) {
			continue
		}
		if best == nil || o.src.Weight > best.src.Weight || o.src.Weight == best.src.Weight && o.src.LeftAt > best.src.LeftAt {
			best = o
		}
	}
	return best
}

// isHashedFile reports whether a path ends in a file with a hash in its name,
// as bundlers write them: "index-BXd3k2_a.js", "123.abcdef01.chunk.css". A
// part between dots or dashes counts as one if it has eight letters and digits
// or more, and a digit among them.
func isHashedFile(path string) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	dot := strings.LastIndexByte(name, '.')
	if dot <= 0 || len(name)-dot > 6 {
		return false
	}
	name = name[:dot]
	for i := strings.IndexAny(name, ".-"); i >= 0; i = strings.IndexAny(name, ".-") {
		name = name[i+1:]
		part := name
		if end := strings.IndexAny(name, ".-"); end >= 0 {
			part = name[:end]
		}
		if len(part) >= 8 && strings.ContainsAny(part, "0123456789") && !strings.ContainsFunc(part, isNoHashRune) {
			return true
		}
	}
	return false
}

func isNoHashRune(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '_')
}

// elsewhere drops an answer in favour of another version's.
func (x *exchange) elsewhere() bool {
	if x.source != nil || x.upload != nil || x.asked.upgrade != "" || !x.trip.elsewhere(x.res.Status) {
		return false
	}
	x.dropUp(false)
	x.trip.unclaim()
	return true
}

// maxSkew is the longest time a page is thought to stay open.
const maxSkew = 30 * 24 * time.Hour
