package isolation

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
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

// inBestAndWorst runs a test that takes its time in the first and last mode.
func inBestAndWorst(t *testing.T, test func(t *testing.T, h *testHost)) {
	for _, m := range modes {
		if m.name == "best" || m.name == "nothing" {
			t.Run(m.name, func(t *testing.T) { test(t, openHost(t, m.without...)) })
		}
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
	if !exists(inst.dir) {
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
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
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
	f, err := os.OpenFile(filepath.Join(inst.dir, name), os.O_RDONLY|unix.O_NONBLOCK, 0)
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
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("%s did not happen", what)
}

func readUntil(t *testing.T, f *os.File, want string) string {
	t.Helper()
	f.SetReadDeadline(time.Now().Add(time.Minute))
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
