package droplets

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/droplets/archive"
	"weir/internal/platform"
)

var built = files{
	"app/index.js": "console.log(1)", "*app/bin/run": "#!/bin/sh", "app/link": "->index.js",
	"app/to-deps": "->../deps/0/lib", "deps/0/lib/x.so": "elf", "profile.d/0.sh": "export A=1",
	"tmp/": "", "logs/": "", "staging_info.yml": `{"start_command":"./bin/run"}`, "app/by\xffte": "1",
}

var info = CommitInfo{
	ProcessTypes: map[string]string{"web": "./bin/run", "worker": "./bin/work"},
	Stack:        "host",
	Buildpacks:   []Buildpack{{Name: "node", Version: "1", Digest: "abc"}, {Name: "procfile"}},
}

func commit(t testing.TB, s *Store, f files, info CommitInfo) Manifest {
	t.Helper()
	m, err := s.Commit(t.Context(), f.write(t, filepath.Join(t.TempDir(), "build")), info)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCommit_TakesTheDirectoryOverAndDescribesIt(t *testing.T) {
	s := newStore(t, Options{})
	dir := built.write(t, filepath.Join(t.TempDir(), "build"))
	inode := inodeOf(t, filepath.Join(dir, "app/index.js"))
	m, err := s.Commit(t.Context(), dir, info)
	if err != nil {
		t.Fatal(err)
	}
	tree, ok := s.Tree(m.Digest)
	if !ok || inodeOf(t, filepath.Join(tree, "app/index.js")) != inode {
		t.Error("the tree was not renamed into place")
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the directory is still there")
	}
	again, err := s.Manifest(t.Context(), m.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(m, again, cmp.AllowUnexported(File{})); diff != "" {
		t.Errorf("manifest as read back:\n%s", diff)
	}
	if err := s.Verify(t.Context(), m.Digest); err != nil {
		t.Error(err)
	}
}

func TestCommit_SameContentSameDigest(t *testing.T) {
	s := newStore(t, Options{})
	first := commit(t, s, built, info)

	// Other times, modes of the same class, another order of creation.
	dir := built.write(t, filepath.Join(t.TempDir(), "other"))
	for name, mode := range map[string]fs.FileMode{
		"app": 0o700, "app/index.js": 0o600, "app/bin/run": 0o711, "logs": 0o777 | fs.ModeSetgid, "staging_info.yml": 0o444,
		"deps/0/lib": 0o555, "app/bin": 0o100, "profile.d/0.sh": 0o000,
	} {
		if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(dir, "app/link"), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	second, err := s.Commit(t.Context(), dir, info)
	if err != nil {
		t.Fatal(err)
	}
	if first.Digest != second.Digest {
		t.Error("times and modes changed the digest")
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the second directory was not discarded")
	}
	s.discards.Wait()
	if left, err := os.ReadDir(s.session); err != nil || len(left) != 0 {
		t.Errorf("left in tmp: %v %v", left, err)
	}
	if diff := cmp.Diff(map[string]string(read(t, s.treePath(trees, first.Digest)))["*app/bin/run"], "#!/bin/sh"); diff != "" {
		t.Error(diff)
	}
}

func TestCommit_EverythingThatMattersChangesTheDigest(t *testing.T) {
	s := newStore(t, Options{})
	digests := map[string]string{commit(t, s, built, info).Digest: "the original"}
	record := func(what string, m Manifest) {
		if other, ok := digests[m.Digest]; ok {
			t.Errorf("%s has the digest of %s", what, other)
		}
		digests[m.Digest] = what
	}
	with := func(change func(files)) files {
		f := maps.Clone(built)
		change(f)
		return f
	}
	record("another content", commit(t, s, with(func(f files) { f["app/index.js"] = "console.log(2)" }), info))
	record("another name", commit(t, s, with(func(f files) { f["app/Index.js"] = f["app/index.js"]; delete(f, "app/index.js") }), info))
	record("no exec bit", commit(t, s, with(func(f files) { f["app/bin/run"] = f["*app/bin/run"]; delete(f, "*app/bin/run") }), info))
	record("another target", commit(t, s, with(func(f files) { f["app/link"] = "->./index.js" }), info))
	record("an empty directory", commit(t, s, with(func(f files) { f["app/empty/"] = "" }), info))
	record("a link for a file", commit(t, s, with(func(f files) { f["app/index.js"] = "->bin/run" }), info))
	change := func(what string, fn func(*CommitInfo)) {
		i := info
		i.ProcessTypes = maps.Clone(info.ProcessTypes)
		i.Buildpacks = append([]Buildpack(nil), info.Buildpacks...)
		fn(&i)
		record(what, commit(t, s, built, i))
	}
	change("another command", func(i *CommitInfo) { i.ProcessTypes["web"] = "x" })
	change("another process", func(i *CommitInfo) { delete(i.ProcessTypes, "worker") })
	change("another stack", func(i *CommitInfo) { i.Stack = "x" })
	change("another buildpack", func(i *CommitInfo) { i.Buildpacks[0].Digest = "x" })
	change("other order", func(i *CommitInfo) { i.Buildpacks[0], i.Buildpacks[1] = i.Buildpacks[1], i.Buildpacks[0] })
	change("shifted fields", func(i *CommitInfo) { i.Buildpacks[0] = Buildpack{Name: "nod", Version: "e1", Digest: "abc"} })
}

func TestCommit_DropsWhatIsNoFile(t *testing.T) {
	s := newStore(t, Options{})
	dir := built.write(t, filepath.Join(t.TempDir(), "b"))
	if err := syscall.Mkfifo(filepath.Join(dir, "app/pipe"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(dir, "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m, err := s.Commit(t.Context(), dir, info)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"app/pipe", "s"}; !cmp.Equal(want, m.Dropped) {
		t.Errorf("dropped %v, want %v", m.Dropped, want)
	}
	if want := commit(t, s, built, info).Digest; m.Digest != want {
		t.Error("what was dropped is in the digest")
	}
}

func TestCommit_LinksOutOfTheTreeLeadToToolchainsOnly(t *testing.T) {
	s := newStore(t, Options{})
	with := func(target string) (Manifest, error) {
		f := maps.Clone(built)
		f["app/venv/bin/python"] = "->" + target
		i := info
		i.Toolchains = []string{"/usr/bin/python3", "/usr/lib/go/"}
		return s.Commit(t.Context(), f.write(t, filepath.Join(t.TempDir(), "b")), i)
	}
	for _, ok := range []string{"/usr/bin/python3", "/usr/lib/go/bin/go", "/usr/bin/../bin/python3", "../../../app/index.js", "nowhere"} {
		if m, err := with(ok); err != nil || m.Digest == "" {
			t.Errorf("%s: %v", ok, err)
		}
	}
	for _, bad := range []string{"/usr/bin/python3.11", "/usr/lib/go/../../../etc/passwd", "/etc/passwd", "../../../../x", "../../to-deps/../../../../x"} {
		_, err := with(bad)
		if titleOf(err) != TitleLinkEscape || platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%s: %v", bad, err)
		}
		if err != nil && !strings.Contains(err.Error(), "app/venv/bin/python") {
			t.Errorf("%s: %v does not name the link", bad, err)
		}
	}
}

func TestCommit_CopiesFilesThatHaveANameOutside(t *testing.T) {
	s := newStore(t, Options{})
	dir := built.write(t, filepath.Join(t.TempDir(), "b"))
	cache := filepath.Join(filepath.Dir(dir), "cached")
	if err := os.Link(filepath.Join(dir, "app/index.js"), cache); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(cache, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(dir, "deps/0/lib/x.so"), filepath.Join(dir, "deps/0/lib/y.so")); err != nil {
		t.Fatal(err)
	}
	m, err := s.Commit(t.Context(), dir, info)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(cache, []byte("changed in the cache"), 0o600); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(cache); err != nil || info.Mode() != 0o600 {
		t.Errorf("the cache's own file changed: %v %v", info.Mode(), err)
	}
	if err := s.Verify(t.Context(), m.Digest); err != nil {
		t.Error(err)
	}
	lib := filepath.Join(s.treePath(trees, m.Digest), "deps/0/lib")
	if inodeOf(t, lib+"/x.so") != inodeOf(t, lib+"/y.so") {
		t.Error("two names inside the tree became two files")
	}
}

func TestCommit_CopiesWhatAnotherUserOwns(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("only root can give files away")
	}
	s := newStore(t, Options{})
	want := commit(t, s, built, info).Digest
	if _, err := s.Sweep(t.Context(), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	dir := built.write(t, filepath.Join(t.TempDir(), "b"))
	if err := os.Lchown(filepath.Join(dir, "app/index.js"), 200001, 200001); err != nil {
		t.Fatal(err)
	}
	m, err := s.Commit(t.Context(), dir, info)
	if err != nil || m.Digest != want {
		t.Fatalf("got %s, %v, want %s", m.Digest, err, want)
	}
	tree, _ := s.Tree(m.Digest)
	fi, err := os.Lstat(filepath.Join(tree, "app/index.js"))
	if err != nil || fi.Sys().(*syscall.Stat_t).Uid != 0 {
		t.Errorf("owner: %+v %v", fi, err)
	}
}

func TestCommit_CopiesFromAnotherDisk(t *testing.T) {
	other, err := os.MkdirTemp("/dev/shm", "weir-test-")
	if err != nil {
		t.Skip("no other disk:", err)
	}
	defer os.RemoveAll(other)
	s := newStore(t, Options{})
	want := commit(t, s, built, info).Digest
	if _, err := s.Sweep(t.Context(), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	dir := built.write(t, filepath.Join(other, "build"))
	m, err := s.Commit(t.Context(), dir, info)
	if err != nil || m.Digest != want {
		t.Errorf("got %s, %v, want %s", m.Digest, err, want)
	}
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Error("the directory is still there")
	}
}

// What a platform that starts again finds may have been damaged meanwhile; what
// it made itself, or has checked, it does not look at again.
func TestCheckOnce_LooksAtWhatAnEarlierStoreLeft(t *testing.T) {
	s := newStore(t, Options{})
	m := commit(t, s, built, info)
	dir, _ := s.Tree(m.Digest)
	hurt := func(content string) {
		t.Helper()
		if err := os.WriteFile(dir+"/app/index.js", []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	open := func() *Store {
		t.Helper()
		later, err := Open(s.dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { later.Close() })
		return later
	}
	whole, err := os.ReadFile(dir + "/app/index.js")
	if err != nil {
		t.Fatal(err)
	}
	later := open()
	if err := later.CheckOnce(t.Context(), m.Digest); err != nil {
		t.Errorf("a droplet nobody touched: %v", err)
	}
	hurt("console.log(3)")
	for name, who := range map[string]*Store{"whoever made it": s, "whoever has checked it": later} {
		if err := who.CheckOnce(t.Context(), m.Digest); err != nil {
			t.Errorf("%s looks again: %v", name, err)
		}
	}
	if err := open().CheckOnce(t.Context(), m.Digest); titleOf(err) != TitleCorrupt {
		t.Errorf("a damaged droplet: %v", err)
	}
	hurt(string(whole))
	if err := open().CheckOnce(t.Context(), m.Digest); titleOf(err) != TitleCorrupt {
		t.Errorf("one that was found damaged: %v", err)
	}
	if again := commit(t, s, built, info); again.Digest != m.Digest {
		t.Fatalf("committed again as %s", again.Digest)
	}
	if err := open().CheckOnce(t.Context(), m.Digest); err != nil {
		t.Errorf("one that was made again: %v", err)
	}
	if err := s.CheckOnce(t.Context(), strings.Repeat("0", 64)); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("one that is not there: %v", err)
	}
}

func TestVerify_FindsEveryKindOfDamageAndACommitMendsIt(t *testing.T) {
	s := newStore(t, Options{})
	for name, hurt := range map[string]func(dir string) error{
		"truncated": func(d string) error { return os.Truncate(d+"/app/index.js", 3) },
		"bit flip":  func(d string) error { return os.WriteFile(d+"/app/index.js", []byte("console.log(3)"), 0o644) },
		"mode":      func(d string) error { return os.Chmod(d+"/app/bin/run", 0o644) },
		"removed":   func(d string) error { return os.Remove(d + "/staging_info.yml") },
		"added":     func(d string) error { return os.WriteFile(d+"/app/evil.js", nil, 0o644) },
		"link": func(d string) error {
			return errors.Join(os.Remove(d+"/app/link"), os.Symlink("bin/run", d+"/app/link"))
		},
		"dir for file": func(d string) error {
			return errors.Join(os.Remove(d+"/app/index.js"), os.Mkdir(d+"/app/index.js", 0o755))
		},
		"swapped":        func(d string) error { return os.Rename(d+"/deps/0/lib/x.so", d+"/profile.d/0.sh") },
		"manifest":       func(d string) error { return os.WriteFile(d+".json", []byte("{}"), 0o644) },
		"manifest entry": func(d string) error { return edit(d+".json", `"size":14`, `"size":15`) },
	} {
		m := commit(t, s, built, info)
		for _, check := range []func(context.Context, string) error{s.Check, s.Verify} {
			if err := check(t.Context(), m.Digest); err != nil {
				t.Fatalf("%s: before: %v", name, err)
			}
			dir, _ := s.Tree(m.Digest)
			if err := hurt(dir); err != nil {
				t.Fatal(err)
			}
			err := check(t.Context(), m.Digest)
			if titleOf(err) != TitleCorrupt {
				t.Errorf("%s: got %v", name, err)
			}
			if _, err := s.Lease(m.Digest); titleOf(err) != TitleCorrupt {
				t.Errorf("%s: leased after: %v", name, err)
			}
			if _, ok := s.Tree(m.Digest); ok {
				t.Errorf("%s: still offered", name)
			}
			if again := commit(t, s, built, info); again.Digest != m.Digest {
				t.Errorf("%s: committed again as %s", name, again.Digest)
			}
		}
		if err := s.Verify(t.Context(), m.Digest); err != nil {
			t.Errorf("%s: not mended: %v", name, err)
		}
	}
	if _, err := s.Sweep(t.Context(), nil, nil, 0); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(s.dir, "trees")); err != nil || len(left) != 0 {
		t.Errorf("left: %v %v", left, err)
	}
}

func edit(name, from, to string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	return os.WriteFile(name, bytes.Replace(b, []byte(from), []byte(to), 1), 0o644)
}

func TestCheck_SeesAFlippedBitBehindTheSameTimeOnlyInFull(t *testing.T) {
	s := newStore(t, Options{})
	m := commit(t, s, built, info)
	dir, _ := s.Tree(m.Digest)
	p := filepath.Join(dir, "app/index.js")
	old, err := os.Stat(p)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte("console.log(7)"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(p, old.ModTime(), old.ModTime()); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), m.Digest); err != nil {
		t.Errorf("Check reads everything: %v", err)
	}
	if err := s.Verify(t.Context(), m.Digest); titleOf(err) != TitleCorrupt {
		t.Errorf("Verify: %v", err)
	}
}

func TestExportImport_RoundTrip(t *testing.T) {
	s := newStore(t, Options{})
	i := info
	i.Toolchains = []string{"/usr/bin/python3"}
	f := maps.Clone(built)
	f["app/python"] = "->/usr/bin/python3"
	f["app/A"], f["app/a"] = "case", "matters"
	m := commit(t, s, f, i)
	for _, format := range []archive.Format{archive.TarGz, archive.TarZst, archive.Tar, archive.Zip} {
		var b bytes.Buffer
		if err := s.Export(t.Context(), m.Digest, format, &b); err != nil {
			t.Fatal(err)
		}
		other := newStore(t, Options{})
		got, err := other.Import(t.Context(), struct{ io.Reader }{&b}, func(dir string) (CommitInfo, error) {
			_, err := os.Stat(filepath.Join(dir, "staging_info.yml"))
			return i, err
		})
		if err != nil || got.Digest != m.Digest {
			t.Errorf("%s: got %s, %v, want %s", format, got.Digest, err, m.Digest)
		}
	}
	var b bytes.Buffer
	if err := s.Export(t.Context(), m.Digest, archive.Tar, &b); err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(b.Bytes(), []byte("./app/bin/run\x00")) || !bytes.Contains(b.Bytes(), []byte("./staging_info.yml\x00")) {
		t.Error("not Cloud Foundry's layout")
	}
	if _, err := s.Import(t.Context(), &b, nil); titleOf(err) != TitleLinkEscape {
		t.Errorf("a link to a toolchain nobody vouches for: %v", err)
	}
	if _, err := s.Import(t.Context(), app.zip(t), nil); titleOf(err) != TitleNoDroplet {
		t.Errorf("an app's source: %v", err)
	}
	boom := errors.New("boom")
	if _, err := s.Import(t.Context(), built.zip(t), func(string) (CommitInfo, error) { return CommitInfo{}, boom }); !errors.Is(err, boom) {
		t.Errorf("inspect's error: %v", err)
	}
}

func TestStore_UnknownDigestsAreNotFound(t *testing.T) {
	s := newStore(t, Options{})
	m := commit(t, s, built, info)
	for _, d := range []string{"", "x", "..", strings.Repeat("0", 64), strings.ToUpper(m.Digest), m.Digest + ".json", "../trees/" + m.Digest} {
		if _, ok := s.Tree(d); ok {
			t.Errorf("Tree(%q)", d)
		}
		_, leaseErr := s.Lease(d)
		_, manifestErr := s.Manifest(t.Context(), d)
		for what, err := range map[string]error{
			"Lease": leaseErr, "Manifest": manifestErr, "Verify": s.Verify(t.Context(), d),
			"Export": s.Export(t.Context(), d, archive.Tar, io.Discard), "OpenPackage": s.OpenPackage(t.Context(), d, archive.Tar, io.Discard),
		} {
			if platform.KindOf(err) != platform.KindNotFound {
				t.Errorf("%s(%q): %v", what, d, err)
			}
		}
	}
}
