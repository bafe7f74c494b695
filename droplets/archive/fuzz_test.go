package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

// seeds are the archives every fuzz target starts from: good ones in each
// format and the whole hostile list.
func seeds(f *testing.F) {
	items := []item{dir("d/"), {name: "d/run", body: "#!", mode: 0o755}, file("big", strings.Repeat("text ", 500)), link("l", "d/run")}
	plain := tarOf(f, append(items, hardlink("h", "big"))...)
	for _, b := range [][]byte{zipOf(f, items...), rawZip(items[1:3], nil), plain, gz(f, plain), zst(f, plain)} {
		f.Add(b)
	}
	for _, h := range hostileList(f) {
		if len(h.data) < 1<<16 {
			f.Add(h.data)
		}
	}
}

var fuzzLimits = Options{Digest: true, Limits: Limits{Bytes: 1 << 20, Entries: 200}}

// FuzzUnpack: whatever comes in, nothing outside the directory changes, no
// link leads out of it, the limits hold, and what was refused says why.
func FuzzUnpack(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		outside, dst := sandbox(t)
		before := snapshot(t, outside)
		stats, err := unpack(t, data, dst, fuzzLimits)
		if err != nil {
			e, ok := errors.AsType[*platform.Error](err)
			if !ok || e.Msg == "" || e.Hint == "" || e.Kind == platform.KindInternal {
				t.Fatalf("no proper error: %v", err)
			}
		}
		checkTree(t, dst, stats, err == nil)
		if err := os.RemoveAll(dst); err != nil {
			t.Fatal(err)
		}
		delete(before, "in/dst")
		if diff := cmp.Diff(before, snapshot(t, outside)); diff != "" {
			t.Fatalf("changed outside:\n%s", diff)
		}
	})
}

func checkTree(t *testing.T, dst string, stats Stats, whole bool) {
	t.Helper()
	got := snapshot(t, dst)
	var bytes int64
	files, links := 0, Links{}
	for name, v := range got {
		switch {
		case strings.HasPrefix(v, "-rw-r--r-- "), strings.HasPrefix(v, "-rwxr-xr-x "):
			files++
			bytes += int64(len(v) - len("-rw-r--r-- "))
		case strings.HasPrefix(v, "drwxr-xr-x"):
		case strings.HasPrefix(v, "Lrwxrwxrwx -> "):
			links[filepath.ToSlash(name)] = v[len("Lrwxrwxrwx -> "):]
		default:
			if name != "." {
				t.Fatalf("%q has mode %.12s", name, v)
			}
		}
	}
	if err := links.Check(nil); err != nil {
		t.Fatal(err)
	}
	if len(got)-1 > fuzzLimits.Limits.Entries || bytes > fuzzLimits.Limits.Bytes {
		t.Fatalf("%d entries, %d bytes: over the limits", len(got)-1, bytes)
	}
	if whole && (stats.Files != files || stats.Bytes != bytes || stats.Links != len(links)) {
		t.Fatalf("stats %+v, found %d files, %d bytes, %d links", stats, files, bytes, len(links))
	}
}

// FuzzRoundTrip: what unpacks, packs; what was packed unpacks to the same.
func FuzzRoundTrip(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		first := filepath.Join(t.TempDir(), "first")
		if err := os.Mkdir(first, 0o755); err != nil {
			t.Fatal(err)
		}
		if _, err := unpack(t, data, first, fuzzLimits); err != nil {
			return
		}
		want := snapshot(t, first)
		for _, format := range formats {
			var b bytes.Buffer
			if _, err := Pack(t.Context(), &b, first, format, ""); err != nil {
				t.Fatal(err)
			}
			second := filepath.Join(t.TempDir(), "second")
			if err := os.Mkdir(second, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, err := unpack(t, b.Bytes(), second, fuzzLimits); err != nil {
				t.Fatal(format, err)
			}
			if diff := cmp.Diff(want, snapshot(t, second)); diff != "" {
				t.Fatal(format, diff)
			}
		}
	})
}

// FuzzCleanName: a clean name is relative, and clean.
func FuzzCleanName(f *testing.F) {
	for _, s := range []string{"a", "./a//b/", "../a", "/a", `C:\a`, `a\b`, "a\x00", "", ".", "./", "a/../b", "c:", "c:/x", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		name, err := Limits{}.CleanName(raw)
		if err != nil {
			return
		}
		if name != "" && !filepath.IsLocal(name) || name != "" && filepath.Clean(name) != name || strings.Contains(name, `\`) {
			t.Fatalf("%q cleans to %q", raw, name)
		}
		if again, err := (Limits{}).CleanName(name); name != "" && (err != nil || again != name) {
			t.Fatalf("%q cleans to %q, which cleans to %q, %v", raw, name, again, err)
		}
	})
}
