package store

import (
	"context"
	"slices"

	"weir/internal/platform"
)

var routes = &table[platform.Route]{
	name: "routes",
	noun: "Route",
	columns: func(r *platform.Route) []column {
		return resource(
			&r.Resource,
			column{name: "space_guid", value: &r.SpaceGUID},
			column{name: "domain_guid", value: &r.DomainGUID},
			column{name: "host", value: &r.Host},
			column{name: "path", value: &r.Path},
			column{name: "protocol", value: &r.Protocol},
			column{name: "options", value: asJSON{&r.Options}},
			column{value: &r.DomainName, expr: "(SELECT d.name FROM domains d WHERE d.guid = t.domain_guid)"},
		)
	},
	filters: map[string]filter{
		"guids":              is("t.guid"),
		"hosts":              is("t.host"),
		"paths":              is("t.path"),
		"ports":              is("CAST(NULL AS TEXT)"), // a route of HTTP has no port
		"domain_guids":       is("t.domain_guid"),
		"space_guids":        is("t.space_guid"),
		"organization_guids": within("t.space_guid", spacesOfOrg),
		"app_guids":          within("t.guid", "SELECT d.route_guid FROM destinations d WHERE d.app_guid {in}"),
		"live_app_guids":     within("t.guid", "SELECT d.route_guid FROM destinations d WHERE d.mode <> 'shadow' AND d.app_guid {in}"),
		// No service instance is bound to a route yet.
		"service_instance_guids": is("CAST(NULL AS TEXT)"),
		"mapped":                 is("CASE WHEN EXISTS (SELECT 1 FROM destinations d WHERE d.route_guid = t.guid) THEN 'true' ELSE 'false' END"),
	},
	orders: map[string]string{"host": "t.host"},
	unique: []unique[platform.Route]{{key: "domain_guid, host, path", err: addressTaken}},
	fill:   fillDestinations,
}

// destinations are kept with their route and have no list of their own.
var destinations = &table[platform.Destination]{
	name: "destinations",
	noun: "Destination",
	columns: func(d *platform.Destination) []column {
		return resource(
			&d.Resource,
			column{name: "route_guid", value: &d.RouteGUID},
			column{name: "app_guid", value: &d.AppGUID},
			column{name: "process_type", value: &d.ProcessType},
			column{name: "port", value: &d.Port},
			column{name: "protocol", value: &d.Protocol},
			column{name: "weight", value: &d.Weight},
			column{name: "mode", value: &d.Mode},
			column{name: "shadow_percent", value: &d.ShadowPercent},
		)
	},
}

// fillDestinations reads the destinations of routes, in order of creation.
func fillDestinations(ctx context.Context, c *conn, rows []platform.Route) error {
	index := make(map[string]int, len(rows))
	guids := make([]any, len(rows))
	for i, r := range rows {
		index[r.GUID] = i
		guids[i] = r.GUID
	}
	for chunk := range slices.Chunk(guids, 1000) {
		found, err := destinations.query(
			ctx, c,
			" WHERE t.route_guid IN ("+placeholders(len(chunk))+") ORDER BY t.created_at, t.seq",
			chunk...,
		)
		if err != nil {
			return err
		}
		for _, d := range found {
			r := &rows[index[d.RouteGUID]]
			r.Destinations = append(r.Destinations, d)
		}
	}
	return nil
}

// Route returns the route with the given GUID.
func (r Rows) Route(ctx context.Context, guid string) (platform.Route, error) {
	return routes.get(ctx, r, guid)
}

// Routes returns one page of the routes that q selects, and how many it selects.
func (r Rows) Routes(ctx context.Context, q Query) ([]platform.Route, int, error) {
	return routes.list(ctx, r, q)
}

// RouteByAddress returns the route with that domain, host and path.
func (r Rows) RouteByAddress(ctx context.Context, domainGUID, host, path string) (platform.Route, error) {
	return routes.one(ctx, r, "t.domain_guid = ? AND t.host = ? AND t.path = ?", domainGUID, host, path)
}

// InsertRoute adds a route and its destinations.
func (r Rows) InsertRoute(ctx context.Context, route platform.Route) error {
	return r.run.write(ctx, func(c *conn) error {
		if err := nameDomain(ctx, c, &route); err != nil {
			return err
		}
		if err := routes.insert(ctx, Rows{c}, route); err != nil {
			return err
		}
		return Rows{c}.ReplaceDestinations(ctx, route.GUID, route.Destinations)
	})
}

// UpdateRoute rewrites a route; its destinations stay as they are.
func (r Rows) UpdateRoute(ctx context.Context, route platform.Route) error {
	return r.run.write(ctx, func(c *conn) error {
		if err := nameDomain(ctx, c, &route); err != nil {
			return err
		}
		return routes.update(ctx, Rows{c}, route.GUID, route)
	})
}

// nameDomain fills in the name of a route's domain, for the text of an error.
// It comes before the write because PostgreSQL answers nothing after a failure.
func nameDomain(ctx context.Context, c *conn, route *platform.Route) error {
	domain, err := domains.get(ctx, Rows{c}, route.DomainGUID)
	route.DomainName = domain.Name
	return err
}

// addressTaken is the error of a route whose address another one has.
func addressTaken(r platform.Route) *platform.Error {
	switch {
	case r.Path != "":
		return platform.Invalidf("Route already exists with host '%s' and path '%s' for domain '%s'.", r.Host, r.Path, r.DomainName)
	case r.Host != "":
		return platform.Invalidf("Route already exists with host '%s' for domain '%s'.", r.Host, r.DomainName)
	default:
		return platform.Invalidf("Route already exists for domain '%s'.", r.DomainName)
	}
}

// DeleteRoute removes a route and its destinations.
func (r Rows) DeleteRoute(ctx context.Context, guid string) error {
	return routes.delete(ctx, r, guid)
}

// InsertDestination adds a destination to its route.
func (r Rows) InsertDestination(ctx context.Context, d platform.Destination) error {
	return destinations.insert(ctx, r, d)
}

// UpdateDestination rewrites a destination.
func (r Rows) UpdateDestination(ctx context.Context, d platform.Destination) error {
	return destinations.update(ctx, r, d.GUID, d)
}

// DeleteDestination removes a destination from its route.
func (r Rows) DeleteDestination(ctx context.Context, guid string) error {
	return destinations.delete(ctx, r, guid)
}

// ReplaceDestinations makes ds all the destinations of a route. Those whose
// GUID it has already are rewritten, the others of ds are new.
func (r Rows) ReplaceDestinations(ctx context.Context, routeGUID string, ds []platform.Destination) error {
	return r.run.write(ctx, func(c *conn) error {
		had, err := c.texts(ctx, "SELECT guid FROM destinations WHERE route_guid = ?", routeGUID)
		if err != nil {
			return err
		}
		for _, guid := range had {
			if slices.ContainsFunc(ds, func(d platform.Destination) bool { return d.GUID == guid }) {
				continue
			}
			if err := destinations.delete(ctx, Rows{c}, guid); err != nil {
				return err
			}
		}
		for _, d := range ds {
			d.RouteGUID = routeGUID
			if slices.Contains(had, d.GUID) {
				err = destinations.update(ctx, Rows{c}, d.GUID, d)
			} else {
				err = destinations.insert(ctx, Rows{c}, d)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}
