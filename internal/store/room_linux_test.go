package store_test

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

func TestKeepRoom_LetsChangesBeMadeWhileTheDiskIsFull(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root to mount a small tmpfs")
	}
	disk := t.TempDir()
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=32m"); err != nil {
		t.Skip("cannot mount a tmpfs here:", err)
	}
	defer func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	}()
	s, err := store.Open(t.Context(), filepath.Join(disk, "weir.db"))
	must(t, err)
	defer s.Close()
	must(t, s.KeepRoom(t.Context()))
	fill(t, filepath.Join(disk, "filler"))
	user := platform.User{Resource: platform.NewResource(time.Now()), Username: "u", Origin: "uaa"}
	for i := range 3000 { // more than the log holds before it begins anew
		if err := s.SetSetting(t.Context(), fmt.Sprint("name-", i%1000), fmt.Sprint(i)); err != nil {
			t.Fatalf("change %d: %v", i, err)
		}
	}
	must(t, s.InsertUser(t.Context(), user))
	must(t, s.DeleteUser(t.Context(), user.GUID))
}

// fill takes up what is left of a disk.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	must(t, err)
	defer f.Close()
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
}

func TestKeepRoom_ChangesNothingWhereThereIsEnough(t *testing.T) {
	path := filepath.Join(t.TempDir(), "weir.db")
	s, err := store.Open(t.Context(), path)
	must(t, err)
	defer s.Close()
	sizes := func() (n [2]int64) {
		for i, name := range []string{path, path + "-wal"} {
			info, err := os.Stat(name)
			must(t, err)
			n[i] = info.Size()
		}
		return n
	}
	must(t, s.KeepRoom(t.Context()))
	before := sizes()
	if before[0] < 4<<20 || before[0] > 8<<20 || before[1] < 4<<20 || before[1] > 8<<20 {
		t.Errorf("file and log have %d bytes, want about 4 MiB of room", before)
	}
	must(t, s.KeepRoom(t.Context()))
	if after := sizes(); after != before {
		t.Errorf("file and log have %d bytes after %d", after, before)
	}
	if _, ok, err := s.Setting(t.Context(), "room"); ok || err != nil {
		t.Errorf("what made the room is left in it: %v, %v", ok, err)
	}
}
