package api

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/store"
)

type listApps struct {
	List list `filters:"guids,names,states,space_guids,organization_guids,stacks,lifecycle_type,include=space|org|space.organization"`
}

func (a *API) listApps(ctx context.Context, c call, req listApps) (reply, error) {
	apps, total, err := a.store.Apps(ctx, req.List.Query)
	if err != nil {
		return reply{}, err
	}
	page := pageOf(c, req.List, apps, total, c.app)
	page.Included, err = a.includeSpaces(ctx, c, req.List.includes, spacesOfApps(apps))
	return ok(page), err
}

func spacesOfApps(apps []platform.App) []string {
	var guids []string
	for _, app := range apps {
		guids = append(guids, app.SpaceGUID)
	}
	return guids
}

type getApp struct {
	GUID    string   `path:"guid"`
	Include includes `include:"space,org,space.organization"`
}

func (a *API) getApp(ctx context.Context, c call, req getApp) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := c.app(app)
	out.Included, err = a.includeSpaces(ctx, c, req.Include, []string{app.SpaceGUID})
	return ok(out), err
}

type createApp struct {
	Body v3.AppCreate `body:"json"`
}

func (a *API) createApp(ctx context.Context, c call, req createApp) (reply, error) {
	b := req.Body
	if b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	space := b.Relationships.GUID("space")
	if _, err := a.store.Space(ctx, space); err != nil {
		return reply{}, whenMissing(err, "Invalid space. Ensure that the space exists and you have access to it.")
	}
	app := platform.App{SpaceGUID: space, Name: b.Name, Env: b.EnvironmentVariables}
	var err error
	if app.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	if err := a.applyLifecycle(ctx, &app.Lifecycle, b.Lifecycle); err != nil {
		return reply{}, err
	}
	app, err = a.engine.CreateApp(ctx, c.actor(), app)
	return created(c.app(app)), err
}

// applyLifecycle merges what a request says of a lifecycle into l.
func (a *API) applyLifecycle(ctx context.Context, l *platform.Lifecycle, in *v3.LifecycleInput) error {
	if in == nil {
		return nil
	}
	if in.Type != "" && in.Type != "buildpack" {
		return platform.Invalidf("lifecycle.type must be 'buildpack'; weir runs no %s apps", in.Type)
	}
	if in.Data == nil {
		return nil
	}
	if in.Data.Image != nil && *in.Data.Image != "" {
		return platform.Invalidf("lifecycle.data.image: weir runs no docker images")
	}
	n := *l
	n.Type = "buildpack"
	if in.Data.Buildpacks != nil {
		n.Buildpacks = in.Data.Buildpacks
	}
	if in.Data.Stack != nil {
		n.Stack = *in.Data.Stack
	}
	if err := a.stager.CheckLifecycle(ctx, n); err != nil {
		return err
	}
	*l = n
	return nil
}

type updateApp struct {
	GUID string       `path:"guid"`
	Body v3.AppUpdate `body:"json"`
}

func (a *API) updateApp(ctx context.Context, c call, req updateApp) (reply, error) {
	b := req.Body
	if b.Name != nil && *b.Name == "" {
		return reply{}, platform.Invalidf("name can't be blank")
	}
	before, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	lifecycle := before.Lifecycle
	if err := a.applyLifecycle(ctx, &lifecycle, b.Lifecycle); err != nil {
		return reply{}, err
	}
	app, err := a.engine.UpdateApp(ctx, c.actor(), req.GUID, func(app *platform.App) error {
		if b.Name != nil {
			app.Name = *b.Name
		}
		if b.Lifecycle != nil {
			app.Lifecycle = lifecycle
		}
		return applyMetadata(&app.Metadata, b.Metadata)
	})
	return ok(c.app(app)), err
}

type byGUID struct {
	GUID string `path:"guid"`
}

func (a *API) deleteApp(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	return a.deleting(ctx, c, "app.delete", func(ctx context.Context) error {
		return a.engine.DeleteApp(ctx, c.actor(), req.GUID)
	})
}

// startApp takes a label for the version that it brings, weir's addition.
func (a *API) startApp(ctx context.Context, c call, req struct {
	GUID  string `path:"guid"`
	Label string `query:"label"`
},
) (reply, error) {
	app, d, err := a.engine.StartAs(ctx, c.actor(), req.GUID, req.Label)
	return ok(c.app(app)).with(v3.DeploymentHeader, d.GUID), err
}

func (a *API) restartApp(ctx context.Context, c call, req byGUID) (reply, error) {
	app, d, err := a.engine.Restart(ctx, c.actor(), req.GUID)
	return ok(c.app(app)).with(v3.DeploymentHeader, d.GUID), err
}

func (a *API) stopApp(ctx context.Context, c call, req byGUID) (reply, error) {
	app, err := a.engine.Stop(ctx, c.actor(), req.GUID)
	return ok(c.app(app)), err
}

type relate struct {
	GUID string   `path:"guid"`
	Body v3.ToOne `body:"json"`
}

func (a *API) setCurrentDroplet(ctx context.Context, c call, req relate) (reply, error) {
	if req.Body.Data == nil || req.Body.Data.GUID == "" {
		return reply{}, platform.Invalidf("data.guid must name a droplet")
	}
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	if _, err := a.store.Droplet(ctx, req.Body.Data.GUID); err != nil {
		return reply{}, whenMissing(err, "Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	}
	err := a.engine.SetCurrentDroplet(ctx, c.actor(), req.GUID, req.Body.Data.GUID)
	return ok(c.currentDroplet(req.GUID, req.Body.Data.GUID)), err
}

func (a *API) currentDropletRelation(ctx context.Context, c call, req byGUID) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err == nil && app.DropletGUID == "" {
		err = platform.NotFound("Droplet")
	}
	return ok(c.currentDroplet(app.GUID, app.DropletGUID)), err
}

func (u urls) currentDroplet(app, droplet string) v3.ToOne {
	return v3.ToOne{Data: refTo(droplet), Links: v3.Links{
		"self":    u.link("/v3/apps/" + app + "/relationships/current_droplet"),
		"related": u.link("/v3/apps/" + app + "/droplets/current"),
	}}
}

func (a *API) getCurrentDroplet(ctx context.Context, c call, req byGUID) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	d, err := a.store.Droplet(ctx, app.DropletGUID)
	return ok(c.droplet(d)), err
}

// getAppEnv shows what an app finds in its environment, and notes who looked.
func (a *API) getAppEnv(ctx context.Context, c call, req byGUID) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	env, err := a.engine.Env(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	if err := a.noteOn(ctx, c, app, "audit.app.environment.show", nil); err != nil {
		return reply{}, err
	}
	return ok(v3.AppEnv{
		EnvironmentVariables: orEmpty(env.Variables),
		StagingEnv:           map[string]string{},
		RunningEnv:           map[string]string{},
		SystemEnv:            map[string]json.RawMessage{"VCAP_SERVICES": rawJSON(env.VCAPServices)},
		ApplicationEnv:       map[string]json.RawMessage{"VCAP_APPLICATION": rawJSON(env.VCAPApplication)},
	}), nil
}

// rawJSON encodes an object made of plain values; nil is an empty one.
func rawJSON(m map[string]any) json.RawMessage {
	if m == nil {
		return json.RawMessage("{}")
	}
	b, err := json.Marshal(m)
	if err != nil {
		return json.RawMessage("{}")
	}
	return b
}

func orEmpty(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

func (a *API) getEnvVars(ctx context.Context, c call, req byGUID) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	return ok(c.envVars(app.GUID, app.Env)), err
}

type setEnvVars struct {
	GUID string           `path:"guid"`
	Body v3.EnvVarsUpdate `body:"json"`
}

func (a *API) setEnvVars(ctx context.Context, c call, req setEnvVars) (reply, error) {
	env, err := a.engine.SetEnv(ctx, c.actor(), req.GUID, req.Body.Var)
	return ok(c.envVars(req.GUID, env)), err
}

func (u urls) envVars(app string, env map[string]string) v3.EnvVars {
	return v3.EnvVars{Var: orEmpty(env), Links: v3.Links{
		"self": u.link("/v3/apps/" + app + "/environment_variables"),
		"app":  u.link("/v3/apps/" + app),
	}}
}

func (a *API) getAppPermissions(ctx context.Context, _ call, req byGUID) (reply, error) {
	_, err := a.store.App(ctx, req.GUID)
	return ok(v3.AppPermissions{ReadBasicData: true, ReadSensitiveData: true}), err
}

// noteOn writes an event about an app that only the API knows of: somebody
// read what is not for everybody.
func (a *API) noteOn(ctx context.Context, c call, app platform.App, typ string, data map[string]any) error {
	return a.store.InsertEvent(ctx, platform.Event{
		Resource: platform.NewResource(time.Now()), Type: typ, Actor: c.actor(),
		TargetGUID: app.GUID, TargetType: "app", TargetName: app.Name,
		SpaceGUID: app.SpaceGUID, Data: data,
	})
}

// app presents an app.
func (u urls) app(app platform.App) v3.App {
	self := "/v3/apps/" + app.GUID
	return v3.App{
		Resource: resource(app.Resource), Name: app.Name, State: string(app.State),
		Lifecycle: presentLifecycle(app.Lifecycle),
		Relationships: v3.Relationships{
			"space": v3.To(app.SpaceGUID), "current_droplet": v3.To(app.DropletGUID),
		},
		Metadata: presentMetadata(app.Metadata),
		Links: v3.Links{
			"self":                  u.link(self),
			"space":                 u.link("/v3/spaces/" + app.SpaceGUID),
			"processes":             u.link(self + "/processes"),
			"packages":              u.link(self + "/packages"),
			"environment_variables": u.link(self + "/environment_variables"),
			"current_droplet":       u.link(self + "/droplets/current"),
			"droplets":              u.link(self + "/droplets"),
			"start":                 u.linkWith(http.MethodPost, self+"/actions/start"),
			"stop":                  u.linkWith(http.MethodPost, self+"/actions/stop"),
			"restart":               u.linkWith(http.MethodPost, self+"/actions/restart"),
			"revisions":             u.link(self + "/revisions"),
			"deployed_revisions":    u.link(self + "/revisions/deployed"),
			"features":              u.link(self + "/features"),
			"log_stream":            u.link(self + "/log_stream"),
		},
	}
}

func presentLifecycle(l platform.Lifecycle) v3.Lifecycle {
	out := v3.Lifecycle{Type: l.Type, Data: v3.LifecycleData{Buildpacks: l.Buildpacks, Stack: l.Stack}}
	if out.Type == "" {
		out.Type = "buildpack"
	}
	if out.Data.Buildpacks == nil {
		out.Data.Buildpacks = []string{}
	}
	if out.Data.Stack == "" {
		out.Data.Stack = stackName
	}
	return out
}

// appsByGUID reads the apps with these GUIDs.
func (a *API) appsByGUID(ctx context.Context, guids []string) (map[string]platform.App, error) {
	apps, _, err := a.store.Apps(ctx, store.Query{In: map[string][]string{"guids": distinct(guids)}})
	m := make(map[string]platform.App, len(apps))
	for _, app := range apps {
		m[app.GUID] = app
	}
	return m, err
}

// distinct returns the non-empty strings of s once each, in order.
func distinct(s []string) []string {
	set := map[string]bool{}
	for _, v := range s {
		if v != "" {
			set[v] = true
		}
	}
	return slices.Sorted(maps.Keys(set))
}
