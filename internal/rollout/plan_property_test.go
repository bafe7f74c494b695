package rollout

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"weir/internal/platform"
)

// model plays the part of the store, the runner, the health checks and the
// router for the planner, with a clock of its own.
type model struct {
	t      *testing.T
	rng    *rand.Rand
	w      *world
	seq    int
	broken map[string]bool // deployments whose instances crash
	log    []string
}

func newModel(t *testing.T, seed uint64) *model {
	m := &model{t: t, rng: rand.New(rand.NewPCG(seed, 1)), broken: map[string]bool{}}
	m.w = &world{now: noon, acked: true, runs: map[string]*run{}, commands: map[string]map[string]string{}}
	m.w.newGUID = func() string { m.seq++; return fmt.Sprintf("i%d", m.seq) }
	m.w.app.GUID, m.w.app.State = "app", platform.AppStopped
	for _, typ := range []string{"web", "worker"} {
		p := platform.Process{Type: typ, Instances: m.rng.IntN(4)}
		p.GUID = typ
		m.w.processes = append(m.w.processes, p)
	}
	return m
}

func (m *model) note(format string, args ...any) { m.log = append(m.log, fmt.Sprintf(format, args...)) }

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	for _, l := range m.log {
		m.t.Log(l)
	}
	m.t.Fatalf(format, args...)
}

// deploy begins a deployment as Engine.begin does.
func (m *model) deploy(strategy string, broken bool) {
	previous := m.w.app.DeploymentGUID
	if m.w.app.State == platform.AppStopped {
		previous = ""
	}
	if m.w.active != nil {
		previous = m.w.active.PreviousGUID
	}
	m.seq++
	d := &platform.Deployment{
		Strategy: strategy, Value: platform.DeploymentActive, Reason: platform.ReasonDeploying,
		PreviousGUID: previous, MaxInFlight: 1 + m.rng.IntN(3), CanaryStep: 1,
	}
	if strategy == platform.StrategyCanary {
		d.CanarySteps = [][]int{nil, {50}, {25, 100}}[m.rng.IntN(3)]
	}
	d.GUID = fmt.Sprintf("d%d", m.seq)
	m.w.commands[d.GUID] = map[string]string{"web": "run", "worker": "work"}
	m.broken[d.GUID] = broken
	m.w.app.State = platform.AppStarted
	m.w.active = d
	m.note("deploy %s %s previous=%q broken=%t", d.GUID, strategy, previous, broken)
}

// step applies plans until there is nothing to do, and checks each.
func (m *model) step() {
	for n := 0; ; n++ {
		if n > 50 {
			m.fail("the plans do not come to an end")
		}
		p := makePlan(m.w)
		if p.isEmpty() {
			return
		}
		for _, l := range describePlan(m.w, p) {
			m.note("    %s", l)
		}
		m.check(p)
		m.apply(p)
	}
}

// check looks for an instance that stops serving before another serves in its
// place, although it is wanted.
func (m *model) check(p plan) {
	if m.w.app.State != platform.AppStarted {
		return
	}
	after := map[string]platform.Instance{}
	for _, i := range m.w.instances {
		after[i.GUID] = i
	}
	for _, c := range p.changes {
		delete(after, c.guid)
		if c.kind != changeDelete {
			after[c.row.GUID] = c.row
		}
	}
	served := map[slot]bool{}
	for _, i := range after {
		if isServing(i) {
			served[slot{i.ProcessType, i.Index}] = true
		}
	}
	for _, before := range m.w.instances {
		i, stays := after[before.GUID]
		retired := !stays || i.State == platform.InstanceStopping
		s := slot{before.ProcessType, before.Index}
		if isServing(before) && retired && !served[s] && s.index < m.desired(s.typ) && m.w.runs[before.GUID].exit == nil {
			m.fail("%s of %s stops serving before another one does", before.GUID, before.DeploymentGUID)
		}
	}
}

func (m *model) desired(typ string) int {
	i := slices.IndexFunc(m.w.processes, func(p platform.Process) bool { return p.Type == typ })
	return m.w.processes[i].Instances
}

func (m *model) apply(p plan) {
	m.w.carryOut(p)
	for _, c := range p.changes {
		if c.kind == changeDelete || c.guid != c.row.GUID {
			delete(m.w.runs, c.guid)
		}
	}
	places := map[string]bool{}
	for _, i := range m.w.instances {
		key := fmt.Sprint(i.DeploymentGUID, i.ProcessType, i.Index)
		if i.State != platform.InstanceStopping && places[key] {
			m.fail("two instances for %s", key)
		}
		places[key] = places[key] || i.State != platform.InstanceStopping
	}
	if p.traffic {
		m.w.acked = false
	}
	for _, a := range p.actions {
		switch a.kind {
		case actionStart:
			m.w.runs[a.row.GUID] = &run{phase: phaseStart}
		case actionRetire, actionReap:
			if m.w.runs[a.row.GUID] == nil {
				m.w.runs[a.row.GUID] = &run{}
			}
			m.w.runs[a.row.GUID].phase = phaseStop
		}
	}
}

// happen lets one thing happen that is under way. good makes all end well.
func (m *model) happen(good bool) bool {
	type event func()
	var events []event
	if !m.w.acked {
		events = append(events, func() { m.note("acked"); m.w.acked = true })
	}
	for _, i := range m.w.instances {
		r := m.w.runs[i.GUID]
		if r == nil {
			continue
		}
		crash := func() {
			m.note("%s exits", i.GUID)
			r.exit = &platform.Exit{Code: 1, Reason: "exited with status 1"}
		}
		bad := m.broken[i.DeploymentGUID]
		switch {
		case r.phase == phaseStart && !good && m.rng.IntN(4) == 0:
			events = append(events, func() {
				m.note("%s cannot be started", i.GUID)
				kind := []platform.Kind{platform.KindExhausted, platform.KindUnavailable, platform.KindInvalid}[m.rng.IntN(3)]
				r.phase, r.startErr = phaseGone, &platform.Error{Kind: kind, Msg: "no"}
			})
		case r.phase == phaseStart:
			events = append(events, func() { m.note("%s is up", i.GUID); r.phase = phaseUp })
		case r.phase == phaseStop:
			events = append(events, func() { m.note("%s is gone", i.GUID); r.phase = phaseGone })
		case r.phase == phaseUp && r.exit == nil && !r.healthy && i.State == platform.InstanceStarting:
			switch {
			case bad && m.rng.IntN(2) == 0:
				events = append(events, func() { m.note("%s takes too long", i.GUID); r.timedOut = "too slow" })
			case bad:
				events = append(events, crash)
			default:
				events = append(events, func() { m.note("%s is healthy", i.GUID); r.healthy, r.ready = true, good || m.rng.IntN(5) > 0 })
			}
		case r.phase == phaseUp && r.exit == nil && r.healthy && !good && m.rng.IntN(6) == 0:
			events = append(events, crash)
		case r.phase == phaseUp && r.exit == nil && r.healthy && !r.ready:
			events = append(events, func() { m.note("%s is ready", i.GUID); r.ready = true })
		}
	}
	if len(events) == 0 {
		return false
	}
	events[m.rng.IntN(len(events))]()
	return true
}

// restart is what a restart of the engine leaves of the observations.
func (m *model) restart() {
	m.note("the engine restarts")
	for guid, r := range m.w.runs {
		switch r.phase {
		case phaseStart:
			if m.rng.IntN(2) == 0 {
				r.phase = phaseUp // it was started after all
				continue
			}
			delete(m.w.runs, guid)
		case phaseStop:
			if m.rng.IntN(2) == 0 {
				r.phase = phaseUp
				continue
			}
			delete(m.w.runs, guid)
		case phaseGone:
			delete(m.w.runs, guid)
		}
	}
	m.w.acked = false
}

// command does what somebody might ask for.
func (m *model) command() {
	switch m.rng.IntN(9) {
	case 0, 1:
		m.deploy(platform.StrategyStart, m.rng.IntN(3) == 0)
	case 2:
		if m.w.app.State == platform.AppStarted {
			m.deploy(platform.StrategyRolling, m.rng.IntN(3) == 0)
		}
	case 3:
		if m.w.app.State == platform.AppStarted {
			m.deploy(platform.StrategyCanary, m.rng.IntN(3) == 0)
		}
	case 4:
		i := m.rng.IntN(2)
		m.w.processes[i].Instances = m.rng.IntN(4)
		m.note("scale %s to %d", m.w.processes[i].Type, m.w.processes[i].Instances)
	case 5:
		m.note("stop")
		m.w.app.State, m.w.active = platform.AppStopped, nil
	case 6:
		if m.w.active != nil {
			m.note("cancel")
			d := *m.w.active
			d.Reason = platform.ReasonCanceling
			m.w.active = &d
		}
	case 7:
		m.continueCanary()
	case 8:
		m.restart()
	}
}

func (m *model) continueCanary() {
	if m.w.active != nil && m.w.active.Reason == platform.ReasonPaused {
		m.note("continue")
		d := *m.w.active
		d.CanaryStep++
		d.Reason = platform.ReasonDeploying
		m.w.active = &d
	}
}

// settle lets everything end well and checks where it ended.
func (m *model) settle() {
	m.note("now all ends well")
	clear(m.broken)
	for range 2000 {
		m.step()
		if m.happen(true) {
			continue
		}
		if m.w.active != nil && m.w.active.Reason == platform.ReasonPaused {
			m.continueCanary()
			continue
		}
		p := makePlan(m.w)
		if p.wake.IsZero() || !m.waiting() {
			break
		}
		m.w.now = p.wake
		m.note("later")
	}
	m.step()
	if m.w.active != nil {
		m.fail("deployment %s does not end: %s", m.w.active.GUID, m.w.active.Reason)
	}
	served := map[slot]int{}
	for _, i := range m.w.instances {
		if !isServing(i) {
			m.fail("%s is left %s", i.GUID, i.State)
		}
		if i.DeploymentGUID != m.w.app.DeploymentGUID {
			m.fail("%s is of %s, not of %s", i.GUID, i.DeploymentGUID, m.w.app.DeploymentGUID)
		}
		served[slot{i.ProcessType, i.Index}]++
	}
	want := 0
	runs := m.w.app.State == platform.AppStarted && m.w.app.DeploymentGUID != ""
	for _, p := range m.w.processes {
		if !runs {
			break
		}
		want += p.Instances
		for n := range p.Instances {
			if served[slot{p.Type, n}] != 1 {
				m.fail("%s %d is served by %d", p.Type, n, served[slot{p.Type, n}])
			}
		}
	}
	if len(m.w.instances) != want {
		m.fail("%d instances are left, want %d", len(m.w.instances), want)
	}
}

// waiting reports whether an instance waits for its time.
func (m *model) waiting() bool {
	return slices.ContainsFunc(m.w.instances, func(i platform.Instance) bool { return !i.NextStart.IsZero() })
}

func TestPlan_AnyStoryEndsWell(t *testing.T) {
	seeds := uint64(2000)
	if underRace {
		seeds = 150
	}
	for seed := range seeds {
		m := newModel(t, seed)
		m.note("seed %d", seed)
		for range 60 {
			if m.rng.IntN(4) == 0 {
				m.command()
			} else if !m.happen(false) {
				m.w.now = m.w.now.Add(time.Duration(m.rng.IntN(40)) * time.Second)
			}
			m.step()
		}
		m.settle()
	}
}
