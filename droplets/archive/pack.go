package archive

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/klauspost/compress/zip"
	"github.com/klauspost/compress/zstd"
	"github.com/mholt/archiver/v4"

	"weir/internal/platform"
)

// Pack writes the directory dir to w. Links are kept as links and never
// followed; sockets, FIFOs and devices are left out and named in Stats. prefix
// stands before each name: "./" gives the layout of a droplet.
// The same content gives the same bytes.
func Pack(ctx context.Context, w io.Writer, dir string, f Format, prefix string) (Stats, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Stats{}, err
	}
	defer root.Close()
	files, skipped, err := collect(ctx, root)
	if err != nil {
		return Stats{}, err
	}
	stats, err := pack(ctx, w, f, files, prefix)
	stats.Skipped = skipped
	return stats, err
}

// collect lists what is below root, lstat'ed, sorted by path.
func collect(ctx context.Context, root *os.Root) (files []File, skipped []string, err error) {
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == "." {
			return nil
		}
		file, ok, err := diskFile(root, name, d)
		if err != nil {
			return err
		}
		if !ok {
			skipped = append(skipped, name)
			return nil
		}
		files = append(files, file)
		return nil
	})
	return files, skipped, err
}

// diskFile describes what lies at name; ok is false for what cannot be packed.
func diskFile(root *os.Root, name string, d fs.DirEntry) (f File, ok bool, err error) {
	f = File{Name: name}
	switch d.Type() {
	case fs.ModeDir:
		f.Mode = fs.ModeDir
		return f, true, nil
	case fs.ModeSymlink:
		f.Mode = fs.ModeSymlink
		f.Link, err = root.Readlink(name)
		return f, true, err
	case 0:
	default:
		return f, false, nil
	}
	info, err := d.Info()
	if err != nil {
		return f, false, err
	}
	f.Mode, f.Size = info.Mode(), info.Size()
	f.Open = func() (io.ReadCloser, error) {
		// Should a link or a FIFO have taken its place, fail and do not wait.
		return root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	}
	return f, true, nil
}

// pack writes sorted files. The library does not tell when closing its
// writers failed, nor when a file turned out shorter than announced, so both
// are watched from outside.
func pack(ctx context.Context, w io.Writer, f Format, files []File, prefix string) (Stats, error) {
	stats := Stats{Format: f}
	out := &watchedWriter{w: w}
	p := &packing{ctx: ctx, out: out}
	infos := make([]archiver.FileInfo, len(files))
	for i := range files {
		infos[i] = p.info(&files[i], f, prefix)
		switch {
		case files[i].Mode.IsDir():
			stats.Dirs++
		case files[i].Mode&fs.ModeSymlink != 0:
			stats.Links++
		default:
			stats.Files++
			stats.Bytes += files[i].Size
		}
	}
	cw, err := compress(out, f)
	if err != nil {
		return stats, err
	}
	var a archiver.Archiver = archiver.Tar{NumericUIDGID: true}
	if f == Zip {
		a = archiver.Zip{Compression: zip.Deflate}
	}
	err = a.Archive(ctx, cw, infos)
	if cerr := cw.Close(); err == nil {
		err = cerr
	}
	switch {
	case ctx.Err() != nil:
		return stats, ctx.Err()
	case out.err() != nil:
		return stats, out.err()
	case p.err != nil:
		return stats, p.err
	}
	return stats, err
}

// compress wraps w for the format. Closing it does not close w.
func compress(w io.Writer, f Format) (io.WriteCloser, error) {
	switch f {
	case Zip, Tar:
		return nopWriteCloser{w}, nil
	case TarGz:
		return archiver.Gz{Multithreaded: true}.OpenWriter(w)
	case TarZst:
		return archiver.Zstd{EncoderOptions: []zstd.EOption{
			zstd.WithEncoderLevel(zstd.SpeedFastest),
			zstd.WithEncoderConcurrency(1),
		}}.OpenWriter(w)
	}
	return nil, &platform.Error{
		Kind: platform.KindBadRequest,
		Msg:  fmt.Sprintf("unknown archive format %q", f),
		Hint: "use zip, tar, tar.gz or tar.zst",
	}
}

type nopWriteCloser struct{ io.Writer }

func (nopWriteCloser) Close() error { return nil }

// watchedWriter keeps the first error and swallows what comes after it. It
// shows no error to the compressor, which would leave a goroutine behind;
// packedFile sees to it that the work ends.
type watchedWriter struct {
	w      io.Writer
	failed atomic.Pointer[error]
}

func (w *watchedWriter) Write(b []byte) (int, error) {
	if w.err() == nil {
		if _, err := w.w.Write(b); err != nil {
			w.failed.Store(&err)
		}
	}
	return len(b), nil
}

func (w *watchedWriter) err() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// packing is one run of pack; err is the first trouble with a file.
type packing struct {
	ctx context.Context // lives as long as one call of pack
	out *watchedWriter
	err error
}

func (p *packing) info(f *File, format Format, prefix string) archiver.FileInfo {
	mode := fs.FileMode(0o644)
	switch {
	case f.Mode.IsDir():
		mode = fs.ModeDir | 0o755
	case f.Mode&fs.ModeSymlink != 0:
		mode = fs.ModeSymlink | 0o777
	case f.Mode&0o111 != 0:
		mode = 0o755
	}
	fi := archiver.FileInfo{NameInArchive: prefix + f.Name, LinkTarget: f.Link}
	size := f.Size
	switch {
	case mode.IsDir():
		fi.NameInArchive += "/"
		size = 0
	case mode&fs.ModeSymlink != 0:
		// A tar has the target in its header, a zip as content.
		size = 0
		if format == Zip {
			size = int64(len(f.Link))
		}
		fi.Open = func() (fs.File, error) {
			return p.reader(f, io.NopCloser(strings.NewReader(f.Link)), int64(len(f.Link))), nil
		}
	default:
		fi.Open = func() (fs.File, error) {
			rc, err := f.Open()
			if err != nil {
				p.fail(err)
				return nil, err
			}
			return p.reader(f, rc, f.Size), nil
		}
	}
	fi.FileInfo = plainInfo{name: path.Base(f.Name), mode: mode, size: size}
	return fi
}

func (p *packing) fail(err error) {
	if p.err == nil && err != nil {
		p.err = err
	}
}

func (p *packing) reader(f *File, rc io.ReadCloser, n int64) fs.File {
	return &packedFile{p: p, f: f, rc: rc, left: n}
}

// packedFile yields exactly the announced number of bytes or an error.
type packedFile struct {
	p    *packing
	f    *File
	rc   io.ReadCloser
	left int64
}

func (r *packedFile) Read(b []byte) (int, error) {
	if err := cmp.Or(r.p.ctx.Err(), r.p.out.err()); err != nil {
		return 0, err
	}
	n, err := r.rc.Read(b)
	r.left -= int64(n)
	if r.left < 0 || (errors.Is(err, io.EOF) && r.left > 0) {
		err = fmt.Errorf("packing %q: it changed while it was read", r.f.Name)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.p.fail(err)
		return 0, err
	}
	return n, err
}

func (r *packedFile) Close() error { return r.rc.Close() }

func (r *packedFile) Stat() (fs.FileInfo, error) {
	return plainInfo{name: path.Base(r.f.Name), mode: r.f.Mode, size: r.f.Size}, nil
}

// plainInfo is a file without owner, and with the one time a zip can hold.
type plainInfo struct {
	name string
	mode fs.FileMode
	size int64
}

func (i plainInfo) Name() string       { return i.name }
func (i plainInfo) Size() int64        { return i.size }
func (i plainInfo) Mode() fs.FileMode  { return i.mode }
func (i plainInfo) ModTime() time.Time { return time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC) }
func (i plainInfo) IsDir() bool        { return i.mode.IsDir() }
func (i plainInfo) Sys() any           { return nil }
