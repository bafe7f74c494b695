package archive

import (
	"context"
	"crypto/sha1" // Cloud Foundry's clients name files by it
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path"
	"sync/atomic"

	"github.com/klauspost/compress/zip"
	"golang.org/x/sync/errgroup"
)

const (
	writers    = 2         // inflating and hashing gain from a second core
	bufferSize = 256 << 10 // per writer; also the largest file of a tar that is handed over
)

// Unpack writes the archive into dst, which must be an empty directory.
// Files become 0644, or 0755 when they had any execute bit; directories 0755.
// On error dst holds a part that the caller removes.
func Unpack(ctx context.Context, src io.ReaderAt, size int64, dst *os.Root, o Options) (Stats, error) {
	f, err := Detect(src, size)
	if err != nil {
		return Stats{}, err
	}
	u := newUnpacker(o, dst, f)
	if err := u.run(ctx, src, size); err != nil {
		return u.stats, err
	}
	return u.stats, u.finish(ctx)
}

// UnpackFile unpacks the archive file name into the empty directory dir.
func UnpackFile(ctx context.Context, name, dir string, o Options) (Stats, error) {
	f, err := os.Open(name)
	if err != nil {
		return Stats{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Stats{}, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Stats{}, err
	}
	defer root.Close()
	return Unpack(ctx, f, info.Size(), root, o)
}

// unpacker is one run of Unpack.
type unpacker struct {
	o      Options
	limits Limits
	root   *os.Root
	index  *Index
	stats  Stats // written by the scanning goroutine only

	out   atomic.Int64 // bytes of content read so far
	jobs  chan job
	spare chan []byte // buffers for small files of a tar

	links, hard []Entry
}

// job is a file for a writer: either still to be opened or already in memory.
type job struct {
	Entry
	open func() (io.ReadCloser, error)
	data []byte
}

func newUnpacker(o Options, root *os.Root, f Format) *unpacker {
	if o.Index == nil {
		o.Index = NewIndex(o)
	}
	u := &unpacker{o: o, limits: o.Index.limits, root: root, index: o.Index, stats: Stats{Format: f}}
	u.index.newDir = u.mkdir
	return u
}

// run scans in this goroutine and writes in others.
func (u *unpacker) run(ctx context.Context, src io.ReaderAt, size int64) error {
	g, gctx := errgroup.WithContext(ctx)
	u.jobs = make(chan job)
	u.spare = make(chan []byte, writers+1) // full when all buffers are idle
	for range writers + 1 {
		u.spare <- nil
	}
	for range writers {
		g.Go(func() error { return u.work(gctx) })
	}
	own := &writer{u: u}
	defer own.close()
	scanErr := scan(gctx, src, size, u.stats.Format, u.index, func(m member) error {
		if err := u.count(m); err != nil {
			return err
		}
		return u.take(gctx, own, m)
	})
	close(u.jobs)
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err // scanErr is only its echo
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return scanErr
}

// count adds m to the statistics and refuses it if, by the size it announces,
// it does not fit any more. What comes of it is counted again as it is read.
func (u *unpacker) count(m member) error {
	if m.stripped {
		u.stats.Stripped++
	}
	switch {
	case m.Link != "":
		u.stats.Links++
	case m.Mode.IsRegular():
		u.stats.Files++
		u.stats.Bytes += m.Size
		if u.stats.Bytes > u.limits.Bytes {
			return tooLarge(u.limits)
		}
	}
	return nil
}

func (u *unpacker) mkdir(name string) error {
	u.stats.Dirs++
	if err := u.root.Mkdir(name, 0o755); err != nil {
		return DiskError(err)
	}
	return DiskError(u.root.Chmod(name, 0o755)) // whatever the umask
}

// take disposes of one member: now, by handing it to a writer, or at the end.
func (u *unpacker) take(ctx context.Context, own *writer, m member) error {
	switch {
	case m.Mode.IsDir():
		return nil // mkdir saw to it
	case m.Link != "":
		u.links = append(u.links, m.Entry)
		return nil
	case m.HardLink != "":
		u.hard = append(u.hard, m.Entry)
		return nil
	case u.stats.Format == Zip:
		return u.send(ctx, job{Entry: m.Entry, open: m.open})
	case m.Size > bufferSize:
		return own.write(ctx, job{Entry: m.Entry, open: m.open})
	}
	return u.handOver(ctx, m)
}

// handOver reads a small file of a tar so that the stream can move on while
// it is written.
func (u *unpacker) handOver(ctx context.Context, m member) error {
	rc, err := m.open()
	if err != nil {
		return decodeError(m.Name, err)
	}
	defer rc.Close()
	var buf []byte
	select {
	case buf = <-u.spare:
	case <-ctx.Done():
		return ctx.Err()
	}
	if buf == nil {
		buf = make([]byte, bufferSize)
	}
	r := u.content(ctx, m.Entry, rc)
	if _, err := io.ReadFull(r, buf[:m.Size]); err != nil {
		return err
	}
	return u.send(ctx, job{Entry: m.Entry, data: buf[:m.Size]})
}

func (u *unpacker) send(ctx context.Context, j job) error {
	select {
	case u.jobs <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (u *unpacker) work(ctx context.Context) error {
	w := &writer{u: u}
	defer w.close()
	for j := range u.jobs {
		if err := w.write(ctx, j); err != nil {
			return err
		}
		if j.data != nil {
			u.spare <- j.data[:bufferSize] // never blocks: it has room for all
		}
	}
	return nil
}

// finish makes the links, when nothing can be written through them any more.
func (u *unpacker) finish(ctx context.Context) error {
	w := &writer{u: u}
	defer w.close()
	for _, e := range u.hard {
		if err := w.hardLink(ctx, e); err != nil {
			return err
		}
	}
	for _, e := range u.links {
		if err := u.root.Symlink(e.Link, e.Name); err != nil {
			return DiskError(err)
		}
	}
	return ctx.Err()
}

// content reads an entry: exactly its size, within the limits.
func (u *unpacker) content(ctx context.Context, e Entry, r io.Reader) *contentReader {
	return &contentReader{ctx: ctx, u: u, e: e, r: r, left: e.Size}
}

type contentReader struct {
	ctx  context.Context // lives as long as one copy
	u    *unpacker
	e    Entry
	r    io.Reader
	left int64
}

func (c *contentReader) Read(b []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := c.r.Read(b)
	if int64(n) > c.left {
		return 0, c.wrongSize(nil)
	}
	c.left -= int64(n)
	if c.u.out.Add(int64(n)) > c.u.limits.Bytes {
		return 0, tooLarge(c.u.limits)
	}
	if c.u.o.Progress != nil && n > 0 {
		if err := c.u.o.Progress(int64(n)); err != nil {
			return 0, err
		}
	}
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		if c.left > 0 {
			return 0, c.wrongSize(io.ErrUnexpectedEOF)
		}
		return n, io.EOF
	case c.u.stats.Format == Zip && (errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, zip.ErrFormat)):
		// The zip itself is whole, its directory was read: it lies.
		return 0, c.wrongSize(err)
	}
	return 0, decodeError(c.e.Name, err)
}

func (c *contentReader) wrongSize(cause error) error {
	e := Refuse(TitleSizeMismatch, "entry %s does not hold the %d bytes the archive says", quote(c.e.Name), c.e.Size)
	e.Err = cause
	return e
}

// writer writes files, one at a time.
type writer struct {
	u      *unpacker
	dir    *os.Root // of the last file: its neighbours come next
	dirAt  string
	buf    []byte
	sha1   hash.Hash
	sha256 hash.Hash
}

func (w *writer) close() {
	if w.dir != nil {
		w.dir.Close()
	}
}

// in returns the directory of name, and its last component.
func (w *writer) in(name string) (*os.Root, string, error) {
	dir, base := path.Split(name)
	if dir == "" {
		return w.u.root, base, nil
	}
	if w.dir != nil && w.dirAt == dir {
		return w.dir, base, nil
	}
	w.close()
	w.dir = nil
	r, err := w.u.root.OpenRoot(dir)
	if err != nil {
		return nil, "", DiskError(err)
	}
	w.dir, w.dirAt = r, dir
	return r, base, nil
}

func (w *writer) write(ctx context.Context, j job) error {
	var src io.Reader
	if j.open != nil {
		rc, err := j.open()
		if err != nil {
			return decodeError(j.Name, err)
		}
		defer rc.Close()
		src = w.u.content(ctx, j.Entry, rc)
	}
	dir, base, err := w.in(j.Name)
	if err != nil {
		return err
	}
	f, err := dir.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, j.Mode)
	if err != nil {
		return DiskError(err)
	}
	err = w.fill(f, src, j.data)
	if err == nil {
		err = DiskError(f.Chmod(j.Mode)) // whatever the umask
	}
	if cerr := f.Close(); err == nil {
		err = DiskError(cerr)
	}
	if err != nil {
		return err
	}
	return w.done(j.Entry)
}

// fill writes src, or else data, to f and hashes it on the way.
func (w *writer) fill(f *os.File, src io.Reader, data []byte) error {
	if w.u.o.Digest {
		w.resetHashes()
	}
	if src == nil {
		return w.put(f, data)
	}
	if w.buf == nil {
		w.buf = make([]byte, bufferSize)
	}
	for {
		n, err := src.Read(w.buf)
		if werr := w.put(f, w.buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *writer) put(f *os.File, b []byte) error {
	if len(b) == 0 {
		return nil
	}
	if w.u.o.Digest {
		w.sha1.Write(b)
		w.sha256.Write(b)
	}
	_, err := f.Write(b)
	return DiskError(err)
}

func (w *writer) resetHashes() {
	if w.sha1 == nil {
		w.sha1, w.sha256 = sha1.New(), sha256.New()
		return
	}
	w.sha1.Reset()
	w.sha256.Reset()
}

func (w *writer) done(e Entry) error {
	if w.u.o.Digest {
		e.SHA1 = hex.EncodeToString(w.sha1.Sum(nil))
		e.SHA256 = hex.EncodeToString(w.sha256.Sum(nil))
	}
	if w.u.o.Written == nil {
		return nil
	}
	return w.u.o.Written(e)
}

// hardLink gives an unpacked file one more name, or a copy where the file
// system will not.
func (w *writer) hardLink(ctx context.Context, e Entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := w.u.root.Link(e.HardLink, e.Name); err != nil {
		return w.copyFile(e)
	}
	if !w.u.o.Digest {
		return w.done(e)
	}
	f, err := w.u.root.Open(e.Name)
	if err != nil {
		return DiskError(err)
	}
	defer f.Close()
	w.resetHashes()
	if _, err := io.Copy(io.MultiWriter(w.sha1, w.sha256), f); err != nil {
		return fmt.Errorf("reading a hard link back: %w", err)
	}
	return w.done(e)
}

func (w *writer) copyFile(e Entry) error {
	src, err := w.u.root.Open(e.HardLink)
	if err != nil {
		return DiskError(err)
	}
	defer src.Close()
	f, err := w.u.root.OpenFile(e.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, e.Mode)
	if err != nil {
		return DiskError(err)
	}
	err = w.fill(f, src, nil)
	if err == nil {
		err = DiskError(f.Chmod(e.Mode))
	}
	if cerr := f.Close(); err == nil {
		err = DiskError(cerr)
	}
	if err != nil {
		return err
	}
	return w.done(e)
}
