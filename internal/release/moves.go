package release

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
)

// enter goes to a state and leaves the traffic alone.
func (c *conductor) enter(ctx context.Context, who platform.Actor, state platform.RolloutState, step int, why string) error {
	if state == platform.RolloutWaiting {
		c.tellHook(hookAfterStep, why)
	}
	var data map[string]any
	if state == platform.RolloutWaiting || state.IsOver() {
		data = c.figures()
	}
	err := c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
		return c.e.transition(ctx, tx, who, row, why, data)
	}, func(row *platform.Rollout, p *Progress) {
		row.State, row.Step, row.Since, row.Reason = state, step, c.e.cfg.Now().UTC(), why
	})
	if err != nil || !state.IsOver() {
		return err
	}
	c.e.kept.keep(c.p)
	c.e.cfg.Line(c.row.AppGUID, fmt.Sprintf("Rollout r-%d: %s: %s", c.row.Number, state, why))
	if state == platform.RolloutDone {
		c.tellHook(hookOnDone, why)
	}
	return nil
}

// figures are what an event says about the step.
func (c *conductor) figures() map[string]any {
	usage := func(u Usage) map[string]any {
		return map[string]any{
			"requests": u.Requests, "bad": u.Bad, "clients": u.Clients,
			"p50_ms": millis(u.Quantile(0.5)), "p95_ms": millis(u.Quantile(0.95)),
		}
	}
	return map[string]any{
		"stable": usage(c.p.Step[0]), "candidate": usage(c.p.Step[1]),
		"baked_seconds": c.p.Baked.Seconds(), "evidence": figures(c.judge.Verdict()),
	}
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// moved changes the shares with a row that fits, in one transaction. change is
// the call that does it; edit makes the row, and knows the numbers of the
// shares and of the table.
func (c *conductor) moved(ctx context.Context, who platform.Actor, j *judge.Judge, record []byte, data map[string]any,
	change func(also func(tx *store.Tx, split, table uint64) error) error,
	edit func(row *platform.Rollout, p *Progress, split uint64),
) error {
	var row platform.Rollout
	var p Progress
	old, oldRecord := c.judge, c.record
	c.judge, c.record = j, record
	err := change(func(tx *store.Tx, split, table uint64) (err error) {
		row, p, err = c.edited(func(row *platform.Rollout, p *Progress) {
			row.Since, row.Table, row.Split = c.e.cfg.Now().UTC(), table, split
			edit(row, p, split)
		})
		if err != nil {
			return err
		}
		if err := c.evidence(ctx, tx); err != nil {
			return err
		}
		return c.e.transition(ctx, tx, who, row, row.Reason, data)
	})
	if !isCommitted(err) {
		c.judge, c.record = old, oldRecord
		return err
	}
	c.written(row, p)
	c.e.cfg.Line(row.AppGUID, fmt.Sprintf("Rollout r-%d: %s (table %d)", row.Number, row.Reason, row.Table))
	return nil
}

// splitsKept is how many sets of shares are still listened to: answers may
// come late.
const splitsKept = 3

// shift publishes the shares of a step.
func (c *conductor) shift(ctx context.Context, who platform.Actor, d decision) error {
	c.tellHook(hookBeforeStep, d.reason)
	j := *c.judge
	j.Begin()
	record := judge.AppendBegin(slices.Clone(c.record))
	stable, candidate := c.plan.weights(d.step)
	shares := map[string]int{c.row.FromGUID: stable, c.row.ToGUID: candidate}
	copies := int(c.plan.Steps[d.step].Shadow + 0.5)
	if copies > 0 {
		delete(shares, c.row.ToGUID) // nobody gets a shadow's answers
	}
	opt := platform.SplitOptions{
		Keep: true, Why: "rollout", RolloutGUID: c.row.GUID, Shadow: map[string]int{c.row.ToGUID: copies},
		Match:    map[string][]platform.Match{c.row.ToGUID: c.plan.ringsUntil(d.step)},
		Counting: c.plan.Judge.counting(),
	}
	return c.moved(ctx, who, &j, record, nil, func(also func(*store.Tx, uint64, uint64) error) error {
		_, err := c.e.cfg.Versions.SetShares(ctx, who, c.row.AppGUID, shares, opt, also)
		return err
	}, func(row *platform.Rollout, p *Progress, split uint64) {
		row.State, row.Step, row.Reason = platform.RolloutWarming, d.step, d.reason
		p.beginStep(row.Since)
		old := p.Splits[max(len(p.Splits)-splitsKept+1, 0):]
		p.Splits = append(slices.Clone(old), Split{Number: split, Step: d.step, Share: float64(candidate) / float64(stable+candidate)})
	})
}

// ringsUntil returns the conditions of all rings up to a step: who is in the
// candidate stays there. A step that sends everything needs none.
func (p *Plan) ringsUntil(step int) []platform.Match {
	all := []platform.Match{}
	if p.Steps[step].Weight == 100 {
		return all
	}
	for _, s := range p.Steps[:step+1] {
		for _, m := range p.Rings[s.Ring] {
			all = append(all, platform.Match(m))
		}
	}
	return all
}

// promote makes the candidate the main version.
func (c *conductor) promote(ctx context.Context, who platform.Actor, d decision) error {
	opt := platform.SplitOptions{Why: "rollout", RolloutGUID: c.row.GUID}
	return c.moved(ctx, who, c.judge, c.record, c.figures(), func(also func(*store.Tx, uint64, uint64) error) error {
		_, err := c.e.cfg.Versions.Promote(ctx, who, c.row.AppGUID, c.row.ToGUID, opt, also)
		return err
	}, func(row *platform.Rollout, p *Progress, _ uint64) {
		row.State, row.Reason = platform.RolloutFinishing, fmt.Sprintf("%s is the main version: %s", row.ToLabel, d.reason)
		p.keep(row.FromGUID, row.Since.Add(c.plan.KeepOld.Duration))
		p.Ending = c.ending(row.Since, "")
		p.Splits = nil
	})
}

// ending is what is known now, for the record.
func (c *conductor) ending(at time.Time, stream string) *Ending {
	return &Ending{At: at, Stream: stream, Verdict: figures(c.judge.Verdict()), Stable: c.p.All[0], Cand: c.p.All[1]}
}

// goBack takes all requests from the candidate, in as much haste as was decided;
// end is the state the rollout is in afterwards.
func (c *conductor) goBack(ctx context.Context, who platform.Actor, d decision, end platform.RolloutState) (err error) {
	var lacking *platform.VersionStatus
	if d.haste != atOnce && !c.p.StepBegan.IsZero() {
		if lacking, err = c.lacking(ctx); err != nil {
			return err
		}
	}
	if lacking != nil {
		err = c.turnBack(ctx, who, d, end, lacking)
	} else {
		err = c.returnAll(ctx, who, d, end)
	}
	c.hurry = err == nil
	return err
}

// returnAll takes all requests from the candidate at once.
func (c *conductor) returnAll(ctx context.Context, who platform.Actor, d decision, end platform.RolloutState) error {
	decided, goesOn := c.e.cfg.Now(), c.p.isGoingBack()
	if goesOn {
		decided = c.p.Back.Began
	} else {
		defer c.tellHook(hookOnRollback, d.reason)
	}
	edit := func(row *platform.Rollout, p *Progress, _ uint64) {
		row.State, row.Reason, row.Since = platform.RolloutRollingBack, d.reason, c.e.cfg.Now().UTC()
		p.keep(row.ToGUID, row.Since.Add(c.plan.KeepBad.Duration))
		p.Back, p.Splits = Back{}, nil
		if !goesOn {
			p.Before, p.Ending = end, c.ending(decided, d.stream)
		}
	}
	if c.p.StepBegan.IsZero() {
		return c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
			return c.e.transition(ctx, tx, who, row, d.reason, nil)
		}, func(row *platform.Rollout, p *Progress) { edit(row, p, 0) })
	}
	shares, err := c.sharesBack(ctx)
	if err != nil {
		return err
	}
	opt := platform.SplitOptions{Keep: true, Why: "rollout-rollback", RolloutGUID: c.row.GUID}
	if len(shares) == 0 {
		d.reason += "; all requests stay where somebody sent them"
	}
	if _, ok := shares[c.row.ToGUID]; ok {
		opt.Match = map[string][]platform.Match{c.row.ToGUID: {}}
		opt.Shadow = map[string]int{c.row.ToGUID: 0}
	}
	confirmed := false
	err = c.moved(ctx, who, c.judge, c.record, c.figures(), func(also func(*store.Tx, uint64, uint64) error) error {
		_, err := c.e.cfg.Versions.SetShares(ctx, who, c.row.AppGUID, shares, opt, also)
		confirmed = err == nil
		return err
	}, edit)
	if confirmed && c.p.Ending != nil {
		ending := *c.p.Ending
		ending.Took = c.e.cfg.Now().Sub(decided)
		c.p.Ending, c.dirty = &ending, true
	}
	return err
}

// giveWay takes all requests from the candidate because another rollout takes
// its place. What is decided stays: one that is through has the main version,
// which nobody else's requests could go to.
func (c *conductor) giveWay(ctx context.Context, who platform.Actor) error {
	switch c.row.State {
	case platform.RolloutFinishing, platform.RolloutRollingBack:
		return nil
	}
	return c.goBack(ctx, who, decision{verb: rollBack, step: c.row.Step, reason: "another rollout was started"}, platform.RolloutSuperseded)
}

// sharesBack returns the weights as they were, of those versions that still
// are what they were.
func (c *conductor) sharesBack(ctx context.Context) (map[string]int, error) {
	versions, err := c.current(ctx)
	if err != nil {
		return nil, err
	}
	shares := map[string]int{}
	for _, v := range versions {
		switch {
		case v.GUID == c.row.ToGUID && v.Main: // by somebody's hand: nobody else could have its requests
		case v.GUID == c.row.ToGUID:
			shares[v.GUID] = 0
		case v.GUID == c.row.FromGUID && v.Main:
			shares[v.GUID] = cmp.Or(c.p.Weight, platform.DefaultWeight)
		}
	}
	return shares, nil
}

// pause leaves everything as it is until somebody says how it goes on. differs
// says that why names what a shadow answers otherwise.
func (c *conductor) pause(ctx context.Context, who platform.Actor, why string, differs bool) error {
	err := c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
		return c.e.transition(ctx, tx, who, row, why, c.figures())
	}, func(row *platform.Rollout, p *Progress) {
		p.Before, p.DifferentTold = row.State, differs
		row.State, row.Reason, row.Since = platform.RolloutPaused, why, c.e.cfg.Now().UTC()
	})
	if err == nil {
		c.e.cfg.Line(c.row.AppGUID, fmt.Sprintf("Rollout r-%d is paused: %s", c.row.Number, why))
	}
	return err
}

// resume goes on with what a pause interrupted.
func (c *conductor) resume(ctx context.Context, who platform.Actor, why string) error {
	w, err := c.look(ctx)
	if err != nil {
		return err
	}
	if err := w.mayResume(); err != nil {
		return err
	}
	return c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
		return c.e.transition(ctx, tx, who, row, why, nil)
	}, func(row *platform.Rollout, p *Progress) { c.takeUp(row, p, w, why) })
}

// mayResume refuses to go on with what somebody else has changed.
func (w *world) mayResume() error {
	if w.moved == "" {
		return nil
	}
	return &platform.Error{
		Kind: platform.KindConflict, Msg: "the rollout cannot go on: " + w.moved,
		Hint: "abort it: weir rollout abort " + w.app + ", or set the weights as they were: weir undo " + w.app,
	}
}

// takeUp goes on with what a pause interrupted.
func (c *conductor) takeUp(row *platform.Rollout, p *Progress, w *world, why string) {
	row.State, row.Reason, row.Since = p.Before, why, c.e.cfg.Now().UTC()
	p.Before, p.Silent = "", p.Baked
	p.Overruled = p.Overruled || w.verdict.Rejected
	p.DifferentFine, p.DifferentTold = p.DifferentFine || p.DifferentTold, false
}

// goOn leaves out what the step, or with full all steps, still wait for.
func (c *conductor) goOn(ctx context.Context, who platform.Actor, full bool, why string) error {
	w, err := c.look(ctx)
	if err != nil {
		return err
	}
	switch {
	case c.isEnding():
		return platform.Invalidf("rollout r-%d is %s already", c.row.Number, c.row.State)
	case w.frozen != "":
		return &platform.Error{Kind: platform.KindInvalid, Title: titleRefused, Msg: w.frozen, Hint: `wait, or push again with --hotfix "reason"`}
	case c.row.State == platform.RolloutStarting || c.row.State == platform.RolloutProbing:
		return platform.Invalidf("rollout r-%d is still %s: it goes on as soon as the candidate is ready", c.row.Number, c.row.State)
	}
	isPaused := c.row.State == platform.RolloutPaused
	if isPaused {
		if err := w.mayResume(); err != nil {
			return err
		}
	}
	return c.write(ctx, func(tx *store.Tx, row platform.Rollout) error {
		return c.e.transition(ctx, tx, who, row, why, nil)
	}, func(row *platform.Rollout, p *Progress) {
		if row.Reason = why; isPaused {
			c.takeUp(row, p, w, why)
		}
		p.Skip, p.GateOpen, p.Full = true, true, p.Full || full
	})
}
