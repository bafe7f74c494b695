package router

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// phase is what an exchange waits for on its way down.
type phase int32

const (
	phaseNone  phase = iota
	phaseHead        // the instance's response head
	phaseBody        // more of the instance's response body
	phaseWrite       // the client, to take the answer
)

// watch ends an exchange in which nothing moves. It costs one timer per
// exchange; what moves only notes the time.
type watch struct {
	r      *Router
	head   time.Duration // limit of phaseHead
	idle   time.Duration // limit of phaseBody
	upload time.Duration // limit for the client to send more of its body

	phase   atomic.Int32
	since   atomic.Int64 // when the phase began or last moved
	upSince atomic.Int64 // since when the client's body is waited for; 0: it is not

	cancel      context.CancelCauseFunc // ends the exchange with the instance
	stallUpload func()                  // ends a wait for the client's body
	stallWrite  func()                  // ends a wait for the client to read

	mu    sync.Mutex // guards what follows; the ends above are called with it held
	timer *time.Timer
	done  bool
}

func (w *watch) start() {
	w.enter(phaseHead)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(min(w.head, w.upload), w.check)
}

// stop ends the watch. Nothing is ended by it any more once stop returned.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.done = true
	if w.timer != nil {
		w.timer.Stop()
	}
}

func (w *watch) enter(p phase) {
	w.since.Store(w.r.now())
	w.phase.Store(int32(p))
}

// uploading notes that more of the client's body is waited for.
func (w *watch) uploading() { w.upSince.Store(w.r.now()) }

// uploaded notes that some of it came: the instance gets its time from now.
func (w *watch) uploaded() {
	w.upSince.Store(0)
	if phase(w.phase.Load()) == phaseHead {
		w.since.Store(w.r.now())
	}
}

func (w *watch) check() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return
	}
	now := w.r.now()
	next := w.idle
	// left notes when a limit is reached and reports whether it is.
	left := func(since int64, limit time.Duration) bool {
		d := limit - time.Duration(now-since)
		next = min(next, max(d, time.Millisecond))
		return d <= 0
	}
	up := w.upSince.Load()
	if up != 0 && left(up, w.uploadLimit()) {
		w.stallUpload()
	}
	since := w.since.Load()
	switch phase(w.phase.Load()) {
	case phaseHead:
		// While the client still sends, the instance need not answer.
		if up == 0 && left(since, w.head) {
			w.cancel(errHeadTimeout)
		} else if up != 0 {
			next = min(next, w.head)
		}
	case phaseBody:
		if left(since, w.idle) {
			w.cancel(errStreamTimeout)
		}
	case phaseWrite:
		if left(since, w.r.cfg.StallTimeout) {
			w.stallWrite()
		}
	}
	w.timer.Reset(next)
}

// uploadLimit is how long the client may pause in its body. Once the answer
// has begun the two may be talking to each other.
func (w *watch) uploadLimit() time.Duration {
	if p := phase(w.phase.Load()); p == phaseBody || p == phaseWrite {
		return w.idle
	}
	return w.upload
}
