package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// world is a small internet: names that all lead here, a server with one port
// in the clear and one that speaks TLS, and an authority.
type world struct {
	t         *testing.T
	names     *nameServer
	authority *httptest.Server
	plain     net.Listener
	secure    net.Listener

	mu sync.Mutex // guards m
	m  *Manager
}

// newWorld starts a world whose authority issues certificates that live so
// long.
func newWorld(t *testing.T, lifetime time.Duration) *world {
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "5") // it refuses good nonces now and then, as real ones do
	w := &world{t: t, names: startNames(t)}
	var err error
	if w.plain, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if w.secure, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	profiles := map[string]ca.Profile{"default": {ValidityPeriod: uint64(lifetime / time.Second)}}
	authority := ca.New(quiet, store, "", "ecdsa", 0, 1, profiles)
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	checks := va.New(quiet, port(w.plain), port(w.secure), false, w.names.addr, store)
	front := wfe.New(quiet, store, checks, authority, []string{"pebble.test"}, false, false, 1, 1)
	w.authority = httptest.NewUnstartedServer(front.Handler())
	w.authority.Config.ErrorLog = quiet
	w.authority.StartTLS()
	t.Cleanup(w.authority.Close)

	plain := &http.Server{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !w.manager().HTTPChallenge(rw, r) {
			http.NotFound(rw, r)
		}
	})}
	secure := &http.Server{
		TLSConfig: &tls.Config{
			NextProtos:     []string{"http/1.1", acmeProtocol},
			GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return w.manager().certificate(h) },
		},
		ErrorLog: quiet,
	}
	go func() { _ = plain.Serve(w.plain) }()
	go func() { _ = secure.ServeTLS(w.secure, "", "") }()
	t.Cleanup(func() { _ = plain.Close(); _ = secure.Close() })
	return w
}

func (w *world) manager() *Manager {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.m
}

// start makes a Manager on dir; change may adjust how it gets certificates.
func (w *world) start(dir string, change func(*ACME)) *Manager {
	w.t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(w.authority.Certificate())
	a := &ACME{
		Directory: w.authority.URL + wfe.DirectoryPath, Email: "ops@a.test", Roots: roots,
		Subject:  func(host string) (string, bool) { return host, strings.HasSuffix(host, ".test") },
		HTTPAddr: w.plain.Addr(), TLSAddr: w.secure.Addr(),
	}
	if change != nil {
		change(a)
	}
	m, err := New(Config{Dir: dir, ACME: a, Logger: testLogger(w.t)})
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	w.t.Cleanup(func() { cancel(); <-ended })
	w.mu.Lock()
	w.m = m
	w.mu.Unlock()
	return m
}

func testLogger(t *testing.T) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), nil))
}

// visit makes a handshake for name and returns the certificate that is served.
func (w *world) visit(name string) (*x509.Certificate, error) {
	d := net.Dialer{Timeout: time.Minute}
	c, err := tls.DialWithDialer(&d, "tcp", w.secure.Addr().String(), &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.ConnectionState().PeerCertificates[0], nil
}

func (w *world) mustVisit(name string) *x509.Certificate {
	w.t.Helper()
	c, err := w.visit(name)
	if err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
	if !strings.Contains(c.Issuer.CommonName, "Pebble") || c.VerifyHostname(name) != nil {
		w.t.Fatalf("%s: got a certificate for %v of %s", name, c.DNSNames, c.Issuer)
	}
	return c
}

func TestACME_GetsACertificateByEachChallenge(t *testing.T) {
	for name, change := range map[string]func(*world, *ACME){
		"HTTP-01":     func(_ *world, a *ACME) { a.OnlyHTTP = true },
		"TLS-ALPN-01": func(_ *world, a *ACME) { a.OnlyTLS = true },
		"DNS-01":      func(w *world, a *ACME) { a.DNS = w.names.provider() },
	} {
		t.Run(name, func(t *testing.T) {
			w, dir := newWorld(t, 24*time.Hour), t.TempDir()
			w.start(dir, func(a *ACME) { change(w, a) })
			first := w.mustVisit("www.a.test")
			if again := w.mustVisit("www.a.test"); !again.Equal(first) {
				t.Error("the second visit got another certificate")
			}
			// The next process finds it on disk, with the authority gone.
			w.authority.Close()
			w.start(dir, func(a *ACME) { change(w, a) })
			if again := w.mustVisit("www.a.test"); !again.Equal(first) {
				t.Error("the next process got another certificate")
			}
			keysAreSecret(t, dir)
		})
	}
}

func keysAreSecret(t *testing.T, dir string) {
	t.Helper()
	keys := 0
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", path, info.Mode())
		}
		if strings.HasSuffix(path, ".key") {
			keys++
		}
		return err
	})
	if err != nil || keys == 0 {
		t.Errorf("%d keys kept, %v", keys, err)
	}
}

func TestACME_GetsAWildcardByRecord(t *testing.T) {
	w := newWorld(t, 24*time.Hour)
	w.start(t.TempDir(), func(a *ACME) {
		a.DNS = w.names.provider()
		a.Subject = func(host string) (string, bool) { return "*.apps.test", strings.HasSuffix(host, ".apps.test") }
	})
	if a, b := w.mustVisit("one.apps.test"), w.mustVisit("two.apps.test"); !a.Equal(b) || a.DNSNames[0] != "*.apps.test" {
		t.Errorf("got %v and %v", a.DNSNames, b.DNSNames)
	}
	if m := w.manager(); !m.Covers("one.apps.test", "two.apps.test") || m.Covers("one.apps.test", "a.test") {
		t.Error("what the wildcard covers is not what it covers")
	}
}

func TestACME_GetsNothingForHostsThatAreNotServed(t *testing.T) {
	w := newWorld(t, 24*time.Hour)
	w.start(t.TempDir(), nil)
	asked := w.names.asked()
	for i := range 200 {
		switch c, err := w.visit(fmt.Sprintf("h%d.example", i)); {
		case err == nil:
			t.Fatalf("got a certificate for %v", c.DNSNames)
		case !strings.Contains(err.Error(), "unrecognized name"):
			t.Fatalf("got %v", err)
		}
	}
	if w.names.asked() != asked {
		t.Error("the authority was made to look for foreign names")
	}
}

func TestACME_KeepsServingTheOldCertificateWhileRenewalFails(t *testing.T) {
	w := newWorld(t, 3*time.Second)
	w.start(t.TempDir(), func(a *ACME) { a.RenewInterval = 100 * time.Millisecond })
	first := w.mustVisit("kept.test")
	w.authority.Close()
	// It expires, and is served all the same: better than none.
	for end := first.NotAfter.Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w.mustVisit("kept.test")
	}
	w.mustVisit("kept.test")
}

func TestACME_RenewsBeforeTheEnd(t *testing.T) {
	// A name of its own: the library remembers, for the whole process, which
	// name's renewal failed.
	w := newWorld(t, 6*time.Second)
	w.start(t.TempDir(), func(a *ACME) { a.RenewInterval = 200 * time.Millisecond })
	first := w.mustVisit("renewed.test")
	for end := time.Now().Add(time.Minute); w.mustVisit("renewed.test").Equal(first); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it is never renewed")
		}
	}
}

func TestRun_WaitsForACertificateOnItsWay(t *testing.T) {
	asked, answer := make(chan bool, 100), make(chan bool)
	directory := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		asked <- true
		<-answer
	}))
	defer directory.Close()
	defer close(answer)
	roots := x509.NewCertPool()
	roots.AddCert(directory.Certificate())
	m, err := New(Config{Dir: t.TempDir(), Logger: testLogger(t), ACME: &ACME{
		Directory: directory.URL, Roots: roots, Subject: func(host string) (string, bool) { return host, true },
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- m.acme.get(t.Context(), "a.test") }()
	<-asked
	cancel()
	if err := m.Run(ctx); err != nil {
		t.Error(err)
	}
	m.acme.mu.Lock()
	left := len(m.acme.getting)
	m.acme.mu.Unlock()
	if err := <-got; err == nil || left > 0 {
		t.Errorf("%d are still on their way, and got %v", left, err)
	}
	if err := m.acme.get(t.Context(), "b.test"); err == nil {
		t.Error("another one was begun")
	}
}

func TestACME_DoesNotAskAgainAtOnceAfterAFailure(t *testing.T) {
	w := newWorld(t, 24*time.Hour)
	w.start(t.TempDir(), func(a *ACME) { a.firstRetryAfter, a.ObtainTimeout = time.Hour, 2*time.Second })
	w.authority.Close()
	if _, err := w.visit("a.test"); err == nil {
		t.Fatal("got a certificate from nowhere")
	}
	begun := time.Now()
	for range 100 {
		if _, err := w.visit("a.test"); err == nil {
			t.Fatal("got a certificate from nowhere")
		}
	}
	w.manager().acme.mu.Lock()
	defer w.manager().acme.mu.Unlock()
	if f := w.manager().acme.failures["a.test"]; f.pause != time.Hour || f.until.Before(begun) {
		t.Errorf("got %+v", f)
	}
}

func TestGiven_FindsByNameAndReadsChangesAgain(t *testing.T) {
	dir := t.TempDir()
	write := func(file string, names ...string) {
		b, err := newSelfSigned(names)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	write("a.pem", "a.test", "*.b.test")
	write("c.pem", "c.test")
	given := func() ([]Pair, error) { return FindPairs([]string{dir}, nil) }
	m, err := New(Config{Given: given, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	get := func(name string) string {
		c, err := m.certificate(&tls.ClientHelloInfo{
			ServerName: name, SupportedVersions: []uint16{tls.VersionTLS13},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		})
		if c == nil && err == nil {
			return "none"
		}
		if err != nil {
			return err.Error()
		}
		return strings.Join(c.Leaf.DNSNames, " ")
	}
	for name, want := range map[string]string{
		"a.test": "a.test *.b.test", "A.test.": "a.test *.b.test", "x.b.test": "a.test *.b.test", "": "a.test *.b.test",
		"c.test": "c.test", "b.test": "none", "y.x.b.test": "none", "d.test": "none",
	} {
		if got := get(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
	write("c.pem", "c.test", "d.test")
	if err := os.WriteFile(filepath.Join(dir, "a.pem"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.reload() // cannot all be used
	if got := get("c.test"); got != "c.test" {
		t.Errorf("got %s", got)
	}
	write("a.pem", "e.test")
	write("f.crt", "f.test") // one more
	m.reload()
	if got := get("c.test") + ", " + get("e.test") + ", " + get("f.test") + ", " + get("a.test"); got != "c.test d.test, e.test, f.test, none" {
		t.Errorf("got %s", got)
	}
}

func TestStrangers_AreNamedOnceAMinute(t *testing.T) {
	var log strings.Builder
	s := strangers{log: slog.New(slog.NewTextHandler(&log, nil))}
	now := time.Now()
	s.note("a.example", now)
	for i := range 10 {
		s.note(fmt.Sprintf("h%d.example", i), now.Add(time.Second))
	}
	s.note("b.example\n"+strings.Repeat("x", 500), now.Add(time.Minute))
	s.note("", now.Add(2*time.Minute))
	if got := log.String(); strings.Count(got, "\n") != 3 || !strings.Contains(got, "host=a.example others=0") ||
		!strings.Contains(got, `host="b.example\nxx`) || !strings.Contains(got, "others=10") || len(got) > 1000 || !strings.Contains(got, `host=""`) {
		t.Errorf("got %s", got)
	}
}

func TestGiven_IsWarnedOfOnceBeforeItsEndAndOnceBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.pem")
	b, err := newSelfSigned([]string{"a.test"}) // good for a year
	if err == nil {
		err = os.WriteFile(file, b, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	given := func() ([]Pair, error) { return FindPairs([]string{file}, nil) }
	m, err := New(Config{Given: given, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for _, days := range []int{0, 300, 360, 361, 370, 371} {
		m.warnOfEnds(time.Now().AddDate(0, 0, days))
	}
	got := log.String()
	if strings.Count(got, "expires soon") != 1 || strings.Count(got, "has expired") != 1 || strings.Count(got, "a.test") != 2 {
		t.Errorf("got %s", got)
	}
}

func TestNew_SignsItselfForWantOfOthersAndKeepsThat(t *testing.T) {
	dir := t.TempDir()
	var leaves []*x509.Certificate
	for range 2 {
		m, err := New(Config{Dir: dir, SelfSigned: []string{"apps.test", "*.apps.test"}})
		if err != nil {
			t.Fatal(err)
		}
		leaves = append(leaves, m.self.Leaf)
	}
	if !leaves[0].Equal(leaves[1]) {
		t.Error("the second start made another one")
	}
}

// nameServer leads every name here, and takes changes of records.
type nameServer struct {
	addr string

	mu   sync.Mutex // guards what follows
	txt  map[string][]string
	asks int
}

const nameKey = "c2VjcmV0IG9mIHRoZSB0ZXN0"

func startNames(t *testing.T) *nameServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	n := &nameServer{addr: ln.Addr().String(), txt: map[string][]string{}}
	keys := map[string]string{"weir.": nameKey}
	takeUpdates := func(dh dns.Header) dns.MsgAcceptAction { return dns.MsgAccept }
	for _, s := range []*dns.Server{
		{Listener: ln, Handler: n, TsigSecret: keys, MsgAcceptFunc: takeUpdates},
		{PacketConn: pc, Handler: n, TsigSecret: keys, MsgAcceptFunc: takeUpdates},
	} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		go func() { _ = s.ActivateAndServe() }()
		<-started
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return n
}

func (n *nameServer) provider() *DNS {
	return &DNS{
		Provider: "rfc2136", Resolvers: []string{n.addr}, Propagation: "10s",
		raw: fmt.Appendf(nil, `{"server":%q,"key_name":"weir","key_alg":"hmac-sha256","key":%q}`, n.addr, nameKey),
	}
}

func (n *nameServer) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.asks
}

// ServeDNS implements dns.Handler.
func (n *nameServer) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asks++
	a := new(dns.Msg).SetReply(q)
	a.Authoritative = true
	if q.Opcode == dns.OpcodeUpdate {
		if w.TsigStatus() != nil || q.IsTsig() == nil {
			a.Rcode = dns.RcodeRefused
		} else {
			n.update(q.Ns)
			a.SetTsig("weir.", dns.HmacSHA256, 300, time.Now().Unix())
		}
		_ = w.WriteMsg(a)
		return
	}
	name := q.Question[0].Name
	head := dns.RR_Header{Name: name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 1}
	switch q.Question[0].Qtype {
	case dns.TypeA:
		a.Answer = append(a.Answer, &dns.A{Hdr: head, A: net.IPv4(127, 0, 0, 1)})
	case dns.TypeTXT:
		for _, v := range n.txt[name] {
			a.Answer = append(a.Answer, &dns.TXT{Hdr: head, Txt: []string{v}})
		}
	case dns.TypeSOA:
		if name == "test." {
			a.Answer = append(a.Answer, &dns.SOA{Hdr: head, Ns: "ns.test.", Mbox: "ops.test.", Serial: 1})
		}
	case dns.TypeNS:
		a.Answer = append(a.Answer, &dns.NS{Hdr: head, Ns: "localhost."})
	}
	_ = w.WriteMsg(a)
}

func (n *nameServer) update(records []dns.RR) {
	for _, r := range records {
		txt, ok := r.(*dns.TXT)
		if !ok {
			continue
		}
		name, value := txt.Hdr.Name, strings.Join(txt.Txt, "")
		if txt.Hdr.Class == dns.ClassINET {
			n.txt[name] = append(n.txt[name], value)
			continue
		}
		var keep []string
		for _, v := range n.txt[name] {
			if v != value {
				keep = append(keep, v)
			}
		}
		n.txt[name] = keep
	}
}
