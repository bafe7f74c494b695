package router

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestMayRetry(t *testing.T) {
	for _, tt := range []struct {
		why                                reason
		sent, answered, idempotent, replay bool
		attempts                           int
		want                               bool
	}{
		{reasonUnreachable, false, false, false, true, 1, true},
		{reasonUnreachable, false, false, false, true, 2, true},
		{reasonUnreachable, false, false, true, true, 3, false}, // enough
		{reasonUnreachable, false, false, true, false, 1, false},
		{reasonClosed, false, false, false, true, 1, true},  // nothing was sent
		{reasonClosed, true, false, false, true, 1, false},  // a POST may have worked
		{reasonClosed, true, false, true, true, 1, true},    // a GET may be repeated
		{reasonClosed, true, true, true, true, 1, false},    // not after the answer began
		{reasonClosed, true, false, true, false, 1, false},  // body gone
		{reasonClosed, false, false, true, false, 1, false}, // body gone
		{reasonBadResponse, true, true, true, true, 1, false},
		{reasonTimeout, true, false, true, true, 1, false},
		{reasonClientGone, true, false, true, true, 1, false},
		{reasonBadRequest, true, false, true, true, 1, false},
		{reasonBodyStalled, true, false, true, true, 1, false},
		{reasonNoEndpoints, false, false, true, true, 1, false},
	} {
		got := mayRetry(outcome{why: tt.why, sent: tt.sent, answered: tt.answered}, request{tt.idempotent, tt.replay}, tt.attempts)
		if got != tt.want {
			t.Errorf("%+v: got %v", tt, got)
		}
	}
}

func TestRouter_RetriesByTheRules(t *testing.T) {
	big := strings.Repeat("x", smallBody+1)
	for _, tt := range []struct {
		name   string
		method string
		body   string
		key    string
		first  string // what the first instance does
		want   int
	}{
		{"refused, GET", "GET", "", "", "refuse", 200},
		{"refused, POST", "POST", "small", "", "refuse", 200},
		{"refused, big POST", "POST", big, "", "refuse", 200}, // its body was not touched
		{"closed, GET", "GET", "", "", "close", 200},
		{"closed, HEAD", "HEAD", "", "", "close", 200},
		{"closed, DELETE", "DELETE", "", "", "close", 200},
		{"closed, PUT", "PUT", "small", "", "close", 200},
		{"closed, big PUT", "PUT", big, "", "close", 502},
		{"closed, POST", "POST", "small", "", "close", 502},
		{"closed, PATCH", "PATCH", "", "", "close", 502},
		{"closed, POST with key", "POST", "small", "k1", "close", 200},
		{"reset, GET", "GET", "", "", "reset", 200},
		{"half an answer, GET", "GET", "", "", "half", 502},
		{"not HTTP, GET", "GET", "", "", "garbage", 502},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := run(t)
			var firsts, seconds atomic.Int32
			second := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
				seconds.Add(1)
				b, _ := io.ReadAll(r.Body)
				if string(b) != tt.body {
					t.Errorf("second attempt carried %d bytes of %d", len(b), len(tt.body))
				}
			})
			first := deadAddr(t)
			if tt.first != "refuse" {
				first = serveRaw(t, func(c net.Conn) {
					_, in := readRequestHead(c)
					firsts.Add(1)
					_, _ = io.CopyN(io.Discard, in, int64(len(tt.body)))
					switch tt.first {
					case "half":
						fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Le")
					case "garbage":
						fmt.Fprint(c, "hello there\r\n\r\n")
					case "reset":
						_ = c.(*net.TCPConn).SetLinger(0)
					}
				})
			}
			// Only the first destination has a share; the second is reached
			// because nothing else is left of the first.
			a, b := to("first", first), to("second", second)
			a.Weight, b.Weight = 1<<30, 1
			g.mapRoute("a.test", "", a, b)
			req := request1(t, tt.method, "http://a.test/", strings.NewReader(tt.body))
			if tt.key != "" {
				req.Header.Set("Idempotency-Key", tt.key)
			}
			got := do(t, g.client(), req)
			if got.status != tt.want || firsts.Load() > 1 {
				t.Errorf("got %d, want %d (%d, %d)", got.status, tt.want, firsts.Load(), seconds.Load())
			}
			if rec := g.nthRecord(1); (rec.AppGUID == "second") != (tt.want == 200) || rec.FailedAttempts != 1 {
				t.Errorf("got record %+v", rec)
			}
		})
	}
}

func TestRouter_TriesAtMostThreeTimesAndNeverTheSameTwice(t *testing.T) {
	g := run(t)
	var hits [5]atomic.Int32
	addrs := make([]string, len(hits))
	for i := range hits {
		addrs[i] = serveRaw(t, func(c net.Conn) {
			readRequestHead(c)
			hits[i].Add(1)
		})
	}
	g.mapRoute("five.test", "", to("five", addrs...))
	g.mapRoute("one.test", "", to("one", addrs[0]))
	c := g.client()
	if got := get(t, c, "http://five.test/"); got.status != 502 {
		t.Errorf("got %+v", got)
	}
	tries := int32(0)
	for i := range hits {
		n := hits[i].Swap(0)
		tries += n
		if n > 1 {
			t.Errorf("instance %d was tried %d times", i, n)
		}
	}
	if rec := g.nthRecord(1); tries != maxAttempts || rec.FailedAttempts != maxAttempts || rec.Reason != "endpoint_closed" {
		t.Errorf("%d tries, record %+v", tries, rec)
	}
	if got := get(t, c, "http://one.test/"); got.status != 502 || hits[0].Load() != 1 {
		t.Errorf("%d tries of the only one, got %+v", hits[0].Load(), got)
	}
	if got := get(t, c, "http://five.test/", "X-Cf-App-Instance", "five:3"); got.status != 502 || hits[3].Load() != 1 {
		t.Errorf("%d tries of the one that was asked for, got %+v", hits[3].Load(), got)
	}
}

// An instance may close a connection that has been idle at the moment the next
// request is sent on it. That is nothing against the instance.
func TestRouter_RepeatsAtTheOnlyInstanceWhatAnOldConnectionLost(t *testing.T) {
	g := run(t)
	var conns atomic.Int32
	app := serveRaw(t, func(c net.Conn) {
		conns.Add(1)
		readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		readRequestHead(c) // and this one is not answered
	})
	g.mapRoute("a.test", "", to("a", app))
	c := g.client()
	const n = 3 * maxBrokenOff
	for range n {
		if got := get(t, c, "http://a.test/"); got.status != 200 || got.body != "ok" {
			t.Fatalf("got %+v", got)
		}
	}
	if conns.Load() != n {
		t.Errorf("%d connections for %d requests", conns.Load(), n)
	}
	stats, err := g.ctl.Stats(t.Context())
	if err != nil || len(stats.Instances) != 1 || stats.Instances[0].Failures != 0 || stats.Instances[0].Ejected {
		t.Errorf("stats %+v, %v", stats, err)
	}
	if got := do(t, c, request1(t, "POST", "http://a.test/", strings.NewReader("x"))); got.status != 502 {
		t.Errorf("a POST that may have been done was repeated: %+v", got)
	}
}

func TestRouter_EjectsAnInstanceThatCannotBeReached(t *testing.T) {
	g := run(t)
	ok := serveApp(t, sayName("ok"))
	g.mapRoute("a.test", "", to("a", ok, deadAddr(t)))
	c := g.client()
	for range 200 {
		if got := get(t, c, "http://a.test/"); got.status != 200 {
			t.Fatalf("got %+v", got)
		}
	}
	failed := 0
	for i := range 200 {
		failed += g.nthRecord(i + 1).FailedAttempts
	}
	if failed == 0 || failed > 5 {
		t.Errorf("%d attempts at the dead instance", failed)
	}
	// It may be tried again just now, and is out for longer then.
	eventually(t, "the dead instance is out, and only that", func() bool {
		if got := get(t, c, "http://a.test/"); got.status != 200 {
			t.Fatalf("got %+v", got)
		}
		st, err := g.ctl.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range st.Instances {
			if i.Ejected != (i.InstanceGUID == "a-1") {
				return false
			}
		}
		return len(st.Instances) == 2
	})
	// A destination that is wholly down leaves its share to the others.
	g.mapRoute("b.test", "", to("down", deadAddr(t)), to("up", ok))
	for range 50 {
		if got := get(t, c, "http://b.test/"); got.status != 200 {
			t.Fatalf("got %+v", got)
		}
	}
}

// aTrip is one whose route has no options.
func aTrip() *trip { return &trip{r: New(Config{}), rt: new(route)} }

func TestPick_NeverEjectsMoreThanHalf(t *testing.T) {
	d := &destination{pool: new(pool)}
	for range 5 {
		d.backends = append(d.backends, &backend{})
	}
	asks := aTrip()
	for ejected := range 6 {
		for i, b := range d.backends {
			b.ejectedUntil.Store(0)
			if i < ejected {
				b.ejectedUntil.Store(int64(time.Hour))
			}
		}
		seen := map[*backend]bool{}
		for range 500 {
			seen[d.pick(nil, asks)] = true
		}
		want := 5 - ejected
		if ejected > 2 {
			want = 5
		}
		if len(seen) != want {
			t.Errorf("%d of 5 ejected: %d get requests, want %d", ejected, len(seen), want)
		}
	}
}

func TestPick_TakesTheOneOfTwoWithFewerInFlight(t *testing.T) {
	d := &destination{pool: &pool{backends: []*backend{{}, {}}}}
	d.backends[0].inFlight.Store(3)
	for range 100 {
		if b := d.pick(nil, aTrip()); b != d.backends[1] {
			t.Fatal("picked the busier one of two")
		}
	}
}

// What a client does never marks an instance bad.
func TestRouter_HoldsNothingAClientDoesAgainstTheInstance(t *testing.T) {
	g := run(t, func(c *Config) { c.HalfCloseGrace = 50 * time.Millisecond })
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			return
		}
		if r.URL.Path == "/slow" {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write(make([]byte, 8<<20))
	})
	blamesNone := func(g *rig) {
		t.Helper()
		st, _ := g.ctl.Stats(t.Context())
		if len(st.Instances) != 1 || st.Instances[0].Failures != 0 || st.Instances[0].Ejected || st.Instances[0].InFlight != 0 {
			t.Errorf("got %+v", st)
		}
	}
	g.mapRoute("a.test", "", to("a", app))
	for name, send := range map[string]string{
		"bad chunk":     "POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nZZ\r\n",
		"short body":    "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhello",
		"gone, waiting": "GET /slow HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"gone, reading": "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
	} {
		c := g.dial()
		fmt.Fprint(c, send)
		time.Sleep(20 * time.Millisecond)
		_ = c.Close()
		_ = name
	}
	reasons := map[string]int{}
	for i := range 4 {
		rec := g.nthRecord(i + 1)
		reasons[rec.Reason]++
		if rec.Reason != "client_gone" && rec.Reason != "bad_request" {
			t.Errorf("got record %+v", rec)
		}
	}
	if reasons["bad_request"] != 1 {
		t.Errorf("got %v", reasons)
	}
	blamesNone(g)
	// A body that stops coming, and an answer that is not read.
	g = run(t, func(c *Config) { c.StallTimeout = 200 * time.Millisecond })
	g.mapRoute("a.test", "", to("a", app))
	c := g.dial()
	defer c.Close()
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhello")
	line, _ := bufio.NewReader(c).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 408") {
		t.Errorf("got %q", line)
	}
	c2 := g.dial()
	defer c2.Close()
	fmt.Fprint(c2, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if rec := g.nthRecord(2); rec.Reason != "client_gone" {
		t.Errorf("got record %+v", rec)
	}
	blamesNone(g)
}

func TestRouter_AnswersAClientThatClosedItsSendingHalf(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-time.After(200 * time.Millisecond):
			_, _ = io.WriteString(w, "patience")
		case <-r.Context().Done():
		}
	})
	g.mapRoute("a.test", "", to("a", app))
	c := g.dial()
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	_ = c.(*net.TCPConn).CloseWrite()
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	got, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(got), "patience") {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRouter_EndsTheExchangeWhenTheClientResets(t *testing.T) {
	g := run(t)
	entered, ended := make(chan bool), make(chan bool)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		entered <- true
		<-r.Context().Done()
		ended <- true
	})
	g.mapRoute("a.test", "", to("a", app))
	c := g.dial()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	<-entered
	_ = c.(*net.TCPConn).SetLinger(0)
	_ = c.Close()
	<-ended
	if rec := g.nthRecord(1); rec.Status != 499 || rec.Error != "client_gone" {
		t.Errorf("got record %+v", rec)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-entered
		cancel()
	}()
	if _, err := g.h2c().Do(request1(t, "GET", "http://a.test/", nil).WithContext(ctx)); err == nil {
		t.Error("no error")
	}
	<-ended
	if rec := g.nthRecord(2); rec.Status != 499 {
		t.Errorf("got record %+v", rec)
	}
}

// An instance that closes each connection a moment after its answer, so that
// requests keep meeting connections that are about to close.
func TestRouter_SurvivesTheRaceWithIdleConnectionsThatClose(t *testing.T) {
	g := run(t)
	app := serveRaw(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for n := 0; ; n++ {
			if n > 0 {
				_ = c.SetReadDeadline(time.Now().Add(300 * time.Microsecond))
			}
			if _, err := in.Peek(1); err != nil {
				return
			}
			_ = c.SetReadDeadline(time.Time{})
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	g.mapRoute("a.test", "", to("a", app))
	c := g.client()
	for i := range 600 {
		method, body := "GET", io.Reader(nil)
		if i%4 == 0 {
			method, body = "PUT", bytes.NewReader([]byte("x"))
		}
		if got := do(t, c, request1(t, method, "http://a.test/", body)); got.status != 200 {
			t.Fatalf("%s %d: got %+v", method, i, got)
		}
		time.Sleep(time.Duration(i%5) * 100 * time.Microsecond)
	}
}

// An instance that closes each connection behind its answer, without a word.
func TestRouter_SendsNoPOSTOverAConnectionThatIsClosed(t *testing.T) {
	g := run(t)
	closed := make(chan bool, 30)
	g.mapRoute("a.test", "", to("a", serveRaw(t, func(c net.Conn) {
		_, in := readRequestHead(c)
		_, _ = io.CopyN(io.Discard, in, 5)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_ = c.Close()
		closed <- true
	})))
	c := g.client()
	for i := range 30 {
		if got := do(t, c, request1(t, "POST", "http://a.test/", strings.NewReader("hello"))); got.status != 200 {
			t.Fatalf("request %d: got %+v", i, got)
		}
		<-closed
		time.Sleep(5 * time.Millisecond) // for the end to arrive
	}
}

func TestRouter_AnswersBeforeTheUploadIsOver(t *testing.T) {
	g := run(t)
	app := serveRaw(t, func(c net.Conn) {
		_, in := readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!")
		_, _ = io.Copy(io.Discard, in)
	})
	g.mapRoute("a.test", "", to("a", app))
	c := g.dial()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\nsome")
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(res.Body)
	if res.StatusCode != 413 || string(b) != "no!" {
		t.Errorf("got %d %q", res.StatusCode, b)
	}
	// The unread body must not be taken for another request.
	if rec := g.nthRecord(1); rec.Status != 413 || rec.RequestBytes > 4 {
		t.Errorf("got record %+v", rec)
	}
}

func TestRouter_LeavesNothingBehindWhenUploadsAreAborted(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	g.mapRoute("a.test", "", to("a", app))
	for i := range 300 {
		c := g.dial()
		fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nhello")
		if i%2 == 0 {
			_ = c.(*net.TCPConn).SetLinger(0)
		}
		_ = c.Close()
	}
	for i := range 300 {
		if rec := g.nthRecord(i + 1); rec.Status != 499 {
			t.Fatalf("got record %+v", rec)
		}
	}
	st, _ := g.ctl.Stats(t.Context())
	if st.Instances[0].Failures != 0 || st.Instances[0].InFlight != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestRouter_DoesNotWaitForABodyNobodyWants(t *testing.T) {
	g := run(t)
	c := g.dial()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	fmt.Fprint(c, "POST / HTTP/1.1\r\nHost: nope.test\r\nContent-Length: 100000\r\n\r\nhello")
	b, err := io.ReadAll(c)
	if err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 404 ") {
		t.Errorf("got %q, %v", b, err)
	}
}
