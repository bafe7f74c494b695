package release

import (
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
)

// refused checks that a rollout cannot be begun once more, and what it says.
func refused(t *testing.T, e *Engine, guid string, kind platform.Kind, want string) {
	t.Helper()
	if _, err := e.Retry(t.Context(), platform.System, guid); platform.KindOf(err) != kind || !strings.Contains(err.Error(), want) {
		t.Errorf("it says %v, want %q", err, want)
	}
}

// The database was away: the version is brought once more, by the same plan.
func TestRetry_BeginsOnceMoreWithTheSameVersionAndPlan(t *testing.T) {
	g := newStage(t)
	e, stop := g.engine()
	g.rates["v2"] = 0.2
	first := g.start(e, quick)
	refused(t, e, first.GUID, platform.KindConflict, "it is on its way")
	first = g.until(first.GUID, platform.RolloutRolledBack)
	g.set(func() { g.rates["v2"] = 0.01 })
	again, err := e.Retry(t.Context(), platform.System, first.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if again.ToGUID != first.ToGUID || again.Plan != first.Plan || again.Number != 2 {
		t.Errorf("it is r-%d of %s with %s", again.Number, again.ToLabel, again.Plan)
	}
	refused(t, e, first.GUID, platform.KindConflict, "has rollout r-2 on its way (v2 is ")
	events, err := e.Events(t.Context(), again.GUID)
	if err != nil || len(events) == 0 || events[0].Text != "rollout r-1 once more: v2 is there already" {
		t.Errorf("%v: it begins with %+v", err, events)
	}
	// For the first one it was kept an hour; now it is the second one's.
	g.set(func() { g.now = g.now.Add(2 * time.Hour) })
	stop()
	e, _ = g.engine()
	again = g.until(again.GUID, platform.RolloutDone, platform.RolloutRolledBack)
	if v1, v2 := g.weights(); again.State != platform.RolloutDone || v1 != 0 || v2 != 100 {
		t.Errorf("it is %s (%s) with weights %d and %d", again.State, again.Reason, v1, v2)
	}
	if p, err := readProgress(again.Progress); err != nil || p.Kept != again.FromGUID {
		t.Errorf("%v: it keeps %q", err, p.Kept)
	}
	refused(t, e, again.GUID, platform.KindInvalid, "is done: there is nothing to retry")
	refused(t, e, first.GUID, platform.KindInvalid, "version v2 is the main version of app \"web\" already")
}

func TestRetry_GivesAPausedRolloutUp(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	first := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(first.GUID, platform.RolloutBaking)
	if _, err := e.Pause(t.Context(), platform.System, first.GUID, ""); err != nil {
		t.Fatal(err)
	}
	again, err := e.Retry(t.Context(), platform.System, first.GUID)
	if err != nil {
		t.Fatal(err)
	}
	if first = g.row(first.GUID); first.State != platform.RolloutSuperseded {
		t.Errorf("the first is %s (%s)", first.State, first.Reason)
	}
	g.until(again.GUID, platform.RolloutBaking)
}

func TestRetry_AsksForAVersionThatIsThere(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	first := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	g.until(first.GUID, platform.RolloutBaking)
	plan, err := ParsePlan([]byte(strings.Replace(quick, `{`, `{"concurrency":"queue",`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	queued, err := e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v3", Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Abort(t.Context(), platform.System, queued.GUID, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, e, queued.GUID, platform.KindInvalid, "rollout r-2 never began")
	if _, err := e.Abort(t.Context(), platform.System, first.GUID, ""); err != nil {
		t.Fatal(err)
	}
	g.until(first.GUID, platform.RolloutAborted)
	if _, err := g.DeleteVersion(t.Context(), platform.System, first.ToGUID, false); err != nil {
		t.Fatal(err)
	}
	refused(t, e, first.GUID, platform.KindInvalid, "version v2 of rollout r-1 is gone")
}
