package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
)

// appFeature is a switch that an app may have, and whether it can be thrown.
type appFeature struct {
	name, description string
	byDefault         bool
	fixed             string // why it cannot be changed; "" if it can
}

func appFeatures() []appFeature {
	return []appFeature{
		{"ssh", "Enable SSHing into the app.", false, "weir has no SSH server"},
		{"revisions", "Enable versioning of an application", true, ""},
		{"service-binding-k8s", "Enable k8s service bindings for the app", false, "weir gives credentials in VCAP_SERVICES"},
		{"file-based-vcap-services", "Enable file-based VCAP service bindings for the app", false, "weir gives credentials in VCAP_SERVICES"},
	}
}

func findFeature(name string) (appFeature, error) {
	for _, f := range appFeatures() {
		if f.name == name {
			return f, nil
		}
	}
	return appFeature{}, platform.NotFound("Feature")
}

func presentFeature(f appFeature, app platform.App) v3.Feature {
	enabled, set := app.Features[f.name]
	if !set || f.fixed != "" {
		enabled = f.byDefault
	}
	return v3.Feature{Name: f.name, Description: f.description, Enabled: enabled}
}

type listFeatures struct {
	GUID string `path:"guid"`
	List list   `filters:""`
}

func (a *API) listAppFeatures(ctx context.Context, c call, req listFeatures) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	var all []v3.Feature
	for _, f := range appFeatures() {
		all = append(all, presentFeature(f, app))
	}
	return ok(pageOfAll(c, req.List, all)), nil
}

type featureOf struct {
	GUID string `path:"guid"`
	Name string `path:"name"`
}

func (a *API) getAppFeature(ctx context.Context, _ call, req featureOf) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	f, err := findFeature(req.Name)
	return ok(presentFeature(f, app)), err
}

type updateFeature struct {
	GUID string           `path:"guid"`
	Name string           `path:"name"`
	Body v3.FeatureUpdate `body:"json"`
}

func (a *API) updateAppFeature(ctx context.Context, c call, req updateFeature) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	f, err := findFeature(req.Name)
	if err != nil {
		return reply{}, err
	}
	if req.Body.Enabled == nil {
		return reply{}, platform.Invalidf("enabled must be true or false")
	}
	if f.fixed != "" && *req.Body.Enabled != f.byDefault {
		return reply{}, platform.Invalidf("feature '%s' cannot be enabled: %s", f.name, f.fixed)
	}
	app, err := a.engine.UpdateApp(ctx, c.actor(), req.GUID, func(app *platform.App) error {
		changed := map[string]bool{f.name: *req.Body.Enabled}
		for k, v := range app.Features {
			if k != f.name {
				changed[k] = v
			}
		}
		app.Features = changed
		return nil
	})
	return ok(presentFeature(f, app)), err
}

func (a *API) getSSHEnabled(ctx context.Context, _ call, req byGUID) (reply, error) {
	_, err := a.store.App(ctx, req.GUID)
	return ok(v3.SSHEnabled{Enabled: false, Reason: "Disabled globally"}), err
}

func spaceFeature() v3.Feature {
	return v3.Feature{Name: "ssh", Description: "Enable SSHing into apps in the space.", Enabled: false}
}

func (a *API) listSpaceFeatures(ctx context.Context, c call, req listFeatures) (reply, error) {
	_, err := a.store.Space(ctx, req.GUID)
	return ok(pageOfAll(c, req.List, []v3.Feature{spaceFeature()})), err
}

func (a *API) getSpaceFeature(ctx context.Context, _ call, req featureOf) (reply, error) {
	_, err := a.store.Space(ctx, req.GUID)
	if err == nil && req.Name != "ssh" {
		err = platform.NotFound("Feature")
	}
	return ok(spaceFeature()), err
}

// featureFlags are the switches of the platform as they stand in weir: fixed,
// and true of what it does.
func featureFlags() []v3.FeatureFlag {
	var flags []v3.FeatureFlag
	for _, f := range []struct {
		name    string
		enabled bool
	}{
		{"app_bits_upload", true},
		{"app_scaling", true},
		{"diego_cnb", false},
		{"diego_docker", false},
		{"env_var_visibility", true},
		{"hash_based_routing", true},
		{"hide_marketplace_from_unauthenticated_users", false},
		{"private_domain_creation", true},
		{"resource_matching", true},
		{"route_creation", true},
		{"route_sharing", false},
		{"service_instance_creation", true},
		{"service_instance_sharing", false},
		{"set_roles_by_username", true},
		{"space_developer_env_var_visibility", true},
		{"space_scoped_private_broker_creation", false},
		{"task_creation", false},
		{"unset_roles_by_username", true},
		{"user_org_creation", false},
	} {
		flags = append(flags, v3.FeatureFlag{Name: f.name, Enabled: f.enabled})
	}
	return flags
}

func (u urls) flag(f v3.FeatureFlag) v3.FeatureFlag {
	f.Links = v3.Links{"self": u.link("/v3/feature_flags/" + f.Name)}
	return f
}

type listAny struct {
	List list `filters:""`
}

func (a *API) listFeatureFlags(_ context.Context, c call, req listAny) (reply, error) {
	var all []v3.FeatureFlag
	for _, f := range featureFlags() {
		all = append(all, c.flag(f))
	}
	return ok(pageOfAll(c, req.List, all)), nil
}

type byName struct {
	Name string `path:"name"`
}

func (a *API) getFeatureFlag(_ context.Context, c call, req byName) (reply, error) {
	for _, f := range featureFlags() {
		if f.Name == req.Name {
			return ok(c.flag(f)), nil
		}
	}
	return reply{}, &platform.Error{Kind: platform.KindNotFound, Msg: "Feature flag not found"}
}
