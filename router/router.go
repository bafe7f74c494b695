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
	s := r.serve()
	r.cfg.Logger.Info("router started", "table", r.table.Load().number(), "routes", r.table.Load().routes())
	var err error
	select {
	case <-ctx.Done():
	case err = <-s.failed:
		r.cfg.Logger.Error("router stopped serving", "err", err)
	}
	s.drain()
	r.backends.each((*backend).closeIdle)
	r.workers.end()
	if r.keep != nil {
		r.keep.close()
	}
	r.cfg.Logger.Info("router stopped")
	return err
}

// serving is all of a Router that runs: doors, roads behind them, and what
// looks after both. It outlives the context of Run: it ends when the work is
// done.
type serving struct {
	r     *Router
	work  sync.WaitGroup
	stop  chan struct{} // closed when nothing is to be done any more
	edge  *edge
	front *front1
	http2 *front2
	quic  *quicRoad
	road  *stdRoad
	// control is by the name that a successor takes, own by that of this process.
	control, own *controlServer
	failed       chan error // why a door or a road does not serve
}

// serve opens the doors.
func (r *Router) serve() *serving {
	s := &serving{
		r: r, stop: make(chan struct{}), control: r.newControlServer(), own: r.newControlServer(),
		failed: make(chan error, 3+len(r.cfg.Listeners)+len(r.cfg.TLSListeners)),
	}
	s.work.Go(func() { r.log.run(s.stop) })
	s.work.Go(func() { r.shadows.run(s.stop) })
	s.work.Go(func() { r.sweeper.run(s.stop) })
	if r.table.Load().routes() >= largeTable {
		s.work.Go(debug.FreeOSMemory)
	}
	if r.cfg.ControlListener != nil {
		s.work.Go(func() { s.failed <- s.control.serve(r.cfg.ControlListener) })
	}
	if r.cfg.OwnListener != nil {
		s.work.Go(func() { s.failed <- s.own.serve(r.cfg.OwnListener) })
	}
	s.road = newStdRoad(r)
	s.quic = newQUICRoad(r, s.road)
	r.altSvc = s.quic.announcement()
	s.http2 = newFront2(r)
	s.front = newFront1(r, s.road.carry, s.http2)
	s.edge = newEdge(r, func(a *arrival) {
		if a.alpn == "h2" {
			s.http2.serve(a)
		} else {
			s.front.serve(a)
		}
	})
	s.work.Go(func() { s.failed <- s.road.serve() })
	for _, ln := range r.cfg.Listeners {
		s.work.Go(func() { s.failed <- s.edge.serve(ln, nil) })
	}
	if len(r.cfg.TLSListeners) > 0 {
		config := serverTLS(r.cfg.TLS)
		for _, ln := range r.cfg.TLSListeners {
			s.work.Go(func() { s.failed <- s.edge.serve(ln, config) })
		}
	}
	s.work.Go(s.quic.serve)
	return s
}

// drain ends it as Run says: first the control API, so that what comes from
// now on finds the router that takes over; then the doors; then the work.
func (s *serving) drain() {
	r := s.r
	r.draining.Store(true)
	s.control.close()
	ctx, cancel := context.WithTimeout(context.Background(), r.cfg.DrainTimeout)
	defer cancel()
	s.work.Go(func() { s.quic.drain(ctx) })
	grace := min(r.cfg.IdleGrace, r.cfg.DrainTimeout)
	s.work.Go(func() { s.http2.announce(grace, r.silent) })
	s.edge.stop()
	s.edge.awaitSilence(grace)
	close(r.silent)
	s.work.Go(func() { s.http2.drain(ctx) })
	s.front.drain(ctx)
	s.http2.drain(ctx) // once more, for those that front handed on meanwhile
	s.road.drain(ctx)
	s.own.close()
	close(s.stop)
	s.work.Wait()
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
