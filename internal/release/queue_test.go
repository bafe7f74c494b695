package release

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"weir/internal/platform"
	"weir/internal/store"
)

// A rollout that takes the place of all others takes that of those that wait,
// too: the first one's end must not begin the second, nor may an abort find it
// waiting when it has begun.
func TestRollout_IsTheOnlyOneWhenOthersWaited(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	long := strings.Replace(quick, "20s", "10h", 1)
	request := func(label, concurrency string) Request {
		plan, err := ParsePlan([]byte(strings.Replace(long, "{", `{"concurrency":"`+concurrency+`",`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		return Request{AppGUID: g.app.GUID, Label: label, Plan: plan}
	}
	for i := range 10 {
		var rows [3]platform.Rollout
		for j, concurrency := range []string{"supersede", "queue", "supersede"} {
			row, err := e.Start(t.Context(), platform.System, request(fmt.Sprintf("v%d-%d", i, j), concurrency))
			if err != nil {
				t.Fatal(err)
			}
			rows[j] = row
		}
		g.until(rows[2].GUID, platform.RolloutBaking)
		for _, row := range rows[:2] {
			if row = g.row(row.GUID); row.State != platform.RolloutSuperseded {
				t.Fatalf("round %d: r-%d is %s beside r-%d", i, row.Number, row.State, rows[2].Number)
			}
		}
	}
	waiting, err := e.Start(t.Context(), platform.System, request("last", "queue"))
	if err != nil {
		t.Fatal(err)
	}
	if row, err := e.Abort(t.Context(), platform.System, waiting.GUID, ""); err != nil || row.State != platform.RolloutAborted {
		t.Errorf("aborted while it waits: %v, %s", err, row.State)
	}
	active, _, err := g.store.Rollouts(t.Context(), store.Query{In: map[string][]string{"active": {"true"}}})
	if err != nil || len(active) != 1 {
		t.Errorf("%d are on their way (%v)", len(active), err)
	}
}

// A rollout that is through has made its version the main one: the next one
// must not take the requests from that.
func TestRollout_ThatIsThroughKeepsItsRequestsWhenAnotherBegins(t *testing.T) {
	g := newStage(t)
	e, stop := g.engine()
	row := g.start(e, quick)
	row = g.until(row.GUID, platform.RolloutDone)
	stop()
	for _, state := range []platform.RolloutState{platform.RolloutFinishing, platform.RolloutRollingBack} {
		row.State = state
		c, err := newConductor(e, row, true)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.giveWay(t.Context(), platform.System); err != nil || c.row.State != state {
			t.Errorf("it was %s and is %s (%v)", state, c.row.State, err)
		}
		if v1, v2 := g.weights(); v1 != 0 || v2 == 0 {
			t.Errorf("%s: the weights are %d and %d", state, v1, v2)
		}
	}
}

func TestStart_OfAVersionThatCannotBeTakesNobodysPlace(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	long := strings.Replace(quick, "20s", "10h", 1)
	row := g.start(e, long)
	g.until(row.GUID, platform.RolloutBaking)
	for _, concurrency := range []string{"supersede", "queue"} {
		plan, err := ParsePlan([]byte(strings.Replace(long, "{", `{"concurrency":"`+concurrency+`",`, 1)))
		if err != nil {
			t.Fatal(err)
		}
		for label, want := range map[string]platform.Kind{"ü": platform.KindInvalid, "v1": platform.KindConflict, "v2": platform.KindConflict} {
			_, err = e.Start(t.Context(), platform.System, Request{AppGUID: row.AppGUID, Label: label, Plan: plan})
			if platform.KindOf(err) != want {
				t.Errorf("%s %s was begun: %v", concurrency, label, err)
			}
		}
	}
	if row = g.row(row.GUID); row.State != platform.RolloutBaking {
		t.Error("the rollout on its way was superseded by one that was refused")
	}
	if !slices.Contains(g.checked, row.ToGUID) {
		t.Error("whoever replaces the candidate was refused for the requests that it is about to lose")
	}
	if active, err := e.active(t.Context(), row.AppGUID); err != nil || len(active) != 1 {
		t.Errorf("%d are on their way (%v)", len(active), err)
	}
}

func TestStart_OfAnAppWithoutInstancesIsRefused(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	g.set(func() { g.versions[0].Wanted = 0 })
	plan, err := ParsePlan([]byte(quick))
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v2", Plan: plan})
	if err == nil || !strings.Contains(err.Error(), "nobody to compare a new version with") {
		t.Errorf("it was begun: %v", err)
	}
}
