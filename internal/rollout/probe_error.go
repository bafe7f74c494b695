package rollout

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"
)

// isRefused reports whether nothing listens.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// dialError is a failed check in plain words.
type dialError struct {
	text string
	err  error
}

func (e *dialError) Error() string { return e.text }
func (e *dialError) Unwrap() error { return e.err }

// explainDial says what is wrong with an instance that gave no answer.
func explainDial(err error, at endpoint, limit time.Duration) error {
	timeout, ok := errors.AsType[net.Error](err)
	switch {
	case isRefused(err):
		return &dialError{fmt.Sprintf("nothing listens on port %d", at.port), err}
	case errors.Is(err, context.DeadlineExceeded), ok && timeout.Timeout():
		return &dialError{fmt.Sprintf("no answer within %s", limit), err}
	case errors.Is(err, syscall.ECONNRESET):
		return &dialError{"the connection was reset", err}
	}
	return &dialError{"the connection broke off", err}
}
