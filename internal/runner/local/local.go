// Package local implements runner.Runner on this machine: a client of the
// keeper, which is the process that starts and watches instances.
package local

import (
	"context"
	"log/slog"
	"path/filepath"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// Config is what a Runner needs.
type Config struct {
	DataDir string // weir's data directory; the keeper listens at run/keeper.sock in it
	// DialTimeout is how long a call waits for a keeper that is not there,
	// because it is being restarted. Zero means 3 s.
	DialTimeout time.Duration
	Logger      *slog.Logger // nil discards
}

// Runner is a client of the keeper. It holds no connection between calls, so
// it needs neither Run nor Close.
type Runner struct {
	cfg       Config
	socket    string
	instances string
}

var _ runner.Runner = (*Runner)(nil)

// New returns a Runner for the keeper of cfg.DataDir. It connects to nothing.
func New(cfg Config) *Runner {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.DialTimeout == 0 {
		cfg.DialTimeout = 3 * time.Second
	}
	return &Runner{
		cfg:       cfg,
		socket:    filepath.Join(cfg.DataDir, "run", "keeper.sock"),
		instances: filepath.Join(cfg.DataDir, "instances"),
	}
}

// Start implements runner.Runner.
func (r *Runner) Start(ctx context.Context, s runner.Spec) (runner.Status, error) {
	return runner.Status{}, &platform.Error{Kind: platform.KindUnavailable, Msg: "no keeper"}
}

// Stop implements runner.Runner.
func (r *Runner) Stop(ctx context.Context, guid string, grace time.Duration) error { return nil }

// Remove implements runner.Runner.
func (r *Runner) Remove(ctx context.Context, guid string) error { return nil }

// List implements runner.Runner.
func (r *Runner) List(ctx context.Context) ([]runner.Status, error) { return nil, nil }

// Watch implements runner.Runner.
func (r *Runner) Watch(ctx context.Context) (<-chan runner.Event, error) { return nil, nil }

// Stats implements runner.Runner.
func (r *Runner) Stats(ctx context.Context, guid string) (runner.Stats, error) {
	return runner.Stats{}, platform.NotFound("Instance")
}

// Logs implements runner.Runner.
func (r *Runner) Logs(guid string) (stdout, stderr string) {
	dir := filepath.Join(r.instances, guid)
	return filepath.Join(dir, "stdout"), filepath.Join(dir, "stderr")
}
