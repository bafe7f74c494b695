package rollout

import (
	"strings"
	"testing"

	"weir/internal/platform"
)

func TestRollBack_IsATableIfTheOldStateRunsAndADeploymentIfNot(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	next := b.droplet(app, "two")
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID = next.GUID })
	_, err := b.e.Promote(t.Context(), anna, app.GUID, v2.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"PENDING": new(string)})
	b.must(err)
	back, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil)
	b.must(err)
	if back.Deployment != nil || back.Change.Table == 0 || b.main(app).Label != "v1" {
		t.Errorf("it went back by %+v to %s", back, b.main(app).Label)
	}
	row, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if len(row.Env) != 0 || row.DropletGUID == next.GUID {
		t.Errorf("the settings did not go back: %+v", row)
	}
	if _, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil); !isNotFound(err) {
		t.Errorf("it goes back to what it was rolled back from: %v", err)
	}
	_, err = b.e.DeleteVersion(t.Context(), anna, v2.GUID, false)
	b.must(err)
	back, err = b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, Label: "v2"}, nil)
	b.must(err)
	if back.Deployment == nil {
		t.Fatalf("it went back by %+v", back)
	}
	b.deployed(*back.Deployment)
	if main := b.main(app); main.DropletGUID != next.GUID || main.Label != "v2" {
		t.Errorf("main is %+v", main)
	}
}

func TestRollBack_StartsAVersionAgainThatIsStopped(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	next := b.droplet(app, "two")
	v2 := b.version(app, "v2", func(r *platform.VersionRequest) { r.DropletGUID = next.GUID })
	promote := func(v platform.Version) {
		t.Helper()
		_, err := b.e.Promote(t.Context(), anna, app.GUID, v.GUID, platform.SplitOptions{}, nil)
		b.must(err)
	}
	v1 := b.main(app)
	promote(v2)
	promote(v1)
	_, err := b.e.StopVersion(t.Context(), anna, v2.GUID, false)
	b.must(err)
	rollBack := func(req RollBackRequest) RolledBack {
		t.Helper()
		req.AppGUID, req.Restart = app.GUID, true
		back, err := b.e.RollBack(t.Context(), anna, req, nil)
		b.must(err)
		return back
	}
	state := func() platform.AppState {
		v, err := b.db.Version(t.Context(), v2.GUID)
		b.must(err)
		return v.State
	}
	back := rollBack(RollBackRequest{Label: "v2", Options: platform.SplitOptions{DryRun: true}})
	if back.Version == nil || back.Version.GUID != v2.GUID || state() != platform.AppStopped {
		t.Fatalf("a dry run: %+v, v2 is %s", back, state())
	}
	back = rollBack(RollBackRequest{Label: "v2"})
	if back.Version == nil || back.Version.GUID != v2.GUID || back.Deployment != nil || state() != platform.AppStarted {
		t.Fatalf("it went back by %+v, v2 is %s", back, state())
	}
	if got := b.main(app).Label; got != "v1" {
		t.Errorf("main is %s before v2 is healthy", got)
	}
	b.healthy(v2)
	if back = rollBack(RollBackRequest{VersionGUID: v2.GUID}); back.Change.Table == 0 || b.main(app).GUID != v2.GUID {
		t.Errorf("it went back by %+v to %s", back, b.main(app).Label)
	}
	all, err := b.e.Versions(t.Context(), app.GUID)
	if err != nil || len(all) != 2 {
		t.Errorf("versions: %+v %v", all, err)
	}

	_, err = b.e.StopVersion(t.Context(), anna, v1.GUID, false)
	b.must(err)
	d := b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "one").GUID, Strategy: platform.StrategyCanary, CanarySteps: []int{100}})
	_, err = b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, VersionGUID: v1.GUID, Restart: true}, nil)
	if platform.KindOf(err) != platform.KindConflict || !strings.Contains(err.Error(), "deployment in progress") {
		t.Errorf("during deployment %s: %v", d.GUID, err)
	}
}

// Whoever rolls back to a state that an undo left behind can go on back from
// there.
func TestRollBack_ToAStateThatWasLeftBehindKeepsThoseBefore(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	one := "1"
	next := b.version(app, "v2", func(r *platform.VersionRequest) { r.Config.Env = map[string]*string{"NEXT": &one} })
	_, err := b.e.Promote(t.Context(), anna, app.GUID, next.GUID, platform.SplitOptions{}, nil)
	b.must(err)
	first, err := b.e.Promotions(t.Context(), app.GUID)
	b.must(err)
	_, err = b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
	b.must(err)
	_, err = b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, Label: "v2"}, nil)
	b.must(err)
	back, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil)
	if err != nil || back.To.Label != first[1].Label || b.main(app).Label != first[1].Label {
		t.Errorf("it went back to %q: %v", back.To.Label, err)
	}
	if _, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil); !isNotFound(err) {
		t.Errorf("there was nothing before: %v", err)
	}
}
