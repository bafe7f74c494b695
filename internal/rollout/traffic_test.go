package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/router"
)

func TestUndo_OfARollbackMakesThatAWayBackAgain(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	next := b.droplet(app, "two")
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID = next.GUID })
	promote := func() {
		_, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{}, nil)
		b.must(err)
	}
	undo := func() {
		_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
		b.must(err)
	}
	rollBack := func() error {
		_, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil)
		return err
	}
	promote()
	undo()
	if err := rollBack(); !isNotFound(err) {
		t.Errorf("a promotion that was undone is something to go back to: %v", err)
	}
	promote()
	b.must(rollBack())
	undo()
	if got := b.main(app).Label; got != "v2" {
		t.Fatalf("main is %s", got)
	}
	b.must(rollBack())
	if got := b.main(app).Label; got != "v1" {
		t.Errorf("main is %s", got)
	}
}

func TestSwap_ExchangesAllRoutesInOneTable(t *testing.T) {
	b := newBench(t)
	b.when("blue", answers("blue"))
	b.when("green", answers("green"))
	blue, green := b.app("blue", 1), b.app("green", 1)
	b.push(blue)
	req := SwapRequest{A: blue.GUID, B: green.GUID}
	if _, err := b.e.Swap(t.Context(), anna, req); err == nil {
		t.Error("an app that does not run took the place of one that does")
	}
	b.push(green)
	both := b.mapRoute("both", blue)
	weight := 25
	_, err := b.e.AddDestinations(t.Context(), anna, both.GUID, []platform.Destination{{AppGUID: green.GUID, Weight: &weight}})
	b.must(err)
	before := b.router.updates
	c, err := b.e.Swap(t.Context(), anna, req)
	b.must(err)
	if b.router.updates != before+1 {
		t.Errorf("%d tables", b.router.updates-before)
	}
	b.shares("blue.apps.localhost", "green/1:100")
	b.shares("green.apps.localhost", "blue/1:100")
	b.eventually("the weights to change places", func() bool {
		got := b.router.shares("both.apps.localhost")
		return got == "green/1:100 blue/1:25" || got == "blue/1:25 green/1:100"
	})
	undone, err := b.e.Undo(t.Context(), anna, blue.GUID, platform.SplitOptions{IfTable: c.Table})
	b.must(err)
	b.shares("blue.apps.localhost", "blue/1:100")
	if undone.Table <= c.Table {
		t.Errorf("undo is table %d", undone.Table)
	}
}

func TestUpdateTraffic_RefusesWhatCannotBe(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	for name, bad := range map[string]platform.Traffic{
		"a drain of a week":     {Drain: 7 * 24 * 3600},
		"a pause of an hour":    {Pause: &platform.Pause{Max: 3600}},
		"a stranger let in":     {Maintenance: &platform.Maintenance{Allow: []string{"me"}}},
		"a header without =":    {Maintenance: &platform.Maintenance{Allow: []string{"header:X"}}},
		"a header that is none": {Maintenance: &platform.Maintenance{Allow: []string{"header:X Y=1"}}},
		"a network nobody has":  {Maintenance: &platform.Maintenance{Allow: []string{"::ffff:192.0.2.0/120"}}},
		"a page of a megabyte":  {Maintenance: &platform.Maintenance{Page: strings.Repeat("x", 1<<20)}},
	} {
		_, _, err := b.e.UpdateTraffic(t.Context(), anna, app.GUID, func(t *platform.Traffic) error { *t = bad; return nil })
		if platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if quiet, err := b.e.Quiesce(t.Context(), app.GUID, time.Second); !quiet || err != nil {
		t.Errorf("nothing in flight: %t %v", quiet, err)
	}
	busy := b.instances(app)[0].GUID
	b.router.set(func(f *fakeRouter) { f.busy = map[string]int{busy: 1} })
	if quiet, err := b.e.Quiesce(t.Context(), app.GUID, 20*time.Millisecond); quiet || err != nil {
		t.Errorf("one request in flight: %t %v", quiet, err)
	}
	b.router.set(func(f *fakeRouter) { f.busy = nil })
}

func TestUndo_TakesMappingsAndWeightsOfRoutesBack(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	r, err := b.db.RouteByAddress(t.Context(), b.domain.GUID, "shop", "")
	b.must(err)
	b.must(b.e.DeleteDestination(t.Context(), anna, r.GUID, r.Destinations[0].GUID))
	b.shares("shop.apps.localhost", "")
	c, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100")
	if !strings.Contains(c.Text, "Let route shop.apps.localhost lead nowhere") {
		t.Errorf("it says %q", c.Text)
	}
	if r, err = b.db.Route(t.Context(), r.GUID); err != nil {
		t.Fatal(err)
	}
	weight := 7
	_, err = b.e.UpdateDestination(t.Context(), anna, r.GUID, r.Destinations[0].GUID, func(d *platform.Destination) error { d.Weight = &weight; return nil })
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:7")
	_, err = b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{b.main(app).GUID: 50}, platform.SplitOptions{IfTable: c.Table}, nil)
	if platform.KindOf(err) != platform.KindConflict {
		t.Errorf("a weight of a route is no change of the app's traffic: %v", err)
	}
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{DryRun: true})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:7")
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100")
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	if e, ok := errors.AsType[*platform.Error](err); !ok || e.Title != titleRefused || !strings.Contains(e.Msg, "gave route shop.apps.localhost its first app") {
		t.Errorf("undo takes the app off the net: %v", err)
	}
	b.shares("shop.apps.localhost", "shop/1:100")
}

func TestLeftAt_TellsTheRouterWhoseOldPagesAreToBeServed(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	r, err := b.db.RouteByAddress(t.Context(), b.domain.GUID, "shop", "")
	b.must(err)
	only := func() router.Destination {
		t.Helper()
		b.router.mu.Lock()
		defer b.router.mu.Unlock()
		ds := b.router.routes[router.RouteKey{Host: "shop.apps.localhost"}].Destinations
		return ds[len(ds)-1]
	}
	if d := only(); d.Version != "" {
		t.Errorf("a version nobody has to tell apart: %+v", d)
	}
	_, err = b.e.UpdateRoute(t.Context(), anna, r.GUID, func(r *platform.Route) error {
		r.Options = map[string]string{router.OptionSkew: "1h"}
		return nil
	})
	b.must(err)
	v1 := b.main(app)
	if d := only(); d.Version != v1.GUID || d.Label != "v1" || d.LeftAt != 0 {
		t.Errorf("with skew=1h: %+v", d)
	}
	next := b.droplet(app, "two")
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID = next.GUID })
	before := time.Now().Unix()
	_, err = b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	if d := only(); d.Version != v1.GUID || d.LeftAt < before || d.LeftAt > time.Now().Unix() {
		t.Errorf("v1 left: %+v", d)
	}
	_, err = b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil)
	b.must(err)
	if d := only(); d.Version != v2.GUID || d.LeftAt != 0 {
		t.Errorf("v2 was rolled back: %+v", d)
	}
	b.setShares(app, map[string]int{"v1": 50, "v2": 50})
	b.setShares(app, map[string]int{"v2": 0})
	if d := only(); d.LeftAt < before {
		t.Errorf("v2 left an A/B test: %+v", d)
	}
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	if d := only(); d.LeftAt != 0 || d.Weight != 50 {
		t.Errorf("v2 is back: %+v", d)
	}
	_, err = b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{v2.GUID: 0}, platform.SplitOptions{Keep: true, Why: verbRolloutRollback}, nil)
	b.must(err)
	if d := only(); d.LeftAt != 0 {
		t.Errorf("v2 was found bad: %+v", d)
	}
}

func TestUndo_DoesNotMissVersionsThatGotNothing(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	idle := b.version(app, "v3", nil)
	b.setShares(app, map[string]int{"v1": 90, "v2": 10})
	_, err := b.e.DeleteVersion(t.Context(), anna, idle.GUID, false)
	b.must(err)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:0")

	c := b.setShares(app, map[string]int{"v1": 50, "v2": 50})
	b.setShares(app, map[string]int{"v2": 0})
	_, err = b.e.DeleteVersion(t.Context(), anna, c.After.Versions[1].GUID, false)
	b.must(err)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	if platform.KindOf(err) != platform.KindConflict || !strings.Contains(err.Error(), "version v2, which got requests then") {
		t.Errorf("undo without v2: %v", err)
	}
}

func TestUndo_PassesOverChangesThatChangedNothing(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v2": 10})
	b.setShares(app, map[string]int{"v2": 10})
	_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	b.shares("shop.apps.localhost", "shop/1:100 shop/1:0")
}

// A table is taken for changes alone, or whoever has seen the newest one would
// be refused for nothing.
func TestUpdateTraffic_WhatIsSoAlreadyTakesNoTable(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	update := func(change func(*platform.Traffic)) uint64 {
		t.Helper()
		_, table, err := b.e.UpdateTraffic(t.Context(), anna, app.GUID, func(t *platform.Traffic) error { change(t); return nil })
		b.must(err)
		return table
	}
	maintain := func(t *platform.Traffic) {
		t.Maintenance = &platform.Maintenance{Page: "later", Allow: []string{"::1"}}
	}
	pause := func(t *platform.Traffic) { t.Pause = &platform.Pause{Max: 5} }
	for _, step := range []struct {
		what  string
		do    func(*platform.Traffic)
		moves bool
	}{
		{"nothing", func(*platform.Traffic) {}, false},
		{"no maintenance", func(t *platform.Traffic) { t.Maintenance = nil }, false},
		{"maintenance", maintain, true},
		{"maintenance again", maintain, false},
		{"another page", func(t *platform.Traffic) { t.Maintenance.Page = "soon" }, true},
		{"maintenance off", func(t *platform.Traffic) { t.Maintenance = nil }, true},
		{"pause", pause, true},
		{"pause again", pause, false},
		{"resume", func(t *platform.Traffic) { t.Pause = nil }, true},
		{"resume again", func(t *platform.Traffic) { t.Pause = nil }, false},
		{"drain", func(t *platform.Traffic) { t.Drain = 7 }, false},
	} {
		before := b.e.Table()
		after := update(step.do)
		if moved := after != before; moved != step.moves || after != b.e.Table() {
			t.Errorf("%s: table %d, then %d, and %d runs", step.what, before, after, b.e.Table())
		}
	}
	if a, err := b.db.App(t.Context(), app.GUID); err != nil || a.Traffic != (platform.Traffic{Drain: 7}) {
		t.Errorf("in the end it has %+v, %v", a.Traffic, err)
	}
}
