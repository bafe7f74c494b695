package server

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/keeper"
	"weir/internal/platform"
	"weir/stager"
)

// Names of the keeper's children; each is also the sub-command it runs as.
const (
	RouterCommand     = "router"
	ControllerCommand = "controller"
)

// where is DATA/server.json: how a client on this machine finds the server.
type where struct {
	API    string `json:"api"`             // URL
	HTTP   string `json:"http"`            // host:port
	HTTPS  string `json:"https,omitempty"` // likewise
	Domain string `json:"domain"`
	PID    int    `json:"pid"`
}

// Serve is weir serve: it prepares the data directory and is the keeper until
// ctx ends. It writes DATA/server.json once controller and router are ready,
// and one line about it to out.
func Serve(ctx context.Context, cfg Config, out io.Writer) error {
	outliveReader()
	logger := newLogger(cfg, "keeper")
	lock, err := hold(cfg)
	if err != nil {
		return err
	}
	defer lock.Release()
	if err := prepare(cfg); err != nil {
		return err
	}
	if err := handOver(cfg, logger); err != nil {
		return err
	}
	if cfg.Exe, err = sharedExe(cfg); err != nil {
		return err
	}
	lent, err := lendCertificates(&cfg, logger)
	if err != nil {
		return err
	}
	routerListens := map[string][]keeper.Listen{"http": {{Addr: cfg.HTTPAddr, Flag: "--http"}}}
	if cfg.HTTPSAddr != "" {
		routerListens["https"] = []keeper.Listen{{Addr: cfg.HTTPSAddr, Flag: "--https"}}
	}
	if cfg.HTTP3 {
		routerListens["quic"] = []keeper.Listen{{Addr: cfg.HTTPSAddr, Flag: "--https", UDP: true}}
	}
	env := childEnv(cfg, servePath(os.Getenv("PATH")))
	k := keeper.New(keeper.Config{
		DataDir: cfg.DataDir, Lock: lock,
		UID: cfg.UID, GID: cfg.UID,
		InstanceUIDs: keeper.UIDRange{First: cfg.UID + 1, Count: instanceUIDs},
		Logger:       logger,
		Children: []keeper.Child{
			{
				Name: RouterCommand, Args: []string{RouterCommand}, Env: env, Survives: true,
				Listeners: routerListens,
			},
			{
				Name: ControllerCommand, Args: []string{ControllerCommand}, Env: env,
				Listeners: map[string][]keeper.Listen{"api": {{Addr: cfg.APIAddr, Flag: "--api"}}},
			},
		},
	})
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := k.Run(ctx); err != nil {
			return err
		}
		return errStopped // ends the other goroutines
	})
	g.Go(func() error { return announce(ctx, cfg, k, out) })
	g.Go(func() error { return replaceOnHangup(ctx, k, logger) })
	g.Go(func() error { return lent.follow(ctx) })
	g.Go(func() error { return keepAccessLog(ctx, cfg, logger, time.Second) })
	if err := g.Wait(); err != nil && !errors.Is(err, errStopped) {
		return err
	}
	return nil
}

var errStopped = errors.New("keeper stopped")

// announce tells where the server is, once it is there.
func announce(ctx context.Context, cfg Config, k *keeper.Keeper, out io.Writer) error {
	select {
	case <-ctx.Done():
		return nil
	case <-k.Ready():
	}
	w := where{
		API:    apiURL(cfg, k.Addrs("api")),
		HTTP:   reachable(k.Addrs("http")),
		HTTPS:  reachable(k.Addrs("https")),
		Domain: cfg.Domain,
		PID:    os.Getpid(),
	}
	b, err := json.MarshalIndent(w, "", "  ")
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(cfg.DataDir, "server.json"), append(b, '\n'), 0o644); err != nil {
		return fmt.Errorf("writing server.json: %w", err)
	}
	_, port, _ := net.SplitHostPort(w.HTTP)
	apps := fmt.Sprintf("http://<app>.%s:%s/", cfg.Domain, port)
	if w.HTTPS != "" {
		_, port, _ := net.SplitHostPort(w.HTTPS)
		apps += fmt.Sprintf(" and https://<app>.%s:%s/", cfg.Domain, port)
	}
	fmt.Fprintf(out, "weir is ready: API %s, apps at %s, data in %s\n", w.API, apps, cfg.DataDir)
	return nil
}

// apiURL is where clients call the API that listens at addrs.
func apiURL(cfg Config, addrs []net.Addr) string {
	return cmp.Or(cfg.ExternalURL, "http://"+reachable(addrs))
}

// reachable returns the first address in a form that a client can dial: a
// server that listens everywhere is reached over loopback.
func reachable(addrs []net.Addr) string {
	if len(addrs) == 0 {
		return ""
	}
	host, port, err := net.SplitHostPort(addrs[0].String())
	if err != nil {
		return addrs[0].String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// outliveReader keeps a write to our log from ending us when whoever reads it
// went away, as in weir serve 2>&1 | tee log. A handler, unlike ignoring, does
// not pass to programs.
func outliveReader() {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
}

// replaceOnHangup makes SIGHUP start controller and router anew, from the
// binary that is now at weir's path, without dropping a request.
func replaceOnHangup(ctx context.Context, k *keeper.Keeper, logger *slog.Logger) error {
	hup := make(chan os.Signal, 1) // one waiting request is enough
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hup:
			if err := k.Replace(ctx); err != nil {
				logger.Error("controller and router not replaced", "err", err)
			}
		}
	}
}

// dataDir is a directory below the data directory, or an absolute one.
type dataDir struct {
	name string
	mode fs.FileMode
}

// dataDirs are made by prepare, with their modes: the ones with 0711 are
// passed by the uids of instances.
var dataDirs = []dataDir{
	{"", 0o711},
	{"run", 0o711},
	{"router", 0o700},
	{"droplets", 0o711},
	{"instances", 0o711},
	{"logs", 0o700},
	{"certs", 0o700},
	{"staging", 0o711},
	{"cache", 0o711},
}

// hold takes the lock on the data directory before anything in it is touched:
// another weir may be at work there, under another uid.
func hold(cfg Config) (*keeper.Lock, error) {
	if err := reachableByInstances(cfg.DataDir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(cfg.DataDir, 0o711); err != nil {
		return nil, unusableData(cfg, err)
	}
	return keeper.LockDir(cfg.DataDir)
}

func unusableData(cfg Config, err error) error {
	return &platform.Error{
		Kind: platform.KindInvalid,
		Msg:  fmt.Sprintf("the data directory %s cannot be used", cfg.DataDir),
		Hint: "choose another with --data",
		Err:  err,
	}
}

// prepare makes the data directory and gives it, as root, to the uid of the
// unprivileged processes.
func prepare(cfg Config) error {
	dirs := append(slices.Clone(dataDirs), dataDir{cfg.BuildCache, 0o711})
	for _, d := range dirs {
		path := d.name
		if !filepath.IsAbs(path) {
			path = filepath.Join(cfg.DataDir, path)
		}
		if err := os.MkdirAll(path, d.mode); err != nil {
			return unusableData(cfg, err)
		}
		if err := os.Chmod(path, d.mode); err != nil {
			return fmt.Errorf("preparing the data directory: %w", err)
		}
		if os.Geteuid() == 0 && d.name != "instances" { // instances/ is the keeper's own
			if err := os.Chown(path, cfg.UID, cfg.UID); err != nil {
				return fmt.Errorf("preparing the data directory: %w", err)
			}
		}
	}
	return prepareAccessLog(cfg)
}

// prepareAccessLog makes the file of the access log, if it is not there, and
// gives it, as root, to the uid of the router, which may not make files just
// anywhere.
func prepareAccessLog(cfg Config) error {
	if cfg.AccessLog == "" {
		return nil
	}
	f, err := os.OpenFile(cfg.AccessLog, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		defer f.Close()
		if os.Geteuid() == 0 {
			err = f.Chown(cfg.UID, cfg.UID)
		}
	}
	if err != nil {
		return &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("the access log %s cannot be written", cfg.AccessLog),
			Hint: "choose another file with --access-log", Err: err,
		}
	}
	return nil
}

// keepAccessLog makes the file anew when somebody moved it away, as root, until
// ctx ends.
func keepAccessLog(ctx context.Context, cfg Config, logger *slog.Logger, every time.Duration) error {
	if cfg.AccessLog == "" || os.Geteuid() != 0 {
		return nil
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			err := prepareAccessLog(cfg)
			if err != nil && !said {
				logger.Warn("a new access log cannot be made, the old one is written to", "err", err)
			}
			said = err != nil
		}
	}
}

// reachableByInstances makes sure, as root, that other uids can enter every
// directory on the way to dir.
func reachableByInstances(dir string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	for p := filepath.Dir(dir); ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err == nil && info.Mode().Perm()&0o001 == 0 {
			return &platform.Error{
				Kind: platform.KindInvalid,
				Msg:  fmt.Sprintf("apps run under users of their own, which may not enter %s on the way to the data directory %s", p, dir),
				Hint: "choose another with --data, or: chmod o+x " + p,
			}
		}
		if p == "/" || p == "." {
			return nil
		}
	}
}

// childEnv is the whole environment of controller and router.
func childEnv(cfg Config, path string) []string {
	env := []string{
		configEnv + "=" + cfg.marshal(),
		"PATH=" + path,
		"HOME=" + cfg.DataDir,
		"LANG=C.UTF-8",
		"TMPDIR=" + os.TempDir(),
	}
	if cfg.AdminPassword != "" {
		env = append(env, "WEIR_ADMIN_PASSWORD="+cfg.AdminPassword)
	}
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); name == "GOTRACEBACK" || name == "GOMEMLIMIT" {
			env = append(env, kv)
		}
	}
	return append(env, stager.PassEnv(os.Environ())...)
}

// servePath keeps the directories of PATH that the unprivileged uid can enter,
// so that a build finds the same tools whoever started weir, or says that one
// is missing rather than that it may not be run.
func servePath(path string) string {
	var keep []string
	for dir := range strings.SplitSeq(path, ":") {
		if filepath.IsAbs(dir) && (os.Geteuid() != 0 || enterable(dir)) {
			keep = append(keep, dir)
		}
	}
	if len(keep) == 0 {
		return "/usr/local/bin:/usr/bin:/bin"
	}
	return strings.Join(keep, ":")
}

// enterable reports whether anybody may enter dir and all above it.
func enterable(dir string) bool {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for p := real; ; p = filepath.Dir(p) {
		info, err := os.Stat(p)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		if p == "/" {
			return true
		}
	}
}

// writeFile replaces a file as a whole.
func writeFile(path string, b []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// newLogger logs to stderr, which children share with weir serve.
func newLogger(cfg Config, process string) *slog.Logger {
	var h slog.Handler
	if cfg.LogFormat == "json" {
		h = slog.NewJSONHandler(os.Stderr, nil)
	} else {
		h = slog.NewTextHandler(os.Stderr, nil)
	}
	return slog.New(h).With("process", process)
}
