package router

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// talkTLS is a raw connection to the router, over TLS.
func (s *secured) talkTLS(host string) *talk {
	s.t.Helper()
	c, err := tls.Dial("tcp", s.tlsAddr, &tls.Config{RootCAs: s.roots, ServerName: host, NextProtos: []string{"http/1.1"}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &talk{c, s.t, bufio.NewReader(c)}
}

func TestFront1_OverTLS(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	body := bytes.Repeat([]byte("0123456789abcde\n"), 3<<16) // 3 MiB
	entered := make(chan bool, 1)
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/wait":
			entered <- true
			<-r.Context().Done()
		case "/sized":
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
			fallthrough
		default:
			_, _ = w.Write(b)
		}
	})))
	s.mapRoute("a.test", "/cut", to("b", misbehave(t, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", true).addr))
	c := s.talkTLS("a.test")
	for i := range 6 {
		path := []string{"/sized", "/chunked"}[i%2]
		b := body[:len(body)>>(4*(i/2))]
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n", path, len(b))
		go func() { _, _ = c.Write(b) }()
		if res, got := c.answer("POST"); res.StatusCode != 200 || got != string(b) || res.Close {
			t.Fatalf("request %d: got %s, %d bytes, close %v", i, res.Status, len(got), res.Close)
		}
	}
	// The rest of one read is the next request.
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	c.answer("GET")
	c.answer("GET")
	// A half-close is no departure.
	_ = c.Conn.(*tls.Conn).CloseWrite()
	if !c.ends() {
		t.Error("not closed well")
	}
	// An answer that is cut off does not end in TLS's goodbye.
	c = s.talkTLS("a.test")
	fmt.Fprint(c, "GET /cut HTTP/1.0\r\nHost: a.test\r\n\r\n")
	if b, err := io.ReadAll(c.in); err == nil {
		t.Errorf("ended cleanly: %q", b)
	}
	// A reset is noticed while the instance works.
	c = s.talkTLS("a.test")
	fmt.Fprint(c, "GET /wait HTTP/1.1\r\nHost: a.test\r\n\r\n")
	<-entered
	_ = c.Conn.(*tls.Conn).NetConn().(*net.TCPConn).SetLinger(0)
	_ = c.Conn.(*tls.Conn).NetConn().Close()
	if rec := s.nthRecord(10); rec.Status != 499 {
		t.Errorf("got record %+v", rec)
	}
}

func TestFront1_GivesUpATLSClientThatDoesNotRead(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) { c.StallTimeout = 300 * time.Millisecond })
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(1<<30))
		for b := make([]byte, 1<<20); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})))
	c := s.talkTLS("a.test")
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if rec := s.nthRecord(1); rec.Reason != "client_gone" || rec.Status != 200 {
		t.Errorf("got record %+v", rec)
	}
	if _, err := io.Copy(io.Discard, c.in); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("got %v", err)
	}
}
