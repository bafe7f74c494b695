package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// long reports whether the figures of a release are wanted rather than a check
// that fits a test run: WEIR_LONG=1.
func long() bool { return os.Getenv("WEIR_LONG") != "" }

// TestBlueGreen_ScriptUnderLoadFailsNoRequest runs examples/blue-green as a
// person would, over and over, while requests come in at a steady rate.
func TestBlueGreen_ScriptUnderLoadFailsNoRequest(t *testing.T) {
	rounds, rate, least := 2, 200, int64(0)
	if long() {
		rounds, rate, least = 20, 500, 30_000
	}
	s := start(t)
	dir := filepath.Join(repo(t), "examples", "blue-green")
	script := func(args ...string) string {
		cmd := exec.Command("bash", append([]string{filepath.Join(dir, "blue-green.sh")}, args...)...)
		cmd.Dir = dir
		cmd.Env = append(s.env(), "CF="+binary)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("blue-green.sh: %v\n%s", err, out)
		}
		return string(out)
	}
	script() // the first run makes the apps
	s.answers("live.apps.localhost", 200)

	l := s.startLoad("http://live.apps.localhost/", rate)
	for range rounds {
		script()
	}
	for l.sent.Load() < least {
		script()
	}
	sent, failed, why := l.stop()
	t.Logf("%d requests at %d/s through %d runs of the script: %d failed", sent, rate, rounds, failed)
	if failed > 0 {
		t.Errorf("%d of %d requests failed:\n%s", failed, sent, why)
	}
	if len(l.bodies) < 2 {
		t.Errorf("only one version answered: %v", l.bodies)
	}
}

// TestWeights_ShareHoldsInEveryHundredRequests maps two apps to one route and
// counts, over one connection, who answers.
func TestWeights_ShareHoldsInEveryHundredRequests(t *testing.T) {
	s := start(t)
	for _, v := range []string{"v1", "v2"} {
		s.mustIn(filepath.Join(repo(t), "examples/hello-go"), "push", "web-"+v, "-m", "64M", "--no-route")
	}
	s.must("map-route", "web-v1", "apps.localhost", "-n", "live", "--weight", "95")
	s.must("map-route", "web-v2", "apps.localhost", "-n", "live", "--weight", "5")
	share := func() []bool {
		var got []bool
		c := s.client(true)
		for range 400 {
			resp, err := c.Get("http://live.apps.localhost/")
			must(t, "asking", err)
			a := readAll(t, resp)
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			got = append(got, strings.Contains(string(a.body), "web-v2"))
		}
		return got
	}
	check := func(when string, want int) {
		t.Helper()
		got := share()
		for i := 0; i+100 <= len(got); i++ {
			n := 0
			for _, v2 := range got[i : i+100] {
				if v2 {
					n++
				}
			}
			if n < want-2 || n > want+2 {
				t.Fatalf("%s: %d of the 100 requests from %d on went to v2, want %d ± 2", when, n, i, want)
			}
		}
	}
	check("after map-route", 5)
	s.must("update-route", "apps.localhost", "-n", "live", "--weight", "web-v1=70", "--weight", "web-v2=30")
	check("after update-route", 30)
	s.must("restart", "web-v2")
	check("after a restart", 30)
	s.crash("web-v2")
	s.eventually(time.Minute, "the crash to be noticed", func() error {
		if out := s.must("events", "web-v2"); !strings.Contains(out, "status 3") {
			return fmt.Errorf("events say nothing of status 3:\n%s", out)
		}
		return nil
	})
	s.eventually(time.Minute, "web-v2 to be back", func() error {
		if _, body, err := s.get("live.apps.localhost", "/"); err != nil || !strings.Contains(body, "web-v2") {
			return fmt.Errorf("it answers %q (%v)", body, err)
		}
		return nil
	})
	check("after a crash", 30)
	s.must("update-route", "apps.localhost", "-n", "live", "--weight", "web-v1=100", "--weight", "web-v2=0")
	check("with a weight of 0", 0)
	if err := s.running("web-v2", 1); err != nil {
		t.Errorf("a weight of 0 must keep it running: %v", err)
	}
}
