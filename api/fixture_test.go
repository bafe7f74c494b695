package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/api"
	"weir/api/client"
	"weir/api/logcache"
	"weir/api/uaa"
	v3 "weir/api/v3"
	"weir/droplets"
	"weir/internal/auth"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/release"
	"weir/internal/rollout"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
	"weir/internal/store"
	"weir/router"
	"weir/stager"
)

// fixture is a whole controller over a simulated runner and a router that
// takes every table.
type fixture struct {
	t        *testing.T
	store    *store.Store
	engine   *rollout.Engine
	releases *release.Engine
	stager   *stager.Stager
	trees    *droplets.Store
	logs     *logs.Store
	auth     *auth.Service
	sim      *runnertest.Sim
	gate     sync.RWMutex // while it is locked, the router takes no table
	takes    atomic.Pointer[func(router.Update)]
	compared pairsOf // what the router is said to have compared
	api      *api.API
	url      string
	client   *client.Client
	token    string
	org      string // GUIDs of what exists from the start
	space    string
	domain   string

	log *bytes.Buffer // of the API; read it only when nothing is under way
}

const (
	adminPassword = "correct horse battery staple"
	base          = "http://api.weir.test" // what links begin with
)

// anyRouter takes every table, if gate lets it, and is always drained.
type anyRouter struct {
	gate  *sync.RWMutex
	takes *atomic.Pointer[func(router.Update)] // is called first, if there is one
}

func (anyRouter) Put(context.Context, router.Table) error { return nil }

func (r anyRouter) Apply(_ context.Context, u router.Update) error {
	if takes := r.takes.Load(); takes != nil {
		(*takes)(u)
	}
	r.gate.RLock()
	defer r.gate.RUnlock()
	return nil
}

func (anyRouter) Drain(context.Context, []string, time.Duration) error { return nil }
func (anyRouter) Status(context.Context) (s router.Status, err error)  { return s, nil }

// Evidence has seen no request.
func (anyRouter) Evidence(ctx context.Context, _ router.EvidenceQuery) (router.Evidence, error) {
	select {
	case <-ctx.Done():
	case <-time.After(5 * time.Millisecond):
	}
	return router.Evidence{Router: "any"}, ctx.Err()
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	return newFixtureAt(t, base)
}

// newFixtureAt has links begin with external or, if that is empty, with
// whatever a request was sent to.
func newFixtureAt(t *testing.T, external string) *fixture {
	t.Helper()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(context.Background())
	f := &fixture{t: t, sim: &runnertest.Sim{Dir: dir}, log: &bytes.Buffer{}}
	f.sim.Behave = func(runner.Spec) runnertest.Behaviour { return runnertest.Behaviour{} }
	db, token := template(t)
	f.must(os.WriteFile(filepath.Join(dir, "weir.db"), db, 0o600))
	var err error
	f.store, err = store.Open(ctx, filepath.Join(dir, "weir.db"))
	f.must(err)
	f.logs, err = logs.Open(filepath.Join(dir, "logs"), logs.Options{})
	f.must(err)
	f.trees, err = droplets.Open(filepath.Join(dir, "droplets"), droplets.Options{})
	f.must(err)
	f.auth = auth.New(auth.Config{Store: f.store})
	f.engine = rollout.New(rollout.Config{
		Store: f.store, Runner: f.sim, Router: anyRouter{&f.gate, &f.takes}, Logs: f.logs, Droplets: f.trees, StopGrace: time.Millisecond,
	})
	f.releases = release.New(release.Config{Store: f.store, Versions: f.engine, Evidence: anyRouter{}})
	f.stager = stager.New(stager.Config{
		Store: f.store, Droplets: f.trees, Runner: f.sim, Logs: f.logs,
		Dir: filepath.Join(dir, "staging"), CacheDir: filepath.Join(dir, "cache"),
	})
	f.api, err = api.New(api.Config{
		Store: f.store, Engine: f.engine, Releases: f.releases, Shadows: f.shadows(dir),
		Stager: f.stager, Auth: f.auth, Logs: f.logs, Droplets: f.trees,
		Login:       uaa.New(uaa.Config{Auth: f.auth, Store: f.store}),
		LogCache:    logcache.New(logcache.Config{Auth: f.auth, Logs: f.logs, Store: f.store}),
		ExternalURL: external,
		RouterHTTP:  func() string { return "http://127.0.0.1:8080" },
		TempDir:     dir,
		Version:     "0.1.0",
		Logger:      slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelWarn})),
	})
	f.must(err)
	f.serve(ctx, stop)
	f.use(token)
	return f
}

// template is a database with the admin in it, and a token of theirs. It is
// made once, because hashing passwords takes long.
var template = func() func(*testing.T) ([]byte, v3.Token) {
	var once sync.Once
	var db []byte
	var token v3.Token
	return func(t *testing.T) ([]byte, v3.Token) {
		once.Do(func() {
			path := filepath.Join(t.TempDir(), "weir.db")
			ctx := context.Background()
			s, err := store.Open(ctx, path)
			if err != nil {
				t.Fatal(err)
			}
			a := auth.New(auth.Config{Store: s})
			if err := errors.Join(s.EnsureDefaults(ctx, "apps.localhost"), a.Bootstrap(ctx, adminPassword)); err != nil {
				t.Fatal(err)
			}
			tokens, err := a.Password(ctx, "cf", "admin", adminPassword)
			if err != nil {
				t.Fatal(err)
			}
			token = v3.Token{AccessToken: tokens.Access, RefreshToken: tokens.Refresh}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = os.ReadFile(path); err != nil {
				t.Fatal(err)
			}
		})
		return db, token
	}
}()

// serve runs everything until the end of the test.
func (f *fixture) serve(ctx context.Context, stop context.CancelFunc) {
	done := make(chan error, 4)
	for _, run := range []func(context.Context) error{f.engine.Run, f.releases.Run, f.stager.Run, f.api.Run} {
		go func() { done <- run(ctx) }()
	}
	srv := httptest.NewServer(f.api)
	f.url = srv.URL
	f.t.Cleanup(func() {
		stop()
		srv.CloseClientConnections()
		srv.Close()
		for range 4 {
			if err := <-done; err != nil {
				f.t.Errorf("Run: %v", err)
			}
		}
		f.must(f.logs.Close())
		f.must(f.trees.Close())
		f.must(f.store.Close())
		if f.t.Failed() && f.log.Len() > 0 {
			f.t.Logf("the API's log:\n%s", f.log)
		}
	})
}

// use makes a client that calls with a token, and finds what is there.
func (f *fixture) use(token v3.Token) {
	f.t.Helper()
	ctx := f.t.Context()
	plain, err := client.New(client.Config{URL: f.url})
	f.must(err)
	f.token = token.AccessToken
	// Links lead to the external URL; here they lead back to this server.
	f.client, err = client.New(client.Config{
		URL: f.url, Tokens: client.NewSession(client.SessionConfig{Auth: plain, Token: token}),
		HTTP: &http.Client{Transport: toServer{f.url}},
	})
	f.must(err)
	orgs, err := f.client.Organizations(ctx, nil)
	f.must(err)
	spaces, err := f.client.Spaces(ctx, nil)
	f.must(err)
	domains, err := f.client.Domains(ctx, nil)
	f.must(err)
	f.org, f.space, f.domain = orgs[0].GUID, spaces[0].GUID, domains[0].GUID
}

// toServer sends requests for the external URL to the test's server.
type toServer struct{ url string }

func (s toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.URL.Scheme, r.URL.Host, _ = strings.Cut(s.url, "://")
	return http.DefaultTransport.RoundTrip(r)
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// answer is what came back for a request.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// detail returns the details of an error answer, joined.
func (a answer) detail() string {
	var e v3.Errors
	if json.Unmarshal(a.body, &e) != nil {
		return string(a.body)
	}
	var all []string
	for _, x := range e.Errors {
		all = append(all, x.Detail)
	}
	return strings.Join(all, " | ")
}

// do sends a request with the admin's token. A string body that does not look
// like JSON is YAML.
func (f *fixture) do(method, path, body string) answer {
	f.t.Helper()
	return f.doWith(method, path, body, f.token)
}

func (f *fixture) doWith(method, path, body, token string) answer {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url+path, strings.NewReader(body))
	f.must(err)
	if token != "" {
		req.Header.Set("Authorization", "bearer "+token)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
		if body[0] != '{' && body[0] != '[' {
			req.Header.Set("Content-Type", "application/x-yaml")
		}
	}
	return f.send(req)
}

func (f *fixture) send(req *http.Request) answer {
	f.t.Helper()
	noRedirect := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := noRedirect.Do(req)
	f.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	f.must(err)
	a := answer{resp.StatusCode, resp.Header, b}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && strings.HasPrefix(req.URL.Path, "/v3") {
		checkShape(f.t, req.Method+" "+req.URL.Path, b)
	}
	return a
}

// get reads path into out.
func (f *fixture) get(path string, out any) {
	f.t.Helper()
	a := f.do("GET", path, "")
	if a.status != 200 {
		f.t.Fatalf("GET %s: %d %s", path, a.status, a.body)
	}
	f.must(json.Unmarshal(a.body, out))
}

// wants sends a request and holds the answer to a status.
func (f *fixture) wants(status int, method, path, body string) answer {
	f.t.Helper()
	a := f.do(method, path, body)
	if a.status != status {
		f.t.Fatalf("%s %s: got %d, want %d: %s", method, path, a.status, status, a.body)
	}
	return a
}

// app makes an app with a staged current droplet.
func (f *fixture) app(name string) (app v3.App, droplet string) {
	f.t.Helper()
	app, err := f.client.CreateApp(f.t.Context(), v3.AppCreate{Name: name, Relationships: v3.Relationships{"space": v3.To(f.space)}})
	f.must(err)
	droplet = f.droplet(app.GUID, "hello from "+name)
	f.must(f.client.SetCurrentDroplet(f.t.Context(), app.GUID, droplet))
	return app, droplet
}

// droplet commits a tree and enters it as a staged droplet of the app, made
// from a package that is ready.
func (f *fixture) droplet(app, content string) string {
	f.t.Helper()
	ctx := f.t.Context()
	dir := filepath.Join(f.t.TempDir(), "droplet")
	for _, d := range []string{"app", "deps", "profile.d", "tmp", "logs"} {
		f.must(os.MkdirAll(filepath.Join(dir, d), 0o755))
	}
	f.must(os.WriteFile(filepath.Join(dir, "app", "index.html"), []byte(content), 0o644))
	types := map[string]string{"web": "./serve"}
	m, err := f.trees.Commit(ctx, dir, droplets.CommitInfo{ProcessTypes: types, Stack: "cflinuxfs4"})
	f.must(err)
	pkg := platform.Package{Resource: platform.NewResource(time.Now()), AppGUID: app, Type: "bits", State: platform.PackageReady, Digest: strings.Repeat("ab", 32)}
	f.must(f.store.InsertPackage(ctx, pkg))
	d := platform.Droplet{
		Resource: platform.NewResource(time.Now()), AppGUID: app, PackageGUID: pkg.GUID, State: platform.DropletStaged,
		Digest: m.Digest, Size: m.Size, ProcessTypes: types, Stack: "cflinuxfs4",
		Buildpacks: []platform.DropletBuildpack{{Name: "static", DetectOutput: "static", Version: "1.0", BuildpackName: "static"}},
	}
	f.must(f.store.InsertDroplet(ctx, d))
	return d.GUID
}

// job follows the job an answer points to and returns it.
func (f *fixture) job(a answer) v3.Job {
	f.t.Helper()
	loc := a.header.Get("Location")
	path, ok := strings.CutPrefix(loc, base)
	if a.status != 202 || !ok || !strings.HasPrefix(path, "/v3/jobs/") {
		f.t.Fatalf("not a job: %d, Location %q, %s", a.status, loc, a.body)
	}
	var j v3.Job
	f.get(path+"?wait=20", &j)
	return j
}

var (
	guidPattern      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	timePattern      = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	digestPattern    = regexp.MustCompile(`[0-9a-f]{64}`)
	signaturePattern = regexp.MustCompile(`expires=\d+&signature=<digest>`)
	secondsPattern   = regexp.MustCompile(`"(since|uptime)": \d+`)
	tablePattern     = regexp.MustCompile(`\btable("?:)? \d+`)
	addressPattern   = regexp.MustCompile(`"127\.\d+\.\d+\.\d+:\d+"`)
)

var wholeSeconds = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`)

func decode(t *testing.T, a answer, into any) {
	t.Helper()
	if err := json.Unmarshal(a.body, into); err != nil {
		t.Fatalf("%v: %s", err, a.body)
	}
}

func textLogger(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
