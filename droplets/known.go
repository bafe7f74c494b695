package droplets

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"weir/droplets/archive"
)

// Known remembers which files of a directory are a package's, so that Commit
// need not read again those that nobody touched.
type Known struct {
	files map[inode]knownFile
	// linked says that the files are the package's own inodes, not copies.
	linked bool
}

// knownFile is a file as it was put into the directory. Whatever is written to
// it changes its ctime; only that of a link also changes by other links.
type knownFile struct {
	size, mtime, ctime int64
	sha256             string
}

// sum returns the digest of a file if it is one of the known, and unchanged.
func (k *Known) sum(st *syscall.Stat_t) (sha256 string, ok bool) {
	if k == nil {
		return "", false
	}
	f, ok := k.files[inode{st.Dev, st.Ino}]
	if !ok || f.size != st.Size || f.mtime != st.Mtim.Nano() || !k.linked && f.ctime != st.Ctim.Nano() {
		return "", false
	}
	return f.sha256, true
}

// CopyKnown is CopyPackage for a directory that becomes a droplet: see
// CommitKnown.
func (s *Store) CopyKnown(ctx context.Context, digest, dst string) (*Known, error) {
	if err := s.CopyPackage(ctx, digest, dst); err != nil {
		return nil, err
	}
	m, err := s.PackageManifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	return remember(ctx, &m, dst, false)
}

// LinkKnown is CopyKnown, thirty times faster, for a directory in which no
// file is ever written to, only added, removed and replaced: its files are the
// package's own, under another name. Where that cannot be it copies.
func (s *Store) LinkKnown(ctx context.Context, digest, dst string) (*Known, error) {
	release, dir, err := s.PackageDir(ctx, digest)
	if err != nil {
		return nil, err
	}
	defer release()
	m, err := s.PackageManifest(ctx, digest)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return nil, archive.DiskError(err)
	}
	for i := range m.Files { // sorted: a directory comes before what is in it
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := &m.Files[i]
		to := filepath.Join(dst, f.Path)
		switch f.Mode.Type() {
		case fs.ModeDir:
			err = os.Mkdir(to, 0o755)
			if err == nil {
				err = os.Chmod(to, 0o755) // whatever the umask
			}
		case fs.ModeSymlink:
			err = os.Symlink(f.Link, to)
		default:
			from := filepath.Join(dir, f.Path)
			err = os.Link(from, to)
			// All the links a file can have, another file system, or one without.
			if errors.Is(err, syscall.EMLINK) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EPERM) {
				err = s.copyFile(from, to, f.Mode, time.Now(), make([]byte, 256<<10))
			}
		}
		if err != nil {
			return nil, archive.DiskError(err)
		}
	}
	return remember(ctx, &m, dst, true)
}

// remember looks at the files of a package that were put into dst.
func remember(ctx context.Context, m *Manifest, dst string, linked bool) (*Known, error) {
	k := &Known{files: make(map[inode]knownFile, len(m.Files)), linked: linked}
	for i := range m.Files {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f := &m.Files[i]
		if !f.Mode.IsRegular() {
			continue
		}
		var st syscall.Stat_t
		if err := syscall.Lstat(filepath.Join(dst, f.Path), &st); err != nil {
			return nil, &fs.PathError{Op: "lstat", Path: f.Path, Err: err}
		}
		k.files[inode{st.Dev, st.Ino}] = knownFile{st.Size, st.Mtim.Nano(), st.Ctim.Nano(), f.SHA256}
	}
	return k, nil
}

// CommitKnown is Commit for a directory into which CopyKnown or LinkKnown put
// a package before. Its result is the same.
func (s *Store) CommitKnown(ctx context.Context, dir string, info CommitInfo, known *Known) (Manifest, error) {
	work, err := s.temp("droplet")
	if err != nil {
		return Manifest{}, err
	}
	defer removeAll(work)
	v, err := s.takeOver(ctx, dir, work, false, known)
	if err != nil {
		return Manifest{}, err
	}
	return s.commitDroplet(ctx, v, info)
}
