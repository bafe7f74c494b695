package shadow

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/router"
)

// fed is a router that has something to compare when it is fed.
type fed chan []router.ShadowPair

func (f fed) Shadows(ctx context.Context, _ time.Duration) ([]router.ShadowPair, []router.ShadowCounts, error) {
	select {
	case pairs := <-f:
		if pairs == nil {
			return nil, nil, nil
		}
		counts := router.ShadowCounts{App: "app", Version: "v2", Copied: 7, Dropped: map[string]uint64{"queue-full": 2}}
		return pairs, []router.ShadowCounts{counts, {App: "app", Version: "gone", Copied: 1}}, nil
	case <-ctx.Done():
		return nil, nil, ctx.Err()
	}
}

func TestCollector_KeepsReportsOverARestart(t *testing.T) {
	dir, source := t.TempDir(), make(fed)
	open := func() (*Collector, func()) {
		c := New(Config{
			Dir: dir, Source: source, Logger: slog.New(slog.DiscardHandler),
			Ignores: func(_ context.Context, version string) ([]string, error) {
				if version == "gone" {
					return nil, platform.NotFound("Version")
				}
				return []string{"$.ts"}, nil
			},
		})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		return c, func() { cancel(); <-ended }
	}
	feed := func() {
		p := pair("/a", `{"ts":1,"n":1}`, `{"ts":2,"n":2}`)
		p.App, p.Version = "app", "v2"
		source <- []router.ShadowPair{*p}
		source <- nil // the first was counted when this is taken
	}
	old := filepath.Join(dir, "gone.json")
	if err := os.WriteFile(old, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, stop := open()
	feed()
	stop()
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the report of a version that is gone is still there: %v", err)
	}
	c, stop := open()
	defer stop()
	feed()
	r, err := c.Report(t.Context(), "app", "v2")
	if err != nil {
		t.Fatal(err)
	}
	if r.Compared != 2 || r.field("GET /a", "$.n").Differs != 2 || r.field("GET /a", "$.ts").Differs != 0 {
		t.Errorf("%+v", r)
	}
	if r.Copied != 14 || r.Dropped["queue-full"] != 4 {
		t.Errorf("copied %d, dropped %v", r.Copied, r.Dropped)
	}
	if err := c.Reset(t.Context(), "app", "v2"); err != nil {
		t.Fatal(err)
	}
	if r, err = c.Report(t.Context(), "app", "v2"); err != nil || r.Compared != 0 {
		t.Errorf("after a reset: %+v, %v", r, err)
	}
	if err := c.Forget("v2"); err != nil {
		t.Fatal(err)
	}
}

// A report made without the version's rules would call what it ignores a
// difference, for as long as the server runs.
func TestCollector_MakesNoReportWithoutTheRules(t *testing.T) {
	busy := errors.New("the database is busy")
	failing := true
	c := New(Config{
		Dir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
		Ignores: func(context.Context, string) ([]string, error) {
			if failing {
				return nil, busy
			}
			return []string{"$.ts"}, nil
		},
	})
	p := pair("/a", `{"ts":1}`, `{"ts":2}`)
	p.App, p.Version = "app", "v2"
	c.add(t.Context(), []router.ShadowPair{*p}, nil)
	if _, err := c.Report(t.Context(), "app", "v2"); !errors.Is(err, busy) {
		t.Errorf("a report without rules: %v", err)
	}
	if err := c.Reset(t.Context(), "app", "v2"); !errors.Is(err, busy) {
		t.Errorf("a reset without rules: %v", err)
	}
	failing = false
	c.add(t.Context(), []router.ShadowPair{*p}, nil)
	r, err := c.Report(t.Context(), "app", "v2")
	if err != nil || r.Compared != 1 || r.field("GET /a", "$.ts").Differs != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}
