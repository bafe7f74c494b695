package rollout

import (
	"maps"
	"slices"

	"weir/internal/platform"
)

// Versions beside the main one are wanted as they are: so many web instances
// of a deployment that never replaces another. They come and go with their
// rows, whatever the app's own deployment is doing.

// side is what is wanted of a version beside the main one.
type side struct {
	instances int // of the web process
	shadow    bool
}

// isSide reports whether an instance belongs to a version beside the main one.
func (p *planner) isSide(i platform.Instance) bool {
	_, ok := p.w.sides[i.DeploymentGUID]
	return ok
}

// convergeSides starts and retires the instances of the versions beside the
// main one.
func (p *planner) convergeSides() {
	for _, deployment := range slices.Sorted(maps.Keys(p.w.sides)) {
		wanted := p.w.sides[deployment].instances
		if !p.runnable(deployment, platform.WebProcess) {
			wanted = 0
		}
		have := map[int]bool{}
		for _, i := range p.rows {
			switch {
			case i.row.DeploymentGUID != deployment || i.row.State == platform.InstanceStopping:
			case i.row.ProcessType != platform.WebProcess:
				p.retireWorker(i)
			case have[i.row.Index] || i.row.Index >= wanted:
				p.retire(i)
			default:
				have[i.row.Index] = true
			}
		}
		for n := range wanted {
			if !have[n] {
				p.add(deployment, slot{platform.WebProcess, n})
			}
		}
	}
}

// retireWorker takes away what a version has left from when it was the main
// one, once the main version has its own. Versions beside it run web only: two
// of them working on the same queue would surprise everybody.
func (p *planner) retireWorker(i *planned) {
	typ, main := i.row.ProcessType, p.w.app.DeploymentGUID
	if i.row.Index < p.desired[typ] && p.runnable(main, typ) && !slices.ContainsFunc(p.rows, func(o *planned) bool {
		return o.row.DeploymentGUID == main && o.row.ProcessType == typ && o.row.Index == i.row.Index && isServing(o.row)
	}) {
		return
	}
	p.retire(i)
}

// giveWay has shadows give way to others when processors are scarce, and what
// is no shadow any more take its part again. An instance that is starting has
// all the time it needs: its check is bounded.
func (p *planner) giveWay() {
	for _, i := range p.rows {
		if i.row.State != platform.InstanceRunning || i.run.phase != phaseUp || i.run.exit != nil || i.run.telling {
			continue
		}
		switch shadow := p.w.sides[i.row.DeploymentGUID].shadow; {
		case shadow && !i.run.background:
			p.act(actionBackground, i)
		case !shadow && i.run.background:
			p.act(actionForeground, i)
		}
	}
}
