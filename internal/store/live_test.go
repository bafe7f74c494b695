package store_test

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
)

func TestLiveDigests_KeepWhatCanStillBeRun(t *testing.T) {
	ctx := t.Context()
	s := open(t)
	app := insertApp(t, s, "shop")
	// Nine releases, oldest first: a package, a droplet and a revision each.
	var droplets []platform.Droplet
	for i := range 9 {
		p := platform.Package{Resource: platform.NewResource(start), AppGUID: app.GUID, State: platform.PackageReady, Digest: fmt.Sprint("p", i)}
		must(t, s.InsertPackage(ctx, p))
		d := platform.Droplet{Resource: platform.NewResource(start), AppGUID: app.GUID, PackageGUID: p.GUID, State: platform.DropletStaged, Digest: fmt.Sprint("d", i)}
		must(t, s.InsertDroplet(ctx, d))
		must(t, s.InsertRevision(ctx, platform.Revision{Resource: platform.NewResource(start), AppGUID: app.GUID, Version: i + 1, DropletGUID: d.GUID}))
		droplets = append(droplets, d)
	}
	live := func(want ...string) {
		t.Helper()
		got, err := s.LiveDropletDigests(ctx)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("droplets (-want +got):\n%s", diff)
		}
	}
	livePackages := func(want ...string) {
		t.Helper()
		got, err := s.LivePackageDigests(ctx)
		must(t, err)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
	}
	live("d4", "d5", "d6", "d7", "d8")
	livePackages("p8")

	app.DropletGUID = droplets[0].GUID // went back further than the list
	must(t, s.UpdateApp(ctx, app))
	live("d0", "d4", "d5", "d6", "d7", "d8")
	livePackages("p0", "p8")

	dep := platform.Deployment{Resource: platform.NewResource(start), AppGUID: app.GUID, Value: platform.DeploymentActive, DropletGUID: droplets[1].GUID, PreviousDropletGUID: droplets[2].GUID}
	must(t, s.InsertDeployment(ctx, dep))
	live("d0", "d1", "d2", "d4", "d5", "d6", "d7", "d8")
	dep.Value = platform.DeploymentFinalized
	must(t, s.UpdateDeployment(ctx, dep))
	live("d0", "d4", "d5", "d6", "d7", "d8")
	process := platform.NewProcess(platform.NewResource(start), app.GUID, "web")
	must(t, s.InsertProcess(ctx, process))
	must(t, s.InsertInstance(ctx, platform.Instance{GUID: "i", AppGUID: app.GUID, ProcessGUID: process.GUID, DeploymentGUID: dep.GUID}))
	live("d0", "d1", "d4", "d5", "d6", "d7", "d8")

	build := platform.Build{Resource: platform.NewResource(start), AppGUID: app.GUID, PackageGUID: droplets[3].PackageGUID, State: platform.BuildStaging}
	must(t, s.InsertBuild(ctx, build))
	livePackages("p0", "p3", "p8")
	must(t, s.InsertBuildpack(ctx, platform.Buildpack{Resource: platform.NewResource(start), Name: "mine", Digest: "b"}))
	livePackages("b", "p0", "p3", "p8")
	live("b", "d0", "d1", "d4", "d5", "d6", "d7", "d8")

	must(t, s.DeleteApp(ctx, app.GUID))
	live("b")
	livePackages("b")
	if _, n, err := s.Droplets(ctx, store.Query{}); n != 0 || err != nil {
		t.Errorf("%d droplets are left, %v", n, err)
	}
}
