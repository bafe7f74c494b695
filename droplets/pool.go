package droplets

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"weir/droplets/archive"
	"weir/internal/platform"
)

// The titles of what can be wrong with a client's claims.
const (
	TitleMissingFile    = "UploadMissingFile"
	TitleDigestMismatch = "UploadDigestMismatch"
	TitleBadResource    = "UploadBadResource"
)

// Resource is a file a client has: what it asks about, and later claims.
type Resource struct {
	Path string
	Mode fs.FileMode
	SHA1 string // hex
	Size int64
}

// Match says for each resource whether a file of that content is pooled; of
// any size but empty. Those that are stay so for as long as Sweep's grace.
//
// Whoever knows the SHA-1 and size of a file can have it put into a package of
// theirs; all who may push are trusted with that.
func (s *Store) Match(ctx context.Context, resources []Resource) ([]bool, error) {
	found := make([]bool, len(resources))
	for i, r := range resources {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sum := strings.ToLower(r.SHA1)
		if r.Size < 1 || !isHex(sum, 40) {
			continue
		}
		for _, mode := range []fs.FileMode{modeClass(r.Mode), otherClass(r.Mode)} {
			if s.pooled(s.poolPath(sum, r.Size, mode), r.Size) {
				found[i] = true
				break
			}
		}
	}
	return found, nil
}

// pooled reports whether name is a sound file of the pool, and keeps Sweep
// away from it for a while.
func (s *Store) pooled(name string, size int64) bool {
	info, err := os.Lstat(name)
	if err != nil || info.Size() != size {
		return false
	}
	if info.Sys().(*syscall.Stat_t).Nlink == 1 {
		// No package has it. Setting its mode renews the time Sweep goes by,
		// and leaves the one a web server shows alone.
		return os.Chmod(name, info.Mode().Perm()) == nil
	}
	return true
}

func otherClass(mode fs.FileMode) fs.FileMode {
	if modeClass(mode) == 0o755 {
		return 0o644
	}
	return 0o755
}

// poolPath is where a content is pooled. A hard link shares its mode too, so
// programs and other files of the same content are two.
func (s *Store) poolPath(sha1 string, size int64, mode fs.FileMode) string {
	name := sha1 + "-" + strconv.FormatInt(size, 10)
	if mode&0o111 != 0 {
		name += "-x"
	}
	return filepath.Join(s.dir, "pool", sha1[:2], name)
}

// reuse replaces the file just written at p, which nobody has seen yet, by
// the pooled one of the same content, if there is one. Otherwise it notes the
// file's SHA-256 on it, for the pool it will join.
func (s *Store) reuse(p string, f *File) error {
	if f.Size == 0 {
		return nil
	}
	pooled := s.poolPath(f.SHA1, f.Size, f.Mode)
	if info, err := os.Lstat(pooled); err != nil || info.Size() != f.Size || getSHA256(pooled) != f.SHA256 {
		_ = setSHA256(p, f.SHA256) // where it cannot be kept, find reads the file
		return nil
	}
	tmp := filepath.Join(s.session, "link-"+strconv.FormatUint(s.linked.Add(1), 10))
	if err := os.Link(pooled, tmp); err != nil {
		return nil // swept meanwhile, or it has all the links it can: keep ours
	}
	return os.Rename(tmp, p)
}

// join makes the files of a committed package part of the pool.
func (s *Store) join(ctx context.Context, dir string, files []File) error {
	return inParallel(ctx, len(files), func(i int, _ []byte) error {
		f := &files[i]
		if f.Size == 0 || f.SHA1 == "" || !f.Mode.IsRegular() {
			return nil
		}
		pooled := s.poolPath(f.SHA1, f.Size, f.Mode)
		src := filepath.Join(dir, f.Path)
		err := os.Link(src, pooled)
		if errors.Is(err, fs.ErrNotExist) {
			if err = os.Mkdir(filepath.Dir(pooled), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				err = os.Link(src, pooled)
			}
		}
		if errors.Is(err, fs.ErrExist) || errors.Is(err, syscall.EMLINK) {
			return nil
		}
		return archive.DiskError(err)
	})
}

// claim is a file a client says the server has.
type claim struct {
	Resource
	from  string // in the pool; empty for an empty file
	mode  fs.FileMode
	mtime time.Time
}

const (
	sha1Empty   = "da39a3ee5e6b4b0d3255bfef95601890afd80709"
	sha256Empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
)

// find looks the claimed file up and says what it is.
func (s *Store) find(ctx context.Context, r Resource) (claim, File, error) {
	c := claim{Resource: r}
	f := File{Path: r.Path, Mode: modeClass(r.Mode), Size: r.Size, SHA1: r.SHA1}
	if r.Size == 0 {
		if r.SHA1 != sha1Empty {
			return c, f, mismatch(r.Path)
		}
		f.SHA256 = sha256Empty
		return c, f, nil
	}
	from, info, err := s.findPooled(r)
	if err != nil {
		return c, f, err
	}
	c.from, c.mode, c.mtime = from, modeClass(info.Mode()), info.ModTime()
	f.SHA256, err = s.pooledSHA256(ctx, r, from)
	return c, f, err
}

// place puts the file at p.
func (s *Store) place(c *claim, f *File, p string, buf []byte) error {
	if c.from == "" {
		return placeEmpty(p, f.Mode)
	}
	if c.mode == f.Mode {
		err := os.Link(c.from, p)
		if err == nil {
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return missing(c.Resource)
		}
		// All the links a file can have: copy it.
	}
	if err := s.copyFile(c.from, p, f.Mode, c.mtime, buf); err != nil {
		return archive.DiskError(err)
	}
	_ = setSHA256(p, f.SHA256)
	return nil
}

func placeEmpty(p string, mode fs.FileMode) error {
	out, err := os.OpenFile(p, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return archive.DiskError(err)
	}
	err = out.Chmod(mode)
	return archive.DiskError(errors.Join(err, out.Close()))
}

// findPooled looks for a file of the right mode first.
func (s *Store) findPooled(r Resource) (string, fs.FileInfo, error) {
	for _, mode := range []fs.FileMode{modeClass(r.Mode), otherClass(r.Mode)} {
		p := s.poolPath(r.SHA1, r.Size, mode)
		info, err := os.Lstat(p)
		if err != nil {
			continue
		}
		if info.Size() != r.Size {
			s.unpool(p, "its size is wrong")
			return "", nil, mismatch(r.Path)
		}
		return p, info, nil
	}
	return "", nil, missing(r)
}

// pooledSHA256 returns the noted sum, or reads the file and checks its name.
func (s *Store) pooledSHA256(ctx context.Context, r Resource, p string) (string, error) {
	if sum := getSHA256(p); sum != "" {
		return sum, nil
	}
	h := newHasher(true)
	if _, err := h.file(ctx, p); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return "", missing(r)
		}
		return "", err
	}
	sum1, sum256 := h.sums()
	if sum1 != r.SHA1 {
		s.unpool(p, "its content is wrong")
		return "", mismatch(r.Path)
	}
	_ = setSHA256(p, sum256)
	return sum256, nil
}

// unpool removes a file that is not what its name says.
func (s *Store) unpool(p, why string) {
	s.log.Warn("removed a damaged file from the pool", "file", filepath.Base(p), "why", why)
	os.Remove(p)
}

func missing(r Resource) error {
	return &platform.Error{
		Kind:  platform.KindInvalid,
		Title: TitleMissingFile,
		Msg:   fmt.Sprintf("the server does not have the file %q (%s, %d bytes), which was not uploaded", r.Path, r.SHA1, r.Size),
		Hint:  "push again: the file will then be uploaded",
	}
}

func mismatch(path string) error {
	return &platform.Error{
		Kind:  platform.KindInvalid,
		Title: TitleDigestMismatch,
		Msg:   fmt.Sprintf("the file %q does not have the SHA-1 and size the client announced", path),
		Hint:  "the file changed during the push, or was damaged: push again",
	}
}

// sweepPool removes files no package has had for as long as grace.
func (s *Store) sweepPool(ctx context.Context, grace time.Duration) (freed int64, err error) {
	pool := filepath.Join(s.dir, "pool")
	shards, err := os.ReadDir(pool)
	if err != nil {
		return 0, err
	}
	for _, shard := range shards {
		entries, err := os.ReadDir(filepath.Join(pool, shard.Name()))
		if err != nil {
			return freed, err
		}
		for _, e := range entries {
			if err := ctx.Err(); err != nil {
				return freed, err
			}
			info, err := e.Info()
			if err != nil {
				continue // gone
			}
			st := info.Sys().(*syscall.Stat_t)
			if st.Nlink > 1 || time.Since(time.Unix(st.Ctim.Unix())) < grace {
				continue
			}
			if os.Remove(filepath.Join(pool, shard.Name(), e.Name())) == nil {
				freed += info.Size()
			}
		}
	}
	return freed, nil
}
