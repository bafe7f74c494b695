package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/router/wire"
)

// slowFront is the front of a request that came through net/http: a rare form
// of HTTP/1.1, or HTTP/3. It turns the request into a head as the exchange
// takes it, and the answer into what net/http takes.
type slowFront struct {
	w    http.ResponseWriter
	req  *http.Request
	rc   *http.ResponseController
	conn *clientConn // nil if the request came otherwise
	x    *exchange

	wrote  bool // the head was given to net/http
	length int64
	cut    bool // the answer must not look complete
	gone   bool // the connection became a tunnel
}

// ServeHTTP implements http.Handler.
func (s *stdRoad) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	f := &slowFront{w: w, req: req, rc: http.NewResponseController(w)}
	f.conn, _ = req.Context().Value(connKey{}).(*clientConn)
	if s.challenged(f.conn, w, req) {
		return
	}
	f.serve(s.r)
	if f.cut && !f.gone {
		panic(http.ErrAbortHandler)
	}
}

func (f *slowFront) serve(r *Router) {
	x := r.newExchange()
	defer x.done()
	f.x = x
	w := &watch{ends: f} // not reused: others may look at it later
	x.front, x.watch = f, w
	f.seeBody(r.cfg.HeadTimeout)
	why := f.head()
	f.ask()
	if f.conn != nil && f.req.RequestURI == refusedTarget {
		if no := reason(f.conn.refused.Load()); no != reasonNone {
			why = no
		}
	}
	shard := r.sweeper.add(w)
	defer r.sweeper.drop(w, shard)
	if why != reasonNone {
		x.req = wire.Request{}
		x.refuse(why, r.now())
		return
	}
	if f.req.Body != nil && f.req.Body != http.NoBody && f.req.ContentLength != 0 {
		x.source = f
		if f.req.ProtoMajor == 1 {
			_ = f.rc.EnableFullDuplex() // an answer may come before the body ended
		}
	}
	unhook := context.AfterFunc(f.req.Context(), func() {
		// net/http ends it after any failed read.
		if f.conn != nil && f.conn.badBody.Load() {
			w.cancel(reasonBadRequest)
		} else {
			w.cancel(reasonClientGone)
		}
	})
	defer unhook()
	x.serve(r.now())
	if x.source != nil {
		// What is left of the body gets a moment to arrive, so that the
		// connection may live on; this also ends a read under way.
		_ = f.rc.SetReadDeadline(time.Now().Add(drainTime))
		if f.req.ProtoMajor == 1 && !f.cut && !f.gone {
			_, _ = io.CopyN(io.Discard, f.req.Body, drainBytes)
		}
	}
}

// seeBody finds out whether a request over HTTP/3 that does not say how long its
// body is has one: the end comes along with the head, but the server does not
// tell. With a method that has bodies this is no matter, and somebody may wait
// for the answer before sending any.
func (f *slowFront) seeBody(limit time.Duration) {
	req := f.req
	switch req.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodDelete:
	default:
		return
	}
	if req.ProtoMajor != 3 || req.ContentLength >= 0 {
		return
	}
	_ = f.rc.SetReadDeadline(time.Now().Add(limit))
	var first [1]byte
	n, err := req.Body.Read(first[:])
	_ = f.rc.SetReadDeadline(time.Time{})
	switch body := req.Body; {
	case n > 0:
		req.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(first[:n]), body), body}
	case err == io.EOF:
		req.Body, req.ContentLength = http.NoBody, 0
	}
}

// head writes the request down as HTTP/1.1.
func (f *slowFront) head() reason {
	x, req := f.x, f.req
	if req.Method == http.MethodConnect {
		return reasonMethod
	}
	target, ok := originForm(req.RequestURI)
	if !ok {
		return reasonBadRequest
	}
	h := req.Header
	expect := h.Get("Expect")
	if expect != "" && !strings.EqualFold(expect, "100-continue") {
		return reasonExpectation // of HTTP/3; the guard refuses it in HTTP/1.1
	}
	x.asked.expect = req.ProtoMajor == 1 && expect != "" && req.ContentLength != 0
	if tokens, has := h["Connection"]; has {
		if up := h["Upgrade"]; len(up) == 1 && strings.EqualFold(up[0], "websocket") && hasToken(tokens, "upgrade") &&
			req.Method == http.MethodGet && req.ContentLength == 0 && req.ProtoMajor == 1 && req.ProtoMinor == 1 {
			x.asked.upgrade = "websocket"
		}
		for token := range eachToken(tokens) {
			if wire.IsProtected([]byte(token)) {
				return reasonBadRequest
			}
		}
	}
	b := append(x.head[:0], req.Method...)
	b = append(append(b, ' '), target...)
	b = appendLine(b, " HTTP/1.1\r\nHost", req.Host)
	switch {
	case req.ContentLength > 0:
		b = appendLine(b, "Content-Length", strconv.FormatInt(req.ContentLength, 10))
	case req.ContentLength < 0 && req.Body != http.NoBody:
		b = append(b, "Transfer-Encoding: chunked\r\n"...)
	case h["Content-Length"] != nil:
		b = append(b, "Content-Length: 0\r\n"...)
	}
	for name, values := range h {
		if name == "Cookie" && req.ProtoMajor >= 2 {
			values = []string{strings.Join(values, "; ")} // there they may come one by one
		}
		switch name {
		case "Connection", "Upgrade", "Expect", "Content-Length", "Transfer-Encoding", "Host":
			continue
		case "Te":
			if slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(v, "trailers") }) {
				b = append(b, "Te: trailers\r\n"...)
			}
			continue
		}
		if hasToken(h["Connection"], name) {
			continue
		}
		for _, v := range values {
			b = appendLine(b, name, v)
		}
	}
	for name := range req.Trailer {
		b = appendLine(b, "Trailer", name)
	}
	x.head = append(b, '\r', '\n')
	n, v := wire.ParseRequest(x.head, &x.req)
	switch {
	case v.Refused():
		return reasonOf(v)
	case n != len(x.head):
		return reasonBadRequest
	}
	return reasonNone
}

// ask notes what the exchange should know beside the head.
func (f *slowFront) ask() {
	a, req := &f.x.asked, f.req
	a.proto, a.peerAddr = req.Proto, req.RemoteAddr
	a.gone = req.Context().Done()
	a.endless = req.ProtoMajor >= 2 && req.ContentLength < 0
	if f.conn != nil {
		a.peer, a.secure, a.sni = f.conn.peer, f.conn.secure, f.conn.sni
	} else if p, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
		a.peer = p.Addr().Unmap()
	}
	a.peerText = a.peer.String()
}

// Read implements bodySource.
func (f *slowFront) Read(p []byte) (int, error) {
	n, err := f.req.Body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	var opErr *net.OpError
	switch {
	case f.conn != nil && f.conn.badBody.Load():
		return n, errBadBody
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &opErr),
		f.req.Context().Err() != nil, f.req.ProtoMajor >= 2:
		return n, err
	}
	return n, errBadBody
}

// trailers implements bodySource.
func (f *slowFront) trailers() (lines []byte) {
	for name, values := range f.req.Trailer {
		for _, v := range values {
			lines = appendLine(lines, name, v)
		}
	}
	return wire.AppendTrailers(nil, lines)
}

// unblock implements ends.
func (f *slowFront) unblock(read, write bool) {
	if read {
		_ = f.rc.SetReadDeadline(past)
	}
	if write {
		_ = f.rc.SetWriteDeadline(past)
	}
}

// client implements ends: what the client takes net/http looks after by itself.
func (f *slowFront) client() clientState {
	if f.conn == nil || f.req.ProtoMajor != 1 {
		return clientState{}
	}
	st := clientOf(f.conn.Conn)
	return clientState{gone: st.gone, halved: st.halved}
}

// interim implements front.
func (f *slowFront) interim(res *wire.Response) error {
	if !f.req.ProtoAtLeast(1, 1) {
		return nil
	}
	h := f.w.Header()
	(&reply{res: res}).eachField(func(name, value []byte) { addField(h, name, value) })
	f.w.WriteHeader(res.Status)
	clear(h)
	return nil
}

func addField(h http.Header, name, value []byte) {
	key := textproto.CanonicalMIMEHeaderKey(string(name))
	h[key] = append(h[key], string(value))
}

// begin implements front.
func (f *slowFront) begin(a *reply) error {
	h := f.w.Header()
	clear(h)
	a.eachField(func(name, value []byte) { addField(h, name, value) })
	if _, has := h["Content-Type"]; !has {
		h["Content-Type"] = nil // or the server would guess one
	}
	f.length = a.length
	if a.length >= 0 && a.res.Status >= 200 && a.res.Status != 204 {
		h["Content-Length"] = []string{strconv.FormatInt(a.length, 10)}
	}
	if a.bodiless {
		f.length = 0
	}
	if a.close && a.own && f.req.ProtoMajor == 1 || f.x.r.draining.Load() {
		h["Connection"] = []string{"close"}
	}
	f.lastWrite()
	f.w.WriteHeader(a.res.Status)
	f.wrote = true
	return nil
}

// lastWrite bounds what the server writes after the handler is done, to a
// client that may not read.
func (f *slowFront) lastWrite() {
	_ = f.rc.SetWriteDeadline(time.Time{})
	if f.length == 0 {
		_ = f.rc.SetWriteDeadline(time.Now().Add(f.x.r.cfg.StallTimeout))
	}
}

// write implements front.
func (f *slowFront) write(p []byte) error {
	_, err := f.w.Write(p)
	return err
}

// flush implements front.
func (f *slowFront) flush() error {
	if !f.wrote {
		return nil
	}
	return f.rc.Flush()
}

// end implements front.
func (f *slowFront) end(trailers []byte) error {
	if len(trailers) > 0 {
		// Behind a short body the server says how long it is, if it may, and
		// then has no place for them.
		if err := f.rc.Flush(); err != nil {
			return err
		}
	}
	h := f.w.Header()
	for len(trailers) > 0 {
		trailers = eachLine(trailers, func(name, value []byte) {
			addField(h, append([]byte(http.TrailerPrefix), textproto.CanonicalMIMEHeaderKey(string(name))...), value)
		})
	}
	if f.length > 0 {
		// Here, where a client that does not read can be given up.
		return f.rc.Flush()
	}
	_ = f.rc.SetWriteDeadline(time.Now().Add(f.x.r.cfg.StallTimeout))
	return nil
}

// abort implements front.
func (f *slowFront) abort() {
	f.cut = true
	if f.conn != nil && f.req.ProtoMajor == 1 {
		f.conn.reset()
	}
}

// upgrade implements upgrader: the connection is not net/http's any more.
func (f *slowFront) upgrade() (net.Conn, *bufio.Reader, error) {
	client, buffered, err := f.rc.Hijack()
	if err != nil {
		return nil, nil, err
	}
	f.gone = true
	if c, ok := client.(*clientConn); ok {
		c.release()
	}
	return client, buffered.Reader, nil
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
