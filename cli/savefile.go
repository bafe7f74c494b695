package cli

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// saveFile writes r to a file that appears only once it is whole, and returns
// how many bytes that were. Where path is a symbolic link, what it leads to is
// replaced. A device, a pipe or a name for an open file, such as /dev/stdout, is
// written into and stays what it is.
func saveFile(path string, mode os.FileMode, r io.Reader) (int64, error) {
	if isStream(path) {
		return writeInto(path, r)
	}
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".weir-*")
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name()) // does nothing after the rename
	n, err := io.Copy(f, r)
	if err == nil {
		err = f.Chmod(mode)
	}
	if closing := f.Close(); err == nil {
		err = closing
	}
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	return n, err
}

// isStream reports whether path cannot be replaced by a file: it is none, or
// stands for one that is open.
func isStream(path string) bool {
	abs, err := filepath.Abs(path)
	if err == nil && (strings.HasPrefix(abs, "/dev/") || strings.HasPrefix(abs, "/proc/")) {
		return true
	}
	info, err := os.Stat(path)
	return err == nil && !info.Mode().IsRegular() && !info.IsDir() || isDangling(path)
}

// isDangling reports whether path is a symbolic link that leads nowhere yet.
func isDangling(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSymlink == 0 {
		return false
	}
	_, err = os.Stat(path)
	return err != nil
}

func writeInto(path string, r io.Reader) (int64, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return 0, err
	}
	n, err := io.Copy(f, r)
	if closing := f.Close(); err == nil {
		err = closing
	}
	return n, err
}
