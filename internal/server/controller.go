package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/api"
	"weir/api/logcache"
	"weir/api/uaa"
	"weir/droplets"
	"weir/internal/auth"
	"weir/internal/keeper"
	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/release"
	"weir/internal/rollout"
	"weir/internal/runner/local"
	"weir/internal/shadow"
	"weir/internal/store"
	"weir/router"
	"weir/stager"
)

// Controller is the controller process: API, stager and desired-state loops
// over one store. It ends when ctx or its keeper does; apps and traffic go on.
func Controller(ctx context.Context, cfg Config, version string) error {
	defer collectRarely()()
	logger := newLogger(cfg, ControllerCommand)
	in, err := keeper.Inherit()
	if err != nil {
		return fmt.Errorf("taking over from the keeper: %w", err)
	}
	defer in.Close()
	st, err := openStores(ctx, cfg, logger)
	if err != nil {
		return err
	}
	defer st.close()
	c, err := newController(cfg, st, in, version, logger)
	if err != nil {
		return err
	}
	defer c.routes.Close()
	return c.run(ctx, in)
}

// stores are what the controller keeps on disk.
type stores struct {
	db    *store.Store
	users *auth.Service
	logs  *logs.Store
	trees *droplets.Store
}

func (st *stores) close() {
	if st.trees != nil {
		st.trees.Close()
	}
	if st.logs != nil {
		st.logs.Close()
	}
	if st.db != nil {
		st.db.Close()
	}
}

// openStores opens them; at the first start it makes the defaults.
func openStores(ctx context.Context, cfg Config, logger *slog.Logger) (_ *stores, err error) {
	st := &stores{}
	defer func() {
		if err != nil {
			st.close()
		}
	}()
	if st.db, err = store.Open(ctx, filepath.Join(cfg.DataDir, "weir.db")); err != nil {
		return nil, err
	}
	if err := st.db.EnsureDefaults(ctx, cfg.Domain); err != nil {
		return nil, fmt.Errorf("making the default org, space and domain: %w", err)
	}
	st.users = auth.New(auth.Config{
		Store: st.db, Logger: logger,
		KeepAdmin: func(password string) error { return keepPassword(adminPassword(cfg), password) },
	})
	if err := bootstrap(ctx, cfg, st.db, st.users); err != nil {
		return nil, err
	}
	if st.logs, err = logs.Open(filepath.Join(cfg.DataDir, "logs"), logs.Options{}); err != nil {
		return nil, err
	}
	st.trees, err = droplets.Open(filepath.Join(cfg.DataDir, "droplets"), droplets.Options{Logger: logger, MaxBytes: cfg.UploadLimit})
	return st, err
}

// controller is the parts that work on them.
type controller struct {
	routes   *router.Client
	engine   *rollout.Engine
	shadows  *shadow.Collector
	releases *release.Engine
	builds   *stager.Stager
	handler  *api.API
}

func newController(cfg Config, st *stores, in *keeper.Inherited, version string, logger *slog.Logger) (*controller, error) {
	uploads, err := emptyDir(filepath.Join(cfg.DataDir, "uploads"))
	if err != nil {
		return nil, err
	}
	instances := local.New(local.Config{DataDir: cfg.DataDir, Logger: logger})
	c := &controller{routes: router.NewClient(routerSocket(cfg))}
	c.engine = rollout.New(rollout.Config{
		Store: st.db, Runner: instances, Router: c.routes, Logs: st.logs, Droplets: st.trees,
		DrainTimeout: cfg.DrainTimeout,
		APIURL:       apiURL(cfg, addrs(in.Listeners("api"))),
		Path:         os.Getenv("PATH"),
		Exe:          cfg.Exe,
		Logger:       logger,
	})
	c.shadows = shadow.New(shadow.Config{
		Dir: filepath.Join(cfg.DataDir, "shadow"), Source: c.routes, Logger: logger,
		Ignores: func(ctx context.Context, version string) ([]string, error) {
			v, err := st.db.Version(ctx, version)
			return v.Shadow.Ignore, err
		},
	})
	c.releases = release.New(release.Config{
		Store: st.db, Versions: c.engine, Evidence: c.routes, Compared: compared(c.shadows), Logger: logger,
		Line: func(app, text string) {
			if err := st.logs.Append(logs.Envelope{App: app, SourceType: "API", Instance: "0", Payload: []byte(text)}); err != nil {
				logger.Warn("a line of an app's log is lost", "app", app, "err", err)
			}
		},
	})
	c.builds = stager.New(stager.Config{
		Store: st.db, Droplets: st.trees, Runner: instances, Logs: st.logs,
		Dir:      filepath.Join(cfg.DataDir, "staging"),
		CacheDir: filepath.Join(cfg.DataDir, "cache"),
		WarmDir:  cfg.BuildCache,
		Exe:      cfg.Exe,
		Path:     os.Getenv("PATH"),
		BuildEnv: stager.PassEnv(os.Environ()),
		AppEnv:   c.engine.StagingEnv,
		Timeout:  cfg.StagingTimeout,
		// Whoever reaches an API on loopback is on this machine already.
		LocalSources: onLoopback(in.Listeners("api")),
		Logger:       logger,
	})
	c.handler, err = api.New(api.Config{
		Store: st.db, Engine: c.engine, Releases: c.releases, Stager: c.builds, Shadows: c.shadows,
		Auth: st.users, Logs: st.logs, Droplets: st.trees,
		Login:       uaa.New(uaa.Config{Auth: st.users, Store: st.db, Logger: logger}),
		LogCache:    logcache.New(logcache.Config{Auth: st.users, Logs: st.logs, Store: st.db, Logger: logger}),
		ExternalURL: cfg.ExternalURL,
		RouterHTTP:  routerURL(cfg),
		TempDir:     uploads,
		UploadLimit: cfg.UploadLimit,
		Version:     version,
		Logger:      logger,
	})
	return c, err
}

// run serves until ctx or the keeper ends.
func (c *controller) run(ctx context.Context, in *keeper.Inherited) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, loop := range []func(context.Context) error{c.engine.Run, c.releases.Run, c.shadows.Run, c.builds.Run, c.handler.Run} {
		g.Go(func() error { return loop(ctx) })
	}
	for _, l := range in.Listeners("api") {
		g.Go(func() error { return serveAPI(ctx, l, c.handler) })
	}
	g.Go(func() error {
		select {
		case <-ctx.Done():
			return nil
		case <-in.Gone():
			return errStopped
		}
	})
	if err := in.Ready(); err != nil {
		return fmt.Errorf("telling the keeper: %w", err)
	}
	if err := g.Wait(); err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

// apiStopGrace is how long requests of the API may take to finish at the end.
// Log streams and waits end with their context at once.
const apiStopGrace = 5 * time.Second

func serveAPI(ctx context.Context, l net.Listener, handler http.Handler) error {
	requests, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(nil)
	srv := &http.Server{
		Handler:           handler,
		BaseContext:       func(net.Listener) context.Context { return requests },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		end(api.ErrStopping)
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), apiStopGrace)
		defer cancel()
		if srv.Shutdown(grace) != nil {
			srv.Close()
		}
	})
	err := srv.Serve(l)
	if stop() {
		return fmt.Errorf("serving the API: %w", err)
	}
	<-stopped
	return nil
}

// bootstrap makes the user admin at the first start and keeps its password in
// DATA/admin-password. Without that file an admin there already is gets a new
// password: who may delete the file may have lost the old one.
func bootstrap(ctx context.Context, cfg Config, db *store.Store, users *auth.Service) error {
	path := adminPassword(cfg)
	kept, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the admin password: %w", err)
	}
	password := strings.TrimSpace(string(kept))
	if password != "" {
		return users.Bootstrap(ctx, password)
	}
	if password = os.Getenv("WEIR_ADMIN_PASSWORD"); password == "" {
		password = auth.NewPassword()
	}
	admin, err := db.UserByName(ctx, auth.AdminName, auth.OriginInternal)
	switch {
	case err == nil:
		// The user first: a crash in between leaves no file, and the next
		// start does it again.
		if err := users.SetPassword(ctx, platform.System, admin.GUID, password); err != nil {
			return fmt.Errorf("giving the user admin a new password: %w", err)
		}
		return keepPassword(path, password)
	case platform.KindOf(err) != platform.KindNotFound:
		return fmt.Errorf("looking for the user admin: %w", err)
	}
	// The file first: a crash in between leaves no admin whose password
	// nobody knows.
	if err := keepPassword(path, password); err != nil {
		return err
	}
	return users.Bootstrap(ctx, password)
}

func adminPassword(cfg Config) string { return filepath.Join(cfg.DataDir, "admin-password") }

func keepPassword(path, password string) error {
	if err := writeFile(path, []byte(password+"\n"), 0o600); err != nil {
		return fmt.Errorf("keeping the admin password: %w", err)
	}
	return nil
}

// routerURL is where a client on this machine reaches apps.
func routerURL(cfg Config) func() string {
	return func() string {
		w, err := readWhere(cfg)
		if err != nil {
			return ""
		}
		return "http://" + w.HTTP
	}
}

// emptyDir makes a directory for what need not outlive the process.
func emptyDir(path string) (string, error) {
	if err := os.RemoveAll(path); err != nil {
		return "", fmt.Errorf("clearing what an earlier process left: %w", err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", fmt.Errorf("making a directory for uploads: %w", err)
	}
	return path, nil
}

func addrs(listeners []net.Listener) []net.Addr {
	var list []net.Addr
	for _, l := range listeners {
		list = append(list, l.Addr())
	}
	return list
}

// onLoopback reports whether all listeners can be reached from this machine only.
func onLoopback(listeners []net.Listener) bool {
	for _, l := range listeners {
		addr, ok := l.Addr().(*net.TCPAddr)
		if !ok || !addr.IP.IsLoopback() {
			return false
		}
	}
	return true
}
