package rollout

import (
	"cmp"
	"slices"

	"weir/internal/platform"
)

// movement is where the app is going.
type movement struct {
	target string // deployment that should run; may be empty
	keep   string // deployment whose instances stay alive until replaced
	// limit is how many instances of the target may be on their way at once.
	limit int
	// canary is the number of web instances wanted of the target, and only
	// these; -1 means all of every process.
	canary int
	// canaryAll says that the canaries replace all others (a step of 100 %).
	canaryAll bool
}

// movement returns where the app is going, the judgement taken into account.
func (p *planner) movement() movement {
	const unlimited = 1 << 30
	m := movement{target: p.w.app.DeploymentGUID, limit: unlimited, canary: -1}
	if o := p.p.outcome; o != nil && o.serving != "" {
		m.target = o.serving
	}
	a := p.w.active
	if d := p.p.deployment; d != nil {
		a = d
	}
	if a == nil || !a.IsActive() {
		return m
	}
	if a.Reason == platform.ReasonCanceling {
		m.target = cmp.Or(a.PreviousGUID, a.GUID)
		return m
	}
	m.target, m.keep = a.GUID, a.PreviousGUID
	if a.Strategy != platform.StrategyStart {
		m.limit = max(1, a.MaxInFlight)
	}
	if a.Strategy == platform.StrategyCanary && !canaryIsFull(*a) {
		m.canary, m.canaryAll = canaryTarget(*a, p.desired[platform.WebProcess])
	}
	return m
}

// canaryIsFull reports whether all steps are done and the rest rolls.
func canaryIsFull(d platform.Deployment) bool { return d.CanaryStep > max(1, len(d.CanarySteps)) }

// canaryTarget returns how many of n instances are canaries at the current
// step, and whether they are to be the only ones.
func canaryTarget(d platform.Deployment, n int) (canaries int, all bool) {
	if len(d.CanarySteps) == 0 {
		return min(n, 1), false
	}
	weight := d.CanarySteps[min(max(d.CanaryStep, 1), len(d.CanarySteps))-1]
	return min(n, max(1, (n*weight+50)/100)), weight >= 100
}

// runnable reports whether the deployment has a command for the type.
func (p *planner) runnable(deployment, typ string) bool {
	return p.w.commands[deployment][typ] != ""
}

// slots returns what the movement wants of its target, web first.
func (p *planner) slots(m movement) []slot {
	var out []slot
	for typ, n := range p.desired {
		if m.canary >= 0 {
			if typ != platform.WebProcess {
				continue
			}
			n = m.canary
		}
		if !p.runnable(m.target, typ) {
			continue
		}
		for i := range n {
			out = append(out, slot{typ, i})
		}
	}
	slices.SortFunc(out, compareSlots)
	return out
}

// converge moves the instances of a started app towards the target.
func (p *planner) converge() {
	m := p.movement()
	if m.target == "" {
		return
	}
	wanted := p.slots(m)
	have := map[slot]*planned{}
	for _, i := range p.rows {
		if i.row.DeploymentGUID != m.target || i.row.State == platform.InstanceStopping {
			continue
		}
		s := slot{i.row.ProcessType, i.row.Index}
		if have[s] != nil || !slices.Contains(wanted, s) {
			p.retire(i)
			continue
		}
		have[s] = i
	}
	for _, i := range p.rows {
		if i.row.DeploymentGUID != m.target && !p.isSide(i.row) {
			p.replace(i, m, wanted, have)
		}
	}
	inFlight := 0
	for _, i := range have {
		if !isServing(i.row) {
			inFlight++
		}
	}
	for _, s := range wanted {
		if have[s] == nil && inFlight < m.limit {
			have[s] = p.add(m.target, s)
			inFlight++
		}
	}
	p.advance(m, wanted, have)
}

// isServing reports whether the instance gets traffic.
func isServing(i platform.Instance) bool {
	return i.State == platform.InstanceRunning && i.Ready
}

// replace decides about an instance that is not of the target.
func (p *planner) replace(i *planned, m movement, wanted []slot, have map[slot]*planned) {
	if i.row.State == platform.InstanceStopping {
		return
	}
	s := slot{i.row.ProcessType, i.row.Index}
	if s.index >= p.desired[s.typ] {
		p.retire(i)
		return
	}
	covered := func(s slot) bool { return have[s] != nil && isServing(have[s].row) }
	all := !slices.ContainsFunc(wanted, func(s slot) bool { return !covered(s) })
	switch {
	case m.canary >= 0: // the last canary comes on top, until it is all of them
		if s.typ == platform.WebProcess && covered(s) && (s.index < m.canary-1 || m.canaryAll) {
			p.retire(i)
			return
		}
	case covered(s), !p.runnable(m.target, s.typ) && all:
		p.retire(i)
		return
	}
	if i.row.DeploymentGUID != m.keep && !isServing(i.row) {
		p.retire(i)
	}
}

// retire takes an instance away, or its row if there is nothing to take away.
func (p *planner) retire(i *planned) {
	if i.row.State == platform.InstanceStopping {
		return
	}
	if i.run.phase == phaseNone && i.row.State == platform.InstanceDown || i.inserted {
		i.deleted = true
	}
	i.row.State, i.row.Since, i.row.Ready = platform.InstanceStopping, p.w.now, false
}

func (p *planner) retireAll() {
	for _, i := range p.rows {
		p.retire(i)
	}
}

// add wants one more instance.
func (p *planner) add(deployment string, s slot) *planned {
	i := &planned{inserted: true, run: &run{}, row: platform.Instance{
		GUID: p.w.newGUID(), AppGUID: p.w.app.GUID, ProcessType: s.typ, DeploymentGUID: deployment,
		Index: s.index, State: platform.InstanceDown, Since: p.w.now,
	}}
	for _, proc := range p.w.processes {
		if proc.Type == s.typ {
			i.row.ProcessGUID = proc.GUID
		}
	}
	p.rows = append(p.rows, i)
	return i
}

// advance moves the deployment's own state on, once the instances are there
// and the router knows. It never does so in a plan that changes instances: the
// next one, after the router's answer, will.
func (p *planner) advance(m movement, wanted []slot, have map[slot]*planned) {
	a := p.w.active
	if a == nil || !a.IsActive() || p.p.outcome != nil || !p.w.acked || p.pending() {
		return
	}
	if a.Reason == platform.ReasonCanceling {
		p.advanceCancel(a, m, wanted, have)
		return
	}
	for _, s := range wanted {
		if have[s] == nil || !isServing(have[s].row) {
			return
		}
	}
	if m.canary >= 0 {
		if a.Reason != platform.ReasonPaused {
			p.editDeployment().Reason = platform.ReasonPaused
		}
		return
	}
	d := p.editDeployment()
	d.Value, d.Reason = platform.DeploymentFinalized, platform.ReasonDeployed
	p.p.outcome = &outcome{serving: a.GUID}
}

// advanceCancel ends a cancelled deployment once its instances are replaced,
// or once the previous ones turn out not to come back either.
func (p *planner) advanceCancel(a *platform.Deployment, m movement, wanted []slot, have map[slot]*planned) {
	left := slices.ContainsFunc(p.rows, func(i *planned) bool {
		return i.row.DeploymentGUID == a.GUID && i.row.State != platform.InstanceStopping
	})
	back := !slices.ContainsFunc(wanted, func(s slot) bool {
		i := have[s]
		return i == nil || !isServing(i.row) && i.row.Crashes == 0
	})
	if left && !back {
		return
	}
	d := p.editDeployment()
	d.Value, d.Reason = platform.DeploymentFinalized, platform.ReasonCanceled
	p.p.outcome = &outcome{serving: m.target}
}
