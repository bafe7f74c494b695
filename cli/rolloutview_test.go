package cli

import (
	"testing"
	"time"
)

// "runs on until 22:20" may be in a minute or in a day.
func TestOnClock_SaysTheDayUnlessItIsToday(t *testing.T) {
	now := time.Now()
	noon := time.Date(now.Year(), now.Month(), now.Day(), 12, 0, 0, 0, time.Local)
	tomorrow := noon.AddDate(0, 0, 1)
	for _, c := range []struct {
		t      time.Time
		beside []time.Time
		want   string
	}{
		{noon, nil, "12:00"},
		{noon.UTC(), []time.Time{noon}, "12:00"},
		{tomorrow, nil, tomorrow.Format("2006-01-02 15:04")},
		{noon, []time.Time{tomorrow}, noon.Format("2006-01-02 15:04")},
	} {
		if got := onClock(c.t, "15:04", c.beside...); got != c.want && time.Now().Day() == now.Day() {
			t.Errorf("%s beside %v: got %q, want %q", c.t, c.beside, got, c.want)
		}
	}
}
