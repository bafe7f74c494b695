package main

import (
	"testing"
	"time"
)

func TestOracle_AllowsWhatWasInForceDuringTheRequest(t *testing.T) {
	o := newOracle(1, func(int) int { return 1 })
	before := time.Now()
	acknowledged := o.change(0, 2)
	during := time.Now()
	acknowledged()
	after := time.Now().Add(time.Nanosecond)
	for _, c := range []struct {
		name       string
		state      int
		begin, end time.Time
		allowed    bool
	}{
		{"the old one before", 1, before.Add(-time.Second), before.Add(-time.Second), true},
		{"the new one before", 2, before.Add(-time.Second), before.Add(-time.Second), false},
		{"the old one while it changes", 1, during, during, true},
		{"the new one while it changes", 2, during, during, true},
		{"the old one of a request that began before", 1, before, after, true},
		{"the old one after", 1, after.Add(time.Second), after.Add(2 * time.Second), false},
		{"the new one after", 2, after.Add(time.Second), after.Add(2 * time.Second), true},
		{"another one", 3, before, after, false},
	} {
		if err := o.judge(0, c.state, c.begin, c.end); (err == nil) != c.allowed {
			t.Errorf("%s: got %v, want allowed = %t", c.name, err, c.allowed)
		}
	}
}
