package store_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

type in = map[string][]string

// ask runs one list and returns what name makes of the rows, in their order.
func ask[T any](t testing.TB, rows []T, _ int, err error) func(name func(T) string) string {
	t.Helper()
	must(t, err)
	return func(name func(T) string) string {
		var names []string
		for _, r := range rows {
			names = append(names, name(r))
		}
		return strings.Join(names, " ")
	}
}

// world has two orgs with a space and an app each, "one" and "two".
func world(t testing.TB, s *store.Store) (one, two fixture) {
	t.Helper()
	two = newFixture(platform.NewGUID)
	one = full(t, s)
	two.Organization.Name, two.Space.Name, two.Domain.Name = "other", "prod", "example.org"
	two.User.Username, two.Buildpack.Name = "bob_1", "yours"
	two.App.Name, two.App.Lifecycle, two.App.State = "cart", platform.Lifecycle{Type: "docker", Stack: "none"}, platform.AppStopped
	two.App.Metadata.Labels = map[string]string{"env": "prod", "tier": "front"}
	two.Process.Type, two.Package.State, two.Build.State = "worker", platform.PackageFailed, platform.BuildFailed
	two.Droplet.State, two.Revision.Version, two.Revision.Deployable = platform.DropletFailed, 7, false
	two.Deployment.Strategy, two.Deployment.Value, two.Deployment.Reason = platform.StrategyStart, platform.DeploymentFinalized, platform.ReasonDeployed
	two.Instance.State, two.Instance.ProcessType, two.Instance.Ready = platform.InstanceRunning, "worker", false
	two.Route.Host, two.Route.Path, two.Route.Destinations = "", "", nil
	two.ServiceInstance.Name, two.ServiceBinding.Name = "mail", ""
	two.Event.Type, two.RefreshToken.Hash, two.Event.Actor.GUID = "app.crash", "h2", "v"
	two.Droplet.Digest, two.Package.Digest, two.Buildpack.Digest = "", "", ""
	two.App.DropletGUID = ""
	must(t, two.insert(t.Context(), s))
	return one, two
}

func TestQuery_FiltersByEveryRelation(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	one, two := world(t, s)
	app := func(q in) string {
		rows, n, err := s.Apps(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(a platform.App) string { return a.Name })
	}
	route := func(q in) string {
		rows, n, err := s.Routes(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(r platform.Route) string { return r.URL() })
	}
	process := func(q in) string {
		rows, n, err := s.Processes(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(p platform.Process) string { return p.Type })
	}
	pkg := func(q in) string {
		rows, n, err := s.Packages(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(p platform.Package) string { return p.State })
	}
	build := func(q in) string {
		rows, n, err := s.Builds(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(b platform.Build) string { return b.State })
	}
	droplet := func(q in) string {
		rows, n, err := s.Droplets(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(d platform.Droplet) string { return d.State })
	}
	revision := func(q in) string {
		rows, n, err := s.Revisions(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(v platform.Revision) string { return fmt.Sprint(v.Version) })
	}
	deployment := func(q in) string {
		rows, n, err := s.Deployments(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(d platform.Deployment) string { return d.Strategy })
	}
	instance := func(q in) string {
		rows, n, err := s.Instances(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(i platform.Instance) string { return string(i.State) })
	}
	event := func(q in) string {
		rows, n, err := s.Events(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(e platform.Event) string { return e.Type })
	}
	domain := func(q in) string {
		rows, n, err := s.Domains(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(d platform.Domain) string { return d.Name })
	}
	user := func(q in) string {
		rows, n, err := s.Users(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(u platform.User) string { return u.Username })
	}
	service := func(q in) string {
		rows, n, err := s.ServiceInstances(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(i platform.ServiceInstance) string { return i.Name })
	}
	binding := func(q in) string {
		rows, n, err := s.ServiceBindings(ctx, store.Query{In: q})
		return ask(t, rows, n, err)(func(b platform.ServiceBinding) string { return "'" + b.Name + "'" })
	}
	org2, space2, app2 := []string{two.Organization.GUID}, []string{two.Space.GUID}, []string{two.App.GUID}
	for _, c := range []struct {
		list func(in) string
		q    in
		want string
	}{
		{app, nil, "shop cart"},
		{app, in{"guids": {one.App.GUID, two.App.GUID, "none"}}, "shop cart"},
		{app, in{"guids": {}}, ""},
		{app, in{"names": {""}}, ""},
		{app, in{"names": {"cart"}}, "cart"},
		{app, in{"names": {"cart"}, "space_guids": {one.Space.GUID}}, ""},
		{app, in{"space_guids": space2}, "cart"},
		{app, in{"organization_guids": org2}, "cart"},
		{app, in{"stacks": {"cflinuxfs4"}}, "shop"},
		{app, in{"lifecycle_type": {"docker"}}, "cart"},
		{app, in{"states": {"STARTED"}}, "shop"},
		{app, in{"droplet_guids": {one.Droplet.GUID}}, "shop"},

		{route, nil, "shop.example.com/api example.org"},
		{route, in{"hosts": {""}}, "example.org"},
		{route, in{"hosts": {"shop", "x"}}, "shop.example.com/api"},
		{route, in{"paths": {""}}, "example.org"},
		{route, in{"paths": {"/api"}}, "shop.example.com/api"},
		{route, in{"ports": {"80"}}, ""},
		{route, in{"domain_guids": {two.Domain.GUID}}, "example.org"},
		{route, in{"space_guids": space2}, "example.org"},
		{route, in{"organization_guids": org2}, "example.org"},
		{route, in{"app_guids": {one.App.GUID}}, "shop.example.com/api"},
		{route, in{"app_guids": app2}, ""},
		{route, in{"service_instance_guids": {"x"}}, ""},
		{route, in{"mapped": {"false"}}, "example.org"},

		{process, in{"app_guids": app2}, "worker"},
		{process, in{"space_guids": space2}, "worker"},
		{process, in{"organization_guids": org2}, "worker"},
		{process, in{"types": {"web"}}, "web"},

		{pkg, in{"app_guids": app2}, "FAILED"},
		{pkg, in{"space_guids": space2}, "FAILED"},
		{pkg, in{"states": {"READY"}, "types": {"bits"}}, "READY"},

		{build, in{"app_guids": app2}, "FAILED"},
		{build, in{"package_guids": {one.Package.GUID}}, "STAGED"},
		{build, in{"states": {"FAILED"}}, "FAILED"},

		{droplet, in{"app_guids": app2}, "FAILED"},
		{droplet, in{"package_guids": {one.Package.GUID}}, "STAGED"},
		{droplet, in{"states": {"STAGED"}, "space_guids": {one.Space.GUID}}, "STAGED"},
		{droplet, in{"current": {"true"}}, "STAGED"},
		{droplet, in{"current": {"false"}}, "FAILED"},

		{revision, in{"app_guids": app2}, "7"},
		{revision, in{"versions": {"4", "5"}}, "4"},
		{revision, in{"versions": {"x"}}, ""},
		{revision, in{"deployable": {"false"}}, "7"},

		{deployment, in{"app_guids": app2}, "start"},
		{deployment, in{"states": {"PAUSED"}}, "canary"},
		{deployment, in{"status_values": {"ACTIVE"}}, "canary"},
		{deployment, in{"status_reasons": {"DEPLOYED"}}, "start"},
		{deployment, in{"strategies": {"rolling", "canary"}}, "canary"},

		{instance, in{"app_guids": app2}, "RUNNING"},
		{instance, in{"process_guids": {one.Process.GUID}}, "CRASHED"},
		{instance, in{"deployment_guids": {two.Deployment.GUID}}, "RUNNING"},
		{instance, in{"states": {"CRASHED"}, "types": {"web"}, "ready": {"true"}}, "CRASHED"},

		{event, in{"target_guids": app2}, "app.crash"},
		{event, in{"types": {"audit.app.create"}}, "audit.app.create"},
		{event, in{"space_guids": space2}, "app.crash"},
		{event, in{"organization_guids": org2}, "app.crash"},
		{event, in{"actor_guids": {"v"}, "target_types": {"app"}}, "app.crash"},

		{domain, in{"organization_guids": org2}, "example.org"},
		{domain, in{"organization_guids": {""}}, "apps.localhost"},
		{domain, in{"names": {"example.com"}}, "example.com"},

		{user, in{"usernames": {"Ada"}}, "Ada"},
		{user, in{"partial_usernames": {"B_1", "nobody"}}, "bob_1"},
		{user, in{"partial_usernames": {"%"}}, ""},
		{user, in{"origins": {"uaa"}}, "Ada bob_1"},

		{service, in{"space_guids": space2, "type": {"user-provided"}}, "mail"},
		{service, in{"organization_guids": org2}, "mail"},
		{service, in{"type": {"managed"}}, ""},

		{binding, in{"app_names": {"shop"}}, "'primary'"},
		{binding, in{"service_instance_names": {"mail"}}, "''"},
		{binding, in{"service_instance_guids": {one.ServiceInstance.GUID}, "app_guids": {one.App.GUID}}, "'primary'"},
		{binding, in{"type": {"app"}, "names": {""}}, "''"},
	} {
		if got := c.list(c.q); got != c.want {
			t.Errorf("%v: got %q, want %q", c.q, got, c.want)
		}
	}
	rows, n, err := s.Events(ctx, store.Query{NotIn: in{"target_guids": app2}})
	if got := ask(t, rows, n, err)(func(e platform.Event) string { return e.Type }); got != "audit.app.create" {
		t.Errorf("target_guids[not]: got %q", got)
	}
	routes, n, err := s.Routes(ctx, store.Query{NotIn: in{"ports": {"80"}}})
	if got := ask(t, routes, n, err)(platform.Route.FQDN); got != "shop.example.com example.org" {
		t.Errorf("ports[not]: got %q", got)
	}
}

func TestQuery_SelectsByLabel(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	world(t, s)
	in, notIn := platform.LabelIn, platform.LabelNotIn
	for _, c := range []struct {
		req  platform.LabelRequirement
		want string
	}{
		{platform.LabelRequirement{Key: "env", Op: in, Values: []string{"test"}}, "shop"},
		{platform.LabelRequirement{Key: "env", Op: in, Values: []string{"test", "prod"}}, "shop cart"},
		{platform.LabelRequirement{Key: "env", Op: in}, ""},
		{platform.LabelRequirement{Key: "env", Op: notIn, Values: []string{"test"}}, "cart"},
		{platform.LabelRequirement{Key: "tier", Op: notIn, Values: []string{"front"}}, "shop"},
		{platform.LabelRequirement{Key: "tier", Op: notIn}, "shop cart"},
		{platform.LabelRequirement{Key: "example.com/team.name", Op: in, Values: []string{"a b"}}, "shop"},
		{platform.LabelRequirement{Key: "tier", Op: platform.LabelExists}, "cart"},
		{platform.LabelRequirement{Key: "tier", Op: platform.LabelNotExists}, "shop"},
	} {
		rows, n, err := s.Apps(ctx, store.Query{Labels: []platform.LabelRequirement{c.req}})
		if got := ask(t, rows, n, err)(func(a platform.App) string { return a.Name }); got != c.want {
			t.Errorf("%v: got %q, want %q", c.req, got, c.want)
		}
	}
	if _, _, err := s.Apps(ctx, store.Query{Labels: []platform.LabelRequirement{{Key: "x", Op: "~"}}}); platform.KindOf(err) != platform.KindBadRequest {
		t.Errorf("unknown operator: %v", err)
	}
}

func TestQuery_ComparesTimesByTheSecondTheAPIShows(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	for i, name := range []string{"a", "b", "c"} { // 12:00:00.12, :01.12, :02.12
		app := newApp(t, s, name)
		app.CreatedAt = start.Add(time.Duration(i) * time.Second)
		must(t, s.InsertApp(ctx, app))
	}
	second := start.Truncate(time.Second).Add(time.Second)
	for _, c := range []struct {
		filters []store.TimeFilter
		want    string
	}{
		{[]store.TimeFilter{{Op: "gt", Time: second}}, "c"},
		{[]store.TimeFilter{{Op: "gte", Time: second}}, "b c"},
		{[]store.TimeFilter{{Op: "lt", Time: second}}, "a"},
		{[]store.TimeFilter{{Op: "lte", Time: second}}, "a b"},
		{[]store.TimeFilter{{Time: second}}, "b"},
		{[]store.TimeFilter{{Op: "eq", Time: second}, {Op: "eq", Time: second.Add(time.Second)}}, "b c"},
		{[]store.TimeFilter{{Op: "gt", Time: second.Add(-time.Second)}, {Op: "lt", Time: second.Add(time.Second)}}, "b"},
		{[]store.TimeFilter{{Op: "gt", Time: start.Add(time.Second)}}, "c"},
		{[]store.TimeFilter{{Op: "eq", Time: start.Add(time.Second)}}, "b"},
	} {
		rows, n, err := s.Apps(ctx, store.Query{Created: c.filters})
		if got := ask(t, rows, n, err)(func(a platform.App) string { return a.Name }); got != c.want {
			t.Errorf("%v: got %q, want %q", c.filters, got, c.want)
		}
	}
	if _, _, err := s.Apps(ctx, store.Query{Updated: []store.TimeFilter{{Op: "ne"}}}); platform.KindOf(err) != platform.KindBadRequest {
		t.Errorf("unknown comparison: %v", err)
	}
}

func TestQuery_PagesAndOrders(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	for _, name := range []string{"b", "d", "a", "c", "e"} { // all created at once
		insertApp(t, s, name)
	}
	for _, c := range []struct {
		q     store.Query
		want  string
		total int
	}{
		{store.Query{}, "b d a c e", 5},
		{store.Query{Desc: true}, "e c a d b", 5},
		{store.Query{OrderBy: "name"}, "a b c d e", 5},
		{store.Query{OrderBy: "name", Desc: true, Page: 2, PerPage: 2}, "c b", 5},
		{store.Query{PerPage: 3}, "b d a", 5},
		{store.Query{Page: 2, PerPage: 3}, "c e", 5},
		{store.Query{Page: 9, PerPage: 3}, "", 5},
		{store.Query{In: in{"names": {"a", "b"}}, PerPage: 1}, "b", 2},
		{store.Query{OrderBy: "updated_at"}, "b d a c e", 5},
	} {
		rows, n, err := s.Apps(ctx, c.q)
		if got := ask(t, rows, n, err)(func(a platform.App) string { return a.Name }); got != c.want || n != c.total {
			t.Errorf("%+v: got %q of %d, want %q of %d", c.q, got, n, c.want, c.total)
		}
	}
	for _, q := range []store.Query{
		{OrderBy: "guid; DROP TABLE apps"},
		{In: in{"colors": {"red"}}},
		{NotIn: in{"t.name": {"red"}}},
		{In: in{"names": slices.Repeat([]string{"x"}, 40000)}},
	} {
		if _, _, err := s.Apps(ctx, q); platform.KindOf(err) != platform.KindBadRequest {
			t.Errorf("got %v, want a bad request", err)
		}
	}
}

func TestRoutes_ManyAreFilledWithTheirDestinations(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	f := full(t, s)
	const n = 1500 // more than one chunk
	must(t, s.Tx(ctx, func(tx *store.Tx) error {
		for i := range n {
			r := platform.Route{
				Resource: platform.NewResource(start), SpaceGUID: f.Space.GUID, DomainGUID: f.Domain.GUID, Host: fmt.Sprint("h", i),
				Destinations: []platform.Destination{{Resource: platform.NewResource(start), AppGUID: f.App.GUID, ProcessType: "web", Port: i}},
			}
			if err := tx.InsertRoute(ctx, r); err != nil {
				return err
			}
		}
		return nil
	}))
	all, _, err := s.Routes(ctx, store.Query{})
	must(t, err)
	for _, r := range all {
		if r.GUID != f.Route.GUID && (len(r.Destinations) != 1 || fmt.Sprint("h", r.Destinations[0].Port) != r.Host) {
			t.Fatalf("route %s leads to %v", r.Host, r.Destinations)
		}
	}
	if len(all) != n+1 {
		t.Errorf("%d routes, want %d", len(all), n+1)
	}
}
