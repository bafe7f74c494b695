package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// Writer returns a writer that appends each line as one envelope. Lines may
// hold any bytes; a line of more than 64 KiB is split. Writing faster than
// the store's BytesPerSecond blocks: a flooding source slows only itself.
// Close appends what is left of an unfinished line.
//
// A failing disk does not fail the writer, since that would stop the source:
// lines are dropped, and the first one that can be written again is preceded
// by one that tells how many were lost.
func (s *Store) Writer(app, sourceType, instance string, stderr bool) io.WriteCloser {
	return s.WriterAs(Envelope{App: app, SourceType: sourceType, Instance: instance, Stderr: stderr})
}

// WriterAs is Writer for envelopes like meta, tags included.
func (s *Store) WriterAs(meta Envelope) io.WriteCloser { return s.WriterWithin(meta, NewQuota(-1)) }

// WriterWithin is WriterAs for lines that q lets pass.
func (s *Store) WriterWithin(meta Envelope, q *Quota) io.WriteCloser {
	return &lineWriter{
		store: s,
		meta:  meta,
		quota: q,
		limit: limiter{perSecond: s.opts.BytesPerSecond},
	}
}

type lineWriter struct {
	store *Store
	meta  Envelope
	quota *Quota

	mu      sync.Mutex // guards the following
	partial []byte
	limit   limiter
	dropped int
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.limit.take(len(p))
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.partial = append(w.partial, p...)
			break
		}
		w.lineLocked(p[:i])
		p = p[i+1:]
	}
	for len(w.partial) >= maxPayload {
		w.emitLocked(w.partial[:maxPayload])
		w.partial = append(w.partial[:0], w.partial[maxPayload:]...)
	}
	return n, nil
}

func (w *lineWriter) lineLocked(line []byte) {
	if len(w.partial) > 0 {
		line = append(w.partial, line...)
		w.partial = w.partial[:0]
	}
	for len(line) > maxPayload {
		w.emitLocked(line[:maxPayload])
		line = line[maxPayload:]
	}
	w.emitLocked(bytes.TrimSuffix(line, []byte{'\r'}))
}

func (w *lineWriter) emitLocked(line []byte) {
	ok, tell := w.quota.take(len(line))
	if tell {
		w.appendLocked(w.quota.exceeded())
	}
	if ok {
		w.appendLocked(line)
	}
}

func (w *lineWriter) appendLocked(line []byte) {
	if w.dropped > 0 {
		e := w.meta
		e.Payload = fmt.Appendf(nil, "weir: %d log lines were lost: the log could not be written", w.dropped)
		if w.store.Append(e) != nil {
			w.dropped++
			return
		}
		w.dropped = 0
	}
	e := w.meta
	e.Payload = line
	if w.store.Append(e) != nil {
		w.dropped++
	}
}

func (w *lineWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.partial) > 0 {
		w.emitLocked(w.partial)
		w.partial = nil
	}
	return nil
}

// limiter is a token bucket that holds one second's worth.
type limiter struct {
	perSecond int64
	tokens    int64
	last      time.Time
}

// take waits until n bytes may pass.
func (l *limiter) take(n int) {
	now := time.Now()
	if l.last.IsZero() {
		l.tokens = l.perSecond
	} else {
		l.tokens = min(l.perSecond, l.tokens+int64(now.Sub(l.last).Seconds()*float64(l.perSecond)))
	}
	l.last = now
	l.tokens -= int64(n)
	if l.tokens < 0 {
		time.Sleep(time.Duration(float64(-l.tokens) / float64(l.perSecond) * float64(time.Second)))
	}
}

// CopyFIFO copies what a process writes into the FIFO at path to w, until the
// last writer closed it or ctx ends, and closes w. Opening never blocks.
func CopyFIFO(ctx context.Context, path string, w io.WriteCloser) error {
	defer w.Close()
	// O_NONBLOCK lets the open succeed before a writer is there and hands the
	// descriptor to the runtime's poller, so that Close interrupts a read.
	f, err := openFIFO(path)
	if err != nil {
		return fmt.Errorf("opening a log FIFO: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	defer func() {
		if stop() {
			f.Close()
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			w.Write(buf[:n]) // never fails, see Writer
		}
		switch {
		case err == nil:
		case errors.Is(err, io.EOF), errors.Is(err, os.ErrClosed):
			return nil
		default:
			return fmt.Errorf("reading a log FIFO: %w", err)
		}
	}
}
