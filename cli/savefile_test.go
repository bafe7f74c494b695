package cli

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestSaveFile_ReplacesFilesAndNothingElse(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	save := func(name, text string) {
		t.Helper()
		if n, err := saveFile(in(name), 0o640, strings.NewReader(text)); err != nil || n != int64(len(text)) {
			t.Fatalf("%s: %d, %v", name, n, err)
		}
	}
	holds := func(name, want string) {
		t.Helper()
		if b, err := os.ReadFile(in(name)); err != nil || string(b) != want {
			t.Errorf("%s holds %q, %v; want %q", name, b, err, want)
		}
	}
	save("file", "one")
	save("file", "two")
	holds("file", "two")
	if info, err := os.Stat(in("file")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for link, to := range map[string]string{"link": "file", "nowhere": "new"} {
		if err := os.Symlink(to, in(link)); err != nil {
			t.Fatal(err)
		}
		save(link, "through "+link)
		holds(to, "through "+link)
		if info, err := os.Lstat(in(link)); err != nil || info.Mode()&fs.ModeSymlink == 0 {
			t.Errorf("%s is no link any more: %v, %v", link, info.Mode(), err)
		}
	}
	if err := syscall.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1) // the test may fail before it is read
	go func() {
		f, err := os.Open(in("pipe"))
		if err != nil {
			got <- err.Error()
			return
		}
		defer f.Close()
		b, _ := io.ReadAll(f)
		got <- string(b)
	}()
	save("pipe", "piped")
	if s := <-got; s != "piped" {
		t.Errorf("the pipe brought %q", s)
	}
	if info, err := os.Lstat(in("pipe")); err != nil || info.Mode()&fs.ModeNamedPipe == 0 {
		t.Errorf("the pipe is no pipe any more: %v, %v", info.Mode(), err)
	}
	if left, _ := filepath.Glob(in(".weir-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestIsStream_LeavesDevicesAlone(t *testing.T) {
	for path, want := range map[string]bool{
		"/dev/stdout": true, "/dev/null": true, "/dev/fd/1": true, "/proc/self/fd/1": true,
		filepath.Join(t.TempDir(), "new"): false, ".": false,
	} {
		if got := isStream(path); got != want {
			t.Errorf("isStream(%s) = %v", path, got)
		}
	}
}
