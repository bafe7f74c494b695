package release

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

const quick = `{"steps":[{"weight":10},{"weight":50},{"weight":100}],"bake":"20s","warmup":"2s","min-requests":100,"keep-old":"30s"}`

func TestRollout_AGoodCandidateGetsEverythingInSteps(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.until(g.start(e, quick).GUID, platform.RolloutDone, platform.RolloutRolledBack, platform.RolloutPaused)
	if row.State != platform.RolloutDone {
		t.Fatalf("it is %s: %s", row.State, row.Reason)
	}
	if v1, v2 := g.weights(); v1 != 0 || v2 != 100 {
		t.Errorf("weights are %d and %d", v1, v2)
	}
	if want := []int{100, 500}; !slices.Equal(g.history, want) {
		t.Errorf("its weights were %v, want %v", g.history, want)
	}
	events, err := e.Events(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	table := uint64(0)
	for _, ev := range events {
		if ev.Table < table || ev.Text == "" {
			t.Errorf("event %+v after table %d", ev, table)
		}
		table = ev.Table
	}
	g.set(func() { g.now = g.now.Add(time.Minute) })
	g.wait("the end of the old version", func() bool { v1, _ := g.weights(); return v1 < 0 }) // it is kept for 30 s
}

func TestRollout_ABadCandidateIsTakenBackAndTheRecordSaysWhy(t *testing.T) {
	g := newStage(t)
	g.rates["v2"] = 0.2
	e, _ := g.engine()
	row := g.until(g.start(e, quick).GUID, platform.RolloutDone, platform.RolloutRolledBack)
	if v1, v2 := g.weights(); row.State != platform.RolloutRolledBack || v1 != 100 || v2 != 0 {
		t.Fatalf("it is %s with weights %d and %d", row.State, v1, v2)
	}
	s, err := e.Status(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"errors: v2", "v1", "evidence", "at most 1 of 200 rollouts"} {
		if !strings.Contains(s.Why(), want) {
			t.Errorf("%q does not say %q", s.Why(), want)
		}
	}
	if len(s.Progress.FirstBad) == 0 || s.Progress.FirstBad[0].RequestID == "" {
		t.Error("it does not know the first failed requests")
	}
	r, err := e.Replay(t.Context(), row.GUID)
	if err != nil || !r.Same || !r.Verdict.Rejected || len(r.Curve) == 0 {
		t.Errorf("replay: %+v, %v", r, err)
	}
}

// A stopped app has no instance that is ready; that is not the candidate's doing.
func TestRollout_EndsWhenTheAppIsStopped(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	app := g.app
	app.State = platform.AppStopped
	if err := g.store.UpdateApp(t.Context(), app); err != nil {
		t.Fatal(err)
	}
	if row = g.until(row.GUID, platform.RolloutRolledBack); row.Reason != "the app was stopped" {
		t.Errorf("it says %q", row.Reason)
	}
}

func TestRollout_SilencePausesAndSaysWhatIsMissing(t *testing.T) {
	g := newStage(t)
	g.perLook = 0
	e, _ := g.engine()
	plan := strings.Replace(quick, `"bake":"20s"`, `"bake":"20s","max-bake":"60s","min-clients":3`, 1)
	row := g.until(g.start(e, plan).GUID, platform.RolloutPaused, platform.RolloutDone)
	for _, want := range []string{"0 of 100 requests", "0 of 3 clients"} {
		if !strings.Contains(row.Reason, want) {
			t.Errorf("%q does not say %q", row.Reason, want)
		}
	}
	g.set(func() { g.perLook = 1000 })
	if _, err := e.Resume(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
}

func TestRollout_AStoppedPlatformGoesOnWhereItWas(t *testing.T) {
	g := newStage(t)
	e, stop := g.engine()
	row := g.start(e, quick)
	for _, state := range []platform.RolloutState{platform.RolloutWarming, platform.RolloutBaking, platform.RolloutBaking} {
		g.until(row.GUID, state, platform.RolloutDone)
		stop()
		e, stop = g.engine()
	}
	row = g.until(row.GUID, platform.RolloutDone)
	if want := []int{100, 500}; !slices.Equal(g.history, want) {
		t.Errorf("its weights were %v, want %v", g.history, want)
	}
	if r, err := e.Replay(t.Context(), row.GUID); err != nil || !r.Same {
		t.Errorf("replay: %+v, %v", r, err)
	}
}

func TestRollout_AKilledPlatformPausesAYoungStep(t *testing.T) {
	g := newStage(t)
	e, stop := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	row = g.until(row.GUID, platform.RolloutBaking)
	stop()
	row, err := g.store.Rollout(t.Context(), row.GUID)
	if err != nil {
		t.Fatal(err)
	}
	row.Progress = strings.Replace(row.Progress, `"clean":true`, `"clean":false`, 1)
	p, err := readProgress(row.Progress)
	if err != nil || p.Clean {
		t.Fatalf("%v %v", p.Clean, err)
	}
	row.UpdatedAt = p.StepBegan.Add(killGrace / 3)
	if err := g.store.UpdateRollout(t.Context(), row); err != nil {
		t.Fatal(err)
	}
	e, _ = g.engine()
	row = g.until(row.GUID, platform.RolloutPaused)
	if !strings.Contains(row.Reason, "killed") {
		t.Errorf("paused for %q", row.Reason)
	}
	if _, err := e.Abort(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutAborted)
	if v1, v2 := g.weights(); v1 != 100 || v2 != 0 {
		t.Errorf("weights are %d and %d", v1, v2)
	}
}

func TestRollout_HardGuardsNeedNoStatistics(t *testing.T) {
	for name, harm := range map[string]func(*stage, *platform.VersionStatus){
		"no instance": func(_ *stage, v *platform.VersionStatus) { v.Ready = 0 },
		"crash loop":  func(_ *stage, v *platform.VersionStatus) { v.Crashes = 3 },
		"memory": func(g *stage, v *platform.VersionStatus) {
			v.LastExit = &platform.Exit{OOM: true, At: g.now, Reason: "out of memory (limit 64M)"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := newStage(t)
			e, _ := g.engine()
			row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
			g.until(row.GUID, platform.RolloutBaking)
			g.set(func() { harm(g, g.find(byLabel("v2"))) })
			g.until(row.GUID, platform.RolloutRolledBack)
			if v1, v2 := g.weights(); v1 != 100 || v2 != 0 {
				t.Errorf("weights are %d and %d", v1, v2)
			}
		})
	}
}

func TestRollout_CommandsOfPeople(t *testing.T) {
	g := newStage(t)
	ctx := t.Context()
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	must := func(got platform.Rollout, err error) platform.Rollout {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := must(e.Pause(ctx, platform.System, row.GUID, "lunch")); got.State != platform.RolloutPaused || got.Reason != "lunch" {
		t.Errorf("paused: %s, %s", got.State, got.Reason)
	}
	must(e.Resume(ctx, platform.System, row.GUID, ""))
	if _, err := e.PromoteFrom(ctx, platform.System, row.GUID, 2, false, ""); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("a word about another step was heard: %v", err)
	}
	must(e.PromoteFrom(ctx, platform.System, row.GUID, 1, false, ""))
	g.wait("the next step", func() bool { _, v2 := g.weights(); return v2 == 500 })
	must(e.Promote(ctx, platform.System, row.GUID, true, ""))
	g.until(row.GUID, platform.RolloutDone)
	if _, err := e.Promote(ctx, platform.System, row.GUID, true, ""); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("promoting what is over: %v", err)
	}
	if got := must(e.Abort(ctx, platform.System, row.GUID, "")); got.State != platform.RolloutDone {
		t.Errorf("aborting what is over made it %s", got.State)
	}
}

func TestRollout_PausesWhenSomebodyElseMovesTheTraffic(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	g.set(func() { g.find(byLabel("v2")).Weight, g.split = 700, g.split+1 }) // any hand makes a new split
	if row = g.until(row.GUID, platform.RolloutPaused); !strings.Contains(row.Reason, "v2 700") {
		t.Errorf("paused for %q", row.Reason)
	}
	if _, err := e.Resume(t.Context(), platform.System, row.GUID, ""); platform.KindOf(err) != platform.KindConflict {
		t.Errorf("resumed over somebody's hand: %v", err)
	}
}

// Somebody made the candidate the main version by hand: an abort that took its
// requests would leave none with anybody.
func TestRollout_AbortLeavesTheMainVersionItsRequests(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	g.set(func() {
		old, v := g.find(byLabel("v1")), g.find(byLabel("v2"))
		old.Main, old.Weight, v.Main, v.Weight, g.main, g.split = false, 0, true, 700, v.GUID, g.split+1
	})
	g.until(row.GUID, platform.RolloutPaused)
	if _, err := e.Abort(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	if row = g.until(row.GUID, platform.RolloutAborted); !strings.Contains(row.Reason, "stay where somebody sent them") {
		t.Errorf("it ended with %q", row.Reason)
	}
	if v1, v2 := g.weights(); v1 != 0 || v2 != 700 {
		t.Errorf("the weights are %d and %d", v1, v2)
	}
}

func TestRollout_ASecondPush(t *testing.T) {
	for concurrency, want := range map[string]platform.RolloutState{
		"supersede": platform.RolloutSuperseded, "queue": platform.RolloutBaking, "refuse": platform.RolloutBaking,
	} {
		t.Run(concurrency, func(t *testing.T) {
			g := newStage(t)
			e, _ := g.engine()
			long := strings.Replace(quick, "20s", "10h", 1)
			first := g.start(e, long)
			g.until(first.GUID, platform.RolloutBaking)
			plan, err := ParsePlan([]byte(strings.Replace(long, "{", `{"concurrency":"`+concurrency+`",`, 1)))
			if err != nil {
				t.Fatal(err)
			}
			g.set(func() { g.rates["v3"] = 0.01 })
			second, err := e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v3", Plan: plan})
			if concurrency == "refuse" {
				if platform.KindOf(err) != platform.KindConflict {
					t.Errorf("it was not refused: %v", err)
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if concurrency == "supersede" {
				g.until(first.GUID, platform.RolloutSuperseded)
				g.until(second.GUID, platform.RolloutBaking)
				return
			}
			if row := g.until(first.GUID, want); row.State != want {
				t.Errorf("the first one is %s", row.State)
			}
			if concurrency == "queue" {
				if second.State != platform.RolloutQueued {
					t.Errorf("the second one is %s", second.State)
				}
				if _, err := e.Abort(t.Context(), platform.System, first.GUID, ""); err != nil {
					t.Fatal(err)
				}
				g.until(second.GUID, platform.RolloutBaking)
			}
		})
	}
}

func TestRollout_FreezeRefusesAStartAndHotfixPasses(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	f, err := e.AddFreeze(t.Context(), platform.System, "", "00:00-23:59", "audit week")
	if err != nil {
		t.Fatal(err)
	}
	plan, err := ParsePlan([]byte(quick))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v2", Plan: plan})
	if err == nil || !strings.Contains(err.Error(), "audit week") {
		t.Fatalf("started in a freeze: %v", err)
	}
	plan.Hotfix = "fire"
	row, err := e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v2", Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
	if events, err := e.Events(t.Context(), row.GUID); err != nil || events[0].Text != "starting 2 instances of v2, as a hotfix: fire" {
		t.Errorf("its history begins with %+v (%v)", events[:1], err)
	}
	if err := e.RemoveFreeze(t.Context(), f.GUID); err != nil {
		t.Fatal(err)
	}
}

func TestRollout_AProbeThatFailsKeepsUsersAway(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "{", `{"probes":["/health"],`, 1)) // nothing answers on the stage
	for range 3 {
		g.set(func() { g.now = g.now.Add(5 * time.Second) })
	}
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Millisecond):
				g.set(func() { g.now = g.now.Add(time.Second) })
			}
		}
	}()
	row = g.until(row.GUID, platform.RolloutRolledBack)
	if _, v2 := g.weights(); v2 != 0 || len(g.history) != 0 || !strings.Contains(row.Reason, "probes") {
		t.Errorf("weight %d, history %v, reason %q", v2, g.history, row.Reason)
	}
}

func TestRollout_GoesWithItsApp(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(row.GUID, platform.RolloutBaking)
	if err := g.store.Tx(t.Context(), func(tx *store.Tx) error { return tx.DeleteRollout(t.Context(), row.GUID) }); err != nil {
		t.Fatal(err)
	}
	g.wait("its conductor noticing", func() bool {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.conductors) == 0
	})
}

func TestRollout_RingsAndShadowComeBeforeUsers(t *testing.T) {
	g := newStage(t)
	g.set(func() { g.compared = 100 })
	e, _ := g.engine()
	row := g.start(e, `{"rings":{"friends":[{"header":"X-Ring","exact":"1"}]},"steps":[{"shadow":20},{"ring":"friends","gate":"approve"},{"weight":10},{"weight":100}],"bake":"5s","warmup":"0s","min-requests":0}`)
	row = g.until(row.GUID, platform.RolloutWaiting)
	for row.Step != 1 {
		row = g.until(row.GUID, platform.RolloutWaiting)
	}
	g.set(func() {
		v := g.find(byLabel("v2"))
		if len(v.Match) != 1 || v.Match[0].Header != "X-Ring" || v.Weight != 0 || v.Mode != platform.ModeLive {
			t.Errorf("in its ring the candidate is %+v", v.Version)
		}
		if want := []string{platform.ModeShadow, platform.ModeLive}; !slices.Equal(g.modes, want) {
			t.Errorf("its modes were %v, want %v", g.modes, want)
		}
	})
	if _, err := e.Promote(t.Context(), platform.System, row.GUID, false, ""); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
}

// A shadow whose answers differ harms nobody and is no accident either: a
// person looks, and says how it goes on.
func TestRollout_AShadowThatDiffersWaitsForAPerson(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, `{"steps":[{"shadow":20,"min-compared":50},{"weight":10},{"weight":100}],"bake":"5s","warmup":"0s","min-requests":0,"max-bake":"30s"}`)
	if row = g.until(row.GUID, platform.RolloutPaused); !strings.Contains(row.Reason, "0 of 50 compared answers") {
		t.Errorf("it is paused for %q", row.Reason)
	}
	// What is found while it is paused for something else, nobody was told.
	g.set(func() { g.compared, g.differs = 60, []string{"GET /prices/{id} $.gross"} })
	g.await(row.GUID, func(p Progress) bool { return len(p.Different) > 0 })
	if _, err := e.Resume(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	for !strings.Contains(row.Reason, "GET /prices/{id} $.gross") {
		row = g.until(row.GUID, platform.RolloutPaused)
	}
	if _, v2 := g.weights(); v2 != 0 {
		t.Errorf("it has weight %d", v2)
	}
	if _, err := e.Promote(t.Context(), platform.System, row.GUID, false, "it is meant to"); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
}

// A platform that is stopped while it starts has not failed.
func TestEngine_EndsWellWhenItIsStoppedAtItsStart(t *testing.T) {
	g := newStage(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Config{Store: g.store, Versions: g, Evidence: g, Now: g.clock}).Run(ctx); err != nil {
		t.Error(err)
	}
}
