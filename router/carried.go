package router

import (
	"context"
	"sync"
	"time"
)

// carried are the connections that a front carries now. The zero value is
// empty.
type carried[C comparable] struct {
	mu   sync.Mutex // guards open
	open map[C]struct{}
}

func (s *carried[C]) add(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open == nil {
		s.open = make(map[C]struct{})
	}
	s.open[c] = struct{}{}
}

func (s *carried[C]) remove(c C) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
}

// each calls do for every connection, without holding anything.
func (s *carried[C]) each(do func(C)) {
	s.mu.Lock()
	all := make([]C, 0, len(s.open))
	for c := range s.open {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		do(c)
	}
}

// wait waits until no connection is left, and reports whether that came to
// pass.
func (s *carried[C]) wait(ctx context.Context) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s.mu.Lock()
		n := len(s.open)
		s.mu.Unlock()
		if n == 0 {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}
