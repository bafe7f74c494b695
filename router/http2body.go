package router

import (
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// http2Upload is a request's body on its way to an instance that speaks HTTP/2.
// A connection may turn out to end before it took the request, as those of gRPC
// servers do that bound their age: then the transport sends the request over
// another one. So the beginning of the body is kept until the answer began.
type http2Upload struct {
	x        *exchange
	trailer  http.Header // the request's, with the names that were announced
	done     atomic.Bool // all of it came from the client
	answered atomic.Bool // nobody begins anew
	left     atomic.Bool // see leave

	mu      sync.Mutex    // guards what follows
	change  sync.Cond     // of what follows
	kept    []byte        // what came
	from    int64         // but for so many bytes, which are not kept any more
	reading chan struct{} // closed when more came; nil: nobody asked the client
	ended   error         // how the body ended; nil: it did not
}

func newHTTP2Upload(x *exchange, trailer http.Header) *http2Upload {
	u := &http2Upload{x: x, trailer: trailer}
	u.change.L = &u.mu
	return u
}

// begin returns the body from its beginning.
func (u *http2Upload) begin() (io.ReadCloser, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.from > 0 {
		return nil, errBodyGone
	}
	return &http2Body{u: u}, nil
}

var errBodyGone = errors.New("router: the beginning of the body is not kept any more")

// run implements task: it reads what the client sends next.
func (u *http2Upload) run() {
	u.mu.Lock()
	if cap(u.kept)-len(u.kept) < headBuffer/2 {
		u.kept = slices.Grow(u.kept, min(max(headBuffer/2, len(u.kept)), relayBuffer))
	}
	room := u.kept[len(u.kept):cap(u.kept)]
	u.mu.Unlock()
	n, err := u.read(room)
	u.mu.Lock()
	u.kept, u.ended = u.kept[:len(u.kept)+n], err
	u.came()
	u.mu.Unlock()
}

// came ends a reading. The upload's mu is held.
func (u *http2Upload) came() {
	close(u.reading)
	u.reading = nil
	u.change.Broadcast()
}

func (u *http2Upload) read(p []byte) (int, error) {
	x, w := u.x, u.x.watch
	x.touched.Store(true)
	w.up.enter(phaseUpRead, x.r.now())
	n, err := x.source.Read(p)
	w.up.enter(phaseNone, 0)
	if got := w.got.Add(int64(n)); x.maxBody > 0 && got > x.maxBody {
		n, err = 0, errBodyTooLarge
	}
	w.down.again(phaseHead, x.r.now())
	switch err {
	case nil:
	case io.EOF:
		u.trail()
		u.done.Store(true)
	default:
		if !u.left.Load() {
			w.cancel(bodyFault(err))
		}
	}
	return n, err
}

// trail hands over the trailers that were announced.
func (u *http2Upload) trail() {
	for lines := u.x.source.trailers(); len(lines) > 0; {
		lines = eachLine(lines, func(name, value []byte) {
			if _, announced := u.trailer[textproto.CanonicalMIMEHeaderKey(string(name))]; announced {
				addField(u.trailer, name, value)
			}
		})
	}
}

// leave ends a wait for the client, before the front reads on by itself.
func (u *http2Upload) leave() {
	u.mu.Lock()
	reading := u.reading
	u.mu.Unlock()
	if reading == nil {
		return
	}
	u.left.Store(true)
	u.x.front.unblock(true, false)
	moment := time.NewTimer(lingerTime)
	defer moment.Stop()
	select {
	case <-reading:
	case <-moment.C:
	}
}

// http2Body is the body as one connection takes it.
type http2Body struct {
	u      *http2Upload
	at     int64 // how much was taken
	closed bool
}

// Read implements io.Reader.
func (b *http2Body) Read(p []byte) (int, error) {
	u := b.u
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		switch came := u.from + int64(len(u.kept)); {
		case b.closed:
			return 0, io.ErrClosedPipe
		case b.at < u.from:
			return 0, errBodyGone
		case b.at < came:
			n := copy(p, u.kept[b.at-u.from:])
			if b.at += int64(n); b.at == came && u.reading == nil && (u.answered.Load() || len(u.kept) > smallBody) {
				u.from, u.kept = came, nil
			}
			return n, nil
		case u.ended != nil:
			return 0, u.ended
		case u.reading == nil && u.from > 0:
			return b.readOn(p)
		case u.reading == nil:
			u.reading = make(chan struct{})
			u.x.r.workers.do(u)
		}
		u.change.Wait()
	}
}

// readOn reads what nobody needs again, with no detour. The upload's mu is held.
func (b *http2Body) readOn(p []byte) (n int, err error) {
	u := b.u
	u.reading = make(chan struct{})
	u.mu.Unlock()
	n, err = u.read(p)
	u.mu.Lock()
	u.from += int64(n)
	b.at, u.ended = u.from, err
	u.came()
	return n, err
}

// Close implements io.Closer: nobody takes the body here any more. The body
// itself belongs to the front.
func (b *http2Body) Close() error {
	b.u.mu.Lock()
	defer b.u.mu.Unlock()
	b.closed = true
	b.u.change.Broadcast()
	return nil
}
