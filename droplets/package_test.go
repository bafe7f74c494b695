package droplets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/droplets/archive"
	"weir/internal/platform"
)

var app = files{
	"index.js":     "console.log('hello')",
	"*bin/run":     "#!/bin/sh\nexec node index.js",
	"lib/a.js":     "a",
	"lib/deep/b":   "b",
	"empty":        "",
	"empty.d/":     "",
	"link":         "->lib/a.js",
	"lib/same":     "a",
	"caf\u00e9":    "utf-8",
	"bytes\xff":    "not utf-8",
	"lib/bad\xfel": "->bytes\xff",
}

// whole is app as it reads back: with the directories the zip only implies.
func whole() files {
	w := files{"bin/": "", "lib/": "", "lib/deep/": ""}
	for k, v := range app {
		w[k] = v
	}
	return w
}

func put(t testing.TB, s *Store, f files, resources ...Resource) string {
	t.Helper()
	var bits io.Reader
	if f != nil {
		bits = struct{ io.Reader }{f.zip(t)} // a stream, as from the network
	}
	digest, _, err := s.PutPackage(t.Context(), bits, resources)
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func TestPutPackage_UnpacksOnceAndNamesItByContent(t *testing.T) {
	s := newStore(t, Options{})
	var b *bytes.Buffer = app.zip(t)
	digest, size, err := s.PutPackage(t.Context(), b, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := int64(0)
	for name, content := range app {
		if !strings.HasPrefix(content, "->") && name[len(name)-1] != '/' {
			want += int64(len(content))
		}
	}
	if size != want {
		t.Errorf("size = %d, want %d", size, want)
	}
	release, dir, err := s.PackageDir(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	if diff := cmp.Diff(whole(), read(t, dir)); diff != "" {
		t.Error(diff)
	}
	if again := put(t, s, app); again != digest {
		t.Errorf("the same content became %s and %s", digest, again)
	}
	other := whole()
	other["lib/a.js"] = "A"
	if again := put(t, s, other); again == digest {
		t.Error("other content has the same digest")
	}
	m, err := s.PackageManifest(t.Context(), digest)
	if err != nil || m.Digest != digest || m.Size != size || len(m.Files) != len(whole()) {
		t.Errorf("manifest: %d files, %v", len(m.Files), err)
	}
}

func TestPutPackage_AndPutPackageDirAgree(t *testing.T) {
	s := newStore(t, Options{})
	want := put(t, s, app)
	dir := app.write(t, filepath.Join(t.TempDir(), "fetched"))
	got, _, err := s.PutPackageDir(t.Context(), dir)
	if err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the directory is still there: %v", err)
	}
}

func TestMatch_FindsFilesOfEverySizeButNotOthers(t *testing.T) {
	s := newStore(t, Options{})
	ask := []Resource{
		resource("x", "a", 0o644), resource("y", "a", 0o755), resource("z", app["index.js"], 0),
		resource("w", "elsewhere", 0o644), resource("e", "", 0o644),
		{Path: "wrong size", SHA1: resource("", "a", 0).SHA1, Size: 2},
		{Path: "upper case", SHA1: strings.ToUpper(resource("", "a", 0).SHA1), Size: 1},
		{Path: "no sum", SHA1: "../../../etc/passwd", Size: 1},
	}
	before, err := s.Match(t.Context(), ask)
	if err != nil || !cmp.Equal(before, make([]bool, len(ask))) {
		t.Errorf("in an empty store: %v %v", before, err)
	}
	put(t, s, app)
	got, err := s.Match(t.Context(), ask)
	if want := []bool{true, true, true, false, false, false, true, false}; err != nil || !cmp.Equal(want, got) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
}

func TestPutPackage_TakesClaimedFilesFromThePool(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, app)
	digest := put(t, s, files{"new.js": "new", "empty.d/": ""},
		resource("renamed/a.js", "a", 0o644),
		resource("lib/exec", "a", 0o755),
		resource("*odd", app["*bin/run"], 0o744),
		resource("none", "", 0o644),
		resource("new.js", "new", 0o644), // uploaded all the same
	)
	_, dir, err := s.PackageDir(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	want := files{
		"new.js": "new", "empty.d/": "", "renamed/": "", "renamed/a.js": "a", "lib/": "",
		"*lib/exec": "a", "**odd": app["*bin/run"], "none": "",
	}
	if diff := cmp.Diff(want, read(t, dir)); diff != "" {
		t.Error(diff)
	}
	// What all was uploaded has the same digest as what all was matched.
	if again := put(t, s, files{
		"new.js": "new", "empty.d/": "", "renamed/a.js": "a", "*lib/exec": "a", "**odd": app["*bin/run"], "none": "",
	}); again != digest {
		t.Error("matched and uploaded content differ")
	}
	// All matched, nothing uploaded.
	if again := put(t, s, nil, resource("a", "a", 0o644)); again == digest || again != put(t, s, files{"a": "a"}) {
		t.Error("a package of matched files alone differs from an uploaded one")
	}
}

func TestPutPackage_SharesDiskWithThePoolAndOtherPackages(t *testing.T) {
	s := newStore(t, Options{})
	big := strings.Repeat("0123456789abcdef", 1<<16)
	one := put(t, s, files{"big": big, "v": "1"})
	used, _ := usage(t, s.dir)
	two := put(t, s, files{"v": "2"}, resource("big", big, 0o644))
	three := put(t, s, files{"big": big, "v": "3"}) // uploaded in full
	want := inodeOf(t, filepath.Join(s.treePath(packages, one), "big"))
	for _, d := range []string{two, three} {
		if got := inodeOf(t, filepath.Join(s.treePath(packages, d), "big")); got != want {
			t.Errorf("package %.8s has its own copy", d)
		}
	}
	if now, _ := usage(t, s.dir); now > used+64<<10 {
		t.Errorf("two more packages take %d bytes", now-used)
	}
}

func TestPutPackage_RefusesWhatDoesNotFit(t *testing.T) {
	s := newStore(t, Options{MaxBytes: 10_000, Limits: archive.Limits{Bytes: 20_000}})
	put(t, s, app)
	before := read(t, s.dir)
	long := strings.Repeat("long", 10_000)
	for _, tt := range []struct {
		name      string
		bits      io.Reader
		resources []Resource
		title     string
		kind      platform.Kind
	}{
		{"nothing", nil, nil, archive.TitleEmpty, platform.KindInvalid},
		{"no archive", strings.NewReader("hello"), nil, archive.TitleNotArchive, platform.KindInvalid},
		{"escape", files{"../x": "1"}.zip(t), nil, archive.TitleTraversal, platform.KindInvalid},
		{"too large packed", strings.NewReader(strings.Repeat("x", 10_001)), nil, archive.TitleTooLarge, platform.KindTooLarge},
		{"too large packed, as a stream", struct{ io.Reader }{strings.NewReader(strings.Repeat("x", 10_001))}, nil, archive.TitleTooLarge, platform.KindTooLarge},
		{"too large unpacked", files{"a": long}.zip(t), nil, archive.TitleTooLarge, platform.KindTooLarge},
		{"claimed but absent", nil, []Resource{resource("a", "never seen", 0)}, TitleMissingFile, platform.KindInvalid},
		{"claimed with another sum than uploaded", files{"a": "1"}.zip(t), []Resource{resource("a", "2", 0)}, TitleDigestMismatch, platform.KindInvalid},
		{"claimed as empty but not", nil, []Resource{{Path: "a", SHA1: resource("", "x", 0).SHA1}}, TitleDigestMismatch, platform.KindInvalid},
		{"no sum", nil, []Resource{{Path: "a", SHA1: "xyz", Size: 1}}, TitleBadResource, platform.KindInvalid},
		{"negative size", nil, []Resource{{Path: "a", SHA1: sha1Empty, Size: -1}}, TitleBadResource, platform.KindInvalid},
		{"claim that escapes", nil, []Resource{resource("../a", "a", 0)}, archive.TitleTraversal, platform.KindInvalid},
		{"claim through a link", files{"d": "->lib", "lib/": ""}.zip(t), []Resource{resource("d/x", "a", 0)}, archive.TitleThroughLink, platform.KindInvalid},
		{"claim below a file", files{"d": "1"}.zip(t), []Resource{resource("d/x", "a", 0)}, archive.TitleConflict, platform.KindInvalid},
		{"claim twice", nil, []Resource{resource("x", "a", 0), resource("x", "a", 0)}, archive.TitleDuplicate, platform.KindInvalid},
		{"claims that differ in case", files{"X": "1"}.zip(t), []Resource{resource("x", "a", 0)}, archive.TitleCaseCollision, platform.KindInvalid},
	} {
		_, _, err := s.PutPackage(t.Context(), tt.bits, tt.resources)
		if titleOf(err) != tt.title || platform.KindOf(err) != tt.kind {
			t.Errorf("%s: got %v, want %s", tt.name, err, tt.title)
			continue
		}
		if e, _ := errors.AsType[*platform.Error](err); e.Hint == "" {
			t.Errorf("%s: no hint", tt.name)
		}
	}
	if diff := cmp.Diff(before, read(t, s.dir)); diff != "" {
		t.Errorf("something was left behind:\n%s", diff)
	}
	link := files{"x": "->/etc/passwd"}.write(t, filepath.Join(t.TempDir(), "d"))
	if _, _, err := s.PutPackageDir(t.Context(), link); titleOf(err) != archive.TitleLinkAbsolute {
		t.Errorf("a fetched link out of the app: %v", err)
	}
}

type brokenReader struct{ after int }

func (r *brokenReader) Read(b []byte) (int, error) {
	if r.after -= len(b); r.after < 0 {
		return 0, io.ErrUnexpectedEOF
	}
	return len(b), nil
}

func TestPutPackage_LeavesNothingWhenTheUploadBreaksOffOrIsCancelled(t *testing.T) {
	s := newStore(t, Options{})
	before := read(t, s.dir)
	if _, _, err := s.PutPackage(t.Context(), &brokenReader{1 << 20}, nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("broken off: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := s.PutPackage(ctx, struct{ io.Reader }{app.zip(t)}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if diff := cmp.Diff(before, read(t, s.dir)); diff != "" {
		t.Error(diff)
	}
}

func TestPutPackage_NoticesADamagedPool(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, files{"one": "first content", "two": "other content"})
	one, two := resource("one", "first content", 0o644), resource("two", "other content", 0o644)
	if err := os.Truncate(s.poolPath(one.SHA1, one.Size, 0o644), 3); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.PutPackage(t.Context(), nil, []Resource{one}); titleOf(err) != TitleDigestMismatch {
		t.Errorf("truncated: %v", err)
	}
	// Without the noted sum the file is read, and found out.
	p := s.poolPath(two.SHA1, two.Size, 0o644)
	if err := os.WriteFile(p, []byte("OTHER content"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Removexattr(p, attrSHA256); err != nil {
		t.Skip("no extended attributes here:", err)
	}
	if _, _, err := s.PutPackage(t.Context(), nil, []Resource{two}); titleOf(err) != TitleDigestMismatch {
		t.Errorf("changed: %v", err)
	}
	found, err := s.Match(t.Context(), []Resource{one, two})
	if err != nil || !cmp.Equal(found, []bool{false, false}) {
		t.Errorf("still offered: %v %v", found, err)
	}
}

func TestPutPackage_WorksWithoutExtendedAttributes(t *testing.T) {
	s := newStore(t, Options{})
	put(t, s, app)
	a := resource("a", "a", 0o644)
	if err := syscall.Removexattr(s.poolPath(a.SHA1, a.Size, 0o644), attrSHA256); err != nil {
		t.Log("no extended attributes here:", err)
	}
	if got, want := put(t, s, nil, a), put(t, s, files{"a": "a"}); got != want {
		t.Error("matched and uploaded content differ")
	}
}

func TestPutPackage_TreesCanBeReadByOtherUsersAndWrittenByNone(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	s := newStore(t, Options{})
	p := put(t, s, app)
	m, err := s.Commit(t.Context(), app.write(t, filepath.Join(t.TempDir(), "d")), CommitInfo{})
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{s.treePath(packages, p), s.treePath(trees, m.Digest)} {
		err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil || d.Type()&fs.ModeSymlink != 0 {
				return err
			}
			info, err := d.Info()
			if mode := info.Mode().Perm(); mode != 0o755 && (mode != 0o644 || d.IsDir()) {
				t.Errorf("%s has mode %v", p, info.Mode())
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"", "trees", "packages"} {
		info, err := os.Stat(filepath.Join(s.dir, d))
		if err != nil || info.Mode().Perm()&0o711 != 0o711 {
			t.Errorf("%q: %v %v", d, info.Mode(), err)
		}
	}
}

func TestCopyPackage_IsWritableAndKeepsTimes(t *testing.T) {
	s := newStore(t, Options{})
	digest := put(t, s, app)
	dst := filepath.Join(t.TempDir(), "build", "app")
	if err := s.CopyPackage(t.Context(), digest, dst); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(whole(), read(t, dst)); diff != "" {
		t.Error(diff)
	}
	ours, copied := filepath.Join(s.treePath(packages, digest), "index.js"), filepath.Join(dst, "index.js")
	if inodeOf(t, ours) == inodeOf(t, copied) {
		t.Error("the copy is the original")
	}
	a, err := os.Stat(ours)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(copied)
	if err != nil || !a.ModTime().Equal(b.ModTime()) {
		t.Errorf("times: %v and %v, %v", a.ModTime(), b.ModTime(), err)
	}
	if err := os.WriteFile(copied, []byte("changed"), 0o644); err != nil {
		t.Error(err)
	}
	if err := s.CopyPackage(t.Context(), strings.Repeat("0", 64), dst); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("of an unknown package: %v", err)
	}
}

func TestOpenPackage_GivesBackAnArchiveOfIt(t *testing.T) {
	s := newStore(t, Options{})
	digest := put(t, s, app)
	for _, f := range []archive.Format{archive.Zip, archive.Tar, archive.TarGz, archive.TarZst} {
		var b bytes.Buffer
		if err := s.OpenPackage(t.Context(), digest, f, &b); err != nil {
			t.Fatal(err)
		}
		if again, _, err := s.PutPackage(t.Context(), &b, nil); err != nil || again != digest {
			t.Errorf("%s: came back as %s, %v", f, again, err)
		}
	}
}

func TestPutPackage_ManyAtOnceAndSweepsBetween(t *testing.T) {
	s := newStore(t, Options{})
	ctx, cancel := context.WithCancel(t.Context())
	var sweeps sync.WaitGroup
	sweeps.Go(func() {
		for ctx.Err() == nil {
			if _, err := s.Sweep(ctx, nil, nil, time.Minute); err != nil && ctx.Err() == nil {
				t.Error(err)
			}
		}
	})
	var puts sync.WaitGroup
	want := put(t, s, app)
	for range 4 {
		puts.Go(func() {
			for range 10 {
				digest, _, err := s.PutPackage(t.Context(), app.zip(t), []Resource{resource("index.js", app["index.js"], 0o644)})
				if err != nil || digest != want {
					t.Errorf("got %s, %v", digest, err)
				}
			}
		})
	}
	puts.Wait()
	cancel()
	sweeps.Wait()
	s.discards.Wait()
	if left, err := os.ReadDir(s.session); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v %v", left, err)
	}
}
