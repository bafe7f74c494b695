package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
)

// The main version has its app's deployment and scale and, unless it was given
// a label, one made of its revision's number; others have their own.
func TestVersions_TheMainOneIsWhatItsAppSays(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, filepath.Join(t.TempDir(), "weir.db"))
	f := full(t, s)
	main := platform.Version{
		Resource: platform.NewResource(start), AppGUID: f.App.GUID, Main: true,
		Mode: platform.ModeLive, Weight: 100, State: platform.AppStarted,
	}
	side := platform.Version{
		Resource: platform.NewResource(start), AppGUID: f.App.GUID, Label: "2.0.0", Labelled: true, DeploymentGUID: f.Deployment.GUID,
		Mode: platform.ModeShadow, Weight: 5, ShadowPercent: 20, Instances: 3, State: platform.AppStopped,
		Match: []platform.Match{{Header: "X-Ring", Exact: "0"}},
	}
	must(t, s.InsertVersion(ctx, main))
	must(t, s.InsertVersion(ctx, side))
	main.Label, main.DeploymentGUID, main.Instances = "v4", f.Deployment.GUID, f.Process.Instances
	for _, v := range []*platform.Version{&main, &side} {
		v.RevisionGUID, v.RevisionVersion, v.DropletGUID = f.Revision.GUID, f.Revision.Version, f.Droplet.GUID
	}
	got, _, err := s.Versions(ctx, store.Query{In: map[string][]string{"app_guids": {f.App.GUID}}})
	must(t, err)
	if d := cmp.Diff([]platform.Version{main, side}, got); d != "" {
		t.Error(d)
	}
	side.Label = "other"
	side.GUID = platform.NewGUID()
	must(t, s.InsertVersion(ctx, side))
	side.GUID = platform.NewGUID()
	if err := s.InsertVersion(ctx, side); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("the same label twice: %v", err)
	}
	main.GUID, main.Labelled = platform.NewGUID(), false
	if err := s.InsertVersion(ctx, main); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("a second main version: %v", err)
	}
}

// Apps of an older weir have their one version after the upgrade.
func TestVersions_AnUpgradeMakesOneOfEachAppThatRan(t *testing.T) {
	text, err := os.ReadFile("testdata/v1.sql")
	must(t, err)
	path := filepath.Join(t.TempDir(), "weir.db")
	rawExec(t, path, string(text))
	s := openAt(t, path)
	f := newDumpFixture()
	got, _, err := s.Versions(t.Context(), store.Query{})
	must(t, err)
	if len(got) != 1 || !got[0].Main || got[0].AppGUID != f.App.GUID || got[0].DeploymentGUID != f.Deployment.GUID ||
		got[0].Weight != 100 || got[0].Label != "v4" || got[0].Instances != f.Process.Instances {
		t.Errorf("versions: %+v", got)
	}
}

func TestPromotionsAndChanges_ReadBackAsWritten(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, filepath.Join(t.TempDir(), "weir.db"))
	f := full(t, s)
	by := platform.Actor{GUID: "u", Name: "admin", Type: "user"}
	weight := 0
	p := platform.Promotion{
		Resource: platform.NewResource(start), AppGUID: f.App.GUID, VersionGUID: "v", Label: "v2", RevisionGUID: "r",
		RevisionVersion: 2, Table: 7, How: "promote", RolledBack: true, By: by,
	}
	c := platform.Change{
		Resource: platform.NewResource(start), SpaceGUID: f.Space.GUID, Apps: []string{f.App.GUID}, Verb: "swap", Text: "swapped", Table: 9, Undone: true, By: by,
		Before: platform.TrafficState{Versions: []platform.VersionTraffic{{GUID: "v", AppGUID: f.App.GUID, Label: "v1", Weight: 5, Mode: "live", Main: true}}},
		After:  platform.TrafficState{Routes: []platform.RouteTraffic{{GUID: "r", URL: "a.b", Destinations: []platform.DestinationTraffic{{AppGUID: f.App.GUID, Port: 8080, Weight: &weight}}}}},
	}
	must(t, s.InsertPromotion(ctx, p))
	must(t, s.InsertChange(ctx, c))
	ps, _, err := s.Promotions(ctx, store.Query{In: map[string][]string{"app_guids": {f.App.GUID}}})
	must(t, err)
	if d := cmp.Diff([]platform.Promotion{p}, ps); d != "" {
		t.Error(d)
	}
	cs, _, err := s.Changes(ctx, store.Query{In: map[string][]string{"apps": {f.App.GUID}, "undone": {"true"}}, OrderBy: "table", Desc: true})
	must(t, err)
	if d := cmp.Diff([]platform.Change{c}, cs); d != "" {
		t.Error(d)
	}
	must(t, s.DeletePromotion(ctx, p.GUID))
	must(t, s.DeleteChange(ctx, c.GUID))
}
