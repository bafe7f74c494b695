package droplets

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// knownApp puts a package of three files into the app directory of a new
// droplet, by put, and lets change do what a build does.
func knownApp(t *testing.T, s *Store, put func(digest, dst string) (*Known, error), change func(app string)) (dir string, k *Known) {
	t.Helper()
	digest, _, err := s.PutPackage(t.Context(), files{"a.txt": "aaaa", "run.sh": "#!x", "sub/b.txt": "bbbb"}.zip(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(t.TempDir(), "droplet")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if k, err = put(digest, filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	change(filepath.Join(dir, "app"))
	return dir, k
}

func TestCommitKnown_IsWhatCommitMakes(t *testing.T) {
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	nothing := func(string) {}
	replace := func(app string) { // as a program does that leaves the old file alone
		must(os.WriteFile(filepath.Join(app, "new"), []byte("AAAA"), 0o644))
		must(os.Rename(filepath.Join(app, "new"), filepath.Join(app, "a.txt")))
		must(os.Rename(filepath.Join(app, "sub"), filepath.Join(app, "moved")))
		must(os.Remove(filepath.Join(app, "run.sh")))
		must(os.WriteFile(filepath.Join(app, "added"), []byte("+"), 0o644))
	}
	overwrite := func(app string) { // of the same size, with the old time
		name := filepath.Join(app, "a.txt")
		info, err := os.Stat(name)
		must(err)
		must(os.WriteFile(name, []byte("AAAA"), 0o644))
		must(os.Chtimes(name, info.ModTime(), info.ModTime()))
	}
	for _, c := range []struct {
		name   string
		linked bool
		change func(string)
	}{
		{"linked", true, nothing},
		{"linked, replaced", true, replace},
		{"copied", false, nothing},
		{"copied, replaced", false, replace},
		{"copied, overwritten", false, overwrite},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStore(t, Options{})
			put := func(digest, dst string) (*Known, error) { return s.CopyKnown(t.Context(), digest, dst) }
			if c.linked {
				put = func(digest, dst string) (*Known, error) { return s.LinkKnown(t.Context(), digest, dst) }
			}
			dir, k := knownApp(t, s, put, c.change)
			got, err := s.CommitKnown(t.Context(), dir, CommitInfo{}, k)
			if err != nil {
				t.Fatal(err)
			}
			plain, _ := knownApp(t, s, func(digest, dst string) (*Known, error) { return nil, s.CopyPackage(t.Context(), digest, dst) }, c.change)
			want, err := s.Commit(t.Context(), plain, CommitInfo{})
			if err != nil {
				t.Fatal(err)
			}
			if got.Digest != want.Digest {
				t.Error(cmp.Diff(want.Files, got.Files, cmp.AllowUnexported(File{})))
			}
			if err := s.Verify(t.Context(), got.Digest); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestCommitKnown_SharesTheFilesOfThePackage(t *testing.T) {
	s := newStore(t, Options{})
	digest := ""
	dir, k := knownApp(t, s, func(d, dst string) (*Known, error) {
		digest = d
		return s.LinkKnown(t.Context(), d, dst)
	}, func(string) {})
	m, err := s.CommitKnown(t.Context(), dir, CommitInfo{}, k)
	if err != nil {
		t.Fatal(err)
	}
	tree, _ := s.Tree(m.Digest)
	release, pkg, err := s.PackageDir(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	for _, name := range []string{"a.txt", "sub/b.txt"} {
		if inodeOf(t, filepath.Join(tree, "app", name)) != inodeOf(t, filepath.Join(pkg, name)) {
			t.Errorf("%s of droplet and package are two files", name)
		}
	}
}
