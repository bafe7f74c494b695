package router

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Router is the data plane. Make one with New, start it with Run.
type Router struct {
	cfg     Config
	started time.Time // the zero of the router's clock

	table     atomic.Pointer[table] // requests load it once
	backends  *backends
	pools     pools // guarded by writer
	metrics   metrics
	evidence  *evidence
	shadows   *shadows
	log       *accessLog
	registry  *prometheus.Registry
	persisted atomic.Bool
	draining  atomic.Bool
	silent    chan struct{} // closed when no request begins any more

	writer sync.Mutex // serialises changes of the table
	keep   *keeper    // nil: the table is not kept

	tunnels tunnelSet
	sweeper sweeper
	workers workers
	clock   clock
	altSvc  string // the value of Alt-Svc; empty without HTTP/3
}

// New returns a Router that does nothing yet.
func New(cfg Config) *Router {
	cfg = cfg.withDefaults()
	r := &Router{
		cfg: cfg, started: time.Now(), backends: newBackends(),
		log: newAccessLog(&cfg), registry: prometheus.NewRegistry(), silent: make(chan struct{}),
	}
	r.sweeper.r = r
	r.tick()
	r.evidence = newEvidence(r)
	r.shadows = newShadows(r)
	r.pools = pools{byHash: map[uint64][]*pool{}, backends: r.backends}
	r.table.Store(newTable(0, 0))
	r.registry.MustRegister(collector{r})
	return r
}

// Run loads the last table from Config.Dir, serves the control API and the
// listeners until ctx ends, then drains: it stops accepting, announces on
// each connection that it closes, goes on reading idle ones for
// Config.IdleGrace unless Config.NoSuccessor is closed, lets the requests in
// flight finish within Config.DrainTimeout and returns. The listeners are
// closed in this process, but what waits in their queues stays there for
// others that share them.
func (r *Router) Run(ctx context.Context) error {
	if err := r.load(); err != nil {
		return err
	}
	// Everything below outlives ctx: it ends when the work is done.
	stop := make(chan struct{})
	var background sync.WaitGroup
	background.Go(func() { r.log.run(stop) })
	background.Go(func() { r.shadows.run(stop) })
	if r.table.Load().routes() >= largeTable {
		background.Go(debug.FreeOSMemory)
	}
	stopControl := make(chan struct{})
	control := r.newControlServer(stopControl)
	stopOwn := make(chan struct{})
	own := r.newControlServer(stopOwn)
	failed := make(chan error, 3+len(r.cfg.Listeners)+len(r.cfg.TLSListeners)) // one from each that serves
	if r.cfg.ControlListener != nil {
		background.Go(func() { failed <- control.serve(r.cfg.ControlListener) })
	}
	if r.cfg.OwnListener != nil {
		background.Go(func() { failed <- own.serve(r.cfg.OwnListener) })
	}
	road := newStdRoad(r)
	quic := newQUICRoad(r, road)
	r.altSvc = quic.announcement()
	background.Go(func() { r.sweeper.run(stop) })
	http2 := newFront2(r)
	front := newFront1(r, road.carry, http2)
	edge := newEdge(r, func(a *arrival) {
		if a.alpn == "h2" {
			http2.serve(a)
		} else {
			front.serve(a)
		}
	})
	background.Go(func() { failed <- road.serve() })
	for _, ln := range r.cfg.Listeners {
		background.Go(func() { failed <- edge.serve(ln, nil) })
	}
	if len(r.cfg.TLSListeners) > 0 {
		config := serverTLS(r.cfg.TLS)
		for _, ln := range r.cfg.TLSListeners {
			background.Go(func() { failed <- edge.serve(ln, config) })
		}
	}
	r.cfg.Logger.Info("router started", "table", r.table.Load().number(), "routes", r.table.Load().routes())

	background.Go(quic.serve)

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
		r.cfg.Logger.Error("router stopped serving", "err", err)
	}
	r.draining.Store(true)
	// First the control API, so that what comes from now on finds the router
	// that takes over; then the doors; then the work.
	close(stopControl)
	control.close()
	drain, cancel := context.WithTimeout(context.Background(), r.cfg.DrainTimeout)
	defer cancel()
	background.Go(func() { quic.drain(drain) })
	grace := min(r.cfg.IdleGrace, r.cfg.DrainTimeout)
	background.Go(func() { http2.announce(grace, r.silent) })
	edge.stop()
	edge.awaitSilence(grace)
	close(r.silent)
	background.Go(func() { http2.drain(drain) })
	front.drain(drain)
	http2.drain(drain) // once more, for those that front handed on meanwhile
	road.drain(drain)
	close(stopOwn)
	own.close()
	close(stop)
	background.Wait()
	r.backends.each((*backend).closeIdle)
	r.workers.end()
	if r.keep != nil {
		r.keep.close()
	}
	r.cfg.Logger.Info("router stopped")
	return err
}

// load makes the table kept on disk the table in use.
func (r *Router) load() error {
	if r.cfg.Dir == "" {
		return nil
	}
	keep, t, err := openKeeper(r.cfg.Dir)
	if keep == nil {
		return err
	}
	if err != nil {
		r.cfg.Logger.Error("kept route table is damaged", "err", err, "table", t.Number)
	}
	routes, err := normalRoutes(t.Routes)
	if err != nil {
		return fmt.Errorf("loading the kept route table: %w", err)
	}
	t.Routes = routes
	r.writer.Lock()
	defer r.writer.Unlock()
	r.keep = keep
	r.install(t)
	r.persisted.Store(true)
	return nil
}

// status describes the router for the control API.
func (r *Router) status() Status {
	s := r.table.Load()
	st := Status{
		Number: s.number(), Routes: s.routes(), InFlight: r.metrics.requests.Load(),
		Connections: r.metrics.conns.Load(), Draining: r.draining.Load(), Persisted: r.persisted.Load(),
		LogDropped: r.log.dropped.Load(), PID: os.Getpid(), Started: r.started,
	}
	r.backends.each(func(b *backend) {
		if !b.gone.Load() {
			st.Backends++
		}
	})
	return st
}

func (r *Router) stats() Stats {
	now := r.now()
	st := Stats{InFlight: r.metrics.requests.Load(), Instances: []InstanceStats{}}
	r.backends.each(func(b *backend) {
		st.Instances = append(st.Instances, InstanceStats{
			InstanceGUID: b.guid, Addr: b.addr, InFlight: b.inFlight.Load(),
			Requests: b.requests.Load(), Failures: b.failures.Load(),
			Ejected: b.ejectedUntil.Load() > now, Gone: b.gone.Load(),
		})
	})
	return st
}

// drainInstances waits until none of the instances has a request in flight.
func (r *Router) drainInstances(ctx context.Context, guids map[string]bool) error {
	if left := r.backends.wait(guids, ctx.Done()); left > 0 {
		return fmt.Errorf("%w: %d left", ErrBusy, left)
	}
	return nil
}

var errStopped = errors.New("router: stopped")
