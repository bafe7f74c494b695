package runnertest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/runner"
)

// Run tests that a runner keeps the contract. open returns a fresh runner; it
// ends what it needs in t.Cleanup. All instances have ended and are removed by then.
func Run(t *testing.T, open func(t *testing.T) runner.Runner) {
	for name, test := range map[string]func(*bench){
		"Start reports a running instance":               testStart,
		"Start gives each instance a port of its own":    testPorts,
		"Start calls Env once, with the endpoint":        testEnv,
		"Start refuses a GUID that exists":               testSameGUID,
		"Start says that a command is not there":         testNoCommand,
		"Watch tells how a program ended":                testExit,
		"Watch tells what ended before":                  testWatchLate,
		"Watch ends with its context":                    testWatchEnds,
		"Stop lets a program end by itself":              testStop,
		"Stop kills a program that ignores SIGTERM":      testStopKills,
		"Stop uses the grace of the Spec":                testStopSpecGrace,
		"Stop goes on when the caller has gone":          testStopGoesOn,
		"Stop is idempotent":                             testStopTwice,
		"Remove forgets, but not a running instance":     testRemove,
		"Stats are of running instances":                 testStats,
		"SetBackground is of running instances":          testBackground,
		"Timeout ends an instance":                       testTimeout,
		"Instances start and stop at the same time":      testConcurrent,
		"An instance that was removed can start again":   testReuseGUID,
		"Logs name a place for each instance and stream": testLogs,
	} {
		t.Run(name, func(t *testing.T) {
			b := &bench{T: t, runner: open(t), tree: makeTree(t)}
			t.Cleanup(b.cleanUp)
			test(b)
		})
	}
}

// patience bounds what should happen at once, on a busy machine.
const patience = 30 * time.Second

// bench is what one test of the suite works with.
type bench struct {
	*testing.T
	runner runner.Runner
	tree   string
}

// makeTree makes a droplet tree that every user can reach.
func makeTree(t *testing.T) string {
	dir, err := os.MkdirTemp("", "weir-runner-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func (b *bench) cleanUp() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	all, err := b.runner.List(ctx)
	if err != nil {
		b.Error(err)
	}
	for _, s := range all {
		if err := b.runner.Stop(ctx, s.GUID, time.Millisecond); err != nil {
			b.Error(err)
		}
		if err := b.runner.Remove(ctx, s.GUID); err != nil {
			b.Error(err)
		}
	}
}

func (b *bench) spec(p program) runner.Spec {
	return runner.Spec{
		GUID: platform.NewGUID(), AppGUID: "app-1", Process: "web", Tree: b.tree, Dir: "app",
		Args: p.args, Ports: 1,
		Env: func(runner.Endpoint) []string { return []string{"PATH=/usr/bin:/bin"} },
	}
}

func (b *bench) start(s runner.Spec) runner.Status {
	b.Helper()
	st, err := b.runner.Start(b.Context(), s)
	if err != nil {
		b.Fatal(err)
	}
	return st
}

func (b *bench) watch() <-chan runner.Event {
	b.Helper()
	events, err := b.runner.Watch(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return events
}

// exitOf waits for the event of an instance.
func (b *bench) exitOf(events <-chan runner.Event, guid string) platform.Exit {
	b.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				b.Fatal("the watch ended")
			}
			if e.GUID == guid {
				return e.Exit
			}
		case <-deadline:
			b.Fatal("no event came")
		}
	}
}

// find returns an instance from List, nil if it is not there.
func (b *bench) find(guid string) *runner.Status {
	b.Helper()
	all, err := b.runner.List(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for _, s := range all {
		if s.GUID == guid {
			return &s
		}
	}
	return nil
}

// settle waits until the instance's shell has said what it does at SIGTERM. It
// tells nobody, but the kernel knows. A simulator is always ready.
func (b *bench) settle(st runner.Status) string {
	b.Helper()
	if _, sim := b.runner.(*Sim); sim {
		return st.GUID
	}
	for deadline := time.Now().Add(patience); !mindsTerm(st.PID); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatalf("process %d neither catches nor ignores SIGTERM", st.PID)
		}
	}
	return st.GUID
}

// mindsTerm reports whether a process of this machine catches or ignores SIGTERM.
func mindsTerm(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(text)) {
		name, mask, _ := strings.Cut(line, ":")
		if name != "SigIgn" && name != "SigCgt" {
			continue
		}
		if bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64); err == nil && bits&(1<<(syscall.SIGTERM-1)) != 0 {
			return true
		}
	}
	return false
}

func (b *bench) stop(guid string, grace time.Duration) {
	b.Helper()
	if err := b.runner.Stop(b.Context(), guid, grace); err != nil {
		b.Fatal(err)
	}
}

func testStart(b *bench) {
	s := b.spec(runsForever)
	s.Index = 3
	st := b.start(s)
	if !st.Running || st.Exit != nil || st.PID == 0 || time.Since(st.StartedAt) > patience {
		b.Errorf("status %+v", st)
	}
	if st.GUID != s.GUID || st.AppGUID != "app-1" || st.Process != "web" || st.Index != 3 {
		b.Errorf("status %+v is of somebody else", st)
	}
	e := st.Endpoint
	if e.Host == "" || e.Port == 0 || e.IP == "" || !filepath.IsAbs(e.Root) || e.Home != filepath.Join(e.Root, "app") {
		b.Errorf("endpoint %+v", e)
	}
	listed := b.find(s.GUID)
	if listed == nil || !listed.Running || listed.Endpoint != e || listed.PID != st.PID {
		b.Errorf("listed as %+v, started as %+v", listed, st)
	}
}

func testPorts(b *bench) {
	seen := map[int]bool{}
	for range 5 {
		port := b.start(b.spec(runsForever)).Endpoint.Port
		if seen[port] {
			b.Errorf("port %d was given twice", port)
		}
		seen[port] = true
	}
	s := b.spec(runsForever)
	s.Ports = 0
	if e := b.start(s).Endpoint; e.Port != 0 || e.Host != "" {
		b.Errorf("without ports: %+v", e)
	}
}

func testEnv(b *bench) {
	var calls []runner.Endpoint
	s := b.spec(runsForever)
	s.Env = func(e runner.Endpoint) []string {
		calls = append(calls, e)
		return []string{fmt.Sprintf("PORT=%d", e.Port)}
	}
	st := b.start(s)
	if len(calls) != 1 || calls[0] != st.Endpoint {
		b.Errorf("Env was called with %+v, the endpoint is %+v", calls, st.Endpoint)
	}
}

func testSameGUID(b *bench) {
	s := b.spec(runsForever)
	b.start(s)
	if _, err := b.runner.Start(b.Context(), s); platform.KindOf(err) != platform.KindConflict {
		b.Errorf("second start: %v", err)
	}
	if st := b.find(s.GUID); st == nil || !st.Running {
		b.Errorf("the first one is now %+v", st)
	}
}

func testNoCommand(b *bench) {
	s := b.spec(isNotThere)
	_, err := b.runner.Start(b.Context(), s)
	want := `command not found: "weir-no-such-command"`
	if e, ok := err.(*platform.Error); !ok || e.Kind != platform.KindInvalid || e.Msg != want {
		b.Errorf("got %v, want %s", err, want)
	}
	if st := b.find(s.GUID); st != nil {
		b.Errorf("it is listed as %+v", st)
	}
}

func testExit(b *bench) {
	events := b.watch()
	for _, c := range []struct {
		program program
		want    platform.Exit
	}{
		{exits3, platform.Exit{Code: 3, Reason: "exited with status 3"}},
		{killsItself, platform.Exit{Code: -1, Signal: "SIGKILL", Reason: "killed by SIGKILL"}},
	} {
		guid := b.start(b.spec(c.program)).GUID
		got := b.exitOf(events, guid)
		if time.Since(got.At) > patience {
			b.Errorf("it ended at %v", got.At)
		}
		st := b.find(guid)
		if st == nil || st.Running || st.Exit == nil || !st.Exit.At.Equal(got.At) {
			b.Errorf("listed as %+v", st)
		}
		if got.At = c.want.At; got != c.want {
			b.Errorf("got %+v, want %+v", got, c.want)
		}
	}
}

func testWatchLate(b *bench) {
	guid := b.start(b.spec(exits3)).GUID
	b.exitOf(b.watch(), guid)
	// A second watcher, long after it ended, hears it as well.
	if exit := b.exitOf(b.watch(), guid); exit.Code != 3 {
		b.Errorf("exit %+v", exit)
	}
}

func testWatchEnds(b *bench) {
	ctx, cancel := context.WithCancel(b.Context())
	events, err := b.runner.Watch(ctx)
	if err != nil {
		b.Fatal(err)
	}
	cancel()
	select {
	case _, ok := <-events:
		if ok {
			b.Error("an event came from nowhere")
		}
	case <-time.After(patience):
		b.Error("the channel is still open")
	}
}

func testStop(b *bench) {
	events := b.watch()
	guid := b.settle(b.start(b.spec(endsPolitely)))
	b.stop(guid, patience)
	if st := b.find(guid); st == nil || st.Running || st.Exit == nil {
		b.Errorf("after the stop it is %+v", st)
	}
	if exit := b.exitOf(events, guid); exit.Code != 0 || exit.Signal != "" {
		b.Errorf("exit %+v", exit)
	}
}

func testStopKills(b *bench) {
	guid := b.settle(b.start(b.spec(ignoresTerm)))
	begin := time.Now()
	b.stop(guid, 300*time.Millisecond)
	if d := time.Since(begin); d < 200*time.Millisecond {
		b.Errorf("it was killed after %v, before the grace was over", d)
	}
	st := b.find(guid)
	if st == nil || st.Exit == nil || st.Exit.Signal != "SIGKILL" {
		b.Errorf("after the stop it is %+v", st)
	}
}

func testStopSpecGrace(b *bench) {
	s := b.spec(ignoresTerm)
	s.Grace = 200 * time.Millisecond
	guid := b.start(s).GUID
	begin := time.Now()
	b.stop(guid, 0)
	if d := time.Since(begin); d > runner.DefaultGrace {
		b.Errorf("it took %v", d)
	}
}

func testStopGoesOn(b *bench) {
	events := b.watch()
	guid := b.settle(b.start(b.spec(ignoresTerm)))
	ctx, cancel := context.WithTimeout(b.Context(), 100*time.Millisecond)
	defer cancel()
	if err := b.runner.Stop(ctx, guid, 300*time.Millisecond); err == nil {
		b.Error("Stop returned before the instance was gone")
	}
	b.exitOf(events, guid)
}

func testStopTwice(b *bench) {
	guid := b.start(b.spec(runsForever)).GUID
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			if err := b.runner.Stop(b.Context(), guid, time.Second); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	b.stop(guid, 0)
	b.stop(platform.NewGUID(), 0)
}

func testRemove(b *bench) {
	guid := b.start(b.spec(runsForever)).GUID
	if err := b.runner.Remove(b.Context(), guid); platform.KindOf(err) != platform.KindConflict {
		b.Errorf("removing a running instance: %v", err)
	}
	b.stop(guid, time.Second)
	for range 2 {
		if err := b.runner.Remove(b.Context(), guid); err != nil {
			b.Error(err)
		}
		if st := b.find(guid); st != nil {
			b.Errorf("still listed: %+v", st)
		}
	}
}

func testStats(b *bench) {
	guid := b.start(b.spec(runsForever)).GUID
	if _, err := b.runner.Stats(b.Context(), guid); err != nil {
		b.Error(err)
	}
	b.stop(guid, time.Second)
	for _, g := range []string{guid, platform.NewGUID()} {
		if _, err := b.runner.Stats(b.Context(), g); platform.KindOf(err) != platform.KindNotFound {
			b.Errorf("stats of an instance that does not run: %v", err)
		}
	}
}

func testBackground(b *bench) {
	s := b.spec(runsForever)
	s.Background = true
	guid := b.start(s).GUID
	if st := b.find(guid); st == nil || !st.Background {
		b.Errorf("started in the background it is %+v", st)
	}
	b.stop(guid, time.Second)
	guid = b.start(b.spec(runsForever)).GUID
	if st := b.find(guid); st == nil || st.Background {
		b.Errorf("started like others it is %+v", st)
	}
	for _, on := range []bool{true, true, false} {
		if err := b.runner.SetBackground(b.Context(), guid, on); err != nil {
			b.Error(err)
		}
		if st := b.find(guid); st == nil || st.Background != on {
			b.Errorf("after SetBackground %t it is %+v", on, st)
		}
	}
	b.stop(guid, time.Second)
	for _, g := range []string{guid, platform.NewGUID()} {
		if err := b.runner.SetBackground(b.Context(), g, true); platform.KindOf(err) != platform.KindNotFound {
			b.Errorf("an instance that does not run: %v", err)
		}
	}
}

func testTimeout(b *bench) {
	events := b.watch()
	s := b.spec(ignoresTerm)
	s.Timeout = 200 * time.Millisecond
	exit := b.exitOf(events, b.start(s).GUID)
	if exit.Reason != "timed out after 200ms" {
		b.Errorf("exit %+v", exit)
	}
}

func testConcurrent(b *bench) {
	events := b.watch()
	var wg sync.WaitGroup
	var mu sync.Mutex
	ports := map[int]string{}
	for range 12 {
		wg.Go(func() {
			s := b.spec(runsForever)
			st, err := b.runner.Start(b.Context(), s)
			if err != nil {
				b.Error(err)
				return
			}
			mu.Lock()
			ports[st.Endpoint.Port] = s.GUID
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(ports) != 12 {
		b.Fatalf("%d ports for 12 instances", len(ports))
	}
	for _, guid := range ports {
		wg.Go(func() {
			if err := b.runner.Stop(b.Context(), guid, time.Second); err != nil {
				b.Error(err)
			}
		})
	}
	wg.Wait()
	seen := map[string]bool{}
	for len(seen) < 12 {
		select {
		case e := <-events:
			seen[e.GUID] = true
		case <-time.After(patience):
			b.Fatalf("%d events of 12", len(seen))
		}
	}
}

func testReuseGUID(b *bench) {
	s := b.spec(runsForever)
	for range 2 {
		b.start(s)
		b.stop(s.GUID, time.Second)
		if err := b.runner.Remove(b.Context(), s.GUID); err != nil {
			b.Fatal(err)
		}
	}
}

func testLogs(b *bench) {
	out1, err1 := b.runner.Logs("one")
	out2, err2 := b.runner.Logs("two")
	if names := map[string]bool{out1: true, err1: true, out2: true, err2: true}; len(names) != 4 || names[""] {
		b.Errorf("log names are not distinct: %v", names)
	}
}
