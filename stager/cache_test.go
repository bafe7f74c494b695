package stager_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/platform"
	"weir/stager"
)

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

func TestWarm_IsPreparedOnceAndCopiedToEachApp(t *testing.T) {
	dir := t.TempDir()
	// A toolchain that fills its cache when it is told to, and tells how often it
	// ran.
	script := "#!/bin/sh\n" + `case "$1" in
version) echo go version go1.99.0 linux/amd64 ;;
build)
  mkdir -p "$GOCACHE"
  case "$*" in
  *net/http*) while [ ! -e ` + dir + `/go-on ]; do sleep 0.02; done
    echo warm >>` + dir + `/runs; echo std >"$GOCACHE/std" ;;
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
	for _, b := range []platform.Build{b1, b2} {
		w.logHas(b.AppGUID, "-----> Preparing the buildpack go on this machine")
	}
	if err := os.WriteFile(filepath.Join(dir, "go-on"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, b := range []platform.Build{w.wait(b1), w.wait(b2)} {
		if b.State != platform.BuildStaged {
			t.Errorf("%s\n%s", b.Error, w.log(b.AppGUID))
		}
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
