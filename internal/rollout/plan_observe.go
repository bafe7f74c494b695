package rollout

import (
	"errors"
	"fmt"
	"hash/fnv"
	"time"

	"weir/internal/platform"
)

// The restart schedule is Diego's.
const (
	immediateRestarts = 3
	firstBackoff      = 30 * time.Second
	lastBackoff       = 16 * time.Minute
	maxCrashes        = 200
	forgiveAfter      = 5 * time.Minute
	// failAfter is the number of crashes in a row that ends a deployment.
	failAfter = 3
)

// restartDelay returns how long an instance stays down after its nth crash in
// a row, and false if it is not tried again. jitter is in [0,1).
func restartDelay(crashes int, jitter float64) (time.Duration, bool) {
	switch {
	case crashes >= maxCrashes:
		return 0, false
	case crashes <= immediateRestarts:
		return 0, true
	}
	d := lastBackoff
	if n := crashes - immediateRestarts - 1; n < 5 {
		d = firstBackoff << n
	}
	return d + time.Duration(float64(d)*jitter/10), true
}

// placeDelay returns how long to wait after the nth refusal to place an
// instance, for want of memory or ports.
func placeDelay(n int) time.Duration {
	return min(2*time.Second<<min(n-1, 10), time.Minute)
}

// observe folds what the loop saw into the rows.
func (p *planner) observe() {
	for _, i := range p.rows {
		if i.run.phase == phaseNone && (i.row.State == platform.InstanceStarting || i.row.State == platform.InstanceRunning) {
			// Its process went with the machine or never came to be: start over.
			i.row.State, i.row.Since, i.row.Ready = platform.InstanceDown, p.w.now, false
			i.row.NextStart = time.Time{}
			continue
		}
		switch i.row.State {
		case platform.InstanceStarting:
			p.observeStarting(i)
		case platform.InstanceRunning:
			p.observeRunning(i)
		}
	}
}

func (p *planner) observeStarting(i *planned) {
	switch r := i.run; {
	case r.startErr != nil:
		p.notStarted(i, r.startErr)
	case r.exit != nil:
		p.crashed(i, *r.exit)
	case r.timedOut != "":
		p.crashed(i, platform.Exit{Code: -1, Reason: r.timedOut, At: p.w.now})
	case r.healthy:
		i.row.State, i.row.Since = platform.InstanceRunning, p.w.now
		i.row.Host, i.row.Port = r.host, r.port
		i.row.Details = ""
		if r.ready {
			p.setReady(i, true)
		}
		if a := p.w.active; a != nil && a.GUID == i.row.DeploymentGUID {
			p.editDeployment().LastHealthy = p.w.now
		}
	}
}

func (p *planner) observeRunning(i *planned) {
	r := i.run
	if r.exit != nil {
		p.crashed(i, *r.exit)
		return
	}
	if r.sick != "" {
		p.crashed(i, platform.Exit{Code: -1, Reason: r.sick, At: p.w.now})
		return
	}
	if r.phase == phaseUp && r.healthy && r.ready != i.row.Ready {
		p.setReady(i, r.ready)
	}
	if i.row.Crashes > 0 {
		if forgive := i.row.Since.Add(forgiveAfter); p.w.now.Before(forgive) {
			p.wakeAt(forgive)
		} else {
			i.row.Crashes = 0
		}
	}
}

func (p *planner) setReady(i *planned, ready bool) {
	i.row.Ready = ready
	kind := noteNotReady
	if ready {
		kind = noteReady
	}
	p.p.notes = append(p.p.notes, note{kind, i.row})
}

// lostPause is how long an instance that was lost stays down if it had just been
// started: whatever ends it may go on doing so.
const lostPause = time.Second

// lost has an instance started again that went with the platform, or what watches
// over it. That is no crash.
func (p *planner) lost(i *planned, exit platform.Exit) {
	i.row.NextStart = p.w.now
	if p.w.now.Sub(i.row.Since) < 10*lostPause {
		i.row.NextStart = p.w.now.Add(lostPause)
	}
	i.row.State, i.row.Since, i.row.Ready = platform.InstanceCrashed, p.w.now, false
	i.row.Details = exit.Reason
	p.p.notes = append(p.p.notes, note{noteLost, i.row})
}

// crashed puts the row into CRASHED, to be tried again by the schedule.
func (p *planner) crashed(i *planned, exit platform.Exit) {
	if exit.Lost {
		p.lost(i, exit)
		return
	}
	i.row.Crashes++
	i.row.State, i.row.Since, i.row.Ready = platform.InstanceCrashed, p.w.now, false
	i.row.LastExit = &exit
	i.row.Details = exit.Reason
	i.row.NextStart = time.Time{}
	if d, again := restartDelay(i.row.Crashes, jitter(i.row.GUID)); again {
		i.row.NextStart = p.w.now.Add(d)
	} else {
		i.row.Details = fmt.Sprintf("%s; given up after %d crashes", exit.Reason, i.row.Crashes)
	}
	p.p.notes = append(p.p.notes, note{noteCrashed, i.row})
}

// notStarted is for an instance that never became a process.
func (p *planner) notStarted(i *planned, err error) {
	switch platform.KindOf(err) {
	case platform.KindUnavailable: // the keeper is restarting: nobody's fault
		i.row.NextStart = p.w.now.Add(time.Second)
	case platform.KindExhausted:
		i.row.Crashes++
		i.row.NextStart = p.w.now.Add(placeDelay(i.row.Crashes))
	default:
		p.crashed(i, platform.Exit{Code: -1, Reason: "could not be started: " + reasonOf(err), At: p.w.now})
		return
	}
	i.row.State, i.row.Ready = platform.InstanceDown, false
	i.row.Details = reasonOf(err)
}

// judge ends the active deployment if it failed.
func (p *planner) judge() {
	a := p.w.active
	if a == nil || !a.IsActive() {
		return
	}
	if p.w.app.State != platform.AppStarted {
		d := p.editDeployment()
		d.Value, d.Reason = platform.DeploymentFinalized, platform.ReasonSuperseded
		p.p.outcome = &outcome{}
		return
	}
	if a.Reason == platform.ReasonCanceling {
		return
	}
	why, failed := p.failure(a)
	if !failed {
		return
	}
	d := p.editDeployment()
	d.Value, d.Reason, d.Error = platform.DeploymentFinalized, platform.ReasonCanceled, why
	if a.PreviousGUID == "" {
		p.p.outcome = &outcome{serving: a.GUID}
		return
	}
	p.p.outcome = &outcome{serving: a.PreviousGUID, restore: true}
}

// failure says why the deployment cannot succeed, if so.
func (p *planner) failure(a *platform.Deployment) (string, bool) {
	for _, i := range p.rows {
		if i.row.DeploymentGUID != a.GUID || i.row.State == platform.InstanceStopping {
			continue
		}
		switch {
		case i.run.timedOut != "" && i.row.State == platform.InstanceCrashed:
			return i.run.timedOut + which(i.row), true
		case i.run.unready != "" && i.row.State == platform.InstanceRunning && !i.row.Ready:
			return i.run.unready + which(i.row), true
		case i.row.Crashes >= failAfter && i.row.State == platform.InstanceCrashed:
			return fmt.Sprintf("the app crashed %d times in a row: %s%s", i.row.Crashes, i.row.Details, which(i.row)), true
		case i.row.Crashes >= failAfter && i.row.State == platform.InstanceDown:
			return fmt.Sprintf("no place for the app: %s%s", i.row.Details, which(i.row)), true
		}
	}
	return "", false
}

// which names an instance at the end of a sentence, unless it is the first of
// the web process, which goes without saying.
func which(i platform.Instance) string {
	switch {
	case i.ProcessType != platform.WebProcess:
		return fmt.Sprintf(" (process %s, instance %d)", i.ProcessType, i.Index)
	case i.Index > 0:
		return fmt.Sprintf(" (instance %d)", i.Index)
	}
	return ""
}

// jitter returns a number in [0,1) that depends on the name only, so that
// many instances that crash together do not come back together.
func jitter(name string) float64 {
	h := fnv.New32a()
	h.Write([]byte(name))
	return float64(h.Sum32()) / (1 << 32)
}

// reasonOf returns the part of an error that a person may read.
func reasonOf(err error) string {
	if e, ok := errors.AsType[*platform.Error](err); ok {
		return e.Msg
	}
	return "internal error"
}
