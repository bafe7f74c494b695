package router

import (
	"net/netip"
	"strings"
	"unsafe"

	"weir/router/wire"
)

// view returns b as a string that shares its memory: it is good for as long as
// b stays as it is.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// origin is where a request came from, as far as it can be believed. Its
// strings are views into the request and into scratch.
type origin struct {
	forwardedFor string     // X-Forwarded-For to send
	client       netip.Addr // the nearest address that is not a trusted proxy
	clientText   string     // the same: X-Real-Ip
	proto        string     // http or https
	host, port   string     // as the client addressed us
	requestID    string     // X-Request-Id to send

	scratch []byte
}

// trace reads what a request says about its way here. A peer that is not
// trusted is not believed. peer and its text are the connection's other end.
func (o *origin) trace(req *wire.Request, peer netip.Addr, peerText, proto, requestID string, trusted []netip.Prefix) {
	o.client, o.clientText, o.forwardedFor = peer, peerText, peerText
	o.proto, o.host, o.requestID = proto, view(req.HostValue()), requestID
	if len(trusted) > 0 && isTrusted(peer, trusted) {
		o.believe(req, trusted)
	}
	o.port = portOf(o.host, o.proto)
}

func (o *origin) believe(req *wire.Request, trusted []netip.Prefix) {
	o.scratch = o.scratch[:0]
	for i, fs := 0, req.Fields(); i < len(fs); i++ {
		if fs[i].Class == wire.ForwardedFor {
			if len(o.scratch) > 0 {
				o.scratch = append(o.scratch, ", "...)
			}
			o.scratch = append(o.scratch, req.Value(&fs[i])...)
		}
	}
	if len(o.scratch) > 0 && isFieldText(view(o.scratch)) {
		n := len(o.scratch)
		o.scratch = append(append(o.scratch, ", "...), o.forwardedFor...)
		o.forwardedFor = view(o.scratch)
		o.nearest(o.forwardedFor[:n], trusted)
	}
	if p := req.First(wire.ForwardedProto); req.Count(wire.ForwardedProto) == 1 {
		switch {
		case strings.EqualFold(view(p), "http"):
			o.proto = "http"
		case strings.EqualFold(view(p), "https"):
			o.proto = "https"
		}
	}
	if h := req.First(wire.ForwardedHost); req.Count(wire.ForwardedHost) == 1 && wire.IsHost(h) {
		o.host = view(h)
	}
	if id := req.First(wire.RequestID); req.Count(wire.RequestID) == 1 && isRequestID(view(id)) {
		o.requestID = view(id)
	}
}

// nearest finds the client in a list of addresses, each added by a proxy.
func (o *origin) nearest(list string, trusted []netip.Prefix) {
	for more := true; more; {
		var last string
		i := strings.LastIndexByte(list, ',')
		if more = i >= 0; more {
			list, last = list[:i], list[i+1:]
		} else {
			last = list
		}
		a, ok := forwarder(strings.Trim(last, " \t"))
		if !ok {
			break
		}
		o.client = a
		if !isTrusted(o.client, trusted) {
			break
		}
	}
	o.clientText = o.client.String()
}

// forwarder reads an address as proxies write it: some of them with its port,
// and with brackets.
func forwarder(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	if err != nil {
		var withPort netip.AddrPort
		if withPort, err = netip.ParseAddrPort(s); err != nil {
			return a, false
		}
		a = withPort.Addr()
	}
	return a.Unmap(), true
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

// isRequestID reports whether a proxy's X-Request-Id is fit to be passed on
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

// appendLines appends the fields every instance gets.
func (o *origin) appendLines(b []byte, vcapRequestID string, startMS int64) []byte {
	b = appendLine(b, "X-Forwarded-For", o.forwardedFor)
	b = appendLine(b, "X-Forwarded-Proto", o.proto)
	b = appendLine(b, "X-Forwarded-Host", o.host)
	b = appendLine(b, "X-Forwarded-Port", o.port)
	b = appendLine(b, "X-Real-Ip", o.clientText)
	b = appendLine(b, "X-Request-Id", o.requestID)
	b = appendLine(b, "X-Vcap-Request-Id", vcapRequestID)
	b = append(b, "X-Request-Start: "...)
	b = wire.AppendUint(b, uint64(startMS))
	return append(b, '\r', '\n')
}
