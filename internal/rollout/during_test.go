package rollout

import (
	"maps"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// rolloutRow writes a rollout of v2 in that state down.
func (b *bench) rolloutRow(app platform.App, state platform.RolloutState) platform.Rollout {
	b.Helper()
	row := platform.Rollout{
		Resource: platform.NewResource(time.Now().UTC()), AppGUID: app.GUID, Number: 7, FromLabel: "v1", ToLabel: "v2", State: state, CreatedBy: anna,
	}
	b.must(b.db.Tx(b.Context(), func(tx *store.Tx) error { return tx.InsertRollout(b.Context(), row) }))
	return row
}

// What a rollout compares its candidate with must stay what it is.
func TestDeploy_LeavesTheStableVersionOfARolloutAlone(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	next := b.droplet(app, "two")
	row := b.rolloutRow(app, platform.RolloutBaking)
	_, pushed := b.e.Deploy(t.Context(), anna, DeployRequest{AppGUID: app.GUID, DropletGUID: next.GUID})
	_, back := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID}, nil)
	for what, err := range map[string]error{"push": pushed, "rollback": back} {
		if platform.KindOf(err) != platform.KindConflict || !strings.Contains(err.Error(), "rollout r-7 of v2 on its way") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if a, err := b.db.App(t.Context(), app.GUID); err != nil || a.DropletGUID == next.GUID {
		t.Errorf("the refused push left its droplet: %v", err)
	}
	if _, err := b.e.Deploy(t.Context(), anna, DeployRequest{AppGUID: app.GUID}); err != nil {
		t.Errorf("a restart is no other version: %v", err)
	}
	row.State = platform.RolloutAborted
	b.must(b.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.UpdateRollout(t.Context(), row) }))
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: next.GUID}))
}

// A restart brings along what was set since the last one.
func TestRestart_BringsNoSettingsAlongDuringARollout(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	live := "live"
	b.version(app, "v2", func(r *platform.VersionRequest) { r.Config.Env = map[string]*string{"SIDE": &live} })
	row := b.rolloutRow(app, platform.RolloutBaking)
	_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"MODE": &live})
	b.must(err)
	_, _, restarted := b.e.Restart(t.Context(), anna, app.GUID)
	_, deployed := b.e.Deploy(t.Context(), anna, DeployRequest{AppGUID: app.GUID})
	for what, err := range map[string]error{"restart": restarted, "deployment": deployed} {
		if platform.KindOf(err) != platform.KindConflict || !strings.Contains(err.Error(), "rollout r-7 of v2 on its way") {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"MODE": nil})
	b.must(err)
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID})) // though the newest revision is that of v2

	_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"MODE": &live})
	b.must(err)
	row.State = platform.RolloutDone
	b.must(b.db.Tx(t.Context(), func(tx *store.Tx) error { return tx.UpdateRollout(t.Context(), row) }))
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID}))
}

func TestDeploy_DoesNotWaitForQueuedRollouts(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	b.rolloutRow(app, platform.RolloutQueued)
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID, DropletGUID: b.droplet(app, "two").GUID}))
}

// Whoever has seen the newest table may change it, though somebody said what
// was so already meanwhile.
func TestSetShares_WhatIsSoAlreadyTakesNoTable(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v2 := b.version(app, "v2", nil)
	made := b.setShares(app, map[string]int{"v2": 10})
	if again := b.setShares(app, map[string]int{"v2": 10}); again.Table != made.Table || made.Table == 0 {
		t.Errorf("table %d, then %d", made.Table, again.Table)
	}
	_, err := b.e.SetShares(t.Context(), anna, app.GUID, map[string]int{v2.GUID: 20}, platform.SplitOptions{IfTable: made.Table}, nil)
	b.must(err)
	if _, err := b.e.ReturnTo(t.Context(), anna, app.GUID, 1<<40, platform.SplitOptions{}); !isNotFound(err) {
		t.Errorf("it went back to a table that there never was: %v", err)
	}
}

// An app keeps old versions for a while: those that nobody spoke of are not
// listed with each change.
func TestSetShares_SpeaksOfVersionsThatGetSomething(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	for _, label := range []string{"old", "v2", "v3"} {
		b.version(app, label, nil)
	}
	if c := b.setShares(app, map[string]int{"v2": 10, "v3": 0}); c.Text != "Set the weights of app shop to v1 100, v2 10, v3 0" {
		t.Errorf("it says %q", c.Text)
	}
}

// What was set after a version was made waits for the next start, as it was told
// to, however that version comes to be the main one.
func TestPromote_KeepsWhatWasSetSinceTheVersionWasMade(t *testing.T) {
	for _, why := range []string{"rollout", "assign", "promote"} {
		t.Run(why, func(t *testing.T) {
			promoteAfterSettings(t, func(b *bench, app platform.App, next platform.Version) error {
				_, err := b.e.Promote(t.Context(), anna, app.GUID, next.GUID, platform.SplitOptions{Why: why}, nil)
				return err
			})
		})
	}
	t.Run("weight", func(t *testing.T) {
		promoteAfterSettings(t, func(b *bench, app platform.App, next platform.Version) error {
			shares := map[string]int{b.main(app).GUID: 0, next.GUID: 100}
			_, err := b.e.SetShares(t.Context(), anna, app.GUID, shares, platform.SplitOptions{}, nil)
			return err
		})
	})
}

// promoteAfterSettings makes a version, changes settings of its app, has promote
// make it the main version, and looks at the settings then.
func promoteAfterSettings(t *testing.T, promote func(b *bench, app platform.App, next platform.Version) error) {
	b := newBench(t)
	app := b.shop()
	set := func(vars map[string]*string) {
		t.Helper()
		_, err := b.e.SetEnv(t.Context(), anna, app.GUID, vars)
		b.must(err)
	}
	one, two, three := "1", "2", "3"
	set(map[string]*string{"OLD": &one, "BOTH": &one})
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID}))
	next := b.version(app, "next", func(r *platform.VersionRequest) {
		r.Config.Env = map[string]*string{"SIDE": &two, "BOTH": &two}
	})
	set(map[string]*string{"OLD": nil, "LATE": &three, "BOTH": &three})
	service, err := b.e.CreateServiceInstance(t.Context(), anna, platform.ServiceInstance{SpaceGUID: app.SpaceGUID, Name: "db"})
	b.must(err)
	_, err = b.e.CreateServiceBinding(t.Context(), anna, platform.ServiceBinding{AppGUID: app.GUID, ServiceInstanceGUID: service.GUID})
	b.must(err)
	_, err = b.e.UpdateProcess(t.Context(), anna, app.GUID, func(p *platform.Process) error {
		p.Health.InvocationTimeout = 7
		return nil
	})
	b.must(err)

	b.must(promote(b, app, next))
	row, err := b.db.App(t.Context(), app.GUID)
	b.must(err)
	if want := map[string]string{"SIDE": "2", "BOTH": "3", "LATE": "3"}; !maps.Equal(row.Env, want) {
		t.Errorf("the settings of the next start are %v, want %v", row.Env, want)
	}
	bindings, _, err := b.db.ServiceBindings(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}})
	if err != nil || len(bindings) != 1 {
		t.Errorf("bound are %v, %v", bindings, err)
	}
	if p, err := b.db.Process(t.Context(), app.GUID); err != nil || p.Health.InvocationTimeout != 7 {
		t.Errorf("the health check is %+v, %v", p.Health, err)
	}
	ran, err := b.db.Revision(t.Context(), b.main(app).RevisionGUID)
	b.must(err)
	if want := map[string]string{"SIDE": "2", "BOTH": "2", "OLD": "1"}; !maps.Equal(ran.Env, want) {
		t.Errorf("the version runs with %v, want %v", ran.Env, want)
	}
}

// Whoever goes back wants the settings as they were.
func TestGoingBack_DropsWhatWasSetSince(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	v1 := b.main(app)
	next := b.version(app, "v2", nil)
	late := "1"
	for what, back := range map[string]func() error{
		"undo": func() error {
			_, err := b.e.Undo(t.Context(), anna, app.GUID, platform.SplitOptions{})
			return err
		},
		"rollback": func() error {
			_, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, VersionGUID: v1.GUID}, nil)
			return err
		},
	} {
		_, err := b.e.Promote(t.Context(), anna, app.GUID, next.GUID, platform.SplitOptions{}, nil)
		b.must(err)
		_, err = b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{"LATE": &late})
		b.must(err)
		b.must(back())
		if row, err := b.db.App(t.Context(), app.GUID); err != nil || row.Env["LATE"] != "" {
			t.Errorf("after %s the settings are %v, %v", what, row.Env, err)
		}
	}
}

// Of a setting that was changed before a version was made and after it, the last
// word counts, also if it is what runs.
func TestPromote_TheLastWordOnASettingCounts(t *testing.T) {
	b := newBench(t)
	app := b.shop()
	set := func(name, value string) {
		t.Helper()
		_, err := b.e.SetEnv(t.Context(), anna, app.GUID, map[string]*string{name: &value})
		b.must(err)
	}
	wants := func(when string, want map[string]string) {
		t.Helper()
		row, err := b.db.App(t.Context(), app.GUID)
		b.must(err)
		if !maps.Equal(row.Env, want) {
			t.Errorf("%s the settings are %v, want %v", when, row.Env, want)
		}
	}
	assign := func(v platform.Version) {
		t.Helper()
		_, err := b.e.Promote(t.Context(), anna, app.GUID, v.GUID, platform.SplitOptions{Why: "assign"}, nil)
		b.must(err)
	}
	set("K", "1")
	set("BACK", "1")
	b.deployed(b.deploy(DeployRequest{AppGUID: app.GUID}))
	v1 := b.main(app)
	set("K", "2")
	set("BACK", "2")
	v2 := b.version(app, "two", nil)
	five := "5"
	v3 := b.version(app, "three", func(r *platform.VersionRequest) { r.Config.Env = map[string]*string{"K": &five, "V3": &five} })
	set("K", "3")
	set("BACK", "1")
	assign(v2)
	wants("with v2", map[string]string{"K": "3", "BACK": "1"})
	// What became so by a change of versions was set by nobody: v3 keeps its own.
	_, err := b.e.RollBack(t.Context(), anna, RollBackRequest{AppGUID: app.GUID, VersionGUID: v1.GUID}, nil)
	b.must(err)
	wants("back at v1", map[string]string{"K": "1", "BACK": "1"})
	assign(v3)
	wants("with v3", map[string]string{"K": "5", "BACK": "1", "V3": "5"})
	set("K", "6")
	assign(v1)
	wants("with v1 again", map[string]string{"K": "6", "BACK": "1"})
}
