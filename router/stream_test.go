package router

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

func TestRouter_PassesStreamsOnAtOnce(t *testing.T) {
	g := run(t)
	next := make(chan string)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.WriteHeader(200)
		_ = http.NewResponseController(w).Flush()
		for range 5 {
			fmt.Fprintf(w, "data: %s\n\n", <-next)
			_ = http.NewResponseController(w).Flush()
		}
	})
	g.mapRoute("sse.test", "", to("sse", app))
	for name, c := range map[string]*http.Client{"http1": g.client(), "h2c": g.h2c()} {
		t.Run(name, func(t *testing.T) {
			// The head alone must come through before any event.
			res, err := c.Do(request1(t, "GET", "http://sse.test/", nil))
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			in := bufio.NewReader(res.Body)
			for i := range 5 {
				next <- fmt.Sprint(i)
				line, err := in.ReadString('\n')
				if err != nil || line != fmt.Sprintf("data: %d\n", i) {
					t.Fatalf("got %q, %v", line, err)
				}
				_, _ = in.ReadString('\n')
			}
		})
	}
}

func TestRouter_PassesPiecesOfABodyOfKnownLengthOnAtOnce(t *testing.T) {
	g := run(t)
	next := make(chan bool)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "3")
		for range 3 {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
			<-next
		}
	})
	g.mapRoute("a.test", "", to("a", app))
	res, err := g.client().Do(request1(t, "GET", "http://a.test/", nil))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	for range 3 {
		if _, err := io.ReadFull(res.Body, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		next <- true
	}
}

func TestRouter_RelaysTrailersBothWays(t *testing.T) {
	g := run(t)
	h := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "X-Sum")
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", fmt.Sprint(len(b), r.Trailer.Get("X-Client-Sum"), r.Header.Get("Te")))
		w.Header().Set(http.TrailerPrefix+"X-Late", "late")
	}
	g.mapRoute("one.test", "", to("one", serveApp(t, h)))
	two := to("two", serveH2C(t, h))
	two.Protocol = ProtocolHTTP2
	g.mapRoute("two.test", "", two)
	for name, c := range map[string]*http.Client{"http1": g.client(), "net/http": g.client(), "h2c": g.h2c()} {
		for _, host := range []string{"one.test", "two.test"} {
			t.Run(name+" to "+host, func(t *testing.T) {
				req := request1(t, "POST", "http://"+host+"/", io.MultiReader(strings.NewReader("hello")), "TE", "trailers")
				if name == "net/http" {
					req.Header.Set("Connection", "TE") // as who sends TE should
				}
				req.Trailer = http.Header{"X-Client-Sum": nil}
				req.Body = &endHook{req.Body, func() { req.Trailer.Set("X-Client-Sum", "-5-") }}
				res, err := c.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer res.Body.Close()
				b, err := io.ReadAll(res.Body)
				if err != nil || string(b) != "hello" {
					t.Fatalf("%q %v", b, err)
				}
				if got := res.Trailer.Get("X-Sum"); got != "5-5-trailers" || res.Trailer.Get("X-Late") != "late" {
					t.Errorf("got trailer %v", res.Trailer)
				}
			})
		}
	}
}

// endHook calls f when the body ends.
type endHook struct {
	io.ReadCloser
	f func()
}

func (e *endHook) Read(p []byte) (int, error) {
	n, err := e.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		e.f()
	}
	return n, err
}

// serveH2C starts a server that speaks HTTP/2 with prior knowledge only.
func serveH2C(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	s.Config.Protocols = p
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A call in the shape of gRPC: both directions open, answers while the
// request is under way, the status in a trailer.
func TestRouter_CarriesBidirectionalStreamsOverHTTP2(t *testing.T) {
	g := run(t)
	app := serveH2C(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Trailer", "Grpc-Status")
		rc := http.NewResponseController(w)
		w.WriteHeader(200)
		_ = rc.Flush()
		in := bufio.NewReader(r.Body)
		for {
			line, err := in.ReadString('\n')
			if err != nil {
				break
			}
			_, _ = io.WriteString(w, "echo "+line)
			_ = rc.Flush()
		}
		w.Header().Set("Grpc-Status", "0")
	})
	d := to("grpc", app)
	d.Protocol = ProtocolHTTP2
	g.mapRoute("grpc.test", "", d)
	send, out := io.Pipe()
	res, err := g.h2c().Do(request1(t, "POST", "http://grpc.test/svc/Method", send, "TE", "trailers", "Content-Type", "application/grpc"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	in := bufio.NewReader(res.Body)
	for i := range 10 {
		fmt.Fprintf(out, "%d\n", i)
		if line, err := in.ReadString('\n'); err != nil || line != fmt.Sprintf("echo %d\n", i) {
			t.Fatalf("got %q, %v", line, err)
		}
	}
	_ = out.Close()
	if rest, err := io.ReadAll(in); err != nil || len(rest) > 0 {
		t.Fatalf("%q %v", rest, err)
	}
	if got := res.Trailer.Get("Grpc-Status"); got != "0" {
		t.Errorf("got trailer %v", res.Trailer)
	}
	if rec := g.nthRecord(1); rec.Proto != "HTTP/2.0" || rec.RequestBytes != 20 || rec.ResponseBytes != 70 {
		t.Errorf("got record %+v", rec)
	}
}

func TestRouter_RelaysContinueAndStartsTheBodyOnlyThen(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/refuse" {
			w.WriteHeader(http.StatusExpectationFailed)
			return
		}
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(b)
	})
	g.mapRoute("a.test", "", to("a", app))
	send := func(path string) (c net.Conn, in *textproto.Reader, line string) {
		c = g.dial()
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		fmt.Fprintf(c, "POST %s HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", path)
		in = textproto.NewReader(bufio.NewReader(c))
		line, err := in.ReadLine()
		if err != nil {
			t.Fatal(err)
		}
		return c, in, line
	}
	c, in, line := send("/")
	if line != "HTTP/1.1 100 Continue" {
		t.Fatalf("got %q", line)
	}
	_, _ = in.ReadLine()
	fmt.Fprint(c, "hello")
	if line, _ = in.ReadLine(); line != "HTTP/1.1 200 OK" {
		t.Errorf("got %q", line)
	}
	g.nthRecord(1)
	if _, _, line = send("/refuse"); line != "HTTP/1.1 417 Expectation Failed" {
		t.Errorf("got %q", line)
	}
	if rec := g.nthRecord(2); rec.RequestBytes != 0 || rec.Status != 417 {
		t.Errorf("got record %+v", rec)
	}
}

func TestRouter_RelaysEarlyHintsButNoOtherInterimResponse(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusProcessing)
		w.Header().Set("Link", "</x.css>")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Del("Link")
		w.WriteHeader(200)
	})
	g.mapRoute("a.test", "", to("a", app))
	for name, c := range map[string]*http.Client{"http1": g.client(), "h2c": g.h2c()} {
		t.Run(name, func(t *testing.T) {
			var hints []string
			ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
					hints = append(hints, fmt.Sprint(code, h.Get("Link")))
					return nil
				},
			})
			got := do(t, c, request1(t, "GET", "http://a.test/", nil).WithContext(ctx))
			if got.status != 200 || got.header.Get("Link") != "" || fmt.Sprint(hints) != "[103</x.css>]" {
				t.Errorf("got %+v after %q", got, hints)
			}
		})
	}
}

func TestRouter_CarriesWebSockets(t *testing.T) {
	g := run(t)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"echo"}, InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(-1)
		for {
			typ, b, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if string(b) == "bye" {
				_ = c.Close(4321, "as you wish")
				return
			}
			if err := c.Write(r.Context(), typ, b); err != nil {
				return
			}
		}
	})
	d := to("ws", app)
	d.Protocol = ProtocolHTTP2 // an upgrade goes over HTTP/1.1 all the same
	g.mapRoute("ws.test", "", d)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, res, err := websocket.Dial(ctx, "ws://ws.test/", &websocket.DialOptions{HTTPClient: g.client(), Subprotocols: []string{"echo"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if res.Header.Get("X-Vcap-Request-Id") == "" || c.Subprotocol() != "echo" {
		t.Errorf("got %v", res.Header)
	}
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
	if st, _ := g.ctl.Status(ctx); st.InFlight != 1 {
		t.Errorf("an open WebSocket must count as in flight: %+v", st)
	}
	_ = c.Write(ctx, websocket.MessageText, []byte("bye"))
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4321 {
		t.Errorf("got %v", err)
	}
	_ = c.CloseNow()
	if rec := g.nthRecord(1); rec.Status != 101 || rec.ResponseBytes < 1<<20 || rec.Error != "" {
		t.Errorf("got record %+v", rec)
	}
}

func TestRouter_AnswersARefusedUpgradeAndAnUnaskedOne(t *testing.T) {
	g := run(t)
	g.mapRoute("no.test", "", to("no", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "go away "+r.Header.Get("Upgrade"), http.StatusForbidden)
	})))
	g.mapRoute("odd.test", "", to("odd", serveRaw(t, func(c net.Conn) {
		readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	})))
	c := g.client()
	ask := []string{"Connection", "Upgrade", "Upgrade", "websocket"}
	if got := get(t, c, "http://no.test/", ask...); got.status != 403 || got.body != "go away websocket\n" {
		t.Errorf("got %+v", got)
	}
	if got := get(t, c, "http://odd.test/"); got.status != 502 || got.header.Get("X-Cf-RouterError") != "endpoint_failure" {
		t.Errorf("got %+v", got)
	}
	// Anything but websocket is never forwarded: h2c would open a way past
	// the router's rules.
	if got := get(t, c, "http://no.test/", "Connection", "Upgrade, HTTP2-Settings", "Upgrade", "h2c", "HTTP2-Settings", "AAMAAABkAAQAAP__"); got.body != "go away \n" {
		t.Errorf("got %+v", got)
	}
}

// The time limit of a head must not outlive the head.
func TestRouter_KeepsConnectionsBeyondTheHeadTimeout(t *testing.T) {
	const limit, longer = time.Second, 1500 * time.Millisecond
	g := run(t, func(c *Config) { c.HeadTimeout = limit })
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			time.Sleep(longer)
			fmt.Fprint(w, "ok")
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		_, b, _ := c.Read(r.Context())
		_ = c.Write(r.Context(), websocket.MessageText, b)
	})
	g.mapRoute("a.test", "", to("a", app))
	ws, _, err := websocket.Dial(t.Context(), "ws://a.test/", &websocket.DialOptions{HTTPClient: g.client()})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	for _, c := range []*http.Client{g.client(), g.h2c()} {
		for range 2 {
			if got := get(t, c, "http://a.test/"); got.body != "ok" {
				t.Errorf("got %+v", got)
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	if n := g.r.metrics.accepted.Load(); n != 3 {
		t.Errorf("%d connections were needed, want 3", n)
	}
	_ = ws.Write(t.Context(), websocket.MessageText, []byte("hello"))
	if _, b, err := ws.Read(t.Context()); err != nil || string(b) != "hello" {
		t.Errorf("got %q, %v", b, err)
	}
	// A head in two pieces, then a slow answer, then another request.
	c := g.dial()
	defer c.Close()
	in := bufio.NewReader(c)
	for range 2 {
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHo")
		time.Sleep(30 * time.Millisecond)
		fmt.Fprint(c, "st: a.test\r\n\r\n")
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		time.Sleep(longer)
	}
}

func TestTunnel_EndsWhenTheInstanceDies(t *testing.T) {
	g := run(t)
	app := serveRaw(t, func(c net.Conn) {
		readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nlast words")
	})
	g.mapRoute("a.test", "", to("a", app))
	got := g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 101 ") || !strings.HasSuffix(got, "last words") {
		t.Errorf("got %q", got)
	}
}

func TestTunnel_IsClosedAfterLongSilence(t *testing.T) {
	g := run(t, func(c *Config) { c.StreamTimeout = 100 * time.Millisecond })
	app := serveRaw(t, func(c net.Conn) {
		_, in := readRequestHead(c)
		fmt.Fprint(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(c, in)
	})
	g.mapRoute("a.test", "", to("a", app))
	got := g.raw("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	if !strings.HasPrefix(got, "HTTP/1.1 101 ") {
		t.Errorf("got %q", got)
	}
	g.nthRecord(1)
}

func TestRouter_NeverLetsATruncatedAnswerLookComplete(t *testing.T) {
	g := run(t)
	for host, answer := range map[string]string{
		"length.test":  "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhello",
		"chunked.test": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
	} {
		g.mapRoute(host, "", to(host, serveRaw(t, func(c net.Conn) {
			readRequestHead(c)
			fmt.Fprint(c, answer)
		})))
		for name, c := range map[string]*http.Client{"http1": g.client(), "h2c": g.h2c()} {
			res, err := c.Do(request1(t, "GET", "http://"+host+"/", nil))
			if err == nil {
				_, err = io.ReadAll(res.Body)
				_ = res.Body.Close()
			}
			if err == nil {
				t.Errorf("%s over %s ended cleanly", host, name)
			}
		}
	}
	// A client that reads to the end of the connection must see a reset.
	c := g.dial()
	defer c.Close()
	fmt.Fprint(c, "GET / HTTP/1.0\r\nHost: chunked.test\r\n\r\n")
	if _, err := io.ReadAll(c); err == nil {
		t.Error("HTTP/1.0: the answer ended cleanly")
	}
	if rec := g.nthRecord(5); rec.Error != "response_truncated" || rec.Status != 200 {
		t.Errorf("got record %+v", rec)
	}
}
