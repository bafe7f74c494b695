// Package keeper is the process that must not die: it holds the listening
// sockets, starts and watches router and controller, and starts, watches and
// stops instances for whoever asks over its control socket.
package keeper

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Config is what a Keeper needs.
type Config struct {
	DataDir string
	// Exe is the binary that children and inits are started from. Empty means
	// this one, and Replace takes the file that is then at its path.
	Exe      string
	Children []Child // started in this order
	// UID and GID are what children and builds run under when the keeper is
	// root; ignored otherwise.
	UID, GID int
	// InstanceUIDs are the uids of instances when the keeper is root: from
	// First, Count of them. Zero means 200000, 65536.
	InstanceUIDs UIDRange
	// Ports are for instances. Zero means ten thousand outside the ports the
	// kernel gives to outgoing connections.
	Ports PortRange
	// ChildGrace is how long a child may take to end after SIGTERM. Zero means 30 s.
	ChildGrace time.Duration
	// Without forces fall-backs, for tests: names as in isolation.ProbeOptions.
	Without []string
	Logger  *slog.Logger // nil discards
}

// UIDRange is a range of user IDs (and group IDs of the same number).
type UIDRange struct{ First, Count int }

// PortRange is a range of TCP ports, both ends included.
type PortRange struct{ First, Last int }

// Child is a long-lived process of the same binary that the keeper restarts
// when it dies.
type Child struct {
	Name string   // "router", "controller"
	Args []string // after the program name, such as {"router"}
	Env  []string // complete environment
	// Listeners are the sockets it is given, by name.
	Listeners map[string][]Listen
	// Survives says that the child goes on without a keeper and is adopted by
	// the next one, and that a replacement runs beside it until it is ready.
	// Other children end when the keeper is gone, and are replaced by
	// stopping them first.
	Survives bool
}

// Listen is an address to listen on.
type Listen struct {
	// Addr is host:port with an IP address or "localhost", which means
	// 127.0.0.1 and, where there is IPv6, ::1 at the same port. Port 0 takes a
	// free one.
	Addr string
	Flag string // what a person sets it with, for errors: "--http"
}

// ExitConfig is the exit status of a child that can never start as things are,
// such as one that does not understand its database. Before the child was
// ready for the first time, it ends Run with an error instead of a restart.
const ExitConfig = 78

// Keeper is described at the package.
type Keeper struct{ cfg Config }

// New returns a Keeper. It starts nothing and touches no file.
func New(cfg Config) *Keeper { return &Keeper{cfg: cfg} }

// Run takes the lock on the data directory, adopts what an earlier keeper
// left, listens, starts the children and serves the control socket. When ctx
// ends it stops controller, router and all instances, leaves nothing behind
// and returns nil. An error at the start is a *platform.Error.
func (k *Keeper) Run(ctx context.Context) error { return nil }

// Ready is closed when every child reported ready for the first time.
func (k *Keeper) Ready() <-chan struct{} { return nil }

// Addrs returns the addresses listened on under a name, of any child; nil
// before Run listens. It is complete once Ready is closed.
func (k *Keeper) Addrs(name string) []net.Addr { return nil }

// Replace starts a fresh process of the binary for each child, with the same
// listeners, and stops the old one; it is what SIGHUP does. It returns when all
// are replaced, or with the reason why the old ones stay.
func (k *Keeper) Replace(ctx context.Context) error { return nil }
