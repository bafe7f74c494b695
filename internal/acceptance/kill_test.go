package acceptance

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestKill9_NothingAcknowledgedIsLost kills each long-lived process with -9 at
// random points of a push, a map-route and a scale, under load, and checks
// after each that what was acknowledged is there, that nothing is half done,
// and that the apps did not notice.
func TestKill9_NothingAcknowledgedIsLost(t *testing.T) {
	rounds := 2
	if long() {
		rounds = 20
	}
	for _, victim := range []string{"controller", "router", "keeper"} {
		t.Run(victim, func(t *testing.T) { killRounds(t, victim, rounds) })
	}
}

func killRounds(t *testing.T, victim string, rounds int) {
	s := start(t)
	dir := filepath.Join(repo(t), "examples/hello-go")
	s.mustIn(dir, "push", "steady", "-i", "2", "-m", "64M")
	s.mustIn(dir, "push", "work", "-m", "64M")
	steady := s.appInits("steady")
	table := map[string]int{}
	var sent, failed int64
	for n := range rounds * 3 {
		op := []string{"push", "map-route", "scale"}[n%3]
		within := map[string]int{"push": 2500, "map-route": 150, "scale": 600}[op]
		l := s.startLoad("http://steady.apps.localhost/", 100)
		acked := make(chan acknowledged)
		go func() { acked <- s.attempt(dir, op, n) }()
		time.Sleep(time.Duration(rand.IntN(within)) * time.Millisecond)
		s.kill9(victim)
		a := <-acked
		s.eventually(time.Minute, "the API to be back", s.ping)
		s.eventually(time.Minute, "the apps to be right again", func() error { return a.holds(s) })
		roundSent, roundFailed, why := l.stop()
		sent, failed = sent+roundSent, failed+roundFailed
		if bound := allowedFailures(victim); roundFailed > bound {
			t.Errorf("round %d (%s): %d of %d requests failed, at most %d may:\n%s", n, op, roundFailed, roundSent, bound, why)
		}
		if got := s.appInits("steady"); !maps.Equal(got, steady) {
			t.Errorf("round %d (%s): the instances of steady were %v and are %v", n, op, steady, got)
		}
		table[op+" "+a.outcome()]++
	}
	for _, k := range slices.Sorted(maps.Keys(table)) {
		t.Logf("kill -9 %s during %s: %d", victim, k, table[k])
	}
	t.Logf("kill -9 %s: %d requests, %d failed", victim, sent, failed)
	s.must("delete", "work", "-r", "-f")
	s.must("delete", "steady", "-r", "-f")
	s.nothingLeft()
}

// allowedFailures: only requests in flight through a killed router may fail.
func allowedFailures(victim string) int64 {
	if victim == "router" {
		return 20
	}
	return 0
}

// acknowledged is one operation and what came of it.
type acknowledged struct {
	op   string
	ok   bool
	host string // map-route
	want int    // scale
	text string
}

func (a acknowledged) outcome() string {
	if a.ok {
		return "acknowledged, kept"
	}
	return "refused, nothing half done"
}

// attempt runs one operation that may be cut short.
func (s *server) attempt(dir, op string, n int) acknowledged {
	a := acknowledged{op: op}
	var r result
	switch op {
	case "push":
		r = s.weir(dir, "push", "work", "-m", "64M", "--env", fmt.Sprintf("ROUND=%d", n))
	case "map-route":
		a.host = fmt.Sprintf("r%d", n)
		r = s.weir("", "map-route", "work", "apps.localhost", "-n", a.host)
	case "scale":
		a.want = 1 + n/3%2
		r = s.weir("", "scale", "work", "-i", fmt.Sprint(a.want))
	}
	a.ok, a.text = r.code == 0, r.stdout+r.stderr
	return a
}

// holds returns nil once the server shows what it acknowledged and shows
// nothing that is neither done nor undone.
func (a acknowledged) holds(s *server) error {
	stats, err := s.tryV3("/v3/apps/" + s.guid("work") + "/processes/web/stats")
	if err != nil {
		return err
	}
	for _, i := range stats.Resources {
		if i.State != "RUNNING" {
			return fmt.Errorf("instance %d of work is %s", i.Index, i.State)
		}
	}
	if status, body, err := s.get("work.apps.localhost", "/"); err != nil || status != 200 {
		return fmt.Errorf("work answers %d %s (%v)", status, body, err)
	}
	builds, err := s.tryV3("/v3/builds?states=STAGING")
	if err != nil {
		return err
	}
	if len(builds.Resources) > 0 {
		return fmt.Errorf("%d builds are still STAGING", len(builds.Resources))
	}
	deployments, err := s.tryV3("/v3/deployments?status_values=ACTIVE&strategies=start,rolling,canary")
	if err != nil {
		return err
	}
	if len(deployments.Resources) > 0 {
		return fmt.Errorf("%d deployments are still ACTIVE", len(deployments.Resources))
	}
	switch {
	case a.op == "map-route" && a.ok:
		if status, _, err := s.get(a.host+".apps.localhost", "/"); err != nil || status != 200 {
			return fmt.Errorf("the acknowledged route answers %d (%v)", status, err)
		}
	case a.op == "scale" && a.ok:
		return s.running("work", a.want)
	}
	return nil
}

// kill9 kills a process of the server and brings the keeper back if it was it.
func (s *server) kill9(victim string) {
	s.t.Helper()
	if victim == "keeper" {
		s.killKeeper()
		s.restart()
		return
	}
	if err := syscall.Kill(s.child(victim), syscall.SIGKILL); err != nil {
		s.t.Fatal(err)
	}
}

// appInits returns the pids of one app's instances by instance GUID.
func (s *server) appInits(app string) map[string]int {
	s.t.Helper()
	var stats struct {
		Resources []struct {
			Instance string `json:"instance_guid"`
		}
	}
	s.json("/v3/apps/"+s.guid(app)+"/processes/web/stats", &stats)
	inits := s.inits()
	found := map[string]int{}
	for _, i := range stats.Resources {
		if found[i.Instance] = inits[i.Instance]; inits[i.Instance] == 0 {
			s.t.Errorf("instance %s of %s has no init", i.Instance, app)
		}
	}
	return found
}

// nothingLeft checks, after all apps are gone, that no instance, mount or
// temporary file is.
func (s *server) nothingLeft() {
	s.t.Helper()
	s.eventually(time.Minute, "nothing to be left", func() error {
		// Each run of the droplet store works in a directory of its own below
		// tmp: the present one's may be there, and must be empty.
		for _, pattern := range []string{"instances/*", "staging/*", "uploads/*", "droplets/tmp/*/*"} {
			left, err := filepath.Glob(filepath.Join(s.data(), pattern))
			if err != nil || len(left) > 0 {
				return fmt.Errorf("left: %v (%v)", left, err)
			}
		}
		mounts, err := os.ReadFile("/proc/self/mountinfo")
		if err != nil {
			return err
		}
		if strings.Contains(string(mounts), s.data()) {
			return fmt.Errorf("a mount is left under %s", s.data())
		}
		for _, p := range processes(s.t, s.data()) {
			if len(p.args) < 2 || !slices.Contains([]string{"serve", "router", "controller"}, p.args[1]) {
				return fmt.Errorf("process %d is left: %v", p.pid, p.args)
			}
		}
		return nil
	})
}

// TestRestart_EverythingComesBack stops and kills the whole platform and
// starts it again.
func TestRestart_EverythingComesBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	dir := filepath.Join(repo(t), "examples/hello-go")
	s.mustIn(dir, "push", "web", "-i", "2", "-m", "64M")
	s.must("map-route", "web", "apps.localhost", "-n", "other", "--path", "/healthz")
	s.mustIn(dir, "push", "idle", "-m", "64M", "--no-start")

	check := func(after string) {
		t.Helper()
		s.eventually(time.Minute, "web to run after "+after, func() error { return s.running("web", 2) })
		s.answers("web.apps.localhost", 200)
		if status, _, err := s.get("other.apps.localhost", "/healthz"); err != nil || status != 200 {
			t.Errorf("after %s the second route answers %d (%v)", after, status, err)
		}
		if out := s.must("apps"); !strings.Contains(out, "idle") {
			t.Errorf("after %s an app is missing:\n%s", after, out)
		}
	}
	addrAPI, addrHTTP := strings.TrimPrefix(s.api, "http://"), s.http
	s.stop()
	if left := processes(t, s.data()); len(left) > 0 {
		t.Errorf("after weir serve stopped, these are left: %v", left)
	}
	s.serve(addrAPI, addrHTTP)
	check("a clean stop")

	before := s.appInits("web")
	inits := s.inits()
	s.killKeeper()
	for _, p := range processes(t, s.data()) {
		syscall.Kill(p.pid, syscall.SIGKILL)
	}
	for _, pid := range inits {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	s.serve(addrAPI, addrHTTP)
	check("killing every process")
	for guid := range s.appInits("web") {
		if _, same := before[guid]; same {
			t.Errorf("instance %s was killed and is shown as running", guid)
		}
	}
}

// TestStop_AskedTwiceLeavesNothing is Ctrl-C in a terminal whose shell passes
// a SIGTERM on as well, while an instance takes its time.
func TestStop_AskedTwiceLeavesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	app := t.TempDir()
	procfile := "web: trap 'sleep 2; exit 0' TERM; while :; do sleep 0.05; done\n"
	must(t, "writing the app", os.WriteFile(filepath.Join(app, "Procfile"), []byte(procfile), 0o644))
	s.mustIn(app, "push", "slow", "--no-route", "-u", "process", "-m", "64M")
	inits := s.inits()
	if len(inits) != 1 {
		t.Fatalf("instances: %v", inits)
	}
	must(t, "interrupting", s.cmd.Process.Signal(os.Interrupt))
	s.eventually(time.Minute, "the stop to begin", func() error {
		if !strings.Contains(s.log(), "msg=stopping") {
			return errors.New("the log does not say so")
		}
		return nil
	})
	s.stop()
	for _, pid := range inits {
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("init %d is left: %v", pid, err)
		}
	}
	if left := processes(t, s.data()); len(left) > 0 {
		t.Errorf("these are left: %v", left)
	}
}

// TestCrash_SaysWhyAndComesBack ends an instance in three ways.
func TestCrash_SaysWhyAndComesBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.mustIn(filepath.Join(repo(t), "examples/hello-go"), "push", "web", "-m", "64M")
	s.crash("web")
	s.eventually(time.Minute, "the crash to be told and mended", func() error {
		if out := s.must("events", "web"); !strings.Contains(out, "status 3") {
			return fmt.Errorf("events say nothing of status 3:\n%s", out)
		}
		return s.running("web", 1)
	})
	s.answers("web.apps.localhost", 200)
}
