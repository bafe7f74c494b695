package rollout

import (
	"context"
	"strings"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
)

// steps makes the changes of a rollout that gives v2 half of the requests, then
// all of them, and returns its row in a state.
func (b *bench) steps(app platform.App, v1, v2 platform.Version, state platform.RolloutState) platform.Rollout {
	b.Helper()
	row := b.rolloutRow(app, state)
	opt := platform.SplitOptions{Keep: true, Why: "rollout", RolloutGUID: row.GUID}
	_, err := b.e.SetShares(b.Context(), anna, app.GUID, map[string]int{v1.GUID: 500, v2.GUID: 500}, opt, nil)
	b.must(err)
	if state == platform.RolloutDone {
		_, err = b.e.Promote(b.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{Why: "rollout", RolloutGUID: row.GUID}, nil)
	}
	b.must(err)
	return row
}

// gets writes what the versions of an app get: "v1* 70, v2 30".
func (b *bench) gets(app platform.App) string {
	b.Helper()
	all, err := b.e.Versions(b.Context(), app.GUID)
	b.must(err)
	return sharesText(versionsIn(all), nil)
}

func versionsIn(all []platform.VersionStatus) (versions []platform.Version) {
	for _, v := range all {
		if v.Main {
			v.Label += "*"
		}
		versions = append(versions, v.Version)
	}
	return versions
}

// Who undoes a rollout wants the state before it, not its last step but one.
func TestUndo_OfARolloutGoesToWhatWasBefore(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1, v2 := b.main(app), b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v1": 70})
	late := "1"
	b.steps(app, v1, v2, platform.RolloutDone)
	_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"LATE": &late})
	b.must(err)
	for _, dry := range []bool{true, false} {
		c, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{DryRun: dry})
		b.must(err)
		if !strings.HasPrefix(c.Text, "Undid rollout r-7 (tables ") || !strings.HasSuffix(c.Text, ": Version v2 of app shop has all requests and is the main one") {
			t.Errorf("it says %q", c.Text)
		}
	}
	if got := b.gets(app); got != "v1* 70" {
		t.Errorf("after undo: %s", got)
	}
	if _, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil); !isNotFound(err) {
		t.Errorf("what was undone is a state to go back to: %v", err)
	}
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	if got := b.gets(app); got != "v1* 100" {
		t.Errorf("after the next undo: %s", got)
	}
}

func TestUndo_DuringARolloutNamesItsCommands(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.steps(app, b.main(app), b.version(app, "v2", nil), platform.RolloutBaking)
	_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	if e, ok := err.(*platform.Error); !ok || e.Kind != platform.KindConflict || !strings.Contains(e.Hint, "weir rollout abort shop") {
		t.Errorf("undo: %v", err)
	}
}

// A rollout that went back by itself has left nothing to undo.
func TestUndo_PassesOverARolloutThatWentBack(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1, v2 := b.main(app), b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v1": 70})
	row := b.steps(app, v1, v2, platform.RolloutBaking)
	opt := platform.SplitOptions{Keep: true, Why: verbRolloutRollback, RolloutGUID: row.GUID}
	_, err := b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{v1.GUID: 70, v2.GUID: 0}, opt, nil)
	b.must(err)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	if got := b.gets(app); got != "v1* 100" {
		t.Errorf("after undo: %s", got)
	}
}

func TestUndo_OfARolloutWhoseOldVersionIsGoneNamesRollback(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1, v2 := b.main(app), b.version(app, "v2", nil)
	b.steps(app, v1, v2, platform.RolloutDone)
	_, err := b.e.DeleteVersion(t.Context(), anna, v1.GUID, false)
	b.must(err)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	if e, ok := err.(*platform.Error); !ok || e.Kind != platform.KindConflict || !strings.Contains(e.Hint, "weir rollback shop") {
		t.Errorf("undo: %v", err)
	}
}

// A route that was deleted since must not keep the others from going back.
func TestUndo_RestoresWhatIsLeft(t *testing.T) {
	b := newBench(t)
	b.when("blue", answers("blue"))
	b.when("green", answers("green"))
	blue, green := b.app("blue", 1), b.app("green", 1)
	b.push(blue)
	b.push(green)
	both := b.mapRoute("both", blue)
	c, err := b.e.Swap(t.Context(), anna, SwapRequest{A: blue.GUID, B: green.GUID})
	b.must(err)
	b.must(b.e.DeleteRoute(t.Context(), anna, both.GUID))
	undone, err := b.e.Undo(t.Context(), anna, blue.GUID, platform.SplitOptions{})
	b.must(err)
	if !strings.HasSuffix(undone.Text, "; route both.apps.localhost does not exist any more") {
		t.Errorf("it says %q", undone.Text)
	}
	b.shares("blue.apps.localhost", "blue/1:100")
	back, err := b.e.ReturnTo(t.Context(), anna, blue.GUID, c.Table, platform.SplitOptions{})
	b.must(err)
	if !strings.HasSuffix(back.Text, "; route both.apps.localhost does not exist any more") {
		t.Errorf("it says %q", back.Text)
	}
	b.shares("blue.apps.localhost", "green/1:100")
}

// A change that was about nothing but a route that is gone is no change any more.
func TestUndo_PassesOverRoutesThatAreGone(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v1": 70, "v2": 30})
	extra := b.mapRoute("extra", app)
	b.must(b.e.DeleteRoute(t.Context(), anna, extra.GUID))
	var last undoing
	b.must(b.db.View(t.Context(), func(tx *store.Tx) (err error) {
		row, err := tx.App(context.Background(), app.GUID)
		if err == nil {
			last, err = undoable(t.Context(), tx, row)
		}
		return err
	}))
	if !strings.HasPrefix(last.Text, "Set the weights") {
		t.Errorf("undo would take back %q", last.Text)
	}
	_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	if got := b.gets(app); got != "v1* 100" {
		t.Errorf("after undo: %s", got)
	}
}

// Who pushes and types undo may mean the push, and not what was shared out before.
func TestUndo_RefusesWhatLiesBehindAPush(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.version(app, "v2", nil)
	b.setShares(app, map[string]int{"v1": 70, "v2": 30})
	b.deployed(b.restartApp(app))
	_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{DryRun: true})
	b.must(err) // it runs what it did
	b.use(app, b.droplet(app, "two"))
	b.deployed(b.restartApp(app))
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	if e, ok := err.(*platform.Error); !ok || e.Title != titleRefused || !strings.Contains(e.Hint, "weir rollback shop goes back") {
		t.Errorf("undo: %v", err)
	}
	b.setShares(app, map[string]int{"v2": 10})
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
}
