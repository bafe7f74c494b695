package auth

import "time"

// NewCheap is New with hashes that cost nothing, and a clock of its own.
func NewCheap(cfg Config, now func() time.Time) *Service {
	return newService(cfg, cost{memory: 64, time: 1, threads: 1}, now)
}

// KeyOf returns the key of tokens.
var KeyOf = (*Service).key

// ParsePHC reports whether a text is a password hash.
func ParsePHC(text string) error {
	_, _, _, err := parsePHC(text)
	return err
}

// MaxAccounts bounds how many accounts are remembered.
const MaxAccounts = maxAccounts

// Remembered returns how many accounts failed attempts are remembered of.
func (s *Service) Remembered() int {
	s.attempts.mu.Lock()
	defer s.attempts.mu.Unlock()
	return len(s.attempts.accounts)
}

// Fail counts a wrong password of an account.
func (s *Service) Fail(account string, now time.Time) { s.attempts.fail(account, now) }
