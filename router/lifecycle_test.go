package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestRouter_LosesNothingWhileTheTableChanges(t *testing.T) {
	g := run(t)
	var addrs [4]string
	for i := range addrs {
		addrs[i] = serveApp(t, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprintf(w, "%d%s", i, b)
		})
	}
	g.mapRoute("a.test", "", to("app", addrs[0]))
	var sent, failed atomic.Int64
	stop := make(chan bool)
	var clients sync.WaitGroup
	for n := range 8 {
		c := g.client()
		if n%4 == 3 {
			c = g.h2c()
		}
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				method, body := "GET", ""
				if n%2 == 1 {
					method, body = "POST", "x"
				}
				if n == 2 {
					c.CloseIdleConnections()
				}
				req, _ := http.NewRequest(method, "http://a.test/", strings.NewReader(body))
				res, err := c.Do(req)
				sent.Add(1)
				if err != nil {
					failed.Add(1)
					t.Error(err)
					continue
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || res.StatusCode != 200 || len(b) != 1+len(body) {
					failed.Add(1)
					t.Errorf("%d %q %v", res.StatusCode, b, err)
				}
			}
		})
	}
	// Map, unmap, weigh, replace, drain, and other hosts beside.
	for i := range 150 {
		d := to("app", addrs[i%4])
		d.Backends[0].InstanceGUID = fmt.Sprint("i", i)
		e := to("app2", addrs[(i+1)%4])
		e.Backends[0].InstanceGUID = fmt.Sprint("j", i)
		e.Weight = i % 3
		g.mapRoute("a.test", "", d, e)
		g.mapRoute(fmt.Sprintf("h%d.test", i%10), "", to("other", addrs[0]))
		if i%10 == 0 && i > 0 {
			if err := g.ctl.Drain(t.Context(), []string{fmt.Sprint("i", i-1), fmt.Sprint("j", i-1)}, time.Minute); err != nil {
				t.Error(err)
			}
		}
	}
	close(stop)
	clients.Wait()
	if sent.Load() < 100 || failed.Load() > 0 {
		t.Errorf("%d of %d requests failed", failed.Load(), sent.Load())
	}
	eventually(t, "nothing is under way, and who left is forgotten", func() bool {
		st, _ := g.ctl.Status(t.Context())
		return st.Backends <= 3 && st.InFlight == 0
	})
}

func TestDrain_WaitsForRoutersThatWereReplacedToo(t *testing.T) {
	next := run(t)
	old := runBeside(t, next, func(c *Config) { c.DrainTimeout = time.Minute })
	release := make(chan bool)
	old.mapRoute("a.test", "", to("old", serveApp(t, func(w http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(w, "old")
	})))
	answer := make(chan answerTo, 1)
	go func() { answer <- get(t, old.client(), "http://a.test/") }()
	eventually(t, "the request is in flight", func() bool { s, _ := old.ctl.Status(t.Context()); return s.InFlight == 1 })
	old.cancel()
	next.mapRoute("a.test", "", to("new", serveApp(t, sayName("new"))))
	if err := next.ctl.Drain(t.Context(), []string{"old-0"}, 100*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("with a request at the router before: %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- next.ctl.Drain(t.Context(), []string{"old-0"}, time.Minute) }()
	close(release)
	if got := <-answer; got.body != "old" {
		t.Errorf("got %+v", got)
	}
	if err := <-drained; err != nil {
		t.Errorf("with nothing left: %v", err)
	}
}

// A router that does not know yet that it was replaced sends what comes over
// waiting connections by its last table.
func TestDrain_WaitsUntilNothingBeginsByTablesBefore(t *testing.T) {
	next := run(t)
	for range 2 {
		next.mapRoute("a.test", "", to("new", serveApp(t, sayName("new"))))
	}
	old := runBeside(t, next)
	old.mapRoute("a.test", "", to("old", serveApp(t, sayName("old"))))
	if err := next.ctl.Drain(t.Context(), []string{"old-0"}, 100*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("while requests may begin: %v", err)
	}
	old.stop()
	if err := next.ctl.Drain(t.Context(), []string{"old-0"}, time.Minute); err != nil {
		t.Errorf("once it is gone: %v", err)
	}
}

func TestDrain_WaitsForRequestsAndTunnelsOfInstancesThatLeft(t *testing.T) {
	g := run(t)
	release := make(chan bool)
	slow := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			_, _, _ = c.Read(r.Context())
			return
		}
		<-release
		_, _ = io.WriteString(w, "old")
	})
	g.mapRoute("a.test", "", to("old", slow))
	answer := make(chan answerTo, 1)
	go func() { answer <- get(t, g.client(), "http://a.test/") }()
	ws, _, err := websocket.Dial(t.Context(), "ws://a.test/", &websocket.DialOptions{HTTPClient: g.client()})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 2 })

	g.mapRoute("a.test", "", to("new", serveApp(t, sayName("new"))))
	if got := get(t, g.client(), "http://a.test/"); got.body != "new" {
		t.Fatalf("got %+v", got)
	}
	if err := g.ctl.Drain(t.Context(), []string{"old-0"}, 50*time.Millisecond); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	drained := make(chan error, 1)
	go func() { drained <- g.ctl.Drain(t.Context(), []string{"old-0", "unknown"}, time.Minute) }()
	close(release)
	if got := <-answer; got.body != "old" {
		t.Errorf("got %+v", got)
	}
	select {
	case err := <-drained:
		t.Fatalf("drained with a WebSocket open: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	_ = ws.CloseNow()
	if err := <-drained; err != nil {
		t.Error(err)
	}
	eventually(t, "the old instance is forgotten", func() bool {
		s, _ := g.ctl.Stats(t.Context())
		return len(s.Instances) == 1 && s.Instances[0].InstanceGUID == "new-0"
	})
}

func TestApply_ClosesIdleConnectionsToInstancesThatLeft(t *testing.T) {
	g := run(t, func(c *Config) { c.BackendIdleTimeout = time.Hour })
	closed := make(chan bool, 1)
	app := serveRaw(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				closed <- true
				return
			}
			_ = req.Body.Close()
			fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
	g.mapRoute("a.test", "", to("a", app))
	get(t, g.client(), "http://a.test/")
	g.unmap("a.test", "")
	select {
	case <-closed:
	case <-time.After(30 * time.Second):
		t.Error("the connection is still open")
	}
	if got := get(t, g.client(), "http://a.test/"); got.status != 404 {
		t.Errorf("got %+v", got)
	}
}

func TestRun_FinishesWhatIsUnderWayAndLeavesTheQueueToOthers(t *testing.T) {
	// Two routers on one listening socket, as during an upgrade.
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	dup := func() net.Listener {
		f, err := ln.(*net.TCPListener).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		l, err := net.FileListener(f)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			time.Sleep(300 * time.Millisecond)
		}
		_, _ = io.Copy(w, r.Body)
		_, _ = io.WriteString(w, "ok")
	})
	dir := t.TempDir()
	start := func() *rig {
		g := run(t, func(c *Config) {
			c.Listeners, c.Dir = []net.Listener{dup()}, dir
			c.IdleGrace, c.DrainTimeout = 10*time.Second, time.Minute // a client may be late with its next request
		})
		g.addr = ln.Addr().String()
		return g
	}
	old := start()
	old.mapRoute("a.test", "", to("a", app))
	var sent atomic.Int64
	stop := make(chan bool)
	var clients sync.WaitGroup
	for n := range 6 {
		c := old.client()
		if n == 5 {
			c = old.h2c()
		}
		clients.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				path, method := "/", "GET"
				if n == 1 {
					path = "/slow"
				}
				if n == 2 {
					c.CloseIdleConnections()
				}
				if n == 3 {
					method = "POST"
				}
				if n == 4 {
					time.Sleep(20 * time.Millisecond) // idle in between
				}
				req, _ := http.NewRequest(method, "http://a.test"+path, io.MultiReader(strings.NewReader("x")))
				res, err := c.Do(req)
				sent.Add(1)
				if err != nil {
					t.Errorf("client %d: %v", n, err)
					continue
				}
				b, err := io.ReadAll(res.Body)
				_ = res.Body.Close()
				if err != nil || string(b) != "xok" {
					t.Errorf("client %d: %d %q %v", n, res.StatusCode, b, err)
				}
			}
		})
	}
	for range 4 {
		time.Sleep(200 * time.Millisecond)
		next := start()
		old.stop()
		old = next
	}
	close(stop)
	clients.Wait()
	t.Logf("%d requests", sent.Load())
}

func TestRun_CutsTunnelsWhenTheDrainIsOver(t *testing.T) {
	g := run(t, func(c *Config) { c.DrainTimeout = 200 * time.Millisecond })
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			<-r.Context().Done()
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		_, _, _ = c.Read(r.Context())
	})
	g.mapRoute("a.test", "", to("a", app))
	ws, _, err := websocket.Dial(t.Context(), "ws://a.test/", &websocket.DialOptions{HTTPClient: g.client()})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	hung := make(chan error, 1)
	go func() {
		res, err := g.client().Get("http://a.test/")
		if err == nil {
			_ = res.Body.Close()
		}
		hung <- err
	}()
	eventually(t, "both are in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 2 })
	begun := time.Now()
	g.stop()
	if d := time.Since(begun); d < 200*time.Millisecond {
		t.Errorf("stopped after %s", d)
	}
	if err := <-hung; err == nil {
		t.Error("the hanging request was answered")
	}
	if _, _, err := ws.Read(t.Context()); err == nil {
		t.Error("the WebSocket lives on")
	}
}

func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_ROUTER_CHILD"); dir != "" {
		child(dir)
		return
	}
	if kind, app, ok := strings.Cut(os.Getenv("WEIR_ROUTER_BENCH"), " "); ok {
		benchProxy(kind, app)
		return
	}
	os.Exit(m.Run())
}

// child is a router whose only memory is its directory.
func child(dir string) {
	ln, err := listen()
	if err != nil {
		panic(err)
	}
	control, err := net.Listen("unix", filepath.Join(dir, fmt.Sprintf("r%d.sock", os.Getpid())))
	if err != nil {
		panic(err)
	}
	cfg := Config{Listeners: []net.Listener{ln}, ControlListener: control, Dir: filepath.Join(dir, "table")}
	childLimits(&cfg)
	r := New(cfg)
	fmt.Println(ln.Addr())
	if err := r.Run(context.Background()); err != nil {
		panic(err)
	}
}

func TestRun_ServesAfterKill9WhatItServedBefore(t *testing.T) {
	dir, err := os.MkdirTemp("", "weir-kill-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	app := serveApp(t, sayName("ok"))
	start := func() (cmd *exec.Cmd, ctl *Client, addr string) {
		cmd = exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "WEIR_ROUTER_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if addr, err = bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		ctl = NewClient(filepath.Join(dir, fmt.Sprintf("r%d.sock", cmd.Process.Pid)))
		eventually(t, "the child answers", func() bool {
			_, err := ctl.Status(t.Context())
			return err == nil
		})
		return cmd, ctl, strings.TrimSpace(addr)
	}
	g := &rig{t: t}
	number := uint64(0)
	var acknowledged []string
	for round := range 6 {
		cmd, ctl, addr := start()
		g.addr = addr
		st, err := ctl.Status(t.Context())
		if err != nil || st.Number < number || st.Number > number+1 {
			t.Fatalf("round %d: table %d, acknowledged %d, %v", round, st.Number, number, err)
		}
		number = st.Number
		c := g.client()
		for _, h := range acknowledged {
			if got := get(t, c, "http://"+h+"/"); got.status != 200 || got.body != "ok" {
				t.Fatalf("round %d: %s: got %+v", round, h, got)
			}
		}
		if round%3 == 0 {
			number += 10
			if err := ctl.Put(t.Context(), Table{Number: number, Routes: []Route{{Host: "base.test", Destinations: []Destination{to("a", app)}}}}); err != nil {
				t.Fatal(err)
			}
			acknowledged = []string{"base.test"}
		}
		// Killed in the middle of updates.
		killed := make(chan bool)
		for i := 0; ; i++ {
			if i == 5 {
				go func() {
					time.Sleep(time.Duration(20+10*round) * time.Millisecond)
					_ = cmd.Process.Kill()
					close(killed)
				}()
			}
			h := fmt.Sprintf("h%d-%d.test", round, i)
			u := Update{From: number, Number: number + 1, Upsert: []Route{{Host: h, Destinations: []Destination{to("a", app)}}}}
			if err := ctl.Apply(t.Context(), u); err != nil {
				break
			}
			number++
			acknowledged = append(acknowledged, h)
		}
		<-killed
		_ = cmd.Wait()
		ctl.Close()
	}
	if len(acknowledged) < 10 {
		t.Errorf("only %d updates were acknowledged", len(acknowledged))
	}
}
