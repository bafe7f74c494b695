package router

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// twoVersions is a route whose version v1 has the first weight and v2 the
// second; v1 lost its share at left, if that is not zero.
func twoVersions(v1, v2 string, w1, w2 int, left time.Time, options ...string) Route {
	r := versions("a.test", v1, v2, 1, w1, w2)
	if !left.IsZero() {
		r.Destinations[0].LeftAt = left.Unix()
	}
	for i := 0; i+1 < len(options); i += 2 {
		r.Options[options[i]] = options[i+1]
	}
	return r
}

func TestSkew_WhatAPageLoadsComesFromItsVersion(t *testing.T) {
	g := run(t)
	v1, v2 := serveApp(t, sayName("v1")), serveApp(t, sayName("v2"))
	c := g.client()
	g.upsert(twoVersions(v1, v2, 100, 0, time.Time{}, "skew", "1h"))
	page := get(t, c, "http://a.test/", "Sec-Fetch-Mode", "navigate")
	ck, err := http.ParseSetCookie(page.header.Get("Set-Cookie"))
	if err != nil || ck.Name != "weir-version" || ck.Value != "g1" || ck.MaxAge != 0 || !ck.HttpOnly || ck.Path != "/" {
		t.Fatalf("got %+v, %v", page, err)
	}
	g.upsert(twoVersions(v1, v2, 0, 100, time.Now(), "skew", "1h"))
	cookie := "weir-version=g1"
	for _, tt := range []struct {
		what, target string
		header       []string
		want         string
	}{
		{"no sign", "/x.js", nil, "v2"},
		{"the cookie", "/x.js", []string{"Cookie", cookie, "Sec-Fetch-Mode", "no-cors"}, "v1"},
		{"a WebSocket or fetch", "/api", []string{"Cookie", cookie, "Sec-Fetch-Mode", "cors", "Accept", "text/html"}, "v1"},
		{"a new page", "/", []string{"Cookie", cookie, "Sec-Fetch-Mode", "navigate"}, "v2"},
		{"a new page of an old browser", "/", []string{"Cookie", cookie, "Accept", "text/html,*/*"}, "v2"},
		{"a header by label", "/api", []string{"X-Deployment-Id", "V1"}, "v1"},
		{"a header before the cookie", "/api", []string{"X-Deployment-Id", "v2", "Cookie", cookie}, "v2"},
		{"the query", "/x.js?a=1&dpl=v1", nil, "v1"},
		{"the query before the cookie", "/x.js?dpl=g2", []string{"Cookie", cookie}, "v2"},
		{"a version nobody knows", "/x.js?dpl=v9", nil, "v2"},
	} {
		if got := get(t, c, "http://a.test"+tt.target, tt.header...); got.body != tt.want {
			t.Errorf("%s: %q answers, want %q", tt.what, got.body, tt.want)
		}
	}
	if got := get(t, c, "http://a.test/", "Sec-Fetch-Mode", "navigate", "Cookie", "weir-version=g2"); got.header.Get("Set-Cookie") != "" {
		t.Error("a browser is told again what it knows")
	}
}

func TestSkew_EndsWithItsTimeAndWithARollback(t *testing.T) {
	g := run(t)
	v1, v2 := serveApp(t, sayName("v1")), serveApp(t, sayName("v2"))
	c := g.client()
	for _, tt := range []struct {
		what  string
		route Route
		want  string
	}{
		{"in time", twoVersions(v1, v2, 0, 1, time.Now().Add(-30*time.Minute), "skew", "1h"), "v1"},
		{"too late", twoVersions(v1, v2, 0, 1, time.Now().Add(-2*time.Hour), "skew", "1h"), "v2"},
		{"rolled back", twoVersions(v1, v2, 0, 1, time.Time{}, "skew", "1h"), "v2"},
		{"not asked for", twoVersions(v1, v2, 0, 1, time.Now()), "v2"},
		{"nobody there", twoVersions("", v2, 0, 1, time.Now(), "skew", "1h"), "v2"},
	} {
		if tt.route.Destinations[0].Backends[0].Addr == "" {
			tt.route.Destinations[0].Backends = nil
		}
		g.upsert(tt.route)
		if got := get(t, c, "http://a.test/x.js?dpl=v1"); got.body != tt.want {
			t.Errorf("%s: %q answers, want %q", tt.what, got.body, tt.want)
		}
	}
}

// files answers for what is in list, and with 404 for anything else.
func files(name string, list ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for _, f := range list {
			if r.URL.Path == f {
				sayName(name)(w, r)
				return
			}
		}
		http.Error(w, "not in "+name, http.StatusNotFound)
	}
}

func TestAssetFallback_AsksTheOtherVersionOnceForHashedFiles(t *testing.T) {
	g := run(t)
	v1 := serveApp(t, files("v1", "/app.0123abcd.js", "/plain.js"))
	v2 := serveApp(t, files("v2", "/app.fedc9876.js"))
	on := []string{"asset-fallback", "on"}
	for _, c := range []*http.Client{g.client(), g.h2c()} {
		g.upsert(twoVersions(v1, v2, 0, 1, time.Now(), on...))
		for target, want := range map[string]string{
			"/app.0123abcd.js?x": "200 v1",
			"/app.fedc9876.js":   "200 v2",
			"/plain.js":          "404 not in v2",
			"/app.00000000.js":   "404 not in v1", // both were asked
		} {
			got := get(t, c, "http://a.test"+target)
			if text := http.StatusText(got.status); strings.TrimSpace(got.body) != want[4:] || got.status/100 != int(want[0]-'0') {
				t.Errorf("%s: %d %s %q, want %s", target, got.status, text, got.body, want)
			}
		}
		if got := do(t, c, request1(t, "POST", "http://a.test/app.0123abcd.js", strings.NewReader("x"))); got.status != 404 {
			t.Errorf("a POST was sent twice: %+v", got)
		}
		// A page of the canary whose file the main version is asked for.
		g.upsert(twoVersions(v1, v2, 1000, 1, time.Time{}, on...))
		for range 20 {
			if got := get(t, c, "http://a.test/app.fedc9876.js"); got.body != "v2" {
				t.Fatalf("got %+v", got)
			}
		}
		// What was rolled back, and what is off.
		g.upsert(twoVersions(v1, v2, 0, 1, time.Time{}, on...))
		if got := get(t, c, "http://a.test/app.0123abcd.js"); got.status != 404 {
			t.Errorf("a version that was rolled back answers: %+v", got)
		}
		g.upsert(twoVersions(v1, v2, 0, 1, time.Now()))
		if got := get(t, c, "http://a.test/app.0123abcd.js"); got.status != 404 {
			t.Errorf("got %+v", got)
		}
	}
}

func TestAssetFallback_IsNoEvidence(t *testing.T) {
	g := run(t)
	v1, v2 := serveApp(t, files("v1", "/")), serveApp(t, files("v2", "/app.fedc9876.js"))
	g.upsert(twoVersions(v1, v2, 1, 1, time.Time{}, "asset-fallback", "on"))
	for range 10 {
		get(t, g.client(), "http://a.test/app.fedc9876.js")
	}
	_, by := evidenceOf(t, g, EvidenceQuery{})
	if a := by["g1/1"]; a.Bad != 0 || a.Requests != 0 {
		t.Errorf("v1 is blamed for files of v2: %+v", a)
	}
}

func TestIsHashedFile(t *testing.T) {
	for path, want := range map[string]bool{
		"/static/js/main.3f2a9c01.js":         true,
		"/assets/index-BXd3k2_a.css":          true,
		"/123.abcdef0123456789.chunk.js":      true,
		"/_next/static/chunks/pages-0f3aa91b": false, // no extension
		"/jquery-3.7.1.min.js":                false,
		"/bootstrap-datepicker.js":            false,
		"/0123abcd.js":                        false, // the name itself
		"/":                                   false,
		"/.well-known/x":                      false,
		"/report-20261121.xlsx":               true, // costs one question more
		"/a.0123abcd.longextension":           false,
	} {
		if got := isHashedFile(path); got != want {
			t.Errorf("%s: %v", path, got)
		}
	}
}
