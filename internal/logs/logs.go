// Package logs keeps the log of each app on disk and lets readers follow it.
//
// Each app has a directory of segment files. A segment belongs to the process
// that writes it (the controller, or the router for its access lines), so two
// processes never share a file; readers merge them by timestamp. A segment is
// a run of records and is never appended to after a restart, so a record torn
// by a crash can only be the last of its segment and is passed over.
//
//	record  = length timestamp flags source instance tags payload
//	length  = 4 bytes, big endian: of everything after it
//	timestamp = 8 bytes, big endian: nanoseconds since 1970
//	flags   = 1 byte: bit 0 is set for stderr
//	source, instance = 1 byte of length, then as many bytes
//	tags    = 2 bytes of length, big endian, then a JSON object or nothing
//	payload = the rest
package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
)

// TagVersion is the tag with the label of the version that an instance is of.
const TagVersion = "version"

// Envelope is one message of an app's log.
type Envelope struct {
	// Timestamp is in nanoseconds since 1970; unique and rising per app.
	Timestamp int64
	App       string // GUID
	Instance  string // index of the instance, or "0"
	// SourceType is APP/PROC/WEB, STG, RTR, API, CELL …
	SourceType string
	Tags       map[string]string
	Stderr     bool
	Payload    []byte // any bytes, without the line's end
}

// Options of a Store. The zero value works.
type Options struct {
	// WriterName tells this process's segments from another's. Default
	// "controller".
	WriterName string
	// MaxBytesPerApp bounds what this writer keeps of an app. Default 16 MiB.
	MaxBytesPerApp int64
	// SegmentBytes is the size at which a segment ends. Default 1 MiB.
	SegmentBytes int64
	// BytesPerSecond is what one Writer may append; more slows its source
	// down. Default 8 MiB.
	BytesPerSecond int64
}

func (o Options) withDefaults() Options {
	if o.WriterName == "" {
		o.WriterName = "controller"
	}
	if o.MaxBytesPerApp == 0 {
		o.MaxBytesPerApp = 16 << 20
	}
	if o.SegmentBytes == 0 {
		o.SegmentBytes = 1 << 20
	}
	if o.BytesPerSecond == 0 {
		o.BytesPerSecond = 8 << 20
	}
	return o
}

// maxOpen bounds the segment files kept open for appending.
const maxOpen = 256

// Store is a directory of app logs.
type Store struct {
	dir  string
	opts Options

	mu      sync.Mutex // guards apps and extents
	apps    map[string]*appLog
	extents map[string]map[string]extentOf // by app and path; the inner maps never change
}

// Open returns the store in dir, which is made if it does not exist.
func Open(dir string, opts Options) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the log directory: %w", err)
	}
	return &Store{dir: dir, opts: opts.withDefaults(), apps: map[string]*appLog{}, extents: map[string]map[string]extentOf{}}, nil
}

// Close closes all open segments. Appending afterwards opens new ones.
func (s *Store) Close() error {
	s.mu.Lock()
	apps := make([]*appLog, 0, len(s.apps))
	for _, a := range s.apps {
		apps = append(apps, a)
	}
	s.mu.Unlock()
	var errs []error
	for _, a := range apps {
		errs = append(errs, a.close())
	}
	return errors.Join(errs...)
}

// Append adds one message. A zero Timestamp becomes now; any timestamp is
// moved forward as far as needed to be unique and rising.
func (s *Store) Append(e Envelope) error {
	if !validName(e.App) {
		return fmt.Errorf("appending to a log: bad app GUID %q", e.App)
	}
	return s.app(e.App).append(e)
}

// AppendAll adds messages of one app, which have timestamps and no tags, and
// is quicker than Append for many.
func (s *Store) AppendAll(app string, list []Envelope) error {
	if !validName(app) {
		return fmt.Errorf("appending to a log: bad app GUID %q", app)
	}
	return s.app(app).appendAll(list)
}

// Apps lists what there is in the directory: the apps that have a log, and
// perhaps what is not ours. It is in no order.
func (s *Store) Apps() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listing the logs: %w", err)
	}
	apps := make([]string, 0, len(entries))
	for _, e := range entries {
		apps = append(apps, e.Name())
	}
	return apps, nil
}

// Delete forgets an app's log and removes its files, whoever wrote them.
func (s *Store) Delete(app string) error {
	if !validName(app) {
		return fmt.Errorf("deleting a log: bad app GUID %q", app)
	}
	s.mu.Lock()
	a := s.apps[app]
	delete(s.apps, app)
	delete(s.extents, app)
	s.mu.Unlock()
	if a != nil {
		a.close()
	}
	return os.RemoveAll(filepath.Join(s.dir, app))
}

// app returns the writing side of one app's log and closes the segment of the
// app that was idle the longest when too many are open.
func (s *Store) app(guid string) *appLog {
	s.mu.Lock()
	a := s.apps[guid]
	var idle *appLog
	if a == nil {
		a = &appLog{dir: filepath.Join(s.dir, guid), opts: s.opts, changed: make(chan struct{})}
		if len(s.apps) >= maxOpen {
			idle = s.longestIdleLocked()
		}
		s.apps[guid] = a
	}
	s.mu.Unlock()
	if idle != nil {
		idle.close()
	}
	return a
}

func (s *Store) longestIdleLocked() *appLog {
	var idle *appLog
	for _, a := range s.apps {
		if at := a.lastUse.Load(); at != 0 && (idle == nil || at < idle.lastUse.Load()) {
			idle = a
		}
	}
	return idle
}

// validName keeps an app GUID from being a path.
func validName(app string) bool {
	return app != "" && app != "." && app != ".." && filepath.Base(app) == app
}

// segment is one file of an app's log.
type segment struct {
	path   string
	writer string
	seq    int
	size   int64
}

// segments lists the files of one app, oldest first within each writer.
func segments(dir string) ([]segment, error) {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing log segments: %w", err)
	}
	var segs []segment
	for _, e := range entries {
		writer, seq, ok := parseSegmentName(e.Name())
		if !ok {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // removed by its writer meanwhile
		}
		segs = append(segs, segment{filepath.Join(dir, e.Name()), writer, seq, info.Size()})
	}
	slices.SortFunc(segs, func(a, b segment) int {
		if a.writer != b.writer {
			if a.writer < b.writer {
				return -1
			}
			return 1
		}
		return a.seq - b.seq
	})
	return segs, nil
}
