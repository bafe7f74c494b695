package rollout

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
)

func (b *bench) deploy(req DeployRequest) platform.Deployment {
	b.Helper()
	d, err := b.e.Deploy(b.Context(), anna, req)
	b.must(err)
	return d
}

// reaches waits until an active deployment has a reason.
func (b *bench) reaches(d platform.Deployment, reason string) platform.Deployment {
	b.Helper()
	b.await(d.GUID+" to be "+reason, func(ctx context.Context) (bool, error) {
		var err error
		d, err = b.db.Deployment(ctx, d.GUID)
		return d.Reason == reason, err
	})
	return d
}

func TestDeploy_RollsOneByOne(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	app := b.app("one", 3)
	b.push(app)
	two := b.droplet(app, "two")
	most, fewest := 0, 99
	b.router.set(func(f *fakeRouter) {
		f.onTable = func(routes routesByKey) {
			n := len(backendsOf(routes))
			most, fewest = max(most, n), min(fewest, n)
		}
	})
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: two.GUID})
	if !d.IsActive() || d.Strategy != platform.StrategyRolling || d.Reason != platform.ReasonDeploying {
		t.Errorf("the deployment comes back as %+v", d)
	}
	d = b.deployed(d)
	if most != 3 || fewest != 3 {
		t.Errorf("the tables had between %d and %d instances, want 3: a new one and the old one of its index change in one table", fewest, most)
	}
	if d.LastHealthy.IsZero() || d.RevisionVersion != 2 {
		t.Errorf("the deployment ended as %+v", d)
	}
	now, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if now.DropletGUID != two.GUID || now.DeploymentGUID != d.GUID {
		t.Errorf("the app has droplet %s", now.DropletGUID)
	}
	if got := b.events(app.GUID); !slices.Contains(got, "audit.app.deployment.create") || !slices.Contains(got, "audit.app.revision.create") {
		t.Errorf("events: %v", got)
	}
}

func TestDeploy_RefusesWhileInFlight(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("slow", runnertest.Behaviour{})
	app := b.app("one", 1)
	b.push(app)
	slow := b.droplet(app, "slow")
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: slow.GUID})
	n := 2
	_, err := b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{Instances: &n})
	if err == nil || err.Error() != "Cannot scale this process while a deployment is in flight." {
		t.Errorf("scaling: %v", err)
	}
	_, err = b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error { p.Command = "x"; return nil })
	if err == nil || err.Error() != "Cannot update this process while a deployment is in flight." {
		t.Errorf("updating: %v", err)
	}
	err = b.e.SetCurrentDroplet(t.Context(), anna, app.GUID, slow.GUID)
	if err == nil || !strings.HasPrefix(err.Error(), "Unable to assign current droplet while the app has a deployment in progress.") {
		t.Errorf("assigning a droplet: %v", err)
	}
	if _, err := b.e.Cancel(t.Context(), anna, d.GUID); err != nil {
		t.Error(err)
	}
	d = b.ended(d)
	if d.Reason != platform.ReasonCanceled || d.Error != "" {
		t.Errorf("it ended %s %q", d.Reason, d.Error)
	}
	_, err = b.e.Cancel(t.Context(), anna, d.GUID)
	if err == nil || err.Error() != "Cannot cancel a deployment with status: FINALIZED and reason: CANCELED" {
		t.Errorf("canceling again: %v", err)
	}
	_, err = b.e.Continue(t.Context(), anna, d.GUID)
	if err == nil || err.Error() != "Cannot continue a deployment with status: FINALIZED and reason: CANCELED" {
		t.Errorf("continuing: %v", err)
	}
}

func TestStart_NeverStandsInTheWay(t *testing.T) {
	b := newBench(t)
	b.when("slow", runnertest.Behaviour{})
	b.when("good", answers("good"))
	app := b.app("slow", 1)
	first := b.start(app)
	n := 2
	_, err := b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{Instances: &n})
	b.must(err)
	b.use(app, b.droplet(app, "good"))
	second := b.deployed(b.restartApp(app))
	if d := b.ended(first); d.Reason != platform.ReasonSuperseded {
		t.Errorf("the first start ended %s", d.Reason)
	}
	if second.PreviousGUID != "" {
		t.Error("the second start would go back to one that never ran")
	}
	b.awaitBackends("slow.apps.localhost", "slow/0", "slow/1")
}

func TestCancel_RestoresDropletEnvironmentAndProcesses(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	b.when("slow", runnertest.Behaviour{})
	app := b.app("one", 2)
	v1 := "1"
	_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": &v1})
	b.must(err)
	b.push(app)
	before, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	webBefore, err := b.db.Process(t.Context(), app.GUID)
	b.must(err)

	v2 := "2"
	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": &v2, "B": &v2})
	b.must(err)
	_, err = b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error { p.Command = "slow"; return nil })
	b.must(err)
	memory := 77
	_, err = b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{MemoryMB: &memory})
	b.must(err)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID})
	_, err = b.e.Cancel(t.Context(), anna, d.GUID)
	b.must(err)
	b.ended(d)
	after, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if after.DropletGUID != before.DropletGUID || !maps.Equal(after.Env, before.Env) {
		t.Errorf("the app has droplet %s and environment %v", after.DropletGUID, after.Env)
	}
	web, err := b.db.Process(t.Context(), app.GUID)
	b.must(err)
	if web.Command != "" || web.MemoryMB != webBefore.MemoryMB || web.Instances != 2 {
		t.Errorf("the process is %+v", web)
	}
	b.eventually("only the old ones to run", func() bool { return b.running() == 2 && len(b.instances(app)) == 2 })
	b.awaitBackends("one.apps.localhost", "one/0", "one/1")
}

func TestDeploy_ARevisionBringsEverythingBack(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	app := b.app("one", 1)
	service, err := b.e.CreateServiceInstance(t.Context(), anna, platform.ServiceInstance{
		SpaceGUID: b.space.GUID, Name: "db", Credentials: map[string]any{"uri": "postgresql://u:p@db/x"},
	})
	b.must(err)
	binding, err := b.e.CreateServiceBinding(t.Context(), anna, platform.ServiceBinding{AppGUID: app.GUID, ServiceInstanceGUID: service.GUID})
	b.must(err)
	b.push(app)
	first, err := b.db.App(t.Context(), app.GUID)
	b.must(err)

	v := "2"
	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"A": &v})
	b.must(err)
	b.must(b.e.DeleteServiceBinding(t.Context(), anna, binding.GUID))
	b.use(app, b.droplet(app, "two"))
	b.deployed(b.restartApp(app))
	memory := 99
	_, err = b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{MemoryMB: &memory})
	b.must(err)
	b.deployed(b.restartApp(app))

	revisions, _, err := b.db.Revisions(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}, OrderBy: "version"})
	b.must(err)
	d := b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID, RevisionGUID: revisions[0].GUID}))
	b.deployed(b.restartApp(app)) // the same once more: no new revision

	revisions, _, err = b.db.Revisions(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}, OrderBy: "version"})
	b.must(err)
	var told []string
	for _, v := range revisions {
		told = append(told, v.Description)
	}
	want := []string{
		"Initial revision.",
		"New droplet deployed. New environment variables deployed. New service bindings deployed.",
		"New process memory deployed.",
		"Rolled back to revision 1.",
	}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Error(diff)
	}
	now, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if now.DropletGUID != first.DropletGUID || len(now.Env) != 0 {
		t.Errorf("the app has droplet %s and environment %v", now.DropletGUID, now.Env)
	}
	env, err := b.e.Env(t.Context(), app.GUID)
	b.must(err)
	if _, bound := env.VCAPServices["user-provided"]; !bound {
		t.Errorf("the service is not bound again: %v", env.VCAPServices)
	}
	if d.RevisionVersion != 4 {
		t.Errorf("rolled back with revision %d", d.RevisionVersion)
	}
	started := b.sim.Started()
	if got := started[len(started)-1].MemoryMB; got != platform.DefaultMemoryMB {
		t.Errorf("it runs with %d MB", got)
	}
}

func TestCanary_TakesItsStepsAndThenTheRest(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	app := b.app("one", 4)
	b.push(app)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID, Strategy: "canary", CanarySteps: []int{25, 50}, MaxInFlight: 4})
	count := func() (of int, others int) {
		for _, i := range b.instances(app) {
			switch {
			case !isServing(i):
			case i.DeploymentGUID == d.GUID:
				of++
			default:
				others++
			}
		}
		return of, others
	}
	d = b.reaches(d, platform.ReasonPaused)
	if of, others := count(); of != 1 || others != 4 || d.CanaryStep != 1 {
		t.Errorf("paused at step %d with %d canaries and %d others, want 1 and 4", d.CanaryStep, of, others)
	}
	stats, err := b.e.Stats(t.Context(), app.GUID)
	b.must(err)
	if len(stats) != 4 {
		t.Errorf("%d stats", len(stats))
	}
	d, err = b.e.Continue(t.Context(), anna, d.GUID)
	b.must(err)
	if d.Reason != platform.ReasonDeploying {
		t.Errorf("continue answers %s", d.Reason)
	}
	d = b.reaches(d, platform.ReasonPaused)
	if of, others := count(); of != 2 || others != 3 || d.CanaryStep != 2 {
		t.Errorf("paused at step %d with %d canaries and %d others, want 2 and 3", d.CanaryStep, of, others)
	}
	d, err = b.e.Continue(t.Context(), anna, d.GUID)
	b.must(err)
	b.deployed(d)
	if of, others := count(); of != 4 || others != 0 {
		t.Errorf("deployed with %d new and %d old", of, others)
	}
}

func TestCanary_CanceledLeavesTheOthersServing(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	app := b.app("one", 3)
	b.push(app)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID, Strategy: "canary", CanarySteps: []int{100}})
	b.reaches(d, platform.ReasonPaused)
	b.router.set(func(f *fakeRouter) {
		f.onTable = func(routes routesByKey) {
			if n := len(backendsOf(routes)); n < 3 {
				t.Errorf("a table has %d instances while going back", n)
			}
		}
	})
	_, err := b.e.Cancel(t.Context(), anna, d.GUID)
	b.must(err)
	b.ended(d)
	for _, i := range b.instances(app) {
		if i.DeploymentGUID == d.GUID && i.State != platform.InstanceStopping {
			t.Errorf("canary %d is still %s", i.Index, i.State)
		}
	}
}

func TestDeploy_OfAStoppedAppStartsIt(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	app := b.app("one", 1)
	d := b.deploy(DeployRequest{AppGUID: app.GUID})
	if d.Value != platform.DeploymentFinalized || d.Reason != platform.ReasonDeployed {
		t.Errorf("it comes back %s %s", d.Value, d.Reason)
	}
	b.awaitBackends("one.apps.localhost", "one/0")
}

func TestDeploy_SupersedesTheOneOnItsWay(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("two", answers("two"))
	b.when("slow", runnertest.Behaviour{})
	app := b.app("one", 1)
	served := b.push(app)
	first := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "slow").GUID})
	second := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID})
	if second.PreviousGUID != served.GUID {
		t.Errorf("the second goes back to %s, want the one that served", second.PreviousGUID)
	}
	b.deployed(second)
	if d := b.ended(first); d.Reason != platform.ReasonSuperseded {
		t.Errorf("the first ended %s", d.Reason)
	}
	b.eventually("one to run", func() bool { return b.running() == 1 })
}

func TestDeploy_StoppedUnderWay(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("slow", runnertest.Behaviour{})
	app := b.app("one", 1)
	b.push(app)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "slow").GUID})
	_, err := b.e.Stop(t.Context(), anna, app.GUID)
	b.must(err)
	if d = b.ended(d); d.Reason != platform.ReasonCanceled || d.Error != "the app was stopped" {
		t.Errorf("it ended %s %q", d.Reason, d.Error)
	}
	b.eventually("all to end", func() bool { return b.running() == 0 && len(b.instances(app)) == 0 })
}

func TestDeploy_RefusesWhatCannotBe(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	app, other := b.app("one", 1), b.app("other", 1)
	foreign := b.droplet(other, "other")
	unstaged := b.droplet(app, "x")
	unstaged.State = platform.DropletFailed
	b.must(b.db.UpdateDroplet(t.Context(), unstaged))
	b.push(app)
	minus := -1
	for name, c := range map[string]struct {
		req  DeployRequest
		want string
	}{
		"unknown strategy": {DeployRequest{Strategy: "big-bang"}, "Strategy 'big-bang' is not a supported deployment strategy"},
		"both":             {DeployRequest{DropletGUID: "a", RevisionGUID: "b"}, "Cannot set both fields 'droplet' and 'revision'"},
		"steps of rolling": {DeployRequest{CanarySteps: []int{1}}, "Canary options are only valid when the strategy is canary"},
		"steps descend":    {DeployRequest{Strategy: "canary", CanarySteps: []int{50, 20}}, "ascending order"},
		"step too large":   {DeployRequest{Strategy: "canary", CanarySteps: []int{101}}, "between 1 and 100"},
		"foreign droplet":  {DeployRequest{DropletGUID: foreign.GUID}, "Unable to assign current droplet. Ensure the droplet exists and belongs to this app."},
		"no droplet":       {DeployRequest{DropletGUID: "nope"}, "Unable to assign current droplet."},
		"unstaged droplet": {DeployRequest{DropletGUID: unstaged.GUID}, "FAILED"},
		"no revision":      {DeployRequest{RevisionGUID: "nope"}, "The revision does not exist"},
		"in flight":        {DeployRequest{MaxInFlight: -1}, "Max in flight"},
		"scale":            {DeployRequest{Scale: ScaleRequest{Instances: &minus}}, "Instances must be greater than or equal to 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c.req.AppGUID = app.GUID
			_, err := b.e.Deploy(t.Context(), anna, c.req)
			if platform.KindOf(err) != platform.KindInvalid || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
	if _, ok, _ := b.db.ActiveDeployment(t.Context(), app.GUID); ok {
		t.Error("a refused deployment is on its way")
	}
}

func TestRevisions_AndDeploymentsAreBounded(t *testing.T) {
	b := newBench(t)
	app := b.app("one", 0)
	d := b.push(app)
	v, err := b.db.Revision(t.Context(), d.RevisionGUID)
	b.must(err)
	b.must(b.db.Tx(t.Context(), func(tx *store.Tx) error {
		for n := range keptRevisions + 5 {
			v.Resource, v.Version = platform.NewResource(time.Now()), n+2
			b.must(tx.InsertRevision(t.Context(), v))
			d.Resource, d.RevisionGUID = platform.NewResource(time.Now()), v.GUID
			b.must(tx.InsertDeployment(t.Context(), d))
		}
		return nil
	}))
	x := "x"
	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"N": &x})
	b.must(err)
	b.deployed(b.restartApp(app))
	byApp := store.Query{In: map[string][]string{"app_guids": {app.GUID}}}
	_, revisions, err := b.db.Revisions(t.Context(), byApp)
	b.must(err)
	_, deployments, err := b.db.Deployments(t.Context(), byApp)
	b.must(err)
	// One more of each: what serves is kept although it is the oldest.
	if revisions != keptRevisions+1 || deployments != keptDeployments+1 {
		t.Errorf("%d revisions and %d deployments are kept", revisions, deployments)
	}
}

func TestDeploy_WorksAlsoForOtherProcesses(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	b.when("work", runnertest.Behaviour{})
	app := b.app("one", 1)
	d := b.droplet(app, "one")
	d.ProcessTypes["worker"] = "work"
	b.must(b.db.UpdateDroplet(t.Context(), d))
	b.use(app, d)
	worker, err := b.db.ProcessByType(t.Context(), app.GUID, "worker")
	b.must(err)
	if worker.Instances != 0 {
		t.Errorf("a new worker has %d instances", worker.Instances)
	}
	b.push(app)
	n := 2
	_, err = b.e.Scale(t.Context(), anna, worker.GUID, ScaleRequest{Instances: &n})
	b.must(err)
	b.await("the workers", func(context.Context) (bool, error) {
		i := b.instances(app)
		return len(i) == 3 && isServing(i[1]) && isServing(i[2]), nil
	})
	begin := time.Now()
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID, MaxInFlight: 3}))
	if took := time.Since(begin); took > 30*time.Second {
		t.Errorf("it took %s", took)
	}
	b.eventually("three to run", func() bool { return b.running() == 3 })
	if got := b.router.backends("one.apps.localhost"); !slices.Equal(got, []string{"one/0"}) {
		t.Errorf("the route leads to %v: a worker is not its destination", got)
	}
}
