package acceptance

import (
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// G3: a client with a cookie stays with its version; raising the share of a
// version moves nobody away from it.
func TestRelease_StickyClientsStay(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1", "v2")
	s.must("sticky", "web", "cookie")
	s.must("weight", "web:v1=95", "web:v2=5")
	clients := 400
	if long() {
		clients = 10_000
	}
	shared := s.client(true).Transport
	jars := make([]*http.Client, clients)
	for i := range jars {
		jar, _ := cookiejar.New(nil)
		jars[i] = &http.Client{Transport: shared, Jar: jar, Timeout: time.Minute}
	}
	round := func() []string {
		got := make([]string, clients)
		for i, c := range jars {
			resp, err := c.Get("http://web.apps.localhost/")
			must(t, "asking", err)
			got[i] = strings.TrimSpace(string(readAll(t, resp).body))
		}
		return got
	}
	first, changes := round(), 0
	for range 3 {
		for i, label := range round() {
			if label != first[i] {
				changes++
			}
		}
	}
	figure(t, "G3", fmt.Sprintf("version changes of %d clients at 95:5", clients), fmt.Sprint(changes), "0", changes == 0)
	s.must("weight", "web:v1=75", "web:v2=25")
	left, second := 0, round()
	for i, label := range second {
		if first[i] == "v2" && label != "v2" {
			left++
		}
	}
	figure(t, "G3", "clients that left v2 when its share rose from 5 to 25 %", fmt.Sprint(left), "0", left == 0)
	share := 100 * float64(count(second, "v2")) / float64(clients)
	figure(t, "G3", "share of clients on v2 at 25 %", fmt.Sprintf("%.1f %%", share), "15–35 %", share > 15 && share < 35)
	s.must("weight", "web:v1=100", "web:v2=0")
	if n := count(round(), "v2"); n != 0 {
		t.Errorf("%d clients are still on a version of weight 0", n)
	}
}

// G6: what takes long survives a deployment.
func TestRelease_LongRequestsSurviveADeployment(t *testing.T) {
	n, hold := 30, 15*time.Second // in which all have to begin
	if long() {
		n, hold = 200, time.Minute
	}
	s := start(t)
	s.pushVersions("web", nil, "v1")
	s.must("drain", "web", "90s")
	s.must("update-route", "apps.localhost", "-n", "web", "-o", "timeout=90s") // a minute unless somebody says otherwise
	var wg sync.WaitGroup
	var cut atomic.Int64
	client := s.client(false)
	client.Timeout = 2 * time.Minute
	for range n {
		wg.Go(func() {
			resp, err := client.Get("http://web.apps.localhost/slow?for=" + hold.String())
			if err != nil {
				t.Log(err)
				cut.Add(1)
				return
			}
			if a := readAll(t, resp); a.status != 200 || string(a.body) != "v1" {
				t.Logf("%d %s", a.status, a.body)
				cut.Add(1)
			}
		})
	}
	s.eventually(time.Minute, "all of them to be with the app", func() error {
		if _, held, err := s.get("web.apps.localhost", "/held"); held != fmt.Sprint(n) {
			return fmt.Errorf("it holds %s (%v)", held, err)
		}
		return nil
	})
	s.mustIn("testdata/flaky", "push", "web", "-m", "64M", "--env", "LABEL=v2")
	wg.Wait()
	figure(t, "G6", fmt.Sprintf("cut of %d answers of %s through a push", n, hold), fmt.Sprint(cut.Load()), "0", cut.Load() == 0)
}

// G7: a pause holds requests and lets them go, each once.
func TestRelease_PauseHoldsRequests(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1")
	s.must("pause", "web", "--max", "60s", "--wait")
	const n = 500
	var wg sync.WaitGroup
	var ok atomic.Int64
	early := time.Now()
	c := s.client(true)
	c.Timeout = time.Minute
	var firstAnswer atomic.Int64
	for range n {
		wg.Go(func() {
			resp, err := c.Post("http://web.apps.localhost/", "text/plain", strings.NewReader("x"))
			if err != nil {
				t.Log(err)
				return
			}
			firstAnswer.CompareAndSwap(0, int64(time.Since(early)))
			if a := readAll(t, resp); a.status == 200 {
				ok.Add(1)
			} else {
				t.Logf("%d %s", a.status, a.body)
			}
		})
	}
	time.Sleep(3 * time.Second)
	if first := time.Duration(firstAnswer.Load()); first != 0 {
		t.Errorf("a request was answered %s into the pause", first)
	}
	s.must("resume", "web")
	wg.Wait()
	figure(t, "G7", fmt.Sprintf("answered of %d POSTs held for 3 s", n), fmt.Sprint(ok.Load()), fmt.Sprint(n), ok.Load() == n)

	s.must("maintenance", "web", "on")
	status, body, err := s.get("web.apps.localhost", "/")
	if err != nil || status != 503 {
		t.Errorf("in maintenance: %d %s (%v)", status, body, err)
	}
	s.must("maintenance", "web", "off")
	if status, body, err := s.get("web.apps.localhost", "/"); err != nil || status != 200 {
		t.Errorf("after maintenance: %d %s (%v)", status, body, err)
	}
}
