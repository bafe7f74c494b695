package rollout

import (
	"reflect"
	"slices"
	"strings"

	"weir/router"
)

// entry is one route for the router, made of a route as stored. One of those
// makes several: beside itself an address for each version.
type entry struct {
	route router.Route
	// derived is for an address that nobody asked for; one that somebody did
	// goes before it.
	derived bool
}

// sent is the table as the router has it, by the stored routes it is made of.
type sent struct {
	byBase map[string][]entry                           // by the GUID of a stored route
	byKey  map[router.RouteKey]map[string]*router.Route // who has an address, by base
	asked  map[router.RouteKey]string                   // the base that was asked for it
}

func newSent() sent {
	return sent{byBase: map[string][]entry{}, byKey: map[router.RouteKey]map[string]*router.Route{}, asked: map[router.RouteKey]string{}}
}

// effective returns the route that answers at an address.
func (s *sent) effective(key router.RouteKey) *router.Route {
	if base, ok := s.asked[key]; ok {
		return s.byKey[key][base]
	}
	first := ""
	for base := range s.byKey[key] {
		if first == "" || base < first {
			first = base
		}
	}
	return s.byKey[key][first]
}

// replace makes now all that is left of the bases named, and of those in now.
func (s *sent) replace(bases []string, now map[string][]entry) {
	for _, base := range bases {
		s.drop(base)
	}
	for base, entries := range now {
		s.drop(base)
		s.byBase[base] = entries
		for i := range entries {
			e := &entries[i]
			key := e.route.Key()
			if s.byKey[key] == nil {
				s.byKey[key] = map[string]*router.Route{}
			}
			s.byKey[key][base] = &e.route
			if !e.derived {
				s.asked[key] = base
			}
		}
	}
}

func (s *sent) drop(base string) {
	for _, e := range s.byBase[base] {
		key := e.route.Key()
		delete(s.byKey[key], base)
		if len(s.byKey[key]) == 0 {
			delete(s.byKey, key)
		}
		if s.asked[key] == base {
			delete(s.asked, key)
		}
	}
	delete(s.byBase, base)
}

// difference returns what turns the table into the one that replace would make.
func (s *sent) difference(bases []string, now map[string][]entry) router.Update {
	keys := map[router.RouteKey]*router.Route{}
	note := func(entries []entry) {
		for _, e := range entries {
			key := e.route.Key()
			keys[key] = s.effective(key)
		}
	}
	for _, base := range bases {
		note(s.byBase[base])
	}
	for base, entries := range now {
		note(s.byBase[base])
		note(entries)
	}
	next := s.only(keys)
	next.replace(bases, now)
	var u router.Update
	for key, before := range keys {
		after := next.effective(key)
		switch {
		case after == nil && before != nil:
			u.Delete = append(u.Delete, key)
		case after != nil && (before == nil || !reflect.DeepEqual(*before, *after)):
			u.Upsert = append(u.Upsert, *after)
		}
	}
	slices.SortFunc(u.Upsert, compareRoutes)
	return u
}

// only returns the part of the table at the addresses named.
func (s *sent) only(keys map[router.RouteKey]*router.Route) sent {
	part := newSent()
	for key := range keys {
		asked, isAsked := s.asked[key]
		for base, r := range s.byKey[key] {
			part.byBase[base] = append(part.byBase[base], entry{*r, !isAsked || asked != base})
		}
	}
	bases := part.byBase
	part.byBase = map[string][]entry{}
	part.replace(nil, bases)
	return part
}

// routes returns the whole table.
func (s *sent) routes() []router.Route {
	all := make([]router.Route, 0, len(s.byKey))
	for key := range s.byKey {
		all = append(all, *s.effective(key))
	}
	slices.SortFunc(all, compareRoutes)
	return all
}

func compareRoutes(a, b router.Route) int {
	if c := strings.Compare(a.Host, b.Host); c != 0 {
		return c
	}
	return strings.Compare(a.Path, b.Path)
}
