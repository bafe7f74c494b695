package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"weir/router"
)

// Source is where compared requests come from: the router.
type Source interface {
	// Shadows returns the pairs since the last call, waiting at most wait for
	// one, and the counts of all shadows since the router began.
	Shadows(ctx context.Context, wait time.Duration) ([]router.ShadowPair, []router.ShadowCounts, error)
}

// Config is what a Collector needs.
type Config struct {
	Dir    string // where reports are kept, one file for each version
	Source Source
	// Ignores returns the rules a version was given.
	Ignores func(ctx context.Context, version string) ([]string, error)
	Logger  *slog.Logger
}

// How often reports are written, and how long one question to the router
// waits.
const (
	saveEvery = 2 * time.Second
	waitFor   = 10 * time.Second
	retryIn   = time.Second
)

// Collector keeps the reports of all shadow versions.
type Collector struct {
	cfg Config

	mu      sync.Mutex // guards the following
	reports map[string]*kept
}

// kept is a report with the rules it is made by.
type kept struct {
	report  *Report
	skip    Ignores
	changed bool // since it was written
}

// New returns a collector; it starts nothing.
func New(cfg Config) *Collector { return &Collector{cfg: cfg, reports: map[string]*kept{}} }

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	saved := time.Now()
	for ctx.Err() == nil {
		pairs, counts, err := c.cfg.Source.Shadows(ctx, waitFor)
		if err != nil {
			if ctx.Err() == nil {
				c.cfg.Logger.Debug("asking the router for compared requests", "err", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(retryIn):
			}
			continue
		}
		c.add(ctx, pairs, counts)
		if time.Since(saved) >= saveEvery {
			c.save()
			saved = time.Now()
		}
	}
	c.save()
	return ctx.Err()
}

func (c *Collector) add(ctx context.Context, pairs []router.ShadowPair, counts []router.ShadowCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range pairs {
		k := c.of(ctx, pairs[i].App, pairs[i].Version)
		k.report.Add(&pairs[i], k.skip)
		k.changed = true
	}
	for _, n := range counts {
		k := c.of(ctx, n.App, n.Version)
		if k.report.Copied != n.Copied || len(k.report.Dropped) != len(n.Dropped) {
			k.changed = true
		}
		k.report.Copied, k.report.Dropped = n.Copied, n.Dropped
	}
}

// of returns the report of a version, from its file if there is one.
func (c *Collector) of(ctx context.Context, app, version string) *kept {
	k := c.reports[version]
	if k != nil {
		return k
	}
	k = &kept{report: NewReport(app, version, time.Now().UTC())}
	switch old, err := c.read(version); {
	case err == nil:
		k.report = old
	case !errors.Is(err, fs.ErrNotExist):
		c.cfg.Logger.Warn("a shadow's report cannot be read, it begins anew", "version", version, "err", err)
	}
	k.skip = c.rules(ctx, version)
	c.reports[version] = k
	return k
}

func (c *Collector) rules(ctx context.Context, version string) Ignores {
	rules, err := c.cfg.Ignores(ctx, version)
	if err != nil {
		rules = nil
	}
	skip, err := ParseIgnores(rules)
	if err != nil {
		skip, _ = ParseIgnores(nil)
	}
	return skip
}

// Report returns a copy of what was found about a version so far.
func (c *Collector) Report(ctx context.Context, app, version string) (*Report, error) {
	c.mu.Lock()
	text, err := json.Marshal(c.of(ctx, app, version).report)
	c.mu.Unlock()
	if err != nil {
		return nil, err
	}
	var r Report
	return &r, json.Unmarshal(text, &r)
}

// Reset begins the report of a version anew, with the rules it has now.
func (c *Collector) Reset(ctx context.Context, app, version string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.reports[version] = &kept{report: NewReport(app, version, time.Now().UTC()), skip: c.rules(ctx, version), changed: true}
	return c.write(version, c.reports[version].report)
}

// Forget removes the report of a version that is gone.
func (c *Collector) Forget(version string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.reports, version)
	if err := os.Remove(c.file(version)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (c *Collector) save() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for version, k := range c.reports {
		if !k.changed {
			continue
		}
		if err := c.write(version, k.report); err != nil {
			c.cfg.Logger.Warn("a shadow's report was not written", "version", version, "err", err)
			continue
		}
		k.changed = false
	}
}

// file is where the report of a version is; its base makes sure of the
// directory whatever the GUID is.
func (c *Collector) file(version string) string {
	return filepath.Join(c.cfg.Dir, filepath.Base(version)+".json")
}

func (c *Collector) write(version string, r *Report) error {
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(c.file(version)+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(c.file(version)+".new", c.file(version))
}

func (c *Collector) read(version string) (*Report, error) {
	text, err := os.ReadFile(c.file(version))
	if err != nil {
		return nil, err
	}
	r := NewReport("", "", time.Time{})
	return r, json.Unmarshal(text, r)
}
