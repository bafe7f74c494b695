package logs

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxPayload is the longest message; a longer line is split.
const maxPayload = 64 << 10

// appLog is the writing side of one app's log.
type appLog struct {
	dir     string
	opts    Options
	lastUse atomic.Int64

	mu      sync.Mutex // guards the following; the file write happens under it, for the order of records
	file    *os.File
	failed  time.Time // when a segment was last given up, or could not be made
	seq     int
	size    int64
	last    int64 // timestamp of the newest record
	changed chan struct{}
	buf     []byte
}

func (a *appLog) append(e Envelope) error {
	if len(e.Payload) > maxPayload {
		e.Payload = e.Payload[:maxPayload]
	}
	var tags []byte
	if len(e.Tags) > 0 {
		tags, _ = json.Marshal(e.Tags) // a map of strings always marshals
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openLocked(); err != nil {
		return err
	}
	now := time.Now().UnixNano()
	a.lastUse.Store(now)
	if e.Timestamp == 0 {
		e.Timestamp = now
	}
	a.last = nextTimestamp(e.Timestamp, a.last, a.opts.WriterName)
	e.Timestamp = a.last
	a.buf = appendRecord(a.buf[:0], e, tags)
	return a.writeLocked()
}

// appendAll adds messages without tags, with one write.
func (a *appLog) appendAll(list []Envelope) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.openLocked(); err != nil {
		return err
	}
	a.lastUse.Store(time.Now().UnixNano())
	a.buf = a.buf[:0]
	for _, e := range list {
		e.Payload = e.Payload[:min(len(e.Payload), maxPayload)]
		a.last = nextTimestamp(e.Timestamp, a.last, a.opts.WriterName)
		e.Timestamp = a.last
		a.buf = appendRecord(a.buf, e, nil)
	}
	return a.writeLocked()
}

// writeLocked writes buf and tells those who follow.
func (a *appLog) writeLocked() error {
	n, err := a.file.Write(a.buf)
	if err != nil {
		if n > 0 { // half a record lies at the end: leave this segment for good
			a.file.Close()
			a.file, a.failed = nil, time.Now()
		}
		return fmt.Errorf("writing a log segment: %w", err)
	}
	a.size += int64(n)
	close(a.changed)
	a.changed = make(chan struct{})
	return nil
}

// nextTimestamp returns the smallest allowed timestamp ≥ want: greater than
// last and, so that two processes never collide, odd for the router and even
// for everybody else.
func nextTimestamp(want, last int64, writer string) int64 {
	ts := max(want, last+1)
	odd := int64(0)
	if writer == "router" {
		odd = 1
	}
	if ts&1 != odd {
		ts++
	}
	return ts
}

func appendRecord(b []byte, e Envelope, tags []byte) []byte {
	source, instance := short(e.SourceType), short(e.Instance)
	n := 8 + 1 + 1 + len(source) + 1 + len(instance) + 2 + len(tags) + len(e.Payload)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Timestamp))
	flags := byte(0)
	if e.Stderr {
		flags = 1
	}
	b = append(b, flags, byte(len(source)))
	b = append(b, source...)
	b = append(b, byte(len(instance)))
	b = append(b, instance...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(tags)))
	b = append(b, tags...)
	return append(b, e.Payload...)
}

func short(s string) string {
	if len(s) > 255 {
		return s[:255]
	}
	return s
}

// retryAfter is how long no segment is started after one could not be, so that
// a program that logs on while the disk is full neither waits nor costs much.
const retryAfter = 100 * time.Millisecond

var errRetryLater = errors.New("the log could not be written a moment ago")

// openLocked makes sure there is a segment to append to, starting a new one
// when there is none or it is full.
func (a *appLog) openLocked() error {
	if a.file != nil && a.size < a.opts.SegmentBytes {
		return nil
	}
	if time.Since(a.failed) < retryAfter {
		return errRetryLater
	}
	err := a.startLocked()
	if err != nil {
		a.failed = time.Now()
	}
	return err
}

// startLocked starts a new segment, and removes the oldest beyond the bound.
func (a *appLog) startLocked() error {
	if a.file != nil {
		a.file.Close()
		a.file = nil
	}
	if err := os.MkdirAll(a.dir, 0o700); err != nil {
		return fmt.Errorf("making a log directory: %w", err)
	}
	if err := a.trimLocked(); err != nil {
		return err
	}
	f, err := os.OpenFile(filepath.Join(a.dir, segmentName(a.opts.WriterName, a.seq+1)), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("starting a log segment: %w", err)
	}
	a.seq++
	a.file, a.size = f, 0
	return nil
}

// trimLocked finds the newest own segment and timestamp, and removes the
// oldest own segments so that a new one fits the bound.
func (a *appLog) trimLocked() error {
	segs, err := segments(a.dir)
	if err != nil {
		return err
	}
	var own []segment
	var total int64
	for _, s := range segs {
		if s.writer == a.opts.WriterName {
			own = append(own, s)
			total += a.counts(s)
			a.seq = max(a.seq, s.seq)
		}
	}
	if a.last == 0 && len(own) > 0 {
		newest := own[len(own)-1]
		err := scan(newest.path, 0, func(e Envelope, _ int64) bool { a.last = max(a.last, e.Timestamp); return true })
		if err != nil {
			return err
		}
	}
	for len(own) > 0 && total+a.opts.SegmentBytes > a.opts.MaxBytesPerApp {
		if err := os.Remove(own[0].path); err != nil && !os.IsNotExist(err) {
			return fmt.Errorf("removing an old log segment: %w", err)
		}
		total -= a.counts(own[0])
		own = own[1:]
	}
	return nil
}

// counts is what a segment counts towards the bound: at least a 64th of a full
// one, so that there are never very many.
func (a *appLog) counts(s segment) int64 { return max(s.size, a.opts.SegmentBytes/64) }

func (a *appLog) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.lastUse.Store(0)
	if a.file == nil {
		return nil
	}
	err := a.file.Close()
	a.file = nil
	return err
}

// wait returns a channel that is closed at the next append.
func (a *appLog) wait() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changed
}

func segmentName(writer string, seq int) string {
	return fmt.Sprintf("%s-%08d.log", writer, seq)
}

func parseSegmentName(name string) (writer string, seq int, ok bool) {
	base, ok := strings.CutSuffix(name, ".log")
	if !ok {
		return "", 0, false
	}
	i := strings.LastIndexByte(base, '-')
	if i <= 0 {
		return "", 0, false
	}
	seq, err := strconv.Atoi(base[i+1:])
	return base[:i], seq, err == nil && seq > 0
}
