package cli_test

import (
	"archive/zip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// tools holds what all scripts use: the real binary, and the app they push.
type tools struct{ weir, app string }

// TestScripts runs testdata/script/*.txtar: what a user sees, one behaviour a
// file, the real binary against a real server. Besides testscript's own
// commands there are
//
//	serve [FLAG...]                     start a server of the script's own
//	weir ARG...                         run weir; "! weir" must fail
//	exits CODE weir ARG...              run weir, which must end with that code
//	http HOST[/PATH] STATUS [REGEXP]    ask the router, again for a while until the answer is that
//	fetch HOST[/PATH] FILE              save the router's answer in FILE
//	gitserver DIR                       serve the repository over HTTP as $GITURL
//	zipfile FILE NAME=TEXT...           write a zip with exactly these names
//	until REGEXP weir ARG...            run weir again until its output matches
func TestScripts(t *testing.T) {
	if testing.Short() {
		t.Skip("the scripts build and run the whole platform")
	}
	bin := buildTools(t)
	root, err := os.MkdirTemp("", "weir-script-*")
	if err != nil {
		t.Fatal(err)
	}
	// Instances run under other users when the server is root.
	if err := os.Chmod(root, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	testscript.Run(t, testscript.Params{
		Dir:         "testdata/script",
		WorkdirRoot: root,
		Setup:       func(e *testscript.Env) error { return setUp(e, bin) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"serve": serve, "weir": weir, "exits": exits, "http": httpGet, "fetch": fetch, "gitserver": gitServer,
			"zipfile": zipFile, "until": until,
		},
	})
}

// buildTools builds what the scripts use, unless WEIR_TEST_BIN names a
// directory that has it: a binary with the race detector, for one.
func buildTools(t *testing.T) tools {
	if dir := os.Getenv("WEIR_TEST_BIN"); dir != "" {
		return tools{filepath.Join(dir, "weir"), filepath.Join(dir, "app")}
	}
	dir, err := os.MkdirTemp("", "weir-tools-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	bin := tools{filepath.Join(dir, "weir"), filepath.Join(dir, "app")}
	for out, pkg := range map[string]string{bin.weir: "weir", bin.app: "./testdata/app"} {
		cmd := exec.Command("go", "build", "-o", out, pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("building %s: %v\n%s", pkg, err, text)
		}
	}
	return bin
}

func setUp(e *testscript.Env, bin tools) error {
	if err := os.Chmod(e.WorkDir, 0o711); err != nil {
		return err
	}
	e.Setenv("PATH", filepath.Dir(bin.weir)+string(filepath.ListSeparator)+e.Getenv("PATH"))
	e.Setenv("HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("WEIR_HOME", filepath.Join(e.WorkDir, "home"))
	e.Setenv("WEIR_DATA", filepath.Join(e.WorkDir, "data"))
	e.Setenv("XDG_CACHE_HOME", filepath.Join(e.WorkDir, "cache"))
	e.Setenv("GIT_CONFIG_GLOBAL", "/dev/null")
	for _, who := range []string{"AUTHOR", "COMMITTER"} {
		e.Setenv("GIT_"+who+"_NAME", "t")
		e.Setenv("GIT_"+who+"_EMAIL", "t@t")
	}
	return copyApp(bin.app, filepath.Join(e.WorkDir, "app"))
}

// copyApp makes the directory of a binary app.
func copyApp(from, dir string) error {
	b, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "app"), b, 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Procfile"), []byte("web: ./app\n"), 0o644)
}

// serve starts a server in $WEIR_DATA on free ports and waits until it is
// ready. It is stopped at the end of the script.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	if neg {
		ts.Fatalf("serve cannot be negated")
	}
	data := ts.Getenv("WEIR_DATA")
	cmd := exec.Command(lookPath(ts, "weir"), append([]string{
		"serve", "--data", data, "--api", "127.0.0.1:0", "--http", "127.0.0.1:0",
	}, args...)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = environ(ts)
	logFile, err := os.Create(ts.MkAbs("serve.log"))
	ts.Check(err)
	defer logFile.Close()
	cmd.Stdout, cmd.Stderr = logFile, logFile
	_ = os.Remove(filepath.Join(data, "server.json"))
	ts.Check(cmd.Start())
	ended := make(chan error, 1) // Wait is called once, whoever listens
	go func() { ended <- cmd.Wait() }()
	ts.Defer(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(time.Minute):
			_ = cmd.Process.Kill()
			<-ended
			ts.Logf("the server had to be killed")
		}
	})
	deadline := time.Now().Add(time.Minute)
	for {
		if b, err := os.ReadFile(filepath.Join(data, "server.json")); err == nil && len(b) > 0 {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			ts.Fatalf("the server ended: %v\n%s", err, ts.ReadFile("serve.log"))
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			ts.Fatalf("the server is not ready after a minute\n%s", ts.ReadFile("serve.log"))
		}
	}
}

func lookPath(ts *testscript.TestScript, name string) string {
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if p := filepath.Join(dir, name); isFile(p) {
			return p
		}
	}
	ts.Fatalf("%s is not in PATH", name)
	return ""
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// environ is the script's environment, with what a Go build needs besides.
func environ(ts *testscript.TestScript) []string {
	env := []string{"GOPROXY=off"}
	for _, key := range []string{
		"PATH", "HOME", "WEIR_HOME", "WEIR_DATA", "XDG_CACHE_HOME", "TMPDIR", "GIT_CONFIG_GLOBAL", "WEIR_ADMIN_PASSWORD",
	} {
		if v := ts.Getenv(key); v != "" {
			env = append(env, key+"="+v)
		}
	}
	return env
}

func weir(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec("weir", args...)
	switch {
	case err == nil && neg:
		ts.Fatalf("weir %s succeeded", strings.Join(args, " "))
	case err != nil && !neg:
		ts.Fatalf("weir %s: %v", strings.Join(args, " "), err)
	}
}

func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if e, ok := err.(*exec.ExitError); ok {
		got = e.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if got != want {
		ts.Fatalf("%s ended with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// until runs a command until its output matches, for at most half a minute.
func until(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: until REGEXP COMMAND ARG...")
	}
	re, err := regexp.Compile(args[0])
	ts.Check(err)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := ts.Exec(args[1], args[2:]...)
		if out := ts.ReadFile("stdout") + ts.ReadFile("stderr"); re.MatchString(out) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s never said %s (%v)", strings.Join(args[1:], " "), args[0], err)
		}
	}
}

// httpGet asks the router until the answer is as wanted, for at most a
// minute. Negated, the first answer must not be so.
func httpGet(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: http HOST[/PATH] STATUS [REGEXP]")
	}
	addr := routerOf(ts)
	re, err := regexp.Compile("")
	ts.Check(err)
	if len(args) > 2 {
		re, err = regexp.Compile("(?m)" + args[2])
		ts.Check(err)
	}
	host, path, _ := strings.Cut(args[0], "/")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		status, body, err := ask(addr, host, "/"+path)
		match := err == nil && fmt.Sprint(status) == args[1] && re.MatchString(body)
		switch {
		case match && neg:
			ts.Fatalf("%s answers %d %q", args[0], status, body)
		case match || neg:
			return
		case time.Now().After(deadline):
			ts.Fatalf("%s answers %d %q, %v; want %s", args[0], status, body, err, strings.Join(args[1:], " "))
		}
	}
}

// routerOf returns the address at which the script's server serves apps.
func routerOf(ts *testscript.TestScript) string {
	var server struct{ HTTP string }
	b, err := os.ReadFile(filepath.Join(ts.Getenv("WEIR_DATA"), "server.json"))
	ts.Check(err)
	ts.Check(json.Unmarshal(b, &server))
	return server.HTTP
}

func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: fetch HOST[/PATH] FILE")
	}
	host, path, _ := strings.Cut(args[0], "/")
	status, body, err := ask(routerOf(ts), host, "/"+path)
	ts.Check(err)
	if status != http.StatusOK {
		ts.Fatalf("%s answers %d %q", args[0], status, body)
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(body), 0o644))
}

func ask(addr, host, path string) (int, string, error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return 0, "", err
	}
	req.Host = host
	req.Close = true // an idle connection would hold the router up at the end
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func gitServer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gitserver DIR")
	}
	git := lookPath(ts, "git")
	srv := httptest.NewServer(&cgi.Handler{
		Path: git, Args: []string{"http-backend"}, Stderr: io.Discard,
		Env: []string{
			"GIT_PROJECT_ROOT=" + ts.MkAbs(args[0]), "GIT_HTTP_EXPORT_ALL=1",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
	})
	ts.Defer(srv.Close)
	ts.Setenv("GITURL", srv.URL+"/.git")
	ts.Setenv("GITHOST", strings.TrimPrefix(srv.URL, "http://"))
}

func zipFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: zipfile FILE NAME=TEXT...")
	}
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	defer f.Close()
	z := zip.NewWriter(f)
	for _, a := range args[1:] {
		name, text, _ := strings.Cut(a, "=")
		w, err := z.Create(name)
		ts.Check(err)
		_, err = io.WriteString(w, text)
		ts.Check(err)
	}
	ts.Check(z.Close())
}
