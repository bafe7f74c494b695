package router

import (
	"strings"
	"sync/atomic"
)

// table is the table in use. Readers take no lock; one writer, who holds
// Router.writer, changes it in place. Each change is seen as a whole: a
// search that a change came across begins anew.
//
// A change of one host is one atomic store. One of several hosts is first
// laid over the table as a patch, by one atomic store, then put into it, and
// then the patch is taken off.
type table struct {
	exact index // by host
	wild  index // by what follows "*."

	// turn counts changes. It rises after the patch is laid on and before the
	// indexes change.
	turn  atomic.Uint64
	patch atomic.Pointer[patch]

	num   atomic.Uint64
	count atomic.Int64
}

// patch says what is kept for some hosts, nil for those that have no route.
type patch struct{ exact, wild map[string]*route }

// newTable returns a table with room for n routes.
func newTable(number uint64, n int) *table {
	t := new(table)
	t.num.Store(number)
	if n > 0 {
		t.exact.resize(n)
	}
	return t
}

func (t *table) number() uint64 { return t.num.Load() }
func (t *table) routes() int    { return int(t.count.Load()) }

// find returns the route for a normalised host and a path, or nil: the exact
// host before wildcards, of those the most specific, and there the longest
// path. A host none of whose paths match leaves the request to the wildcards.
func (t *table) find(hostname, path string) *route {
	for {
		turn := t.turn.Load()
		r := t.search(t.patch.Load(), hostname, path)
		if t.turn.Load() == turn {
			return r
		}
	}
}

func (t *table) search(p *patch, hostname, path string) *route {
	if first := t.exactly(p, hostname); first != nil {
		if r := first.match(path); r != nil {
			return r
		}
	}
	if t.wild.slots.Load() == nil && p == nil {
		return nil
	}
	for rest := hostname; rest != ""; {
		_, rest, _ = strings.Cut(rest, ".")
		if first := t.wildly(p, rest); first != nil {
			if r := first.match(path); r != nil {
				return r
			}
		}
	}
	return nil
}

func (t *table) exactly(p *patch, name string) *route {
	if p != nil {
		if first, ok := p.exact[name]; ok {
			return first
		}
	}
	return t.exact.find(name)
}

func (t *table) wildly(p *patch, name string) *route {
	if p != nil {
		if first, ok := p.wild[name]; ok {
			return first
		}
	}
	return t.wild.find(name)
}

// all calls yield for every route until it returns false. What changes
// meanwhile may be seen or not.
func (t *table) all(yield func(*route) bool) {
	for _, x := range []*index{&t.exact, &t.wild} {
		for first := range x.all {
			for _, r := range routesOf(first) {
				if !yield(r) {
					return
				}
			}
		}
	}
}

// index returns the index and the name under which a route's host is kept.
func (t *table) index(hostname string) (x *index, name string) {
	if hostname == "*" {
		return &t.wild, ""
	}
	if rest, ok := strings.CutPrefix(hostname, "*."); ok {
		return &t.wild, rest
	}
	return &t.exact, hostname
}

// lookup returns the route with this name, or nil. Only the writer calls it.
func (t *table) lookup(k RouteKey) *route {
	x, name := t.index(k.Host)
	return among(x.find(name), k.Path)
}

// among returns, of what is kept for a host, the route with this path.
func among(first *route, path string) *route {
	if first == nil || first.more == nil {
		if first != nil && path == "" {
			return first
		}
		return nil
	}
	for _, r := range first.more.routes {
		if r.src.Path == path {
			return r
		}
	}
	return nil
}

// table returns the table in the form it came in.
func (t *table) table() Table {
	out := Table{Number: t.number(), Routes: make([]Route, 0, t.routes())}
	for r := range t.all {
		out.Routes = append(out.Routes, r.route())
	}
	return out
}

// edit is a change of a table before it is seen.
type edit struct {
	table   *table
	changes []change
	byHost  map[string]int // of changes, if they are many
	routes  int64          // more than before
}

// change is what will be kept for a host.
type change struct {
	host  string // with the "*." of a wildcard
	first *route
}

// manyHosts is how many hosts a change may touch before they are indexed.
const manyHosts = 8

// at returns what will be kept for a host. It is good until the next call.
func (e *edit) at(host string) *change {
	if e.byHost != nil {
		if i, ok := e.byHost[host]; ok {
			return &e.changes[i]
		}
	} else {
		for i := range e.changes {
			if e.changes[i].host == host {
				return &e.changes[i]
			}
		}
	}
	x, name := e.table.index(host)
	e.changes = append(e.changes, change{host: host, first: x.find(name)})
	if e.byHost != nil {
		e.byHost[host] = len(e.changes) - 1
	} else if len(e.changes) > manyHosts {
		e.byHost = make(map[string]int, 2*len(e.changes))
		for i := range e.changes {
			e.byHost[e.changes[i].host] = i
		}
	}
	return &e.changes[len(e.changes)-1]
}

// publish makes the change seen, all of it at the same moment.
func (e *edit) publish(number uint64) {
	t := e.table
	if len(e.changes) > 1 {
		p := &patch{exact: map[string]*route{}, wild: map[string]*route{}}
		for _, c := range e.changes {
			x, name := t.index(c.host)
			if x == &t.wild {
				p.wild[name] = c.first
			} else {
				p.exact[name] = c.first
			}
		}
		t.patch.Store(p)
	}
	t.turn.Add(1)
	for _, c := range e.changes {
		x, name := t.index(c.host)
		x.set(name, c.first)
	}
	t.patch.Store(nil)
	t.count.Add(e.routes)
	t.num.Store(number)
}
