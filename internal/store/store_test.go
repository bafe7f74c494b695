package store_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
)

// start is when everything in these tests was created.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

// open returns a store on a file of its own, with the defaults in it.
func open(t testing.TB) *store.Store {
	t.Helper()
	s := openAt(t, filepath.Join(t.TempDir(), "weir.db"))
	must(t, s.EnsureDefaults(t.Context(), "apps.localhost"))
	return s
}

func openAt(t testing.TB, path string) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newApp returns an app in the default space that is not inserted yet.
func newApp(t testing.TB, s *store.Store, name string) platform.App {
	t.Helper()
	spaces, _, err := s.Spaces(t.Context(), store.Query{})
	must(t, err)
	return platform.App{
		Resource: platform.NewResource(start), SpaceGUID: spaces[0].GUID, Name: name,
		State: platform.AppStopped, Lifecycle: platform.Lifecycle{Type: "buildpack"},
	}
}

func insertApp(t testing.TB, s *store.Store, name string) platform.App {
	t.Helper()
	a := newApp(t, s, name)
	must(t, s.InsertApp(t.Context(), a))
	return a
}

func TestStore_KeepsEveryFieldOfEveryResource(t *testing.T) {
	s := open(t)
	f := full(t, s)
	f.check(t, s)
}

// check reads everything back and compares it with what was written.
func (f fixture) check(t testing.TB, s *store.Store) {
	t.Helper()
	for name, pair := range f.read(context.Background(), s) {
		if pair.err != nil {
			t.Errorf("%s: %v", name, pair.err)
			continue
		}
		if diff := cmp.Diff(pair.want, pair.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestStore_UpdateRewritesAllButTheAge(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	app := insertApp(t, s, "shop")
	changed := app
	changed.Name, changed.CreatedAt, changed.Env = "store", start.Add(time.Hour), map[string]string{"A": "1"}
	before := time.Now().Add(-time.Millisecond)
	must(t, s.UpdateApp(ctx, changed)) // UpdatedAt is what the row has already
	got, err := s.App(ctx, app.GUID)
	must(t, err)
	if got.UpdatedAt.Before(before) {
		t.Errorf("updated at %s, want now", got.UpdatedAt)
	}
	want := changed
	want.CreatedAt, want.UpdatedAt = app.CreatedAt, got.UpdatedAt
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	changed.UpdatedAt = start.Add(time.Minute)
	must(t, s.UpdateApp(ctx, changed))
	if got, _ = s.App(ctx, app.GUID); !got.UpdatedAt.Equal(changed.UpdatedAt) {
		t.Errorf("updated at %s, want the time given", got.UpdatedAt)
	}
}

func TestStore_MissingRowsAreNotFound(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	_, getErr := s.App(ctx, "none")
	_, nameErr := s.AppByName(ctx, "none", "none")
	for what, err := range map[string]error{
		"get": getErr, "by name": nameErr,
		"update": s.UpdateApp(ctx, platform.App{Resource: platform.Resource{GUID: "none"}}),
		"delete": s.DeleteApp(ctx, "none"),
	} {
		if e, ok := errors.AsType[*platform.Error](err); !ok || e.Kind != platform.KindNotFound || e.Msg != "App not found" {
			t.Errorf("%s: %v, want App not found", what, err)
		}
	}
}

func TestStore_UniqueRulesSpeakCloudFoundry(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	g := newFixture(platform.NewGUID) // the same names again, in the same places
	g.Space.OrganizationGUID, g.App.SpaceGUID, g.ServiceInstance.SpaceGUID = f.Organization.GUID, f.Space.GUID, f.Space.GUID
	g.Process.AppGUID, g.Revision.AppGUID, g.ServiceBinding.AppGUID = f.App.GUID, f.App.GUID, f.App.GUID
	g.ServiceBinding.ServiceInstanceGUID = f.ServiceInstance.GUID
	g.Instance.AppGUID, g.Instance.ProcessGUID, g.Instance.DeploymentGUID = f.App.GUID, f.Process.GUID, f.Deployment.GUID
	g.Route.SpaceGUID, g.Route.DomainGUID = f.Space.GUID, f.Domain.GUID
	plain, bare := g.Route, g.Route
	plain.Path, bare.Path, bare.Host = "", "", ""
	plain.Destinations, bare.Destinations, g.Route.Destinations = nil, nil, nil
	must(t, s.InsertRoute(ctx, plain))
	must(t, s.InsertRoute(ctx, withGUID(bare)))
	g.User.Username = "ADA"
	other := g.ServiceBinding
	g.ServiceBinding.Name = "secondary"
	other.ServiceInstanceGUID = insertService(t, s, f.Space.GUID, "other").GUID

	for _, c := range []struct {
		err  error
		kind platform.Kind
		want string
	}{
		{s.InsertApp(ctx, g.App), platform.KindInvalid, "App with the name 'shop' already exists."},
		{s.InsertRoute(ctx, withGUID(g.Route)), platform.KindInvalid, "Route already exists with host 'shop' and path '/api' for domain 'example.com'."},
		{s.InsertRoute(ctx, withGUID(plain)), platform.KindInvalid, "Route already exists with host 'shop' for domain 'example.com'."},
		{s.InsertRoute(ctx, withGUID(bare)), platform.KindInvalid, "Route already exists for domain 'example.com'."},
		{s.InsertDomain(ctx, g.Domain), platform.KindInvalid, `The domain name "example.com" is already in use`},
		{s.InsertOrganization(ctx, g.Organization), platform.KindInvalid, "Organization 'acme' already exists."},
		{s.InsertSpace(ctx, g.Space), platform.KindInvalid, "Name must be unique per organization"},
		{s.InsertUser(ctx, g.User), platform.KindConflict, "Username already in use: ADA"},
		{s.InsertBuildpack(ctx, g.Buildpack), platform.KindInvalid, "Buildpack with name 'mine' and stack 'cflinuxfs4' already exists"},
		{s.InsertServiceInstance(ctx, g.ServiceInstance), platform.KindInvalid, "The service instance name is taken: db."},
		{s.InsertServiceBinding(ctx, g.ServiceBinding), platform.KindInvalid, "The app is already bound to the service instance"},
		{s.InsertServiceBinding(ctx, other), platform.KindInvalid, "The binding name is invalid. App binding names must be unique. The app already has a binding with name 'primary'."},
		{s.InsertProcess(ctx, g.Process), platform.KindConflict, "process already exists"},
		{s.InsertRevision(ctx, g.Revision), platform.KindConflict, "revision already exists"},
		{s.InsertInstance(ctx, g.Instance), platform.KindConflict, "instance already exists"},
	} {
		e, ok := errors.AsType[*platform.Error](c.err)
		if !ok || e.Msg != c.want || e.Kind != c.kind || !errors.Is(c.err, store.ErrDuplicate) {
			t.Errorf("got %v (kind %s), want %q", c.err, platform.KindOf(c.err), c.want)
		}
	}
}

func withGUID(r platform.Route) platform.Route {
	r.GUID = platform.NewGUID()
	return r
}

func insertService(t testing.TB, s *store.Store, space, name string) platform.ServiceInstance {
	t.Helper()
	si := platform.ServiceInstance{Resource: platform.NewResource(start), SpaceGUID: space, Name: name}
	must(t, s.InsertServiceInstance(t.Context(), si))
	return si
}

func TestStore_DeletingAnAppTakesWhatBelongsToItButEvents(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	must(t, s.DeleteApp(ctx, f.App.GUID))
	stays := []string{"organization", "space", "domain", "user", "buildpack", "route", "service instance", "event", "job", "refresh token"}
	for name, pair := range f.read(ctx, s) {
		gone := platform.KindOf(pair.err) == platform.KindNotFound
		if want := !slices.Contains(stays, name); gone != want {
			t.Errorf("%s: gone is %t, want %t (%v)", name, gone, want, pair.err)
		}
	}
	route, err := s.Route(ctx, f.Route.GUID)
	must(t, err)
	if len(route.Destinations) != 0 {
		t.Errorf("the route still leads to %v", route.Destinations)
	}
}

func TestStore_RefusesDanglingAndUsedRows(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	p := f.Process
	p.GUID, p.AppGUID = platform.NewGUID(), "none"
	if err := s.InsertProcess(ctx, p); !errors.Is(err, store.ErrDangling) || platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("process of a missing app: %v", err)
	}
	for what, err := range map[string]error{
		"organization":     s.DeleteOrganization(ctx, f.Organization.GUID),
		"space":            s.DeleteSpace(ctx, f.Space.GUID),
		"domain":           s.DeleteDomain(ctx, f.Domain.GUID),
		"service instance": s.DeleteServiceInstance(ctx, f.ServiceInstance.GUID),
	} {
		if !errors.Is(err, store.ErrInUse) || platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("deleting a %s in use: %v", what, err)
		}
	}
	f.check(t, s)
}

func TestInstance_RenewGivesTheRowANewGUID(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	next := f.Instance
	next.GUID, next.State, next.LastExit = platform.NewGUID(), platform.InstanceStarting, nil
	must(t, s.RenewInstance(ctx, f.Instance.GUID, next))
	all, n, err := s.Instances(ctx, store.Query{})
	must(t, err)
	if n != 1 || !cmp.Equal(all[0], next) {
		t.Errorf("got %v, want only %v", all, next)
	}
}

func TestRoute_DestinationsAreReplacedAsAWhole(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	keep := f.Route.Destinations[0]
	weight := 7
	keep.Weight = &weight
	fresh := platform.Destination{Resource: platform.NewResource(start.Add(24 * time.Hour)), AppGUID: f.App.GUID, ProcessType: "api", Port: 1, Protocol: "http1"}
	must(t, s.ReplaceDestinations(ctx, f.Route.GUID, []platform.Destination{keep, fresh}))
	route, err := s.RouteByAddress(ctx, f.Domain.GUID, "shop", "/api")
	must(t, err)
	fresh.RouteGUID = f.Route.GUID
	for i := range route.Destinations {
		route.Destinations[i].UpdatedAt = time.Time{}
	}
	keep.UpdatedAt, fresh.UpdatedAt = time.Time{}, time.Time{}
	if diff := cmp.Diff([]platform.Destination{keep, fresh}, route.Destinations); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	again := fresh
	again.GUID = platform.NewGUID()
	if err := s.InsertDestination(ctx, again); !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("the same destination twice: %v", err)
	}
	fresh.Weight = &weight
	must(t, s.UpdateDestination(ctx, fresh))
	must(t, s.DeleteDestination(ctx, keep.GUID))
	route, err = s.Route(ctx, f.Route.GUID)
	must(t, err)
	if len(route.Destinations) != 1 || route.Destinations[0].EffectiveWeight() != 7 {
		t.Errorf("got %v", route.Destinations)
	}
}

func TestStore_SmallThings(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)

	for want := range uint64(3) {
		if n, err := s.NextTableNumber(ctx); err != nil || n != want+1 {
			t.Errorf("table number %d, %v; want %d", n, err, want+1)
		}
	}
	if v, ok, err := s.Setting(ctx, "color"); v != "blue" || !ok || err != nil {
		t.Errorf("setting: %q %t %v", v, ok, err)
	}
	if v, err := s.KeepSetting(ctx, "color", "red"); v != "blue" || err != nil {
		t.Errorf("keeping a setting: %q %v", v, err)
	}
	if _, ok, err := s.Setting(ctx, "none"); ok || err != nil {
		t.Errorf("missing setting: %t %v", ok, err)
	}
	if u, err := s.UserByName(ctx, "aDA", "uaa"); err != nil || u.GUID != f.User.GUID {
		t.Errorf("user by name: %v %v", u, err)
	}
	if n, err := s.NextRevisionVersion(ctx, f.App.GUID); n != 5 || err != nil {
		t.Errorf("next version %d, %v; want 5", n, err)
	}
	if d, ok, err := s.ActiveDeployment(ctx, f.App.GUID); !ok || err != nil || d.GUID != f.Deployment.GUID {
		t.Errorf("active deployment: %v %t %v", d, ok, err)
	}
	if _, ok, err := s.ActiveDeployment(ctx, "none"); ok || err != nil {
		t.Errorf("active deployment of no app: %t %v", ok, err)
	}
	if p, err := s.ProcessByType(ctx, f.App.GUID, "web"); err != nil || p.GUID != f.Process.GUID {
		t.Errorf("process by type: %v %v", p, err)
	}
	if err := s.InsertApp(ctx, platform.App{}); err == nil {
		t.Error("a row without a GUID was accepted")
	}

	job := platform.Job{GUID: platform.NewGUID(), State: platform.JobProcessing, CreatedAt: start}
	must(t, s.InsertJob(ctx, job))
	if n, err := s.FailUnfinishedJobs(ctx); n != 1 || err != nil {
		t.Errorf("failed %d jobs, %v; want 1", n, err)
	}
	if j, err := s.Job(ctx, job.GUID); err != nil || j.State != platform.JobFailed || len(j.Errors) != 1 {
		t.Errorf("unfinished job: %v %v", j, err)
	}
	must(t, s.EnsureDefaults(ctx, "apps.localhost"))
	must(t, s.EnsureDefaults(ctx, "other.localhost"))
	if _, n, err := s.Domains(ctx, store.Query{In: map[string][]string{"organization_guids": {""}}}); n != 2 || err != nil {
		t.Errorf("%d shared domains, %v; want 2", n, err)
	}
	if _, n, err := s.Organizations(ctx, store.Query{}); n != 2 || err != nil {
		t.Errorf("%d organizations, %v; want default and acme", n, err)
	}
}

func TestRefreshToken_ExchangeKeepsTheFirstUse(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	tok := platform.RefreshToken{Hash: "a", Family: "x", UserGUID: f.User.GUID, Client: "cf", CreatedAt: start, ExpiresAt: start.Add(time.Hour)}
	next := tok
	next.Hash = "b"
	must(t, s.InsertRefreshToken(ctx, tok))
	first, err := s.ExchangeRefreshToken(ctx, "a", start.Add(time.Second), next)
	must(t, err)
	second, err := s.ExchangeRefreshToken(ctx, "a", start.Add(time.Minute), next)
	must(t, err)
	if !first.UsedAt.IsZero() || !second.UsedAt.Equal(start.Add(time.Second)) {
		t.Errorf("used at %s, then %s", first.UsedAt, second.UsedAt)
	}
	must(t, s.DeleteRefreshFamily(ctx, "x"))
	if _, err := s.ExchangeRefreshToken(ctx, "a", start, next); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("exchange after the family is gone: %v", err)
	}
	must(t, s.InsertRefreshToken(ctx, tok))
	must(t, s.DeleteExpiredRefreshTokens(ctx, start.Add(2*time.Hour)))
	must(t, s.InsertRefreshToken(ctx, tok))
	must(t, s.DeleteUser(ctx, f.User.GUID))
	if _, err := s.RefreshToken(ctx, "a"); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("the token of a deleted user: %v", err)
	}
}
