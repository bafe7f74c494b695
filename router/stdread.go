package router

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// readAsk reads off the request what decides about it.
func (x *exchange) readAsk() (a ask, why reason) {
	req := x.req
	if x.conn != nil {
		if no := reason(x.conn.refused.Load()); no != reasonNone && req.RequestURI == refusedTarget {
			x.trip.rec.Method, x.trip.rec.Target, x.trip.rec.Host = "", "", ""
			return a, no
		}
	}
	if req.Method == http.MethodConnect {
		return a, reasonMethod
	}
	fields := 0
	for _, v := range req.Header {
		fields += len(v)
	}
	if fields > maxFields {
		return a, reasonHeadTooLarge
	}
	path, _, ok := splitTarget(req.RequestURI)
	if !ok {
		return a, reasonBadRequest
	}
	a.path = path
	if name, _, _ := strings.Cut(req.Host, ":"); name == "" && !strings.HasPrefix(req.Host, "[") {
		return a, reasonEmptyHost
	}
	if a.host, ok = normalHost(req.Host); !ok {
		a.host = ""
		return a, reasonBadRequest
	}
	if x.conn != nil && x.trip.r.misdirected(x.conn.sni, a.host) {
		return a, reasonMisdirected
	}
	if app, process := req.Header["X-Cf-App-Instance"], req.Header["X-Cf-Process-Instance"]; app != nil || process != nil {
		a.wish, why = parseWish(strings.Join(app, ","), strings.Join(process, ","))
	} else {
		a.wish.index = -1
	}
	a.sticky = stickyInstance(req.Header["Cookie"])
	x.origin(&a)
	return a, why
}

// origin reads where the request came from, and what else the rules of a
// route may ask for.
func (x *exchange) origin(a *ask) {
	req := x.req
	proto := "http"
	if x.conn != nil && x.conn.secure {
		proto = "https"
	}
	a.peer = x.peer()
	x.from = trace(req.Header, a.peer, proto, req.Host, x.trip.rec.RequestID, x.trip.r.cfg.TrustedProxies)
	a.client, _ = netip.ParseAddr(x.from.client)
	a.method, a.target, a.length = req.Method, req.RequestURI, req.ContentLength
	a.secure = x.from.proto == "https"
	a.head, a.gone = stdFields(req.Header), req.Context().Done()
}

// stdFields are the fields of a request of net/http.
type stdFields http.Header

// Get implements fieldReader.
func (h stdFields) Get(name string) []byte {
	v := h[http.CanonicalHeaderKey(name)]
	switch {
	case len(v) == 0:
		return nil
	case name == "cookie":
		// HTTP/2 may bring them one by one.
		return []byte(strings.Join(v, "; "))
	}
	return []byte(v[0])
}

// routeFields are those the rules of a route may set in a request.
var routeFields = []string{"X-Route-Version", "X-Forwarded-Prefix"}

// setLines sets fields written as lines; those called Set-Cookie are added.
func setLines(h http.Header, lines []byte) {
	for line := range strings.SplitSeq(string(lines), "\r\n") {
		name, value, ok := strings.Cut(line, ": ")
		switch name = http.CanonicalHeaderKey(name); {
		case !ok:
		case name == "Set-Cookie":
			h[name] = append(h[name][:len(h[name]):len(h[name])], value)
		default:
			h[name] = []string{value}
		}
	}
}

// splitTarget returns the raw path and query of a request target.
func splitTarget(target string) (path, query string, ok bool) {
	for i := range len(target) {
		if c := target[i]; c < 0x21 || c > 0x7e || c == '#' {
			return "", "", false
		}
	}
	if target == "*" {
		return "*", "", true
	}
	if target != "" && target[0] != '/' { // the absolute form
		_, rest, found := strings.Cut(target, "://")
		i := strings.IndexAny(rest, "/?")
		switch {
		case !found:
			return "", "", false
		case i < 0:
			return "/", "", true
		case rest[i] == '?':
			return "/", rest[i:], true
		}
		target = rest[i:]
	}
	if target == "" {
		return "", "", false
	}
	if i := strings.IndexByte(target, '?'); i >= 0 {
		return target[:i], target[i:], true
	}
	return target, "", true
}

// setTarget makes u ask for exactly the bytes the client asked for, without
// the first strip bytes of the path.
func setTarget(u *url.URL, req *http.Request, strip int) {
	path, query, _ := splitTarget(req.RequestURI)
	if strip > 0 && strip <= len(path) {
		path = path[strip:]
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
	}
	if query != "" {
		u.RawQuery = query[1:]
		u.ForceQuery = len(query) == 1
	}
	switch {
	case path == "*":
		u.Path = "*"
	case strings.HasPrefix(path, "//"):
		// As Opaque it would be taken for an authority.
		u.Path, u.RawPath = req.URL.Path, req.URL.RawPath
		if strip > 0 {
			u.Path, u.RawPath = path, ""
		}
	default:
		u.Opaque = path
	}
}

// The cookies of a sticky session: the app's own, and the one that names the
// instance.
const (
	sessionCookie  = "JSESSIONID"
	instanceCookie = "__VCAP_ID__"
)

// stickyInstance returns the instance a client's session is pinned to. The
// pin counts only together with a session.
func stickyInstance(cookies []string) (guid string) {
	session := false
	for _, line := range cookies {
		for part := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.Trim(part, " \t"), "=")
			switch name {
			case sessionCookie:
				session = true
			case instanceCookie:
				if guid == "" {
					guid = value
				}
			}
		}
	}
	if !session {
		return ""
	}
	return guid
}

// pin adds the cookie that names the instance if the app opened a session, or
// if the session is not where its cookie says.
func pin(h http.Header, guid, was, proto string) {
	var session *http.Cookie
	for _, line := range h["Set-Cookie"] {
		name, _, _ := strings.Cut(line, "=")
		switch strings.TrimSpace(name) {
		case instanceCookie:
			return // the app does it by itself
		case sessionCookie:
			if c, err := http.ParseSetCookie(line); err == nil {
				session = c
			}
		}
	}
	if session == nil && (was == "" || was == guid) {
		return
	}
	c := &http.Cookie{Name: instanceCookie, Value: guid, Path: "/", HttpOnly: true, Secure: proto == "https"}
	if session != nil {
		c.MaxAge, c.Expires, c.SameSite = session.MaxAge, session.Expires, session.SameSite
		c.Secure = c.Secure || session.Secure
		c.Partitioned = session.Partitioned
		if session.Path != "" {
			c.Path = session.Path
		}
	}
	if v := c.String(); v != "" {
		h["Set-Cookie"] = append(h["Set-Cookie"][:len(h["Set-Cookie"]):len(h["Set-Cookie"])], v)
	}
}

// peer returns the address of the connection's other end.
func (x *exchange) peer() netip.Addr {
	if x.conn != nil {
		return x.conn.peer
	}
	a, _ := netip.ParseAddrPort(x.req.RemoteAddr)
	return a.Addr()
}

// newRequestID returns a random UUID.
func newRequestID() string {
	var id [16]byte
	binary.LittleEndian.PutUint64(id[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[0:8], id[0:4])
	out[8] = '-'
	hex.Encode(out[9:13], id[4:6])
	out[13] = '-'
	hex.Encode(out[14:18], id[6:8])
	out[18] = '-'
	hex.Encode(out[19:23], id[8:10])
	out[23] = '-'
	hex.Encode(out[24:36], id[10:16])
	return string(out[:])
}
