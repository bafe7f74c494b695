package acceptance

import (
	"encoding/json"
	"maps"
	"time"
)

// rolled is what these tests read of a rollout.
type rolled struct {
	GUID        string
	State       string
	Over        bool
	Step        int
	Reason      string
	Usage       struct{ Stable, Candidate struct{ Requests, Bad int } }
	Explanation struct {
		SwitchSeconds float64 `json:"switch_seconds"`
	}
}

// roll begins a rollout of what the app runs, with another label and another
// environment: nothing is built.
func (s *server) roll(app, label string, env map[string]string, plan string) rolled {
	s.t.Helper()
	settings := map[string]string{"LABEL": label}
	maps.Copy(settings, env)
	body, err := json.Marshal(map[string]any{"label": label, "environment_variables": settings, "replace": true, "plan": json.RawMessage(plan)})
	if err != nil {
		s.t.Fatal(err)
	}
	return s.rolled("-X", "POST", "/v3/apps/"+s.guid(app)+"/rollouts", "-d", string(body))
}

func (s *server) rolled(args ...string) (r rolled) {
	s.t.Helper()
	return s.readRollout(s.must(append([]string{"curl"}, args...)...))
}

func (s *server) readRollout(out string) (r rolled) {
	s.t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil || r.GUID == "" {
		s.t.Fatalf("%v: %s", err, out)
	}
	return r
}

// replays checks that what a rollout's judge was told comes to the same again,
// bit by bit.
func (s *server) replays(r rolled) {
	s.t.Helper()
	var again struct{ Same, Rejected bool }
	s.json("/v3/rollouts/"+r.GUID+"/replay", &again)
	if !again.Same {
		s.t.Errorf("G23: a replay of %s (%s) comes to something else", r.GUID, r.Reason)
	}
}

// ended waits until a rollout is over, and replays it.
func (s *server) ended(r rolled) rolled {
	s.t.Helper()
	for deadline := time.Now().Add(10 * time.Minute); !r.Over; {
		if r = s.rolled("/v3/rollouts/" + r.GUID + "?wait=5"); r.State == "paused" || time.Now().After(deadline) {
			s.t.Fatalf("the rollout is %s: %s", r.State, r.Reason)
		}
	}
	s.replays(r)
	return r
}
