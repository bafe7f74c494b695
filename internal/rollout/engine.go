// Package rollout makes what runs equal to what was asked for. It owns apps,
// processes, revisions, deployments, instances, routes with their destinations,
// domains and services: every change to one of them goes through the Engine,
// is written down before the call returns, and is then worked towards by one
// loop per app.
//
//	call ──▶ rows (one transaction) ──▶ wake the app's loop
//	                                          │
//	exits, health, timers ──▶ observations ──▶ plan (pure) ──▶ rows ──▶ start, retire, publish
//
// A step is a change of rows followed by an action that may be repeated, so a
// restart of the engine at any point continues where the rows say.
package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os/exec"
	"sync"
	"time"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/store"
	"weir/router"
)

// Router is what the engine needs of the router; *router.Client is one. If it
// also has a Status method, a router that lost its table is given it again.
type Router interface {
	Put(ctx context.Context, t router.Table) error
	Apply(ctx context.Context, u router.Update) error
	Drain(ctx context.Context, instances []string, timeout time.Duration) error
}

// Droplets is what the engine needs of the droplet store.
type Droplets interface {
	// Tree returns the directory of a droplet, and whether it is there.
	Tree(digest string) (dir string, ok bool)
	// Lease keeps the tree from being swept until release is called.
	Lease(digest string) (release func(), err error)
	// CheckOnce tells a tree that was damaged, unless it was looked at before.
	CheckOnce(ctx context.Context, digest string) error
}

// Config is what an Engine works with. Store, Runner, Router and Droplets are
// needed; the rest has defaults.
type Config struct {
	Store    *store.Store
	Runner   runner.Runner
	Router   Router
	Droplets Droplets
	// Logs gets the lines of instances and of the engine. Nil drops them.
	Logs *logs.Store
	// APIURL is the cf_api that apps are told; it may be empty.
	APIURL string
	// Path is the PATH of instances. Default: the usual directories.
	Path string
	// Exe is weir's own binary; instances know it as WEIR_EXE.
	Exe string
	// Shell runs start commands. Default: bash if there is one, else /bin/sh.
	Shell string
	// StartLimit is how many instances may be starting at once. Default 8.
	StartLimit int
	// DrainTimeout is how long an instance that left the route table may
	// finish its requests. Default 30 s.
	DrainTimeout time.Duration
	// StopGrace is the time between SIGTERM and SIGKILL. Default 10 s.
	StopGrace time.Duration
	Logger    *slog.Logger
}

// Engine holds the desired state and moves the instances and the route table
// towards it. Its methods are safe for concurrent use.
type Engine struct {
	cfg    Config
	log    *slog.Logger
	store  *store.Store
	runner runner.Runner
	pub    *publisher
	// starts holds a token for each instance that is starting.
	starts chan struct{}
	// meters holds the *logs.Quota of each instance whose output is read, by
	// its GUID.
	meters sync.Map

	mu      sync.Mutex
	loops   map[string]*loop    // by app; guarded by mu
	homes   map[string]*loop    // by instance; guarded by mu
	pending map[string]struct{} // apps to wake; guarded by mu
	// wakeup is signalled when pending is not empty. One signal stands for
	// any number, hence the buffer of one.
	wakeup chan struct{}
}

// New returns an Engine. It starts nothing; Run does.
func New(cfg Config) *Engine {
	cfg.StartLimit = cmp.Or(cfg.StartLimit, 8)
	cfg.DrainTimeout = cmp.Or(cfg.DrainTimeout, 30*time.Second)
	cfg.StopGrace = cmp.Or(cfg.StopGrace, runner.DefaultGrace)
	cfg.Path = cmp.Or(cfg.Path, "/usr/local/bin:/usr/bin:/bin")
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Shell == "" {
		cfg.Shell = "/bin/sh"
		if bash, err := exec.LookPath("bash"); err == nil {
			cfg.Shell = bash
		}
	}
	return &Engine{
		cfg: cfg, log: cfg.Logger, store: cfg.Store, runner: cfg.Runner,
		pub:     newPublisher(cfg.Store, cfg.Router, cfg.Logger),
		starts:  make(chan struct{}, cfg.StartLimit),
		loops:   map[string]*loop{},
		homes:   map[string]*loop{},
		pending: map[string]struct{}{},
		wakeup:  make(chan struct{}, 1),
	}
}

// Run adopts what still runs, publishes the route table and then works until
// ctx ends. Instances keep running after it returned. It may be called once.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()

	adopted, strays, err := e.adopt(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("taking up what was running: %w", err)
	}
	wg.Go(func() { e.pub.run(ctx) })
	<-e.pub.tried // traffic first; a router that is away is no reason to wait longer
	wg.Go(func() { e.stopStrays(ctx, strays) })
	for app, runs := range adopted {
		e.startLoop(ctx, &wg, app, runs)
	}
	wg.Go(func() { e.watch(ctx) })
	wg.Go(func() { e.sweep(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.wakeup:
		}
		e.mu.Lock()
		apps := e.pending
		e.pending = map[string]struct{}{}
		e.mu.Unlock()
		for app := range apps {
			e.startLoop(ctx, &wg, app, nil)
		}
	}
}

// wake makes the app's loop plan again; it starts the loop if there is none.
func (e *Engine) wake(app string) {
	e.mu.Lock()
	l := e.loops[app]
	if l != nil {
		l.signal() // with the lock held, lest the loop leaves meanwhile
	} else {
		e.pending[app] = struct{}{}
	}
	e.mu.Unlock()
	if l != nil {
		return
	}
	select {
	case e.wakeup <- struct{}{}:
	default:
	}
}

// startLoop starts a loop for the app unless there is one. runs are the
// instances it takes over.
func (e *Engine) startLoop(ctx context.Context, wg *sync.WaitGroup, app string, runs map[string]*run) {
	e.mu.Lock()
	if l := e.loops[app]; l != nil {
		l.signal()
		e.mu.Unlock()
		return
	}
	l := newLoop(e, app)
	e.loops[app] = l
	for guid := range runs {
		e.homes[guid] = l
	}
	e.mu.Unlock()
	wg.Go(func() { l.run(ctx, runs) })
}

// leave removes a loop that has nothing to do, unless it was woken meanwhile.
func (e *Engine) leave(l *loop) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.isWoken() {
		return false
	}
	delete(e.loops, l.app)
	return true
}

// watch passes the ends of instances on to their loops. When the runner is
// lost it asks again, and looks for what ended meanwhile.
func (e *Engine) watch(ctx context.Context) {
	for wait := time.Duration(0); ; wait = min(max(2*wait, 50*time.Millisecond), time.Second) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		events, err := e.runner.Watch(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.log.Warn("instances cannot be watched", "err", err)
			}
			continue
		}
		wait = 0
		e.checkLost(ctx)
		for ev := range events {
			e.ended(ev.GUID, ev.Exit)
		}
	}
}

// ended tells an instance's loop that it ended. Unknown ones are builds, or
// instances that were removed already.
func (e *Engine) ended(guid string, exit platform.Exit) {
	e.mu.Lock()
	l := e.homes[guid]
	e.mu.Unlock()
	if l != nil {
		l.post(func() { l.sawExit(guid, exit) })
	}
}

// checkLost reports instances as ended that the runner does not know any more:
// they went with the machine or with a runner that lost its records.
func (e *Engine) checkLost(ctx context.Context) {
	e.mu.Lock()
	loops := make([]*loop, 0, len(e.loops))
	for _, l := range e.loops {
		loops = append(loops, l)
	}
	e.mu.Unlock()
	var asked []string // before the list is taken: what starts now is in neither
	for _, l := range loops {
		asked = append(asked, l.upNow()...)
	}
	if len(asked) == 0 {
		return
	}
	all, err := e.runner.List(ctx)
	if err != nil {
		return // Watch fails too, and checkLost is called again
	}
	known := map[string]bool{}
	for _, s := range all {
		known[s.GUID] = true
		if s.Exit != nil {
			e.ended(s.GUID, *s.Exit)
		}
	}
	for _, guid := range asked {
		if !known[guid] {
			e.ended(guid, platform.Exit{Code: -1, Reason: "disappeared", At: time.Now()})
		}
	}
}

// line writes a line into the app's log.
func (e *Engine) line(app, source, format string, args ...any) {
	if e.cfg.Logs == nil {
		return
	}
	err := e.cfg.Logs.Append(logs.Envelope{
		App: app, SourceType: source, Instance: "0", Payload: fmt.Appendf(nil, format, args...),
	})
	if err != nil {
		e.log.Warn("a line of an app's log is lost", "app", app, "err", err)
	}
}

// Published returns once the router runs with what the rows say of an app: an
// instance that is ready may not be in its table yet.
func (e *Engine) Published(ctx context.Context, app string) error {
	return e.published(ctx, []string{app}, nil)
}

// published waits until the router runs with the routes and apps named. When
// it does not answer, the change stays stored and is published later.
func (e *Engine) published(ctx context.Context, apps, routes []string) error {
	return e.publishedAs(ctx, apps, routes, 0)
}

// Table returns the number of the route table that the router took last.
func (e *Engine) Table() uint64 { return e.pub.running.Load() }

// publishedAs is published for a change that reserved a table number.
func (e *Engine) publishedAs(ctx context.Context, apps, routes []string, number uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	err := e.pub.syncAs(ctx, apps, routes, number)
	if err == nil {
		return nil
	}
	return &platform.Error{
		Kind: platform.KindUnavailable,
		Msg:  "the change is stored, but the router has not confirmed it yet",
		Hint: "it takes effect as soon as the router answers; look at the server's log if it does not",
		Err:  err,
	}
}

// isNotFound reports whether err says that a row does not exist.
func isNotFound(err error) bool {
	e, ok := errors.AsType[*platform.Error](err)
	return ok && e.Kind == platform.KindNotFound
}
