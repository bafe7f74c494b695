package router

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// aPath is a request of a browser and the answer to it, as bytes.
type aPath struct{ name, request, answer string }

// theEnd is how answers with a length end, and nothing in them.
const theEnd = "the end."

func fastPaths() []aPath {
	head := " HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br\r\nReferer: http://app.example.com/\r\nX-Custom: yes\r\n"
	sized := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 64\r\n\r\n" + strings.Repeat("x", 56) + theEnd
	chunks := "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n20\r\n" + strings.Repeat("y", 32) + "\r\n0\r\n\r\n"
	return []aPath{
		{"GET", "GET /path/to/something?q=1" + head + "Cookie: theme=dark\r\n\r\n", sized},
		{"pinned session", "GET /" + head + "Cookie: JSESSIONID=0123456789abcdef; __VCAP_ID__=a-1; theme=dark\r\n\r\n", sized},
		{"POST", "POST /form" + head + "Content-Type: text/plain\r\nContent-Length: 11\r\n\r\nhello=world", sized},
		{"chunked POST", "POST /form" + head + "Transfer-Encoding: chunked\r\n\r\nb\r\nhello=world\r\n0\r\n\r\n", sized},
		{"chunked answer", "GET /stream" + head + "\r\n", chunks},
		{"20 KB", "GET /page" + head + "\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 20000\r\n\r\n" + strings.Repeat("z", 19992) + theEnd},
		{"40 KB in chunks", "GET /page" + head + "\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9c40\r\n" + strings.Repeat("z", 40000) + "\r\n0\r\n\r\n"},
	}
}

// fastRig is a router with its logs on, many hosts, and shares between two
// versions of the app that is asked.
func fastRig(tb testing.TB, p aPath) (addr string) {
	g := runUnseen(tb, func(c *Config) { c.AccessLines = func([]AccessLine) {} })
	app := serveRaw(tb, answering(p.answer))
	blue, green := to("a", app, app), to("a", app, app)
	blue.Version, blue.Label, blue.Weight = "v1", "blue", 80
	green.Version, green.Label, green.Weight = "v2", "green", 20
	for i := range green.Backends {
		green.Backends[i].InstanceGUID = fmt.Sprintf("a-%d", i+2)
	}
	routes := []Route{{Host: "app.example.com", GUID: "r", Destinations: []Destination{blue, green}}}
	for i := range 1000 {
		routes = append(routes, Route{Host: fmt.Sprintf("h%d.example.com", i), GUID: "r", Destinations: []Destination{to("b", app)}})
	}
	if err := g.r.put(Table{Number: 1, Routes: routes}); err != nil {
		tb.Fatal(err)
	}
	return g.addr
}

// answering answers each request that ends with what fits into one read.
func answering(answer string) func(net.Conn) {
	b := []byte(answer)
	return func(c net.Conn) {
		buf := make([]byte, 8<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write(b); err != nil {
				return
			}
		}
	}
}

// exchanger returns a function that sends the request and reads the answer,
// on one connection and without allocating.
func exchanger(tb testing.TB, addr string, p aPath) func() {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	request, end := []byte(p.request), []byte(p.answer[len(p.answer)-8:])
	buf := make([]byte, 64<<10)
	return func() {
		if _, err := c.Write(request); err != nil {
			tb.Fatal(err)
		}
		for n := 0; ; {
			k, err := c.Read(buf[n:])
			if err != nil && err != io.EOF || k == 0 {
				tb.Fatal(err)
			}
			if n += k; bytes.HasSuffix(buf[:n], end) {
				if !bytes.HasPrefix(buf, []byte("HTTP/1.1 200 ")) {
					tb.Fatalf("got %q", buf[:n])
				}
				return
			}
		}
	}
}

func isRace() bool {
	info, _ := debug.ReadBuildInfo()
	return slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

func TestFastPath_AllocatesNothingPerRequest(t *testing.T) {
	if isRace() {
		t.Skip("pools forget at random under the race detector")
	}
	for _, p := range fastPaths() {
		t.Run(p.name, func(t *testing.T) {
			one := exchanger(t, fastRig(t, p), p)
			for range 3000 { // the buffers get their size
				one()
			}
			if n := testing.AllocsPerRun(2000, one); n != 0 {
				t.Errorf("%v allocations per request", n)
			}
		})
	}
}

// BenchmarkFastPath is a request on a connection of its own, everything on:
// client, router and instance share the process. allocs/op are of all three.
func BenchmarkFastPath(b *testing.B) {
	for _, p := range fastPaths() {
		b.Run(p.name, func(b *testing.B) {
			one := exchanger(b, fastRig(b, p), p)
			for range 3000 {
				one()
			}
			b.ReportAllocs()
			for b.Loop() {
				one()
			}
		})
	}
}
