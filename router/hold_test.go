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

func TestHold_ReleasesInOrder(t *testing.T) {
	g := run(t)
	order := make(chan string, 20) // all the requests below
	app := serveApp(t, func(_ http.ResponseWriter, r *http.Request) { order <- r.URL.Path })
	r := Route{Host: "a.test", Destinations: []Destination{to("app", app)}, Hold: &Hold{}}
	g.upsert(r)
	gate := g.r.table.Load().find("a.test", "/").rules.hold
	gate.mu.Lock()
	gate.most = 10
	gate.mu.Unlock()
	c := g.client()
	done := make(chan int, 10)
	for i := range 10 {
		go func() { done <- get(t, c, fmt.Sprintf("http://a.test/%d", i)).status }()
		eventually(t, "it waits", func() bool { return g.r.metrics.held.Load() == int64(i+1) })
	}
	if got := get(t, c, "http://a.test/more"); got.status != 503 || got.header.Get("Retry-After") == "" || got.header.Get("X-Cf-RouterError") != "paused" {
		t.Errorf("got %+v", got)
	}
	// A deployment while the app is paused lets nobody go.
	r.Destinations = []Destination{to("app", app, app)}
	g.upsert(r)
	if n := g.r.metrics.held.Load(); n != 10 {
		t.Errorf("%d wait", n)
	}
	r.Hold = nil
	g.upsert(r)
	for range 10 {
		if status := <-done; status != 200 {
			t.Errorf("got %d", status)
		}
	}
	if len(order) != 10 {
		t.Errorf("%d requests came through", len(order))
	}
}

// Who gave up while the app was paused must neither take the room of others
// nor reach the app when it goes on, on whatever road the request came.
func TestHold_EndsForAClientThatLeaves(t *testing.T) {
	// One that closes before it was first looked at leaves after that grace.
	g := run(t, func(c *Config) { c.HalfCloseGrace = 5 * time.Second })
	r := Route{Host: "a.test", GUID: "r", Destinations: []Destination{to("app", serveApp(t, sayName("app")))}, Hold: &Hold{}}
	g.upsert(r)
	reset := func(c net.Conn) { _ = c.(*net.TCPConn).SetLinger(0); _ = c.Close() }
	closeLater := func(c net.Conn) { time.Sleep(2 * heldLook); _ = c.Close() }
	n := 0
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n",
		"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nsome",
		"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n", // over net/http
	} {
		for how, leave := range map[string]func(net.Conn){"resets": reset, "closes": closeLater} {
			c := g.dial()
			if _, err := io.WriteString(c, head); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it waits", func() bool { return g.r.metrics.held.Load() == 1 })
			leave(c)
			eventually(t, "nobody waits after one that "+how, func() bool { return g.r.metrics.held.Load() == 0 })
			n++
			if rec := g.nthRecord(n); rec.Status != 499 || rec.Reason != "client_gone" {
				t.Errorf("%q %s: got %+v", head, how, rec)
			}
		}
	}
}

func TestHold_AnswersAClientThatClosedItsHalf(t *testing.T) {
	g := run(t)
	r := Route{Host: "a.test", GUID: "r", Destinations: []Destination{to("app", serveApp(t, sayName("app")))}}
	for _, target := range []string{"/", "http://a.test/"} {
		// Now and then the end comes late on a machine with much to do, and
		// then it is that of one who gave up.
		eventually(t, "it gets its answer", func() bool {
			r.Hold = &Hold{}
			g.upsert(r)
			c := g.dial()
			defer c.Close()
			if _, err := io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			_ = c.(*net.TCPConn).CloseWrite()
			eventually(t, "it waits", func() bool { return g.r.metrics.held.Load() == 1 })
			time.Sleep(2 * heldLook)
			r.Hold = nil
			g.upsert(r)
			b, _ := io.ReadAll(c)
			return strings.HasPrefix(string(b), "HTTP/1.1 200 ") && strings.HasSuffix(string(b), "app")
		})
	}
}

func TestVigil_TellsAHalfFromAnEnd(t *testing.T) {
	there, half, gone := clientState{}, clientState{halved: true}, clientState{gone: true}
	for name, tt := range map[string]struct {
		seen []clientState
		left int // the look at which it is found to have left; 0: at none
	}{
		"stays":                    {[]clientState{there, there, there}, 0},
		"closed its half at once":  {[]clientState{half, half, half}, 0},
		"and no more":              {[]clientState{half, half, half, half, half, half}, 5},
		"then all":                 {[]clientState{half, half, gone}, 3},
		"closes while it waits":    {[]clientState{there, there, half}, 3},
		"is reset":                 {[]clientState{there, gone}, 2},
		"was reset before a look ": {[]clientState{gone}, 1},
	} {
		v, left := vigil{grace: 4 * heldLook}, 0
		for i, st := range tt.seen {
			if v.left(st) && left == 0 {
				left = i + 1
			}
		}
		if left != tt.left {
			t.Errorf("one that %s: left at look %d, want %d", name, left, tt.left)
		}
	}
}

func TestHold_EndsAfterItsTime(t *testing.T) {
	g := run(t)
	g.upsert(Route{Host: "a.test", Destinations: []Destination{to("app", deadAddr(t))}, Hold: &Hold{MaxWaitMS: 20}})
	if got := get(t, g.client(), "http://a.test/"); got.status != 503 || got.header.Get("X-Cf-RouterError") != "paused" {
		t.Errorf("got %+v", got)
	}
	// An unmapped route lets those who wait go, to nowhere.
	g.upsert(Route{Host: "b.test", Destinations: []Destination{to("app", deadAddr(t))}, Hold: &Hold{}})
	c, status := g.client(), make(chan int, 1)
	go func() { status <- get(t, c, "http://b.test/").status }()
	eventually(t, "it waits", func() bool { return g.r.metrics.held.Load() == 1 })
	g.unmap("b.test", "")
	if got := <-status; got != 404 {
		t.Errorf("got %d", got)
	}
}

func TestGate_FreesOneAfterTheOther(t *testing.T) {
	g := newGate(&Hold{})
	var all []*waiter
	for range 5 {
		w, _ := g.enter()
		all = append(all, w)
	}
	g.leave(all[1])
	g.release()
	for i, w := range all {
		if i == 1 {
			continue
		}
		select {
		case <-w.freed:
		case <-time.After(30 * time.Second):
			t.Fatalf("waiter %d was not freed", i)
		}
		for j, o := range all[i+1:] {
			select {
			case <-o.freed:
				t.Fatalf("waiter %d was freed before %d had passed", i+1+j, i)
			default:
			}
		}
		g.next()
	}
	if w, shut := g.enter(); w != nil || shut {
		t.Error("an open gate holds")
	}
}
