package certs

import (
	"log/slog"
	"sync"
	"time"
)

// strangers says of which names clients asked that there is no certificate
// for: one a minute, because anybody can ask for anything.
type strangers struct {
	log *slog.Logger

	mu     sync.Mutex // guards what follows
	said   time.Time  // when the last one was named
	others int        // since then
}

// maxName is how much of a name is logged.
const maxName = 253

func (s *strangers) note(name string, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Sub(s.said) < time.Minute {
		s.others++
		return
	}
	s.log.Info("handshake refused: there is no certificate for this host", "host", name[:min(len(name), maxName)], "others", s.others)
	s.said, s.others = now, 0
}
