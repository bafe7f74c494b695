package router

import (
	"compress/gzip"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"weir/internal/platform"
)

func TestCheckOptions_TakesAndRefuses(t *testing.T) {
	good := []map[string]string{
		{"loadbalancing": "hash", "hash_header": "X-User", "hash_balance": "1.5"},
		{"loadbalancing": "round-robin"},
		{"loadbalancing": "least-connection"},
		{"loadbalancing": "hash", "hash_balance": "0"},
		{"websocket-drain": "stay"},
		{"websocket-drain": "cut"},
		{"websocket-drain": "close-gently"},
		{"websocket-drain": "close-gently 60s"},
		{"idle-timeout": "24h", "max-body": "10M", "slow-start": "0s"},
		{"hsts": "on"},
		{"hsts": "63072000; includeSubDomains; preload"},
		{"https": "redirect"},
		{"canonical-host": "www.example.com"},
		{"compress": "gzip"},
		{"basic-auth": "a:$5$saltsalt$7nms7uea33j6nUc5B/QNWbGgEhGAZc61YUN0rQzogB0"},
		{"allow-ips": "10.0.0.0/8, ::1,192.0.2.1", "deny-ips": "10.1.0.0/16"},
		{"rate-limit": "600/m burst=50", "rate-limit-by": "header:X-Key"},
		{"error-page": "<p>{{status}}", "error-page-404": "x"},
		{"version-header": "on", "sticky": "cookie", "sticky-salt": "fixed", "sticky-max-age": "12h", "sticky-cookie": "pos", "sticky-same-site": "none"},
		{"sticky": "header:X-Tenant", "sticky-max-age": "session"},
		{"sticky": "ip", "strip-prefix": "on"},
	}
	for _, o := range good {
		if err := CheckOptions(o); err != nil {
			t.Errorf("%v: %v", o, err)
		}
	}
	bad := []map[string]string{
		{"colour": "red"},
		{"loadbalancing": "random"},
		{"hash_header": "X"},
		{"loadbalancing": "hash", "hash_balance": "1.05"},
		{"loadbalancing": "hash", "hash_balance": "NaN"},
		{"loadbalancing": "hash", "hash_header": "a b"},
		{"websocket-drain": "stay 60s"},
		{"websocket-drain": "close-gently soon"},
		{"websocket-drain": "close-gently 2h"},
		{"idle-timeout": "25h"},
		{"max-body": "10"},
		{"max-body": "0B"},
		{"slow-start": "-1s"},
		{"hsts": "yes"},
		{"hsts": "1; x"},
		{"https": "on"},
		{"canonical-host": "a.test:80"},
		{"canonical-host": "*.a.test"},
		{"canonical-host": "-"},
		{"canonical-host": "a..test"},
		{"compress": "br"},
		{"basic-auth": "a:secret"},
		{"basic-auth": "a:$2a$20$aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
		{"basic-auth": " "},
		{"allow-ips": "10.0.0.0/33"},
		{"allow-ips": ","},
		{"rate-limit": "0/s"},
		{"rate-limit": "5/d"},
		{"rate-limit": "5/s burst=0"},
		{"rate-limit-by": "ip"},
		{"error-page-200": "x"},
		{"error-page-": "x"},
		{"error-page": strings.Repeat("x", 65<<10)},
		{"version-header": "yes"},
		{"sticky": "header:"},
		{"sticky": "jwt"},
		{"sticky-cookie": "__Host-x"},
		{"sticky-max-age": "500d"},
		{"strip-prefix": "/x"},
	}
	for _, o := range bad {
		err := CheckOptions(o)
		var e *platform.Error
		if !errors.As(err, &e) || e.Kind != platform.KindInvalid || e.Hint == "" {
			t.Errorf("%v: got %v", o, err)
		}
		if v := o["basic-auth"]; strings.Contains(v, "secret") && err != nil && strings.Contains(err.Error(), "secret") {
			t.Error("the error repeats a password")
		}
	}
}

// The hashes are what openssl passwd makes of the passwords.
func TestSHACrypt(t *testing.T) {
	for _, v := range []struct{ password, hash string }{
		{"Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"},
		{"Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"},
		{"Hello world!", "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"},
		{"a very much longer text to encrypt.  This one even stretches over morethan one line.", "$6$rounds=1400$anotherlongsalts$POfYwTEok97VWcjxIiSOjiykti.o/pQs.wPvMxQ6Fm7I6IoYN3CmLs66x9t0oSwbtEW7o7UmJEiDwGqd8p4ur1"},
		{"Hello world!", "$5$saltsalt$7nms7uea33j6nUc5B/QNWbGgEhGAZc61YUN0rQzogB0"},
	} {
		got, err := shaCrypt(v.password, v.hash)
		if err != nil || got != v.hash {
			t.Errorf("got  %s %v\nwant %s", got, err, v.hash)
		}
	}
	for _, h := range []string{"$5$rounds=10$s$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", "$5$rounds=9999999$s$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc8", "$5$s$short", "$1$s$x"} {
		if _, err := parseSHACrypt(h); err == nil {
			t.Errorf("taken: %s", h)
		}
	}
}

// withOptions maps host to one instance that says its name, the path it got
// and what the router told it.
func (g *rig) withOptions(host string, options ...string) {
	g.t.Helper()
	app := serveApp(g.t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s prefix=%q version=%q body=%d", r.Method, r.RequestURI, r.Header.Get("X-Forwarded-Prefix"), r.Header.Get("X-Route-Version"), len(b))
	})
	r := Route{Host: host, GUID: host, Options: map[string]string{}, Destinations: []Destination{to("app", app)}}
	for i := 0; i < len(options); i += 2 {
		r.Options[options[i]] = options[i+1]
	}
	g.upsert(r)
}

// plain is a client that does not follow redirects.
func (g *rig) plain() *http.Client {
	c := g.client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

func TestRules_RedirectToHTTPSAndTheCanonicalHost(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	g.withOptions("a.test", "https", "redirect", "hsts", "on")
	g.withOptions("*.b.test", "canonical-host", "www.b.test")
	c := g.plain()
	got := get(t, c, "http://a.test/x//y?q=1%20")
	if got.status != 301 || got.header.Get("Location") != "https://a.test/x//y?q=1%20" || got.header.Get("X-Cf-RouterError") != "" || got.body != "" {
		t.Errorf("got %+v", got)
	}
	if got := do(t, c, request1(t, "POST", "http://a.test//evil.test/", strings.NewReader("x"))); got.status != 308 || got.header.Get("Location") != "https://a.test/evil.test/" {
		t.Errorf("got %+v", got)
	}
	got = get(t, c, "http://a.test/", "X-Forwarded-Proto", "https")
	if got.status != 200 || got.header.Get("Strict-Transport-Security") != "max-age=31536000" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://x.b.test/y"); got.status != 301 || got.header.Get("Location") != "http://www.b.test/y" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://www.b.test/y"); got.status != 200 {
		t.Errorf("got %+v", got)
	}
}

// Somebody who came to a port of ours is sent to one of ours.
func TestRules_RedirectsKeepThePort(t *testing.T) {
	g := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	g.withOptions("a.test", "https", "redirect")
	g.withOptions("*.b.test", "canonical-host", "www.b.test")
	_, http, _ := net.SplitHostPort(g.addr)
	_, https, _ := net.SplitHostPort(g.tlsAddr)
	for host, want := range map[string]string{
		"a.test:" + http:   "https://a.test:" + https + "/x",
		"a.test:1":         "https://a.test/x",
		"a.test":           "https://a.test/x",
		"x.b.test:" + http: "http://www.b.test:" + http + "/x",
		"x.b.test:1":       "http://www.b.test:1/x",
		"x.b.test:80":      "http://www.b.test/x",
		"x.b.test":         "http://www.b.test/x",
	} {
		got := g.raw("GET /x HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.Contains(got, "\r\nLocation: "+want+"\r\n") {
			t.Errorf("%s: got %q, want to be sent to %s", host, got, want)
		}
	}
}

func TestRules_LetInWhoMay(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	g.withOptions("a.test", "allow-ips", "192.0.2.0/24", "deny-ips", "192.0.2.7")
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	g.withOptions("b.test", "basic-auth", "ann:"+string(hash)+" bob:$5$saltsalt$7nms7uea33j6nUc5B/QNWbGgEhGAZc61YUN0rQzogB0")
	c := g.client()
	for from, want := range map[string]int{"": 403, "192.0.2.1": 200, "192.0.2.7": 403, "198.51.100.1": 403} {
		if got := get(t, c, "http://a.test/", "X-Forwarded-For", from); got.status != want {
			t.Errorf("from %q: got %+v", from, got)
		}
	}
	for login, want := range map[string]int{"": 401, "ann:wrong": 401, "ann:right": 200, "bob:Hello world!": 200, "eve:right": 401, "ann": 401} {
		for range 2 { // the second time from memory
			got := get(t, c, "http://b.test/", "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(login)))
			if got.status != want {
				t.Errorf("%q: got %+v", login, got)
			}
			if want == 401 && got.header.Get("WWW-Authenticate") != `Basic realm="b.test", charset="UTF-8"` {
				t.Errorf("got %v", got.header)
			}
		}
	}
}

func TestRules_LimitRateAndBody(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	g.withOptions("a.test", "rate-limit", "1/h burst=3")
	g.withOptions("b.test", "max-body", "10B")
	c := g.client()
	for i := range 5 {
		got := get(t, c, "http://a.test/", "X-Forwarded-For", "192.0.2.1")
		if i < 3 && got.status != 200 || i >= 3 && (got.status != 429 || got.header.Get("Retry-After") == "" || got.header.Get("X-Cf-RouterError") != "rate_limited") {
			t.Errorf("request %d: got %+v", i, got)
		}
	}
	if got := get(t, c, "http://a.test/", "X-Forwarded-For", "192.0.2.2"); got.status != 200 {
		t.Errorf("another client: got %+v", got)
	}
	// A change of the route that leaves the rate alone does not forget.
	g.withOptions("a.test", "rate-limit", "1/h burst=3", "hsts", "on")
	if got := get(t, c, "http://a.test/", "X-Forwarded-For", "192.0.2.1"); got.status != 429 {
		t.Errorf("after a change: got %+v", got)
	}
	for n, want := range map[int]int{10: 200, 11: 413} {
		for _, chunked := range []bool{false, true} {
			var body io.Reader = strings.NewReader(strings.Repeat("x", n))
			if chunked {
				body = struct{ io.Reader }{body}
			}
			if got := do(t, c, request1(t, "POST", "http://b.test/", body)); got.status != want {
				t.Errorf("%d bytes, chunked %v: got %+v", n, chunked, got)
			}
		}
	}
}

func TestRules_StripThePrefix(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %s", r.RequestURI, r.Header.Get("X-Forwarded-Prefix"), r.Header.Get("X-Route-Version"))
	})
	d := to("app", app)
	d.Label = "v2"
	g.upsert(Route{Host: "a.test", Path: "/services/x", GUID: "g", Options: map[string]string{"strip-prefix": "on"}, Destinations: []Destination{d}})
	c := g.client()
	for path, want := range map[string]string{
		"/services/x/a/b?c=1": "/a/b?c=1", "/services/x": "/", "/services/x?q": "/?q", "/services/x/": "/",
	} {
		if got := get(t, c, "http://a.test"+path, "X-Forwarded-Prefix", "/evil", "X-Route-Version", "v9"); got.body != want+" /services/x v2" {
			t.Errorf("%s: got %q", path, got.body)
		}
	}
	if got := get(t, c, "http://a.test/services/xy"); got.status != 404 {
		t.Errorf("got %+v", got)
	}
}

func TestRules_ShowTheirOwnPages(t *testing.T) {
	g := run(t)
	g.upsert(Route{Host: "a.test", Options: map[string]string{"error-page": "<h1>{{status}} {{message}}", "error-page-503": "sorry {{request_id}}"}, Destinations: []Destination{to("app")}})
	g.upsert(Route{Host: "b.test", Options: map[string]string{"error-page": "<h1>{{status}} {{message}}"}, Destinations: []Destination{to("app", deadAddr(t))}})
	c := g.client()
	if got := get(t, c, "http://a.test/"); got.status != 503 || got.body != "sorry "+got.header.Get("X-Vcap-Request-Id") || !strings.HasPrefix(got.header.Get("Content-Type"), "text/html") {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://b.test/"); got.status != 502 || got.body != "<h1>502 The app could not be reached." || got.header.Get("X-Cf-RouterError") != "endpoint_failure" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://b.test/", "Accept", "application/json"); !strings.HasPrefix(got.body, `{"status":502`) {
		t.Errorf("got %+v", got)
	}
}

func TestRules_MaintenanceLetsSomePass(t *testing.T) {
	g := run(t)
	app := serveApp(t, sayName("app"))
	r := Route{Host: "a.test", Destinations: []Destination{to("app", app)}, Maintenance: &Maintenance{Page: "back soon", Allow: []string{"192.0.2.0/24", "header:X-Key=abc"}, RetryAfter: 120}}
	g.upsert(r)
	c := g.client()
	if got := get(t, c, "http://a.test/"); got.status != 503 || got.body != "back soon" || got.header.Get("Retry-After") != "120" || got.header.Get("X-Cf-RouterError") != "maintenance" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://a.test/", "X-Key", "abc"); got.body != "app" {
		t.Errorf("got %+v", got)
	}
	r.Maintenance = nil
	g.upsert(r)
	if got := get(t, c, "http://a.test/"); got.body != "app" {
		t.Errorf("got %+v", got)
	}
	// What nobody understands lets nobody in.
	r.Options = map[string]string{"allow-ips": "everybody"}
	g.upsert(r)
	if got := get(t, c, "http://a.test/"); got.status != 500 {
		t.Errorf("got %+v", got)
	}
}

// Who gave up while the app was paused must neither take the room of others
// nor reach the app when it goes on.
func TestRules_CompressTextForThoseWhoTakeIt(t *testing.T) {
	g := run(t)
	text := strings.Repeat("all work and no play ", 1000)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"x"`)
		switch r.URL.Path {
		case "/text":
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			_, _ = io.WriteString(w, text)
		case "/image":
			w.Header().Set("Content-Type", "image/png")
			_, _ = io.WriteString(w, text)
		case "/varies":
			w.Header().Set("Content-Type", "text/plain")
			w.Header().Set("Vary", "Cookie, Accept-Encoding")
			_, _ = io.WriteString(w, text)
		case "/short":
			w.Header().Set("Content-Type", "text/plain")
			_, _ = io.WriteString(w, "short")
		}
	})
	g.upsert(Route{Host: "a.test", Options: map[string]string{"compress": "gzip"}, Destinations: []Destination{to("app", app)}})
	c := g.client()
	got := get(t, c, "http://a.test/text", "Accept-Encoding", "br, gzip")
	in, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(in)
	if err != nil || string(b) != text || len(got.body) > 2000 || got.header.Get("Content-Encoding") != "gzip" || got.header.Get("Etag") != `W/"x"` || got.header.Get("Vary") != "Accept-Encoding" {
		t.Errorf("got %d bytes, %v, %v", len(got.body), got.header, err)
	}
	// A cache between must not give what is plain, or compressed, to everybody.
	for _, accept := range []string{"gzip;q=0", "gzip; Q=0.0", "br", ""} {
		got := get(t, c, "http://a.test/text", "Accept-Encoding", accept)
		if got.body != text || got.header.Get("Content-Encoding") != "" || got.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%q: got %d bytes, %v", accept, len(got.body), got.header)
		}
	}
	for path, want := range map[string]string{"/image": text, "/short": "short", "/varies": text} {
		got := get(t, c, "http://a.test"+path, "Accept-Encoding", "gzip;q=0")
		if vary := got.header["Vary"]; got.body != want || got.header.Get("Content-Encoding") != "" || len(vary) != 1 {
			t.Errorf("%s: got %v", path, got.header)
		}
	}
	for path, want := range map[string]string{"/image": text, "/short": "short"} {
		if got := get(t, c, "http://a.test"+path, "Accept-Encoding", "gzip"); got.header.Get("Content-Encoding") != "" || got.body != want {
			t.Errorf("%s: got %v", path, got.header)
		}
	}
}

func TestRules_CompressedAnswerOfKnownLengthEndsWithItsLastByte(t *testing.T) {
	g := run(t)
	text := strings.Repeat("all work and no play ", 1000)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		w.Header().Set("Content-Length", strconv.Itoa(len(text)))
		if r.URL.Path == "/cut" {
			_, _ = io.WriteString(w, text[:5000])
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}
		_, _ = io.WriteString(w, text) // and the connection is kept
	})
	g.upsert(Route{Host: "a.test", Options: map[string]string{"compress": "gzip"}, Destinations: []Destination{to("app", app)}})
	for range 3 {
		got := get(t, g.client(), "http://a.test/text", "Accept-Encoding", "gzip")
		if got.header.Get("Content-Encoding") != "gzip" {
			t.Fatalf("got %v", got.header)
		}
		in, err := gzip.NewReader(strings.NewReader(got.body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(in); err != nil || string(b) != text {
			t.Errorf("got %d bytes, %v", len(b), err)
		}
	}
	req, err := http.NewRequest(http.MethodGet, "http://a.test/cut", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := g.client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err == nil {
		t.Error("an answer that broke off looks whole")
	}
}
