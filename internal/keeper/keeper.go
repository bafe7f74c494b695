// Package keeper is the process that must not die: it holds the listening
// sockets, starts and watches router and controller, and starts, watches and
// stops instances for whoever asks over its control socket.
//
// What it knows is written down before it matters, so that after a kill -9 the
// next keeper adopts what still runs:
//
//	DATA/lock                     held by flock; the keeper's process ID
//	DATA/run/keeper.sock          requests: internal/runner's protocol
//	DATA/keeper/children.json     who the children are, and where they are adopted
//	DATA/keeper/<child>-<n>.sock  a child's adoption socket
//	DATA/instances/<guid>/        one per instance; instance.json is the keeper's,
//	                              the rest is package isolation's
package keeper

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/isolation"
)

// Config is what a Keeper needs.
type Config struct {
	DataDir string
	// Lock is the lock on DataDir, for those who take it before there is a
	// Keeper and release it. Nil means that Run takes and releases it.
	Lock *Lock
	// Exe is the binary that children and inits are started from. Empty means
	// this one, and Replace takes the file that is then at its path.
	Exe      string
	Children []Child // started in this order, stopped in the opposite one
	// UID and GID are what children and builds run under when the keeper is
	// root; ignored otherwise.
	UID, GID int
	// InstanceUIDs are the uids of instances when the keeper is root. Zero
	// means 200000 to 265535.
	InstanceUIDs UIDRange
	// Ports are for instances. Zero means 40000 to 49999, or, if the kernel
	// gives those to outgoing connections, the ten thousand below them.
	Ports PortRange
	// ChildGrace is how long a child may take to end after SIGTERM. Zero means 30 s.
	ChildGrace time.Duration
	// Without forces fall-backs, for tests: see isolation.Config.
	Without []string
	// InitEnv is added to the environment of inits, for tests.
	InitEnv []string
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
	// stopping them first: two of them would get into each other's way.
	Survives bool
}

// Listen is an address to listen on.
type Listen struct {
	// Addr is host:port with an IP address or "localhost", which means
	// 127.0.0.1 and, where there is IPv6, ::1 at the same port. Port 0 takes a
	// free one.
	Addr string
	Flag string // what a person sets it with, for errors: "--http"
	UDP  bool   // packets in place of connections
}

// ExitConfig is the exit status of a child that can never start as things are,
// such as one that does not understand its database. Before the child was
// ready for the first time, it ends Run with an error instead of a restart.
const ExitConfig = 78

// Keeper is described at the package.
type Keeper struct {
	cfg   Config
	log   *slog.Logger
	ready chan struct{} // closed when all children are

	children []*child
	fatal    chan error // 1: the first one counts

	// Set by Run, before Ready is closed.
	wg    sync.WaitGroup // what Run started
	host  *isolation.Host
	exe   *executable
	table *instanceTable

	recordMu sync.Mutex // serialises writing children.json
}

// New returns a Keeper. It starts nothing and touches no file.
func New(cfg Config) *Keeper {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.InstanceUIDs == (UIDRange{}) {
		cfg.InstanceUIDs = UIDRange{First: 200000, Count: 65536}
	}
	if cfg.Ports == (PortRange{}) {
		cfg.Ports = defaultPorts()
	}
	if cfg.ChildGrace == 0 {
		cfg.ChildGrace = 30 * time.Second
	}
	k := &Keeper{cfg: cfg, log: cfg.Logger, ready: make(chan struct{}), fatal: make(chan error, 1)}
	for _, c := range cfg.Children {
		k.children = append(k.children, newChild(k, c))
	}
	return k
}

// Ready is closed when instances can be started and every child reported
// ready for the first time.
func (k *Keeper) Ready() <-chan struct{} { return k.ready }

// Addrs returns the addresses listened on under a name, of any child; nil
// before Run listens. It is complete once Ready is closed.
func (k *Keeper) Addrs(name string) []net.Addr {
	var addrs []net.Addr
	for _, c := range k.children {
		addrs = append(addrs, c.addrs(name)...)
	}
	return addrs
}

// Run takes the lock on the data directory, unless it was given, adopts what an earlier keeper
// left, listens, starts the children and serves the control socket. When ctx
// ends it stops controller, router and all instances, leaves nothing behind
// and returns nil. An error at the start is a *platform.Error.
func (k *Keeper) Run(ctx context.Context) error {
	if err := k.makeDirs(); err != nil {
		return err
	}
	if k.cfg.Lock == nil {
		lock, err := LockDir(k.cfg.DataDir)
		if err != nil {
			return err
		}
		defer lock.Release()
	}
	// Everything in here ends with bg; ctx only says when to begin stopping.
	bg, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer k.wg.Wait()
	defer cancel()
	defer k.letGo()
	if err := k.open(ctx, bg); err != nil {
		return err
	}
	control, err := k.listenControl()
	if err != nil {
		return err
	}
	defer control.Close()
	k.wg.Go(func() { k.serveControl(bg, control) })
	for _, c := range k.children {
		k.wg.Go(func() { c.supervise(bg) })
	}
	k.wg.Go(func() { k.awaitReady(bg) })
	select {
	case <-ctx.Done():
		k.log.Info("stopping")
		k.shutDown()
		return nil
	case err := <-k.fatal:
		k.stopChildren(true)
		return err
	}
}

// open makes ready what Run needs: adopted children and instances, sockets.
func (k *Keeper) open(ctx, bg context.Context) (err error) {
	if k.exe, err = openExecutable(k.cfg.Exe); err != nil {
		return fmt.Errorf("opening the program file: %w", err)
	}
	k.host, err = isolation.Open(ctx, isolation.Config{
		Dir: k.instancesDir(), Exe: k.cfg.Exe, Without: k.cfg.Without, InitEnv: k.cfg.InitEnv, Logger: k.log,
	})
	if err != nil {
		return fmt.Errorf("preparing for instances: %w", err)
	}
	caps := k.host.Capabilities()
	k.log.Info("isolation", "root", caps.Root, "namespaces", caps.Namespaces, "overlay", caps.Overlay, "memory", caps.Memory)
	for _, m := range caps.Missing {
		k.log.Warn("isolation is weaker than it could be: " + m)
	}
	k.table = newInstanceTable(k.host, k.cfg, &k.wg)
	if err := k.adoptChildren(ctx); err != nil {
		return err
	}
	if err := k.listenAll(); err != nil {
		return err
	}
	return k.table.adoptAll(bg)
}

// letGo closes everything Run has opened. What still runs then goes on, and
// the next keeper adopts it; after shutDown nothing does.
func (k *Keeper) letGo() {
	for _, c := range k.children {
		c.release()
	}
	if k.table != nil {
		k.table.release()
	}
	if k.host != nil {
		k.host.Close()
	}
	if k.exe != nil {
		k.exe.close()
	}
}

// shutDown stops everything, whoever depends on something first.
func (k *Keeper) shutDown() {
	k.table.close()
	k.stopChildren(false)
	k.table.stopAll()
	if err := os.RemoveAll(k.privateDir()); err != nil {
		k.log.Warn("keeper's files stay", "err", err)
	}
}

// stopChildren stops the children one after the other, in the opposite order
// of their start; only those this keeper started if so asked.
func (k *Keeper) stopChildren(onlyOwn bool) {
	for _, c := range slices.Backward(k.children) {
		c.stop(onlyOwn)
	}
}

func (k *Keeper) awaitReady(ctx context.Context) {
	for _, c := range k.children {
		select {
		case <-c.firstReady:
		case <-ctx.Done():
			return
		}
	}
	close(k.ready)
}

// fail ends Run with an error.
func (k *Keeper) fail(err error) {
	select {
	case k.fatal <- err:
	default: // it fails already
	}
}

// Replace starts a fresh process of the binary for each child, with the same
// listeners, and stops the old one; it is what SIGHUP does. It returns when all
// are replaced, or with the reason why the rest stays as it is: the child whose
// new process does not get ready goes on from the binary before.
func (k *Keeper) Replace(ctx context.Context) error {
	select {
	case <-k.ready:
	default:
		return &platform.Error{Kind: platform.KindConflict, Msg: "still starting"}
	}
	before, err := k.exe.renew()
	if err != nil {
		return fmt.Errorf("opening the program file: %w", err)
	}
	for _, c := range k.children {
		if err := c.replace(ctx); err != nil {
			err = fmt.Errorf("replacing the %s: %w", c.cfg.Name, err)
			if ctx.Err() != nil { // nobody waits: what was begun goes on
				closeProgram(before)
				return err
			}
			closeProgram(k.exe.swap(before))
			return fmt.Errorf("%w; %w", err, c.putBack(ctx))
		}
	}
	closeProgram(before)
	return nil
}

func (k *Keeper) instancesDir() string { return filepath.Join(k.cfg.DataDir, "instances") }

func (k *Keeper) privateDir() string { return filepath.Join(k.cfg.DataDir, "keeper") }

func (k *Keeper) runDir() string { return filepath.Join(k.cfg.DataDir, "run") }

// makeDirs makes the directories the keeper itself needs.
func (k *Keeper) makeDirs() error {
	for dir, mode := range map[string]os.FileMode{
		k.cfg.DataDir: 0o711, k.instancesDir(): 0o711, k.privateDir(): 0o700, k.runDir(): 0o711,
	} {
		if err := os.MkdirAll(dir, mode); err != nil {
			return &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("cannot make the data directory %q", dir), Err: err,
				Hint: "choose another one with --data",
			}
		}
	}
	if isRoot() {
		// The children make their own sockets there.
		return os.Chown(k.runDir(), k.cfg.UID, k.cfg.GID)
	}
	return nil
}

func isRoot() bool { return os.Geteuid() == 0 }
