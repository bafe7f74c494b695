package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"golang.org/x/sync/errgroup"

	"weir/internal/keeper"
	"weir/internal/logs"
	"weir/router"
)

// Router is the router process: it carries the traffic of all apps and outlives
// both the controller and the keeper.
func Router(ctx context.Context, cfg Config) error {
	defer collectRarely()()
	logger := newLogger(cfg, RouterCommand)
	in, err := keeper.Inherit()
	if err != nil {
		return fmt.Errorf("taking over from the keeper: %w", err)
	}
	defer in.Close()
	access, err := logs.Open(filepath.Join(cfg.DataDir, "logs"), logs.Options{WriterName: RouterCommand})
	if err != nil {
		return err
	}
	defer access.Close()
	if err := tryAccessLog(cfg.AccessLog); err != nil {
		logger.Error("requests are not written to the access log", "err", err)
	}
	control, err := listenUnix(routerSocket(cfg))
	if err != nil {
		return err
	}
	own, err := listenOwn(routerSocket(cfg))
	if err != nil {
		return err
	}
	defer os.Remove(router.OwnSocket(routerSocket(cfg), os.Getpid()))
	var r *router.Router
	certificates, err := newCerts(cfg, in, logger, func(host string) (string, bool) { return r.HostPattern(host) })
	if err != nil {
		return err
	}
	rc := router.Config{
		Listeners:       in.Listeners("http"),
		ControlListener: control,
		OwnListener:     own,
		Dir:             filepath.Join(cfg.DataDir, "router"),
		TrustedProxies:  cfg.TrustedProxies,
		ProxyProtocol:   cfg.ProxyProtocol,
		DrainTimeout:    cfg.DrainTimeout,
		NoSuccessor:     in.Final(),
		AccessFile:      cfg.AccessLog,
		RedactIPs:       cfg.RedactIPs,
		RedactQueries:   cfg.RedactQueries,
		AccessLines:     (&accessWriter{logs: access}).write,
		Logger:          logger,
	}
	secure(&rc, in, certificates)
	r = router.New(rc)
	g, ctx := errgroup.WithContext(ctx)
	if certificates != nil {
		// They are needed as long as there are connections.
		following, cancel := context.WithCancel(context.WithoutCancel(ctx))
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = certificates.Run(following) // it ends well
		}()
		defer func() { cancel(); <-done }()
	}
	g.Go(func() error { return r.Run(ctx) })
	g.Go(func() error {
		// The control API answers once the last table is loaded.
		client := router.NewClient(routerSocket(cfg))
		defer client.Close()
		if _, err := client.Status(ctx); err != nil {
			return fmt.Errorf("asking the router whether it serves: %w", err)
		}
		return in.Ready()
	})
	return g.Wait()
}

// tryAccessLog reports whether the file of the access log can be written: it
// costs lines, not the router.
func tryAccessLog(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

// accessWriter writes requests to the logs of the apps that got them. It is
// used by one goroutine at a time.
type accessWriter struct {
	logs *logs.Store
	apps map[string][]logs.Envelope // lines of the batch; kept for their room
}

// maxAppRoom is for how many apps room is kept.
const maxAppRoom = 100

// write writes a batch. Requests that found no app are in the metrics only.
func (w *accessWriter) write(lines []router.AccessLine) {
	inTime := func(a, b router.AccessLine) int { return a.At.Compare(b.At) }
	if !slices.IsSortedFunc(lines, inTime) {
		slices.SortStableFunc(lines, inTime)
	}
	if w.apps == nil || len(w.apps) > maxAppRoom {
		w.apps = make(map[string][]logs.Envelope)
	}
	for _, line := range lines {
		w.apps[line.AppGUID] = append(w.apps[line.AppGUID], logs.Envelope{
			App: line.AppGUID, Instance: strconv.Itoa(line.Instance), SourceType: "RTR",
			Timestamp: line.At.UnixNano(), Payload: line.Line,
		})
	}
	for app, list := range w.apps {
		if app != "" && len(list) > 0 {
			// A log that cannot be written must not stop traffic.
			_ = w.logs.AppendAll(app, list)
		}
		w.apps[app] = list[:0]
	}
}

func routerSocket(cfg Config) string { return filepath.Join(cfg.DataDir, "run", "router.sock") }

// listenOwn listens where this process takes calls for itself. It removes what
// routers that were killed left.
func listenOwn(path string) (net.Listener, error) {
	for _, other := range router.OwnSockets(path) {
		c, err := net.Dial("unix", other)
		if err == nil {
			_ = c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			_ = os.Remove(other)
		}
	}
	return listenUnix(router.OwnSocket(path, os.Getpid()))
}

// listenUnix listens on a socket that only this uid may use. A replacement
// takes the name over from the process it replaces, which keeps serving the
// connections it has.
func listenUnix(path string) (net.Listener, error) {
	tmp := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: tmp, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false)
	if err := os.Chmod(tmp, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		l.Close()
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	return l, nil
}
