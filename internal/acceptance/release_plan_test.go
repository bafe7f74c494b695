package acceptance

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"
)

// outside is what a plan calls: hooks, and a gate that lets wait twice.
type outside struct {
	*httptest.Server
	mu    sync.Mutex // guards the following
	told  []string
	asked int
}

func newOutside(t *testing.T) *outside {
	o := &outside{}
	o.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var what struct{ Hook, To string }
		err := json.NewDecoder(r.Body).Decode(&what)
		o.mu.Lock()
		defer o.mu.Unlock()
		switch {
		case err != nil || what.To == "":
			w.WriteHeader(http.StatusBadRequest)
		case r.URL.Path == "/gate":
			if o.asked++; o.asked < 2 {
				w.WriteHeader(http.StatusAccepted)
			}
		default:
			o.told = append(o.told, what.Hook)
		}
	}))
	t.Cleanup(o.Close)
	return o
}

// with asks the app with a header and returns what answered.
func (s *server) with(header string) string {
	req, err := http.NewRequest("GET", "http://web.apps.localhost/", nil)
	must(s.t.(*testing.T), "making a request", err)
	if header != "" {
		req.Header.Set(header, "1")
	}
	resp, err := s.client(true).Do(req)
	must(s.t.(*testing.T), "asking", err)
	return string(readAll(s.t.(*testing.T), resp).body)
}

// A plan with a ring, gates of both kinds, probes and hooks does what it says:
// who is in the ring gets the version first, a person and a webhook let it go
// on, and hooks are told.
func TestRelease_RingsGatesProbesAndHooks(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	o := newOutside(t)
	plan := fmt.Sprintf(`{"rings":{"staff":[{"header":"X-Staff","exact":"1"}]},"probes":["/held"],
		"steps":[{"ring":"staff","bake":"1s","gate":"approve","probe":"/held"},{"weight":50,"bake":"1s","gate":"%[1]s/gate"},{"weight":100}],
		"min-requests":0,"warmup":"0s","hooks":{"before-start":"%[1]s","before-step":"%[1]s","after-step":"%[1]s","on-done":"%[1]s","on-rollback":"%[1]s"}}`, o.URL)
	r := s.roll("web", "v2", nil, plan)
	s.eventually(time.Minute, "the ring to be passed", func() error {
		if r = s.rolled("/v3/rollouts/" + r.GUID); r.State != "waiting" {
			return fmt.Errorf("it is %s: %s", r.State, r.Reason)
		}
		return nil
	})
	for range 20 {
		if got := s.with("X-Staff"); got != "v2" {
			t.Fatalf("who is in the ring got %q", got)
		}
		if got := s.with(""); got != "v1" {
			t.Fatalf("who is not in the ring got %q", got)
		}
	}
	s.must("rollout", "promote", "web")
	if r = s.ended(r); r.State != "done" {
		t.Fatalf("it is %s: %s", r.State, r.Reason)
	}
	if got := s.served("web.apps.localhost", 50); got["v2"] != 50 {
		t.Errorf("after the rollout: %v", got)
	}
	want := []string{"after-step", "after-step", "before-start", "before-step", "before-step", "on-done"}
	s.eventually(time.Minute, "the hooks", func() error {
		o.mu.Lock()
		defer o.mu.Unlock()
		if got := slices.Sorted(slices.Values(o.told)); !slices.Equal(got, want) {
			return fmt.Errorf("told were %v, want %v", got, want)
		}
		return nil
	})
	if o.asked < 2 {
		t.Errorf("the gate was asked %d times", o.asked)
	}

	// A gate that says no, and a probe that fails, take the version back.
	refusing := fmt.Sprintf(`{"steps":[{"weight":10,"bake":"0s","gate":"%s/none"}],"min-requests":0,"warmup":"0s"}`, s.api)
	if r = s.ended(s.roll("web", "v3", nil, refusing)); r.State != "rolled-back" {
		t.Errorf("after a gate said no it is %s: %s", r.State, r.Reason)
	}
	failing := `{"steps":[{"weight":10,"bake":"1h"}],"min-requests":0,"warmup":"0s","probes":["/held=201"]}`
	if r = s.ended(s.roll("web", "v4", nil, failing)); r.State != "rolled-back" || r.Step != 0 {
		t.Errorf("after failed probes it is %s at step %d: %s", r.State, r.Step, r.Reason)
	}
	if got := s.served("web.apps.localhost", 50); got["v2"] != 50 {
		t.Errorf("in the end: %v", got)
	}
}

// A ring without members gets copies of what the others ask, and no users; if
// its answers differ the rollout waits for a person.
func TestRelease_ARingOfCopiesComparesWithoutUsers(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	r := s.roll("web", "v2", nil, `{"rings":{"copies":[]},"steps":[{"ring":"copies","bake":"1s","probe":"/held","min-compared":5},{"weight":100}],"warmup":"0s"}`)
	s.eventually(60*time.Second, "the difference to be found", func() error {
		if got := s.served("web.apps.localhost", 20); got["v1"] != 20 {
			t.Fatalf("users got %v", got)
		}
		if r = s.rolled("/v3/rollouts/" + r.GUID); r.State != "paused" {
			return fmt.Errorf("it is %s: %s", r.State, r.Reason)
		}
		return nil
	})
	t.Logf("it is paused: %s", r.Reason)
	s.must("rollout", "promote", "web", "--reason", "another label is meant")
	if r = s.ended(r); r.State != "done" {
		t.Errorf("it is %s: %s", r.State, r.Reason)
	}
}
