package rollout

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
)

func TestRun_AdoptsWhatStillRuns(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 3)
	b.push(app)
	before := b.instances(app)
	b.stop()
	b.sim.Crash(before[1].GUID, platform.Exit{Code: 4}) // while nobody watches
	b.router.set(func(f *fakeRouter) {
		f.onTable = b.alive(func(guid string) { t.Errorf("%s is published but does not run", guid) })
	})
	b.restart()
	b.await("the crashed one to be back", func(context.Context) (bool, error) {
		i := b.instances(app)
		return len(i) == 3 && i[1].GUID != before[1].GUID && isServing(i[1]), nil
	})
	now := b.instances(app)
	if now[0].GUID != before[0].GUID || now[2].GUID != before[2].GUID {
		t.Error("instances that ran were not adopted")
	}
	if now[1].Crashes != 1 || now[1].LastExit == nil || now[1].LastExit.Code != 4 {
		t.Errorf("its exit is not recorded: %+v", now[1])
	}
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1", "shop/2")
	// The adopted ones are watched as before.
	b.sim.Crash(before[0].GUID, platform.Exit{Code: 5})
	b.await("the other one to be back", func(context.Context) (bool, error) {
		i := b.instances(app)
		return i[0].GUID != before[0].GUID && isServing(i[0]), nil
	})
}

func TestRun_BringsAppsBackAfterTheMachineWasOff(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 2)
	b.push(app)
	b.stop()
	for _, i := range b.instances(app) { // nothing is left of them
		b.sim.Crash(i.GUID, platform.Exit{Signal: "SIGKILL"})
		b.must(b.sim.Remove(t.Context(), i.GUID))
	}
	b.restart()
	b.await("two new ones", func(context.Context) (bool, error) {
		i := b.instances(app)
		return len(i) == 2 && isServing(i[0]) && isServing(i[1]), nil
	})
	b.awaitBackends("shop.apps.localhost", "shop/0", "shop/1")
	for _, i := range b.instances(app) {
		if i.Crashes != 0 {
			t.Errorf("instance %d counts %d crashes for a power cut", i.Index, i.Crashes)
		}
	}
}

func TestRun_StopsStraysButNoBuilds(t *testing.T) {
	b := newBenchStopped(t)
	_, err := b.sim.Start(t.Context(), runner.Spec{GUID: "stray", AppGUID: "gone", Process: "web", Args: []string{"x"}})
	b.must(err)
	_, err = b.sim.Start(t.Context(), runner.Spec{GUID: "build", AppGUID: "gone", Args: []string{"x"}})
	b.must(err)
	b.run()
	b.eventually("the stray to go", func() bool {
		all, err := b.sim.List(t.Context())
		b.must(err)
		return len(all) == 1
	})
	all, err := b.sim.List(t.Context())
	b.must(err)
	if all[0].GUID != "build" || !all[0].Running {
		t.Errorf("the build is %+v", all[0])
	}
}

func TestRun_FinishesADeploymentThatWasUnderWay(t *testing.T) {
	b := newBench(t)
	b.when("one", answers("one"))
	slow := answers("two")
	slow.StartDelay = 50 * time.Millisecond
	b.when("two", slow)
	app := b.app("one", 4)
	b.push(app)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID})
	for range 4 {
		time.Sleep(70 * time.Millisecond)
		b.restart()
	}
	b.deployed(d)
	b.eventually("four to run", func() bool { return b.running() == 4 && len(b.instances(app)) == 4 })
	b.awaitBackends("one.apps.localhost", "one/0", "one/1", "one/2", "one/3")
}

func TestRun_SurvivesTheLossOfTheRunner(t *testing.T) {
	b := newBench(t)
	b.when("shop", answers("shop"))
	app := b.app("shop", 1)
	b.push(app)
	for n := range 3 {
		victim := b.instances(app)[0]
		b.sim.Lose()
		b.sim.Crash(victim.GUID, platform.Exit{Code: n})
		b.await("a new one", func(context.Context) (bool, error) {
			i := b.instances(app)
			return i[0].GUID != victim.GUID && isServing(i[0]), nil
		})
	}
}

// TestEngine_AnyStoryEndsWell lets many things happen to a few apps at once:
// commands, crashes, a lost runner, a router that is away, and the engine
// itself killed and started again. At no time may a table lead to an instance
// that was stopped by us, nor may an app that nobody stopped be without one.
func TestEngine_AnyStoryEndsWell(t *testing.T) {
	seeds := uint64(6)
	if underRace {
		seeds = 2
	}
	if more, err := strconv.ParseUint(os.Getenv("WEIR_TEST_STORIES"), 10, 64); err == nil {
		seeds = more
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			story(t, seed)
		})
	}
}

func story(t *testing.T, seed uint64) {
	b := newBench(t)
	rng := rand.New(rand.NewPCG(seed, 2))
	b.when("good", answers("good"))
	b.when("better", answers("better"))
	b.when("bad", runnertest.Behaviour{CrashAfter: 2 * time.Millisecond, Exit: platform.Exit{Code: 1}})
	b.when("nowhere", runnertest.Behaviour{StartError: platform.Invalidf("command not found")})

	w := &witness{b: b, crashed: map[string]bool{}}
	b.router.set(func(f *fakeRouter) { f.onTable = w.table })
	var apps []platform.App
	droplets := map[string][]platform.Droplet{}
	for n := range 3 {
		app := b.app(fmt.Sprintf("app%d", n), 1+n)
		good := b.droplet(app, "good")
		droplets[app.GUID] = []platform.Droplet{good, b.droplet(app, "better"), b.droplet(app, "bad"), b.droplet(app, "nowhere")}
		b.use(app, good)
		b.push(app)
		apps = append(apps, app)
	}
	steady := b.app("steady", 2) // is only restarted: it must never be without
	b.use(steady, b.droplet(steady, "good"))
	b.push(steady)
	w.set(func() { w.steady = "steady.apps.localhost" })
	ctx := t.Context()
	steps := 60
	if underRace {
		steps = 25
	}
	for range steps {
		app := apps[rng.IntN(len(apps))]
		d := droplets[app.GUID][rng.IntN(4)]
		n := rng.IntN(4)
		// Refusals are part of the story: a deployment may be on its way.
		switch rng.IntN(12) {
		case 0, 1:
			b.e.SetCurrentDroplet(ctx, anna, app.GUID, d.GUID)
			b.e.Restart(ctx, anna, app.GUID)
		case 2:
			b.e.Restart(ctx, anna, steady.GUID)
		case 3:
			b.e.Deploy(ctx, anna, DeployRequest{AppGUID: app.GUID, DropletGUID: d.GUID, MaxInFlight: 1 + n})
		case 4:
			b.e.Scale(ctx, anna, app.GUID, ScaleRequest{Instances: &n})
		case 5:
			b.e.Stop(ctx, anna, app.GUID)
		case 6:
			if a, ok, _ := b.db.ActiveDeployment(ctx, app.GUID); ok {
				b.e.Cancel(ctx, anna, a.GUID)
			}
		case 7:
			if rows := b.instances(app); len(rows) > 0 {
				w.crash(rows[rng.IntN(len(rows))].GUID)
			}
		case 8:
			b.sim.Lose()
		case 9:
			b.restart()
		case 10:
			b.router.set(func(f *fakeRouter) { f.down = true })
			time.AfterFunc(time.Duration(rng.IntN(60))*time.Millisecond, func() { b.router.set(func(f *fakeRouter) { f.down = false }) })
		case 11:
			b.e.RestartInstance(ctx, anna, app.GUID, "web", n)
		}
		time.Sleep(time.Duration(rng.IntN(25)) * time.Millisecond)
	}
	w.set(func() { w.steady = "" })
	for _, app := range append(apps, steady) {
		b.e.Stop(ctx, anna, app.GUID)
		b.use(app, b.droplet(app, "good"))
		b.push(app)
	}
	b.settled(append(apps, steady))
}

// settled checks that rows, processes and routes agree.
func (b *bench) settled(apps []platform.App) {
	b.Helper()
	want := 0
	for _, app := range apps {
		p, err := b.db.Process(b.Context(), app.GUID)
		b.must(err)
		want += p.Instances
		b.await(app.Name+" to settle", func(context.Context) (bool, error) {
			rows := b.instances(app)
			return len(rows) == p.Instances && !slices.ContainsFunc(rows, func(i platform.Instance) bool { return !isServing(i) }), nil
		})
		var names []string
		for n := range p.Instances {
			names = append(names, fmt.Sprintf("%s/%d", app.Name, n))
		}
		b.awaitBackends(app.Name+".apps.localhost", names...)
	}
	b.eventually("nothing else to run", func() bool { return b.running() == want })
	rows, _, err := b.db.Instances(b.Context(), store.Query{})
	b.must(err)
	published := b.router.published()
	for _, i := range rows {
		if _, ok := published[i.GUID]; !ok {
			b.Errorf("instance %s is not published", i.GUID)
		}
	}
	all, err := b.sim.List(b.Context())
	b.must(err)
	if len(all) != want {
		b.Errorf("the runner remembers %d instances, want %d", len(all), want)
	}
}

// witness looks at every table.
type witness struct {
	b       *bench
	mu      sync.Mutex
	crashed map[string]bool // instances that were made to crash; guarded by mu
	steady  string          // a host that must never be without; guarded by mu
}

func (w *witness) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

func (w *witness) crash(guid string) {
	w.set(func() { w.crashed[guid] = true })
	w.b.sim.Crash(guid, platform.Exit{Code: 1})
}

func (w *witness) table(routes routesByKey) {
	all, _ := w.b.sim.List(context.Background())
	running := map[string]bool{}
	for _, s := range all {
		running[s.GUID] = s.Running
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for guid := range backendsOf(routes) {
		if !running[guid] && !w.crashed[guid] {
			w.b.Errorf("a table leads to %s, which was stopped", guid)
		}
	}
	for key, r := range routes {
		if key.Host == w.steady && (len(r.Destinations) == 0 || len(r.Destinations[0].Backends) < 2) {
			w.b.Errorf("a table leaves %s with %d backends", key.Host, len(r.Destinations[0].Backends))
		}
	}
}
