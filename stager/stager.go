// Package stager turns source into droplets. It owns packages, builds,
// droplets and buildpacks: every change to one of them goes through the
// Stager and is written down before the call returns.
//
// A build is a row before it is anything else. A worker takes it up, puts the
// package's files and the buildpacks into a directory of its own, the stage,
// and lets a runner execute the buildpacks there (package buildpacks does it,
// inside). What they leave in the stage becomes the droplet's tree by a
// rename, and the build's end, the droplet's row and the event are one
// transaction.
//
//	DIR/<build guid>/attempt   how often the build was begun
//	DIR/<build guid>/stage/    see package buildpacks
//	CACHE/<app guid>/          what buildpacks keep between builds; it lies in
//	                           the stage while a build runs
package stager

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"weir/droplets"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/store"
)

// Runner is what builds need of a runner.Runner, which says how each behaves.
type Runner interface {
	Start(ctx context.Context, s runner.Spec) (runner.Status, error)
	Stop(ctx context.Context, guid string, grace time.Duration) error
	Remove(ctx context.Context, guid string) error
	List(ctx context.Context) ([]runner.Status, error)
	Watch(ctx context.Context) (<-chan runner.Event, error)
	Logs(guid string) (stdout, stderr string)
}

// Config is what a Stager works with. Fields are required unless they say
// what their zero value means.
type Config struct {
	Store    *store.Store
	Droplets *droplets.Store
	Runner   Runner
	Logs     *logs.Store
	// Dir holds the builds under way, CacheDir what buildpacks keep. Both must
	// be on one file system, with Droplets' directory.
	Dir      string
	CacheDir string
	// WarmDir holds what buildpacks prepare once per machine for the caches of
	// all apps. Default: a directory below CacheDir.
	WarmDir string
	// Exe is weir's own program as builds find it; Path is their PATH.
	Exe  string
	Path string
	// BuildEnv is the operator's addition to the environment of builds, as
	// "NAME=value": where packages come from and the like. See PassEnv.
	BuildEnv []string
	// AppEnv returns what an app finds in its environment: its variables,
	// VCAP_APPLICATION, VCAP_SERVICES. Nil means its variables alone.
	AppEnv func(ctx context.Context, appGUID string) (map[string]string, error)
	// LocalSources lets builds use buildpacks in directories of this machine,
	// named by absolute path, and repositories at file:// URLs.
	LocalSources bool
	// Stack is CF_STACK of builds, HerokuStack their STACK: buildpacks refuse
	// what they do not know. Defaults "cflinuxfs4" and "heroku-22", which
	// programs made for them run on most of today's Linux systems.
	Stack, HerokuStack string
	// Workers is how many builds run at a time. Default 2.
	Workers int
	// Timeout ends a build. Default 15 min.
	Timeout time.Duration
	// MemoryMB and DiskMB limit a build that asks for nothing else; one of an
	// app with larger instances gets as much memory as they. Defaults 1024 and
	// 4096.
	MemoryMB, DiskMB int
	// SweepEvery is how often unused trees are removed, SweepGrace how old
	// they must be. Defaults 5 min and 15 min.
	SweepEvery, SweepGrace time.Duration
	Logger                 *slog.Logger // nil discards
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Workers, 2)
	def(&c.MemoryMB, 1024)
	def(&c.DiskMB, 4096)
	dur(&c.Timeout, 15*time.Minute)
	dur(&c.SweepEvery, 5*time.Minute)
	dur(&c.SweepGrace, 15*time.Minute)
	if c.Stack == "" {
		c.Stack = "cflinuxfs4"
	}
	if c.WarmDir == "" {
		c.WarmDir = filepath.Join(c.CacheDir, ".warm")
	}
	if c.HerokuStack == "" {
		c.HerokuStack = "heroku-22"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Stager stages apps. Its methods are safe for concurrent use.
type Stager struct {
	cfg     Config
	builds  *queue // of build GUIDs
	fetches *queue // of package GUIDs
	warming singleflight.Group
	notWarm sync.Map      // directory → why it could not be filled
	short   chan struct{} // holds one if there was no room for something; see sweepSoon

	mu sync.Mutex // guards the following
	// ends are the builds that run, by GUID, and who waits for their end.
	ends map[string]chan platform.Exit
	// uploads are the packages, droplets and buildpacks that receive bits.
	uploads map[string]bool
	// urls are the addresses packages are fetched from, with credentials,
	// which are never written down.
	urls map[string]string
}

// New returns a Stager. It starts nothing; Run does.
func New(cfg Config) *Stager {
	return &Stager{
		cfg:     cfg.withDefaults(),
		builds:  newQueue(),
		fetches: newQueue(),
		short:   make(chan struct{}, 1),
		ends:    map[string]chan platform.Exit{},
		uploads: map[string]bool{},
		urls:    map[string]string{},
	}
}

// Run takes up or fails what an earlier process left unfinished, then stages
// what is asked for until ctx ends. It returns when no build runs any more; a
// build that was under way is begun anew by the next Run.
func (s *Stager) Run(ctx context.Context) error {
	for _, dir := range []string{s.cfg.Dir, s.cfg.CacheDir} {
		if err := os.MkdirAll(dir, 0o711); err != nil {
			return err
		}
		droplets.Spread(dir)
	}
	if err := s.begin(ctx); err != nil {
		if ctx.Err() != nil {
			return nil // stopped before it had begun
		}
		return err
	}
	var wg sync.WaitGroup
	wg.Go(func() { s.watch(ctx) })
	for range s.cfg.Workers {
		wg.Go(func() { s.builds.work(ctx, s.stage) })
	}
	for range 2 {
		wg.Go(func() { s.fetches.work(ctx, s.fetch) })
	}
	wg.Go(func() { s.sweepNowAndThen(ctx) })
	<-ctx.Done()
	wg.Wait()
	return nil
}

func (s *Stager) begin(ctx context.Context) error {
	if err := s.installBuiltIns(ctx); err != nil {
		return err
	}
	return s.takeUp(ctx)
}

// watch tells waiting workers about the end of their builds.
func (s *Stager) watch(ctx context.Context) {
	for ctx.Err() == nil {
		events, err := s.cfg.Runner.Watch(ctx)
		if err != nil {
			s.cfg.Logger.Warn("runner was not there to watch builds", "err", err)
			pause(ctx, time.Second)
			continue
		}
		for e := range events {
			s.mu.Lock()
			end := s.ends[e.GUID]
			s.mu.Unlock()
			if end == nil {
				continue // an instance of an app
			}
			select {
			case end <- e.Exit:
			default: // told before
			}
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// pause waits, but not beyond ctx.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// receive marks a resource as receiving bits; done ends that. Bits that are
// already on their way are refused.
func (s *Stager) receive(guid string) (done func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uploads[guid] {
		return nil, &platform.Error{Kind: platform.KindConflict, Msg: "an upload for this resource is already under way", Hint: "wait until it has ended"}
	}
	s.uploads[guid] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.uploads, guid)
	}, nil
}

// appOf returns the app, or the error Cloud Foundry has for a bad relationship.
func appOf(ctx context.Context, rows store.Rows, guid string) (platform.App, error) {
	a, err := rows.App(ctx, guid)
	if platform.KindOf(err) == platform.KindNotFound {
		return a, platform.Invalidf("App is invalid. Ensure it exists and you have access to it.")
	}
	return a, err
}

// event writes one line of the audit log about something of an app.
func event(ctx context.Context, tx *store.Tx, actor platform.Actor, typ, appGUID string, data map[string]any) error {
	app, err := tx.App(ctx, appGUID)
	if platform.KindOf(err) == platform.KindNotFound {
		return nil // gone meanwhile, and its log with it
	}
	if err != nil {
		return err
	}
	return tx.InsertEvent(ctx, platform.Event{
		Resource: platform.NewResource(time.Now().UTC()), Type: typ, Actor: actor,
		TargetGUID: app.GUID, TargetType: "app", TargetName: app.Name, Data: data, SpaceGUID: app.SpaceGUID,
	})
}

func cloneMetadata(m platform.Metadata) platform.Metadata {
	return platform.Metadata{Labels: maps.Clone(m.Labels), Annotations: maps.Clone(m.Annotations)}
}

// message is what a row of something failed tells a person.
func message(err error) string {
	e, ok := errors.AsType[*platform.Error](err)
	if !ok {
		return "an internal error, see the server's log"
	}
	if e.Hint != "" {
		return e.Msg + "; " + e.Hint
	}
	return e.Msg
}
