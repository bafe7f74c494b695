package wire

import "bytes"

// Request is a request head. Its bytes belong to whoever parsed it; they must
// stay as they are while the Request is used.
type Request struct {
	fields

	Method Span
	Target Span
	Path   Span // the target up to the query
	Minor  byte // of HTTP/1.x

	Length       int64 // of the body; 0 without one, -1 if chunked
	Chunked      bool
	HasHost      bool
	Close        bool // Connection: close, or HTTP/1.0 without Connection: keep-alive
	Trailers     bool // TE: trailers
	DoubtfulPath bool // servers may read the path in different ways

	host                                 Span // the value of Host
	authority                            Span // of an absolute target
	slow                                 bool
	lengths, codings, hosts, connections uint8
	name                                 []byte // the normal form of host
	lower                                [maxHost]byte
}

const maxHost = 253

// ParseRequest reads the request head that b begins with. It returns the
// length of the head, and 0 unless the verdict is Fast or Slow. A refusal is
// final: more bytes do not change it.
func ParseRequest(b []byte, r *Request) (n int, v Verdict) {
	r.reset()
	b = b[:min(len(b), MaxHead)]
	at, v := r.requestLine(b)
	if v != Fast {
		return 0, v
	}
	for {
		f, to, v := r.next(b, at)
		switch {
		case v == Incomplete && len(b) == MaxHead:
			return 0, TooLarge
		case v != Fast:
			return 0, v
		case f == nil:
			r.b = b[:to]
			if v := r.judge(); v.Refused() {
				return 0, v
			}
			if r.slow {
				return to, Slow
			}
			return to, Fast
		}
		if f.Class > lastKept || f.Class == Host {
			if v := r.field(b, f); v != Fast {
				return 0, v
			}
		}
		at = to
	}
}

func (r *Request) reset() {
	r.b, r.n, r.maxLine = nil, 0, MaxLine
	r.Length, r.Chunked, r.HasHost, r.Close, r.Trailers, r.DoubtfulPath = 0, false, false, false, false, false
	r.host, r.authority, r.name = Span{}, Span{}, nil
	r.slow = false
	r.lengths, r.codings, r.hosts, r.connections = 0, 0, 0, 0
}

// requestLine reads the request line and returns where the next line begins.
func (r *Request) requestLine(b []byte) (at int, v Verdict) {
	i := 0
	for i < len(b) && isToken[b[i]] {
		i++
	}
	switch {
	case i > MaxMethod:
		return 0, Malformed
	case i == len(b):
		return 0, Incomplete
	case i == 0 || b[i] != ' ':
		return 0, Malformed
	}
	r.Method = Span{0, uint32(i)}
	i++
	from, query := i, 0
	for i < len(b) && b[i] > ' ' && b[i] < 0x7f && b[i] != '#' {
		if b[i] == '?' && query == 0 {
			query = i
		}
		i++
	}
	switch {
	case i-from > MaxTarget:
		return 0, TargetTooLong
	case i == len(b):
		return 0, Incomplete
	case i == from || b[i] != ' ':
		return 0, Malformed
	}
	r.Target = Span{uint32(from), uint32(i)}
	r.Path = r.Target
	if query != 0 {
		r.Path.To = uint32(query)
	}
	i++
	if at, v = r.version(b, i); v != Fast {
		return 0, v
	}
	return at, r.target(b)
}

// version reads "HTTP/1.x" and the line's end.
func (r *Request) version(b []byte, i int) (at int, v Verdict) {
	const text = "HTTP/1.x\r\n"
	have := b[i:min(i+len(text), len(b))]
	for j, c := range have {
		switch {
		case j == 5 && isDigit(c), j == 7 && isDigit(c), j != 5 && j != 7 && c == text[j]:
		default:
			return 0, Malformed
		}
	}
	if len(have) < len(text) {
		return 0, Incomplete
	}
	if have[5] != '1' || have[7] > '1' {
		return 0, BadVersion
	}
	r.Minor = have[7] - '0'
	r.Close = r.Minor == 0
	return i + len(text), Fast
}

// target judges the form of the target.
func (r *Request) target(b []byte) Verdict {
	target := r.Target.of(b)
	method := r.Method.of(b)
	switch {
	case string(method) == "CONNECT":
		return BadMethod
	case target[0] == '/':
		if path := r.Path.of(b); !IsPlainPath(path) {
			if hasBadEscape(path) {
				return Malformed
			}
			r.DoubtfulPath, r.slow = true, true
		}
	case len(target) == 1 && target[0] == '*':
		if string(method) != "OPTIONS" {
			return Malformed
		}
		r.slow = true
	default:
		return r.absolute(b, target)
	}
	return Fast
}

// absolute judges a target in the absolute form.
func (r *Request) absolute(b, target []byte) Verdict {
	i := bytes.Index(target, []byte("://"))
	if i < 0 || !equalFold(target[:i], "http") && !equalFold(target[:i], "https") {
		return Malformed
	}
	from := i + 3
	end := len(target)
	if j := bytes.IndexAny(target[from:], "/?"); j >= 0 {
		end = from + j
	}
	if !IsHost(target[from:end]) {
		return Malformed
	}
	r.authority = Span{r.Target.From + uint32(from), r.Target.From + uint32(end)}
	r.slow = true
	return Fast
}

// field takes up a field that means something to the router.
func (r *Request) field(b []byte, f *Field) Verdict {
	value := f.Value.of(b)
	switch f.Class {
	case Host:
		r.hosts++
		r.host, r.HasHost = f.Value, true
		if r.hosts > 1 {
			return Malformed
		}
	case ContentLength:
		n, ok := parseLength(value)
		if r.lengths++; !ok || r.lengths > 1 {
			return Malformed
		}
		r.Length = n
	case TransferEncoding:
		if r.codings++; r.codings > 1 {
			return Malformed
		}
		if !equalFold(value, "chunked") {
			return BadCoding
		}
		r.Chunked = true
	case Connection:
		r.connection(value)
	case TE:
		r.Trailers = r.Trailers || equalFold(value, "trailers")
	case Expect:
		if len(value) > 0 && !equalFold(value, "100-continue") {
			return BadExpectation
		}
		r.slow = true
	case Upgrade:
		r.slow = true
	}
	return Fast
}

func (r *Request) connection(value []byte) {
	if r.connections < 2 {
		r.connections++
	}
	switch {
	case r.connections > 1:
		r.slow = true
	case equalFold(value, "close"):
		r.Close = true
	case equalFold(value, "keep-alive"):
		r.Close = false // of HTTP/1.0
	default:
		r.slow = true
	}
}

// judge decides what only the whole head can tell.
func (r *Request) judge() Verdict {
	switch {
	case r.hosts == 0 && r.Minor == 1:
		return Malformed
	case r.lengths > 0 && r.codings > 0:
		return Malformed
	case r.codings > 0 && r.Minor == 0:
		return Malformed
	case r.authority.Len() > 0 && r.hosts > 0 && !EqualFold(r.authority.of(r.b), r.host.of(r.b)):
		return Malformed
	}
	if r.Chunked {
		r.Length = -1
	}
	if r.host.Len() > 0 {
		name, ok := r.normalHost(r.host.of(r.b))
		if !ok {
			return Malformed
		}
		r.name = name
	}
	return Fast
}

// normalHost returns host in lower case without port and without one trailing
// dot, and whether it is a host at all.
func (r *Request) normalHost(host []byte) (name []byte, ok bool) {
	name, upper, ok := cutHost(host)
	if !ok || !upper {
		return name, ok
	}
	for i, c := range name {
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		r.lower[i] = c
	}
	return r.lower[:len(name)], true
}

// HostName returns the normal form of Host: lower case, no port, no trailing
// dot. Empty if there is none.
func (r *Request) HostName() []byte { return r.name }

// HostValue returns the value of Host as it was sent.
func (r *Request) HostValue() []byte { return r.host.of(r.b) }

// MethodBytes returns the method.
func (r *Request) MethodBytes() []byte { return r.Method.of(r.b) }

// TargetBytes returns the request target as it was sent.
func (r *Request) TargetBytes() []byte { return r.Target.of(r.b) }

// PathBytes returns the target up to the query.
func (r *Request) PathBytes() []byte { return r.Path.of(r.b) }

// AppendLine appends the request line that is sent on, without the first
// strip bytes of the path.
func (r *Request) AppendLine(dst []byte, strip int) []byte {
	if strip == 0 {
		dst = append(dst, r.b[r.Method.From:r.Target.To]...)
	} else {
		dst = append(dst, r.b[r.Method.From:r.Target.From]...)
		rest := r.b[r.Target.From+uint32(min(strip, r.Path.Len())) : r.Target.To]
		if len(rest) == 0 || rest[0] != '/' {
			dst = append(dst, '/')
		}
		dst = append(dst, rest...)
	}
	return append(dst, " HTTP/1.1\r\n"...)
}

// cutHost cuts port and one trailing dot off a Host, and says whether it has
// upper-case letters and whether it is a host at all.
func cutHost(host []byte) (name []byte, upper, ok bool) {
	name = host
	if len(name) > 0 && name[0] == '[' {
		return cutIPv6(host)
	}
	for i, c := range name {
		if !isHost[c] {
			if c != ':' || !isPort(name[i:]) {
				return nil, false, false
			}
			name = name[:i]
			break
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	if n := len(name); n > 0 && name[n-1] == '.' {
		name = name[:n-1]
	}
	n := len(name)
	return name, upper, n > 0 && name[n-1] != '.' && n <= maxHost
}

func cutIPv6(host []byte) (name []byte, upper, ok bool) {
	end := bytes.IndexByte(host, ']')
	if end < 2 || end >= maxHost || len(host) > end+1 && !isPort(host[end+1:]) {
		return nil, false, false
	}
	for _, c := range host[1:end] {
		if hexValue[c] < 0 && c != ':' && c != '.' {
			return nil, false, false
		}
		upper = upper || 'A' <= c && c <= 'Z'
	}
	return host[:end+1], upper, true
}

// isPort reports whether b is a colon and at most five digits.
func isPort(b []byte) bool {
	if len(b) == 0 || b[0] != ':' || len(b) > 6 {
		return false
	}
	for _, c := range b[1:] {
		if !isDigit(c) {
			return false
		}
	}
	return true
}

// IsHost reports whether b is a host, with or without a port.
func IsHost(b []byte) bool {
	_, _, ok := cutHost(b)
	return ok
}

// IsPlainPath reports whether a raw path means the same to everybody: no
// empty or dot segments, no backslash, no escape that is none, and none of
// those that some servers undo before they look at segments.
func IsPlainPath(p []byte) bool {
	if len(p) == 0 || p[0] != '/' {
		return false
	}
	for i, c := range p {
		switch c {
		case '/':
			if i+1 < len(p) && (p[i+1] == '/' || p[i+1] == '.' && isDotSegment(p[i+1:])) {
				return false
			}
		case '\\':
			return false
		case '%':
			if i+2 >= len(p) || hexValue[p[i+1]] < 0 || hexValue[p[i+2]] < 0 || isSeparatorEscape(p[i+1], p[i+2]) {
				return false
			}
		}
	}
	return true
}

// hasBadEscape reports whether a percent sign stands before anything but two
// hexadecimal digits.
func hasBadEscape(p []byte) bool {
	for i, c := range p {
		if c == '%' && (i+2 >= len(p) || hexValue[p[i+1]] < 0 || hexValue[p[i+2]] < 0) {
			return true
		}
	}
	return false
}

func isSeparatorEscape(a, b byte) bool {
	switch {
	case a == '2':
		return b|0x20 == 'e' || b|0x20 == 'f'
	case a == '5':
		return b|0x20 == 'c'
	}
	return a == '0' && b == '0'
}

// isDotSegment reports whether s begins with the segment "." or "..".
func isDotSegment(s []byte) bool {
	n := 1
	if len(s) > 1 && s[1] == '.' {
		n = 2
	}
	return len(s) == n || s[n] == '/'
}
