package acceptance

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"
)

// rolloutArgs push a candidate through one judged step and then all the way.
func rolloutArgs(app, label string, more ...string) []string {
	return append([]string{
		"push", app, "-m", "64M", "--version", label, "--strategy", "canary", "--steps", "20,100", "--bake", "4s",
		"--min-requests", "50", "--warmup", "0s", "--env", "LABEL=" + label,
	}, more...)
}

// served counts, by answer, what a client of the app gets in n requests at
// 250 a second; failures are counted under their status.
func (s *server) served(host string, n int) map[string]int {
	got, c := map[string]int{}, s.client(true)
	tick := time.NewTicker(4 * time.Millisecond)
	defer tick.Stop()
	for range n {
		<-tick.C
		resp, err := c.Get("http://" + host + "/")
		if err != nil {
			got[err.Error()]++
			continue
		}
		a := readAll(s.t.(*testing.T), resp)
		if a.status != 200 {
			got[fmt.Sprint(a.status)]++
			continue
		}
		got[strings.TrimSpace(string(a.body))]++
	}
	return got
}

// A rollout of a healthy version ends with all requests there.
func TestRelease_RolloutOfAHealthyVersionIsPromoted(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	l := s.startLoad("http://web.apps.localhost/", 100)
	r := s.weir("testdata/flaky", rolloutArgs("web", "v2")...)
	sent, failed, why := l.stop()
	if r.code != 0 {
		t.Fatalf("exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	figure(t, "G4", fmt.Sprintf("failed of %d requests while v2 was rolled out", sent), fmt.Sprint(failed), "0", failed == 0)
	if failed > 0 {
		t.Log(why)
	}
	if got := s.served("web.apps.localhost", 100); got["v2"] != 100 {
		t.Errorf("after the rollout: %v", got)
	}
	if out := s.must("rollout", "why", "web"); !strings.Contains(out, "v2") {
		t.Errorf("why says: %s", out)
	}
	s.must("rollout", "replay", "web")
}

// G8, G11, G18: a version that fails is found and taken back, its
// configuration with it, and the platform says why.
func TestRelease_RolloutOfABadVersionIsRolledBack(t *testing.T) {
	runs, most, bar := 2, int64(150), "≤ 150 (long form: 45)" // a busy machine is late to act
	if long() {
		runs, most, bar = 20, 45, "≤ 45"
	}
	s := start(t)
	s.pushVersions("web", nil, "v1")
	for i := range runs {
		label := fmt.Sprintf("v%d", i+2)
		l := s.startLoad("http://web.apps.localhost/", 150)
		r := s.weir("testdata/flaky", rolloutArgs("web", label, "--env", "ERRORS=0.5", "--env", "COLOR=red")...)
		sent, failed, _ := l.stop()
		if r.code != 6 {
			t.Fatalf("exit %d, want 6 (rolled back)\n%s%s", r.code, r.stdout, r.stderr)
		}
		// At a share of 20 % and half of its requests failing.
		figure(t, "G8", fmt.Sprintf("run %d: failed of %d requests until 50%% errors were found", i+1, sent),
			fmt.Sprint(failed), bar, failed <= most)
		if got := s.served("web.apps.localhost", 100); got["v1"] != 100 {
			t.Errorf("after the rollback: %v", got)
		}
		why := s.must("rollout", "why", "web")
		for _, word := range []string{label, "was taken back", "errors: " + label + " failed", "at most 1 of 200", label + " could not answer GET /", "next"} {
			if !strings.Contains(why, word) {
				t.Errorf("why does not say %q:\n%s", word, why)
			}
		}
		if i == 0 {
			t.Logf("rollout why:\n%s", why)
		}
		if env := s.must("env", "web"); strings.Contains(env, "red") {
			t.Errorf("G18: the configuration of the bad version stayed:\n%s", env)
		}
	}
	s.must("rollout", "replay", "web")
}

// G13: killed with -9 in the middle of a step, the platform goes on with the
// rollout, or takes it back; it never advances blindly.
func TestRelease_RolloutSurvivesKills(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	before := s.appInits("web")
	for _, victim := range []string{"controller", "router"} {
		label := map[string]string{"controller": "v2", "router": "v3"}[victim]
		l := s.startLoad("http://web.apps.localhost/", 100)
		args := append(rolloutArgs("web", label), "--no-wait")
		s.mustIn("testdata/flaky", args...)
		s.eventually(time.Minute, "the step to begin", func() error {
			if got := s.served("web.apps.localhost", 50); got[label] == 0 {
				return fmt.Errorf("served %v", got)
			}
			return nil
		})
		s.kill9(victim)
		got := s.served("web.apps.localhost", 200)
		if share := got[label]; share > 60 && share < 200 {
			t.Errorf("after kill -9 of the %s, %d of 200 requests went to %s: %v", victim, share, label, got)
		}
		s.eventually(60*time.Second, "the rollout to end", func() error {
			var out struct {
				Rollout struct{ State string } `json:"rollout"`
			}
			r := s.weir("", "rollout", "status", "web", "-o", "json")
			if err := json.Unmarshal([]byte(r.stdout), &out); err != nil {
				return fmt.Errorf("%w: %s%s", err, r.stdout, r.stderr)
			}
			switch state := out.Rollout.State; state {
			case "done", "rolled-back", "finishing":
				return nil
			case "paused": // a crash of the platform right after a step asks for a look
				if r := s.weir("", "rollout", "resume", "web"); r.code != 0 {
					return fmt.Errorf("resuming: %s", r.stderr)
				}
				return fmt.Errorf("it was paused")
			default:
				return fmt.Errorf("it is %s", state)
			}
		})
		sent, failed, why := l.stop()
		bound := allowedFailures(victim)
		figure(t, "G13", fmt.Sprintf("failed of %d requests with kill -9 of the %s in a step", sent, victim),
			fmt.Sprint(failed), fmt.Sprintf("≤ %d", bound), failed <= bound)
		if failed > bound {
			t.Log(why)
		}
	}
	for guid, pid := range s.appInits("web") {
		if was, ok := before[guid]; ok && was != pid {
			t.Errorf("instance %s was %d and is %d", guid, was, pid)
		}
	}
}
