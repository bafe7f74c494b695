package release

import (
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
)

// startAgain makes an instance of a version as if it were started anew: it
// serves, and its first requests take longer.
func (g *stage) startAgain(label string) {
	g.set(func() {
		g.find(byLabel(label)).Newest = g.now
		g.cold = map[string]int{label: 100}
	})
	g.looks(5)
}

// baking brings a rollout to a step at 10 % in which everything is known: an
// instance is started again and again without anything being late.
func (g *stage) baking(e *Engine) string {
	g.t.Helper()
	g.set(func() {
		for _, v := range []string{"v1", "v2"} {
			if v := g.find(byLabel(v)); v != nil {
				v.Newest = g.now
			}
		}
	})
	guid := g.start(e, `{"steps":[{"weight":10},{"weight":100}],"bake":"10h","warmup":"0s","warmup-requests":200,"min-requests":0}`).GUID
	g.set(func() { g.find(byLabel("v2")).Newest = g.now })
	g.reach(e, guid, platform.RolloutBaking, 0)
	g.looks(70)
	return guid
}

// An instance that is started again in the middle of a step is cold: what it
// takes at first says nothing about its version.
func TestRollout_AnInstanceThatIsStartedAgainIsNotJudgedWhileItIsCold(t *testing.T) {
	for _, label := range []string{"v1", "v2"} {
		t.Run(label, func(t *testing.T) {
			t.Parallel()
			g := newStage(t)
			e, stop := g.engine()
			guid := g.baking(e)
			g.startAgain(label)
			g.looks(20)
			if row := g.row(guid); row.State != platform.RolloutBaking {
				t.Fatalf("it is %s: %s", row.State, row.Reason)
			}
			e, stop = g.survives(stop, guid, platform.RolloutBaking, 0, false, new(behind)) // and it is known afterwards
			said := 0
			g.set(func() {
				for _, line := range g.lines {
					if strings.Contains(line, "of "+label+" was started again") {
						said++
					}
				}
			})
			if said != 1 {
				t.Errorf("it was said %d times:\n%s", said, strings.Join(g.lines, "\n"))
			}
			if r, err := e.Replay(t.Context(), guid); err != nil || !r.Same {
				t.Errorf("replay: %v, the same: %v", err, r.Same)
			}
			// When it is warm it is judged again.
			g.set(func() { g.slower = map[string]time.Duration{"v2": time.Second} })
			if row := g.until(guid, platform.RolloutRolledBack); !strings.HasPrefix(row.Reason, "latency") {
				t.Errorf("it was rolled back for %s", row.Reason)
			}
			stop()
		})
	}
}

// A version whose instances are started again and again is as slow as they are
// then: it is not left alone for ever.
func TestRollout_AVersionThatIsAlwaysColdIsJudged(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	guid := g.baking(e)
	for range coolsPerStep {
		g.startAgain("v2")
		g.looks(3)
	}
	if row := g.row(guid); row.State != platform.RolloutBaking {
		t.Fatalf("it is %s: %s", row.State, row.Reason)
	}
	g.set(func() { // from now on it is never warm
		g.find(byLabel("v2")).Newest = g.now
		g.slower = map[string]time.Duration{"v2": time.Second}
	})
	if row := g.until(guid, platform.RolloutRolledBack); !strings.HasPrefix(row.Reason, "latency") {
		t.Errorf("it was rolled back for %s", row.Reason)
	}
	if r, err := e.Replay(t.Context(), guid); err != nil || !r.Same {
		t.Errorf("replay: %v, the same: %v", err, r.Same)
	}
}

// How many requests are left out depends on how many the instance gets.
func TestConductor_LeavesOutWhatTheInstanceNeedsToGetWarm(t *testing.T) {
	none := 0
	for _, c := range []struct {
		name     string
		requests *int // of each instance; nil: 50
		which    int
		share    float64
		ready    int
		want     int64
	}{
		{"the candidate's only instance", nil, 1, 0.05, 1, 50},
		{"one of the candidate's four", nil, 1, 0.05, 4, 200},
		{"the stable version's only instance", nil, 0, 0.05, 1, 3},
		{"one of its four, at half of the traffic", nil, 0, 0.5, 4, 200},
		{"nobody asks for it", &none, 1, 0.05, 4, 0},
		{"the candidate gets everything", nil, 0, 1, 4, 0},
		{"the candidate gets nothing", nil, 1, 0, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := Plan{Steps: []Step{{Weight: 100}}, WarmupRequests: c.requests}
			if err := plan.complete(); err != nil {
				t.Fatal(err)
			}
			if got := coldRequests(&plan, c.share, c.which, c.ready); got != c.want {
				t.Errorf("%d requests of the candidate are left out, want %d", got, c.want)
			}
		})
	}
}
