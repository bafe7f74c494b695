package rollout

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/runnertest"
)

// starter notes when instances are started.
type starter struct {
	b  *bench
	mu sync.Mutex
	at []time.Time // guarded by mu
}

// newStarter runs an app of one instance that does as told, on the clock of
// the bubble the test runs in.
func newStarter(t *testing.T, does func(n int) runnertest.Behaviour) (*starter, platform.App) {
	s := &starter{b: newBenchStopped(t)}
	s.b.sim.Behave = func(runner.Spec) runnertest.Behaviour {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.at = append(s.at, time.Now())
		return does(len(s.at))
	}
	s.b.run()
	app := s.b.app("loop", 1)
	s.b.asProcess(app)
	return s, app
}

// times returns how long after the start before it each start came.
func (s *starter) times() []time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waits []time.Duration
	for i := 1; i < len(s.at); i++ {
		waits = append(waits, s.at[i].Sub(s.at[i-1]))
	}
	return waits
}

// end ends everything, as a bubble wants.
func (s *starter) end() {
	s.b.stop()
	s.b.endInstances()
}

func TestClock_ACrashLoopSlowsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, app := newStarter(t, func(int) runnertest.Behaviour {
			return runnertest.Behaviour{CrashAfter: time.Second, Exit: platform.Exit{Code: 1}}
		})
		defer s.end()
		s.b.start(app)
		time.Sleep(90 * time.Minute)
		want := []time.Duration{
			0, 0, 0, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, 16 * time.Minute,
		}
		got := s.times()
		if len(got) < len(want) {
			t.Fatalf("%d restarts in 90 minutes: %v", len(got), got)
		}
		for i, d := range want {
			slack := d/10 + time.Second // the jitter, and the turn to start
			if wait := got[i] - time.Second; wait < d || wait > d+slack {
				t.Errorf("after crash %d it waits %s, want %s and at most a tenth more", i+1, wait, d)
			}
		}
	})
}

func TestClock_FiveGoodMinutesForgive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, app := newStarter(t, func(n int) runnertest.Behaviour {
			switch {
			case n <= 5:
				return runnertest.Behaviour{CrashAfter: time.Second, Exit: platform.Exit{Code: 1}}
			case n == 6:
				return runnertest.Behaviour{CrashAfter: 6 * time.Minute, Exit: platform.Exit{Code: 1}}
			}
			return runnertest.Behaviour{}
		})
		defer s.end()
		s.b.start(app)
		time.Sleep(10 * time.Minute)
		got := s.times()
		if len(got) != 6 || got[5] > 6*time.Minute+time.Second {
			t.Errorf("after five good minutes it does not start again at once: %v", got)
		}
		if i := s.b.instances(app)[0]; i.Crashes != 1 {
			t.Errorf("it counts %d crashes, want 1", i.Crashes)
		}
	})
}

func TestClock_GivesUpAfter200Crashes(t *testing.T) {
	if underRace {
		t.Skip("takes too long under the race detector")
	}
	synctest.Test(t, func(t *testing.T) {
		s, app := newStarter(t, func(int) runnertest.Behaviour {
			return runnertest.Behaviour{CrashAfter: time.Second, Exit: platform.Exit{Code: 1}}
		})
		defer s.end()
		s.b.start(app)
		time.Sleep(72 * time.Hour)
		if n := len(s.times()) + 1; n != maxCrashes {
			t.Errorf("it was started %d times, want %d", n, maxCrashes)
		}
		i := s.b.instances(app)[0]
		if i.State != platform.InstanceCrashed || i.Details != "exited with status 1; given up after 200 crashes" {
			t.Errorf("it is %s: %s", i.State, i.Details)
		}
		// Whoever restarts it by hand begins anew.
		s.b.must(s.b.e.RestartInstance(t.Context(), anna, app.GUID, "web", 0))
		time.Sleep(time.Minute)
		if n := len(s.times()) + 1; n <= maxCrashes {
			t.Error("restarting the instance does not start it")
		}
	})
}

// One instance that takes its time must not keep others from starting for long.
func TestClock_SlowStartsDoNotBlockOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBenchStopped(t)
		b.cfg.StartLimit = 1
		b.e = New(b.cfg)
		b.run()
		defer func() { b.stop(); b.endInstances() }()
		app := b.app("deaf", 3) // its port never opens
		begin := time.Now()
		b.start(app)
		b.eventually("all to be started", func() bool { return len(b.sim.Started()) == 3 })
		if took := time.Since(begin); took > 3*slowStart {
			t.Errorf("starting three took %s", took)
		}
	})
}

// A start that an engine asked for when it was killed may come true later.
func TestClock_StraysThatShowUpLateAreStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t)
		defer func() { b.stop(); b.endInstances() }()
		for _, after := range []time.Duration{500 * time.Millisecond, time.Hour} {
			time.Sleep(after)
			for guid, process := range map[string]string{"stray": "web", "build": ""} {
				_, err := b.sim.Start(t.Context(), runner.Spec{GUID: guid, Process: process, Args: []string{"x"}})
				b.must(err)
			}
			time.Sleep(sweepPeriod + time.Second)
			all, err := b.sim.List(t.Context())
			b.must(err)
			if len(all) != 1 || all[0].GUID != "build" || !all[0].Running {
				t.Errorf("what runs is %+v, want the build only", all)
			}
			b.must(b.sim.Stop(t.Context(), "build", 0))
			b.must(b.sim.Remove(t.Context(), "build"))
		}
	})
}

// asProcess gives the app a health check that needs no port.
func (b *bench) asProcess(app platform.App) {
	b.Helper()
	_, err := b.e.UpdateProcess(context.Background(), anna, app.GUID, func(p *platform.Process) error {
		p.Health = platform.HealthCheck{Type: platform.HealthProcess}
		return nil
	})
	b.must(err)
}
