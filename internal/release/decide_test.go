package release

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"weir/internal/judge"
	"weir/internal/platform"
)

var start = time.Date(2026, 11, 18, 12, 0, 0, 0, time.UTC) // a Wednesday

// bakingWorld is a rollout in the middle of its second step, with everything
// it asks for.
func bakingWorld(t *testing.T) *world {
	t.Helper()
	plan, err := ParsePlan([]byte(`{"steps":[{"weight":1},{"weight":10,"min-clients":3},{"weight":50,"gate":"approve"},{"weight":100}],"bake":"5m","min-requests":100}`))
	if err != nil {
		t.Fatal(err)
	}
	r := &platform.Rollout{
		Resource: platform.Resource{CreatedAt: start.Add(-time.Hour), UpdatedAt: start}, State: platform.RolloutBaking, Step: 1,
		FromLabel: "v1", ToLabel: "v2", Since: start.Add(-10 * time.Minute),
	}
	p := &Progress{StepBegan: start.Add(-11 * time.Minute), Baked: 6 * time.Minute, Instances: 2}
	p.Step[1] = Usage{Requests: 150, Clients: 5}
	return &world{
		now: start, r: r, plan: &plan, p: p,
		candidate: &platform.VersionStatus{Wanted: 2, Running: 2, Ready: 2, Health: platform.HealthHealthy},
		verdict:   judge.New(judge.Config{}).Verdict(),
	}
}

func TestDecide_AStepIsPassedWhenEverythingAgrees(t *testing.T) {
	if d := decide(bakingWorld(t)); d.verb != enter || d.state != platform.RolloutWaiting {
		t.Errorf("got %+v, want it to be passed", d)
	}
}

func TestDecide_SaysWhyNothingCanBeSeen(t *testing.T) {
	w := bakingWorld(t)
	w.p.Step[1].Requests, w.app, w.unreached = 0, "jobs", true
	if d := decide(w); d.verb != stay || !strings.HasSuffix(d.reason, "; no route leads to jobs") {
		t.Errorf("got %+v", d)
	}
	w.r.State, w.candidate.Ready, w.candidate.Details = platform.RolloutStarting, 0, "it exited with status 7"
	w.r.Since = w.now
	if d := decide(w); d.verb != stay || d.reason != "0 of 2 instances are ready: it exited with status 7" {
		t.Errorf("got %+v", d)
	}
}

func TestDecide(t *testing.T) {
	for _, tt := range []struct {
		name  string
		alter func(*world)
		want  decision
	}{
		{"too early", func(w *world) { w.p.Baked = time.Minute }, decision{verb: stay}},
		{"too few requests", func(w *world) { w.p.Step[1].Requests = 99 }, decision{verb: stay}},
		{"too few clients", func(w *world) { w.p.Step[1].Clients = 2 }, decision{verb: stay}},
		{"silence for too long", func(w *world) { w.p.Step[1].Requests, w.p.Baked = 0, 3*time.Hour }, decision{verb: pause}},
		{"silence that was excused", func(w *world) { w.p.Step[1].Requests, w.p.Baked, w.p.Silent = 0, 3*time.Hour, 2*time.Hour }, decision{verb: stay}},
		{"silence, by plan", func(w *world) {
			w.p.Step[1].Requests, w.p.Baked, w.plan.OnSilence = 0, 3*time.Hour, "rollback"
		}, decision{verb: rollBack}},
		{"rejected", func(w *world) { w.verdict.Rejected = true }, decision{verb: rollBack}},
		{"rejected, plan pauses", func(w *world) { w.verdict.Rejected, w.plan.OnFail = true, "pause" }, decision{verb: pause}},
		{"rejected, plan reports", func(w *world) { w.verdict.Rejected, w.plan.OnFail = true, "report" }, decision{verb: enter}},
		{"rejected, a person went on", func(w *world) { w.verdict.Rejected, w.p.Overruled = true, true }, decision{verb: enter}},
		{"rejected while paused", func(w *world) {
			w.verdict.Rejected, w.r.State, w.p.Before = true, platform.RolloutPaused, platform.RolloutBaking
		}, decision{verb: rollBack}},
		{"no instance", func(w *world) { w.candidate.Ready = 0 }, decision{verb: rollBack}},
		{"no instance yet after the platform came back", func(w *world) {
			w.candidate.Ready, w.returning, w.since = 0, true, w.now.Add(-time.Minute)
		}, decision{verb: stay}},
		{"no instance long after it", func(w *world) {
			w.candidate.Ready, w.returning, w.since = 0, true, w.now.Add(-5*time.Minute)
		}, decision{verb: rollBack}},
		{"no instance after it, and a crash", func(w *world) {
			w.candidate.Ready, w.candidate.Crashes, w.returning, w.since = 0, 1, true, w.now.Add(-time.Minute)
		}, decision{verb: rollBack}},
		{"crash loop", func(w *world) { w.candidate.Crashes = 3 }, decision{verb: rollBack}},
		{"out of memory", func(w *world) { w.candidate.LastExit = &platform.Exit{OOM: true, At: start} }, decision{verb: rollBack}},
		{"out of memory, long ago", func(w *world) { w.candidate.LastExit = &platform.Exit{OOM: true, At: start.Add(-2 * time.Hour)} }, decision{verb: enter}},
		{"app stopped", func(w *world) { w.stopped, w.candidate.Ready = true, 0 }, decision{verb: rollBack}},
		{"app stopped while paused", func(w *world) {
			w.stopped, w.r.State, w.p.Before = true, platform.RolloutPaused, platform.RolloutBaking
		}, decision{verb: rollBack}},
		{"taken away", func(w *world) { w.candidate = nil }, decision{verb: rollBack}},
		{"probes fail", func(w *world) { w.p.ProbeFailed = 3 }, decision{verb: rollBack}},
		{"not probed yet", func(w *world) { w.plan.Steps[1].Probe = "/health" }, decision{verb: stay}},
		{"the last probe failed", func(w *world) { w.plan.Steps[1].Probe, w.p.Probed, w.p.ProbeFailed = "/health", 7, 1 }, decision{verb: stay}},
		{"probed", func(w *world) { w.plan.Steps[1].Probe, w.p.Probed = "/health", 1 }, decision{verb: enter}},
		{"not probed, the rest left out", func(w *world) { w.plan.Steps[1].Probe, w.p.Skip = "/health", true }, decision{verb: enter}},
		{"somebody moved the traffic", func(w *world) { w.moved = "somebody" }, decision{verb: pause}},
		{"killed soon after the step began", func(w *world) { w.killed, w.r.UpdatedAt = true, w.p.StepBegan.Add(20*time.Second) }, decision{verb: pause}},
		{"killed later", func(w *world) { w.killed = true }, decision{verb: enter}},
		{"gate", func(w *world) { w.r.State, w.r.Step = platform.RolloutWaiting, 2 }, decision{verb: stay}},
		{"gate opened", func(w *world) { w.r.State, w.r.Step, w.p.GateOpen = platform.RolloutWaiting, 2, true }, decision{verb: promote}},
		{"gate said no", func(w *world) { w.r.State, w.p.GateClosed = platform.RolloutWaiting, true }, decision{verb: rollBack}},
		{"gate says wait", func(w *world) { silentGate(w, 0) }, decision{verb: stay}},
		{"gate says nothing", func(w *world) { silentGate(w, 9*time.Minute) }, decision{verb: stay}},
		{"gate says nothing for too long", func(w *world) { silentGate(w, 10*time.Minute) }, decision{verb: pause}},
		{"gate says nothing, by plan", func(w *world) {
			silentGate(w, 10*time.Minute)
			w.plan.GateTimeout.Duration = time.Hour
		}, decision{verb: stay}},
		{"gate said nothing before a pause", func(w *world) {
			silentGate(w, time.Hour)
			w.r.Since = w.now.Add(-time.Minute)
		}, decision{verb: stay}},
		{"nobody asked the gate", func(w *world) {
			silentGate(w, time.Hour)
			w.since = w.now.Add(-time.Minute)
		}, decision{verb: stay}},
		{"next step", func(w *world) { w.r.State = platform.RolloutWaiting }, decision{verb: shift, step: 2}},
		{"frozen", func(w *world) { w.r.State, w.frozen = platform.RolloutWaiting, "Friday" }, decision{verb: stay}},
		{"frozen, rejected", func(w *world) { w.verdict.Rejected, w.frozen = true, "Friday" }, decision{verb: rollBack}},
		{"capacity first", func(w *world) { w.r.State, w.p.Instances = platform.RolloutWaiting, 4 }, decision{verb: scale, step: 2}},
		{"the rest left out", func(w *world) { w.r.State, w.p.Full = platform.RolloutWaiting, true }, decision{verb: promote}},
		{"not ready yet", func(w *world) {
			w.r.State, w.p.StepBegan, w.candidate.Ready, w.r.Since = platform.RolloutStarting, time.Time{}, 1, start
		}, decision{verb: stay}},
		{"never ready", func(w *world) {
			w.r.State, w.p.StepBegan, w.candidate.Ready = platform.RolloutStarting, time.Time{}, 1
		}, decision{verb: rollBack}},
		{"over", func(w *world) { w.r.State, w.verdict.Rejected = platform.RolloutDone, true }, decision{verb: stay}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := bakingWorld(t)
			tt.alter(w)
			got := decide(w)
			if got.verb != tt.want.verb || tt.want.verb == shift && got.step != tt.want.step {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
			if got.verb != stay && got.reason == "" && !w.r.State.IsOver() {
				t.Errorf("%+v does not say why", got)
			}
		})
	}
}

// silentGate has a step wait for a gate that has given no answer for a while.
func silentGate(w *world, d time.Duration) {
	w.r.State, w.plan.Steps[w.r.Step].Gate = platform.RolloutWaiting, "http://gate.test/"
	w.p.GateText = "no answer within 10s"
	if d > 0 {
		w.p.GateSilent = w.now.Add(-d)
	}
}

func TestDecide_SaysHowLongAGateHasGivenNoAnswer(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0:                              "waits for the gate http://gate.test/: no answer within 10s",
		5 * time.Second:                "waits for the gate http://gate.test/: no answer within 10s",
		3*time.Minute + 14*time.Second: "the gate http://gate.test/ has given no answer for 3m10s, and is asked again: no answer within 10s",
		time.Hour:                      "the gate http://gate.test/ has given no answer for 10m0s: no answer within 10s",
	} {
		w := bakingWorld(t)
		silentGate(w, d)
		if got := decide(w).reason; got != want {
			t.Errorf("after %s it says %q, want %q", d, got, want)
		}
	}
}

// With all requests at the candidate there is nobody to compare with; that it
// fails far more than the other one did is seen all the same.
func TestDecide_CollapseWithAllOfTheTraffic(t *testing.T) {
	for _, tt := range []struct {
		name        string
		stable      Usage
		bad, all    uint64
		wantBack    bool
		alterWeight bool
	}{
		{"all failing, little known", Usage{}, 12, 12, true, false},
		{"all failing, known", Usage{Requests: 1000, Bad: 10}, 3, 3, true, false},
		{"a third failing", Usage{Requests: 1000, Bad: 10}, 10, 30, true, false},
		{"as before", Usage{Requests: 1000, Bad: 10}, 20, 2000, false, false},
		{"twice as many, an incident perhaps", Usage{Requests: 1000, Bad: 50}, 200, 2000, false, false},
		{"others are there: the judge's business", Usage{Requests: 1000, Bad: 10}, 10, 30, false, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := bakingWorld(t)
			w.r.Step = 3
			if tt.alterWeight {
				w.r.Step = 2
			}
			w.p.All[0], w.p.Step[1] = tt.stable, Usage{Requests: tt.all, Bad: tt.bad, Clients: 5}
			if d := decide(w); (d.verb == rollBack) != tt.wantBack {
				t.Errorf("got %+v", d)
			}
		})
	}
}

// Whatever the world looks like, a rollout never goes on blindly.
func TestDecide_NeverGivesMoreTrafficWithoutEveryCondition(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	states := []platform.RolloutState{
		platform.RolloutStarting, platform.RolloutProbing, platform.RolloutScaling, platform.RolloutWarming,
		platform.RolloutBaking, platform.RolloutWaiting, platform.RolloutPaused, platform.RolloutFinishing, platform.RolloutRollingBack,
	}
	coin := func(p float64) bool { return rnd.Float64() < p }
	for range 40_000 {
		w := bakingWorld(t)
		w.r.State, w.r.Step = states[rnd.IntN(len(states))], rnd.IntN(4)
		w.p.Before = states[rnd.IntN(6)]
		w.p.Baked = time.Duration(rnd.IntN(200)) * time.Minute
		w.p.Step[1] = Usage{Requests: uint64(rnd.IntN(200)), Clients: uint64(rnd.IntN(6))}
		w.candidate.Ready, w.candidate.Crashes = rnd.IntN(3), rnd.IntN(5)
		w.verdict.Rejected, w.killed = coin(0.2), coin(0.1)
		w.p.Skip, w.p.Full, w.p.GateOpen, w.p.Overruled = coin(0.1), coin(0.1), coin(0.3), coin(0.2)
		if coin(0.2) {
			w.frozen = "a freeze"
		}
		if coin(0.1) {
			w.moved = "somebody else"
		}
		if coin(0.2) {
			w.p.StepBegan = time.Time{}
		}
		d := decide(w)
		passed := d.verb == enter && d.state == platform.RolloutWaiting
		if d.verb != shift && d.verb != promote && !passed {
			continue
		}
		switch {
		case w.r.State == platform.RolloutPaused:
			t.Fatalf("a paused rollout went on: %+v", d)
		case w.verdict.Rejected && !w.p.Overruled:
			t.Fatalf("a rejected candidate went on: %+v", d)
		case w.candidate.Crashes >= crashLoop || w.candidate.Ready == 0:
			t.Fatalf("a candidate went on with %d ready and %d crashes: %+v", w.candidate.Ready, w.candidate.Crashes, d)
		case passed && !w.p.Skip && !w.p.Full && (w.p.Baked < w.plan.bake(w.r.Step) || len(w.p.missing(w.plan, w.r.Step)) > 0):
			t.Fatalf("a step was passed without its time or its usage: %+v", d)
		case !passed && w.frozen != "" && w.r.State != platform.RolloutScaling:
			t.Fatalf("a freeze was ignored: %+v", d)
		case d.verb == shift && w.r.State == platform.RolloutWaiting && d.step != w.r.Step+1:
			t.Fatalf("step %d was followed by %d", w.r.Step, d.step)
		case d.verb == promote && !w.p.Full && w.r.Step < 2:
			t.Fatalf("promoted after step %d", w.r.Step)
		case w.moved != "":
			t.Fatalf("went on although somebody else moved the traffic: %+v", d)
		}
	}
}

func TestWindow_Contains(t *testing.T) {
	for _, tt := range []struct {
		window, at string
		want       bool
	}{
		{"Fri 16:00-Mon 08:00 Europe/Berlin", "2026-11-20T15:30:00Z", true}, // Friday 16:30 there
		{"Fri 16:00-Mon 08:00 Europe/Berlin", "2026-11-20T14:30:00Z", false},
		{"Fri 16:00-Mon 08:00 Europe/Berlin", "2026-11-22T12:00:00Z", true},
		{"Fri 16:00-Mon 08:00 Europe/Berlin", "2026-11-23T06:59:00Z", true},
		{"Fri 16:00-Mon 08:00 Europe/Berlin", "2026-11-23T07:00:00Z", false},
		{"22:00-06:00", "2026-11-18T23:00:00Z", true},
		{"22:00-06:00", "2026-11-18T05:59:00Z", true},
		{"22:00-06:00", "2026-11-18T12:00:00Z", false},
		{"Tue 09:00-Tue 10:00", "2026-11-17T09:30:00Z", true},
		{"Tue 09:00-Tue 10:00", "2026-11-18T09:30:00Z", false},
	} {
		w, err := ParseWindow(tt.window)
		if err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, tt.at)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Contains(at); got != tt.want {
			t.Errorf("%s at %s: %v, want %v", tt.window, tt.at, got, tt.want)
		}
	}
	for _, bad := range []string{"", "Fri", "Fri 16:00", "Foo 16:00-Mon 08:00", "Fri 16:00-08:00", "Fri 25:00-Mon 08:00", "Fri 16:00-Mon 08:00 Nowhere/City", "Sat 00:00-Sat 00:00", "00:00-00:00"} {
		if _, err := ParseWindow(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestStatus_IsJudgedWhileBothVersionsGetRequestsByLot(t *testing.T) {
	plan, err := ParsePlan([]byte(`{"steps":[{"shadow":20},{"ring":"team"},{"ring":"team","weight":10},{"weight":50},{"weight":100,"bake":"1m"}],"rings":{"team":[{"header":"X-Team"}]}}`))
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range []bool{false, false, true, true, false} {
		s := Status{Row: platform.Rollout{Step: step}, Plan: plan}
		if s.IsJudged() != want {
			t.Errorf("step %d (%s) is judged: %t", step+1, s.StepText(), !want)
		}
	}
}

func TestParsePlan_PresetsAndDefaults(t *testing.T) {
	for preset := range Presets {
		text := `{"preset":"` + preset + `","rings":{"ring0":[{"header":"X-Ring","exact":"0"}]}}`
		p, err := ParsePlan([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", preset, err)
			continue
		}
		if last := p.Steps[len(p.Steps)-1]; last.Weight != 100 {
			t.Errorf("%s ends at %s", preset, last.Weight)
		}
		again, err := ParsePlan([]byte(planText(&p)))
		if err != nil || planText(&again) != planText(&p) {
			t.Errorf("%s does not read back as it was written: %v\n%s\n%s", preset, err, planText(&p), planText(&again))
		}
	}
	for preset, step := range map[string]int{"blue-green": 0, "canary": 1, "canary-10-5m": 0, "linear": 3, "linear-10-1m": 3, "shadow": 0} {
		p, err := ParsePlan([]byte(`{"preset":"` + preset + `","bake":"20s"}`))
		if err != nil || p.bake(step) != 20*time.Second {
			t.Errorf("%s bakes step %d for %s, want the 20s that were asked for (%v)", preset, step, p.bake(step), err)
		}
	}
	p, err := ParsePlan([]byte(`{"preset":"rings","rings":{"a-nobody":[],"b-staff":[{"header":"X-Staff"}]}}`))
	if err != nil || len(p.Steps) != 3 || p.Steps[0].Shadow != 100 || p.Steps[0].Ring != "a-nobody" || p.Steps[1].Shadow != 0 {
		t.Errorf("a ring without members: %v %s", err, planText(&p))
	}
	p, err = ParsePlan([]byte(`{"rings":{"staff":[{"cidr":"192.0.2.1"},{"header":"Host","exact":"beta.example.com"}]}}`))
	if err != nil || p.Preset != "rings" || p.Steps[0].Ring != "staff" {
		t.Errorf("rings and nothing else: %v %s", err, planText(&p))
	}
	p, err = ParsePlan([]byte(`{"steps":[{"weight":"0.5%","bake":90},{"weight":20,"min-requests":"auto","min-endpoints":"80%"}],"keep-old":"2d"}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Steps[0].Weight != 0.5 || p.Steps[0].Bake.Duration != 90*time.Second || len(p.Steps) != 3 || *p.Steps[1].MinEndpoints != 80 || p.KeepOld.Duration != 48*time.Hour {
		t.Errorf("got %s", planText(&p))
	}
	if s, c := p.weights(0); s != 995 || c != 5 {
		t.Errorf("0.5%% is %d to %d", s, c)
	}
}

// Those who write a manifest need not know in what weir is written.
func TestParsePlan_SaysInItsOwnWordsWhatCannotBeRead(t *testing.T) {
	for bad, want := range map[string]string{
		`{"bake":"soon"}`:               `the rollout plan cannot be read: "soon" is no time: write 90s, 5m or 2h`,
		`{"keep-old":"3 days"}`:         `the rollout plan cannot be read: "3 days" is no time: write 90s, 5m or 2h`,
		`{"steps":[{"weight":"half"}]}`: `the rollout plan cannot be read: "half" is no percentage: write 5 or 5%`,
		`{"min-requests":"many"}`:       `the rollout plan cannot be read: "many" is neither a number nor auto`,

		`{"stepz":[]}`:                        `the rollout plan cannot be read: there is no key "stepz"`,
		`{"steps":"10,50"}`:                   `the rollout plan cannot be read: steps: a list of steps such as [{weight: 10, bake: 5m}] is wanted, not a text`,
		`{"steps":[10,50]}`:                   `the rollout plan cannot be read: steps: a step such as {weight: 10, bake: 5m} is wanted, not a number`,
		`{"preset":["canary"]}`:               `the rollout plan cannot be read: preset: a text is wanted, not a list`,
		`{"rings":{"a":{"header":"X"}}}`:      `the rollout plan cannot be read: rings: a list of conditions such as [{header: X-Team, exact: "yes"}] is wanted, not a block of keys`,
		`{"rings":["a"]}`:                     `the rollout plan cannot be read: rings: a block of rings such as {team: [{header: X-Team, exact: "yes"}]} is wanted, not a list`,
		`{"freeze":"Fri 16:00-Mon 08:00"}`:    `the rollout plan cannot be read: freeze: a list of texts is wanted, not a text`,
		`{"count-probes":"maybe"}`:            `the rollout plan cannot be read: count-probes: true or false is wanted, not a text`,
		`{"min-clients":1.5}`:                 `the rollout plan cannot be read: min-clients: a whole number is wanted, not a number`,
		`{"judge":{"error":{"alpha":"low"}}}`: `the rollout plan cannot be read: judge.error.alpha: a number is wanted, not a text`,
		`{"judge":{"error":5}}`:               `the rollout plan cannot be read: judge.error: a block of keys is wanted, not a number`,
		`{"min-endpoints":180}`:               `step 1: min-endpoints is between 0 and 100 percent (got 180%)`,
		`{"preset":"rings"}`:                  `the preset rings needs rings, or everybody would be the first`,
		`{"rings":{"a":[{"header":"X Y"}]}}`:  `ring a: a match of "X Y", which is no name of a header or cookie`,
		`{"rings":{"a":[{"header":"host","exact":"Beta.test:8080"}]}}`: `ring a: a match of Host sees names in lower case and without port, so never "Beta.test:8080"`,
	} {
		if _, err := ParsePlan([]byte(bad)); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", bad, err, want)
		}
	}
}

// A rollout that was begun with a plan that is refused now is still shown and
// taken back.
func TestReadPlan_ReadsWhatWasAcceptedOnce(t *testing.T) {
	for _, old := range []string{`{"judge":{"error":{"alpha":2}}}`, `{"since":"yesterday"}`} {
		if p, err := readPlan(old); err != nil || len(p.Steps) == 0 || p.Warmup == nil {
			t.Errorf("%s: %+v, %v", old, p, err)
		}
	}
}

func TestParsePlan_RefusesNonsense(t *testing.T) {
	for _, bad := range []string{
		`{`, `{"prest":"canary"}`, `{"preset":"foo"}`, `{"steps":[{}]}`, `{"steps":[{"weight":120}]}`, `{"steps":[{"weight":50},{"weight":10}]}`,
		`{"steps":[{"ring":"nobody"}]}`, `{"on-fail":"cry"}`, `{"freeze":["sometimes"]}`, `{"probes":["health"]}`, `{"hooks":{"before-lunch":"http://x"}}`,
		`{"rings":{"a":[{}]}}`, `{"rings":{"a":[{"header":"X","cookie":"y"}]}}`, `{"rings":{"a":[{"cidr":"10.0.0.0/99"}]}}`,
		`{"rings":{"a":[{"header":"X","regex":"("}]}}`, `{"steps":[{"shadow":10,"weight":5}]}`, `{"rings":{"a":[{"header":"X"}]},"steps":[{"shadow":10,"ring":"a"}]}`,
		`{"hooks":{"on-done":"rm -rf /"}}`, `{"steps":[{"weight":5,"gate":"maybe"}]}`, `{"bake":"-5m"}`, `{"steps":[{"weight":5,"min-clients":-1}]}`,
		`{"bake":-5}`, `{"steps":[{"weight":"NaN"}]}`, `{"judge":{"error":{"alpha":2}}}`, `{"judge":{"latency":{"alpha":-0.1}}}`,
		`{"judge":{"error":{"tolerate":"-5%"}}}`, `{"judge":{"detect":0.5}}`, `{"judge":{"count-4xx":[500]}}`, `{"judge":{"exclude-paths":["health"]}}`, `{"judge":{"exclude-paths":["/"]}}`, `{"warmup-requests":-4}`,
		`{"rings":{"a":[` + strings.Repeat(`{"header":"A"},`, 8) + `{"header":"A"}],"b":[` + strings.Repeat(`{"header":"A"},`, 7) + `{"header":"A"}]}}`,
	} {
		if _, err := ParsePlan([]byte(bad)); err == nil {
			t.Errorf("%s was accepted", bad)
		} else if platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("%s: %v is no answer for a person", bad, err)
		}
	}
}
