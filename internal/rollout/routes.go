package rollout

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

const (
	maxPath         = 128
	maxHostLabel    = 63
	maxFQDN         = 253
	maxDestinations = 100
)

// checkAddress refuses hosts and paths that cannot be reached, or are the
// platform's own.
func (e *Engine) checkAddress(r platform.Route, d platform.Domain) error {
	switch {
	case r.Host == "" && d.OrganizationGUID == "":
		return platform.Invalidf("Missing host. Routes in shared domains must have a host defined.")
	case r.Host != "" && r.Host != "*" && !isHost(r.Host):
		return platform.Invalidf("Host must be either \"*\" or contain only alphanumeric characters, \"_\", or \"-\"")
	}
	for label := range strings.SplitSeq(r.Host, ".") {
		if len(label) > maxHostLabel {
			return platform.Invalidf("Host is too long (maximum is %d characters)", maxHostLabel)
		}
	}
	r.DomainName = d.Name
	if len(r.FQDN()) > maxFQDN {
		return platform.Invalidf("Host combined with domain name is too long (maximum is %d characters)", maxFQDN)
	}
	if slices.Contains(e.cfg.ReservedHosts, strings.ToLower(r.FQDN())) {
		return &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("The host %s is used by the platform itself.", r.FQDN()),
			Hint: "choose another host",
		}
	}
	return checkPath(r.Path)
}

// isHost reports whether host consists of DNS labels, and "_" as Cloud Foundry
// allows. Dots separate labels: a host may stand for a deeper name.
func isHost(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		for _, c := range label {
			if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
				return false
			}
		}
	}
	return true
}

func checkPath(path string) error {
	switch {
	case path == "":
		return nil
	case path[0] != '/':
		return platform.Invalidf("Path must start with a \"/\"")
	case path == "/":
		return platform.Invalidf("Path cannot be exactly \"/\"")
	case strings.Contains(path, "?"):
		return platform.Invalidf("Path cannot contain \"?\"")
	case len(path) > maxPath:
		return platform.Invalidf("Path is too long (maximum is %d characters)", maxPath)
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' }):
		return platform.Invalidf("Path must be a valid URI path")
	}
	return nil
}

// CreateRoute stores a new route. The caller sets SpaceGUID, DomainGUID, Host,
// Path, Options and Metadata. An address that exists anywhere is a KindInvalid
// error beginning "Route already exists".
func (e *Engine) CreateRoute(ctx context.Context, who platform.Actor, route platform.Route) (platform.Route, error) {
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		route, err = e.insertRoute(ctx, tx, who, route)
		return err
	})
	if err != nil {
		return platform.Route{}, err
	}
	return route, e.published(ctx, nil, []string{route.GUID})
}

func (e *Engine) insertRoute(ctx context.Context, tx *store.Tx, who platform.Actor, route platform.Route) (platform.Route, error) {
	metadata := route.Metadata
	route.Resource = platform.NewResource(time.Now().UTC())
	route.Metadata = metadata
	route.Protocol = "http"
	route.Host = strings.ToLower(route.Host)
	route.Path = strings.TrimSuffix(route.Path, "/")
	route.Destinations = nil
	domain, err := tx.Domain(ctx, route.DomainGUID)
	if err != nil {
		return route, invalidReference(err, "Invalid domain. Ensure that the domain exists and you have access to it.")
	}
	space, err := tx.Space(ctx, route.SpaceGUID)
	if err != nil {
		return route, invalidReference(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	if domain.OrganizationGUID != "" && domain.OrganizationGUID != space.OrganizationGUID {
		return route, platform.Invalidf("Invalid domain. Domain '%s' is not available in organization of space '%s'.", domain.Name, space.Name)
	}
	if err := e.checkAddress(route, domain); err != nil {
		return route, err
	}
	if err := checkOptions(route.Options); err != nil {
		return route, err
	}
	if err := tx.InsertRoute(ctx, route); err != nil {
		return route, err
	}
	if route, err = tx.Route(ctx, route.GUID); err != nil {
		return route, err
	}
	return route, e.event(ctx, tx, who, "audit.route.create", routeTarget(route), map[string]any{
		"request": map[string]any{"host": route.Host, "path": route.Path, "domain": domain.Name},
	})
}

// checkOptions refuses options the router would not understand.
func checkOptions(options map[string]string) error {
	return router.CheckOptions(options)
}

// UpdateRoute lets change edit the options and the metadata of a route and
// returns once the router runs with them.
func (e *Engine) UpdateRoute(ctx context.Context, who platform.Actor, guid string, change func(*platform.Route) error) (route platform.Route, err error) {
	moved := false
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		before, err := tx.Route(ctx, guid)
		if err != nil {
			return err
		}
		route = before
		route.Options = maps.Clone(before.Options)
		if err := change(&route); err != nil {
			return err
		}
		after := before
		after.Options, after.Metadata = route.Options, route.Metadata
		if err := checkOptions(after.Options); err != nil {
			return err
		}
		moved = !maps.Equal(before.Options, after.Options)
		if err := tx.UpdateRoute(ctx, after); err != nil {
			return err
		}
		if route, err = tx.Route(ctx, guid); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.route.update", routeTarget(route), map[string]any{"request": map[string]any{"options": route.Options}})
	})
	if err != nil {
		return platform.Route{}, err
	}
	if !moved {
		return route, nil
	}
	return route, e.published(ctx, nil, []string{guid})
}

// MoveRoute gives the route to another space.
func (e *Engine) MoveRoute(ctx context.Context, who platform.Actor, guid, space string) error {
	return e.store.Tx(ctx, func(tx *store.Tx) error {
		route, err := tx.Route(ctx, guid)
		if err != nil {
			return err
		}
		if _, err := tx.Space(ctx, space); err != nil {
			return invalidReference(err, "Unable to transfer owner of route. Ensure the space exists and you have access to it.")
		}
		route.SpaceGUID = space
		if err := tx.UpdateRoute(ctx, route); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.route.transfer-owner", routeTarget(route), map[string]any{"target_space_guid": space})
	})
}

// DeleteRoute removes a route; it returns once the router forgot it.
func (e *Engine) DeleteRoute(ctx context.Context, who platform.Actor, guid string) error {
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		route, err := tx.Route(ctx, guid)
		if err != nil {
			return err
		}
		return e.deleteRoute(ctx, tx, who, route)
	})
	if err != nil {
		return err
	}
	return e.published(ctx, nil, []string{guid})
}

func (e *Engine) deleteRoute(ctx context.Context, tx *store.Tx, who platform.Actor, route platform.Route) error {
	if err := e.event(ctx, tx, who, "audit.route.delete-request", routeTarget(route), nil); err != nil {
		return err
	}
	return tx.DeleteRoute(ctx, route.GUID)
}

// DeleteUnmappedRoutes removes the space's routes that lead to no app.
func (e *Engine) DeleteUnmappedRoutes(ctx context.Context, who platform.Actor, space string) error {
	var gone []string
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		found, _, err := tx.Routes(ctx, store.Query{In: map[string][]string{"space_guids": {space}, "mapped": {"false"}}})
		if err != nil {
			return err
		}
		for _, r := range found {
			gone = append(gone, r.GUID)
			if err := e.deleteRoute(ctx, tx, who, r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || len(gone) == 0 {
		return err
	}
	return e.published(ctx, nil, gone)
}

// checkDestinations completes destinations and refuses what cannot be.
func checkDestinations(ctx context.Context, tx *store.Tx, route platform.Route, dests []platform.Destination) ([]platform.Destination, error) {
	if len(dests) > maxDestinations {
		return nil, platform.Invalidf("Destinations must not be more than %d", maxDestinations)
	}
	done := make([]platform.Destination, 0, len(dests))
	for _, d := range dests {
		d, err := completeDestination(d)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(done, func(other platform.Destination) bool { return sameDestination(d, other) }) {
			return nil, platform.Invalidf("Destinations cannot contain duplicate entries")
		}
		app, err := tx.App(ctx, d.AppGUID)
		if err != nil {
			return nil, invalidReference(err, fmt.Sprintf("App with guid '%s' does not exist or you do not have access to it", d.AppGUID))
		}
		if app.SpaceGUID != route.SpaceGUID {
			return nil, platform.Invalidf("Routes cannot be mapped to destinations in different spaces")
		}
		d.RouteGUID = route.GUID
		done = append(done, d)
	}
	return done, nil
}

// completeDestination fills in defaults.
func completeDestination(d platform.Destination) (platform.Destination, error) {
	if d.ProcessType == "" {
		d.ProcessType = platform.WebProcess
	}
	if d.Port == 0 {
		d.Port = 8080
	}
	if d.Protocol == "" {
		d.Protocol = router.ProtocolHTTP1
	}
	if d.Port < 1024 || d.Port > 65535 {
		return d, platform.Invalidf("Port must be between 1024 and 65535 (got %d)", d.Port)
	}
	return d, checkDestination(d)
}

// checkDestination checks what of a destination can be changed.
func checkDestination(d platform.Destination) error {
	if d.Protocol != router.ProtocolHTTP1 && d.Protocol != router.ProtocolHTTP2 {
		return platform.Invalidf("Destination protocol must be 'http1' or 'http2' (got %q)", d.Protocol)
	}
	if d.Weight != nil && (*d.Weight < 0 || *d.Weight > platform.MaxWeight) {
		return platform.Invalidf("Destination weight must be between 0 and %d (got %d)", platform.MaxWeight, *d.Weight)
	}
	return nil
}

func sameDestination(a, b platform.Destination) bool {
	return a.AppGUID == b.AppGUID && a.ProcessType == b.ProcessType && a.Port == b.Port
}

// mapped tells the audit log about a destination that came or went.
func (e *Engine) mapped(ctx context.Context, tx *store.Tx, who platform.Actor, typ string, route platform.Route, d platform.Destination) error {
	app, err := tx.App(ctx, d.AppGUID)
	if err != nil {
		return err
	}
	data := map[string]any{
		"route_guid": route.GUID, "route": route.URL(), "app_port": d.Port,
		"destination_guid": d.GUID, "process_type": d.ProcessType,
	}
	if d.Weight != nil {
		data["weight"] = *d.Weight
	}
	return e.event(ctx, tx, who, typ, appTarget(app), data)
}

// AddDestinations maps the route to more processes and returns all
// destinations once the router sends requests there. One that exists already
// is left as it is, but takes over a weight or protocol that was given.
func (e *Engine) AddDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	var r platform.Route
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		if err := e.addDestinations(ctx, tx, who, r, dests); err != nil {
			return err
		}
		r, err = tx.Route(ctx, route)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Destinations, e.published(ctx, nil, []string{route})
}

func (e *Engine) addDestinations(ctx context.Context, tx *store.Tx, who platform.Actor, r platform.Route, dests []platform.Destination) error {
	given, err := checkDestinations(ctx, tx, r, dests)
	if err != nil {
		return err
	}
	if len(r.Destinations)+len(given) > maxDestinations {
		return platform.Invalidf("Routes can be mapped to at most %d destinations.", maxDestinations)
	}
	for n, d := range given {
		i := slices.IndexFunc(r.Destinations, func(old platform.Destination) bool { return sameDestination(d, old) })
		if i < 0 {
			d.Resource = platform.NewResource(time.Now().UTC())
			if err := tx.InsertDestination(ctx, d); err != nil {
				return err
			}
			if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, d); err != nil {
				return err
			}
			continue
		}
		old := r.Destinations[i]
		sameWeight := d.Weight == nil || old.Weight != nil && *old.Weight == *d.Weight
		sameProtocol := dests[n].Protocol == "" || old.Protocol == d.Protocol
		if sameWeight && sameProtocol {
			continue
		}
		if !sameWeight {
			old.Weight = d.Weight
		}
		if !sameProtocol {
			old.Protocol = d.Protocol
		}
		if err := tx.UpdateDestination(ctx, old); err != nil {
			return err
		}
		if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, old); err != nil {
			return err
		}
	}
	return nil
}

// ReplaceDestinations makes dests all destinations of the route, weights
// included, in one change of the table.
func (e *Engine) ReplaceDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	var r platform.Route
	err := e.store.Tx(ctx, func(tx *store.Tx) (err error) {
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		given, err := checkDestinations(ctx, tx, r, dests)
		if err != nil {
			return err
		}
		old := r.Destinations
		for i := range given {
			n := slices.IndexFunc(old, func(o platform.Destination) bool { return sameDestination(given[i], o) })
			if n >= 0 {
				given[i].Resource = old[n].Resource
				continue
			}
			given[i].Resource = platform.NewResource(time.Now().UTC())
			if err := e.mapped(ctx, tx, who, "audit.app.map-route", r, given[i]); err != nil {
				return err
			}
		}
		for _, o := range old {
			if slices.ContainsFunc(given, func(d platform.Destination) bool { return d.GUID == o.GUID }) {
				continue
			}
			if err := e.mapped(ctx, tx, who, "audit.app.unmap-route", r, o); err != nil {
				return err
			}
		}
		if err := tx.ReplaceDestinations(ctx, route, given); err != nil {
			return err
		}
		r, err = tx.Route(ctx, route)
		return err
	})
	if err != nil {
		return nil, err
	}
	return r.Destinations, e.published(ctx, nil, []string{route})
}

// destination finds a destination of a route.
func destination(r platform.Route, guid string) (platform.Destination, error) {
	i := slices.IndexFunc(r.Destinations, func(d platform.Destination) bool { return d.GUID == guid })
	if i < 0 {
		return platform.Destination{}, platform.Invalidf("Unable to unmap route from destination. Ensure the route has a destination with this guid.")
	}
	return r.Destinations[i], nil
}

// UpdateDestination lets change edit the protocol and the weight of a
// destination and returns once the router runs with them.
func (e *Engine) UpdateDestination(ctx context.Context, who platform.Actor, route, dest string, change func(*platform.Destination) error) (d platform.Destination, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		r, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		before, err := destination(r, dest)
		if err != nil {
			return platform.NotFound("Destination")
		}
		d = before
		if err := change(&d); err != nil {
			return err
		}
		after := before
		after.Protocol, after.Weight = d.Protocol, d.Weight
		if after.Protocol == "" {
			after.Protocol = router.ProtocolHTTP1
		}
		if err := checkDestination(after); err != nil {
			return err
		}
		if err := tx.UpdateDestination(ctx, after); err != nil {
			return err
		}
		if r, err = tx.Route(ctx, route); err != nil {
			return err
		}
		if d, err = destination(r, dest); err != nil {
			return err
		}
		return e.mapped(ctx, tx, who, "audit.app.map-route", r, d)
	})
	if err != nil {
		return platform.Destination{}, err
	}
	return d, e.published(ctx, nil, []string{route})
}

// DeleteDestination unmaps; it returns once no new request takes that way.
func (e *Engine) DeleteDestination(ctx context.Context, who platform.Actor, route, dest string) error {
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		r, err := tx.Route(ctx, route)
		if err != nil {
			return err
		}
		d, err := destination(r, dest)
		if err != nil {
			return err
		}
		if err := tx.DeleteDestination(ctx, dest); err != nil {
			return err
		}
		return e.mapped(ctx, tx, who, "audit.app.unmap-route", r, d)
	})
	if err != nil {
		return err
	}
	return e.published(ctx, nil, []string{route})
}
