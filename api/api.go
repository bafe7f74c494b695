// Package api serves weir's HTTP API: Cloud Foundry's v3 API with a few
// additions.
//
// routes lists every operation as data: method, path, the permission it needs
// and what does it. handle turns a plain function into what the router calls:
// it decodes the request, checks the permission, calls one thing and presents
// its answer. Errors become Cloud Foundry's in one table, in error.go.
package api

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gin-gonic/gin"

	"weir/droplets"
	"weir/internal/auth"
	"weir/internal/logs"
	"weir/internal/release"
	"weir/internal/rollout"
	"weir/internal/shadow"
	"weir/internal/store"
	"weir/stager"
)

// Version is the version of Cloud Foundry's API that weir speaks. It decides
// what the cf CLI dares to use: per-route options, canary steps and embedded
// instances yes, route policies no.
const Version = "3.215.0"

// Config is what an API works with.
type Config struct {
	Store    *store.Store
	Engine   *rollout.Engine
	Releases *release.Engine
	Stager   *stager.Stager
	Shadows  *shadow.Collector
	Auth     *auth.Service
	Logs     *logs.Store
	Droplets *droplets.Store

	// Login serves the token server's paths (/login, /oauth/…, /Users) and
	// LogCache those under /api/v1/. They are handlers of their own so that
	// every request has its id, its line in the log and its guard against
	// panics from this package. Nil answers 404.
	Login    http.Handler
	LogCache http.Handler

	// ExternalURL is what links begin with. Empty means the scheme and host
	// the client used.
	ExternalURL string
	// RouterHTTP returns a URL of the router as seen from this machine; it
	// tells a client under which port apps answer. Nil means unknown.
	RouterHTTP func() string
	// TempDir is where uploads are kept that cannot be unpacked as they come.
	// It should be on the disk of the data. Empty means the system's.
	TempDir string
	// UploadLimit bounds such an upload in bytes. Zero means 1 GiB.
	UploadLimit int64
	// Version is weir's own version.
	Version string
	Logger  *slog.Logger
}

// API is the HTTP API. It is an http.Handler; Run must run while it serves.
type API struct {
	cfg      Config
	store    *store.Store
	engine   *rollout.Engine
	releases *release.Engine
	stager   *stager.Stager
	auth     *auth.Service
	logs     *logs.Store
	droplets *droplets.Store
	logger   *slog.Logger

	handler http.Handler
	jobs    chan task // to Run; unbuffered, so that a job is either taken or refused
	stopped chan struct{}
	// downloadKey signs download URLs. They are followed at once, so the key
	// need not outlive the process.
	downloadKey [32]byte
}

const defaultUploadLimit = 1 << 30

// New returns an API. It starts nothing; Run does.
func New(cfg Config) (*API, error) {
	if cfg.ExternalURL != "" {
		u, err := url.Parse(cfg.ExternalURL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("external URL %q is not a URL", cfg.ExternalURL)
		}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.UploadLimit <= 0 {
		cfg.UploadLimit = defaultUploadLimit
	}
	a := &API{
		cfg: cfg, store: cfg.Store, engine: cfg.Engine, releases: cfg.Releases, stager: cfg.Stager, auth: cfg.Auth,
		logs: cfg.Logs, droplets: cfg.Droplets, logger: cfg.Logger,
		jobs: make(chan task), stopped: make(chan struct{}),
	}
	rand.Read(a.downloadKey[:])
	a.handler = a.requests(a.mount())
	return a, nil
}

// ServeHTTP serves the API and the handlers mounted beside it.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// mount returns the handler that tells the API, the token server and
// log-cache apart by the path.
func (a *API) mount() http.Handler {
	gin.SetMode(gin.ReleaseMode)
	g := gin.New()
	g.RedirectTrailingSlash = false
	g.HandleMethodNotAllowed = false
	g.UseRawPath = true
	g.NoRoute(func(c *gin.Context) { a.fail(c, unknownRequest()) })
	for _, r := range routes() {
		g.Handle(r.method, r.path, r.serve(a, r))
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch h := a.other(r.URL.Path); {
		case h != nil:
			h.ServeHTTP(w, r)
		default:
			g.ServeHTTP(w, withoutTrailingSlash(r))
		}
	})
}

// other returns the handler beside the API that serves path, or nil.
func (a *API) other(path string) http.Handler {
	switch {
	case path == "/login", strings.HasPrefix(path, "/oauth/"), path == "/Users", strings.HasPrefix(path, "/Users/"):
		return a.cfg.Login
	case strings.HasPrefix(path, "/api/v1/"), path == "/api/v1":
		return a.cfg.LogCache
	}
	return nil
}

// withoutTrailingSlash lets a path with a slash at its end be the one without.
func withoutTrailingSlash(r *http.Request) *http.Request {
	if len(r.URL.Path) < 2 || !strings.HasSuffix(r.URL.Path, "/") {
		return r
	}
	u := *r.URL
	u.Path = strings.TrimRight(u.Path, "/")
	u.RawPath = strings.TrimRight(u.RawPath, "/")
	if u.Path == "" {
		u.Path, u.RawPath = "/", ""
	}
	n := *r
	n.URL = &u
	return &n
}

// baseURL returns what links begin with.
func (a *API) baseURL(r *http.Request) string {
	switch {
	case a.cfg.ExternalURL != "":
		return strings.TrimRight(a.cfg.ExternalURL, "/")
	case r.TLS != nil:
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// Run marks what an earlier run left unfinished, then runs jobs until ctx
// ends, and returns when the last of them has.
func (a *API) Run(ctx context.Context) error {
	defer close(a.stopped)
	n, err := a.store.FailUnfinishedJobs(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("failing the jobs of an earlier run: %w", err)
	}
	if n > 0 {
		a.logger.Warn("marked jobs of an earlier run as failed", "count", n)
	}
	var sweeping sync.WaitGroup
	defer sweeping.Wait()
	sweeping.Go(func() { a.sweepNowAndThen(ctx) })
	err = a.runJobs(ctx)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}
