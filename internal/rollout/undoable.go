package rollout

import (
	"context"
	"fmt"

	"weir/internal/platform"
	"weir/internal/store"
)

// undoing is what the next undo takes back: one change or all of a rollout.
type undoing struct {
	// Change goes from before the first part to after the last one.
	platform.Change
	parts []platform.Change // newest first
	app   string            // its name, for hints
	what  string            // "table 41", "rollout r-3 (tables 41 to 44)"
}

// undoable returns the newest change of an app's traffic that was not undone, and
// of which something is left.
func undoable(ctx context.Context, tx *store.Tx, app platform.App) (undoing, error) {
	open := map[string][]string{"apps": {app.GUID}, "undone": {"false"}}
	for page := 1; ; page++ {
		found, _, err := tx.Changes(ctx, store.Query{In: open, OrderBy: "table", Desc: true, PerPage: 1, Page: page})
		if err != nil {
			return undoing{}, err
		}
		if len(found) == 0 {
			return undoing{}, &platform.Error{
				Kind: platform.KindNotFound, Msg: fmt.Sprintf("app %q has no change of traffic to undo", app.Name),
				Hint: "weir rollback " + app.Name + " goes back to an earlier state",
			}
		}
		if found[0].RolloutGUID != "" {
			return wholeRollout(ctx, tx, app, found[0])
		}
		if gone, err := isGone(ctx, tx, found[0]); err != nil || !gone {
			return undoing{Change: found[0], parts: found, app: app.Name, what: fmt.Sprintf("table %d", found[0].Table)}, err
		}
	}
}

// isGone reports whether all that a change was about are routes that do not
// exist any more.
func isGone(ctx context.Context, tx *store.Tx, c platform.Change) (bool, error) {
	versions := platform.TrafficState{Versions: c.Before.Versions}
	if len(c.Before.Routes) == 0 || !sameState(versions, platform.TrafficState{Versions: c.After.Versions}) {
		return false, nil
	}
	for _, r := range c.Before.Routes {
		if _, err := tx.Route(ctx, r.GUID); !isNotFound(err) {
			return false, err
		}
	}
	return true, nil
}

// wholeRollout returns all of the rollout whose last step was last: who undoes it
// wants what was before it, not its last step but one.
func wholeRollout(ctx context.Context, tx *store.Tx, app platform.App, last platform.Change) (undoing, error) {
	parts, err := stepsOf(ctx, tx, last.RolloutGUID)
	if err != nil {
		return undoing{}, err
	}
	all := undoing{Change: last, parts: parts, app: app.Name, what: "the rollout"}
	first := parts[len(parts)-1]
	all.Before = first.Before
	row, err := tx.Rollout(ctx, last.RolloutGUID)
	switch {
	case isNotFound(err): // of long ago
	case err != nil:
		return undoing{}, err
	case !row.State.IsOver():
		return undoing{}, &platform.Error{
			Kind: platform.KindConflict, Msg: fmt.Sprintf("the newest change of traffic, table %d, is a step of rollout r-%d, which is on its way", last.Table, row.Number),
			Hint: fmt.Sprintf("weir rollout abort %s takes all of it back, weir rollout pause %s keeps it where it is", app.Name, app.Name),
		}
	default:
		all.what = fmt.Sprintf("rollout r-%d", row.Number)
	}
	if len(parts) > 1 {
		all.what += fmt.Sprintf(" (tables %d to %d)", first.Table, last.Table)
	} else {
		all.what += fmt.Sprintf(" (table %d)", last.Table)
	}
	return all, nil
}

// stepsOf returns the changes of traffic of a rollout that were not undone,
// newest first.
func stepsOf(ctx context.Context, tx *store.Tx, rollout string) ([]platform.Change, error) {
	all, _, err := tx.Changes(ctx, store.Query{
		In: map[string][]string{"rollouts": {rollout}, "undone": {"false"}}, OrderBy: "table", Desc: true,
	})
	return all, err
}

// passOver leaves a rollout that goes back by itself out of what there is to
// undo.
func passOver(ctx context.Context, tx *store.Tx, rollout string) error {
	steps, err := stepsOf(ctx, tx, rollout)
	if err != nil {
		return err
	}
	for _, c := range steps {
		c.Undone = true
		if err := tx.UpdateChange(ctx, c); err != nil {
			return err
		}
	}
	return nil
}
