package archive

import (
	"archive/tar"
	stdzip "archive/zip"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

func TestUnpack_KeepsContentExecBitsAndLinksInEveryFormat(t *testing.T) {
	items := []item{
		dir("./"),
		dir("bin/"),
		{name: "bin/run", body: "#!/bin/sh\n", mode: 0o744},
		{name: "bin/setuid", body: "s", mode: 0o755},
		file("deep/er/file", strings.Repeat("content ", 100_000)),
		{name: "private", body: "p", mode: 0o600},
		file("empty", ""),
		dir("empty.d/"),
		file("a:b", "colon"),
		file("ünïcode", "u"),
		file("bytes\xff\xfe", "b"),
		link("bin/link", "run"),
		link("up", "./bin/../bin/run"),
		link("loop", "loop"),
		link("dangling", "nowhere/at/all"),
		link("bin/root", ".."),
	}
	want := map[string]string{
		".": "drwxr-xr-x", "bin": "drwxr-xr-x", "deep": "drwxr-xr-x", "deep/er": "drwxr-xr-x", "empty.d": "drwxr-xr-x",
		"bin/run": "-rwxr-xr-x #!/bin/sh\n", "bin/setuid": "-rwxr-xr-x s",
		"deep/er/file": "-rw-r--r-- " + strings.Repeat("content ", 100_000),
		"private":      "-rw-r--r-- p", "empty": "-rw-r--r-- ", "a:b": "-rw-r--r-- colon",
		"ünïcode": "-rw-r--r-- u", "bytes\xff\xfe": "-rw-r--r-- b",
		"bin/link": "Lrwxrwxrwx -> run", "up": "Lrwxrwxrwx -> ./bin/../bin/run", "loop": "Lrwxrwxrwx -> loop",
		"dangling": "Lrwxrwxrwx -> nowhere/at/all", "bin/root": "Lrwxrwxrwx -> ..",
	}
	tarItems := append([]item{}, items...)
	tarItems[3].tar = func(h *tar.Header) { h.Mode |= 0o6000 }
	items[3].zip = unixAttrs(unixRegular | 0o6755)
	plain := tarOf(t, tarItems...)
	for f, data := range map[Format][]byte{Zip: zipOf(t, items...), Tar: plain, TarGz: gz(t, plain), TarZst: zst(t, plain)} {
		t.Run(string(f), func(t *testing.T) {
			dst := t.TempDir()
			if err := os.Chmod(dst, 0o755); err != nil {
				t.Fatal(err)
			}
			stats, err := unpack(t, data, dst, Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, snapshot(t, dst)); diff != "" {
				t.Error(diff)
			}
			wantStats := Stats{Format: f, Files: 8, Dirs: 4, Links: 5, Bytes: 800_000 + 10 + 1 + 1 + 5 + 1 + 1, Stripped: 1}
			if diff := cmp.Diff(wantStats, stats); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUnpack_HashesWhileWriting(t *testing.T) {
	const sha1Hello, sha256Hello = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	big := strings.Repeat("0123456789abcdef", 100_000)
	items := []item{file("a", "hello"), file("big", big)}
	for name, data := range map[string][]byte{
		"zip": zipOf(t, items...),
		"tar": tarOf(t, append(items, hardlink("b", "a"))...),
	} {
		var mu sync.Mutex
		got := map[string]Entry{}
		_, err := unpack(t, data, t.TempDir(), Options{Digest: true, Written: func(e Entry) error {
			mu.Lock()
			defer mu.Unlock()
			got[e.Name] = e
			return nil
		}})
		if err != nil {
			t.Fatal(name, err)
		}
		for _, file := range []string{"a", "b"} {
			if e, ok := got[file]; (ok || name == "tar") && (e.SHA1 != sha1Hello || e.SHA256 != sha256Hello || e.Size != 5) {
				t.Errorf("%s %s: %+v", name, file, e)
			}
		}
		if sum := sha1.Sum([]byte(big)); got["big"].SHA1 != hex.EncodeToString(sum[:]) {
			t.Errorf("%s big: %+v", name, got["big"])
		}
	}
}

func TestUnpack_ZipsWithoutUnixModesGetPlainOnes(t *testing.T) {
	fat := func(attrs uint32) func(*stdzip.FileHeader) {
		return func(h *stdzip.FileHeader) { h.CreatorVersion, h.ExternalAttrs = 20, attrs }
	}
	data := zipOf(t,
		item{name: "dos", body: "1", zip: fat(0x20)},
		item{name: "zero", body: "2", zip: func(h *stdzip.FileHeader) { h.CreatorVersion, h.ExternalAttrs = 0, 0 }},
		item{name: "unix-zero", body: "3", zip: unixAttrs(0)},
		item{name: "unix-typed-zero", body: "4", zip: unixAttrs(unixRegular)},
		item{name: "fat-with-exec", body: "5", zip: fat(0o100755 << 16)},
		item{name: "dosdir", zip: func(h *stdzip.FileHeader) { fat(0x10)(h) }},
		item{name: "d/", mode: fs.ModeDir, zip: fat(0)},
		item{name: "d/f", body: "6", zip: unixAttrs(0o111)},
	)
	dst := t.TempDir()
	if _, err := unpack(t, data, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, dst)
	delete(got, ".")
	want := map[string]string{
		"dos": "-rw-r--r-- 1", "zero": "-rw-r--r-- 2", "unix-zero": "-rw-r--r-- 3", "unix-typed-zero": "-rw-r--r-- 4",
		"fat-with-exec": "-rwxr-xr-x 5", "dosdir": "drwxr-xr-x", "d": "drwxr-xr-x", "d/f": "-rwxr-xr-x 6",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestUnpack_StopsAtTheLimitNotAfterIt(t *testing.T) {
	const limit = 1000
	exact := []item{file("a", strings.Repeat("a", 400)), file("b", strings.Repeat("b", 600))}
	over := append([]item{}, exact...)
	over = append(over, file("c", "c"))
	for name, of := range map[string]func(testing.TB, ...item) []byte{"zip": zipOf, "tar": tarOf} {
		o := Options{Limits: Limits{Bytes: limit, Entries: 2}}
		if _, err := unpack(t, of(t, exact...), t.TempDir(), o); err != nil {
			t.Errorf("%s at the limit: %v", name, err)
		}
		o.Limits.Entries = 3
		dst := t.TempDir()
		if _, err := unpack(t, of(t, over...), dst, o); platform.KindOf(err) != platform.KindTooLarge {
			t.Errorf("%s over the limit: %v", name, err)
		}
		var written int64
		for p, v := range snapshot(t, dst) {
			if p != "." {
				written += int64(len(v) - len("-rw-r--r-- "))
			}
		}
		if written > limit {
			t.Errorf("%s: wrote %d bytes, limit %d", name, written, limit)
		}
	}
}

func TestUnpack_HardLinksShareTheFile(t *testing.T) {
	dst := t.TempDir()
	data := tarOf(t, item{name: "a/run", body: "x", mode: 0o755}, hardlink("b/run", "./a/run"), hardlink("c", "b/run"))
	if _, err := unpack(t, data, dst, Options{}); err != nil {
		t.Fatal(err)
	}
	first, err := os.Stat(filepath.Join(dst, "a/run"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"b/run", "c"} {
		info, err := os.Stat(filepath.Join(dst, name))
		if err != nil || !os.SameFile(first, info) || info.Mode() != 0o755 {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
}

func TestUnpack_WritesWhateverTheUmask(t *testing.T) {
	old := umask(0o077)
	defer umask(old)
	dst := t.TempDir()
	if _, err := unpack(t, zipOf(t, file("d/f", "1"), item{name: "x", mode: 0o755}), dst, Options{}); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, dst)
	if got["d"] != "drwxr-xr-x" || got["d/f"] != "-rw-r--r-- 1" || got["x"] != "-rwxr-xr-x " {
		t.Error(got)
	}
}

func TestUnpack_EndsWithItsContextAndWithItsCallbacks(t *testing.T) {
	var items []item
	for i := range 500 {
		items = append(items, file(fmt.Sprint("f", i), "content"))
	}
	enough := errors.New("enough")
	for name, data := range map[string][]byte{"zip": zipOf(t, items...), "tar": tarOf(t, items...)} {
		ctx, cancel := context.WithCancel(t.Context())
		root, err := os.OpenRoot(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer root.Close()
		_, err = Unpack(ctx, bytes.NewReader(data), int64(len(data)), root, Options{Written: func(Entry) error {
			cancel()
			return nil
		}})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s cancelled: %v", name, err)
		}
		if _, err := unpack(t, data, t.TempDir(), Options{Written: func(Entry) error { return enough }}); !errors.Is(err, enough) {
			t.Errorf("%s Written: %v", name, err)
		}
		if _, err := unpack(t, data, t.TempDir(), Options{Progress: func(int64) error { return enough }}); !errors.Is(err, enough) {
			t.Errorf("%s Progress: %v", name, err)
		}
	}
}

func TestUnpack_AllowsWhatItsOptionsAllow(t *testing.T) {
	data := tarOf(t, file("A", "1"), file("a", "2"), link("python", "/usr/bin/python3"), link("rel", "A"))
	dst := t.TempDir()
	if _, err := unpack(t, data, dst, Options{AllowCaseCollisions: true, AllowAbsoluteLinks: true}); err != nil {
		t.Fatal(err)
	}
	got := snapshot(t, dst)
	if got["python"] != "Lrwxrwxrwx -> /usr/bin/python3" || got["A"] != "-rw-r--r-- 1" || got["a"] != "-rw-r--r-- 2" {
		t.Error(got)
	}
	data = tarOf(t, link("python", "../usr/bin/python3"))
	if _, err := unpack(t, data, t.TempDir(), Options{AllowAbsoluteLinks: true}); err == nil {
		t.Error("a relative link out of the tree was allowed")
	}
}

func TestDetect_GoesByContentAlone(t *testing.T) {
	tarred := tarOf(t, file("a", "1"))
	v7 := rawTar("old", 0, "x", "")
	copy(v7[257:], make([]byte, 8))
	resum(v7)
	for _, tt := range []struct {
		data []byte
		want Format
	}{
		{zipOf(t, file("a", "1")), Zip},
		{zipOf(t), Zip},
		{tarred, Tar},
		{make([]byte, 10240), Tar},
		{gz(t, tarred), TarGz},
		{zst(t, tarred), TarZst},
		{append(v7, tarEnd...), Tar},
	} {
		got, err := Detect(bytes.NewReader(tt.data), int64(len(tt.data)))
		if err != nil || got != tt.want {
			t.Errorf("got %q, %v, want %q", got, err, tt.want)
		}
	}
}
