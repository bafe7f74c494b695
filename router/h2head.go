package router

import (
	"bytes"
	"strings"

	"golang.org/x/net/http2/hpack"

	"weir/router/wire"
)

// h2head gathers a header block and what it says, until the block is complete.
type h2head struct {
	stream  uint32 // 0: no block is open
	end     bool   // it ends its stream
	ignored bool   // it is read only to keep the compression state
	of      *stream2
	frames  int // HEADERS and CONTINUATION
	bytes   int // compressed
	list    int // not compressed, counted as RFC 9113 section 10.5.1 has it
	bad     bool
	large   bool // more than is taken

	method, scheme, authority, path, host string
	pseudo                                uint8 // bits: which pseudo fields came
	plain                                 bool  // an ordinary field came
	length                                int64 // Content-Length; -1: none
	expect                                bool
	lines, cookies                        []byte
}

// The pseudo fields of a request.
const (
	pseudoMethod = 1 << iota
	pseudoScheme
	pseudoAuthority
	pseudoPath
)

// The limits of a header block on the wire. What is compressed in it counts
// against wire.MaxHead.
const (
	maxBlockBytes  = 128 << 10
	maxBlockFrames = 32
)

// begin starts a block.
func (h *h2head) begin(stream uint32, end bool) {
	*h = h2head{stream: stream, end: end, length: -1, lines: h.lines[:0], cookies: h.cookies[:0]}
}

// field takes a field of the block. It is called by the decoder.
func (h *h2head) field(f hpack.HeaderField) {
	if h.list += len(f.Name) + len(f.Value) + 32; h.list > wire.MaxHead {
		h.large = true
	}
	switch {
	case h.ignored || h.bad || h.large:
	case len(f.Name) > 0 && f.Name[0] == ':':
		h.pseudoField(f.Name, f.Value)
	case !isLowerName(f.Name) || !isFieldValue(f.Value):
		h.bad = true
	default:
		h.plain = true
		h.plainField(f.Name, f.Value)
	}
}

func (h *h2head) pseudoField(name, value string) {
	var bit uint8
	var to *string
	switch name {
	case ":method":
		bit, to = pseudoMethod, &h.method
	case ":scheme":
		bit, to = pseudoScheme, &h.scheme
	case ":authority":
		bit, to = pseudoAuthority, &h.authority
	case ":path":
		bit, to = pseudoPath, &h.path
	}
	if to == nil || h.plain || h.of != nil || h.pseudo&bit != 0 {
		h.bad = true // unknown, behind ordinary ones, in trailers, or twice
		return
	}
	h.pseudo |= bit
	*to = value
}

func (h *h2head) plainField(name, value string) {
	switch name {
	case "connection", "proxy-connection", "keep-alive", "transfer-encoding", "upgrade":
		h.bad = true // HTTP/2 has no such thing
	case "te":
		if value != "trailers" {
			h.bad = true
			return
		}
		h.lines = append(h.lines, "te: trailers\r\n"...)
	case "host":
		if h.host != "" && h.host != value {
			h.bad = true
		}
		h.host = value
	case "content-length":
		n, ok := contentLength(value)
		if !ok || h.length >= 0 {
			h.bad = true
			return
		}
		h.length = n
	case "cookie":
		if len(h.cookies) > 0 {
			h.cookies = append(h.cookies, "; "...)
		}
		h.cookies = append(h.cookies, value...)
	case "expect":
		if h.expect = strings.EqualFold(value, "100-continue"); !h.expect && value != "" {
			h.lines = append(append(append(h.lines, "expect: "...), value...), "\r\n"...) // refused by wire
		}
	default:
		h.lines = append(append(append(append(h.lines, name...), ": "...), value...), '\r', '\n')
	}
}

func contentLength(v string) (n int64, ok bool) {
	if v == "" || len(v) > 18 {
		return 0, false
	}
	for i := range len(v) {
		if v[i] < '0' || v[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(v[i]-'0')
	}
	return n, true
}

// isLowerName reports whether s may name a field in HTTP/2.
func isLowerName(s string) bool {
	for i := range len(s) {
		if 'A' <= s[i] && s[i] <= 'Z' {
			return false
		}
	}
	return wire.IsToken(s)
}

// isFieldValue reports whether s may be a field's value: no control character
// but tab, no blanks around it.
func isFieldValue(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return s == "" || !isBlank(s[0]) && !isBlank(s[len(s)-1])
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// isVisible reports whether s is nothing but visible ASCII.
func isVisible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// judge reports whether the block is a request at all, RFC 9113 section 8.3.1.
// If not, its stream is reset.
func (h *h2head) judge() bool {
	if h.method == "CONNECT" {
		return !h.bad // and refused later
	}
	if h.pseudo&pseudoAuthority != 0 && h.host != "" && !strings.EqualFold(h.host, h.authority) {
		return false
	}
	return !h.bad && h.pseudo&pseudoMethod != 0 && h.pseudo&pseudoScheme != 0 && h.pseudo&pseudoPath != 0 &&
		(h.scheme == "https" || h.scheme == "http") && (h.length <= 0 || !h.end) &&
		(strings.HasPrefix(h.path, "/") || h.path == "*" && h.method == "OPTIONS")
}

// appendHTTP1 writes the request down as HTTP/1.1. It reports whether that can
// be done.
func (h *h2head) appendHTTP1(b []byte) ([]byte, bool) {
	host := h.authority
	if host == "" {
		host = h.host
	}
	if !wire.IsToken(h.method) || !isVisible(h.path) || !isVisible(host) {
		return b, false
	}
	b = append(append(append(b, h.method...), ' '), h.path...)
	b = append(append(b, " HTTP/1.1\r\nhost: "...), host...)
	b = append(append(b, "\r\n"...), h.lines...)
	if len(h.cookies) > 0 {
		b = append(append(append(b, "cookie: "...), h.cookies...), '\r', '\n')
	}
	switch {
	case h.length >= 0:
		b = append(b, "content-length: "...)
		b = append(wire.AppendUint(b, uint64(h.length)), '\r', '\n')
	case !h.end:
		b = append(b, "transfer-encoding: chunked\r\n"...)
	}
	return append(b, '\r', '\n'), true
}

// The answers' fields that the static table of RFC 7541 knows. We keep no
// table of our own: what is gained is less than what it costs.
var h2Names = map[string]byte{
	"accept-ranges": 18, "access-control-allow-origin": 20, "age": 21, "allow": 22, "cache-control": 24,
	"content-disposition": 25, "content-encoding": 26, "content-language": 27, "content-length": 28,
	"content-location": 29, "content-range": 30, "content-type": 31, "date": 33, "etag": 34, "expires": 36,
	"last-modified": 44, "link": 45, "location": 46, "refresh": 52, "retry-after": 53, "server": 54,
	"set-cookie": 55, "strict-transport-security": 56, "vary": 59, "via": 60, "www-authenticate": 61,
}

// appendStatus appends :status.
func appendStatus(b []byte, status int) []byte {
	switch status {
	case 200:
		return append(b, 0x80|8)
	case 204:
		return append(b, 0x80|9)
	case 206:
		return append(b, 0x80|10)
	case 304:
		return append(b, 0x80|11)
	case 400:
		return append(b, 0x80|12)
	case 404:
		return append(b, 0x80|13)
	case 500:
		return append(b, 0x80|14)
	}
	return append(b, 8, 3, byte('0'+status/100%10), byte('0'+status/10%10), byte('0'+status%10))
}

// appendPacked appends field lines of HTTP/1.1.
func appendPacked(b, lines []byte) []byte {
	for len(lines) > 0 {
		end := bytes.IndexByte(lines, '\n')
		if end < 0 {
			return b
		}
		line := lines[:end]
		lines = lines[end+1:]
		if n := len(line); n > 0 && line[n-1] == '\r' {
			line = line[:n-1]
		}
		if colon := bytes.IndexByte(line, ':'); colon > 0 {
			b = appendPackedField(b, line[:colon], bytes.Trim(line[colon+1:], " \t"))
		}
	}
	return b
}

// appendPackedField appends a field that goes into no table.
func appendPackedField(b, name, value []byte) []byte {
	var lower [64]byte
	if len(name) <= len(lower) {
		for i, c := range name {
			if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			lower[i] = c
		}
		name = lower[:len(name)]
	} else {
		name = bytes.ToLower(name)
	}
	if i := h2Names[string(name)]; i != 0 {
		b = appendHpackInt(b, 0, 4, int(i))
	} else {
		b = appendHpackInt(append(b, 0), 0, 7, len(name))
		b = append(b, name...)
	}
	return append(appendHpackInt(b, 0, 7, len(value)), value...)
}

// appendHpackInt appends n with a prefix of so many bits, RFC 7541 section 5.1.
func appendHpackInt(b []byte, first byte, bits, n int) []byte {
	largest := 1<<bits - 1
	if n < largest {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(largest))
	for n -= largest; n >= 0x80; n >>= 7 {
		b = append(b, 0x80|byte(n&0x7f))
	}
	return append(b, byte(n))
}
