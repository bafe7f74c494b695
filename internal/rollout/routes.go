package rollout

import (
	"context"
	"maps"
	"net/url"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

const (
	maxPath         = 128
	maxDestinations = 100
)

// checkAddress refuses hosts and paths that cannot be reached.
func checkAddress(r platform.Route, d platform.Domain) error {
	if err := checkLetters("Host", r.Host); err != nil {
		return err
	}
	switch {
	case r.Host == "" && d.OrganizationGUID == "":
		return platform.Invalidf("Missing host. Routes in shared domains must have a host defined.")
	case r.Host != "" && r.Host != "*" && !platform.IsHost(r.Host):
		return platform.Invalidf("Host must be either \"*\" or contain only alphanumeric characters, \"_\", or \"-\"")
	}
	for label := range strings.SplitSeq(r.Host, ".") {
		if len(label) > platform.MaxHostLabel {
			return platform.Invalidf("Host is too long (maximum is %d characters)", platform.MaxHostLabel)
		}
	}
	r.DomainName = d.Name
	if len(r.FQDN()) > platform.MaxFQDN {
		return platform.Invalidf("Host combined with domain name is too long (maximum is %d characters)", platform.MaxFQDN)
	}
	return checkPath(r.Path)
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
	if _, err := url.PathUnescape(path); err != nil {
		return platform.Invalidf("Path must be a valid URI path (%v)", err)
	}
	switch plain, ok := router.PlainPath(path); {
	case !ok:
		return platform.Invalidf("Path must be a valid URI path")
	case plain == "/":
		return platform.Invalidf("Path must be a valid URI path: %q is the same as none", path)
	case plain != path: // such a route would never get a request
		return platform.Invalidf("Path must be a valid URI path, as clients write it: %q", plain)
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
	if err := checkAddress(route, domain); err != nil {
		return route, err
	}
	if err := router.CheckOptions(route.Options); err != nil {
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
		if err := router.CheckOptions(after.Options); err != nil {
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
