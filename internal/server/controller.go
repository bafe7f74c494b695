package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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

	db, err := store.Open(ctx, filepath.Join(cfg.DataDir, "weir.db"))
	if err != nil {
		return err
	}
	defer db.Close()
	if err := db.EnsureDefaults(ctx, cfg.Domain); err != nil {
		return fmt.Errorf("making the default org, space and domain: %w", err)
	}
	users := auth.New(auth.Config{
		Store: db, Logger: logger,
		KeepAdmin: func(password string) error { return keepPassword(adminPassword(cfg), password) },
	})
	if err := bootstrap(ctx, cfg, db, users); err != nil {
		return err
	}
	appLogs, err := logs.Open(filepath.Join(cfg.DataDir, "logs"), logs.Options{})
	if err != nil {
		return err
	}
	defer appLogs.Close()
	trees, err := droplets.Open(filepath.Join(cfg.DataDir, "droplets"), droplets.Options{Logger: logger, MaxBytes: cfg.UploadLimit})
	if err != nil {
		return err
	}
	defer trees.Close()

	uploads, err := emptyDir(filepath.Join(cfg.DataDir, "uploads"))
	if err != nil {
		return err
	}
	instances := local.New(local.Config{DataDir: cfg.DataDir, Logger: logger})
	routes := router.NewClient(routerSocket(cfg))
	defer routes.Close()
	engine := rollout.New(rollout.Config{
		Store: db, Runner: instances, Router: routes, Logs: appLogs, Droplets: trees,
		DrainTimeout: cfg.DrainTimeout,
		APIURL:       apiURL(cfg, addrs(in.Listeners("api"))),
		Path:         os.Getenv("PATH"),
		Exe:          cfg.Exe,
		Logger:       logger,
	})
	shadows := shadow.New(shadow.Config{
		Dir: filepath.Join(cfg.DataDir, "shadow"), Source: routes, Logger: logger,
		Ignores: func(ctx context.Context, version string) ([]string, error) {
			v, err := db.Version(ctx, version)
			return v.Shadow.Ignore, err
		},
	})
	releases := release.New(release.Config{
		Store: db, Versions: engine, Evidence: routes, Compared: compared(shadows), Logger: logger,
		Line: func(app, text string) {
			if err := appLogs.Append(logs.Envelope{App: app, SourceType: "API", Instance: "0", Payload: []byte(text)}); err != nil {
				logger.Warn("a line of an app's log is lost", "app", app, "err", err)
			}
		},
	})
	builds := stager.New(stager.Config{
		Store: db, Droplets: trees, Runner: instances, Logs: appLogs,
		Dir:      filepath.Join(cfg.DataDir, "staging"),
		CacheDir: filepath.Join(cfg.DataDir, "cache"),
		WarmDir:  cfg.BuildCache,
		Exe:      cfg.Exe,
		Path:     os.Getenv("PATH"),
		BuildEnv: stager.PassEnv(os.Environ()),
		AppEnv:   engine.StagingEnv,
		Timeout:  cfg.StagingTimeout,
		// Whoever reaches an API on loopback is on this machine already.
		LocalSources: onLoopback(in.Listeners("api")),
		Logger:       logger,
	})
	handler, err := api.New(api.Config{
		Store: db, Engine: engine, Releases: releases, Stager: builds, Shadows: shadows, Auth: users, Logs: appLogs, Droplets: trees,
		Login:       uaa.New(uaa.Config{Auth: users, Store: db, Logger: logger}),
		LogCache:    logcache.New(logcache.Config{Auth: users, Logs: appLogs, Store: db, Logger: logger}),
		ExternalURL: cfg.ExternalURL,
		RouterHTTP:  routerURL(cfg),
		TempDir:     uploads,
		UploadLimit: cfg.UploadLimit,
		Version:     version,
		Logger:      logger,
	})
	if err != nil {
		return err
	}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return engine.Run(ctx) })
	g.Go(func() error { return releases.Run(ctx) })
	g.Go(func() error { return shadows.Run(ctx) })
	g.Go(func() error { return builds.Run(ctx) })
	g.Go(func() error { return handler.Run(ctx) })
	for _, l := range in.Listeners("api") {
		g.Go(func() error { return serveAPI(ctx, l, handler) })
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
		if err := users.SetPassword(ctx, admin.GUID, password); err != nil {
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
