package logs

import (
	"fmt"
	"sync"
	"time"
)

// Quota bounds what one instance may log, over both its streams, and measures
// it. Lines beyond it are dropped, so that the program goes on at its pace;
// once a second a line says so. It may be shared by several writers.
type Quota struct {
	perSecond int64 // bytes; negative: no bound

	mu     sync.Mutex // guards the following
	tokens float64    // bytes that may pass now; at most a second's worth
	filled time.Time  // when tokens was right
	told   time.Time  // when a line last said that some were dropped

	since time.Time // when the count began
	bytes int64     // that passed since then
	rate  int64     // of the count before
}

// NewQuota returns a Quota of so many bytes a second. A negative number is no
// bound, and zero lets nothing pass.
func NewQuota(bytesPerSecond int64) *Quota { return &Quota{perSecond: bytesPerSecond} }

// Rate is how many bytes a second passed lately.
func (q *Quota) Rate() int64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.rollLocked(time.Now())
	return q.rate
}

// take reports whether a line of n bytes may pass, and whether this is the
// time to say that one may not.
func (q *Quota) take(n int) (ok, tell bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	now := time.Now()
	if q.perSecond >= 0 {
		full := float64(q.perSecond)
		if q.filled.IsZero() {
			q.tokens = full
		} else {
			q.tokens = min(full, q.tokens+now.Sub(q.filled).Seconds()*full)
		}
		q.filled = now
		if float64(n) > q.tokens || q.perSecond == 0 {
			if tell = now.Sub(q.told) >= time.Second; tell {
				q.told = now
			}
			return false, tell
		}
		q.tokens -= float64(n)
	}
	q.rollLocked(now)
	q.bytes += int64(n)
	return true, false
}

// rollLocked begins a new count once the present one lasted a second.
func (q *Quota) rollLocked(now time.Time) {
	if q.since.IsZero() {
		q.since = now
	}
	if d := now.Sub(q.since); d >= time.Second {
		q.rate = int64(float64(q.bytes) / d.Seconds())
		q.bytes, q.since = 0, now
	}
}

// exceeded is the line that stands for those that were dropped, in the words
// that users of Cloud Foundry look for.
func (q *Quota) exceeded() []byte {
	return fmt.Appendf(nil, "app instance exceeded log rate limit (%d bytes/sec)", q.perSecond)
}
