package rollout

import (
	"context"
	"fmt"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// ScaleVersion changes the number of web instances of a version at once. It
// returns before new ones are up.
func (e *Engine) ScaleVersion(ctx context.Context, who platform.Actor, version string, instances int) (v platform.Version, err error) {
	return e.editVersion(ctx, who, version, eventVersionScale, func(tx *store.Tx, app platform.App, v *platform.Version) error {
		return e.scaleVersion(ctx, tx, who, app, v, instances)
	})
}

// eventVersionScale tells that a version got another number of instances.
const eventVersionScale = "audit.app.version.scale"

func (e *Engine) scaleVersion(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, v *platform.Version, instances int) error {
	if instances < 1 || instances > maxInstances {
		return platform.Invalidf("instances must be in the range 1 to %d (got %d)", maxInstances, instances)
	}
	if !v.Main {
		v.Instances = instances
		return tx.UpdateVersion(ctx, *v)
	}
	web, err := tx.ProcessByType(ctx, app.GUID, platform.WebProcess)
	if err != nil {
		return err
	}
	if err := refuseInFlight(ctx, tx, web, "scale"); err != nil {
		return err
	}
	v.Instances = instances
	_, err = e.scale(ctx, tx, who, app, web, ScaleRequest{Instances: &instances})
	return err
}

// editVersion changes the row of a version in a transaction, tells the audit
// log and wakes the app.
func (e *Engine) editVersion(ctx context.Context, who platform.Actor, guid, event string, edit func(*store.Tx, platform.App, *platform.Version) error) (v platform.Version, err error) {
	err = e.store.Tx(ctx, func(tx *store.Tx) error {
		if v, err = tx.Version(ctx, guid); err != nil {
			return err
		}
		app, err := tx.App(ctx, v.AppGUID)
		if err != nil {
			return err
		}
		was := v
		if err := edit(tx, app, &v); err != nil {
			return err
		}
		was.Instances, was.Reduced, was.State = v.Instances, v.Reduced, v.State
		if err := e.versionEvent(ctx, tx, who, event, app, was); err != nil {
			return err
		}
		if now, err := tx.Version(ctx, guid); err == nil {
			v = now
		} else if !isNotFound(err) {
			return err
		}
		return nil
	})
	if err == nil {
		e.wake(v.AppGUID)
	}
	return v, err
}

func (e *Engine) versionEvent(ctx context.Context, tx *store.Tx, who platform.Actor, event string, app platform.App, v platform.Version) error {
	return e.event(ctx, tx, who, event, appTarget(app), map[string]any{
		"version": v.Label, "version_guid": v.GUID, "instances": enough(v), "state": string(v.State),
	})
}

// StopVersion stops a version beside the main one and keeps its row: start
// brings it back. One that gets requests is refused unless force. It returns
// when no new request reaches it.
func (e *Engine) StopVersion(ctx context.Context, who platform.Actor, version string, force bool) (platform.Version, error) {
	return e.endVersion(ctx, who, version, "audit.app.version.stop", force, func(tx *store.Tx, v *platform.Version) error {
		v.State = platform.AppStopped
		return tx.UpdateVersion(ctx, *v)
	})
}

// DeleteVersion stops a version beside the main one and forgets it.
func (e *Engine) DeleteVersion(ctx context.Context, who platform.Actor, version string, force bool) (platform.Version, error) {
	return e.endVersion(ctx, who, version, "audit.app.version.delete", force, func(tx *store.Tx, v *platform.Version) error {
		return tx.DeleteVersion(ctx, v.GUID)
	})
}

func (e *Engine) endVersion(ctx context.Context, who platform.Actor, version, event string, force bool, end func(*store.Tx, *platform.Version) error) (platform.Version, error) {
	var table uint64
	v, err := e.editVersion(ctx, who, version, event, func(tx *store.Tx, app platform.App, v *platform.Version) error {
		switch {
		case v.Main:
			return e.refuseMain(ctx, tx, app, *v)
		case v.Share() > 0 && !force:
			return refuse(fmt.Sprintf("weir weight %s:%s 0, or -f", app.Name, v.Label), "version %s of app %q gets requests", v.Label, app.Name)
		}
		if err := retireVersion(ctx, tx, *v); err != nil {
			return err
		}
		if !getsAny(*v) {
			return end(tx, v)
		}
		var err error
		table, err = e.noteChange(ctx, tx, who, app, "stop", func() (string, error) {
			return fmt.Sprintf("Stopped version %s of app %s", v.Label, app.Name), end(tx, v)
		})
		return err
	})
	if err != nil {
		return v, err
	}
	e.line(v.AppGUID, "API", "Stopping version %s", v.Label)
	return v, e.publishedAs(ctx, []string{v.AppGUID}, nil, table)
}

// getsAny reports whether a version gets requests, or copies of them, as soon as
// it is ready.
func getsAny(v platform.Version) bool {
	return v.Share() > 0 || v.Mode == platform.ModeShadow && v.State == platform.AppStarted
}

// noteChange does what makes a version that gets requests, or copies of them,
// come or go, and writes that down as a change of the app's traffic: it returns
// the number of its table. do says what it did. Undo passes over it: its way
// back is to stop or start the version.
func (e *Engine) noteChange(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, verb string, do func() (string, error)) (uint64, error) {
	before, after := &traffic{e: e, tx: tx}, &traffic{e: e, tx: tx}
	if err := before.load(ctx, app.GUID); err != nil {
		return 0, err
	}
	text, err := do()
	if err != nil {
		return 0, err
	}
	app.Split++
	if err := tx.UpdateApp(ctx, app); err != nil {
		return 0, err
	}
	if err := after.load(ctx, app.GUID); err != nil {
		return 0, err
	}
	table, err := tx.NextTableNumber(ctx)
	if err != nil {
		return 0, err
	}
	err = tx.InsertChange(ctx, platform.Change{
		Resource: platform.NewResource(time.Now().UTC()), Verb: verb, Text: text, Table: table, By: who,
		Before: before.state(), After: after.state(), Apps: []string{app.GUID}, SpaceGUID: app.SpaceGUID, Undone: true,
	})
	if err != nil {
		return 0, err
	}
	return table, pruneChanges(ctx, tx, app.SpaceGUID)
}

// refuseMain says what to do instead of taking the main version away.
func (e *Engine) refuseMain(ctx context.Context, tx *store.Tx, app platform.App, v platform.Version) error {
	all, err := versionsOf(ctx, tx, app.GUID)
	if err != nil {
		return err
	}
	for _, o := range all {
		if !o.Main {
			return refuse(fmt.Sprintf("make another one the main version first: weir assign %s %s; or take all away: weir kill %s", app.Name, o.Label, app.Name),
				"version %s is the main version of app %q, which has others", v.Label, app.Name)
		}
	}
	return refuse("weir stop "+app.Name, "version %s is all there is of app %q", v.Label, app.Name)
}

// eventVersionStart tells that a stopped version was started again.
const eventVersionStart = "audit.app.version.start"

// RestartVersion starts a stopped version again.
func (e *Engine) RestartVersion(ctx context.Context, who platform.Actor, version string) (platform.Version, error) {
	return e.editVersion(ctx, who, version, eventVersionStart, func(tx *store.Tx, app platform.App, v *platform.Version) error {
		return e.startVersionAgain(ctx, tx, who, app, v)
	})
}

func (e *Engine) startVersionAgain(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, v *platform.Version) error {
	if app.State != platform.AppStarted {
		return refuse("weir start "+app.Name, "app %q is stopped", app.Name)
	}
	if v.State == platform.AppStarted {
		return nil
	}
	v.State = platform.AppStarted
	if !getsAny(*v) {
		return tx.UpdateVersion(ctx, *v)
	}
	_, err := e.noteChange(ctx, tx, who, app, "start", func() (string, error) {
		return fmt.Sprintf("Started version %s of app %s", v.Label, app.Name), tx.UpdateVersion(ctx, *v)
	})
	return err
}
