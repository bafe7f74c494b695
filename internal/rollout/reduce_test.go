package rollout

import (
	"errors"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
)

// While others answer a part of its requests the main version runs with fewer
// instances, though the app is scaled as before; when another one becomes the
// main version that has as many as the app is scaled to.
func TestReduceVersion_LeavesTheScaleOfTheAppAlone(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("one"))
	b.when("two", answers("two"))
	app := b.app("shop", 4)
	b.push(app)
	next := b.droplet(app, "two")
	two := 2
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID, r.Instances = next.GUID, &two })
	b.setShares(app, map[string]int{"v1": 50, "v2": 50})
	v1 := b.main(app)
	reduce := func(n int) {
		t.Helper()
		_, err := b.e.ReduceVersion(t.Context(), platform.System, v1.GUID, n, nil)
		b.must(err)
	}
	reduce(2)
	b.shares("shop.apps.localhost", "shop/2:50 shop/2:50")
	b.healthy(v1)
	if s, err := b.e.Version(t.Context(), v1.GUID); err != nil || s.Instances != 4 || s.Wanted != 2 || s.Ready != 2 {
		t.Errorf("it has %d, wants %d, %d are ready (%v)", s.Instances, s.Wanted, s.Ready, err)
	}
	web, err := b.db.Process(t.Context(), app.GUID)
	b.must(err)
	if states, err := b.e.InstanceStates(t.Context(), []platform.Process{web}); err != nil || web.Instances != 4 || len(states[web.GUID]) != 2 {
		t.Errorf("the process has %d instances and %d states (%v)", web.Instances, len(states[web.GUID]), err)
	}
	b.restart()
	b.shares("shop.apps.localhost", "shop/2:50 shop/2:50")
	reduce(0)
	b.shares("shop.apps.localhost", "shop/4:50 shop/2:50")
	reduce(3)
	b.shares("shop.apps.localhost", "shop/3:50 shop/2:50")

	_, err = b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{Why: "rollout"}, nil)
	b.must(err)
	b.shares("shop.apps.localhost", "shop/4:50 shop/3:0")
	if _, err := b.e.ReduceVersion(t.Context(), platform.System, v1.GUID, 1, nil); err == nil {
		t.Error("one beside the main version was reduced")
	}
}

func TestReduceVersion_ChangesNothingIfWhatGoesWithItFails(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1 := b.main(app)
	failed := errors.New("no")
	if _, err := b.e.ReduceVersion(t.Context(), anna, v1.GUID, 1, func(*store.Tx) error { return failed }); !errors.Is(err, failed) {
		t.Errorf("got %v", err)
	}
	if v := b.main(app); v.Reduced != 0 {
		t.Errorf("it is reduced to %d", v.Reduced)
	}
}
