package rollout

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
)

func TestStart_BringsTheAppUpAndItsRouteToIt(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	d := b.push(app)
	if got := b.router.backends("shop.apps.localhost"); !slices.Equal(got, []string{"shop/0", "shop/1"}) {
		t.Errorf("the route leads to %v when the deployment is done", got)
	}
	app, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if app.State != platform.AppStarted || app.DeploymentGUID != d.GUID {
		t.Errorf("app is %s with deployment %q, want STARTED with %q", app.State, app.DeploymentGUID, d.GUID)
	}
	stats, err := b.e.Stats(t.Context(), app.GUID)
	b.must(err)
	for i, s := range stats {
		if s.Index != i || s.State != platform.InstanceRunning || !s.Routable || s.Port == 0 {
			t.Errorf("stats of %d: %+v", i, s)
		}
	}
	if len(stats) != 2 {
		t.Errorf("%d stats", len(stats))
	}
	for _, want := range []string{"CELL/0 Starting instance 0", "CELL/0 Instance 1 became healthy and ready", "API/0 Starting app with guid"} {
		if text := b.logText(app); !strings.Contains(text, want) {
			t.Errorf("the log lacks %q:\n%s", want, text)
		}
	}
	_, again, err := b.e.Start(t.Context(), anna, app.GUID)
	if err != nil || again.GUID != d.GUID {
		t.Errorf("starting a started app: %v, %v", again.GUID, err)
	}
}

func TestStart_RefusesWithoutADropletOrCommand(t *testing.T) {
	b := newBench(t)
	app, err := b.e.CreateApp(t.Context(), anna, platform.App{SpaceGUID: b.space.GUID, Name: "empty"})
	b.must(err)
	_, _, err = b.e.Start(t.Context(), anna, app.GUID)
	if err == nil || err.Error() != "Assign a droplet before starting this app." {
		t.Errorf("without a droplet: %v", err)
	}
	b.use(app, b.droplet(app, ""))
	_, _, err = b.e.Start(t.Context(), anna, app.GUID)
	if err == nil || err.Error() != `app "empty" has no start command` {
		t.Errorf("without a command: %v", err)
	}
	if a, _ := b.db.App(t.Context(), app.GUID); a.State != platform.AppStopped {
		t.Error("a refused start leaves the app STARTED")
	}
}

func TestRestart_PublishesTheNewBeforeItStopsTheOld(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 3)
	b.push(app)
	old := b.instances(app)
	holes := 0
	b.router.set(func(f *fakeRouter) {
		f.onTable = b.alive(func(string) { holes++ })
	})
	b.deployed(b.restartApp(app))
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1", "shop/2")
	for _, i := range b.instances(app) {
		for _, o := range old {
			if i.GUID == o.GUID && i.State != platform.InstanceStopping {
				t.Errorf("instance %d is still the old one", i.Index)
			}
		}
	}
	b.eventually("the old ones to end", func() bool { return b.running() == 3 })
	if holes > 0 {
		t.Errorf("%d tables led to something that did not run", holes)
	}
}

func TestRestart_DrainsTheOldBeforeItStopsThem(t *testing.T) {
	b := newBenchStopped(t)
	b.cfg.DrainTimeout = time.Hour
	b.e = New(b.cfg)
	b.run()
	b.when("shop", answers("shop"))
	app := b.app("shop", 1)
	b.push(app)
	old := b.instances(app)[0]
	b.router.set(func(f *fakeRouter) { f.busy = map[string]int{old.GUID: 1} })
	b.deployed(b.restartApp(app))     // does not wait for the drain
	time.Sleep(50 * time.Millisecond) // for an old one that ends all the same
	if b.running() != 2 {
		t.Error("the old instance ended although it had a request in flight")
	}
	b.router.set(func(f *fakeRouter) { f.busy = nil })
	b.eventually("the old one to end", func() bool { return b.running() == 1 })
}

func TestRestart_ThatFailsLeavesTheOldServing(t *testing.T) {
	deaf := runnertest.Behaviour{}
	dies := runnertest.Behaviour{CrashAfter: 5 * time.Millisecond, Exit: platform.Exit{Code: 3}}
	for name, c := range map[string]struct {
		does runnertest.Behaviour
		want string
	}{
		"never listens":     {deaf, "the app did not listen on its port (PORT="},
		"exits at once":     {dies, "the app crashed 3 times in a row: exited with status 3"},
		"cannot be started": {runnertest.Behaviour{StartError: platform.Invalidf("command not found")}, "could not be started: command not found"},
		"is damaged":        {answers("bad"), "could not be started: the files are damaged; stage the app again"},
		"has no room":       {runnertest.Behaviour{StartError: &platform.Error{Kind: platform.KindExhausted, Msg: "no free port"}}, "no place for the app: no free port"},
		"answers wrongly": {
			runnertest.Behaviour{Handler: http.NotFoundHandler()}, "the app did not answer its health check within 1s: GET /up answered 404",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			b.when("good", answers("good"))
			bad := "bad"
			if name == "is damaged" {
				bad = "damaged" // see dirDroplets
			}
			b.when(bad, c.does)
			app := b.app("good", 2)
			b.push(app)
			before := b.instances(app)
			// The last check of that second may take its time.
			health := platform.HealthCheck{Type: platform.HealthPort, Timeout: 1, InvocationTimeout: 60}
			if name == "answers wrongly" {
				health.Type, health.Endpoint = platform.HealthHTTP, "/up"
			}
			_, err := b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error { p.Health = health; return nil })
			b.must(err)
			was, err := b.db.App(t.Context(), app.GUID)
			b.must(err)
			b.use(app, b.droplet(app, bad))
			d := b.ended(b.restartApp(app))
			if d.Reason != platform.ReasonCanceled || !strings.Contains(d.Error, c.want) {
				t.Errorf("deployment ended %s: %q, want %q in it", d.Reason, d.Error, c.want)
			}
			stats, err := b.e.Stats(t.Context(), app.GUID)
			b.must(err)
			if stats[0].State != platform.InstanceCrashed || !strings.Contains(stats[0].Details, c.want) {
				t.Errorf("a client of Cloud Foundry sees %s %q", stats[0].State, stats[0].Details)
			}
			b.awaitBackends("good.apps.localhost", "good/0", "good/1")
			b.eventually("the new ones to go", func() bool { return b.running() == 2 && len(b.instances(app)) == 2 })
			for i, now := range b.instances(app) {
				if now.GUID != before[i].GUID {
					t.Errorf("instance %d was replaced", i)
				}
			}
			now, err := b.db.App(t.Context(), app.GUID)
			b.must(err)
			if now.DropletGUID != was.DropletGUID || now.DeploymentGUID != was.DeploymentGUID || now.State != platform.AppStarted {
				t.Errorf("the app is not as before: %+v", now)
			}
			b.eventually("the log to tell", func() bool { return strings.Contains(b.logText(app), "Start failed: "+d.Error) })
		})
	}
}

func TestStart_ThatFailsTheFirstTimeShowsCrashedAndGoesOn(t *testing.T) {
	b := newBench(t)
	b.when("bad", runnertest.Behaviour{CrashAfter: time.Millisecond, Exit: platform.Exit{Code: 3}})
	app := b.app("bad", 1)
	d := b.ended(b.start(app))
	if d.Reason != platform.ReasonCanceled || !strings.Contains(d.Error, "exited with status 3") {
		t.Errorf("deployment ended %s: %s", d.Reason, d.Error)
	}
	b.await("the backoff", func(ctx context.Context) (bool, error) {
		i := b.instances(app)
		return len(i) == 1 && i[0].Crashes == 4 && i[0].State == platform.InstanceCrashed, nil
	})
	i := b.instances(app)[0]
	if i.LastExit == nil || i.LastExit.Code != 3 || i.Details != "exited with status 3" {
		t.Fatalf("the row says %+v, %q", i.LastExit, i.Details)
	}
	if wait := i.NextStart.Sub(i.Since); wait < 30*time.Second || wait > 33*time.Second {
		t.Errorf("the next start is %s after the crash was seen, want about 30s", wait)
	}
	now, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if now.State != platform.AppStarted || now.DeploymentGUID != d.GUID {
		t.Errorf("app is %s with deployment %q", now.State, now.DeploymentGUID)
	}
	stats, err := b.e.Stats(t.Context(), app.GUID)
	b.must(err)
	if stats[0].State != platform.InstanceCrashed {
		t.Errorf("stats say %s", stats[0].State)
	}
	// The next push repairs it, with nothing to go back to.
	b.when("good", answers("good"))
	b.use(app, b.droplet(app, "good"))
	d = b.deployed(b.restartApp(app))
	if d.PreviousGUID != "" {
		t.Errorf("it would go back to %q, which never ran", d.PreviousGUID)
	}
	b.awaitBackends("bad.apps.localhost", "bad/0")
}

func TestCrash_IsTakenOutRecordedAndStartedAgain(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	victim := b.instances(app)[1]
	b.sim.Crash(victim.GUID, platform.Exit{Code: 9, Reason: "exited with status 9"})
	b.await("a new instance", func(context.Context) (bool, error) {
		i := b.instances(app)
		return i[1].GUID != victim.GUID && isServing(i[1]), nil
	})
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1")
	b.eventually("the dead one to be out of the table", func() bool { _, ok := b.router.published()[victim.GUID]; return !ok })
	now := b.instances(app)[1]
	if now.Crashes != 1 || now.LastExit == nil || now.LastExit.Code != 9 {
		t.Errorf("the row says %d crashes, last %+v", now.Crashes, now.LastExit)
	}
	all, _, err := b.db.Events(t.Context(), store.Query{In: map[string][]string{"target_guids": {app.GUID}, "types": {"app.crash", "audit.app.process.crash"}}})
	b.must(err)
	if len(all) != 2 || all[0].Data["reason"] != "CRASHED" || all[0].Data["exit_description"] != "exited with status 9" ||
		all[0].Data["index"] != 1.0 || all[0].Data["exit_status"] != 9.0 || all[0].Data["instance"] != victim.GUID {
		t.Errorf("events: %+v", all)
	}
	if text := b.logText(app); !strings.Contains(text, "CELL/0 Instance 1 crashed: exited with status 9") {
		t.Errorf("the log does not tell:\n%s", text)
	}
}

func TestScale_ActsAtOnce(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 1)
	b.push(app)
	first := b.instances(app)[0].GUID
	scale := func(n int) {
		_, err := b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{Instances: &n})
		b.must(err)
	}
	scale(3)
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1", "shop/2")
	scale(1)
	b.awaitBackends("shop.apps.localhost", "shop/0")
	b.eventually("the others to end", func() bool { return b.running() == 1 })
	if b.instances(app)[0].GUID != first {
		t.Error("the first instance was not the one to stay")
	}
	scale(0)
	b.awaitBackends("shop.apps.localhost")
	memory := 64
	p, err := b.e.Scale(t.Context(), anna, app.GUID, ScaleRequest{MemoryMB: &memory})
	b.must(err)
	if p.MemoryMB != 64 || p.Instances != 0 {
		t.Errorf("scaled to %+v", p)
	}
	for _, bad := range []ScaleRequest{{Instances: new(int), MemoryMB: new(int)}, {Instances: func() *int { n := -1; return &n }()}} {
		if _, err := b.e.Scale(t.Context(), anna, app.GUID, bad); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%+v was accepted: %v", bad, err)
		}
	}
}

func TestStop_TakesOutAndEnds(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	now, err := b.e.Stop(t.Context(), anna, app.GUID)
	b.must(err)
	if now.State != platform.AppStopped {
		t.Errorf("app is %s", now.State)
	}
	if got := b.router.backends("shop.apps.localhost"); len(got) != 0 {
		t.Errorf("after the answer the route still leads to %v", got)
	}
	b.eventually("the instances to end", func() bool { return b.running() == 0 && len(b.instances(app)) == 0 })
	stats, err := b.e.Stats(t.Context(), app.GUID)
	b.must(err)
	if len(stats) != 2 || stats[0].State != platform.InstanceDown {
		t.Errorf("stats of a stopped app: %+v", stats)
	}
	b.push(app)
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1")
}

// Whose work was cut off can read why.
func TestStop_SaysThatItHadToKill(t *testing.T) {
	b := newBench(t)
	stubborn := answers("one")
	stubborn.StopAfter = time.Hour
	b.when("shop", stubborn)
	app := b.app("shop", 1)
	b.push(app)
	_, err := b.e.Stop(t.Context(), anna, app.GUID)
	b.must(err)
	const want = "Instance 0 did not end within 200ms of SIGTERM and was killed"
	b.eventually("the log to say so", func() bool { return strings.Contains(b.logText(app), want) })
}

// cf restart is stop and start, one right after the other.
func TestStop_FollowedByStartAtOnce(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	for range 5 {
		_, err := b.e.Stop(t.Context(), anna, app.GUID)
		b.must(err)
		b.push(app)
	}
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1")
	b.eventually("two to run", func() bool { return b.running() == 2 && len(b.instances(app)) == 2 })
}

func TestDeleteApp_LeavesNothingButItsRoutes(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	b.must(b.e.DeleteApp(t.Context(), anna, app.GUID))
	if b.running() != 0 || len(b.instances(app)) != 0 {
		t.Error("instances are left")
	}
	if _, err := b.db.App(t.Context(), app.GUID); !isNotFound(err) {
		t.Errorf("the app is still there: %v", err)
	}
	r, err := b.db.RouteByAddress(t.Context(), b.domain.GUID, "shop", "")
	if err != nil || len(r.Destinations) != 0 {
		t.Errorf("the route is %+v, %v", r, err)
	}
	if err := b.e.DeleteApp(t.Context(), anna, app.GUID); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("deleting it again: %v", err)
	}
	b.eventually("its loop to end", func() bool {
		b.e.mu.Lock()
		defer b.e.mu.Unlock()
		return len(b.e.loops) == 0 && len(b.e.homes) == 0
	})
}

func TestRestart_TenAtOnce(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	b.router.set(func(f *fakeRouter) {
		f.onTable = b.alive(func(guid string) { t.Errorf("instance %s is published but does not run", guid) })
	})
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if _, _, err := b.e.Restart(context.Background(), anna, app.GUID); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	all, _, err := b.db.Deployments(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}})
	b.must(err)
	last := all[len(all)-1]
	b.deployed(last)
	for _, d := range all[1 : len(all)-1] {
		if d.Reason != platform.ReasonSuperseded && d.Reason != platform.ReasonDeployed {
			t.Errorf("a restart ended %s: %s", d.Reason, d.Error)
		}
	}
	b.eventually("two to run", func() bool { return b.running() == 2 && len(b.instances(app)) == 2 })
	for _, i := range b.instances(app) {
		if i.DeploymentGUID != last.GUID {
			t.Errorf("instance %d is of an older deployment", i.Index)
		}
	}
}

// alive returns a check that each table leads only to instances that run.
func (b *bench) alive(report func(guid string)) func(routesByKey) {
	return func(routes routesByKey) {
		all, _ := b.sim.List(context.Background())
		running := map[string]bool{}
		for _, s := range all {
			running[s.GUID] = s.Running
		}
		for guid := range backendsOf(routes) {
			if !running[guid] {
				report(guid)
			}
		}
	}
}

func TestRestartInstance_ReplacesOnlyThat(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	before := b.instances(app)
	b.must(b.e.RestartInstance(t.Context(), anna, app.GUID, "web", 1))
	b.await("a new instance", func(context.Context) (bool, error) {
		i := b.instances(app)
		return len(i) == 2 && i[1].GUID != before[1].GUID && isServing(i[1]), nil
	})
	if b.instances(app)[0].GUID != before[0].GUID {
		t.Error("the other one was restarted too")
	}
	for _, c := range []struct {
		typ   string
		index int
		want  string
	}{{"web", 2, "Instance not found"}, {"nope", 0, "Process not found"}} {
		if err := b.e.RestartInstance(t.Context(), anna, app.GUID, c.typ, c.index); err == nil || err.Error() != c.want {
			t.Errorf("%s %d: %v, want %s", c.typ, c.index, err, c.want)
		}
	}
}

func TestEngine_StartsNoMoreThanTheLimitAtOnce(t *testing.T) {
	b := newBenchStopped(t)
	var mu sync.Mutex
	now, most := 0, 0
	b.cfg.StartLimit = 2
	b.cfg.Runner = &countingRunner{
		quietRunner: quietRunner{b.sim},
		in: func() {
			mu.Lock()
			defer mu.Unlock()
			now++
			most = max(most, now)
		},
		out: func() {
			mu.Lock()
			defer mu.Unlock()
			now--
		},
	}
	b.e = New(b.cfg)
	b.run()
	slow := answers("shop")
	slow.StartDelay = 20 * time.Millisecond
	b.when("shop", slow)
	b.push(b.app("shop", 8))
	if most > 2 {
		t.Errorf("%d were starting at once, want at most 2", most)
	}
}
