package stager_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/stager"
)

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
