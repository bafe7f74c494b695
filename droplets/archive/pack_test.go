package archive

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

// tree makes a directory worth packing.
func tree(t testing.TB) string {
	t.Helper()
	d := t.TempDir()
	if err := os.Chmod(d, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string]string{"a/run": "#!", "a/data": strings.Repeat("x", 300_000), "b": "", "bytes\xff": "1"} {
		p := filepath.Join(d, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Join(d, "a/run"), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(d, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{"link": "a/run", "a/dangling": "../nowhere", "dirlink": "a"} {
		if err := os.Symlink(target, filepath.Join(d, name)); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

func TestPack_RoundTripsInEveryFormat(t *testing.T) {
	src := tree(t)
	want := map[string]string{
		".": "drwxr-xr-x", "a": "drwxr-xr-x", "empty": "drwxr-xr-x",
		"a/run": "-rwxr-xr-x #!", "a/data": "-rw-r--r-- " + strings.Repeat("x", 300_000), "b": "-rw-r--r-- ", "bytes\xff": "-rw-r--r-- 1",
		"link": "Lrwxrwxrwx -> a/run", "a/dangling": "Lrwxrwxrwx -> ../nowhere", "dirlink": "Lrwxrwxrwx -> a",
	}
	for _, f := range formats {
		for _, prefix := range []string{"", "./"} {
			var b bytes.Buffer
			stats, err := Pack(t.Context(), &b, src, f, prefix)
			if err != nil {
				t.Fatal(f, err)
			}
			if got := (Stats{Format: f, Files: 4, Dirs: 2, Links: 3, Bytes: 300_003}); !cmp.Equal(got, stats) {
				t.Error(f, cmp.Diff(got, stats))
			}
			dst := t.TempDir()
			if err := os.Chmod(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			// The content is one long run of x: more than 200:1.
			if _, err := unpack(t, b.Bytes(), dst, Options{}); err != nil {
				t.Fatal(f, err)
			}
			if diff := cmp.Diff(want, snapshot(t, dst)); diff != "" {
				t.Errorf("%s: %s", f, diff)
			}
		}
	}
}

func TestPack_GivesTheSameBytesForTheSameContent(t *testing.T) {
	one, two := tree(t), tree(t)
	err := filepath.WalkDir(two, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(p, time.Now(), time.Now().Add(-time.Hour))
	})
	if err != nil {
		t.Fatal(err)
	}
	if os.Getuid() == 0 {
		if err := os.Chown(filepath.Join(two, "b"), 12345, 12345); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range formats {
		var a, b bytes.Buffer
		if _, err := Pack(t.Context(), &a, one, f, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := Pack(t.Context(), &b, two, f, ""); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%s: bytes differ", f)
		}
	}
}

func TestPack_LeavesOutWhatIsNoFileAndNeverWaits(t *testing.T) {
	src := tree(t)
	if err := syscall.Mkfifo(filepath.Join(src, "pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range formats {
		stats, err := Pack(t.Context(), io.Discard, src, f, "")
		if err != nil || !cmp.Equal(stats.Skipped, []string{"pipe"}) {
			t.Errorf("%s: %v %v", f, stats.Skipped, err)
		}
	}
}

type brokenWriter struct{ left int }

func (w *brokenWriter) Write(b []byte) (int, error) {
	if w.left -= len(b); w.left < 0 {
		return 0, syscall.EPIPE
	}
	return len(b), nil
}

func TestPack_ReportsEveryFailure(t *testing.T) {
	src := tree(t)
	for _, f := range formats {
		var b bytes.Buffer
		if _, err := Pack(t.Context(), &b, src, f, ""); err != nil {
			t.Fatal(err)
		}
		// The library loses errors that come when it closes its writers.
		for _, cut := range []int{0, 1, b.Len() / 2, b.Len() - 1} {
			if _, err := Pack(t.Context(), &brokenWriter{cut}, src, f, ""); !errors.Is(err, syscall.EPIPE) {
				t.Errorf("%s cut at %d of %d: %v", f, cut, b.Len(), err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := Pack(ctx, io.Discard, src, f, ""); !errors.Is(err, context.Canceled) {
			t.Errorf("%s cancelled: %v", f, err)
		}
		for name, file := range map[string]File{
			"shorter": {Name: "f", Size: 5, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("1234")), nil }},
			"longer":  {Name: "f", Size: 3, Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("1234")), nil }},
			"gone":    {Name: "f", Size: 3, Open: func() (io.ReadCloser, error) { return nil, fs.ErrNotExist }},
		} {
			if _, err := pack(t.Context(), io.Discard, f, []File{file}, ""); err == nil {
				t.Errorf("%s: a file %s than announced was packed", f, name)
			}
		}
	}
	if _, err := Pack(t.Context(), io.Discard, src, "rar", ""); platform.KindOf(err) != platform.KindBadRequest {
		t.Errorf("unknown format: %v", err)
	}
}
