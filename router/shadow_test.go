package router

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// shadowed is a route over a main version and a shadow of it that gets copies
// of all requests.
func shadowed(host string, shadow string, o *ShadowOptions, mains ...string) Route {
	main, copyTo := to("app", mains...), to("app", shadow)
	main.Version, main.Label = "g1", "v1"
	copyTo.Version, copyTo.Label, copyTo.Shadow, copyTo.ShadowOptions = "g2", "v2", 100, o
	copyTo.Backends[0].InstanceGUID = "shadow-0"
	return Route{Host: host, GUID: host, Destinations: []Destination{main, copyTo}}
}

// visits notes the requests an app gets.
type visits struct {
	mu   sync.Mutex
	reqs []*http.Request
	body []string
}

// app answers with its name and notes the request.
func (s *visits) app(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		s.mu.Lock()
		s.reqs, s.body = append(s.reqs, req), append(s.body, string(b))
		s.mu.Unlock()
		_, _ = io.WriteString(w, name)
	}
}

func (s *visits) all() ([]*http.Request, []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]*http.Request(nil), s.reqs...), append([]string(nil), s.body...)
}

// pairs waits for n pairs of the shadow and returns them with its counts.
func (g *rig) pairs(n int) (pairs []ShadowPair, counts ShadowCounts) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d requests are compared", n), func() bool {
		more, all, err := g.ctl.Shadows(g.t.Context(), 0)
		if err != nil {
			g.t.Fatal(err)
		}
		pairs = append(pairs, more...)
		for _, c := range all {
			counts.Copied += c.Copied
			counts.Compared += c.Compared
			counts.add(c.Dropped)
		}
		return len(pairs) >= n
	})
	return pairs, counts
}

func (c *ShadowCounts) add(dropped map[string]uint64) {
	if c.Dropped == nil {
		c.Dropped = map[string]uint64{}
	}
	for why, n := range dropped {
		c.Dropped[why] += n
	}
}

// dropped waits until n copies were dropped for the reason.
func (g *rig) dropped(why drop, n uint64) {
	g.t.Helper()
	eventually(g.t, fmt.Sprintf("%d copies are dropped: %s", n, why), func() bool {
		g.r.shadows.mu.Lock()
		defer g.r.shadows.mu.Unlock()
		return g.r.shadows.drops[why] >= n
	})
}

// freed waits until nothing is held for copies any more.
func (g *rig) freed() {
	g.t.Helper()
	eventually(g.t, "nothing is held", func() bool {
		_, _, err := g.ctl.Shadows(g.t.Context(), 0)
		return err == nil && g.r.shadows.held.Load() == 0
	})
}

func TestShadow_GetsACopyWhoseAnswerIsCompared(t *testing.T) {
	for road, client := range map[string]func(*rig) *http.Client{"h1": (*rig).client, "h2": (*rig).h2c} {
		t.Run(road, func(t *testing.T) {
			g := run(t)
			var main, shadow visits
			addr := serveApp(t, main.app("main"))
			g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), nil, addr, addr))
			got := get(t, client(g), "http://a.test/x%2Fy?q=1", "X-Own", "1", "Authorization", "Bearer s", "X-Shadow-Of", "mine")
			if got.body != "main" {
				t.Fatalf("the client got %+v", got)
			}
			pairs, counts := g.pairs(1)
			p := pairs[0]
			if p.App != "app" || p.Version != "g2" || p.Of != "g1" || p.Method != "GET" || p.Path != "/x%2Fy" || p.RequestID != g.nthRecord(1).RequestID {
				t.Errorf("pair %+v", p)
			}
			if string(p.Main.Body) != "main" || string(p.Shadow.Body) != "shadow" || p.Main.SHA256 != sha256.Sum256([]byte("main")) ||
				p.Main.Status != 200 || p.Main.Size != 4 || p.Main.Took <= 0 || p.Shadow.Took <= 0 ||
				p.Main.Header["Content-Type"][0] != "text/plain; charset=utf-8" {
				t.Errorf("answers %+v", p)
			}
			if p.Probe == nil || string(p.Probe.Body) != "main" {
				t.Errorf("main was not asked again: %+v", p.Probe)
			}
			if counts.Copied != 1 || counts.Compared != 1 || len(counts.Dropped) != 0 {
				t.Errorf("counts %+v", counts)
			}
			mains, _ := main.all()
			shadows, _ := shadow.all()
			if len(mains) != 2 || len(shadows) != 1 {
				t.Fatalf("%d requests at main, %d at the shadow", len(mains), len(shadows))
			}
			own, again, copied := mains[0], mains[1], shadows[0]
			if own.Header.Get("X-Shadow") != "" || own.Header.Get("X-Shadow-Of") != "" || again.Header.Get("X-Shadow") != "1" {
				t.Errorf("main saw %v and %v", own.Header, again.Header)
			}
			want := own.Header.Clone()
			want.Set("X-Shadow", "1")
			want.Set("X-Shadow-Of", "v1")
			want.Set("X-Route-Version", "v2")
			want.Set("X-Cf-Instanceid", "shadow-0")
			want.Set("X-Cf-Instanceindex", "0")
			if fmt.Sprint(copied.Header) != fmt.Sprint(want) || copied.Host != "a.test" || copied.RequestURI != "/x%2Fy?q=1" {
				t.Errorf("the shadow saw %s %s %v, want %v", copied.Host, copied.RequestURI, copied.Header, want)
			}
			if one, two := own.Header.Get("X-Cf-Instanceid"), again.Header.Get("X-Cf-Instanceid"); one == two {
				t.Errorf("instance %s was asked twice though there is another", one)
			}
			g.freed()
		})
	}
}

func TestShadow_GetsOnlyWhatIsSafeToDoTwice(t *testing.T) {
	g := run(t)
	var shadow visits
	main := serveApp(t, sayName("main"))
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), nil, main))
	c := g.client()
	for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
		do(t, c, request1(t, method, "http://a.test/", strings.NewReader("x")))
	}
	for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
		do(t, c, request1(t, method, "http://a.test/", nil))
	}
	g.pairs(3)
	g.dropped(dropMethod, 4)
	g.freed()
	for name, want := range map[string]float64{"weir_router_shadow_copies_total": 3, "weir_router_shadow_dropped_total": 4, "weir_router_shadow_bytes": 0} {
		if got := g.metric(name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	reqs, _ := shadow.all()
	for _, r := range reqs {
		if !isSafe(r.Method) {
			t.Errorf("the shadow got a %s", r.Method)
		}
	}
}

func TestShadow_GetsTheMethodsAndPathsThatAreAskedFor(t *testing.T) {
	g := run(t)
	var shadow visits
	options := &ShadowOptions{Methods: []string{"GET", "POST"}, Paths: []string{"/search", "/list"}, Except: []string{"/list/secret"}}
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), options, serveApp(t, sayName("main"))))
	c := g.client()
	for _, ask := range []string{
		"POST /search", "GET /search/deep?q=/other", "GET /list", // those are copied
		"PUT /search", "HEAD /search", "GET /searching", "GET /", "GET /list/secret/1",
	} {
		method, path, _ := strings.Cut(ask, " ")
		do(t, c, request1(t, method, "http://a.test"+path, nil))
	}
	g.pairs(3)
	g.dropped(dropMethod, 2)
	g.dropped(dropPath, 3)
	g.freed()
	reqs, _ := shadow.all()
	for _, r := range reqs {
		if r.Method != "GET" && r.Method != "POST" || strings.Contains(r.URL.Path, "secret") || r.URL.Path == "/" {
			t.Errorf("the shadow got a %s of %s", r.Method, r.URL.Path)
		}
	}
}

// metric returns the sum of a metric over its labels.
func (g *rig) metric(name string) (sum float64) {
	g.t.Helper()
	all, err := g.r.registry.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, family := range all {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

func TestShadow_GetsBodiesUpToALimit(t *testing.T) {
	g := run(t)
	var main, shadow visits
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), &ShadowOptions{AllMethods: true, Noise: 100}, serveApp(t, main.app("main"))))
	c := g.client()
	small, large := strings.Repeat("s", shadowBody), strings.Repeat("l", shadowBody+1)
	unsized := func(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
	for _, body := range []io.Reader{strings.NewReader(small), strings.NewReader(large), unsized(small), unsized(large)} {
		if got := do(t, c, request1(t, "POST", "http://a.test/", body)); got.body != "main" {
			t.Errorf("the client got %+v", got)
		}
	}
	pairs, _ := g.pairs(2)
	g.dropped(dropLarge, 2)
	for _, p := range pairs {
		if p.Probe != nil {
			t.Error("main was asked twice to do what is not safe")
		}
	}
	if _, bodies := main.all(); len(bodies) != 4 || bodies[3] != large {
		t.Errorf("main got %d requests", len(bodies))
	}
	_, bodies := shadow.all()
	for _, b := range bodies {
		if b != small {
			t.Errorf("the shadow got a body of %d bytes", len(b))
		}
	}
	if got := do(t, c, request1(t, "POST", "http://a.test/", strings.NewReader("x"), "Expect", "100-continue")); got.body != "main" {
		t.Errorf("the client got %+v", got)
	}
	g.freed()
}

func TestShadow_CopiesNoCopies(t *testing.T) {
	g := run(t)
	var main, shadow visits
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), nil, serveApp(t, main.app("main"))))
	c := g.client()
	for _, value := range []string{"1", "no"} {
		get(t, c, "http://a.test/", "X-Shadow", value)
	}
	get(t, c, "http://a.test/last")
	pairs, _ := g.pairs(1)
	if reqs, _ := shadow.all(); len(reqs) != 1 || pairs[0].Path != "/last" {
		t.Errorf("the shadow got %d requests", len(reqs))
	}
	if reqs, _ := main.all(); reqs[0].Header.Get("X-Shadow") != "" {
		t.Error("main believed a client to be a shadow")
	}
}

func TestShadow_GetsNoCredentialsIfSo(t *testing.T) {
	g := run(t)
	var main, shadow visits
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), &ShadowOptions{StripAuth: true}, serveApp(t, main.app("main"))))
	get(t, g.client(), "http://a.test/", "Authorization", "Bearer s", "Cookie", "session=s", "X-Own", "1")
	g.pairs(1)
	reqs, _ := main.all()
	copies, _ := shadow.all()
	if reqs[0].Header.Get("Authorization") == "" || reqs[0].Header.Get("Cookie") == "" {
		t.Error("main lost the credentials")
	}
	if h := copies[0].Header; h.Get("Authorization") != "" || h.Get("Cookie") != "" || h.Get("X-Own") != "1" {
		t.Errorf("the shadow got %v", h)
	}
}

func TestShadow_GetsTheShareItShall(t *testing.T) {
	g := run(t)
	main := serveApp(t, sayName("main"))
	r := shadowed("a.test", main, nil, main)
	r.Destinations[1].Shadow = 25
	g.upsert(r)
	c := g.client()
	for range 400 {
		get(t, c, "http://a.test/")
	}
	eventually(t, "about a quarter was copied", func() bool {
		g.r.shadows.mu.Lock()
		defer g.r.shadows.mu.Unlock()
		return g.r.shadows.copies > 50 && g.r.shadows.copies < 160
	})
}

// What a shadow may do to the main version's requests: nothing.
func TestShadow_DoesNoHarm(t *testing.T) {
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
	for name, shadow := range map[string]func(net.Conn){
		"crashed": nil,
		"hung": func(c net.Conn) {
			readRequestHead(c)
			_, _ = io.Copy(io.Discard, c)
		},
		"resets": func(c net.Conn) {
			readRequestHead(c)
			_ = c.(*net.TCPConn).SetLinger(0)
		},
		"never reads": func(c net.Conn) { _, _ = c.Read(nil); time.Sleep(10 * time.Millisecond) },
		"endless body": func(c net.Conn) {
			readRequestHead(c)
			_, _ = io.WriteString(c, head+"Content-Length: 1000000000000\r\n\r\n")
			for b := make([]byte, 64<<10); ; {
				if _, err := c.Write(b); err != nil {
					return
				}
			}
		},
		"endless head": func(c net.Conn) {
			readRequestHead(c)
			_, _ = io.WriteString(c, head)
			for {
				if _, err := io.WriteString(c, "X-More: of the same\r\n"); err != nil {
					return
				}
			}
		},
		"not HTTP": func(c net.Conn) {
			readRequestHead(c)
			_, _ = io.WriteString(c, "220 smtp.example ready\r\n")
		},
	} {
		t.Run(name, func(t *testing.T) {
			addr := deadAddr(t)
			if shadow != nil {
				addr = serveRaw(t, shadow)
			}
			g := run(t)
			g.upsert(shadowed("a.test", addr, &ShadowOptions{AllMethods: true}, serveApp(t, sayName("main"))))
			c := g.client()
			for range 40 {
				if got := do(t, c, request1(t, "POST", "http://a.test/", strings.NewReader(strings.Repeat("b", 4<<10)))); got.status != 200 || got.body != "main" {
					t.Fatalf("the client got %+v", got)
				}
			}
			pairs, counts := g.pairs(shadowFew)
			for _, p := range pairs {
				switch {
				case name == "endless body":
					if !p.Shadow.Truncated || p.Shadow.Size != shadowRead || p.Shadow.Body != nil {
						t.Errorf("of an endless body %d bytes were taken", p.Shadow.Size)
					}
				case p.Shadow.Status != 0 || p.Shadow.Error == "":
					t.Errorf("the shadow answered %+v", p.Shadow)
				}
			}
			if name == "endless body" {
				return
			}
			get(t, c, "http://a.test/")
			g.dropped(dropAsleep, 1)
			if counts.Copied > 41 {
				t.Errorf("%d copies of 41 requests", counts.Copied)
			}
		})
	}
}

func TestShadow_OfAMainThatFailsGetsNothing(t *testing.T) {
	g := run(t)
	var shadow visits
	main := serveRaw(t, func(c net.Conn) {
		readRequestHead(c)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
	})
	g.upsert(shadowed("a.test", serveApp(t, shadow.app("shadow")), nil, main))
	res, err := g.client().Get("http://a.test/")
	if err == nil {
		_, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
	}
	if err == nil {
		t.Fatal("a cut answer looks whole")
	}
	g.dropped(dropMain, 1)
	if reqs, _ := shadow.all(); len(reqs) != 0 {
		t.Error("the shadow got a copy")
	}
	g.freed()
}

func TestShadow_ComparesLargeAnswersByDigest(t *testing.T) {
	g := run(t)
	text := bytes.Repeat([]byte("0123456789abcdef"), 200<<10) // 3.2 MB
	main := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		w.Header().Set("Content-Type", "text/x-digits")
		_, _ = w.Write(text)
	}
	other := func(w http.ResponseWriter, _ *http.Request) { // in chunks
		w.Header().Set("Content-Type", "text/x-digits")
		_, _ = w.Write(text)
	}
	g.upsert(shadowed("a.test", serveApp(t, other), nil, serveApp(t, main)))
	for range 3 {
		if got := get(t, g.client(), "http://a.test/"); got.body != string(text) {
			t.Fatalf("the client got %d bytes, or others", len(got.body))
		}
	}
	pairs, _ := g.pairs(3)
	for _, p := range pairs {
		for _, a := range []ShadowAnswer{p.Main, p.Shadow, *p.Probe} {
			if !a.Truncated || a.Body != nil || a.Size != shadowRead || a.SHA256 != sha256.Sum256(text[:shadowBody]) {
				t.Errorf("kept %d bytes, size %d, truncated %v, digest %x", len(a.Body), a.Size, a.Truncated, a.SHA256[:4])
			}
			// The buffer the head was in was overwritten many times.
			if len(a.Header) != 1 || a.Header["Content-Type"] == nil || a.Header["Content-Type"][0] != "text/x-digits" {
				t.Errorf("header %q", a.Header)
			}
		}
	}
	g.freed()
}

func TestShadow_ComparesWhatIsInCompressedAnswers(t *testing.T) {
	g := run(t)
	app := func(name string) string {
		return serveApp(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Set-Cookie", "session=secret; Path=/")
			z := gzip.NewWriter(w)
			_, _ = io.WriteString(z, name)
			_ = z.Close()
		})
	}
	g.upsert(shadowed("a.test", app("shadow"), nil, app("main")))
	get(t, g.client(), "http://a.test/", "Accept-Encoding", "gzip")
	pairs, _ := g.pairs(1)
	p := pairs[0]
	if string(p.Main.Body) != "main" || string(p.Shadow.Body) != "shadow" || p.Main.Size != 4 {
		t.Errorf("got %+v", p)
	}
	if c := p.Shadow.Header["Set-Cookie"]; len(c) != 1 || c[0] != "session" {
		t.Errorf("of Set-Cookie was kept %q", c)
	}
}

func TestShadow_StaysWithinItsBudget(t *testing.T) {
	g := run(t)
	main := serveApp(t, sayName("main"))
	g.upsert(shadowed("a.test", main, &ShadowOptions{AllMethods: true}, main))
	g.r.shadows.held.Add(shadowBudget)
	for _, body := range []io.Reader{nil, strings.NewReader("some"), io.MultiReader(strings.NewReader("some"))} {
		if got := do(t, g.client(), request1(t, "POST", "http://a.test/", body)); got.body != "main" {
			t.Fatalf("the client got %+v", got)
		}
	}
	g.dropped(dropBudget, 3)
	g.r.shadows.held.Add(-shadowBudget)
	g.freed()
}

func TestShadow_GetsNoMoreThanARate(t *testing.T) {
	g := run(t)
	main := serveApp(t, sayName("main"))
	g.upsert(shadowed("a.test", main, nil, main))
	d := g.r.table.Load().find("a.test", "/").rules.shadows[0]
	begun, n := time.Now(), 0
	for range 5000 {
		if g.r.shadows.admit(d, "") {
			n++
		}
	}
	if most := 102 + int(time.Since(begun)/time.Millisecond); n > most || n < 99 {
		t.Errorf("%d copies at once, want at most %d", n, most)
	}
	g.dropped(dropRate, uint64(5000-n))
}

func TestShadow_DropsTheOldest(t *testing.T) {
	r := New(Config{Logger: testLogger(t)})
	s := r.shadows // its workers do not run
	p := &pool{src: &Destination{AppGUID: "app", Version: "g2"}}
	for i := range shadowQueue + 3 {
		o := &original{held: &s.held, answer: answerParts{kept: kept{held: &s.held}}, pair: ShadowPair{Path: fmt.Sprint(i), Method: "GET"}}
		o.copies.Store(1)
		s.submit(&copied{of: o, key: shadowKey{"app", "g2"}, dest: p})
	}
	if n := s.queue.len(); n != shadowQueue {
		t.Errorf("%d wait", n)
	}
	first := s.next()
	if first.of.pair.Path != "3" {
		t.Errorf("the first is %s", first.of.pair.Path)
	}
	for range shadowPairs + 5 {
		s.held.Add(10)
		s.keep(first, ShadowPair{App: "app", Version: "g2"}, 10)
	}
	pairs, counts := s.fetch(t.Context(), 0)
	if len(pairs) != shadowPairs || counts[0].Dropped[string(dropUnread)] != 5 || counts[0].Dropped[string(dropQueue)] != 3 {
		t.Errorf("%d pairs, %+v", len(pairs), counts)
	}
	if n := s.held.Load(); n != 0 {
		t.Errorf("%d bytes are held", n)
	}
}

func TestShadow_IsLeftAloneWhenItDoesNotAnswer(t *testing.T) {
	r := New(Config{Logger: testLogger(t)})
	s := r.shadows
	d := &destination{pool: &pool{src: &Destination{AppGUID: "app", Version: "g2"}, backends: []*backend{{}}}}
	c := &copied{key: d.shadowKey()}
	for i := range shadowFew {
		if !s.admit(d, "") {
			t.Fatalf("asleep after %d failures", i)
		}
		s.mu.Lock()
		s.judgeLocked(c, i%3 != 0)
		s.mu.Unlock()
	}
	if s.admit(d, "") {
		t.Error("most copies fail, and more are made")
	}
	r.started = r.started.Add(-shadowSleep - time.Second)
	if !s.admit(d, "") {
		t.Error("it gets no second chance")
	}
}
