package uaa

import (
	"sync"
	"time"
)

// How many logins may fail from one address, on top of what the auth service
// counts per account.
const (
	maxFailures   = 20
	failureWindow = time.Minute
	maxAddresses  = 10_000
)

// limiter counts the failed logins of each address. It is kept in memory: a
// restart forgives.
type limiter struct {
	now func() time.Time

	mu        sync.Mutex
	addresses map[string]*count // guarded by mu
}

type count struct {
	failed int
	since  time.Time // of the first failure in this window
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, addresses: map[string]*count{}}
}

// locked returns how long an address has to wait, 0 if it need not.
func (l *limiter) locked(address string) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := l.addresses[address]
	if c == nil || c.failed < maxFailures {
		return 0
	}
	return max(0, failureWindow-l.now().Sub(c.since))
}

// fail counts a failed login.
func (l *limiter) fail(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	c := l.addresses[address]
	if c == nil {
		l.makeRoomLocked(now)
		c = &count{since: now}
		l.addresses[address] = c
	}
	if now.Sub(c.since) >= failureWindow {
		*c = count{since: now}
	}
	c.failed++
}

// forget clears an address after a success.
func (l *limiter) forget(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.addresses, address)
}

// makeRoomLocked drops addresses whose window is over and, should that not be
// enough, all.
func (l *limiter) makeRoomLocked(now time.Time) {
	if len(l.addresses) < maxAddresses {
		return
	}
	for a, c := range l.addresses {
		if now.Sub(c.since) >= failureWindow {
			delete(l.addresses, a)
		}
	}
	if len(l.addresses) >= maxAddresses {
		clear(l.addresses)
	}
}
