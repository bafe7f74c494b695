package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/internal/bench/load"
	"weir/router"
)

// What the routes part does: a table of churnRoutes with changes and requests
// beside each other, and the memory of a table of hugeRoutes.
const (
	churnRoutes    = 100_000
	hugeRoutes     = 1_000_000
	churnPerSecond = 1000
	churnFor       = 10 * time.Second
	churnHot       = 1000 // routes that most changes and requests are about
	churnInstances = 8
	churnClients   = 32
)

// churn is a weir whose table changes under load.
type churn struct {
	*routed
	addrs   []string // of the instances
	oracle  *oracle
	client  *http.Client
	number  uint64       // of the table
	changed atomic.Int64 // the route changed last
}

// routes measures the table under change, its way back after a kill, and its
// memory.
func (b bench) routes(ctx context.Context) error {
	fmt.Printf("%d routes, %d changes/s beside %d requests/s for %s\n", churnRoutes, churnPerSecond, churnPerSecond, churnFor)
	g := &ground{weir: b.weir, cpu: -1}
	w, err := startServer(ctx, g)
	if err != nil {
		return err
	}
	defer w.stop()
	instances, addrs, err := nameInstances(churnInstances)
	if err != nil {
		return err
	}
	defer instances.Close()
	c := &churn{routed: w, addrs: addrs, number: benchTable, oracle: newOracle(churnRoutes, func(i int) int { return i % churnInstances })}
	c.client = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{MaxIdleConnsPerHost: 2 * churnClients, DisableCompression: true},
	}
	defer c.client.CloseIdleConnections()
	t := router.Table{Number: c.number}
	for i := range churnRoutes {
		t.Routes = append(t.Routes, c.route(i, i%churnInstances))
	}
	began := time.Now()
	if err := w.put(ctx, t); err != nil {
		return err
	}
	row("  the whole table at once", round(time.Since(began)), "")
	if err := c.steady(ctx); err != nil {
		return err
	}
	if err := c.kill(ctx); err != nil {
		return err
	}
	return b.hugeTable(ctx)
}

// route is route i, leading to an instance.
func (c *churn) route(i, instance int) router.Route {
	return router.Route{
		Host: churnHost(i), GUID: "route-" + strconv.Itoa(i),
		Destinations: []router.Destination{destination("app-"+strconv.Itoa(instance), 100, c.addrs[instance])},
	}
}

func churnHost(i int) string { return "r" + strconv.Itoa(i) + ".apps.example.com" }

// steady asks for a while, then asks and changes for as long, and compares.
func (c *churn) steady(ctx context.Context) error {
	alone, _, err := c.load(ctx, churnFor/2, false)
	if err != nil {
		return err
	}
	beside, changes, err := c.load(ctx, churnFor, true)
	if err != nil {
		return err
	}
	row("  requests, answers by a wrong instance", fmt.Sprintf("%d, %d", beside.count()+alone.count(), beside.wrong+alone.wrong), "0 wrong")
	if beside.why != nil {
		row("    the first one", firstLine(beside.why), "")
	}
	row("  changes acknowledged", fmt.Sprintf("%d, %.0f/s", changes.count(), float64(changes.count())/churnFor.Seconds()), fmt.Sprintf("%d/s", churnPerSecond))
	row("  a change is in force, p50 and p99", changes.p(50)+", "+changes.p(99), "p99 ≤ 100 ms")
	row("  latency of requests without changes, p50, p99 and p99.9", alone.p(50)+", "+alone.p(99)+", "+alone.p(99.9), "")
	row("  latency of requests beside changes, p50, p99 and p99.9", beside.p(50)+", "+beside.p(99)+", "+beside.p(99.9), "")
	memory, err := pssOf(c.router)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("  memory of the router with %d routes", churnRoutes), megabytes(memory), "≤ 300 MB")
	return nil
}

// samples are latencies, and how many answers were wrong.
type samples struct {
	mu    sync.Mutex // guards what follows
	took  []time.Duration
	wrong int
	why   error
}

func (s *samples) add(d time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = append(s.took, d)
	if err != nil {
		if s.wrong++; s.why == nil {
			s.why = err
		}
	}
}

func (s *samples) count() int { return len(s.took) }

func (s *samples) p(percent float64) string {
	return load.Percentile(s.took, percent).Round(10 * time.Microsecond).String()
}

// load makes requests, and if asked changes, at churnPerSecond each.
func (c *churn) load(ctx context.Context, d time.Duration, change bool) (requests, changes *samples, err error) {
	requests, changes = &samples{}, &samples{}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	g := new(errgroup.Group)
	if change {
		g.Go(func() error { return c.changeAll(ctx, changes) })
	}
	for range churnClients {
		g.Go(func() error { return c.askAll(ctx, requests) })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, err
	}
	return requests, changes, nil
}

// changeAll changes one route after the other, a hot one most of the time.
func (c *churn) changeAll(ctx context.Context, s *samples) error {
	for due := time.Now(); ctx.Err() == nil; due = due.Add(time.Second / churnPerSecond) {
		waitUntil(ctx, due)
		i := rand.IntN(churnRoutes)
		if rand.IntN(10) < 8 {
			i %= churnHot
		}
		state := rand.IntN(churnInstances + 1)
		u := router.Update{From: c.number, Number: c.number + 1}
		if state == churnInstances {
			state = noRoute
			u.Delete = []router.RouteKey{{Host: churnHost(i)}}
		} else {
			u.Upsert = []router.Route{c.route(i, state)}
		}
		acknowledged := c.oracle.change(i, state)
		began := time.Now()
		if err := c.control.Apply(context.WithoutCancel(ctx), u); err != nil {
			return fmt.Errorf("changing a route: %w", err)
		}
		acknowledged()
		s.add(time.Since(began), nil)
		c.number++
		c.changed.Store(int64(i))
	}
	return nil
}

// askAll is one client: it asks for the route changed last, a hot one, or any.
func (c *churn) askAll(ctx context.Context, s *samples) error {
	every := time.Second * churnClients / churnPerSecond
	for due := time.Now().Add(rand.N(every)); ctx.Err() == nil; due = due.Add(every) {
		waitUntil(ctx, due)
		i := int(c.changed.Load())
		switch rand.IntN(4) {
		case 0:
			i = rand.IntN(churnRoutes)
		case 1:
			i = rand.IntN(churnHot)
		}
		began := time.Now()
		state, err := c.ask(i)
		if err == nil {
			err = c.oracle.judge(i, state, began, time.Now())
		}
		s.add(time.Since(began), err)
	}
	return nil
}

// ask returns which instance answers for a route.
func (c *churn) ask(i int) (state int, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+c.http+"/", nil)
	if err != nil {
		return 0, err
	}
	req.Host = churnHost(i)
	res, err := c.client.Do(req)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	b := make([]byte, 512)
	n, _ := res.Body.Read(b)
	switch {
	case res.StatusCode == http.StatusOK:
		return strconv.Atoi(string(b[:n]))
	case res.StatusCode == http.StatusNotFound && res.Header.Get("X-Cf-RouterError") == "unknown_route":
		return noRoute, nil
	default:
		return 0, fmt.Errorf("%s: %s", res.Status, b[:n])
	}
}

// kill ends the router with the signal that nobody can catch, and measures how
// long nobody is answered; a router that answers must know all routes.
func (c *churn) kill(ctx context.Context) error {
	if err := syscall.Kill(c.routed.router, syscall.SIGKILL); err != nil {
		return err
	}
	began, wrong := time.Now(), 0
	for {
		i := rand.IntN(churnRoutes)
		at := time.Now()
		state, err := c.ask(i)
		if err == nil && c.oracle.judge(i, state, at, time.Now()) == nil {
			break
		}
		if err == nil {
			wrong++
		}
		if ctx.Err() != nil || time.Since(began) > time.Minute {
			return fmt.Errorf("the router did not come back: %w", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	back := time.Since(began)
	for i := range 1000 {
		at := time.Now()
		if state, err := c.ask(i); err != nil || c.oracle.judge(i, state, at, time.Now()) != nil {
			wrong++
		}
	}
	row("  after kill -9, until the router answers; wrong answers", fmt.Sprintf("%s, %d", round(back), wrong), "≤ 3 s, 0")
	return nil
}

// hugeTable prints what a table of hugeRoutes takes.
func (b bench) hugeTable(ctx context.Context) error {
	fmt.Printf("a table of %d routes\n", hugeRoutes)
	w, err := startServer(ctx, &ground{weir: b.weir, cpu: -1})
	if err != nil {
		return err
	}
	defer w.stop()
	before, err := pssOf(w.router)
	if err != nil {
		return err
	}
	t := manyHosts(hugeRoutes, "127.0.0.1:9")
	began := time.Now()
	if err := w.put(ctx, t); err != nil {
		return err
	}
	row("  put as a whole", round(time.Since(began)), "")
	peak, err := pssOf(w.router)
	if err != nil {
		return err
	}
	row("  memory right after", fmt.Sprintf("%s, %d B/route", megabytes(peak), (peak-before)/hugeRoutes), "")
	least, err := settledMemory(ctx, w)
	if err != nil {
		return err
	}
	row("  memory when it has settled", fmt.Sprintf("%s, %d B/route", megabytes(least), (least-before)/hugeRoutes), "")
	return nil
}

// settledMemory changes routes until a few collections of garbage were due and
// returns the least memory that was seen.
func settledMemory(ctx context.Context, w *routed) (least int64, err error) {
	for n := range uint64(10) {
		u := router.Update{From: benchTable + n, Number: benchTable + n + 1, Upsert: []router.Route{{Host: "new-" + strconv.FormatUint(n, 10) + ".example.com", GUID: "new"}}}
		if err := w.control.Apply(ctx, u); err != nil {
			return 0, err
		}
		waitUntil(ctx, time.Now().Add(time.Second))
		now, err := pssOf(w.router)
		if err != nil {
			return 0, err
		}
		if least == 0 || now < least {
			least = now
		}
	}
	return least, nil
}

// nameInstances listens n times on loopback; the i-th answers with i.
func nameInstances(n int) (*http.Server, []string, error) {
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second}
	byPort := map[string]string{}
	var addrs []string
	var listeners []net.Listener
	for i := range n {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		listeners = append(listeners, ln)
		addrs = append(addrs, ln.Addr().String())
		byPort[ln.Addr().String()] = strconv.Itoa(i)
	}
	s.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte(byPort[r.Context().Value(http.LocalAddrContextKey).(net.Addr).String()]))
	})
	for _, ln := range listeners {
		go func() {
			if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
				fmt.Fprintln(os.Stderr, "bench: an instance:", err)
			}
		}()
	}
	return s, addrs, nil
}

func waitUntil(ctx context.Context, t time.Time) {
	timer := time.NewTimer(time.Until(t))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
