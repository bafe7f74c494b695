package router

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestRun_EndsAtOnceWithIdleConnectionsWhenNobodyTakesOver(t *testing.T) {
	alone := make(chan struct{})
	g := run(t, func(c *Config) {
		c.IdleGrace, c.DrainTimeout, c.NoSuccessor = time.Minute, time.Minute, alone
	})
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	for _, c := range []*http.Client{g.client(), g.h2c()} {
		if got := get(t, c, "http://a.test/"); got.body != "a" {
			t.Fatalf("got %+v", got)
		}
	}
	silent := g.dial()
	defer silent.Close()
	eventually(t, "all are connected", func() bool { s, _ := g.ctl.Status(t.Context()); return s.Connections == 3 })
	close(alone)
	g.stop() // waits 20 s, which is less than a minute
}

func TestRun_LearnsDuringTheGraceThatNobodyTakesOver(t *testing.T) {
	alone := make(chan struct{})
	g := run(t, func(c *Config) {
		c.IdleGrace, c.DrainTimeout, c.NoSuccessor = time.Minute, time.Minute, alone
	})
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	c := g.client()
	get(t, c, "http://a.test/")
	g.cancel()
	eventually(t, "the router drains", g.r.draining.Load)
	// The idle connection is read on, and told to close.
	res, err := c.Get("http://a.test/")
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if !res.Close {
		t.Error("the answer does not say that the connection closes")
	}
	silent, err := net.Dial("tcp", g.addr)
	if err == nil {
		defer silent.Close()
	}
	close(alone)
	g.stop()
}

// keyPair makes a certificate for names.
func keyPair(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), DNSNames: names,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, leaf, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// secured is a rig with a TLS listener beside the other, and certificates.
type secured struct {
	*rig
	tlsAddr string
	roots   *x509.CertPool
}

func runTLS(t testing.TB, certs []tls.Certificate, change ...func(*Config)) *secured {
	t.Helper()
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	s := &secured{tlsAddr: ln.Addr().String(), roots: x509.NewCertPool()}
	for _, c := range certs {
		s.roots.AddCert(c.Leaf)
	}
	s.rig = run(t, append([]func(*Config){func(c *Config) {
		c.TLSListeners = []net.Listener{ln}
		c.TLS = &tls.Config{Certificates: certs}
		c.CertificateCovers = func(name, other string) bool {
			i := slices.IndexFunc(certs, func(c tls.Certificate) bool { return c.Leaf.VerifyHostname(name) == nil })
			return i >= 0 && certs[i].Leaf.VerifyHostname(other) == nil
		}
	}}, change...)...)
	return s
}

// over returns a client that speaks only the given protocol, over TLS.
func (s *secured) over(protocol string) *http.Client {
	var p http.Protocols
	p.SetHTTP1(protocol == "http/1.1")
	p.SetHTTP2(protocol == "h2")
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", s.tlsAddr)
		},
		TLSClientConfig: &tls.Config{RootCAs: s.roots}, Protocols: &p, DisableCompression: true,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

func TestTLS_ServesBothProtocolsAndTellsTheInstance(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-Proto")+" "+r.Header.Get("X-Forwarded-Port"))
	})))
	for i, protocol := range []string{"http/1.1", "h2"} {
		res, err := s.over(protocol).Get("https://a.test/")
		if err != nil {
			t.Fatalf("%s: %v", protocol, err)
		}
		b, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if string(b) != "https 443" || res.ProtoMajor != i+1 {
			t.Errorf("%s: got %q over %s", protocol, b, res.Proto)
		}
	}
}

func TestTLS_SendsARequestForAnotherCertificateAway(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test", "b.test"), keyPair(t, "c.test")})
	for _, h := range []string{"a.test", "b.test", "c.test"} {
		s.mapRoute(h, "", to("app", serveApp(t, sayName(h))))
	}
	for _, protocol := range []string{"http/1.1", "h2"} {
		for host, want := range map[string]int{"a.test": 200, "A.test.": 200, "b.test": 200, "c.test": 421} {
			req := request1(t, "GET", "https://a.test/", nil)
			req.Host = host
			if got := do(t, s.over(protocol), req); got.status != want {
				t.Errorf("%s: %s on a connection for a.test: got %d, want %d", protocol, host, got.status, want)
			}
		}
	}
}

func TestTLS_RefusesWhatIsTooOld(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	for name, c := range map[string]*tls.Config{
		"TLS 1.1":    {MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11},
		"CBC suites": {MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}},
	} {
		c.ServerName, c.RootCAs = "a.test", s.roots
		if conn, err := tls.Dial("tcp", s.tlsAddr, c); err == nil {
			_ = conn.Close()
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestTLS_TellsAClientThatForgotToSpeakIt(t *testing.T) {
	s := runTLS(t, []tls.Certificate{keyPair(t, "a.test")})
	c, err := net.Dial("tcp", s.tlsAddr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	b, _ := io.ReadAll(c)
	if !strings.HasPrefix(string(b), "HTTP/1.0 400 ") {
		t.Errorf("got %q", b)
	}
}

func TestProxyProtocol_NamesTheClient(t *testing.T) {
	local := netip.MustParsePrefix("127.0.0.0/8")
	cert := keyPair(t, "a.test")
	s := runTLS(t, []tls.Certificate{cert}, func(c *Config) { c.ProxyProtocol = []netip.Prefix{local} })
	s.mapRoute("a.test", "", to("a", serveApp(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("X-Forwarded-For"))
	})))
	ask := func(c net.Conn) string {
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: a.test\r\nX-Forwarded-For: 6.6.6.6\r\nConnection: close\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return err.Error()
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return string(b)
	}
	for name, header := range map[string]string{
		"v1": "PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n",
		"v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb",
	} {
		for _, secure := range []bool{false, true} {
			addr := s.addr
			if secure {
				addr = s.tlsAddr
			}
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			_, _ = io.WriteString(c, header)
			if secure {
				c = tls.Client(c, &tls.Config{ServerName: "a.test", RootCAs: s.roots})
			}
			if got := ask(c); got != "192.0.2.7" {
				t.Errorf("%s, secure %v: the client is %q", name, secure, got)
			}
			_ = c.Close()
		}
	}
	if rec := s.nthRecord(1); rec.ClientAddr != "192.0.2.7:50000" {
		t.Errorf("logged as %q", rec.ClientAddr)
	}
	// From a load balancer nothing else is taken.
	c := s.dial()
	defer c.Close()
	if got := ask(c); got == "6.6.6.6" || strings.HasPrefix(got, "127.") {
		t.Errorf("without a header the client is %q", got)
	}
}

// lockedText is a log that is read while it is written.
type lockedText struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedText) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func TestProxyProtocol_SaysOnceThatALoadBalancerSendsNone(t *testing.T) {
	var log lockedText
	g := run(t, func(c *Config) {
		c.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	_ = g.dial().Close() // a health check: nothing to speak of
	for range 3 {
		g.raw("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	}
	eventually(t, "it is logged", func() bool { return strings.Contains(log.String(), "PROXY header") })
	if got := log.String(); strings.Count(got, "PROXY header") > 2 || !strings.Contains(got, "127.0.0.1") { // one line, which has it twice
		t.Errorf("got %s", got)
	}
}

func TestProxyProtocol_IsNotTakenFromOthers(t *testing.T) {
	g := run(t)
	g.mapRoute("a.test", "", to("a", serveApp(t, sayName("a"))))
	got := g.raw("PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\nGET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
	if statusLine(got) != "HTTP/1.1 400 Bad Request" {
		t.Errorf("got %q", got)
	}
}

func TestReadProxyHeader(t *testing.T) {
	v2 := func(rest string) string { return proxyV2Signature + rest }
	for _, c := range []struct{ in, want string }{
		{"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n", "192.0.2.7:50000"},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", "[2001:db8::7]:1"},
		{"PROXY UNKNOWN\r\n", "none"},
		{"PROXY UNKNOWN ffff:f...f:ffff 1 2\r\n", "none"},
		{v2("\x20\x00\x00\x00"), "none"},
		{v2("\x21\x00\x00\x00"), "none"},
		{v2("\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"), "192.0.2.7:50000"},
		{v2("\x21\x11\x00\x10\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb\x04\x00\x01x"), "192.0.2.7:50000"},
		{v2("\x21\x21\x00\x24\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x07" + strings.Repeat("\x00", 16) + "\x00\x01\x00\x02"), "[2001:db8::7]:1"},

		{"GET / HTTP/1.1\r\n", "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\n" + strings.Repeat(" ", 107), "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1  50000 443\r\n", "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 50000 443 \r\n", "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 050000 443\r\n", "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 +5000 443\r\n", "error"},
		{"PROXY TCP4 192.0.2.7 192.0.2.1 65536 443\r\n", "error"},
		{"PROXY TCP4 2001:db8::7 192.0.2.1 50000 443\r\n", "error"},
		{"PROXY TCP6 fe80::1%eth0 fe80::2 50000 443\r\n", "error"},
		{"PROXY UDP4 192.0.2.7 192.0.2.1 50000 443\r\n", "error"},
		{v2("\x31\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"), "error"},
		{v2("\x22\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"), "error"},
		{v2("\x21\x13\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"), "error"},
		{v2("\x21\x11\x00\x0b\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01"), "error"},
		{v2("\x21\x11\x00\x0e\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb\x04\x00"), "error"},
		{v2("\x21\x11\xff\xff"), "error"},
	} {
		in := strings.NewReader(c.in + "GET")
		got, err := readProxyHeader(in)
		text := got.String()
		if err != nil {
			text = "error"
		} else if !got.IsValid() {
			text = "none"
		}
		if text != c.want {
			t.Errorf("%q: got %s (%v), want %s", c.in, text, err, c.want)
		}
		if rest, _ := io.ReadAll(in); err == nil && string(rest) != "GET" {
			t.Errorf("%q: %q is left", c.in, rest)
		}
	}
}

func FuzzReadProxyHeader(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 192.0.2.1 50000 443\r\n"))
	f.Add([]byte(proxyV2Signature + "\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xc3\x50\x01\xbb"))
	f.Fuzz(func(t *testing.T, b []byte) {
		in := strings.NewReader(string(b))
		client, err := readProxyHeader(in)
		if err != nil && client.IsValid() {
			t.Error("an error, and a client")
		}
		if err == nil && in.Len() == len(b) {
			t.Error("accepted without being read")
		}
	})
}
