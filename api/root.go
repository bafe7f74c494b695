package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

type nothing struct{}

// getRoot is where every client begins.
func (a *API) getRoot(_ context.Context, c call, _ nothing) (reply, error) {
	base := string(c.urls)
	link := func(path string) *v3.RootLink { return &v3.RootLink{Href: base + path} }
	controller := link("/v3")
	controller.Meta = &v3.RootMeta{Version: Version}
	return ok(v3.Root{Links: map[string]*v3.RootLink{
		"self":                link(""),
		"cloud_controller_v2": nil,
		"cloud_controller_v3": controller,
		"login":               link(""),
		"uaa":                 link(""),
		"log_cache":           link(""),
		"log_stream":          nil,
		"logging":             nil,
		"credhub":             nil,
		"network_policy_v0":   nil,
		"network_policy_v1":   nil,
		"routing":             nil,
		"app_ssh":             nil,
	}}), nil
}

// getV3Root links to every list there is.
func (a *API) getV3Root(_ context.Context, c call, _ nothing) (reply, error) {
	links := v3.Links{"self": c.link("/v3")}
	for _, name := range []string{
		"apps", "audit_events", "builds", "buildpacks", "deployments", "domains", "droplets",
		"feature_flags", "info", "isolation_segments", "organizations", "organization_quotas", "packages",
		"processes", "resource_matches", "roles", "routes", "security_groups", "service_brokers",
		"service_credential_bindings", "service_instances", "service_offerings", "service_plans",
		"service_route_bindings", "spaces", "space_quotas", "stacks", "users",
	} {
		links[name] = c.link("/v3/" + name)
	}
	return ok(map[string]any{"links": links}), nil
}

func (a *API) getInfo(_ context.Context, c call, _ nothing) (reply, error) {
	router := ""
	if a.cfg.RouterHTTP != nil {
		router = a.cfg.RouterHTTP()
	}
	return ok(v3.Info{
		Name: "weir", Build: a.cfg.Version, Description: "cf push for a machine you own",
		OSBAPI: "2.15",
		Custom: v3.InfoCustom{WeirVersion: a.cfg.Version, RouterHTTP: router},
		Links:  v3.Links{"self": c.link("/v3/info")},
	}), nil
}

// actor returns who calls, as events have it.
func (c call) actor() platform.Actor { return c.who.Actor }
