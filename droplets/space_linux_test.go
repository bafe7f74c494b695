package droplets

import (
	"archive/zip"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"weir/internal/platform"
)

// big is a file of n bytes, stored: as large packed as unpacked.
func big(t *testing.T, n int) (files, *bytes.Buffer) {
	t.Helper()
	f := files{"app/big": strings.Repeat("x", n)}
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range f {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return f, &b
}

func wantExhausted(t *testing.T, what string, err error) {
	t.Helper()
	e, ok := errors.AsType[*platform.Error](err)
	if !ok || e.Kind != platform.KindExhausted || e.Hint == "" {
		t.Errorf("%s: got %v, want a KindExhausted error with a hint", what, err)
	}
}

func TestStore_LeavesTheReserveFree(t *testing.T) {
	s := newStore(t, Options{})
	digest := put(t, s, app)
	before := read(t, s.dir)
	s.o.Reserve = 1 << 60
	_, bits := big(t, 1<<20)
	_, _, err := s.PutPackage(t.Context(), struct{ io.Reader }{bytes.NewReader(bits.Bytes())}, nil)
	wantExhausted(t, "PutPackage", err)
	_, _, err = s.PutPackage(t.Context(), bytes.NewReader(bits.Bytes()), nil)
	wantExhausted(t, "PutPackage of a file", err)
	_, err = s.Import(t.Context(), bits, nil)
	wantExhausted(t, "Import", err)
	if diff := cmp.Diff(before, read(t, s.dir)); diff != "" {
		t.Errorf("left behind:\n%s", diff)
	}
	if err := s.OpenPackage(t.Context(), digest, "zip", &bytes.Buffer{}); err != nil {
		t.Error("what is there cannot be read:", err)
	}
}

func TestStore_SurvivesAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=8m"); err != nil {
		t.Skip("cannot mount a tmpfs here:", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	s, err := Open(filepath.Join(disk, "store"), Options{Reserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Chmod(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	digest := put(t, s, app)
	used, inodes := usage(t, s.dir)
	for what, n := range map[string]int{"while unpacking": 5 << 20, "while receiving": 9 << 20} {
		f, bits := big(t, n)
		_, _, err := s.PutPackage(t.Context(), struct{ io.Reader }{bytes.NewReader(bits.Bytes())}, nil)
		wantExhausted(t, "PutPackage "+what, err)
		_, err = s.Import(t.Context(), struct{ io.Reader }{bits}, nil)
		wantExhausted(t, "Import "+what, err)
		outside := f.write(t, filepath.Join(t.TempDir(), "build"))
		_, err = s.Commit(t.Context(), outside, CommitInfo{}) // from another disk: a copy
		if what == "while receiving" {
			wantExhausted(t, "Commit "+what, err)
		}
		if _, err := s.Sweep(t.Context(), nil, []string{digest}, 0); err != nil {
			t.Fatal(err)
		}
		if u, i := usage(t, s.dir); u != used || i != inodes {
			t.Errorf("%s: %d bytes in %d files, before %d in %d", what, u, i, used, inodes)
		}
	}
	if again := put(t, s, app); again != digest {
		t.Error("the store does not work any more")
	}
}

func TestSpread_MarksWhereTreesAreMade(t *testing.T) {
	plain := t.TempDir()
	Spread(plain)
	if !isSpread(t, plain) {
		t.Skip("the file system does not know what is the top of a hierarchy")
	}
	if s := newStore(t, Options{}); !isSpread(t, s.session) {
		t.Error("the trees of a store are all made in the same part of the disk")
	}
}

func isSpread(t *testing.T, dir string) bool {
	t.Helper()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	return err == nil && flags&topDir != 0
}
