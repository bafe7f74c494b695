package router

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"weir/router/wire"
)

// quicRoad carries HTTP/3. Its requests go the way of those of net/http.
//
// Packets of a connection cannot be told which of two processes they are for:
// so a router that is replaced stops to answer new connections, finishes what
// is under way, and only then its successor begins to read. A client that
// knocks meanwhile falls back on HTTP/2, or knocks again.
type quicRoad struct {
	r      *Router
	server *http3.Server
	stop   context.Context // ends when the router drains
	end    context.CancelFunc
	over   chan struct{} // closed when drain returned

	mu    sync.Mutex // guards crowd
	crowd crowd
}

// quicCrowd is from how many connections on a client has to prove its address
// before it costs anything.
const quicCrowd = 1000

// quicMaxHead is how large a head may be to be refused by us and not by the
// server, whose refusal says nothing and is in no log.
const quicMaxHead = 2 * wire.MaxHead

func newQUICRoad(r *Router, h http.Handler) *quicRoad {
	q := &quicRoad{r: r, over: make(chan struct{})}
	q.stop, q.end = context.WithCancel(context.Background())
	q.server = &http3.Server{
		Handler:        http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { h.ServeHTTP(h3Writer{w, req.Method == "HEAD"}, req) }),
		MaxHeaderBytes: quicMaxHead, IdleTimeout: r.cfg.IdleTimeout, Logger: nil,
		ConnContext: q.connContext,
	}
	return q
}

// h3Writer leaves out what HTTP/3 has no room for: connections are announced
// to close by GOAWAY, not by a field.
type h3Writer struct {
	http.ResponseWriter
	toHead bool // answers a HEAD
}

// WriteHeader implements http.ResponseWriter.
func (w h3Writer) WriteHeader(status int) {
	w.Header().Del("Connection")
	w.ResponseWriter.WriteHeader(status)
	if w.toHead || status == http.StatusNoContent || status == http.StatusNotModified {
		// Out with it, before the server sees that no body came and says that
		// there is one of no length. What fails here fails later as well.
		_ = http.NewResponseController(w.ResponseWriter).Flush()
	}
}

// Unwrap is for http.ResponseController.
func (w h3Writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// connContext makes a connection look like others to who answers its requests.
// One beyond the limits, which are as wide as those for TCP, is closed.
func (q *quicRoad) connContext(ctx context.Context, c *quic.Conn) context.Context {
	q.r.metrics.accepted.Add(1)
	a := &arrival{secure: true, alpn: http3.NextProtoH3, sni: c.ConnectionState().TLS.ServerName}
	if u, ok := c.RemoteAddr().(*net.UDPAddr); ok {
		a.peer = addrPort(&net.TCPAddr{IP: u.IP, Port: u.Port})
	}
	by := q.r.chargedTo(a.peer.Addr())
	if q.arrived(by) {
		context.AfterFunc(c.Context(), func() { q.gone(by) })
	} else {
		q.r.metrics.overShare.Add(1)
		_ = c.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeExcessiveLoad), "too many connections")
	}
	return context.WithValue(ctx, connKey{}, newClientConn(q.r, a))
}

// arrived counts a connection, unless there are too many.
func (q *quicRoad) arrived(by netip.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowd.all < q.r.cfg.MaxConns && q.crowd.join(by, q.r.cfg.MaxConnsPerIP)
}

// gone is the opposite of arrived.
func (q *quicRoad) gone(by netip.Addr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.crowd.leave(by)
}

// isCrowded reports whether clients have to prove their address first.
func (q *quicRoad) isCrowded(net.Addr) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.crowd.all > quicCrowd
}

// announcement is the value of Alt-Svc.
func (q *quicRoad) announcement() string {
	for _, c := range q.r.cfg.QUIC {
		if u, ok := c.LocalAddr().(*net.UDPAddr); ok {
			return fmt.Sprintf(`h3=":%d"; ma=86400`, u.Port)
		}
	}
	return ""
}

// serve serves until drain is called.
func (q *quicRoad) serve() {
	if len(q.r.cfg.QUIC) == 0 {
		return
	}
	log := q.r.cfg.Logger
	unlock, err := q.lock()
	if err != nil {
		if q.stop.Err() == nil {
			log.Error("HTTP/3 is not served", "err", err)
		}
		return
	}
	defer unlock()
	config := serverTLS(q.r.cfg.TLS)
	config.NextProtos = nil
	ended := make(chan error, len(q.r.cfg.QUIC))
	var transports []*quic.Transport
	for _, c := range q.r.cfg.QUIC {
		t := &quic.Transport{
			Conn: c, StatelessResetKey: q.resetKey(),
			VerifySourceAddress: q.isCrowded,
		}
		transports = append(transports, t)
		ln, err := t.ListenEarly(http3.ConfigureTLSConfig(config), &quic.Config{
			HandshakeIdleTimeout: handshakeTimeout, MaxIdleTimeout: q.r.cfg.IdleTimeout,
			MaxIncomingStreams: 250, MaxIncomingUniStreams: 16,
		})
		if err != nil {
			log.Error("HTTP/3 is not served", "err", err)
			continue
		}
		go func() { ended <- q.server.ServeListener(ln) }()
	}
	select {
	case <-q.stop.Done():
	case err := <-ended:
		log.Error("HTTP/3 is not served any more", "err", err)
	}
	<-q.over
	for _, t := range transports {
		_ = t.Close()
	}
}

// drain lets what is under way finish, until ctx ends.
func (q *quicRoad) drain(ctx context.Context) {
	q.end()
	defer close(q.over)
	if len(q.r.cfg.QUIC) == 0 {
		return
	}
	_ = q.server.Shutdown(ctx)
	_ = q.server.Close()
}

// lock waits until no other router reads the sockets.
func (q *quicRoad) lock() (unlock func(), err error) {
	if q.r.cfg.Dir == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(filepath.Join(q.r.cfg.Dir, "quic.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			_ = f.Close()
			return nil, err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-q.stop.Done():
			_ = f.Close()
			return nil, q.stop.Err()
		}
	}
}

// resetKey is what a router tells clients of a killed one with that their
// connections are gone. It is kept, so that the next one has the same.
func (q *quicRoad) resetKey() *quic.StatelessResetKey {
	key := new(quic.StatelessResetKey)
	path := filepath.Join(q.r.cfg.Dir, "quic.key")
	if q.r.cfg.Dir != "" {
		if b, err := os.ReadFile(path); err == nil && len(b) == len(key) {
			copy(key[:], b)
			return key
		} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
			q.r.cfg.Logger.Warn("HTTP/3 begins with a new key", "err", err)
		}
	}
	_, _ = rand.Read(key[:]) // never fails
	if q.r.cfg.Dir != "" {
		if err := os.WriteFile(path, key[:], 0o600); err != nil {
			q.r.cfg.Logger.Warn("the key of HTTP/3 is not kept", "err", err)
		}
	}
	return key
}
