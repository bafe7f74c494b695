package release

import (
	"fmt"
	"math"
)

// When the candidate has all requests, no others are left to compare with; and
// those of a ring are chosen, not drawn by lot, so that they cannot be compared.
// The judge is silent then. What can still be told is that far more of them fail
// than of the stable version's.
const (
	// collapseTimes is how many times more often requests may fail than
	// before, since an incident may have come meanwhile.
	collapseTimes = 3
	// collapseFloor is the share that may fail at least.
	collapseFloor = 0.05
	// collapseUnknown is the share that may fail if fewer than collapseKnown
	// requests of the stable version were seen.
	collapseUnknown = 0.5
	collapseKnown   = 200
)

// collapse says that too many of all requests fail; "" if not. It is a
// sequential test of the share that may fail against greater ones, which is
// wrong with a probability of at most the judge's for errors.
func (w *world) collapse() string {
	stable, candidate := &w.p.All[0], &w.p.Step[1]
	alpha := w.plan.JudgeConfig(false, 1).ErrorAlpha
	switch {
	case !w.hasTraffic() || w.r.Step >= len(w.plan.Steps) || w.plan.OnFail != "rollback" || alpha < 0:
		return ""
	case w.plan.Steps[w.r.Step].Weight < 100 && !w.plan.isRing(w.r.Step):
		return ""
	}
	may, known := collapseUnknown, stable.Requests >= collapseKnown
	if known {
		may = min(max(collapseTimes*stable.BadRate(), collapseFloor), collapseUnknown)
	}
	evidence := 0.0
	for _, share := range [...]float64{0.25, 0.5, 0.75, 1} {
		fails := may + share*(1-may) // what is supposed instead
		good := 0.0
		if n := candidate.Requests - min(candidate.Bad, candidate.Requests); n > 0 {
			good = float64(n) * math.Log((1-fails)/(1-may)) // -Inf if none may be good
		}
		evidence += math.Exp(min(float64(candidate.Bad)*math.Log(fails/may)+good, 300)) / 4
	}
	if evidence < 1/alpha {
		return ""
	}
	where, when := "with all of the traffic", " before"
	if w.plan.isRing(w.r.Step) {
		where, when = "of ring "+w.plan.Steps[w.r.Step].Ring, " of the others"
	}
	others := fmt.Sprintf("how many of %s did is not known", w.r.FromLabel)
	if known {
		others = fmt.Sprintf("%s failed %s%s", w.r.FromLabel, percent(stable.BadRate()), when)
	}
	return fmt.Sprintf("errors: %s failed %d of %d requests (%s) %s; %s", w.r.ToLabel,
		candidate.Bad, candidate.Requests, percent(candidate.BadRate()), where, others)
}

// isRing reports whether those in its ring are the only ones who get the
// candidate in step i.
func (p *Plan) isRing(i int) bool {
	s := &p.Steps[i]
	return s.Weight == 0 && len(p.Rings[s.Ring]) > 0
}
