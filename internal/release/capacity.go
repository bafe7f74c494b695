package release

import (
	"context"
	"fmt"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// With scale-with-weight both versions have as many instances as their shares
// need. Those of the candidate are started before its share grows, those of the
// stable version leave after the step with which its share shrank was passed. So
// a step that fails can always be taken back to the one before at once: for that
// share the stable version still has its instances. The rest of the way back is
// a weighing. Too many requests at too few instances fail, all of them perhaps;
// those that stay with the candidate fail as often as they do there. Therefore:
//
//	why it goes back                       what happens
//	it cannot answer (crashes, no          all requests return at once, and the
//	instance, memory, probes), or half     stable version's instances start meanwhile
//	of its requests fail or more
//	the judge rejected it                  at once as many as the instances are sized
//	                                       for, more with each that is ready, and all
//	                                       after hasteLimit whatever is ready
//	a person, a gate, silence, another     the same, with the plan's start-timeout
//	rollout                                for hasteLimit
//
// Without instances that were taken from the stable version all of it is one
// change of the route table, as ever.

// haste says what a way back does not wait for.
type haste int

const (
	inOrder haste = iota // it waits for instances up to the plan's start timeout
	soon                 // it waits for them up to hasteLimit
	atOnce               // it waits for nothing
)

// hasteLimit is how long a candidate that was found worse keeps requests while
// the stable version's instances start.
const hasteLimit = time.Minute

// hopeless is the share of failures from which on the candidate keeps nothing.
const hopeless = 0.5

// whole is the sum of the weights of both versions.
const whole = platform.MaxWeight

// Back is how far requests are on their way back to a stable version that gets
// its instances again.
type Back struct {
	Began time.Time `json:"began"`
	// Limit is how long they may take.
	Limit time.Duration `json:"limit"`
	// Stable is the stable version's weight out of 1000 meanwhile.
	Stable int `json:"stable"`
}

// isGoingBack reports whether the candidate still has requests although it was
// decided that it shall have none.
func (p *Progress) isGoingBack() bool { return !p.Back.Began.IsZero() }

// instancesFor returns how many of n instances a share of the requests needs, out
// of 1000: one at least.
func instancesFor(weight, n int) int {
	return min(max((weight*n+whole-1)/whole, 1), max(n, 1))
}

// sizedFor returns the weight, out of 1000, for which the ready instances of a
// version are enough.
func sizedFor(v *platform.VersionStatus) int {
	if v.Instances <= 0 {
		return whole
	}
	return min(v.Ready*whole/v.Instances, whole)
}

// stableNeeds returns how many instances the stable version needs for its share in
// a step.
func (w *world) stableNeeds(step int) int {
	stable, _ := w.plan.weights(step)
	return instancesFor(stable, w.stable.Instances)
}

// capacity has the stable version run with as many instances as it needs: with
// fewer once a step is passed, with all if its share is not the plan's any more.
func (w *world) capacity() decision {
	v := w.stable
	if v == nil || !v.Main {
		return decision{}
	}
	lacks := v.Reduced > 0
	switch {
	case lacks && w.r.State == platform.RolloutRollingBack:
		return w.resizeTo(whole, "requests return to it")
	case lacks && w.moved != "":
		return w.resizeTo(whole, w.moved)
	case lacks && w.p.Sized > 0 && v.Reduced < instancesFor(w.p.Sized, v.Instances):
		return w.resizeTo(w.p.Sized, "that is what its share needs") // the app was scaled meanwhile
	case !w.plan.ScaleWithWeight || w.r.State != platform.RolloutWaiting || w.frozen != "" || !w.isPassed():
		return decision{}
	}
	if v.Wanted > w.stableNeeds(w.r.Step) {
		stable, _ := w.plan.weights(w.r.Step)
		return w.resizeTo(stable, fmt.Sprintf("step %d is passed", w.r.Step+1))
	}
	return decision{}
}

// resizeTo has the stable version run with the instances that a weight needs.
func (w *world) resizeTo(weight int, why string) decision {
	all := w.stable.Instances
	n := instancesFor(weight, all)
	if n >= all {
		return decision{verb: resize, step: w.r.Step, reason: fmt.Sprintf("%s gets all of its %s again: %s", w.r.FromLabel, instances(all), why)}
	}
	return decision{
		verb: resize, step: w.r.Step, instances: n, weight: max(weight, 1),
		reason: fmt.Sprintf("%s runs with %d of its %s: %s", w.r.FromLabel, n, instances(all), why),
	}
}

// isPassed reports whether a step was passed by what it has seen, rather than
// because somebody left the rest of it out.
func (w *world) isPassed() bool {
	return !w.p.Skip && !w.p.Full && w.p.Baked >= w.plan.bake(w.r.Step) && len(w.p.missing(w.plan, w.r.Step)) == 0
}

// regrow returns what gives the stable version instances again before a step in
// which its share is greater, such as one for a ring only.
func (w *world) regrow(step int) decision {
	if v := w.stable; v == nil || !v.Main || v.Reduced == 0 || v.Reduced >= w.stableNeeds(step) {
		return decision{}
	}
	stable, _ := w.plan.weights(step)
	return w.resizeTo(stable, fmt.Sprintf("for step %d", step+1))
}

// hasRegrown reports whether the stable version has the instances that it was
// given again for a step.
func (w *world) hasRegrown(step int) bool {
	return !w.p.Regrown || w.stable == nil || w.stable.Ready >= w.stableNeeds(step)
}

// howSoon returns the haste that what the candidate fails calls for.
func (w *world) howSoon() haste {
	if c := &w.p.Step[1]; c.Requests > 0 && c.BadRate() >= hopeless {
		return atOnce
	}
	return soon
}

// goingBack goes on with a way back that waits for the stable version's instances.
func (w *world) goingBack() decision {
	end := decision{verb: rollBack, step: w.r.Step, haste: atOnce, reason: w.r.Reason}
	if !w.p.isGoingBack() {
		return decision{verb: enter, state: w.ending(), step: w.r.Step, reason: w.r.Reason}
	}
	v := w.stable
	if v == nil || !v.Main || w.broken() != "" {
		return end
	}
	began := w.p.Back.Began
	if w.since.After(began) {
		began = w.since // nobody could have started them before
	}
	sized := sizedFor(v)
	switch {
	case sized >= whole, w.now.Sub(began) >= w.p.Back.Limit && v.Ready > 0:
		return end
	case sized > w.p.Back.Stable:
		return decision{verb: giveBack, step: w.r.Step, weight: sized, reason: w.r.Reason}
	}
	return decision{}
}

// limit is how long a way back may take.
func (p *Plan) limit(h haste) time.Duration {
	if h == soon {
		return min(hasteLimit, p.StartTimeout.Duration)
	}
	return p.StartTimeout.Duration
}

// resize has the stable version run with another number of instances; what was
// decided is written down with it. With regrown the next step waits for them.
func (c *conductor) resize(ctx context.Context, who platform.Actor, d decision, regrown bool) error {
	var row platform.Rollout
	var p Progress
	_, err := c.e.cfg.Versions.ReduceVersion(ctx, who, c.row.FromGUID, d.instances, func(tx *store.Tx) (err error) {
		row, p, err = c.edited(func(_ *platform.Rollout, p *Progress) { p.Sized, p.Regrown = d.weight, regrown })
		if err != nil {
			return err
		}
		if err := c.evidence(ctx, tx); err != nil {
			return err
		}
		return c.e.transition(ctx, tx, who, row, d.reason, nil)
	})
	if err != nil {
		return err
	}
	c.written(row, p)
	c.e.cfg.Line(row.AppGUID, fmt.Sprintf("Rollout r-%d: %s", row.Number, d.reason))
	return nil
}

// lacking returns the stable version if a rollout has left it fewer instances
// than the requests need that would return to it now, nil otherwise.
func (c *conductor) lacking(ctx context.Context) (*platform.VersionStatus, error) {
	versions, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	var stable *platform.VersionStatus
	candidate := 0
	for i := range versions {
		switch v := &versions[i]; {
		case v.GUID == c.row.ToGUID:
			candidate = v.Share()
		case v.GUID == c.row.FromGUID && v.Main && v.Reduced > 0 && sizedFor(v) < whole:
			stable = v
		}
	}
	if stable == nil || candidate == 0 || stable.Weight+candidate != whole { // or somebody else has set them
		return nil, nil
	}
	return stable, nil
}

// turnBack decides that the candidate loses its requests and returns those that
// the stable version's instances are sized for; the others follow as it gets its
// instances again.
func (c *conductor) turnBack(ctx context.Context, who platform.Actor, d decision, end platform.RolloutState, v *platform.VersionStatus) error {
	decided := c.e.cfg.Now()
	back := Back{Began: decided.UTC(), Limit: c.plan.limit(d.haste), Stable: max(v.Weight, sizedFor(v))}
	edit := func(row *platform.Rollout, p *Progress, _ uint64) {
		row.State, row.Reason, row.Since = platform.RolloutRollingBack, d.reason, back.Began
		p.Before, p.Back = end, back
		p.Ending = c.ending(decided, d.stream)
		p.Splits = nil
	}
	defer c.tellHook(hookOnRollback, d.reason)
	if back.Stable > v.Weight {
		return c.setBack(ctx, who, back.Stable, edit)
	}
	return c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
		return c.e.transition(ctx, tx, who, row, d.reason, c.figures())
	}, func(row *platform.Rollout, p *Progress) { edit(row, p, 0) })
}

// giveBack returns more requests to the stable version, whose instances are ready
// for them.
func (c *conductor) giveBack(ctx context.Context, who platform.Actor, d decision) error {
	return c.setBack(ctx, who, d.weight, func(row *platform.Rollout, p *Progress, _ uint64) {
		row.State, row.Reason = platform.RolloutRollingBack, d.reason
		p.Back.Stable = d.weight
	})
}

// setBack publishes shares on the way back. Rules end with the first of them.
func (c *conductor) setBack(ctx context.Context, who platform.Actor, stable int, edit func(*platform.Rollout, *Progress, uint64)) error {
	shares := map[string]int{c.row.FromGUID: stable, c.row.ToGUID: whole - stable}
	opt := platform.SplitOptions{
		Keep: true, Why: "rollout-rollback", RolloutGUID: c.row.GUID, Match: map[string][]platform.Match{c.row.ToGUID: {}},
	}
	return c.moved(ctx, who, c.judge, c.record, c.figures(), func(also func(*store.Tx, uint64, uint64) error) error {
		_, err := c.e.cfg.Versions.SetShares(ctx, who, c.row.AppGUID, shares, opt, also)
		return err
	}, edit)
}
