package release

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

// reduced is a rollout whose stable version has 2 of its 4 instances, with all
// requests at the candidate.
func reducedWorld(t *testing.T) *world {
	t.Helper()
	plan, err := ParsePlan([]byte(`{"steps":[{"weight":10},{"weight":50},{"weight":100,"bake":"10m"}],"bake":"5m","min-requests":100,"scale-with-weight":true}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &platform.Rollout{
		Resource: platform.Resource{CreatedAt: start.Add(-time.Hour), UpdatedAt: start}, State: platform.RolloutBaking, Step: 2,
		FromLabel: "v1", ToLabel: "v2", Since: start.Add(-10 * time.Minute),
	}
	p := &Progress{StepBegan: start.Add(-11 * time.Minute), Baked: time.Minute, Instances: 4, Sized: 500}
	p.Step[1] = Usage{Requests: 1000, Clients: 5}
	return &world{
		now: start, r: r, plan: &plan, p: p, verdict: judge.New(judge.Config{}).Verdict(),
		candidate: &platform.VersionStatus{Version: platform.Version{Instances: 4}, Wanted: 4, Running: 4, Ready: 4},
		stable:    &platform.VersionStatus{Version: platform.Version{Main: true, Instances: 4, Reduced: 2}, Wanted: 2, Running: 2, Ready: 2},
	}
}

func TestInstancesFor(t *testing.T) {
	for _, tt := range []struct{ weight, n, want int }{
		{1000, 4, 4},
		{999, 4, 4},
		{900, 4, 4},
		{750, 4, 3},
		{501, 4, 3},
		{500, 4, 2},
		{250, 4, 1},
		{1, 4, 1},
		{0, 4, 1},
		{500, 1, 1},
		{0, 1, 1},
		{990, 100, 99},
		{500, 0, 1},
	} {
		if got := instancesFor(tt.weight, tt.n); got != tt.want {
			t.Errorf("%d of 1000 need %d of %d instances, want %d", tt.weight, got, tt.n, tt.want)
		}
	}
}

func TestDecide_TheStableVersionHasWhatItsShareNeeds(t *testing.T) {
	passed := func(w *world, step int) {
		w.r.State, w.r.Step, w.p.Baked = platform.RolloutWaiting, step, time.Hour
		w.plan.Steps[step].Gate = gateApprove
	}
	all := func(w *world) { w.stable.Reduced, w.stable.Wanted, w.stable.Ready, w.p.Sized = 0, 4, 4, 0 }
	for _, tt := range []struct {
		name  string
		alter func(*world)
		want  decision
	}{
		{"as it should be", func(*world) {}, decision{}},
		{"10% passed: it needs all", func(w *world) { all(w); passed(w, 0) }, decision{}},
		{"50% passed", func(w *world) { all(w); passed(w, 1) }, decision{verb: resize, instances: 2, weight: 500}},
		{"50% passed, not asked for", func(w *world) { all(w); passed(w, 1); w.plan.ScaleWithWeight = false }, decision{}},
		{"50% passed, in a freeze", func(w *world) { all(w); passed(w, 1); w.frozen = "Friday" }, decision{}},
		{"50%, the rest left out", func(w *world) { all(w); passed(w, 1); w.p.Skip = true }, decision{}},
		{"50%, promoted without having been seen", func(w *world) { all(w); passed(w, 1); w.p.Step[1].Requests = 3 }, decision{}},
		{"50%, baking", func(w *world) { all(w); w.r.Step = 1 }, decision{}},
		{"50% passed, somebody promoted afterwards", func(w *world) { passed(w, 1); w.p.Skip = true }, decision{}},
		{"100% passed: one stays", func(w *world) { passed(w, 2) }, decision{verb: resize, instances: 1, weight: 1}},
		{"paused", func(w *world) { w.r.State, w.p.Before = platform.RolloutPaused, platform.RolloutBaking }, decision{}},
		{"the app was scaled up", func(w *world) { w.stable.Instances = 9 }, decision{verb: resize, instances: 5, weight: 500}},
		{"the app was scaled down", func(w *world) { w.stable.Instances = 2 }, decision{}},
		{"somebody moved the traffic, paused for it", func(w *world) {
			w.r.State, w.p.Before, w.moved = platform.RolloutPaused, platform.RolloutBaking, "somebody"
		}, decision{verb: resize}},
		{"going back", func(w *world) { w.r.State = platform.RolloutRollingBack }, decision{verb: resize}},
		{"going back, the app stopped", func(w *world) { w.r.State, w.stopped = platform.RolloutRollingBack, true }, decision{verb: resize}},
		{"another main version", func(w *world) { w.r.State, w.stable.Main = platform.RolloutRollingBack, false }, decision{verb: enter}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := reducedWorld(t)
			tt.alter(w)
			if d := decide(w); d.verb != tt.want.verb || d.instances != tt.want.instances || d.weight != tt.want.weight {
				t.Errorf("got %+v, want %+v", d, tt.want)
			}
		})
	}
}

func TestDecide_AStepWithALesserShareWaitsForTheStableVersion(t *testing.T) {
	w := reducedWorld(t)
	w.plan.Rings = map[string][]Match{"staff": {{Header: "X-Staff"}}}
	w.plan.Steps[2].Weight, w.plan.Steps[2].Ring = 25, "staff"
	w.r.State, w.r.Step, w.p.Baked = platform.RolloutWaiting, 1, time.Hour
	if d := decide(w); d.verb != scale || d.step != 2 || !strings.Contains(d.reason, "v1 runs with 3 of its 4 instances") {
		t.Fatalf("got %+v", d)
	}
	w.r.State, w.r.Step, w.r.Since = platform.RolloutScaling, 2, start
	w.stable.Reduced, w.stable.Wanted, w.p.Regrown, w.p.Sized = 3, 3, true, 750
	if d := decide(w); d.verb != stay {
		t.Errorf("with 2 of 3 instances: %+v", d)
	}
	w.stable.Ready = 3
	if d := decide(w); d.verb != shift {
		t.Errorf("with 3 of 3 instances: %+v", d)
	}
}

func TestDecide_HowSoonRequestsReturn(t *testing.T) {
	reject := func(w *world) { w.verdict.Rejected = true }
	for _, tt := range []struct {
		name  string
		alter func(*world)
		want  haste
	}{
		{"crash loop", func(w *world) { w.candidate.Crashes = 3 }, atOnce},
		{"no instance", func(w *world) { w.candidate.Ready = 0 }, atOnce},
		{"out of memory", func(w *world) { w.candidate.LastExit = &platform.Exit{OOM: true, At: start} }, atOnce},
		{"probes fail", func(w *world) { w.p.ProbeFailed = 3 }, atOnce},
		{"taken away", func(w *world) { w.candidate = nil }, atOnce},
		{"the judge, a tenth fails", func(w *world) { reject(w); w.p.Step[1].Bad = 100 }, soon},
		{"the judge, none fails: it is slow", reject, soon},
		{"the judge, half of them fail", func(w *world) { reject(w); w.p.Step[1].Bad = 500 }, atOnce},
		{"collapse, a third fails", func(w *world) { w.p.Step[1].Bad, w.p.All[0] = 300, Usage{Requests: 1000} }, soon},
		{"collapse, all fail", func(w *world) { w.p.Step[1].Bad = 1000 }, atOnce},
		{"a gate", func(w *world) { w.p.GateClosed = true }, inOrder},
		{"silence, by plan", func(w *world) {
			w.p.Step[1].Requests, w.p.Baked, w.plan.OnSilence = 0, 3*time.Hour, "rollback"
			w.plan.Steps[2].MinRequests = &Amount{N: 100}
		}, inOrder},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := reducedWorld(t)
			tt.alter(w)
			if d := decide(w); d.verb != rollBack || d.haste != tt.want {
				t.Errorf("got %+v, want haste %d", d, tt.want)
			}
		})
	}
}

func TestDecide_RequestsReturnAsInstancesGetReady(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*world)
		want  decision
	}{
		{"none more ready", func(*world) {}, decision{}},
		{"one more ready", func(w *world) { w.stable.Ready = 3 }, decision{verb: giveBack, weight: 750}},
		{"one fewer ready", func(w *world) { w.stable.Ready = 1 }, decision{}},
		{"all ready", func(w *world) { w.stable.Ready = 4 }, decision{verb: rollBack}},
		{"nearly too late", func(w *world) { w.now = start.Add(59 * time.Second) }, decision{}},
		{"too late", func(w *world) { w.now = start.Add(time.Minute) }, decision{verb: rollBack}},
		{"too late, and nobody there", func(w *world) { w.now, w.stable.Ready = start.Add(time.Hour), 0 }, decision{}},
		{"the platform was away", func(w *world) { w.now, w.since = start.Add(time.Hour), start.Add(time.Hour-time.Second) }, decision{}},
		{"the candidate fails", func(w *world) { w.candidate.Ready = 0 }, decision{verb: rollBack}},
		{"the candidate is not back yet", func(w *world) {
			w.candidate.Ready, w.returning, w.since = 0, true, start
		}, decision{}},
		{"the candidate is gone", func(w *world) { w.candidate = nil }, decision{verb: rollBack}},
		{"another main version", func(w *world) { w.stable.Main = false }, decision{verb: rollBack}},
		{"the app was scaled to nothing", func(w *world) { w.stable.Instances = 0 }, decision{verb: rollBack}},
		{"all returned", func(w *world) { w.p.Back = Back{} }, decision{verb: enter}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := reducedWorld(t)
			w.r.State, w.r.Reason, w.p.Before = platform.RolloutRollingBack, "errors", platform.RolloutRolledBack
			w.stable.Reduced, w.stable.Wanted = 0, 4
			w.p.Back = Back{Began: start, Limit: time.Minute, Stable: 500}
			tt.alter(w)
			d := decide(w)
			if d.verb != tt.want.verb || d.weight != tt.want.weight {
				t.Errorf("got %+v, want %+v", d, tt.want)
			}
			if d.verb == rollBack && (d.haste != atOnce || d.reason != "errors") {
				t.Errorf("the end is %+v", d)
			}
		})
	}
}

const sized = `{"steps":[{"weight":10},{"weight":50},{"weight":100,"bake":"20s","gate":"approve"}],"bake":"20s","warmup":"2s","min-requests":100,
	"keep-old":"1h","scale-with-weight":true}`

// four gives the app four instances, and the plan a last step that goes on.
func four(t *testing.T) *stage {
	g := newStage(t)
	g.set(func() {
		v := g.find(byLabel("v1"))
		v.Instances, v.Wanted, v.Running, v.Ready = 4, 4, 4, 4
	})
	return g
}

// atAll brings a rollout to its last step, with all requests at the candidate and
// half of the stable version's instances, that are slow to come back.
func (g *stage) atAll(e *Engine) string {
	g.t.Helper()
	guid := g.start(e, strings.Replace(sized, `"weight":100,"bake":"20s"`, `"weight":100,"bake":"10h"`, 1)).GUID
	g.stepAt(guid, platform.RolloutBaking, 2)
	g.set(func() { g.regrowing = true })
	if v1, v2 := g.weights(); v1 != 0 || v2 != 1000 {
		g.t.Fatalf("weights are %d and %d", v1, v2)
	}
	return guid
}

// stepAt waits until a rollout has a state at a step.
func (g *stage) stepAt(guid string, state platform.RolloutState, step int) {
	g.t.Helper()
	defer g.passing()()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		row := g.row(guid)
		if row.State == state && row.Step == step {
			return
		}
		if row.State.IsOver() || time.Now().After(deadline) {
			g.t.Fatalf("it is %s at step %d (%s), want %s at %d", row.State, row.Step, row.Reason, state, step)
		}
	}
}

// ready sets how many instances of the stable version are ready.
func (g *stage) ready(n int) { g.set(func() { g.find(byLabel("v1")).Ready = n }) }

// settle waits until v1 has a weight.
func (g *stage) settle(weight int) {
	g.t.Helper()
	g.wait(fmt.Sprintf("v1 having weight %d", weight), func() bool { v1, _ := g.weights(); return v1 == weight })
}

// wentBack checks that a rollout has ended with everything as it was.
func (g *stage) wentBack(e *Engine, guid string, state platform.RolloutState) platform.Rollout {
	g.t.Helper()
	row := g.until(guid, platform.RolloutRolledBack, platform.RolloutAborted, platform.RolloutSuperseded, platform.RolloutDone)
	v1, v2 := g.weights()
	if row.State != state || v1 != 100 || v2 != 0 {
		g.t.Errorf("it is %s (%s) with weights %d and %d, want %s", row.State, row.Reason, v1, v2, state)
	}
	g.set(func() {
		if v := g.find(byLabel("v1")); v.Reduced != 0 || v.Wanted != 4 {
			g.t.Errorf("v1 is left with %d instances", v.Wanted)
		}
	})
	if r, err := e.Replay(g.t.Context(), guid); err != nil || !r.Same {
		g.t.Errorf("replay: %v, the same: %v", err, r.Same)
	}
	return row
}

func TestScaleWithWeight_TheStableVersionShrinksAfterEachStep(t *testing.T) {
	g := four(t)
	e, _ := g.engine()
	guid := g.start(e, sized).GUID
	g.stepAt(guid, platform.RolloutWaiting, 2)
	if _, err := e.Promote(t.Context(), platform.System, guid, false, ""); err != nil {
		t.Fatal(err)
	}
	g.until(guid, platform.RolloutDone)
	g.set(func() {
		if want := []int{2, 1}; !slices.Equal(g.sizes, want) {
			t.Errorf("it was reduced to %v, want %v", g.sizes, want)
		}
		if v1, v2 := g.find(byLabel("v1")), g.find(byLabel("v2")); v1.Wanted != 1 || v2.Wanted != 4 {
			t.Errorf("at the end v1 has %d instances and v2 %d", v1.Wanted, v2.Wanted)
		}
	})
	events, err := e.Events(t.Context(), guid)
	if err != nil || !slices.ContainsFunc(events, func(ev platform.RolloutEvent) bool {
		return ev.Text == "v1 runs with 2 of its 4 instances: step 2 is passed"
	}) {
		t.Errorf("the history does not tell: %v, %v", events, err)
	}
}

func TestScaleWithWeight_ARejectionReturnsRequestsAsInstancesGetReady(t *testing.T) {
	g := four(t)
	e, _ := g.engine()
	guid := g.atAll(e)
	g.set(func() { g.rates["v2"] = 0.2 })
	g.settle(500)
	row := g.until(guid, platform.RolloutRollingBack)
	s, err := e.Status(t.Context(), guid)
	if err != nil || !strings.Contains(row.Reason, "errors: v2") || s.StepText() != "50%" || !strings.Contains(s.Why(), "until v1 has its instances again") {
		t.Errorf("%v: it says %q, %q", err, s.StepText(), s.Why())
	}
	g.ready(3)
	g.settle(750)
	g.ready(4)
	row = g.wentBack(e, guid, platform.RolloutRolledBack)
	if !strings.Contains(row.Reason, "errors: v2") {
		t.Errorf("it was taken back for %q", row.Reason)
	}
	s, err = e.Status(t.Context(), guid)
	if err != nil || s.Progress.Ending == nil || s.Progress.Kept == "" || s.Progress.isGoingBack() {
		t.Errorf("%v: it remembers %+v", err, s.Progress)
	}
	if want := []int{100, 500, 1000, 500, 250, 0}; !slices.Equal(g.history, want) {
		t.Errorf("the candidate's weights were %v, want %v", g.history, want)
	}
}

func TestScaleWithWeight_ABadVersionDoesNotKeepRequestsForEver(t *testing.T) {
	g := four(t)
	e, _ := g.engine()
	guid := g.atAll(e)
	g.set(func() { g.rates["v2"] = 0.2 })
	g.settle(500)
	g.until(guid, platform.RolloutRollingBack)
	g.set(func() { g.now = g.now.Add(hasteLimit) })
	g.wentBack(e, guid, platform.RolloutRolledBack)
}

func TestScaleWithWeight_WhatCannotAnswerLosesAllAtOnce(t *testing.T) {
	for name, harm := range map[string]func(*stage){
		"crash loop":             func(g *stage) { g.find(byLabel("v2")).Crashes = 3 },
		"no instance":            func(g *stage) { g.find(byLabel("v2")).Ready = 0 },
		"most of its requests":   func(g *stage) { g.rates["v2"] = 0.9 },
		"the app that was ended": func(g *stage) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := four(t)
			e, _ := g.engine()
			guid := g.atAll(e)
			g.set(func() { harm(g) })
			if name == "the app that was ended" {
				app := g.app
				app.State = platform.AppStopped
				if err := g.store.UpdateApp(t.Context(), app); err != nil {
					t.Fatal(err)
				}
			}
			g.wentBack(e, guid, platform.RolloutRolledBack)
			if want := []int{100, 500, 1000, 0}; !slices.Equal(g.history, want) {
				t.Errorf("the candidate's weights were %v, want %v", g.history, want)
			}
		})
	}
}

func TestScaleWithWeight_AnAbortWaitsForInstancesUnlessItIsToldNotTo(t *testing.T) {
	g := four(t)
	e, _ := g.engine()
	guid := g.atAll(e)
	row, err := e.Abort(t.Context(), platform.System, guid, "changed our minds")
	if err != nil || row.State != platform.RolloutRollingBack {
		t.Fatalf("it is %s: %v", row.State, err)
	}
	if v1, v2 := g.weights(); v1 != 500 || v2 != 500 {
		t.Errorf("weights are %d and %d when the abort has returned", v1, v2)
	}
	if row, err = e.Abort(t.Context(), platform.System, guid, "again"); err != nil || row.State != platform.RolloutRollingBack {
		t.Errorf("aborted again it is %s: %v", row.State, err)
	}
	g.set(func() { g.now = g.now.Add(hasteLimit) }) // nobody says that v2 is bad
	g.looks(3)
	if row := g.row(guid); row.State != platform.RolloutRollingBack {
		t.Errorf("it is %s", row.State)
	}
	if _, err = e.AbortNow(t.Context(), platform.System, guid, ""); err != nil {
		t.Fatal(err)
	}
	if row = g.wentBack(e, guid, platform.RolloutAborted); row.Reason != "changed our minds" {
		t.Errorf("it was aborted for %q", row.Reason)
	}
}

// Another rollout takes its place when the requests are back: it compares its
// candidate with a version that has its instances.
func TestScaleWithWeight_AnotherRolloutBeginsWhenTheRequestsAreBack(t *testing.T) {
	g := four(t)
	e, _ := g.engine()
	first := g.atAll(e)
	plan, err := ParsePlan([]byte(sized))
	if err != nil {
		t.Fatal(err)
	}
	second, err := e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v3", Plan: plan})
	if err != nil || second.State != platform.RolloutQueued {
		t.Fatalf("it is %s: %v", second.State, err)
	}
	g.looks(3)
	if row := g.row(second.GUID); row.State != platform.RolloutQueued {
		t.Errorf("it is %s before the requests are back", row.State)
	}
	g.ready(4)
	if row := g.until(first, platform.RolloutSuperseded); row.Reason != "another rollout was started" {
		t.Errorf("the first ended for %q", row.Reason)
	}
	g.until(second.GUID, platform.RolloutBaking, platform.RolloutWarming)
}

// Killed with a reduced stable version, or while its requests return, a rollout
// ends as it would have.
func TestScaleWithWeight_SurvivesKills(t *testing.T) {
	for name, at := range map[string]func(g *stage, e *Engine) string{
		"reduced": func(g *stage, e *Engine) string { return g.atAll(e) },
		"returning": func(g *stage, e *Engine) string {
			guid := g.atAll(e)
			g.set(func() { g.rates["v2"] = 0.2 })
			g.settle(500)
			g.until(guid, platform.RolloutRollingBack)
			g.looks(5)
			return guid
		},
		"before the first return": func(g *stage, e *Engine) string { return g.meetReturn(e, true) },
		"after the first return":  func(g *stage, e *Engine) string { return g.meetReturn(e, false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := four(t)
			e, stop := g.engine()
			guid := at(g, e)
			met := g.before
			if met == nil {
				met = g.after
			}
			var let func()
			if met != nil {
				let = func() { met <- struct{}{} }
			}
			e, _ = g.kill(stop, let)
			g.set(func() { g.rates["v2"] = 0.2 })
			g.settle(500)
			g.until(guid, platform.RolloutRollingBack)
			g.ready(4)
			g.wentBack(e, guid, platform.RolloutRolledBack)
		})
	}
}

// meetReturn brings a rollout to right before or after the transaction that
// returns the first requests.
func (g *stage) meetReturn(e *Engine, before bool) string {
	guid := g.atAll(e)
	met := make(chan struct{})
	g.set(func() {
		if before {
			g.before = met
		} else {
			g.after = met
		}
		g.rates["v2"] = 0.2
	})
	defer g.passing()()
	<-met
	return guid
}
