package router

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// index maps host names to their routes: an open-addressed table with linear
// probing. Readers take no lock; one writer changes slots in place. A slot's
// tag only saves readers from looking at hosts that cannot be meant: what
// counts is the name of the route the slot holds, and that never changes.
type index struct {
	slots atomic.Pointer[[]slot]
	used  int // slots that are not empty, the writer's business
	n     int // hosts, likewise
}

// slot holds one host.
type slot struct {
	tag   atomic.Uint64 // the hash of the name; tagEmpty, tagGone
	first atomic.Pointer[route]
}

const (
	tagEmpty = 0 // ends a search
	tagGone  = 1 // does not
)

var hashSeed = maphash.MakeSeed()

func hashHost(name string) uint64 { return max(maphash.String(hashSeed, name), tagGone+1) }

// place returns where the search for a hash begins.
func place(hash uint64, slots int) int {
	at, _ := bits.Mul64(hash, uint64(slots))
	return int(at)
}

// find returns what is kept for the host with exactly this name, or nil.
func (x *index) find(name string) *route {
	slots := x.slots.Load()
	if slots == nil {
		return nil
	}
	s := *slots
	hash := hashHost(name)
	for i := place(hash, len(s)); ; {
		switch s[i].tag.Load() {
		case hash:
			if r := s[i].first.Load(); r != nil && r.name() == name {
				return r
			}
		case tagEmpty:
			return nil
		}
		if i++; i == len(s) {
			i = 0
		}
	}
}

// set makes r what is kept for the host, or removes the host if r is nil.
func (x *index) set(name string, r *route) {
	hash := hashHost(name)
	if s := x.slots.Load(); s != nil {
		if at := locate(*s, hash, name); at >= 0 {
			x.replace(&(*s)[at], r)
			return
		}
	}
	if r == nil {
		return
	}
	s := x.slots.Load()
	if s == nil || (x.used+1)*4 > len(*s)*3 {
		x.resize(max(2*x.n, 12))
		s = x.slots.Load()
	}
	for i := place(hash, len(*s)); ; {
		free := &(*s)[i]
		if tag := free.tag.Load(); tag == tagEmpty || tag == tagGone {
			if tag == tagEmpty {
				x.used++
			}
			// The route first: who sees the tag finds it.
			free.first.Store(r)
			free.tag.Store(hash)
			x.n++
			return
		}
		if i++; i == len(*s) {
			i = 0
		}
	}
}

func (x *index) replace(s *slot, r *route) {
	s.first.Store(r)
	if r == nil {
		s.tag.Store(tagGone)
		x.n--
	}
}

// locate returns the slot of a host, or -1.
func locate(s []slot, hash uint64, name string) int {
	for i := place(hash, len(s)); ; {
		switch s[i].tag.Load() {
		case hash:
			if r := s[i].first.Load(); r != nil && r.name() == name {
				return i
			}
		case tagEmpty:
			return -1
		}
		if i++; i == len(s) {
			i = 0
		}
	}
}

// resize moves everything to a table with room for n hosts. Readers go on in
// the old one, which does not change any more.
func (x *index) resize(n int) {
	next := make([]slot, n*4/3+4)
	used := 0
	if old := x.slots.Load(); old != nil {
		for i := range *old {
			r := (*old)[i].first.Load()
			if r == nil {
				continue
			}
			hash := (*old)[i].tag.Load()
			at := place(hash, len(next))
			for next[at].tag.Load() != tagEmpty {
				if at++; at == len(next) {
					at = 0
				}
			}
			next[at].first.Store(r)
			next[at].tag.Store(hash)
			used++
		}
	}
	x.used = used
	x.slots.Store(&next)
}

// all calls yield for what is kept for each host until it returns false.
func (x *index) all(yield func(*route) bool) {
	s := x.slots.Load()
	if s == nil {
		return
	}
	for i := range *s {
		if r := (*s)[i].first.Load(); r != nil && !yield(r) {
			return
		}
	}
}

// What is kept for a host is its only route, if that has no path, and
// otherwise a route without anything but its siblings.

// siblings are the routes of one host. They never change.
type siblings struct {
	routes []*route          // longest path first
	paths  map[string]*route // the same, if there are many
}

// manyPaths is how many routes a host may have before they are indexed.
const manyPaths = 8

// routesOf returns the routes kept for a host, longest path first.
func routesOf(first *route) []*route {
	switch {
	case first == nil:
		return nil
	case first.more == nil:
		return []*route{first}
	}
	return first.more.routes
}

// joined returns what to keep for the host of r when r is the route of its
// path, and the route it replaces.
func joined(first, r *route) (now, old *route) {
	if r.src.Path == "" && (first == nil || first.more == nil) {
		return r, first
	}
	routes := routesOf(first)
	list := make([]*route, 0, len(routes)+1)
	at := -1
	for _, o := range routes {
		switch {
		case o.src.Path == r.src.Path:
			old = o
			continue
		case at < 0 && len(o.src.Path) < len(r.src.Path):
			at = len(list)
			list = append(list, r)
		}
		list = append(list, o)
	}
	if at < 0 {
		list = append(list, r)
	}
	return grouped(list), old
}

// parted returns what to keep for a host without the route of this path, and
// that route.
func parted(first *route, path string) (now, old *route) {
	routes := routesOf(first)
	list := make([]*route, 0, len(routes))
	for _, o := range routes {
		if o.src.Path == path {
			old = o
			continue
		}
		list = append(list, o)
	}
	if old == nil {
		return first, nil
	}
	return grouped(list), old
}

// grouped returns what is kept for a host with these routes.
func grouped(list []*route) *route {
	switch {
	case len(list) == 0:
		return nil
	case len(list) == 1 && list[0].src.Path == "":
		return list[0]
	}
	s := &siblings{routes: list}
	if len(list) > manyPaths {
		s.paths = make(map[string]*route, len(list))
		for _, r := range list {
			s.paths[r.src.Path] = r
		}
	}
	return &route{src: source{Host: list[0].src.Host}, more: s}
}

// match returns, of what is kept for a host, the route with the longest path
// that path begins with, whole segments only, or nil.
func (r *route) match(path string) *route {
	switch {
	case r.more == nil:
		return r
	case r.more.paths != nil:
		return r.more.matchIndexed(path)
	}
	for _, o := range r.more.routes {
		if underPath(path, o.src.Path) {
			return o
		}
	}
	return nil
}

// matchIndexed tries path and each of its parents, none longer than the
// host's longest route.
func (s *siblings) matchIndexed(path string) *route {
	longest := len(s.routes[0].src.Path)
	for n := min(len(path), longest); ; n-- {
		if n == len(path) || path[n] == '/' {
			if r := s.paths[path[:n]]; r != nil {
				return r
			}
		}
		if n == 0 {
			return s.paths[""]
		}
	}
}

// underPath reports whether path is prefix, or lies below it.
func underPath(path, prefix string) bool {
	return len(path) >= len(prefix) && path[:len(prefix)] == prefix &&
		(len(path) == len(prefix) || prefix == "" || path[len(prefix)] == '/')
}
