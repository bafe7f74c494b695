package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"time"

	v3 "weir/api/v3"
)

// Bounds of move-traffic --over.
const (
	minOver = 5 * time.Second
	maxOver = 24 * time.Hour
	// A step takes at least stepOver, as long as there are no more than mostSteps.
	stepOver  = time.Second
	mostSteps = 19 // 5 % each
)

// over reads --over; without it, it is 0.
func (c *call) over() (time.Duration, error) {
	d := c.Duration("over")
	switch {
	case !c.has("over") && c.has("no-wait"):
		return 0, withHint(usagef("--no-wait is for --over"), "without --over there is nothing to wait for")
	case !c.has("over"):
		return 0, nil
	case d < minOver || d > maxOver:
		return 0, withHint(usagef("--over %s is not between %s and %s", tidyDuration(d.String()), tidyDuration(minOver.String()), tidyDuration(maxOver.String())),
			"write a time such as 10m; without --over the requests move at once")
	case c.has("if-table"):
		return 0, usagef("--over and --if-table exclude each other: the table changes step by step")
	}
	return d, nil
}

// overSteps returns the shares, in percent, that a version gets one after the
// other until after d it gets everything, and how long it keeps each. share is
// what it has now.
func overSteps(d time.Duration, share float64) (weights []float64, each time.Duration) {
	n := min(int(d/stepOver), mostSteps)
	for i := 1; i <= n; i++ {
		if w := math.Round(1000*float64(i)/float64(n+1)) / 10; w > share {
			weights = append(weights, w)
		}
	}
	if len(weights) == 0 {
		weights = []float64{max(share, 0.1)}
	}
	each = d / time.Duration(len(weights))
	if each > stepOver {
		return weights, each.Round(stepOver / 10)
	}
	return weights, each
}

// overPlan is the plan of a rollout in such steps. It waits for nothing but the
// time; the judge looks on.
func overPlan(weights []float64, each time.Duration) (json.RawMessage, error) {
	steps := []map[string]any{}
	for _, w := range weights {
		steps = append(steps, map[string]any{"weight": w})
	}
	return json.Marshal(map[string]any{
		"steps": steps, "bake": each.String(), "min-requests": 0, "warmup": "0s", "on-silence": "promote", "concurrency": "refuse",
	})
}

// moveOver lets the server move the requests of the main version to another one
// bit by bit: a rollout, which goes on whatever becomes of this command.
func (c *call) moveOver(ctx context.Context, s *session, f fleet, from, to v3.Version, d time.Duration) error {
	if main, ok := f.main(); !ok || main.GUID != from.GUID {
		return refusedf(fmt.Sprintf("--from %s, or without --over, which moves the requests of any version at once", main.Label),
			"version %s of %s is not the main one: --over moves its requests", from.Label, f.app.Name)
	}
	weights, each := overSteps(d, to.SharePercent)
	plan, err := overPlan(weights, each)
	if err != nil {
		return err
	}
	if c.Bool("dry-run") {
		if err := s.CheckRollout(ctx, f.app.GUID, plan); err != nil {
			return err
		}
		return c.would("%s would get %s of the requests of %s, more every %s, and all after %s",
			to.Label, percent(weights[0]), f.app.Name, tidyDuration(each.String()), tidyDuration(d.String()))
	}
	r, err := s.CreateRollout(ctx, f.app.GUID, v3.RolloutCreate{VersionGUID: to.GUID, Plan: plan})
	if err != nil {
		return err
	}
	c.out.step("Rollout r-%d moves the requests from %s to %s in %s: every %s some more", r.Number, from.Label, to.Label, tidyDuration(d.String()), tidyDuration(each.String()))
	if !c.Bool("no-wait") {
		if r, err = c.watchRollout(ctx, s, f.app.Name, r); err != nil {
			return err
		}
	}
	return c.showRollout(f.app.Name, r)
}
