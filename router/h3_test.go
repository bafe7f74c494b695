package router

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// h3 returns a client that speaks HTTP/3 with the given address.
func (s *secured) h3(addr string) *http.Client {
	tr := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.roots},
		Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
			return quic.DialAddrEarly(ctx, addr, c, q)
		},
	}
	s.t.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c.(*net.UDPConn)
}

// another returns a second hold on a socket, as another process has it.
func another(t *testing.T, c *net.UDPConn) net.PacketConn {
	t.Helper()
	f, err := c.File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := net.FilePacketConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func TestHTTP3_ServesWhatTheOthersAnnounce(t *testing.T) {
	udp := udpSocket(t)
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) { c.QUIC = []net.PacketConn{another(t, udp)} })
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %d", r.Proto, r.Header.Get("X-Forwarded-Proto"), r.Header.Get("X-Forwarded-For"), len(b))
	})))
	res, err := s.over("h2").Get("https://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	port := udp.LocalAddr().(*net.UDPAddr).Port
	if got, want := res.Header.Get("Alt-Svc"), fmt.Sprintf(`h3=":%d"; ma=86400`, port); got != want {
		t.Errorf("announced %q, want %q", got, want)
	}
	c := s.h3(udp.LocalAddr().String())
	for _, size := range []int{0, 10, 1 << 20} {
		res, err := c.Post("https://a.test/", "text/plain", strings.NewReader(strings.Repeat("x", size)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if want := fmt.Sprintf("HTTP/1.1 https 127.0.0.1 %d", size); err != nil || string(b) != want || res.ProtoMajor != 3 {
			t.Errorf("got %s %q, want %q", res.Proto, b, want)
		}
	}
	req := request1(t, "GET", "https://a.test/", nil)
	req.Host = "b.test"
	if got := do(t, c, req); got.status != 421 {
		t.Errorf("a host of another certificate: got %d", got.status)
	}
	if rec := s.nthRecord(2); rec.Proto != "HTTP/3.0" {
		t.Errorf("logged as %q", rec.Proto)
	}
}

func TestHTTP3_SendsABodyWhereThereIsOne(t *testing.T) {
	udp := udpSocket(t)
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) { c.QUIC = []net.PacketConn{another(t, udp)} })
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Got", fmt.Sprintf("%d %v %q", r.ContentLength, r.TransferEncoding, b))
		w.Header().Set("Content-Length", "0")
	})
	s.mapRoute("a.test", "", to("a", app))
	c := s.h3(udp.LocalAddr().String())
	for _, tt := range []struct{ method, body, want string }{
		{"GET", "", `0 [] ""`},
		{"HEAD", "", `0 [] ""`},
		{"DELETE", "", `0 [] ""`},
		{"GET", "some", `-1 [chunked] "some"`},
		{"DELETE", "some", `-1 [chunked] "some"`},
		{"POST", "some", `-1 [chunked] "some"`},
	} {
		var body io.Reader
		if tt.body != "" {
			body = io.MultiReader(strings.NewReader(tt.body)) // of unknown length
		}
		if got := do(t, c, request1(t, tt.method, "https://a.test/", body)); got.header.Get("X-Got") != tt.want {
			t.Errorf("%s %q: the instance got %s, want %s", tt.method, tt.body, got.header.Get("X-Got"), tt.want)
		}
	}
}

func TestHTTP3_RefusesLargeHeadsAsOthersDo(t *testing.T) {
	udp := udpSocket(t)
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) { c.QUIC = []net.PacketConn{another(t, udp)} })
	s.mapRoute("a.test", "", to("a", serveApp(t, sayName("ok"))))
	c := s.h3(udp.LocalAddr().String())
	for i, tt := range []struct{ fields, size, want int }{
		{90, 600, 200}, // nearly as much as there may be
		{10, 7000, 431},
		{200, 10, 431},
		{1, 17 << 10, 431},
	} {
		req := request1(t, "GET", "https://a.test/", nil)
		for n := range tt.fields {
			req.Header.Set(fmt.Sprintf("X-Large-%d", n), strings.Repeat("x", tt.size))
		}
		got := do(t, c, req)
		if got.status != tt.want || tt.want == 431 && got.header.Get("X-Cf-RouterError") != "head_too_large" {
			t.Errorf("%d fields of %d bytes: got %d, %v", tt.fields, tt.size, got.status, got.header)
		}
		if rec := s.nthRecord(i + 1); rec.Status != tt.want {
			t.Errorf("%d fields of %d bytes: logged as %+v", tt.fields, tt.size, rec)
		}
	}
}

func TestHTTP3_HasALimitOfConnections(t *testing.T) {
	udp := udpSocket(t)
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) {
		c.QUIC, c.MaxConns = []net.PacketConn{another(t, udp)}, 2
	})
	s.mapRoute("a.test", "", to("a", serveApp(t, sayName("ok"))))
	ask := func(c *http.Client) error {
		res, err := c.Get("https://a.test/")
		if err == nil {
			_ = res.Body.Close()
		}
		return err
	}
	first, second := s.h3(udp.LocalAddr().String()), s.h3(udp.LocalAddr().String())
	if err := errors.Join(ask(first), ask(second)); err != nil {
		t.Fatal(err)
	}
	if err := ask(s.h3(udp.LocalAddr().String())); err == nil {
		t.Error("a third one was served")
	}
	if err := ask(first); err != nil {
		t.Errorf("one of those before: %v", err)
	}
	second.CloseIdleConnections()
	eventually(t, "there is room again", func() bool { return ask(s.h3(udp.LocalAddr().String())) == nil })
}

func TestQUICRoad_CountsConnectionsByClient(t *testing.T) {
	r := New(Config{MaxConns: 10, MaxConnsPerIP: 2, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}})
	q := newQUICRoad(r, nil)
	one, other := r.chargedTo(netip.MustParseAddr("2001:db8::1")), r.chargedTo(netip.MustParseAddr("2001:db8::2"))
	if one != other || !q.arrived(one) || !q.arrived(other) || q.arrived(one) {
		t.Error("a client has more than its share")
	}
	q.gone(one)
	if !q.arrived(one) || !q.arrived(r.chargedTo(netip.MustParseAddr("192.0.2.1"))) {
		t.Error("there was room")
	}
	for range 7 {
		if !q.arrived(r.chargedTo(netip.MustParseAddr("198.51.100.1"))) {
			t.Error("proxies have no share of their own")
		}
	}
	if q.arrived(r.chargedTo(netip.MustParseAddr("127.0.0.1"))) {
		t.Error("there are too many")
	}
}

func TestHTTP3_ClaimsNoLengthOfWhatHasNoBody(t *testing.T) {
	udp := udpSocket(t)
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")}, func(c *Config) { c.QUIC = []net.PacketConn{another(t, udp)} })
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/known":
			w.Header().Set("Content-Length", "7")
		case "/204":
			w.WriteHeader(204)
		case "/304":
			w.WriteHeader(304)
		default:
			w.(http.Flusher).Flush() // as long as it turns out to be
		}
	})))
	c := s.h3(udp.LocalAddr().String())
	for _, x := range []struct{ method, path, want string }{
		{"HEAD", "/", ""},
		{"HEAD", "/known", "7"},
		{"GET", "/204", ""},
		{"GET", "/304", ""},
	} {
		if got := do(t, c, request1(t, x.method, "https://a.test"+x.path, nil)); got.header.Get("Content-Length") != x.want {
			t.Errorf("%s %s: got %+v", x.method, x.path, got)
		}
	}
}

func TestHTTP3_IsHandedOverWhenWhatIsUnderWayIsDone(t *testing.T) {
	udp, dir := udpSocket(t), t.TempDir()
	cert := keyPair(t, "a.test")
	release := make(chan bool)
	app := serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-release
		}
		_, _ = io.WriteString(w, "ok")
	})
	start := func() *secured {
		s := runTLS(t, []tls.Certificate{cert}, func(c *Config) {
			c.QUIC, c.Dir, c.DrainTimeout = []net.PacketConn{another(t, udp)}, dir, 10*time.Second
		})
		return s
	}
	old := start()
	old.mapRoute("a.test", "", to("a", app))
	c := old.h3(udp.LocalAddr().String())
	if got := get(t, c, "https://a.test/"); got.body != "ok" {
		t.Fatalf("got %+v", got)
	}
	slow := make(chan string, 1)
	go func() {
		res, err := c.Get("https://a.test/slow")
		if err != nil {
			slow <- err.Error()
			return
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		slow <- string(b)
	}()
	eventually(t, "it is under way", func() bool { return old.r.metrics.requests.Load() == 1 })
	next := start()
	old.cancel()
	eventually(t, "the old one drains", old.r.draining.Load)
	close(release)
	if got := <-slow; got != "ok" {
		t.Errorf("what was under way: %s", got)
	}
	old.stop()
	if got := get(t, next.h3(udp.LocalAddr().String()), "https://a.test/"); got.body != "ok" {
		t.Errorf("got %+v", got)
	}
}
