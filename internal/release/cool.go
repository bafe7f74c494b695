package release

import (
	"fmt"
	"math"

	"weir/internal/judge"
	"weir/internal/platform"
)

// coolsPerStep bounds how often in a step the first requests of an instance
// that was started again are left out, for each version: one whose instances
// have to be started again and again is as slow as they are then.
const coolsPerStep = 3

// cool has the judge leave latencies out after an instance of either version
// was started again while requests go to both: after a crash, a restart of the
// platform, or because there shall be more of them. It is called before the
// judge is told of anything that such an instance has answered. What fails is
// judged all the same, and crashes in a row are not waited for.
func (c *conductor) cool(versions []platform.VersionStatus) {
	for i := range versions {
		v, which := &versions[i], 0
		switch v.GUID {
		case c.row.FromGUID:
		case c.row.ToGUID:
			which = 1
		default:
			continue
		}
		last := c.p.Newest[which]
		if !v.Newest.After(last) {
			continue
		}
		c.p.Newest[which], c.dirty = v.Newest, true
		if last.IsZero() || c.p.StepBegan.IsZero() || len(c.p.Splits) == 0 || c.p.Cooled[which] >= coolsPerStep {
			continue
		}
		share := c.p.Splits[len(c.p.Splits)-1].Share
		n := coldRequests(&c.plan, share, which, v.Ready)
		if n == 0 {
			continue
		}
		c.p.Cooled[which]++
		c.judge.Cool(n)
		c.record = judge.AppendCool(c.record, n)
		c.e.cfg.Line(c.row.AppGUID, fmt.Sprintf("Rollout r-%d: an instance of %s was started again: until %s has had %d more requests latencies are not judged",
			c.row.Number, v.Label, c.row.ToLabel, n))
	}
}

// coldRequests returns after how many requests of the candidate an instance
// that was started again has had as many as a plan leaves out of each. The
// instance is one of ready, of the candidate if which is 1.
func coldRequests(plan *Plan, share float64, which, ready int) int64 {
	if !(share > 0 && share < 1) {
		return 0
	}
	n := float64(*plan.WarmupRequests * max(ready, 1))
	if which == 0 {
		n *= share / (1 - share)
	}
	return int64(math.Ceil(n - 1e-9))
}
