package keeper_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/keeper"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/local"
)

func TestKeeper_RestartsADeadChildWithoutARefusedConnection(t *testing.T) {
	k := start(t, keeperConfig{Data: dataDir(t)})
	l := underLoad(t, k.http)
	for range 3 {
		pid := pidAt(t, k.http)
		must(t, syscall.Kill(pid, syscall.SIGKILL))
		eventually(t, "another router", func() bool {
			resp, err := client.Get(k.http)
			if err != nil {
				return false
			}
			defer resp.Body.Close()
			b, _ := io.ReadAll(resp.Body)
			return string(b) != strconv.Itoa(pid)
		})
	}
	l.end(t, 3*5+1) // those in flight
	k.stop()
}

func TestKeeper_ReplacesChildrenOnRequest(t *testing.T) {
	k := start(t, keeperConfig{Data: dataDir(t)})
	router, controller := pidAt(t, k.http), pidAt(t, k.api)
	l := underLoad(t, k.http)
	must(t, k.cmd.Process.Signal(syscall.SIGHUP))
	if got := k.expect("replaced"); got != "<nil>" {
		t.Fatalf("replace: %s", got)
	}
	eventually(t, "the end of the old ones", func() bool { return isGone(router) && isGone(controller) })
	l.end(t, 0)
	if pidAt(t, k.http) == router || pidAt(t, k.api) == controller {
		t.Error("the old ones answer")
	}
	k.stop()
}

// A binary whose controller cannot start, such as an older one that does not
// understand the database, must not leave the platform without one.
func TestKeeper_GoesBackToTheProgramBeforeWhenTheNewOneCannotStart(t *testing.T) {
	data := dataDir(t)
	self, err := os.Executable()
	must(t, err)
	program, err := os.ReadFile(self)
	must(t, err)
	exe := filepath.Join(data, "program")
	must(t, os.WriteFile(exe, program, 0o755))
	k := start(t, keeperConfig{
		Data: data, Exe: exe, ChildEnv: []string{"REFUSE_ABOVE=" + strconv.Itoa(len(program))},
	})
	controller := pidAt(t, k.api)
	must(t, os.WriteFile(exe+".new", append(program, "newer"...), 0o755))
	must(t, os.Rename(exe+".new", exe))
	must(t, k.cmd.Process.Signal(syscall.SIGHUP))
	if got := k.expect("replaced"); !strings.Contains(got, "status 78") || !strings.Contains(got, "the one before goes on") {
		t.Errorf("replace: %s", got)
	}
	if now := pidAt(t, k.api); now == controller {
		t.Error("the controller was not replaced at all")
	}
	k.stop()
}

// pkill -HUP reaches them all.
func TestKeeper_HangupsAreForItAlone(t *testing.T) {
	data := dataDir(t)
	k := start(t, keeperConfig{Data: data})
	for _, pid := range []int{pidAt(t, k.http), pidAt(t, k.api), k.cmd.Process.Pid} {
		must(t, syscall.Kill(pid, syscall.SIGHUP))
	}
	if got := k.expect("replaced"); got != "<nil>" {
		t.Fatalf("replace: %s", got)
	}
	k.stop()
	b, err := os.ReadFile(filepath.Join(data, "keeper.log"))
	must(t, err)
	if strings.Contains(string(b), "killed by") {
		t.Errorf("the log says:\n%s", b)
	}
}

func instanceSpec(data, guid, script string) runner.Spec {
	return runner.Spec{
		GUID: guid, AppGUID: "app", Process: "web", Tree: filepath.Join(data, "tree"), Dir: "app", Ports: 1,
		Args: []string{"/bin/sh", "-c", script},
		Env:  func(runner.Endpoint) []string { return []string{"PATH=/usr/bin:/bin"} },
	}
}

func makeTree(t *testing.T, data string) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Join(data, "tree", "app"), 0o755))
}

// A controller that is replaced in the middle of a start is nothing that
// anybody has to look after.
func TestKeeper_ForgetsAStartThatIsGivenUp(t *testing.T) {
	data := dataDir(t)
	makeTree(t, data)
	k := start(t, keeperConfig{Data: data})
	conn, err := net.Dial("unix", filepath.Join(data, "run", "keeper.sock"))
	must(t, err)
	spec := instanceSpec(data, "given-up", "sleep 1000")
	must(t, json.NewEncoder(conn).Encode(runner.Request{Op: runner.OpStart, Spec: &spec}))
	var reply runner.Reply
	must(t, json.NewDecoder(conn).Decode(&reply))
	must(t, conn.Close())
	log := func() string {
		b, err := os.ReadFile(filepath.Join(data, "keeper.log"))
		must(t, err)
		return string(b)
	}
	eventually(t, "the log to say so", func() bool { return strings.Contains(log(), "given up") })
	if strings.Contains(log(), "level=ERROR") {
		t.Errorf("somebody is asked to act:\n%s", log())
	}
	k.stop()
	assertNothingLeft(t, data)
}

func TestKeeper_KilledAndStartedAgainAdoptsEverything(t *testing.T) {
	data := dataDir(t)
	makeTree(t, data)
	first := start(t, keeperConfig{Data: data})
	c := keeperConfig{Data: data, HTTP: "localhost:0", API: "127.0.0.1:0"}
	r := local.New(local.Config{DataDir: data})
	lasting, err := r.Start(t.Context(), instanceSpec(data, "lasting", "sleep 1000"))
	must(t, err)
	leaving, err := r.Start(t.Context(), instanceSpec(data, "leaving", "trap 'exit 42' TERM; while :; do sleep 0.02; done"))
	must(t, err)
	eventually(t, "the trap", func() bool { return catchesTerm(leaving.PID) })
	router, controller := pidAt(t, first.http), pidAt(t, first.api)
	l := underLoad(t, first.http)
	first.kill()
	eventually(t, "the controller's end", func() bool { return isGone(controller) })
	if got := pidAt(t, first.http); got != router {
		t.Errorf("router %d answers, was %d", got, router)
	}
	must(t, syscall.Kill(leaving.PID, syscall.SIGTERM)) // ends while nobody watches
	eventually(t, "the instance's end", func() bool { return isGone(leaving.PID) })

	second := start(t, c)
	if second.http != first.http {
		t.Errorf("it listens on %s, before on %s", second.http, first.http)
	}
	if got := pidAt(t, second.http); got != router {
		t.Errorf("router %d answers, was %d", got, router)
	}
	if got := pidAt(t, second.api); got == controller {
		t.Error("the old controller answers")
	}
	var all []runner.Status
	eventually(t, "the record of the instance that left", func() bool { // its init outlives it for a moment
		all, err = r.List(t.Context())
		must(t, err)
		return len(all) != 2 || all[1].Exit != nil
	})
	if len(all) != 2 || !all[0].Running || all[0].PID != lasting.PID || all[0].Endpoint != lasting.Endpoint || all[0].AppGUID != "app" {
		t.Errorf("listed: %+v", all)
	} else if e := all[1].Exit; e.Code != 42 || e.Reason != "exited with status 42" {
		t.Errorf("the one that left: %+v", all[1])
	}
	// The adopted router is watched: it is restarted like any other.
	must(t, syscall.Kill(router, syscall.SIGKILL))
	eventually(t, "another router", func() bool {
		resp, err := client.Get(second.http)
		if err == nil {
			resp.Body.Close()
		}
		return err == nil
	})
	l.end(t, 6)
	second.stop()
	if !isGone(lasting.PID) {
		t.Error("the instance still runs")
	}
	assertNothingLeft(t, data)
}

func assertNothingLeft(t *testing.T, data string) {
	t.Helper()
	for _, sub := range []string{"instances/*", "run/*", "keeper"} {
		if left, _ := filepath.Glob(filepath.Join(data, sub)); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestKeeper_AdoptedRouterEndsWhenTheAddressWasChanged(t *testing.T) {
	data := dataDir(t)
	first := start(t, keeperConfig{Data: data})
	router := pidAt(t, first.http)
	first.kill()
	second := start(t, keeperConfig{Data: data, HTTP: "127.0.0.1:0", API: "127.0.0.1:0"})
	eventually(t, "the old router's end", func() bool { return isGone(router) })
	if second.http == first.http {
		t.Errorf("both listen on %s", first.http)
	}
	pidAt(t, second.http)
	second.stop()
	assertNothingLeft(t, data)
}

func TestKeeper_KilledAtRandomLosesNoInstance(t *testing.T) {
	data := dataDir(t)
	makeTree(t, data)
	r := local.New(local.Config{DataDir: data, DialTimeout: time.Minute})
	c := keeperConfig{Data: data, HTTP: "127.0.0.1:0", API: "127.0.0.1:0"}
	k := start(t, c)
	marker := fmt.Sprintf("6%d", os.Getpid())
	running := map[string]int{}
	for round := range 6 {
		var wg sync.WaitGroup
		var mu sync.Mutex
		for i := range 4 {
			guid := fmt.Sprintf("r%d-%d", round, i)
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				st, err := r.Start(ctx, instanceSpec(data, guid, "sleep "+marker+" & sleep "+marker))
				if err == nil {
					mu.Lock()
					running[guid] = st.PID
					mu.Unlock()
				} else if platform.KindOf(err) != platform.KindUnavailable {
					t.Errorf("start: %v", err)
				}
			})
		}
		time.Sleep(time.Duration(round*7) * time.Millisecond)
		k.kill()
		k = start(t, c)
		wg.Wait()
		for guid, pid := range running {
			if isGone(pid) {
				t.Errorf("round %d: instance %s ended", round, guid)
			}
		}
	}
	all, err := r.List(t.Context())
	must(t, err)
	for _, st := range all {
		if pid, ok := running[st.GUID]; ok && pid != st.PID {
			t.Errorf("%s has pid %d, was started as %d", st.GUID, st.PID, pid)
		}
		// A start that was cut short and never acknowledged may be listed as
		// lost, so that whoever asked for it learns of it.
		if _, acknowledged := running[st.GUID]; acknowledged && !st.Running {
			t.Errorf("%s ended: %+v", st.GUID, st.Exit)
		}
		delete(running, st.GUID)
	}
	if len(running) != 0 {
		t.Errorf("not listed: %v", running)
	}
	k.stop()
	if n := countCommands("sleep\x00" + marker); n != 0 {
		t.Errorf("%d processes are left", n)
	}
	assertNothingLeft(t, data)
}

func countCommands(cmdline string) int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	n := 0
	for _, f := range files {
		if b, _ := os.ReadFile(f); strings.HasPrefix(string(b), cmdline) {
			n++
		}
	}
	return n
}

func TestKeeper_ChildIsKilledWhenItDoesNotEnd(t *testing.T) {
	data := dataDir(t)
	k := start(t, keeperConfig{Data: data, ChildGrace: 300 * time.Millisecond})
	router := pidAt(t, k.http)
	must(t, syscall.Kill(router, syscall.SIGSTOP))
	k.stop()
	if !isGone(router) {
		t.Error("it still runs")
	}
	assertNothingLeft(t, data)
}

func TestKeeper_SaysWhyItCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	for _, c := range []struct {
		listen keeper.Listen
		want   string
		hint   string
	}{
		{keeper.Listen{Addr: taken.Addr().String(), Flag: "--http"}, "cannot listen on " + taken.Addr().String() + ": the port is already in use", "--http"},
		{keeper.Listen{Addr: "nonsense", Flag: "--api"}, `cannot listen on "nonsense": not an address like 127.0.0.1:8080`, "--api"},
		{keeper.Listen{Addr: "127.0.0.1:99999", Flag: "--api"}, `not an address`, "--api"},
		{keeper.Listen{Addr: "example.com:80", Flag: "--api"}, `not an address`, "--api"},
		{keeper.Listen{Addr: "192.0.2.1:8080", Flag: "--http"}, "this machine does not have that address", "--http"},
	} {
		k := keeper.New(keeper.Config{
			DataDir:  dataDir(t),
			Children: []keeper.Child{{Name: "router", Listeners: map[string][]keeper.Listen{"http": {c.listen}}}},
		})
		err := k.Run(t.Context())
		var e *platform.Error
		if !errors.As(err, &e) || !strings.Contains(e.Msg, c.want) || !strings.Contains(e.Hint, c.hint) {
			t.Errorf("listening on %q: %v", c.listen.Addr, err)
		}
	}
}

func TestKeeper_IsAloneInItsDirectory(t *testing.T) {
	data := dataDir(t)
	k := start(t, keeperConfig{Data: data})
	err := keeper.New(keeper.Config{DataDir: data}).Run(t.Context())
	want := fmt.Sprintf("in use by another weir (process %d)", k.cmd.Process.Pid)
	if platform.KindOf(err) != platform.KindConflict || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	pidAt(t, k.http)
	k.stop()
}

func TestKeeper_EndsWhenAChildCanNeverStart(t *testing.T) {
	k := launch(t, keeperConfig{Data: dataDir(t), ChildEnv: []string{"EXIT=" + strconv.Itoa(keeper.ExitConfig)}})
	if got := k.expect("failed"); !strings.Contains(got, "cannot start") {
		t.Errorf("it failed with %q", got)
	}
	if err := k.cmd.Wait(); err == nil || k.cmd.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
}

func TestKeeper_PausesBetweenCrashes(t *testing.T) {
	data := dataDir(t)
	k := launch(t, keeperConfig{Data: data, ChildEnv: []string{"EXIT=3"}})
	var starts []time.Time
	eventually(t, "the fifth start", func() bool {
		starts = routerStarts(t, data)
		return len(starts) >= 5
	})
	must(t, k.cmd.Process.Signal(syscall.SIGTERM))
	k.expect("stopped")
	must(t, k.cmd.Wait())
	const rounding = time.Millisecond
	for i, pause := range []time.Duration{0, 100, 200, 400} {
		if got := starts[i+1].Sub(starts[i]); got < pause*time.Millisecond-rounding {
			t.Errorf("start %d came %s after the one before, want %d ms at least", i+2, got, pause)
		}
	}
	assertNothingLeft(t, data)
}

// routerStarts returns when the keeper says that it started its router.
func routerStarts(t *testing.T, data string) (starts []time.Time) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(data, "keeper.log"))
	must(t, err)
	for line := range strings.Lines(string(b)) {
		if !strings.Contains(line, `"child started" child=router`) {
			continue
		}
		stamp, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		at, err := time.Parse(time.RFC3339Nano, stamp)
		must(t, err)
		starts = append(starts, at)
	}
	return starts
}

func TestInherit_ByHand(t *testing.T) {
	if _, err := keeper.Inherit(); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("got %v", err)
	}
}
