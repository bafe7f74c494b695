package client

import (
	"context"
	"net/http"

	v3 "weir/api/v3"
)

// Domains lists domains. Filters: names, guids, organization_guids.
func (c *Client) Domains(ctx context.Context, q Query) ([]v3.Domain, error) {
	return List[v3.Domain](ctx, c, "/v3/domains", q)
}

// OrganizationDomains lists the domains an organization may use.
func (c *Client) OrganizationDomains(ctx context.Context, org string) ([]v3.Domain, error) {
	return List[v3.Domain](ctx, c, "/v3/organizations/"+org+"/domains", nil)
}

// DefaultDomain reads the domain that apps of an organization get their
// routes under.
func (c *Client) DefaultDomain(ctx context.Context, org string) (v3.Domain, error) {
	var d v3.Domain
	err := c.get(ctx, "/v3/organizations/"+org+"/domains/default", nil, &d)
	return d, err
}

// DomainByName finds a domain; ok is false if there is none of that name.
func (c *Client) DomainByName(ctx context.Context, name string) (d v3.Domain, ok bool, err error) {
	return first[v3.Domain](ctx, c, "/v3/domains", Query(nil).In("names", name))
}

// CreateDomain makes a domain.
func (c *Client) CreateDomain(ctx context.Context, d v3.DomainCreate) (v3.Domain, error) {
	var out v3.Domain
	_, err := c.do(ctx, http.MethodPost, "/v3/domains", d, &out)
	return out, err
}

// DeleteDomain removes a domain with its routes.
func (c *Client) DeleteDomain(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/domains/"+guid, nil)
}

// CheckRoute tells whether a route with that host and path exists.
func (c *Client) CheckRoute(ctx context.Context, domain, host, path string) (bool, error) {
	var r v3.RouteReservation
	err := c.get(ctx, "/v3/domains/"+domain+"/route_reservations", Query(nil).Set("host", host).Set("path", path), &r)
	return r.MatchingRoute, err
}

// Routes lists routes. Filters: hosts, paths, domain_guids, space_guids,
// app_guids …
func (c *Client) Routes(ctx context.Context, q Query) ([]v3.Route, error) {
	return List[v3.Route](ctx, c, "/v3/routes", q)
}

// RoutesIncluding is Routes with what an include= in q asks for.
func (c *Client) RoutesIncluding(ctx context.Context, q Query) ([]v3.Route, v3.Included, error) {
	return listIncluding[v3.Route](ctx, c, "/v3/routes", q)
}

// Route reads a route.
func (c *Client) Route(ctx context.Context, guid string) (v3.Route, error) {
	var r v3.Route
	err := c.get(ctx, "/v3/routes/"+guid, nil, &r)
	return r, err
}

// RouteByAddress finds the route with exactly that host and path; ok is false
// if there is none.
func (c *Client) RouteByAddress(ctx context.Context, domain, host, path string) (r v3.Route, ok bool, err error) {
	return first[v3.Route](ctx, c, "/v3/routes",
		Query(nil).In("domain_guids", domain).In("hosts", host).In("paths", path))
}

// CreateRoute makes a route that leads nowhere yet.
func (c *Client) CreateRoute(ctx context.Context, r v3.RouteCreate) (v3.Route, error) {
	var out v3.Route
	_, err := c.do(ctx, http.MethodPost, "/v3/routes", r, &out)
	return out, err
}

// UpdateRoute changes the options and metadata of a route.
func (c *Client) UpdateRoute(ctx context.Context, guid string, u v3.RouteUpdate) (v3.Route, error) {
	var out v3.Route
	_, err := c.do(ctx, http.MethodPatch, "/v3/routes/"+guid, u, &out)
	return out, err
}

// DeleteRoute removes a route.
func (c *Client) DeleteRoute(ctx context.Context, guid string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/routes/"+guid, nil)
}

// DeleteUnmappedRoutes removes the routes of a space that lead nowhere.
func (c *Client) DeleteUnmappedRoutes(ctx context.Context, space string) (job string, err error) {
	return c.startJob(ctx, http.MethodDelete, "/v3/spaces/"+space+"/routes?unmapped=true", nil)
}

// AddDestinations adds to where a route leads. When it returns, the router
// sends requests there.
func (c *Client) AddDestinations(ctx context.Context, route string, add ...v3.DestinationInput) ([]v3.Destination, error) {
	return c.destinations(ctx, http.MethodPost, route, add)
}

// ReplaceDestinations sets where a route leads, with all weights, at once.
func (c *Client) ReplaceDestinations(ctx context.Context, route string, all ...v3.DestinationInput) ([]v3.Destination, error) {
	return c.destinations(ctx, http.MethodPatch, route, all)
}

func (c *Client) destinations(ctx context.Context, method, route string, in []v3.DestinationInput) ([]v3.Destination, error) {
	if in == nil {
		in = []v3.DestinationInput{}
	}
	var d v3.Destinations
	_, err := c.do(ctx, method, "/v3/routes/"+route+"/destinations", v3.DestinationsUpdate{Destinations: in}, &d)
	return d.Destinations, err
}

// UpdateDestination changes the protocol or the weight of one destination.
func (c *Client) UpdateDestination(ctx context.Context, route, destination string, u v3.DestinationUpdate) (v3.Destination, error) {
	var d v3.Destination
	_, err := c.do(ctx, http.MethodPatch, "/v3/routes/"+route+"/destinations/"+destination, u, &d)
	return d, err
}

// DeleteDestination removes one destination. When it returns, the router
// sends no new request there.
func (c *Client) DeleteDestination(ctx context.Context, route, destination string) error {
	_, err := c.do(ctx, http.MethodDelete, "/v3/routes/"+route+"/destinations/"+destination, nil, nil)
	return err
}
