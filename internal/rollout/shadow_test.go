package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// lastChange returns the newest change of an app's traffic.
func (b *bench) lastChange(app platform.App) (c platform.Change) {
	b.Helper()
	b.must(b.db.View(b.Context(), func(tx *store.Tx) (err error) {
		c, err = lastChange(b.Context(), tx, app.GUID)
		return err
	}))
	return c
}

// mode makes a version a shadow, or a live one.
func (b *bench) mode(v platform.Version, mode string, percent int) error {
	return b.e.ChangeVersion(b.Context(), anna, v.GUID, VersionChange{Shadow: ShadowChange{Mode: mode, Percent: percent}}, platform.SplitOptions{})
}

// match gives a version conditions under which requests come to it.
func (b *bench) match(v platform.Version, all []platform.Match) error {
	return b.e.ChangeVersion(b.Context(), anna, v.GUID, VersionChange{Match: &all}, platform.SplitOptions{})
}

// A step of a rollout is one change, whatever is in it.
func TestSetShares_MakesShadowsAlong(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1, v2 := b.main(app), b.version(app, "v2", nil)
	set := func(percent int, shares map[string]int) platform.Change {
		t.Helper()
		opt := platform.SplitOptions{Keep: true, Shadow: map[string]int{v2.GUID: percent}}
		c, err := b.e.SetShares(t.Context(), anna, app.GUID, shares, opt, nil)
		b.must(err)
		return c
	}
	c := set(20, map[string]int{v1.GUID: 1000})
	if want := "Version v2 of app shop is a shadow of 20 % of its requests; Set the weights of app shop to v1 1000"; c.Text != want {
		t.Errorf("it says %q, want %q", c.Text, want)
	}
	if v, err := b.e.Version(t.Context(), v2.GUID); err != nil || v.Mode != platform.ModeShadow || v.ShadowPercent != 20 {
		t.Errorf("it is %+v, %v", v.Version, err)
	}
	if c = set(20, map[string]int{v1.GUID: 900}); c.Text != "Set the weights of app shop to v1 900" {
		t.Errorf("it was a shadow: %q", c.Text)
	}
	c = set(0, map[string]int{v1.GUID: 900, v2.GUID: 100})
	if v, err := b.e.Version(t.Context(), v2.GUID); err != nil || v.Mode != platform.ModeLive || v.Weight != 100 {
		t.Errorf("it is %+v, %v", v.Version, err)
	}
	if want := "Version v2 of app shop is no shadow; Set the weights of app shop to v1 900, v2 100"; c.Text != want {
		t.Errorf("it says %q, want %q", c.Text, want)
	}
}

// What counts as evidence holds with the shares of a step, and no longer.
func TestSetShares_SaysWhatCountsAsEvidence(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1, v2 := b.main(app), b.version(app, "v2", nil)
	counting := func() *router.Counting {
		b.router.mu.Lock()
		defer b.router.mu.Unlock()
		return b.router.routes[router.RouteKey{Host: "shop.apps.localhost"}].Destinations[0].Counting
	}
	opt := platform.SplitOptions{Keep: true, Counting: &platform.Counting{Statuses: []int{404}, Exclude: []string{"/health"}, Events: []string{"refund"}}}
	_, err := b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{v1.GUID: 90, v2.GUID: 10}, opt, nil)
	b.must(err)
	if c := counting(); c == nil || c.Statuses[0] != 404 || c.Exclude[0] != "/health" || c.Events[0] != "refund" {
		t.Errorf("the router counts by %+v", c)
	}
	_, err = b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	if c := counting(); c != nil {
		t.Errorf("after the rollout the router counts by %+v", c)
	}
}

func TestTraffic_IsTheTableOfTheNewestChangeOfAShadow(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	newest, err := b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{b.main(app).GUID: 70}, platform.SplitOptions{}, nil)
	b.must(err)
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.Mode = platform.ModeShadow })
	last := newest.Table
	moves := func(what string, want bool) {
		t.Helper()
		table, _, err := b.e.Traffic(t.Context(), app.GUID)
		b.must(err)
		if moved := table > last; moved != want || table > b.e.Table() {
			t.Errorf("%s: table %d after %d, %d runs", what, table, last, b.e.Table())
		}
		last = table
	}
	b.shares("v2.shop.apps.localhost", "shop/1:100") // what follows its start
	moves("a shadow", true)
	change := func(c ShadowChange) platform.Change {
		t.Helper()
		b.must(b.e.ChangeVersion(t.Context(), anna, v2.GUID, VersionChange{Shadow: c}, platform.SplitOptions{}))
		return b.lastChange(app)
	}
	before := b.router.updates
	done := change(ShadowChange{Mode: platform.ModeShadow, Percent: 20, Options: &platform.ShadowOptions{AllMethods: true}})
	moves("a share and methods", true)
	if n := b.router.updates - before; n != 1 || !strings.Contains(done.Text, "20 %") || !strings.Contains(done.Text, "all methods") {
		t.Errorf("%d tables: %s", n, done.Text)
	}
	change(ShadowChange{Mode: platform.ModeShadow, Percent: 20, Options: &platform.ShadowOptions{AllMethods: true, Noise: platform.DefaultNoise}})
	moves("the same again", false)
	_, err = b.e.StopVersion(t.Context(), anna, v2.GUID, false)
	b.must(err)
	moves("stop", true)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{DryRun: true})
	b.must(err)
	_, err = b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{b.main(app).GUID: 60}, platform.SplitOptions{IfTable: done.Table}, nil)
	if platform.KindOf(err) != platform.KindConflict {
		t.Errorf("nobody saw the stop: %v", err)
	}
	_, err = b.e.RestartVersion(t.Context(), anna, v2.GUID)
	b.must(err)
	b.shares("v2.shop.apps.localhost", "shop/1:100")
	moves("start", true)
	change(ShadowChange{Mode: platform.ModeLive})
	moves("no shadow any more", true)
	_, err = b.e.DeleteVersion(t.Context(), anna, v2.GUID, false)
	b.must(err)
	moves("the end of a version that got nothing", false)
}

func TestShadow_RefusesWhatNoRequestHas(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.Mode = platform.ModeShadow })
	change := func(o platform.ShadowOptions) error {
		return b.e.ChangeVersion(t.Context(), anna, v2.GUID, VersionChange{Shadow: ShadowChange{Options: &o}}, platform.SplitOptions{})
	}
	for _, bad := range []platform.ShadowOptions{
		{Methods: []string{"get"}},
		{Methods: []string{""}},
		{Methods: []string{"CONNECT"}},
		{Paths: []string{"search"}},
		{Paths: []string{"/"}},
		{Except: []string{""}},
	} {
		if err := change(bad); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	b.must(change(platform.ShadowOptions{Methods: []string{"GET", "POST"}, Paths: []string{"/search"}, Except: []string{"/search/me"}}))
	if c := b.lastChange(app); !strings.HasSuffix(c.Text, ": requests with GET, POST") {
		t.Errorf("it says %q", c.Text)
	}
	b.eventually("the router to know", func() bool {
		b.router.mu.Lock()
		defer b.router.mu.Unlock()
		o := b.router.routes[router.RouteKey{Host: "shop.apps.localhost"}].Destinations[1].ShadowOptions
		return o != nil && slices.Equal(o.Methods, []string{"GET", "POST"}) && slices.Equal(o.Paths, []string{"/search"}) && slices.Equal(o.Except, []string{"/search/me"})
	})
}

// Only shadows give way to others, for as long as they are shadows.
func TestShadow_GivesWay(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.Mode = platform.ModeShadow })
	givesWay := func(v platform.Version, want bool) {
		t.Helper()
		b.eventually(fmt.Sprintf("%s gives way: %t", v.Label, want), func() bool {
			all, err := b.sim.List(t.Context())
			b.must(err)
			found := 0
			for _, s := range all {
				is := slices.ContainsFunc(b.instancesOf(v), func(i platform.Instance) bool { return i.GUID == s.GUID })
				if s.Background != (is && want) {
					return false
				}
				if is {
					found++
				}
			}
			return found > 0
		})
	}
	givesWay(v2, true)
	b.must(b.mode(v2, platform.ModeLive, 0))
	givesWay(v2, false)
	b.must(b.mode(v2, platform.ModeShadow, 10))
	givesWay(v2, true)
	b.restart()
	v1 := b.main(app)
	_, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{Why: "assign"}, nil) // v1 is the shadow then
	b.must(err)
	givesWay(v1, true)
}
