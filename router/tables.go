package router

import (
	"errors"
	"fmt"
)

// errInvalidTable marks a table or update that is refused.
var errInvalidTable = errors.New("invalid table")

// largeTable is from how many routes on the text they came in, several times
// as large as what is made of it, is given back to the system at once. It
// would otherwise lie about until as much again was needed.
const largeTable = 50_000

// put makes t the table in use. It returns once every request that begins
// uses it.
func (r *Router) put(t Table) error { return r.putAs(t, false) }

// putAs is put. A router that follows another leaves the disk to that one.
func (r *Router) putAs(t Table, follows bool) error {
	routes, err := normalRoutes(t.Routes)
	if err != nil {
		return err
	}
	seen := make(map[RouteKey]bool, len(routes))
	for i := range routes {
		k := routes[i].Key()
		if seen[k] {
			return fmt.Errorf("%w: route %q twice", errInvalidTable, k.Host+k.Path)
		}
		seen[k] = true
	}
	t.Routes = routes

	r.writer.Lock()
	defer r.writer.Unlock()
	r.install(t)
	if r.keep != nil && !follows {
		r.kept(r.keep.replace(t))
	}
	return nil
}

// install builds t beside the table in use and switches to it. Routes that
// did not change keep their counters. The caller holds writer.
func (r *Router) install(t Table) {
	old := r.table.Load()
	next := newTable(t.Number, len(t.Routes))
	kept := make(map[*route]bool)
	for i := range t.Routes {
		src := &t.Routes[i]
		rt := old.lookup(src.Key())
		if rt != nil && rt.says(src) {
			kept[rt] = true
		} else {
			rt = r.compile(src, rt)
		}
		x, name := next.index(rt.src.Host)
		first, _ := joined(x.find(name), rt)
		x.set(name, first)
	}
	next.count.Store(int64(len(t.Routes)))
	r.table.Store(next)
	r.metrics.updates.Add(1)
	for rt := range old.all {
		if !kept[rt] {
			r.retire(rt)
		}
	}
}

// compile makes src ready for choosing; old is the route it replaces, or nil.
// The caller holds writer.
func (r *Router) compile(src *Route, old *route) *route {
	rt := newRoute(src, old, r.pools.acquire)
	r.settle(rt)
	r.evidence.attach(rt)
	if rt.rules != nil && rt.rules.broken != nil {
		r.cfg.Logger.Error("route is closed: its options are not understood", "route", rt.src.Host+rt.src.Path, "err", rt.rules.broken)
	}
	return rt
}

// retire lets go of what a route that left the table holds. The table without
// it must have been published.
func (r *Router) retire(rt *route) {
	for i := range rt.dests {
		r.pools.release(rt.dests[i].pool)
	}
	r.evidence.detach(rt)
	if rt.rules != nil && rt.rules.hold != nil {
		now := r.table.Load().lookup(rt.src.Key())
		if now == nil || now.rules == nil || now.rules.hold != rt.rules.hold {
			rt.rules.hold.release()
		}
	}
}

// apply changes the table in use. It returns once every request that begins
// uses the result, and ErrOutOfSync if u was made for another table.
func (r *Router) apply(u Update) error { return r.applyAs(u, false) }

// applyAs is apply. A router that follows another leaves the disk to that one,
// and may have found the change there.
func (r *Router) applyAs(u Update, follows bool) error {
	upsert, err := normalRoutes(u.Upsert)
	if err != nil {
		return err
	}
	u.Upsert = upsert
	gone := make([]RouteKey, len(u.Delete))
	for i, k := range u.Delete {
		if gone[i], err = normalKey(k); err != nil {
			return fmt.Errorf("%w: %w", errInvalidTable, err)
		}
	}
	u.Delete = gone

	r.writer.Lock()
	defer r.writer.Unlock()
	t := r.table.Load()
	if follows && u.Number == t.number() {
		return nil
	}
	if u.From != t.number() {
		return fmt.Errorf("%w: running table %d, update is for %d", ErrOutOfSync, t.number(), u.From)
	}
	e := edit{table: t}
	left := r.edited(&e, u)
	e.publish(u.Number)
	r.metrics.updates.Add(1)
	if r.keep != nil && !follows {
		r.kept(r.keep.append(u, t))
	}
	for _, rt := range left {
		r.retire(rt)
	}
	return nil
}

// edited puts into e what u changes and returns the routes that will not be
// in the table any more.
func (r *Router) edited(e *edit, u Update) (left []*route) {
	for _, k := range u.Delete {
		c := e.at(k.Host)
		now, old := parted(c.first, k.Path)
		if old != nil {
			c.first = now
			left = append(left, old)
			e.routes--
		}
	}
	for i := range u.Upsert {
		src := &u.Upsert[i]
		c := e.at(src.Host)
		was := among(c.first, src.Path)
		if was != nil && was.says(src) {
			continue
		}
		rt := r.compile(src, was)
		c.first, _ = joined(c.first, rt)
		if was != nil {
			left = append(left, was)
		} else {
			e.routes++
		}
	}
	return left
}

// kept notes whether the table in use is on disk. A router that cannot write
// goes on: the controller sends a new table to one that wakes up with an old
// one.
func (r *Router) kept(err error) {
	r.persisted.Store(err == nil)
	if err != nil {
		r.metrics.unsaved.Add(1)
		r.cfg.Logger.Error("route table not kept on disk", "err", err)
	}
}

func normalRoutes(routes []Route) ([]Route, error) {
	out := make([]Route, len(routes))
	for i, r := range routes {
		var err error
		if out[i], err = normalRoute(r); err != nil {
			return nil, fmt.Errorf("%w: %w", errInvalidTable, err)
		}
	}
	return out, nil
}
