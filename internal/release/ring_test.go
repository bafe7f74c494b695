package release

import (
	"strings"
	"testing"

	"weir/internal/platform"
)

const ringed = `{"rings":{"team":[{"header":"X-Team","exact":"yes"}]},"steps":[{"ring":"team"},{"weight":100}],"bake":"20s","warmup":"0s","max-bake":"60s"}`

// Those in a ring are chosen: what they see cannot be compared, but a version
// that fails most of it goes no further.
func TestRing_WhoseRequestsFailTakesTheVersionBack(t *testing.T) {
	g := newStage(t)
	g.inRing, g.rates["v2"] = 2, 0.9
	e, _ := g.engine()
	row := g.start(e, ringed)
	row = g.until(row.GUID, platform.RolloutRolledBack, platform.RolloutDone)
	if !strings.HasPrefix(row.Reason, "errors: v2 failed ") || !strings.Contains(row.Reason, " of ring team; v1 failed ") {
		t.Errorf("it is %s: %s", row.State, row.Reason)
	}
	s, err := e.Status(t.Context(), row.GUID)
	if err != nil || !strings.Contains(s.Why(), "GET /ring") {
		t.Errorf("why: %q (%v)", s.Why(), err)
	}
	if r, err := e.Replay(t.Context(), row.GUID); err != nil || !r.Same {
		t.Errorf("replay: %v, the same: %v", err, r.Same)
	}
}

func TestRing_GoesOnWhenItWasUsed(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	row := g.start(e, ringed)
	row = g.until(row.GUID, platform.RolloutPaused)
	if !strings.Contains(row.Reason, "0 of 1 requests") {
		t.Errorf("nobody was there, and it is paused for %q", row.Reason)
	}
	g.set(func() { g.inRing = 5 })
	if _, err := e.Resume(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
}

func TestRing_TakesTheUsageThatThePlanAsksFor(t *testing.T) {
	p, err := ParsePlan([]byte(strings.Replace(ringed, "{", `{"min-requests":40,"min-clients":3,`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	if s := p.Steps[0]; s.MinRequests.N != 40 || *s.MinClients != 3 {
		t.Errorf("the ring's step asks for %+v requests and %d clients", *s.MinRequests, *s.MinClients)
	}
	if p, err = ParsePlan([]byte(`{"steps":[{"shadow":20},{"weight":100}],"min-requests":40,"min-clients":3,"min-endpoints":50}`)); err != nil {
		t.Fatal(err)
	}
	if s := p.Steps[0]; s.MinRequests.N != 0 || *s.MinClients != 0 || *s.MinEndpoints != 0 || *s.MinCompared != 1 {
		t.Errorf("a shadow, who has no users, asks for %+v", s)
	}
}
