package rollout

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"weir/internal/platform"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
	"weir/router"
)

// deafRouter takes every table.
type deafRouter struct{}

func (deafRouter) Put(context.Context, router.Table) error              { return nil }
func (deafRouter) Apply(context.Context, router.Update) error           { return nil }
func (deafRouter) Drain(context.Context, []string, time.Duration) error { return nil }

type noDroplets struct{}

func (noDroplets) Tree(string) (string, bool)   { return "", false }
func (noDroplets) Lease(string) (func(), error) { return func() {}, nil }

func (noDroplets) CheckOnce(context.Context, string) error { return nil }

// manifestEngine returns a running engine with an empty default space.
func manifestEngine(t *testing.T) (e *Engine, space string) {
	t.Helper()
	db, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.EnsureDefaults(t.Context(), "apps.localhost"); err != nil {
		t.Fatal(err)
	}
	spaces, _, err := db.Spaces(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	e = New(Config{Store: db, Runner: &runnertest.Sim{}, Router: deafRouter{}, Droplets: noDroplets{}})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		db.Close()
	})
	return e, spaces[0].GUID
}

func ptr[T any](v T) *T { return &v }

func applyManifest(t *testing.T, e *Engine, space string, apps ...platform.ManifestApp) {
	t.Helper()
	m := platform.Manifest{Applications: apps}
	if err := e.PrepareManifest(t.Context(), platform.System, space, m); err != nil {
		t.Fatal(err)
	}
	if _, err := e.ApplyManifest(t.Context(), platform.System, space, m); err != nil {
		t.Fatal(err)
	}
}

func TestManifest_FedBackChangesNothing(t *testing.T) {
	e, space := manifestEngine(t)
	if _, err := e.CreateServiceInstance(t.Context(), platform.System, platform.ServiceInstance{SpaceGUID: space, Name: "db"}); err != nil {
		t.Fatal(err)
	}
	applyManifest(t, e, space, platform.ManifestApp{
		Name: "Shop One", Buildpacks: []string{"go"}, Env: map[string]string{"A": "1"},
		Labels: map[string]*string{"team": ptr("x")},
		Routes: []platform.ManifestRoute{{Route: "shop.apps.localhost/api", Weight: ptr(20)}, {Route: "*.apps.localhost"}},
		Web: platform.ManifestProcess{
			Instances: ptr(0), Memory: ptr("64M"), Command: ptr("./run"),
			HealthCheckType: ptr("http"), HealthCheckHTTPEndpoint: ptr("/up"), Timeout: ptr(30),
		},
		Processes: []platform.ManifestProcess{{Type: "worker", Instances: ptr(2), LogRateLimit: ptr("16K")}},
		Services:  []platform.ManifestService{{Name: "db", BindingName: "main"}},
	})
	app, err := e.store.AppByName(t.Context(), space, "Shop One")
	if err != nil {
		t.Fatal(err)
	}
	first, err := e.AppManifest(t.Context(), app.GUID)
	if err != nil {
		t.Fatal(err)
	}
	diffs, err := e.DiffManifest(t.Context(), space, first)
	if err != nil || len(diffs) != 0 {
		t.Errorf("its own manifest differs: %v, %v", diffs, err)
	}
	applyManifest(t, e, space, first.Applications...)
	again, err := e.AppManifest(t.Context(), app.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Error(diff)
	}
	web, err := e.store.ProcessByType(t.Context(), app.GUID, "web")
	if err != nil {
		t.Fatal(err)
	}
	want := platform.Process{
		AppGUID: app.GUID, Type: "web", Command: "./run", Instances: 0, MemoryMB: 64, DiskMB: 1024, LogRateLimit: -1,
		Health:    platform.HealthCheck{Type: "http", Endpoint: "/up", Timeout: 30},
		Readiness: platform.HealthCheck{Type: "process"},
	}
	if diff := cmp.Diff(want, web, cmpopts.IgnoreFields(platform.Process{}, "Resource")); diff != "" {
		t.Error(diff)
	}
}

func TestManifest_KeysItDoesNotSpeakAboutStay(t *testing.T) {
	e, space := manifestEngine(t)
	applyManifest(t, e, space, platform.ManifestApp{Name: "a", Env: map[string]string{"A": "1", "B": "2"}, NoRoute: true, Web: platform.ManifestProcess{Memory: ptr("64M")}})
	applyManifest(t, e, space, platform.ManifestApp{Name: "a", Env: map[string]string{"B": "3"}, Web: platform.ManifestProcess{Instances: ptr(2)}})
	app, err := e.store.AppByName(t.Context(), space, "a")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(map[string]string{"A": "1", "B": "3"}, app.Env); diff != "" {
		t.Error(diff)
	}
	web, _ := e.store.ProcessByType(t.Context(), app.GUID, "web")
	if web.MemoryMB != 64 || web.Instances != 2 {
		t.Errorf("web has %d MB and %d instances", web.MemoryMB, web.Instances)
	}
}

func TestManifest_RoutesThatNobodyNamed(t *testing.T) {
	e, space := manifestEngine(t)
	urls := func(app string) []string {
		a, err := e.store.AppByName(t.Context(), space, app)
		if err != nil {
			t.Fatal(err)
		}
		routes, _, err := e.store.Routes(t.Context(), store.Query{In: map[string][]string{"app_guids": {a.GUID}}})
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, r := range routes {
			out = append(out, r.URL())
		}
		return out
	}
	applyManifest(t, e, space, platform.ManifestApp{Name: "My App!", DefaultRoute: true})
	if diff := cmp.Diff([]string{"my-app.apps.localhost"}, urls("My App!")); diff != "" {
		t.Error(diff)
	}
	said := func(name string) ([]string, error) {
		t.Helper()
		m := platform.Manifest{Applications: []platform.ManifestApp{{Name: name, DefaultRoute: true}}}
		if err := e.PrepareManifest(t.Context(), anna, space, m); err != nil {
			t.Fatal(err)
		}
		return e.ApplyManifest(t.Context(), anna, space, m)
	}
	if w, err := said("Shop"); err != nil || len(w) != 0 {
		t.Errorf("%q, %v", w, err)
	}
	if w, err := said("käse"); err != nil || len(w) != 1 || !strings.Contains(w[0], "'käse': its name cannot be a host name as it is, so its route is kse.apps.localhost") {
		t.Errorf("%q, %v", w, err)
	}
	if w, err := said("käse"); err != nil || len(w) != 0 {
		t.Errorf("again: %q, %v", w, err)
	}
	if _, err := said("küse"); platform.KindOf(err) != platform.KindInvalid || !strings.Contains(err.Error(), "leads to another app") {
		t.Errorf("somebody else's host: %v", err)
	}
	if u := urls("küse"); len(u) != 0 {
		t.Errorf("it got %v", u)
	}
	applyManifest(t, e, space, platform.ManifestApp{Name: "My App!", RandomRoute: true}) // it has one
	if n := len(urls("My App!")); n != 1 {
		t.Errorf("%d routes", n)
	}
	applyManifest(t, e, space, platform.ManifestApp{Name: "r", RandomRoute: true})
	if u := urls("r"); len(u) != 1 || !strings.HasPrefix(u[0], "r-") {
		t.Errorf("random route is %v", u)
	}
	applyManifest(t, e, space, platform.ManifestApp{Name: "listed", DefaultRoute: true, Routes: []platform.ManifestRoute{{Route: "x.apps.localhost"}}})
	if diff := cmp.Diff([]string{"x.apps.localhost"}, urls("listed")); diff != "" {
		t.Error(diff)
	}
	applyManifest(t, e, space, platform.ManifestApp{Name: "listed", NoRoute: true})
	if u := urls("listed"); len(u) != 0 {
		t.Errorf("no-route left %v", u)
	}
}

func TestPrepareManifest_NamesTheAppAndEveryProblem(t *testing.T) {
	e, space := manifestEngine(t)
	cases := map[string]struct {
		app  platform.ManifestApp
		want []string
	}{
		"no name":        {platform.ManifestApp{}, []string{"For application at index 0: Name must not be empty"}},
		"unit missing":   {platform.ManifestApp{Name: "a", Web: platform.ManifestProcess{Memory: ptr("64")}}, []string{"For application 'a'", "Memory", "supported unit"}},
		"two at once":    {platform.ManifestApp{Name: "a", Web: platform.ManifestProcess{Instances: ptr(-1), Timeout: ptr(0)}}, []string{"Instances must be greater", "Timeout must be greater"}},
		"unknown domain": {platform.ManifestApp{Name: "a", Routes: []platform.ManifestRoute{{Route: "a.example.org"}}}, []string{"did not match any existing domains"}},
		"scheme":         {platform.ManifestApp{Name: "a", Routes: []platform.ManifestRoute{{Route: "http://a.apps.localhost"}}}, []string{"leave the scheme out"}},
		"weight":         {platform.ManifestApp{Name: "a", Routes: []platform.ManifestRoute{{Route: "a.apps.localhost", Weight: ptr(2000)}}}, []string{"between 0 and 1000"}},
		"health":         {platform.ManifestApp{Name: "a", Web: platform.ManifestProcess{HealthCheckType: ptr("tcp")}}, []string{"Health check type must be"}},
		"docker":         {platform.ManifestApp{Name: "a", DockerImage: "x"}, []string{"Docker images are not supported"}},
		"service":        {platform.ManifestApp{Name: "a", Services: []platform.ManifestService{{Name: "db"}}}, []string{"Service instance 'db' not found"}},
		"env":            {platform.ManifestApp{Name: "a", Env: map[string]string{"VCAP_X": "1"}}, []string{"VCAP_"}},
		"no type":        {platform.ManifestApp{Name: "a", Processes: []platform.ManifestProcess{{}}}, []string{"must specify a 'type'"}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			err := e.PrepareManifest(t.Context(), platform.System, space, platform.Manifest{Applications: []platform.ManifestApp{c.app}})
			if err == nil {
				t.Fatal("it was accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if _, err := e.store.AppByName(t.Context(), space, "a"); err == nil {
				t.Error("a refused manifest made an app")
			}
		})
	}
}

func TestDiffManifest(t *testing.T) {
	e, space := manifestEngine(t)
	applyManifest(t, e, space, platform.ManifestApp{Name: "a", NoRoute: true, Web: platform.ManifestProcess{Memory: ptr("1G")}})
	got, err := e.DiffManifest(t.Context(), space, platform.Manifest{Applications: []platform.ManifestApp{{
		Name: "a", Env: map[string]string{"K": "v"},
		Web:    platform.ManifestProcess{Memory: ptr("1024M"), Instances: ptr(3)},
		Routes: []platform.ManifestRoute{{Route: "a.apps.localhost"}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	want := []platform.ManifestDiff{
		{Op: "add", Path: "/applications/0/env/K", Value: "v"},
		{Op: "add", Path: "/applications/0/routes/0", Value: map[string]any{"route": "a.apps.localhost"}},
		{Op: "replace", Path: "/applications/0/instances", Was: 1, Value: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
