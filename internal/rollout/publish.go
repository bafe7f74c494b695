package rollout

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// publisher keeps the router's table equal to the rows. It is the only one to
// number tables and to send them, one after the other; requests that come
// while one is on its way share the next.
type publisher struct {
	store  *store.Store
	router Router
	log    *slog.Logger

	mu      sync.Mutex
	waiting []*publication // guarded by mu
	closed  bool           // guarded by mu
	// tried is closed after the first attempt to send the table.
	tried chan struct{}
	// sig is signalled when waiting is not empty; one signal stands for many.
	sig chan struct{}

	// The rest belongs to run.

	table  map[string]router.Route    // by route GUID; what was sent
	byApp  map[string]map[string]bool // the routes in table that lead to an app
	number uint64                     // of the router's table, if inSync
	inSync bool
}

// publication asks for apps and routes to be brought up to date.
type publication struct {
	apps, routes []string
	done         chan struct{} // closed when the router runs with them
}

// errClosed says that the engine has ended.
var errClosed = errors.New("rollout: the engine has ended")

// statusPeriod is how often the router is asked whether it still has its
// table. It is a safety net; changes do not wait for it.
const statusPeriod = 10 * time.Second

func newPublisher(s *store.Store, r Router, log *slog.Logger) *publisher {
	return &publisher{store: s, router: r, log: log, sig: make(chan struct{}, 1), tried: make(chan struct{}), table: map[string]router.Route{}, byApp: map[string]map[string]bool{}}
}

// sync returns once the router runs with what the rows say about the apps and
// routes at the time of the call, or later.
func (p *publisher) sync(ctx context.Context, apps, routes []string) error {
	pub := &publication{apps: apps, routes: routes, done: make(chan struct{})}
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return errClosed
	}
	p.waiting = append(p.waiting, pub)
	p.mu.Unlock()
	select {
	case p.sig <- struct{}{}:
	default:
	}
	select {
	case <-pub.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run publishes the whole table and then every change until ctx ends.
func (p *publisher) run(ctx context.Context) {
	defer func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
	}()
	ticker := time.NewTicker(statusPeriod)
	defer ticker.Stop()
	tried := sync.OnceFunc(func() { close(p.tried) })
	var batch []*publication
	for retry := time.Duration(0); ; {
		p.mu.Lock()
		batch = append(batch, p.waiting...)
		p.waiting = nil
		p.mu.Unlock()
		err := p.publish(ctx, batch)
		tried()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			p.inSync = false
			retry = min(max(2*retry, 50*time.Millisecond), time.Second)
			p.log.Warn("the router does not take the route table, trying again", "err", err, "in", retry)
			if !sleep(ctx, retry) {
				return
			}
			continue
		}
		retry = 0
		for _, pub := range batch {
			close(pub.done)
		}
		batch = nil
		select {
		case <-ctx.Done():
			return
		case <-p.sig:
		case <-ticker.C:
			p.checkRouter(ctx)
		}
	}
}

// checkRouter notices a router that lost its table.
func (p *publisher) checkRouter(ctx context.Context) {
	r, ok := p.router.(interface {
		Status(context.Context) (router.Status, error)
	})
	if !ok || !p.inSync {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, statusPeriod)
	defer cancel()
	if s, err := r.Status(ctx); err == nil && s.Number != p.number {
		p.log.Warn("the router runs another table, sending it again", "number", s.Number, "expected", p.number)
		p.inSync = false
	}
}

// publish sends what the batch asks for, or everything if the router may have
// another table than we think.
func (p *publisher) publish(ctx context.Context, batch []*publication) error {
	if !p.inSync {
		return p.publishAll(ctx)
	}
	if len(batch) == 0 {
		return nil
	}
	var apps, routes []string
	for _, pub := range batch {
		apps = append(apps, pub.apps...)
		routes = append(routes, pub.routes...)
	}
	for _, app := range apps { // routes that lead, or led, to it
		for guid := range p.byApp[app] {
			routes = append(routes, guid)
		}
	}
	now, err := p.compile(ctx, apps, routes)
	if err != nil {
		return err
	}
	u := p.difference(routes, now)
	if len(u.Upsert) == 0 && len(u.Delete) == 0 {
		p.remember(routes, now)
		return nil
	}
	if u.Number, err = p.store.NextTableNumber(ctx); err != nil {
		return err
	}
	if err := p.send(ctx, func(ctx context.Context) error { return p.router.Apply(ctx, u) }); err != nil {
		if errors.Is(err, router.ErrOutOfSync) {
			p.inSync = false
			return p.publishAll(ctx)
		}
		return err
	}
	p.number = u.Number
	p.remember(routes, now)
	return nil
}

// difference returns what turns the router's table into one where the routes
// named are as in now, or absent.
func (p *publisher) difference(routes []string, now map[string]router.Route) router.Update {
	u := router.Update{From: p.number}
	taken := map[router.RouteKey]bool{}
	for guid, r := range now {
		taken[r.Key()] = true
		if old, had := p.table[guid]; !had || !reflect.DeepEqual(old, r) {
			u.Upsert = append(u.Upsert, r)
		}
	}
	slices.SortFunc(u.Upsert, compareRoutes)
	for _, guid := range routes {
		if old, had := p.table[guid]; had && !taken[old.Key()] {
			taken[old.Key()] = true
			u.Delete = append(u.Delete, old.Key())
		}
	}
	return u
}

// remember notes what the router has now.
func (p *publisher) remember(routes []string, now map[string]router.Route) {
	for _, guid := range routes {
		for _, d := range p.table[guid].Destinations {
			delete(p.byApp[d.AppGUID], guid)
			if len(p.byApp[d.AppGUID]) == 0 {
				delete(p.byApp, d.AppGUID)
			}
		}
		delete(p.table, guid)
	}
	for guid, r := range now {
		p.table[guid] = r
		for _, d := range r.Destinations {
			if p.byApp[d.AppGUID] == nil {
				p.byApp[d.AppGUID] = map[string]bool{}
			}
			p.byApp[d.AppGUID][guid] = true
		}
	}
}

// sendTimeout bounds one attempt to reach the router.
const sendTimeout = 20 * time.Second

func (p *publisher) send(ctx context.Context, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	return call(ctx)
}

func (p *publisher) publishAll(ctx context.Context) error {
	all, err := p.compile(ctx, nil, nil)
	if err != nil {
		return err
	}
	number, err := p.store.NextTableNumber(ctx)
	if err != nil {
		return err
	}
	t := router.Table{Number: number, Routes: slices.SortedFunc(maps.Values(all), compareRoutes)}
	if err := p.send(ctx, func(ctx context.Context) error { return p.router.Put(ctx, t) }); err != nil {
		return err
	}
	p.number, p.inSync = number, true
	p.table, p.byApp = map[string]router.Route{}, map[string]map[string]bool{}
	p.remember(nil, all)
	p.log.Info("route table was published", "number", number, "routes", len(all))
	return nil
}

func compareRoutes(a, b router.Route) int {
	if c := strings.Compare(a.Host, b.Host); c != 0 {
		return c
	}
	return strings.Compare(a.Path, b.Path)
}

// compile reads the routes that lead to one of the apps or are named, or all
// if both are nil, from one snapshot of the rows.
func (p *publisher) compile(ctx context.Context, apps, routes []string) (map[string]router.Route, error) {
	compiled := map[string]router.Route{}
	err := p.store.View(ctx, func(tx *store.Tx) error {
		found, err := findRoutes(ctx, tx, apps, routes)
		if err != nil {
			return err
		}
		c, err := newCompiler(ctx, tx, found, apps == nil && routes == nil)
		if err != nil {
			return err
		}
		for guid, r := range found {
			// A route that leads nowhere is unknown to the router, as in Cloud
			// Foundry: 404, or whatever a wildcard or a shorter path answers.
			if len(r.Destinations) > 0 {
				compiled[guid] = c.route(r)
			}
		}
		return nil
	})
	return compiled, err
}

func findRoutes(ctx context.Context, tx *store.Tx, apps, routes []string) (map[string]platform.Route, error) {
	var queries []store.Query
	switch {
	case apps == nil && routes == nil:
		queries = []store.Query{{}}
	default:
		for key, values := range map[string][]string{"app_guids": apps, "guids": routes} {
			for chunk := range slices.Chunk(values, 500) {
				queries = append(queries, store.Query{In: map[string][]string{key: chunk}})
			}
		}
	}
	all := map[string]platform.Route{}
	for _, q := range queries {
		found, _, err := tx.Routes(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, r := range found {
			all[r.GUID] = r
		}
	}
	return all, nil
}

// compiler turns routes as stored into routes as the router wants them.
type compiler struct {
	names     map[string]string // of apps
	processes map[processKey]string
	backends  map[processKey][]router.Backend
}

type processKey struct{ app, typ string }

// newCompiler reads what the routes lead to.
func newCompiler(ctx context.Context, tx *store.Tx, routes map[string]platform.Route, all bool) (*compiler, error) {
	c := &compiler{names: map[string]string{}, processes: map[processKey]string{}, backends: map[processKey][]router.Backend{}}
	apps := map[string]bool{}
	for _, r := range routes {
		for _, d := range r.Destinations {
			apps[d.AppGUID] = true
		}
	}
	if len(apps) == 0 {
		return c, nil
	}
	// One query for all rows is quicker than naming thousands of them.
	chunks := [][]string{nil}
	if !all {
		chunks = slices.Collect(slices.Chunk(slices.Collect(maps.Keys(apps)), 500))
	}
	for _, chunk := range chunks {
		if err := c.read(ctx, tx, chunk); err != nil {
			return nil, err
		}
	}
	for _, b := range c.backends {
		slices.SortFunc(b, func(a, b router.Backend) int {
			if a.Index != b.Index {
				return a.Index - b.Index
			}
			return strings.Compare(a.InstanceGUID, b.InstanceGUID)
		})
	}
	return c, nil
}

// read reads the apps named, or all of them.
func (c *compiler) read(ctx context.Context, tx *store.Tx, apps []string) error {
	query := func(key string, more map[string][]string) store.Query {
		q := store.Query{In: map[string][]string{}}
		maps.Copy(q.In, more)
		if apps != nil {
			q.In[key] = apps
		}
		return q
	}
	found, _, err := tx.Apps(ctx, query("guids", nil))
	if err != nil {
		return err
	}
	for _, a := range found {
		c.names[a.GUID] = a.Name
	}
	processes, _, err := tx.Processes(ctx, query("app_guids", nil))
	if err != nil {
		return err
	}
	for _, p := range processes {
		c.processes[processKey{p.AppGUID, p.Type}] = p.GUID
	}
	running, _, err := tx.Instances(ctx, query("app_guids", map[string][]string{
		"states": {string(platform.InstanceRunning)}, "ready": {"true"},
	}))
	if err != nil {
		return err
	}
	for _, i := range running {
		key := processKey{i.AppGUID, i.ProcessType}
		c.backends[key] = append(c.backends[key], router.Backend{
			InstanceGUID: i.GUID, Index: i.Index, Addr: net.JoinHostPort(i.Host, strconv.Itoa(i.Port)),
		})
	}
	return nil
}

func (c *compiler) route(r platform.Route) router.Route {
	out := router.Route{
		Host: strings.ToLower(r.FQDN()), Path: r.Path, GUID: r.GUID,
	}
	if len(r.Options) > 0 {
		out.Options = maps.Clone(r.Options)
	}
	for _, d := range r.Destinations {
		key := processKey{d.AppGUID, d.ProcessType}
		out.Destinations = append(out.Destinations, router.Destination{
			AppGUID: d.AppGUID, AppName: c.names[d.AppGUID], Process: d.ProcessType, ProcessGUID: c.processes[key],
			Weight: d.EffectiveWeight(), Protocol: d.Protocol, Backends: c.backends[key],
		})
	}
	return out
}
