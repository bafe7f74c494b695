package router

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// stdRoad carries requests with net/http: HTTP/1.1 behind the guard, and
// HTTP/2 with prior knowledge.
type stdRoad struct {
	r    *Router
	http *http.Server
	in   chan net.Conn
	end  chan struct{} // closed by drain

	mu    sync.Mutex        // guards fresh
	fresh map[net.Conn]bool // connections that have not sent a byte yet
}

type connKey struct{}

func newStdRoad(r *Router) *stdRoad {
	s := &stdRoad{r: r, in: make(chan net.Conn), end: make(chan struct{}), fresh: make(map[net.Conn]bool)}
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	s.http = &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            r.cfg.HeadTimeout,
		IdleTimeout:                  r.cfg.IdleTimeout,
		MaxHeaderBytes:               maxHeadBytes,
		Protocols:                    &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			MaxReadFrameSize:     16 << 10,
			SendPingTimeout:      30 * time.Second,
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     r.cfg.StallTimeout,
		},
		ErrorLog: slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelDebug),
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, connKey{}, c)
		},
		ConnState: s.connState,
	}
	return s
}

// connState keeps fresh.
func (s *stdRoad) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if state == http.StateNew {
		s.fresh[c] = true
	} else {
		delete(s.fresh, c)
	}
}

// closeFresh closes the connections that have not sent a byte: Shutdown would
// give each of them five seconds.
func (s *stdRoad) closeFresh() {
	s.mu.Lock()
	all := slices.Collect(maps.Keys(s.fresh))
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// carry takes a connection over.
func (s *stdRoad) carry(a *arrival) {
	select {
	case s.in <- newClientConn(s.r, a):
	case <-s.end:
		_ = a.Close()
	}
}

// Accept implements net.Listener: what carry was given.
func (s *stdRoad) Accept() (net.Conn, error) {
	select {
	case c := <-s.in:
		return c, nil
	case <-s.end:
		return nil, errStopped
	}
}

// Close implements net.Listener. drain ends it.
func (s *stdRoad) Close() error { return nil }

// Addr implements net.Listener.
func (s *stdRoad) Addr() net.Addr { return &net.TCPAddr{} }

// serve serves what carry is given until drain is called.
func (s *stdRoad) serve() error {
	err := s.http.Serve(s)
	if errors.Is(err, http.ErrServerClosed) {
		return errStopped
	}
	return err
}

// drain waits for what is under way and cuts what is left when ctx ends.
// Router.draining was set before: each answer says that its connection
// closes. Connections that are idle are closed.
func (s *stdRoad) drain(ctx context.Context) {
	close(s.end)
	s.closeFresh()
	// HTTP/2 connections are told by GOAWAY.
	if err := s.http.Shutdown(ctx); err != nil {
		s.r.cfg.Logger.Warn("requests cut off at the end of the drain", "requests", s.r.metrics.requests.Load())
	}
	if !s.r.waitIdle(ctx) {
		s.r.cfg.Logger.Warn("tunnels cut off at the end of the drain", "tunnels", s.r.metrics.tunnels.Load())
	}
	_ = s.http.Close()
	s.r.tunnels.closeAll()
	last, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	s.r.waitIdle(last)
}

// waitIdle waits until no request is under way, and reports whether that came
// to pass.
func (r *Router) waitIdle(ctx context.Context) bool {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for r.metrics.requests.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// ServeHTTP implements http.Handler.
func (s *stdRoad) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	x := &exchange{w: w, req: req, rc: http.NewResponseController(w)}
	x.conn, _ = req.Context().Value(connKey{}).(*clientConn)
	if s.challenged(x.conn, w, req) {
		return
	}
	x.trip.r = s.r
	x.begin()
	defer func() {
		if p := recover(); p != nil {
			s.r.cfg.Logger.Error("request failed inside the router", "err", p, "stack", string(debug.Stack()))
			x.why, x.abort = reasonInternal, true
		}
		x.end()
		if x.abort {
			panic(http.ErrAbortHandler)
		}
	}()
	x.serve()
}

// challenged answers for the certificates, if an authority asks.
func (s *stdRoad) challenged(c *clientConn, w http.ResponseWriter, req *http.Request) bool {
	return s.r.cfg.HTTPChallenge != nil && c != nil && !c.secure &&
		strings.HasPrefix(req.URL.Path, challengePath) && s.r.cfg.HTTPChallenge(w, req)
}

// challengePath is where an authority asks whether a name is ours.
const challengePath = "/.well-known/acme-challenge/"

// begin notes what the log will say.
func (x *exchange) begin() {
	t := &x.trip
	t.r.metrics.requests.Add(1)
	t.begun = t.r.now()
	req := x.req
	t.rec = Record{
		Start: time.Now(), Host: req.Host, Method: req.Method, Target: req.RequestURI, Proto: req.Proto,
		Referer: req.Referer(), UserAgent: req.UserAgent(), ClientAddr: req.RemoteAddr,
		RequestID: newRequestID(),
	}
}

// end releases, counts and logs.
func (x *exchange) end() {
	t := &x.trip
	if g, ok := x.w.(*gzipWriter); ok {
		g.end(x.abort)
	}
	x.watch.stop()
	if x.up != nil {
		t.rec.RequestBytes = x.up.read.Load()
	}
	if x.req.ContentLength != 0 && (x.up == nil || !x.up.eof.Load()) {
		// What is left of the body gets a moment to arrive, so that the
		// connection may live on; this also ends a read under way.
		_ = x.rc.SetReadDeadline(time.Now().Add(time.Second))
	}
	if x.cancel != nil {
		x.cancel(nil)
	}
	t.unclaim()
	t.finish(x.why)
	t.r.metrics.requests.Add(-1)
}

// fail answers for the router. After the head was sent it can only abort.
func (x *exchange) fail(why reason) {
	x.why = why
	x.trip.rec.Status = reasons[why].status
	if why == reasonClientGone {
		x.abort = true
		return
	}
	h := x.w.Header()
	clear(h)
	status, body, contentType := x.trip.errorPage(why, x.req.Header.Get("Accept"))
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if code := reasons[why].code; code != "" {
		h.Set("X-Cf-RouterError", code)
	}
	h.Set("X-Vcap-Request-Id", x.trip.rec.RequestID)
	setLines(h, x.trip.appendErrorLines(nil, why))
	if why.closes() && x.req.ProtoMajor == 1 || x.trip.r.draining.Load() {
		h.Set("Connection", "close")
	}
	x.lastWrite()
	x.w.WriteHeader(status)
	if x.req.Method != http.MethodHead {
		n, _ := x.w.Write([]byte(body))
		x.trip.rec.ResponseBytes = int64(n)
	}
}
