package router

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"weir/router/wire"
)

// stdRoad carries rare forms of HTTP/1.1, with net/http behind the guard. Its
// handler takes HTTP/3 too.
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
	s.http = &http.Server{
		Handler:                      s,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            r.cfg.HeadTimeout,
		IdleTimeout:                  r.cfg.IdleTimeout,
		MaxHeaderBytes:               wire.MaxHead,
		Protocols:                    &protocols,
		ErrorLog:                     slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelDebug),
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
	if state == http.StateNew && !hasRequest(c) {
		s.fresh[c] = true
	} else {
		delete(s.fresh, c)
	}
}

// hasRequest reports whether some of a request was read off c already.
func hasRequest(c net.Conn) bool {
	cc, ok := c.(*clientConn)
	if !ok {
		return false
	}
	_, ok = cc.arrival.Conn.(*prefixConn)
	return ok
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
	defer a.settle()
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

// challenged answers for the certificates, if an authority asks.
func (s *stdRoad) challenged(c *clientConn, w http.ResponseWriter, req *http.Request) bool {
	return s.r.cfg.HTTPChallenge != nil && c != nil && !c.secure &&
		strings.HasPrefix(req.URL.Path, challengePath) && s.r.cfg.HTTPChallenge(w, req)
}

// challengePath is where an authority asks whether a name is ours.
const challengePath = "/.well-known/acme-challenge/"
