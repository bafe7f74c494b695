package router

import (
	"net/http"
	"sync/atomic"
	"time"
)

// clock is what the router's own clock lacks, refreshed by each tick.
type clock struct {
	wall atomic.Int64 // Unix nanoseconds at the zero of the router's clock
	date atomic.Pointer[dateLine]
}

type dateLine struct {
	second int64
	line   []byte
}

// now is the time in nanoseconds on a clock that only goes forward.
func (r *Router) now() int64 { return int64(time.Since(r.started)) }

// tick refreshes what hangs on the time of day, and returns now.
func (r *Router) tick() int64 {
	t := time.Now()
	now := int64(t.Sub(r.started))
	r.clock.wall.Store(t.UnixNano() - now)
	if d := r.clock.date.Load(); d == nil || d.second != t.Unix() {
		r.clock.date.Store(&dateLine{t.Unix(), []byte("Date: " + t.UTC().Format(http.TimeFormat) + "\r\n")})
	}
	return now
}

// wallTime is the time of day at a moment of the router's clock.
func (r *Router) wallTime(now int64) time.Time { return time.Unix(0, r.clock.wall.Load()+now) }

// date returns a Date line for answers that have none.
func (r *Router) date() []byte { return r.clock.date.Load().line }
