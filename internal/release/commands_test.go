package release

import (
	"errors"
	"strings"
	"testing"

	"weir/internal/platform"
)

func TestCommands_SayWhenThereIsNothingToSteer(t *testing.T) {
	g := newStage(t)
	e, _ := g.engine()
	begun := g.start(e, strings.Replace(quick, "20s", "10h", 1))
	plan, err := ParsePlan([]byte(strings.Replace(quick, "{", `{"concurrency":"queue",`, 1)))
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := e.Start(t.Context(), platform.System, Request{AppGUID: g.app.GUID, Label: "v3", Plan: plan})
	if err != nil {
		t.Fatal(err)
	}
	refused := func(guid, want string) {
		t.Helper()
		for what, do := range map[string]func() (platform.Rollout, error){
			"pause":   func() (platform.Rollout, error) { return e.Pause(t.Context(), platform.System, guid, "") },
			"resume":  func() (platform.Rollout, error) { return e.Resume(t.Context(), platform.System, guid, "") },
			"promote": func() (platform.Rollout, error) { return e.Promote(t.Context(), platform.System, guid, false, "") },
		} {
			_, err := do()
			if r, ok := errors.AsType[*platform.Error](err); !ok || r.Title != titleRefused || r.Hint == "" || !strings.Contains(r.Msg, want) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	refused(waiting.GUID, "has not begun: another rollout has to end first")
	for _, guid := range []string{waiting.GUID, begun.GUID} {
		if _, err := e.Abort(t.Context(), platform.System, guid, ""); err != nil {
			t.Fatal(err)
		}
		g.until(guid, platform.RolloutAborted)
		refused(guid, "is over: it is aborted")
		if row, err := e.Abort(t.Context(), platform.System, guid, ""); err != nil || row.State != platform.RolloutAborted {
			t.Errorf("aborted again: %s %v", row.State, err)
		}
	}
}
