package rollout

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scene builds a world from short texts.
type scene struct {
	stopped   bool
	web       int // instances wanted
	worker    int
	serving   string   // the app's deployment
	active    string   // "new rolling DEPLOYING 1 previous=old", see deployment
	instances []string // "old web 0 RUNNING", see instance
	runs      map[string]run
	notAcked  bool
	noWorker  bool // the new deployment has no command for it
}

// deployment reads "guid strategy reason [previous=guid] [flight=n] [steps=10,50] [step=1]".
func deployment(t *testing.T, s string) *platform.Deployment {
	t.Helper()
	words := strings.Fields(s)
	d := &platform.Deployment{Value: platform.DeploymentActive, Strategy: words[1], Reason: words[2], MaxInFlight: 1}
	d.GUID = words[0]
	for _, w := range words[3:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "previous":
			d.PreviousGUID = value
		case "flight":
			fmt.Sscan(value, &d.MaxInFlight)
		case "step":
			fmt.Sscan(value, &d.CanaryStep)
		case "steps":
			for n := range strings.SplitSeq(value, ",") {
				var weight int
				fmt.Sscan(n, &weight)
				d.CanarySteps = append(d.CanarySteps, weight)
			}
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return d
}

// instance reads "deployment type index STATE [ready] [crashes=n] [since=d] [next=d]".
// Its GUID is "deployment/type/index".
func instance(t *testing.T, s string) platform.Instance {
	t.Helper()
	words := strings.Fields(s)
	i := platform.Instance{
		AppGUID: "app", DeploymentGUID: words[0], ProcessType: words[1], ProcessGUID: words[1],
		State: platform.InstanceState(words[3]), Since: noon.Add(-time.Minute),
	}
	fmt.Sscan(words[2], &i.Index)
	i.GUID = strings.Join(words[:3], "/")
	for _, w := range words[4:] {
		key, value, _ := strings.Cut(w, "=")
		d, _ := time.ParseDuration(value)
		switch key {
		case "ready":
			i.Ready = true
		case "crashes":
			fmt.Sscan(value, &i.Crashes)
		case "since":
			i.Since = noon.Add(-d)
		case "next":
			i.NextStart = noon.Add(d)
		case "guid":
			i.GUID = value
		default:
			t.Fatalf("unknown word %q", w)
		}
	}
	return i
}

func (s scene) world(t *testing.T) *world {
	t.Helper()
	w := &world{
		now: noon, acked: !s.notAcked, runs: map[string]*run{},
		commands: map[string]map[string]string{
			"old": {"web": "run", "worker": "work"}, "new": {"web": "run", "worker": "work"}, "older": {"web": "run"},
		},
	}
	if s.noWorker {
		delete(w.commands["new"], "worker")
	}
	n := 0
	w.newGUID = func() string { n++; return fmt.Sprintf("fresh%d", n) }
	w.app = platform.App{State: platform.AppStarted, DeploymentGUID: s.serving}
	w.app.GUID = "app"
	if s.stopped {
		w.app.State = platform.AppStopped
	}
	for typ, n := range map[string]int{"web": s.web, "worker": s.worker} {
		p := platform.Process{Type: typ, Instances: n}
		p.GUID = typ
		w.processes = append(w.processes, p)
	}
	if s.active != "" {
		w.active = deployment(t, s.active)
	}
	for _, text := range s.instances {
		i := instance(t, text)
		w.instances = append(w.instances, i)
		switch i.State {
		case platform.InstanceRunning:
			w.runs[i.GUID] = &run{phase: phaseUp, healthy: true, ready: i.Ready}
		case platform.InstanceStarting:
			w.runs[i.GUID] = &run{phase: phaseUp}
		case platform.InstanceStopping:
			w.runs[i.GUID] = &run{phase: phaseStop}
		case platform.InstanceCrashed:
			w.runs[i.GUID] = &run{phase: phaseGone}
		}
	}
	for guid, r := range s.runs {
		w.runs[guid] = &r
	}
	return w
}

// describe tells a plan in lines.
func describePlan(w *world, p plan) []string {
	name := func(i platform.Instance) string {
		return fmt.Sprintf("%s/%s/%d", i.DeploymentGUID, i.ProcessType, i.Index)
	}
	lines := []string{}
	for _, c := range p.changes {
		text := fmt.Sprintf("%s %s", []string{"insert", "update", "delete"}[c.kind], name(c.row))
		if c.kind != changeDelete {
			text += " " + string(c.row.State)
			if c.row.Ready {
				text += " ready"
			}
			if c.row.Crashes > 0 {
				text += fmt.Sprintf(" crashes=%d", c.row.Crashes)
			}
			if !c.row.NextStart.IsZero() {
				text += fmt.Sprintf(" next=%s", c.row.NextStart.Sub(w.now))
			}
		}
		lines = append(lines, text)
	}
	for _, a := range p.actions {
		text := []string{"start", "retire", "reap"}[a.kind] + " " + name(a.row)
		if a.drain {
			text += " drained"
		}
		lines = append(lines, text)
	}
	if d := p.deployment; d != nil {
		text := "deployment " + d.Value + "/" + d.Reason
		if d.Error != "" {
			text += ": " + d.Error
		}
		lines = append(lines, text)
	}
	if o := p.outcome; o != nil {
		text := "serving=" + o.serving
		if o.restore {
			text += " restore"
		}
		lines = append(lines, text)
	}
	if !p.wake.IsZero() {
		lines = append(lines, "wake in "+p.wake.Sub(w.now).String())
	}
	return lines
}

func TestPlan(t *testing.T) {
	up := func(ready bool) run {
		return run{phase: phaseUp, healthy: true, ready: ready, host: "127.0.0.1", port: 40000}
	}
	exited := func(code int) run {
		return run{phase: phaseUp, exit: &platform.Exit{Code: code, Reason: fmt.Sprintf("exited with status %d", code)}}
	}
	cases := []struct {
		name string
		scene
		want []string
	}{
		{"nothing to do for a settled app", scene{web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready"}}, nil},
		{"an app that never ran", scene{web: 1}, nil},
		{
			"a start brings up all at once",
			scene{web: 2, worker: 1, active: "new start DEPLOYING"},
			[]string{
				"insert new/web/0 STARTING", "insert new/web/1 STARTING", "insert new/worker/0 STARTING",
				"start new/web/0", "start new/web/1", "start new/worker/0",
			},
		},
		{
			"a restart starts beside the old ones",
			scene{
				web: 2, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready"},
			},
			[]string{"insert new/web/0 STARTING", "insert new/web/1 STARTING", "start new/web/0", "start new/web/1"},
		},
		{
			"rolling starts no more than may be in flight",
			scene{
				web: 3, serving: "old", active: "new rolling DEPLOYING previous=old flight=2",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "old web 2 RUNNING ready"},
			},
			[]string{"insert new/web/0 STARTING", "insert new/web/1 STARTING", "start new/web/0", "start new/web/1"},
		},
		{
			"a new one that is ready replaces the old one of its index in the same step",
			scene{
				web: 2, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING", "old web 0 RUNNING ready", "old web 1 RUNNING ready"},
				runs:      map[string]run{"new/web/0": up(true)},
			},
			[]string{
				"update new/web/0 RUNNING ready", "update old/web/0 STOPPING", "insert new/web/1 STARTING",
				"start new/web/1", "retire old/web/0 drained", "deployment ACTIVE/DEPLOYING",
			},
		},
		{
			"healthy but not ready replaces nothing",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": up(false)},
			},
			[]string{"update new/web/0 RUNNING", "deployment ACTIVE/DEPLOYING"},
		},
		{
			"becoming ready later replaces then",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 RUNNING", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": up(true)},
			},
			[]string{"update new/web/0 RUNNING ready", "update old/web/0 STOPPING", "retire old/web/0 drained"},
		},
		{
			"deployed once the router has confirmed",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 RUNNING ready", "old web 0 STOPPING"},
			},
			[]string{"deployment FINALIZED/DEPLOYED", "serving=new"},
		},
		{
			"not deployed before the router has confirmed",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old", notAcked: true,
				instances: []string{"new web 0 RUNNING ready", "old web 0 STOPPING"},
			},
			nil,
		},
		{
			"a start of nothing is deployed at once",
			scene{web: 0, active: "new start DEPLOYING"},
			[]string{"deployment FINALIZED/DEPLOYED", "serving=new"},
		},
		{
			"gone instances lose their row",
			scene{
				web: 1, serving: "new", instances: []string{"new web 0 RUNNING ready", "old web 0 STOPPING"},
				runs: map[string]run{"old/web/0": {phase: phaseGone}},
			},
			[]string{"delete old/web/0"},
		},
		{
			"a start that takes too long fails a deployment and the old one stays",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": {phase: phaseUp, timedOut: "too slow"}},
			},
			[]string{
				"update new/web/0 STOPPING crashes=1 next=0s", "retire new/web/0",
				"deployment FINALIZED/CANCELED: too slow", "serving=old restore",
			},
		},
		{
			"the third crash fails a deployment",
			scene{
				web: 2, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING", "new web 1 STARTING crashes=2", "old web 0 RUNNING ready", "old web 1 RUNNING ready"},
				runs:      map[string]run{"new/web/1": exited(1)},
			},
			[]string{
				"update new/web/0 STOPPING", "update new/web/1 STOPPING crashes=3 next=0s", "retire new/web/0", "retire new/web/1",
				"deployment FINALIZED/CANCELED: the app crashed 3 times in a row: exited with status 1 (instance 1)", "serving=old restore",
			},
		},
		{
			"the second crash does not",
			scene{
				web: 1, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING crashes=1", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": exited(1)},
			},
			[]string{"update new/web/0 CRASHED crashes=2 next=0s", "reap new/web/0"},
		},
		{
			"a failed deployment brings back what was replaced already",
			scene{
				web: 2, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 RUNNING ready", "new web 1 STARTING", "old web 1 RUNNING ready"},
				runs:      map[string]run{"new/web/1": {phase: phaseUp, timedOut: "too slow"}},
			},
			[]string{
				"update new/web/1 STOPPING crashes=1 next=0s", "insert old/web/0 STARTING",
				"start old/web/0", "retire new/web/1",
				"deployment FINALIZED/CANCELED: too slow (instance 1)", "serving=old restore",
			},
		},
		{
			"a failed first start stays, to be tried again",
			scene{
				web: 1, active: "new start DEPLOYING", instances: []string{"new web 0 STARTING crashes=2"},
				runs: map[string]run{"new/web/0": exited(7)},
			},
			[]string{
				"update new/web/0 CRASHED crashes=3 next=0s", "reap new/web/0",
				"deployment FINALIZED/CANCELED: the app crashed 3 times in a row: exited with status 7", "serving=new",
			},
		},
		{
			"never ready fails a deployment",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 RUNNING", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": {phase: phaseUp, healthy: true, unready: "never ready"}},
			},
			[]string{
				"update new/web/0 STOPPING", "retire new/web/0",
				"deployment FINALIZED/CANCELED: never ready", "serving=old restore",
			},
		},
		{
			"no room is tried again with more time",
			scene{
				web: 1, active: "new start DEPLOYING", instances: []string{"new web 0 STARTING"},
				runs: map[string]run{"new/web/0": {phase: phaseGone, startErr: &platform.Error{Kind: platform.KindExhausted, Msg: "no memory"}}},
			},
			[]string{"update new/web/0 DOWN crashes=1 next=2s", "wake in 2s"},
		},
		{
			"no room three times fails a deployment",
			scene{
				web: 1, serving: "old", active: "new rolling DEPLOYING previous=old",
				instances: []string{"new web 0 STARTING crashes=2", "old web 0 RUNNING ready"},
				runs:      map[string]run{"new/web/0": {phase: phaseGone, startErr: &platform.Error{Kind: platform.KindExhausted, Msg: "no memory"}}},
			},
			[]string{"delete new/web/0", "deployment FINALIZED/CANCELED: no place for the app: no memory", "serving=old restore"},
		},
		{
			"an unreachable runner is nobody's fault",
			scene{
				web: 1, active: "new start DEPLOYING", instances: []string{"new web 0 STARTING"},
				runs: map[string]run{"new/web/0": {phase: phaseGone, startErr: &platform.Error{Kind: platform.KindUnavailable, Msg: "gone"}}},
			},
			[]string{"update new/web/0 DOWN next=1s", "wake in 1s"},
		},
		{
			"a command that does not exist is a crash",
			scene{
				web: 1, active: "new start DEPLOYING", instances: []string{"new web 0 STARTING"},
				runs: map[string]run{"new/web/0": {phase: phaseGone, startErr: platform.Invalidf("no such command")}},
			},
			[]string{"update new/web/0 STARTING crashes=1", "start new/web/0"},
		},
		{
			"an internal error is not shown",
			scene{
				web: 1, serving: "new", instances: []string{"new web 0 STARTING crashes=5"},
				runs: map[string]run{"new/web/0": {phase: phaseGone, startErr: errors.New("/secret/path")}},
			},
			[]string{"update new/web/0 CRASHED crashes=6 next=2m9.2", "wake in 2m9.2"},
		},
		{
			"scaling up",
			scene{web: 3, serving: "old", instances: []string{"old web 0 RUNNING ready"}},
			[]string{"insert old/web/1 STARTING", "insert old/web/2 STARTING", "start old/web/1", "start old/web/2"},
		},
		{
			"scaling down takes the highest",
			scene{web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "old web 2 CRASHED"}},
			[]string{"update old/web/1 STOPPING", "delete old/web/2", "retire old/web/1 drained"},
		},
		{
			"scaling during a restart",
			scene{
				web: 1, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "new web 0 STARTING", "new web 1 STARTING"},
			},
			[]string{"update old/web/1 STOPPING", "update new/web/1 STOPPING", "retire old/web/1 drained", "retire new/web/1"},
		},
		{
			"stopping",
			scene{stopped: true, web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready", "old web 1 STARTING", "old web 2 DOWN"}},
			[]string{"update old/web/0 STOPPING", "update old/web/1 STOPPING", "delete old/web/2", "retire old/web/0 drained", "retire old/web/1"},
		},
		{
			"one that is being started is left until it has",
			scene{
				stopped: true, web: 1, serving: "old", instances: []string{"old web 0 STARTING"}, runs: map[string]run{"old/web/0": {phase: phaseStart}},
			},
			[]string{"update old/web/0 STOPPING"},
		},
		{
			"a crash while serving",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready crashes=3 since=1m"}, runs: map[string]run{"old/web/0": exited(3)},
			},
			[]string{"update old/web/0 CRASHED crashes=4 next=32.8", "reap old/web/0"},
		},
		{
			"one that went with the platform did not crash",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready crashes=2 since=1m"},
				runs: map[string]run{"old/web/0": {phase: phaseUp, exit: &platform.Exit{Code: -1, Lost: true, Reason: "lost"}}},
			},
			[]string{"update old/web/0 CRASHED crashes=2 next=0s", "reap old/web/0"},
		},
		{
			"one that goes with the platform again and again is started once a second",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 STARTING since=5s"},
				runs: map[string]run{"old/web/0": {phase: phaseUp, exit: &platform.Exit{Code: -1, Lost: true, Reason: "lost"}}},
			},
			[]string{"update old/web/0 CRASHED next=1s", "reap old/web/0"},
		},
		{
			"a crashed one that was cleared away and is due gets a new name",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 CRASHED crashes=1 next=-1s"},
			},
			[]string{"update old/web/0 STARTING crashes=1", "start old/web/0"},
		},
		{
			"a crashed one that is not due waits",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 CRASHED crashes=4 next=30s"},
			},
			[]string{"wake in 30s"},
		},
		{
			"one that was given up stays down",
			scene{web: 1, serving: "old", instances: []string{"old web 0 CRASHED crashes=200"}},
			nil,
		},
		{
			"the 200th crash is the last",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready crashes=199 since=1m"}, runs: map[string]run{"old/web/0": exited(3)},
			},
			[]string{"update old/web/0 CRASHED crashes=200", "reap old/web/0"},
		},
		{
			"five good minutes forgive",
			scene{web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready crashes=7 since=5m"}},
			[]string{"update old/web/0 RUNNING ready"},
		},
		{
			"four do not yet",
			scene{web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready crashes=7 since=4m"}},
			[]string{"wake in 1m0s"},
		},
		{
			"a failing liveness check is a crash",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready"},
				runs: map[string]run{"old/web/0": {phase: phaseUp, healthy: true, ready: true, sick: "does not answer"}},
			},
			[]string{"update old/web/0 CRASHED crashes=1 next=0s", "reap old/web/0"},
		},
		{
			"a failing readiness check only takes it out of the table",
			scene{
				web: 1, serving: "old", instances: []string{"old web 0 RUNNING ready"}, runs: map[string]run{"old/web/0": up(false)},
			},
			[]string{"update old/web/0 RUNNING"},
		},
		{
			"an instance that is stopping does not take a place",
			scene{web: 1, serving: "old", instances: []string{"old web 0 STOPPING"}},
			[]string{"insert old/web/0 STARTING", "start old/web/0"},
		},
		{
			"instances that vanished with the machine start again without a crash",
			scene{
				web: 2, serving: "old", instances: []string{"old web 0 RUNNING ready", "old web 1 STARTING crashes=2"},
				runs: map[string]run{"old/web/0": {}, "old/web/1": {}},
			},
			[]string{"update old/web/0 STARTING", "update old/web/1 STARTING crashes=2", "start old/web/0", "start old/web/1"},
		},
		{
			"the previous deployment is kept alive while the new one comes",
			scene{
				web: 1, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"old web 0 CRASHED crashes=1 next=0s", "new web 0 STARTING"},
			},
			[]string{"update old/web/0 STARTING crashes=1", "start old/web/0"},
		},
		{
			"what a superseded deployment had ready serves until it is replaced",
			scene{
				web: 3, serving: "older", active: "new rolling DEPLOYING previous=older flight=3",
				instances: []string{
					"old web 0 RUNNING ready", "old web 1 STARTING", "old web 2 CRASHED", "older web 1 RUNNING ready", "older web 2 RUNNING ready",
					"new web 0 STARTING", "new web 1 STARTING", "new web 2 STARTING",
				},
			},
			[]string{"update old/web/1 STOPPING", "delete old/web/2", "retire old/web/1"},
		},
		{
			"a process type the new droplet lacks goes last",
			scene{
				web: 1, worker: 1, serving: "old", active: "new rolling DEPLOYING previous=old", noWorker: true,
				instances: []string{"new web 0 RUNNING ready", "old worker 0 RUNNING ready"},
			},
			[]string{"update old/worker/0 STOPPING", "retire old/worker/0 drained"},
		},
		{
			"but not before all others are there",
			scene{
				web: 1, worker: 1, serving: "old", active: "new rolling DEPLOYING previous=old", noWorker: true,
				instances: []string{"new web 0 STARTING", "old web 0 RUNNING ready", "old worker 0 RUNNING ready"},
			},
			nil,
		},
		{
			"canceling brings the old ones back first",
			scene{
				web: 2, serving: "old", active: "new rolling CANCELING previous=old",
				instances: []string{"new web 0 RUNNING ready", "new web 1 STARTING", "old web 1 RUNNING ready"},
			},
			[]string{"update new/web/1 STOPPING", "insert old/web/0 STARTING", "start old/web/0", "retire new/web/1"},
		},
		{
			"and then takes the new ones away",
			scene{
				web: 1, serving: "old", active: "new rolling CANCELING previous=old",
				instances: []string{"new web 0 RUNNING ready", "old web 0 STARTING"}, runs: map[string]run{"old/web/0": up(true)},
			},
			[]string{"update new/web/0 STOPPING", "update old/web/0 RUNNING ready", "retire new/web/0 drained"},
		},
		{
			"canceled when the old ones serve",
			scene{
				web: 1, serving: "old", active: "new rolling CANCELING previous=old",
				instances: []string{"new web 0 STOPPING", "old web 0 RUNNING ready"},
			},
			[]string{"deployment FINALIZED/CANCELED", "serving=old"},
		},
		{
			"canceled when the old ones do not come back either",
			scene{
				web: 1, serving: "old", active: "new rolling CANCELING previous=old",
				instances: []string{"new web 0 RUNNING ready", "old web 0 CRASHED crashes=1 next=30s"},
			},
			[]string{"deployment FINALIZED/CANCELED", "serving=old", "wake in 30s"},
		},
		{
			"canceling the first deployment keeps it",
			scene{
				web: 1, active: "new rolling CANCELING", instances: []string{"new web 0 RUNNING ready"},
			},
			[]string{"deployment FINALIZED/CANCELED", "serving=new"},
		},
		{
			"a canary starts its share",
			scene{
				web: 4, worker: 1, serving: "old", active: "new canary DEPLOYING previous=old steps=50,100 step=1 flight=4",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "old web 2 RUNNING ready", "old web 3 RUNNING ready", "old worker 0 RUNNING ready"},
			},
			[]string{"insert new/web/0 STARTING", "insert new/web/1 STARTING", "start new/web/0", "start new/web/1"},
		},
		{
			"a canary that is ready replaces all but one",
			scene{
				web: 4, serving: "old", active: "new canary DEPLOYING previous=old steps=50,100 step=1",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "old web 2 RUNNING ready", "old web 3 RUNNING ready", "new web 0 RUNNING ready", "new web 1 RUNNING ready"},
			},
			[]string{"update old/web/0 STOPPING", "retire old/web/0 drained"},
		},
		{
			"and pauses",
			scene{
				web: 4, serving: "old", active: "new canary DEPLOYING previous=old steps=50,100 step=1",
				instances: []string{"old web 1 RUNNING ready", "old web 2 RUNNING ready", "old web 3 RUNNING ready", "new web 0 RUNNING ready", "new web 1 RUNNING ready"},
			},
			[]string{"deployment ACTIVE/PAUSED"},
		},
		{
			"paused is quiet",
			scene{
				web: 1, serving: "old", active: "new canary PAUSED previous=old step=1",
				instances: []string{"old web 0 RUNNING ready", "new web 0 RUNNING ready"},
			},
			nil,
		},
		{
			"a canary of everything replaces everything",
			scene{
				web: 2, serving: "old", active: "new canary DEPLOYING previous=old steps=100 step=1",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "new web 0 RUNNING ready", "new web 1 RUNNING ready"},
			},
			[]string{"update old/web/0 STOPPING", "update old/web/1 STOPPING", "retire old/web/0 drained", "retire old/web/1 drained"},
		},
		{
			"after the last step the rest rolls",
			scene{
				web: 2, worker: 1, serving: "old", active: "new canary DEPLOYING previous=old step=2",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "new web 0 RUNNING ready", "old worker 0 RUNNING ready"},
			},
			[]string{"update old/web/0 STOPPING", "insert new/web/1 STARTING", "start new/web/1", "retire old/web/0 drained"},
		},
		{
			"a crash-looping canary fails while paused",
			scene{
				web: 2, serving: "old", active: "new canary PAUSED previous=old step=1",
				instances: []string{"old web 0 RUNNING ready", "old web 1 RUNNING ready", "new web 0 STARTING crashes=2"}, runs: map[string]run{"new/web/0": exited(1)},
			},
			[]string{
				"update new/web/0 STOPPING crashes=3 next=0s", "retire new/web/0",
				"deployment FINALIZED/CANCELED: the app crashed 3 times in a row: exited with status 1", "serving=old restore",
			},
		},
		{
			"an app stopped under a deployment",
			scene{
				stopped: true, web: 1, serving: "old", active: "new start DEPLOYING previous=old",
				instances: []string{"old web 0 RUNNING ready"},
			},
			[]string{"update old/web/0 STOPPING", "retire old/web/0 drained", "deployment FINALIZED/SUPERSEDED", "serving="},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w := c.scene.world(t)
			got := describePlan(w, makePlan(w))
			want := c.want
			if want == nil {
				want = []string{}
			}
			same := cmp.Comparer(func(a, b string) bool { return a == b || sameButJitter(a, b) })
			if diff := cmp.Diff(want, got, same); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// sameButJitter compares lines whose last number is cut short in one of them.
func sameButJitter(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.Contains(a, ".") && strings.HasPrefix(b, a)
}

func TestRestartDelay_IsTheScheduleOfDiego(t *testing.T) {
	want := map[int]time.Duration{
		1: 0, 2: 0, 3: 0, 4: 30 * time.Second, 5: time.Minute, 6: 2 * time.Minute, 7: 4 * time.Minute,
		8: 8 * time.Minute, 9: 16 * time.Minute, 10: 16 * time.Minute, 199: 16 * time.Minute,
	}
	for n, d := range want {
		got, again := restartDelay(n, 0)
		if got != d || !again {
			t.Errorf("after crash %d: got %s, %t, want %s", n, got, again, d)
		}
		if got, _ := restartDelay(n, 0.999); got < d || got > d+d/10 {
			t.Errorf("after crash %d: jitter makes it %s, want within 10%% of %s", n, got, d)
		}
	}
	if _, again := restartDelay(200, 0); again {
		t.Error("the 200th crash is not the last")
	}
}

func TestCanaryTarget(t *testing.T) {
	for _, c := range []struct {
		steps   []int
		step, n int
		want    int
		wantAll bool
	}{
		{nil, 1, 5, 1, false},
		{nil, 1, 0, 0, false},
		{[]int{20, 60}, 1, 10, 2, false},
		{[]int{20, 60}, 2, 10, 6, false},
		{[]int{1}, 1, 10, 1, false},
		{[]int{100}, 1, 10, 10, true},
		{[]int{25}, 1, 2, 1, false},
		{[]int{50}, 1, 1, 1, false},
	} {
		got, all := canaryTarget(platform.Deployment{CanarySteps: c.steps, CanaryStep: c.step}, c.n)
		if got != c.want || all != c.wantAll {
			t.Errorf("steps %v at %d of %d instances: got %d, %t, want %d, %t", c.steps, c.step, c.n, got, all, c.want, c.wantAll)
		}
	}
}
