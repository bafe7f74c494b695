package router

import (
	"bytes"
	"io"
	"math/rand/v2"
	"strconv"
	"sync"

	"weir/router/wire"
)

// guard stands between a client's connection and the HTTP/1 parser of
// net/http, which is more lenient than a router may be. It follows the
// messages of the connection and passes on only what has one meaning: whole
// heads that package wire accepts, and bodies framed as those said.
//
// A head it refuses it replaces by one of its own that asks for
// refusedTarget, and ends the stream, so that the refusal is answered,
// counted and logged like any other request. A body it refuses ends in
// errBadBody. Nothing is left that net/http would refuse by itself.
type guard struct {
	mode    guardMode
	begun   bool   // a message was seen
	skipped bool   // the empty line that may precede a head was seen
	eof     bool   // the client sent its last byte
	slow    bool   // the head at hand did not come in one piece
	wasSlow bool   // nor did one before it
	onSlow  func() // called before the rest of such a head is waited for
	refused reason // why the head before the end was refused

	buf    []byte // bytes read ahead; nil if there are none
	ready  int    // how many of them may be passed on
	looked bool   // buf was looked at since it last changed
	seen   int    // how much of an incomplete head has no end in it

	left  int64 // of a body with a length
	chunk wire.Chunks
	req   wire.Request
	bad   error // what comes after the ready bytes
}

type guardMode uint8

const (
	guardHead guardMode = iota
	guardLength
	guardChunks
	guardOpen // no HTTP any more: a tunnel
)

var (

	// refusedTarget cannot be guessed; a client that could would gain a 400.
	refusedTarget = "/refused/" + strconv.FormatUint(rand.Uint64(), 36) + strconv.FormatUint(rand.Uint64(), 36)

	guardBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 4096); return &b }}
)

// read fills p with bytes that may be passed on, reading more from in.
func (g *guard) read(p []byte, in io.Reader) (int, error) {
	for {
		switch {
		case g.ready > 0:
			return g.take(p), nil
		case g.bad != nil:
			return 0, g.bad
		case len(g.buf) > 0 && !g.looked:
			g.looked = true
			g.admit()
			continue
		case len(g.buf) > 0:
			if !g.slow {
				g.slow, g.wasSlow = true, true
				g.onSlow()
			}
			if err := g.readOn(in); err != nil {
				return 0, err
			}
			continue
		}
		if n, err := g.readInto(p, in); n > 0 || err != nil {
			return n, err
		}
	}
}

// readInto reads from the connection straight into p and returns how many
// bytes may be passed on at once. It holds the others.
func (g *guard) readInto(p []byte, in io.Reader) (int, error) {
	if g.mode == guardLength && int64(len(p)) > g.left {
		p = p[:g.left]
	}
	n, err := in.Read(p)
	if n == 0 {
		return 0, err
	}
	p = p[:n]
	switch g.mode {
	case guardOpen:
		return n, nil
	case guardLength:
		if g.left -= int64(n); g.left == 0 {
			g.mode = guardHead
		}
		return n, nil
	case guardChunks:
		k, ok := g.chunk.Scan(p)
		g.scanned(ok)
		g.hold(p[k:])
		return k, nil
	}
	// Exactly one head is by far the most common.
	if p[0] != '\r' && g.isOneHead(p) {
		return n, nil
	}
	if g.refused == reasonNone {
		g.hold(p)
	}
	return 0, nil
}

// isOneHead reports whether p is exactly one head, and takes it if it is.
func (g *guard) isOneHead(p []byte) bool {
	n, v := wire.ParseRequest(p, &g.req)
	return n == len(p) && g.judge(n, v)
}

// hold keeps bytes that may not be passed on yet.
func (g *guard) hold(b []byte) {
	if len(b) == 0 {
		return
	}
	if g.buf == nil {
		g.buf = *guardBuffers.Get().(*[]byte)
	}
	g.buf = append(g.buf, b...)
	g.looked = false
}

// readOn reads more of an incomplete head.
func (g *guard) readOn(in io.Reader) error {
	if cap(g.buf)-len(g.buf) < 1024 {
		g.buf = append(make([]byte, 0, 2*cap(g.buf)), g.buf...)
	}
	n, err := in.Read(g.buf[len(g.buf):cap(g.buf)])
	if n == 0 {
		return err
	}
	g.buf = g.buf[:len(g.buf)+n]
	g.looked = false
	return nil
}

// take hands over ready bytes.
func (g *guard) take(p []byte) int {
	n := copy(p, g.buf[:g.ready])
	g.ready -= n
	g.drop(n)
	return n
}

// drop forgets the first n held bytes.
func (g *guard) drop(n int) {
	g.buf = g.buf[:copy(g.buf, g.buf[n:])]
	g.looked, g.seen = false, 0
	if len(g.buf) == 0 {
		if cap(g.buf) <= 16<<10 {
			b := g.buf[:0]
			guardBuffers.Put(&b)
		}
		g.buf = nil
	}
}

// admit looks at the held bytes and decides how many of them are ready.
func (g *guard) admit() {
	switch g.mode {
	case guardOpen:
		g.ready = len(g.buf)
	case guardLength:
		g.ready = int(min(g.left, int64(len(g.buf))))
		if g.left -= int64(g.ready); g.left == 0 {
			g.mode = guardHead
		}
	case guardChunks:
		n, ok := g.chunk.Scan(g.buf)
		g.ready = n
		g.scanned(ok)
	case guardHead:
		g.admitHead()
	}
}

// scanned acts on the chunk scanner's verdict.
func (g *guard) scanned(ok bool) {
	switch {
	case !ok:
		g.bad = errBadBody
	case g.chunk.Done():
		g.mode = guardHead
	}
}

func (g *guard) admitHead() {
	if g.begun && !g.skipped && g.buf[0] == '\r' && (len(g.buf) == 1 || g.buf[1] == '\n') {
		if len(g.buf) == 1 {
			return // the rest of an empty line, perhaps
		}
		g.skipped = true // one between messages is tolerated, and not passed on
		g.drop(2)
		return
	}
	if !worthParsing(g.buf, g.seen) {
		return
	}
	if n, v := wire.ParseRequest(g.buf, &g.req); v != wire.Incomplete && g.judge(n, v) {
		g.ready = n
	}
	g.seen = len(g.buf)
}

// reasonOf returns the reason for which a refused head is answered.
func reasonOf(v wire.Verdict) reason {
	switch v {
	case wire.BadMethod:
		return reasonMethod
	case wire.TargetTooLong:
		return reasonURITooLong
	case wire.TooLarge:
		return reasonHeadTooLarge
	case wire.BadCoding:
		return reasonTransferCoding
	case wire.BadVersion:
		return reasonVersion
	case wire.BadExpectation:
		return reasonExpectation
	}
	return reasonBadRequest
}

// worthParsing reports whether a head of which the first seen bytes are known
// to be incomplete may be judged otherwise now. It keeps a head that comes
// byte by byte from being read over and over again.
func worthParsing(b []byte, seen int) bool {
	return seen == 0 || b[seen-1] == '\r' || len(b)-seen >= 512 || len(b) >= wire.MaxHead || bytes.ContainsAny(b[seen:], "\r\n")
}

// judge acts on the verdict about a head of n bytes, and reports whether it
// is accepted. If it is refused, the answer is prepared.
func (g *guard) judge(n int, v wire.Verdict) bool {
	if v.Refused() {
		g.refuse(reasonOf(v))
		return false
	}
	g.begun, g.skipped, g.slow = true, false, false
	switch {
	case g.req.Chunked:
		g.mode, g.chunk = guardChunks, wire.Chunks{}
	case g.req.Length > 0:
		g.mode, g.left = guardLength, g.req.Length
	}
	return true
}

// refuse puts a request for refusedTarget, and the end of the stream, in
// place of everything held.
func (g *guard) refuse(why reason) {
	g.buf = []byte("GET " + refusedTarget + " HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n")
	g.ready = len(g.buf)
	g.bad, g.refused = io.EOF, why
}
