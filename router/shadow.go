package router

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Shadow versions get copies of requests. Whatever a shadow does, the request
// it is a copy of does not notice: the copy is made of what passed by anyway,
// within fixed bounds, and sent by goroutines of its own a while after the client
// has its answer. What does not fit is dropped and counted by reason.
//
// The while is there because at that moment the client is about to take its
// answer, and needs the processor that sending a copy would take. Copies that
// came after the first are sent along with it, which wakes fewer threads.

// The bounds of shadow copies.
const (
	shadowBody    = 64 << 10 // bytes of a request or an answer that are kept; more are compared by digest
	shadowRead    = 1 << 20  // bytes of an answer that are counted; of a shadow's no more are read
	shadowBudget  = 32 << 20 // bytes kept by all copies and pairs together
	shadowQueue   = 256      // copies that wait to be sent; then the oldest is dropped
	shadowWorkers = 16
	shadowRate    = 1000                   // copies per second of all shadows together, …
	shadowBurst   = 100 * time.Millisecond // … as many as come in this time at once
	shadowPairs   = 512                    // pairs that wait to be fetched; then the oldest is dropped
	shadowPairsIn = shadowBudget / 4       // bytes of pairs that wait
	shadowMax     = 30 * time.Second       // for an answer
	shadowLater   = 10 * time.Millisecond  // how long the first of some copies waits before it is sent
	shadowAlong   = time.Millisecond       // how long those do that are sent after it
	probedFirst   = 64                     // copies for which the main version is asked twice in any case

	// A shadow whose copies mostly get no answer gets none for a while.
	shadowWindow = 10 * time.Second
	shadowFew    = 10 // answers within it before it is judged
	shadowSleep  = 30 * time.Second
	shadowForget = 10 * time.Minute // after which a version that gets nothing is a new one
)

// drop is why a copy was not made, or not compared.
type drop string

// The reasons.
const (
	dropMethod  drop = "method"            // it is not safe to do twice
	dropPath    drop = "path"              // the shadow is to have no copies of it
	dropExpect  drop = "expect"            // its body waited for leave to be sent
	dropLarge   drop = "request-too-large" // its body is over the limit
	dropCut     drop = "request-cut"       // its body was not sent to its end
	dropMain    drop = "main-failed"       // its answer did not reach the client whole
	dropNobody  drop = "no-instance"       // the shadow has none
	dropAsleep  drop = "asleep"            // the shadow mostly does not answer
	dropRate    drop = "rate"              // there are too many per second
	dropBudget  drop = "budget"            // there is no room
	dropQueue   drop = "queue-full"        // the shadow is slower than its copies come
	dropUnread  drop = "not-fetched"       // the controller did not come for what was found
	dropStopped drop = "stopped"           // the router ended
)

// shadows sends copies and keeps what came of them.
type shadows struct {
	r     *Router
	http2 *http.Transport
	held  atomic.Int64 // bytes; see shadowBudget

	mu      sync.Mutex // guards what follows
	queue   fifo[*copied]
	counts  map[shadowKey]*shadowCount
	pairs   fifo[keptPair]
	pairsIn int64  // bytes
	copies  uint64 // ever made, of all shadows
	drops   map[drop]uint64
	news    chan struct{} // closed, and replaced, when a pair came
	more    sync.Cond     // of mu: what is queued has waited, or stopped
	later   *time.Timer   // signals more
	armed   bool          // later runs
	stopped bool
	nextAt  int64 // when the rate allows another copy, on the router's clock
}

type shadowKey struct{ app, version string }

// keptPair is a pair that waits to be fetched.
type keptPair struct {
	ShadowPair
	size int64
}

// shadowCount is what is known about one shadow version. Times are on the
// router's clock.
type shadowCount struct {
	ShadowCounts        // that were not handed over yet
	made         uint64 // copies, ever
	at           int64  // when anything of this was last used

	since       int64 // when the window began
	sent, bad   int   // within it
	asleepUntil int64
}

// fifo is a queue that does not keep what was taken.
type fifo[T any] struct {
	list []T
	from int
}

func (q *fifo[T]) len() int { return len(q.list) - q.from }

func (q *fifo[T]) first() T { return q.list[q.from] }

func (q *fifo[T]) push(v T) {
	if q.from > 0 && len(q.list) == cap(q.list) {
		n := copy(q.list, q.list[q.from:])
		clear(q.list[n:])
		q.list, q.from = q.list[:n], 0
	}
	q.list = append(q.list, v)
}

func (q *fifo[T]) pop() T {
	var zero T
	v := q.list[q.from]
	q.list[q.from] = zero
	q.from++
	return v
}

func newShadows(r *Router) *shadows {
	s := &shadows{r: r, counts: map[shadowKey]*shadowCount{}, drops: map[drop]uint64{}, news: make(chan struct{}), nextAt: -int64(shadowBurst)}
	s.more.L = &s.mu
	s.later = time.AfterFunc(time.Hour, s.wake)
	s.later.Stop()
	s.http2 = newShadowTransport()
	return s
}

// run sends copies until stop is closed.
func (s *shadows) run(stop <-chan struct{}) {
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	for range shadowWorkers {
		workers.Go(func() {
			for c := s.next(); c != nil; c = s.next() {
				s.send(ctx, c)
			}
		})
	}
	<-stop
	cancel()
	s.mu.Lock()
	s.stopped = true
	s.more.Broadcast()
	s.mu.Unlock()
	workers.Wait()
	s.http2.CloseIdleConnections()
}

// admit reports whether a request of this sort is to be copied to a shadow
// now, counting why not.
func (s *shadows) admit(d *destination, why drop) bool {
	now := s.r.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.countLocked(d.shadowKey())
	switch {
	case why != "":
	case len(d.backends) == 0:
		why = dropNobody
	case c.asleepUntil > now:
		why = dropAsleep
	case s.nextAt > now:
		why = dropRate
	default:
		s.nextAt = max(s.nextAt, now-int64(shadowBurst)) + int64(time.Second/shadowRate)
		return true
	}
	s.dropLocked(c, why)
	return false
}

func (d *destination) shadowKey() shadowKey { return shadowKey{d.src.AppGUID, d.src.Version} }

func (s *shadows) countLocked(k shadowKey) *shadowCount {
	c := s.counts[k]
	if c == nil {
		c = &shadowCount{ShadowCounts: ShadowCounts{App: k.app, Version: k.version}}
		s.counts[k] = c
	}
	c.at = s.r.now()
	return c
}

func (s *shadows) drop(k shadowKey, why drop) {
	s.mu.Lock()
	s.dropLocked(s.countLocked(k), why)
	s.mu.Unlock()
}

func (s *shadows) dropLocked(c *shadowCount, why drop) {
	s.drops[why]++
	if c.Dropped == nil {
		c.Dropped = map[string]uint64{}
	}
	c.Dropped[string(why)]++
}

// submit queues a copy of a request that was answered.
func (s *shadows) submit(c *copied) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.countLocked(c.key)
	if s.stopped {
		s.dropLocked(n, dropStopped)
		c.release()
		return
	}
	if s.queue.len() >= shadowQueue {
		oldest := s.queue.pop()
		s.dropLocked(s.countLocked(oldest.key), dropQueue)
		s.judgeLocked(oldest, true)
		oldest.release()
	}
	s.copies++
	n.Copied++
	n.made++
	// What comes back must have no say in which requests are asked twice.
	c.probe = isSafe(c.of.pair.Method) && (n.made <= probedFirst || rand.IntN(100) < c.noise)
	c.since = s.r.now()
	s.queue.push(c)
	s.armLocked(shadowLater)
}

// armLocked has a worker look at the queue in a while.
func (s *shadows) armLocked(d time.Duration) {
	if !s.armed {
		s.armed = true
		s.later.Reset(d)
	}
}

func (s *shadows) wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.armed = false
	s.more.Signal()
}

// next waits for a copy to send; nil when there will be none.
func (s *shadows) next() *copied {
	s.mu.Lock()
	defer s.mu.Unlock()
	for age := shadowAlong; !s.stopped; age = shadowLater {
		if s.queue.len() == 0 {
			s.more.Wait()
			continue
		}
		if waited := time.Duration(s.r.now() - s.queue.first().since); waited < age {
			s.armLocked(shadowLater - waited)
			s.more.Wait()
			continue
		}
		c := s.queue.pop()
		if s.queue.len() > 0 {
			s.armLocked(shadowLater)
		}
		n := s.countLocked(c.key)
		if n.asleepUntil <= s.r.now() {
			return c
		}
		s.dropLocked(n, dropAsleep)
		c.release()
	}
	for s.queue.len() > 0 {
		c := s.queue.pop()
		s.dropLocked(s.countLocked(c.key), dropStopped)
		c.release()
	}
	return nil
}

// judgeLocked puts a shadow to sleep of whose copies more than half came to
// nothing.
func (s *shadows) judgeLocked(c *copied, failed bool) {
	n, now := s.countLocked(c.key), s.r.now()
	if now-n.since > int64(shadowWindow) {
		n.since, n.sent, n.bad = now, 0, 0
	}
	n.sent++
	if failed {
		n.bad++
	}
	if n.sent < shadowFew || n.bad*2 <= n.sent {
		return
	}
	n.since, n.sent, n.bad = now, 0, 0
	if n.asleepUntil < now {
		n.asleepUntil = now + int64(shadowSleep)
		s.r.cfg.Logger.Warn("a shadow version does not answer and gets no copies for a while", "app", c.key.app, "version", c.key.version, "for", shadowSleep)
	}
}

// keep notes what came of a copy.
func (s *shadows) keep(c *copied, p ShadowPair, size int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.countLocked(c.key)
	n.Compared++
	s.judgeLocked(c, p.Shadow.Status == 0)
	s.pairs.push(keptPair{p, size})
	s.pairsIn += size
	for s.pairs.len() > shadowPairs || s.pairsIn > shadowPairsIn {
		old := s.takeLocked()
		s.dropLocked(s.countLocked(shadowKey{old.App, old.Version}), dropUnread)
	}
	close(s.news)
	s.news = make(chan struct{})
}

func (s *shadows) takeLocked() keptPair {
	p := s.pairs.pop()
	s.pairsIn -= p.size
	s.held.Add(-p.size)
	return p
}

// fetchAtOnce is about how many bytes of pairs are handed over at a time.
const fetchAtOnce = 1 << 20

// fetch returns pairs that are there and forgets them, waiting for the first
// if there is none.
func (s *shadows) fetch(ctx context.Context, wait time.Duration) (pairs []ShadowPair, counts []ShadowCounts) {
	timer := time.NewTimer(max(wait, 0))
	defer timer.Stop()
	for {
		s.mu.Lock()
		news := s.news
		if s.pairs.len() > 0 || wait <= 0 {
			defer s.mu.Unlock()
			for size := int64(0); s.pairs.len() > 0 && size < fetchAtOnce; {
				p := s.takeLocked()
				size += p.size
				pairs = append(pairs, p.ShadowPair)
			}
			return pairs, s.countsLocked()
		}
		s.mu.Unlock()
		select {
		case <-news:
		case <-timer.C:
			wait = 0
		case <-ctx.Done():
			wait = 0
		}
	}
}

// countsLocked hands over what was counted since the last time, and forgets
// the versions of which nothing was heard for long.
func (s *shadows) countsLocked() (counts []ShadowCounts) {
	now := s.r.now()
	for k, c := range s.counts {
		if c.Copied != 0 || c.Compared != 0 || c.Dropped != nil {
			counts = append(counts, c.ShadowCounts)
			c.ShadowCounts = ShadowCounts{App: k.app, Version: k.version}
		} else if now-c.at > int64(shadowForget) {
			delete(s.counts, k)
		}
	}
	return counts
}
