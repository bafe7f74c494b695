package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform"
)

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
		done, err := b.e.ChangeShadow(t.Context(), anna, v2.GUID, c, platform.SplitOptions{})
		b.must(err)
		return done
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
	_, err := b.e.SetMode(t.Context(), anna, v2.GUID, platform.ModeLive, 0, platform.SplitOptions{})
	b.must(err)
	givesWay(v2, false)
	_, err = b.e.SetMode(t.Context(), anna, v2.GUID, platform.ModeShadow, 10, platform.SplitOptions{})
	b.must(err)
	givesWay(v2, true)
	b.restart()
	v1 := b.main(app)
	_, err = b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{Why: "assign"}, nil) // v1 is the shadow then
	b.must(err)
	givesWay(v1, true)
}
