package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"weir/api/client"
	v3 "weir/api/v3"
)

// shadowOf finds the version that is meant: the one named, or else the only
// shadow. That may be the main version, if the app is the shadow of routes,
// which are returned then.
func (s *session) shadowOf(ctx context.Context, f *fleet, label string) (v v3.Version, routes []v3.Route, err error) {
	if label != "" {
		if v, err = f.find(label); err != nil || v.Role != v3.RoleMain {
			return v, nil, err
		}
		routes, err = s.shadowRoutes(ctx, f.app)
		return v, routes, err
	}
	if routes, err = s.shadowRoutes(ctx, f.app); err != nil {
		return v, nil, err
	}
	var found []v3.Version
	var refs []string
	for _, v := range f.versions {
		if v.Mode == v3.ModeShadow || v.Role == v3.RoleMain && len(routes) > 0 {
			found, refs = append(found, v), append(refs, f.ref(v))
		}
	}
	switch {
	case len(found) == 0:
		return v, nil, withHint(newFailure(exitNotFound, "no-shadow", f.app.Name+" has no shadow version", ""),
			"weir push "+f.app.Name+" --version v2 --shadow starts one; weir shadow "+f.app.Name+":VERSION makes one of a version there is")
	case len(found) > 1:
		return v, nil, usagef("%s has more than one shadow: name one of %s", f.app.Name, strings.Join(refs, ", "))
	case found[0].Role != v3.RoleMain:
		routes = nil
	}
	return found[0], routes, nil
}

// shadowRoutes returns the routes an app gets copies of.
func (s *session) shadowRoutes(ctx context.Context, app v3.App) ([]v3.Route, error) {
	all, err := s.Routes(ctx, client.Query(nil).In("app_guids", app.GUID))
	return slices.DeleteFunc(all, func(r v3.Route) bool {
		return !slices.ContainsFunc(r.Destinations, func(d v3.Destination) bool { return d.App.GUID == app.GUID && isShadow(d) })
	}), err
}

// ofRoutes takes from an update what is not the version's but the route's to
// say: whether it is a shadow, and of how much.
func (c *call) ofRoutes(u v3.VersionUpdate, name, share string, routes []v3.Route) (v3.VersionUpdate, error) {
	u.Mode, u.ShadowPercent = nil, nil
	url := routes[0].URL
	switch {
	case c.Bool("off"):
		return u, withHint(usagef("%s is the shadow of route %s", name, url), "weir unmap-route "+name+" DOMAIN -n HOST ends that")
	case share != "":
		return u, withHint(usagef("%s is the shadow of route %s", name, url), "weir map-route "+name+" DOMAIN -n HOST --shadow "+share+" sets the share")
	case u.Shadow == nil:
		return u, withHint(usagef("nothing to change: %s is the shadow of route %s", name, url), fmt.Sprintf("weir shadow %s --report shows what its answers are", name))
	}
	return u, nil
}

// answering returns the GUIDs of the apps that answer on a route, each once.
func answering(r v3.Route) (guids []string) {
	for _, d := range r.Destinations {
		if !isShadow(d) && !slices.Contains(guids, d.App.GUID) {
			guids = append(guids, d.App.GUID)
		}
	}
	return guids
}

// answeredBy parts the routes of an app: those on which it answers, and the
// addresses of those it only gets copies of.
func answeredBy(all []v3.Route, app string) (routes []v3.Route, shadowOf []string) {
	shadowOf = []string{}
	for _, r := range all {
		if slices.Contains(answering(r), app) {
			routes = append(routes, r)
		} else {
			shadowOf = append(shadowOf, r.URL)
		}
	}
	return routes, shadowOf
}

// routeText lists the routes of an app in a line.
func (v *appView) routeText() string {
	list := slices.Clone(v.Routes)
	for _, url := range v.ShadowOf {
		list = append(list, url+" (copies)")
	}
	return strings.Join(list, ", ")
}
