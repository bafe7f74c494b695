package stager_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/store"
	"weir/stager"
)

func TestBuild_MakesADropletOfAPackage(t *testing.T) {
	w := newWorld(t)
	app := w.app("site")
	d := w.staged(w.upload(app, map[string]string{"index.html": "hello", "Procfile": "worker: sleep 1"}))
	if d.State != platform.DropletStaged || d.AppGUID != app.GUID || d.Stack != "cflinuxfs4" || d.Size == 0 {
		t.Errorf("%+v", d)
	}
	if want := map[string]string{"web": `exec "$WEIR_EXE" static-server .`, "worker": "sleep 1"}; !cmp.Equal(d.ProcessTypes, want) {
		t.Error(cmp.Diff(want, d.ProcessTypes))
	}
	if want := []platform.DropletBuildpack{{Name: "static", BuildpackName: "static", DetectOutput: "static files (index.html)", Version: "0.1.0"}}; !cmp.Equal(d.Buildpacks, want) {
		t.Error(cmp.Diff(want, d.Buildpacks))
	}
	dir, ok := w.droplets.Tree(d.Digest)
	if !ok {
		t.Fatal("the droplet has no tree")
	}
	if data, err := os.ReadFile(filepath.Join(dir, "app/index.html")); err != nil || string(data) != "hello" {
		t.Errorf("%q, %v", data, err)
	}
	w.logHas(app.GUID, "Staging app site\n")
	w.logHas(app.GUID, "-----> Detected static: static files (index.html)\n")
	w.logHas(app.GUID, "Also matching, later in order: procfile")
	w.logHas(app.GUID, "-----> Staged in ")
	w.clean()

	events, _, err := w.store.Events(t.Context(), store.Query{})
	if err != nil {
		t.Fatal(err)
	}
	var types []string
	for _, e := range events {
		if e.TargetGUID != app.GUID || e.Actor != w.actor || e.SpaceGUID != app.SpaceGUID || e.OrgGUID == "" {
			t.Errorf("%+v", e)
		}
		types = append(types, e.Type)
	}
	if want := []string{"audit.app.package.create", "audit.app.package.upload", "audit.app.build.create", "audit.app.build.staged"}; !cmp.Equal(types, want) {
		t.Error(cmp.Diff(want, types))
	}
}

func TestBuild_OutputIsFollowedWhileItRuns(t *testing.T) {
	w := newWorld(t)
	gate := filepath.Join(t.TempDir(), "gate")
	pack := w.pack(map[string]string{"bin/compile": "echo first; echo to-stderr >&2; until [ -e " + gate + " ]; do sleep 0.01; done; echo last"})
	app := w.app("live", pack)
	p := w.upload(app, map[string]string{"x": "x"})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	seen := make(chan string, 100) // more than the lines there are
	go w.logs.Follow(ctx, app.GUID, 0, func(e logs.Envelope) error { seen <- string(e.Payload); return nil })
	b, err := w.CreateBuild(ctx, w.actor, platform.Build{PackageGUID: p.GUID})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"first", "to-stderr"} {
		for got := ""; got != want; {
			select {
			case got = <-seen:
			case <-ctx.Done():
				t.Fatalf("%q did not arrive while the build ran", want)
			}
		}
	}
	if b, _ = w.store.Build(ctx, b.GUID); b.State != platform.BuildStaging {
		t.Errorf("the build is %s", b.State)
	}
	if err := os.WriteFile(gate, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if b = w.wait(b); b.State != platform.BuildStaged {
		t.Error(b.Error)
	}
	w.logHas(app.GUID, "last\n")
	cancel()
}

func TestBuild_SeesACleanEnvironment(t *testing.T) {
	t.Setenv("WEIR_SECRET_OF_THE_SERVER", "x")
	w := newWorld(t, func(c *stager.Config) {
		c.BuildEnv = append(c.BuildEnv, "GOPROXY=https://goproxy.example", "FROM_APP=operator")
		c.AppEnv = func(context.Context, string) (map[string]string, error) {
			return map[string]string{
				"FROM_APP": "app", "PATH": "/evil", "LD_PRELOAD": "/evil.so", "BASH_ENV": "/evil", "a/../b": "x", "BASH_FUNC_ls%%": "() { echo evil; }", "MULTI": "1\n2",
				"VCAP_APPLICATION": `{"application_name":"env"}`, "VCAP_SERVICES": "{}",
			}, nil
		}
	})
	pack := w.pack(map[string]string{"bin/compile": `env -0 | sort -z >"$1/env"; ls "$3" >"$1/envdir"; cat "$3/MULTI" >"$1/multi"; pwd >"$1/pwd"; umask >"$1/umask"; touch ~/x "$TMPDIR/y"; id -u >"$1/uid"`})
	app := w.app("env", pack)
	pkg, err := w.CreatePackage(t.Context(), w.actor, platform.Package{
		AppGUID:  app.GUID,
		Resource: platform.Resource{Metadata: platform.Metadata{Annotations: map[string]string{"source-version": "abc123"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if pkg, err = w.UploadPackage(t.Context(), w.actor, pkg.GUID, zipped(t, map[string]string{"f": ""}), nil); err != nil {
		t.Fatal(err)
	}
	d := w.staged(pkg)
	dir, _ := w.droplets.Tree(d.Digest)
	data, err := os.ReadFile(filepath.Join(dir, "app/env"))
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for kv := range strings.SplitSeq(strings.TrimSuffix(string(data), "\x00"), "\x00") {
		k, v, _ := strings.Cut(kv, "=")
		got[k] = v
	}
	for k, want := range map[string]string{
		"PATH": os.Getenv("PATH"), "FROM_APP": "app", "GOPROXY": "https://goproxy.example", "CF_STACK": "cflinuxfs4", "STACK": "heroku-22",
		"SOURCE_DATE_EPOCH": "315532800", "SOURCE_VERSION": "abc123", "TZ": "UTC", "LANG": "C.UTF-8", "MEMORY_LIMIT": "1024m", "STAGING_TIMEOUT": "900",
		"VCAP_APPLICATION": `{"application_name":"env"}`, "VCAP_SERVICES": "{}", "MULTI": "1\n2",
	} {
		if got[k] != want {
			t.Errorf("%s=%q, want %q", k, got[k], want)
		}
	}
	for _, k := range []string{"WEIR_SECRET_OF_THE_SERVER", "LD_PRELOAD", "BASH_ENV", "a/../b", "BASH_FUNC_ls%%"} {
		if v, ok := got[k]; ok {
			t.Errorf("%s=%q reached the build", k, v)
		}
	}
	if !strings.HasSuffix(got["HOME"], "/stage/home") || !strings.HasSuffix(got["TMPDIR"], "/stage/tmp") {
		t.Errorf("HOME=%s TMPDIR=%s", got["HOME"], got["TMPDIR"])
	}
	if names, _ := os.ReadFile(filepath.Join(dir, "app/envdir")); string(names) != "FROM_APP\nMULTI\n" {
		t.Errorf("ENV_DIR holds %q", names)
	}
	if v, _ := os.ReadFile(filepath.Join(dir, "app/multi")); string(v) != "1\n2" {
		t.Errorf("ENV_DIR/MULTI holds %q", v)
	}
}

func TestBuild_OneAtATimePerApp(t *testing.T) {
	w := newWorld(t)
	gate := filepath.Join(t.TempDir(), "gate")
	pack := w.pack(map[string]string{"bin/compile": "until [ -e " + gate + " ]; do sleep 0.01; done"})
	app := w.app("one", pack)
	p := w.upload(app, map[string]string{"x": ""})
	b, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p.GUID})
	if err != nil {
		t.Fatal(err)
	}
	_, err = w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p.GUID})
	if e, ok := err.(*platform.Error); !ok || e.Title != "StagingInProgress" || e.Msg != "Only one build can be STAGING at a time per application." {
		t.Errorf("the second build: %v", err)
	}
	if err := w.DeletePackage(t.Context(), w.actor, p.GUID); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("deleting a package that is staged: %v", err)
	}
	os.WriteFile(gate, nil, 0o644)
	if b = w.wait(b); b.State != platform.BuildStaged {
		t.Error(b.Error)
	}
	if b = w.build(p); b.State != platform.BuildStaged {
		t.Error(b.Error)
	}
}

func TestBuild_RefusesWhatCannotBeStaged(t *testing.T) {
	w := newWorld(t)
	app := w.app("a")
	empty, err := w.CreatePackage(t.Context(), w.actor, platform.Package{AppGUID: app.GUID})
	if err != nil {
		t.Fatal(err)
	}
	ready := w.upload(app, map[string]string{"x": "x"})
	for _, c := range []struct {
		build platform.Build
		kind  platform.Kind
		msg   string
	}{
		{platform.Build{PackageGUID: empty.GUID}, platform.KindBadRequest, "Bad request: Cannot stage package whose state is not ready."},
		{platform.Build{PackageGUID: "none"}, platform.KindInvalid, "Unable to use package. Ensure that the package exists and you have access to it."},
		{platform.Build{PackageGUID: ready.GUID, Lifecycle: platform.Lifecycle{Buildpacks: []string{"gopher"}}}, platform.KindInvalid, `Buildpack "gopher" must be an existing admin buildpack or a valid git URI`},
		{platform.Build{PackageGUID: ready.GUID, Lifecycle: platform.Lifecycle{Buildpacks: []string{"ext::sh -c id"}}}, platform.KindInvalid, `Buildpack "ext::sh -c id" must be an existing admin buildpack or a valid git URI`},
		{platform.Build{PackageGUID: ready.GUID, Lifecycle: platform.Lifecycle{Type: "docker"}}, platform.KindInvalid, `lifecycle type "docker" is not supported: weir stages with buildpacks`},
	} {
		_, err := w.CreateBuild(t.Context(), w.actor, c.build)
		if e, ok := err.(*platform.Error); !ok || e.Kind != c.kind || e.Msg != c.msg {
			t.Errorf("%+v: %v", c.build, err)
		}
	}
}
