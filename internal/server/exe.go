package server

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// sharedExe returns a path of weir's own binary that builds and instances may
// run: the binary itself or, when weir runs as root from a directory that
// other users may not enter, a copy under the data directory.
func sharedExe(cfg Config) (string, error) {
	exe, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding weir's own binary: %w", err)
	}
	if os.Geteuid() != 0 || enterable(filepath.Dir(exe)) {
		return exe, nil
	}
	dir := filepath.Join(cfg.DataDir, "bin")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("copying weir's own binary: %w", err)
	}
	copied := filepath.Join(dir, "weir")
	if err := refreshCopy(exe, copied); err != nil {
		return "", fmt.Errorf("copying weir's own binary: %w", err)
	}
	return copied, nil
}

// refreshCopy makes to a copy of from unless it is one by size and time.
func refreshCopy(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	want, err := src.Stat()
	if err != nil {
		return err
	}
	have, err := os.Stat(to)
	if err == nil && have.Size() == want.Size() && have.ModTime().Equal(want.ModTime()) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(to), ".tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := io.Copy(tmp, src); err != nil {
		return err
	}
	if err := tmp.Chmod(0o755); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	if err := os.Chtimes(tmp.Name(), want.ModTime(), want.ModTime()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), to)
}
