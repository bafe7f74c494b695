package router

import (
	"errors"
	"fmt"
)

// errInvalidTable marks a table or update that is refused.
var errInvalidTable = errors.New("invalid table")

// put makes t the table in use. It returns once every request that begins
// uses it.
func (r *Router) put(t Table) error {
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
	if r.keep != nil {
		r.kept(r.keep.replace(t))
	}
	return nil
}

// install builds t beside the table in use and switches to it. Routes that
// did not change keep their counters. The caller holds writer.
func (r *Router) install(t Table) {
	old := r.table.Load()
	next := &snapshot{number: t.Number, routes: len(t.Routes)}
	var exact, wild edit
	kept := make(map[*route]bool)
	for i := range t.Routes {
		rt := old.lookup(t.Routes[i].Key())
		if rt != nil && sameRoute(&rt.src, &t.Routes[i]) {
			kept[rt] = true
		} else {
			rt = r.compile(t.Routes[i], rt)
		}
		tree, name := next.tree(rt.src.Host)
		tree.put(pickEdit(next, tree, &exact, &wild), name, rt)
	}
	exact.done()
	wild.done()
	r.publish(next)
	for rt := range old.all {
		if !kept[rt] {
			r.retire(rt)
		}
	}
}

// compile makes src ready for choosing; old is the route it replaces, or nil.
// The caller holds writer.
func (r *Router) compile(src Route, old *route) *route {
	rt := newRoute(src, old, r.backends.acquire)
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
	r.backends.release(rt)
	r.evidence.detach(rt)
	if rt.rules != nil && rt.rules.hold != nil {
		now := r.table.Load().lookup(rt.src.Key())
		if now == nil || now.rules == nil || now.rules.hold != rt.rules.hold {
			rt.rules.hold.release()
		}
	}
}

func pickEdit(s *snapshot, t *hostTree, exact, wild *edit) *edit {
	if t == &s.wild {
		return wild
	}
	return exact
}

// apply changes the table in use. It returns once every request that begins
// uses the result, and ErrOutOfSync if u was made for another table.
func (r *Router) apply(u Update) error {
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
	old := r.table.Load()
	if u.From != old.number {
		return fmt.Errorf("%w: running table %d, update is for %d", ErrOutOfSync, old.number, u.From)
	}
	next, left := r.edited(old, u)
	if r.keep != nil {
		r.kept(r.keep.append(u, next))
	}
	r.publish(next)
	for _, rt := range left {
		r.retire(rt)
	}
	return nil
}

// edited returns old with u applied, and the routes that are not in it any
// more.
func (r *Router) edited(old *snapshot, u Update) (next *snapshot, left []*route) {
	next = &snapshot{number: u.Number, exact: old.exact, wild: old.wild, routes: old.routes}
	var exact, wild edit
	for _, k := range u.Delete {
		tree, name := next.tree(k.Host)
		if rt := tree.drop(pickEdit(next, tree, &exact, &wild), name, k.Path); rt != nil {
			left = append(left, rt)
			next.routes--
		}
	}
	for i := range u.Upsert {
		was := next.lookup(u.Upsert[i].Key())
		if was != nil && sameRoute(&was.src, &u.Upsert[i]) {
			continue
		}
		rt := r.compile(u.Upsert[i], was)
		tree, name := next.tree(rt.src.Host)
		if was = tree.put(pickEdit(next, tree, &exact, &wild), name, rt); was != nil {
			left = append(left, was)
		} else {
			next.routes++
		}
	}
	exact.done()
	wild.done()
	return next, left
}

func (r *Router) publish(s *snapshot) {
	r.table.Store(s)
	r.metrics.updates.Add(1)
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
