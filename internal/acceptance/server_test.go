package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// binary is the weir under test, built once per run.
var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-acceptance-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	os.Chmod(dir, 0o711) // instances run under other uids
	binary = filepath.Join(dir, "weir")
	// Go's standard library is compiled once for the servers of all tests, and
	// of later runs.
	os.Setenv("WEIR_BUILD_CACHE", filepath.Join(os.TempDir(), fmt.Sprintf("weir-build-cache-%d", os.Getuid())))
	build := exec.Command("go", "build", "-trimpath", "-o", binary, "weir")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if raced() { // static, as the other one is: apps do not see the libraries of the host
		build.Args = slices.Insert(build.Args, 3, "-race", "-tags", "osusergo,netgo", "-ldflags", "-linkmode external -extldflags -static")
		build.Env = append(os.Environ(), "CGO_ENABLED=1")
	}
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building weir: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// repo is the root of the source tree, where examples/ is.
func repo(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// server is a running weir with a data directory and a CLI home of its own.
type server struct {
	t    testing.TB
	dir  string
	api  string // http://127.0.0.1:port
	http string // 127.0.0.1:port
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd ended
}

// start brings a weir up and stops it, checking for leftovers, at the end of
// the test.
func start(t testing.TB) *server {
	t.Helper()
	s := prepare(t)
	// Fixed addresses: a keeper that is started again on the same ones adopts
	// the router.
	s.serve(freeAddr(t), freeAddr(t))
	s.must("login")
	return s
}

// freeAddr finds an address that stays free until a server listens there, and
// while it is started anew: below the ports of outgoing connections and of
// instances.
func freeAddr(t testing.TB) string {
	t.Helper()
	var last error
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 10000+rand.IntN(10000))
		l, err := net.Listen("tcp", addr)
		if err == nil {
			l.Close()
			return addr
		}
		last = err
	}
	t.Fatal("no address is free: ", last)
	return ""
}

// prepare makes the directories of a server without starting it.
func prepare(t testing.TB) *server {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-test-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	s := &server{t: t, dir: dir}
	t.Cleanup(func() {
		s.stop()
		if t.Failed() {
			t.Logf("weir's own log:\n%s", tailOf(s.log(), 12_000))
		}
		os.RemoveAll(dir)
	})
	return s
}

// log returns what the server and its processes logged.
func (s *server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "serve.log"))
	return string(b)
}

func (s *server) data() string { return filepath.Join(s.dir, "data") }

func (s *server) env() []string {
	return append(os.Environ(), "WEIR_HOME="+filepath.Join(s.dir, "home"), "WEIR_DATA="+s.data(), "NO_COLOR=1")
}

// serve starts the keeper and waits until the API answers.
func (s *server) serve(api, http string) {
	s.t.Helper()
	os.Remove(filepath.Join(s.data(), "server.json"))
	cmd := exec.Command(binary, "serve", "--data", s.data(), "--api", api, "--http", http)
	cmd.Env = s.env()
	// A file, not a pipe: what outlives a killed keeper goes on writing to it.
	log, err := os.OpenFile(filepath.Join(s.dir, "serve.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr, cmd.Stdout = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.cmd, s.done = cmd, make(chan struct{})
	done := s.done
	go func() { cmd.Wait(); close(done) }()
	s.eventually(time.Minute, "weir to get ready", func() error {
		select {
		case <-done:
			s.t.Fatalf("weir serve ended: %v\n%s", cmd.ProcessState, s.log())
		default:
		}
		b, err := os.ReadFile(filepath.Join(s.data(), "server.json"))
		if err != nil {
			return err
		}
		var where struct{ API, HTTP string }
		if err := json.Unmarshal(b, &where); err != nil {
			return err
		}
		s.api, s.http = where.API, where.HTTP
		return s.ping()
	})
}

// restart serves again on the addresses it had.
func (s *server) restart() {
	s.t.Helper()
	s.serve(strings.TrimPrefix(s.api, "http://"), s.http)
}

func (s *server) ping() error {
	resp, err := http.Get(s.api + "/v3")
	if err != nil {
		return err
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET /v3: %s", resp.Status)
	}
	return nil
}

// stop ends the server as a person would and waits for it.
func (s *server) stop() {
	if s.cmd == nil || s.cmd.Process == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.done:
	case <-time.After(40 * time.Second):
		s.t.Errorf("weir serve did not stop within 40s")
		s.cmd.Process.Kill()
		<-s.done
	}
	s.cmd = nil
}

// killKeeper kills weir serve itself with -9.
func (s *server) killKeeper() {
	s.cmd.Process.Kill()
	<-s.done
	s.cmd = nil
}

// child returns the pid of the keeper's "controller" or "router".
func (s *server) child(name string) int {
	s.t.Helper()
	var pid int
	s.eventually(time.Minute, "the "+name+" to run", func() error {
		for _, p := range processes(s.t, s.data()) {
			if len(p.args) > 1 && p.args[1] == name {
				pid = p.pid
				return nil
			}
		}
		return errors.New("no such process")
	})
	return pid
}

// process is a running process of one server.
type process struct {
	pid  int
	args []string
}

// processes lists all processes that belong to the server whose data directory
// is dir: the environment of each of them names it.
func processes(t testing.TB, dir string) []process {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	var found []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		env, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "environ"))
		cmdline, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		if !bytes.Contains(env, []byte(dir)) && !bytes.Contains(cmdline, []byte(dir)) {
			continue
		}
		found = append(found, process{pid, strings.Split(strings.TrimRight(string(cmdline), "\x00"), "\x00")})
	}
	return found
}

// result is what a command printed and how it ended.
type result struct {
	stdout, stderr string
	code           int
}

// weir runs the command line in dir ("" is the server's directory).
func (s *server) weir(dir string, args ...string) result {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	if cmd.Dir = dir; dir == "" {
		cmd.Dir = s.dir
	}
	cmd.Env = s.env()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout.String(), stderr.String(), 0}
	if err != nil {
		exit, ok := errors.AsType[*exec.ExitError](err)
		if !ok {
			s.t.Fatalf("weir %s: %v", strings.Join(args, " "), err)
		}
		r.code = exit.ExitCode()
	}
	return r
}

// must runs a command that has to succeed and returns its stdout.
func (s *server) must(args ...string) string {
	s.t.Helper()
	return s.mustIn("", args...)
}

func (s *server) mustIn(dir string, args ...string) string {
	s.t.Helper()
	r := s.weir(dir, args...)
	if r.code != 0 {
		s.t.Fatalf("weir %s: exit %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// get asks an app for path and returns status and body.
func (s *server) get(host, path string) (int, string, error) {
	req, err := http.NewRequest("GET", "http://"+s.http+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

// eventually polls check until it returns nil.
func (s *server) eventually(within time.Duration, what string, check func() error) {
	s.t.Helper()
	deadline := time.Now().Add(within)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("waited %s for %s: %v", within, what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func tailOf(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return "…" + s[len(s)-n:]
}

// client2 is client over HTTP/2.
func (s *server) client2() *http.Client {
	c := s.client(true)
	t := c.Transport.(*http.Transport)
	t.Protocols = new(http.Protocols)
	t.Protocols.SetUnencryptedHTTP2(true)
	return c
}

// client returns an HTTP client whose every request goes to the apps' address.
func (s *server) client(keepAlive bool) *http.Client {
	addr := s.http // a restart, meanwhile, finds the same
	return &http.Client{
		Timeout: time.Minute,
		Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
				return (&net.Dialer{}).DialContext(ctx, network, addr)
			},
			DisableKeepAlives:   !keepAlive,
			MaxIdleConnsPerHost: 256,
		},
	}
}
