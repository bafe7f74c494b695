package router

import (
	"context"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"weir/router/wire"
)

// otherAnswer is an answer from an instance that speaks HTTP/2.
type otherAnswer struct {
	body    io.ReadCloser
	trailer func() http.Header
	cancel  context.CancelFunc
	head    []byte       // as HTTP/1.1
	up      *http2Upload // nil: the request has no body that comes by and by

	mu       sync.Mutex // guards what follows
	interims int
	over     bool // no interim answer is passed on any more
}

// transport returns how b is reached over HTTP/2.
func (b *backend) transport(cfg *Config) *http.Transport {
	b.once2.Do(func() { b.http2.Store(newTransport(cfg)) })
	return b.http2.Load()
}

// closeIdle closes the connections to b that carry nothing.
func (b *backend) closeIdle() {
	b.up.sweep(math.MaxInt64, b.gone.Load())
	if t := b.http2.Load(); t != nil {
		t.CloseIdleConnections()
	}
}

// pingAfter is after what silence an instance is asked whether it is there.
// Servers of gRPC take pings that come within 5 minutes, while a stream is
// silent, for a flood, and end the connection with all its streams at the third.
const pingAfter = 6 * time.Minute

func newTransport(cfg *Config) *http.Transport {
	dialer := net.Dialer{Timeout: cfg.DialTimeout, Control: nearby}
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	return &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, addr)
			if err != nil {
				return nil, &dialError{err}
			}
			return c, nil
		},
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: 15 * time.Second},
		DisableCompression:     true,
		IdleConnTimeout:        cfg.BackendIdleTimeout,
		MaxResponseHeaderBytes: wire.MaxHead,
	}
}

// sendHTTP2 is send for an instance that speaks HTTP/2.
func (x *exchange) sendHTTP2() (outcome, error) {
	w := x.watch
	ctx, cancel := context.WithCancel(context.Background())
	var wroteHead, gotByte atomic.Bool
	o := &otherAnswer{cancel: cancel}
	req, err := x.http2Request()
	if err != nil {
		cancel()
		return outcome{why: reasonBadRequest}, err
	}
	if x.source != nil {
		o.up = newHTTP2Upload(x, req.Trailer)
		req.GetBody = o.up.begin
		req.Body, _ = o.up.begin() // it is all to come
		x.tainted = true           // the transport may look at the body later
	}
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteHeaders:         func() { wroteHead.Store(true) },
		GotFirstResponseByte: func() { gotByte.Store(true) },
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if o.interims++; o.interims > maxInterim {
				return errBadAnswer
			}
			if o.over {
				return nil
			}
			return x.interimHTTP2(code, http.Header(h))
		},
	})
	w.stop.Store(&cancel)
	w.down.enter(phaseHead, x.lastSent)
	if why := reason(w.cause.Load()); why != reasonNone {
		cancel()
		return outcome{why: why}, nil
	}
	res, err := x.b.transport(&x.r.cfg).RoundTrip(req.WithContext(ctx))
	o.mu.Lock()
	o.over = true
	o.mu.Unlock()
	if err != nil {
		w.stop.Store(nil)
		cancel()
		why := x.judgeHTTP2(err, wroteHead.Load(), gotByte.Load())
		if o.up != nil {
			o.up.leave()
		}
		return why, err
	}
	if o.up != nil {
		o.up.answered.Store(true)
	}
	o.body, o.trailer = res.Body, func() http.Header { return res.Trailer }
	x.other = o
	if !x.adopt(res) {
		x.dropOther()
		return outcome{why: reasonBadResponse, sent: true, answered: true}, errBadAnswer
	}
	return outcome{}, nil
}

// http2Request makes the request that is sent.
func (x *exchange) http2Request() (*http.Request, error) {
	req, err := requestOf(x.appendRequest(nil), x.b.addr)
	if err != nil {
		return nil, err
	}
	req.ContentLength = x.req.Length
	wire.EachToken(x.req.Get("trailer"), func(name []byte) {
		if x.source != nil {
			req.Trailer[textproto.CanonicalMIMEHeaderKey(string(name))] = nil
		}
	})
	if x.source == nil {
		req.ContentLength = int64(len(x.whole))
		if len(x.whole) > 0 {
			whole := string(x.whole)
			req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(whole)), nil }
			req.Body, _ = req.GetBody()
		}
	}
	return req, nil
}

// requestOf makes of a head the request without a body that net/http sends to
// addr.
func requestOf(head []byte, addr string) (*http.Request, error) {
	var r wire.Request
	if _, v := wire.ParseRequest(head, &r); v.Refused() {
		return nil, errBadAnswer
	}
	u := &url.URL{Scheme: "http", Host: addr}
	path, query, found := strings.Cut(string(r.TargetBytes()), "?")
	u.RawQuery, u.ForceQuery = query, found && query == ""
	switch {
	case path == "*":
		u.Path = path
	case strings.HasPrefix(path, "//"):
		// As Opaque it would be taken for an authority.
		plain, err := url.PathUnescape(path)
		if err != nil {
			plain = path
		}
		u.Path, u.RawPath = plain, path
	default:
		u.Opaque = path
	}
	req := &http.Request{
		Method: string(r.MethodBytes()), URL: u, Host: string(r.HostValue()), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: make(http.Header), Body: http.NoBody, Trailer: make(http.Header),
	}
	for i, fs := 0, r.Fields(); i < len(fs); i++ {
		switch fs[i].Class {
		case wire.Host, wire.ContentLength, wire.TransferEncoding, wire.Connection, wire.Upgrade, wire.Expect:
		default:
			addField(req.Header, r.Name(&fs[i]), r.Value(&fs[i]))
		}
	}
	if _, has := req.Header["User-Agent"]; !has {
		req.Header["User-Agent"] = nil // or the transport would add its own
	}
	return req, nil
}

// judgeHTTP2 judges an attempt whose answer did not come.
func (x *exchange) judgeHTTP2(err error, sent, answered bool) outcome {
	w := x.watch
	if why := reason(w.cause.Load()); why != reasonNone {
		return outcome{why: why, sent: true}
	}
	if p, _, _ := w.down.load(); p == phaseExpired {
		return outcome{why: reasonTimeout, sent: true}
	}
	var dial *dialError
	if errors.As(err, &dial) {
		return outcome{why: reasonUnreachable, local: dial.isLocal()}
	}
	o := outcome{why: reasonClosed, sent: sent, answered: answered}
	if answered {
		o.why = reasonBadResponse
	}
	if strings.Contains(err.Error(), "; CANCEL;") && x.leaves() {
		o.why = reasonClientGone
	}
	return o
}

// leaves reports whether the client gives up at this moment too: an instance
// that cancels a call does so because a deadline both know has passed.
func (x *exchange) leaves() bool {
	wait := 50 * time.Millisecond
	if x.req.Get("grpc-timeout") != nil {
		wait = time.Second
	}
	moment := time.NewTimer(wait)
	defer moment.Stop()
	select {
	case <-x.asked.gone:
		return true
	case <-moment.C:
		return false
	}
}

// adopt turns the head of an answer into the one form all have here.
func (x *exchange) adopt(res *http.Response) bool {
	o := x.other
	o.head = appendHTTP1(o.head[:0], res.StatusCode, res.Header)
	if res.ContentLength >= 0 && (len(res.Trailer) == 0 || x.rec.method == "HEAD") { // HTTP/1.1 has trailers only in chunks
		o.head = appendLine(o.head, "Content-Length", strconv.FormatInt(res.ContentLength, 10))
	}
	o.head = append(o.head, '\r', '\n')
	n, v := wire.ParseResponse(o.head, &x.res)
	return v == wire.Fast && n == len(o.head) && res.StatusCode >= 200
}

func appendHTTP1(b []byte, status int, h http.Header) []byte {
	b = append(b, "HTTP/1.1 "+strconv.Itoa(status)+" "+statusText(status)+"\r\n"...)
	for name, values := range h {
		if name == "Content-Length" {
			continue
		}
		for _, v := range values {
			b = appendLine(b, name, v)
		}
	}
	return b
}

func (x *exchange) interimHTTP2(code int, h http.Header) error {
	if code != http.StatusEarlyHints {
		return nil
	}
	var res wire.Response
	head := append(appendHTTP1(nil, code, h), '\r', '\n')
	if _, v := wire.ParseResponse(head, &res); v != wire.Fast {
		return errBadAnswer
	}
	return x.front.interim(&res)
}

// relayOther passes on an answer that came over HTTP/2.
func (x *exchange) relayOther() {
	o, a := x.other, &x.reply
	a.close = o.up != nil && !o.up.done.Load()
	if err := x.front.begin(a); err != nil {
		x.broken(errClient{err})
		return
	}
	if !a.bodiless {
		if err := x.copyOther(o); err != nil {
			x.broken(err)
			return
		}
	}
	var trailers []byte
	for name, values := range o.trailer() {
		for _, v := range values {
			trailers = appendLine(trailers, name, v)
		}
	}
	x.dropOther()
	x.watch.down.enter(phaseWrite, x.r.now())
	if err := x.front.end(wire.AppendTrailers(nil, trailers)); err != nil {
		x.broken(errClient{err})
	}
}

func (x *exchange) copyOther(o *otherAnswer) error {
	buf := takeBuffer(relayBuffer)
	defer buf.free()
	w := x.watch
	for left := x.reply.length; left != 0; {
		w.down.enter(phaseWrite, x.r.now())
		if err := x.front.flush(); err != nil {
			return errClient{err}
		}
		w.down.enter(phaseBody, x.r.now())
		n, err := o.body.Read(buf.b)
		w.down.enter(phaseWrite, x.r.now())
		if n > 0 {
			if err := x.write(buf.b[:n]); err != nil {
				return err
			}
			if left > 0 {
				left -= int64(n)
			}
		}
		if err == io.EOF {
			if left > 0 {
				return io.ErrUnexpectedEOF
			}
			break
		}
		if err != nil {
			return err
		}
	}
	if x.reply.length >= 0 {
		_, _ = o.body.Read(buf.b[:1]) // the end, and with it the trailers
	}
	return nil
}

// dropOther ends the use of an answer that came over HTTP/2.
func (x *exchange) dropOther() {
	if x.other == nil {
		return
	}
	o := x.other
	x.other = nil
	x.watch.stop.Store(nil)
	if o.up != nil && !o.up.done.Load() {
		x.front.unblock(true, false)
	}
	o.cancel()
	_ = o.body.Close()
	if o.up != nil {
		x.rec.requestBytes = x.watch.got.Load()
	}
}
