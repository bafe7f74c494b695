package router

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// talk is a raw connection to the router.
type talk struct {
	net.Conn
	t  testing.TB
	in *bufio.Reader
}

func (g *rig) talk() *talk {
	c := g.dial()
	g.t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return &talk{c, g.t, bufio.NewReader(c)}
}

// answer reads an answer to a request of the given method.
func (c *talk) answer(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatal(err)
	}
	b, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("after %d bytes: %v", len(b), err)
	}
	return res, string(b)
}

// ends reports whether the router closed the connection well.
func (c *talk) ends() bool {
	_, err := c.in.Peek(1)
	return err == io.EOF
}

// byPath is an instance that answers with the bytes its map has for a path,
// and ends the connection after an answer that does not end by itself.
func byPath(t testing.TB, answers map[string]string) string {
	return serveRaw(t, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			answer, end := strings.CutSuffix(answers[req.URL.Path], "<END>")
			if _, err := io.WriteString(c, answer); err != nil || end {
				return
			}
		}
	})
}

func TestFront1_FramesAnswersForWhoAsked(t *testing.T) {
	g := run(t)
	const ok = "HTTP/1.1 200 Fine\r\n"
	g.mapRoute("a.test", "", to("a", byPath(t, map[string]string{
		"/sized":    ok + "Content-Length: 5\r\n\r\nhello",
		"/chunked":  ok + "Transfer-Encoding: chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
		"/to-end":   ok + "\r\nhello<END>",
		"/old":      "HTTP/1.0 200 OK\r\n\r\nhello<END>",
		"/empty":    ok + "Content-Length: 0\r\n\r\n",
		"/none":     "HTTP/1.1 204 No Content\r\n\r\n",
		"/none+":    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
		"/same":     "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\nEtag: \"x\"\r\n\r\n",
		"/head":     ok + "Content-Length: 12345\r\n\r\n",
		"/head-ch":  ok + "Transfer-Encoding: chunked\r\n\r\n",
		"/head-end": ok + "\r\n",
		"/close":    ok + "Connection: close\r\nContent-Length: 5\r\n\r\nhello<END>",
		"/phrase":   "HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n",
	})))
	c := g.talk() // one connection for all
	for _, tt := range []struct{ ask, status, framing, body string }{
		{"GET /sized", "200 Fine", "5 []", "hello"},
		{"GET /chunked", "200 Fine", "-1 [chunked]", "hello"},
		{"GET /to-end", "200 Fine", "-1 [chunked]", "hello"},
		{"GET /old", "200 OK", "-1 [chunked]", "hello"},
		{"GET /empty", "200 Fine", "0 []", ""},
		{"GET /none", "204 No Content", "0 []", ""},
		{"GET /none+", "204 No Content", "0 []", ""},
		{"GET /same", "304 Not Modified", "0 []", ""},
		{"HEAD /head", "200 Fine", "12345 []", ""},
		{"HEAD /head-ch", "200 Fine", "-1 []", ""},
		{"HEAD /head-end", "200 Fine", "-1 []", ""},
		{"GET /close", "200 Fine", "5 []", "hello"},
		{"GET /phrase", "299 ", "0 []", ""},
		{"GET /sized", "200 Fine", "5 []", "hello"},
	} {
		fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: a.test\r\n\r\n", tt.ask)
		method, _, _ := strings.Cut(tt.ask, " ")
		res, body := c.answer(method)
		if got := fmt.Sprint(res.ContentLength, res.TransferEncoding); res.Status != tt.status || got != tt.framing || body != tt.body || res.Close {
			t.Errorf("%s: got %s, %s, %q, close %v", tt.ask, res.Status, got, body, res.Close)
		}
		if res.StatusCode == 204 && res.Header["Content-Length"] != nil {
			t.Errorf("%s: a length", tt.ask)
		}
		if res.StatusCode == 304 && res.Header.Get("Content-Length") != "5" {
			t.Errorf("%s: got %v", tt.ask, res.Header)
		}
	}
	// HTTP/1.0 does not know chunks: the end of the connection is the end.
	for _, path := range []string{"/sized", "/chunked", "/to-end", "/old"} {
		got := g.raw("GET " + path + " HTTP/1.0\r\nHost: a.test\r\n\r\n")
		if !strings.HasSuffix(got, "\r\n\r\nhello") || strings.Contains(got, "chunked") || !strings.Contains(got, "Connection: close\r\n") {
			t.Errorf("HTTP/1.0, %s: got %q", path, got)
		}
	}
	// It may ask for its connection to be kept, which a length or none needed allows.
	const keep = " HTTP/1.0\r\nHost: a.test\r\nConnection: Keep-Alive\r\n\r\n"
	got := g.raw("GET /sized" + keep + "GET /empty" + keep + "GET /none" + keep + "HEAD /head-ch" + keep + "GET /to-end" + keep + "GET /sized" + keep)
	if kept := strings.Count(got, "\r\nConnection: keep-alive\r\n"); kept != 4 || strings.Count(got, "HTTP/1.1 ") != 5 ||
		strings.Count(got, "\r\nConnection: close\r\n") != 1 || !strings.HasSuffix(got, "\r\n\r\nhello") {
		t.Errorf("HTTP/1.0 keep-alive: got %q", got)
	}
}

func TestFront1_AnswersPipelinedRequestsInOrder(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, r.URL.Path+string(b))
	})))
	var stream strings.Builder
	const n = 60
	for i := range n {
		switch i % 4 {
		case 0:
			fmt.Fprintf(&stream, "GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n", i)
		case 1:
			fmt.Fprintf(&stream, "POST /%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\n+ab", i)
		case 2:
			fmt.Fprintf(&stream, "PUT /%d HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n+\r\n2;x\r\nab\r\n0\r\n\r\n\r\n", i)
		default:
			fmt.Fprintf(&stream, "GET /%d HTTP/1.1\r\nHost: nowhere.test\r\n\r\n", i)
		}
	}
	read := func(c *talk) {
		t.Helper()
		for i := range n {
			res, body := c.answer("GET")
			switch want := fmt.Sprint("/", i); {
			case i%4 == 3 && res.StatusCode != 404,
				i%4 == 0 && body != want,
				(i%4 == 1 || i%4 == 2) && body != want+"+ab":
				t.Fatalf("answer %d: got %s, %q", i, res.Status, body)
			}
		}
	}
	c := g.talk()
	go func() { _, _ = io.WriteString(c, stream.String()) }()
	read(c)
	// The same, byte by byte and in odd pieces.
	for _, size := range []int{1, 7, 100} {
		c := g.talk()
		go func() {
			for b := []byte(stream.String()); len(b) > 0; {
				k := min(size, len(b))
				if _, err := c.Write(b[:k]); err != nil {
					return
				}
				b = b[k:]
			}
		}()
		read(c)
	}
}

func TestFront1_LeavesNoRestOfABodyToTheNextRequest(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	const next = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	large := strings.Repeat("GET /smuggled HTTP/1.1\r\nHost: a.test\r\n\r\n", 2000) // 80 KB
	// A body the router itself has no use for is taken off the connection.
	c := g.talk()
	for range 3 {
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: %d\r\n\r\n%s", len(large), large)
		if res, _ := c.answer("POST"); res.StatusCode != 404 || res.Close {
			t.Fatalf("got %s, close %v", res.Status, res.Close)
		}
		fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: nowhere.test\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n%s", len(large), large, next)
		if res, _ := c.answer("POST"); res.StatusCode != 404 {
			t.Fatalf("got %s", res.Status)
		}
		if res, body := c.answer("GET"); res.StatusCode != 200 || body != "a" {
			t.Fatalf("got %s", res.Status)
		}
	}
	// One that is too large for that ends it, and the answer gets through.
	for range 10 {
		c := g.talk()
		go func() {
			fmt.Fprintf(c, "POST / HTTP/1.1\r\nHost: nowhere.test\r\nContent-Length: %d\r\n\r\n", 100*len(large))
			for range 100 {
				if _, err := io.WriteString(c, large); err != nil {
					return
				}
			}
		}()
		if res, _ := c.answer("POST"); res.StatusCode != 404 {
			t.Fatalf("got %s", res.Status)
		}
		if _, err := c.in.Peek(1); err == nil {
			t.Fatal("something followed")
		}
	}
}

func TestFront1_CarriesLargeBodiesBothWays(t *testing.T) {
	g := run(t)
	body := make([]byte, 5<<20+123)
	for i := range body {
		body[i] = byte(i * 7 >> 3)
	}
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		if r.URL.Path == "/sized" {
			w.Header().Set("Content-Length", fmt.Sprint(len(b)))
		}
		_, _ = w.Write(b)
	})))
	c := g.client()
	for _, path := range []string{"/sized", "/chunked"} {
		for _, in := range []io.Reader{bytes.NewReader(body), io.MultiReader(bytes.NewReader(body))} {
			got := do(t, c, request1(t, "POST", "http://a.test"+path, in))
			if got.body != string(body) {
				t.Errorf("%s: got %d bytes", path, len(got.body))
			}
		}
	}
	for i := range 4 {
		if rec := g.nthRecord(i + 1); rec.RequestBytes != int64(len(body)) || rec.ResponseBytes != int64(len(body)) {
			t.Errorf("got record %+v", rec)
		}
	}
}

func TestFront1_GivesUpAClientThatDoesNotReadALargeAnswer(t *testing.T) {
	const size = 256 << 20
	g := run(t, func(c *Config) { c.StallTimeout = 3 * time.Second })
	g.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(size))
		for b := make([]byte, 1<<20); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	})))
	const ask = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
	stalled, slow := g.talk(), g.talk()
	_ = slow.Conn.(*net.TCPConn).SetReadBuffer(64 << 10)
	fmt.Fprint(slow, ask)
	fmt.Fprint(stalled, ask)
	// One that reads little by little is served, also when the other is no more.
	buf := make([]byte, 128<<10)
	read := func() {
		t.Helper()
		if _, err := slow.Read(buf); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	isLogged := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.lines) > 0
	}
	for !isLogged() {
		read()
	}
	for range 50 {
		read()
	}
	if rec := g.nthRecord(1); rec.ClientAddr != stalled.LocalAddr().String() || rec.Reason != "client_gone" || rec.Status != 200 || rec.ResponseBytes >= size {
		t.Errorf("got record %+v", rec)
	}
	_ = slow.Close()
	if rec := g.nthRecord(2); rec.Reason != "client_gone" {
		t.Errorf("got record %+v", rec)
	}
	st, _ := g.ctl.Stats(t.Context())
	if st.Instances[0].Failures != 0 || st.Instances[0].InFlight != 0 {
		t.Errorf("got %+v", st)
	}
}

func TestFront1_EndsAnAnswerThatFallsSilent(t *testing.T) {
	g := run(t, func(c *Config) { c.StreamTimeout = 300 * time.Millisecond })
	for path, head := range map[string]string{
		"/small":   "Content-Length: 100\r\n\r\nhello",
		"/large":   "Content-Length: 10000000\r\n\r\n" + strings.Repeat("x", 1<<20),
		"/chunked": "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
		"/to-end":  "\r\nhello",
	} {
		m := misbehave(t, "HTTP/1.1 200 OK\r\n"+head, false)
		g.mapRoute("a.test", path, to("a", m.addr))
		c := g.talk()
		fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.test\r\n\r\n", path)
		res, err := http.ReadResponse(c.in, nil)
		if err == nil {
			_, err = io.ReadAll(res.Body)
		}
		if err == nil {
			t.Errorf("%s: ended cleanly", path)
		}
		eventually(t, path+": the connection to the instance is dropped", func() bool { return m.dropped.Load() == 1 })
	}
	for i := range 4 {
		if rec := g.nthRecord(i + 1); rec.Reason != "timeout" {
			t.Errorf("got record %+v", rec)
		}
	}
}

func TestFront1_ClosesIdleConnections(t *testing.T) {
	g := run(t, func(c *Config) { c.IdleTimeout, c.HeadTimeout = 2*time.Second, 2*time.Second })
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	silent, idle := g.talk(), g.talk()
	fmt.Fprint(idle, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	idle.answer("GET")
	if !silent.ends() || !idle.ends() {
		t.Error("not closed")
	}
}

// TestFront1_ClosesBehindItsLastAnswer has clients that go on sending, unread,
// while the last answer of their connection is made.
func TestFront1_ClosesBehindItsLastAnswer(t *testing.T) {
	g := run(t)
	asked, answer := make(chan bool), make(chan bool)
	for path, size := range map[string]int{"/small": 10, "/large": 40_000} {
		body := strings.Repeat("x", size)
		g.mapRoute("a.test", path, to("a", serveApp(t, func(w http.ResponseWriter, _ *http.Request) {
			asked <- true
			<-answer
			_, _ = io.WriteString(w, body)
		})))
		for _, extra := range []string{"", "\r\n", "GET /next HTTP/1.1\r\nHost: a.test\r\n\r\n"} {
			c := g.talk()
			fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", path)
			<-asked
			_, _ = io.WriteString(c, extra)
			answer <- true
			if res, got := c.answer("GET"); res.StatusCode != 200 || got != body || !res.Close {
				t.Errorf("%s and %q behind it: %d, %d bytes", path, extra, res.StatusCode, len(got))
			}
			if _, err := c.in.ReadByte(); err == nil {
				t.Errorf("%s and %q behind it: more than the answer", path, extra)
			}
		}
	}
}
