package release

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"weir/internal/platform"
)

func TestRollout_GateProbesAndHooks(t *testing.T) {
	g := newStage(t)
	var hooks, asked atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if body, err := io.ReadAll(r.Body); err != nil || !strings.Contains(string(body), `"app_name":"`+g.app.Name+`"`) {
			t.Errorf("%s is told %s (%v)", r.URL, body, err)
		}
		switch r.URL.Path {
		case "/gate":
			if asked.Add(1) < 3 {
				w.WriteHeader(http.StatusAccepted)
			}
		case "/hook":
			hooks.Add(1)
		}
	}))
	defer outside.Close()
	e, _ := g.engine()
	plan := `{"steps":[{"weight":10,"gate":"` + outside.URL + `/gate"},{"weight":100}],"bake":"5s","warmup":"0s","min-requests":0,` +
		`"hooks":{"before-step":"` + outside.URL + `/hook","on-done":"` + outside.URL + `/hook"}}`
	row := g.start(e, plan)
	g.until(row.GUID, platform.RolloutDone)
	if asked.Load() < 3 {
		t.Errorf("the gate was asked %d times", asked.Load())
	}
	g.wait("the second hook", func() bool { return hooks.Load() >= 2 })
	if hooks.Load() != 2 {
		t.Errorf("hooks were told %d times, want 2", hooks.Load())
	}
}

// A person may be faster than a gate: what that says in the end is not about the
// next step.
func TestRollout_AGateThatAnswersLateSaysNothingAboutTheNextStep(t *testing.T) {
	g := newStage(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	once := sync.OnceFunc(func() { close(asked) })
	var second atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/two" {
			second.Add(1)
			return
		}
		once()
		<-answer
		w.WriteHeader(http.StatusForbidden)
	}))
	defer outside.Close()
	e, _ := g.engine()
	row := g.start(e, `{"steps":[{"weight":10,"gate":"`+outside.URL+`/one"},{"weight":50,"gate":"`+outside.URL+`/two"},{"weight":100}],`+
		`"bake":"5s","warmup":"0s","min-requests":0}`)
	stand := g.passing()
	<-asked
	stand()
	if _, err := e.Promote(t.Context(), platform.System, row.GUID, false, ""); err != nil {
		t.Fatal(err)
	}
	g.await(row.GUID, func(Progress) bool {
		now, err := g.store.Rollout(t.Context(), row.GUID)
		return err == nil && now.Step == 1
	})
	close(answer)
	row = g.until(row.GUID, platform.RolloutDone, platform.RolloutRolledBack)
	if row.State != platform.RolloutDone || second.Load() == 0 {
		t.Errorf("it is %s (%s), and the second gate was asked %d times", row.State, row.Reason, second.Load())
	}
}

// A gate that is down, or that nobody listens behind, is not waited for for ever.
// One that says not yet is.
func TestRollout_PausesWhenItsGateGivesNoAnswer(t *testing.T) {
	g := newStage(t)
	var status atomic.Int32
	status.Store(http.StatusAccepted)
	var asked atomic.Int32
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		w.WriteHeader(int(status.Load()))
	}))
	defer outside.Close()
	e, _ := g.engine()
	row := g.start(e, `{"steps":[{"weight":10,"gate":"`+outside.URL+`"},{"weight":100}],"bake":"5s","warmup":"0s","min-requests":0,"gate-timeout":"30s"}`)
	// pass lets time pass and returns the rollout once until says that it saw that.
	pass := func(d time.Duration, until func(platform.Rollout) bool) platform.Rollout {
		t.Helper()
		g.set(func() { g.now = g.now.Add(d) })
		for deadline := time.Now().Add(60 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			now, err := g.store.Rollout(t.Context(), row.GUID)
			if err != nil {
				t.Fatal(err)
			}
			if until(now) {
				return now
			}
		}
		t.Fatal("nothing happens any more")
		return row
	}
	for row.State != platform.RolloutWaiting {
		row = pass(time.Second, func(platform.Rollout) bool { return true })
	}
	ask := func() platform.Rollout {
		t.Helper()
		before := asked.Load()
		return pass(gatePeriod, func(now platform.Rollout) bool { return asked.Load() > before || now.State != platform.RolloutWaiting })
	}
	for range 20 { // a hundred seconds
		if now := ask(); now.State != platform.RolloutWaiting {
			t.Fatalf("it is %s: %s", now.State, now.Reason)
		}
	}
	status.Store(http.StatusBadGateway)
	for n := 0; row.State != platform.RolloutPaused; n++ {
		if row = ask(); n == 20 {
			t.Fatalf("it is still %s: %s", row.State, row.Reason)
		}
	}
	if !strings.HasSuffix(row.Reason, "has given no answer for 30s: 502") {
		t.Fatalf("it is %s: %s", row.State, row.Reason)
	}
	status.Store(http.StatusOK)
	if _, err := e.Resume(t.Context(), platform.System, row.GUID, ""); err != nil {
		t.Fatal(err)
	}
	g.until(row.GUID, platform.RolloutDone)
}

// What a gate answers becomes part of a sentence.
func TestGate_AnswersInOneLine(t *testing.T) {
	for _, tt := range []struct {
		status       int
		text, want   string
		open, closed bool
	}{
		{200, "", "", true, false},
		{403, "", "403", false, true},
		{403, "not today\n\n  ask Dana", "403 not today ask Dana", false, true},
		{500, "<html>\n<body>" + strings.Repeat("x", 200), "500 <html> <body>" + strings.Repeat("x", 83) + "…", false, false},
	} {
		c := &conductor{}
		c.gateSaid(tt.status, tt.text, nil)
		if c.p.GateText != tt.want || c.p.GateOpen != tt.open || c.p.GateClosed != tt.closed {
			t.Errorf("%d %q: %q, open %t, closed %t", tt.status, tt.text, c.p.GateText, c.p.GateOpen, c.p.GateClosed)
		}
	}
}
