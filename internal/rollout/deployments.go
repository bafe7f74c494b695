package rollout

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// DeployRequest asks for a deployment. At most one of DropletGUID and
// RevisionGUID is set; neither means the current droplet.
type DeployRequest struct {
	AppGUID      string
	Label        string // of the main version from then on; empty: the default
	How          string // the verb that asks for it; empty: deploy, restart or rollback
	DropletGUID  string
	RevisionGUID string
	Strategy     string       // rolling (default) or canary
	MaxInFlight  int          // 0 means 1
	CanarySteps  []int        // percent, ascending
	Scale        ScaleRequest // of the web process, with the deployment
	Metadata     platform.Metadata
	oldLabel     string // what the state was called when it ran before
}

// check refuses what makes no sense by itself.
func (r *DeployRequest) check() error {
	if r.Strategy == "" {
		r.Strategy = platform.StrategyRolling
	}
	switch {
	case r.Strategy != platform.StrategyRolling && r.Strategy != platform.StrategyCanary:
		return platform.Invalidf("Strategy '%s' is not a supported deployment strategy", r.Strategy)
	case r.DropletGUID != "" && r.RevisionGUID != "":
		return platform.Invalidf("Cannot set both fields 'droplet' and 'revision'")
	case r.MaxInFlight < 0:
		return platform.Invalidf("Max in flight must be greater than 0")
	case len(r.CanarySteps) > 0 && r.Strategy != platform.StrategyCanary:
		return platform.Invalidf("Canary options are only valid when the strategy is canary")
	}
	last := 0
	for _, w := range r.CanarySteps {
		if w < 1 || w > 100 {
			return platform.Invalidf("Canary steps instance weight must be an integer between 1 and 100 (inclusive)")
		}
		if w < last {
			return platform.Invalidf("Canary steps must be sorted in ascending order")
		}
		last = w
	}
	return r.Scale.check()
}

// Deploy moves the app to another droplet or revision without interrupting it.
// It returns at once with the deployment on its way. A stopped app is started
// and the deployment comes back finalized.
func (e *Engine) Deploy(ctx context.Context, who platform.Actor, req DeployRequest) (platform.Deployment, error) {
	if err := req.check(); err != nil {
		return platform.Deployment{}, err
	}
	var d platform.Deployment
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, req.AppGUID)
		if err != nil {
			return invalidReference(err, "Unable to use app. Ensure that the app exists and you have access to it.")
		}
		if req.RevisionGUID != "" || req.DropletGUID != "" {
			if err := checkNoRollout(ctx, tx, app); err != nil {
				return err
			}
		}
		b := beginning{
			app: app, strategy: req.Strategy, maxInFlight: req.MaxInFlight, steps: req.CanarySteps, metadata: req.Metadata,
			label: req.Label, oldLabel: req.oldLabel, how: cmp.Or(req.How, deploymentKind(req)),
		}
		switch {
		case req.RevisionGUID != "":
			if b.description, err = e.takeRevision(ctx, tx, &b.app, req.RevisionGUID); err != nil {
				return err
			}
		case req.DropletGUID != "":
			if _, err := e.takeDroplet(ctx, tx, who, &b.app, req.DropletGUID); err != nil {
				return err
			}
		}
		if err := e.scaleWeb(ctx, tx, b.app, req.Scale); err != nil {
			return err
		}
		if d, err = e.begin(ctx, tx, who, b); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.deployment.create", appTarget(app), map[string]any{
			"deployment_guid": d.GUID, "droplet_guid": d.DropletGUID, "strategy": d.Strategy,
			"type": deploymentKind(req),
		})
	})
	if err != nil {
		return platform.Deployment{}, err
	}
	e.line(d.AppGUID, "API", "Created deployment %s (%s) to revision %d", d.GUID, d.Strategy, d.RevisionVersion)
	e.wake(d.AppGUID)
	return d, nil
}

// checkNoRollout refuses to replace the version that a rollout on its way
// compares another one with: the judge would measure against something else.
func checkNoRollout(ctx context.Context, tx *store.Tx, app platform.App) error {
	active, _, err := tx.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {app.GUID}, "active": {"true"}}})
	if err != nil {
		return err
	}
	for _, r := range active {
		if r.State != platform.RolloutQueued {
			return &platform.Error{
				Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q has rollout r-%d of %s on its way", app.Name, r.Number, r.ToLabel),
				Hint: fmt.Sprintf("weir rollout abort %s takes %s back; weir rollout watch %s waits until it is over", app.Name, r.ToLabel, app.Name),
			}
		}
	}
	return nil
}

// checkSameVersion is checkNoRollout unless the app is to run what it runs
// already: a restart replaces nothing, one that brings settings along does.
func checkSameVersion(ctx context.Context, tx *store.Tx, app platform.App, next platform.Revision) error {
	if app.State != platform.AppStarted {
		return nil
	}
	all, err := versionsOf(ctx, tx, app.GUID)
	if err != nil {
		return err
	}
	main, ok := mainOf(all)
	if !ok {
		return nil
	}
	if same, err := sameContent(ctx, tx, main.RevisionGUID, next); err != nil || same {
		return err
	}
	return checkNoRollout(ctx, tx, app)
}

func deploymentKind(req DeployRequest) string {
	switch {
	case req.RevisionGUID != "":
		return "rollback"
	case req.DropletGUID != "":
		return "deploy"
	}
	return "restart"
}

// takeRevision restores a revision into the app's rows.
func (e *Engine) takeRevision(ctx context.Context, tx *store.Tx, app *platform.App, guid string) (description string, err error) {
	v, err := tx.Revision(ctx, guid)
	if isNotFound(err) || err == nil && v.AppGUID != app.GUID {
		return "", platform.Invalidf("The revision does not exist")
	}
	if err != nil {
		return "", err
	}
	d, err := tx.Droplet(ctx, v.DropletGUID)
	if err != nil && !isNotFound(err) {
		return "", err
	}
	if err != nil || !v.Deployable || d.State != platform.DropletStaged {
		return "", platform.Invalidf("Unable to deploy this revision, the droplet for this revision no longer exists.")
	}
	return fmt.Sprintf("Rolled back to revision %d.", v.Version), restore(ctx, tx, app, v)
}

// takeDroplet makes a droplet the app's current one.
func (e *Engine) takeDroplet(ctx context.Context, tx *store.Tx, who platform.Actor, app *platform.App, guid string) (platform.Droplet, error) {
	d, err := tx.Droplet(ctx, guid)
	if err != nil && !isNotFound(err) {
		return d, err
	}
	if err != nil || d.AppGUID != app.GUID {
		return d, platform.Invalidf("Unable to assign current droplet. Ensure the droplet exists and belongs to this app.")
	}
	if d.State != platform.DropletStaged {
		return d, platform.Invalidf("Unable to assign current droplet. The droplet is in state %s, not STAGED.", d.State)
	}
	if app.DropletGUID != guid {
		app.DropletGUID = guid
		if err := tx.UpdateApp(ctx, *app); err != nil {
			return d, err
		}
		err := e.event(ctx, tx, who, "audit.app.droplet.mapped", appTarget(*app),
			map[string]any{"request": map[string]any{"droplet_guid": guid}})
		if err != nil {
			return d, err
		}
	}
	return d, e.addProcesses(ctx, tx, who, *app, d)
}

// scaleWeb applies what a deployment says about the web process.
func (e *Engine) scaleWeb(ctx context.Context, tx *store.Tx, app platform.App, req ScaleRequest) error {
	if req.isEmpty() {
		return nil
	}
	p, err := tx.ProcessByType(ctx, app.GUID, platform.WebProcess)
	if err != nil {
		return err
	}
	req.apply(&p)
	return tx.UpdateProcess(ctx, p)
}

// beginning describes a deployment to begin.
type beginning struct {
	app         platform.App // as it is in the rows
	strategy    string
	description string // of a new revision; empty: what differs
	maxInFlight int
	steps       []int
	metadata    platform.Metadata
	label       string // of the main version; empty: the default, or what it has for the same droplet
	oldLabel    string // what it was called when it ran before; used if it is free
	how         string
}

// begin ends the deployment on its way, if any, and writes a new one to what
// the app's rows say.
func (e *Engine) begin(ctx context.Context, tx *store.Tx, who platform.Actor, b beginning) (platform.Deployment, error) {
	now := time.Now().UTC()
	c, err := candidateOf(ctx, tx, b.app)
	if err != nil {
		return platform.Deployment{}, err
	}
	if c.droplet.State != platform.DropletStaged {
		return platform.Deployment{}, errNoDroplet
	}
	if err := c.checkStartable(b.app); err != nil {
		return platform.Deployment{}, err
	}
	previous, err := e.supersede(ctx, tx, b.app, now)
	if err != nil {
		return platform.Deployment{}, err
	}
	v, err := e.ensureRevision(ctx, tx, who, b.app, c, b.description)
	if err != nil {
		return platform.Deployment{}, err
	}
	if err := checkSameVersion(ctx, tx, b.app, v); err != nil {
		return platform.Deployment{}, err
	}
	d := platform.Deployment{
		Resource: platform.NewResource(now), AppGUID: b.app.GUID, Strategy: b.strategy,
		Value: platform.DeploymentActive, Reason: platform.ReasonDeploying,
		RevisionGUID: v.GUID, RevisionVersion: v.Version, DropletGUID: c.droplet.GUID,
		PreviousGUID: previous.GUID, PreviousDropletGUID: previous.DropletGUID,
		MaxInFlight: max(1, b.maxInFlight), StatusChanged: now, CreatedBy: who,
	}
	d.Metadata, d.How = b.metadata, b.how
	if d.Label, err = mainLabel(ctx, tx, b, v); err != nil {
		return platform.Deployment{}, err
	}
	if b.strategy == platform.StrategyCanary {
		d.CanarySteps, d.CanaryStep = b.steps, 1
	}
	app := b.app
	if app.State != platform.AppStarted {
		app.State = platform.AppStarted
		if d.Strategy != platform.StrategyStart { // there is nothing to judge it by
			d.Value, d.Reason = platform.DeploymentFinalized, platform.ReasonDeployed
			app.DeploymentGUID = d.GUID
		}
		if err := tx.UpdateApp(ctx, app); err != nil {
			return d, err
		}
	}
	if err := tx.InsertDeployment(ctx, d); err != nil {
		return d, err
	}
	if d.Reason == platform.ReasonDeployed {
		if err := e.servesNow(ctx, tx, d); err != nil {
			return d, err
		}
	}
	return d, pruneDeployments(ctx, tx, app.GUID)
}

// supersede ends the app's active deployment and returns the one that a new
// deployment may go back to: the one that serves, the zero Deployment if none
// does.
func (e *Engine) supersede(ctx context.Context, tx *store.Tx, app platform.App, now time.Time) (platform.Deployment, error) {
	previous := app.DeploymentGUID
	if app.State != platform.AppStarted {
		previous = ""
	}
	active, ok, err := tx.ActiveDeployment(ctx, app.GUID)
	if err != nil {
		return platform.Deployment{}, err
	}
	if ok {
		previous = active.PreviousGUID
		active.Value, active.Reason, active.StatusChanged = platform.DeploymentFinalized, platform.ReasonSuperseded, now
		if err := tx.UpdateDeployment(ctx, active); err != nil {
			return platform.Deployment{}, err
		}
	}
	if previous == "" {
		return platform.Deployment{}, nil
	}
	d, err := tx.Deployment(ctx, previous)
	if isNotFound(err) {
		return platform.Deployment{}, nil
	}
	if err != nil {
		return platform.Deployment{}, err
	}
	if d.Reason == platform.ReasonDeployed {
		return d, nil
	}
	// It never got healthy as a deployment. It is worth going back to only if
	// it does something now.
	_, running, err := tx.Instances(ctx, store.Query{In: map[string][]string{
		"deployment_guids": {d.GUID}, "states": {string(platform.InstanceRunning)},
	}, PerPage: 1})
	if err != nil || running == 0 {
		return platform.Deployment{}, err
	}
	return d, nil
}

// conclude writes down what the end of a deployment means for its app.
func (e *Engine) conclude(ctx context.Context, tx *store.Tx, app platform.App, d platform.Deployment, o outcome) error {
	if o.serving != "" && app.DeploymentGUID != o.serving {
		app.DeploymentGUID = o.serving
		if err := tx.UpdateApp(ctx, app); err != nil {
			return err
		}
		if o.serving == d.GUID {
			if err := e.servesNow(ctx, tx, d); err != nil {
				return err
			}
		}
	}
	if o.restore {
		if err := e.goBack(ctx, tx, app, d); err != nil {
			return err
		}
	}
	if d.Error == "" {
		return nil
	}
	return e.event(ctx, tx, platform.System, "audit.app.deployment.cancel", appTarget(app),
		map[string]any{"deployment_guid": d.GUID, "strategy": d.Strategy, "reason": d.Error})
}

// goBack makes the app's rows what they were before a deployment. After a
// failed start only the droplet goes back: the owner's other changes are not
// the start's and wait for the next one.
func (e *Engine) goBack(ctx context.Context, tx *store.Tx, app platform.App, d platform.Deployment) error {
	previous, err := tx.Deployment(ctx, d.PreviousGUID)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	if app.DropletGUID != d.DropletGUID {
		return nil // somebody chose another one meanwhile
	}
	if d.Strategy == platform.StrategyStart {
		if _, err := tx.Droplet(ctx, previous.DropletGUID); isNotFound(err) {
			return nil
		} else if err != nil {
			return err
		}
		app.DropletGUID = previous.DropletGUID
		return tx.UpdateApp(ctx, app)
	}
	v, err := tx.Revision(ctx, previous.RevisionGUID)
	if isNotFound(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return restore(ctx, tx, &app, v)
}

// UpdateDeployment lets change edit the metadata of a deployment.
func (e *Engine) UpdateDeployment(ctx context.Context, _ platform.Actor, guid string, change func(*platform.Metadata) error) (d platform.Deployment, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if d, err = tx.Deployment(ctx, guid); err != nil {
			return err
		}
		if err := change(&d.Metadata); err != nil {
			return err
		}
		return tx.UpdateDeployment(ctx, d)
	})
	return d, err
}

// Cancel turns a deployment back: droplet, environment and processes become
// what they were, and the previous instances serve again.
func (e *Engine) Cancel(ctx context.Context, who platform.Actor, guid string) (d platform.Deployment, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if d, err = tx.Deployment(ctx, guid); err != nil {
			return err
		}
		if !d.IsActive() {
			return platform.Invalidf("Cannot cancel a deployment with status: %s and reason: %s", d.Value, d.Reason)
		}
		if d.Reason == platform.ReasonCanceling {
			return nil
		}
		app, err := tx.App(ctx, d.AppGUID)
		if err != nil {
			return err
		}
		d.Reason, d.StatusChanged = platform.ReasonCanceling, time.Now().UTC()
		if err := tx.UpdateDeployment(ctx, d); err != nil {
			return err
		}
		if err := e.goBack(ctx, tx, app, d); err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.deployment.cancel", appTarget(app),
			map[string]any{"deployment_guid": d.GUID, "droplet_guid": d.DropletGUID})
	})
	if err != nil {
		return platform.Deployment{}, err
	}
	e.line(d.AppGUID, "API", "Canceling deployment %s", d.GUID)
	e.wake(d.AppGUID)
	return d, nil
}

// Continue lets a paused canary deployment take its next step.
func (e *Engine) Continue(ctx context.Context, who platform.Actor, guid string) (d platform.Deployment, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if d, err = tx.Deployment(ctx, guid); err != nil {
			return err
		}
		if !d.IsActive() || d.Reason != platform.ReasonPaused {
			return platform.Invalidf("Cannot continue a deployment with status: %s and reason: %s", d.Value, d.Reason)
		}
		d.CanaryStep++
		d.Reason, d.StatusChanged = platform.ReasonDeploying, time.Now().UTC()
		if err := tx.UpdateDeployment(ctx, d); err != nil {
			return err
		}
		app, err := tx.App(ctx, d.AppGUID)
		if err != nil {
			return err
		}
		return e.event(ctx, tx, who, "audit.app.deployment.continue", appTarget(app), map[string]any{"deployment_guid": d.GUID})
	})
	if err != nil {
		return platform.Deployment{}, err
	}
	e.line(d.AppGUID, "API", "Continuing deployment %s", d.GUID)
	e.wake(d.AppGUID)
	return d, nil
}

// UpdateRevision lets change edit the metadata of a revision.
func (e *Engine) UpdateRevision(ctx context.Context, _ platform.Actor, guid string, change func(*platform.Metadata) error) (v platform.Revision, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if v, err = tx.Revision(ctx, guid); err != nil {
			return err
		}
		if err := change(&v.Metadata); err != nil {
			return err
		}
		return tx.UpdateRevision(ctx, v)
	})
	return v, err
}

// invalidReference turns a missing row that a request named into the text for
// that, and leaves other errors alone.
func invalidReference(err error, text string) error {
	if isNotFound(err) {
		return platform.Invalidf("%s", text)
	}
	return err
}
