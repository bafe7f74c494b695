package archive

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What other people's tools make of a directory unpacks to that directory.
func TestUnpack_TakesWhatCommonToolsMake(t *testing.T) {
	const withLinks, withoutLinks = true, false
	for _, tt := range []struct {
		name  string
		links bool
		argv  []string // run in the directory; OUT is the archive
	}{
		{"GNU tar", withLinks, []string{"tar", "-cf", "OUT", "."}},
		{"GNU tar, pax", withLinks, []string{"tar", "--format=pax", "-cf", "OUT", "."}},
		{"GNU tar, v7", withLinks, []string{"tar", "--format=v7", "-cf", "OUT", "."}},
		{"GNU tar, gzip", withLinks, []string{"tar", "-czf", "OUT", "."}},
		{"GNU tar, zstd", withLinks, []string{"tar", "--zstd", "-cf", "OUT", "."}},
		{"bsdtar", withLinks, []string{"bsdtar", "-cf", "OUT", "."}},
		{"bsdtar, zip", withLinks, []string{"bsdtar", "--format=zip", "-cf", "OUT", "."}},
		{"Info-ZIP", withLinks, []string{"zip", "-qry", "OUT", "."}},
		{"Info-ZIP, streamed", withLinks, []string{"sh", "-c", "zip -qry - . > OUT"}},
		{"Python, zip", withoutLinks, []string{"python3", "-c", "import shutil; shutil.make_archive('OUT', 'zip', '.')"}},
		{"Python, tar", withLinks, []string{"python3", "-c", "import shutil; shutil.make_archive('OUT', 'gztar', '.')"}},
		{"jar", withoutLinks, []string{"jar", "cfM", "OUT", "."}},
		{"busybox tar", withLinks, []string{"busybox", "tar", "-cf", "OUT", "."}},
		{"git archive", withLinks, []string{"sh", "-c", "git init -q . && git add -A && git -c user.name=x -c user.email=x commit -qm x && git archive --format=tar.gz -o OUT HEAD; rm -rf .git"}},
		{"git archive, zip", withLinks, []string{"sh", "-c", "git init -q . && git add -A && git -c user.name=x -c user.email=x commit -qm x && git archive --format=zip -o OUT HEAD; rm -rf .git"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := exec.LookPath(tt.argv[0]); err != nil {
				t.Skip(tt.argv[0], "is not installed")
			}
			src := tree(t)
			for _, p := range []string{"empty", "bytes\xff"} { // git and zip know no empty directories, or no such names
				if err := os.Remove(filepath.Join(src, p)); err != nil {
					t.Fatal(err)
				}
			}
			for _, p := range []string{"link", "dirlink", "a/dangling"} {
				if tt.links {
					break
				}
				if err := os.Remove(filepath.Join(src, p)); err != nil {
					t.Fatal(err)
				}
			}
			out := filepath.Join(t.TempDir(), "out")
			argv := append([]string{}, tt.argv...)
			for i := range argv {
				argv[i] = strings.ReplaceAll(argv[i], "OUT", out)
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Dir = src
			if b, err := cmd.CombinedOutput(); err != nil {
				t.Skipf("%s does not do it here: %v %s", argv[0], err, b)
			}
			made, err := filepath.Glob(out + "*")
			if err != nil || len(made) != 1 {
				t.Fatal(made, err)
			}
			dst := t.TempDir()
			if _, err := UnpackFile(t.Context(), made[0], dst, Options{}); err != nil {
				t.Fatal(err)
			}
			got, want := snapshot(t, dst), map[string]string{}
			for name, v := range snapshot(t, src) {
				v = strings.Replace(v, "-rw------- ", "-rw-r--r-- ", 1)
				want[name] = strings.Replace(v, "-rwx--x--x ", "-rwxr-xr-x ", 1)
			}
			delete(got, ".")
			delete(want, ".")
			if strings.HasPrefix(tt.name, "jar") {
				got["a/run"] = strings.Replace(got["a/run"], "-rw-r--r-- ", "-rwxr-xr-x ", 1) // it keeps no modes
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
