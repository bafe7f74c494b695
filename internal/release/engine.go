package release

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// Versions is what the engine needs of the rollout engine, which owns
// versions, shares and instances. A function given to it runs inside the
// transaction of the change.
type Versions interface {
	StartVersion(ctx context.Context, who platform.Actor, req platform.VersionRequest, also func(*store.Tx, platform.Version) error) (platform.Version, error)
	CheckVersion(ctx context.Context, who platform.Actor, req platform.VersionRequest, leaving ...string) error
	Versions(ctx context.Context, app string) ([]platform.VersionStatus, error)
	SetShares(ctx context.Context, who platform.Actor, app string, shares map[string]int, opt platform.SplitOptions, also func(tx *store.Tx, split, table uint64) error) (platform.Change, error)
	Promote(ctx context.Context, who platform.Actor, app, version string, opt platform.SplitOptions, also func(tx *store.Tx, split, table uint64) error) (platform.Change, error)
	ScaleVersion(ctx context.Context, who platform.Actor, version string, instances int) (platform.Version, error)
	ReduceVersion(ctx context.Context, who platform.Actor, version string, instances int, also func(*store.Tx) error) (platform.Version, error)
	DeleteVersion(ctx context.Context, who platform.Actor, version string, force bool) (platform.Version, error)
}

// Evidence is what the engine needs of the router; *router.Client is one.
type Evidence interface {
	Evidence(ctx context.Context, q router.EvidenceQuery) (router.Evidence, error)
}

// Config is what an Engine works with. Store, Versions and Evidence are
// needed.
type Config struct {
	Store    *store.Store
	Versions Versions
	Evidence Evidence
	// Compared says how many answers of a shadow version were compared with the
	// main version's, and what is different in them. Nil: nobody compares.
	Compared func(ctx context.Context, app, version string) (compared uint64, different []string, err error)
	// Line writes a line into an app's log. Nil drops it.
	Line func(app, text string)
	// HTTP calls hooks, gates and probes. Default: a client that follows no
	// redirects.
	HTTP   *http.Client
	Logger *slog.Logger
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Poll is how long one question to the router waits for a bad request.
	// Default 300 ms.
	Poll time.Duration
}

// Engine carries out rollouts. Its methods are safe for concurrent use.
type Engine struct {
	cfg Config
	log *slog.Logger

	mu         sync.Mutex
	conductors map[string]*conductor  // by rollout; guarded by mu
	starting   map[string]*sync.Mutex // by app, see alone; guarded by mu
	run        context.Context        // of Run; guarded by mu, nil before and after
	wg         sync.WaitGroup
	kept       keeper
}

// New returns an Engine. It starts nothing; Run does.
func New(cfg Config) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Poll == 0 {
		cfg.Poll = 300 * time.Millisecond
	}
	if cfg.HTTP == nil {
		cfg.HTTP = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	}
	if cfg.Line == nil {
		cfg.Line = func(string, string) {}
	}
	return &Engine{cfg: cfg, log: cfg.Logger, conductors: map[string]*conductor{}, starting: map[string]*sync.Mutex{}}
}

// Run takes up the rollouts that are on their way and works until ctx ends. It
// may be called once.
func (e *Engine) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer e.wg.Wait()
	defer cancel()
	active, err := e.load(ctx)
	switch {
	case ctx.Err() != nil:
		return nil // stopped at the start
	case err != nil:
		return err
	}
	e.mu.Lock()
	e.run = ctx
	e.mu.Unlock()
	for _, row := range active {
		if row.State != platform.RolloutQueued {
			if err := e.conduct(row, true); err != nil {
				e.log.Error("a rollout cannot be taken up", "app", row.AppGUID, "rollout", row.GUID, "err", err)
			}
		}
	}
	for _, row := range active {
		if row.State == platform.RolloutQueued {
			e.startQueued(ctx, row.AppGUID)
		}
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			e.mu.Lock()
			e.run = nil
			e.mu.Unlock()
			return nil
		case <-ticker.C:
			e.kept.sweep(ctx, e)
		}
	}
}

// load reads the rollouts that are on their way, and which versions those that
// are over have kept.
func (e *Engine) load(ctx context.Context) ([]platform.Rollout, error) {
	active, _, err := e.cfg.Store.Rollouts(ctx, store.Query{In: map[string][]string{"active": {"true"}}})
	if err != nil {
		return nil, fmt.Errorf("reading the rollouts on their way: %w", err)
	}
	return active, e.kept.load(ctx, e.cfg.Store)
}

// conduct starts the conductor of a rollout.
func (e *Engine) conduct(row platform.Rollout, again bool) error {
	c, err := newConductor(e, row, again)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run == nil || e.run.Err() != nil {
		return nil // Run takes it up
	}
	ctx := e.run
	e.conductors[row.GUID] = c
	if !again {
		c.tellHook(hookBeforeStart, row.Reason)
	}
	e.wg.Go(func() {
		c.run(ctx)
		e.mu.Lock()
		delete(e.conductors, row.GUID)
		e.mu.Unlock()
		close(c.ended)
		if ctx.Err() == nil {
			e.startQueued(ctx, row.AppGUID)
		}
	})
	return nil
}

// errNotRunning says that nobody conducts the rollout now.
var errNotRunning = &platform.Error{
	Kind: platform.KindUnavailable, Msg: "the rollout is not being worked on at the moment", Hint: "try again",
}

// tell has a rollout's conductor do something, and waits until it has.
func (e *Engine) tell(ctx context.Context, guid string, do func(ctx context.Context, c *conductor) error) error {
	e.mu.Lock()
	c := e.conductors[guid]
	e.mu.Unlock()
	if c == nil {
		return errNotRunning
	}
	cmd := command{do: do, done: make(chan error, 1)}
	select {
	case c.inbox <- cmd:
	case <-c.ended:
		return errNotRunning
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-cmd.done:
		return err
	case <-c.ended:
		select {
		case err := <-cmd.done:
			return err
		default:
			return errNotRunning
		}
	case <-ctx.Done():
		return ctx.Err()
	}
}

// isGone reports whether err says that a row does not exist.
func isGone(err error) bool {
	e, ok := errors.AsType[*platform.Error](err)
	return ok && e.Kind == platform.KindNotFound
}

// isCommitted reports whether a change of shares was stored, though the router
// may not have confirmed it.
func isCommitted(err error) bool {
	return err == nil || platform.KindOf(err) == platform.KindUnavailable
}

// keeper takes away versions that were kept after their rollout, when their
// time is over.
type keeper struct {
	mu   sync.Mutex
	till map[string]time.Time // by version; guarded by mu
}

// keptRollouts bounds how many ended rollouts are looked through at the start.
const keptRollouts = 500

func (k *keeper) load(ctx context.Context, s *store.Store) error {
	over, _, err := s.Rollouts(ctx, store.Query{In: map[string][]string{"active": {"false"}}, Desc: true, PerPage: keptRollouts})
	if err != nil {
		return fmt.Errorf("reading the rollouts that are over: %w", err)
	}
	for _, r := range over {
		if p, err := readProgress(r.Progress); err == nil {
			k.keep(p)
		}
	}
	return nil
}

func (k *keeper) keep(p Progress) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.till == nil {
		k.till = map[string]time.Time{}
	}
	if _, known := k.till[p.Kept]; p.Kept != "" && !known {
		k.till[p.Kept] = p.KeptUntil
	}
}

func (k *keeper) sweep(ctx context.Context, e *Engine) {
	var due []string
	now := e.cfg.Now()
	k.mu.Lock()
	for version, till := range k.till {
		if !till.After(now) {
			due = append(due, version)
			delete(k.till, version)
		}
	}
	k.mu.Unlock()
	for _, version := range due {
		// Refused if it has requests again or is the main version: then it stays.
		if _, err := e.cfg.Versions.DeleteVersion(ctx, platform.System, version, false); err != nil {
			e.log.Info("a version that was kept after its rollout stays", "version", version, "err", err)
		}
	}
}
