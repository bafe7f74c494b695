package droplets

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"weir/droplets/archive"
	"weir/internal/platform"
)

// PutPackage unpacks bits, which may be nil, adds the pooled files the client
// claims in resources, and commits the result. Where both have a file, they
// must agree. bits goes to a temporary file first, unless it is an
// io.ReaderAt and io.Seeker, such as an open file: then all of it is read in
// place, wherever it stands.
func (s *Store) PutPackage(ctx context.Context, bits io.Reader, resources []Resource) (digest string, size int64, err error) {
	work, err := s.temp("package")
	if err != nil {
		return "", 0, err
	}
	defer removeAll(work)
	p := &upload{s: s, dir: filepath.Join(work, "tree"), sums: map[string]File{}}
	if err := os.Mkdir(p.dir, 0o755); err != nil {
		return "", 0, archive.DiskError(err)
	}
	if err := os.Chmod(p.dir, 0o755); err != nil {
		return "", 0, err
	}
	p.index = archive.NewIndex(archive.Options{Limits: s.o.Limits})
	if bits != nil {
		if err := p.unpack(ctx, work, bits); err != nil {
			return "", 0, err
		}
	}
	dirs, claims, err := p.overlay(ctx, resources)
	if err != nil {
		return "", 0, err
	}
	m := p.manifest()
	if m.Size == 0 && !slices.ContainsFunc(m.Files, func(f File) bool { return !f.Mode.IsDir() }) {
		return "", 0, archive.Refuse(archive.TitleEmpty, "the upload holds no files")
	}
	if s.touch(packages, m.Digest) {
		return m.Digest, m.Size, nil // a push without changes: nothing to link
	}
	if err := p.place(ctx, dirs, claims); err != nil {
		return "", 0, err
	}
	return s.commitPackage(ctx, m, p.dir)
}

// PutPackageDir commits the directory dir as a package and takes it over:
// whatever comes of it, dir is gone afterwards.
func (s *Store) PutPackageDir(ctx context.Context, dir string) (digest string, size int64, err error) {
	work, err := s.temp("package")
	if err != nil {
		return "", 0, err
	}
	defer removeAll(work)
	v, err := s.takeOver(ctx, dir, work, true, nil)
	if err != nil {
		return "", 0, err
	}
	if err := v.links.Check(nil); err != nil {
		return "", 0, err
	}
	for i := range v.files {
		if f := &v.files[i]; f.Mode.IsRegular() {
			if err := s.reuse(filepath.Join(v.dir, f.Path), f); err != nil {
				return "", 0, archive.DiskError(err)
			}
		}
	}
	m := &Manifest{Files: v.files}
	m.seal(packages)
	return s.commitPackage(ctx, m, v.dir)
}

func (s *Store) commitPackage(ctx context.Context, m *Manifest, dir string) (string, int64, error) {
	if err := ctx.Err(); err != nil {
		return "", 0, err
	}
	existed, err := s.publish(packages, m, dir)
	if err != nil {
		return "", 0, err
	}
	if !existed {
		// After the commit, so that a crash before it leaves nothing. What
		// is not pooled is uploaded again, no more.
		if err := s.join(ctx, s.treePath(packages, m.Digest), m.Files); err != nil {
			s.log.Warn("could not pool all files of a package", "digest", m.Digest, "err", err)
		}
	}
	return m.Digest, m.Size, nil
}

// upload is one PutPackage.
type upload struct {
	s     *Store
	dir   string
	index *archive.Index
	space space

	mu      sync.Mutex
	sums    map[string]File // uploaded files by path; guarded by mu while unpacking
	claimed []File
}

func (p *upload) unpack(ctx context.Context, work string, bits io.Reader) error {
	p.space.s = p.s
	src, size, done, err := p.s.spool(ctx, filepath.Join(work, "bits"), bits, p.s.o.MaxBytes, &p.space)
	if err != nil {
		return err
	}
	defer done()
	root, err := os.OpenRoot(p.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	_, err = archive.Unpack(ctx, src, size, root, archive.Options{
		Limits:   p.s.o.Limits,
		Index:    p.index,
		Digest:   true,
		Written:  p.written,
		Progress: p.space.add,
	})
	return err
}

func (p *upload) written(e archive.Entry) error {
	f := File{Path: e.Name, Mode: e.Mode, Size: e.Size, SHA1: e.SHA1, SHA256: e.SHA256}
	if e.HardLink == "" {
		if err := p.s.reuse(filepath.Join(p.dir, e.Name), &f); err != nil {
			return archive.DiskError(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sums[f.Path] = f
	return nil
}

// overlay adds the claimed files to the manifest, and returns what it takes to
// put them, and their directories, into the tree.
func (p *upload) overlay(ctx context.Context, resources []Resource) (dirs []string, claims []claim, err error) {
	p.index.OnDirectory(func(name string) error {
		dirs = append(dirs, name)
		return nil
	})
	var wanted []Resource
	for _, r := range resources {
		want, err := p.check(&r)
		if err != nil {
			return nil, nil, err
		}
		if want {
			wanted = append(wanted, r)
		}
	}
	claims = make([]claim, len(wanted))
	found := make([]File, len(wanted))
	err = inParallel(ctx, len(wanted), func(i int, _ []byte) (err error) {
		claims[i], found[i], err = p.s.find(ctx, wanted[i])
		return err
	})
	p.claimed = found
	return dirs, claims, err
}

// place puts the claimed files into the tree.
func (p *upload) place(ctx context.Context, dirs []string, claims []claim) error {
	for _, name := range dirs {
		dir := filepath.Join(p.dir, name)
		if err := os.Mkdir(dir, 0o755); err != nil {
			return archive.DiskError(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil { // whatever the umask
			return err
		}
	}
	return inParallel(ctx, len(claims), func(i int, buf []byte) error {
		return p.s.place(&claims[i], &p.claimed[i], filepath.Join(p.dir, claims[i].Path), buf)
	})
}

// check tidies one resource and says whether it is to be taken from the pool.
func (p *upload) check(r *Resource) (want bool, err error) {
	name, err := p.s.o.Limits.CleanName(r.Path)
	if err != nil {
		return false, err
	}
	r.Path = name
	if r.Mode.IsDir() {
		return false, p.index.Add(archive.Entry{Name: name, Mode: fs.ModeDir | 0o755})
	}
	r.SHA1 = strings.ToLower(r.SHA1)
	if !isHex(r.SHA1, 40) || r.Size < 0 {
		return false, &platform.Error{
			Kind:  platform.KindInvalid,
			Title: TitleBadResource,
			Msg:   fmt.Sprintf("the resource %q has no proper SHA-1 and size", r.Path),
			Hint:  "send the SHA-1 as 40 hexadecimal digits and the size in bytes",
		}
	}
	if f, ok := p.sums[name]; ok {
		if f.SHA1 != r.SHA1 || f.Size != r.Size {
			return false, mismatch(name)
		}
		return false, nil // uploaded all the same
	}
	return true, p.index.Add(archive.Entry{Name: name, Mode: modeClass(r.Mode), Size: r.Size})
}

func (p *upload) manifest() *Manifest {
	m := &Manifest{Files: slices.Collect(maps.Values(p.sums))}
	m.Files = append(m.Files, p.claimed...)
	for _, dir := range p.index.Dirs() {
		m.Files = append(m.Files, File{Path: dir, Mode: fs.ModeDir | 0o755})
	}
	for name, target := range p.index.Links() {
		m.Files = append(m.Files, File{Path: name, Mode: fs.ModeSymlink | 0o777, Link: target})
	}
	m.seal(packages)
	return m
}

// spool gives random access to an upload: as it is, if it can, or by way of
// the file name.
func (s *Store) spool(ctx context.Context, name string, r io.Reader, most int64, sp *space) (src io.ReaderAt, size int64, done func(), err error) {
	if ra, ok := r.(interface {
		io.ReaderAt
		io.Seeker
	}); ok {
		if size, err := ra.Seek(0, io.SeekEnd); err == nil {
			if size > most {
				return nil, 0, nil, tooLarge(most)
			}
			return ra, size, func() {}, nil
		}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, 0, nil, archive.DiskError(err)
	}
	done = func() { f.Close(); os.Remove(name) }
	if size, err = s.drain(ctx, f, r, most, sp); err != nil {
		done()
		return nil, 0, nil, err
	}
	return f, size, done, nil
}

func (s *Store) drain(ctx context.Context, w io.Writer, r io.Reader, most int64, sp *space) (size int64, err error) {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return size, err
		}
		n, err := r.Read(buf)
		if size += int64(n); size > most {
			return size, tooLarge(most)
		}
		if n > 0 {
			if err := sp.add(int64(n)); err != nil {
				return size, err
			}
			if _, err := w.Write(buf[:n]); err != nil {
				return size, archive.DiskError(err)
			}
		}
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, fmt.Errorf("receiving the upload: %w", err)
		}
	}
}

func tooLarge(most int64) error {
	return archive.Refuse(archive.TitleTooLarge, "the upload is larger than %d bytes", most)
}

// PackageDir returns the read-only tree of a package and keeps it from being
// swept until release is called.
func (s *Store) PackageDir(ctx context.Context, digest string) (release func(), dir string, err error) {
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	release, err = s.hold(packages, digest)
	return release, s.treePath(packages, digest), err
}

// CopyPackage writes a writable copy of a package's files into dst, which is
// created if need be and must be empty. Times are kept, so that a file's time
// is that of its content's first upload.
func (s *Store) CopyPackage(ctx context.Context, digest, dst string) error {
	release, dir, err := s.PackageDir(ctx, digest)
	if err != nil {
		return err
	}
	defer release()
	if err := os.MkdirAll(dst, 0o755); err != nil {
		return archive.DiskError(err)
	}
	return s.copyTree(ctx, dir, dst)
}

// OpenPackage writes a package to w as an archive.
func (s *Store) OpenPackage(ctx context.Context, digest string, f archive.Format, w io.Writer) error {
	release, dir, err := s.PackageDir(ctx, digest)
	if err != nil {
		return err
	}
	defer release()
	_, err = archive.Pack(ctx, w, dir, f, "")
	return err
}

// PackageManifest returns what a package consists of.
func (s *Store) PackageManifest(ctx context.Context, digest string) (Manifest, error) {
	return s.readManifest(ctx, packages, digest)
}

// takeOver makes dir ours, below work, and surveys it.
func (s *Store) takeOver(ctx context.Context, dir, work string, sha1s bool, known *Known) (*survey, error) {
	ours := filepath.Join(work, "tree")
	if err := s.adopt(ctx, dir, ours); err != nil {
		return nil, err
	}
	v, err := s.look(ctx, ours, sha1s, known)
	if !errors.Is(err, errForeign) {
		return v, err
	}
	copied := path.Join(work, "copy")
	if err := os.Mkdir(copied, 0o755); err != nil {
		return nil, archive.DiskError(err)
	}
	if err := s.copyTree(ctx, ours, copied); err != nil {
		return nil, err
	}
	return s.look(ctx, copied, sha1s, known)
}
