package wire

// Class says what a field means to a router.
type Class uint8

// The classes of fields. Those up to lastKept are sent on.
const (
	Other Class = iota // nothing
	Accept
	Authorization
	Cookie
	Date
	Host
	IdempotencyKey
	Referer
	SetCookie
	UserAgent
	lastKept = UserAgent
)

// The classes of fields that are not sent on.
const (
	ContentLength Class = iota + lastKept + 1
	TransferEncoding
	Connection
	KeepAlive
	TE
	Upgrade
	Expect
	Hop // another hop-by-hop field

	// Only the router may set these: deleted on entry, whatever their
	// spelling.
	AppInstance
	Event // X-Weir-Event, by which an app marks an answer
	ForwardedFor
	ForwardedHost
	ForwardedProto
	ProcessInstance
	RequestID
	Owned

	Nominated // a Connection field names it
)

// Field is one field line of a head.
type Field struct {
	Line  uint32 // where it begins
	name  uint32 // where its name ends
	Value Span
	End   uint32 // behind its CRLF
	Class Class
}

// kept reports whether the line is sent on.
func (f *Field) kept() bool { return f.Class <= lastKept }

// classify returns the class of a field by its name.
func classify(name []byte) Class {
	if c := name[0] | 0x20; c == 'x' || c == 'f' {
		return classifyOwned(name)
	}
	switch len(name) {
	case 2:
		return is(name, "te", TE)
	case 4:
		if name[0]|0x20 == 'd' {
			return is(name, "date", Date)
		}
		return is(name, "host", Host)
	case 6:
		switch name[0] | 0x20 {
		case 'a':
			return is(name, "accept", Accept)
		case 'c':
			return is(name, "cookie", Cookie)
		case 'e':
			return is(name, "expect", Expect)
		}
	case 7:
		switch name[0] | 0x20 {
		case 'r':
			return is(name, "referer", Referer)
		case 't':
			return is(name, "trailer", Hop)
		case 'u':
			return is(name, "upgrade", Upgrade)
		}
	case 10:
		switch name[0] | 0x20 {
		case 'c':
			return is(name, "connection", Connection)
		case 'k':
			return is(name, "keep-alive", KeepAlive)
		case 's':
			return is(name, "set-cookie", SetCookie)
		case 'u':
			return is(name, "user-agent", UserAgent)
		}
	case 13:
		return is(name, "authorization", Authorization)
	case 14:
		if name[0]|0x20 == 'h' {
			return is(name, "http2-settings", Hop)
		}
		return is(name, "content-length", ContentLength)
	case 15:
		return is(name, "idempotency-key", IdempotencyKey)
	case 16:
		return is(name, "proxy-connection", Hop)
	case 17:
		return is(name, "transfer-encoding", TransferEncoding)
	case 18:
		return is(name, "proxy-authenticate", Hop)
	case 19:
		return is(name, "proxy-authorization", Hop)
	}
	return Other
}

func is(name []byte, want string, c Class) Class {
	if equalFold(name, want) {
		return c
	}
	return Other
}

// longestOwned is up to where names are compared with those the router owns.
const longestOwned = 64

// classifyOwned classifies a name that begins with x or f. Names the router
// owns are compared folded, "_" and "." as "-", because many servers cannot
// tell X_Forwarded_For from X-Forwarded-For.
func classifyOwned(name []byte) Class {
	var buf [longestOwned]byte
	n := min(len(name), longestOwned)
	plain := n == len(name) // spelled as the router would
	for i := range n {
		c := name[i]
		switch {
		case c == '_' || c == '.':
			c, plain = '-', false
		case 'A' <= c && c <= 'Z':
			c |= 0x20
		}
		buf[i] = c
	}
	folded := buf[:n]
	switch c := ownedClass(folded); {
	case c == Other:
		if string(folded) == "x-idempotency-key" && plain {
			return IdempotencyKey
		}
		return Other
	case !plain:
		return Owned
	default:
		return c
	}
}

func ownedClass(folded []byte) Class {
	switch string(folded) {
	case "x-forwarded-for":
		return ForwardedFor
	case "x-forwarded-host":
		return ForwardedHost
	case "x-forwarded-proto":
		return ForwardedProto
	case "x-request-id":
		return RequestID
	case "x-cf-app-instance":
		return AppInstance
	case "x-cf-process-instance":
		return ProcessInstance
	case "x-weir-event":
		return Event
	case "forwarded", "x-real-ip", "x-route-version", "x-request-start":
		return Owned
	}
	for _, p := range [...]string{"x-forwarded", "x-cf-", "x-vcap-", "x-shadow"} {
		if len(folded) >= len(p) && string(folded[:len(p)]) == p {
			return Owned
		}
	}
	return Other
}

// IsProtected reports whether no Connection option may take a field of this
// name away.
func IsProtected(name []byte) bool {
	if len(name) == 0 {
		return false
	}
	switch c := classify(name); c {
	case Host, ContentLength, TransferEncoding, Authorization, Cookie:
		return true
	default:
		return c >= AppInstance && c <= Owned
	}
}

// fields are the field lines of a head, in order.
type fields struct {
	b       []byte // the head
	list    [MaxFields]Field
	n       int
	maxLine int
}

// next reads the line at from: a field, or the empty line that ends the head.
// It returns where the next line begins.
func (fs *fields) next(b []byte, from int) (f *Field, to int, v Verdict) {
	if from >= len(b) {
		return nil, 0, Incomplete
	}
	if b[from] == '\r' {
		switch {
		case from+1 == len(b):
			return nil, 0, Incomplete
		case b[from+1] != '\n':
			return nil, 0, Malformed
		}
		return nil, from + 2, Fast
	}
	i := from
	for i < len(b) && isToken[b[i]] {
		i++
	}
	switch {
	case i-from > fs.maxLine, fs.n == MaxFields:
		return nil, 0, TooLarge
	case i == len(b):
		return nil, 0, Incomplete
	case b[i] != ':' || i == from:
		return nil, 0, Malformed
	}
	f = &fs.list[fs.n]
	f.Line, f.name = uint32(from), uint32(i)
	i++
	for i < len(b) && (b[i] == ' ' || b[i] == '\t') {
		i++
	}
	end := i + valueEnd(b[i:])
	if end-from > fs.maxLine {
		return nil, 0, TooLarge
	}
	if end+1 >= len(b) {
		if end < len(b) && b[end] != '\r' {
			return nil, 0, Malformed
		}
		return nil, 0, Incomplete
	}
	if b[end] != '\r' || b[end+1] != '\n' {
		return nil, 0, Malformed
	}
	to = end + 2
	for end > i && (b[end-1] == ' ' || b[end-1] == '\t') {
		end--
	}
	f.Value = Span{uint32(i), uint32(end)}
	f.End = uint32(to)
	f.Class = classify(b[from:f.name])
	fs.n++
	return f, to, Fast
}

// Fields returns the field lines in order.
func (fs *fields) Fields() []Field { return fs.list[:fs.n] }

// Name returns the name of f as it was sent.
func (fs *fields) Name(f *Field) []byte { return fs.b[f.Line:f.name] }

// Value returns the value of f without blanks around it.
func (fs *fields) Value(f *Field) []byte { return f.Value.of(fs.b) }

// Get returns the first value of the field called name, which must be in
// lower case, or nil.
func (fs *fields) Get(name string) []byte {
	for i := range fs.list[:fs.n] {
		f := &fs.list[i]
		if int(f.name-f.Line) == len(name) && equalFold(fs.b[f.Line:f.name], name) {
			return f.Value.of(fs.b)
		}
	}
	return nil
}

// First returns the first value of a field of the given class, or nil.
func (fs *fields) First(c Class) []byte {
	for i := range fs.list[:fs.n] {
		if f := &fs.list[i]; f.Class == c {
			return f.Value.of(fs.b)
		}
	}
	return nil
}

// Count returns how many lines are of the given class.
func (fs *fields) Count(c Class) (n int) {
	for i := range fs.list[:fs.n] {
		if fs.list[i].Class == c {
			n++
		}
	}
	return n
}

// AppendKept appends the lines that are sent on, byte for byte.
func (fs *fields) AppendKept(dst []byte) []byte {
	from, to := uint32(0), uint32(0) // neighbours are copied together
	for i := range fs.list[:fs.n] {
		f := &fs.list[i]
		if !f.kept() {
			continue
		}
		if f.Line != to {
			dst = append(dst, fs.b[from:to]...)
			from = f.Line
		}
		to = f.End
	}
	return append(dst, fs.b[from:to]...)
}

// Drop keeps the fields called name, in lower case, from being sent on.
func (fs *fields) Drop(name string) {
	for i := range fs.list[:fs.n] {
		if f := &fs.list[i]; f.kept() && equalFold(fs.b[f.Line:f.name], name) {
			f.Class = Nominated
		}
	}
}

// nominate drops the fields that a Connection field names, except for those
// that decide about framing, which are not copied anyway.
func (fs *fields) nominate(list []byte) {
	EachToken(list, func(token []byte) {
		for i := range fs.list[:fs.n] {
			if f := &fs.list[i]; f.kept() && EqualFold(fs.b[f.Line:f.name], token) {
				f.Class = Nominated
			}
		}
	})
}

// parseLength reads a Content-Length: 1 to 18 digits.
func parseLength(value []byte) (n int64, ok bool) {
	if len(value) == 0 || len(value) > 18 {
		return 0, false
	}
	for _, c := range value {
		if !isDigit(c) {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}
