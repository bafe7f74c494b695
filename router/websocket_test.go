package router

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// wsEcho gives messages back; "bye" ends the connection with a code of its own.
func wsEcho(w http.ResponseWriter, r *http.Request) {
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for {
		kind, b, err := c.Read(r.Context())
		switch {
		case err != nil:
			return
		case string(b) == "bye":
			_ = c.Close(4321, "as you wish")
			return
		case c.Write(r.Context(), kind, b) != nil:
			return
		}
	}
}

func TestWebSocket_PassesThroughTLS(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	s.mapRoute("a.test", "", to("a", serveApp(t, wsEcho)))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, "wss://a.test/", &websocket.DialOptions{HTTPClient: s.over("http/1.1")})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	c.SetReadLimit(-1)
	for _, size := range []int{0, 1 << 10, 1 << 20} {
		msg := bytes.Repeat([]byte{'x'}, size)
		if err := c.Write(ctx, websocket.MessageBinary, msg); err != nil {
			t.Fatal(err)
		}
		if _, got, err := c.Read(ctx); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("size %d: %d bytes, %v", size, len(got), err)
		}
	}
	_ = c.Write(ctx, websocket.MessageText, []byte("bye"))
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4321 {
		t.Errorf("got %v", err)
	}
}

func TestWebSocket_FragmentsPingsAndCloseCodesPassUnchanged(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	s.mapRoute("a.test", "", to("a", serveApp(t, wsEcho)))
	for _, secure := range []bool{false, true} {
		c := s.dial()
		if secure {
			_ = c.Close()
			plain, err := net.Dial("tcp", s.tlsAddr)
			if err != nil {
				t.Fatal(err)
			}
			c = tls.Client(plain, &tls.Config{ServerName: "a.test", RootCAs: s.roots})
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(20 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
			"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
		in := bufio.NewReader(c)
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-Websocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			t.Fatalf("got %+v, %v", res, err)
		}
		frame := func(head byte, text string) { // masked with zeros
			_, _ = c.Write(append([]byte{head, 0x80 | byte(len(text)), 0, 0, 0, 0}, text...))
		}
		expect := func(want string) {
			t.Helper()
			got := make([]byte, len(want))
			if _, err := io.ReadFull(in, got); err != nil || string(got) != want {
				t.Fatalf("got %q (%v), want %q", got, err, want)
			}
		}
		frame(0x01, "hel")  // text, more follows
		frame(0x89, "ping") // in between
		expect("\x8a\x04ping")
		frame(0x80, "lo")
		expect("\x81\x05hello")
		frame(0x88, "\x03\xe9gone") // 1001
		expect("\x88\x06\x03\xe9gone")
	}
}
