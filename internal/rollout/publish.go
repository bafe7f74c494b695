package rollout

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

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

	running atomic.Uint64 // the number of the last table the router took

	table  sent                       // what was sent
	byApp  map[string]map[string]bool // the routes in table that lead to an app
	number uint64                     // of the router's table, if inSync
	inSync bool
}

// publication asks for apps and routes to be brought up to date.
type publication struct {
	apps, routes []string
	number       uint64        // reserved for the table with them; 0: none
	done         chan struct{} // closed when the router runs with them
}

// errClosed says that the engine has ended.
var errClosed = errors.New("rollout: the engine has ended")

// statusPeriod is how often the router is asked whether it still has its
// table. It is a safety net; changes do not wait for it.
const statusPeriod = 10 * time.Second

func newPublisher(s *store.Store, r Router, log *slog.Logger) *publisher {
	return &publisher{store: s, router: r, log: log, sig: make(chan struct{}, 1), tried: make(chan struct{}), table: newSent(), byApp: map[string]map[string]bool{}}
}

// sync returns once the router runs with what the rows say about the apps and
// routes at the time of the call, or later.
func (p *publisher) sync(ctx context.Context, apps, routes []string) error {
	return p.syncAs(ctx, apps, routes, 0)
}

// syncAs is sync for a change that reserved the number of the table it is in.
// The router may run a later one by then, which has the change too.
func (p *publisher) syncAs(ctx context.Context, apps, routes []string, number uint64) error {
	pub := &publication{apps: apps, routes: routes, number: number, done: make(chan struct{})}
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
	u := p.table.difference(routes, now)
	u.From = p.number
	if len(u.Upsert) == 0 && len(u.Delete) == 0 {
		p.remember(routes, now)
		return nil
	}
	if u.Number, err = p.nextNumber(ctx, batch); err != nil {
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
	p.running.Store(u.Number)
	p.remember(routes, now)
	return nil
}

// nextNumber returns the number of the next table: the last one that the batch
// reserved, unless a table with its changes went out before.
func (p *publisher) nextNumber(ctx context.Context, batch []*publication) (uint64, error) {
	reserved := uint64(0)
	for _, pub := range batch {
		reserved = max(reserved, pub.number)
	}
	if reserved > p.number {
		return reserved, nil
	}
	return p.store.NextTableNumber(ctx)
}

// remember notes what the router has now.
func (p *publisher) remember(routes []string, now map[string][]entry) {
	for _, guid := range routes {
		for _, e := range p.table.byBase[guid] {
			for _, d := range e.route.Destinations {
				delete(p.byApp[d.AppGUID], guid)
				if len(p.byApp[d.AppGUID]) == 0 {
					delete(p.byApp, d.AppGUID)
				}
			}
		}
	}
	p.table.replace(routes, now)
	for guid, entries := range now {
		for _, e := range entries {
			for _, d := range e.route.Destinations {
				if p.byApp[d.AppGUID] == nil {
					p.byApp[d.AppGUID] = map[string]bool{}
				}
				p.byApp[d.AppGUID][guid] = true
			}
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
	whole := newSent()
	whole.replace(nil, all)
	t := router.Table{Number: number, Routes: whole.routes()}
	if err := p.send(ctx, func(ctx context.Context) error { return p.router.Put(ctx, t) }); err != nil {
		return err
	}
	p.number, p.inSync = number, true
	p.running.Store(number)
	p.table, p.byApp = newSent(), map[string]map[string]bool{}
	p.remember(nil, all)
	p.log.Info("route table was published", "number", number, "routes", len(t.Routes))
	return nil
}
