package router

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestRecord_IsALineAsOfGorouter(t *testing.T) {
	rec := record{
		start: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.FixedZone("", 3600)), total: 1500 * time.Millisecond, backend: 1400 * time.Millisecond,
		host: "a.test", method: "GET", target: `/x"y\`, proto: "HTTP/1.1", referer: "", userAgent: "evil\"\n\x00\xff agent",
		forwardedFor: "192.0.2.1", forwardedProto: "http", requestID: "id", clientAddr: "192.0.2.1:99",
		status: 200, requestBytes: 3, responseBytes: 4, appGUID: "app", instanceGUID: "inst", instanceIndex: 2, backendAddr: "10.0.0.1:80",
		failedAttempts: 1,
	}
	want := `a.test - [2026-01-02T02:04:05.000006000Z] "GET /x\"y\\ HTTP/1.1" 200 3 4 "-" "evil\"\x0a\x00\xff agent" "192.0.2.1:99" "10.0.0.1:80" ` +
		`x_forwarded_for:"192.0.2.1" x_forwarded_proto:"http" vcap_request_id:"id" response_time:1.500000 gorouter_time:0.100000 ` +
		`app_id:"app" app_index:"2" instance_id:"inst" failed_attempts:1 x_cf_routererror:"-"`
	if got := rec.line(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	var none record
	if got := none.line(); !strings.HasPrefix(got, "- - [") || !strings.Contains(got, `app_index:"-"`) {
		t.Errorf("got %s", got)
	}
}

// TestAppendEscaped_SeesEveryByteAtEveryPlace puts each byte, and each beside
// one that is escaped, at each place of a word.
func TestAppendEscaped_SeesEveryByteAtEveryPlace(t *testing.T) {
	for c := range 256 {
		for at := range 20 {
			text := bytes.Repeat([]byte("a"), 20)
			text[at], text[(at+19)%20] = byte(c), 0x1f
			var want []byte
			for _, b := range text {
				switch {
				case b == '"' || b == '\\':
					want = append(want, '\\', b)
				case b < 0x20 || b > 0x7e:
					want = fmt.Appendf(want, `\x%02x`, b)
				default:
					want = append(want, b)
				}
			}
			if got := appendEscaped(nil, string(text)); string(got) != string(want) {
				t.Fatalf("%q becomes %s, want %s", text, got, want)
			}
		}
	}
}

func FuzzRecord_Line(f *testing.F) {
	f.Add("a", "b\"c", "d\r\n")
	f.Fuzz(func(t *testing.T, host, target, agent string) {
		rec := record{host: host, target: target, userAgent: agent, method: "GET", proto: "HTTP/1.1"}
		line := rec.line()
		for i := range len(line) {
			if line[i] < 0x20 || line[i] > 0x7e {
				t.Fatalf("control byte in %q", line)
			}
		}
		// Outside of what was escaped, the number of quotes is always the same.
		quotes := strings.Count(regexp.MustCompile(`\\.`).ReplaceAllString(line, ""), `"`)
		if !strings.Contains(host, `"`) && quotes != 24 {
			t.Errorf("%d quotes in %q", quotes, line)
		}
	})
}

func TestRouter_RecordsEachRequest(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "hello")
	})
	g.mapRoute("a.test", "/x", to("app", app))
	do(t, g.client(), request1(t, "POST", "http://a.test/x?q", strings.NewReader("abc"), "Referer", "r", "User-Agent", "u"))
	rec := g.nthRecord(1)
	if rec.Host != "a.test" || rec.Method != "POST" || rec.Target != "/x?q" || rec.Proto != "HTTP/1.1" || rec.Referer != "r" ||
		rec.UserAgent != "u" || rec.Status != 200 || rec.RequestBytes != 3 || rec.ResponseBytes != 5 ||
		rec.AppGUID != "app" || rec.InstanceGUID != "app-0" || rec.BackendAddr != app ||
		rec.ForwardedFor != "127.0.0.1" || rec.ForwardedProto != "http" || len(rec.RequestID) != 36 || rec.Error != "" ||
		rec.FailedAttempts != 0 || rec.Total <= rec.Own || rec.Own < 0 || !strings.HasPrefix(rec.ClientAddr, "127.0.0.1:") {
		t.Errorf("got %+v", rec)
	}
	get(t, g.client(), "http://nope.test/")
	if rec := g.nthRecord(2); rec.Status != 404 || rec.Error != "unknown_route" || rec.AppGUID != "" || rec.FailedAttempts != 0 {
		t.Errorf("got %+v", rec)
	}
	g.raw("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
	if rec := g.nthRecord(3); rec.Status != 400 || rec.Error != "bad_request" || strings.Contains(fmt.Sprintf("%+v", rec), "refused") {
		t.Errorf("got %+v", rec)
	}
}

func TestRouter_NeverWaitsForTheAccessLog(t *testing.T) {
	release := make(chan bool)
	defer close(release)
	g := runUnseen(t, func(c *Config) { c.AccessLines = func([]AccessLine) { <-release } })
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("ok"))))
	c, long := g.client(), strings.Repeat("\xff", 15<<10) // a line of 60 KB
	for n := 0; g.r.log.dropped.Load() == 0; n++ {
		if got := get(t, c, "http://a.test/", "User-Agent", long); got.body != "ok" || n > 2*logBytes/len(long) {
			t.Fatalf("request %d: got %+v", n, got)
		}
	}
	if s, err := g.ctl.Status(t.Context()); err != nil || s.LogDropped == 0 {
		t.Errorf("got %+v, %v", s, err)
	}
}

func TestMetrics_NameDestinationsAndNothingAClientSent(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "/x", to("app", serveApp(t, sayName("ok"))), Destination{AppGUID: "app", Process: "web", Weight: 0})
	g.mapRoute("*.wild.test", "", to("wild", serveApp(t, sayName("ok"))))
	c := g.client()
	for i := range 3 {
		get(t, c, "http://a.test/x/"+fmt.Sprint("secret", i))
		get(t, c, fmt.Sprintf("http://secret%d.wild.test/", i))
		get(t, c, fmt.Sprintf("http://secret%d.test/", i))
	}
	eventually(t, "nothing is in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
	res, err := g.ctl.http.Get("http://router/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, _ := io.ReadAll(res.Body)
	text := string(b)
	for _, want := range []string{
		`weir_router_requests_total{app="app",app_name="app",process="web",route="a.test/x",status="2xx",version=""} 3`,
		`weir_router_requests_total{app="wild",app_name="wild",process="web",route="*.wild.test",status="2xx",version=""} 3`,
		`weir_router_responses_total{status="4xx"} 3`,
		`weir_router_errors_total{reason="unknown_route"} 3`,
		`weir_router_request_duration_seconds_count{app="app",app_name="app",process="web",route="a.test/x",version=""} 3`,
		`weir_router_body_bytes_total{app="app",app_name="app",direction="out",process="web",route="a.test/x",version=""} 6`,
		`weir_router_requests_in_flight{app="app",app_name="app",process="web",route="a.test/x",version=""} 0`,
		`weir_router_table_routes 2`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
	if strings.Contains(text, "secret") {
		t.Error("a client's words are in the metrics")
	}
	if _, err := g.r.registry.Gather(); err != nil {
		t.Error(err)
	}
}

func TestControl_SpeaksTheClientsLanguage(t *testing.T) {
	g := run(t)
	ctx := t.Context()
	if err := g.ctl.Apply(ctx, Update{From: 5, Number: 6}); err == nil || !strings.Contains(err.Error(), ErrOutOfSync.Error()) {
		t.Errorf("got %v", err)
	}
	if err := g.ctl.Put(ctx, Table{Number: 5, Routes: []Route{{Host: "not a host"}}}); err == nil || !strings.Contains(err.Error(), `"not a host"`) {
		t.Errorf("got %v", err)
	}
	if err := g.ctl.Put(ctx, Table{Number: 5, Routes: []Route{{Host: "a.test", Destinations: []Destination{to("a", "127.0.0.1:1")}}}}); err != nil {
		t.Error(err)
	}
	st, err := g.ctl.Status(ctx)
	if err != nil || st.Number != 5 || st.Routes != 1 || st.Backends != 1 || st.PID == 0 || st.Draining {
		t.Errorf("got %+v, %v", st, err)
	}
	short, cancel := context.WithTimeout(ctx, time.Millisecond)
	defer cancel()
	<-short.Done()
	if err := g.ctl.Drain(short, []string{"a-0"}, time.Second); err == nil {
		t.Error("a call with a context that ended went well")
	}
	if err := g.ctl.Drain(ctx, nil, 0); err != nil {
		t.Error(err)
	}
	res, err := g.ctl.http.Get("http://router/healthz")
	if err != nil || res.StatusCode != 200 {
		t.Errorf("got %v, %v", res, err)
	}
	_ = res.Body.Close()
	res, err = g.ctl.http.Post("http://router/drain", "application/json", strings.NewReader("nonsense"))
	if err != nil || res.StatusCode != 400 {
		t.Errorf("got %v, %v", res, err)
	}
	_ = res.Body.Close()
}

func TestRecord_NamesTheAppOfARouteThatNoInstanceAnsweredFor(t *testing.T) {
	g := run(t)
	g.upsert(Route{Host: "one.test", Destinations: []Destination{to("app"), to("app")}})
	g.upsert(Route{Host: "shut.test", Options: map[string]string{"deny-ips": "127.0.0.0/8"}, Destinations: []Destination{to("app", deadAddr(t))}})
	g.upsert(Route{Host: "two.test", Destinations: []Destination{to("app"), to("other")}})
	g.upsert(Route{Host: "none.test"})
	for i, c := range []struct{ host, app, reason string }{
		{"one.test", "app", "no_endpoints"},
		{"shut.test", "app", "forbidden"},
		{"two.test", "", "no_endpoints"}, // which of them is not known
		{"none.test", "", "no_endpoints"},
		{"unknown.test", "", "unknown_route"},
	} {
		get(t, g.client(), "http://"+c.host+"/")
		if r := g.nthRecord(i + 1); r.AppGUID != c.app || r.Reason != c.reason || r.InstanceGUID != "" {
			t.Errorf("%s: got app %q, reason %q, instance %q", c.host, r.AppGUID, r.Reason, r.InstanceGUID)
		}
	}
}
