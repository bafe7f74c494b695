package rollout

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/runner/runnertest"
)

// at returns where a listener listens.
func at(t *testing.T, addr net.Addr) endpoint {
	t.Helper()
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return endpoint{host, n}
}

// closedPort returns an endpoint where nothing listens.
func closedPort(t *testing.T) endpoint {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return at(t, l.Addr())
}

// outcomeOf runs a probe until its first report and returns what it saw.
func outcomeOf(t *testing.T, p *probe) run {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var r run
	p.note = func(string, ...any) {}
	p.report = func(f func(*run)) { f(&r); cancel() }
	p.run(ctx)
	return r
}

func TestProbe_SaysWhereTheAppListensInstead(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	other := at(t, l.Addr())
	if got := listeningPorts(os.Getpid()); !slices.Contains(got, other.port) {
		t.Fatalf("this process listens on %v, want %d among them", got, other.port)
	}
	own := closedPort(t)
	r := outcomeOf(t, &probe{
		at: own, pid: os.Getpid(), started: time.Now().Add(-time.Minute),
		health: platform.HealthCheck{Type: platform.HealthPort, Timeout: 1},
	})
	want := fmt.Sprintf("the app did not listen on its port (PORT=%d) within 1s; it listens on ", own.port)
	if !strings.HasPrefix(r.timedOut, want) || !strings.Contains(r.timedOut, strconv.Itoa(other.port)) {
		t.Errorf("got %q, want %q…%d", r.timedOut, want, other.port)
	}
}

func TestProbe_Start(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			<-r.Context().Done()
		case "/slow":
			time.Sleep(1500 * time.Millisecond)
		case "/away":
			http.Redirect(w, r, "/", http.StatusFound)
		}
	}))
	t.Cleanup(srv.Close)
	up := at(t, srv.Listener.Addr())
	long := time.Now().Add(-time.Minute)
	const patient = 60 // a machine with much to do answers late, too
	for name, c := range map[string]struct {
		at    endpoint
		check platform.HealthCheck
		want  string
	}{
		"port":         {up, platform.HealthCheck{Type: "port", InvocationTimeout: patient}, ""},
		"http":         {up, platform.HealthCheck{Type: "http", Endpoint: "/", InvocationTimeout: patient}, ""},
		"http no path": {up, platform.HealthCheck{Type: "http", InvocationTimeout: patient}, ""},
		"process":      {closedPort(t), platform.HealthCheck{Type: "process"}, ""},
		"redirect":     {up, platform.HealthCheck{Type: "http", Endpoint: "/away", InvocationTimeout: patient}, "GET /away answered 302"},
		"silent":       {up, platform.HealthCheck{Type: "http", Endpoint: "/silent"}, "no answer within 1s"},
		"slow enough":  {up, platform.HealthCheck{Type: "http", Endpoint: "/slow", InvocationTimeout: patient}, ""},
		"nobody there": {closedPort(t), platform.HealthCheck{Type: "http", InvocationTimeout: patient}, "did not listen on its port"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := outcomeOf(t, &probe{at: c.at, started: long, health: c.check})
			if c.want == "" && (!r.healthy || !r.ready) {
				t.Errorf("it is not healthy: %q", r.timedOut)
			}
			if c.want != "" && !strings.Contains(r.timedOut, c.want) {
				t.Errorf("got %q, want %q", r.timedOut, c.want)
			}
		})
	}
}

// pushWithReadiness pushes an app of one instance whose GET /ready, asked every
// second, answers 503 unless ready.
func (b *bench) pushWithReadiness(name string, ready func() bool) platform.App {
	b.Helper()
	b.when(name, runnertest.Behaviour{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" && !ready() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})})
	app := b.app(name, 1)
	_, err := b.e.UpdateProcess(b.Context(), anna, app.GUID, func(p *platform.Process) error {
		p.Readiness = platform.HealthCheck{Type: "http", Endpoint: "/ready", Interval: 1}
		return nil
	})
	b.must(err)
	b.push(app)
	return app
}

// It is watched from its first good answer on.
func TestReadiness_MayBeLostAtOnce(t *testing.T) {
	b := newBench(t)
	var asked atomic.Int32
	b.pushWithReadiness("shop", func() bool { return asked.Add(1) == 1 })
	b.awaitBackends("shop.apps.localhost")
}

func TestReadiness_TakesOutOfTheTableOnly(t *testing.T) {
	b := newBench(t)
	var ready atomic.Bool
	ready.Store(true)
	app := b.pushWithReadiness("shop", ready.Load)
	first := b.instances(app)[0].GUID
	ready.Store(false)
	b.awaitBackends("shop.apps.localhost")
	stats, err := b.e.Stats(t.Context(), app.GUID)
	b.must(err)
	if stats[0].State != platform.InstanceRunning || stats[0].Routable {
		t.Errorf("it is %s, routable=%t", stats[0].State, stats[0].Routable)
	}
	ready.Store(true)
	b.awaitBackends("shop.apps.localhost", "shop/0")
	if b.instances(app)[0].GUID != first {
		t.Error("it was restarted")
	}
	events := b.events(app.GUID)
	if !slices.Contains(events, "audit.app.process.not-ready") || !slices.Contains(events, "audit.app.process.ready") {
		t.Errorf("events: %v", events)
	}
}

func TestReadiness_NeverPassingFailsTheDeployment(t *testing.T) {
	b := newBench(t)
	b.when("good", answers("good"))
	b.when("bad", runnertest.Behaviour{Handler: http.NotFoundHandler()})
	app := b.app("good", 1)
	b.push(app)
	_, err := b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error {
		p.Health.Timeout = 1
		p.Health.InvocationTimeout = 60 // the last check of that second may take its time
		p.Readiness = platform.HealthCheck{Type: "http", Endpoint: "/ready", InvocationTimeout: 60}
		return nil
	})
	b.must(err)
	b.use(app, b.droplet(app, "bad"))
	d := b.ended(b.restartApp(app))
	if want := "the app did not pass its readiness check within 1s: GET /ready answered 404"; d.Error != want {
		t.Errorf("it ended with %q, want %q", d.Error, want)
	}
	b.awaitBackends("good.apps.localhost", "good/0")
}

func TestLiveness_FailingRestarts(t *testing.T) {
	b := newBench(t)
	var sick atomic.Bool
	b.when("shop", runnertest.Behaviour{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if sick.Load() {
			w.WriteHeader(http.StatusInternalServerError)
		}
	})})
	app := b.app("shop", 1)
	_, err := b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error {
		p.Health = platform.HealthCheck{Type: "http", Endpoint: "/up", Interval: 1}
		return nil
	})
	b.must(err)
	b.push(app)
	first := b.instances(app)[0].GUID
	sick.Store(true)
	b.await("it to be killed", func(context.Context) (bool, error) {
		i := b.instances(app)[0]
		return i.GUID != first && i.LastExit != nil, nil
	})
	sick.Store(false)
	if got, want := b.instances(app)[0].LastExit.Reason, "the health check failed: GET /up answered 500"; got != want {
		t.Errorf("the reason is %q, want %q", got, want)
	}
	b.awaitBackends("shop.apps.localhost", "shop/0")
	b.eventually("the sick one to be gone", func() bool { return b.running() == 1 })
}
