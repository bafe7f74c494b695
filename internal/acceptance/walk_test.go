package acceptance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestWalk types commands at random, up to three at once, while clients of all
// kinds never stop, and holds every answer and every end of a command against
// what the commands allow. `make e2e-walk` runs it: SEED chooses the commands,
// MINUTES says for how long, CHAOS=1 kills and replaces processes in between.
func TestWalk(t *testing.T) {
	minutes, err := strconv.ParseFloat(os.Getenv("WEIR_WALK_MINUTES"), 64)
	if err != nil {
		t.Skip("a walk takes a minute: make e2e-walk")
	}
	seed, err := strconv.ParseUint(os.Getenv("WEIR_WALK_SEED"), 10, 64)
	if err != nil {
		seed = rand.Uint64N(1_000_000)
	}
	chaos := os.Getenv("WEIR_WALK_CHAOS") != ""
	t.Logf("FIGURE walk SEED=%d MINUTES=%g CHAOS=%s", seed, minutes, os.Getenv("WEIR_WALK_CHAOS"))

	s := start(t)
	w := &walk{server: s, dir: flakyProgram(t), oracle: newOracle(append(slices.Clone(walked), home))}
	w.begin()
	steady := s.appInits(home)
	stop, visitors := make(chan struct{}), sync.WaitGroup{}
	clients := s.visit(stop, &visitors, w.oracle, append(slices.Clone(walked), home))
	r := rand.New(rand.NewPCG(seed, 0))
	for until := time.Now().Add(time.Duration(minutes * float64(time.Minute))); time.Now().Before(until); {
		w.step(r, chaos)
	}
	unsettled, paused := w.comeToRest()
	close(stop)
	visitors.Wait()
	w.figures(clients, unsettled, paused)
	if got := s.appInits(home); !maps.Equal(got, steady) {
		t.Errorf("the instances of %s, which nothing was done to, were %v and are %v", home, steady, got)
	}
	w.end()
}

// walk is a server that commands are typed for at random.
type walk struct {
	*server
	dir    string // of the program that is pushed
	oracle *oracle
	n      int            // actions so far
	kills  map[string]int // by victim
	guids  map[string]string
	token  string // for the API

	mu      sync.Mutex // guards the following
	count   int        // commands typed
	typed   []string   // the last of them, with times and exit codes
	ends    map[string]int
	slowest time.Duration
}

// maxTyped is how many commands are told of after a failure.
const maxTyped = 60

// maxCommand is how long any command may take.
const maxCommand = 2 * time.Minute

// flakyProgram builds testdata/flaky, so that a push of it builds nothing.
func flakyProgram(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-C", "testdata/flaky", "-trimpath", "-o", filepath.Join(dir, "flaky"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the app: %v\n%s", err, out)
	}
	must(t, "writing the app", os.WriteFile(filepath.Join(dir, "Procfile"), []byte("web: ./flaky\n"), 0o644))
	return dir
}

// begin pushes the apps, the walked ones with two versions.
func (w *walk) begin() {
	w.kills, w.ends, w.guids = map[string]int{}, map[string]int{}, map[string]string{}
	for _, app := range append(slices.Clone(walked), home) {
		label := app + "/0-good"
		w.oracle.apps[app].add(label)
		w.mustIn(w.dir, "push", app, "-m", "64M", "--version", "v1", "--env", "LABEL="+label)
		w.guids[app] = w.guid(app)
	}
	for _, app := range walked {
		w.mustIn(w.dir, "push", app, "-m", "64M", "--version", "v2", "--no-traffic", "--env", "LABEL="+app+"/1-good")
	}
}

// step runs one to three actions at once, perhaps kills something meanwhile,
// and learns what the apps have come to.
func (w *walk) step(r *rand.Rand, chaos bool) {
	var actions sync.WaitGroup
	for range 1 + r.IntN(3) {
		w.n++
		a := choose(r, w.n)
		actions.Go(func() { w.act(a) })
	}
	when, victim, which := time.Duration(r.IntN(1500))*time.Millisecond, pick(r, victims), r.Uint32()
	if chaos && victim != "" {
		time.Sleep(when)
		w.strike(victim, int(which>>1))
	}
	actions.Wait()
	w.eventually(time.Minute, "the API to be back", w.ping)
	for _, app := range walked {
		_ = w.settle(app) // what moves is looked at again after the next step
	}
	if err := w.settleRoutes(); err != nil {
		w.oracle.complain("reading the routes: %v", err)
	}
}

// act does what the action says.
func (w *walk) act(a action) {
	time.Sleep(a.after)
	w.oracle.expect(a)
	for i, c := range a.commands {
		if i > 0 {
			time.Sleep(a.between)
		}
		last := a.lasting && i == len(a.commands)-1
		for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
			if w.typeIn(c, a) == 0 || !last {
				break
			}
			if time.Since(began) > time.Minute {
				w.oracle.complain("weir %s does not succeed", strings.Join(c, " "))
				break
			}
		}
	}
}

// typeIn runs one command, notes how it ended and returns its exit code.
func (w *walk) typeIn(args []string, a action) int {
	const at = "15:04:05.000"
	ctx, cancel := context.WithTimeout(context.Background(), maxCommand)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir, cmd.Env = w.dir, w.env()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Start()
	if err == nil {
		if a.interrupt > 0 {
			interrupt := time.AfterFunc(a.interrupt, func() { _ = cmd.Process.Signal(a.signal) })
			defer interrupt.Stop()
		}
		err = cmd.Wait()
	}
	if _, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		w.oracle.complain("weir %s: %v", strings.Join(args, " "), err)
		return -1
	}
	code, took := cmd.ProcessState.ExitCode(), time.Since(began)
	last := ""
	if code != 0 {
		last = tailOf(strings.Join(strings.Fields(out.String()), " "), 300)
	}
	line := fmt.Sprintf("%s to %s exit %3d  %s  %s", began.Format(at), time.Now().Format(at), code, strings.Join(args, " "), last)
	w.tell(line)
	w.mu.Lock()
	w.count++
	w.ends[fmt.Sprintf("%s: %d", args[0], code)]++
	w.slowest = max(w.slowest, took)
	w.mu.Unlock()
	interrupted := a.interrupt > 0 && (code == -1 || code == 130)
	switch {
	case ctx.Err() != nil:
		w.oracle.complain("hung: %s", line)
	case !interrupted && (code < 0 || code > 8) || strings.Contains(out.String(), "panic:"):
		w.oracle.complain("no way to end: %s\n%s", line, tailOf(out.String(), 4000))
	}
	return code
}

// tell keeps a line for who wants to know what led to a failure.
func (w *walk) tell(line string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.typed = append(w.typed, line); len(w.typed) > maxTyped {
		w.typed = w.typed[1:]
	}
	if os.Getenv("WEIR_WALK_TRACE") != "" {
		fmt.Fprintln(os.Stderr, line)
	}
}

// settle learns which versions of an app have a share, if nothing about it
// moves any more: from then on no other may answer. As soon as all instances are
// there none of its requests may fail.
func (w *walk) settle(app string) error {
	before, err := w.serving(app)
	if err != nil {
		return err
	}
	o := w.oracle
	o.mu.Lock()
	o.errs[app].set()
	o.mu.Unlock()
	if err := w.atRest(app); err != nil {
		return err
	}
	labels := map[string]bool{}
	for _, v := range before {
		for _, addr := range v.Addresses {
			label, err := labelAt(addr)
			if err != nil {
				return err
			}
			labels[label] = true
		}
	}
	after, err := w.serving(app)
	if err != nil {
		return err
	}
	if !cmp.Equal(before, after) {
		return fmt.Errorf("%s moves", app)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.apps[app].set(slices.Collect(maps.Keys(labels))...)
	return nil
}
