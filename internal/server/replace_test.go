package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"weir/internal/keeper"
	"weir/isolation"
	"weir/router"
)

// TestMain is also the router process of the tests below.
func TestMain(m *testing.M) {
	if isolation.IsInit() {
		isolation.InitMain()
	}
	if len(os.Args) > 1 && os.Args[1] == loseReader {
		writeUnread()
	}
	if len(os.Args) > 1 && os.Args[1] == RouterCommand {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		cfg, err := ConfigFromKeeper()
		if err == nil {
			err = Router(ctx, cfg)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "router:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// kept is a keeper with a router, and a table with one app.
type kept struct {
	t      *testing.T
	k      *keeper.Keeper
	ctl    *router.Client
	number uint64
	app    string // address
	http   string
	https  string
	stop   func()
}

func keep(t *testing.T, change func(*Config)) *kept {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-server-") // a short path: sockets lie in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg := Config{
		DataDir: dir, Domain: "apps.test", UID: os.Geteuid(), DrainTimeout: 10 * time.Second,
		HTTPAddr: "127.0.0.1:0", HTTPSAddr: "127.0.0.1:0", LogFormat: "text",
	}
	if change != nil {
		change(&cfg)
	}
	if err := prepare(cfg); err != nil {
		t.Fatal(err)
	}
	s := &kept{t: t, k: keeper.New(keeper.Config{
		DataDir: dir, UID: cfg.UID, GID: cfg.UID,
		Children: []keeper.Child{{
			Name: RouterCommand, Args: []string{RouterCommand}, Env: childEnv(cfg, "/usr/bin:/bin"), Survives: true,
			Listeners: map[string][]keeper.Listen{
				"http": {{Addr: cfg.HTTPAddr, Flag: "--http"}}, "https": {{Addr: cfg.HTTPSAddr, Flag: "--https"}},
				"quic": {{Addr: cfg.HTTPSAddr, Flag: "--https", UDP: true}},
			},
		}},
	})}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.k.Run(ctx) }()
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(s.stop)
	select {
	case <-s.k.Ready():
	case <-time.After(time.Minute):
		t.Fatal("the router does not get ready")
	}
	s.http, s.https = s.k.Addrs("http")[0].String(), s.k.Addrs("https")[0].String()
	s.ctl = router.NewClient(filepath.Join(dir, "run", "router.sock"))
	t.Cleanup(s.ctl.Close)
	app := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(app.Close)
	s.app = app.Listener.Addr().String()
	s.changeTable()
	return s
}

// echo is the app: it gives bodies back, and WebSocket messages.
func echo(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		b, _ := io.ReadAll(r.Body)
		_, _ = w.Write(append(b, "ok"...))
		return
	}
	c, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer c.CloseNow()
	for {
		kind, b, err := c.Read(r.Context())
		if err != nil || c.Write(r.Context(), kind, b) != nil {
			return
		}
	}
}

// changeTable publishes the app as another instance.
func (s *kept) changeTable() {
	s.t.Helper()
	s.number++
	err := s.ctl.Put(s.t.Context(), router.Table{Number: s.number, Routes: []router.Route{{
		Host: "app.apps.test", GUID: "r", Destinations: []router.Destination{{
			AppGUID: "a", AppName: "app", Weight: 1,
			Backends: []router.Backend{{InstanceGUID: fmt.Sprint("i", s.number), Addr: s.app}},
		}},
	}}})
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *kept) client(keepAlive, h2 bool) *http.Client {
	var p http.Protocols
	p.SetHTTP1(!h2)
	p.SetHTTP2(h2)
	tr := &http.Transport{
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			to := s.http
			if strings.HasSuffix(addr, ":443") {
				to = s.https
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", to)
		},
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true},
		DisableKeepAlives: !keepAlive, Protocols: &p,
	}
	s.t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: time.Minute}
}

// traffic is requests of all kinds, at a steady rate, from several clients.
type traffic struct {
	sent, failed, refused atomic.Int64
	clients               int // each has one request in flight at most
	begun, ended          time.Time

	mu  sync.Mutex // guards why
	why map[string]int

	end chan struct{}
	all sync.WaitGroup
}

func (s *kept) startTraffic(perSecond, clientsOfAKind int) *traffic {
	l := &traffic{why: map[string]int{}, end: make(chan struct{}), begun: time.Now()}
	ask := func(c *http.Client, method, url, body string) func() error {
		return func() error {
			var in io.Reader
			if body != "" {
				in = io.MultiReader(strings.NewReader(body)) // cannot be sent twice
			}
			req, err := http.NewRequest(method, url, in)
			if err != nil {
				return err
			}
			res, err := c.Do(req)
			if err != nil {
				return err
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err == nil && string(b) != body+"ok" {
				err = fmt.Errorf("%d %q", res.StatusCode, b)
			}
			return err
		}
	}
	const plain, secure = "http://app.apps.test/", "https://app.apps.test/"
	for range clientsOfAKind {
		kinds := []func() error{
			ask(s.client(true, false), "GET", plain, ""),
			ask(s.client(false, false), "GET", plain, ""),
			ask(s.client(true, false), "POST", plain, "x"),
			ask(s.client(true, false), "POST", secure, "x"),
			ask(s.client(true, true), "GET", secure, ""),
			ask(s.client(true, true), "POST", secure, "x"),
			talk(s.client(false, false), "ws://app.apps.test/"),
			talk(s.client(false, false), "wss://app.apps.test/"),
		}
		l.clients += len(kinds)
		every := time.Second * time.Duration(len(kinds)*clientsOfAKind) / time.Duration(perSecond)
		for _, one := range kinds {
			l.all.Go(func() { l.repeat(every, one) })
		}
	}
	return l
}

// repeat makes a request each time it is due, late ones at once.
func (l *traffic) repeat(every time.Duration, one func() error) {
	for due := time.Now(); ; due = due.Add(every) {
		select {
		case <-l.end:
			return
		case <-time.After(time.Until(due)):
			l.note(one())
		}
	}
}

// talk is a WebSocket with a few messages.
func talk(c *http.Client, url string) func() error {
	return func() error {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		ws, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c})
		if err != nil {
			return err
		}
		defer ws.CloseNow()
		for range 3 {
			if err := ws.Write(ctx, websocket.MessageText, []byte("hello")); err != nil {
				return err
			}
			if _, b, err := ws.Read(ctx); err != nil || string(b) != "hello" {
				return fmt.Errorf("%q: %w", b, err)
			}
		}
		return ws.Close(websocket.StatusNormalClosure, "")
	}
}

func (l *traffic) note(err error) {
	l.sent.Add(1)
	if err == nil {
		return
	}
	if errors.Is(err, syscall.ECONNREFUSED) {
		l.refused.Add(1)
	}
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why[err.Error()]++
}

func (l *traffic) stop() {
	l.ended = time.Now()
	close(l.end)
	l.all.Wait()
}

// pid returns which router answers.
func (s *kept) pid() int {
	s.t.Helper()
	return s.awaitAnother(0)
}

// awaitAnother waits until a router other than pid answers, and returns which.
func (s *kept) awaitAnother(pid int) int {
	s.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if st, err := s.ctl.Status(s.t.Context()); err == nil && st.PID != 0 && st.PID != pid {
			return st.PID
		}
		if time.Now().After(end) {
			s.t.Fatal("no other router came")
		}
	}
}

// TestRouter_ReplacementsAndChangesFailNoRequestAndKillsOnlyThoseInFlight is
// short in the suite; make e2e-router LONG=1 runs the long form.
func TestRouter_ReplacementsAndChangesFailNoRequestAndKillsOnlyThoseInFlight(t *testing.T) {
	rounds, changes, rate, clients := 2, 10, 200, 1
	if os.Getenv("WEIR_LONG") != "" {
		rounds, changes, rate, clients = 20, 100, 1000, 4
	}
	s := keep(t, nil)
	l := s.startTraffic(rate, clients)
	for range rounds {
		for range changes / rounds {
			s.changeTable()
			time.Sleep(10 * time.Millisecond)
		}
		pid := s.pid()
		if err := s.k.Replace(t.Context()); err != nil {
			t.Error(err)
		}
		s.awaitAnother(pid)
		time.Sleep(300 * time.Millisecond) // of traffic
	}
	l.stop()
	failed, refused := l.failed.Load(), l.refused.Load()
	load := fmt.Sprintf("of %d mixed requests at %.0f/s", l.sent.Load(), l.rate())
	figure(t, fmt.Sprintf("failed %s, %d changes and %d replacements", load, changes, rounds), failed, 0, l.why)
	figure(t, "refused of those", refused, 0, nil)

	l = s.startTraffic(rate, clients)
	for range rounds {
		pid := s.pid()
		time.Sleep(300 * time.Millisecond)
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		s.awaitAnother(pid)
	}
	time.Sleep(300 * time.Millisecond)
	l.stop()
	load = fmt.Sprintf("of %d mixed requests at %.0f/s", l.sent.Load(), l.rate())
	// Each client has one request in flight at most.
	figure(t, fmt.Sprintf("lost %s, %d kills with -9", load, rounds), l.failed.Load(), int64(l.clients*rounds), l.why)
	figure(t, "refused of those", l.refused.Load(), 0, nil)
}

// rate is how many requests were made in a second.
func (l *traffic) rate() float64 { return float64(l.sent.Load()) / l.ended.Sub(l.begun).Seconds() }

// figure prints what was counted beside the bar it is held to.
func figure(t *testing.T, what string, got, most int64, why map[string]int) {
	t.Helper()
	verdict := "holds"
	if got > most {
		verdict = "MISSED"
		t.Errorf("%s: %d, the bar is %d: %v", what, got, most, why)
	}
	t.Logf("FIGURE %-88s %6d  bar <= %-5d %s", what, got, most, verdict)
}

func TestRouter_StopsForGoodWithoutWaitingForIdleConnections(t *testing.T) {
	var took time.Duration
	for range 5 { // a machine with much to do takes its time now and then
		if took = stopsWithIdleConnections(t); took < 4500*time.Millisecond {
			return
		}
	}
	t.Errorf("stopping takes %s, with the grace it would be five seconds", took)
}

// stopsWithIdleConnections returns how long that takes a router.
func stopsWithIdleConnections(t *testing.T) time.Duration {
	t.Helper()
	s := keep(t, nil)
	for _, c := range []*http.Client{s.client(true, false), s.client(true, true)} {
		for _, url := range []string{"http://app.apps.test/", "https://app.apps.test/"} {
			if res, err := c.Get(url); err == nil {
				_ = res.Body.Close()
			}
		}
	}
	pid := s.pid()
	begun := time.Now()
	s.stop()
	if syscall.Kill(pid, 0) == nil {
		t.Error("the router is still there")
	}
	return time.Since(begun)
}

func TestRouter_ChangesReachConnectionsOfTheRouterBefore(t *testing.T) {
	s := keep(t, nil)
	c := s.client(true, false)
	ask := func() (string, error) {
		// The client would repeat a GET on another connection.
		res, err := c.Post("http://app.apps.test/", "", io.MultiReader(strings.NewReader("x")))
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		return string(b), err
	}
	if got, err := ask(); got != "xok" || err != nil {
		t.Fatalf("before: %q %v", got, err)
	}
	pid := s.pid()
	if err := s.k.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitAnother(pid)
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "other") }))
	defer other.Close()
	s.app = other.Listener.Addr().String()
	s.changeTable()
	switch got, err := ask(); {
	case err != nil:
		t.Logf("the connection was closed before: %v", err)
	case got != "other":
		t.Errorf("got %q over the connection of the router before", got)
	}
}

func TestRouter_HandsHTTP3Over(t *testing.T) {
	s := keep(t, nil)
	addr := s.k.Addrs("quic")[0].String()
	knock := func() error {
		tr := &http3.Transport{
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true},
			Dial: func(ctx context.Context, _ string, c *tls.Config, q *quic.Config) (*quic.Conn, error) {
				return quic.DialAddrEarly(ctx, addr, c, q)
			},
		}
		defer tr.Close()
		c := &http.Client{Transport: tr, Timeout: time.Minute}
		res, err := c.Get("https://app.apps.test/")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if b, _ := io.ReadAll(res.Body); string(b) != "ok" || res.ProtoMajor != 3 {
			t.Errorf("got %s %q", res.Proto, b)
		}
		return nil
	}
	ask := func() {
		t.Helper()
		// Who comes while one router finishes and the next has not begun is
		// refused, and comes again.
		for end := time.Now().Add(time.Minute); ; {
			err := knock()
			if err == nil {
				return
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	ask()
	pid := s.pid()
	if err := s.k.Replace(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.awaitAnother(pid)
	ask()
	if err := syscall.Kill(s.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ask()
}
