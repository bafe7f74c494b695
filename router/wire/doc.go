// Package wire reads and writes HTTP/1.1 messages as bytes. It does no I/O,
// allocates nothing and knows no net/http.
//
// Its grammar is a whitelist: RFC 9112 without any of the leniencies that
// document allows, because a message two parsers could read differently is
// how requests are smuggled past a router. A head is judged as a whole:
//
//	Fast        canonical; framing and everything the router decides by is known
//	Slow        legal but rare: left to a parser that knows the rare forms,
//	            before any decision about framing
//	Malformed…  refused: answer with Verdict.Status and close
//
// What is sent on is framed anew: kept field lines are copied byte for byte,
// the request line, Content-Length and Transfer-Encoding are written.
package wire

// The limits of a head. More is refused.
const (
	MaxHead   = 64 << 10 // bytes, the empty line included
	MaxTarget = 16 << 10 // bytes of a request target
	MaxLine   = 16 << 10 // bytes of one field line of a request
	MaxMethod = 24       // bytes
	MaxFields = 100      // field lines
)

// Verdict says what a head is.
type Verdict uint8

// The verdicts; those after Slow are refusals.
const (
	Incomplete Verdict = iota // more bytes are needed
	Fast
	Slow
	Malformed      // malformed or ambiguous
	BadMethod      // CONNECT
	TargetTooLong  // over MaxTarget
	TooLarge       // over MaxHead, MaxLine or MaxFields
	BadCoding      // a transfer coding other than exactly "chunked"
	BadVersion     // HTTP, but not 1.0 or 1.1
	BadExpectation // Expect is not 100-continue
)

// Refused reports whether the head must not be served.
func (v Verdict) Refused() bool { return v > Slow }

// Status returns the status code with which a request is refused, 0 for one
// that is not.
func (v Verdict) Status() int {
	return [...]int{0, 0, 0, 400, 405, 414, 431, 501, 505, 417}[v]
}

// Span is a part of a head: b[From:To].
type Span struct{ From, To uint32 }

func (s Span) of(b []byte) []byte { return b[s.From:s.To] }

// Len returns the number of bytes.
func (s Span) Len() int { return int(s.To - s.From) }
