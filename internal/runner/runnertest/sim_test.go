package runnertest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSim_KeepsTheContract(t *testing.T) {
	runnertest.Run(t, func(*testing.T) runner.Runner { return &runnertest.Sim{} })
}

func TestSim_DoesAsItIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sim := &runnertest.Sim{Behave: func(s runner.Spec) runnertest.Behaviour {
			switch s.Process {
			case "broken":
				return runnertest.Behaviour{StartError: platform.Invalidf("no")}
			case "crashing":
				return runnertest.Behaviour{StartDelay: time.Second, CrashAfter: time.Minute, Exit: platform.Exit{OOM: true, Code: -1, Signal: "SIGKILL"}}
			}
			return runnertest.Behaviour{StopAfter: 30 * time.Second}
		}}
		ctx, cancel := context.WithCancel(t.Context())
		events, err := sim.Watch(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := sim.Start(t.Context(), runner.Spec{GUID: "a", Process: "broken"}); platform.KindOf(err) != platform.KindInvalid {
			t.Errorf("broken: %v", err)
		}
		begin := time.Now()
		if _, err := sim.Start(t.Context(), runner.Spec{GUID: "b", Process: "crashing"}); err != nil || time.Since(begin) != time.Second {
			t.Errorf("crashing: %v after %v", err, time.Since(begin))
		}
		if e := <-events; e.GUID != "b" || !e.Exit.OOM || time.Since(begin) != 61*time.Second {
			t.Errorf("event %+v after %v", e, time.Since(begin))
		}
		if _, err := sim.Start(t.Context(), runner.Spec{GUID: "c"}); err != nil {
			t.Error(err)
		}
		begin = time.Now()
		if err := sim.Stop(t.Context(), "c", time.Minute); err != nil || time.Since(begin) != 30*time.Second {
			t.Errorf("stop: %v after %v", err, time.Since(begin))
		}
		cancel()
		for range events { // what was told meanwhile
		}
	})
}

func TestSim_ServesAndLosesItsWatchers(t *testing.T) {
	sim := &runnertest.Sim{Behave: func(runner.Spec) runnertest.Behaviour {
		return runnertest.Behaviour{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hi") })}
	}}
	st, err := sim.Start(t.Context(), runner.Spec{GUID: "a", Ports: 1})
	if err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("http://%s:%d", st.Endpoint.Host, st.Endpoint.Port)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(b) != "hi" {
		t.Errorf("got %q", b)
	}
	events, err := sim.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sim.Lose()
	if _, ok := <-events; ok {
		t.Error("the watch goes on")
	}
	if !sim.Crash("a", platform.Exit{Code: 1}) || sim.Crash("a", platform.Exit{}) {
		t.Error("it crashes once")
	}
	if _, err := client.Get(url); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("after the crash: %v", err)
	}
}
