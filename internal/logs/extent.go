package logs

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Extent says how much is kept of an app's log.
type Extent struct {
	Count          int
	Oldest, Newest Mark // zero without any
}

// Mark is a place in a log.
type Mark struct {
	Timestamp  int64
	SourceType string
}

// extentOf is what was found of a segment up to an offset. What comes later is
// appended behind it.
type extentOf struct {
	Extent
	offset int64
}

// Extent measures the log of an app. It reads what was appended since it was
// last asked, and of that the heads only.
func (s *Store) Extent(app string) (Extent, error) {
	if !validName(app) {
		return Extent{}, nil
	}
	segs, err := segments(filepath.Join(s.dir, app))
	if err != nil {
		return Extent{}, err
	}
	s.mu.Lock()
	known := s.extents[app]
	s.mu.Unlock()
	var all Extent
	now := map[string]extentOf{} // without segments that are gone
	for _, seg := range segs {
		x := known[seg.path]
		if seg.size < x.offset {
			x = extentOf{} // another file of that name
		}
		if seg.size > x.offset {
			if x, err = x.read(seg.path); err != nil {
				return Extent{}, err
			}
		}
		now[seg.path] = x
		all.add(x.Extent)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.extents[app] = now; len(now) == 0 {
		delete(s.extents, app)
	}
	return all, nil
}

func (a *Extent) add(b Extent) {
	if b.Count == 0 {
		return
	}
	if a.Count == 0 || b.Oldest.Timestamp < a.Oldest.Timestamp {
		a.Oldest = b.Oldest
	}
	if a.Count == 0 || b.Newest.Timestamp > a.Newest.Timestamp {
		a.Newest = b.Newest
	}
	a.Count += b.Count
}

// read adds what lies behind the offset.
func (x extentOf) read(path string) (extentOf, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return extentOf{}, nil // removed by its writer meanwhile
	}
	if err != nil {
		return x, fmt.Errorf("reading a log segment: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(x.offset, io.SeekStart); err != nil {
		return x, fmt.Errorf("reading a log segment: %w", err)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		m, size, ok := readHead(r)
		if !ok {
			return x, nil // the end, or a torn record
		}
		x.offset += size
		x.add(Extent{Count: 1, Oldest: m, Newest: m})
	}
}

// readHead reads the beginning of a record and passes over the rest.
func readHead(r *bufio.Reader) (m Mark, size int64, ok bool) {
	var head [4 + 8 + 1 + 1]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return m, 0, false
	}
	n := int(binary.BigEndian.Uint32(head[:]))
	source := make([]byte, head[13])
	rest := n - (len(head) - 4) - len(source)
	if n > maxRecord || rest < 0 {
		return m, 0, false
	}
	if _, err := io.ReadFull(r, source); err != nil {
		return m, 0, false
	}
	if _, err := r.Discard(rest); err != nil {
		return m, 0, false
	}
	return Mark{int64(binary.BigEndian.Uint64(head[4:])), string(source)}, int64(4 + n), true
}
