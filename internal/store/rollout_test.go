package store_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
)

func TestRollouts_ComeBackAsTheyWere(t *testing.T) {
	ctx := t.Context()
	s := openAt(t, filepath.Join(t.TempDir(), "weir.db"))
	f := full(t, s)
	r := platform.Rollout{
		Resource: platform.NewResource(start), AppGUID: f.App.GUID, Number: 31, FromGUID: "from", FromLabel: "v1", ToGUID: "to", ToLabel: "v2",
		DropletGUID: "d", State: platform.RolloutBaking, Step: 2, Reason: "why", Table: 1841, Split: 7, Since: start,
		Plan: `{"steps":[]}`, Progress: "{}", Judge: []byte{0, 1, 255}, CreatedBy: platform.System,
	}
	over := r
	over.Resource, over.Number, over.State, over.Judge = platform.NewResource(start), 30, platform.RolloutDone, nil
	must(t, s.InsertRollout(ctx, r))
	must(t, s.InsertRollout(ctx, over))
	got, _, err := s.Rollouts(ctx, store.Query{In: map[string][]string{"app_guids": {f.App.GUID}, "active": {"true"}}})
	must(t, err)
	if d := cmp.Diff([]platform.Rollout{r}, got); d != "" {
		t.Error(d)
	}
	e := platform.RolloutEvent{
		Resource: platform.NewResource(start), RolloutGUID: r.GUID, State: r.State, Step: 1, Table: 5, Text: "went on", Data: map[string]any{"a": "b"}, Actor: platform.System,
	}
	must(t, s.InsertRolloutEvent(ctx, e))
	events, _, err := s.RolloutEvents(ctx, store.Query{In: map[string][]string{"rollout_guids": {r.GUID}}})
	must(t, err)
	if d := cmp.Diff([]platform.RolloutEvent{e}, events); d != "" {
		t.Error(d)
	}
	must(t, s.InsertRolloutEvidence(ctx, platform.RolloutEvidence{Resource: platform.NewResource(start), RolloutGUID: r.GUID, Data: []byte("abc\x00")}))
	must(t, s.InsertFreeze(ctx, platform.Freeze{Resource: platform.NewResource(start), Window: "Fri 16:00-Mon 08:00 UTC", CreatedBy: platform.System}))
	must(t, s.DeleteRollout(ctx, r.GUID))
	evidence, _, err := s.RolloutEvidence(ctx, store.Query{})
	must(t, err)
	if len(evidence) != 0 {
		t.Error("the evidence of a rollout outlives it")
	}
}
