package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/internal/bench/load"
	"weir/router"
)

// benchHosts is how many hosts weir's table has while it is measured.
const benchHosts = 10_000

// benchTable is newer than any that a controller numbered.
const benchTable = 1 << 40

// startWeir starts weir serve and gives its router a table of ours. The
// controller, which would bring its own, is stopped for that time.
func startWeir(ctx context.Context, g *ground) (*proxy, error) {
	w, err := startServer(ctx, g)
	if err != nil {
		return nil, err
	}
	if err := w.put(ctx, manyHosts(benchHosts, g.instance)); err != nil {
		w.stop()
		return nil, err
	}
	return &proxy{plain: w.http, secure: w.https, pids: []int{w.router}, control: w.socket(), stop: w.stop}, nil
}

// routed is a weir whose router we feed.
type routed struct {
	*server
	router, controller int // processes
	control            *router.Client
}

func startServer(ctx context.Context, g *ground) (*routed, error) {
	var flags []string
	if g.cert != "" {
		flags = []string{"--https", "127.0.0.1:0", "--tls-cert", g.cert, "--tls-key", g.key}
	}
	s, err := serveOn(ctx, g.weir, g.cpu, flags...)
	if err != nil {
		return nil, err
	}
	w := &routed{server: s}
	for pid, args := range processesBelow(s.cmd.Process.Pid) {
		switch {
		case len(args) < 2:
		case args[1] == "router":
			w.router = pid
		case args[1] == "controller":
			w.controller = pid
		}
	}
	if w.router == 0 || w.controller == 0 {
		s.stop()
		return nil, fmt.Errorf("weir serve has no router or no controller")
	}
	syscall.Kill(w.controller, syscall.SIGSTOP)
	w.control = router.NewClient(w.socket())
	return w, nil
}

// socket is where its control API is.
func (w *routed) socket() string { return filepath.Join(w.dir, "data", "run", "router.sock") }

func (w *routed) put(ctx context.Context, t router.Table) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	return w.control.Put(ctx, t)
}

func (w *routed) stop() {
	w.control.Close()
	syscall.Kill(w.controller, syscall.SIGCONT)
	w.server.stop()
}

// manyHosts is a table of n hosts, one of them the one that is asked for: two
// versions of an app share its requests.
func manyHosts(n int, instance string) router.Table {
	t := router.Table{Number: benchTable, Routes: make([]router.Route, 0, n)}
	t.Routes = append(t.Routes, router.Route{
		Host: load.Host, GUID: "route", Destinations: []router.Destination{destination("app-1", 90, instance), destination("app-2", 10, instance)},
	})
	for i := 1; i < n; i++ {
		app := "app-" + strconv.Itoa(i)
		t.Routes = append(t.Routes, router.Route{
			Host: app + "." + strings.TrimPrefix(load.Host, "app."), GUID: "route-" + strconv.Itoa(i),
			Destinations: []router.Destination{destination(app, 100, instance)},
		})
	}
	return t
}

func destination(app string, weight int, addr string) router.Destination {
	return router.Destination{
		AppGUID: app, AppName: app, Process: "web", Weight: weight,
		Backends: []router.Backend{{InstanceGUID: app + "-instance", Addr: addr}},
	}
}
