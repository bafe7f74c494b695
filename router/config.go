package router

import (
	"log/slog"
	"net"
	"net/netip"
	"time"
)

// Config is what a Router needs. The zero value of each duration and count
// means its default.
type Config struct {
	// Listeners take the traffic of the apps, in the clear. They may be
	// shared with another process: ending Run closes this process's hold on
	// them and leaves the kernel's queue alone.
	Listeners []net.Listener
	// ControlListener takes the control API; a unix socket.
	ControlListener net.Listener
	// Dir is where the last table is kept. Empty: it is not kept.
	Dir string
	// AccessLog is given one record per request, from one goroutine. A slow
	// one costs records (counted), never requests. May be nil.
	AccessLog func(Record)
	// Logger takes events of the router itself. Nil discards them.
	Logger *slog.Logger

	// TrustedProxies are the peers whose X-Forwarded-* fields are believed.
	TrustedProxies []netip.Prefix

	HeadTimeout time.Duration // for a whole request head; 10 s
	IdleTimeout time.Duration // for a connection between requests; 75 s
	// HalfCloseGrace is how long a client that closed its sending half after
	// its request is still waited for; 60 s.
	HalfCloseGrace  time.Duration
	ResponseTimeout time.Duration // for an instance's response head, unless the route says otherwise; 60 s
	StallTimeout    time.Duration // for a client that neither sends its body nor reads its answer; 60 s
	StreamTimeout   time.Duration // for a silent tunnel or stream; 1 h
	DialTimeout     time.Duration // 5 s
	// IdleGrace is how long connections stay readable after the router
	// announced that it stops; 5 s.
	IdleGrace time.Duration
	// DrainTimeout bounds how long Run waits for requests in flight once its
	// context ended, the grace included; 30 s.
	DrainTimeout time.Duration
	// BackendIdleTimeout is how long a connection to an instance is kept
	// unused; 4 s, because Node closes them after 5.
	BackendIdleTimeout time.Duration
	// LogQueue is how many records may wait for AccessLog; 8192.
	LogQueue int
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
	set(&c.StreamTimeout, time.Hour)
	set(&c.DialTimeout, 5*time.Second)
	set(&c.IdleGrace, 5*time.Second)
	set(&c.DrainTimeout, 30*time.Second)
	set(&c.BackendIdleTimeout, 4*time.Second)
	if c.LogQueue <= 0 {
		c.LogQueue = 8192
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
