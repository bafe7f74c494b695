package api

import (
	"cmp"
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/store"
)

type listRevisions struct {
	GUID string `path:"guid"`
	List list   `filters:"guids,versions,deployable"`
}

func (a *API) listRevisions(ctx context.Context, c call, req listRevisions) (reply, error) {
	if _, err := a.store.App(ctx, req.GUID); err != nil {
		return reply{}, err
	}
	req.List.In["app_guids"] = []string{req.GUID}
	rs, total, err := a.store.Revisions(ctx, req.List.Query)
	return ok(pageOf(c, req.List, rs, total, c.revision)), err
}

type listDeployedRevisions struct {
	GUID string `path:"guid"`
	List list   `filters:""`
}

// listDeployedRevisions lists what an app runs: nothing while it is stopped,
// and during a deployment both revisions.
func (a *API) listDeployedRevisions(ctx context.Context, c call, req listDeployedRevisions) (reply, error) {
	app, err := a.store.App(ctx, req.GUID)
	if err != nil {
		return reply{}, err
	}
	deployed := []string{}
	if app.State == platform.AppStarted {
		if app.DeploymentGUID != "" {
			d, err := a.store.Deployment(ctx, app.DeploymentGUID)
			if err != nil && platform.KindOf(err) != platform.KindNotFound {
				return reply{}, err
			}
			deployed = append(deployed, d.RevisionGUID)
		}
		d, active, err := a.store.ActiveDeployment(ctx, app.GUID)
		if err != nil {
			return reply{}, err
		}
		if active {
			deployed = append(deployed, d.RevisionGUID)
		}
		versions, _, err := a.store.Versions(ctx, store.Query{In: map[string][]string{
			"app_guids": {app.GUID}, "states": {string(platform.AppStarted)},
		}})
		if err != nil {
			return reply{}, err
		}
		for _, v := range versions {
			deployed = append(deployed, v.RevisionGUID)
		}
	}
	req.List.In["guids"] = distinct(deployed)
	rs, total, err := a.store.Revisions(ctx, req.List.Query)
	return ok(pageOf(c, req.List, rs, total, c.revision)), err
}

type diffRevisions struct {
	GUID string `path:"guid"`
	From string `query:"from"`
	To   string `query:"to"`
}

// hiddenValue stands for a value that is there and is nobody's business.
const hiddenValue = "[hidden]"

// diffRevisions compares two revisions, by default the current one with what
// is pending.
func (a *API) diffRevisions(ctx context.Context, _ call, req diffRevisions) (reply, error) {
	d, err := a.engine.DiffRevisions(ctx, req.GUID, cmp.Or(req.From, rollout.RevisionCurrent), cmp.Or(req.To, rollout.RevisionPending))
	if err != nil {
		return reply{}, err
	}
	name := func(r platform.Revision) v3.RevisionName {
		return v3.RevisionName{GUID: r.GUID, Version: r.Version, Description: r.Description}
	}
	out := v3.RevisionDiff{From: name(d.From), To: name(d.To), Changes: []v3.RevisionChange{}}
	hidden := hiddenValue
	for _, c := range d.Changes {
		one := v3.RevisionChange{What: c.What, Name: c.Name, Before: c.Before, After: c.After, Secret: c.Secret}
		if c.Secret && c.Before != nil {
			one.Before = &hidden
		}
		if c.Secret && c.After != nil {
			one.After = &hidden
		}
		out.Changes = append(out.Changes, one)
	}
	return ok(out), nil
}

func (a *API) getRevision(ctx context.Context, c call, req byGUID) (reply, error) {
	r, err := a.store.Revision(ctx, req.GUID)
	return ok(c.revision(r)), err
}

func (a *API) updateRevision(ctx context.Context, c call, req updateMetadata) (reply, error) {
	r, err := a.engine.UpdateRevision(ctx, c.actor(), req.GUID, func(m *platform.Metadata) error {
		return applyMetadata(m, req.Body.Metadata)
	})
	return ok(c.revision(r)), err
}

func (a *API) getRevisionEnv(ctx context.Context, c call, req byGUID) (reply, error) {
	r, err := a.store.Revision(ctx, req.GUID)
	return ok(v3.EnvVars{Var: orEmpty(r.Env), Links: v3.Links{
		"self":     c.link("/v3/revisions/" + req.GUID + "/environment_variables"),
		"revision": c.link("/v3/revisions/" + req.GUID),
		"app":      c.link("/v3/apps/" + r.AppGUID),
	}}), err
}

func (u urls) revision(r platform.Revision) v3.Revision {
	self := "/v3/revisions/" + r.GUID
	out := v3.Revision{
		Resource: resource(r.Resource), Version: r.Version, Droplet: v3.Ref{GUID: r.DropletGUID},
		Processes: map[string]v3.RevisionProcess{}, Sidecars: []v3.RevisionSidecar{},
		Description: r.Description, Deployable: r.Deployable,
		Relationships: v3.Relationships{"app": v3.To(r.AppGUID)},
		Metadata:      presentMetadata(r.Metadata),
		Links: v3.Links{
			"self":                  u.link(self),
			"app":                   u.link("/v3/apps/" + r.AppGUID),
			"environment_variables": u.link(self + "/environment_variables"),
		},
	}
	for _, p := range r.Processes {
		out.Processes[p.Type] = v3.RevisionProcess{Command: orNull(p.Command)}
	}
	return out
}
