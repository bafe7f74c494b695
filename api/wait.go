package api

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// maxWait bounds wait=, in seconds.
const maxWait = 60

// waitFor reads a resource and, if seconds says so, holds the answer back
// until done is true of it or the time is up.
func waitFor[T any](ctx context.Context, s *store.Store, seconds *int, guid string, read func(context.Context, string) (T, error), done func(T) bool) (v T, err error) {
	if seconds == nil || *seconds == 0 {
		return read(ctx, guid)
	}
	if *seconds < 0 || *seconds > maxWait {
		return v, badQuery("wait must be between 0 and 60 seconds")
	}
	limited, cancel := context.WithTimeout(ctx, time.Duration(*seconds)*time.Second)
	defer cancel()
	err = s.Wait(limited, func(ctx context.Context) (bool, error) {
		now, err := read(ctx, guid)
		if err != nil {
			return false, err
		}
		v = now
		return done(v), nil
	})
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return read(ctx, guid) // time is up: answer with what is there
	}
	return v, err
}

// levelOf is how loudly a failure is logged: those a person caused are not
// the operator's.
func levelOf(err error) slog.Level {
	switch platform.KindOf(err) {
	case platform.KindInternal:
		if errors.Is(err, context.Canceled) {
			return slog.LevelInfo
		}
		return slog.LevelError
	case platform.KindExhausted, platform.KindUnavailable:
		return slog.LevelWarn
	}
	return slog.LevelInfo
}
