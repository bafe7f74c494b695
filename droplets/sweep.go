package droplets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Sweep removes trees and packages that are neither named live, nor leased,
// nor younger than grace, and pooled files no package has used for as long.
// It returns how many bytes that freed.
//
// grace must be longer than anything takes between a commit and the row that
// makes its digest live, and between a client's resource match and its upload.
func (s *Store) Sweep(ctx context.Context, liveTrees, livePackages []string, grace time.Duration) (freed int64, err error) {
	for _, part := range []struct {
		area area
		live []string
	}{{trees, liveTrees}, {packages, livePackages}} {
		n, err := s.sweepArea(ctx, part.area, part.live, grace)
		freed += n
		if err != nil {
			return freed, err
		}
	}
	n, err := s.sweepPool(ctx, grace)
	return freed + n, err
}

func (s *Store) sweepArea(ctx context.Context, a area, live []string, grace time.Duration) (freed int64, err error) {
	keep := make(map[string]bool, len(live))
	for _, digest := range live {
		keep[digest] = true
	}
	found, err := s.list(a)
	if err != nil {
		return 0, err
	}
	for _, digest := range found {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		if keep[digest] {
			continue
		}
		n, err := s.sweepTree(a, digest, grace)
		freed += n
		if err != nil {
			return freed, err
		}
	}
	n, err := s.sweepAside(ctx, a, grace)
	return freed + n, err
}

// sweepTree removes one tree, unless somebody needs it after all.
func (s *Store) sweepTree(a area, digest string, grace time.Duration) (freed int64, err error) {
	if !s.sweepable(a, digest, grace) {
		return 0, nil // as most are, most of the time
	}
	bin, err := s.temp("sweep")
	if err != nil {
		return 0, err
	}
	defer removeAll(bin)
	gone := filepath.Join(bin, "tree")
	if taken, err := s.takeOut(a, digest, gone, grace); err != nil || !taken {
		return 0, err
	}
	s.log.Info("swept", "area", string(a), "digest", digest)
	return diskUse(gone), nil
}

// takeOut moves a tree nobody needs out of its area.
func (s *Store) takeOut(a area, digest, to string, grace time.Duration) (taken bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.sweepableLocked(a, digest, grace) {
		return false, nil
	}
	err = os.Rename(s.treePath(a, digest), to)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	s.forget(a, digest)
	return err == nil, nil
}

func (s *Store) sweepable(a area, digest string, grace time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sweepableLocked(a, digest, grace)
}

func (s *Store) sweepableLocked(a area, digest string, grace time.Duration) bool {
	return s.leases[lease{a, digest}] == 0 && s.age(a, digest) >= grace
}

// age is the time since a tree was last committed, or found committed.
func (s *Store) age(a area, digest string) time.Duration {
	info, err := os.Lstat(s.manifestPath(a, digest))
	if err != nil {
		if info, err = os.Lstat(s.treePath(a, digest)); err != nil {
			return 1 << 62 // remains of one
		}
	}
	return time.Since(info.ModTime())
}

// sweepAside removes damaged trees that were replaced, once whatever ran on
// them had its grace.
func (s *Store) sweepAside(ctx context.Context, a area, grace time.Duration) (freed int64, err error) {
	dir := filepath.Join(s.dir, string(a))
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return freed, err
		}
		digest, ext, _ := cut(e.Name())
		if !isDigest(digest) || !strings.HasPrefix(ext, "old-") {
			continue
		}
		info, err := e.Info()
		if err != nil {
			return freed, err
		}
		if time.Since(time.Unix(info.Sys().(*syscall.Stat_t).Ctim.Unix())) < grace {
			continue
		}
		old := filepath.Join(dir, e.Name())
		n := diskUse(old)
		if err := removeAll(old); err != nil {
			return freed, err
		}
		freed += n
	}
	return freed, nil
}

// diskUse adds up the files that removing dir would free.
func diskUse(dir string) (n int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Sys().(*syscall.Stat_t).Nlink == 1 {
			n += info.Size()
		}
		return nil
	})
	return n
}
