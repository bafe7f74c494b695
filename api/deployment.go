package api

import (
	"context"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/rollout"
	"weir/internal/store"
)

type listDeployments struct {
	List list `filters:"guids,app_guids,states,status_values,status_reasons,strategies"`
}

// listDeployments lists deployments. Starts and restarts are deployments too,
// but no client of Cloud Foundry expects them: they are listed only when a
// filter asks for their strategy.
func (a *API) listDeployments(ctx context.Context, c call, req listDeployments) (reply, error) {
	if _, ok := req.List.In["strategies"]; !ok {
		req.List.NotIn["strategies"] = []string{platform.StrategyStart, platform.StrategyVersion}
	}
	ds, total, err := a.store.Deployments(ctx, req.List.Query)
	if err != nil {
		return reply{}, err
	}
	out, err := a.presentDeployments(ctx, c, ds)
	return ok(pageOf(c, req.List, out, total, func(d v3.Deployment) v3.Deployment { return d })), err
}

func (a *API) getDeployment(ctx context.Context, c call, req getAndWait) (reply, error) {
	d, err := waitFor(ctx, a.store, req.Wait, req.GUID, a.store.Deployment, func(d platform.Deployment) bool {
		return !d.IsActive() || d.Reason == platform.ReasonPaused
	})
	if err == nil && req.Wait != nil && d.Reason == platform.ReasonDeployed {
		err = a.engine.Published(ctx, d.AppGUID)
	}
	if err != nil {
		return reply{}, err
	}
	return a.oneDeployment(ctx, c, d)
}

func (a *API) oneDeployment(ctx context.Context, c call, d platform.Deployment) (reply, error) {
	out, err := a.presentDeployments(ctx, c, []platform.Deployment{d})
	if err != nil {
		return reply{}, err
	}
	return ok(out[0]), nil
}

type createDeployment struct {
	Body v3.DeploymentCreate `body:"json"`
}

func (a *API) createDeployment(ctx context.Context, c call, req createDeployment) (reply, error) {
	b := req.Body
	d := rollout.DeployRequest{AppGUID: b.Relationships.GUID("app"), Strategy: b.Strategy, Label: b.Label}
	if d.AppGUID == "" {
		return reply{}, platform.Invalidf("relationships.app.data.guid must name an app")
	}
	if _, err := a.store.App(ctx, d.AppGUID); err != nil {
		return reply{}, whenMissing(err, "Unable to use app. Ensure that the app exists and you have access to it.")
	}
	switch d.Strategy {
	case "", platform.StrategyRolling, platform.StrategyCanary:
	default:
		return reply{}, platform.Invalidf("strategy '%s' is not a supported deployment strategy, use 'rolling' or 'canary'", d.Strategy)
	}
	if b.Droplet != nil && b.Revision != nil {
		return reply{}, platform.Invalidf("Cannot set both fields 'droplet' and 'revision'")
	}
	if err := a.deployWhat(ctx, &d, b); err != nil {
		return reply{}, err
	}
	if err := applyDeploymentOptions(&d, b.Options); err != nil {
		return reply{}, err
	}
	var err error
	if d.Metadata, err = newMetadata(b.Metadata); err != nil {
		return reply{}, err
	}
	made, err := a.engine.Deploy(ctx, c.actor(), d)
	if err != nil {
		return reply{}, err
	}
	rep, err := a.oneDeployment(ctx, c, made)
	rep.status = 201
	return rep, err
}

// deployWhat checks that the droplet or the revision asked for is the app's.
func (a *API) deployWhat(ctx context.Context, d *rollout.DeployRequest, b v3.DeploymentCreate) error {
	if b.Droplet != nil {
		droplet, err := a.store.Droplet(ctx, b.Droplet.GUID)
		if err == nil && droplet.AppGUID != d.AppGUID {
			err = platform.NotFound("Droplet")
		}
		if err != nil {
			return whenMissing(err, "Invalid droplet. Ensure the droplet exists and belongs to this app.")
		}
		d.DropletGUID = droplet.GUID
	}
	if b.Revision != nil {
		revision, err := a.store.Revision(ctx, b.Revision.GUID)
		if err == nil && revision.AppGUID != d.AppGUID {
			err = platform.NotFound("Revision")
		}
		if err != nil {
			return whenMissing(err, "The revision does not exist")
		}
		d.RevisionGUID = revision.GUID
	}
	return nil
}

func applyDeploymentOptions(d *rollout.DeployRequest, o *v3.DeploymentOptions) error {
	if o == nil {
		return nil
	}
	if o.MaxInFlight != nil {
		if *o.MaxInFlight < 1 {
			return platform.Invalidf("options.max_in_flight must be greater than or equal to 1")
		}
		d.MaxInFlight = *o.MaxInFlight
	}
	d.Scale = rollout.ScaleRequest{
		Instances: o.WebInstances, MemoryMB: o.MemoryMB, DiskMB: o.DiskMB, LogRateLimit: o.LogRateLimit,
	}
	if o.Canary == nil {
		return nil
	}
	if d.Strategy != platform.StrategyCanary {
		return platform.Invalidf("options.canary are only valid for the strategy 'canary'")
	}
	last := 0
	for _, s := range o.Canary.Steps {
		if s.InstanceWeight < 1 || s.InstanceWeight > 100 {
			return platform.Invalidf("options.canary.steps.instance_weight must be an integer between 1-100 (inclusive)")
		}
		if s.InstanceWeight < last {
			return platform.Invalidf("options.canary.steps.instance_weight must be sorted in ascending order")
		}
		last = s.InstanceWeight
		d.CanarySteps = append(d.CanarySteps, s.InstanceWeight)
	}
	return nil
}

func (a *API) updateDeployment(ctx context.Context, c call, req updateMetadata) (reply, error) {
	d, err := a.engine.UpdateDeployment(ctx, c.actor(), req.GUID, func(m *platform.Metadata) error {
		return applyMetadata(m, req.Body.Metadata)
	})
	if err != nil {
		return reply{}, err
	}
	return a.oneDeployment(ctx, c, d)
}

func (a *API) cancelDeployment(ctx context.Context, c call, req byGUID) (reply, error) {
	_, err := a.engine.Cancel(ctx, c.actor(), req.GUID)
	return reply{status: 200}, err
}

func (a *API) continueDeployment(ctx context.Context, c call, req byGUID) (reply, error) {
	_, err := a.engine.Continue(ctx, c.actor(), req.GUID)
	return reply{status: 200}, err
}

// presentDeployments presents deployments with the processes they bring. In
// weir these are the app's own: instances belong to a deployment, processes
// do not.
func (a *API) presentDeployments(ctx context.Context, c call, ds []platform.Deployment) ([]v3.Deployment, error) {
	apps := make([]string, 0, len(ds))
	for _, d := range ds {
		apps = append(apps, d.AppGUID)
	}
	ps, _, err := a.store.Processes(ctx, store.Query{In: map[string][]string{
		"app_guids": distinct(apps), "types": {platform.WebProcess},
	}})
	if err != nil {
		return nil, err
	}
	web := map[string][]v3.NewProcess{}
	for _, p := range ps {
		web[p.AppGUID] = append(web[p.AppGUID], v3.NewProcess{GUID: p.GUID, Type: p.Type})
	}
	out := make([]v3.Deployment, 0, len(ds))
	for _, d := range ds {
		one := c.deployment(d)
		if ps := web[d.AppGUID]; ps != nil {
			one.NewProcesses = ps
		}
		out = append(out, one)
	}
	return out, nil
}

func (u urls) deployment(d platform.Deployment) v3.Deployment {
	self := "/v3/deployments/" + d.GUID
	inFlight := max(1, d.MaxInFlight)
	out := v3.Deployment{
		Resource: resource(d.Resource),
		Status: v3.DeploymentStatus{Value: d.Value, Reason: d.Reason, Details: v3.DeploymentStatusDetails{
			LastSuccessfulHealthcheck: v3.At(d.LastHealthy), LastStatusChange: v3.At(d.StatusChanged),
		}},
		Strategy: d.Strategy, Options: v3.DeploymentOptions{MaxInFlight: &inFlight},
		Droplet: refTo(d.DropletGUID), PreviousDroplet: refTo(d.PreviousDropletGUID),
		NewProcesses: []v3.NewProcess{}, Error: orNull(d.Error),
		Relationships: v3.Relationships{"app": v3.To(d.AppGUID)},
		Metadata:      presentMetadata(d.Metadata),
		Links:         v3.Links{"self": u.link(self), "app": u.link("/v3/apps/" + d.AppGUID)},
	}
	if d.RevisionGUID != "" {
		out.Revision = &v3.RevisionRef{GUID: d.RevisionGUID, Version: d.RevisionVersion}
	}
	if d.Strategy == platform.StrategyCanary {
		out.Status.Canary = &v3.CanaryStatus{Steps: v3.CanarySteps{
			Current: min(max(1, d.CanaryStep), max(1, len(d.CanarySteps))), Total: max(1, len(d.CanarySteps)),
		}}
		if len(d.CanarySteps) > 0 {
			out.Options.Canary = &v3.CanaryOptions{}
			for _, w := range d.CanarySteps {
				out.Options.Canary.Steps = append(out.Options.Canary.Steps, v3.CanaryStep{InstanceWeight: w})
			}
		}
	}
	if d.IsActive() {
		out.Links["cancel"] = u.linkWith("POST", self+"/actions/cancel")
		if d.Reason == platform.ReasonPaused {
			out.Links["continue"] = u.linkWith("POST", self+"/actions/continue")
		}
	}
	return out
}
