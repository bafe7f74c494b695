package logs

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// ReadOptions choose what Read returns.
type ReadOptions struct {
	Start int64 // inclusive, ns; 0 or negative: from the beginning
	End   int64 // exclusive, ns; 0: to the end
	// Limit is the most envelopes returned; 0 means all.
	Limit int
	// Descending returns the newest first, that is the last Limit ones;
	// otherwise the oldest first.
	Descending  bool
	SourceTypes []string // empty means all
	// Match chooses among the envelopes that the rest chose; nil takes all.
	Match func(Envelope) bool
}

func (o ReadOptions) wants(e Envelope) bool {
	return e.Timestamp >= o.Start && e.Timestamp < o.End &&
		IsFrom(e.SourceType, o.SourceTypes) && (o.Match == nil || o.Match(e))
}

// IsFrom reports whether a source is one of sources, or belongs to one:
// APP/PROC/WEB belongs to APP. No sources are all.
func IsFrom(source string, sources []string) bool {
	return len(sources) == 0 || slices.ContainsFunc(sources, func(s string) bool {
		rest, ok := strings.CutPrefix(source, s)
		return ok && (rest == "" || rest[0] == '/')
	})
}

// Read returns envelopes of an app. An unknown app has none.
func (s *Store) Read(ctx context.Context, app string, o ReadOptions) ([]Envelope, error) {
	if !validName(app) {
		return nil, nil
	}
	if o.End == 0 {
		o.End = math.MaxInt64
	}
	segs, err := segments(filepath.Join(s.dir, app))
	if err != nil {
		return nil, err
	}
	var out []Envelope
	for _, seg := range skipOld(segs, o.Start) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		err := scan(seg.path, 0, func(e Envelope, _ int64) bool {
			if o.wants(e) {
				e.App = app
				out = append(out, e)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, byTime)
	if o.Descending {
		slices.Reverse(out)
	}
	if o.Limit > 0 && len(out) > o.Limit {
		out = out[:o.Limit]
	}
	return out, nil
}

func byTime(a, b Envelope) int {
	switch {
	case a.Timestamp < b.Timestamp:
		return -1
	case a.Timestamp > b.Timestamp:
		return 1
	}
	return 0
}

// skipOld leaves out the segments that end before start: those followed by a
// segment of the same writer whose first record is still too old.
func skipOld(segs []segment, start int64) []segment {
	if start <= 0 {
		return segs
	}
	var keep []segment
	for i, seg := range segs {
		if i+1 < len(segs) && segs[i+1].writer == seg.writer {
			if first, ok := firstTimestamp(segs[i+1].path); ok && first <= start {
				continue
			}
		}
		keep = append(keep, seg)
	}
	return keep
}

func firstTimestamp(path string) (ts int64, ok bool) {
	err := scan(path, 0, func(e Envelope, _ int64) bool { ts, ok = e.Timestamp, true; return false })
	return ts, ok && err == nil
}

// foreignPoll is how soon Follow sees what another process appended.
const foreignPoll = 250 * time.Millisecond

// Follow calls fn for every envelope of the app from the timestamp from on,
// first the ones that exist, then each new one as it is appended. It blocks
// until ctx ends (then it returns nil) or fn returns an error (then that).
func (s *Store) Follow(ctx context.Context, app string, from int64, fn func(Envelope) error) error {
	if !validName(app) {
		return fmt.Errorf("following a log: bad app GUID %q", app)
	}
	t := &tail{dir: filepath.Join(s.dir, app), app: app, from: from, offsets: map[string]int64{}}
	ticker := time.NewTicker(foreignPoll)
	defer ticker.Stop()
	for {
		changed := s.app(app).wait() // before reading, so that no append is missed
		batch, err := t.next()
		if err != nil {
			return err
		}
		for _, e := range batch {
			if ctx.Err() != nil {
				return nil
			}
			if err := fn(e); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-ticker.C:
		}
	}
}

// tail remembers how far each segment was read.
type tail struct {
	dir, app string
	from     int64
	offsets  map[string]int64
}

// next returns what was appended since the last call, in order of time.
func (t *tail) next() ([]Envelope, error) {
	segs, err := segments(t.dir)
	if err != nil {
		return nil, err
	}
	if len(t.offsets) == 0 {
		for _, seg := range segs {
			t.offsets[seg.path] = seg.size // old ones count as read …
		}
		for _, seg := range skipOld(segs, t.from) {
			t.offsets[seg.path] = 0 // … unless they may hold something wanted
		}
	}
	var batch []Envelope
	for _, seg := range segs {
		off := t.offsets[seg.path]
		if seg.size <= off {
			continue
		}
		err := scan(seg.path, off, func(e Envelope, size int64) bool {
			off += size
			if e.Timestamp >= t.from {
				e.App = t.app
				batch = append(batch, e)
			}
			return true
		})
		if err != nil {
			return nil, err
		}
		t.offsets[seg.path] = off
	}
	slices.SortStableFunc(batch, byTime)
	return batch, nil
}

// scan calls fn for the records of a segment from the given offset on, with
// the bytes each takes there, until fn returns false or only a torn record is
// left. A segment that was removed meanwhile is empty.
func scan(path string, offset int64, fn func(e Envelope, size int64) bool) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading a log segment: %w", err)
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return fmt.Errorf("reading a log segment: %w", err)
	}
	r := bufio.NewReaderSize(f, 64<<10)
	for {
		var head [4]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return nil // the end, or a torn record
		}
		n := binary.BigEndian.Uint32(head[:])
		if n > maxRecord {
			return nil // not a record: the segment is damaged from here on
		}
		body := make([]byte, n)
		if _, err := io.ReadFull(r, body); err != nil {
			return nil
		}
		e, ok := parseRecord(body)
		if !ok || !fn(e, int64(len(head))+int64(n)) {
			return nil
		}
	}
}

// maxRecord bounds what a length field may claim.
const maxRecord = maxPayload + 8 + 1 + 256 + 256 + 2 + 65535

func parseRecord(b []byte) (Envelope, bool) {
	var e Envelope
	if len(b) < 9 {
		return e, false
	}
	e.Timestamp = int64(binary.BigEndian.Uint64(b))
	e.Stderr = b[8]&1 != 0
	b = b[9:]
	var ok bool
	if e.SourceType, b, ok = cutShort(b); !ok {
		return e, false
	}
	if e.Instance, b, ok = cutShort(b); !ok || len(b) < 2 {
		return e, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) < n {
		return e, false
	}
	if n > 0 && json.Unmarshal(b[:n], &e.Tags) != nil {
		return e, false
	}
	e.Payload = b[n:]
	return e, true
}

func cutShort(b []byte) (s string, rest []byte, ok bool) {
	if len(b) < 1 || len(b) < 1+int(b[0]) {
		return "", nil, false
	}
	n := int(b[0])
	return string(b[1 : 1+n]), b[1+n:], true
}
