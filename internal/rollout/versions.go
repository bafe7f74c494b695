package rollout

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// Versions of an app. The main one has a row from the first deployment on and
// keeps it: its deployment and scale are the app's. Each other one belongs to
// a deployment of its own, of strategy StrategyVersion, or to the one it
// served with before another became the main one.

// versionsOf returns the versions of an app, the main one first.
func versionsOf(ctx context.Context, tx *store.Tx, app string) ([]platform.Version, error) {
	all, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {app}}})
	mainFirst(all)
	return all, err
}

// mainFirst moves the main versions to the front.
func mainFirst(all []platform.Version) {
	slices.SortStableFunc(all, func(a, b platform.Version) int {
		switch {
		case a.Main == b.Main:
			return 0
		case a.Main:
			return -1
		}
		return 1
	})
}

// sidesOf returns what is wanted of each version beside the main one, by
// deployment.
func sidesOf(ctx context.Context, tx *store.Tx, app string) (map[string]side, error) {
	found, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {app}, "main": {"false"}}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	sides := map[string]side{}
	for _, v := range found {
		n := v.Instances
		if v.State == platform.AppStopped {
			n = 0
		}
		sides[v.DeploymentGUID] = side{instances: n, shadow: v.Mode == platform.ModeShadow}
	}
	return sides, nil
}

// mainOf returns the main version among all.
func mainOf(all []platform.Version) (platform.Version, bool) {
	i := slices.IndexFunc(all, func(v platform.Version) bool { return v.Main })
	if i < 0 {
		return platform.Version{}, false
	}
	return all[i], true
}

// versionAt returns the version that a deployment brings, or is to bring.
func versionAt(ctx context.Context, tx *store.Tx, app platform.App, d platform.Deployment) (platform.Version, error) {
	all, err := versionsOf(ctx, tx, app.GUID)
	if err != nil {
		return platform.Version{}, err
	}
	if i := slices.IndexFunc(all, func(v platform.Version) bool { return v.DeploymentGUID == d.GUID }); i >= 0 {
		return all[i], nil
	}
	return platform.Version{AppGUID: app.GUID, Label: cmp.Or(d.Label, platform.DefaultLabel(d.RevisionVersion)), Main: true}, nil
}

// labelled returns the version with that label, or with one that reads the same
// in a host name.
func labelled(all []platform.Version, label string) (platform.Version, bool) {
	i := slices.IndexFunc(all, func(v platform.Version) bool { return platform.Slug(v.Label) == platform.Slug(label) })
	if i < 0 {
		return platform.Version{}, false
	}
	return all[i], true
}

// mainLabel returns the label a deployment gives to the main version: the one
// asked for, the one it has if it stays the same program, that of the state it
// goes back to, or none, which means the revision's number.
func mainLabel(ctx context.Context, tx *store.Tx, b beginning, v platform.Revision) (string, error) {
	all, err := versionsOf(ctx, tx, b.app.GUID)
	if err != nil {
		return "", err
	}
	taken := func(label string) bool {
		_, ok := sideLabelled(all, label)
		return ok
	}
	if b.label != "" {
		if err := platform.CheckLabel(b.label); err != nil {
			return "", err
		}
		if other, ok := sideLabelled(all, b.label); ok {
			return "", labelTaken(b.app, b.label, other)
		}
		return b.label, nil
	}
	main, ok := mainOf(all)
	switch {
	case b.oldLabel != "" && b.oldLabel != platform.DefaultLabel(v.Version) && !taken(b.oldLabel):
		return b.oldLabel, nil
	case ok && main.Labelled && main.DropletGUID == v.DropletGUID:
		return main.Label, nil
	}
	others := slices.DeleteFunc(all, func(v platform.Version) bool { return v.Main })
	if label := freeLabel(others, v.Version); label != platform.DefaultLabel(v.Version) {
		return label, nil
	}
	return "", nil
}

// freeLabel returns the default label of a revision, or one like it if one of
// the versions has that.
func freeLabel(others []platform.Version, revision int) string {
	label := platform.DefaultLabel(revision)
	for n := 2; ; n++ {
		if _, taken := labelled(others, label); !taken {
			return label
		}
		label = fmt.Sprintf("%s-%d", platform.DefaultLabel(revision), n)
	}
}

// sideLabelled is labelled without the main version.
func sideLabelled(all []platform.Version, label string) (platform.Version, bool) {
	return labelled(slices.DeleteFunc(slices.Clone(all), func(v platform.Version) bool { return v.Main }), label)
}

// labelTaken says that a version has a label, or one that reads the same in a
// host name.
func labelTaken(app platform.App, label string, old platform.Version) error {
	msg := fmt.Sprintf("app %q has a version %s already", app.Name, old.Label)
	if !strings.EqualFold(label, old.Label) {
		msg += ", which has the address that " + label + " would get"
	}
	hint := "choose another label: it is the main version"
	if !old.Main {
		hint = fmt.Sprintf("choose another label, replace it with --replace, or take it away: weir kill %s %s", app.Name, old.Label)
	}
	return &platform.Error{Kind: platform.KindConflict, Msg: msg, Hint: hint}
}

// servesNow makes a deployment that came to serve the app's main version.
func (e *Engine) servesNow(ctx context.Context, tx *store.Tx, d platform.Deployment) error {
	all, err := versionsOf(ctx, tx, d.AppGUID)
	if err != nil {
		return err
	}
	main, ok := mainOf(all)
	main.Label, main.Labelled = d.Label, d.Label != ""
	if ok {
		err = tx.UpdateVersion(ctx, main)
	} else {
		main.Resource = platform.NewResource(time.Now().UTC())
		main.AppGUID, main.Main, main.Mode = d.AppGUID, true, platform.ModeLive
		main.Weight, main.State = platform.DefaultWeight, platform.AppStarted
		err = tx.InsertVersion(ctx, main)
	}
	if err != nil || d.Reason != platform.ReasonDeployed {
		return err
	}
	if main, err = tx.Version(ctx, main.GUID); err != nil {
		return err
	}
	main.RevisionGUID, main.RevisionVersion = d.RevisionGUID, d.RevisionVersion
	if d.Label == "" {
		main.Label = platform.DefaultLabel(d.RevisionVersion)
	}
	return e.promoted(ctx, tx, d.CreatedBy, main, d.How, e.pub.running.Load())
}

// StartVersion makes a version of a running app beside its main one and
// returns at once; its instances start in the background and the version gets
// what its weight says once they are ready. One that is there already is left as
// it is. also runs in the same transaction and may be nil.
func (e *Engine) StartVersion(ctx context.Context, who platform.Actor, req platform.VersionRequest, also func(*store.Tx, platform.Version) error) (platform.Version, error) {
	if err := checkVersionRequest(&req); err != nil {
		return platform.Version{}, err
	}
	if req.VersionGUID != "" {
		return e.takeVersion(ctx, req, also)
	}
	var v platform.Version
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, req.AppGUID)
		if err != nil {
			return invalidReference(err, "Unable to use app. Ensure that the app exists and you have access to it.")
		}
		insert := func() (string, error) {
			v, err = e.insertVersion(ctx, tx, who, app, req)
			return fmt.Sprintf("Started version %s of app %s", v.Label, app.Name), err
		}
		if req.Weight > 0 || req.Mode == platform.ModeShadow {
			_, err = e.noteChange(ctx, tx, who, app, "start", insert)
		} else {
			_, err = insert()
		}
		if err != nil {
			return err
		}
		err = e.event(ctx, tx, who, "audit.app.version.create", appTarget(app), map[string]any{
			"version": v.Label, "version_guid": v.GUID, "revision": v.RevisionVersion, "mode": v.Mode, "weight": v.Weight, "instances": v.Instances,
		})
		if err != nil || also == nil {
			return err
		}
		return also(tx, v)
	})
	if err != nil {
		return platform.Version{}, err
	}
	e.line(v.AppGUID, "API", "Starting version %s, revision %d, with %d instances and weight %d", v.Label, v.RevisionVersion, v.Instances, v.Weight)
	e.wake(v.AppGUID)
	return v, nil
}

// CheckVersion refuses what StartVersion would refuse, and changes nothing.
// Versions named in leaving count as if they had lost all they get.
func (e *Engine) CheckVersion(ctx context.Context, who platform.Actor, req platform.VersionRequest, leaving ...string) error {
	if err := checkVersionRequest(&req); err != nil {
		return err
	}
	err := e.store.Tx(ctx, func(tx *store.Tx) error {
		app, err := tx.App(ctx, req.AppGUID)
		if err != nil {
			return err
		}
		for _, guid := range leaving {
			v, err := tx.Version(ctx, guid)
			if isNotFound(err) {
				continue
			}
			if err != nil {
				return err
			}
			v.Weight, v.Match = 0, nil
			if err := tx.UpdateVersion(ctx, v); err != nil {
				return err
			}
		}
		if req.VersionGUID != "" {
			_, err = mayTake(ctx, tx, app, req.VersionGUID)
		} else {
			_, err = e.insertVersion(ctx, tx, who, app, req)
		}
		if err != nil {
			return err
		}
		return errDryRun
	})
	return unlessDry(err)
}

func checkVersionRequest(req *platform.VersionRequest) error {
	req.Mode = cmp.Or(req.Mode, platform.ModeLive)
	if req.Mode == platform.ModeShadow {
		req.ShadowPercent = cmp.Or(req.ShadowPercent, 100)
	}
	switch {
	case req.Mode != platform.ModeLive && req.Mode != platform.ModeShadow:
		return platform.Invalidf("mode must be 'live' or 'shadow' (got %q)", req.Mode)
	case req.Weight < 0 || req.Weight > platform.MaxWeight:
		return platform.Invalidf("weight must be in the range 0 to %d (got %d)", platform.MaxWeight, req.Weight)
	case req.ShadowPercent < 0 || req.ShadowPercent > 100:
		return platform.Invalidf("shadow_percent must be in the range 1 to 100 (got %d)", req.ShadowPercent)
	case req.Instances != nil && (*req.Instances < 1 || *req.Instances > maxInstances):
		return platform.Invalidf("instances must be in the range 1 to %d (got %d)", maxInstances, *req.Instances)
	case req.VersionGUID != "" && (req.DropletGUID != "" || req.RevisionGUID != "" || req.Label != "" || req.Replace || !req.Config.IsZero()):
		return platform.Invalidf("a version that is there already has its own label, droplet and settings")
	case req.DropletGUID != "" && req.RevisionGUID != "":
		return platform.Invalidf("Cannot set both fields 'droplet' and 'revision'")
	case req.Label != "":
		if err := platform.CheckLabel(req.Label); err != nil {
			return err
		}
	}
	return checkShadowOptions(req.Shadow)
}

// insertVersion writes the rows of a version: revision, deployment, version.
func (e *Engine) insertVersion(ctx context.Context, tx *store.Tx, who platform.Actor, app platform.App, req platform.VersionRequest) (platform.Version, error) {
	all, err := versionsOf(ctx, tx, app.GUID)
	if err != nil {
		return platform.Version{}, err
	}
	main, ok := mainOf(all)
	if !ok || app.State != platform.AppStarted {
		return platform.Version{}, &platform.Error{
			Kind: platform.KindInvalid, Title: titleRefused, Msg: fmt.Sprintf("app %q does not run, so it has no version to stand beside", app.Name),
			Hint: "the first version is the main one: push or start the app",
		}
	}
	if err := e.makeRoom(ctx, tx, app, all, req); err != nil {
		return platform.Version{}, err
	}
	c, err := versionCandidate(ctx, tx, app, req)
	if err != nil {
		return platform.Version{}, err
	}
	if err := c.checkStartable(app); err != nil {
		return platform.Version{}, err
	}
	rev, err := e.ensureRevision(ctx, tx, who, app, c, "")
	if err != nil {
		return platform.Version{}, err
	}
	label := cmp.Or(req.Label, freeLabel(all, rev.Version))
	now := time.Now().UTC()
	d := platform.Deployment{
		Resource: platform.NewResource(now), AppGUID: app.GUID, Strategy: platform.StrategyVersion, Label: label,
		Value: platform.DeploymentFinalized, Reason: platform.ReasonDeployed, RevisionGUID: rev.GUID, RevisionVersion: rev.Version,
		DropletGUID: c.droplet.GUID, MaxInFlight: 1, StatusChanged: now, CreatedBy: who,
	}
	if err := tx.InsertDeployment(ctx, d); err != nil {
		return platform.Version{}, err
	}
	v := platform.Version{
		Resource: platform.NewResource(now), AppGUID: app.GUID, Label: label, Labelled: true, DeploymentGUID: d.GUID,
		Mode: req.Mode, Weight: req.Weight, ShadowPercent: req.ShadowPercent, Shadow: req.Shadow,
		Instances: max(1, main.Instances), State: platform.AppStarted,
	}
	v.Metadata = req.Metadata
	if v.MadeBeside, err = settingsOf(ctx, tx, app); err != nil {
		return v, err
	}
	if req.Instances != nil {
		v.Instances = *req.Instances
	}
	if err := tx.InsertVersion(ctx, v); err != nil {
		return v, err
	}
	if v, err = tx.Version(ctx, v.GUID); err != nil {
		return v, err
	}
	return v, pruneDeployments(ctx, tx, app.GUID)
}

// makeRoom refuses a label that is taken, or takes the version that has it
// away if the request says so.
func (e *Engine) makeRoom(ctx context.Context, tx *store.Tx, app platform.App, all []platform.Version, req platform.VersionRequest) error {
	old, taken := labelled(all, req.Label)
	if req.Label == "" || !taken {
		return nil
	}
	if !req.Replace || old.Main {
		return labelTaken(app, req.Label, old)
	}
	if old.Share() > 0 {
		return refuse(fmt.Sprintf("weir weight %s:%s 0", app.Name, old.Label), "version %s of app %q has traffic and cannot be replaced", old.Label, app.Name)
	}
	if err := retireVersion(ctx, tx, old); err != nil {
		return err
	}
	return tx.DeleteVersion(ctx, old.GUID)
}

// titleRefused marks the refusals of a rule, as opposed to mistakes.
const titleRefused = "Refused"

// refuse is the answer to what a rule forbids; instead is the command that
// would do.
func refuse(instead, format string, args ...any) error {
	return &platform.Error{
		Kind: platform.KindInvalid, Title: titleRefused, Msg: fmt.Sprintf(format, args...), Hint: instead,
	}
}

// versionCandidate returns what a version is to run.
func versionCandidate(ctx context.Context, tx *store.Tx, app platform.App, req platform.VersionRequest) (candidate, error) {
	droplet := cmp.Or(req.DropletGUID, app.DropletGUID)
	var rev platform.Revision
	if req.RevisionGUID != "" {
		var err error
		if rev, err = tx.Revision(ctx, req.RevisionGUID); isNotFound(err) || err == nil && rev.AppGUID != app.GUID {
			return candidate{}, platform.Invalidf("The revision does not exist")
		} else if err != nil {
			return candidate{}, err
		}
		droplet = rev.DropletGUID
	}
	owner := app
	owner.DropletGUID = droplet
	c, err := candidateOf(ctx, tx, owner)
	if err != nil {
		return c, err
	}
	if c.droplet.AppGUID != app.GUID || c.droplet.State != platform.DropletStaged {
		return c, platform.Invalidf("Unable to run the droplet. Ensure it exists, is staged and belongs to this app.")
	}
	if req.RevisionGUID != "" {
		c.env, c.processes, c.services = rev.Env, slices.Clone(rev.Processes), rev.Services
	}
	return c, c.apply(req.Config)
}

// apply changes the configuration of a candidate.
func (c *candidate) apply(change platform.ConfigChange) error {
	if len(change.Env) > 0 {
		for name, v := range change.Env {
			if v != nil {
				if err := checkVariable(name, *v); err != nil {
					return err
				}
			}
		}
		c.env = merged(c.env, change.Env)
	}
	for i := range c.processes {
		p := &c.processes[i]
		if p.Type != platform.WebProcess {
			continue
		}
		if change.Command != nil {
			p.Command = *change.Command
		}
		scale := ScaleRequest{MemoryMB: change.MemoryMB, DiskMB: change.DiskMB}
		if err := scale.check(); err != nil {
			return err
		}
		scale.apply(p)
		if change.Health != nil {
			p.Health = *change.Health
		}
		if change.Readiness != nil {
			p.Readiness = *change.Readiness
		}
		if err := checkHealth(*p); err != nil {
			return err
		}
	}
	return nil
}

// retireVersion takes the instances of a version beside the main one out of
// what the route table is made from; the planner stops them.
func retireVersion(ctx context.Context, tx *store.Tx, v platform.Version) error {
	instances, _, err := tx.Instances(ctx, store.Query{In: map[string][]string{"deployment_guids": {v.DeploymentGUID}}})
	if err != nil {
		return err
	}
	for _, i := range instances {
		if i.State == platform.InstanceStopping {
			continue
		}
		i.State, i.Since, i.Ready = platform.InstanceStopping, time.Now().UTC(), false
		if err := tx.UpdateInstance(ctx, i); err != nil {
			return err
		}
	}
	return nil
}
