package keeper_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"weir/internal/keeper"
	"weir/isolation"
)

func TestMain(m *testing.M) {
	if isolation.IsInit() {
		isolation.InitMain()
	}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "test-keeper":
			keeperMain()
		case "test-child":
			childMain()
		}
	}
	os.Exit(m.Run())
}

// keeperConfig is what the keeper process of a test is told, as JSON.
type keeperConfig struct {
	Data       string
	HTTP, API  string
	ChildGrace time.Duration
	ChildEnv   []string
	Exe        string // "": this binary
}

// keeperMain is a keeper in a process of its own, so that it can be killed.
func keeperMain() {
	var c keeperConfig
	if err := json.Unmarshal([]byte(os.Args[2]), &c); err != nil {
		panic(err)
	}
	env := append([]string{"GORACE=atexit_sleep_ms=0"}, c.ChildEnv...)
	k := keeper.New(keeper.Config{
		DataDir: c.Data, Exe: c.Exe, UID: 199999, GID: 199999, ChildGrace: c.ChildGrace,
		InitEnv: []string{"GORACE=atexit_sleep_ms=0"},
		Logger:  slog.New(slog.NewTextHandler(os.Stderr, nil)),
		Children: []keeper.Child{
			{Name: "router", Args: []string{"test-child"}, Env: env, Survives: true, Listeners: map[string][]keeper.Listen{"http": {{Addr: c.HTTP, Flag: "--http"}}}},
			{Name: "controller", Args: []string{"test-child"}, Env: env, Listeners: map[string][]keeper.Listen{"http": {{Addr: c.API, Flag: "--api"}}}},
		},
	})
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	go func() {
		<-k.Ready()
		fmt.Println("ready", k.Addrs("http")[0], k.Addrs("http")[len(k.Addrs("http"))-1])
		for range hup {
			fmt.Println("replaced", k.Replace(ctx))
		}
	}()
	if err := k.Run(ctx); err != nil {
		fmt.Println("failed", err)
		os.Exit(1)
	}
	fmt.Println("stopped")
	os.Exit(0)
}

// childMain is a child: it answers with its process ID, dies when told to, and
// drains when it is terminated.
func childMain() {
	in, err := keeper.Inherit()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	if code, err := strconv.Atoi(os.Getenv("EXIT")); err == nil {
		os.Exit(code)
	}
	if size, err := strconv.ParseInt(os.Getenv("REFUSE_ABOVE"), 10, 64); err == nil && !in.Survives {
		if self, err := os.Stat("/proc/self/exe"); err != nil || self.Size() > size {
			os.Exit(keeper.ExitConfig)
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var wg sync.WaitGroup
	for _, l := range in.Listeners("http") {
		wg.Go(func() { answer(l.(*net.TCPListener), &wg) })
	}
	in.Ready()
	select {
	case <-ctx.Done():
	case <-in.Gone():
	}
	// Accept no more, but do not close: another process has the socket, too.
	for _, l := range in.Listeners("http") {
		l.(*net.TCPListener).SetDeadline(time.Unix(1, 0))
	}
	wg.Wait()
	in.Close()
	os.Exit(0)
}

// answer tells everybody who connects the process ID, one request a
// connection. It drops nothing that it has accepted.
func answer(l *net.TCPListener, wg *sync.WaitGroup) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		wg.Go(func() {
			defer conn.Close()
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				return
			}
			body := strconv.Itoa(os.Getpid())
			fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
		})
	}
}

// keeperProcess is a running test-keeper.
type keeperProcess struct {
	t         *testing.T
	cmd       *exec.Cmd
	lines     chan string
	http, api string // base URLs
}

func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-keeper-")
	must(t, err)
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	must(t, os.Chmod(dir, 0o711))
	return dir
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// launch starts a keeper process.
func launch(t *testing.T, c keeperConfig) *keeperProcess {
	t.Helper()
	if c.HTTP == "" {
		c.HTTP, c.API = "localhost:0", "127.0.0.1:0"
	}
	b, err := json.Marshal(c)
	must(t, err)
	exe, err := os.Executable()
	must(t, err)
	k := &keeperProcess{t: t, cmd: exec.Command(exe, "test-keeper", string(b)), lines: make(chan string, 64)}
	k.cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0")
	log, err := os.OpenFile(filepath.Join(c.Data, "keeper.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	must(t, err)
	defer log.Close()
	k.cmd.Stderr = log
	out, theirs, err := os.Pipe()
	must(t, err)
	k.cmd.Stdout = theirs // a file: nobody waits until the children close it
	must(t, k.cmd.Start())
	theirs.Close()
	go func() {
		defer close(k.lines)
		defer out.Close()
		for sc := bufio.NewScanner(out); sc.Scan(); {
			k.lines <- sc.Text()
		}
	}()
	t.Cleanup(func() {
		if k.cmd.ProcessState == nil {
			k.stop()
		}
		if t.Failed() {
			b, _ := os.ReadFile(log.Name())
			t.Logf("keeper's log:\n%s", b)
		}
	})
	return k
}

// start launches a keeper and waits until it is ready.
func start(t *testing.T, c keeperConfig) *keeperProcess {
	t.Helper()
	k := launch(t, c)
	f := strings.Fields(k.expect("ready"))
	k.http, k.api = "http://"+f[0], "http://"+f[1]
	return k
}

// expect waits for a line that begins with a word, and returns the rest.
func (k *keeperProcess) expect(word string) string {
	k.t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case line, ok := <-k.lines:
			if !ok {
				k.t.Fatalf("the keeper ended without %q", word)
			}
			if rest, ok := strings.CutPrefix(line, word); ok {
				return strings.TrimSpace(rest)
			}
			k.t.Logf("keeper: %s", line)
		case <-timeout:
			k.t.Fatalf("no %q from the keeper", word)
		}
	}
}

func (k *keeperProcess) kill() {
	k.t.Helper()
	must(k.t, k.cmd.Process.Kill())
	k.cmd.Wait()
}

func (k *keeperProcess) stop() {
	k.t.Helper()
	must(k.t, k.cmd.Process.Signal(syscall.SIGTERM))
	if err := k.cmd.Wait(); err != nil {
		k.t.Errorf("the keeper ended with %v", err)
	}
}

// client makes a new connection for each request.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Minute}

// pidAt returns the process ID that answers at a URL.
func pidAt(t *testing.T, url string) int {
	t.Helper()
	resp, err := client.Get(url)
	must(t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, err)
	pid, err := strconv.Atoi(string(b))
	must(t, err)
	return pid
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if cond() {
			return
		}
	}
	t.Fatalf("%s did not happen", what)
}

// isGone reports whether a process ended; a zombie did.
func isGone(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(b[bytes.LastIndexByte(b, ')'):]), ") Z")
}

// load asks a URL all the time, a connection each, and counts.
type load struct {
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex // guards what follows
	ok      int
	refused []error
	broken  int
}

func underLoad(t *testing.T, url string) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for range 4 {
		l.wg.Go(func() {
			for ctx.Err() == nil {
				resp, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				l.mu.Lock()
				switch {
				case err == nil:
					l.ok++
				case errors.Is(err, syscall.ECONNREFUSED):
					l.refused = append(l.refused, err)
				default:
					l.broken++
				}
				l.mu.Unlock()
			}
		})
	}
	return l
}

func (l *load) end(t *testing.T, maxBroken int) {
	t.Helper()
	l.stop()
	l.wg.Wait()
	t.Logf("%d requests, %d broken", l.ok, l.broken)
	if len(l.refused) > 0 || l.broken > maxBroken || l.ok == 0 {
		t.Errorf("%d answered, %d broken (at most %d may be), refused: %v", l.ok, l.broken, maxBroken, l.refused)
	}
}

// catchesTerm reports whether a process handles SIGTERM: its shell got that far.
func catchesTerm(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, mask, ok := strings.Cut(string(b), "\nSigCgt:")
	if err != nil || !ok {
		return false
	}
	mask, _, _ = strings.Cut(mask, "\n")
	bits, err := strconv.ParseUint(strings.TrimSpace(mask), 16, 64)
	return err == nil && bits&(1<<(syscall.SIGTERM-1)) != 0
}
