package api_test

import (
	"sync/atomic"
	"testing"

	v3 "weir/api/v3"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
)

// Whoever waits for instances has to tell one that cannot be started, and why,
// from one whose turn has not come yet: only the first has a GUID.
func TestStats_SayWhichInstanceCannotBeStarted(t *testing.T) {
	f := newFixture(t)
	var full atomic.Bool
	f.sim.Behave = func(runner.Spec) runnertest.Behaviour {
		if full.Load() {
			return runnertest.Behaviour{StartError: &platform.Error{Kind: platform.KindExhausted, Msg: "the disk is full"}}
		}
		return runnertest.Behaviour{}
	}
	app, _ := f.started("shop")
	full.Store(true)
	f.wants(202, "POST", "/v3/apps/"+app.GUID+"/processes/web/actions/scale", `{"instances":2}`)
	f.eventually("the second instance says why it is down", func() bool {
		var stats v3.List[v3.InstanceStats]
		f.get("/v3/apps/"+app.GUID+"/processes/web/stats", &stats)
		i := stats.Resources[1]
		if i.State != v3.InstanceDown || i.Details == nil {
			return false
		}
		switch *i.Details {
		case "the disk is full":
			return i.InstanceGUID != ""
		case "waiting to be started":
			if i.InstanceGUID != "" {
				t.Errorf("one that was not tried yet is %+v", i)
			}
			return false
		}
		t.Errorf("it says %q", *i.Details)
		return true
	})
}
