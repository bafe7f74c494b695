package router

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// arrival is a connection from a client, ready for its first request: it is
// within the limits, the PROXY header has been taken off, and the handshake is
// done.
type arrival struct {
	net.Conn // a tcpConn, or *tls.Conn
	edge     *edge
	peer     netip.AddrPort // the client, as a believed PROXY header says or the socket
	charged  netip.Addr     // whose share of the connections it takes; invalid: nobody's
	secure   bool           // it came over TLS
	sni      string         // the name the client asked for in its handshake, in lower case
	alpn     string         // the protocol the handshake settled on; may be empty
	left     atomic.Bool
	settled  bool        // see settle
	viaProxy bool        // a PROXY header comes first
	tls      *tls.Config // and a handshake; nil: it is in the clear
}

// settle says that a drain of the road that carries the connection will find
// it: only then the edge is done with it. It is called by the goroutine that
// carries the connection; once or more often.
func (a *arrival) settle() {
	if !a.settled {
		a.settled = true
		a.edge.accepting.Done()
	}
}

// leave gives the connection's place back. Whoever carries the connection
// calls it when the connection has ended; once or more often.
func (a *arrival) leave() {
	if !a.left.Swap(true) {
		a.edge.gone(a.charged)
	}
}

// Close closes the connection and gives its place back.
func (a *arrival) Close() error {
	defer a.leave()
	return a.Conn.Close()
}

// handshakeTimeout bounds a PROXY header and a TLS handshake together; what a
// handshake waits for a certificate does not count.
const handshakeTimeout = 10 * time.Second

// edge accepts connections, within limits, and brings each to the point where
// its first request can be read. Each connection has a goroutine of its own
// from the moment it was accepted.
type edge struct {
	r     *Router
	carry func(*arrival) // takes the connection over, and settles it
	empty chan struct{}  // one slot: the last connection ended while draining
	stops chan struct{}  // closed by stop

	mu        sync.Mutex // guards what follows
	listeners []*stopListener
	stopped   bool
	crowd     crowd         // of connections that are open
	room      chan struct{} // closed when a connection ends; nil: nobody waits

	accepting sync.WaitGroup // accept loops, and connections that are not settled yet

	headlessAt atomic.Int64 // when it was last said that one has no PROXY header
}

func newEdge(r *Router, carry func(*arrival)) *edge {
	return &edge{r: r, carry: carry, empty: make(chan struct{}, 1), stops: make(chan struct{})}
}

// serve accepts connections until stop is called.
func (e *edge) serve(ln net.Listener, config *tls.Config) error {
	ln = acceptor(ln)
	defer func() { _ = ln.Close() }() // whoever shares the socket has it still
	l := &stopListener{Listener: ln}
	boundUnsent(ln)
	e.mu.Lock()
	if e.stopped {
		e.mu.Unlock()
		return errStopped
	}
	e.listeners = append(e.listeners, l)
	e.accepting.Add(1)
	e.mu.Unlock()
	defer e.accepting.Done()
	var pause time.Duration
	for {
		if !e.waitForRoom() {
			return errStopped
		}
		c, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			e.admit(c, config)
		case l.stopped.Load():
			return errStopped
		case !isShortage(err):
			return err
		default:
			// What is open goes on; those not accepted wait in the kernel.
			e.r.metrics.shortages.Add(1)
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			e.r.cfg.Logger.Warn("connections cannot be accepted for a moment", "err", err, "pause", pause)
			select {
			case <-time.After(pause):
			case <-e.stops:
				return errStopped
			}
		}
	}
}

// isShortage reports whether accepting failed for want of something that may
// come back, or because the one connection had gone.
func isShortage(err error) bool {
	for _, no := range []syscall.Errno{
		syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPERM, syscall.EPROTO,
	} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// waitForRoom waits until one more connection may be open, and reports false
// when the edge stops.
func (e *edge) waitForRoom() bool {
	for {
		e.mu.Lock()
		if e.stopped {
			e.mu.Unlock()
			return false
		}
		if e.crowd.all < e.r.cfg.MaxConns {
			e.mu.Unlock()
			return true
		}
		if e.room == nil {
			e.room = make(chan struct{})
			e.r.metrics.full.Add(1)
		}
		room := e.room
		e.mu.Unlock()
		select {
		case <-room:
		case <-e.stops:
			return false
		}
	}
}

// admit takes an accepted connection on.
func (e *edge) admit(c net.Conn, config *tls.Config) {
	e.r.metrics.accepted.Add(1)
	a := &arrival{Conn: c, edge: e, peer: peerOf(c)}
	a.tls, a.viaProxy = config, isTrusted(a.peer.Addr(), e.r.cfg.ProxyProtocol)
	if !a.viaProxy {
		a.charged = e.r.chargedTo(a.peer.Addr())
	}
	if !e.arrived(a.charged) {
		e.r.metrics.overShare.Add(1)
		reset(c)
		_ = c.Close()
		return
	}
	e.accepting.Add(1)
	e.r.workers.do(a)
}

// run carries the connection to its end.
func (a *arrival) run() {
	defer a.settle()
	if (a.viaProxy || a.tls != nil) && !a.edge.greet(a) {
		_ = a.Close()
		return
	}
	a.edge.carry(a)
}

// arrived counts a connection, unless its peer has its share already.
func (e *edge) arrived(by netip.Addr) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.crowd.join(by, e.r.cfg.MaxConnsPerIP) {
		return false
	}
	e.r.metrics.conns.Add(1)
	return true
}

// gone is the opposite of arrived.
func (e *edge) gone(by netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.crowd.leave(by)
	if e.room != nil {
		close(e.room)
		e.room = nil
	}
	if e.r.metrics.conns.Add(-1) == 0 && e.r.draining.Load() {
		select {
		case e.empty <- struct{}{}:
		default:
		}
	}
}

// greet reads what comes before the first request.
func (e *edge) greet(a *arrival) bool {
	_ = a.SetDeadline(time.Now().Add(handshakeTimeout))
	if a.viaProxy {
		client, err := readProxyHeader(a.Conn)
		if err != nil {
			e.r.metrics.badGreetings.Add(1)
			e.headless(a.peer, err)
			return false
		}
		if client.IsValid() {
			a.peer = client
		}
	}
	if a.tls != nil && !e.handshake(a) {
		e.r.metrics.badGreetings.Add(1)
		return false
	}
	return a.SetDeadline(time.Time{}) == nil
}

// headless says that a connection did not begin with a PROXY header, although
// its peer was named as one whose connections do: once a minute, and not of
// health checks, which say nothing at all.
func (e *edge) headless(peer netip.AddrPort, err error) {
	level, now := slog.LevelDebug, e.r.now()
	if last := e.headlessAt.Load(); !errors.Is(err, io.EOF) && (last == 0 || now-last > int64(time.Minute)) && e.headlessAt.CompareAndSwap(last, now) {
		level = slog.LevelWarn
	}
	e.r.cfg.Logger.Log(context.Background(), level, "connection without a proper PROXY header: its peer is one of --proxy-protocol", "peer", peer, "err", err)
}

// handshake makes the connection a secure one.
func (e *edge) handshake(a *arrival) bool {
	// A certificate may have to be got first; whoever asks for it waits so
	// long. The deadline of the connection is for the client.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	c := tls.Server(a.Conn, a.tls)
	if err := c.HandshakeContext(ctx); err != nil {
		var noTLS tls.RecordHeaderError
		if errors.As(err, &noTLS) && noTLS.Conn != nil && looksLikeHTTP(noTLS.RecordHeader) {
			_, _ = noTLS.Conn.Write([]byte("HTTP/1.0 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\nThis port speaks https.\n"))
		}
		e.r.cfg.Logger.Debug("handshake failed", "peer", a.peer, "err", err)
		return false
	}
	state := c.ConnectionState()
	a.Conn, a.secure, a.alpn = c, true, state.NegotiatedProtocol
	if a.sni, _ = normalHost(state.ServerName); a.sni == "" {
		a.sni = state.ServerName
	}
	return a.alpn != acmeProtocol
}

// acmeProtocol is what an authority speaks to see that a name is ours: the
// handshake is all it wants.
const acmeProtocol = "acme-tls/1"

func looksLikeHTTP(b [5]byte) bool {
	switch string(b[:]) {
	case "GET /", "HEAD ", "POST ", "PUT /", "OPTIO", "DELET", "PATCH":
		return true
	}
	return false
}

// stop ends accepting and returns when every connection that was accepted has
// been handed over.
func (e *edge) stop() {
	e.mu.Lock()
	if !e.stopped {
		e.stopped = true
		close(e.stops)
	}
	for _, l := range e.listeners {
		l.stop()
	}
	e.mu.Unlock()
	e.accepting.Wait()
}

// awaitSilence waits as long as requests may still come on connections that
// are open: until the last one closed, nobody takes over anyway, or the grace
// is over.
func (e *edge) awaitSilence(grace time.Duration) {
	timer := time.NewTimer(grace)
	defer timer.Stop()
	for e.r.metrics.conns.Load() > 0 {
		select {
		case <-e.empty: // there was a moment without any, perhaps before stop
		case <-e.r.cfg.NoSuccessor:
			return
		case <-timer.C:
			return
		}
	}
}

// peerOf is the other end of an accepted connection.
func peerOf(c net.Conn) netip.AddrPort {
	if s, ok := c.(interface{ peerAddr() netip.AddrPort }); ok {
		return s.peerAddr()
	}
	return addrPort(c.RemoteAddr())
}

func addrPort(a net.Addr) netip.AddrPort {
	if t, ok := a.(*net.TCPAddr); ok {
		p := t.AddrPort()
		return netip.AddrPortFrom(p.Addr().Unmap(), p.Port())
	}
	return netip.AddrPort{}
}

// tcpConn is a TCP connection: *net.TCPConn, or what acceptor makes of one.
type tcpConn interface {
	net.Conn
	syscall.Conn
	io.ReaderFrom
	CloseWrite() error
	SetLinger(seconds int) error
}

// tcpOf returns the TCP connection below c; nil if there is none.
func tcpOf(c net.Conn) tcpConn {
	if p, ok := c.(*prefixConn); ok {
		c = p.Conn
	}
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	t, _ := c.(tcpConn)
	return t
}

// reset makes the next Close a reset.
func reset(c net.Conn) {
	if t := tcpOf(c); t != nil {
		_ = t.SetLinger(0)
	}
}

// cut closes the connection below c at once, without the goodbye of TLS, and
// takes back what the kernel holds for the client.
func cut(c net.Conn) {
	if t := tcpOf(c); t != nil {
		_ = t.SetLinger(0)
		_ = t.Close()
	}
}

// clientOf asks the kernel about the connection below c.
func clientOf(c net.Conn) clientState {
	if t := tcpOf(c); t != nil {
		if raw, err := t.SyscallConn(); err == nil {
			return stateOf(raw)
		}
	}
	return clientState{}
}

// serverTLS completes what the operator's certificates give: the protocols,
// and nothing that is not fit for use any more.
func serverTLS(c *tls.Config) *tls.Config {
	c = c.Clone()
	c.MinVersion = max(c.MinVersion, tls.VersionTLS12)
	if c.CipherSuites == nil {
		// For TLS 1.2; those of 1.3 are all sound.
		c.CipherSuites = []uint16{
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		}
	}
	c.NextProtos = []string{"h2", "http/1.1", acmeProtocol}
	return c
}

// misdirected reports whether a request for host came on a connection that
// was made for a name with another certificate. Clients use one connection
// for several hosts of one certificate; across certificates it is an attempt
// to get at a host by another one's rules, or a client to be sent away.
func (r *Router) misdirected(sni, host string) bool {
	if sni == "" || sni == host {
		return false
	}
	return r.cfg.CertificateCovers == nil || !r.cfg.CertificateCovers(sni, host)
}

// HostPattern returns the host of the route that serves a host: the host
// itself, or "*.example.com". ok is false if there is none, or only one for
// everything there is.
func (r *Router) HostPattern(host string) (pattern string, ok bool) {
	s := r.table.Load()
	if s.exact.find(host) != nil {
		return host, true
	}
	for rest := host; rest != ""; {
		_, rest, _ = strings.Cut(rest, ".")
		if rest != "" && s.wild.find(rest) != nil {
			return "*." + rest, true
		}
	}
	return "", false
}
