package isolation

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestTerminate_ReachesAllOfTheSession(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		inst := h.start(h.spec(`set -m; trap 'wait; echo parent; exit 4' TERM
			(trap 'echo child; exit 0' TERM; echo up; while :; do sleep 0.02; done) &
			while :; do sleep 0.02; done`))
		out := openOutput(t, inst, "stdout")
		readUntil(t, out, "up\n")
		inst.Terminate()
		exit := h.wait(inst)
		rest, _ := io.ReadAll(out)
		if string(rest) != "child\nparent\n" || exit.Code != 4 || !exit.Stopped || exit.Forced {
			t.Errorf("output %q, exit %+v", rest, exit)
		}
	})
}

func TestKill_TakesDaemonisedChildrenToo(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		marker := "7" + strconv.Itoa(os.Getpid()) + strconv.Itoa(int(time.Now().UnixNano()%1e6))
		inst := h.start(h.spec(`trap '' TERM; setsid sh -c 'trap "" TERM; sleep ` + marker + ` & sleep ` + marker + `' & echo up; while :; do sleep 0.05; done`))
		readUntil(t, openOutput(t, inst, "stdout"), "up\n")
		eventually(t, "the daemon's start", func() bool { return countProcesses("sleep\x00"+marker) == 2 })
		inst.Terminate()
		short, cancel := context.WithTimeout(t.Context(), 150*time.Millisecond)
		defer cancel()
		if _, err := inst.Wait(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("it ended by SIGTERM: %v", err)
		}
		inst.Kill()
		exit := h.wait(inst)
		if exit.Signal != "SIGKILL" || !exit.Forced {
			t.Errorf("exit %+v", exit)
		}
		if n := countProcesses("sleep\x00" + marker); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	})
}

func TestExit_EndsWhatTheProgramLeftRunning(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		marker := "8" + strconv.Itoa(os.Getpid()) + strconv.Itoa(int(time.Now().UnixNano()%1e6))
		_, _, exit := h.run(h.spec(`setsid sleep ` + marker + ` & (setsid sleep ` + marker + ` &) ; exit 0`))
		if exit.Code != 0 {
			t.Errorf("exit %+v", exit)
		}
		if n := countProcesses("sleep\x00" + marker); n != 0 {
			t.Errorf("%d processes are left", n)
		}
	})
}

// countProcesses counts processes whose command line begins with the given one.
func countProcesses(cmdline string) int {
	procs, _ := readProcs()
	n := 0
	for pid, st := range procs {
		b, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		if !st.zombie && strings.HasPrefix(string(b), cmdline) {
			n++
		}
	}
	return n
}

func TestInit_ReapsOrphans(t *testing.T) {
	for _, without := range []string{"", WithoutNamespaces} {
		h := openHost(t, without)
		h.addHelper()
		s := h.spec("")
		s.Args = []string{"./helper", "helper-zombies"}
		inst := h.start(s)
		readUntil(t, openOutput(t, inst, "stdout"), "done\n")
		eventually(t, "the reaping of all orphans", func() bool {
			procs, err := readProcs()
			must(t, err)
			zombies := 0
			for _, pid := range descendants(procs, inst.state.Init.PID) {
				if procs[pid].zombie {
					zombies++
				}
			}
			return zombies == 0
		})
	}
}

func TestMemoryLimit_IsReportedAsOutOfMemory(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		h.addHelper()
		for name, args := range map[string][]string{
			"program": {"./helper", "helper-hog"},
			"child":   {"/bin/sh", "-c", "./helper helper-hog & while :; do sleep 1; done"},
		} {
			s := h.spec("")
			s.Args, s.MemoryMB = args, 96
			inst := h.start(s)
			exit := h.wait(inst)
			if !exit.OOM || inst.Reason(exit) != "out of memory (limit 96M)" {
				t.Errorf("%s: exit %+v, reason %q", name, exit, inst.Reason(exit))
			}
		}
	})
}

func TestTimeout_EndsTheInstance(t *testing.T) {
	inBestAndWorst(t, func(t *testing.T, h *testHost) {
		s := h.spec("trap '' TERM; setsid sleep 1000 & sleep 1000")
		s.Timeout = 200 * time.Millisecond
		inst := h.start(s)
		exit := h.wait(inst)
		if !exit.TimedOut || inst.Reason(exit) != "timed out after 200ms" {
			t.Errorf("exit %+v, reason %q", exit, inst.Reason(exit))
		}
	})
}

func TestAdopt_ByAnotherHost(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		s := h.spec("trap 'exit 7' TERM; while :; do sleep 0.02; done")
		first := h.start(s)
		other, err := Open(t.Context(), h.cfg)
		must(t, err)
		inst, err := other.Adopt(s.ID)
		must(t, err)
		defer inst.Close()
		if inst.PID() != first.PID() || inst.PID() == 0 {
			t.Errorf("adopted pid %d, started %d", inst.PID(), first.PID())
		}
		eventually(t, "the trap", func() bool { u, err := inst.Usage(); return err == nil && u.Processes > 1 })
		inst.Terminate()
		if exit := h.wait(inst); exit.Code != 7 || exit.Source != SourceRecord {
			t.Errorf("exit %+v", exit)
		}
		again, err := other.Adopt(s.ID)
		must(t, err)
		defer again.Close()
		if exit := h.wait(again); exit.Code != 7 {
			t.Errorf("adopted after its end: %+v", exit)
		}
		if _, err := other.Adopt("i-unknown"); !errors.Is(err, ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
	})
}

func TestAdopt_NeverTakesAStranger(t *testing.T) {
	h := openHost(t)
	s := h.spec("sleep 100")
	inst := h.start(s)
	// Somebody else has the process ID by now: ourselves.
	me, err := Identify(os.Getpid())
	must(t, err)
	for _, stranger := range []Identity{
		{PID: me.PID, Start: me.Start + 1, Boot: me.Boot},
		{PID: me.PID, Start: me.Start, Boot: "another boot"},
		{PID: 1 << 22, Start: me.Start, Boot: me.Boot},
	} {
		if _, err := Find(stranger); !errors.Is(err, ErrGone) {
			t.Errorf("Find(%+v): %v", stranger, err)
		}
	}
	h.end(inst)
}

func TestInit_KilledByForce(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		marker := "9" + strconv.Itoa(os.Getpid()) + strconv.Itoa(int(time.Now().UnixNano()%1e6))
		inst := h.start(h.spec("sleep " + marker + " & sleep " + marker))
		eventually(t, "the start", func() bool { return countProcesses("sleep\x00"+marker) == 2 })
		unix.Kill(inst.state.Init.PID, unix.SIGKILL)
		exit := h.wait(inst)
		if exit.Source != SourcePidfd || exit.Signal != "SIGKILL" || !exit.IsLost() {
			t.Errorf("exit %+v", exit)
		}
		if n := countProcesses("sleep\x00" + marker); n != 0 {
			eventually(t, "the end of the rest", func() bool { return countProcesses("sleep\x00"+marker) == 0 })
		}
		again, err := h.Adopt(filepath.Base(inst.dir))
		must(t, err)
		defer again.Close()
		if e := h.wait(again); !e.At.Equal(exit.At) {
			t.Errorf("told differently the second time: %+v, first %+v", e, exit)
		}
	})
}

func TestStartStop_LeavesNothing(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		h.end(h.start(h.spec("sleep 100"))) // what is made once is made
		mounts, fds := countLines(t, "/proc/self/mountinfo"), countFDs(t)
		var took time.Duration
		rounds := 10
		if len(h.cfg.Without) == 0 {
			rounds = 50
		}
		for range rounds {
			begin := time.Now()
			inst, err := h.Start(t.Context(), h.spec("setsid sleep 100 & sleep 100"))
			must(t, err)
			took += time.Since(begin)
			h.end(inst)
		}
		t.Logf("a start took %v on average", took/time.Duration(rounds))
		if n := countLines(t, "/proc/self/mountinfo"); n != mounts {
			t.Errorf("%d mounts, were %d", n, mounts)
		}
		if n := countFDs(t); n != fds {
			t.Errorf("%d descriptors, were %d", n, fds)
		}
		if entries, err := os.ReadDir(h.cfg.Dir); err != nil || len(entries) != 0 {
			t.Errorf("directories are left: %v, %v", entries, err)
		}
		for _, dir := range []string{h.cgroups.v2, h.cgroups.v1Memory} {
			if dir == "" {
				continue
			}
			found, err := filepath.Glob(dir + "/i-*")
			if err != nil || len(found) != 0 {
				t.Errorf("cgroups are left: %v, %v", found, err)
			}
		}
		h.Close()
		for _, dir := range []string{h.cgroups.v2, h.cgroups.v1Memory} {
			if dir != "" && exists(dir) {
				t.Errorf("%s is left", dir)
			}
		}
	})
}

func countLines(t *testing.T, path string) int {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	return strings.Count(string(b), "\n")
}

func countFDs(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

func TestBackground_IsForAllOfTheInstanceAndCanBeTakenBack(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		inst := h.start(h.spec(`setsid sleep 100 & sleep 100 & echo up; wait`))
		readUntil(t, openOutput(t, inst, "stdout"), "up\n")
		var pids []int
		eventually(t, "the session of the child", func() bool {
			_, all, err := inst.processes(0)
			pids = all
			return err == nil && len(all) == 3
		})
		own, err := threadNice(os.Getpid())
		must(t, err)
		check := func(want int) {
			t.Helper()
			if inst.IsBackground() != (want > 0) {
				t.Errorf("IsBackground is %t", inst.IsBackground())
			}
			for _, pid := range pids {
				if nice, err := groupNice(pid); err == nil && nice != want || err != nil && !isGone(err) {
					t.Errorf("the group of process %d has nice value %d (%v), want %d", pid, nice, err, want)
				}
				if nice, err := threadNice(pid); err != nil || os.Geteuid() == 0 && nice != min(own+want, 19) {
					t.Errorf("process %d has nice value %d (%v), want %d more than %d", pid, nice, err, want, own)
				}
			}
		}
		check(0)
		must(t, inst.SetBackground(true))
		must(t, inst.SetBackground(true))
		check(backgroundNice)
		must(t, inst.SetBackground(false))
		check(0)
	})
}
