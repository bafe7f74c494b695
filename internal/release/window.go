package release

import (
	"fmt"
	"strings"
	"time"

	"weir/internal/platform"
)

// Window is a time of the week in which nothing is released.
type Window struct {
	from, to time.Duration // since Monday 00:00; from > to goes over Sunday
	where    *time.Location
}

// ParseWindow reads a window such as "Fri 16:00-Mon 08:00 Europe/Berlin" or
// "22:00-06:00", which is every day. Without a place it is UTC.
func ParseWindow(text string) (Window, error) {
	w := Window{where: time.UTC}
	bad := func() (Window, error) {
		return w, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("freeze %q cannot be read", text),
			Hint: `write it as "Fri 16:00-Mon 08:00 Europe/Berlin"`,
		}
	}
	from, to, ok := strings.Cut(text, "-")
	if !ok {
		return bad()
	}
	if f := strings.Fields(to); len(f) > 1 && strings.ContainsAny(f[len(f)-1], "/ABCDEFGHIJKLMNOPQRSTUVWXYZ") && !strings.Contains(f[len(f)-1], ":") {
		where, err := time.LoadLocation(f[len(f)-1])
		if err != nil {
			return w, &platform.Error{
				Kind: platform.KindInvalid, Msg: fmt.Sprintf("freeze %q: there is no time zone %s", text, f[len(f)-1]),
				Hint: "name one such as Europe/Berlin, or none for UTC",
			}
		}
		w.where, to = where, strings.Join(f[:len(f)-1], " ")
	}
	var err error
	var daily [2]bool
	if w.from, daily[0], err = weekTime(from); err != nil {
		return bad()
	}
	if w.to, daily[1], err = weekTime(to); err != nil || daily[0] != daily[1] {
		return bad()
	}
	if w.from == w.to {
		return w, &platform.Error{
			Kind: platform.KindInvalid, Msg: fmt.Sprintf("freeze %q ends when it begins, and would never hold", text),
			Hint: `for all of a week say "Mon 00:00-Sun 23:59"`,
		}
	}
	if daily[0] {
		w.from -= week
		w.to -= week
	}
	return w, nil
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

// weekTime reads "Fri 16:00", or "16:00", which is of every day.
func weekTime(s string) (at time.Duration, daily bool, err error) {
	f := strings.Fields(s)
	if len(f) == 0 || len(f) > 2 {
		return 0, false, fmt.Errorf("%q is no time of the week", s)
	}
	clock, err := time.Parse("15:04", f[len(f)-1])
	if err != nil {
		return 0, false, err
	}
	at = time.Duration(clock.Hour())*time.Hour + time.Duration(clock.Minute())*time.Minute
	if len(f) == 1 {
		return at, true, nil
	}
	for i, name := range []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"} {
		if strings.HasPrefix(strings.ToLower(f[0]), name) {
			return time.Duration(i)*day + at, false, nil
		}
	}
	return 0, false, fmt.Errorf("%q is no day", f[0])
}

// Contains reports whether t lies in the window.
func (w Window) Contains(t time.Time) bool {
	t = t.In(w.where)
	at := time.Duration(t.Hour())*time.Hour + time.Duration(t.Minute())*time.Minute + time.Duration(t.Second())*time.Second
	from, to := w.from, w.to
	if from < 0 { // every day
		from, to = from+week, to+week
	} else {
		at += time.Duration((int(t.Weekday())+6)%7) * day
	}
	if from <= to {
		return from <= at && at < to
	}
	return at >= from || at < to
}
