package router

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// echoName answers with the path and, if there is one, the body.
func echoName(w http.ResponseWriter, r *http.Request) {
	b, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s", r.URL.Path, b)
}

// expectAnswer reads one answer with a length and compares its body.
func expectAnswer(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatalf("waiting for %q: %v", want, err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); err != nil || string(got) != want {
		t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

// A connection changes between requests that are here as a whole and others;
// nothing of it may be lost on the way.
func TestFront1_CarriesWholeAndPartialRequestsOnOneConnection(t *testing.T) {
	g := run(t)
	g.mapRoute("app.test", "", to("a", serveApp(t, echoName)))
	c := g.dial()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	r := bufio.NewReader(c)
	send := func(s string) {
		t.Helper()
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
	const host = " HTTP/1.1\r\nHost: app.test\r\n"
	for i := range 50 {
		name := fmt.Sprintf("/%d", i)
		switch i % 5 {
		case 0, 1:
			send("GET " + name + host + "\r\n")
		case 2: // the body comes later
			send("POST " + name + host + "Content-Length: 5\r\n\r\n")
			time.Sleep(time.Millisecond) // to come by itself; not waited for
			send("later")
			expectAnswer(t, r, name+" later")
			continue
		case 3: // in pieces
			whole := "GET " + name + host + "\r\n"
			send(whole[:9])
			time.Sleep(time.Millisecond)
			send(whole[9:])
		case 4: // three at once, the last one with only the begin of a body
			send("GET /x" + host + "\r\nPOST /y" + host + "Content-Length: 2\r\n\r\nokPOST " + name + host + "Content-Length: 4\r\n\r\nbo")
			expectAnswer(t, r, "/x ")
			expectAnswer(t, r, "/y ok")
			send("dy")
			expectAnswer(t, r, name+" body")
			continue
		}
		expectAnswer(t, r, name+" ")
	}
}

// The end of a client's sending comes in one piece with the last request.
func TestFront1_SeesAnEndThatCameWithTheLastRequest(t *testing.T) {
	g := run(t)
	g.mapRoute("app.test", "", to("a", serveApp(t, echoName)))
	c := g.dial()
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	for i := range 3 {
		if _, err := fmt.Fprintf(c, "GET /%d HTTP/1.1\r\nHost: app.test\r\n\r\n", i); err != nil {
			t.Fatal(err)
		}
		if i == 2 {
			if err := c.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		if i < 2 {
			expectAnswer(t, bufio.NewReaderSize(oneByte{c}, 16), fmt.Sprintf("/%d ", i))
		}
	}
	rest, err := io.ReadAll(c)
	if err != nil || !strings.HasSuffix(string(rest), "/2 ") {
		t.Errorf("got %q, %v, want the last answer and the end", rest, err)
	}
}

// oneByte reads so little that a reader around it takes nothing of what
// follows.
type oneByte struct{ io.Reader }

func (o oneByte) Read(p []byte) (int, error) { return o.Reader.Read(p[:min(1, len(p))]) }

// An instance that ends connections at any moment costs no request that may
// be repeated, however hot its connection was.
func TestUpstream_HotConnectionThatEndsIsReplaced(t *testing.T) {
	g := run(t)
	var served atomic.Int64
	app := serveRaw(t, func(c net.Conn) {
		r := bufio.NewReader(c)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(r)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			served.Add(1)
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			if i == 3 {
				return // unannounced
			}
		}
	})
	g.mapRoute("app.test", "", to("a", app))
	c := g.client()
	for range 200 {
		if a := get(t, c, "http://app.test/"); a.status != 200 || a.body != "ok" {
			t.Fatalf("got %d %q", a.status, a.body)
		}
	}
	if n := served.Load(); n != 200 {
		t.Errorf("the instance served %d requests, want 200", n)
	}
}
