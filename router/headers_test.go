package router

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sort"
	"strings"
	"testing"
)

// echoHead answers with the request head it got.
func echoHead(t testing.TB) string {
	return serveRaw(t, func(c net.Conn) {
		head, _ := readRequestHead(c)
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(head), head)
	})
}

// seen returns the fields an instance saw, by lower-case name.
func seen(raw string) map[string][]string {
	_, echo, _ := strings.Cut(raw, "\r\n\r\n")
	m := map[string][]string{}
	for _, line := range strings.Split(echo, "\r\n")[1:] {
		if name, value, ok := strings.Cut(line, ": "); ok {
			m[strings.ToLower(name)] = append(m[strings.ToLower(name)], value)
		}
	}
	return m
}

func TestRouter_LetsNobodySpoofItsFields(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("app", echoHead(t)))
	var names []string
	for _, n := range []string{
		"X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Forwarded-Port", "X-Forwarded-Prefix",
		"X-Forwarded-Server", "X-Forwarded-Client-Cert", "X-Forwarded", "Forwarded", "X-Real-Ip",
		"X-Cf-Applicationid", "X-Cf-Instanceid", "X-Cf-Instanceindex", "X-Cf-Anything", "X-Vcap-Request-Id",
		"X-Shadow", "X-Shadow-Of", "X-Route-Version", "X-Request-Start",
	} {
		names = append(names, n, strings.ToUpper(n), strings.ReplaceAll(n, "-", "_"), strings.ReplaceAll(n, "-", "."), strings.Replace(n, "-", "_", 1))
	}
	names = append(names, "x_request_id", "X-Request.Id")
	for _, name := range names {
		got := g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" + name + ": evil\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200") || strings.Contains(got, "evil") {
			t.Errorf("%s: got %q", name, got)
		}
	}
	f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test:8080\r\nConnection: close\r\nX-Forwarded-For: 6.6.6.6\r\nX-Forwarded-Proto: https\r\n\r\n"))
	for name, want := range map[string]string{
		"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "a.test:8080",
		"x-forwarded-port": "8080", "x-real-ip": "127.0.0.1", "x-cf-applicationid": "app",
		"x-cf-instanceid": "app-0", "x-cf-instanceindex": "0", "host": "a.test:8080",
	} {
		if fmt.Sprint(f[name]) != "["+want+"]" {
			t.Errorf("%s: got %q, want %q", name, f[name], want)
		}
	}
	if len(f["x-vcap-request-id"]) != 1 || fmt.Sprint(f["x-vcap-request-id"]) != fmt.Sprint(f["x-request-id"]) || len(f["x-request-start"]) != 1 {
		t.Errorf("got %v", f)
	}
	if f["user-agent"] != nil || f["accept-encoding"] != nil {
		t.Errorf("the transport added fields: %v", f)
	}
}

func TestRouter_SetsTheRequestIDOfAStranger(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("app", echoHead(t)))
	f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Request-Id: abc-123\r\n\r\n"))
	if len(f["x-request-id"]) != 1 || f["x-request-id"][0] != f["x-vcap-request-id"][0] {
		t.Errorf("got %v beside %v", f["x-request-id"], f["x-vcap-request-id"])
	}
}

func TestRouter_KeepsAWellFormedRequestIDOfATrustedProxy(t *testing.T) {
	g := run(t, func(c *Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} })
	g.mapRoute("a.test", "", to("app", echoHead(t)))
	for id, kept := range map[string]bool{
		"abc-123": true, "a/b+c=": true, strings.Repeat("a", 128): true,
		strings.Repeat("a", 129): false, "a b": false, "a\"b": false, "é": false,
	} {
		f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Request-Id: " + id + "\r\n\r\n"))
		if len(f["x-request-id"]) != 1 || (f["x-request-id"][0] == id) != kept || f["x-vcap-request-id"][0] == id {
			t.Errorf("%q: got %v", id, f["x-request-id"])
		}
	}
	f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n"))
	if len(f["x-request-id"]) != 1 || len(f["x-request-id"][0]) != 36 {
		t.Errorf("got %v", f["x-request-id"])
	}
}

func TestRouter_BelievesTrustedProxiesOnly(t *testing.T) {
	g := run(t, func(c *Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	})
	g.mapRoute("a.test", "", to("app", echoHead(t)))
	f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n" +
		"X-Forwarded-For: 6.6.6.6, 203.0.113.9\r\nX-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: www.example.com\r\nX-Forwarded_For: evil\r\n\r\n"))
	for name, want := range map[string]string{
		"x-forwarded-for": "6.6.6.6, 203.0.113.9, 10.1.2.3, 127.0.0.1", "x-real-ip": "203.0.113.9",
		"x-forwarded-proto": "https", "x-forwarded-host": "www.example.com", "x-forwarded-port": "443",
	} {
		if fmt.Sprint(f[name]) != "["+want+"]" {
			t.Errorf("%s: got %q, want %q", name, f[name], want)
		}
	}
	f = seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nX-Forwarded-Proto: gopher\r\nX-Forwarded-Host: a/b\r\n\r\n"))
	if f["x-forwarded-proto"][0] != "http" || f["x-forwarded-host"][0] != "a.test" {
		t.Errorf("got %v", f)
	}
}

func TestOrigin_FindsTheNearestAddressThatIsNoProxy(t *testing.T) {
	trusted := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}
	for list, want := range map[string]string{
		"6.6.6.6, 203.0.113.9":             "203.0.113.9",
		"203.0.113.9,10.0.0.1":             "203.0.113.9",
		"203.0.113.9:4711, 10.0.0.1:443":   "203.0.113.9", // so some load balancers write it
		"[2001:db8::1]:4711":               "2001:db8::1",
		"[2001:db8::1], 10.0.0.1":          "2001:db8::1",
		"::ffff:203.0.113.9":               "203.0.113.9",
		"10.0.0.2, 10.0.0.1":               "10.0.0.2",
		"bogus, 10.0.0.1":                  "10.0.0.1",
		"unknown":                          "127.0.0.1",
		"203.0.113.9, 1.2.3.4:x, 10.0.0.1": "10.0.0.1",
	} {
		o := origin{client: netip.MustParseAddr("127.0.0.1"), clientText: "127.0.0.1"}
		o.nearest(list, trusted)
		if o.client.String() != want || o.clientText != want {
			t.Errorf("%q: got %v, %q, want %s", list, o.client, o.clientText, want)
		}
	}
}

func TestRouter_RemovesHopByHopFields(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("app", echoHead(t)))
	f := seen(g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close, X-Mine , Keep-Alive\r\nConnection: x-other\r\n" +
		"X-Mine: 1\r\nX-Other: 1\r\nX-Third: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nProxy-Authorization: x\r\n" +
		"TE: gzip\r\nTrailer: X\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\nAuthorization: Basic x\r\nCookie: a=b\r\n\r\n"))
	var names []string
	for n := range f {
		if !strings.HasPrefix(n, "x-forwarded") && !strings.HasPrefix(n, "x-cf-") && !strings.HasPrefix(n, "x-request") {
			names = append(names, n)
		}
	}
	sort.Strings(names)
	if got := strings.Join(names, " "); got != "authorization cookie host x-real-ip x-third x-vcap-request-id" {
		t.Errorf("got %s", got)
	}
	for _, token := range []string{"Host", "content-length", "Transfer-Encoding", "Authorization", "cookie", "X-Forwarded-For", "x_forwarded_for", "X-Real-Ip", "X-Request-Id"} {
		got := g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, " + token + "\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 400 ") {
			t.Errorf("Connection: %s: got %q", token, statusLine(got))
		}
	}
}

func TestRouter_CleansAnswers(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("app", serveRaw(t, func(c net.Conn) {
		readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nConnection: X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nX-Cf-RouterError: unknown_route\r\nX-Keep: 1\r\nX-Keep: 2\r\nContent-Length: 0\r\n\r\n")
	})))
	got := get(t, g.client(), "http://a.test/")
	if got.header.Get("X-Cf-RouterError") != "" || got.header.Get("X-Hop") != "" || got.header.Get("Keep-Alive") != "" ||
		len(got.header["X-Keep"]) != 2 || got.header.Get("X-Vcap-Request-Id") == "" || got.header.Get("Content-Type") != "" {
		t.Errorf("got %v", got.header)
	}
}

func TestRouter_KeepsASessionAtItsInstance(t *testing.T) {
	g := run(t)
	session := func(name string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/login" {
				http.SetCookie(w, &http.Cookie{Name: "JSESSIONID", Value: "s", MaxAge: 60, Secure: true, SameSite: http.SameSiteStrictMode})
			}
			_, _ = w.Write([]byte(name))
		}
	}
	d := to("app", serveApp(t, session("0")), serveApp(t, session("1")), serveApp(t, session("2")))
	off := to("off", serveApp(t, session("off")))
	off.Weight = 0
	g.mapRoute("a.test", "", d, off)
	c := g.client()
	login := get(t, c, "http://a.test/login")
	var pin *http.Cookie
	for _, line := range login.header["Set-Cookie"] {
		if ck, _ := http.ParseSetCookie(line); ck.Name == "__VCAP_ID__" {
			pin = ck
		}
	}
	if pin == nil || pin.Value != "app-"+login.body || pin.MaxAge != 60 || !pin.Secure || pin.SameSite != http.SameSiteStrictMode || !pin.HttpOnly || pin.Path != "/" {
		t.Fatalf("got %+v", login)
	}
	for range 50 {
		if got := get(t, c, "http://a.test/", "Cookie", "JSESSIONID=s; __VCAP_ID__="+pin.Value); got.body != login.body || got.header["Set-Cookie"] != nil {
			t.Fatalf("got %+v", got)
		}
	}
	spread := map[string]bool{}
	for _, cookie := range []string{"__VCAP_ID__=" + pin.Value, "JSESSIONID=s; __VCAP_ID__=forged", "JSESSIONID=s; __VCAP_ID__=off-0"} {
		clear(spread)
		for range 50 {
			got := get(t, c, "http://a.test/", "Cookie", cookie)
			spread[got.body] = true
			if strings.HasPrefix(cookie, "JSESSIONID") && !strings.Contains(fmt.Sprint(got.header["Set-Cookie"]), "__VCAP_ID__=app-"+got.body) {
				t.Errorf("%s: not pinned anew: %+v", cookie, got)
			}
		}
		if len(spread) != 3 || spread["off"] {
			t.Errorf("%s: went to %v", cookie, spread)
		}
	}
}

func TestRouter_ReachesAnInstanceByHeader(t *testing.T) {
	g := run(t)
	d := to("app", serveApp(t, sayName("0")), serveApp(t, sayName("1")))
	worker := to("app", serveApp(t, sayName("worker")))
	worker.Process, worker.ProcessGUID = "worker", "pw"
	worker.Backends[0].InstanceGUID = "w-0"
	off := to("off", serveApp(t, sayName("off")))
	off.Weight = 0
	g.mapRoute("a.test", "", d, worker, off)
	c := g.client()
	for _, tt := range []struct {
		name, value  string
		status       int
		body, reason string
	}{
		{"X-Cf-App-Instance", "app:1", 200, "1", ""},
		{"X-Cf-App-Instance", "app:0", 200, "0", ""},
		{"X-Cf-Process-Instance", "app:1", 200, "1", ""},
		{"X-Cf-Process-Instance", "pw:0", 200, "worker", ""},
		{"X-Cf-Process-Instance", "pw", 200, "worker", ""},
		{"X-Cf-App-Instance", "app:7", 404, "", "unknown_route"},
		{"X-Cf-App-Instance", "off:0", 404, "", "unknown_route"},
		{"X-Cf-App-Instance", "app", 400, "", "invalid_cf_app_instance_header"},
		{"X-Cf-App-Instance", "app:x", 400, "", "invalid_cf_app_instance_header"},
		{"X-Cf-App-Instance", "app:-1", 400, "", "invalid_cf_app_instance_header"},
		{"X-Cf-App-Instance", ":1", 400, "", "invalid_cf_app_instance_header"},
		{"X-Cf-Process-Instance", "pw:x", 400, "", "invalid_cf_process_instance_header"},
	} {
		for range 4 {
			got := get(t, c, "http://a.test/", tt.name, tt.value)
			if got.status != tt.status || tt.status == 200 && got.body != tt.body || got.header.Get("X-Cf-RouterError") != tt.reason {
				t.Errorf("%s: %s: got %+v", tt.name, tt.value, got)
			}
		}
	}
}
