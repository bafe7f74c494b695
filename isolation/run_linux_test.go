package isolation

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestRun_OutputAndStatusOfAProgram(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		t.Logf("%+v", h.Capabilities())
		stdout, stderr, exit := h.run(h.spec("echo $GREETING; cat link; echo oops >&2; exit 3"))
		if stdout != "hi\nhello\n" || stderr != "oops\n" {
			t.Errorf("stdout %q, stderr %q", stdout, stderr)
		}
		if exit.Code != 3 || exit.Signal != "" || exit.OOM || exit.Source != SourceRecord || time.Since(exit.At) > time.Minute {
			t.Errorf("exit %+v", exit)
		}
	})
}

func TestRun_EnvironmentIsExactlyWhatWasGiven(t *testing.T) {
	inBestAndWorst(t, func(t *testing.T, h *testHost) {
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

func TestRun_RootIsUsedInPlaceByAnotherUser(t *testing.T) {
	h := openHost(t)
	if !h.Capabilities().Mapped {
		t.Skip("this machine cannot show files as another user's, or this is not root:", h.Capabilities().Missing)
	}
	const builder = stagedBy + 7
	outside := filepath.Join(filepath.Dir(h.tree), "outside")
	secret := filepath.Join(h.tree, "app", "own")
	for _, name := range []string{outside, secret} {
		must(t, os.WriteFile(name, []byte("own\n"), 0o600))
		must(t, os.Chown(name, stagedBy, stagedBy))
	}
	s := h.spec("id -u; cat own; stat -c %u own; echo more >> own; mkdir made; touch made/x; cat " + outside + " 2>/dev/null || echo closed")
	s.Root, s.Tree = h.tree, ""
	s.UID, s.GID = builder, builder
	stdout, stderr, exit := h.run(s)
	if want := fmt.Sprintf("%d\nown\n%d\nclosed\n", builder, builder); exit.Code != 0 || stdout != want {
		t.Errorf("exit %+v, stdout %q, want %q, stderr %q", exit, stdout, want, stderr)
	}
	for _, name := range []string{"own", "made", "made/x"} {
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(h.tree, "app", name), &st))
		if st.Uid != stagedBy || st.Gid != stagedBy {
			t.Errorf("%s belongs to %d:%d afterwards", name, st.Uid, st.Gid)
		}
	}
}

func TestStart_SaysWhyAProgramCannotRun(t *testing.T) {
	inBestAndWorst(t, func(t *testing.T, h *testHost) {
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

func TestOutput_BlocksTheProgramOnlyAndIsKept(t *testing.T) {
	inBestAndWorst(t, func(t *testing.T, h *testHost) {
		inst := h.start(h.spec("yes 0123456789abcdef"))
		// Nobody reads: the program stands still once the pipe is full.
		eventually(t, "a full pipe", func() bool { return waiting(t, inst, "stdout") >= 64<<10 })
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
		eventually(t, "a full pipe", func() bool { return waiting(t, inst, "stdout") >= 64<<10 })
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

// waiting returns how many bytes lie in one of the log pipes of an instance.
func waiting(t *testing.T, inst *Instance, name string) int {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(inst.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
	must(t, err)
	defer f.Close()
	n, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCINQ)
	must(t, err)
	return n
}

func TestOutput_CanBeOpenedAgainByName(t *testing.T) {
	inAllModes(t, func(t *testing.T, h *testHost) {
		stdout, stderr, exit := h.run(h.spec("echo again > /dev/stdout; echo too > /proc/self/fd/2"))
		if exit.Code != 0 || stdout != "again\n" || stderr != "too\n" {
			t.Errorf("exit %+v, stdout %q, stderr %q", exit, stdout, stderr)
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
