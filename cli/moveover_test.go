package cli

import (
	"fmt"
	"testing"
	"time"
)

func TestOverSteps_RiseEvenlyFromTheShareThereIs(t *testing.T) {
	for _, c := range []struct {
		over  time.Duration
		share float64
		want  string
		each  time.Duration
	}{
		{5 * time.Second, 0, "[16.7 33.3 50 66.7 83.3]", time.Second},
		{20 * time.Second, 0, "[5 10 15 20 25 30 35 40 45 50 55 60 65 70 75 80 85 90 95]", 1100 * time.Millisecond},
		{10 * time.Minute, 80, "[85 90 95]", 200 * time.Second},
		{10 * time.Minute, 99, "[99]", 10 * time.Minute},
		{24 * time.Hour, 50, "[55 60 65 70 75 80 85 90 95]", 160 * time.Minute},
	} {
		weights, each := overSteps(c.over, c.share)
		if got := fmt.Sprint(weights); got != c.want || each != c.each {
			t.Errorf("over %s from %g%%: %s, %s each; want %s, %s", c.over, c.share, got, each, c.want, c.each)
		}
	}
}
