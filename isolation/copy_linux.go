package isolation

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

type fileOwner struct{ uid, gid int }

// copyTree copies a directory: files share their blocks with the original
// where the file system can. Everything is given to the owner, if there is one.
func copyTree(ctx context.Context, from, to string, owner *fileOwner) error {
	type dirMode struct {
		path string
		mode fs.FileMode
	}
	var dirs []dirMode
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		dst := filepath.Join(to, rel)
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch {
		case d.IsDir():
			dirs = append(dirs, dirMode{dst, info.Mode().Perm()})
			err = os.Mkdir(dst, 0o700)
		case d.Type()&fs.ModeSymlink != 0:
			err = copyLink(path, dst)
		case d.Type().IsRegular():
			err = copyFile(path, dst, info)
		default:
			return nil // a droplet holds nothing else
		}
		if err == nil && owner != nil {
			err = os.Lchown(dst, owner.uid, owner.gid)
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, d := range dirs { // a directory may be read-only: its mode comes last
		if err := os.Chmod(d.path, d.mode); err != nil {
			return err
		}
	}
	return nil
}

func copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return os.Symlink(target, to)
}

func copyFile(from, to string, info fs.FileInfo) error {
	src, err := os.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, info.Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	if unix.IoctlFileClone(int(dst.Fd()), int(src.Fd())) != nil {
		_, err = io.Copy(dst, src) // copy_file_range, inside the kernel
	}
	if err == nil {
		err = dst.Chmod(info.Mode().Perm())
	}
	if err := errors.Join(err, dst.Close()); err != nil {
		return err
	}
	return os.Chtimes(to, info.ModTime(), info.ModTime())
}

// removeTree removes a directory with everything in it, even what a program
// left without permissions.
func removeTree(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			if chmodErr := os.Chmod(path, 0o700); chmodErr == nil && err != nil {
				// It was not readable before: look again.
				return removeTree(path)
			}
		}
		return nil
	})
	return os.RemoveAll(dir)
}
