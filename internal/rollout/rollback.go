package rollout

import (
	"context"
	"slices"

	"weir/internal/platform"
	"weir/internal/store"
)

// RollBackRequest says what to go back to: a version that is there, the state
// that had a label, or, if both are empty, the one that was promoted before.
type RollBackRequest struct {
	AppGUID     string
	VersionGUID string
	Label       string
	// Restart has a version with the state that is stopped, or not ready yet,
	// started instead of a deployment; the caller asks again when it is healthy.
	Restart bool
	Options platform.SplitOptions
}

// RolledBack is how a rollback goes on: it is done if a version with that
// state still ran. Else that version was started, or a deployment brings the
// state back.
type RolledBack struct {
	To         platform.Promotion
	Change     platform.Change
	Version    *platform.Version
	Deployment *platform.Deployment
}

// RollBack takes an app back to an earlier state, its settings included.
func (e *Engine) RollBack(ctx context.Context, who platform.Actor, req RollBackRequest, and also) (RolledBack, error) {
	var way wayBack
	err := e.store.View(ctx, func(tx *store.Tx) (err error) {
		app, err := tx.App(ctx, req.AppGUID)
		if err != nil {
			return err
		}
		if err := checkNoRollout(ctx, tx, app); err != nil {
			return err
		}
		way, err = findWayBack(ctx, tx, app, req)
		return err
	})
	if err != nil {
		return RolledBack{}, err
	}
	opt := req.Options
	opt.Why = verbRollback
	back := RolledBack{To: way.to}
	switch {
	case way.version.GUID != "" && (way.ready || !req.Restart):
		back.Change, err = e.Promote(ctx, who, req.AppGUID, way.version.GUID, opt, and)
		return back, err
	case way.version.GUID != "":
		v, err := e.startAgain(ctx, who, way.version, opt)
		back.Version = &v
		return back, err
	case opt.DryRun:
		return back, nil
	}
	err = e.store.View(ctx, func(tx *store.Tx) error { return e.checkTable(ctx, tx, req.AppGUID, opt) })
	if err != nil {
		return RolledBack{}, err
	}
	d, err := e.Deploy(ctx, who, DeployRequest{AppGUID: req.AppGUID, RevisionGUID: way.to.RevisionGUID, How: verbRollback, oldLabel: way.to.Label})
	back.Deployment = &d
	return back, err
}

// checkTable refuses to go on if an app's traffic was changed after the table
// that opt names.
func (e *Engine) checkTable(ctx context.Context, tx *store.Tx, app string, opt platform.SplitOptions) error {
	t := &traffic{e: e, tx: tx, opt: opt}
	if err := t.load(ctx, app); err != nil {
		return err
	}
	return t.checkTable(ctx)
}

// startAgain starts a version that is to become the main one, with as many
// instances as that has. One that is starting already goes on.
func (e *Engine) startAgain(ctx context.Context, who platform.Actor, v platform.Version, opt platform.SplitOptions) (platform.Version, error) {
	check := func(tx *store.Tx, app platform.App) error {
		if app.State != platform.AppStarted {
			return refuse("weir start "+app.Name, "app %q is stopped", app.Name)
		}
		if err := e.checkTable(ctx, tx, app.GUID, opt); err != nil {
			return err
		}
		return checkNotMoving(ctx, tx, app)
	}
	if opt.DryRun || v.State == platform.AppStarted {
		return v, e.store.View(ctx, func(tx *store.Tx) error {
			app, err := tx.App(ctx, v.AppGUID)
			if err != nil {
				return err
			}
			return check(tx, app)
		})
	}
	return e.editVersion(ctx, who, v.GUID, eventVersionStart, func(tx *store.Tx, app platform.App, v *platform.Version) error {
		if err := check(tx, app); err != nil {
			return err
		}
		web, err := tx.ProcessByType(ctx, app.GUID, platform.WebProcess)
		if err != nil {
			return err
		}
		v.Instances = max(1, web.Instances)
		return e.startVersionAgain(ctx, tx, who, app, v)
	})
}

// wayBack is the state that a rollback leads to and the version, if there is
// one, that can take the main one's place with it: at once if it is ready,
// else once it was started.
type wayBack struct {
	to      platform.Promotion
	version platform.Version
	ready   bool
}

// findWayBack finds the state to go back to and who has it.
func findWayBack(ctx context.Context, tx *store.Tx, app platform.App, req RollBackRequest) (way wayBack, err error) {
	versions, err := versionsOf(ctx, tx, app.GUID)
	if err != nil {
		return way, err
	}
	if req.VersionGUID != "" {
		i := slices.IndexFunc(versions, func(v platform.Version) bool { return v.GUID == req.VersionGUID })
		if i < 0 {
			return way, platform.NotFound("Version")
		}
		v := versions[i]
		way.version = v
		way.to = platform.Promotion{AppGUID: app.GUID, VersionGUID: v.GUID, Label: v.Label, RevisionGUID: v.RevisionGUID, RevisionVersion: v.RevisionVersion}
		ready, err := readyInstances(ctx, tx, v)
		way.ready = v.Main || v.State == platform.AppStarted && ready > 0
		return way, err
	}
	if way.to, err = earlierState(ctx, tx, app, versions, req.Label); err != nil {
		return way, err
	}
	rev, err := tx.Revision(ctx, way.to.RevisionGUID)
	if err != nil {
		return way, err
	}
	for _, v := range versions {
		if v.Main || v.Mode == platform.ModeShadow {
			continue
		}
		same, err := sameContent(ctx, tx, v.RevisionGUID, rev)
		if err != nil {
			return way, err
		}
		if !same {
			continue
		}
		ready, err := readyInstances(ctx, tx, v)
		if err != nil {
			return way, err
		}
		if v.State == platform.AppStarted && ready > 0 {
			way.version, way.ready = v, true
			return way, nil
		}
		own := v.GUID == way.to.VersionGUID || v.Label == way.to.Label
		if req.Restart && own && app.State == platform.AppStarted {
			way.version = v
		}
	}
	return way, nil
}
