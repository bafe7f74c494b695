package router

import "hash/maphash"

// hostTree is an immutable map from host names to their routes: a tree of
// three levels with 64 branches each, addressed by the name's hash. A change
// copies the path to one leaf (about 2.5 KiB), so a tree of a million hosts
// changes in microseconds, and every tree ever published stays as it was.
type hostTree struct {
	trunk *trunk
	n     int
}

type (
	trunk struct{ branch [64]*twigs }
	twigs struct {
		by     *edit
		branch [64]*leaves
	}
	leaves struct {
		by     *edit
		branch [64][]leaf
	}
	// leaf repeats the hash, so that a look-up touches only the host it finds.
	leaf struct {
		hash uint64
		*host
	}
)

// edit owns the nodes it made: they are changed in place until done is called.
// An edit belongs to one tree.
type edit struct{ trunk *trunk }

// done ends the edit. Nodes remember who made them, so it must not hold on to
// a whole tree.
func (e *edit) done() { e.trunk = nil }

// host is one name and its routes. It is immutable once published.
type host struct {
	by     *edit
	name   string
	only   *route            // the route, if there is one and it has no path
	routes []*route          // longest path first
	paths  map[string]*route // the same, if there are many
}

// manyPaths is how many routes a host may have before they are indexed.
const manyPaths = 8

var hashSeed = maphash.MakeSeed()

func hashHost(name string) uint64 { return maphash.String(hashSeed, name) }

// find returns the host with exactly this name, or nil.
func (t hostTree) find(name string) *host {
	if t.n == 0 {
		return nil
	}
	hash := hashHost(name)
	tw := t.trunk.branch[hash>>58]
	if tw == nil {
		return nil
	}
	lv := tw.branch[hash>>52&63]
	if lv == nil {
		return nil
	}
	for _, l := range lv.branch[hash>>46&63] {
		if l.hash == hash && l.name == name {
			return l.host
		}
	}
	return nil
}

// all calls yield for every host until it returns false.
func (t hostTree) all(yield func(*host) bool) {
	if t.n == 0 {
		return
	}
	for _, tw := range t.trunk.branch {
		if tw == nil {
			continue
		}
		for _, lv := range tw.branch {
			if lv == nil {
				continue
			}
			for _, leaves := range lv.branch {
				for _, l := range leaves {
					if !yield(l.host) {
						return
					}
				}
			}
		}
	}
}

// leaf returns the leaf of hash within a node that e may change, making
// copies of what it may not.
func (t *hostTree) leaf(e *edit, hash uint64) *[]leaf {
	if e.trunk == nil {
		e.trunk = new(trunk)
		if t.trunk != nil {
			*e.trunk = *t.trunk
		}
	}
	t.trunk = e.trunk
	tw := t.trunk.branch[hash>>58]
	switch {
	case tw == nil:
		tw = &twigs{by: e}
	case tw.by != e:
		tw = &twigs{by: e, branch: tw.branch}
	}
	t.trunk.branch[hash>>58] = tw
	lv := tw.branch[hash>>52&63]
	switch {
	case lv == nil:
		lv = &leaves{by: e}
	case lv.by != e:
		lv = &leaves{by: e, branch: lv.branch}
	}
	tw.branch[hash>>52&63] = lv
	return &lv.branch[hash>>46&63]
}

// put makes r the route of its path at the host called name, and returns the
// route it replaces.
func (t *hostTree) put(e *edit, name string, r *route) (old *route) {
	hash := hashHost(name)
	at := t.leaf(e, hash)
	for i, l := range *at {
		if l.hash == hash && l.name == name {
			h := l.owned(e)
			old = h.put(r)
			*at = append([]leaf(nil), *at...)
			(*at)[i].host = h
			return old
		}
	}
	h := &host{by: e, name: name}
	h.put(r)
	*at = append((*at)[:len(*at):len(*at)], leaf{hash, h})
	t.n++
	return nil
}

// drop removes the route with the given path and returns it, or nil.
func (t *hostTree) drop(e *edit, name, path string) (old *route) {
	if t.find(name) == nil {
		return nil
	}
	hash := hashHost(name)
	at := t.leaf(e, hash)
	for i, l := range *at {
		if l.hash != hash || l.name != name {
			continue
		}
		h := l.owned(e)
		old = h.drop(path)
		rest := append([]leaf(nil), (*at)[:i]...)
		if len(h.routes) > 0 {
			rest = append(rest, leaf{hash, h})
		} else {
			t.n--
		}
		*at = append(rest, (*at)[i+1:]...)
		return old
	}
	return nil
}

// owned returns h if e made it, else a copy that e may change.
func (h *host) owned(e *edit) *host {
	if h.by == e {
		return h
	}
	c := &host{by: e, name: h.name}
	c.routes = append(make([]*route, 0, len(h.routes)+1), h.routes...)
	c.index()
	c.settle()
	return c
}

func (h *host) put(r *route) (old *route) {
	defer h.settle()
	at := len(h.routes)
	for i, o := range h.routes {
		if o.src.Path == r.src.Path {
			h.routes[i] = r
			if h.paths != nil {
				h.paths[r.src.Path] = r
			}
			return o
		}
		if len(o.src.Path) < len(r.src.Path) {
			at = min(at, i)
		}
	}
	h.routes = append(h.routes, nil)
	copy(h.routes[at+1:], h.routes[at:])
	h.routes[at] = r
	if h.paths != nil {
		h.paths[r.src.Path] = r
	} else {
		h.index()
	}
	return nil
}

func (h *host) drop(path string) (old *route) {
	defer h.settle()
	for i, o := range h.routes {
		if o.src.Path == path {
			h.routes = append(h.routes[:i], h.routes[i+1:]...)
			delete(h.paths, path)
			return o
		}
	}
	return nil
}

// settle notes the route of a host that has only one for everything.
func (h *host) settle() {
	h.only = nil
	if len(h.routes) == 1 && h.routes[0].src.Path == "" {
		h.only = h.routes[0]
	}
}

func (h *host) index() {
	if len(h.routes) <= manyPaths {
		return
	}
	h.paths = make(map[string]*route, len(h.routes))
	for _, r := range h.routes {
		h.paths[r.src.Path] = r
	}
}

// match returns the route with the longest path that path begins with, whole
// segments only, or nil.
func (h *host) match(path string) *route {
	if h.only != nil {
		return h.only
	}
	if h.paths != nil {
		return h.matchIndexed(path)
	}
	for _, r := range h.routes {
		if underPath(path, r.src.Path) {
			return r
		}
	}
	return nil
}

// matchIndexed tries path and each of its parents, none longer than the
// host's longest route.
func (h *host) matchIndexed(path string) *route {
	longest := len(h.routes[0].src.Path)
	for n := min(len(path), longest); ; n-- {
		if n == len(path) || path[n] == '/' {
			if r := h.paths[path[:n]]; r != nil {
				return r
			}
		}
		if n == 0 {
			return h.paths[""]
		}
	}
}

// underPath reports whether path is prefix, or lies below it.
func underPath(path, prefix string) bool {
	return len(path) >= len(prefix) && path[:len(prefix)] == prefix &&
		(len(path) == len(prefix) || prefix == "" || path[len(prefix)] == '/')
}
