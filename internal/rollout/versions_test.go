package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// version starts a version of the app and waits until it is healthy.
func (b *bench) version(app platform.App, label string, change func(*platform.VersionRequest)) platform.Version {
	b.Helper()
	req := platform.VersionRequest{AppGUID: app.GUID, Label: label}
	if change != nil {
		change(&req)
	}
	v, err := b.e.StartVersion(b.Context(), anna, req, nil)
	b.must(err)
	b.healthy(v)
	return v
}

func (b *bench) healthy(v platform.Version) {
	b.Helper()
	b.await("version "+v.Label+" to be healthy", func(ctx context.Context) (bool, error) {
		s, err := b.e.Version(ctx, v.GUID)
		return s.Health == platform.HealthHealthy, err
	})
}

// main returns the app's main version.
func (b *bench) main(app platform.App) platform.Version {
	b.Helper()
	all, err := b.e.Versions(b.Context(), app.GUID)
	b.must(err)
	if len(all) == 0 || !all[0].Main {
		b.Fatalf("no main version among %+v", all)
	}
	return all[0].Version
}

// shares waits until a host leads to versions with these weights, written as
// "shop/1:95 shop/1:5": app, number of instances, weight.
func (b *bench) shares(host, want string) {
	b.Helper()
	got := ""
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if got = b.router.shares(host); got == want {
			return
		}
	}
	b.Fatalf("%s leads to %q, want %q\n%s", host, got, want, b.tell())
}

func (f *fakeRouter) shares(host string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var parts []string
	for _, d := range f.routes[router.RouteKey{Host: host}].Destinations {
		parts = append(parts, fmt.Sprintf("%s/%d:%d", d.AppName, len(d.Backends), d.Weight))
	}
	return strings.Join(parts, " ")
}

func (b *bench) setShares(app platform.App, shares map[string]int) platform.Change {
	b.Helper()
	all, err := b.e.Versions(b.Context(), app.GUID)
	b.must(err)
	by := map[string]int{}
	for _, v := range all {
		if w, ok := shares[v.Label]; ok {
			by[v.GUID] = w
		}
	}
	c, err := b.e.SetShares(b.Context(), anna, app.GUID, by, platform.SplitOptions{}, nil)
	b.must(err)
	return c
}

// shop is an app that runs, with one instance.
func (b *bench) shop() platform.App {
	b.Helper()
	b.when("shop", answers("one"))
	b.when("two", answers("two"))
	app := b.app("shop", 1)
	b.push(app)
	return app
}

func TestVersion_GetsNothingUntilItHasAWeightAndIsReady(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	next := b.droplet(app, "two")
	v := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID = next.GUID; n := 2; r.Instances = &n })
	b.shares("shop.apps.localhost", "shop/1:100 shop/2:0")
	b.shares("v2.shop.apps.localhost", "shop/2:100")
	b.shares("v2--shop.apps.localhost", "shop/2:100")
	b.shares("v1.shop.apps.localhost", "shop/1:100")
	b.shares("v3.shop.apps.localhost", "")
	c := b.setShares(app, map[string]int{"v1": 95, "v2": 5})
	if got := b.router.shares("shop.apps.localhost"); got != "shop/1:95 shop/2:5" {
		t.Errorf("when the weights are set the route leads to %q", got)
	}
	if c.Table == 0 || b.router.number < c.Table || b.e.Table() < c.Table {
		t.Errorf("the change is table %d, the router runs %d", c.Table, b.router.number)
	}
	row, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if row.DropletGUID == next.GUID {
		t.Error("the app's own droplet is the version's")
	}
	if row.Split != 1 {
		t.Errorf("the shares have number %d after one change", row.Split)
	}
	crash := b.instancesOf(v)[0]
	b.sim.Crash(crash.GUID, platform.Exit{Code: 1, Reason: "exited with status 1"})
	b.await("it to be replaced", func(context.Context) (bool, error) {
		i := b.instancesOf(v)[0]
		return i.GUID != crash.GUID && isServing(i), nil
	})
	b.shares("shop.apps.localhost", "shop/1:95 shop/2:5")
	b.restart()
	b.shares("shop.apps.localhost", "shop/1:95 shop/2:5")
}

func (b *bench) instancesOf(v platform.Version) []platform.Instance {
	b.Helper()
	rows, _, err := b.db.Instances(b.Context(), store.Query{In: map[string][]string{"deployment_guids": {v.DeploymentGUID}}})
	b.must(err)
	return rows
}

func TestVersion_SharesMultiplyWithThoseOfTheRoute(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v1": 95, "v2": 5})
	b.when("green", answers("green"))
	green := b.app("green", 1)
	b.push(green)
	r, err := b.db.RouteByAddress(t.Context(), b.domain.GUID, "shop", "")
	b.must(err)
	weight := 300
	_, err = b.e.AddDestinations(t.Context(), anna, r.GUID, []platform.Destination{{AppGUID: green.GUID, Weight: &weight}})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:19 shop/1:1 green/1:60")
	b.setShares(app, map[string]int{"v1": 0, "v2": 0})
	b.shares("shop.apps.localhost", "shop/1:0 shop/1:0 green/1:1")
}

func TestVersion_APlainPushReplacesTheMainOneAlone(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.Weight = 10 })
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:10")
	old, side := b.instancesOf(b.main(app))[0], b.instancesOf(v2)[0]
	b.use(app, b.droplet(app, "two"))
	b.deployed(b.restartApp(app))
	b.eventually("the old one to end", func() bool { return b.running() == 2 })
	if now := b.instancesOf(v2)[0]; now.GUID != side.GUID {
		t.Error("the version beside the main one was replaced too")
	}
	if now := b.instancesOf(b.main(app))[0]; now.GUID == old.GUID {
		t.Error("the main version was not replaced")
	}
	if got := b.main(app).Label; got != "v2-2" { // its revision is 2, and v2 is taken
		t.Errorf("the main version is called %s", got)
	}
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:10")
}

func TestPromote_MovesEverythingInOneTable(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	value := "x"
	next := b.droplet(app, "two")
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) {
		r.DropletGUID = next.GUID
		r.Config.Env = map[string]*string{"COLOR": &value}
	})
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:0")
	tables := 0
	var seen []string
	b.router.set(func(f *fakeRouter) {
		f.onTable = func(routes routesByKey) {
			tables++
			var parts []string
			for _, d := range routes[router.RouteKey{Host: "shop.apps.localhost"}].Destinations {
				parts = append(parts, fmt.Sprint(d.Weight))
			}
			seen = append(seen, strings.Join(parts, " "))
		}
	})
	c, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	b.router.set(func(f *fakeRouter) { f.onTable = nil })
	if tables != 1 || seen[0] != "100 0" {
		t.Errorf("%d tables: %q", tables, seen)
	}
	main := b.main(app)
	row, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if main.GUID != v2.GUID || row.DropletGUID != next.GUID || row.DeploymentGUID != v2.DeploymentGUID || !maps.Equal(row.Env, map[string]string{"COLOR": "x"}) {
		t.Errorf("after the promotion main is %+v, the app %+v", main, row)
	}
	all, err := b.e.Versions(t.Context(), app.GUID)
	b.must(err)
	if all[1].Label != "v1" || all[1].Role() != platform.RoleIdle || all[1].Health != platform.HealthHealthy {
		t.Errorf("the former main version is %+v", all[1])
	}
	again, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{IfTable: c.Table}, nil)
	if err != nil || again.Table != c.Table {
		t.Errorf("again: %v %v", again, err)
	}
	if _, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{IfTable: c.Table - 1}, nil); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("with a table that was overtaken: %v", err)
	}
}

// Rules go before weights: what led a ring to a version must not keep requests
// from the next one.
func TestPromote_EndsTheRulesOfBothVersions(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	ring := []platform.Match{{Header: "Host", Exact: "shop.test"}}
	rules := func() (labels []string) {
		all, err := b.e.Versions(t.Context(), app.GUID)
		b.must(err)
		for _, v := range all {
			if len(v.Match) > 0 {
				labels = append(labels, v.Label)
			}
		}
		return labels
	}
	first := b.main(app)
	for _, label := range []string{"v2", "v3"} {
		v := b.version(app, label, nil)
		b.must(b.match(v, ring))
		_, err := b.e.Promote(t.Context(), anna, app.GUID, v.GUID, platform.SplitOptions{Why: "rollout"}, nil)
		b.must(err)
		if left := rules(); len(left) > 0 {
			t.Errorf("after %s became the main version, rules lead to %v", label, left)
		}
	}
	main := b.main(app)
	b.must(b.match(main, ring))
	_, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, VersionGUID: first.GUID}, nil)
	b.must(err)
	if left := rules(); len(left) > 0 {
		t.Errorf("after the rollback rules lead to %v", left)
	}
}

func TestSetShares_AllOfItMakesTheMainVersion(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "green", nil)
	v1 := b.main(app)
	shares := map[string]int{v1.GUID: 0, v2.GUID: 100}
	_, err := b.e.SetShares(t.Context(), anna, app.GUID, shares, platform.SplitOptions{Keep: true}, nil)
	b.must(err)
	if got := b.main(app).Label; got != "v1" {
		t.Errorf("main is %s although it was to stay", got)
	}
	dry, err := b.e.SetShares(t.Context(), anna, app.GUID, shares, platform.SplitOptions{DryRun: true}, nil)
	if err != nil || dry.Table != 0 || !strings.Contains(dry.Text, "green is the main version now") || b.main(app).Label != "v1" {
		t.Errorf("a dry run: %+v, %v, main is %s", dry, err, b.main(app).Label)
	}
	_, err = b.e.SetShares(t.Context(), anna, app.GUID, shares, platform.SplitOptions{}, nil)
	b.must(err)
	if got := b.main(app).Label; got != "green" {
		t.Errorf("main is %s", got)
	}
	c, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	if b.main(app).Label != "v1" || c.Table == 0 {
		t.Errorf("after undo main is %s: %+v", b.main(app).Label, c)
	}
	if !slices.Contains(b.events(app.GUID), "audit.app.traffic.undo") {
		t.Errorf("events: %v", b.events(app.GUID))
	}
	fail := fmt.Errorf("no")
	_, err = b.e.SetShares(t.Context(), anna, app.GUID, shares, platform.SplitOptions{}, func(_ *store.Tx, split, table uint64) error {
		if split == 0 || table == 0 {
			t.Errorf("split %d, table %d", split, table)
		}
		return fail
	})
	if err != fail || b.main(app).Label != "v1" {
		t.Errorf("what goes with it failed: %v", err)
	}
}

func TestStopVersion_HasRules(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1 := b.main(app)
	v2 := b.version(app, "2.0.0", func(r *platform.VersionRequest) { r.Mode = platform.ModeShadow; r.ShadowPercent = 50 })
	b.shares("2-0-0.shop.apps.localhost", "shop/1:100")
	for name, call := range map[string]func() error{
		"stop main":        func() error { _, err := b.e.StopVersion(t.Context(), anna, v1.GUID, true); return err },
		"delete main":      func() error { _, err := b.e.DeleteVersion(t.Context(), anna, v1.GUID, true); return err },
		"weight of shadow": func() error { return b.share(app, v2, 10) },
		"main as shadow":   func() error { return b.mode(v1, platform.ModeShadow, 10) },
	} {
		if e, ok := call().(*platform.Error); !ok || e.Title != titleRefused || e.Hint == "" {
			t.Errorf("%s: %v", name, e)
		}
	}
	b.must(b.mode(v2, platform.ModeLive, 0))
	b.must(b.share(app, v2, 10))
	if _, err := b.e.StopVersion(t.Context(), anna, v2.GUID, false); err == nil {
		t.Error("a version with requests was stopped")
	}
	v, err := b.e.StopVersion(t.Context(), anna, v2.GUID, true)
	b.must(err)
	if got := b.router.shares("shop.apps.localhost"); got != "shop/1:100 shop/0:0" || v.State != platform.AppStopped {
		t.Errorf("after stop the route leads to %q, the version is %s", got, v.State)
	}
	b.eventually("it to end", func() bool { return b.running() == 1 })
	_, err = b.e.RestartVersion(t.Context(), anna, v2.GUID)
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:10")
	_, err = b.e.ScaleVersion(t.Context(), anna, v2.GUID, 3)
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100 shop/3:10")
	_, err = b.e.Stop(t.Context(), anna, app.GUID)
	b.must(err)
	b.eventually("all to end", func() bool { return b.running() == 0 })
	b.push(app)
	b.shares("shop.apps.localhost", "shop/1:100 shop/3:10")
	_, err = b.e.DeleteVersion(t.Context(), anna, v2.GUID, true)
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100")
	b.eventually("its rows to go", func() bool { return len(b.instancesOf(v2)) == 0 })
}

func (b *bench) share(app platform.App, v platform.Version, weight int) error {
	_, err := b.e.SetShares(b.Context(), anna, app.GUID, map[string]int{v.GUID: weight}, platform.SplitOptions{}, nil)
	return err
}

func TestVersionHosts_AreThereFromTheFirstNamedPush(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	_, err := b.e.Stop(t.Context(), anna, app.GUID)
	b.must(err)
	_, d, err := b.e.StartAs(t.Context(), anna, app.GUID, "first")
	b.must(err)
	b.deployed(d)
	b.shares("first.shop.apps.localhost", "shop/1:100")
	_, d, err = b.e.Restart(t.Context(), anna, app.GUID)
	b.must(err)
	b.deployed(d)
	b.shares("first.shop.apps.localhost", "shop/1:100") // the same droplet keeps its name
	next := b.droplet(app, "two")
	d, err = b.e.Deploy(t.Context(), anna, DeployRequest{AppGUID: app.GUID, DropletGUID: next.GUID, Label: "second"})
	b.must(err)
	b.deployed(d)
	b.shares("second.shop.apps.localhost", "shop/1:100")
	b.shares("first.shop.apps.localhost", "")
}

func TestVersionHosts_AreNobodysIfSomebodyAskedForThem(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	b.shares("v2--shop.apps.localhost", "shop/1:100")
	b.when("other", answers("other"))
	other := b.app("other", 1)
	b.push(other)
	r := b.mapRoute("v2--shop", other)
	b.shares("v2--shop.apps.localhost", "other/1:100")
	b.setShares(app, map[string]int{"v2": 5})
	b.shares("v2--shop.apps.localhost", "other/1:100")
	b.restart()
	b.shares("v2--shop.apps.localhost", "other/1:100")
	b.must(b.e.DeleteRoute(t.Context(), anna, r.GUID))
	b.shares("v2--shop.apps.localhost", "shop/1:100")
}

func TestCheckLabel(t *testing.T) {
	for label, ok := range map[string]bool{
		"v2": true, "2.0.0": true, "green": true, "2.0.0-rc.1": true, "a_b": true,
		"": false, "-a": false, "a-": false, "a b": false, "a/b": false, "a..b": false, strings.Repeat("x", 41): false, "ü": false,
	} {
		if err := platform.CheckLabel(label); (err == nil) != ok {
			t.Errorf("%q: %v", label, err)
		}
	}
	if err := platform.CheckLabel("grün"); !strings.Contains(err.Error(), `it contains "ü"`) {
		t.Error(err)
	}
}

func TestVersion_IsPublishedWithAllTheRouterHasToKnow(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "2.0.0", func(r *platform.VersionRequest) { r.Mode = platform.ModeShadow; r.ShadowPercent = 20 })
	match := []platform.Match{{Header: "X-Ring", Exact: "0"}}
	b.must(b.match(v2, match))
	if c := b.lastChange(app); c.Text != "Set match rules of app shop" {
		t.Errorf("it says %q", c.Text)
	}
	_, _, err := b.e.UpdateTraffic(t.Context(), anna, app.GUID, func(t *platform.Traffic) error {
		t.Pause = &platform.Pause{Max: 7}
		t.Maintenance = &platform.Maintenance{Allow: []string{"192.0.2.1"}}
		return nil
	})
	b.must(err)
	b.restart()
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:0")
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	r := b.router.routes[router.RouteKey{Host: "shop.apps.localhost"}]
	d := r.Destinations[1]
	if d.Version != v2.GUID || d.Label != "2.0.0" || d.Shadow != 20 || d.Split == 0 || len(d.Match) != 1 || d.Match[0].Exact != "0" ||
		r.Destinations[0].Label != "v1" || r.Destinations[0].Split != d.Split {
		t.Errorf("destinations: %+v", r.Destinations)
	}
	if r.Hold == nil || r.Hold.MaxWaitMS != 7000 || r.Maintenance == nil || r.Maintenance.Allow[0] != "192.0.2.1/32" {
		t.Errorf("hold %+v, maintenance %+v", r.Hold, r.Maintenance)
	}
	for path, want := range map[string]int{"/services/shop": 2, "/services/shop_2.0.0": 1, "/services/shop_v1": 1} {
		r := b.router.routes[router.RouteKey{Host: "apps.localhost", Path: path}]
		if len(r.Destinations) != want || r.Options[router.OptionStripPrefix] != "on" {
			t.Errorf("%s: %+v", path, r)
		}
		if want == 1 && r.Destinations[0].Split != 0 {
			t.Errorf("%s counts as evidence", path)
		}
	}
}

func TestVersionStatus_NewestIsTheYoungestThatServes(t *testing.T) {
	at := func(n int) time.Time { return time.Unix(int64(n), 0) }
	var s platform.VersionStatus
	for _, i := range []platform.Instance{
		{State: platform.InstanceRunning, Ready: true, Since: at(10)},
		{State: platform.InstanceRunning, Ready: true, Since: at(20)},
		{State: platform.InstanceRunning, Since: at(30)},
		{State: platform.InstanceStarting, Since: at(40)},
	} {
		count(&s, i)
	}
	if !s.Newest.Equal(at(20)) || !s.Since.Equal(at(10)) {
		t.Errorf("the youngest is of %s, the oldest of %s", s.Newest, s.Since)
	}
}

// What StartVersion would refuse is refused before anything gives way to it.
func TestCheckVersion_RefusesWhatCannotStartAndChangesNothing(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.Weight = 5 })
	check := func(req platform.VersionRequest, leaving ...string) error {
		req.AppGUID = app.GUID
		return b.e.CheckVersion(t.Context(), anna, req, leaving...)
	}
	many := maxInstances + 1
	for what, err := range map[string]error{
		"the label of another":    check(platform.VersionRequest{Label: "v2"}),
		"the place of one in use": check(platform.VersionRequest{Label: "v2", Replace: true}),
		"a droplet of nobody":     check(platform.VersionRequest{DropletGUID: platform.NewGUID()}),
		"a revision of nobody":    check(platform.VersionRequest{RevisionGUID: platform.NewGUID()}),
		"too many instances":      check(platform.VersionRequest{Instances: &many}),
	} {
		if err == nil {
			t.Errorf("%s was not refused", what)
		}
	}
	b.must(check(platform.VersionRequest{Label: "v2", Replace: true}, v2.GUID, platform.NewGUID()))
	b.must(check(platform.VersionRequest{Label: "v3"}))
	all, err := b.e.Versions(t.Context(), app.GUID)
	b.must(err)
	if len(all) != 2 || all[1].GUID != v2.GUID || all[1].Weight != 5 {
		t.Errorf("afterwards there are %+v", all)
	}
}

// Two labels that read the same in a host name would share one address, and one
// of the versions could not be reached.
func TestLabel_IsTakenIfItsAddressIs(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "1.0.0+build.5", nil)
	b.version(app, "V2", nil)
	for _, label := range []string{"1.0.0-build.5", "1-0-0-build-5", "v2", "V1"} {
		_, err := b.e.StartVersion(t.Context(), anna, platform.VersionRequest{AppGUID: app.GUID, Label: label}, nil)
		if platform.KindOf(err) != platform.KindConflict {
			t.Errorf("%s: %v", label, err)
		}
	}
	_, err := b.e.StartVersion(t.Context(), anna, platform.VersionRequest{AppGUID: app.GUID, Label: "1-0-0-build-5"}, nil)
	if err == nil || !strings.Contains(err.Error(), "version 1.0.0+build.5 already, which has the address that 1-0-0-build-5 would get") {
		t.Error(err)
	}
	if v := b.version(app, "1-0-0-build-5", func(r *platform.VersionRequest) { r.Replace = true }); v.Label != "1-0-0-build-5" {
		t.Errorf("replaced by %s", v.Label)
	}
}
