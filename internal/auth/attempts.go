package auth

import (
	"sync"
	"time"
)

const (
	// maxFailures in failureWindow lock an account.
	maxFailures   = 5
	failureWindow = time.Minute
	// An account is locked for lockFirst; each further failure after that
	// doubles it, up to lockMost.
	lockFirst = time.Minute
	lockMost  = 15 * time.Minute
	// maxAccounts bounds the memory that made-up names can take.
	maxAccounts = 10000
)

// attempts counts the wrong passwords of each account. It is kept in memory:
// a restart forgives.
type attempts struct {
	mu       sync.Mutex
	accounts map[string]*failures // guarded by mu
}

// failures are the wrong passwords of one account since its last success.
type failures struct {
	recent      []time.Time   // within failureWindow, oldest first
	lock        time.Duration // how long it was locked last
	lockedUntil time.Time     // zero if it never was
	last        time.Time
}

func newAttempts() *attempts { return &attempts{accounts: make(map[string]*failures)} }

// locked returns for how long an account is still locked, 0 if it is not.
func (a *attempts) locked(name string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.accounts[name]; f != nil && now.Before(f.lockedUntil) {
		return f.lockedUntil.Sub(now)
	}
	return 0
}

// fail counts a wrong password, and locks the account if it was one too many.
func (a *attempts) fail(name string, now time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.accounts[name]
	if f == nil || now.Sub(f.last) > lockMost+failureWindow {
		a.makeRoomLocked(now)
		f = &failures{}
		a.accounts[name] = f
	}
	for len(f.recent) > 0 && now.Sub(f.recent[0]) >= failureWindow {
		f.recent = f.recent[1:]
	}
	f.recent = append(f.recent, now)
	f.last = now
	if len(f.recent) >= maxFailures || f.lock > 0 {
		f.lock = min(max(2*f.lock, lockFirst), lockMost)
		f.lockedUntil = now.Add(f.lock)
		f.recent = nil
	}
}

// forget clears an account after a success.
func (a *attempts) forget(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.accounts, name)
}

// makeRoomLocked drops accounts nobody tried for long, and if all are fresh,
// any that is not locked.
func (a *attempts) makeRoomLocked(now time.Time) {
	if len(a.accounts) < maxAccounts {
		return
	}
	for name, f := range a.accounts {
		if now.Sub(f.last) > lockMost && !now.Before(f.lockedUntil) {
			delete(a.accounts, name)
		}
	}
	for name, f := range a.accounts {
		if len(a.accounts) < maxAccounts {
			return
		}
		if !now.Before(f.lockedUntil) {
			delete(a.accounts, name)
		}
	}
}
