package shadow

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/router"
)

// Source is where compared requests come from: the router.
type Source interface {
	// Shadows returns pairs that no call returned before, waiting at most wait
	// for one, and what else became of copies since the last call.
	Shadows(ctx context.Context, wait time.Duration) ([]router.ShadowPair, []router.ShadowCounts, error)
}

// Config is what a Collector needs.
type Config struct {
	Dir    string // where reports are kept, one file for each version
	Source Source
	// Ignores returns the rules a version was given; platform.KindNotFound
	// for one that is gone, whose report is removed.
	Ignores func(ctx context.Context, version string) ([]string, error)
	Logger  *slog.Logger // nil discards
}

// How often reports are written, how often those of versions that are gone are
// looked for, and how long one question to the router waits.
const (
	saveEvery = 2 * time.Second
	tidyEvery = 10 * time.Minute
	waitFor   = 10 * time.Second
	pause     = 250 * time.Millisecond // between questions, so that each brings more than one pair
	retryIn   = time.Second
	enough    = 300 // pairs after which the next question follows at once: more may wait
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
func New(cfg Config) *Collector {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Collector{cfg: cfg, reports: map[string]*kept{}}
}

// Run collects until ctx ends.
func (c *Collector) Run(ctx context.Context) error {
	saved, tidied := time.Now(), time.Time{}
	for ctx.Err() == nil {
		if time.Since(tidied) >= tidyEvery {
			c.tidy(ctx)
			tidied = time.Now()
		}
		pairs, counts, err := c.cfg.Source.Shadows(ctx, waitFor)
		if err != nil {
			if ctx.Err() == nil {
				c.cfg.Logger.Debug("asking the router for compared requests", "err", err)
			}
			rest(ctx, retryIn)
			continue
		}
		c.add(ctx, pairs, counts)
		if time.Since(saved) >= saveEvery {
			c.save()
			saved = time.Now()
		}
		if len(pairs) < enough {
			rest(ctx, pause)
		}
	}
	c.save()
	return nil
}

func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

func (c *Collector) add(ctx context.Context, pairs []router.ShadowPair, counts []router.ShadowCounts) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range pairs {
		if k := c.toAdd(ctx, pairs[i].App, pairs[i].Version); k != nil {
			k.report.Add(&pairs[i], k.skip)
			k.changed = true
		}
	}
	for _, n := range counts {
		if n.Copied == 0 && len(n.Dropped) == 0 {
			continue
		}
		k := c.toAdd(ctx, n.App, n.Version)
		if k == nil {
			continue
		}
		k.changed = true
		k.report.Copied += n.Copied
		for why, more := range n.Dropped {
			k.report.Dropped[why] += more
		}
	}
}

// toAdd returns the report of a version to be added to; nil if there can be none
// now.
func (c *Collector) toAdd(ctx context.Context, app, version string) *kept {
	k, err := c.of(ctx, app, version)
	if err != nil && !isGone(err) && ctx.Err() == nil {
		c.cfg.Logger.Warn("what a shadow answered is not looked at: the version's rules cannot be read", "version", version, "err", err)
	}
	return k
}

// isGone reports whether err says that a version does not exist any more.
func isGone(err error) bool { return platform.KindOf(err) == platform.KindNotFound }

// of returns the report of a version, from its file if there is one, or the
// error with which its rules cannot be read; isGone is true of it if the version
// is.
func (c *Collector) of(ctx context.Context, app, version string) (*kept, error) {
	k := c.reports[version]
	if k != nil {
		return k, nil
	}
	skip, err := c.rules(ctx, version)
	if err != nil {
		return nil, err
	}
	k = &kept{report: NewReport(app, version, time.Now().UTC()), skip: skip}
	switch old, err := c.read(version); {
	case err == nil:
		k.report = old
	case !errors.Is(err, fs.ErrNotExist):
		c.cfg.Logger.Warn("a shadow's report cannot be read, it begins anew", "version", version, "err", err)
	}
	c.reports[version] = k
	return k, nil
}

func (c *Collector) rules(ctx context.Context, version string) (Ignores, error) {
	rules, err := c.cfg.Ignores(ctx, version)
	if err != nil {
		return Ignores{}, err
	}
	skip, err := ParseIgnores(rules)
	if err != nil { // they were checked when they were given
		return ParseIgnores(nil)
	}
	return skip, nil
}

// tidy removes the reports of versions that are gone.
func (c *Collector) tidy(ctx context.Context) {
	files, err := filepath.Glob(filepath.Join(c.cfg.Dir, "*.json"))
	if err != nil {
		return
	}
	for _, file := range files {
		version := strings.TrimSuffix(filepath.Base(file), ".json")
		if _, err := c.rules(ctx, version); !isGone(err) {
			continue
		}
		if err := c.Forget(version); err != nil {
			c.cfg.Logger.Warn("the report of a version that is gone was not removed", "version", version, "err", err)
		}
	}
}

// Report returns a copy of what was found about a version so far.
func (c *Collector) Report(ctx context.Context, app, version string) (*Report, error) {
	text, err := c.marshal(ctx, app, version)
	if err != nil {
		return nil, err
	}
	var r Report
	return &r, json.Unmarshal(text, &r)
}

func (c *Collector) marshal(ctx context.Context, app, version string) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, err := c.of(ctx, app, version)
	if isGone(err) {
		return json.Marshal(NewReport(app, version, time.Now().UTC()))
	}
	if err != nil {
		return nil, err
	}
	return json.Marshal(k.report)
}

// Reset begins the report of a version anew, with the rules it has now.
func (c *Collector) Reset(ctx context.Context, app, version string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	skip, err := c.rules(ctx, version)
	if err != nil {
		return err
	}
	c.reports[version] = &kept{report: NewReport(app, version, time.Now().UTC()), skip: skip, changed: true}
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
