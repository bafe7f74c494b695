package rollout

import (
	"fmt"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
)

// BenchmarkRun is a restart of the engine over a thousand apps that run, until
// the router has its table.
func BenchmarkRun(t *testing.B) {
	const apps = 1000
	b := newBenchStopped(t)
	b.when("run", runnertest.Behaviour{})
	b.must(b.db.Tx(t.Context(), func(tx *store.Tx) error {
		for n := range apps {
			b.insertRunning(tx, fmt.Sprintf("app%d", n))
		}
		return nil
	}))
	for t.Loop() {
		b.router.set(func(f *fakeRouter) { f.number, f.routes = 0, nil })
		b.e = New(b.cfg)
		b.run()
		b.eventually("the table", func() bool { return len(b.router.published()) == apps })
		t.StopTimer()
		b.stop()
		t.StartTimer()
	}
}

// insertRunning adds an app with everything a running one has.
func (b *bench) insertRunning(tx *store.Tx, name string) {
	ctx, now := b.Context(), time.Now()
	app := platform.App{Resource: platform.NewResource(now), SpaceGUID: b.space.GUID, Name: name, State: platform.AppStarted}
	d := platform.Droplet{
		Resource: platform.NewResource(now), AppGUID: app.GUID, State: platform.DropletStaged,
		Digest: "run", ProcessTypes: map[string]string{"web": "run"},
	}
	web := platform.NewProcess(platform.NewResource(now), app.GUID, platform.WebProcess)
	web.Health.Type = platform.HealthProcess
	v := platform.Revision{Resource: platform.NewResource(now), AppGUID: app.GUID, Version: 1, DropletGUID: d.GUID, Processes: []platform.Process{web}}
	move := platform.Deployment{
		Resource: platform.NewResource(now), AppGUID: app.GUID, Strategy: platform.StrategyStart,
		Value: platform.DeploymentFinalized, Reason: platform.ReasonDeployed, RevisionGUID: v.GUID, DropletGUID: d.GUID,
	}
	app.DropletGUID, app.DeploymentGUID = d.GUID, move.GUID
	s, err := b.sim.Start(ctx, runner.Spec{GUID: platform.NewGUID(), AppGUID: app.GUID, Process: "web", Ports: 1, Args: []string{"run"}})
	b.must(err)
	r := platform.Route{Resource: platform.NewResource(now), SpaceGUID: b.space.GUID, DomainGUID: b.domain.GUID, Host: name, Protocol: "http"}
	r.Destinations = []platform.Destination{{
		Resource: platform.NewResource(now), AppGUID: app.GUID, ProcessType: "web", Port: 8080, Protocol: "http1",
	}}
	b.must(tx.InsertApp(ctx, app))
	b.must(tx.InsertProcess(ctx, web))
	b.must(tx.InsertDroplet(ctx, d))
	b.must(tx.InsertRevision(ctx, v))
	b.must(tx.InsertDeployment(ctx, move))
	b.must(tx.InsertRoute(ctx, r))
	b.must(tx.InsertInstance(ctx, platform.Instance{
		GUID: s.GUID, AppGUID: app.GUID, ProcessGUID: web.GUID, ProcessType: "web", DeploymentGUID: move.GUID,
		State: platform.InstanceRunning, Since: now, Ready: true, Host: s.Endpoint.Host, Port: s.Endpoint.Port,
	}))
}
