package api

import (
	"context"
	"slices"
	"strings"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

type listRoutes struct {
	List list `filters:"guids,hosts,paths,ports,domain_guids,space_guids,organization_guids,app_guids,service_instance_guids,include=domain|space|space.organization"`
}

func (a *API) listRoutes(ctx context.Context, c call, req listRoutes) (reply, error) {
	return a.routePage(ctx, c, req.List)
}

type listAppRoutes struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,hosts,paths,ports,domain_guids,space_guids,organization_guids,service_instance_guids,include=domain|space|space.organization"`
}

func (a *API) listAppRoutes(ctx context.Context, c call, req listAppRoutes) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.routePage(ctx, c, req.List)
}

func (a *API) routePage(ctx context.Context, c call, l list) (reply, error) {
	lower(l.In["hosts"])
	rs, total, err := a.store.Routes(ctx, l.Query)
	if err != nil {
		return reply{}, err
	}
	page := pageOf(c, l, rs, total, c.route)
	page.Included, err = a.includeOfRoutes(ctx, c, l.includes, rs)
	return ok(page), err
}

// lower makes names lower case in place, for what DNS does not tell apart.
func lower(names []string) {
	for i := range names {
		names[i] = strings.ToLower(names[i])
	}
}

// includeOfRoutes reads what include= asks for beside routes.
func (a *API) includeOfRoutes(ctx context.Context, c call, inc includes, rs []platform.Route) (*v3.Included, error) {
	var spaces, domains []string
	for _, r := range rs {
		spaces, domains = append(spaces, r.SpaceGUID), append(domains, r.DomainGUID)
	}
	out, err := a.includeSpaces(ctx, c, inc, spaces)
	if err != nil || !inc.has("domain") {
		return out, err
	}
	if out == nil {
		out = &v3.Included{}
	}
	found, _, err := a.store.Domains(ctx, store.Query{In: map[string][]string{"guids": distinct(domains)}})
	for _, d := range found {
		out.Domains = append(out.Domains, c.domain(d))
	}
	return out, err
}

type getRoute struct {
	GUID    string   `path:"guid"`
	Include includes `include:"domain,space,space.organization"`
}

func (a *API) getRoute(ctx context.Context, c call, req getRoute) (reply, error) {
	r, err := a.store.Route(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := c.route(r)
	out.Included, err = a.includeOfRoutes(ctx, c, req.Include, []platform.Route{r})
	return ok(out), err
}

type createRoute struct {
	Body v3.RouteCreate `body:"json"`
}

func (a *API) createRoute(ctx context.Context, c call, req createRoute) (reply, error) {
	b := req.Body
	r := platform.Route{
		SpaceGUID: b.Relationships.GUID("space"), DomainGUID: b.Relationships.GUID("domain"), Protocol: "http",
	}
	if _, err := a.store.Space(ctx, r.SpaceGUID); err != nil {
		return reply{}, whenMissing(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	domain, err := a.store.Domain(ctx, r.DomainGUID)
	if err != nil {
		return reply{}, whenMissing(err, "Invalid domain. Ensure that the domain exists and you have access to it.")
	}
	if b.Port != nil && *b.Port != 0 {
		return reply{}, platform.Invalidf("Routes with protocol 'http' do not support ports.")
	}
	r.DomainName = domain.Name
	if b.Host != nil {
		r.Host = strings.ToLower(*b.Host)
	}
	set(&r.Path, b.Path)
	r.Options = mergeNullable(nil, b.Options)
	if r.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	r, err = a.engine.CreateRoute(ctx, c.actor(), r)
	return created(c.route(r)), err
}

type updateRoute struct {
	GUID string         `path:"guid"`
	Body v3.RouteUpdate `body:"json"`
}

func (a *API) updateRoute(ctx context.Context, c call, req updateRoute) (reply, error) {
	r, err := a.engine.UpdateRoute(ctx, c.actor(), req.GUID, func(r *platform.Route) error {
		r.Options = mergeNullable(r.Options, req.Body.Options)
		return applyMetadata(&r.Metadata, req.Body.Metadata)
	})
	return ok(c.route(r)), err
}

func (a *API) deleteRoute(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.Route(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "route.delete", func(ctx context.Context) error {
		return a.engine.DeleteRoute(ctx, c.actor(), req.GUID)
	})
}

func (a *API) moveRoute(ctx context.Context, c call, req relate) (reply, error) {
	if req.Body.Data == nil || req.Body.Data.GUID == "" {
		return reply{}, platform.Invalidf("data.guid must name a space")
	}
	if _, err := a.store.Route(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	if _, err := a.store.Space(ctx, req.Body.Data.GUID); err != nil {
		return reply{}, whenMissing(err, "Unable to transfer owner of route. Ensure the space exists and that you have access to it.")
	}
	return noContent(), a.engine.MoveRoute(ctx, c.actor(), req.GUID, req.Body.Data.GUID)
}

type deleteSpaceRoutes struct {
	GUID     string `path:"guid"`
	Unmapped bool   `query:"unmapped"`
}

func (a *API) deleteUnmappedRoutes(ctx context.Context, c call, req deleteSpaceRoutes) (reply, error) {
	if _, err := a.store.Space(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	if !req.Unmapped {
		return reply{}, platform.Invalidf("Mass delete not supported for mapped routes. Use 'unmapped=true' parameter to delete all unmapped routes.")
	}
	return a.deleting(ctx, c, "space.delete_unmapped_routes", func(ctx context.Context) error {
		return a.engine.DeleteUnmappedRoutes(ctx, c.actor(), req.GUID)
	})
}

type getReservation struct {
	GUID string `path:"guid"`
	Host string `query:"host"`
	Path string `query:"path"`
	Port *int   `query:"port"`
}

func (a *API) getReservation(ctx context.Context, _ call, req getReservation) (reply, error) {
	if _, err := a.store.Domain(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	_, err := a.store.RouteByAddress(ctx, req.GUID, strings.ToLower(req.Host), req.Path)
	if err != nil && platform.KindOf(err) != platform.KindNotFound {
		return reply{}, err
	}
	return ok(v3.RouteReservation{MatchingRoute: err == nil}), nil
}

type getDestinations struct {
	GUID     string `path:"guid"`
	GUIDs    string `query:"guids"`
	AppGUIDs string `query:"app_guids"`
}

func (a *API) getDestinations(ctx context.Context, c call, req getDestinations) (reply, error) {
	r, err := a.store.Route(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	kept := r.Destinations[:0]
	for _, d := range r.Destinations {
		if (req.GUIDs == "" || slices.Contains(items([]string{req.GUIDs}), d.GUID)) &&
			(req.AppGUIDs == "" || slices.Contains(items([]string{req.AppGUIDs}), d.AppGUID)) {
			kept = append(kept, d)
		}
	}
	return ok(c.destinations(r.GUID, kept)), nil
}

type changeDestinations struct {
	GUID string                `path:"guid"`
	Body v3.DestinationsUpdate `body:"json"`
}

func (a *API) addDestinations(ctx context.Context, c call, req changeDestinations) (reply, error) {
	if len(req.Body.Destinations) == 0 {
		return reply{}, platform.Invalidf("destinations must have at least one entry")
	}
	return a.changeDestinations(ctx, c, req, a.engine.AddDestinations)
}

func (a *API) replaceDestinations(ctx context.Context, c call, req changeDestinations) (reply, error) {
	if req.Body.Destinations == nil {
		return reply{}, platform.Invalidf("destinations must be a list")
	}
	return a.changeDestinations(ctx, c, req, a.engine.ReplaceDestinations)
}

type changer func(context.Context, platform.Actor, string, []platform.Destination) ([]platform.Destination, error)

func (a *API) changeDestinations(ctx context.Context, c call, req changeDestinations, change changer) (reply, error) {
	ds, err := parseDestinations(req.Body.Destinations)
	if err != nil {
		return reply{}, err
	}
	all, err := change(ctx, c.actor(), req.GUID, ds)
	return ok(c.destinations(req.GUID, all)), err
}

// parseDestinations reads what a request says of destinations. Whether that can
// be is the engine's to say.
func parseDestinations(in []v3.DestinationInput) ([]platform.Destination, error) {
	out := make([]platform.Destination, 0, len(in))
	for i, d := range in {
		one := platform.Destination{AppGUID: d.App.GUID, Weight: d.Weight, Mode: d.Mode, ShadowPercent: d.ShadowPercent}
		if one.AppGUID == "" {
			return nil, platform.Invalidf("destinations[%d]: app.guid must name an app", i)
		}
		if d.App.Process != nil {
			one.ProcessType = d.App.Process.Type
		}
		if d.Port != nil && *d.Port == 0 {
			return nil, platform.Invalidf("destinations[%d]: port must not be 0", i)
		}
		set(&one.Port, d.Port)
		set(&one.Protocol, d.Protocol)
		out = append(out, one)
	}
	return out, nil
}

type destinationOf struct {
	GUID        string `path:"guid"`
	Destination string `path:"destination"`
}

// deleteDestination unmaps. Clients insist on 204.
func (a *API) deleteDestination(ctx context.Context, c call, req destinationOf) (reply, error) {
	if _, err := a.store.Route(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	err := a.engine.DeleteDestination(ctx, c.actor(), req.GUID, req.Destination)
	return noContent(), whenMissing(err, "Unable to unmap route from destination. Ensure the route has a destination with this guid.")
}

type updateDestination struct {
	GUID        string               `path:"guid"`
	Destination string               `path:"destination"`
	Body        v3.DestinationUpdate `body:"json"`
}

func (a *API) updateDestination(ctx context.Context, c call, req updateDestination) (reply, error) {
	b := req.Body
	if _, err := a.store.Route(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	d, err := a.engine.UpdateDestination(ctx, c.actor(), req.GUID, req.Destination, func(d *platform.Destination) error {
		set(&d.Protocol, b.Protocol)
		if b.Mode != nil || b.ShadowPercent != nil {
			mode, percent := d.Mode, 0
			set(&mode, b.Mode)
			set(&percent, b.ShadowPercent)
			*d = d.WithMode(mode, percent)
		}
		if b.Weight.Set {
			d.Weight = b.Weight.Value
		}
		return nil
	})
	return ok(presentDestination(d)), err
}

func presentDestination(d platform.Destination) v3.Destination {
	port, protocol := d.Port, d.Protocol
	if port == 0 {
		port = 8080
	}
	if protocol == "" {
		protocol = "http1"
	}
	out := v3.Destination{
		GUID: d.GUID, App: v3.DestinationApp{GUID: d.AppGUID, Process: v3.DestinationProcess{Type: d.ProcessType}},
		Weight: d.Weight, Port: port, Protocol: protocol,
		CreatedAt: v3.At(d.CreatedAt), UpdatedAt: v3.At(d.UpdatedAt),
	}
	if d.IsShadow() {
		none := 0
		out.Weight, out.Mode, out.ShadowPercent = &none, d.Mode, d.ShadowPercent
	}
	return out
}

func presentDestinations(ds []platform.Destination) []v3.Destination {
	out := make([]v3.Destination, 0, len(ds))
	for _, d := range ds {
		out = append(out, presentDestination(d))
	}
	return out
}

func (u urls) destinations(route string, ds []platform.Destination) v3.Destinations {
	return v3.Destinations{Destinations: presentDestinations(ds), Links: v3.Links{
		"self":  u.link("/v3/routes/" + route + "/destinations"),
		"route": u.link("/v3/routes/" + route),
	}}
}

func (u urls) route(r platform.Route) v3.Route {
	self := "/v3/routes/" + r.GUID
	return v3.Route{
		Resource: resource(r.Resource), Protocol: "http", Host: r.Host, Path: r.Path, URL: r.URL(),
		Destinations: presentDestinations(r.Destinations), Options: orEmpty(r.Options),
		Relationships: v3.Relationships{"space": v3.To(r.SpaceGUID), "domain": v3.To(r.DomainGUID)},
		Metadata:      presentMetadata(r.Metadata),
		Links: v3.Links{
			"self":         u.link(self),
			"space":        u.link("/v3/spaces/" + r.SpaceGUID),
			"domain":       u.link("/v3/domains/" + r.DomainGUID),
			"destinations": u.link(self + "/destinations"),
		},
	}
}
