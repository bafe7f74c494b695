package router

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// exchange is one request on the net/http road.
type exchange struct {
	trip trip
	w    http.ResponseWriter
	req  *http.Request
	rc   *http.ResponseController
	conn *clientConn // nil if the request came otherwise

	from   origin
	hop    connection
	up     *upload // nil without a body
	watch  watch
	ctx    context.Context
	cancel context.CancelCauseFunc

	over       atomic.Pointer[upConn] // the connection to the instance
	sent0      int64                  // what it had carried before
	got0       int64
	wroteHead  atomic.Bool // HTTP/2 to the instance: the request head was sent
	firstByte  atomic.Bool // HTTP/2 to the instance: some answer came
	interimMu  sync.Mutex  // guards w while a head is waited for
	interim    int
	headIsHere bool

	why   reason
	abort bool // cut the client's connection, the answer is not whole
}

var (
	errHeadTimeout   = errors.New("router: no response head in time")
	errStreamTimeout = errors.New("router: nothing moved for too long")
)

// serve makes the trip.
func (x *exchange) serve() {
	t := &x.trip
	a, why := x.readAsk()
	if why == reasonNone {
		why = t.choose(a)
	} else {
		t.ask = a
	}
	if why == reasonNone {
		why = x.prepare()
	}
	if why != reasonNone {
		x.fail(why)
		return
	}
	for {
		if why := t.claim(); why != reasonNone {
			x.fail(why)
			return
		}
		res, err := x.send()
		if err == nil {
			x.relay(res)
			return
		}
		if !x.again(err) {
			return
		}
	}
}

// again judges a failed attempt; if there is no other one, it answers.
func (x *exchange) again(err error) bool {
	o := x.judge(err)
	x.trip.r.cfg.Logger.Debug("attempt failed", "instance", x.trip.b.guid, "reason", o.why.String(), "err", err)
	q := request{
		idempotent: isIdempotent(x.req.Method, x.req.Header.Get("Idempotency-Key") != "" || x.req.Header.Get("X-Idempotency-Key") != ""),
		replayable: x.up == nil || x.up.replayable(),
	}
	again := x.trip.lost(o, q)
	if b := x.trip.b; o.why == reasonUnreachable && b.dialFailures.Load() <= 1 {
		x.trip.r.cfg.Logger.Warn("instance could not be reached", "app", x.trip.dest.src.AppGUID, "instance", b.guid, "err", err)
	}
	if again {
		// A goroutine of the last attempt may still read the old fields.
		x.req.Header = x.req.Header.Clone()
		return true
	}
	x.headArrived()
	x.fail(o.why)
	return false
}

// prepare turns the client's request into the one that is sent.
func (x *exchange) prepare() reason {
	t, req := &x.trip, x.req
	if req.ProtoMajor == 1 && req.ProtoMinor == 0 {
		req.Header = req.Header.Clone() // the server looks at Connection again
	}
	var ok bool
	if x.hop, ok = stripRequest(req.Header); !ok {
		return reasonBadRequest
	}
	if req.Method != http.MethodGet || req.ContentLength != 0 || req.ProtoMajor != 1 || req.ProtoMinor == 0 {
		x.hop.upgrade = ""
	}
	x.from.stamp(req.Header, t.rec.RequestID, strconv.FormatInt(t.rec.Start.UnixMilli(), 10))
	if _, has := req.Header["User-Agent"]; !has {
		req.Header["User-Agent"] = nil // or the transport would add its own
	}
	if x.hop.trailers {
		req.Header["Te"] = []string{"trailers"}
	}
	if x.hop.upgrade != "" {
		req.Header["Connection"] = []string{"Upgrade"}
		req.Header["Upgrade"] = []string{x.hop.upgrade}
	}
	t.rec.ForwardedFor, t.rec.ForwardedProto = x.from.forwardedFor, x.from.proto
	x.setUp()
	return reasonNone
}

// setUp makes what all attempts share: context, watch and body.
func (x *exchange) setUp() {
	r, req := x.trip.r, x.req
	ctx, cancel := context.WithCancelCause(req.Context())
	x.cancel = cancel
	x.ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(i httptrace.GotConnInfo) {
			if c, ok := i.Conn.(*upConn); ok {
				x.sent0, x.got0 = c.sent.Load(), c.got.Load()
				x.over.Store(c)
			}
		},
		GotFirstResponseByte: func() { x.firstByte.Store(true) },
		WroteHeaders:         func() { x.wroteHead.Store(true) },
		Got1xxResponse:       x.relayInterim,
	})
	x.watch.r, x.watch.cancel = r, cancel
	limit := x.trip.limits()
	x.watch.head, x.watch.idle = r.cfg.ResponseTimeout, r.cfg.StreamTimeout
	if limit.head > 0 {
		x.watch.head = limit.head
	}
	if limit.idle > 0 {
		x.watch.idle = limit.idle
	}
	x.watch.upload = r.cfg.StallTimeout
	x.watch.stallUpload = func() { _ = x.rc.SetReadDeadline(time.Unix(1, 0)) }
	x.watch.stallWrite = func() { _ = x.rc.SetWriteDeadline(time.Unix(1, 0)) }
	if req.Body != nil && req.Body != http.NoBody && req.ContentLength != 0 {
		x.up = &upload{src: req.Body, watch: &x.watch, hasty: true, limit: limit.body}
		x.up.keep = req.ContentLength > 0 && req.ContentLength <= smallBody
		if req.ProtoMajor == 2 && req.ContentLength < 0 {
			// A stream that may be silent for long, as gRPC's are.
			x.up.hasty, x.watch.upload = false, r.cfg.StreamTimeout
		}
		if req.ProtoMajor == 1 {
			// An answer may come before the body ended.
			_ = x.rc.EnableFullDuplex()
		}
	} else {
		delete(req.Header, "Expect") // there is nothing to wait with
	}
	x.watch.start()
}

// send makes one attempt and returns once the response head is here.
func (x *exchange) send() (*http.Response, error) {
	t, req := &x.trip, x.req
	x.over.Store(nil)
	x.wroteHead.Store(false)
	x.firstByte.Store(false)
	x.watch.enter(phaseHead)
	h := req.Header
	h["X-Cf-Applicationid"] = []string{t.dest.src.AppGUID}
	h["X-Cf-Instanceid"] = []string{t.b.guid}
	h["X-Cf-Instanceindex"] = []string{strconv.Itoa(t.b.index)}
	u := &url.URL{Scheme: "http", Host: t.b.addr}
	setTarget(u, req, t.strip())
	for _, name := range routeFields {
		delete(h, name)
	}
	setLines(h, t.appendRequestLines(nil))
	out := &http.Request{
		Method: req.Method, URL: u, Host: req.Host,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, ContentLength: req.ContentLength, Trailer: req.Trailer,
	}
	if x.up != nil {
		out.Body = x.up.reader()
		if x.up.keep {
			out.GetBody = func() (io.ReadCloser, error) { return x.up.reader(), nil }
		}
	}
	return t.b.transport(t.dest.http2 && x.hop.upgrade == "", &t.r.cfg).RoundTrip(out.WithContext(x.ctx))
}

// judge finds out what became of a failed attempt.
func (x *exchange) judge(err error) outcome {
	cause := context.Cause(x.ctx)
	if x.up != nil {
		// net/http ends the context when it cannot read the body, possibly
		// before the body's reader knows.
		if x.conn != nil && x.conn.badBody.Load() {
			return outcome{why: reasonBadRequest, sent: true}
		}
		if failure := x.up.failure(); failure != nil {
			return outcome{why: x.clientFault(failure), sent: true}
		}
	}
	if cause != nil {
		if errors.Is(cause, errHeadTimeout) {
			return outcome{why: reasonTimeout, sent: true}
		}
		return outcome{why: reasonClientGone, sent: true}
	}
	var dial *dialError
	if errors.As(err, &dial) {
		return outcome{why: reasonUnreachable, local: dial.isLocal()}
	}
	o := outcome{why: reasonClosed, sent: x.wroteHead.Load(), answered: x.firstByte.Load()}
	if c := x.over.Load(); c != nil && !c.shared {
		o.sent, o.answered = c.sent.Load() > x.sent0, c.got.Load() > x.got0
	}
	if o.answered {
		o.why = reasonBadResponse
	}
	return o
}

// clientFault says what was wrong with a body that could not be read.
func (x *exchange) clientFault(err error) reason {
	var opErr *net.OpError
	switch {
	case x.conn != nil && x.conn.badBody.Load():
		return reasonBadRequest
	case errors.Is(err, errBodyTooLarge):
		return reasonBodyTooLarge
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, errSlowBody):
		return reasonBodyStalled
	case errors.Is(err, io.ErrUnexpectedEOF), errors.As(err, &opErr), x.req.Context().Err() != nil, x.req.ProtoMajor == 2:
		return reasonClientGone
	}
	return reasonBadRequest
}

// relayInterim passes on 103 Early Hints. 100 Continue is the server's own
// business: it is sent when the transport begins to read the body.
func (x *exchange) relayInterim(code int, header textproto.MIMEHeader) error {
	x.interimMu.Lock()
	defer x.interimMu.Unlock()
	if x.headIsHere || code != http.StatusEarlyHints || !x.req.ProtoAtLeast(1, 1) {
		return nil
	}
	if x.interim++; x.interim > 8 {
		return errors.New("router: too many interim responses")
	}
	h := x.w.Header()
	in := http.Header(header)
	stripResponse(in)
	for name, values := range in {
		h[name] = values
	}
	x.w.WriteHeader(code)
	clear(h)
	return nil
}

// headArrived ends the time in which interim responses may be written.
func (x *exchange) headArrived() {
	x.interimMu.Lock()
	x.headIsHere = true
	x.interimMu.Unlock()
}

// transport returns how the net/http road reaches b.
func (b *backend) transport(http2 bool, cfg *Config) *http.Transport {
	if http2 {
		b.once2.Do(func() { b.http2.Store(newTransport(cfg, true)) })
		return b.http2.Load()
	}
	b.once1.Do(func() { b.http1.Store(newTransport(cfg, false)) })
	return b.http1.Load()
}

// closeIdle closes the connections to b that carry nothing.
func (b *backend) closeIdle() {
	for _, t := range []*http.Transport{b.http1.Load(), b.http2.Load()} {
		if t != nil {
			t.CloseIdleConnections()
		}
	}
}

func newTransport(cfg *Config, http2 bool) *http.Transport {
	dialer := net.Dialer{Timeout: cfg.DialTimeout}
	var protocols http.Protocols
	protocols.SetHTTP1(!http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, &dialError{err}
			}
			return &upConn{Conn: c, shared: http2}, nil
		},
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
		DisableCompression:     true,
		MaxIdleConnsPerHost:    1024,
		IdleConnTimeout:        cfg.BackendIdleTimeout,
		ExpectContinueTimeout:  time.Second,
		MaxResponseHeaderBytes: maxHeadBytes,
	}
}

// upConn is a connection to an instance. It counts what went over it, because
// whether a request may be repeated hangs on whether any of it was sent.
type upConn struct {
	net.Conn
	shared    bool // by several requests at a time
	sent, got atomic.Int64
}

// Read implements net.Conn.
func (c *upConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.got.Add(int64(n))
	return n, err
}

// Write implements net.Conn.
func (c *upConn) Write(p []byte) (int, error) {
	n, err := c.Conn.Write(p)
	c.sent.Add(int64(n))
	return n, err
}

// CloseWrite closes the sending half.
func (c *upConn) CloseWrite() error { return closeWrite(c.Conn) }

// dialError says that no connection came about.
type dialError struct{ err error }

func (e *dialError) Error() string { return e.err.Error() }
func (e *dialError) Unwrap() error { return e.err }

// isLocal reports whether dialling failed for want of something on this side.
func (e *dialError) isLocal() bool {
	for _, no := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
	} {
		if errors.Is(e.err, no) {
			return true
		}
	}
	return false
}
