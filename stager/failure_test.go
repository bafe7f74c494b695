package stager_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
	"weir/stager"
)

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
	var w *world
	var fields []string
	for limit := 2 * time.Second; len(fields) < 3; limit *= 2 { // until all three come up in time
		if limit > time.Minute {
			t.Fatalf("of three processes %d were started", len(fields))
		}
		w = newWorld(t, func(c *stager.Config) { c.Timeout = limit })
		pids := filepath.Join(t.TempDir(), "pids")
		pack := w.pack(map[string]string{"bin/compile": "sleep 300 & echo $! >>" + pids + "; (sleep 300 & echo $! >>" + pids + "; wait) & echo $$ >>" + pids + "; wait"})
		b := w.build(w.upload(w.app("slow", pack), map[string]string{"x": ""}))
		if want := fmt.Sprintf("StagingTimeExpired - staging time expired: the build was not done after %s\nhint: ", limit); !strings.HasPrefix(b.Error, want) {
			t.Error(b.Error)
		}
		data, _ := os.ReadFile(pids)
		fields = strings.Fields(string(data))
	}
	for _, f := range fields {
		pid, _ := strconv.Atoi(f)
		for deadline := time.Now().Add(time.Minute); syscall.Kill(pid, 0) == nil && !zombie(pid); time.Sleep(5 * time.Millisecond) {
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
	w.clean()
}

// zombie reports whether a process only waits to be reaped by its parent.
func zombie(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(data), ") Z ")
}
