package rollout

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

func (b *bench) route(host, path string) platform.Route {
	b.Helper()
	r, err := b.e.CreateRoute(b.Context(), anna, platform.Route{SpaceGUID: b.space.GUID, DomainGUID: b.domain.GUID, Host: host, Path: path})
	b.must(err)
	return r
}

// weights tells how a host is shared, as "app=weight".
func (b *bench) weights(host string) []string {
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	var out []string
	for _, d := range b.router.routes[router.RouteKey{Host: host}].Destinations {
		out = append(out, fmt.Sprintf("%s=%d", d.AppName, d.Weight))
	}
	return out
}

func TestCreateRoute_Rules(t *testing.T) {
	b := newBench(t)
	private, err := b.e.CreateDomain(t.Context(), anna, platform.Domain{Name: "Example.com", OrganizationGUID: b.space.OrganizationGUID})
	b.must(err)
	if private.Name != "example.com" {
		t.Errorf("the domain is called %q", private.Name)
	}
	long := strings.Repeat("a", 64)
	for _, c := range []struct {
		domain, host, path string
		want               string // empty: fine
	}{
		{b.domain.GUID, "shop", "", ""},
		{b.domain.GUID, "shop", "/api", ""},
		{b.domain.GUID, "*", "", ""},
		{b.domain.GUID, "Deep.Er", "", ""},
		{private.GUID, "", "", ""},
		{b.domain.GUID, "shop", "", "Route already exists with host 'shop' for domain 'apps.localhost'."},
		{b.domain.GUID, "SHOP", "", "Route already exists with host 'shop' for domain 'apps.localhost'."},
		{b.domain.GUID, "shop", "/api", "Route already exists with host 'shop' and path '/api' for domain 'apps.localhost'."},
		{b.domain.GUID, "shop", "/api/", "Route already exists with host 'shop' and path '/api' for domain 'apps.localhost'."},
		{b.domain.GUID, "", "", "Missing host. Routes in shared domains must have a host defined."},
		{b.domain.GUID, "a b", "", "Host must be either"},
		{b.domain.GUID, "-a", "", "Host must be either"},
		{b.domain.GUID, "a..b", "", "Host must be either"},
		{b.domain.GUID, "**", "", "Host must be either"},
		{b.domain.GUID, long, "", "Host is too long"},
		{b.domain.GUID, strings.Repeat("abc.", 63) + "a", "", "Host combined with domain name is too long"},
		{b.domain.GUID, "x", "api", "Path must start with a \"/\""},
		{b.domain.GUID, "x", "/a?b", "Path cannot contain \"?\""},
		{b.domain.GUID, "x", "/a b", "Path must be a valid URI path"},
		{b.domain.GUID, "x", "/a%zz", "Path must be a valid URI path"},
		{b.domain.GUID, "x", "/caf%C3%A9/@b%20c", ""},
		{b.domain.GUID, "x", "/café", "as clients write it: \"/caf%C3%A9\""},
		{b.domain.GUID, "x", "/caf%c3%a9", "as clients write it: \"/caf%C3%A9\""},
		{b.domain.GUID, "x", "/%61pi", "as clients write it: \"/api\""},
		{b.domain.GUID, "x", "/a/../b//c", "as clients write it: \"/b/c\""},
		{b.domain.GUID, "x", "/a%2fb", "as clients write it: \"/a/b\""},
		{b.domain.GUID, "x", "/.", "is the same as none"},
		{b.domain.GUID, "x", "/a%00", "Path must be a valid URI path"},
		{b.domain.GUID, "x", "/" + strings.Repeat("a", 128), "Path is too long"},
		{"nope", "x", "", "Invalid domain."},
	} {
		_, err := b.e.CreateRoute(t.Context(), anna, platform.Route{SpaceGUID: b.space.GUID, DomainGUID: c.domain, Host: c.host, Path: c.path})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%q %q: %v", c.host, c.path, err)
		case c.want != "" && (platform.KindOf(err) != platform.KindInvalid || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%q %q: got %v, want %q", c.host, c.path, err, c.want)
		}
	}
	other := platform.Space{Resource: platform.NewResource(time.Now()), OrganizationGUID: b.space.OrganizationGUID, Name: "other"}
	b.must(b.db.InsertSpace(t.Context(), other))
	_, err = b.e.CreateRoute(t.Context(), anna, platform.Route{SpaceGUID: other.GUID, DomainGUID: b.domain.GUID, Host: "shop"})
	if err == nil || !strings.HasPrefix(err.Error(), "Route already exists") {
		t.Errorf("the same route in another space: %v", err)
	}
	_, err = b.e.CreateRoute(t.Context(), anna, platform.Route{
		SpaceGUID: b.space.GUID, DomainGUID: b.domain.GUID, Host: "o", Options: map[string]string{"timeout": "soon"},
	})
	if platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("a wrong option: %v", err)
	}
}

func TestDestinations_ShareARouteByWeight(t *testing.T) {
	b := newBench(t)
	b.when("blue", answers("blue"))
	b.when("green", answers("green"))
	blue, green := b.app("blue", 1), b.app("green", 2)
	b.push(blue)
	b.push(green)
	live := b.route("live", "")
	ctx := t.Context()

	dests, err := b.e.AddDestinations(ctx, anna, live.GUID, []platform.Destination{{AppGUID: blue.GUID}})
	b.must(err)
	if d := dests[0]; d.ProcessType != "web" || d.Port != 8080 || d.Protocol != "http1" || d.Weight != nil {
		t.Errorf("the defaults are %+v", d)
	}
	five := 5
	dests, err = b.e.AddDestinations(ctx, anna, live.GUID, []platform.Destination{{AppGUID: green.GUID, Weight: &five}, {AppGUID: blue.GUID}})
	b.must(err)
	if len(dests) != 2 {
		t.Errorf("%d destinations", len(dests))
	}
	if diff := cmp.Diff([]string{"blue=100", "green=5"}, b.weights("live.apps.localhost")); diff != "" {
		t.Error(diff)
	}
	if got := b.router.backends("live.apps.localhost"); !slices.Equal(got, []string{"blue/0", "green/0", "green/1"}) {
		t.Errorf("the route leads to %v", got)
	}

	zero := 0
	_, err = b.e.UpdateDestination(ctx, anna, live.GUID, dests[0].GUID, func(d *platform.Destination) error { d.Weight = &zero; return nil })
	b.must(err)
	if diff := cmp.Diff([]string{"blue=0", "green=5"}, b.weights("live.apps.localhost")); diff != "" {
		t.Error(diff)
	}

	before := b.router.updates
	replaced, err := b.e.ReplaceDestinations(ctx, anna, live.GUID, []platform.Destination{{AppGUID: green.GUID, Protocol: "http2"}, {AppGUID: blue.GUID, Weight: &five}})
	b.must(err)
	if b.router.updates != before+1 {
		t.Errorf("it took %d tables", b.router.updates-before)
	}
	for _, d := range replaced {
		if !slices.ContainsFunc(dests, func(o platform.Destination) bool { return o.GUID == d.GUID && o.AppGUID == d.AppGUID }) {
			t.Errorf("destination of %s got a new name", d.AppGUID)
		}
	}
	if diff := cmp.Diff([]string{"blue=5", "green=100"}, b.weights("live.apps.localhost")); diff != "" {
		t.Error(diff)
	}
	b.must(b.e.DeleteDestination(ctx, anna, live.GUID, replaced[0].GUID))
	if got := b.weights("live.apps.localhost"); len(got) != 1 {
		t.Errorf("after unmapping: %v", got)
	}
	err = b.e.DeleteDestination(ctx, anna, live.GUID, replaced[0].GUID)
	if platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("unmapping again: %v", err)
	}
	maps := 0
	for _, e := range b.events(blue.GUID) {
		if e == "audit.app.map-route" || e == "audit.app.unmap-route" {
			maps++
		}
	}
	if maps < 3 {
		t.Errorf("%d events about mapping", maps)
	}
	b.must(b.e.DeleteRoute(ctx, anna, live.GUID))
	b.router.mu.Lock()
	_, known := b.router.routes[router.RouteKey{Host: "live.apps.localhost"}]
	b.router.mu.Unlock()
	if known {
		t.Error("the router still knows the route")
	}
}

func TestDestinations_RefusesWhatCannotBe(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	r := b.route("live", "")
	tooHeavy, negative := 1001, -1
	many := make([]platform.Destination, 101)
	for i := range many {
		many[i] = platform.Destination{AppGUID: app.GUID, Port: 2000 + i}
	}
	for name, c := range map[string]struct {
		dests []platform.Destination
		want  string
	}{
		"unknown app":  {[]platform.Destination{{AppGUID: "nope"}}, "do not exist"},
		"too heavy":    {[]platform.Destination{{AppGUID: app.GUID, Weight: &tooHeavy}}, "in the range 0 to 1000"},
		"negative":     {[]platform.Destination{{AppGUID: app.GUID, Weight: &negative}}, "in the range 0 to 1000"},
		"port":         {[]platform.Destination{{AppGUID: app.GUID, Port: 80}}, "in the range 1024 to 65535"},
		"protocol":     {[]platform.Destination{{AppGUID: app.GUID, Protocol: "tcp"}}, "'http1' or 'http2'"},
		"twice":        {[]platform.Destination{{AppGUID: app.GUID}, {AppGUID: app.GUID}}, "duplicate"},
		"far too many": {many, "100"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, call := range []func(context.Context, platform.Actor, string, []platform.Destination) ([]platform.Destination, error){b.e.AddDestinations, b.e.ReplaceDestinations} {
				if _, err := call(t.Context(), anna, r.GUID, c.dests); platform.KindOf(err) != platform.KindInvalid || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			}
		})
	}
	if _, err := b.e.AddDestinations(t.Context(), anna, "nope", nil); err == nil || err.Error() != "Route not found" {
		t.Errorf("an unknown route: %v", err)
	}
}

func TestRoutes_CallsReturnWhenTheRouterRunsThem(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	late, stored := b.route("late", ""), b.route("stored", "")
	toApp := []platform.Destination{{AppGUID: app.GUID}}
	b.router.set(func(f *fakeRouter) { f.down = true })
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := b.e.AddDestinations(context.Background(), anna, late.GUID, toApp); err != nil {
			t.Error(err)
		}
	}()
	select {
	case <-done:
		t.Fatal("the call returned although the router had not heard of it")
	case <-time.After(150 * time.Millisecond):
	}
	b.router.set(func(f *fakeRouter) { f.down = false })
	<-done
	if !b.router.knows("late.apps.localhost") {
		t.Error("the call returned before the router knew")
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	b.router.set(func(f *fakeRouter) { f.down = true })
	called := make(chan error, 1)
	go func() {
		_, err := b.e.AddDestinations(ctx, anna, stored.GUID, toApp)
		called <- err
	}()
	b.await("the change to be stored", func(ctx context.Context) (bool, error) {
		r, err := b.db.Route(ctx, stored.GUID)
		return len(r.Destinations) == 1, err
	})
	cancel() // whoever asked waits no longer
	if err := <-called; platform.KindOf(err) != platform.KindUnavailable {
		t.Errorf("a router that does not answer: %v", err)
	}
	b.router.set(func(f *fakeRouter) { f.down = false })
	b.eventually("it to be published after all", func() bool { return b.router.knows("stored.apps.localhost") })
}

// knows reports whether the table has a route for the host.
func (f *fakeRouter) knows(host string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.routes[router.RouteKey{Host: host}]
	return ok
}

func TestPublisher_SendsTheWholeTableToARouterThatLostIt(t *testing.T) {
	b := newBench(t)
	app := b.app("one", 0)
	b.router.set(func(f *fakeRouter) { f.number, f.routes = 0, nil }) // it was restarted without its table
	b.mapRoute("two", app)
	if !b.router.knows("one.apps.localhost") || !b.router.knows("two.apps.localhost") {
		t.Error("the router does not know both routes")
	}
}

func TestPublisher_ARouteThatLeadsNowhereIsUnknown(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	r := b.mapRoute("live", app)
	for _, d := range b.destinations(r) {
		b.must(b.e.DeleteDestination(t.Context(), anna, r.GUID, d.GUID))
	}
	if b.router.knows("live.apps.localhost") {
		t.Error("the router still knows a route without destinations")
	}
	b.route("empty", "")
	if b.router.knows("empty.apps.localhost") {
		t.Error("the router knows a route that was never mapped")
	}
	_, err := b.e.AddDestinations(t.Context(), anna, r.GUID, []platform.Destination{{AppGUID: app.GUID}})
	b.must(err)
	b.must(b.e.DeleteApp(t.Context(), anna, app.GUID))
	if b.router.knows("live.apps.localhost") {
		t.Error("the router still knows the route of a deleted app")
	}
}

func (b *bench) destinations(r platform.Route) []platform.Destination {
	b.Helper()
	r, err := b.db.Route(b.Context(), r.GUID)
	b.must(err)
	return r.Destinations
}

func TestPublisher_ManyAtOnceShareTables(t *testing.T) {
	b := newBench(t)
	app := b.app("shop", 0)
	before := b.router.updates
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			r := b.mapRoute(fmt.Sprintf("h%d", n), app)
			if n%2 == 0 {
				b.must(b.e.DeleteRoute(context.Background(), anna, r.GUID))
				b.mapRoute(fmt.Sprintf("h%d", n), app) // the same address again
			}
		})
	}
	wg.Wait()
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	if len(b.router.routes) != 41 {
		t.Errorf("the router has %d routes, want 41", len(b.router.routes))
	}
	for key, r := range b.router.routes {
		row, err := b.db.Route(t.Context(), r.GUID)
		if err != nil || row.URL() != key.Host {
			t.Errorf("%s leads to a route that is not: %v", key.Host, err)
		}
	}
	t.Logf("%d tables for 140 changes", b.router.updates-before)
}

// Browsers send bücher.example as xn--bcher-kva.example.
func TestLetters_BeyondASCIIAreShownAsDNSHasThem(t *testing.T) {
	b := newBench(t)
	_, err := b.e.CreateDomain(t.Context(), anna, platform.Domain{Name: "bücher.example"})
	p, ok := errors.AsType[*platform.Error](err)
	if !ok || !strings.Contains(p.Hint, "xn--bcher-kva.example") {
		t.Errorf("a domain: %v, want a hint how to write it", err)
	}
	_, err = b.e.CreateRoute(t.Context(), anna, platform.Route{SpaceGUID: b.space.GUID, DomainGUID: b.domain.GUID, Host: "käse"})
	if p, ok = errors.AsType[*platform.Error](err); !ok || !strings.Contains(p.Hint, "xn--kse-qla") {
		t.Errorf("a host: %v, want a hint how to write it", err)
	}
}

func TestDomains(t *testing.T) {
	b := newBench(t)
	b.route("taken", "")
	for _, c := range []struct{ name, want string }{
		{"shop.example", ""},
		{"shop.example", "The domain name \"shop.example\" is already in use"},
		{"SHOP.example.", "already in use"},
		{"taken.apps.localhost", "already reserved by a route"},
		{"free.apps.localhost", ""},
		{"single", "RFC 1035"},
		{"-a.example", "RFC 1035"},
		{"a_.ex ample", "RFC 1035"},
		{strings.Repeat("a", 64) + ".example", "longer than 63"},
	} {
		_, err := b.e.CreateDomain(t.Context(), anna, platform.Domain{Name: c.name})
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	b.must(b.e.DeleteDomain(t.Context(), anna, b.domain.GUID))
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	if len(b.router.routes) != 0 {
		t.Errorf("%d routes of a deleted domain are left", len(b.router.routes))
	}
}

func TestDeleteUnmappedRoutes(t *testing.T) {
	b := newBench(t)
	b.app("shop", 0)
	b.route("orphan", "")
	b.must(b.e.DeleteUnmappedRoutes(t.Context(), anna, b.space.GUID))
	all, _, err := b.db.Routes(t.Context(), store.Query{})
	b.must(err)
	if len(all) != 1 || all[0].Host != "shop" {
		t.Errorf("routes: %+v", all)
	}
}

func TestUpdateRoute_OptionsReachTheRouter(t *testing.T) {
	b := newBench(t)
	r := b.mapRoute("shop", b.app("other", 0))
	_, err := b.e.UpdateRoute(t.Context(), anna, r.GUID, func(r *platform.Route) error {
		r.Options = map[string]string{"timeout": "90s"}
		r.Host = "no"
		return nil
	})
	b.must(err)
	b.router.mu.Lock()
	defer b.router.mu.Unlock()
	if got := b.router.routes[router.RouteKey{Host: "shop.apps.localhost"}].Options["timeout"]; got != "90s" {
		t.Errorf("the router has %q", got)
	}
}
