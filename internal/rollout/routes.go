package rollout

import (
	"context"
	"errors"

	"weir/internal/platform"
)

var errNotYet = errors.New("not yet")

// CreateRoute stores a new route. The caller sets SpaceGUID, DomainGUID, Host,
// Path, Options and Metadata. An address that exists anywhere is a KindInvalid
// error beginning "Route already exists".
func (e *Engine) CreateRoute(ctx context.Context, who platform.Actor, route platform.Route) (platform.Route, error) {
	return platform.Route{}, errNotYet
}

// UpdateRoute lets change edit the options and the metadata of a route and
// returns once the router runs with them.
func (e *Engine) UpdateRoute(ctx context.Context, who platform.Actor, guid string, change func(*platform.Route) error) (platform.Route, error) {
	return platform.Route{}, errNotYet
}

// MoveRoute gives the route to another space.
func (e *Engine) MoveRoute(ctx context.Context, who platform.Actor, guid, space string) error {
	return errNotYet
}

// DeleteRoute removes a route; it returns once the router forgot it.
func (e *Engine) DeleteRoute(ctx context.Context, who platform.Actor, guid string) error {
	return errNotYet
}

// DeleteUnmappedRoutes removes the space's routes that lead to no app.
func (e *Engine) DeleteUnmappedRoutes(ctx context.Context, who platform.Actor, space string) error {
	return errNotYet
}

// AddDestinations maps the route to more processes and returns all
// destinations once the router sends requests there. One that exists already
// is left as it is, but takes over a weight that was given.
func (e *Engine) AddDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	return nil, errNotYet
}

// ReplaceDestinations makes dests all destinations of the route, weights
// included, in one change of the table.
func (e *Engine) ReplaceDestinations(ctx context.Context, who platform.Actor, route string, dests []platform.Destination) ([]platform.Destination, error) {
	return nil, errNotYet
}

// UpdateDestination lets change edit the protocol and the weight of a
// destination and returns once the router runs with them.
func (e *Engine) UpdateDestination(ctx context.Context, who platform.Actor, route, dest string, change func(*platform.Destination) error) (platform.Destination, error) {
	return platform.Destination{}, errNotYet
}

// DeleteDestination unmaps; it returns once no new request takes that way.
func (e *Engine) DeleteDestination(ctx context.Context, who platform.Actor, route, dest string) error {
	return errNotYet
}

// CreateDomain stores a new domain.
func (e *Engine) CreateDomain(ctx context.Context, who platform.Actor, domain platform.Domain) (platform.Domain, error) {
	return platform.Domain{}, errNotYet
}

// UpdateDomain lets change edit the metadata of a domain.
func (e *Engine) UpdateDomain(ctx context.Context, who platform.Actor, guid string, change func(*platform.Metadata) error) (platform.Domain, error) {
	return platform.Domain{}, errNotYet
}

// DeleteDomain removes a domain with its routes.
func (e *Engine) DeleteDomain(ctx context.Context, who platform.Actor, guid string) error {
	return errNotYet
}
