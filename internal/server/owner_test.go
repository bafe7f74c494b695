package server

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"weir/internal/keeper"
	"weir/internal/platform"
)

// What root copies belongs to root, and what a tool copies may be readable by all.
func TestHandOver_MakesABackupThatWasPutBackUsable(t *testing.T) {
	uid := os.Geteuid()
	if uid == 0 {
		uid = 199999
	}
	dir := t.TempDir()
	cfg := Config{DataDir: dir, UID: uid}
	files := []string{
		"weir.db", "admin-password", "droplets/trees/7c/bin/app", "droplets/packages/31/deep/down/below/file",
		"cache/1f37eb6b/npm/index", "build-cache/go/std", "instances/app/made-by-its-uid",
	}
	for _, name := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := filepath.Join(t.TempDir(), "not-weir's")
	if err := os.WriteFile(elsewhere, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(elsewhere, filepath.Join(dir, "droplets/trees/7c/link")); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	if err := handOver(cfg, logger); err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		want := uid
		if strings.HasPrefix(name, "instances/") {
			want = os.Geteuid()
		}
		if got := owner(t, filepath.Join(dir, name)); got != want {
			t.Errorf("%s belongs to %d, want %d", name, got, want)
		}
	}
	if got := owner(t, elsewhere); got != os.Geteuid() {
		t.Errorf("a file outside of the data directory was given to %d", got)
	}
	info, err := os.Stat(filepath.Join(dir, "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the database has the mode %v, want 0600", info.Mode().Perm())
	}
	if os.Geteuid() == 0 && !strings.Contains(log.String(), "given to its uid") {
		t.Errorf("the log does not say it: %q", log.String())
	}
	log.Reset()
	if err := handOver(cfg, logger); err != nil || log.Len() > 0 {
		t.Errorf("again: %v, log %q, want nothing to do", err, log.String())
	}
}

// Another --uid or --data typed wrong must not take a running platform's files away.
func TestServe_LeavesADataDirectoryInUseAlone(t *testing.T) {
	dir, err := os.MkdirTemp("", "weir-server-") // users of instances could enter it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Mkdir(filepath.Join(dir, "droplets"), 0o700); err != nil {
		t.Fatal(err)
	}
	lock, err := keeper.LockDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Release()
	cfg := Config{
		DataDir: dir, BuildCache: filepath.Join(dir, "build-cache"), UID: 54321, LogFormat: "text",
		HTTPAddr: "127.0.0.1:0", APIAddr: "127.0.0.1:0",
	}
	if os.Geteuid() != 0 {
		cfg.UID = os.Geteuid()
	}
	if err := Serve(t.Context(), cfg, io.Discard); platform.KindOf(err) != platform.KindConflict {
		t.Fatalf("got %v, want to be told who uses it", err)
	}
	info, err := os.Stat(filepath.Join(dir, "droplets"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 || uidOf(info) != os.Geteuid() {
		t.Errorf("the directory has the mode %v now and belongs to %d", info.Mode().Perm(), uidOf(info))
	}
}

func TestHandOver_NamesADatabaseOfSomebodyElse(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can give a database to whom it likes")
	}
	root, err := os.OpenRoot("/etc") // its files are root's, and nobody else may change them
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var perr *platform.Error
	if err := closeFiles(root, "/etc", []string{"passwd"}); !errors.As(err, &perr) || !strings.Contains(perr.Msg, "another user") {
		t.Errorf("got %v, want to be told whose it is", err)
	}
}

func owner(t *testing.T, path string) int {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return uidOf(info)
}
