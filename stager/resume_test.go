package stager_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/droplets"
	"weir/internal/platform"
	"weir/internal/runner"
)

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
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
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
	const foreign = "lost+found" // of a disk that is mounted there
	dirs := []string{filepath.Join(w.dir, "cache"), filepath.Join(w.dir, "logs")}
	for _, dir := range dirs {
		if err := os.Mkdir(filepath.Join(dir, foreign), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, dir := range dirs { // a log has what the build said after the deletion
		if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != foreign {
			t.Errorf("left in %s: %v %v", dir, left, err)
		}
	}
}

// The droplet shares the package's files: what is wrong with one is wrong with
// the next that is built of it.
func TestBuild_OfAPackageThatWasDamagedMeanwhile(t *testing.T) {
	w := newWorld(t)
	p := w.upload(w.app("a"), map[string]string{"index.html": "whole"})
	w.staged(p)
	w.stop()
	trees, err := droplets.Open(filepath.Join(w.dir, "droplets"), droplets.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trees.Close() })
	release, dir, err := trees.PackageDir(t.Context(), p.Digest)
	if err != nil {
		t.Fatal(err)
	}
	release()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("hurt!"), 0o644); err != nil {
		t.Fatal(err)
	}
	w.cfg.Droplets = trees
	w.start()
	b := w.build(p)
	if b.State != platform.BuildFailed || !strings.Contains(b.Error, `"index.html" was changed`) || !strings.Contains(b.Error, "hint: push the app again") {
		t.Errorf("%s: %s", b.State, b.Error)
	}
	w.clean()
}
