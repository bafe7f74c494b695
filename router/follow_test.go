package router

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// runBeside starts a router that next has replaced, or is about to.
func runBeside(t *testing.T, next *rig, change ...func(*Config)) *rig {
	t.Helper()
	return run(t, append([]func(*Config){func(c *Config) {
		ln, err := net.Listen("unix", OwnSocket(next.ctl.socket, 1))
		if err != nil {
			t.Fatal(err)
		}
		c.OwnListener = ln
	}}, change...)...)
}

// sizes returns what lies in a directory, with the sizes.
func sizes(t *testing.T, dir string) map[string]int64 {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]int64{}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		out[filepath.Base(e.Name())] = info.Size()
	}
	return out
}

func TestFollow_ChangesReachConnectionsOfARouterThatWasReplaced(t *testing.T) {
	next := run(t)
	dir := t.TempDir()
	old := runBeside(t, next, func(c *Config) { c.Dir, c.IdleGrace = dir, 30*time.Second })
	next.mapRoute("a.test", "", to("one", serveApp(t, sayName("one"))))
	before := sizes(t, dir)

	// Connections that were there before, each for one request: the router
	// announces on the answer that it closes.
	var conns []net.Conn
	for range 6 {
		c := old.dial()
		defer c.Close()
		conns = append(conns, c)
	}
	eventually(t, "they are accepted", func() bool { s, _ := old.ctl.Status(t.Context()); return s.Connections == 6 })
	old.cancel()
	eventually(t, "it stops", func() bool { return old.r.draining.Load() })
	ask := func(c net.Conn) string {
		t.Helper()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		if _, err := fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b := make([]byte, 3)
		n, _ := res.Body.Read(b)
		return fmt.Sprint(res.StatusCode, " ", string(b[:n]))
	}
	if got := ask(conns[0]); got != "200 one" {
		t.Errorf("before any change: %q", got)
	}
	next.mapRoute("a.test", "", to("two", serveApp(t, sayName("two"))))
	if got := ask(conns[1]); got != "200 two" {
		t.Errorf("after it was mapped to another: %q", got)
	}
	next.upsert(Route{Host: "a.test", GUID: "r", Hold: &Hold{}, Destinations: []Destination{to("two", serveApp(t, sayName("two")))}})
	held := make(chan string, 1)
	go func() { held <- ask(conns[2]) }()
	eventually(t, "a request waits", func() bool { return old.r.metrics.held.Load() == 1 })
	next.mapRoute("a.test", "", to("six", serveApp(t, sayName("six"))))
	if got := <-held; got != "200 six" {
		t.Errorf("after the pause: %q", got)
	}
	next.unmap("a.test", "")
	if got := ask(conns[3]); !strings.HasPrefix(got, "404") {
		t.Errorf("after it was unmapped: %q", got)
	}
	whole := Table{Number: next.number + 10, Routes: []Route{{Host: "a.test", GUID: "r", Destinations: []Destination{to("ten", serveApp(t, sayName("ten")))}}}}
	if err := next.ctl.Put(t.Context(), whole); err != nil {
		t.Fatal(err)
	}
	if got := ask(conns[4]); got != "200 ten" {
		t.Errorf("after another table: %q", got)
	}
	if diff := cmp.Diff(before, sizes(t, dir)); diff != "" {
		t.Errorf("the one that was replaced writes to disk: %s", diff)
	}
}

// Who missed a change gets the whole table.
func TestFollow_OneThatMissedAChangeIsOutOfSync(t *testing.T) {
	next := run(t)
	next.mapRoute("a.test", "", to("one", serveApp(t, sayName("one"))))
	old := runBeside(t, next)
	two := to("two", serveApp(t, sayName("two")))
	err := next.ctl.Apply(t.Context(), Update{From: 1, Number: 2, Upsert: []Route{{Host: "a.test", GUID: "r", Destinations: []Destination{two}}}})
	if got := fmt.Sprint(err); !strings.Contains(got, ErrOutOfSync.Error()) {
		t.Fatalf("got %v", err)
	}
	if err := next.ctl.Put(t.Context(), Table{Number: 3, Routes: []Route{{Host: "a.test", GUID: "r", Destinations: []Destination{two}}}}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, old.client(), "http://a.test/"); got.body != "two" {
		t.Errorf("got %+v", got)
	}
}

// One that is gone, or too old to follow, must not keep changes from the
// others.
func TestFollow_NobodyWaitsForOneThatIsGone(t *testing.T) {
	next := run(t)
	gone, err := net.Listen("unix", OwnSocket(next.ctl.socket, 1))
	if err != nil {
		t.Fatal(err)
	}
	gone.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = gone.Close()
	tooOld, err := net.Listen("unix", OwnSocket(next.ctl.socket, 2))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.NotFoundHandler()}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(tooOld) }()
	defer func() { _ = srv.Close(); <-served }()
	next.mapRoute("a.test", "", to("one", serveApp(t, sayName("one"))))
	if got := get(t, next.client(), "http://a.test/"); got.body != "one" {
		t.Errorf("got %+v", got)
	}
}
