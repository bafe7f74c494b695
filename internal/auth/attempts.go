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

// failures are the attempts of one account since its last success.
type failures struct {
	recent      []time.Time   // begun within failureWindow, oldest first
	lockedUntil time.Time     // zero while not locked
	lock        time.Duration // how long it was locked last
	last        time.Time
}

func newAttempts() *attempts { return &attempts{accounts: make(map[string]*failures)} }

// begin counts an attempt as failed before it is made, so that many at once
// do not slip through. It returns how long the account is still locked, 0 if
// the attempt may be made.
func (a *attempts) begin(name string, now time.Time) time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.accounts[name]
	if f == nil {
		a.makeRoomLocked(now)
		f = &failures{}
		a.accounts[name] = f
	}
	if now.Before(f.lockedUntil) {
		return f.lockedUntil.Sub(now)
	}
	for len(f.recent) > 0 && now.Sub(f.recent[0]) >= failureWindow {
		f.recent = f.recent[1:]
	}
	if now.Sub(f.last) > lockMost {
		f.lock = 0
	}
	if len(f.recent) >= maxFailures || f.lock > 0 && len(f.recent) > 0 {
		f.lock = min(max(2*f.lock, lockFirst), lockMost)
		f.lockedUntil = now.Add(f.lock)
		f.recent = nil
		return f.lock
	}
	f.recent = append(f.recent, now)
	f.last = now
	return 0
}

// undo takes the newest attempt back: it failed for another reason.
func (a *attempts) undo(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if f := a.accounts[name]; f != nil && len(f.recent) > 0 {
		f.recent = f.recent[:len(f.recent)-1]
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
