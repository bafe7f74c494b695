package router

import (
	"fmt"
	"net"
	"strings"
)

// normalHost returns host in lower case without port and without one trailing
// dot, and whether it is a host at all. It allocates only for upper case.
func normalHost(host string) (name string, ok bool) {
	name = host
	if strings.HasPrefix(name, "[") {
		end := strings.IndexByte(name, ']')
		if end < 0 {
			return "", false
		}
		if port := name[end+1:]; port != "" && !isPort(port) {
			return "", false
		}
		name = name[:end+1]
		for i := 1; i < end; i++ {
			if c := name[i]; !isHex(c) && c != ':' && c != '.' {
				return "", false
			}
		}
		return strings.ToLower(name), end > 1
	}
	if i := strings.IndexByte(name, ':'); i >= 0 {
		if !isPort(name[i:]) {
			return "", false
		}
		name = name[:i]
	}
	name = strings.TrimSuffix(name, ".")
	upper := false
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '-', c == '.', c == '_', c == '~':
		case 'A' <= c && c <= 'Z':
			upper = true
		default:
			return "", false
		}
	}
	if upper {
		name = strings.ToLower(name)
	}
	return name, name != "" && !strings.HasSuffix(name, ".") && len(name) <= 253
}

// isPort reports whether s is a colon and at most five digits, or only a colon.
func isPort(s string) bool {
	if s == "" || s[0] != ':' || len(s) > 6 {
		return false
	}
	for i := 1; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

// normalRoute checks a route of a table and brings its key into normal form.
func normalRoute(r Route) (Route, error) {
	k, err := normalKey(r.Key())
	if err != nil {
		return r, err
	}
	r.Host, r.Path = k.Host, k.Path
	for i, d := range r.Destinations {
		if d.Weight < 0 || d.Weight > 1<<30 {
			return r, fmt.Errorf("route %q: destination %d: weight %d is out of range", r.Host+r.Path, i, d.Weight)
		}
		switch d.Protocol {
		case "", ProtocolHTTP1, ProtocolHTTP2:
		default:
			return r, fmt.Errorf("route %q: destination %d: unknown protocol %q", r.Host+r.Path, i, d.Protocol)
		}
		for _, m := range d.Match {
			if err := checkMatch(m); err != nil {
				return r, fmt.Errorf("route %q: destination %d: %w", r.Host+r.Path, i, err)
			}
		}
		for _, b := range d.Backends {
			if _, _, err := net.SplitHostPort(b.Addr); err != nil || b.InstanceGUID == "" {
				return r, fmt.Errorf("route %q: destination %d: instance %q has no usable address: %q",
					r.Host+r.Path, i, b.InstanceGUID, b.Addr)
			}
		}
	}
	return r, nil
}

func normalKey(k RouteKey) (RouteKey, error) {
	name, wild := k.Host, ""
	if k.Host == "*" {
		name, wild = "", "*"
	} else if rest, ok := strings.CutPrefix(k.Host, "*."); ok {
		name, wild = rest, "*."
	}
	if wild != "*" {
		n, ok := normalHost(name)
		if !ok || strings.HasSuffix(name, ":") {
			return k, fmt.Errorf("route with invalid host %q", k.Host)
		}
		name = n
	}
	path := strings.TrimRight(k.Path, "/")
	if path != "" && path[0] != '/' {
		return k, fmt.Errorf("route %q with a path that does not begin with a slash: %q", k.Host, k.Path)
	}
	return RouteKey{Host: wild + name, Path: path}, nil
}
