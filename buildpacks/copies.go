package buildpacks

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
)

// ownCopies replaces the files below dir that have another name somewhere by
// copies, with their modes and times.
func ownCopies(ctx context.Context, dir string) error {
	jobs := make(chan string)
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for name := range jobs {
				if errs[w] == nil {
					errs[w] = ownCopy(name)
				}
			}
		})
	}
	errs[2] = filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if !e.Type().IsRegular() {
			return nil
		}
		select {
		case jobs <- p:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	close(jobs)
	wg.Wait()
	return errors.Join(errs...)
}

func ownCopy(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink < 2 {
		return nil
	}
	from, err := os.Open(name)
	if err != nil {
		return err
	}
	defer from.Close()
	tmp, err := os.CreateTemp(filepath.Dir(name), ".copy-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(tmp, from)
	if err == nil {
		err = tmp.Chmod(info.Mode().Perm())
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chtimes(tmp.Name(), info.ModTime(), info.ModTime())
	}
	if err == nil {
		err = os.Rename(tmp.Name(), name)
	}
	if err != nil {
		return errors.Join(err, os.Remove(tmp.Name()))
	}
	return nil
}
