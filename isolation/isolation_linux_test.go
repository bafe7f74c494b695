package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if IsInit() {
		InitMain()
	}
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "helper-") {
		helper(os.Args[1])
	}
	goleak.VerifyTestMain(m)
}

// helper is what the test binary does as a program of an instance.
func helper(what string) {
	switch what {
	case "helper-zombies": // leaves 500 orphans, then waits
		for range 500 {
			// The shell ends at once; its child, which ends as well, is orphaned.
			pid, err := syscall.ForkExec("/bin/sh", []string{"sh", "-c", "/bin/true & exit 0"}, &syscall.ProcAttr{Files: []uintptr{0, 1, 2}})
			if err != nil {
				fmt.Println(err)
				os.Exit(1)
			}
			syscall.Wait4(pid, nil, 0, nil)
		}
		fmt.Println("done")
		select {}
	case "helper-hog": // takes 16 MiB each 20 ms, for ever
		var hoard [][]byte
		for {
			b := make([]byte, 16<<20)
			for i := range b {
				b[i] = byte(i)
			}
			hoard = append(hoard, b)
			fmt.Println(len(hoard))
			time.Sleep(20 * time.Millisecond)
		}
	case "helper-status":
		b, _ := os.ReadFile("/proc/self/status")
		os.Stdout.Write(b)
		b, _ = os.ReadFile("/proc/self/limits")
		os.Stdout.Write(b)
	}
	os.Exit(0)
}

// modes are the ways instances are isolated, best first; the others are what
// machines have that allow less.
var modes = []struct {
	name    string
	without []string
}{
	{"best", nil},
	{"no cgroups", []string{WithoutCgroups}},
	{"no overlay", []string{WithoutOverlay}},
	{"no namespaces", []string{WithoutNamespaces}},
	{"nothing", []string{WithoutNamespaces, WithoutCgroups}},
}

// inAllModes runs a test in each mode the machine has.
func inAllModes(t *testing.T, test func(t *testing.T, h *testHost)) {
	for _, m := range modes {
		t.Run(m.name, func(t *testing.T) { test(t, openHost(t, m.without...)) })
	}
}

type testHost struct {
	*Host
	t    *testing.T
	tree string
	n    int
}

func openHost(t *testing.T, without ...string) *testHost {
	t.Helper()
	dir := passableDir(t)
	h, err := Open(t.Context(), Config{
		Dir: filepath.Join(dir, "instances"), Without: without,
		InitEnv: []string{"GORACE=atexit_sleep_ms=0"}, // else each init lingers for a second
		Logger:  slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	th := &testHost{Host: h, t: t, tree: filepath.Join(dir, "tree")}
	th.makeTree()
	return th
}

// passableDir is a temporary directory that other users can pass.
func passableDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "weir-isolation-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeTree(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stagedBy owns the trees of the tests when they run as root.
const stagedBy = 199999

func (h *testHost) makeTree() {
	h.t.Helper()
	app := filepath.Join(h.tree, "app")
	must(h.t, os.MkdirAll(filepath.Join(app, "sub"), 0o755))
	must(h.t, os.WriteFile(filepath.Join(app, "hello.txt"), []byte("hello\n"), 0o644))
	must(h.t, os.WriteFile(filepath.Join(app, "run.sh"), []byte("#!/bin/sh\necho ran $0\n"), 0o755))
	must(h.t, os.WriteFile(filepath.Join(app, "no-interpreter"), []byte("#!/nonexistent/ruby\n"), 0o755))
	must(h.t, os.WriteFile(filepath.Join(app, "garbage"), []byte("\x01\x02\x03"), 0o755))
	must(h.t, os.Symlink("hello.txt", filepath.Join(app, "link")))
	h.chownTree()
}

func (h *testHost) chownTree() {
	h.t.Helper()
	if os.Geteuid() == 0 {
		must(h.t, filepath.Walk(h.tree, func(p string, _ os.FileInfo, err error) error {
			return errors.Join(err, os.Lchown(p, stagedBy, stagedBy))
		}))
	}
}

// addHelper puts this test binary into the tree.
func (h *testHost) addHelper() {
	h.t.Helper()
	exe, err := os.Executable()
	must(h.t, err)
	path := filepath.Join(h.tree, "app", "helper")
	must(h.t, copyFile(exe, path, stat(h.t, exe)))
	must(h.t, os.Chmod(path, 0o755))
	h.chownTree()
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	st, err := os.Stat(path)
	must(t, err)
	return st
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// spec is a Spec for a shell script in the tree.
func (h *testHost) spec(script string) Spec {
	h.n++
	return Spec{
		ID: "i-" + strconv.Itoa(h.n), Tree: h.tree, WorkDir: "app",
		Args: []string{"/bin/sh", "-c", script},
		Env:  []string{"PATH=/usr/local/bin:/usr/bin:/bin", "GREETING=hi"},
		UID:  200000 + h.n, GID: 200000 + h.n,
	}
}

func (h *testHost) start(s Spec) *Instance {
	h.t.Helper()
	inst, err := h.Start(h.t.Context(), s)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { h.end(inst) })
	return inst
}

// end makes sure that an instance is over and nothing of it is left.
func (h *testHost) end(inst *Instance) {
	if !exists(inst.Dir()) {
		return // ended before
	}
	inst.Kill()
	if _, err := inst.Wait(context.Background()); err != nil {
		h.t.Error(err)
	}
	if err := inst.Remove(); err != nil {
		h.t.Error(err)
	}
}

func (h *testHost) wait(inst *Instance) Exit {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), 20*time.Second)
	defer cancel()
	exit, err := inst.Wait(ctx)
	if err != nil {
		h.t.Fatal(err)
	}
	return exit
}

// openOutput opens one of the log pipes of an instance for reading.
func openOutput(t *testing.T, inst *Instance, name string) *os.File {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(inst.Dir(), name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

// run starts a script, waits for its end and returns what it wrote.
func (h *testHost) run(s Spec) (stdout, stderr string, exit Exit) {
	h.t.Helper()
	inst := h.start(s)
	exit = h.wait(inst)
	out, err := io.ReadAll(openOutput(h.t, inst, "stdout"))
	must(h.t, err)
	errOut, err := io.ReadAll(openOutput(h.t, inst, "stderr"))
	must(h.t, err)
	return string(out), string(errOut), exit
}

// eventually waits for something that announces itself to nobody.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(15 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("%s did not happen", what)
}

func TestRun_OutputAndStatusOfAProgram(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		h.t = t
		t.Logf("%+v", h.Capabilities())
		stdout, stderr, exit := h.run(h.spec("echo $GREETING; cat link; echo oops >&2; exit 3"))
		if stdout != "hi\nhello\n" || stderr != "oops\n" {
			t.Errorf("stdout %q, stderr %q", stdout, stderr)
		}
		if exit.Code != 3 || exit.Signal != "" || exit.OOM || exit.Source != SourceRecord || time.Since(exit.At) > 10*time.Second {
			t.Errorf("exit %+v", exit)
		}
	})
}

func TestRun_EnvironmentIsExactlyWhatWasGiven(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		s := h.spec("")
		s.Args = []string{"env"}
		s.Env = []string{"PATH=/usr/bin:/bin", "A=1", "B=x y"}
		stdout, _, _ := h.run(s)
		if stdout != "PATH=/usr/bin:/bin\nA=1\nB=x y\n" {
			t.Errorf("environment:\n%s", stdout)
		}
	})
}

func TestRun_ProgramWritesToItsHomeAndNotToTheTree(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		script := `set -e
			echo changed > hello.txt; cat hello.txt
			echo new > sub/new; mkdir ../made; rm run.sh; mv sub moved
			chmod 600 link; touch ../top; pwd`
		stdout, stderr, exit := h.run(h.spec(script))
		s := h.spec("")
		s.ID = "i-1" // whose paths were shown
		if want := "changed\n" + h.RootOf(s) + "/app\n"; exit.Code != 0 || stdout != want {
			t.Errorf("exit %+v, stdout %q, want %q, stderr %q", exit, stdout, want, stderr)
		}
		b, _ := os.ReadFile(filepath.Join(h.tree, "app", "hello.txt"))
		if string(b) != "hello\n" {
			t.Errorf("the tree's file is now %q", b)
		}
		for _, name := range []string{"app/sub/new", "made", "top"} {
			if exists(filepath.Join(h.tree, name)) {
				t.Errorf("%s is in the tree", name)
			}
		}
	})
}

func TestRun_HasNoPrivileges(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		h.addHelper()
		s := h.spec("")
		s.Args = []string{"./helper", "helper-status"}
		s.Processes = 400
		stdout, stderr, exit := h.run(s)
		if exit.Code != 0 {
			t.Fatalf("exit %+v, stderr %q", exit, stderr)
		}
		uid := strconv.Itoa(os.Geteuid())
		if os.Geteuid() == 0 {
			uid = strconv.Itoa(s.UID)
		}
		for _, want := range []string{
			"NoNewPrivs:\t1", "Umask:\t0022", "CapInh:\t0000000000000000", "CapPrm:\t0000000000000000",
			"CapEff:\t0000000000000000", "CapAmb:\t0000000000000000", "Uid:\t" + uid + "\t" + uid,
			"Max core file size        0                    0",
		} {
			if !strings.Contains(stdout, want) {
				t.Errorf("no %q in\n%s", want, stdout)
			}
		}
		if os.Geteuid() == 0 {
			for _, want := range []string{"CapBnd:\t0000000000000000", "Groups:\t \n", "Max processes             400                  400"} {
				if !strings.Contains(stdout, want) {
					t.Errorf("no %q in\n%s", want, stdout)
				}
			}
		}
	})
}

// TestOpen_FindsNamespacesWhereThereAreSome keeps a mistake of ours from
// passing for a machine that allows little.
func TestOpen_FindsNamespacesWhereThereAreSome(t *testing.T) {
	args := []string{"--mount", "--pid", "--fork", "--mount-proc", "true"}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	if out, err := exec.Command("unshare", args...).CombinedOutput(); err != nil {
		t.Skipf("this machine allows no namespaces: %v: %s", err, out)
	}
	if caps := openHost(t).Capabilities(); !caps.Namespaces {
		t.Errorf("unshare can, we cannot: %q", caps.Missing)
	}
}

func TestRun_SeesOnlyItselfInANamespace(t *testing.T) {
	h := openHost(t)
	if !h.Capabilities().Namespaces {
		t.Skip("this machine allows no namespaces:", h.Capabilities().Missing)
	}
	hidden := filepath.Join(filepath.Dir(h.tree), "secrets")
	must(t, os.Mkdir(hidden, 0o755))
	must(t, os.WriteFile(filepath.Join(hidden, "key"), []byte("x"), 0o644))
	must(t, os.Mkdir(filepath.Join(hidden, "bin"), 0o755))
	must(t, os.WriteFile(filepath.Join(hidden, "bin", "tool"), []byte("#!/bin/sh\necho works\n"), 0o755))
	s := h.spec("ls /proc | grep -c '^[0-9]'; ls -A " + hidden + "; " + hidden + "/bin/tool; touch " + hidden + "/x 2>/dev/null || echo sealed; ls /home; touch /home/x 2>/dev/null || echo closed; grep -c " + h.tree + " /proc/self/mountinfo")
	s.Hide, s.Show = hidden, []string{"bin", "missing"}
	stdout, stderr, _ := h.run(s)
	entries, err := os.ReadDir("/home")
	must(t, err)
	want := "bin\nworks\nsealed\n"
	for _, e := range entries {
		want += e.Name() + "\n"
	}
	// The shell, ls and grep; the shell may be replaced by its last command.
	lines := strings.SplitN(stdout, "\n", 2)
	if n, err := strconv.Atoi(lines[0]); err != nil || n < 2 || n > 5 {
		t.Errorf("the program sees %q processes", lines[0])
	}
	rest := strings.Replace(lines[1], "vcap\n", "", 1)
	if rest != want+"closed\n0\n" {
		t.Errorf("got %q, want %q; stderr %q", lines[1], want+"closed\n0\n", stderr)
	}
}

func TestRun_RootIsUsedInPlace(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		s := h.spec("pwd; echo built > result")
		s.Root, s.Tree = h.tree, ""
		s.Hide = filepath.Dir(h.tree) // it is below what it does not see
		s.UID, s.GID = stagedBy, stagedBy
		stdout, stderr, exit := h.run(s)
		if exit.Code != 0 || stdout != h.RootOf(s)+"/app\n" {
			t.Errorf("exit %+v, stdout %q, stderr %q", exit, stdout, stderr)
		}
		b, _ := os.ReadFile(filepath.Join(h.tree, "app", "result"))
		if string(b) != "built\n" {
			t.Errorf("the result is %q", b)
		}
	})
}

func TestStart_SaysWhyAProgramCannotRun(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		for _, c := range []struct {
			args    []string
			workDir string
			want    string
		}{
			{[]string{"weir-no-such-program"}, "app", `command not found: "weir-no-such-program"`},
			{[]string{"/no/such/program"}, "app", `command not found: "/no/such/program"`},
			{[]string{"./hello.txt"}, "app", `command "./hello.txt" is not executable`},
			{[]string{"./sub"}, "app", `command "./sub" is a directory`},
			{[]string{"./garbage"}, "app", `neither a program for this machine nor a script`},
			{[]string{"./no-interpreter"}, "app", `needs an interpreter that is not there (/nonexistent/ruby)`},
			{nil, "app", "no command to run"},
			{[]string{"/bin/true", "a\x00b"}, "app", "NUL byte"},
			{[]string{"/bin/true"}, "nowhere", "does not exist"},
			{[]string{"/bin/true"}, "../..", "outside the tree"},
			{[]string{"/bin/true", strings.Repeat("x", 1<<20)}, "app", "too large"},
		} {
			s := h.spec("")
			s.Args, s.WorkDir = c.args, c.workDir
			_, err := h.Start(t.Context(), s)
			var bad *CommandError
			if !errors.As(err, &bad) || !strings.Contains(bad.Error(), c.want) {
				t.Errorf("Start(%.40q) = %v, want %q", c.args, err, c.want)
			}
			if exists(filepath.Join(h.cfg.Dir, s.ID)) {
				t.Errorf("Start(%.40q) left its directory", c.args)
			}
		}
	})
}

func TestStart_RefusesAnIDThatExists(t *testing.T) {
	h := openHost(t)
	s := h.spec("sleep 100")
	h.start(s)
	if _, err := h.Start(t.Context(), s); !errors.Is(err, ErrExists) {
		t.Errorf("second start: %v", err)
	}
}

func TestTerminate_ReachesAllOfTheSession(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		inst := h.start(h.spec(`set -m; (trap 'echo child; exit 0' TERM; echo up; while :; do sleep 0.02; done) &
			trap 'wait; echo parent; exit 4' TERM; while :; do sleep 0.02; done`))
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

func readUntil(t *testing.T, f *os.File, want string) string {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(15 * time.Second))
	defer f.SetReadDeadline(time.Time{})
	var got []byte
	b := make([]byte, 4096)
	for !strings.HasSuffix(string(got), want) {
		n, err := f.Read(b)
		if got = append(got, b[:n]...); err != nil {
			t.Fatalf("reading output: %v, have %q", err, got)
		}
	}
	return string(got)
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
		begin := time.Now()
		inst.Kill()
		exit := h.wait(inst)
		if d := time.Since(begin); d > 2*time.Second {
			t.Errorf("the kill took %v", d)
		}
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
	inAllModes(t, func(t *testing.T, h *testHost) {
		s := h.spec("trap '' TERM; setsid sleep 1000 & sleep 1000")
		s.Timeout = 200 * time.Millisecond
		inst := h.start(s)
		exit := h.wait(inst)
		if !exit.TimedOut || inst.Reason(exit) != "timed out after 200ms" {
			t.Errorf("exit %+v, reason %q", exit, inst.Reason(exit))
		}
	})
}

func TestOutput_BlocksTheProgramOnlyAndIsKept(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		inst := h.start(h.spec("yes 0123456789abcdef"))
		// Nobody reads: the program stands still once the pipe is full.
		time.Sleep(300 * time.Millisecond)
		before, err := inst.Usage()
		must(t, err)
		time.Sleep(1100 * time.Millisecond)
		after, err := inst.Usage()
		must(t, err)
		if d := after.CPUTime - before.CPUTime; d > 200*time.Millisecond {
			t.Errorf("it used %v of CPU while blocked", d)
		}
		out := openOutput(t, inst, "stdout")
		b := make([]byte, 4<<20)
		n, err := io.ReadFull(out, b) // more than the pipe holds: it goes on
		must(t, err)
		if i := strings.Index(string(b[:n]), "0123456789abcdef\n"); i != 0 || strings.Contains(string(b[:n]), "\n\n") {
			t.Error("output is damaged")
		}
		out.Close() // a dead reader
		time.Sleep(50 * time.Millisecond)
		inst.Terminate()
		if exit := h.wait(inst); exit.Signal != "SIGTERM" {
			t.Errorf("exit %+v: a reader that goes away must not end the program", exit)
		}
		rest, err := io.ReadAll(openOutput(t, inst, "stdout"))
		if err != nil || len(rest) < 64<<10 {
			t.Errorf("%d bytes were kept for the next reader, %v", len(rest), err)
		}
	})
}

func TestOutput_CanBeOpenedAgainByName(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		stdout, stderr, exit := h.run(h.spec("echo again > /dev/stdout; echo too > /proc/self/fd/2"))
		if exit.Code != 0 || stdout != "again\n" || stderr != "too\n" {
			t.Errorf("exit %+v, stdout %q, stderr %q", exit, stdout, stderr)
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
		if exit.Source != SourcePidfd || exit.Signal != "SIGKILL" {
			t.Errorf("exit %+v", exit)
		}
		if n := countProcesses("sleep\x00" + marker); n != 0 {
			eventually(t, "the end of the rest", func() bool { return countProcesses("sleep\x00"+marker) == 0 })
		}
		again, err := h.Adopt(filepath.Base(inst.Dir()))
		must(t, err)
		defer again.Close()
		if e := h.wait(again); !e.At.Equal(exit.At) {
			t.Errorf("told differently the second time: %+v, first %+v", e, exit)
		}
	})
}

func TestUsage(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		s := h.spec("dd if=/dev/zero of=big bs=1M count=8 2>/dev/null; echo up; while :; do :; done")
		s.MemoryMB = 64
		inst := h.start(s)
		readUntil(t, openOutput(t, inst, "stdout"), "up\n")
		var u Usage
		eventually(t, "the use of CPU time", func() bool {
			var err error
			u, err = inst.Usage()
			must(t, err)
			return u.CPUTime >= 50*time.Millisecond
		})
		if u.MemoryBytes < 50<<10 || u.MemoryBytes > 64<<20 || u.DiskBytes < 8<<20 || u.FDs < 3 || u.Processes != 1 {
			t.Errorf("usage %+v", u)
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
