package rollout

import (
	"fmt"
	"strings"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// ways writes where the router has a host lead: "web/1:100 next/1~7" is an app
// with one instance and weight 100, and a shadow of 7 %.
func (b *bench) ways(host string) string {
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	var parts []string
	for _, d := range b.router.routes[router.RouteKey{Host: host}].Destinations {
		part := fmt.Sprintf("%s/%d:%d", d.AppName, len(d.Backends), d.Weight)
		if d.OfRoute {
			part = fmt.Sprintf("%s/%d~%d", d.AppName, len(d.Backends), d.Shadow)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

// leads waits until a host leads there; see ways.
func (b *bench) leads(host, want string) {
	b.Helper()
	b.eventually(fmt.Sprintf("%s to lead to %q", host, want), func() bool { return b.ways(host) == want })
}

// shadowWay returns what the router knows of the shadow of a host.
func (b *bench) shadowWay(host string) router.Destination {
	b.Helper()
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	for _, d := range b.router.routes[router.RouteKey{Host: host}].Destinations {
		if d.OfRoute {
			return d
		}
	}
	b.Fatalf("%s has no shadow", host)
	return router.Destination{}
}

// add maps a route to more destinations.
func (b *bench) add(r platform.Route, ds ...platform.Destination) error {
	_, err := b.e.AddDestinations(b.Context(), anna, r.GUID, ds)
	return err
}

// shadowBy is an app as a shadow of some percent.
func shadowBy(app platform.App, percent int) platform.Destination {
	return platform.Destination{AppGUID: app.GUID, Mode: platform.ModeShadow, ShadowPercent: percent}
}

// liveAndNext is a route "live" to the app shop, and another app that runs.
func (b *bench) liveAndNext() (live platform.Route, shop, next platform.App) {
	b.Helper()
	shop = b.shop()
	b.when("next", answers("next"))
	next = b.app("next", 1)
	b.push(next)
	return b.mapRoute("live", shop), shop, next
}

const liveHost = "live.apps.localhost"

func TestShadowOfARoute_GetsCopiesAndNoShare(t *testing.T) {
	b := newBench(t)
	live, shop, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 7)))
	if got := b.ways(liveHost); got != "shop/1:100 next/1~7" {
		t.Errorf("when it is mapped the route leads to %q", got)
	}
	d := b.shadowWay(liveHost)
	if d.Version != b.main(next).GUID || d.Label != "" || d.AppGUID != next.GUID || d.ShadowOptions.Noise != platform.DefaultNoise || d.ShadowOptions.AllMethods {
		t.Errorf("the shadow is %+v", d)
	}
	if text := b.lastChange(next).Text; text != "Let route live.apps.localhost lead to shop 100; next gets copies of 7 %" {
		t.Errorf("the change says %q", text)
	}
	if got := b.ways("next.apps.localhost"); got != "next/1:100" {
		t.Errorf("its own route leads to %q", got)
	}

	// A weight of another does not touch it, and it has none itself.
	b.version(shop, "v2", nil)
	b.setShares(shop, map[string]int{"v1": 90, "v2": 10})
	b.leads(liveHost, "shop/1:90 shop/1:10 next/1~7")
	weight := 5
	way := b.destinations(live)[1]
	_, err := b.e.UpdateDestination(t.Context(), anna, live.GUID, way.GUID, func(d *platform.Destination) error { d.Weight = &weight; return nil })
	if platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("a weight for a shadow: %v", err)
	}
	for _, host := range []string{"v1.live.apps.localhost", "v1--live.apps.localhost"} {
		if got := b.ways(host); got != "shop/1:100" {
			t.Errorf("%s leads to %q", host, got)
		}
	}
}

func TestShadowOfARoute_AloneAnswersNobody(t *testing.T) {
	b := newBench(t)
	live, _, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 100)))
	b.must(b.e.DeleteDestination(t.Context(), anna, live.GUID, b.destinations(live)[0].GUID))
	b.leads(liveHost, "next/1~100")
	if d := b.shadowWay(liveHost); d.Weight != 0 {
		t.Errorf("it has weight %d", d.Weight)
	}
	// Undo of what left it alone, and of the mapping before.
	_, err := b.e.Undo(t.Context(), anna, next.GUID, platform.SplitOptions{})
	b.must(err)
	b.leads(liveHost, "shop/1:100 next/1~100")
	_, err = b.e.Undo(t.Context(), anna, next.GUID, platform.SplitOptions{})
	b.must(err)
	b.leads(liveHost, "shop/1:100")
}

func TestShadowOfARoute_IsTheMainVersionWhicheverItIs(t *testing.T) {
	b := newBench(t)
	live, _, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 50)))
	first := b.main(next)
	v2 := b.version(next, "v2", nil)
	b.eventually("it to be told from the other version", func() bool { return b.shadowWay(liveHost).Label == "v1" })
	if d := b.shadowWay(liveHost); d.Version != first.GUID {
		t.Errorf("beside another version it is %+v", d)
	}
	strip := platform.ShadowOptions{StripAuth: true, Methods: []string{"GET"}}
	b.must(b.e.ChangeVersion(t.Context(), anna, first.GUID, VersionChange{Shadow: ShadowChange{Options: &strip}}, platform.SplitOptions{}))
	if o := b.shadowWay(liveHost).ShadowOptions; !o.StripAuth || len(o.Methods) != 1 {
		t.Errorf("it gets copies by %+v", o)
	}
	b.healthy(v2)
	_, err := b.e.Promote(t.Context(), anna, next.GUID, v2.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	d := b.shadowWay(liveHost)
	if d.Version != v2.GUID || len(d.Backends) != 1 || d.Backends[0].InstanceGUID != b.instancesOf(v2)[0].GUID {
		t.Errorf("after v2 became the main version it is %+v", d)
	}
	if !d.ShadowOptions.StripAuth {
		t.Error("with another main version copies carry credentials again")
	}
	// A push replaces the instances; the route follows.
	b.use(next, b.droplet(next, "two"))
	old := b.instancesOf(v2)[0].GUID
	b.deployed(b.restartApp(next))
	b.eventually("the new instance to get the copies", func() bool {
		d := b.shadowWay(liveHost)
		return len(d.Backends) == 1 && d.Backends[0].InstanceGUID != old
	})
}

func TestShadowOfARoute_FollowsItsApp(t *testing.T) {
	b := newBench(t)
	live, shop, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 7)))
	_, err := b.e.Stop(t.Context(), anna, next.GUID)
	b.must(err)
	b.leads(liveHost, "shop/1:100 next/0~7")
	b.push(next)
	b.leads(liveHost, "shop/1:100 next/1~7")
	b.must(b.e.DeleteApp(t.Context(), anna, shop.GUID))
	b.leads(liveHost, "next/1~7")
	b.must(b.e.DeleteApp(t.Context(), anna, next.GUID))
	b.leads(liveHost, "")
}

func TestShadowOfARoute_BecomesLiveOnlyIfThatIsSaid(t *testing.T) {
	b := newBench(t)
	live, shop, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 7)))
	same := func(what string) {
		t.Helper()
		if got := b.ways(liveHost); got != "shop/1:100 next/1~7" {
			t.Errorf("%s: %q", what, got)
		}
	}
	before := b.router.updates
	b.must(b.add(live, shadowBy(next, 7)))
	b.must(b.add(live, platform.Destination{AppGUID: next.GUID}))
	same("mapped again")
	if b.lastChange(next).Table == 0 || b.router.updates != before {
		t.Errorf("nothing changed in %d tables", b.router.updates-before)
	}
	zero := 0
	_, err := b.e.ReplaceDestinations(t.Context(), anna, live.GUID, []platform.Destination{{AppGUID: shop.GUID}, {AppGUID: next.GUID, Weight: &zero}})
	b.must(err)
	same("written back as a client read it that knows no shadows")

	b.must(b.add(live, shadowBy(next, 20)))
	b.leads(liveHost, "shop/1:100 next/1~20")
	b.must(b.add(live, platform.Destination{AppGUID: next.GUID, Mode: platform.ModeLive}))
	b.leads(liveHost, "shop/1:100 next/1:100")
	b.must(b.add(live, shadowBy(next, 0)))
	b.leads(liveHost, "shop/1:100 next/1~100")
	weight := 300
	way := b.destinations(live)[1]
	_, err = b.e.UpdateDestination(t.Context(), anna, live.GUID, way.GUID, func(d *platform.Destination) error {
		*d = d.WithMode(platform.ModeLive, 0)
		d.Weight = &weight
		return nil
	})
	b.must(err)
	b.leads(liveHost, "shop/1:100 next/1:300")
}

func TestShadowOfARoute_RefusesWhatCannotBe(t *testing.T) {
	b := newBench(t)
	live, shop, next := b.liveAndNext()
	weight := 5
	for what, d := range map[string]platform.Destination{
		"a percentage over 100": shadowBy(next, 101),
		"a negative one":        shadowBy(next, -1),
		"a percentage, live":    {AppGUID: next.GUID, ShadowPercent: 7},
		"another mode":          {AppGUID: next.GUID, Mode: "twilight"},
		"a weight":              {AppGUID: next.GUID, Mode: platform.ModeShadow, Weight: &weight},
		"another process":       {AppGUID: next.GUID, Mode: platform.ModeShadow, ProcessType: "worker"},
		"a shadow of itself":    {AppGUID: shop.GUID, Mode: platform.ModeShadow, Port: 9090},
	} {
		if err := b.add(live, d); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	if got := b.ways(liveHost); got != "shop/1:100" {
		t.Errorf("the route leads to %q", got)
	}
}

func TestSwap_LeavesShadowsOfOthers(t *testing.T) {
	b := newBench(t)
	live, shop, next := b.liveAndNext()
	b.when("third", answers("third"))
	third := b.app("third", 1)
	b.push(third)
	b.must(b.add(live, shadowBy(third, 7)))
	swap := func(a, c platform.App) {
		t.Helper()
		_, err := b.e.Swap(t.Context(), anna, SwapRequest{A: a.GUID, B: c.GUID})
		b.must(err)
	}
	swap(shop, next)
	b.leads(liveHost, "next/1:100 third/1~7")
	swap(third, shop)
	b.leads(liveHost, "next/1:100 third/1~7")
	swap(next, third) // the one that answers and its shadow
	b.leads(liveHost, "third/1:100 next/1~7")
	_, err := b.e.Undo(t.Context(), anna, third.GUID, platform.SplitOptions{})
	b.must(err)
	b.leads(liveHost, "next/1:100 third/1~7")
}

// An app that only gets copies of a route is not reached there.
func TestShadowOfARoute_IsNoAddressOfTheApp(t *testing.T) {
	b := newBench(t)
	live, _, next := b.liveAndNext()
	b.must(b.add(live, shadowBy(next, 7)))
	all, err := b.e.Versions(t.Context(), next.GUID)
	b.must(err)
	for _, url := range all[0].URLs {
		if strings.Contains(url, liveHost) {
			t.Errorf("its version is at %s", url)
		}
	}
	b.must(b.db.View(t.Context(), func(tx *store.Tx) error {
		m, err := describe(t.Context(), tx, next)
		if len(m.Routes) != 1 || m.Routes[0].Route != "next.apps.localhost" {
			t.Errorf("its manifest has the routes %+v", m.Routes)
		}
		return err
	}))
	// A manifest without routes does not end it.
	b.must(b.e.unmapAll(t.Context(), anna, next, nil))
	if got := b.ways(liveHost); got != "shop/1:100 next/1~7" {
		t.Errorf("the route leads to %q", got)
	}
}
