package router

import (
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// backend is one instance the router sends requests to. All routes that lead
// to the instance share it.
type backend struct {
	guid  string
	index int
	addr  string

	inFlight atomic.Int64
	// gone is set when the instance left the table, after the table without
	// it was published: whoever claims it then must let go again.
	gone     atomic.Bool
	requests atomic.Uint64
	failures atomic.Uint64

	// ejectedUntil is when it gets requests again, on the router's clock;
	// 0: it was never ejected since it last answered.
	ejectedUntil atomic.Int64
	dialFailures atomic.Int32 // in a row
	// brokenOff are the requests in a row it took and did not answer; outages
	// how often that got it ejected lately.
	brokenOff atomic.Int32
	outages   atomic.Int32

	since int64  // when it came, on the router's clock; for the slow start
	hash  uint64 // of its GUID, for choosing by hash

	waiting atomic.Int32 // calls of Drain that wait for it

	refs int // pools of the running table; guarded by backends.mu

	up idlePool // idle connections over HTTP/1.1
	// How it is reached over HTTP/2; made on first use.
	once2 sync.Once
	http2 atomic.Pointer[http.Transport]
}

// backends knows every instance in the table, and those that left it with
// requests in flight.
type backends struct {
	mu    sync.Mutex
	known map[Backend]*backend
	// idle is closed, and replaced, when a backend somebody waits for has no
	// request in flight any more.
	idle chan struct{}
}

func newBackends() *backends {
	return &backends{known: make(map[Backend]*backend), idle: make(chan struct{})}
}

// acquire returns the backend for b with one more reference.
func (s *backends) acquire(b Backend) *backend {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.known[b]
	if x == nil {
		x = &backend{guid: b.InstanceGUID, index: b.Index, addr: b.Addr, hash: hashText(b.InstanceGUID, 0)}
		s.known[b] = x
	}
	x.refs++
	x.gone.Store(false)
	x.up.open()
	return x
}

// release takes back one reference. The table without it must have been
// published before.
func (s *backends) release(b *backend) {
	s.mu.Lock()
	b.refs--
	gone := b.refs == 0
	if gone {
		b.gone.Store(true)
	}
	s.mu.Unlock()
	if gone {
		s.retire(b)
	}
}

// retire closes the idle connections of a backend that left the table, and
// forgets it once it has no request in flight.
func (s *backends) retire(b *backend) {
	s.mu.Lock()
	still := b.refs > 0
	if !still && b.inFlight.Load() == 0 {
		key := Backend{InstanceGUID: b.guid, Index: b.index, Addr: b.addr}
		if s.known[key] == b {
			delete(s.known, key)
		}
	}
	s.mu.Unlock()
	if !still {
		b.closeIdle()
	}
}

// claim counts a request in flight. It returns false if the backend left the
// table meanwhile.
func (s *backends) claim(b *backend) bool {
	b.inFlight.Add(1)
	if b.gone.Load() {
		s.unclaim(b)
		return false
	}
	b.requests.Add(1)
	return true
}

// unclaim ends what claim began.
func (s *backends) unclaim(b *backend) {
	if b.inFlight.Add(-1) > 0 {
		return
	}
	if b.waiting.Load() > 0 {
		s.mu.Lock()
		close(s.idle)
		s.idle = make(chan struct{})
		s.mu.Unlock()
	}
	if b.gone.Load() {
		s.retire(b)
	}
}

// wait blocks until no instance of the given set has a request in flight, or
// stop is closed. It returns how many requests are left.
func (s *backends) wait(guids map[string]bool, stop <-chan struct{}) int64 {
	var watched []*backend
	s.mu.Lock()
	for _, b := range s.known {
		if guids[b.guid] {
			b.waiting.Add(1)
			watched = append(watched, b)
		}
	}
	s.mu.Unlock()
	defer func() {
		for _, b := range watched {
			b.waiting.Add(-1)
		}
	}()
	for {
		s.mu.Lock()
		idle := s.idle
		s.mu.Unlock()
		left := int64(0)
		for _, b := range watched {
			left += b.inFlight.Load()
		}
		if left == 0 {
			return 0
		}
		select {
		case <-idle:
		case <-stop:
			return left
		}
	}
}

// each calls f for every known backend.
func (s *backends) each(f func(*backend)) {
	s.mu.Lock()
	all := make([]*backend, 0, len(s.known))
	for _, b := range s.known {
		all = append(all, b)
	}
	s.mu.Unlock()
	for _, b := range all {
		f(b)
	}
}

// How long a backend that could not be dialled gets nothing: at first, and at
// most.
const (
	firstEjection = 250 * time.Millisecond
	maxEjection   = 10 * time.Second
)

// After how many requests in a row without an answer a backend gets nothing,
// and for how long: at first, and at most. A single one of these says little,
// since it may be the request that is to blame.
const (
	maxBrokenOff = 5
	firstOutage  = 10 * time.Second
	maxOutage    = 5 * time.Minute
)

// unreachable notes that dialling b failed for a reason of its own.
func (b *backend) unreachable(now int64) {
	n := b.dialFailures.Add(1)
	d := maxEjection
	if n < 7 {
		d = min(firstEjection<<(n-1), maxEjection)
	}
	b.eject(now + int64(d))
}

// brokeOff notes that b took a request and gave no answer, or none in time.
func (b *backend) brokeOff(now int64) {
	if b.brokenOff.Add(1) < maxBrokenOff {
		return
	}
	b.brokenOff.Store(0)
	n := b.outages.Add(1)
	d := maxOutage
	if n < 6 {
		d = min(firstOutage<<(n-1), maxOutage)
	}
	b.eject(now + int64(d))
}

// eject keeps b from getting requests until then, unless it is already for
// longer.
func (b *backend) eject(until int64) {
	for {
		was := b.ejectedUntil.Load()
		if was >= until || b.ejectedUntil.CompareAndSwap(was, until) {
			return
		}
	}
}

// reached notes that b answered.
func (b *backend) reached(now int64) {
	if b.brokenOff.Load() != 0 {
		b.brokenOff.Store(0)
	}
	until := b.ejectedUntil.Load()
	if until == 0 {
		return
	}
	// Who was out again and again has to stay well for as long as it would be
	// out the next time.
	if n := b.outages.Load(); n > 0 && now < until+int64(min(firstOutage<<min(n, 5), maxOutage)) {
		if until > now {
			b.ejectedUntil.Store(now)
		}
		return
	}
	b.outages.Store(0)
	b.dialFailures.Store(0)
	b.ejectedUntil.Store(0)
}
