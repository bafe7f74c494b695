package release

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// Retry begins a rollout once more: with the version that it was about, which is
// kept for a while, and with its plan, from the first step on and with a judge that
// knows nothing yet. One that is paused is given up for it. It is refused if the
// rollout is on its way or done, or its version is not there any more.
func (e *Engine) Retry(ctx context.Context, who platform.Actor, guid string) (platform.Rollout, error) {
	old, err := e.cfg.Store.Rollout(ctx, guid)
	if err != nil {
		return old, err
	}
	if err := e.mayRetry(ctx, old); err != nil {
		return old, err
	}
	p, err := readProgress(old.Progress)
	if err != nil {
		return old, err
	}
	req := Request{AppGUID: old.AppGUID, VersionGUID: old.ToGUID, Instances: p.Instances, Retried: old.Number, Owned: !p.Taken}
	if req.Plan, err = readPlan(old.Plan); err != nil {
		return old, err
	}
	if !old.State.IsOver() {
		if err := e.giveUp(ctx, who, old, req); err != nil {
			return old, err
		}
	}
	return e.Start(ctx, who, req)
}

// giveUpTime bounds how long Retry waits for the end of a paused rollout.
const giveUpTime = 10 * time.Second

// giveUp ends a paused rollout, if req could begin instead.
func (e *Engine) giveUp(ctx context.Context, who platform.Actor, old platform.Rollout, req Request) error {
	app, err := e.cfg.Store.App(ctx, req.AppGUID)
	if err != nil {
		return err
	}
	if _, err := e.mayBegin(ctx, app, &Plan{Freeze: req.Plan.Freeze, Hotfix: req.Plan.Hotfix}); err != nil {
		return err
	}
	if err := e.cfg.Versions.CheckVersion(ctx, who, req.version(&req.Instances), old.ToGUID); err != nil {
		return err
	}
	if err := e.supersede(ctx, who, old); err != nil {
		return err
	}
	wait, cancel := context.WithTimeout(ctx, giveUpTime)
	defer cancel()
	err = e.cfg.Store.Wait(wait, func(ctx context.Context) (bool, error) {
		row, err := e.cfg.Store.Rollout(ctx, old.GUID)
		return row.State.IsOver(), err
	})
	if err != nil && wait.Err() != nil && ctx.Err() == nil {
		return &platform.Error{
			Kind: platform.KindConflict, Msg: fmt.Sprintf("the requests of rollout r-%d return to %s as its instances get ready", old.Number, old.FromLabel),
			Hint: fmt.Sprintf("try again when it is over: weir rollout watch %s", app.Name),
		}
	}
	return err
}

// mayRetry refuses to begin a rollout once more.
func (e *Engine) mayRetry(ctx context.Context, old platform.Rollout) error {
	name := e.appName(ctx, old.AppGUID)
	state := strings.ReplaceAll(string(old.State), "-", " ")
	switch {
	case old.State == platform.RolloutDone:
		return refuse("weir push "+name+" brings the next version", "rollout r-%d is done: there is nothing to retry", old.Number)
	case !old.State.IsOver() && old.State != platform.RolloutPaused:
		return &platform.Error{
			Kind: platform.KindConflict, Msg: fmt.Sprintf("rollout r-%d is %s: it is on its way", old.Number, state),
			Hint: fmt.Sprintf("weir rollout watch %s waits until it is over", name),
		}
	case old.ToGUID == "":
		return refuse("weir push "+name+", with the same flags", "rollout r-%d never began: there is no version of it", old.Number)
	}
	active, err := e.active(ctx, old.AppGUID)
	if err != nil {
		return err
	}
	for _, r := range active {
		if r.GUID != old.GUID {
			return &platform.Error{
				Kind: platform.KindConflict, Msg: fmt.Sprintf("app %q has rollout r-%d on its way (%s is %s)", name, r.Number, cmp.Or(r.ToLabel, "its version"), r.State),
				Hint: fmt.Sprintf("weir rollout watch %s waits until it is over", name),
			}
		}
	}
	all, err := e.cfg.Versions.Versions(ctx, old.AppGUID)
	if err != nil {
		return err
	}
	for _, v := range all {
		switch {
		case v.GUID != old.ToGUID:
		case v.Main:
			return refuse("weir push "+name+" brings the next version", "version %s is the main version of app %q already: there is nothing to retry", v.Label, name)
		default:
			return nil
		}
	}
	return refuse("push it again: weir push "+name+" --version "+old.ToLabel, "version %s of rollout r-%d is gone: it was kept for a while only", old.ToLabel, old.Number)
}

// forget has a version stay that another rollout is about now.
func (k *keeper) forget(version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.till, version)
}

// keepOn notes that a rollout's candidate is not kept for one that is over any more:
// what becomes of it is up to this one.
func keepOn(ctx context.Context, tx *store.Tx, row platform.Rollout) error {
	before, _, err := tx.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {row.AppGUID}, "active": {"false"}}})
	if err != nil {
		return err
	}
	for _, r := range before {
		p, err := readProgress(r.Progress)
		if err != nil || p.Kept != row.ToGUID {
			continue
		}
		p.Kept = ""
		r.Progress = p.text()
		if err := tx.UpdateRollout(ctx, r); err != nil {
			return err
		}
	}
	return nil
}
