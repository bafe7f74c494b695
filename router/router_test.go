package router

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestRouter_CarriesARequestAndItsBody(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-App", "yes")
		w.WriteHeader(http.StatusCreated)
		fmt.Fprintf(w, "%s %s %s %s", r.Method, r.Host, r.RequestURI, b)
	})
	g.mapRoute("shop.test", "", to("shop", app))
	for name, c := range map[string]*http.Client{"http1": g.client(), "h2c": g.h2c()} {
		t.Run(name, func(t *testing.T) {
			got := do(t, c, request1(t, "POST", "http://Shop.Test:8080/a%2fb?x=%zz&y", strings.NewReader("hello")))
			if got.status != 201 || got.body != "POST Shop.Test:8080 /a%2fb?x=%zz&y hello" || got.header.Get("X-App") != "yes" {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestRouter_AnswersForItselfInCloudFoundrysWords(t *testing.T) {
	g := run(t)
	g.mapRoute("empty.test", "", to("app"))
	g.mapRoute("zero.test", "", Destination{AppGUID: "a", Backends: []Backend{{InstanceGUID: "i", Addr: "127.0.0.1:1"}}})
	g.mapRoute("dead.test", "", to("app", deadAddr(t)))
	c := g.client()
	tests := []struct {
		host       string
		status     int
		code, body string
	}{
		{"nope.test", 404, "unknown_route", "404 Not Found: Requested route ('nope.test') does not exist.\n"},
		{"nope.test:8080", 404, "unknown_route", "404 Not Found: Requested route ('nope.test') does not exist.\n"},
		{"empty.test", 503, "no_endpoints", "503 Service Unavailable: Requested route has no available endpoints.\n"},
		{"zero.test", 503, "no_endpoints", "503 Service Unavailable: Requested route has no available endpoints.\n"},
		{"dead.test", 502, "endpoint_failure", "502 Bad Gateway: The app could not be reached.\n"},
	}
	for _, tt := range tests {
		got := get(t, c, "http://"+tt.host+"/")
		if got.status != tt.status || got.header.Get("X-Cf-RouterError") != tt.code || got.body != tt.body {
			t.Errorf("%s: got %+v", tt.host, got)
		}
		if strings.Contains(got.body+fmt.Sprint(got.header), "127.0.0.1") {
			t.Errorf("%s: internal address in %+v", tt.host, got)
		}
	}
	if got := g.raw("GET / HTTP/1.0\r\n\r\n"); !strings.Contains(got, "400 Bad Request") || !strings.Contains(got, "X-Cf-Routererror: empty_host") {
		t.Errorf("no Host: got %q", got)
	}
	if got := g.raw("GET / HTTP/1.1\r\nHost:\r\n\r\n"); !strings.Contains(got, "X-Cf-Routererror: empty_host") {
		t.Errorf("empty Host: got %q", got)
	}
}

func TestRouter_ShowsErrorsInTheFormTheClientPrefers(t *testing.T) {
	g := run(t)
	c := g.client()
	for accept, want := range map[string]string{
		"":    "text/plain; charset=utf-8",
		"*/*": "text/plain; charset=utf-8",
		"text/html,application/xhtml+xml,*/*;q=0.8": "text/html; charset=utf-8",
		"application/json, text/plain, */*":         "application/json",
		"text/html;q=0.1, application/json":         "application/json",
		"text/html ; q=0.4 ,application/json; q=.5": "application/json",
		"text/html;level=1;Q=0, text/*;q=0.5, */*":  "application/json",
		"*/*, text/html":                            "text/html; charset=utf-8",
		"application/*":                             "application/json",
		"text/plain;q=0, */*;q=0.1":                 "application/json",
		"image/png, text/html;q=0":                  "text/plain; charset=utf-8",
		"application/json;q=, text/html;q=0.9":      "application/json",
	} {
		if got := get(t, c, "http://nope.test/", "Accept", accept); got.header.Get("Content-Type") != want ||
			!strings.Contains(strings.ReplaceAll(got.body, "&#39;", "'"), "Requested route ('nope.test') does not exist.") {
			t.Errorf("Accept %q: got %+v", accept, got)
		}
	}
}

func TestRouter_MatchesExactHostThenWildcardThenLongestPath(t *testing.T) {
	g := run(t)
	for _, k := range []RouteKey{
		{"a.test", ""},
		{"a.test", "/api"},
		{"a.test", "/api/v2"},
		{"*.test", ""},
		{"*.b.test", ""},
		{"*.b.test", "/x"},
		{"only.b.test", "/deep"},
	} {
		g.mapRoute(k.Host, k.Path, to("app", serveApp(t, sayName(k.Host+k.Path))))
	}
	c := g.client()
	for target, want := range map[string]string{
		"a.test/":            "a.test",
		"A.TEST./":           "a.test",
		"a.test/apix":        "a.test",
		"a.test/api":         "a.test/api",
		"a.test/api/":        "a.test/api",
		"a.test/api?q":       "a.test/api",
		"a.test/API":         "a.test",
		"a.test/api/v2/x":    "a.test/api/v2",
		"a.test/api/v22":     "a.test/api",
		"z.test/":            "*.test",
		"y.z.test/":          "*.test",
		"q.b.test/":          "*.b.test",
		"q.b.test/x/y":       "*.b.test/x",
		"p.q.b.test/":        "*.b.test",
		"only.b.test/deep":   "only.b.test/deep",
		"only.b.test/shalow": "*.b.test",
		"b.test/":            "*.test",
	} {
		if got := get(t, c, "http://"+target); got.body != want {
			t.Errorf("%s: got %q, want %q", target, got.body, want)
		}
	}
	if got := get(t, c, "http://test/"); got.status != 404 {
		t.Errorf("a wildcard must not match its own domain: %+v", got)
	}
}

func TestRouter_RefusesPathsThatRoutesCouldDisagreeAbout(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("root", serveApp(t, sayName("root"))))
	g.mapRoute("a.test", "/admin", to("admin", serveApp(t, sayName("admin"))))
	g.mapRoute("a.test", "/caf%C3%A9", to("coffee", serveApp(t, sayName("coffee"))))
	for target, want := range map[string]string{
		"/%2fadmin":        "400",
		"//admin":          "400",
		"/x/../admin":      "400",
		"/x/%2e%2e/admin":  "400",
		"/admin/../x":      "400",
		"/admin/%2E%2e/":   "400",
		"/./admin":         "400",
		`/x\..\admin`:      "400",
		"/x%00":            "400",
		"/x/../y":          "root",
		"//x":              "root",
		"/x/./y":           "root",
		"/a..b/.c/...":     "root",
		"/admin/x%2fy":     "admin",
		"/admin/..%2fevil": "400",
		"/%61dmin":         "400",
		"/%41dmin":         "root",
		"/admi%6e/x":       "400",
		"/%2561dmin":       "root", // undone once, not twice
		"/admin/%61":       "admin",
		"/b%C3%A9":         "root",
		"/caf%c3%a9":       "400", // the same as the route's %C3%A9
		"/caf%C3%A9":       "coffee",
	} {
		got := g.raw("GET " + target + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
		if want == "400" {
			if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
				t.Errorf("%s: got %q", target, statusLine(got))
			}
		} else if !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("%s: got %q, want %s", target, got, want)
		}
	}
}

func TestRouter_ForwardsTheTargetByteForByte(t *testing.T) {
	g := run(t)
	app := serveRaw(t, func(c net.Conn) {
		head, _ := readRequestHead(c)
		line := statusLine(head)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(line), line)
	})
	g.mapRoute("a.test", "", to("a", app))
	for _, target := range []string{
		"/", "/?", "/a|b^c`{d}", "/%41%7e~", "/a;b=c?x=[1]&y=\"<>'", "//x//y", "/a?b?c", "*",
	} {
		method := "GET"
		if target == "*" {
			method = "OPTIONS"
		}
		got := g.raw(method + " " + target + " HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
		if want := method + " " + target + " HTTP/1.1"; !strings.HasSuffix(got, "\r\n\r\n"+want) {
			t.Errorf("got %q, want %s", got, want)
		}
	}
}

func TestRouter_TimesOutAnInstanceThatDoesNotAnswer(t *testing.T) {
	g := run(t, func(c *Config) { c.ResponseTimeout = 100 * time.Millisecond })
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host == "patient.test" {
			time.Sleep(400 * time.Millisecond)
			return
		}
		<-r.Context().Done()
	})
	g.mapRoute("slow.test", "", to("slow", app))
	g.upsert(Route{Host: "patient.test", Options: map[string]string{"timeout": "60s"}, Destinations: []Destination{to("slow", app)}})
	c := g.client()
	if got := get(t, c, "http://slow.test/"); got.status != 504 || got.header.Get("X-Cf-RouterError") != "timeout" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://patient.test/"); got.status != 200 {
		t.Errorf("got %+v", got)
	}
	if rec := g.nthRecord(1); rec.Status != 504 || rec.Reason != "timeout" || rec.AppGUID != "slow" {
		t.Errorf("got record %+v", rec)
	}
}

func TestCheckOptions(t *testing.T) {
	for v, ok := range map[string]bool{"90s": true, "15m": true, "30": true, "": false, "16m": false, "-1s": false, "x": false, "99999999999": false} {
		if err := CheckOptions(map[string]string{"timeout": v}); (err == nil) != ok {
			t.Errorf("timeout %q: %v", v, err)
		}
	}
	if err := CheckOptions(nil); err != nil {
		t.Error(err)
	}
}
