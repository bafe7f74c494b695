package router

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// BenchmarkCPUPerRequest measures what a small keep-alive request costs our
// router, everything on, and a tuned httputil.ReverseProxy: each a process of
// its own, by turns, the load and the instance in this process. Run it with
// -benchtime 1x; it prints medians of its rounds.
func BenchmarkCPUPerRequest(b *testing.B) {
	const conns, warmUp = 64, 5000
	requests := 40000
	if testing.Short() {
		requests = 5000
	}
	app := benchApp(b)
	kinds := []string{"router", "reverseproxy"}
	cost := map[string][]float64{}
	rate := map[string][]float64{}
	for b.Loop() {
		for range 3 {
			for _, kind := range kinds {
				p := startProxy(b, kind, app)
				load(b, p.addr, conns, warmUp)
				cpu, begun := p.cpu(b), time.Now()
				load(b, p.addr, conns, requests)
				cost[kind] = append(cost[kind], float64((p.cpu(b)-cpu).Microseconds())/float64(requests))
				rate[kind] = append(rate[kind], float64(requests)/time.Since(begun).Seconds())
				p.stop()
			}
		}
	}
	ours, theirs := median(cost["router"]), median(cost["reverseproxy"])
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(ours, "µs-router/req")
	b.ReportMetric(theirs, "µs-reverseproxy/req")
	b.ReportMetric(ours/theirs, "ratio")
	b.ReportMetric(median(rate["router"]), "router-req/s")
	b.ReportMetric(median(rate["reverseproxy"]), "reverseproxy-req/s")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}

type proxyProcess struct {
	cmd  *exec.Cmd
	in   io.Closer
	addr string
}

func startProxy(b testing.TB, kind, app string) *proxyProcess {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEIR_ROUTER_BENCH="+kind+" "+app)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	return &proxyProcess{cmd, in, strings.TrimSpace(addr)}
}

func (p *proxyProcess) stop() {
	_ = p.in.Close()
	_ = p.cmd.Wait()
}

// cpu returns the time the process spent on processors, in ticks of 10 ms.
func (p *proxyProcess) cpu(b *testing.B) time.Duration {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		b.Skip("no /proc: ", err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+2:]))
	user, _ := strconv.Atoi(fields[11])
	system, _ := strconv.Atoi(fields[12])
	return time.Duration(user+system) * 10 * time.Millisecond
}

// benchProxy is the child's side: a proxy that ends when its input does.
func benchProxy(kind, app string) {
	ln, err := listen()
	if err != nil {
		panic(err)
	}
	fmt.Println(ln.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
		os.Exit(0)
	}()
	if kind == "reverseproxy" {
		benchReverseProxy(ln, app)
		return
	}
	r := New(Config{Listeners: []net.Listener{ln}, MaxConns: 1 << 20, AccessLines: func([]AccessLine) {}})
	routes := []Route{{Host: "app.example.com", Destinations: []Destination{to("a", app)}}}
	for i := range 1000 {
		routes = append(routes, Route{Host: fmt.Sprintf("h%d.example.com", i), Destinations: []Destination{to("b", app)}})
	}
	if err := r.put(Table{Number: 1, Routes: routes}); err != nil {
		panic(err)
	}
	_ = r.Run(ctx)
}

func benchReverseProxy(ln net.Listener, app string) {
	target := &url.URL{Scheme: "http", Host: app}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.SetXForwarded()
			r.Out.Host = r.In.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1024, DisableCompression: true},
	}
	_ = http.Serve(ln, p)
}

// benchApp answers every request on a connection with the same bytes.
func benchApp(b *testing.B) string {
	answer := []byte("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: bench\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 64\r\n\r\n" + strings.Repeat("x", 64))
	return serveRaw(b, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			if !skipHead(in) {
				return
			}
			if _, err := c.Write(answer); err != nil {
				return
			}
		}
	})
}

func skipHead(in *bufio.Reader) bool {
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return false
		}
		if len(line) == 2 {
			return true
		}
	}
}

// load sends n requests over the given number of connections.
func load(b *testing.B, addr string, conns, n int) {
	req := []byte("GET /path/to/something?q=1 HTTP/1.1\r\nHost: app.example.com\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64) bench\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\n" +
		"Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nReferer: http://app.example.com/\r\nX-Custom: yes\r\n\r\n")
	var all sync.WaitGroup
	for range conns {
		all.Go(func() {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			in := bufio.NewReader(c)
			for range n / conns {
				if _, err := c.Write(req); err != nil {
					b.Error(err)
					return
				}
				if !skipHead(in) {
					b.Error("the connection ended")
					return
				}
				if _, err := in.Discard(64); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// manyRoutes returns a Router with n hosts.
func manyRoutes(b *testing.B, n int) *Router {
	r := New(Config{})
	t := Table{Number: 1, Routes: make([]Route, n)}
	for i := range t.Routes {
		t.Routes[i] = Route{Host: fmt.Sprintf("host-%d.example.com", i), GUID: "g", Destinations: []Destination{to("a", "127.0.0.1:1")}}
	}
	if err := r.put(t); err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkFind(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("short")
			}
			var before, after runtime.MemStats
			runtime.GC()
			runtime.ReadMemStats(&before)
			r := manyRoutes(b, n)
			runtime.GC()
			runtime.ReadMemStats(&after)
			hosts := make([]string, 8192)
			for i := range hosts {
				hosts[i] = fmt.Sprintf("host-%d.example.com", i*7919%n)
			}
			i := 0
			for b.Loop() {
				if r.table.Load().find(hosts[i&8191], "/some/path") == nil {
					b.Fatal("not found")
				}
				i++
			}
			b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/float64(n), "B/route")
		})
	}
}

func BenchmarkApply(b *testing.B) {
	for _, n := range []int{1000, 100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			if n > 100_000 && testing.Short() {
				b.Skip("short")
			}
			r := manyRoutes(b, n)
			number := uint64(1)
			b.ReportAllocs()
			for b.Loop() {
				i := int(number) * 7919 % n
				u := Update{From: number, Number: number + 1, Upsert: []Route{{
					Host: "host-" + strconv.Itoa(i) + ".example.com", GUID: strconv.FormatUint(number, 10),
					Destinations: []Destination{{AppGUID: "a", Weight: 1, Backends: []Backend{{InstanceGUID: "i", Addr: "127.0.0.1:1"}}}},
				}}}
				if err := r.apply(u); err != nil {
					b.Fatal(err)
				}
				number++
			}
		})
	}
}

func BenchmarkNext(b *testing.B) {
	r, _ := weighted([]int{70, 20, 7, 2, 1}, 0)
	for b.Loop() {
		r.next()
	}
}

func BenchmarkRecord_Line(b *testing.B) {
	rec := record{
		start: time.Now(), total: time.Millisecond, host: "app.example.com", method: "GET", target: "/path/to/something?q=1", proto: "HTTP/1.1",
		userAgent: "Mozilla/5.0 (X11; Linux x86_64) bench", clientAddr: "127.0.0.1:12345", status: 200, requestID: "0b9e3f5e-66cc-4a1f-9b0a-0d8b9a2a52c1",
	}
	var line []byte
	var at stamp
	b.ReportAllocs()
	for b.Loop() {
		line = rec.append(line[:0], &at, redaction{})
	}
}
