package rollout

import (
	"cmp"
	"context"
	"fmt"

	"weir/internal/platform"
	"weir/internal/store"
)

// Promote makes a version the app's main one with all requests, in one change
// of the route table. The others keep running without requests, the former
// main one among them, whose match rules end; with the verb "assign" it takes
// the place of the shadow that was promoted. The settings of the app become
// those of the version, see withPending.
func (e *Engine) Promote(ctx context.Context, who platform.Actor, app, version string, opt platform.SplitOptions, and also) (platform.Change, error) {
	opt.Why = cmp.Or(opt.Why, "promote")
	return e.changeTraffic(ctx, who, opt, []string{app}, func(t *traffic) error {
		return t.promote(ctx, app, version)
	}, and)
}

func (t *traffic) promote(ctx context.Context, app, version string) error {
	v, err := t.version(version)
	if err != nil {
		return err
	}
	if v.AppGUID != app {
		return platform.NotFound("Version")
	}
	name := t.app(app).Name
	t.app(app).Traffic.Counting = nil
	old, err := t.main(app)
	if err != nil {
		return err
	}
	if err := t.checkReady(ctx, *v); err != nil {
		return err
	}
	wasShadow := v.Mode == platform.ModeShadow
	for i := range t.versions {
		if o := &t.versions[i]; o.AppGUID == app && o.GUID != version && o.Mode == platform.ModeLive {
			o.Weight = 0
		}
	}
	if v.Weight == 0 || v.Share() == 0 {
		v.Weight = platform.DefaultWeight
	}
	v.Mode = platform.ModeLive
	// Rules go before weights: those of a ring would keep requests with the
	// version that is left, or hold them when this one is left in its turn.
	v.Match, old.Match = nil, nil
	t.text = fmt.Sprintf("Version %s of app %s has all requests and is the main one", v.Label, name)
	if v.Main {
		return nil
	}
	if wasShadow && t.opt.Why == "assign" {
		old.Mode, old.ShadowPercent = platform.ModeShadow, cmp.Or(v.ShadowPercent, 100)
	}
	return t.makeMain(ctx, version, t.opt.Why)
}

// checkReady refuses to send requests where nobody would answer.
func (t *traffic) checkReady(ctx context.Context, v platform.Version) error {
	name := t.app(v.AppGUID).Name
	if v.State == platform.AppStopped {
		return refuse(fmt.Sprintf("weir start %s:%s", name, v.Label), "version %s of app %q is stopped", v.Label, name)
	}
	ready, err := readyInstances(ctx, t.tx, v)
	if err == nil && ready == 0 {
		err = refuse(fmt.Sprintf("weir versions %s shows why", name), "version %s of app %q has no instance that is ready", v.Label, name)
	}
	return err
}

// readyInstances returns how many instances of a version can get requests.
func readyInstances(ctx context.Context, tx *store.Tx, v platform.Version) (int, error) {
	if v.DeploymentGUID == "" {
		return 0, nil
	}
	_, n, err := tx.Instances(ctx, store.Query{In: map[string][]string{
		"deployment_guids": {v.DeploymentGUID}, "types": {platform.WebProcess},
		"states": {string(platform.InstanceRunning)}, "ready": {"true"},
	}, PerPage: 1})
	return n, err
}

// earlierState returns the newest promoted state that is not what the main
// version runs: one that no rollback has left behind or, if a label is given,
// the newest one of that name.
func earlierState(ctx context.Context, tx *store.Tx, app platform.App, versions []platform.Version, label string) (platform.Promotion, error) {
	none := &platform.Error{
		Kind: platform.KindNotFound, Msg: fmt.Sprintf("app %q has no earlier state to go back to", app.Name),
		Hint: "weir revisions " + app.Name + " lists what it ran",
	}
	if label != "" {
		none.Msg = fmt.Sprintf("app %q never served as version %s", app.Name, label)
	}
	main, ok := mainOf(versions)
	if !ok {
		return platform.Promotion{}, none
	}
	if main.Label == label {
		none.Msg = fmt.Sprintf("app %q serves as version %s now, and no other state had that name", app.Name, label)
	}
	now, err := tx.Revision(ctx, main.RevisionGUID)
	if err != nil {
		return platform.Promotion{}, err
	}
	all, err := promotionsOf(ctx, tx, app.GUID)
	if err != nil {
		return platform.Promotion{}, err
	}
	for _, p := range all {
		if label == "" && p.RolledBack || label != "" && p.Label != label {
			continue
		}
		rev, err := tx.Revision(ctx, p.RevisionGUID)
		if isNotFound(err) || err == nil && !rev.Deployable {
			continue
		}
		if err != nil {
			return p, err
		}
		same, err := sameContent(ctx, tx, p.RevisionGUID, now)
		if err != nil {
			return p, err
		}
		if !same {
			return p, nil
		}
	}
	return platform.Promotion{}, none
}

// Promotions returns the states an app was promoted to, newest first.
func (e *Engine) Promotions(ctx context.Context, app string) (all []platform.Promotion, err error) {
	err = e.store.View(ctx, func(tx *store.Tx) error {
		all, err = promotionsOf(ctx, tx, app)
		return err
	})
	return all, err
}
