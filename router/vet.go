package router

import (
	"bytes"
	"strings"
)

// framing says where the body of a request ends.
type framing struct {
	length  int64 // of the body; 0 if chunked
	chunked bool
}

// The limits of a request head.
const (
	maxHeadBytes   = 64 << 10
	maxTargetBytes = 16 << 10
	maxFields      = 100
	maxMethodBytes = 24
)

// vetHead judges a complete request head, up to and with its empty line, by
// the grammar of RFC 9112 without any of the leniencies it allows. A head
// that two parsers could read differently does not pass. It is a pure
// function.
func vetHead(head []byte) (framing, reason) {
	line, rest, ok := cutLine(head)
	if !ok {
		return framing{}, reasonBadRequest
	}
	v := headVerdict{}
	if why := v.requestLine(line); why != reasonNone {
		return framing{}, why
	}
	for n := 0; ; n++ {
		if line, rest, ok = cutLine(rest); !ok {
			return framing{}, reasonBadRequest
		}
		if len(line) == 0 {
			break
		}
		if n == maxFields {
			return framing{}, reasonHeadTooLarge
		}
		name, value, ok := cutField(line)
		if !ok {
			return framing{}, reasonBadRequest
		}
		if why := v.field(name, value); why != reasonNone {
			return framing{}, why
		}
	}
	return v.framing()
}

// cutLine cuts one line off b. Only CRLF ends a line; the line may hold
// neither.
func cutLine(b []byte) (line, rest []byte, ok bool) {
	i := bytes.IndexByte(b, '\n')
	if i < 1 || b[i-1] != '\r' {
		return nil, nil, false
	}
	line, rest = b[:i-1], b[i+1:]
	return line, rest, bytes.IndexByte(line, '\r') < 0
}

// cutField splits a field line: a token, at once a colon, a value of visible
// characters, blanks and tabs.
func cutField(line []byte) (name, value []byte, ok bool) {
	i := bytes.IndexByte(line, ':')
	if i < 1 {
		return nil, nil, false
	}
	name, value = line[:i], bytes.Trim(line[i+1:], " \t")
	for _, c := range name {
		if !isTokenByte[c] {
			return nil, nil, false
		}
	}
	for _, c := range value {
		if c < 0x20 && c != '\t' || c == 0x7f {
			return nil, nil, false
		}
	}
	return name, value, true
}

// headVerdict gathers what the fields of a head say about framing.
type headVerdict struct {
	minor     byte   // of HTTP/1.x
	authority []byte // of an absolute target
	host      []byte
	hosts     int
	lengths   int
	length    int64
	codings   int
}

func (v *headVerdict) requestLine(line []byte) reason {
	method, rest, ok := bytes.Cut(line, []byte{' '})
	if !ok || len(method) == 0 || len(method) > maxMethodBytes {
		return reasonBadRequest
	}
	for _, c := range method {
		if !isTokenByte[c] {
			return reasonBadRequest
		}
	}
	target, proto, ok := bytes.Cut(rest, []byte{' '})
	if !ok || len(target) == 0 {
		return reasonBadRequest
	}
	if len(target) > maxTargetBytes {
		return reasonURITooLong
	}
	for _, c := range target {
		if c < 0x21 || c > 0x7e || c == '#' {
			return reasonBadRequest
		}
	}
	switch string(proto) {
	case "HTTP/1.1":
		v.minor = 1
	case "HTTP/1.0":
	default:
		if len(proto) == 8 && string(proto[:5]) == "HTTP/" && isDigit(proto[5]) && proto[6] == '.' && isDigit(proto[7]) {
			return reasonVersion
		}
		return reasonBadRequest
	}
	return v.target(string(method), target)
}

func (v *headVerdict) target(method string, target []byte) reason {
	switch {
	case method == "CONNECT":
		return reasonMethod
	case target[0] == '/':
	case len(target) == 1 && target[0] == '*':
		if method != "OPTIONS" {
			return reasonBadRequest
		}
	default:
		scheme, rest, ok := strings.Cut(string(target), "://")
		if !ok || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
			return reasonBadRequest
		}
		end := strings.IndexAny(rest, "/?")
		if end < 0 {
			end = len(rest)
		}
		v.authority = []byte(rest[:end])
		if _, ok := normalHost(rest[:end]); !ok {
			return reasonBadRequest
		}
	}
	return reasonNone
}

func (v *headVerdict) field(name, value []byte) reason {
	switch len(name) {
	case len("host"):
		if strings.EqualFold(string(name), "host") {
			v.hosts++
			v.host = value
		}
	case len("content-length"):
		if strings.EqualFold(string(name), "content-length") {
			return v.contentLength(value)
		}
	case len("transfer-encoding"):
		if strings.EqualFold(string(name), "transfer-encoding") {
			v.codings++
			if !strings.EqualFold(string(value), "chunked") {
				return reasonTransferCoding
			}
		}
	}
	return reasonNone
}

func (v *headVerdict) contentLength(value []byte) reason {
	v.lengths++
	if len(value) == 0 || len(value) > 18 {
		return reasonBadRequest
	}
	for _, c := range value {
		if !isDigit(c) {
			return reasonBadRequest
		}
		v.length = v.length*10 + int64(c-'0')
	}
	return reasonNone
}

func (v *headVerdict) framing() (framing, reason) {
	switch {
	case v.hosts > 1, v.hosts == 0 && v.minor == 1:
		return framing{}, reasonBadRequest
	case v.lengths > 1, v.codings > 1, v.lengths+v.codings > 1:
		return framing{}, reasonBadRequest
	case v.codings > 0 && v.minor == 0:
		return framing{}, reasonBadRequest
	case v.authority != nil && v.hosts > 0 && !bytes.EqualFold(v.authority, v.host):
		return framing{}, reasonBadRequest
	case len(v.host) > 0:
		if _, ok := normalHost(string(v.host)); !ok {
			return framing{}, reasonBadRequest
		}
	}
	return framing{length: v.length, chunked: v.codings > 0}, reasonNone
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// isTokenByte marks the bytes of a token of RFC 9110.
var isTokenByte = func() (t [256]bool) {
	for c := '0'; c <= '9'; c++ {
		t[c] = true
	}
	for c := 'a'; c <= 'z'; c++ {
		t[c], t[c-'a'+'A'] = true, true
	}
	for _, c := range "!#$%&'*+-.^_`|~" {
		t[c] = true
	}
	return t
}()

// chunkScanner follows a chunked body byte by byte and finds its end. It
// takes nothing but the plain grammar: sizes of 1 to 15 hex digits,
// extensions of tokens and quoted strings without blanks, CRLF.
type chunkScanner struct {
	state  chunkState
	left   int64 // of the chunk
	digits int
	line   int // bytes of the current size line or trailer line
	extra  int // bytes of all extensions and trailers
	fields int
	colon  bool
}

type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkExtName
	chunkExtFirst // of a value
	chunkExtToken
	chunkExtQuoted
	chunkExtEscape
	chunkExtEnd // after a quoted value
	chunkSizeLF
	chunkData
	chunkDataCR
	chunkDataLF
	chunkTrailerStart
	chunkTrailerName
	chunkTrailerValue
	chunkTrailerLF
	chunkEndLF
	chunkDone
)

const (
	maxChunkLine  = 256
	maxChunkExtra = 16 << 10
)

// scan takes bytes of the body and returns how many of them belong to it, and
// false for a byte that must not be there. After the last one done is true.
func (s *chunkScanner) scan(b []byte) (n int, ok bool) {
	for n < len(b) && s.state != chunkDone {
		if s.state == chunkData {
			k := min(int64(len(b)-n), s.left)
			n += int(k)
			if s.left -= k; s.left == 0 {
				s.state = chunkDataCR
			}
			continue
		}
		if !s.step(b[n]) {
			return n, false
		}
		n++
	}
	return n, true
}

func (s *chunkScanner) done() bool { return s.state == chunkDone }

func (s *chunkScanner) step(c byte) bool {
	if s.state >= chunkTrailerStart {
		return s.stepTrailer(c)
	}
	s.line++
	if s.line > maxChunkLine {
		return false
	}
	switch s.state {
	case chunkSize:
		return s.stepSize(c)
	case chunkSizeLF:
		if c != '\n' {
			return false
		}
		s.line, s.digits = 0, 0
		s.state = chunkData
		if s.left == 0 {
			s.state = chunkTrailerStart
		}
		return true
	case chunkDataCR:
		s.state = chunkDataLF
		return c == '\r'
	case chunkDataLF:
		s.state, s.line = chunkSize, 0
		return c == '\n'
	}
	return s.stepExtension(c)
}

func (s *chunkScanner) stepSize(c byte) bool {
	switch {
	case isHex(c):
		s.digits++
		s.left = s.left<<4 | int64(unhex(c))
		return s.digits <= 15
	case s.digits == 0:
		return false
	}
	return s.endOfToken(c)
}

// endOfToken takes a byte after which a size or an extension is complete.
func (s *chunkScanner) endOfToken(c byte) bool {
	switch c {
	case '\r':
		s.state = chunkSizeLF
	case ';':
		s.state, s.colon = chunkExtName, false
	default:
		return false
	}
	return true
}

// stepExtension takes a byte of an extension; colon means: its name has begun.
func (s *chunkScanner) stepExtension(c byte) bool {
	if s.extra++; s.extra > maxChunkExtra {
		return false
	}
	switch s.state {
	case chunkExtName:
		switch {
		case isTokenByte[c]:
			s.colon = true
			return true
		case !s.colon:
			return false
		case c == '=':
			s.state = chunkExtFirst
			return true
		}
		return s.endOfToken(c)
	case chunkExtFirst:
		if c == '"' {
			s.state = chunkExtQuoted
			return true
		}
		s.state = chunkExtToken
		return isTokenByte[c]
	case chunkExtToken:
		return isTokenByte[c] || s.endOfToken(c)
	case chunkExtQuoted:
		switch c {
		case '"':
			s.state = chunkExtEnd
		case '\\':
			s.state = chunkExtEscape
		}
		return c == '\t' || c >= 0x20 && c != 0x7f
	case chunkExtEscape:
		s.state = chunkExtQuoted
		return c == '\t' || c >= 0x20 && c != 0x7f
	}
	return s.endOfToken(c)
}

func (s *chunkScanner) stepTrailer(c byte) bool {
	if s.extra++; s.extra > maxChunkExtra {
		return false
	}
	switch s.state {
	case chunkTrailerStart:
		if c == '\r' {
			s.state = chunkEndLF
			return true
		}
		s.fields++
		s.state = chunkTrailerName
		return isTokenByte[c] && s.fields <= maxFields
	case chunkTrailerName:
		if c == ':' {
			s.state = chunkTrailerValue
			return true
		}
		return isTokenByte[c]
	case chunkTrailerValue:
		if c == '\r' {
			s.state = chunkTrailerLF
			return true
		}
		return c == '\t' || c >= 0x20 && c != 0x7f
	case chunkTrailerLF:
		s.state = chunkTrailerStart
		return c == '\n'
	}
	s.state = chunkDone
	return c == '\n'
}

func unhex(c byte) byte {
	switch {
	case c <= '9':
		return c - '0'
	case c <= 'F':
		return c - 'A' + 10
	}
	return c - 'a' + 10
}
