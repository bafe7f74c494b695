package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestEdge_MakesConnectionsBeyondTheLimitWait(t *testing.T) {
	g := run(t, func(c *Config) { c.MaxConns = 3 })
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	ask := func(c net.Conn) string {
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	var open []net.Conn
	for range 3 {
		c := g.dial()
		defer c.Close()
		if got := ask(c); got != "a" {
			t.Fatalf("got %q", got)
		}
		open = append(open, c)
	}
	fourth := g.dial()
	defer fourth.Close()
	answer := make(chan string, 1)
	go func() { answer <- ask(fourth) }()
	eventually(t, "the router is full", func() bool { return g.r.metrics.full.Load() > 0 })
	if got := ask(open[0]); got != "a" {
		t.Errorf("while it is full: got %q", got)
	}
	select {
	case got := <-answer:
		t.Fatalf("a fourth connection is served: %q", got)
	default:
	}
	_ = open[1].Close()
	if got := <-answer; got != "a" {
		t.Errorf("once there was room: got %q", got)
	}
}

// from is a connection from somewhere else.
type from struct {
	net.Conn
	addr net.Addr
}

func (c from) RemoteAddr() net.Addr { return c.addr }

func TestEdge_GivesEachClientItsShare(t *testing.T) {
	r := New(Config{MaxConns: 100, MaxConnsPerIP: 2})
	var mu sync.Mutex
	var carried []*arrival
	e := newEdge(r, func(a *arrival) {
		mu.Lock()
		defer mu.Unlock()
		carried = append(carried, a)
	})
	count := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(carried)
	}
	admit := func(ip string) {
		mine, theirs := net.Pipe()
		t.Cleanup(func() { _ = mine.Close(); _ = theirs.Close() })
		e.admit(from{mine, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1}}, nil)
	}
	for _, ip := range []string{
		"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "127.0.0.1", "127.0.0.1", "127.0.0.1",
		"2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:ffff::3", "2001:db8:0:2::1",
	} {
		admit(ip)
	}
	// The third of 192.0.2.1, and of 2001:db8:0:1::/64, are too many.
	eventually(t, "all others are carried", func() bool { return count() == 9 })
	if n := r.metrics.overShare.Load(); n != 2 {
		t.Errorf("%d were refused", n)
	}
	mu.Lock()
	for _, a := range carried {
		_ = a.Close()
		_ = a.Close() // counts once
	}
	mu.Unlock()
	if e.crowd.all != 0 || len(e.crowd.shares) != 0 || r.metrics.conns.Load() != 0 {
		t.Errorf("%d connections are left, of %v", e.crowd.all, e.crowd.shares)
	}
	admit("192.0.2.1")
	eventually(t, "there is room again", func() bool { return count() == 10 })
}

// childLimits makes a child a router with few file descriptors.
func childLimits(c *Config) {
	n, err := strconv.ParseUint(os.Getenv("WEIR_ROUTER_NOFILE"), 10, 64)
	if err != nil {
		return
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
		panic(err)
	}
	c.MaxConns, _ = strconv.Atoi(os.Getenv("WEIR_ROUTER_CONNS"))
}

func TestRun_SlowsAcceptingWhenDescriptorsRunOutAndRecovers(t *testing.T) {
	for name, conns := range map[string]int{"without a limit of its own": 1 << 20, "with the limit by default": 0} {
		t.Run(name, func(t *testing.T) { shortOfDescriptors(t, conns) })
	}
}

func shortOfDescriptors(t *testing.T, maxConns int) {
	dir, err := os.MkdirTemp("", "weir-nofile-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "WEIR_ROUTER_CHILD="+dir, "WEIR_ROUTER_NOFILE=100", "WEIR_ROUTER_CONNS="+strconv.Itoa(maxConns))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	addr, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	g := &rig{t: t, addr: strings.TrimSpace(addr)}
	ctl := NewClient(filepath.Join(dir, fmt.Sprintf("r%d.sock", cmd.Process.Pid)))
	defer ctl.Close()
	app := serveApp(t, sayName("ok"))
	eventually(t, "the child answers", func() bool {
		return ctl.Put(t.Context(), Table{Number: 1, Routes: []Route{{Host: "a.test", Destinations: []Destination{to("a", app)}}}}) == nil
	})
	before := g.client()
	if got := get(t, before, "http://a.test/"); got.body != "ok" {
		t.Fatalf("got %+v", got)
	}
	var many []net.Conn
	for range 200 {
		many = append(many, g.dial())
	}
	eventually(t, "it accepts no more", func() bool {
		st, err := ctl.Status(t.Context())
		return err == nil && st.Connections >= 30
	})
	// Whoever is connected is served, and so is the control API.
	for range 20 {
		if got := get(t, before, "http://a.test/"); got.body != "ok" {
			t.Fatalf("while descriptors are short: got %+v", got)
		}
	}
	for _, c := range many {
		_ = c.Close()
	}
	if got := get(t, g.client(), "http://a.test/"); got.body != "ok" {
		t.Errorf("afterwards: got %+v", got)
	}
}

// slowClients open connections that take their time, each in its way, and
// are gone when the router has ended them.
func slowClients(t *testing.T, g *rig, n int, misbehave func(c net.Conn, ended <-chan struct{})) *sync.WaitGroup {
	var all sync.WaitGroup
	for range n {
		c := g.dial()
		t.Cleanup(func() { _ = c.Close() })
		all.Go(func() {
			ended := make(chan struct{})
			go misbehave(c, ended)
			buf := make([]byte, 16)
			_, _ = io.ReadFull(c, buf)    // what it may say
			_, _ = io.Copy(io.Discard, c) // until it is ended
			close(ended)
		})
	}
	return &all
}

// drip sends a byte now and then.
func drip(c net.Conn, text string, ended <-chan struct{}) {
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	for i := 0; ; i++ {
		select {
		case <-ended:
			return
		case <-tick.C:
			if _, err := c.Write([]byte{text[i%len(text)]}); err != nil {
				return
			}
		}
	}
}

func TestRouter_EndsSlowClientsAndServesTheOthersMeanwhile(t *testing.T) {
	g := run(t, func(c *Config) {
		c.HeadTimeout, c.StallTimeout = 500*time.Millisecond, 1500*time.Millisecond
	})
	var large atomic.Int32 // requests for it that arrived
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if r.URL.Path == "/large" {
			large.Add(1)
			for range 1024 {
				if _, err := w.Write(make([]byte, 1<<16)); err != nil {
					return
				}
			}
			return
		}
		_, _ = io.WriteString(w, "ok")
	})))
	modes := map[string]func(c net.Conn, ended <-chan struct{}){
		"heads": func(c net.Conn, ended <-chan struct{}) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n")
			drip(c, "X-Slow: x\r\n", ended)
		},
		"bodies": func(c net.Conn, ended <-chan struct{}) {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nbegun")
		},
		"ranges": func(c net.Conn, ended <-chan struct{}) {
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\nRange: bytes=0-"+strings.Repeat(",5-1", 2000)+"\r\n\r\n")
		},
		"nothing": func(net.Conn, <-chan struct{}) {},
	}
	stop := make(chan bool)
	var healthy sync.WaitGroup
	defer healthy.Wait()
	defer close(stop)
	for range 4 {
		// They are connected when the others come: none is late with its first head.
		c := g.client()
		eventually(t, "a client is served", func() bool {
			res, err := c.Get("http://a.test/")
			if err != nil {
				return false
			}
			_, _ = io.Copy(io.Discard, res.Body)
			return res.Body.Close() == nil && res.StatusCode == 200
		})
		healthy.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					res, err := c.Get("http://a.test/")
					if err != nil {
						t.Error(err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	var slow []*sync.WaitGroup
	for _, misbehave := range modes {
		slow = append(slow, slowClients(t, g, 50, misbehave))
	}
	for _, all := range slow {
		all.Wait()
	}
	// Those that do not read.
	for range 50 {
		c := g.dial()
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		_, _ = io.WriteString(c, "GET /large HTTP/1.1\r\nHost: a.test\r\n\r\n")
	}
	eventually(t, "those that do not read are begun", func() bool { return large.Load() >= 25 }) // on a busy machine some are late with their head
	eventually(t, "those that do not read are gone", func() bool { return g.r.metrics.requests.Load() <= 4 })
}
