package rollout

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
)

// Two people push the same new app at the same moment.
func TestManifest_AppliedTwiceAtOnceIsAppliedOnce(t *testing.T) {
	e, space := manifestEngine(t)
	for n := range 20 {
		name := fmt.Sprintf("shop%d", n)
		m := platform.Manifest{Applications: []platform.ManifestApp{{
			Name: name, DefaultRoute: true, Env: map[string]string{"A": "1"},
			Processes: []platform.ManifestProcess{{Type: "worker", Instances: ptr(0)}},
		}}}
		var both sync.WaitGroup
		for range 3 {
			both.Go(func() {
				if err := e.PrepareManifest(t.Context(), platform.System, space, m); err != nil {
					t.Errorf("preparing: %v", err)
					return
				}
				if _, err := e.ApplyManifest(t.Context(), platform.System, space, m); err != nil {
					t.Errorf("applying: %v", err)
				}
			})
		}
		both.Wait()
		app, err := e.store.AppByName(t.Context(), space, name)
		if err != nil {
			t.Fatal(err)
		}
		routes, _, err := e.store.Routes(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}})
		if err != nil {
			t.Fatal(err)
		}
		if len(routes) != 1 || len(routes[0].Destinations) != 1 {
			t.Errorf("%s has the routes %+v, want one with one destination", name, routes)
		}
	}
}

func TestManifest_RefusesANameThatMakesNoHostBeforeThereIsAnApp(t *testing.T) {
	e, space := manifestEngine(t)
	m := platform.Manifest{Applications: []platform.ManifestApp{{Name: "你好", DefaultRoute: true}}}
	err := e.PrepareManifest(t.Context(), platform.System, space, m)
	if err == nil || !strings.Contains(err.Error(), "no letter or digit that a host name could be made of") {
		t.Errorf("got %v, want to be told that no host can be made of the name", err)
	}
	if _, err := e.store.AppByName(t.Context(), space, "你好"); !isNotFound(err) {
		t.Errorf("an app was made all the same: %v", err)
	}
	m.Applications[0].Routes = []platform.ManifestRoute{{Route: "hello.apps.localhost"}}
	if err := e.PrepareManifest(t.Context(), platform.System, space, m); err != nil {
		t.Errorf("with a route of its own: %v", err)
	}
}

func TestManifest_ARefusalDoesNotShowItsCause(t *testing.T) {
	cause := errors.New("UNIQUE constraint failed: routes.host (2067)")
	refusal := platform.Invalidf("Route already exists.")
	refusal.Err = cause
	err := naming(0, platform.ManifestApp{Name: "shop"}, refusal)
	p, ok := errors.AsType[*platform.Error](err)
	if !ok || p.Msg != "For application 'shop': Route already exists." || !errors.Is(err, cause) {
		t.Errorf("got %v (%q), want the cause for the log alone", err, p.Msg)
	}
	err = naming(0, platform.ManifestApp{Name: "shop"}, cause)
	if platform.KindOf(err) != platform.KindInternal || !errors.Is(err, cause) {
		t.Errorf("got %v of kind %s, want a failure that is ours", err, platform.KindOf(err))
	}
}
