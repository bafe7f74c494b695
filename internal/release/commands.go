package release

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"weir/internal/platform"
	"weir/internal/store"
)

// Pause stops a rollout where it is. Its candidate keeps its share and is
// still taken back if it turns out to be worse.
func (e *Engine) Pause(ctx context.Context, who platform.Actor, guid, why string) (platform.Rollout, error) {
	return e.command(ctx, guid, func(ctx context.Context, c *conductor) error {
		switch {
		case c.row.State == platform.RolloutPaused:
			return nil
		case c.isEnding():
			return refuse("weir rollout watch "+c.e.appName(ctx, c.row.AppGUID)+" waits until it is over", "rollout r-%d is %s: it cannot be paused any more", c.row.Number, strings.ReplaceAll(string(c.row.State), "-", " "))
		}
		return c.pause(ctx, who, cmp.Or(why, "paused by "+who.Name), false)
	})
}

// Resume goes on with a paused rollout.
func (e *Engine) Resume(ctx context.Context, who platform.Actor, guid, why string) (platform.Rollout, error) {
	return e.command(ctx, guid, func(ctx context.Context, c *conductor) error {
		if c.row.State != platform.RolloutPaused {
			return nil
		}
		return c.resume(ctx, who, cmp.Or(why, "resumed by "+who.Name))
	})
}

// Promote opens the gate of a rollout's step, or leaves out what else the step
// waits for; with full it leaves out all steps that are left. Freezes and the
// judge still count.
func (e *Engine) Promote(ctx context.Context, who platform.Actor, guid string, full bool, why string) (platform.Rollout, error) {
	return e.PromoteFrom(ctx, who, guid, 0, full, why)
}

// PromoteFrom is Promote, if the rollout is still at the step that somebody has
// seen, counted from 1; 0: whatever it is at.
func (e *Engine) PromoteFrom(ctx context.Context, who platform.Actor, guid string, step int, full bool, why string) (platform.Rollout, error) {
	return e.command(ctx, guid, func(ctx context.Context, c *conductor) error {
		if step > 0 && step != c.row.Step+1 {
			return &platform.Error{
				Kind: platform.KindConflict, Msg: fmt.Sprintf("rollout r-%d is at step %d by now, no longer at step %d", c.row.Number, c.row.Step+1, step),
				Hint: "look at it again: weir rollout status " + c.e.appName(ctx, c.row.AppGUID),
			}
		}
		text := "the next step was asked for by " + who.Name
		if full {
			text = "the rest was left out by " + who.Name
		}
		return c.goOn(ctx, who, full, cmp.Or(why, text))
	})
}

// Abort takes all requests from the candidate. If the stable version has fewer
// instances than they need they follow as it gets those again; the rollout is
// rolling-back meanwhile. A rollout that is over stays as it is.
func (e *Engine) Abort(ctx context.Context, who platform.Actor, guid, why string) (platform.Rollout, error) {
	return e.abort(ctx, who, guid, why, inOrder)
}

// AbortNow is Abort that waits for no instances.
func (e *Engine) AbortNow(ctx context.Context, who platform.Actor, guid, why string) (platform.Rollout, error) {
	return e.abort(ctx, who, guid, why, atOnce)
}

func (e *Engine) abort(ctx context.Context, who platform.Actor, guid, why string, h haste) (platform.Rollout, error) {
	row, err := e.cfg.Store.Rollout(ctx, guid)
	if err != nil || row.State.IsOver() {
		return row, err
	}
	why = cmp.Or(why, "aborted by "+who.Name)
	if row.State == platform.RolloutQueued {
		if row, err = e.dequeue(ctx, who, row, why); err != nil || row.State.IsOver() {
			return row, err
		}
	}
	return e.command(ctx, guid, func(ctx context.Context, c *conductor) error {
		if c.row.State == platform.RolloutFinishing {
			return refuse("weir rollback "+c.e.appName(ctx, c.row.AppGUID)+" goes back", "rollout r-%d is through: %s is the main version", c.row.Number, c.row.ToLabel)
		}
		d := decision{verb: rollBack, step: c.row.Step, haste: h, reason: why}
		if c.row.State == platform.RolloutRollingBack {
			if h != atOnce || !c.p.isGoingBack() {
				return nil
			}
			d.reason = c.row.Reason
		}
		if h == inOrder && c.judge.Verdict().Rejected {
			d.haste = (&world{p: &c.p}).howSoon()
		}
		return c.goBack(ctx, who, d, platform.RolloutAborted)
	})
}

// dequeue ends a rollout that waits, unless it has begun meanwhile.
func (e *Engine) dequeue(ctx context.Context, who platform.Actor, row platform.Rollout, why string) (platform.Rollout, error) {
	defer e.alone(row.AppGUID)()
	row, err := e.cfg.Store.Rollout(ctx, row.GUID)
	if err != nil || row.State != platform.RolloutQueued {
		return row, err
	}
	row.State, row.Reason, row.Since = platform.RolloutAborted, why, e.cfg.Now().UTC()
	return row, e.cfg.Store.Tx(ctx, func(tx *store.Tx) error { return e.transition(ctx, tx, who, row, why, nil) })
}

// command has the conductor do something and returns the rollout afterwards.
func (e *Engine) command(ctx context.Context, guid string, do func(context.Context, *conductor) error) (row platform.Rollout, err error) {
	if row, err = e.cfg.Store.Rollout(ctx, guid); err != nil {
		return row, err
	}
	switch {
	case row.State.IsOver():
		return row, e.isOver(ctx, row)
	case row.State == platform.RolloutQueued:
		return row, refuse(fmt.Sprintf("it begins by itself; weir rollout abort %s --number %d takes it out", e.appName(ctx, row.AppGUID), row.Number),
			"rollout r-%d has not begun: %s", row.Number, row.Reason)
	}
	err = e.tell(ctx, guid, func(ctx context.Context, c *conductor) error {
		if c.row.State.IsOver() {
			return e.isOver(ctx, c.row)
		}
		err := do(ctx, c)
		row = c.row
		return err
	})
	if err == errNotRunning {
		if now, readErr := e.cfg.Store.Rollout(ctx, guid); readErr == nil && now.State.IsOver() {
			return now, e.isOver(ctx, now) // it ended meanwhile
		}
	}
	return row, err
}

// isOver refuses to change a rollout that has ended.
func (e *Engine) isOver(ctx context.Context, row platform.Rollout) error {
	hint := "the next push with a rollout begins another"
	if row.State == platform.RolloutDone {
		hint = "weir rollback " + e.appName(ctx, row.AppGUID) + " goes back"
	}
	return refuse(hint, "rollout r-%d is over: it is %s", row.Number, strings.ReplaceAll(string(row.State), "-", " "))
}

// appName returns the name that people know an app by, for the commands in a
// hint.
func (e *Engine) appName(ctx context.Context, guid string) string {
	app, err := e.cfg.Store.App(ctx, guid)
	if err != nil {
		return "APP"
	}
	return app.Name
}

// refuse is the answer to what a rule forbids; instead is what would do.
func refuse(instead, format string, args ...any) error {
	return &platform.Error{Kind: platform.KindInvalid, Title: titleRefused, Msg: fmt.Sprintf(format, args...), Hint: instead}
}
