package wire

// Response is the head of an answer. Its bytes belong to whoever parsed it;
// they must stay as they are while the Response is used.
type Response struct {
	fields

	Status int
	Minor  byte // of HTTP/1.x
	Phrase Span // the reason phrase

	Length  int64 // of the body; -1: not given
	Chunked bool
	Close   bool // the connection ends with this answer
	// KeepAlive is how many seconds the peer keeps the connection open
	// unused; -1: it did not say.
	KeepAlive int
	Cookies   bool // there is a Set-Cookie
	HasDate   bool
	Marked    bool // there is an X-Weir-Event, which is not sent on

	connection, keepAlive bool
	codings               uint8
}

// ParseResponse reads the head of an answer that b begins with. It returns
// the length of the head, and 0 unless the verdict is Fast. There is no Slow
// answer.
func ParseResponse(b []byte, r *Response) (n int, v Verdict) {
	r.reset()
	b = b[:min(len(b), MaxHead)]
	at, v := r.statusLine(b)
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
			if !r.judge() {
				return 0, Malformed
			}
			return to, Fast
		}
		if f.Class == Date {
			r.HasDate = true
		} else if f.Class >= SetCookie && !r.field(b, f) {
			return 0, Malformed
		}
		at = to
	}
}

func (r *Response) reset() {
	r.b, r.n, r.maxLine = nil, 0, MaxHead
	r.Status, r.Minor, r.Phrase = 0, 0, Span{}
	r.Length, r.Chunked, r.Close, r.KeepAlive, r.Cookies, r.HasDate, r.Marked = -1, false, false, -1, false, false, false
	r.connection, r.keepAlive, r.codings = false, false, 0
}

// statusLine reads "HTTP/1.x 200 phrase". The blank before an empty phrase
// may be missing.
func (r *Response) statusLine(b []byte) (at int, v Verdict) {
	const text = "HTTP/1.x 200"
	for i, c := range b[:min(len(b), len(text))] {
		switch {
		case i == 7 && (c == '0' || c == '1'):
			r.Minor = c - '0'
		case i == 9 && '1' <= c && c <= '9', i > 9 && isDigit(c):
			r.Status = r.Status*10 + int(c-'0')
		case i != 7 && i < 9 && c == text[i]:
		default:
			return 0, Malformed
		}
	}
	if len(b) <= len(text) {
		return 0, Incomplete
	}
	i := len(text)
	if b[i] != ' ' && b[i] != '\r' {
		return 0, Malformed
	}
	if b[i] == ' ' {
		i++
	}
	end := i + valueEnd(b[i:])
	switch {
	case end == len(b), end+1 == len(b) && b[end] == '\r':
		if len(b) == MaxHead {
			return 0, TooLarge
		}
		return 0, Incomplete
	case b[end] != '\r' || b[end+1] != '\n':
		return 0, Malformed
	}
	r.Phrase = Span{uint32(i), uint32(end)}
	return end + 2, Fast
}

// field takes up a field that means something to the router, and reports
// whether it may stand there.
func (r *Response) field(b []byte, f *Field) bool {
	value := f.Value.of(b)
	switch f.Class {
	case SetCookie:
		r.Cookies = true
	case ContentLength:
		n, ok := parseLength(value)
		if !ok || r.Length >= 0 {
			return false
		}
		r.Length = n
	case TransferEncoding:
		r.codings++
		r.Chunked = true
		return r.codings == 1 && equalFold(value, "chunked")
	case Connection:
		r.connection = true
		EachToken(value, func(token []byte) {
			r.Close = r.Close || equalFold(token, "close")
			r.keepAlive = r.keepAlive || equalFold(token, "keep-alive")
		})
	case KeepAlive:
		r.KeepAlive = keepAliveSeconds(value)
	case Event:
		r.Marked = true
	case AppInstance, ForwardedFor, ForwardedHost, ForwardedProto, ProcessInstance, RequestID, Owned:
		r.owned(b, f)
	}
	return true
}

// owned decides about a field that only the router may set in requests: an
// app may answer with it, except where the router says something by it.
func (r *Response) owned(b []byte, f *Field) {
	name := b[f.Line:f.name]
	if !equalFold(name, "x-cf-routererror") && !equalFold(name, "x-vcap-request-id") {
		f.Class = Other
	}
}

// judge decides what only the whole head can tell.
func (r *Response) judge() bool {
	if r.Chunked && (r.Length >= 0 || r.Minor == 0) {
		return false
	}
	if r.Minor == 0 && !r.keepAlive {
		r.Close = true
	}
	if r.connection {
		for i := range r.list[:r.n] {
			if f := &r.list[i]; f.Class == Connection {
				r.nominate(f.Value.of(r.b))
			}
		}
	}
	return true
}

// keepAliveSeconds returns the timeout of a Keep-Alive field, or -1.
func keepAliveSeconds(value []byte) int {
	const name = "timeout="
	seconds := -1
	EachToken(value, func(token []byte) {
		if len(token) <= len(name) || len(token) > len(name)+6 || !equalFold(token[:len(name)], name) {
			return
		}
		n := 0
		for _, c := range token[len(name):] {
			if !isDigit(c) {
				return
			}
			n = n*10 + int(c-'0')
		}
		seconds = n
	})
	return seconds
}

// PhraseBytes returns the reason phrase.
func (r *Response) PhraseBytes() []byte { return r.Phrase.of(r.b) }

// Bodiless reports whether the answer has no body whatever its fields say.
func (r *Response) Bodiless(head bool) bool {
	return head || r.Status < 200 || r.Status == 204 || r.Status == 304
}

// AppendLine appends the status line that is sent on.
func (r *Response) AppendLine(dst []byte) []byte {
	dst = append(dst, "HTTP/1.1 "...)
	dst = AppendUint(dst, uint64(r.Status))
	dst = append(dst, ' ')
	dst = append(dst, r.PhraseBytes()...)
	return append(dst, '\r', '\n')
}
