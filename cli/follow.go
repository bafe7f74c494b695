package cli

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"weir/api/client"
	v3 "weir/api/v3"
)

// follower shows an app's log lines while something else is waited for.
type follower struct {
	s    *session
	app  string
	want func(v3.LogLine) bool
	show func(v3.LogLine)

	mu   sync.Mutex // guards the rest
	last int64      // timestamp of the newest line seen
	tail []string   // the last lines shown, for an error in a quiet mode
}

// tailLines is how many lines a failure repeats.
const tailLines = 20

// newFollower returns a follower that begins after the newest line there is.
// The server's own time stamps are used, so that clocks need not agree.
func (s *session) newFollower(ctx context.Context, app string, want func(v3.LogLine) bool, show func(v3.LogLine)) (*follower, error) {
	f := &follower{s: s, app: app, want: want, show: show}
	_, err := persist(ctx, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.LogStream(ctx, app, client.LogStreamOptions{Recent: 1, NoFollow: true}, func(l v3.LogLine) error {
			f.last = int64(l.Timestamp)
			return nil
		})
	})
	return f, err
}

// follow shows a line of a log beside the progress: as text, or with -o jsonl as
// weir logs has it.
func (u *ui) follow(l v3.LogLine, text string) {
	switch {
	case u.format == formatJSONL:
		_ = u.emit("LogLine", viewLine(l))
	case !u.quiet && !u.machine():
		u.say("", text)
	}
}

// while follows the log until work returns, then shows what was written up to
// that moment and returns work's error.
func (f *follower) while(ctx context.Context, work func(context.Context) error) error {
	following, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.follow(following)
	}()
	err := work(ctx)
	stop()
	<-ended
	// What the connection had not brought yet. A failure to read it must not
	// hide the outcome of the work.
	if ctx.Err() == nil {
		rest, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		_ = f.s.LogStream(rest, f.app, client.LogStreamOptions{Since: f.since(), NoFollow: true}, f.take)
	}
	return err
}

func (f *follower) since() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last + 1
}

// follow reads the log until ctx ends, over as many connections as it takes.
func (f *follower) follow(ctx context.Context) {
	for pause := 200 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		err := f.s.LogStream(ctx, f.app, client.LogStreamOptions{Since: f.since()}, f.take)
		if err == nil || !transient(err) {
			return
		}
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

func (f *follower) take(l v3.LogLine) error {
	f.mu.Lock()
	f.last = max(f.last, int64(l.Timestamp))
	wanted := f.want(l)
	if wanted {
		if f.tail = append(f.tail, plainLine(l)); len(f.tail) > tailLines {
			f.tail = f.tail[1:]
		}
	}
	f.mu.Unlock()
	if wanted {
		f.show(l)
	}
	return nil
}

// lastLines returns the newest lines shown.
func (f *follower) lastLines() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.tail
}

func plainLine(l v3.LogLine) string {
	return strings.TrimRight(string(l.Payload), "\r\n")
}

// transient reports whether an error is one that a restart of the server
// explains: it may go away.
func transient(err error) bool {
	if _, ok := errors.AsType[*client.Unreachable](err); ok {
		return true
	}
	return errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		client.IsStatus(err, http.StatusServiceUnavailable) || client.IsStatus(err, http.StatusBadGateway)
}

// patience is how long a server may be gone while it is waited for: it
// restarts by itself within seconds.
const patience = 30 * time.Second

// persist calls read, which only reads, again while the server is gone.
func persist[T any](ctx context.Context, read func(context.Context) (T, error)) (T, error) {
	var gone time.Time
	for {
		v, err := read(ctx)
		if err == nil || !transient(err) || ctx.Err() != nil {
			return v, err
		}
		if gone.IsZero() {
			gone = time.Now()
		}
		if time.Since(gone) > patience {
			return v, err
		}
		if err := sleep(ctx, 250*time.Millisecond); err != nil {
			return v, err
		}
	}
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
