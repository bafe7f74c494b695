package router

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// chatter is an app with WebSockets: it echoes, or, for /stream, sends large
// messages without end. It tells with which status each of them ended.
func chatter(ended chan<- websocket.StatusCode) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		if r.URL.Path == "/stream" {
			go func() {
				for c.Write(context.Background(), websocket.MessageBinary, bytes.Repeat([]byte{'x'}, 300_000)) == nil {
				}
			}()
		}
		for {
			kind, b, err := c.Read(context.Background())
			if err != nil {
				ended <- websocket.CloseStatus(err)
				return
			}
			_ = c.Write(context.Background(), kind, b)
		}
	}
}

func (g *rig) socket(path string) *websocket.Conn {
	g.t.Helper()
	c, _, err := websocket.Dial(g.t.Context(), "ws://a.test"+path, &websocket.DialOptions{HTTPClient: g.client()})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.CloseNow() })
	c.SetReadLimit(-1)
	return c
}

// untilEnd reads messages until the connection ends, and returns how it did.
func untilEnd(t *testing.T, c *websocket.Conn, size int) error {
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		_, b, err := c.Read(ctx)
		if err != nil {
			return err
		}
		if len(b) != size {
			t.Errorf("a message of %d bytes", len(b))
		}
	}
}

func withDrain(policy, app, addr string) Route {
	return Route{Host: "a.test", GUID: "r", Destinations: []Destination{to(app, addr)}, Options: map[string]string{"websocket-drain": policy}}
}

func TestWebSocketDrain_ClosesGentlyWhenTheInstanceLeaves(t *testing.T) {
	g := run(t, func(c *Config) { c.HalfCloseGrace = 100 * time.Millisecond }) // so that the sweeper comes often
	ended := make(chan websocket.StatusCode, 8)
	g.upsert(withDrain("close-gently 100ms", "old", serveApp(t, chatter(ended))))
	quiet, busy := g.socket("/"), g.socket("/stream")
	if _, b, err := busy.Read(t.Context()); err != nil || len(b) != 300_000 {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	g.upsert(withDrain("close-gently 100ms", "new", serveApp(t, sayName("new"))))
	for _, c := range []*websocket.Conn{quiet, busy} {
		if err := untilEnd(t, c, 300_000); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
			t.Errorf("got %v", err)
		}
		if got := <-ended; got != websocket.StatusServiceRestart {
			t.Errorf("the instance was told %v", got)
		}
	}
	eventually(t, "nothing is in flight", func() bool { s, _ := g.ctl.Status(t.Context()); return s.InFlight == 0 })
}

func TestWebSocketDrain_CutsOrStays(t *testing.T) {
	g := run(t, func(c *Config) { c.HalfCloseGrace = 100 * time.Millisecond })
	ended := make(chan websocket.StatusCode, 8)
	old := serveApp(t, chatter(ended))
	g.upsert(withDrain("cut", "old", old))
	cut := g.socket("/")
	g.upsert(withDrain("stay", "old", old))
	stays := g.socket("/")
	g.upsert(withDrain("stay", "new", serveApp(t, sayName("new"))))
	if err := untilEnd(t, cut, 0); websocket.CloseStatus(err) != -1 {
		t.Errorf("got %v", err)
	}
	if err := stays.Write(t.Context(), websocket.MessageText, []byte("still there")); err != nil {
		t.Fatal(err)
	}
	if _, b, err := stays.Read(t.Context()); err != nil || string(b) != "still there" {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestWebSocketDrain_ClosesGentlyWhenTheRouterIsReplaced(t *testing.T) {
	g := run(t, func(c *Config) { c.DrainTimeout = 20 * time.Second; c.HalfCloseGrace = 100 * time.Millisecond })
	ended := make(chan websocket.StatusCode, 8)
	g.upsert(withDrain("close-gently 0s", "old", serveApp(t, chatter(ended))))
	c := g.socket("/")
	g.cancel()
	if err := untilEnd(t, c, 0); websocket.CloseStatus(err) != websocket.StatusServiceRestart {
		t.Errorf("got %v", err)
	}
	if got := <-ended; got != websocket.StatusServiceRestart {
		t.Errorf("the instance was told %v", got)
	}
	g.stop()
}

func TestWSFrames_FindsTheEndsOfFramesHoweverTheyAreCut(t *testing.T) {
	var stream []byte
	var ends []int
	for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536} {
		switch {
		case n < 126:
			stream = append(stream, 0x82, byte(n))
		case n < 65536:
			stream = append(stream, 0x02, 126, byte(n>>8), byte(n))
		default:
			stream = append(stream, 0x82, 127, 0, 0, 0, 0, 0, byte(n>>16), byte(n>>8), byte(n))
		}
		stream = append(stream, strings.Repeat("x", n)...)
		ends = append(ends, len(stream))
	}
	stream = append(stream, 0x81, 0x83, 1, 2, 3, 4, 'a', 'b', 'c') // masked
	ends = append(ends, len(stream))
	for _, cut := range []int{1, 2, 3, 7, 100, 4096, len(stream)} {
		var f wsFrames
		var found []int
		for at := 0; at < len(stream); {
			// One byte first, so that it does not stand between two frames.
			at += f.follow(stream[at:at+1], false)
			for end := min(at+cut, len(stream)); at < end && !f.isBetween(); {
				at += f.follow(stream[at:end], true)
			}
			if f.isBetween() {
				found = append(found, at)
			}
		}
		if len(found) != len(ends) {
			t.Fatalf("cut in pieces of %d: found %v, want %v", cut, found, ends)
		}
		for i := range ends {
			if found[i] != ends[i] {
				t.Errorf("cut in pieces of %d: found %v, want %v", cut, found, ends)
			}
		}
	}
}
