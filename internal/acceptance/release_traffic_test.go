package acceptance

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// G1: shares of versions are exact in every window; they survive what happens
// to instances and processes.
func TestRelease_SharesAreExact(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1", "v2")
	s.must("weight", "web:v1=95", "web:v2=5")
	n := 1000
	if long() {
		n = 100_000
	}
	check := func(when string) {
		t.Helper()
		got := s.ask("web.apps.localhost", "/", n)
		worst := worstWindow(got, "v2", 100, 5)
		figure(t, "G1", "95:5 "+when+", worst of all windows of 100", fmt.Sprintf("± %d", worst), "≤ 2", worst <= 2)
	}
	check("after weight")
	s.must("restart", "web")
	check("after a restart of the app")
	s.kill9("controller")
	check("after kill -9 of the controller")
	s.kill9("router")
	check("after kill -9 of the router")
	s.stop()
	s.restart()
	s.eventually(time.Minute, "both versions to be back", func() error {
		for _, v := range []string{"v1", "v2"} {
			if status, body, err := s.get(v+".web.apps.localhost", "/"); err != nil || status != 200 || body != v {
				return fmt.Errorf("%s answers %d %s (%v)", v, status, body, err)
			}
		}
		return nil
	})
	check("after a restart of everything")
	s.must("weight", "web:v2=0")
	got := s.ask("web.apps.localhost", "/", 200)
	figure(t, "G1", "requests of 200 to a version of weight 0", fmt.Sprint(count(got, "v2")), "0", count(got, "v2") == 0)
	if status, body, err := s.get("v2--web.apps.localhost", "/"); err != nil || status != 200 || body != "v2" {
		t.Errorf("a version of weight 0 must answer at its own address: %d %s (%v)", status, body, err)
	}
}

// G2: a page of twenty requests does not always send the same one to the
// canary.
func TestRelease_SharesDoNotAliasWithPages(t *testing.T) {
	s := start(t)
	s.pushVersions("web", nil, "v1", "v2")
	s.must("weight", "web:v1=95", "web:v2=5")
	const page = 20
	pages := 400
	if long() {
		pages = 1000
	}
	got := s.ask("web.apps.localhost", "/", page*pages)
	low, high := 100.0, 0.0
	for position := range page {
		n := 0
		for i := position; i < len(got); i += page {
			if got[i] == "v2" {
				n++
			}
		}
		share := 100 * float64(n) / float64(pages)
		low, high = min(low, share), max(high, share)
	}
	figure(t, "G2", fmt.Sprintf("share of each of %d positions in %d pages at 95:5", page, pages),
		fmt.Sprintf("%.1f–%.1f %%", low, high), "4–6 %", low >= 4 && high <= 6)
}

// G4, G5: switching under load fails nothing, is quick, and is over when the
// command returns.
func TestRelease_SwitchesFailNoRequest(t *testing.T) {
	switches, rate, each := 12, 200, int64(0) // requests between two switches
	if long() {
		switches, rate, each = 200, 2000, 5000
	}
	s := start(t)
	s.pushVersions("web", nil, "v1", "v2")
	resp, err := s.client2().Get("http://web.apps.localhost/")
	must(t, "asking over HTTP/2", err)
	if readAll(t, resp); resp.ProtoMajor != 2 {
		t.Errorf("the client of HTTP/2 speaks %s", resp.Proto)
	}
	// HTTP/1.1 over connections that stay, and over new ones, and HTTP/2.
	first := time.Now()
	l := startLoadOf("http://web.apps.localhost/", rate, s.client(true), s.client(false), s.client(true), s.client2())
	var took []time.Duration
	stale := 0
	for i := range switches {
		for l.sent.Load() < int64(i)*each {
			time.Sleep(10 * time.Millisecond)
		}
		to, from := "v2", "v1"
		if i%2 == 1 {
			to, from = from, to
		}
		began := time.Now()
		switch i % 3 {
		case 0:
			s.must("weight", "web:"+to+"=100", "web:"+from+"=0")
		case 1:
			s.must("route", "web", "--from", from, "--to", to)
		default:
			s.must("weight", "web:"+to, "100%")
		}
		took = append(took, time.Since(began))
		got := s.ask("web.apps.localhost", "/", 5)
		stale += 5 - count(got, to)
	}
	reached := float64(l.sent.Load()) / time.Since(first).Seconds()
	sent, failed, why := l.stop()
	slices.Sort(took)
	figure(t, "G4", fmt.Sprintf("failed of %d requests at %.0f/s through %d switches", sent, reached, switches),
		fmt.Sprint(failed), "0", failed == 0)
	if failed > 0 {
		t.Log(why)
	}
	figure(t, "G5", "requests to the old version after the command returned", fmt.Sprint(stale), "0", stale == 0)
	t.Logf("FIGURE G5   %-58s %-22s bar %-22s %s", "a switch, the command's whole run, median and slowest",
		ms(took[len(took)/2])+", "+ms(took[len(took)-1]), "< 100 ms (p99)", "printed only: depends on the machine's load")
}
