package router

import (
	"net/http"
	"net/netip"
	"strings"
)

// ownedPrefixes begin the names of request fields that only the router may
// set. Names are compared folded: lower case, "_" and "." as "-", because
// many servers cannot tell X_Forwarded_For from X-Forwarded-For.
var ownedPrefixes = []string{"x-forwarded", "x-cf-", "x-vcap-", "x-shadow"}

var ownedNames = map[string]bool{
	"forwarded": true, "x-real-ip": true, "x-route-version": true,
	"x-request-start": true, "x-request-id": true,
}

// isOwned reports whether a request field of this name is deleted on entry.
func isOwned(name string) bool {
	if name == "" || len(name) > 64 {
		return len(name) > 64 && isOwned(name[:64])
	}
	if c := name[0] | 0x20; c != 'x' && c != 'f' {
		return false
	}
	var buf [64]byte
	folded := buf[:len(name)]
	for i := range len(name) {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c = '-'
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		folded[i] = c
	}
	for _, p := range ownedPrefixes {
		if len(folded) >= len(p) && string(folded[:len(p)]) == p {
			return true
		}
	}
	return ownedNames[string(folded)]
}

// hopByHop are the fields that concern one connection only.
var hopByHop = []string{
	"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
	"Te", "Trailer", "Transfer-Encoding", "Upgrade", "Http2-Settings",
}

// protected are the fields no Connection option may take away.
var protected = map[string]bool{
	"Host": true, "Content-Length": true, "Transfer-Encoding": true,
	"Authorization": true, "Cookie": true,
}

// connection is what a request's hop-by-hop fields said.
type connection struct {
	upgrade  string // the protocol asked for, in lower case; only "websocket"
	trailers bool   // the client takes trailers
}

// stripRequest deletes what must not reach an instance: hop-by-hop fields,
// what Connection names, and every field only the router may set. It returns
// false for a Connection that names a protected field.
func stripRequest(h http.Header) (c connection, ok bool) {
	if te, has := h["Te"]; has {
		c.trailers = hasToken(te, "trailers")
	}
	if tokens, has := h["Connection"]; has {
		if up := h["Upgrade"]; len(up) == 1 && strings.EqualFold(up[0], "websocket") && hasToken(tokens, "upgrade") {
			c.upgrade = "websocket"
		}
		for token := range eachToken(tokens) {
			name := http.CanonicalHeaderKey(token)
			if protected[name] || isOwned(name) {
				return c, false
			}
			delete(h, name)
		}
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	for name := range h {
		if isOwned(name) {
			delete(h, name)
		}
	}
	return c, true
}

// stripResponse deletes what must not reach the client.
func stripResponse(h http.Header) {
	for token := range eachToken(h["Connection"]) {
		delete(h, http.CanonicalHeaderKey(token))
	}
	for _, name := range hopByHop {
		delete(h, name)
	}
	// Only the router's own errors carry it.
	delete(h, "X-Cf-Routererror")
}

func eachToken(values []string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for _, v := range values {
			for token := range strings.SplitSeq(v, ",") {
				if token = strings.Trim(token, " \t"); token != "" && !yield(token) {
					return
				}
			}
		}
	}
}

func hasToken(values []string, want string) bool {
	for token := range eachToken(values) {
		if strings.EqualFold(token, want) {
			return true
		}
	}
	return false
}

// origin is where a request came from, as far as it can be believed.
type origin struct {
	forwardedFor string // X-Forwarded-For to send
	client       string // X-Real-Ip: the nearest address that is not a trusted proxy
	proto        string // http or https
	host, port   string // as the client addressed us
	requestID    string // X-Request-Id to send
}

// trace reads what a request says about its way here, before stripRequest. A
// peer that is not trusted is not believed.
func trace(h http.Header, peer netip.Addr, proto, host, requestID string, trusted []netip.Prefix) origin {
	peer = peer.Unmap()
	ip := peer.String()
	o := origin{forwardedFor: ip, client: ip, proto: proto, host: host, requestID: requestID}
	if id := h["X-Request-Id"]; len(id) == 1 && isRequestID(id[0]) {
		o.requestID = id[0]
	}
	if isTrusted(peer, trusted) {
		o.believe(h, trusted)
	}
	o.port = portOf(o.host, o.proto)
	return o
}

func (o *origin) believe(h http.Header, trusted []netip.Prefix) {
	if list := strings.Join(h["X-Forwarded-For"], ", "); list != "" && isFieldText(list) {
		o.forwardedFor = list + ", " + o.forwardedFor
		parts := strings.Split(list, ",")
		for i := len(parts) - 1; i >= 0; i-- {
			a, err := netip.ParseAddr(strings.TrimSpace(parts[i]))
			if err != nil {
				break
			}
			o.client = a.Unmap().String()
			if !isTrusted(a, trusted) {
				break
			}
		}
	}
	if p := h["X-Forwarded-Proto"]; len(p) == 1 {
		switch p := strings.ToLower(p[0]); p {
		case "http", "https":
			o.proto = p
		}
	}
	if v := h["X-Forwarded-Host"]; len(v) == 1 {
		if _, ok := normalHost(v[0]); ok {
			o.host = v[0]
		}
	}
}

func isTrusted(a netip.Addr, trusted []netip.Prefix) bool {
	a = a.Unmap()
	for _, p := range trusted {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func portOf(host, proto string) string {
	if i := strings.LastIndexByte(host, ':'); i >= 0 && i+1 < len(host) && host[len(host)-1] != ']' {
		return host[i+1:]
	}
	if proto == "https" {
		return "443"
	}
	return "80"
}

// isRequestID reports whether a client's X-Request-Id is fit to be passed on
// and logged.
func isRequestID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-_.:/+=@", c) >= 0:
		default:
			return false
		}
	}
	return true
}

func isFieldText(s string) bool {
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return false
		}
	}
	return true
}

// stamp sets the fields every instance gets.
func (o *origin) stamp(h http.Header, vcapRequestID, startMS string) {
	v := make([]string, 8)
	set := func(i int, name, value string) {
		v[i] = value
		h[name] = v[i : i+1 : i+1]
	}
	set(0, "X-Forwarded-For", o.forwardedFor)
	set(1, "X-Forwarded-Proto", o.proto)
	set(2, "X-Forwarded-Host", o.host)
	set(3, "X-Forwarded-Port", o.port)
	set(4, "X-Real-Ip", o.client)
	set(5, "X-Request-Id", o.requestID)
	set(6, "X-Vcap-Request-Id", vcapRequestID)
	set(7, "X-Request-Start", startMS)
}
