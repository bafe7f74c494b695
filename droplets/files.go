package droplets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"weir/droplets/archive"
)

// cut splits a name of an area into the digest and what follows.
func cut(name string) (digest, ext string, ok bool) { return strings.Cut(name, ".") }

// removeAll removes a tree even if directories in it are read-only.
func removeAll(dir string) error {
	err := os.RemoveAll(dir)
	if err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // only if ours; RemoveAll tells what is left
		}
		return nil
	})
	return os.RemoveAll(dir)
}

func syncDir(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// modeClass is the only thing kept of a file's mode.
func modeClass(mode fs.FileMode) fs.FileMode {
	if mode&0o111 != 0 {
		return 0o755
	}
	return 0o644
}

// space watches the free space of the store's disk while something is
// written, so that a large upload fails before the database does.
type space struct {
	s       *Store
	written atomic.Int64
}

const checkSpaceEvery = 4 << 20

func (sp *space) add(n int64) error {
	if now := sp.written.Add(n); now/checkSpaceEvery == (now-n)/checkSpaceEvery && now != n {
		return nil
	}
	var st syscall.Statfs_t
	if err := syscall.Statfs(sp.s.dir, &st); err != nil {
		return err
	}
	reserve := sp.s.o.Reserve
	if reserve <= 0 {
		reserve = min(defaultReserve, int64(st.Blocks)*st.Bsize/50)
	}
	if int64(st.Bavail)*st.Bsize < reserve {
		return archive.DiskError(syscall.ENOSPC)
	}
	return nil
}

// copyFile copies a regular file, sharing blocks if possible. The copy has the
// given mode and the times of the original.
func (s *Store) copyFile(src, dst string, mode fs.FileMode, mtime time.Time, buf []byte) error {
	in, err := os.OpenFile(src, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(dst, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	err = s.copyContent(out, in, buf)
	if err == nil {
		err = out.Chmod(mode)
	}
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(dst, mtime, mtime)
	}
	return err
}

func (s *Store) copyContent(out, in *os.File, buf []byte) error {
	if s.cloning.Load() {
		if clone(out, in) == nil {
			return nil
		}
		s.cloning.Store(false) // not this file system
	}
	n, err := io.ReadFull(in, buf)
	if n > 0 {
		if _, werr := out.Write(buf[:n]); werr != nil {
			return werr
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in) // copy_file_range
	return err
}

// inParallel calls fn for 0 to n-1, with a buffer it may use, until one fails.
func inParallel(ctx context.Context, n int, fn func(i int, buf []byte) error) error {
	g, ctx := errgroup.WithContext(ctx)
	for w := range workers {
		g.Go(func() error {
			var buf []byte
			for i := w; i < n; i += workers {
				if err := ctx.Err(); err != nil {
					return err
				}
				if buf == nil {
					buf = make([]byte, 256<<10)
				}
				if err := fn(i, buf); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return g.Wait()
}

type copyJob struct {
	src, dst string
	info     fs.FileInfo
}

// copyTree copies src into the existing empty directory dst: directories 0755,
// files by class, links as they are; what is none of these is left out.
func (s *Store) copyTree(ctx context.Context, src, dst string) error {
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan copyJob)
	for range workers {
		g.Go(func() error {
			buf := make([]byte, 256<<10)
			for j := range jobs {
				if err := s.copyFile(j.src, j.dst, modeClass(j.info.Mode()), j.info.ModTime(), buf); err != nil {
					return archive.DiskError(err)
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(jobs)
		return filepath.WalkDir(src, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			to := filepath.Join(dst, strings.TrimPrefix(p[len(src):], "/"))
			return copyEntry(ctx, p, to, d, jobs)
		})
	})
	return g.Wait()
}

func copyEntry(ctx context.Context, from, to string, d fs.DirEntry, jobs chan<- copyJob) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	switch d.Type() {
	case fs.ModeDir:
		if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return archive.DiskError(err)
		}
		return os.Chmod(to, 0o755)
	case fs.ModeSymlink:
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return archive.DiskError(os.Symlink(target, to))
	case 0:
		select {
		case jobs <- copyJob{from, to, info}:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// adopt makes the directory dir ours, as the new directory name: by renaming
// it, or where that cannot be (another disk, another owner) by copying it.
func (s *Store) adopt(ctx context.Context, dir, name string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("taking over %s: not a directory", dir)
	}
	err = os.Rename(dir, name)
	if err == nil {
		return nil
	}
	s.log.Info("copied a tree that could not be renamed", "err", err)
	if err := os.Mkdir(name, 0o755); err != nil {
		return archive.DiskError(err)
	}
	if err := s.copyTree(ctx, dir, name); err != nil {
		return err
	}
	if err := removeAll(dir); err != nil {
		s.log.Warn("left a copied directory behind", "dir", dir, "err", err)
	}
	return nil
}
