package stager_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/logs"
	"weir/internal/platform"
	"weir/internal/runner"
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
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
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

func TestBuild_FailsInCloudFoundrysTerms(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name    string
		scripts map[string]string
		want    []string
	}{
		{"no app", nil, []string{
			"NoAppDetectedError - An app was not successfully detected by any available buildpack",
			"looked for: staticfile (a file Staticfile), go (go.mod, go.work or main.go)", "hint: push the directory",
		}},
		{"compile", map[string]string{"bin/compile": "echo installing; echo no such gem; exit 14"}, []string{
			"BuildpackCompileFailed - App staging failed in the buildpack compile phase", "exited with status 14", "\n  installing\n  no such gem\n", "hint: ",
		}},
		{"finalize", map[string]string{"bin/finalize": "exit 4"}, []string{"BuildpackCompileFailed - App staging failed in the buildpack finalize phase"}},
		{"release", map[string]string{"bin/compile": ":", "bin/release": "exit 4"}, []string{"BuildpackReleaseFailed - App staging failed in the buildpack release phase"}},
		{"space", map[string]string{"bin/compile": "echo 'cp: error writing x: No space left on device'; exit 1"}, []string{"NoSpace - "}},
		{"removed", map[string]string{"bin/compile": `cd /; rm -rf "$1"`}, []string{"StagingError - the build left no app behind"}},
		{"replaced", map[string]string{"bin/compile": `cd /; rm -rf "$1"; ln -s /etc "$1"`}, []string{"StagingError - the build left no app behind"}},
		{"killed", map[string]string{"bin/compile": "kill -9 $PPID"}, []string{"StagingError - the build ended without a result"}},
		{"escape", map[string]string{"bin/compile": `ln -s /root/secret "$1/link"`}, []string{"StagingError - ", "link"}},
		{"malformed", map[string]string{"README": ""}, []string{"StagingError - ", "malformed buildpack does not contain a /bin dir"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var packs []string
			if c.scripts != nil {
				packs = []string{w.pack(c.scripts)}
			}
			app := w.app("app-"+c.name, packs...)
			b := w.build(w.upload(app, map[string]string{"notes.txt": "x"}))
			for _, want := range c.want {
				if b.State != platform.BuildFailed || !strings.Contains(b.Error, want) {
					t.Errorf("%s: error lacks %q:\n%s", b.State, want, b.Error)
				}
			}
			if ds, _, _ := w.store.Droplets(t.Context(), store.Query{In: map[string][]string{"app_guids": {app.GUID}}}); len(ds) > 0 {
				t.Errorf("a failed build left a droplet: %+v", ds)
			}
			w.logHas(app.GUID, "Staging failed: ")
			w.clean()
		})
	}
}

func TestBuild_TimeoutKillsWhatItStarted(t *testing.T) {
	w := newWorld(t, func(c *stager.Config) { c.Timeout = 2 * time.Second })
	pids := filepath.Join(t.TempDir(), "pids")
	pack := w.pack(map[string]string{"bin/compile": "sleep 300 & echo $! >>" + pids + "; (sleep 300 & echo $! >>" + pids + "; wait) & echo $$ >>" + pids + "; wait"})
	start := time.Now()
	b := w.build(w.upload(w.app("slow", pack), map[string]string{"x": ""}))
	if !strings.HasPrefix(b.Error, "StagingTimeExpired - staging time expired: the build was not done after 2s\nhint: ") || time.Since(start) > 20*time.Second {
		t.Errorf("after %s: %s", time.Since(start), b.Error)
	}
	data, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(data))
	if len(fields) != 3 {
		t.Errorf("%d processes were started", len(fields))
	}
	for _, f := range fields {
		pid, _ := strconv.Atoi(f)
		for deadline := time.Now().Add(2 * time.Second); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Errorf("process %d of the build is still there", pid)
				break
			}
		}
	}
	w.clean()
}

func TestBuild_FullDiskFailsItAlone(t *testing.T) {
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a small disk needs root: %v", err)
	}
	t.Cleanup(func() { syscall.Unmount(small, 0) })
	w := newWorld(t, func(c *stager.Config) {
		c.Dir, c.CacheDir = filepath.Join(small, "staging"), filepath.Join(small, "cache")
	})
	big := strings.Repeat("x", 5<<20)
	for name, c := range map[string]struct {
		script string
		files  map[string]string
	}{
		"copying":  {":", map[string]string{"a": big, "b": big}},
		"building": {`cat "$1/a" "$1/a" >"$1/c"`, map[string]string{"a": big}},
	} {
		app := w.app(name, w.pack(map[string]string{"bin/compile": c.script}))
		if b := w.build(w.upload(app, c.files)); !strings.HasPrefix(b.Error, "NoSpace - ") {
			t.Errorf("%s: %s %s", name, b.State, b.Error)
		}
	}
	if b := w.build(w.upload(w.app("fits"), map[string]string{"index.html": "x"})); b.State != platform.BuildStaged {
		t.Errorf("a build that fits: %s", b.Error)
	}
	if left, _ := os.ReadDir(w.cfg.Dir); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// zombie reports whether a process only waits to be reaped by its parent.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(data), ") Z ")
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

func TestBuild_CacheComesBack(t *testing.T) {
	w := newWorld(t)
	pack := w.pack(map[string]string{"bin/compile": `cat "$2/n" 2>/dev/null || true; echo again >>"$2/n"; [ ! -e "$1/fail" ]`})
	app := w.app("cached", pack)
	w.staged(w.upload(app, map[string]string{"x": "1"}))
	w.build(w.upload(app, map[string]string{"x": "2", "fail": ""})) // a failed build keeps it, too
	w.staged(w.upload(app, map[string]string{"x": "3"}))
	w.logHas(app.GUID, "again\nagain\n")
	other := w.app("other", pack)
	w.staged(w.upload(other, map[string]string{"x": "4"}))
	if strings.Contains(w.log(other.GUID), "again") {
		t.Error("an app found the cache of another")
	}
	w.clean()
}

func TestBuild_LeavesThePackageAlone(t *testing.T) {
	w := newWorld(t)
	dirty := `find "$1" -type f | while read -r f; do echo x >>"$f"; chmod 600 "$f"; done; rm "$1/gone"`
	writer := w.pack(map[string]string{"bin/compile": dirty})
	files := map[string]string{"start.sh": "#!/bin/sh\n", "gone": "1", "same": "1", "also/same": "1", "page.html": "2"}
	first := w.upload(w.app("reader"), files) // by the built-in binary
	d := w.staged(first)
	if d.Buildpacks[0].Name != "binary" {
		t.Fatalf("%+v", d.Buildpacks)
	}
	again := w.upload(w.app("writer", writer), files)
	if again.Digest != first.Digest {
		t.Error("the same files are two packages")
	}
	w.staged(again)
	if got := w.staged(first); got.Digest != d.Digest {
		w.differ(d, got)
	}
	if err := w.droplets.Verify(t.Context(), d.Digest); err != nil {
		t.Error(err)
	}
	if got := w.staged(w.upload(w.app("reader-2"), files)); got.Digest != d.Digest {
		w.differ(d, got)
	}
}

func TestBuild_InterruptedIsBegunAnew(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	pack := w.pack(map[string]string{"bin/compile": `
echo kept >"$2/cache-of-first"
[ -e ` + dir + `/second ] && { cat "$2/cache-of-first"; exit 0; }
touch ` + dir + `/begun; sleep 300`})
	app := w.app("resumed", pack)
	p := w.upload(app, map[string]string{"x": ""})
	b, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p.GUID})
	if err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(dir + "/begun"); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the build did not begin")
		}
	}
	w.stop()
	if b, _ = w.store.Build(t.Context(), b.GUID); b.State != platform.BuildStaging {
		t.Fatalf("after the stop the build is %s", b.State)
	}
	if left, _ := w.runner.List(t.Context()); len(left) > 0 {
		t.Errorf("the build still runs: %+v", left)
	}
	os.WriteFile(dir+"/second", nil, 0o644)
	w.start()
	if b = w.wait(b); b.State != platform.BuildStaged {
		t.Errorf("%s: %s", b.State, b.Error)
	}
	w.logHas(app.GUID, "Staging app resumed again, from the beginning: weir was restarted\n")
	w.clean()
}

func TestBuild_LeftByAKilledStagerIsTakenUp(t *testing.T) {
	w := newWorld(t)
	app := w.app("killed")
	p := w.upload(app, map[string]string{"index.html": ""})
	w.stop()
	// What a stager that was killed leaves: a row, a directory, an instance.
	leave := func(attempt string) platform.Build {
		b := platform.Build{
			Resource: platform.NewResource(time.Now()), AppGUID: app.GUID, PackageGUID: p.GUID,
			State: platform.BuildStaging, Lifecycle: platform.Lifecycle{Type: "buildpack", Stack: "cflinuxfs4"},
		}
		if err := w.store.InsertBuild(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		stage := filepath.Join(w.dir, "staging", b.GUID, "stage")
		for _, dir := range []string{"droplet/app", "cache/pack-static"} {
			if err := os.MkdirAll(filepath.Join(stage, dir), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		os.WriteFile(filepath.Join(stage, "cache/pack-static/mark"), []byte("x"), 0o644)
		os.WriteFile(filepath.Join(w.dir, "staging", b.GUID, "attempt"), []byte(attempt), 0o600)
		return b
	}
	again := leave("1")
	_, err := w.runner.Start(t.Context(), runner.Spec{
		GUID: again.GUID, Root: filepath.Join(w.dir, "staging", again.GUID, "stage"), Dir: ".",
		Args: []string{"sleep", "300"}, Env: func(runner.Endpoint) []string { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	stray := filepath.Join(w.dir, "staging", platform.NewGUID(), "stage")
	if err := os.MkdirAll(stray, 0o755); err != nil {
		t.Fatal(err)
	}
	w.start()
	if b := w.wait(again); b.State != platform.BuildStaged {
		t.Errorf("%s: %s", b.State, b.Error)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "cache", app.GUID, "pack-static/mark")); err != nil {
		t.Error("the cache was not saved:", err)
	}
	w.clean()
	w.stop()
	hopeless := leave("3")
	w.start()
	if b := w.wait(hopeless); !strings.HasPrefix(b.Error, "StagerInterrupted - ") {
		t.Errorf("%s: %s", b.State, b.Error)
	}
	w.clean()
}

func TestBuild_EndsWhenItsAppIsDeleted(t *testing.T) {
	w := newWorld(t)
	begun := filepath.Join(t.TempDir(), "begun")
	pack := w.pack(map[string]string{"bin/compile": "touch " + begun + "; sleep 300"})
	app := w.app("gone", pack)
	p := w.upload(app, map[string]string{"x": ""})
	if _, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p.GUID}); err != nil {
		t.Fatal(err)
	}
	for _, err := os.Stat(begun); err != nil; _, err = os.Stat(begun) {
		time.Sleep(5 * time.Millisecond)
	}
	if err := w.store.DeleteApp(t.Context(), app.GUID); err != nil {
		t.Fatal(err)
	}
	w.clean()
	if left, _ := w.runner.List(t.Context()); len(left) > 0 {
		t.Errorf("the build still runs: %+v", left)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if caches, _ := os.ReadDir(filepath.Join(w.dir, "cache")); len(caches) > 0 {
		t.Errorf("caches left: %v", caches)
	}
}

func TestBuild_DropletsAreReproducible(t *testing.T) {
	w := newWorld(t, withGoCache(t))
	for _, c := range []struct{ example, needs string }{
		{"hello-go", "go"},
		{"hello-node", "npm"},
		{"hello-python", "python3"},
		{"hello-static", ""},
		{"hello-procfile", ""},
		{"web-and-worker", "go"},
	} {
		t.Run(c.example, func(t *testing.T) {
			if c.needs != "" {
				if _, err := exec.LookPath(c.needs); err != nil {
					t.Skipf("there is no %s on this machine", c.needs)
				}
			}
			files := example(t, c.example)
			one, two := w.app(c.example+"-1"), w.app(c.example+"-2")
			first := w.staged(w.upload(one, files))
			again := w.staged(w.upload(one, files))     // with the cache
			elsewhere := w.staged(w.upload(two, files)) // without
			if first.Digest != again.Digest || first.Digest != elsewhere.Digest {
				w.differ(first, again)
				w.differ(first, elsewhere)
			}
		})
	}
	w.clean()
}

// withGoCache puts a go into the builds' PATH that uses the cache that compiled
// these tests: with an empty one they would take half a minute longer.
func withGoCache(t *testing.T) func(*stager.Config) {
	t.Helper()
	real, err := exec.LookPath("go")
	if err != nil {
		return func(*stager.Config) {}
	}
	cache, err := exec.Command(real, "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexport GOCACHE='%s'\nexec '%s' \"$@\"\n", strings.TrimSpace(string(cache)), real)
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return func(c *stager.Config) { c.Path = dir + string(filepath.ListSeparator) + c.Path }
}

func TestWarm_IsPreparedOnceAndCopiedToEachApp(t *testing.T) {
	dir := t.TempDir()
	// A toolchain that fills its cache at once and tells how often it ran.
	script := "#!/bin/sh\n" + `case "$1" in
version) echo go version go1.99.0 linux/amd64 ;;
build)
  mkdir -p "$GOCACHE"
  case "$*" in
  *net/http*) echo warm >>` + dir + `/runs; echo std >"$GOCACHE/std" ;;
  *) cat "$GOCACHE/std" || exit 1; cp "$0" "$3" ;;
  esac ;;
esac
`
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, func(c *stager.Config) { c.Path = dir + ":" + c.Path })
	files := map[string]string{"go.mod": "module m\n", "main.go": "package main\n"}
	one, two := w.app("one"), w.app("two", "go")
	p1, p2 := w.upload(one, files), w.upload(two, files)
	b1, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p1.GUID})
	if err != nil {
		t.Fatal(err)
	}
	b2, err := w.CreateBuild(t.Context(), w.actor, platform.Build{PackageGUID: p2.GUID})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range []platform.Build{w.wait(b1), w.wait(b2)} {
		if b.State != platform.BuildStaged {
			t.Errorf("%s\n%s", b.Error, w.log(b.AppGUID))
		}
		w.logHas(b.AppGUID, "-----> Preparing the buildpack go on this machine")
		w.logHas(b.AppGUID, "\nstd\n")
	}
	w.staged(p1)
	w.staged(w.upload(w.app("three"), files))
	if runs, _ := os.ReadFile(filepath.Join(dir, "runs")); string(runs) != "warm\n" {
		t.Errorf("the cache was prepared: %q", runs)
	}
	if _, err := os.Stat(filepath.Join(w.dir, "cache", one.GUID, "pack-go/build/std")); err != nil {
		t.Error(err)
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept, _ := os.ReadDir(filepath.Join(w.dir, "cache/.warm")); len(kept) != 1 {
		t.Errorf("prepared caches: %v", kept)
	}
	w.clean()
	// Another toolchain, whose preparation fails: builds go on without.
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(strings.Replace(script, "echo warm", "exit 1; echo warm", 1)), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"four", "five"} {
		b := w.build(w.upload(w.app(name), files))
		if !strings.Contains(b.Error, "BuildpackCompileFailed") || !strings.Contains(b.Error, "std: No such file") {
			t.Errorf("%s: %s", b.State, b.Error)
		}
	}
	w.clean()
}

// differ reports the files in which two droplets differ.
func (w *world) differ(a, b platform.Droplet) {
	w.t.Helper()
	list := func(d platform.Droplet) []string {
		m, err := w.droplets.Manifest(w.t.Context(), d.Digest)
		if err != nil {
			w.t.Fatal(err)
		}
		var all []string
		for _, f := range m.Files {
			all = append(all, fmt.Sprint(f.Path, " ", f.Mode, " ", f.SHA256, f.Link))
		}
		slices.Sort(all)
		return all
	}
	w.t.Errorf("droplets %s and %s of the same source differ: %s", a.Digest, b.Digest, cmp.Diff(list(a), list(b)))
}
