package router

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"testing"
	"time"
)

// versions is a route over two versions of one app with the given shares.
func versions(host, mainAddr, canaryAddr string, split uint64, weights ...int) Route {
	main, canary := to("app", mainAddr), to("app", canaryAddr)
	main.Version, main.Label, main.Split, main.Weight = "g1", "v1", split, weights[0]
	canary.Version, canary.Label, canary.Split, canary.Weight = "g2", "v2", split, weights[1]
	canary.Backends[0].InstanceGUID = "canary-0"
	return Route{Host: host, GUID: host, Destinations: []Destination{main, canary}, Options: map[string]string{}}
}

// evidenceOf returns what was counted of all requests so far, also by version
// and split. A client may have its answer before the request is counted.
func evidenceOf(t *testing.T, g *rig, q EvidenceQuery) (Evidence, map[string]VersionEvidence) {
	t.Helper()
	eventually(t, "the requests are over", func() bool { return g.r.metrics.requests.Load() == 0 })
	e, err := g.ctl.Evidence(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	byVersion := map[string]VersionEvidence{}
	for _, s := range e.Splits {
		for _, v := range s.Versions {
			byVersion[fmt.Sprint(v.Version, "/", s.Split)] = v
		}
	}
	return e, byVersion
}

func TestEvidence_CountsWhatTheSharesAssigned(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	bad := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/bad" {
			w.WriteHeader(500)
		}
		_, _ = io.WriteString(w, "canary")
	}
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, bad), 7, 50, 50)
	r.Options["version-header"] = "in"
	g.upsert(r)
	c := g.client()
	for i := range 100 {
		get(t, c, fmt.Sprintf("http://a.test/items/%d", i), "X-Forwarded-For", fmt.Sprintf("192.0.2.%d", i%50))
	}
	for range 10 { // chosen by a header: not for the judge
		if got := get(t, c, "http://a.test/bad", "X-Route-Version", "v2"); got.status != 500 {
			t.Fatalf("got %+v", got)
		}
	}
	var e Evidence
	var by map[string]VersionEvidence
	eventually(t, "all are counted", func() bool {
		e, by = evidenceOf(t, g, EvidenceQuery{})
		return by["g1/7"].Requests+by["g2/7"].Requests >= 100
	})
	one, two := by["g1/7"], by["g2/7"]
	if one.Requests+two.Requests != 100 || two.Requests < 48 || two.Requests > 52 || one.Bad+two.Bad != 0 || len(e.Splits[0].Bad) != 0 {
		t.Errorf("got %+v", e)
	}
	latencies := uint64(0)
	for _, n := range two.Latency {
		latencies += uint64(n)
	}
	if latencies != two.Requests || two.Clients < 15 || two.Clients > 40 || two.Status[2] != two.Requests {
		t.Errorf("got %+v", two)
	}
	bits := 0
	for _, b := range two.Endpoints {
		for ; b != 0; b &= b - 1 {
			bits++
		}
	}
	if bits != 1 {
		t.Errorf("%d endpoints", bits)
	}
	failed := 0
	for range 20 {
		if get(t, c, "http://a.test/bad").status == 500 {
			failed++
		}
	}
	eventually(t, "what failed is counted", func() bool {
		e, by = evidenceOf(t, g, EvidenceQuery{After: []EvidenceCursor{{App: "app", Split: 7}}})
		return by["g2/7"].Bad == uint64(failed)
	})
	if by["g2/7"].Bad != uint64(failed) || len(e.Splits[0].Bad) != failed {
		t.Fatalf("%d failed, got %+v", failed, e)
	}
	if ev := e.Splits[0].Bad[failed-1]; ev.Seq != uint64(failed) || ev.Version != "g2" || ev.Status != 500 || ev.Path != "/bad" || ev.RequestID == "" || ev.Client == 0 {
		t.Errorf("got %+v", ev)
	}
}

// One version may have all requests, or all but those of a ring.
// A version that has lost a page answers 404 faster than ever; a monitor's pings
// say nothing about what people get.
func TestEvidence_CountsWhatIsAskedFor(t *testing.T) {
	g := run(t)
	lost := func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(404) }
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, lost), 7, 50, 50)
	for i := range r.Destinations {
		r.Destinations[i].Counting = &Counting{Statuses: []int{404}, Exclude: []string{"/health"}}
	}
	g.upsert(r)
	c := g.client()
	for _, path := range []string{"/page", "/health", "/health/deep", "/healthy"} {
		for range 20 {
			get(t, c, "http://a.test"+path)
		}
	}
	var by map[string]VersionEvidence
	eventually(t, "all are counted", func() bool {
		_, by = evidenceOf(t, g, EvidenceQuery{})
		return by["g1/7"].Requests+by["g2/7"].Requests >= 40
	})
	if one, two := by["g1/7"], by["g2/7"]; one.Requests+two.Requests != 40 || one.Bad != 0 || two.Bad != two.Requests || two.Bad < 18 {
		t.Errorf("main %+v, canary %+v", one, two)
	}
}

func TestEvidence_CountsWithoutACompetitor(t *testing.T) {
	g := run(t)
	bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, bad), 1, 100, 0)
	r.Destinations[1].Match = []Match{{Header: "X-Ring", Exact: "0"}}
	g.upsert(r)
	c := g.client()
	for range 3 {
		get(t, c, "http://a.test/")
		get(t, c, "http://a.test/bad", "X-Ring", "0")
	}
	e, by := evidenceOf(t, g, EvidenceQuery{})
	one, two := by["g1/1"], by["g2/1"]
	if one.Requests != 3 || one.Matched != 0 || two.Requests != 0 || two.Bad != 0 || two.Matched != 3 || two.MatchedBad != 3 || two.Clients == 0 || two.Status[5] != 0 {
		t.Errorf("got %+v", e)
	}
	if all := e.Splits[0].Bad; len(all) != 3 || !all[0].Matched || all[0].Version != "g2" || all[0].Path != "/bad" {
		t.Errorf("bad are %+v", all)
	}
	r.Destinations[1].Match, r.Destinations[0].Weight, r.Destinations[1].Weight = nil, 0, 100
	r.Destinations[0].Split, r.Destinations[1].Split = 2, 2
	g.upsert(r)
	for range 3 {
		get(t, c, "http://a.test/")
	}
	if e, by = evidenceOf(t, g, EvidenceQuery{}); by["g2/2"].Requests != 3 || by["g2/2"].Bad != 3 || by["g1/2"].Requests != 0 {
		t.Errorf("with all of it: %+v", e)
	}
	r.Destinations = r.Destinations[1:] // nobody is left to go back to
	r.Destinations[0].Split = 3
	g.upsert(r)
	get(t, c, "http://a.test/")
	if e, by = evidenceOf(t, g, EvidenceQuery{}); by["g2/3"].Requests != 0 {
		t.Errorf("alone: %+v", e)
	}
}

func TestEvidence_ComesAtOnceAfterABadEvent(t *testing.T) {
	g := run(t)
	// A version that cannot be reached: every attempt is repeated elsewhere.
	g.upsert(versions("a.test", serveApp(t, sayName("main")), deadAddr(t), 1, 50, 50))
	type result struct {
		e    Evidence
		took time.Duration
	}
	got := make(chan result, 1)
	begun := time.Now()
	go func() {
		e, _ := g.ctl.Evidence(context.WithoutCancel(t.Context()), EvidenceQuery{WaitMS: 30_000})
		got <- result{e, time.Since(begun)}
	}()
	eventually(t, "somebody waits", func() bool { return g.r.evidence.waiting.Load() == 1 })
	c := g.client()
	for range 4 {
		if a := get(t, c, "http://a.test/"); a.body != "main" {
			t.Fatalf("got %+v", a)
		}
	}
	r := <-got
	if len(r.e.Splits) != 1 || len(r.e.Splits[0].Bad) == 0 || r.e.Splits[0].Bad[0].Version != "g2" || r.took > 25*time.Second {
		t.Errorf("after %s: %+v", r.took, r.e)
	}
	_, by := evidenceOf(t, g, EvidenceQuery{})
	if by["g1/1"].Bad != 0 || by["g2/1"].Failover != by["g2/1"].Requests {
		t.Errorf("got %+v", by)
	}
}

// Who judges a version waits for its failures alone: those of the other one
// speak for it.
func TestEvidence_TheWaitForOneVersionIsNotEndedByAnother(t *testing.T) {
	g := run(t)
	g.upsert(versions("a.test", serveApp(t, sayName("main")), deadAddr(t), 1, 50, 50))
	ask := func(ctx context.Context, version string) <-chan Evidence {
		got := make(chan Evidence, 1)
		go func() {
			e, _ := g.ctl.Evidence(ctx, EvidenceQuery{WaitMS: 30_000, For: version})
			got <- e
		}()
		return got
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	defer cancel()
	good, bad := ask(ctx, "g1"), ask(ctx, "g2")
	eventually(t, "both wait", func() bool { return g.r.evidence.waiting.Load() == 2 })
	c := g.client()
	for range 4 {
		get(t, c, "http://a.test/")
	}
	if e := <-bad; len(e.Splits) != 1 || len(e.Splits[0].Bad) == 0 {
		t.Errorf("got %+v", e)
	}
	select {
	case e := <-good:
		t.Errorf("the wait was ended by another version: %+v", e)
	default:
	}
	cancel()
	<-good
	eventually(t, "nobody waits", func() bool { return g.r.evidence.waiting.Load() == 0 })
}

func TestEvidence_IsNotCountedUnlessAllSharesAreServed(t *testing.T) {
	g := run(t)
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, sayName("canary")), 1, 95, 5)
	r.Destinations[1].Backends = nil
	g.upsert(r)
	c := g.client()
	get(t, c, "http://a.test/")
	if e, _ := evidenceOf(t, g, EvidenceQuery{}); len(e.Splits) != 0 {
		t.Errorf("got %+v", e)
	}
	for split := uint64(2); split < 10; split++ {
		g.upsert(versions("a.test", serveApp(t, sayName("main")), serveApp(t, sayName("canary")), split, 95, 5))
		get(t, c, "http://a.test/")
	}
	eventually(t, "the last split is counted, and few others are kept", func() bool {
		e, by := evidenceOf(t, g, EvidenceQuery{Apps: []string{"app"}})
		return len(e.Splits) <= maxSplits+1 && e.Splits[len(e.Splits)-1].Split == 9 && by["g1/9"].Requests+by["g2/9"].Requests == 1
	})
}

func TestEvidence_IsFoundWithoutAllocating(t *testing.T) {
	r := New(Config{})
	if err := r.put(Table{Number: 1, Routes: []Route{versions("a.test", "127.0.0.1:1", "127.0.0.1:2", 1, 50, 50)}}); err != nil {
		t.Fatal(err)
	}
	got := testing.AllocsPerRun(1000, func() {
		tr := trip{r: r, begun: r.now()}
		tr.rec.status = 200
		if tr.choose(ask{method: "GET", host: "a.test", path: "/items/12345", wish: wish{index: -1}, client: netip.MustParseAddr("192.0.2.1")}) != reasonNone || tr.claim() != reasonNone {
			t.Fatal("not claimed")
		}
		tr.answered()
		tr.unclaim()
		r.evidence.count(&tr, reasonNone)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func TestSticky_UsersOfFivePercentStayInAtTwentyFive(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	mainApp, canaryApp := serveApp(t, sayName("main")), serveApp(t, sayName("canary"))
	publish := func(mainShare, canaryShare int, cohort uint64) {
		r := versions("a.test", mainApp, canaryApp, 1, canaryShare, mainShare)
		// The growing version comes first, so that its part of the interval grows at its end.
		r.Destinations[0].Backends, r.Destinations[1].Backends = r.Destinations[1].Backends, r.Destinations[0].Backends
		r.Options["sticky"], r.Cohort = "cookie", cohort
		g.upsert(r)
	}
	c := g.client()
	publish(75, 25, 1)
	users := map[string]string{} // cookie → who answered
	for range 200 {
		got := get(t, c, "http://a.test/")
		ck, err := http.ParseSetCookie(got.header.Get("Set-Cookie"))
		if err != nil || ck.Name != "weir-position" || ck.Secure || !ck.HttpOnly || ck.MaxAge != 30*24*3600 || ck.SameSite != http.SameSiteLaxMode || ck.Path != "/" {
			t.Fatalf("got %+v", got)
		}
		users[ck.Value] = got.body
	}
	count := 0
	for cookie, want := range users {
		got := get(t, c, "http://a.test/", "Cookie", "x=1; weir-position="+cookie)
		if got.body != want || got.header.Get("Set-Cookie") != "" {
			t.Fatalf("user %s was with %s, got %+v", cookie, want, got)
		}
		if want == "canary" {
			count++
		}
	}
	if count < 25 || count > 80 {
		t.Errorf("%d of 200 users in a share of 25 %%", count)
	}
	publish(50, 50, 1)
	moved := 0
	for cookie, was := range users {
		now := get(t, c, "http://a.test/", "Cookie", "weir-position="+cookie).body
		if was == "canary" && now != "canary" {
			t.Fatalf("user %s fell out when the share grew", cookie)
		}
		if now != was {
			moved++
		}
	}
	if moved == 0 {
		t.Error("nobody joined")
	}
	publish(100, 0, 1)
	for cookie := range users {
		if got := get(t, c, "http://a.test/", "Cookie", "weir-position="+cookie); got.body != "main" {
			t.Fatalf("share 0, got %+v", got)
		}
		break
	}
	got := get(t, c, "http://a.test/", "X-Forwarded-Proto", "https")
	publish(50, 50, 2)
	got = get(t, c, "http://a.test/", "X-Forwarded-Proto", "https")
	if ck, err := http.ParseSetCookie(got.header.Get("Set-Cookie")); err != nil || ck.Name != "__Host-weir-position" || !ck.Secure {
		t.Errorf("got %+v", got)
	}
}

func TestMatch_GoesBeforeTheShares(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, sayName("canary")), 1, 100, 0)
	r.Destinations[1].Match = []Match{{Header: "X-Ring", Exact: "0"}, {Cookie: "beta", Prefix: "yes"}, {CIDR: "192.0.2.0/24"}, {Header: "X-Tenant", Regex: "^(acme|globex)$"}}
	g.upsert(r)
	c := g.client()
	for _, h := range [][]string{{"X-Ring", "0"}, {"Cookie", "a=b; beta=yes-1"}, {"X-Forwarded-For", "192.0.2.9"}, {"X-Tenant", "globex"}} {
		if got := get(t, c, "http://a.test/", h...); got.body != "canary" {
			t.Errorf("%v: got %q", h, got.body)
		}
	}
	for _, h := range [][]string{{"X-Ring", "1"}, {"Cookie", "beta=no"}, {"X-Forwarded-For", "192.0.3.9"}, {"X-Tenant", "globex2"}, nil} {
		if got := get(t, c, "http://a.test/", h...); got.body != "main" {
			t.Errorf("%v: got %q", h, got.body)
		}
	}
	r.Host, r.Destinations[1].Match = "*.test", []Match{{Header: "Host", Exact: "ring.test"}}
	g.upsert(r)
	for host, want := range map[string]string{"RING.test": "canary", "other.test": "main"} {
		if got := get(t, c, "http://"+host+"/"); got.body != want {
			t.Errorf("%s: got %q", host, got.body)
		}
	}
	for _, m := range []Match{{}, {Header: "a", Cookie: "b"}, {CIDR: "10.0.0.0"}, {CIDR: "x"}, {Header: "a", Regex: "("}, {Header: "a b"}, {Header: "a", Exact: "1", Prefix: "1"}} {
		bad := r
		bad.Destinations = []Destination{r.Destinations[0]}
		bad.Destinations[0].Match = []Match{m}
		if err := New(Config{}).put(Table{Number: 1, Routes: []Route{bad}}); (err == nil) != (m.CIDR == "10.0.0.0") {
			t.Errorf("%+v: %v", m, err)
		}
	}
}

func TestVersionHeader_ChoosesAndSays(t *testing.T) {
	g := run(t)
	r := versions("a.test", serveApp(t, sayName("main")), serveApp(t, sayName("canary")), 1, 100, 0)
	g.upsert(r)
	c := g.client()
	if got := get(t, c, "http://a.test/", "X-Route-Version", "v2"); got.body != "main" || got.header.Get("X-Route-Version") != "" {
		t.Errorf("got %+v", got)
	}
	r.Options["version-header"] = "on"
	g.upsert(r)
	if got := get(t, c, "http://a.test/", "X-Route-Version", "V2"); got.body != "canary" || got.header.Get("X-Route-Version") != "v2" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://a.test/"); got.body != "main" || got.header.Get("X-Route-Version") != "v1" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://a.test/", "X-Route-Version", "v3"); got.status != 404 {
		t.Errorf("got %+v", got)
	}
}
