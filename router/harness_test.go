package router

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// rig is a running Router with its control client and a log of its records.
type rig struct {
	t      testing.TB
	r      *Router
	addr   string
	ctl    *Client
	cancel context.CancelFunc
	ended  chan error

	mu     sync.Mutex
	lines  []string // as they were written; see nthRecord
	number uint64
	table  map[RouteKey]Route
}

// listen listens as the keeper does, so that connections are accepted as they
// are in earnest.
func listen() (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
}

// run starts a Router whose access log is kept; change may adjust its Config.
func run(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	var g *rig
	keep := func(c *Config) { c.AccessLines = func(lines []AccessLine) { g.keepLines(lines) } }
	g = newRig(t, append(change, keep)...)
	g.r.log.shards = g.r.log.shards[:1] // so that lines come in the order of requests
	g.start()
	return g
}

// runUnseen starts a Router whose access log nobody keeps.
func runUnseen(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	g := newRig(t, change...)
	g.start()
	return g
}

func newRig(t testing.TB, change ...func(*Config)) *rig {
	t.Helper()
	leakCheck(t)
	g := &rig{t: t, ended: make(chan error, 1), table: map[RouteKey]Route{}}
	ln, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "weir-router-")
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "r.sock")
	control, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		Listeners: []net.Listener{ln}, ControlListener: control,
		IdleGrace: 50 * time.Millisecond, DrainTimeout: 5 * time.Second,
		Logger: testLogger(t),
	}
	for _, f := range change {
		f(&cfg)
	}
	g.r, g.addr, g.ctl = New(cfg), ln.Addr().String(), NewClient(socket)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return g
}

func (g *rig) start() {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	go func() { g.ended <- g.r.Run(ctx) }()
	g.t.Cleanup(func() {
		g.stop()
		g.ctl.Close()
	})
	eventually(g.t, "the control API answers", func() bool {
		_, err := g.ctl.Status(g.t.Context())
		return err == nil
	})
}

// stop ends the router and waits for it. It may be called twice.
func (g *rig) stop() {
	g.cancel()
	select {
	case err := <-g.ended:
		g.ended <- err
		if err != nil {
			g.t.Errorf("Run returned %v", err)
		}
	case <-time.After(30 * time.Second): // less than the minute of some limits
		g.t.Error("Run did not return")
	}
}

// leakCheck fails t if goroutines are left once everything registered after
// it was cleaned up.
func leakCheck(t testing.TB) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := goleak.Find(before); err != nil {
			t.Error(err)
		}
	})
}

func testLogger(t testing.TB) *slog.Logger {
	if !testing.Verbose() {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// logged is a line of the access log, read.
type logged struct {
	Host, Method, Target, Proto, Referer, UserAgent        string
	ClientAddr, BackendAddr, ForwardedFor, ForwardedProto  string
	RequestID, AppGUID, InstanceGUID, Error, Version, Code string
	Reason                                                 string
	Status, FailedAttempts                                 int
	RequestBytes, ResponseBytes                            int64
	Total, Own                                             float64 // seconds
}

var logLine = regexp.MustCompile(`^(\S+) - \[\S+\] "(\S*) (.*) (\S*)" (\d+) (\d+) (\d+) "(.*?)" "(.*?)" "(.*?)" "(.*?)" (.*)$`)

// readLine reads a line in which no quote is escaped.
func readLine(t testing.TB, line string) (l logged) {
	t.Helper()
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		t.Errorf("no line of an access log: %s", line)
		return l
	}
	for i, to := range map[int]*string{1: &l.Host, 2: &l.Method, 3: &l.Target, 4: &l.Proto, 8: &l.Referer, 9: &l.UserAgent, 10: &l.ClientAddr, 11: &l.BackendAddr} {
		if m[i] != "-" {
			*to = m[i]
		}
	}
	l.Status, _ = strconv.Atoi(m[5])
	l.RequestBytes, _ = strconv.ParseInt(m[6], 10, 64)
	l.ResponseBytes, _ = strconv.ParseInt(m[7], 10, 64)
	named := map[string]string{}
	for field := range strings.FieldsSeq(m[12]) {
		name, value, _ := strings.Cut(field, ":")
		if value = strings.Trim(value, `"`); value != "-" {
			named[name] = value
		}
	}
	for name, to := range map[string]*string{
		"x_forwarded_for": &l.ForwardedFor, "x_forwarded_proto": &l.ForwardedProto, "vcap_request_id": &l.RequestID,
		"app_id": &l.AppGUID, "instance_id": &l.InstanceGUID, "x_cf_routererror": &l.Error,
		"version": &l.Version, "code": &l.Code, "reason": &l.Reason,
	} {
		*to = named[name]
	}
	l.FailedAttempts, _ = strconv.Atoi(named["failed_attempts"])
	l.Total, _ = strconv.ParseFloat(named["response_time"], 64)
	l.Own, _ = strconv.ParseFloat(named["gorouter_time"], 64)
	return l
}

func (g *rig) keepLines(lines []AccessLine) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, line := range lines {
		g.lines = append(g.lines, string(line.Line))
	}
}

// line is the record as a line in which nothing is hidden.
func (rec *record) line() string { return string(rec.append(nil, new(stamp), redaction{})) }

// nthRecord waits for the nth line of the access log, from 1, and returns it.
func (g *rig) nthRecord(n int) logged {
	g.t.Helper()
	var l logged
	eventually(g.t, fmt.Sprintf("line %d is there", n), func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		if len(g.lines) < n {
			return false
		}
		l = readLine(g.t, g.lines[n-1])
		return true
	})
	return l
}

// mapRoute makes route hosts lead to the given destinations.
func (g *rig) mapRoute(host, path string, dests ...Destination) {
	g.t.Helper()
	g.upsert(Route{Host: host, Path: path, GUID: "route-" + host + path, Destinations: dests})
}

func (g *rig) upsert(r Route) {
	g.t.Helper()
	g.mu.Lock()
	u := Update{From: g.number, Number: g.number + 1, Upsert: []Route{r}}
	g.number++
	g.mu.Unlock()
	if err := g.ctl.Apply(g.t.Context(), u); err != nil {
		g.t.Fatal(err)
	}
}

func (g *rig) unmap(host, path string) {
	g.t.Helper()
	g.mu.Lock()
	u := Update{From: g.number, Number: g.number + 1, Delete: []RouteKey{{host, path}}}
	g.number++
	g.mu.Unlock()
	if err := g.ctl.Apply(g.t.Context(), u); err != nil {
		g.t.Fatal(err)
	}
}

// to is a destination of weight 1 with the given backends, named app.
func to(app string, backends ...string) Destination {
	d := Destination{AppGUID: app, AppName: app, Process: "web", Weight: 1}
	for i, b := range backends {
		d.Backends = append(d.Backends, Backend{InstanceGUID: fmt.Sprintf("%s-%d", app, i), Index: i, Addr: b})
	}
	return d
}

// serveApp starts a real HTTP server and returns its address.
func serveApp(t testing.TB, h http.HandlerFunc) string {
	t.Helper()
	s := httptest.NewServer(h)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0)
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// sayName answers every request with name.
func sayName(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, name) }
}

// serveRaw starts a TCP server that hands each connection to f.
func serveRaw(t testing.TB, f func(net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	all.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			all.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return ln.Addr().String()
}

// readRequestHead reads one request head off a raw connection.
func readRequestHead(c net.Conn) (string, *bufio.Reader) {
	in := bufio.NewReader(c)
	head := ""
	for {
		line, err := in.ReadString('\n')
		head += line
		if err != nil || line == "\r\n" {
			return head, in
		}
	}
}

// deadAddr returns an address nobody listens on, nor can while the test runs.
func deadAddr(t testing.TB) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	syscall.CloseOnExec(fd)
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", addr.(*syscall.SockaddrInet4).Port)
}

// client returns an HTTP/1.1 client that finds every host at the router.
func (g *rig) client() *http.Client {
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", g.addr)
		},
		DisableCompression: true, MaxIdleConnsPerHost: 100,
	}
	g.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// h2c returns an HTTP/2 client with prior knowledge.
func (g *rig) h2c() *http.Client {
	c := g.client()
	p := new(http.Protocols)
	p.SetUnencryptedHTTP2(true)
	c.Transport.(*http.Transport).Protocols = p
	return c
}

type answerTo struct {
	status int
	body   string
	header http.Header
}

func do(t testing.TB, c *http.Client, req *http.Request) answerTo {
	t.Helper()
	res, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answerTo{res.StatusCode, string(b), res.Header}
}

func get(t testing.TB, c *http.Client, url string, header ...string) answerTo {
	t.Helper()
	return do(t, c, request1(t, "GET", url, nil, header...))
}

func request1(t testing.TB, method, url string, body io.Reader, header ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	return req
}

// raw sends bytes to the router and returns everything that comes back until
// the connection ends.
func (g *rig) raw(send string) string {
	g.t.Helper()
	c := g.dial()
	defer c.Close()
	if _, err := io.WriteString(c, send); err != nil {
		g.t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Second))
	b, err := io.ReadAll(c)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		g.t.Errorf("the connection stays open behind %.200q", b)
	}
	return string(b)
}

func (g *rig) dial() net.Conn {
	g.t.Helper()
	c, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	return c
}

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(end) {
			t.Fatalf("not so after a minute: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func statusLine(raw string) string {
	line, _, _ := strings.Cut(raw, "\r\n")
	return line
}

// stdFields are fields as a rule reads them.
type stdFields http.Header

// Get implements fieldReader.
func (h stdFields) Get(name string) []byte {
	if v := h[http.CanonicalHeaderKey(name)]; len(v) > 0 {
		return []byte(v[0])
	}
	return nil
}
