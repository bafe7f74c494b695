package router

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"
)

// Config is what a Router needs. The zero value of each duration and count
// means its default.
type Config struct {
	// Listeners take the traffic of the apps, in the clear. They may be
	// shared with another process: ending Run closes this process's hold on
	// them and leaves the kernel's queue alone.
	Listeners []net.Listener
	// TLSListeners take it over TLS, as TLS says: at least how certificates
	// are found. The router adds the protocols, and refuses what is too old.
	TLSListeners []net.Listener
	TLS          *tls.Config
	// QUIC are UDP sockets for HTTP/3, with the certificates of TLS. Another
	// router may hold them too: one reads them at a time, settled by a lock
	// in Dir.
	QUIC []net.PacketConn
	// CertificateCovers reports whether the certificate that serves one name
	// is good for another: if not, a request for it on a connection to the
	// first is sent away with 421. Nil means that none is.
	CertificateCovers func(name, other string) bool
	// HTTPChallenge answers a request by which an authority checks that a
	// name is ours, or returns false. It is asked for requests in the clear
	// below /.well-known/acme-challenge/. May be nil.
	HTTPChallenge func(http.ResponseWriter, *http.Request) bool
	// ControlListener takes the control API; a unix socket.
	ControlListener net.Listener
	// OwnListener takes it too, and goes on while the router drains, when the
	// other has found its successor. Nil: nothing does.
	OwnListener net.Listener
	// Dir is where the last table is kept. Empty: it is not kept.
	Dir string
	// AccessLines is given a line for each request, many at a time, from one
	// goroutine. A slow one costs lines (counted), never requests. May be nil.
	AccessLines func([]AccessLine)
	// AccessFile is a file to which the lines are appended as well. It may be
	// moved away at any time. Empty: none.
	AccessFile string
	// RedactIPs keeps addresses of clients out of lines, RedactQueries what
	// follows the "?" in targets and referers.
	RedactIPs, RedactQueries bool
	// Logger takes events of the router itself. Nil discards them.
	Logger *slog.Logger

	// TrustedProxies are the peers whose X-Forwarded-* fields are believed.
	TrustedProxies []netip.Prefix
	// ProxyProtocol are the peers whose connections begin with a PROXY
	// header, version 1 or 2. From others none is expected.
	ProxyProtocol []netip.Prefix
	// MaxConns bounds the connections from clients; those beyond wait in the
	// kernel's queue. 0 means half the file descriptors the process may have,
	// less a reserve. HTTP/3 may have as many besides; those beyond are closed.
	MaxConns int
	// MaxConnsPerIP bounds the connections of one client: an IPv4 address or
	// an IPv6 /64. Those beyond are reset. 0 means a quarter of MaxConns.
	// Trusted proxies and this machine itself are not counted.
	MaxConnsPerIP int
	// NoSuccessor, closed before or after Run's context ended, says that no
	// other router takes over the listeners: nothing is gained by waiting for
	// requests on idle connections.
	NoSuccessor <-chan struct{}

	HeadTimeout time.Duration // for a whole request head; 10 s
	IdleTimeout time.Duration // for a connection between requests; 75 s
	// HalfCloseGrace is how long a client that closed its sending half after
	// its request is still waited for; 60 s.
	HalfCloseGrace  time.Duration
	ResponseTimeout time.Duration // for an instance's response head, unless the route says otherwise; 60 s
	StallTimeout    time.Duration // for a client that neither sends its body nor reads its answer; 60 s
	// SlowTimeout is for how long a client may send or take next to nothing;
	// 8 s. It is not for streams, which are silent on the other side.
	SlowTimeout   time.Duration
	StreamTimeout time.Duration // for a silent tunnel or stream; 1 h
	DialTimeout   time.Duration // 5 s
	// IdleGrace is how long connections stay readable after the router
	// announced that it stops; 5 s.
	IdleGrace time.Duration
	// DrainTimeout bounds how long Run waits for requests in flight once its
	// context ended, the grace included; 30 s.
	DrainTimeout time.Duration
	// BackendIdleTimeout is how long a connection to an instance is kept
	// unused; 4 s, because Node closes them after 5.
	BackendIdleTimeout time.Duration
	// SlowStart is how long a new instance takes to get its full share of the
	// requests, unless the route says otherwise; 10 s, negative for at once.
	SlowStart time.Duration
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&c.HeadTimeout, 10*time.Second)
	set(&c.IdleTimeout, 75*time.Second)
	set(&c.HalfCloseGrace, 60*time.Second)
	set(&c.ResponseTimeout, 60*time.Second)
	set(&c.StallTimeout, 60*time.Second)
	set(&c.SlowTimeout, 8*time.Second)
	set(&c.StreamTimeout, time.Hour)
	set(&c.DialTimeout, 5*time.Second)
	set(&c.IdleGrace, 5*time.Second)
	set(&c.DrainTimeout, 30*time.Second)
	set(&c.BackendIdleTimeout, 4*time.Second)
	if c.MaxConns <= 0 {
		c.MaxConns = defaultMaxConns()
	}
	if c.MaxConnsPerIP <= 0 {
		c.MaxConnsPerIP = max(c.MaxConns/4, 1)
	}
	if c.SlowStart == 0 {
		c.SlowStart = 10 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// defaultMaxConns is half of the descriptors, because each connection of a
// client may need one to an instance, without those for everything else.
func defaultMaxConns() int {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return 1024
	}
	n := int(min(limit.Cur, 1<<21))
	return max((n-min(n/4, 256))/2, 16)
}
