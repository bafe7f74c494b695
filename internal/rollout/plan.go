package rollout

import (
	"cmp"
	"slices"
	"time"

	"weir/internal/platform"
)

// The planner decides what happens next to one app. It is a pure function of
// the rows and of what the loop observed, so that every decision can be tested
// in a table and a restart of the engine continues where the rows say.
//
// The life of an instance row:
//
//	          start                 check passes
//	DOWN ─────────────▶ STARTING ─────────────────▶ RUNNING (Ready or not)
//	 ▲                     │ exit, time-out            │ exit, liveness fails
//	 │   due: new GUID     ▼                           ▼
//	 └──────────────── CRASHED ◀───────────────────────┘
//
//	any ── not wanted any more ──▶ STOPPING ── out of the table, drained, gone ──▶ deleted
//
// Which deployment an instance belongs to never changes. The target is the
// deployment that should run: the active one, or the one a cancelled one goes
// back to, or the one that serves. Instances of others leave when the target's
// instance of the same process and index is ready, in the same transaction and
// therefore in the same route table. The versions beside the main one are left
// out of that; see plan_version.go.

// world is everything the planner looks at.
type world struct {
	now time.Time
	app platform.App
	// processes are the app's, in any order.
	processes []platform.Process
	// active is the deployment on its way, if any.
	active *platform.Deployment
	// commands are the start commands of each deployment's process types. A
	// type without a command cannot run.
	commands  map[string]map[string]string
	instances []platform.Instance
	// sides are the versions beside the main one, by deployment.
	sides map[string]side
	// runs are the observations, by instance GUID.
	runs map[string]*run
	// acked says that the router runs what the rows say.
	acked bool
	// newGUID names new instances.
	newGUID func() string
}

// phase is what the loop is doing with an instance.
type phase int

const (
	phaseNone  phase = iota // nothing: no process as far as we know
	phaseStart              // the runner was asked to start it
	phaseUp                 // there is a process
	phaseStop               // it is being taken away
	phaseGone               // it was taken away, nothing is left
)

// run is what the loop knows about the process of an instance.
type run struct {
	phase      phase
	host       string
	port       int
	pid        int
	started    time.Time
	exit       *platform.Exit // it ended
	startErr   error          // it could not be started
	healthy    bool           // the start check has passed
	ready      bool           // the readiness check passes now
	timedOut   string         // the start check did not pass in time: why
	sick       string         // the liveness check failed: why
	unready    string         // the readiness check did not pass in time: why
	background bool           // the runner was told to have it give way to others
	telling    bool           // the runner is being told so, or to end that
	// settled is closed when the next instance may start; nil once it was.
	settled chan struct{}
}

// change is one change of an instance row.
type change struct {
	kind changeKind
	// guid names the row as it is stored; row may bring a new GUID.
	guid string
	row  platform.Instance
}

type changeKind int

const (
	changeInsert changeKind = iota
	changeUpdate
	changeDelete
)

// action is work outside the store, begun after the changes are committed.
type action struct {
	kind actionKind
	row  platform.Instance
	// drain says that requests may be under way to it.
	drain bool
}

type actionKind int

const (
	// actionStart starts the instance.
	actionStart actionKind = iota
	// actionRetire waits until the router runs a table without the instance,
	// drains it and stops it.
	actionRetire
	// actionReap stops what may be left of a crashed instance.
	actionReap
	// actionBackground has the instance give way to others.
	actionBackground
	// actionForeground takes that back.
	actionForeground
)

// note is something worth an event and a log line.
type note struct {
	kind noteKind
	row  platform.Instance
}

type noteKind int

const (
	noteCrashed noteKind = iota
	noteLost
	noteReady
	noteNotReady
)

// outcome is the end of a deployment.
type outcome struct {
	// serving is the deployment that serves from now on; empty: unchanged.
	serving string
	// restore says that the app goes back to the previous deployment.
	restore bool
}

// plan is what to do now.
type plan struct {
	changes []change
	actions []action
	notes   []note
	// deployment is the active one as it should be, if it changes.
	deployment *platform.Deployment
	outcome    *outcome
	// traffic says that the route table may change.
	traffic bool
	// wake is when to plan again even if nothing happens; zero: never.
	wake time.Time
}

// isEmpty reports whether there is nothing to do but wait.
func (p *plan) isEmpty() bool {
	return len(p.changes) == 0 && len(p.actions) == 0 && p.deployment == nil && p.outcome == nil
}

// slot names a wanted copy of a process.
type slot struct {
	typ   string
	index int
}

// planner works out one plan.
type planner struct {
	w *world
	p plan
	// rows are the instances as they will be; the value says what happened.
	rows []*planned
	// desired is the number of instances of each process type.
	desired map[string]int
}

type planned struct {
	row               platform.Instance
	was               platform.Instance
	run               *run
	inserted, deleted bool
}

// makePlan decides what happens next.
func makePlan(w *world) plan {
	p := &planner{w: w, desired: map[string]int{}}
	for _, proc := range w.processes {
		p.desired[proc.Type] = proc.Instances
	}
	for _, row := range w.instances {
		r := w.runs[row.GUID]
		if r == nil {
			r = &run{}
		}
		p.rows = append(p.rows, &planned{row: row, was: row, run: r})
	}
	slices.SortStableFunc(p.rows, func(a, b *planned) int {
		return compareSlots(slot{a.row.ProcessType, a.row.Index}, slot{b.row.ProcessType, b.row.Index})
	})

	p.observe()
	p.judge()
	if w.app.State == platform.AppStarted {
		p.converge()
		p.convergeSides()
	} else {
		p.retireAll()
	}
	p.start()
	p.giveWay()
	p.clean()
	p.collect()
	return p.p
}

// compareSlots orders web first, then by type and index.
func compareSlots(a, b slot) int {
	if (a.typ == platform.WebProcess) != (b.typ == platform.WebProcess) {
		if a.typ == platform.WebProcess {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.typ, b.typ), cmp.Compare(a.index, b.index))
}

// start starts what is due.
func (p *planner) start() {
	for _, i := range p.rows {
		if i.deleted {
			continue
		}
		switch i.row.State {
		case platform.InstanceCrashed:
			if i.run.phase == phaseUp {
				p.act(actionReap, i)
			}
			if i.run.phase == phaseNone || i.run.phase == phaseGone {
				p.startWhenDue(i, !i.row.NextStart.IsZero())
			}
		case platform.InstanceDown:
			p.startWhenDue(i, true)
		}
	}
}

// startWhenDue starts the instance, or sees to it that it is not forgotten.
// One that had a process before starts under a new GUID.
func (p *planner) startWhenDue(i *planned, again bool) {
	if !again {
		return
	}
	if i.row.NextStart.After(p.w.now) {
		p.wakeAt(i.row.NextStart)
		return
	}
	if !i.inserted && (i.was.State != platform.InstanceDown || !i.was.NextStart.IsZero()) {
		i.row.GUID = p.w.newGUID()
		i.run = &run{}
	}
	i.row.State, i.row.Since = platform.InstanceStarting, p.w.now
	i.row.NextStart = time.Time{}
	i.row.Host, i.row.Port = "", 0
	p.act(actionStart, i)
}

// clean takes away what is not wanted any more.
func (p *planner) clean() {
	for _, i := range p.rows {
		if i.deleted || i.row.State != platform.InstanceStopping {
			continue
		}
		switch i.run.phase {
		case phaseGone:
			i.deleted = true
		case phaseNone, phaseUp:
			p.p.actions = append(p.p.actions, action{
				kind: actionRetire, row: i.row,
				drain: isServing(i.was) || i.was.State == platform.InstanceStopping,
			})
		}
	}
}

func (p *planner) act(kind actionKind, i *planned) {
	p.p.actions = append(p.p.actions, action{kind: kind, row: i.row})
}

// collect turns the rows into changes. Rows come last that take a place which
// another one leaves.
func (p *planner) collect() {
	var inserts []change
	for _, i := range p.rows {
		switch {
		case i.inserted && i.deleted:
		case i.inserted:
			inserts = append(inserts, change{changeInsert, i.row.GUID, i.row})
		case i.deleted:
			p.p.changes = append(p.p.changes, change{changeDelete, i.was.GUID, i.was})
		case i.row != i.was:
			p.p.changes = append(p.p.changes, change{changeUpdate, i.was.GUID, i.row})
		}
		before, after := i.was, i.row
		if isServing(before) != (isServing(after) && !i.deleted) {
			p.p.traffic = true
		}
	}
	p.p.changes = append(p.p.changes, inserts...)
	if d := p.p.deployment; d != nil {
		if a := p.w.active; d.Value != a.Value || d.Reason != a.Reason {
			d.StatusChanged = p.w.now
		}
	}
}

// pending reports whether any instance changes in this plan.
func (p *planner) pending() bool {
	return slices.ContainsFunc(p.rows, func(i *planned) bool { return i.inserted || i.deleted || i.row != i.was })
}

func (p *planner) wakeAt(t time.Time) {
	if p.p.wake.IsZero() || t.Before(p.p.wake) {
		p.p.wake = t
	}
}

func (p *planner) editDeployment() *platform.Deployment {
	if p.p.deployment == nil {
		d := *p.w.active
		p.p.deployment = &d
	}
	return p.p.deployment
}
