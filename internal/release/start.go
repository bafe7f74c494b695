package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
)

// Request asks for a rollout. At most one of DropletGUID and RevisionGUID is
// set; neither means the app's droplet.
type Request struct {
	AppGUID      string `json:"app_guid"`
	DropletGUID  string `json:"droplet_guid,omitempty"`
	RevisionGUID string `json:"revision_guid,omitempty"`
	// VersionGUID takes a version that is there already for the candidate, and is
	// all that is said of it. Neither it nor the one before is taken away
	// afterwards.
	VersionGUID string `json:"version_guid,omitempty"`
	Label       string `json:"label,omitempty"`
	// Instances 0 means as many as the main version has.
	Instances int  `json:"instances,omitempty"`
	Plan      Plan `json:"plan"`
	// Replace lets the candidate take the label of a version without requests.
	Replace bool `json:"replace,omitempty"`
	// Config is what of the app's configuration the candidate has otherwise.
	Config platform.ConfigChange `json:"config,omitzero"`
	// Metadata is the candidate's.
	Metadata platform.Metadata `json:"metadata,omitzero"`
	// Retried is the number of the rollout that this is once more. Owned says that
	// the version was made for that one: it is taken away afterwards as it would
	// have been.
	Retried int  `json:"retried,omitempty"`
	Owned   bool `json:"owned,omitempty"`
}

// Start begins a rollout and returns once that is written down.
func (e *Engine) Start(ctx context.Context, who platform.Actor, req Request) (platform.Rollout, error) {
	if err := req.Plan.complete(); err != nil {
		return platform.Rollout{}, err
	}
	defer e.alone(req.AppGUID)()
	app, err := e.cfg.Store.App(ctx, req.AppGUID)
	if err != nil {
		return platform.Rollout{}, err
	}
	active, err := e.mayBegin(ctx, app, &req.Plan)
	if err != nil {
		return platform.Rollout{}, err
	}
	// What cannot begin must be refused before another rollout gives way to it.
	all := &req.Instances
	if *all == 0 {
		all = nil
	}
	if err := e.cfg.Versions.CheckVersion(ctx, who, req.version(all), candidates(active)...); err != nil {
		return platform.Rollout{}, err
	}
	if len(active) > 0 && req.Plan.Concurrency == "queue" {
		return e.queue(ctx, who, req)
	}
	for _, old := range active {
		if err := e.supersede(ctx, who, old); err != nil {
			return platform.Rollout{}, err
		}
	}
	if later, err := e.isGoingBack(ctx, active); err != nil {
		return platform.Rollout{}, err
	} else if later {
		return e.queue(ctx, who, req)
	}
	return e.begin(ctx, who, req, platform.Rollout{})
}

// version is what the candidate is to be, with as many instances.
func (r *Request) version(instances *int) platform.VersionRequest {
	return platform.VersionRequest{
		AppGUID: r.AppGUID, DropletGUID: r.DropletGUID, RevisionGUID: r.RevisionGUID,
		VersionGUID: r.VersionGUID, Label: r.Label, Instances: instances, Replace: r.Replace, Config: r.Config, Metadata: r.Metadata,
	}
}

// candidates returns the versions that rollouts bring.
func candidates(all []platform.Rollout) (versions []string) {
	for _, r := range all {
		if r.ToGUID != "" {
			versions = append(versions, r.ToGUID)
		}
	}
	return versions
}

// alone waits until nobody else begins a rollout of an app, or ends one that
// waits, and keeps it so until unlock.
func (e *Engine) alone(app string) (unlock func()) {
	e.mu.Lock()
	lock := e.starting[app]
	if lock == nil {
		lock = &sync.Mutex{}
		e.starting[app] = lock
	}
	e.mu.Unlock()
	lock.Lock()
	return lock.Unlock
}

// Check refuses a plan with which no rollout of the app could begin now, before
// something is built for it. Of an app that does not run the plan is for later.
func (e *Engine) Check(ctx context.Context, appGUID string, plan Plan) error {
	if err := plan.complete(); err != nil {
		return err
	}
	app, err := e.cfg.Store.App(ctx, appGUID)
	if err != nil || app.State != platform.AppStarted {
		return err
	}
	_, err = e.mayBegin(ctx, app, &plan)
	return err
}

// mayBegin refuses a rollout that freezes forbid, one of an app without
// instances, or its plan because of others on their way, and returns those.
func (e *Engine) mayBegin(ctx context.Context, app platform.App, plan *Plan) ([]platform.Rollout, error) {
	if frozen, err := e.frozen(ctx, app.SpaceGUID, plan); err != nil {
		return nil, err
	} else if frozen != "" {
		return nil, &platform.Error{
			Kind: platform.KindInvalid, Title: titleRefused, Msg: fmt.Sprintf("app %q: %s", app.Name, frozen),
			Hint: `wait, or push with --hotfix "reason"`,
		}
	}
	versions, err := e.cfg.Versions.Versions(ctx, app.GUID)
	if err != nil {
		return nil, err
	}
	for _, v := range versions {
		if v.Main && v.Wanted == 0 {
			return nil, &platform.Error{
				Kind: platform.KindInvalid, Title: titleRefused,
				Msg:  fmt.Sprintf("app %q is scaled to 0 instances: there is nobody to compare a new version with", app.Name),
				Hint: fmt.Sprintf("weir scale %s -i 1, or push without a rollout: --strategy rolling", app.Name),
			}
		}
	}
	active, err := e.active(ctx, app.GUID)
	if len(active) > 0 && plan.Concurrency == "refuse" {
		return nil, &platform.Error{
			Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q has rollout r-%d on its way (%s is %s)", app.Name, active[0].Number, active[0].ToLabel, active[0].State),
			Hint: fmt.Sprintf("weir rollout watch %s waits until it is over; --concurrency supersede takes its place, queue waits for it", app.Name),
		}
	}
	return active, err
}

// titleRefused marks the refusals of a rule, as opposed to mistakes.
const titleRefused = "Refused"

// active returns the rollouts of an app that are not over, the oldest first.
func (e *Engine) active(ctx context.Context, app string) ([]platform.Rollout, error) {
	all, _, err := e.cfg.Store.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {app}, "active": {"true"}}})
	return all, err
}

// supersede ends a rollout because another one takes its place.
func (e *Engine) supersede(ctx context.Context, who platform.Actor, old platform.Rollout) error {
	if old.State == platform.RolloutQueued {
		return e.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
			old.State, old.Reason, old.Since = platform.RolloutSuperseded, "another rollout was started", e.cfg.Now().UTC()
			return e.transition(ctx, tx, who, old, old.Reason, nil)
		})
	}
	err := e.tell(ctx, old.GUID, func(ctx context.Context, c *conductor) error {
		return c.giveWay(ctx, who)
	})
	if err == errNotRunning { // it ended meanwhile, or the engine does not run
		row, err := e.cfg.Store.Rollout(ctx, old.GUID)
		if err != nil || row.State.IsOver() {
			return err
		}
		return errNotRunning
	}
	return err
}

// isGoingBack reports whether one of the rollouts that gave way has requests that
// wait for instances to return to.
func (e *Engine) isGoingBack(ctx context.Context, all []platform.Rollout) (bool, error) {
	for _, r := range all {
		row, err := e.cfg.Store.Rollout(ctx, r.GUID)
		if err != nil {
			return false, err
		}
		if row.State != platform.RolloutRollingBack {
			continue
		}
		if p, err := readProgress(row.Progress); err != nil || p.isGoingBack() {
			return true, err
		}
	}
	return false, nil
}

// queue writes down a rollout that begins when the others are over.
func (e *Engine) queue(ctx context.Context, who platform.Actor, req Request) (row platform.Rollout, err error) {
	err = e.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if row, err = e.newRow(ctx, tx, who, req); err != nil {
			return err
		}
		row.State, row.Reason = platform.RolloutQueued, "another rollout has to end first"
		p := Progress{Request: &req}
		row.Progress = p.text()
		if err := tx.InsertRollout(ctx, row); err != nil {
			return err
		}
		return e.event(ctx, tx, who, row, "queued", nil)
	})
	return row, err
}

// startQueued begins the oldest rollout that waits, if none is on its way.
func (e *Engine) startQueued(ctx context.Context, app string) {
	defer e.alone(app)()
	active, err := e.active(ctx, app)
	if err != nil || len(active) == 0 || slices.ContainsFunc(active, func(r platform.Rollout) bool { return r.State != platform.RolloutQueued }) {
		return
	}
	row := active[0]
	p, err := readProgress(row.Progress)
	if err == nil && p.Request != nil {
		_, err = e.begin(ctx, row.CreatedBy, *p.Request, row)
	}
	if err != nil {
		e.log.Warn("a queued rollout could not begin", "app", app, "rollout", row.GUID, "err", err)
		row.State, row.Reason, row.Since = platform.RolloutAborted, "it could not begin: "+err.Error(), e.cfg.Now().UTC()
		err := e.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return e.transition(ctx, tx, platform.System, row, row.Reason, nil) })
		if err != nil {
			e.log.Error("a rollout's row could not be written", "app", app, "err", err)
		}
	}
}

// newRow returns the row of a rollout to come.
func (e *Engine) newRow(ctx context.Context, tx *store.Tx, who platform.Actor, req Request) (platform.Rollout, error) {
	last, _, err := tx.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {req.AppGUID}}, OrderBy: "number", Desc: true, PerPage: 1})
	if err != nil {
		return platform.Rollout{}, err
	}
	now := e.cfg.Now().UTC()
	row := platform.Rollout{
		Resource: platform.NewResource(now), AppGUID: req.AppGUID, Number: 1, ToLabel: req.Label, DropletGUID: req.DropletGUID,
		Since: now, CreatedBy: who, Plan: planText(&req.Plan),
	}
	if len(last) > 0 {
		row.Number = last[0].Number + 1
	}
	mains, _, err := tx.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {req.AppGUID}, "main": {"true"}}})
	if err == nil && len(mains) > 0 {
		row.FromGUID, row.FromLabel = mains[0].GUID, mains[0].Label
	}
	return row, err
}

// begin starts the candidate and writes the rollout down in one transaction.
// queued is its row if there is one already.
func (e *Engine) begin(ctx context.Context, who platform.Actor, req Request, queued platform.Rollout) (platform.Rollout, error) {
	sticky, err := e.isSticky(ctx, req.AppGUID)
	if err != nil {
		return platform.Rollout{}, err
	}
	versions, err := e.cfg.Versions.Versions(ctx, req.AppGUID)
	if err != nil {
		return platform.Rollout{}, err
	}
	p := Progress{Instances: req.Instances}
	isThere := req.VersionGUID != ""
	p.Taken = isThere && !req.Owned
	for _, v := range versions {
		if v.Main {
			p.Weight = v.Weight
		}
		if v.Main && !isThere || v.GUID == req.VersionGUID {
			p.Instances = cmp.Or(p.Instances, v.Instances)
		}
	}
	p.Instances = max(p.Instances, 1)
	w := world{plan: &req.Plan, p: &p}
	first := w.need(0)
	var row platform.Rollout
	_, err = e.cfg.Versions.StartVersion(ctx, who, req.version(&first), func(tx *store.Tx, v platform.Version) error {
		if row, err = e.newRow(ctx, tx, who, req); err != nil {
			return err
		}
		if queued.GUID != "" {
			row.Resource, row.Number = queued.Resource, queued.Number
			row.UpdatedAt = e.cfg.Now().UTC()
		}
		row.ToGUID, row.ToLabel, row.DropletGUID, row.State = v.GUID, v.Label, v.DropletGUID, platform.RolloutStarting
		j := judge.New(req.Plan.JudgeConfig(sticky, p.Instances))
		if row.Judge, err = j.MarshalBinary(); err != nil {
			return err
		}
		row.Progress = p.text()
		write := tx.InsertRollout
		if queued.GUID != "" {
			write = tx.UpdateRollout
		}
		if err := write(ctx, row); err != nil {
			return err
		}
		if err := prune(ctx, tx, row.AppGUID); err != nil {
			return err
		}
		text := fmt.Sprintf("starting %s of %s", instances(first), v.Label)
		if isThere {
			text = v.Label + " is there already"
			if err := keepOn(ctx, tx, row); err != nil {
				return err
			}
		}
		if req.Retried > 0 {
			text = fmt.Sprintf("rollout r-%d once more: %s", req.Retried, text)
		}
		if req.Plan.Hotfix != "" {
			text += ", as a hotfix: " + req.Plan.Hotfix
		}
		return e.event(ctx, tx, who, row, text, map[string]any{"hotfix": req.Plan.Hotfix})
	})
	if err != nil {
		return platform.Rollout{}, err
	}
	e.kept.forget(req.VersionGUID)
	e.cfg.Line(row.AppGUID, fmt.Sprintf("Rollout r-%d: %s is to replace %s", row.Number, row.ToLabel, row.FromLabel))
	return row, e.conduct(row, false)
}

func instances(n int) string {
	if n == 1 {
		return "1 instance"
	}
	return fmt.Sprintf("%d instances", n)
}

// keptPerApp bounds how many rollouts an app remembers.
const keptPerApp = 50

func prune(ctx context.Context, tx *store.Tx, app string) error {
	old, n, err := tx.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {app}, "active": {"false"}}, OrderBy: "number", PerPage: 10, Page: 1})
	if err != nil {
		return err
	}
	for i := 0; i < len(old) && n-i > keptPerApp; i++ {
		if err := tx.DeleteRollout(ctx, old[i].GUID); err != nil {
			return err
		}
	}
	return nil
}

// isSticky reports whether clients of the app stay with a version.
func (e *Engine) isSticky(ctx context.Context, app string) (bool, error) {
	routes, _, err := e.cfg.Store.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": {app}}})
	for _, r := range routes {
		if s := r.Options["sticky"]; s != "" && s != "off" {
			return true, err
		}
	}
	return false, err
}

// frozen says which freeze forbids to go on now; empty: none does.
func (e *Engine) frozen(ctx context.Context, space string, plan *Plan) (string, error) {
	if plan.Hotfix != "" {
		return "", nil
	}
	windows := slices.Clone(plan.Freeze)
	reasons := map[string]string{}
	all, _, err := e.cfg.Store.Freezes(ctx, store.Query{In: map[string][]string{"space_guids": {"", space}}})
	if err != nil {
		return "", err
	}
	for _, f := range all {
		windows = append(windows, f.Window)
		reasons[f.Window] = f.Reason
	}
	return frozenAt(e.cfg.Now(), windows, reasons), nil
}

func frozenAt(now time.Time, windows []string, reasons map[string]string) string {
	for _, text := range windows {
		w, err := ParseWindow(text)
		if err != nil || !w.Contains(now) {
			continue
		}
		s := "nothing is released during the freeze " + text
		if r := reasons[text]; r != "" {
			s += " (" + r + ")"
		}
		return s
	}
	return ""
}
