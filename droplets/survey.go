package droplets

import (
	"context"
	"crypto/sha1" // Cloud Foundry's clients name files by it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sync/errgroup"

	"weir/droplets/archive"
)

// survey is what a walk over a directory found, and made, of it.
type survey struct {
	s     *Store
	dir   string
	sha1s bool // packages need them, for the pool

	files   []File
	links   archive.Links
	dropped []string
	// shared are regular files with several names, by inode. If not all names
	// are in the tree, somebody else can still write the file.
	shared map[inode]*sharedFile
	known  *Known // files that need not be read; may be nil
}

type inode struct{ dev, ino uint64 }

type sharedFile struct {
	nlink uint64
	files []int
}

// errForeign says that files belong to somebody else, and only a copy of them
// would be ours.
var errForeign = errors.New("the files belong to another user")

// look walks dir, gives everything in it its normal mode, removes what is no
// file, and hashes the files.
func (s *Store) look(ctx context.Context, dir string, sha1s bool, known *Known) (*survey, error) {
	v := &survey{s: s, dir: dir, sha1s: sha1s, links: archive.Links{}, shared: map[inode]*sharedFile{}, known: known}
	if err := v.walk(ctx); err != nil {
		return nil, err
	}
	if err := v.unshare(); err != nil {
		return nil, archive.DiskError(err)
	}
	if err := v.hashAll(ctx); err != nil {
		return nil, err
	}
	return v, nil
}

func (v *survey) walk(ctx context.Context) error {
	return filepath.WalkDir(v.dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Uid != uint32(os.Geteuid()) {
			return errForeign
		}
		if p == v.dir {
			return setMode(p, info, 0o755)
		}
		return v.visit(p, p[len(v.dir)+1:], info, st)
	})
}

func (v *survey) visit(p, name string, info fs.FileInfo, st *syscall.Stat_t) error {
	switch info.Mode().Type() {
	case fs.ModeDir:
		// Before it is read: a build may have made it unreadable.
		v.files = append(v.files, File{Path: name, Mode: fs.ModeDir | 0o755})
		return setMode(p, info, 0o755)
	case fs.ModeSymlink:
		target, err := os.Readlink(p)
		if err != nil {
			return err
		}
		v.links[name] = target
		v.files = append(v.files, File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target})
		return nil
	case 0:
		f := File{Path: name, Mode: modeClass(info.Mode()), Size: info.Size(), mtime: st.Mtim.Nano()}
		var known bool
		f.SHA256, known = v.known.sum(st)
		v.files = append(v.files, f)
		if known && v.known.linked {
			return nil // immutable like the tree it comes from
		}
		if st.Nlink > 1 {
			key := inode{st.Dev, st.Ino}
			if v.shared[key] == nil {
				v.shared[key] = &sharedFile{nlink: uint64(st.Nlink)}
			}
			v.shared[key].files = append(v.shared[key].files, len(v.files)-1)
			return nil // its mode is not ours to change yet
		}
		return setMode(p, info, modeClass(info.Mode()))
	}
	v.dropped = append(v.dropped, name)
	return os.Remove(p)
}

func setMode(p string, info fs.FileInfo, mode fs.FileMode) error {
	if info.Mode()&^fs.ModeType == mode {
		return nil
	}
	return os.Chmod(p, mode)
}

// unshare copies files that have a name outside the tree, in a cache say:
// what is written there must not reach the tree.
func (v *survey) unshare() error {
	buf := make([]byte, 256<<10)
	for _, sf := range v.shared {
		for _, i := range sf.files {
			f := &v.files[i]
			p := filepath.Join(v.dir, f.Path)
			info, err := os.Lstat(p)
			if err != nil {
				return err
			}
			if uint64(len(sf.files)) == sf.nlink {
				if err := setMode(p, info, f.Mode); err != nil {
					return err
				}
				continue
			}
			tmp := v.dir + ".unshared"
			if err := v.s.copyFile(p, tmp, f.Mode, info.ModTime(), buf); err != nil {
				return err
			}
			if err := os.Rename(tmp, p); err != nil {
				return err
			}
		}
	}
	return nil
}

func (v *survey) hashAll(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	jobs := make(chan int)
	for range workers {
		g.Go(func() error {
			h := newHasher(v.sha1s)
			for i := range jobs {
				if err := v.hash(ctx, h, &v.files[i]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(jobs)
		for i := range v.files {
			if f := &v.files[i]; !f.Mode.IsRegular() || f.SHA256 != "" && !v.sha1s {
				continue
			}
			select {
			case jobs <- i:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

func (v *survey) hash(ctx context.Context, h *hasher, f *File) error {
	n, err := h.file(ctx, filepath.Join(v.dir, f.Path))
	if err != nil {
		return fmt.Errorf("reading %q: %w", f.Path, err)
	}
	if n != f.Size {
		return fmt.Errorf("reading %q: it changed meanwhile", f.Path)
	}
	f.SHA1, f.SHA256 = h.sums()
	return nil
}

// hasher computes the sums of one file after another.
type hasher struct {
	sha256, sha1 hash.Hash // sha1 is nil if not wanted
	buf          []byte
}

func newHasher(withSHA1 bool) *hasher {
	h := &hasher{sha256: sha256.New(), buf: make([]byte, 128<<10)}
	if withSHA1 {
		h.sha1 = sha1.New()
	}
	return h
}

// file hashes the regular file name and returns its size.
func (h *hasher) file(ctx context.Context, name string) (int64, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	h.sha256.Reset()
	if h.sha1 != nil {
		h.sha1.Reset()
	}
	var total int64
	for {
		n, err := f.Read(h.buf)
		total += int64(n)
		h.sha256.Write(h.buf[:n])
		if h.sha1 != nil {
			h.sha1.Write(h.buf[:n])
		}
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if err := ctx.Err(); err != nil {
			return total, err
		}
	}
}

func (h *hasher) sums() (sum1, sum256 string) {
	if h.sha1 != nil {
		sum1 = hex.EncodeToString(h.sha1.Sum(nil))
	}
	return sum1, hex.EncodeToString(h.sha256.Sum(nil))
}
