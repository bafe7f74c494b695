package rollout

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
	"weir/router"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var anna = platform.Actor{GUID: "u1", Name: "anna", Type: "user"}

type routesByKey = map[router.RouteKey]router.Route

// fakeRouter keeps the table it is given and refuses what does not fit, as a
// router does.
type fakeRouter struct {
	mu      sync.Mutex
	number  uint64                           // guarded by mu
	routes  map[router.RouteKey]router.Route // guarded by mu
	down    bool                             // guarded by mu
	busy    map[string]int                   // requests in flight; guarded by mu
	updates int                              // guarded by mu
	onTable func(routesByKey)                // called with mu held
}

func (f *fakeRouter) Put(_ context.Context, t router.Table) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return fmt.Errorf("router is down")
	}
	f.number, f.routes = t.Number, map[router.RouteKey]router.Route{}
	for _, r := range t.Routes {
		f.routes[r.Key()] = r
	}
	f.changed()
	return nil
}

func (f *fakeRouter) Apply(_ context.Context, u router.Update) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return fmt.Errorf("router is down")
	}
	if u.From != f.number {
		return router.ErrOutOfSync
	}
	for _, k := range u.Delete {
		delete(f.routes, k)
	}
	for _, r := range u.Upsert {
		f.routes[r.Key()] = r
	}
	f.number = u.Number
	f.changed()
	return nil
}

func (f *fakeRouter) changed() {
	f.updates++
	if f.onTable != nil {
		f.onTable(f.routes)
	}
}

func (f *fakeRouter) Drain(ctx context.Context, instances []string, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	for {
		f.mu.Lock()
		n := 0
		for _, guid := range instances {
			n += f.busy[guid]
		}
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return router.ErrBusy
		}
		if !sleep(ctx, 5*time.Millisecond) {
			return ctx.Err()
		}
	}
}

func (f *fakeRouter) set(change func(*fakeRouter)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

// backends returns the instances a host leads to, as "app name/index".
func (f *fakeRouter) backends(host string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []string{}
	for _, d := range f.routes[router.RouteKey{Host: host}].Destinations {
		for _, b := range d.Backends {
			out = append(out, fmt.Sprintf("%s/%d", d.AppName, b.Index))
		}
	}
	return out
}

// published returns the GUIDs of all instances in the table.
func (f *fakeRouter) published() map[string]router.Backend {
	f.mu.Lock()
	defer f.mu.Unlock()
	return backendsOf(f.routes)
}

func backendsOf(routes map[router.RouteKey]router.Route) map[string]router.Backend {
	all := map[string]router.Backend{}
	for _, r := range routes {
		for _, d := range r.Destinations {
			for _, b := range d.Backends {
				all[b.InstanceGUID] = b
			}
		}
	}
	return all
}

// dirDroplets gives every digest the same directory.
type dirDroplets string

func (d dirDroplets) Tree(string) (string, bool)   { return string(d), true }
func (d dirDroplets) Lease(string) (func(), error) { return func() {}, nil }

// CheckOnce finds those damaged whose digest says so.
func (d dirDroplets) CheckOnce(_ context.Context, digest string) error {
	if digest == "damaged" {
		return &platform.Error{Kind: platform.KindInternal, Msg: "the files are damaged", Hint: "stage the app again"}
	}
	return nil
}

// bench is an engine with everything around it.
type bench struct {
	testing.TB
	db     *store.Store
	sim    *runnertest.Sim
	router *fakeRouter
	logs   *logs.Store
	e      *Engine
	cfg    Config
	space  platform.Space
	domain platform.Domain
	stop   func()

	mu   sync.Mutex
	does map[string]runnertest.Behaviour // by start command; guarded by mu
}

// answers is a web server that says its name.
func answers(name string) runnertest.Behaviour {
	return runnertest.Behaviour{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, name) })}
}

// emptyStore is the file of a store with nothing but the defaults. Making one
// anew for each test would take longer than most tests do.
var emptyStore = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "weir-rollout-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "weir.db")
	db, err := store.Open(context.Background(), path)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(db.EnsureDefaults(context.Background(), "apps.localhost"), db.Close()); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

func newBench(t testing.TB) *bench {
	b := newBenchStopped(t)
	b.run()
	return b
}

func newBenchStopped(t testing.TB) *bench {
	t.Helper()
	b := &bench{TB: t, router: &fakeRouter{}, does: map[string]runnertest.Behaviour{}}
	dir := t.TempDir()
	path := filepath.Join(dir, "weir.db")
	empty, err := emptyStore()
	b.must(err)
	b.must(os.WriteFile(path, empty, 0o600))
	if b.db, err = store.Open(context.Background(), path); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.must(b.db.Close()) })
	spaces, _, err := b.db.Spaces(t.Context(), store.Query{})
	b.must(err)
	domains, _, err := b.db.Domains(t.Context(), store.Query{})
	b.must(err)
	b.space, b.domain = spaces[0], domains[0]
	if b.logs, err = logs.Open(filepath.Join(dir, "logs"), logs.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.logs.Close() })
	b.sim = &runnertest.Sim{Dir: filepath.Join(dir, "instances"), Behave: b.behave}
	t.Cleanup(b.endInstances)
	b.cfg = Config{
		Store: b.db, Runner: quietRunner{b.sim}, Router: b.router, Droplets: dirDroplets(dir), Logs: b.logs,
		Shell: "/bin/sh", DrainTimeout: 2 * time.Second, StopGrace: 200 * time.Millisecond,
	}
	if os.Getenv("WEIR_TEST_LOG") != "" {
		b.cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	b.e = New(b.cfg)
	return b
}

// endInstances ends what the engine left running, as it should.
func (b *bench) endInstances() {
	all, err := b.sim.List(context.Background())
	b.must(err)
	for _, s := range all {
		b.sim.Crash(s.GUID, platform.Exit{Signal: "SIGKILL"})
	}
}

// quietRunner is a Sim whose instances write nothing: it has no FIFOs.
type quietRunner struct{ *runnertest.Sim }

func (q quietRunner) Logs(string) (stdout, stderr string) { return os.DevNull, os.DevNull }

func (b *bench) behave(s runner.Spec) runnertest.Behaviour {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.does[s.Args[len(s.Args)-1]]
}

// when says what a start command does.
func (b *bench) when(command string, does runnertest.Behaviour) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.does[command] = does
}

// run runs the engine until stop or the end of the test.
func (b *bench) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	e := b.e
	go func() { done <- e.Run(ctx) }()
	var once sync.Once
	b.stop = func() {
		once.Do(func() {
			cancel()
			select {
			case err := <-done:
				b.must(err)
			case <-time.After(time.Minute):
				b.Error("the engine does not end")
			}
		})
	}
	b.Cleanup(b.stop)
}

// restart kills the engine and runs another one on the same store and runner.
func (b *bench) restart() {
	b.stop()
	b.e = New(b.cfg)
	b.run()
}

func (b *bench) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// app makes an app with a route and a droplet whose start command is its name.
func (b *bench) app(name string, instances int) platform.App {
	b.Helper()
	app, err := b.e.CreateApp(b.Context(), anna, platform.App{SpaceGUID: b.space.GUID, Name: name})
	b.must(err)
	b.mapRoute(name, app)
	_, err = b.e.Scale(b.Context(), anna, app.GUID, ScaleRequest{Instances: &instances})
	b.must(err)
	b.use(app, b.droplet(app, name))
	return app
}

func (b *bench) mapRoute(host string, app platform.App) platform.Route {
	b.Helper()
	r, err := b.e.CreateRoute(b.Context(), anna, platform.Route{SpaceGUID: b.space.GUID, DomainGUID: b.domain.GUID, Host: host})
	b.must(err)
	_, err = b.e.AddDestinations(b.Context(), anna, r.GUID, []platform.Destination{{AppGUID: app.GUID}})
	b.must(err)
	return r
}

func (b *bench) droplet(app platform.App, command string) platform.Droplet {
	b.Helper()
	d := platform.Droplet{
		Resource: platform.NewResource(time.Now()), AppGUID: app.GUID, State: platform.DropletStaged,
		Digest: command, ProcessTypes: map[string]string{"web": command},
	}
	b.must(b.db.InsertDroplet(b.Context(), d))
	return d
}

func (b *bench) use(app platform.App, d platform.Droplet) {
	b.Helper()
	b.must(b.e.SetCurrentDroplet(b.Context(), anna, app.GUID, d.GUID))
}

func (b *bench) start(app platform.App) platform.Deployment {
	b.Helper()
	_, d, err := b.e.Start(b.Context(), anna, app.GUID)
	b.must(err)
	return d
}

func (b *bench) restartApp(app platform.App) platform.Deployment {
	b.Helper()
	_, d, err := b.e.Restart(b.Context(), anna, app.GUID)
	b.must(err)
	return d
}

// push starts the app and waits until it is deployed.
func (b *bench) push(app platform.App) platform.Deployment {
	b.Helper()
	return b.deployed(b.start(app))
}

// ended waits for the end of a deployment.
func (b *bench) ended(d platform.Deployment) platform.Deployment {
	b.Helper()
	b.await("the end of deployment "+d.GUID, func(ctx context.Context) (bool, error) {
		var err error
		d, err = b.db.Deployment(ctx, d.GUID)
		return !d.IsActive(), err
	})
	return d
}

func (b *bench) deployed(d platform.Deployment) platform.Deployment {
	b.Helper()
	d = b.ended(d)
	if d.Reason != platform.ReasonDeployed {
		b.Fatalf("deployment ended %s: %s", d.Reason, d.Error)
	}
	return d
}

// await waits for a condition on the rows.
func (b *bench) await(what string, cond func(context.Context) (bool, error)) {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	if err := b.db.Wait(ctx, cond); err != nil {
		b.Fatalf("waiting for %s: %v\n%s", what, err, b.tell())
	}
}

// tell shows all instances.
func (b *bench) tell() string {
	rows, _, _ := b.db.Instances(context.Background(), store.Query{})
	var out strings.Builder
	for _, i := range rows {
		fmt.Fprintf(&out, "%s %s/%d of %s: %s ready=%t crashes=%d %s\n", i.GUID, i.ProcessType, i.Index, i.DeploymentGUID, i.State, i.Ready, i.Crashes, i.Details)
	}
	return out.String()
}

// awaitBackends waits until a host leads to exactly these.
func (b *bench) awaitBackends(host string, want ...string) {
	b.Helper()
	b.eventually(fmt.Sprintf("%s to lead to %v", host, want), func() bool {
		return slices.Equal(b.router.backends(host), want)
	})
}

// eventually waits for something outside the rows.
func (b *bench) eventually(what string, cond func() bool) {
	b.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("waiting for %s\n%s", what, b.tell())
		}
	}
}

// instances returns the app's instances by index.
func (b *bench) instances(app platform.App) []platform.Instance {
	b.Helper()
	rows, _, err := b.db.Instances(b.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}})
	b.must(err)
	slices.SortFunc(rows, func(x, y platform.Instance) int {
		return cmp.Or(cmp.Compare(x.ProcessType, y.ProcessType), cmp.Compare(x.Index, y.Index))
	})
	return rows
}

// running returns how many instances the runner runs.
func (b *bench) running() int {
	all, err := b.sim.List(b.Context())
	b.must(err)
	n := 0
	for _, s := range all {
		if s.Running {
			n++
		}
	}
	return n
}

// events returns the types of the events about an app, oldest first.
func (b *bench) events(guid string) []string {
	b.Helper()
	all, _, err := b.db.Events(b.Context(), store.Query{In: map[string][]string{"target_guids": {guid}}})
	b.must(err)
	var out []string
	for _, e := range all {
		out = append(out, e.Type)
	}
	return out
}

// logText returns the app's log.
func (b *bench) logText(app platform.App) string {
	b.Helper()
	lines, err := b.logs.Read(b.Context(), app.GUID, logs.ReadOptions{})
	b.must(err)
	var out strings.Builder
	for _, l := range lines {
		fmt.Fprintf(&out, "%s/%s %s\n", l.SourceType, l.Instance, l.Payload)
	}
	return out.String()
}

// countingRunner tells when starts begin and end.
type countingRunner struct {
	quietRunner
	in, out func()
}

func (c *countingRunner) Start(ctx context.Context, s runner.Spec) (runner.Status, error) {
	c.in()
	defer c.out()
	return c.quietRunner.Start(ctx, s)
}
