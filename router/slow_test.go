package router

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
)

// endless answers with bytes without end, in the given framing, and tells
// when nobody took them any more.
func endless(ended *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		defer ended.Add(1)
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", strconv.Itoa(1<<40))
		}
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}
}

func TestSlow_EndsClientsThatTakeNextToNothing(t *testing.T) {
	g := run(t, func(c *Config) { c.SlowTimeout = 500 * time.Millisecond }) // StallTimeout stays a minute
	var ended atomic.Int64
	g.mapRoute("a.test", "", to("a", serveApp(t, endless(&ended))))
	for _, path := range []string{"/sized", "/chunked"} {
		c := g.dial()
		defer c.Close()
		_ = c.(*net.TCPConn).SetReadBuffer(4096)
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", path)
		go func() { // until it is closed
			for b := make([]byte, 8); ; time.Sleep(50 * time.Millisecond) {
				if _, err := c.Read(b); err != nil {
					return
				}
			}
		}()
	}
	h := g.h2raw(t)
	h.ask(1)
	_ = h.out.Flush() // and opens no window
	eventually(t, "the instance is left alone", func() bool { return ended.Load() == 3 })
	eventually(t, "nothing is in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
}

func TestSlow_EndsClientsThatLeaveTheAnswerInTheKernel(t *testing.T) {
	g := run(t, func(c *Config) { c.SlowTimeout = 500 * time.Millisecond })
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		for range 4 {
			_, _ = w.Write(make([]byte, 40<<10))
		}
		for r.URL.Path == "/endless" {
			if _, err := w.Write(make([]byte, 40<<10)); err != nil {
				return
			}
		}
	})))
	d := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) { _ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 700) })
	}}
	for name, ask := range map[string]func(c net.Conn){
		"HTTP/1.1":          func(c net.Conn) { fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n") },
		"HTTP/1.1, endless": func(c net.Conn) { fmt.Fprint(c, "GET /endless HTTP/1.1\r\nHost: a.test\r\n\r\n") },
		"HTTP/2":            func(c net.Conn) { askAll(t, c, "/") },
		"HTTP/2, endless":   func(c net.Conn) { askAll(t, c, "/endless") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, err := d.Dial("tcp", g.addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			ask(c)
			for b, end := make([]byte, 32), time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
				_, err := c.Read(b)
				if errors.Is(err, syscall.ECONNRESET) {
					return
				}
				if err != nil || time.Now().After(end) {
					t.Fatalf("got %v", err)
				}
			}
		})
	}
}

func TestSlow_EndsAStreamAndNotItsConnection(t *testing.T) {
	g := run(t, func(c *Config) { c.SlowTimeout = 500 * time.Millisecond })
	var ended atomic.Int64
	g.mapRoute("a.test", "", to("a", serveApp(t, endless(&ended))))
	g.mapRoute("a.test", "/small", to("b", serveApp(t, sayName("small"))))
	h := g.h2raw(t)
	h.ask(1) // and opens no window for it, but reads
	_ = h.out.Flush()
	_ = h.c.SetReadDeadline(time.Now().Add(30 * time.Second))
	for asked := false; ; {
		f, err := h.fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			// Long enough for the sweeper to look at what is left.
			eventually(t, "the instance is left alone", func() bool { return ended.Load() == 1 })
			time.AfterFunc(time.Second, func() {
				h.ask(3, ":path", "/small")
				_ = h.out.Flush()
			})
			asked = true
		case *http2.HeadersFrame:
			if f.StreamID == 3 && asked {
				return
			}
		}
	}
}

// askAll asks for a path over HTTP/2 and opens all windows.
func askAll(t *testing.T, c net.Conn, path string) {
	h := h2over(t, c, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1<<31 - 1})
	_ = h.fr.WriteWindowUpdate(0, 1<<30)
	h.ask(1, ":path", path)
	_ = h.out.Flush()
}

func TestSlow_EndsBodiesThatDrip(t *testing.T) {
	g := run(t, func(c *Config) { c.SlowTimeout = 300 * time.Millisecond })
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })))
	for _, framing := range []string{"Content-Length: 8192", "Content-Length: 10000000"} {
		c := g.dial()
		defer c.Close()
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: a.test\r\n%s\r\n\r\n", framing)
		go func() { // until it is closed
			for {
				time.Sleep(100 * time.Millisecond)
				if _, err := io.WriteString(c, "x=y"); err != nil {
					return
				}
			}
		}()
		_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
		b, err := io.ReadAll(c)
		if !strings.HasPrefix(string(b), "HTTP/1.1 408 ") || err != nil {
			t.Errorf("%s: got %q, %v", framing, b, err)
		}
	}
}

func TestSlow_LetsSlowButHonestClientsFinish(t *testing.T) {
	g := run(t, func(c *Config) { c.SlowTimeout = 2 * time.Second }) // they may be that late, too
	const size = 8 << 20
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			b, _ := io.ReadAll(r.Body)
			fmt.Fprint(w, len(b))
			return
		}
		_, _ = w.Write(make([]byte, size))
	})))
	var all sync.WaitGroup
	for _, c := range []*http.Client{g.client(), g.h2c()} {
		all.Go(func() {
			res, err := c.Get("http://a.test/")
			if err != nil {
				t.Error(err)
				return
			}
			got := 0
			for b := make([]byte, 256<<10); err == nil; time.Sleep(100 * time.Millisecond) {
				var n int
				n, err = io.ReadFull(res.Body, b)
				got += n
			}
			_ = res.Body.Close()
			if got != size {
				t.Errorf("got %d bytes of %d: %v", got, size, err)
			}
		})
		all.Go(func() {
			out, in := io.Pipe()
			go func() {
				for range 20 {
					_, _ = in.Write(make([]byte, 1000))
					time.Sleep(150 * time.Millisecond)
				}
				_ = in.Close()
			}()
			req, _ := http.NewRequest("POST", "http://a.test/", out)
			req.ContentLength = 20_000
			res, err := c.Do(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			if b, err := io.ReadAll(res.Body); string(b) != "20000" {
				t.Errorf("got %q, %v", b, err)
			}
		})
	}
	all.Wait()
}
