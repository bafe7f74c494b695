package router

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// A body that needs more waiting than this, at less than that, is a slow
// attack: it is cut off.
const (
	slowBodyAfter = 20 * time.Second
	slowBodyRate  = 240 // bytes per second
)

// upload is a request's body on its way to an instance. A small one is kept
// while it passes, so that it can be sent again.
type upload struct {
	src   io.Reader
	watch *watch
	keep  bool  // its length is known and small
	hasty bool  // it must come at a minimum rate
	limit int64 // bytes the route allows; 0: any

	read    atomic.Int64
	touched atomic.Bool
	eof     atomic.Bool
	failed  atomic.Pointer[error] // from the client's side, other than io.EOF

	mu     sync.Mutex // held while src is read, so possibly for long; guards what follows
	kept   []byte
	waited time.Duration
}

var errBodyTooLarge = errors.New("router: request body too large")

var errSlowBody = errors.New("router: request body too slow")

// reader returns the body for one attempt, from its first byte.
func (u *upload) reader() io.ReadCloser { return &uploadReader{u: u} }

// replayable reports whether another attempt can send the whole body.
func (u *upload) replayable() bool {
	return u.failed.Load() == nil && (u.keep || !u.touched.Load())
}

// failure returns the client's error, if the body could not be read.
func (u *upload) failure() error {
	if err := u.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// nextLocked reads more of the body.
func (u *upload) nextLocked(p []byte) (int, error) {
	if err := u.failure(); err != nil {
		return 0, err
	}
	u.touched.Store(true)
	begun := u.watch.r.now()
	u.watch.uploading()
	n, err := u.src.Read(p)
	u.watch.uploaded()
	u.read.Add(int64(n))
	if u.keep {
		u.kept = append(u.kept, p[:n]...)
	}
	if u.limit > 0 && u.read.Load() > u.limit {
		n, err = 0, errBodyTooLarge
	}
	u.waited += time.Duration(u.watch.r.now() - begun)
	if u.hasty && err == nil && u.waited > slowBodyAfter && float64(u.read.Load()) < slowBodyRate*u.waited.Seconds() {
		err = errSlowBody
	}
	switch err {
	case nil:
	case io.EOF:
		u.eof.Store(true)
	default:
		u.failed.Store(&err)
	}
	return n, err
}

// uploadReader is one attempt's view of an upload.
type uploadReader struct {
	u   *upload
	off int
}

// Read implements io.Reader.
func (r *uploadReader) Read(p []byte) (int, error) {
	u := r.u
	u.mu.Lock()
	defer u.mu.Unlock()
	if r.off < len(u.kept) {
		n := copy(p, u.kept[r.off:])
		r.off += n
		return n, nil
	}
	if u.eof.Load() {
		return 0, io.EOF
	}
	n, err := u.nextLocked(p)
	r.off += n
	return n, err
}

// Close implements io.Closer. The body itself belongs to the server.
func (r *uploadReader) Close() error { return nil }
