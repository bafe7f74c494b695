package acceptance

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd sends requests, each client the next one a moment after the answer,
// until it goes.
type crowd struct {
	going chan struct{}
	wg    sync.WaitGroup
	sent  atomic.Int64
}

func (s *server) startCrowd(host string, clients int) *crowd {
	w := &crowd{going: make(chan struct{})}
	c := s.client(true)
	for range clients {
		w.wg.Go(func() {
			for {
				select {
				case <-w.going:
					return
				case <-time.After(3 * time.Millisecond):
				}
				resp, err := c.Get("http://" + host + "/")
				if err != nil {
					time.Sleep(10 * time.Millisecond)
					continue
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				w.sent.Add(1)
			}
		})
	}
	return w
}

func (w *crowd) goes() {
	close(w.going)
	w.wg.Wait()
}

// tell sets the knobs of one version, at its own address: such requests are
// no evidence.
func (s *server) tell(app, version, knobs string) {
	s.t.Helper()
	if status, body, err := s.get(version+"--"+app+".apps.localhost", "/set?"+knobs); err != nil || status != http.StatusOK {
		s.t.Fatalf("telling %s: %d %s (%v)", version, status, body, err)
	}
}

// onlyStep is a plan that stays at a share until the judge objects. The first
// requests to the new version are no evidence: meanwhile the judge learns how
// long the other one takes.
func onlyStep(percent, warmup int, judge string) string {
	return fmt.Sprintf(`{"steps":[{"weight":%d,"bake":"1h"}],"judge":{%s},"min-requests":0,"warmup":"0s","warmup-requests":%d,"keep-bad":"0s"}`, percent, judge, warmup)
}

// What the judge looks at, and how sure it must be: the bars are for one good
// version of a hundred rejected, here by one stream alone.
const (
	onlyErrors  = `"error":{"alpha":0.01},"latency":{"off":true}`
	onlyLatency = `"error":{"off":true},"latency":{"alpha":0.01,"slack":"0s"}`
)

// quantiles returns the median and the nine-tenths quantile.
func quantiles(all []int) (median, most int) {
	slices.Sort(all)
	return all[(len(all)-1)/2], all[(len(all)*9-1)/10]
}

// regression is a way in which a version is worse, and how soon it must be
// found.
type regression struct {
	goal, what   string
	main         string // knobs
	env          map[string]string
	short, runs  int    // how often, in the short and in the long form
	median, most int    // of the long form
	single       int    // of the median in the short form: what next to no run needs
	clients      int    // at a time
	apps         int    // that share the runs, each with as many clients
	by           string // what must have found it
	judge        string
}

// count is how often it is tried.
func (c *regression) count() int {
	if long() {
		return c.runs
	}
	return c.short
}

// warmup is how many requests of the new version come first: at 5 % there are
// about the 2000 of the other one that the bars reckon with.
func (c *regression) warmup() int {
	if c.by == "latency" {
		return 100
	}
	return 0
}

var regressions = []regression{
	{"G8", "errors 1→5 % at 5 %", "ERRORS=0.01", map[string]string{"ERRORS": "0.05"}, 2, 100, 170, 350, 700, 4, 1, "errors", onlyErrors},
	{"G8", "errors 1→20 % at 5 %", "ERRORS=0.01", map[string]string{"ERRORS": "0.2"}, 0, 100, 20, 45, 0, 2, 1, "errors", onlyErrors},
	{"G8", "all failing at 5 %", "ERRORS=0.01", map[string]string{"ERRORS": "1"}, 3, 100, 5, 8, 8, 1, 1, "errors", onlyErrors},
	{"G8", "errors 0.1→1 % at 5 %", "ERRORS=0.001", map[string]string{"ERRORS": "0.01"}, 0, 50, 490, 1100, 0, 8, 1, "errors", onlyErrors},
	{"G8", "errors 1→2 % at 5 %", "ERRORS=0.01", map[string]string{"ERRORS": "0.02"}, 0, 40, 1700, 3600, 0, 12, 1, "errors", onlyErrors},
	{"G10", "20 % slower (σ 0.5) at 5 %", "ERRORS=0&MEDIAN_MS=100", map[string]string{"MEDIAN_MS": "120"}, 2, 50, 100, 200, 600, 32, 1, "latency", onlyLatency},
	{"G10", "20 % slower (σ 1) at 5 %", "ERRORS=0&MEDIAN_MS=100&SIGMA=1", map[string]string{"MEDIAN_MS": "120", "SIGMA": "1"}, 0, 50, 350, 700, 0, 16, 8, "latency", onlyLatency},
	{"G10", "5 % five times as slow (σ 0.5) at 5 %", "ERRORS=0&MEDIAN_MS=100", map[string]string{"MEDIAN_MS": "100", "TAIL": "0.05"}, 0, 50, 200, 400, 0, 16, 8, "latency", onlyLatency},
}

// G8, G10, G11: how many requests of the new version a regression takes until
// it is found, and how long it takes from then until nobody gets it any more.
func TestRelease_RegressionsAreFoundSoon(t *testing.T) {
	s := start(t)
	var mu sync.Mutex // guards found
	found := map[string][]rolled{}
	replayed := t.Run("all", func(t *testing.T) {
		for i, c := range regressions {
			for app := range c.apps {
				runs := c.count() / c.apps
				if app < c.count()%c.apps {
					runs++
				}
				if runs == 0 {
					continue
				}
				t.Run(c.what, func(t *testing.T) {
					t.Parallel() // each with an app of its own
					s := *s
					s.t = t
					more := s.find(fmt.Sprintf("app%d-%d", i, app), &c, runs)
					mu.Lock()
					defer mu.Unlock()
					found[c.what] = append(found[c.what], more...)
				})
			}
		}
	})
	rollouts, slowest, hurt := 0, 0.0, 0
	for _, c := range regressions {
		if len(found[c.what]) == 0 {
			continue
		}
		var requests []int
		for _, r := range found[c.what] {
			rollouts++
			requests = append(requests, r.Usage.Candidate.Requests-c.warmup())
			slowest, hurt = max(slowest, r.Explanation.SwitchSeconds), max(hurt, r.Usage.Candidate.Bad)
		}
		median, most := quantiles(requests)
		got := fmt.Sprintf("%d (90 %%: %d)", median, most)
		what := fmt.Sprintf("%s: canary requests until found, %d runs", c.what, len(requests))
		if long() {
			figure(t, c.goal, what, got, fmt.Sprintf("≤ %d (%d)", c.median, c.most), median <= c.median && most <= c.most)
		} else {
			figure(t, c.goal, what, got, fmt.Sprintf("≤ %d (long form: %d)", c.single, c.median), median <= c.single)
		}
	}
	t.Logf("FIGURE G11  %-58s %-22s bar %-22s %s", "slowest of all ways back, from the decision to the router",
		fmt.Sprintf("%.0f ms", 1000*slowest), "< 50 ms", "printed only: depends on the machine's load")
	figure(t, "G23", fmt.Sprintf("replays of %d rollouts that came to something else", rollouts), map[bool]string{true: "0", false: "some"}[replayed], "0", replayed)
	t.Logf("FIGURE G11  %-58s %-22s bar %-22s %s", "most users hit by a failure before a way back", fmt.Sprint(hurt), "none given", "printed")
}

// find rolls a bad version out over and over, until it is found each time.
func (s *server) find(app string, c *regression, runs int) (found []rolled) {
	s.t.Helper()
	host := app + ".apps.localhost"
	s.pushVersions(app, nil, "v1")
	s.tell(app, "v1", c.main)
	w := s.startCrowd(host, c.clients)
	defer w.goes()
	for n := range runs {
		r := s.ended(s.roll(app, fmt.Sprintf("v%d", n+2), c.env, onlyStep(5, c.warmup(), c.judge)))
		if r.State != "rolled-back" || !strings.HasPrefix(r.Reason, c.by) {
			s.t.Fatalf("%s: it is %s: %s", c.what, r.State, r.Reason)
		}
		found = append(found, r)
	}
	if got := s.served(host, 100); got["v1"]+got["500"] != 100 { // v1 fails now and then
		s.t.Errorf("after all of them: %v", got)
	}
	return found
}

// await waits until a crowd has sent n more requests.
func (s *server) await(w *crowd, n int) {
	s.t.Helper()
	from := w.sent.Load()
	s.eventually(15*time.Minute, "requests", func() error {
		if sent := w.sent.Load() - from; sent < int64(n) {
			return fmt.Errorf("%d of %d", sent, n)
		}
		return nil
	})
}

// G9: a version as good as the other is left alone, whatever hits both.
func TestRelease_HealthyVersionsAreLeftAlone(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	rollouts, perStep, clients := 2, 600, 4
	if long() {
		rollouts, perStep, clients = 40, 12_500, 12
	}
	plan := `{"steps":[{"weight":5,"bake":"1h"},{"weight":25,"bake":"1h"},{"weight":50,"bake":"1h"}],"min-requests":0,"warmup":"0s","keep-bad":"0s","keep-old":"0s"}`
	w := s.startCrowd("web.apps.localhost", clients)
	defer w.goes()
	alarms, main := 0, "v1"
	for i := range rollouts {
		s.tell("web", main, "ERRORS=0.01")
		label := fmt.Sprintf("v%d", i+2)
		r := s.roll("web", label, map[string]string{"ERRORS": "0.01"}, plan)
		for step := 1; step <= 3; step++ {
			s.eventually(time.Minute, "the step", func() error {
				if r = s.rolled("/v3/rollouts/" + r.GUID); r.Over || r.Step == step && r.State == "baking" {
					return nil
				}
				return fmt.Errorf("step %d, %s", r.Step, r.State)
			})
			if r.Over {
				break
			}
			s.await(w, perStep)
			if step == 3 { // everything they both need breaks, and is mended
				s.tell("web", main, "ERRORS=0.2")
				s.tell("web", label, "ERRORS=0.2")
				s.await(w, perStep)
				s.tell("web", label, "ERRORS=0.01") // never only the new one
				s.tell("web", main, "ERRORS=0.01")
			}
			if r = s.rolled("/v3/rollouts/" + r.GUID); !r.Over {
				s.must("curl", "-X", "POST", "/v3/rollouts/"+r.GUID+"/actions/promote", "-d", "{}")
			}
		}
		if r = s.ended(r); r.State != "done" {
			alarms++
			t.Logf("%s was %s: %s", label, r.State, r.Reason)
			continue
		}
		main = label
	}
	figure(t, "G9", fmt.Sprintf("false alarms in %d rollouts with an incident of both versions", rollouts), fmt.Sprint(alarms), "0", alarms == 0)
}

// counted returns how many requests of the new version a rollout knows of, once
// it knows of all that were sent.
func (s *server) counted(r rolled) (n int) {
	s.t.Helper()
	since := time.Now()
	s.eventually(time.Minute, "the count to stand still", func() error {
		was := n
		if n = s.rolled("/v3/rollouts/" + r.GUID).Usage.Candidate.Requests; n != was {
			since = time.Now()
		}
		if time.Since(since) < 2*time.Second {
			return fmt.Errorf("it is at %d", n)
		}
		return nil
	})
	return n
}

// G12: a version that turns bad late is found all the same.
func TestRelease_LateRegressionsAreFound(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	s.tell("web", "v1", "ERRORS=0.01")
	calm, late, clients := 2000, 1, 4
	if long() {
		calm, late, clients = 170_000, 5, 12
	}
	var found []int
	for i := range late {
		label := fmt.Sprintf("late%d", i)
		r := s.roll("web", label, map[string]string{"ERRORS": "0.01"}, onlyStep(50, 0, onlyErrors))
		s.eventually(time.Minute, "the step", func() error {
			if r = s.rolled("/v3/rollouts/" + r.GUID); r.State != "baking" {
				return fmt.Errorf("it is %s", r.State)
			}
			return nil
		})
		w := s.startCrowd("web.apps.localhost", clients)
		s.await(w, calm+i*1000/late) // anywhere between two of the judge's occasions
		w.goes()
		before := s.counted(r)
		s.tell("web", label, "ERRORS=0.05")
		w = s.startCrowd("web.apps.localhost", clients)
		r = s.ended(r)
		if w.goes(); r.State != "rolled-back" {
			t.Fatalf("it is %s: %s", r.State, r.Reason)
		}
		found = append(found, r.Usage.Candidate.Requests-before)
	}
	median, most90 := quantiles(found)
	what := fmt.Sprintf("1→5 %% at 50 %% after %d requests: canary requests until found, %d runs", calm, late)
	if long() {
		figure(t, "G12", what, fmt.Sprintf("%d (90 %%: %d)", median, most90), "≤ 1000", median <= 1000)
	} else {
		figure(t, "G12", what, fmt.Sprint(median), "≤ 3000 (long form: 1000)", median <= 3000)
	}
	s.must("rollout", "replay", "web")
}
