package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

const switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

// upgraded opens a tunnel to an instance that does f once it switched.
func upgraded(t *testing.T, g *rig, early string, f func(c net.Conn, in *bufio.Reader)) *talk {
	t.Helper()
	g.mapRoute("a.test", "", to("a", serveRaw(t, func(c net.Conn) {
		_, in := readRequestHead(c)
		_, _ = io.WriteString(c, switched+early)
		f(c, in)
	})))
	c := g.talk()
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n")
	res, err := http.ReadResponse(c.in, nil)
	if err != nil || res.StatusCode != 101 || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
		t.Fatalf("got %v, %v", res, err)
	}
	return c
}

func TestTunnel_CarriesWhatCameWithTheSwitchAndEachEnd(t *testing.T) {
	t.Run("the client ends first", func(t *testing.T) {
		g := run(t)
		c := upgraded(t, g, "early ", func(c net.Conn, in *bufio.Reader) {
			b, _ := io.ReadAll(in)
			time.Sleep(20 * time.Millisecond)
			fmt.Fprintf(c, "got %s", b)
		})
		fmt.Fprint(c, "all")
		_ = c.Conn.(*net.TCPConn).CloseWrite()
		if b, err := io.ReadAll(c.in); err != nil || string(b) != "early got all" {
			t.Errorf("got %q, %v", b, err)
		}
		if rec := g.nthRecord(1); rec.Status != 101 || rec.RequestBytes != 3 || rec.ResponseBytes != 13 || rec.Error != "" {
			t.Errorf("got record %+v", rec)
		}
	})
	t.Run("the instance ends first", func(t *testing.T) {
		g := run(t)
		got := make(chan string, 1)
		c := upgraded(t, g, "", func(c net.Conn, in *bufio.Reader) {
			fmt.Fprint(c, "bye")
			_ = c.(*net.TCPConn).CloseWrite()
			b, _ := io.ReadAll(in)
			got <- string(b)
		})
		if b, err := io.ReadAll(c.in); err != nil || string(b) != "bye" {
			t.Errorf("got %q, %v", b, err)
		}
		fmt.Fprint(c, "last words")
		_ = c.Close()
		if b := <-got; b != "last words" {
			t.Errorf("the instance got %q", b)
		}
	})
	t.Run("the instance resets", func(t *testing.T) {
		g := run(t)
		c := upgraded(t, g, "", func(c net.Conn, _ *bufio.Reader) { _ = c.(*net.TCPConn).SetLinger(0) })
		if _, err := c.in.ReadByte(); err == nil {
			t.Error("still open")
		}
		g.nthRecord(1)
	})
}
