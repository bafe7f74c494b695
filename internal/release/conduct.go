package release

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
	"weir/internal/store"
	"weir/router"
)

// conductor carries out one rollout. Everything happens in its goroutine; it
// alone writes the rollout's row.
type conductor struct {
	e     *Engine
	inbox chan command
	ended chan struct{}

	row    platform.Rollout
	plan   Plan
	p      Progress
	judge  *judge.Judge
	sticky bool

	record   []byte // told to the judge, not written yet
	dirty    bool   // Progress or reason differ from the row
	wrote    time.Time
	seen     time.Time // when the router last answered
	nextLook time.Time // see pace
	killed   bool      // the platform was killed; not yet looked at
	since    time.Time // when the rollout was taken up
	waiting  bool      // taken up again, and no instance of the candidate was ready since
	probed   time.Time
	asked    time.Time   // the gate
	calls    chan func() // results of what runs beside
	busy     int         // probes and gates among that

	heard      *router.Evidence // what the judge is to be told; nil: nothing new
	foreseeing bool             // it is being worked out what could be seen

	compared time.Time // when what is compared was looked at
	hurry    bool      // the next look does not wait
	// versions are those that were just looked at; nil: look again. A way back
	// takes half the time with them.
	versions []platform.VersionStatus
}

// command is something that another goroutine wants done.
type command struct {
	do   func(context.Context, *conductor) error
	done chan error
}

// keepPeriod is how often evidence is written down. What the router has counted
// and nobody has read is lost with the router, what was read and not written
// with the platform: if all of it is killed at once that is at most this, one
// Config.Poll and the time of a transaction, which is less than a second.
const keepPeriod = 500 * time.Millisecond

func newConductor(e *Engine, row platform.Rollout, again bool) (*conductor, error) {
	c := &conductor{
		e: e, row: row, inbox: make(chan command), ended: make(chan struct{}), judge: new(judge.Judge),
		since: e.cfg.Now(), calls: make(chan func(), 4), // a probe or gate and a forecast, with room to spare
	}
	var err error
	if c.plan, err = readPlan(row.Plan); err != nil {
		return nil, err
	}
	if c.p, err = readProgress(row.Progress); err != nil {
		return nil, fmt.Errorf("reading what the rollout remembers: %w", err)
	}
	if err := c.judge.UnmarshalBinary(row.Judge); err != nil {
		return nil, err
	}
	c.sticky = c.judge.Config().Sticky
	if again {
		c.killed, c.waiting = !c.p.Clean, true
		c.p.Clean = false
		c.record, c.dirty = judge.AppendRestart(nil), true
	}
	return c, nil
}

// run works until the rollout is over or ctx ends.
func (c *conductor) run(ctx context.Context) {
	for retry := time.Duration(0); ctx.Err() == nil && !c.row.State.IsOver(); {
		err := c.step(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil && c.isDeleted(ctx):
			return
		case err != nil:
			retry = min(max(2*retry, 100*time.Millisecond), 2*time.Second)
			c.e.log.Error("a rollout could not go on, trying again", "app", c.row.AppGUID, "rollout", c.row.GUID, "err", err, "in", retry)
			c.wait(ctx, retry)
			continue
		}
		retry = 0
	}
	if !c.row.State.IsOver() {
		c.p.Clean, c.dirty = true, true
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := c.keep(stop); err != nil {
			c.e.log.Warn("the last evidence of a rollout was not kept", "rollout", c.row.GUID, "err", err)
		}
	}
}

// isDeleted reports whether the rollout went with its app.
func (c *conductor) isDeleted(ctx context.Context) bool {
	_, err := c.e.cfg.Store.Rollout(ctx, c.row.GUID)
	return isGone(err)
}

// step listens, looks, decides and acts once.
func (c *conductor) step(ctx context.Context) error {
	c.versions = nil
	if err := c.listen(ctx); err != nil {
		return err
	}
	w, err := c.look(ctx)
	if err != nil {
		return err
	}
	c.ask(ctx, w)
	if err := c.act(ctx, platform.System, w, decide(w)); err != nil {
		return err
	}
	if c.dirty && c.e.cfg.Now().Sub(c.wrote) >= keepPeriod {
		return c.keep(ctx)
	}
	return nil
}

// wait lets time pass, and commands be done.
func (c *conductor) wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case f := <-c.calls:
		f()
	case cmd := <-c.inbox:
		cmd.done <- cmd.do(ctx, c)
	}
}

// A candidate that fails now and then is looked at as often, at once: one that
// is broken is gone after a few requests. One that fails often, and no more
// often than the stable version does, would have the conductor do nothing else.
const (
	looksAtOnce  = 10
	looksPerPoll = 6 // after those: 20 a second
)

// pace waits until it is time for another look. Commands are done meanwhile.
func (c *conductor) pace(ctx context.Context) {
	now, interval := time.Now(), c.e.cfg.Poll/looksPerPoll
	if idle := now.Add(-looksAtOnce * interval); c.nextLook.Before(idle) {
		c.nextLook = idle
	}
	if wait := c.nextLook.Sub(now); wait >= time.Millisecond { // less is not worth a timer
		c.wait(ctx, wait)
	}
	c.nextLook = c.nextLook.Add(interval)
}

// listen waits for bad requests, commands, or a moment to pass.
func (c *conductor) listen(ctx context.Context) error {
	if c.hurry {
		c.hurry = false
		return nil
	}
	if len(c.p.Splits) == 0 {
		c.wait(ctx, min(c.e.cfg.Poll, 100*time.Millisecond))
		return nil
	}
	select {
	case f := <-c.calls:
		f()
		return nil
	case cmd := <-c.inbox:
		cmd.done <- cmd.do(ctx, c)
		return nil
	default:
	}
	if c.pace(ctx); ctx.Err() != nil {
		return nil
	}
	// Only what the candidate fails can make the judge reject it before the
	// poll is over.
	q := router.EvidenceQuery{Apps: []string{c.row.AppGUID}, WaitMS: c.e.cfg.Poll.Milliseconds(), For: c.row.ToGUID}
	for _, s := range c.p.Splits {
		q.After = append(q.After, router.EvidenceCursor{App: c.row.AppGUID, Split: s.Number, Seq: s.LastID})
	}
	ev, err := c.e.cfg.Evidence.Evidence(ctx, q)
	now := c.e.cfg.Now()
	if err != nil {
		c.seen = time.Time{} // nobody looked: no bake time
		if ctx.Err() == nil {
			c.wait(ctx, min(c.e.cfg.Poll, 100*time.Millisecond))
		}
		return nil
	}
	if !c.seen.IsZero() && c.row.State == platform.RolloutBaking {
		c.p.Baked += min(max(now.Sub(c.seen), 0), 2*time.Second+c.e.cfg.Poll)
		c.dirty = true
	}
	c.seen, c.heard = now, &ev
	return nil
}

// look gathers what a decision needs. What was heard is told to the judge once
// it is known which instances were started meanwhile.
func (c *conductor) look(ctx context.Context) (*world, error) {
	versions, err := c.e.cfg.Versions.Versions(ctx, c.row.AppGUID)
	if err != nil {
		return nil, err
	}
	c.versions = versions
	c.cool(versions)
	if c.heard != nil {
		c.absorb(c.heard)
		c.heard = nil
	}
	app, err := c.e.cfg.Store.App(ctx, c.row.AppGUID)
	if err != nil {
		return nil, err
	}
	if err := c.compare(ctx); err != nil {
		return nil, err
	}
	w := &world{
		now: c.e.cfg.Now().UTC(), r: &c.row, plan: &c.plan, p: &c.p, app: app.Name, verdict: c.judge.Verdict(),
		stopped: app.State == platform.AppStopped, killed: c.killed, since: c.since,
	}
	if w.unreached, err = c.isUnreached(ctx); err != nil {
		return nil, err
	}
	if w.frozen, err = c.e.frozen(ctx, app.SpaceGUID, &c.plan); err != nil {
		return nil, err
	}
	stable, candidate := 0, 0
	for i, v := range versions {
		switch {
		case v.GUID == c.row.ToGUID:
			w.candidate, candidate = &versions[i], v.Share()
		case v.GUID == c.row.FromGUID:
			w.stable, stable = &versions[i], v.Share()
		}
		if v.Main && v.GUID != c.row.FromGUID && !c.isEnding() {
			w.moved = fmt.Sprintf("somebody made %s the main version meanwhile", v.Label)
		}
	}
	if w.hasTraffic() && w.state() != platform.RolloutScaling && w.moved == "" {
		if s, t := c.plan.weights(c.row.Step); s != stable || t != candidate {
			w.moved = fmt.Sprintf("somebody else set the weights to %s %d, %s %d", c.row.FromLabel, stable, c.row.ToLabel, candidate)
		}
	}
	c.waiting = c.waiting && (w.candidate == nil || w.candidate.Ready == 0)
	w.returning = c.waiting
	return w, nil
}

// isUnreached reports whether no route leads to the app. It is asked when a step
// has seen nothing, and is about to wait for more.
func (c *conductor) isUnreached(ctx context.Context) (bool, error) {
	if c.row.State != platform.RolloutBaking || c.p.Step[0].Requests+c.p.Step[1].Requests > 0 || c.p.Baked < c.plan.bake(c.row.Step) {
		return false, nil
	}
	_, n, err := c.e.cfg.Store.Routes(ctx, store.Query{In: map[string][]string{"live_app_guids": {c.row.AppGUID}}, PerPage: 1})
	return n == 0, err
}

// current returns the app's versions.
func (c *conductor) current(ctx context.Context) ([]platform.VersionStatus, error) {
	if c.versions != nil {
		return c.versions, nil
	}
	return c.e.cfg.Versions.Versions(ctx, c.row.AppGUID)
}

// isEnding reports whether the traffic was decided already.
func (c *conductor) isEnding() bool {
	return c.row.State == platform.RolloutFinishing || c.row.State == platform.RolloutRollingBack
}

// act carries a decision out. That the platform was killed counts until a
// decision about it was written down.
func (c *conductor) act(ctx context.Context, who platform.Actor, w *world, d decision) error {
	err := c.carryOut(ctx, who, w, d)
	if err == nil {
		c.killed = false
	}
	return err
}

func (c *conductor) carryOut(ctx context.Context, who platform.Actor, w *world, d decision) error {
	switch d.verb {
	case enter:
		return c.enter(ctx, who, d.state, d.step, d.reason)
	case scale:
		if need := w.need(d.step); w.candidate.Instances < need {
			if _, err := c.e.cfg.Versions.ScaleVersion(ctx, who, c.row.ToGUID, need); err != nil {
				return err
			}
		}
		if r := w.regrow(d.step); r.verb == resize {
			if err := c.resize(ctx, who, r, true); err != nil {
				return err
			}
		}
		return c.enter(ctx, who, platform.RolloutScaling, d.step, d.reason)
	case shift:
		return c.shift(ctx, who, d)
	case promote:
		return c.promote(ctx, who, d)
	case resize:
		return c.resize(ctx, who, d, false)
	case giveBack:
		return c.giveBack(ctx, who, d)
	case rollBack:
		return c.goBack(ctx, who, d, platform.RolloutRolledBack)
	case pause:
		return c.pause(ctx, who, d.reason, d.differs)
	}
	if d.reason != "" && d.reason != c.row.Reason {
		c.row.Reason, c.dirty = d.reason, true
	}
	return nil
}

// keep writes down what was learned since the last time.
func (c *conductor) keep(ctx context.Context) error {
	return c.write(ctx, func(tx *store.Tx, row platform.Rollout) error { return tx.UpdateRollout(ctx, row) }, nil)
}

// write runs change in a transaction with the row as it is now, the evidence
// beside it. With edit, row and progress are changed first, and stay changed
// if the transaction was committed.
func (c *conductor) write(ctx context.Context, change func(*store.Tx, platform.Rollout) error, edit func(*platform.Rollout, *Progress)) error {
	row, p, err := c.edited(edit)
	if err != nil {
		return err
	}
	err = c.e.cfg.Store.Tx(ctx, func(tx *store.Tx) error {
		if err := c.evidence(ctx, tx); err != nil {
			return err
		}
		return change(tx, row)
	})
	if err == nil {
		c.written(row, p)
	}
	return err
}

// edited returns row and progress with a change, and the judge's state in it.
func (c *conductor) edited(edit func(*platform.Rollout, *Progress)) (row platform.Rollout, p Progress, err error) {
	row, p = c.row, c.p
	if edit != nil {
		edit(&row, &p)
	}
	row.UpdatedAt = c.e.cfg.Now().UTC()
	row.Progress = p.text()
	row.Judge, err = c.judge.MarshalBinary()
	return row, p, err
}

// evidence writes down what the judge was told.
func (c *conductor) evidence(ctx context.Context, tx *store.Tx) error {
	if len(c.record) == 0 {
		return nil
	}
	return tx.InsertRolloutEvidence(ctx, platform.RolloutEvidence{
		Resource: platform.NewResource(c.e.cfg.Now().UTC()), RolloutGUID: c.row.GUID, Data: c.record,
	})
}

// written notes that row, progress and evidence are on disk.
func (c *conductor) written(row platform.Rollout, p Progress) {
	c.row, c.p = row, p
	c.record, c.dirty, c.wrote = nil, false, c.e.cfg.Now()
}

// transition writes a row that has entered a state, and its event.
func (e *Engine) transition(ctx context.Context, tx *store.Tx, who platform.Actor, row platform.Rollout, text string, data map[string]any) error {
	row.UpdatedAt = e.cfg.Now().UTC()
	if err := tx.UpdateRollout(ctx, row); err != nil {
		return err
	}
	return e.event(ctx, tx, who, row, text, data)
}

// event writes the event of a transition, and the audit event of the app.
func (e *Engine) event(ctx context.Context, tx *store.Tx, who platform.Actor, row platform.Rollout, text string, data map[string]any) error {
	now := e.cfg.Now().UTC()
	err := tx.InsertRolloutEvent(ctx, platform.RolloutEvent{
		Resource: platform.NewResource(now), RolloutGUID: row.GUID, State: row.State, Step: row.Step, Table: row.Table, Text: text, Data: data, Actor: who,
	})
	if err != nil {
		return err
	}
	app, err := tx.App(ctx, row.AppGUID)
	if err != nil {
		return err
	}
	return tx.InsertEvent(ctx, platform.Event{
		Resource: platform.NewResource(now), Type: "audit.app.rollout." + string(row.State), Actor: who,
		TargetGUID: app.GUID, TargetType: "app", TargetName: app.Name, SpaceGUID: app.SpaceGUID,
		Data: map[string]any{"rollout_guid": row.GUID, "number": row.Number, "step": row.Step, "table": row.Table, "text": text},
	})
}

func planText(p *Plan) string {
	b, err := json.Marshal(p)
	if err != nil {
		panic("release: a plan cannot be written: " + err.Error()) // it has no such fields
	}
	return string(b)
}
