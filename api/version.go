package api

import (
	"context"
	"net/http"
	"slices"

	v3 "weir/api/v3"
	"weir/internal/auth"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/store"
)

// versionRoutes are weir's own: Cloud Foundry knows no versions.
func versionRoutes() []route {
	return []route{
		{get, "/v3/versions", auth.Read, handle((*API).listVersions)},
		{get, "/v3/versions/:guid", auth.Read, handle((*API).getVersion)},
		{patch, "/v3/versions/:guid", auth.Write, handle((*API).updateVersion)},
		{del, "/v3/versions/:guid", auth.Write, handle((*API).deleteVersion)},
		{post, "/v3/versions/:guid/actions/start", auth.Write, handle((*API).startVersion)},
		{post, "/v3/versions/:guid/actions/stop", auth.Write, handle((*API).stopVersion)},
		{post, "/v3/versions/:guid/actions/promote", auth.Write, handle((*API).promoteVersion)},

		{get, "/v3/apps/:guid/versions", auth.Read, handle((*API).listAppVersions)},
		{post, "/v3/apps/:guid/versions", auth.Write, handle((*API).createVersion)},
		{get, "/v3/apps/:guid/split", auth.Read, handle((*API).getSplit)},
		{patch, "/v3/apps/:guid/split", auth.Write, handle((*API).updateSplit)},
		{get, "/v3/apps/:guid/promotions", auth.Read, handle((*API).listPromotions)},
		{post, "/v3/apps/:guid/actions/rollback", auth.Write, handle((*API).rollBack)},
		{post, "/v3/apps/:guid/actions/undo", auth.Write, handle((*API).undo)},
		{post, "/v3/spaces/:guid/actions/swap", auth.Write, handle((*API).swap)},
	}
}

type listVersions struct {
	List list `filters:"guids,app_guids,space_guids,organization_guids,labels,modes,states,main"`
}

func (a *API) listVersions(ctx context.Context, c call, req listVersions) (reply, error) {
	return a.versionPage(ctx, c, req.List)
}

type listAppVersions struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,labels,modes,states,main"`
}

func (a *API) listAppVersions(ctx context.Context, c call, req listAppVersions) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	return a.versionPage(ctx, c, req.List)
}

func (a *API) versionPage(ctx context.Context, c call, l list) (reply, error) {
	found, total, err := a.engine.FindVersions(ctx, l.Query)
	if err != nil {
		return reply{}, err
	}
	out, err := a.presentVersions(ctx, c, found)
	return ok(pageOf(c, l, out, total, func(v v3.Version) v3.Version { return v })), err
}

// getVersion can wait until the version is healthy and the router knows its
// instances, or until it has failed.
func (a *API) getVersion(ctx context.Context, c call, req getAndWait) (reply, error) {
	v, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.engine.Version, func(v platform.VersionStatus) bool {
		return v.Health == platform.HealthHealthy || v.Health == platform.HealthFailed || v.Health == platform.HealthStopped
	})
	if err == nil && req.Wait != nil && v.Health == platform.HealthHealthy {
		err = a.engine.Published(ctx, v.AppGUID)
	}
	if err != nil {
		return reply{}, err
	}
	return a.oneVersion(ctx, c, v)
}

func (a *API) oneVersion(ctx context.Context, c call, v platform.VersionStatus) (reply, error) {
	out, err := a.presentVersions(ctx, c, []platform.VersionStatus{v})
	if err != nil {
		return reply{}, err
	}
	return ok(out[0]), nil
}

// versionNow answers with a version as it is after a change.
func (a *API) versionNow(ctx context.Context, c call, guid string) (reply, error) {
	v, err := a.engine.Version(ctx, guid)
	if err != nil {
		return reply{}, err
	}
	return a.oneVersion(ctx, c, v)
}

type createVersion struct {
	GUID string           `path:"guid"`
	Body v3.VersionCreate `body:"json"`
}

func (a *API) createVersion(ctx context.Context, c call, req createVersion) (reply, error) {
	r, err := a.versionRequest(ctx, req.GUID, req.Body)
	if err != nil {
		return reply{}, err
	}
	v, err := a.engine.StartVersion(ctx, c.actor(), r, nil)
	if err != nil {
		return reply{}, err
	}
	rep, err := a.versionNow(ctx, c, v.GUID)
	rep.status = http.StatusCreated
	return rep, err
}

// versionRequest reads what a version of an app is to be.
func (a *API) versionRequest(ctx context.Context, app string, b v3.VersionCreate) (platform.VersionRequest, error) {
	web, err := a.processOf(ctx, app, platform.WebProcess)
	if err != nil {
		return platform.VersionRequest{}, err
	}
	r := platform.VersionRequest{
		AppGUID: app, Label: b.Label, Mode: b.Mode, Weight: b.Weight, ShadowPercent: b.ShadowPercent,
		Instances: b.Instances, Replace: b.Replace,
		Config: platform.ConfigChange{Env: b.EnvironmentVariables, Command: b.Command, MemoryMB: b.MemoryMB, DiskMB: b.DiskMB},
	}
	if b.HealthCheck != nil {
		health := web.Health
		if err := applyHealth(&health, b.HealthCheck, "health_check", true); err != nil {
			return r, err
		}
		r.Config.Health = &health
	}
	if b.ReadinessHealthCheck != nil {
		readiness := web.Readiness
		if err := applyHealth(&readiness, b.ReadinessHealthCheck, "readiness_health_check", false); err != nil {
			return r, err
		}
		r.Config.Readiness = &readiness
	}
	if b.Shadow != nil {
		if r.Shadow, err = parseShadowOptions(*b.Shadow); err != nil {
			return r, err
		}
	}
	what := rollout.DeployRequest{AppGUID: app}
	if err := a.deployWhat(ctx, &what, v3.DeploymentCreate{Droplet: b.Droplet, Revision: b.Revision}); err != nil {
		return r, err
	}
	r.DropletGUID, r.RevisionGUID = what.DropletGUID, what.RevisionGUID
	r.Metadata, err = newMetadata(b.Metadata)
	return r, err
}

type updateVersion struct {
	GUID string           `path:"guid"`
	Body v3.VersionUpdate `body:"json"`
}

func (a *API) updateVersion(ctx context.Context, c call, req updateVersion) (reply, error) {
	b := req.Body
	v, err := a.store.Version(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	change := rollout.VersionChange{Instances: b.Instances}
	if change.Shadow, err = shadowChange(v, b); err != nil {
		return reply{}, err
	}
	if b.Match != nil {
		match := parseMatches(*b.Match)
		change.Match = &match
	}
	if b.Metadata != nil {
		change.Describe = func(m *platform.Metadata) error { return applyMetadata(m, b.Metadata) }
	}
	if err := a.engine.ChangeVersion(ctx, c.actor(), v.GUID, change, splitOptions(b.TrafficOptions, "")); err != nil {
		return reply{}, err
	}
	if o := change.Shadow.Options; o != nil && !b.DryRun && !slices.Equal(v.Shadow.Ignore, o.Ignore) {
		if err := a.cfg.Shadows.Reset(ctx, v.AppGUID, v.GUID); err != nil {
			return reply{}, err
		}
	}
	return a.versionNow(ctx, c, v.GUID)
}

type endVersion struct {
	GUID  string `path:"guid"`
	Force bool   `query:"force"`
}

func (a *API) deleteVersion(ctx context.Context, c call, req endVersion) (reply, error) {
	_, err := a.engine.DeleteVersion(ctx, c.actor(), req.GUID, req.Force)
	return noContent(), err
}

func (a *API) stopVersion(ctx context.Context, c call, req endVersion) (reply, error) {
	if _, err := a.engine.StopVersion(ctx, c.actor(), req.GUID, req.Force); err != nil {
		return reply{}, err
	}
	return a.versionNow(ctx, c, req.GUID)
}

func (a *API) startVersion(ctx context.Context, c call, req byGUID) (reply, error) {
	if _, err := a.engine.RestartVersion(ctx, c.actor(), req.GUID); err != nil {
		return reply{}, err
	}
	return a.versionNow(ctx, c, req.GUID)
}

type promoteVersion struct {
	GUID string     `path:"guid"`
	Body v3.Promote `body:"json"`
}

func (a *API) promoteVersion(ctx context.Context, c call, req promoteVersion) (reply, error) {
	switch req.Body.How {
	case "", "promote", "assign":
	default:
		return reply{}, platform.Invalidf("how must be 'promote' or 'assign' (got %q)", req.Body.How)
	}
	v, err := a.store.Version(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	done, err := a.engine.Promote(ctx, c.actor(), v.AppGUID, v.GUID, splitOptions(req.Body.TrafficOptions, req.Body.How), nil)
	return a.trafficReply(ctx, done, req.Body.DryRun, err)
}

func (a *API) getSplit(ctx context.Context, _ call, req byGUID) (reply, error) {
	table, split, err := a.engine.Traffic(ctx, req.GUID)
	return ok(v3.Split{Table: table, Split: split}), err
}

type updateSplit struct {
	GUID string         `path:"guid"`
	Body v3.SplitUpdate `body:"json"`
}

func (a *API) updateSplit(ctx context.Context, c call, req updateSplit) (reply, error) {
	b := req.Body
	if len(b.Weights) == 0 {
		return reply{}, platform.Invalidf("weights must name at least one version")
	}
	opt := splitOptions(b.TrafficOptions, b.Verb)
	opt.Keep = b.Keep
	done, err := a.engine.SetShares(ctx, c.actor(), req.GUID, b.Weights, opt, nil)
	return a.trafficReply(ctx, done, b.DryRun, err)
}

func (a *API) listPromotions(ctx context.Context, c call, req struct {
	GUID string `path:"guid"`
	List list   `filters:""`
},
) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	all, err := a.engine.Promotions(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	out := make([]v3.Promotion, 0, len(all))
	for _, p := range all {
		out = append(out, presentPromotion(p))
	}
	return ok(pageOfAll(c, req.List, out)), nil
}

type rollBack struct {
	GUID string             `path:"guid"`
	Body v3.RollbackRequest `body:"json"`
}

func (a *API) rollBack(ctx context.Context, c call, req rollBack) (reply, error) {
	b := req.Body
	given := 0
	for _, is := range []bool{b.Version != nil, b.Label != "", b.Table != 0} {
		if is {
			given++
		}
	}
	if given > 1 {
		return reply{}, platform.Invalidf("at most one of version, label and table can be given")
	}
	opt := splitOptions(b.TrafficOptions, "")
	if b.Table != 0 {
		done, err := a.engine.ReturnTo(ctx, c.actor(), req.GUID, b.Table, opt)
		if err != nil {
			return reply{}, err
		}
		t, err := a.presentTraffic(ctx, done, b.DryRun)
		return ok(v3.Rollback{To: v3.Promotion{Table: b.Table}, Traffic: &t}), err
	}
	r := rollout.RollBackRequest{AppGUID: req.GUID, Label: b.Label, Restart: b.Restart, Options: opt}
	if b.Version != nil {
		r.VersionGUID = b.Version.GUID
	}
	done, err := a.engine.RollBack(ctx, c.actor(), r, nil)
	if err != nil {
		return reply{}, err
	}
	out := v3.Rollback{To: presentPromotion(done.To)}
	if done.Deployment != nil {
		out.Deployment = refTo(done.Deployment.GUID)
		return ok(out), nil
	}
	if done.Version != nil {
		out.Version = refTo(done.Version.GUID)
		return ok(out), nil
	}
	if b.DryRun && done.Change.Text == "" { // its instances would have to be started
		return ok(out), nil
	}
	t, err := a.presentTraffic(ctx, done.Change, b.DryRun)
	out.Traffic = &t
	return ok(out), err
}

type undoChange struct {
	GUID string  `path:"guid"`
	Body v3.Undo `body:"json"`
}

func (a *API) undo(ctx context.Context, c call, req undoChange) (reply, error) {
	done, err := a.engine.Undo(ctx, c.actor(), req.GUID, splitOptions(req.Body.TrafficOptions, ""))
	return a.trafficReply(ctx, done, req.Body.DryRun, err)
}

type swapApps struct {
	GUID string  `path:"guid"`
	Body v3.Swap `body:"json"`
}

func (a *API) swap(ctx context.Context, c call, req swapApps) (reply, error) {
	b := req.Body
	if len(b.Apps) != 2 {
		return reply{}, platform.Invalidf("apps must name two apps")
	}
	for _, guid := range b.Apps {
		app, err := a.store.App(ctx, guid)
		if err == nil && app.SpaceGUID != req.GUID {
			err = platform.NotFound("App")
		}
		if err != nil {
			return reply{}, err
		}
	}
	done, err := a.engine.Swap(ctx, c.actor(), rollout.SwapRequest{
		A: b.Apps[0], B: b.Apps[1], Routes: b.Routes, Force: b.Force, Options: splitOptions(b.TrafficOptions, ""),
	})
	return a.trafficReply(ctx, done, b.DryRun, err)
}

func splitOptions(o v3.TrafficOptions, verb string) platform.SplitOptions {
	return platform.SplitOptions{IfTable: o.IfTable, DryRun: o.DryRun, Why: verb}
}

func (a *API) trafficReply(ctx context.Context, done platform.Change, dry bool, err error) (reply, error) {
	if err != nil {
		return reply{}, err
	}
	t, err := a.presentTraffic(ctx, done, dry)
	return ok(t), err
}

// presentTraffic presents a change with what it alters only.
func (a *API) presentTraffic(ctx context.Context, c platform.Change, dry bool) (v3.Traffic, error) {
	out := v3.Traffic{Table: c.Table, Text: c.Text, DryRun: dry, Versions: []v3.VersionChange{}, Routes: []v3.RouteChange{}}
	guids := append([]string(nil), c.Apps...)
	for _, s := range []platform.TrafficState{c.Before, c.After} {
		for _, r := range s.Routes {
			for _, d := range r.Destinations {
				guids = append(guids, d.AppGUID)
			}
		}
	}
	apps, err := a.appsByGUID(ctx, guids)
	if err != nil {
		return out, err
	}
	before := map[string]platform.VersionTraffic{}
	for _, v := range c.Before.Versions {
		before[v.GUID] = v
	}
	for _, v := range c.After.Versions {
		was, is := v3.VersionTraffic{}, v3.VersionTraffic{Weight: v.Weight, Mode: v.Mode, ShadowPercent: v.ShadowPercent, Main: v.Main}
		if b, had := before[v.GUID]; had {
			was = v3.VersionTraffic{Weight: b.Weight, Mode: b.Mode, ShadowPercent: b.ShadowPercent, Main: b.Main}
		}
		out.Versions = append(out.Versions, v3.VersionChange{GUID: v.GUID, App: apps[v.AppGUID].Name, Label: v.Label, Before: was, After: is})
	}
	ways := func(ds []platform.DestinationTraffic) []v3.RouteDestination {
		all := []v3.RouteDestination{}
		for _, d := range ds {
			all = append(all, v3.RouteDestination{App: apps[d.AppGUID].Name, Process: d.ProcessType, Weight: d.Weight, Mode: d.Mode, ShadowPercent: d.ShadowPercent})
		}
		return all
	}
	for i, r := range c.After.Routes {
		out.Routes = append(out.Routes, v3.RouteChange{GUID: r.GUID, URL: r.URL, Before: ways(c.Before.Routes[i].Destinations), After: ways(r.Destinations)})
	}
	return out, nil
}

func presentPromotion(p platform.Promotion) v3.Promotion {
	out := v3.Promotion{
		Resource: resource(p.Resource), Label: p.Label, Version: refTo(p.VersionGUID), Table: p.Table,
		How: p.How, RolledBack: p.RolledBack, By: p.By.Name,
	}
	if p.RevisionGUID != "" {
		out.Revision = &v3.RevisionRef{GUID: p.RevisionGUID, Version: p.RevisionVersion}
	}
	return out
}

// presentVersions presents versions with their share among all of their app.
func (a *API) presentVersions(ctx context.Context, c call, versions []platform.VersionStatus) ([]v3.Version, error) {
	var apps []string
	for _, v := range versions {
		apps = append(apps, v.AppGUID)
	}
	all, _, err := a.store.Versions(ctx, store.Query{In: map[string][]string{"app_guids": distinct(apps)}})
	if err != nil {
		return nil, err
	}
	totals := map[string]int{}
	for _, v := range all {
		totals[v.AppGUID] += v.Share()
	}
	out := make([]v3.Version, 0, len(versions))
	for _, v := range versions {
		out = append(out, c.version(v, totals[v.AppGUID]))
	}
	return out, nil
}

func (u urls) version(v platform.VersionStatus, total int) v3.Version {
	self := "/v3/versions/" + v.GUID
	out := v3.Version{
		Resource: resource(v.Resource), Label: v.Label, Role: v.Role(), Mode: v.Mode, State: string(v.State),
		Weight: v.Weight, Health: v.Health, Details: v.Details, Since: v3.At(v.Since),
		Instances: v3.VersionInstances{Wanted: v.Wanted, Running: v.Running, Ready: v.Ready, Crashes: v.Crashes},
		Droplet:   refTo(v.DropletGUID), Match: presentMatches(v.Match), Shadow: presentShadowOptions(v.Shadow), URLs: orEmptyList(v.URLs), Addresses: orEmptyList(v.Addresses),
		Relationships: v3.Relationships{"app": v3.To(v.AppGUID)}, Metadata: presentMetadata(v.Metadata),
		Links: v3.Links{
			"self": u.link(self), "app": u.link("/v3/apps/" + v.AppGUID),
			"promote": u.linkWith(http.MethodPost, self+"/actions/promote"),
		},
	}
	if v.Mode == platform.ModeShadow {
		out.ShadowPercent = v.ShadowPercent
	}
	if share := v.Version.Share(); share > 0 && v.State == platform.AppStarted {
		out.SharePercent = float64(share) * 100 / float64(total)
	}
	if v.RevisionGUID != "" {
		out.Revision = &v3.RevisionRef{GUID: v.RevisionGUID, Version: v.RevisionVersion}
	}
	if e := v.LastExit; e != nil {
		out.LastExit = &v3.VersionExit{At: v3.At(e.At), Code: e.Code, Reason: e.Reason}
	}
	return out
}

func orEmptyList(l []string) []string {
	if l == nil {
		return []string{}
	}
	return l
}
