package source

import (
	"archive/zip"
	"compress/flate"
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// zipEpoch is the time of every entry: the same files give the same bytes.
var zipEpoch = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// WriteZip writes a zip of the files that keep accepts to w. Directories,
// symbolic links and empty files keep their place only if keep says so too.
// done, if not nil, is told of every byte of content once it was written.
func (t *Tree) WriteZip(ctx context.Context, w io.Writer, keep func(File) bool, done func(int64)) error {
	z := zip.NewWriter(w)
	// One for all entries, which are written one after the other: to make it
	// takes longer than to pack a small file.
	packer, err := flate.NewWriter(nil, flate.BestSpeed)
	if err != nil {
		return err
	}
	z.RegisterCompressor(zip.Deflate, func(w io.Writer) (io.WriteCloser, error) {
		packer.Reset(w)
		return packer, nil
	})
	for _, f := range t.Files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if keep != nil && !keep(f) {
			continue
		}
		if err := t.writeEntry(z, f, done); err != nil {
			return fmt.Errorf("packing %s: %w", f.Path, err)
		}
	}
	return z.Close()
}

func (t *Tree) writeEntry(z *zip.Writer, f File, done func(int64)) error {
	h := &zip.FileHeader{Name: f.Path, Modified: zipEpoch, Method: zip.Deflate}
	switch {
	case f.Mode.IsDir():
		h.Name += "/"
		h.Method = zip.Store
		h.SetMode(fs.ModeDir | 0o755)
		_, err := z.CreateHeader(h)
		return err
	case f.Mode&fs.ModeSymlink != 0:
		h.Method = zip.Store
		h.SetMode(fs.ModeSymlink | 0o777)
		w, err := z.CreateHeader(h)
		if err != nil {
			return err
		}
		_, err = io.WriteString(w, f.Link)
		return err
	}
	h.SetMode(f.Mode.Perm())
	w, err := z.CreateHeader(h)
	if err != nil {
		return err
	}
	r, err := t.Open(f)
	if err != nil {
		return err
	}
	defer r.Close()
	// One byte too many shows a file that grew since it was hashed.
	n, err := io.Copy(&tallyWriter{w: w, done: done}, io.LimitReader(r, f.Size+1))
	if err == nil && n != f.Size {
		err = changedMeanwhile(f.Path)
	}
	return err
}

// tallyWriter reports what it wrote.
type tallyWriter struct {
	w    io.Writer
	done func(int64)
}

func (t *tallyWriter) Write(p []byte) (int, error) {
	n, err := t.w.Write(p)
	if t.done != nil {
		t.done(int64(n))
	}
	return n, err
}
