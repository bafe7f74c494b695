package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

var updateJSON = flag.Bool("update-json", false, "rewrite testdata/json.golden from what the commands print")

// jsonRuns are command lines of every command, in an order that makes sense,
// each behind the exit code it must have. APP is the directory of an app, PACK of a buildpack; {kind.path} is a value
// of an answer that came before.
const jsonRuns = `
0 version
0 concepts
0 completion bash
0 target
0 orgs
0 spaces
0 api
0 users
0 oauth-token
0 create-user dana long-enough
0 create-user dana long-enough
0 update-user dana --role auditor
2 passwd
2 delete-user dana
0 delete-user dana -f
0 delete-user dana -f
0 freeze "03:00-03:01 UTC" --reason quiet
0 unfreeze {FreezeList.freezes.0.guid}
0 push web -p APP --version v1
0 push side -p APP --no-start
0 push web -p APP --version v2 --no-traffic
0 apps
0 app web
0 app web --guid
0 versions web
0 ls
0 ps web
0 set-env web A b
0 set-env web A b
0 env web
0 unset-env web A
0 get-health-check web
0 get-readiness-health-check web
0 set-health-check web http --endpoint /x --interval 30
0 set-health-check web port
0 set-readiness-health-check web process
0 logs web --recent
0 events web
0 diff web v1 v2
0 weight web:v1=50 web:v2=50
0 weight web:v1=50 web:v2=50
5 weight web:v1=40 --if-table 1
0 undo web
0 move-traffic web --from v1 --to v2 --dry-run
2 assign web v2
0 assign web v2 -y
0 rollback web
4 kill web v1 -y
2 kill web v2
0 shadow web:v2 20%
0 shadow web --report
0 shadow web --off
0 kill web v2 -y
0 spawn web:v3 --weight 0
0 stop web:v3
0 start web:v3
0 deploy web:v4 --weight 0
0 push web -p APP --version v5 --steps 50,100 --bake 1s --warmup 0s --min-requests 0
0 rollout status web
0 rollout watch web
0 rollout why web
0 rollout list web
0 rollout history web
0 rollout replay web
0 rollout simulate web --rate 1%
2 rollout dance web
0 drain web 10s
0 pause web --max 1s
0 resume web
0 maintenance web on
0 maintenance web off
0 sticky web cookie
0 sticky web off
0 routes
0 route apps.localhost -n web
0 create-route apps.localhost -n x
0 create-route apps.localhost -n x
0 check-route apps.localhost -n x
0 map-route side apps.localhost -n x --weight 5
0 map-route side apps.localhost -n x --weight 5
0 update-route apps.localhost -n x --weight side=7
0 unmap-route side apps.localhost -n x --drain 5s
0 unmap-route side apps.localhost -n x
2 delete-route apps.localhost -n x
0 delete-route apps.localhost -n x -f
2 delete-orphaned-routes
0 delete-orphaned-routes -f
4 swap web side
0 domains
0 create-domain t.example
0 delete-domain t.example -f
0 droplets web
0 download-droplet web --path {DIR}/d.tgz
0 set-droplet web {App.app.droplet}
0 packages web
0 revisions web
0 create-app-manifest web -p {DIR}/m.yml
0 buildpacks
0 create-buildpack mine PACK 9
0 update-buildpack mine --disable
0 delete-buildpack mine -f
0 delete-buildpack mine -f
0 restart web
7 restart web --wait-timeout 1ms
0 push web --attach
0 restage web
0 scale web -i 2
0 restart-app-instance web 0
8 continue-deployment web
8 cancel-deployment web
0 rename side other
8 app side
0 stop web
0 start web
0 start web
2 delete other
0 delete other -f
0 delete other -f
0 init {DIR}/new --language static
0 import {DIR}/tenement.toml
8 app nothing
2 app
2 aps
2 apps --nonsense
2 push web --memory much
3 auth admin wrong
0 auth admin -- {PASSWORD}
0 login
0 logout
`

// TestJSON_EveryCommandKeepsToItsSchema types a command line of every command
// with -o json, against a real server and without a terminal: standard output
// is one object of the schema in testdata/json.golden (or nothing, and standard
// error one error), nothing is asked, and the exit code is the one promised.
// In the golden file fields may be added, with -update-json, never taken away.
func TestJSON_EveryCommandKeepsToItsSchema(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds and runs the whole platform")
	}
	j := startJSON(t)
	covered := map[string]bool{"curl": true, "help": true, "serve": true, "reload": true} // without -o json
	seen := schema{}
	for line := range strings.Lines(jsonRuns) {
		run, ok := j.parse(line)
		if !ok {
			continue
		}
		stdout, stderr, exit := j.weir(run.args...)
		covered[run.args[0]] = true
		what := "weir " + strings.Join(run.args, " ")
		if exit != run.exit {
			t.Errorf("%s: exit %d, want %d\n%s%s", what, exit, run.exit, stdout, stderr)
			continue
		}
		if exit == 0 {
			if stderr != "" {
				t.Errorf("%s writes to standard error: %s", what, stderr)
			}
			j.take(what, stdout, seen)
			continue
		}
		if stdout != "" && exit != 1 {
			t.Errorf("%s fails and writes a result: %s", what, stdout)
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(stderr), &e); err != nil {
			t.Errorf("%s: standard error is not one JSON object: %s", what, stderr)
			continue
		}
		seen.add("Error", e)
	}
	for _, name := range strings.Fields(j.completed()) {
		if !covered[name] {
			t.Errorf("no line of the test is of weir %s", name)
		}
	}
	seen.compare(t, "testdata/json.golden")
}

// jsonServer is a server and what its clients said.
type jsonServer struct {
	t       *testing.T
	bin     tools
	env     []string
	vars    map[string]string
	answers map[string]any // the last of each kind
}

func startJSON(t *testing.T) *jsonServer {
	dir, err := os.MkdirTemp("", "weir-json-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	j := &jsonServer{t: t, bin: buildTools(t), vars: map[string]string{"DIR": dir}, answers: map[string]any{}}
	data := filepath.Join(dir, "data")
	j.env = append(os.Environ(), "WEIR_HOME="+dir, "WEIR_DATA="+data, "HOME="+dir, "XDG_CACHE_HOME="+dir, "GOPROXY=off")
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatal(err)
		}
	}
	must(os.Chmod(dir, 0o711))
	must(copyApp(j.bin.app, filepath.Join(dir, "app")))
	for name, text := range map[string]string{
		"tenement.toml": "[service.api]\ncommand = \"./api\"\n", "pack/bin/detect": "#!/bin/sh\nexit 1\n", "pack/bin/compile": "#!/bin/sh\n",
	} {
		must(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		must(os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755))
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	must(err)
	defer log.Close()
	server := exec.Command(j.bin.weir, "serve", "--data", data, "--api", "127.0.0.1:0", "--http", "127.0.0.1:0")
	server.Env, server.Stdout, server.Stderr = j.env, log, log
	must(server.Start())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = server.Wait() }()
	t.Cleanup(func() {
		_ = server.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			_ = server.Process.Kill()
			<-ended
		}
	})
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if b, err := os.ReadFile(filepath.Join(data, "server.json")); err == nil && len(b) > 0 {
			break
		}
		if time.Now().After(end) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("the server does not get ready:\n%s", text)
		}
	}
	password, err := os.ReadFile(filepath.Join(data, "admin-password"))
	must(err)
	j.vars["PASSWORD"] = strings.TrimSpace(string(password))
	return j
}

// parsedRun is a line of jsonRuns with its words filled in.
type parsedRun struct {
	args []string
	exit int
}

var placeholder = regexp.MustCompile(`\{([A-Za-z0-9.]+)\}`)

func (j *jsonServer) parse(line string) (run parsedRun, ok bool) {
	if _, err := fmt.Sscan(line, &run.exit); err != nil {
		return run, false
	}
	_, line, _ = strings.Cut(strings.TrimSpace(line), " ")
	line = placeholder.ReplaceAllStringFunc(line, func(s string) string { return j.value(strings.Trim(s, "{}")) })
	quoted := false
	words := strings.FieldsFunc(line, func(r rune) bool {
		if r == '"' {
			quoted = !quoted
			return true
		}
		return r == ' ' && !quoted
	})
	for _, w := range words {
		switch w {
		case "APP":
			w = filepath.Join(j.vars["DIR"], "app")
		case "PACK":
			w = filepath.Join(j.vars["DIR"], "pack")
		}
		run.args = append(run.args, w)
	}
	return run, true
}

// value finds a placeholder's value: a variable, or a path into the last answer
// of a kind.
func (j *jsonServer) value(path string) string {
	if v, ok := j.vars[path]; ok {
		return v
	}
	kind, rest, _ := strings.Cut(path, ".")
	v := j.answers[kind]
	for key := range strings.SplitSeq(rest, ".") {
		switch x := v.(type) {
		case map[string]any:
			v = x[key]
		case []any:
			if len(x) > 0 {
				v = x[0]
			}
		}
	}
	s, ok := v.(string)
	if !ok {
		j.t.Fatalf("no answer holds %s", path)
	}
	return s
}

// weir runs a command with -o json. Its standard input stays open and silent.
func (j *jsonServer) weir(args ...string) (stdout, stderr string, exit int) {
	ctx, stop := context.WithTimeout(j.t.Context(), 2*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, j.bin.weir, append([]string{args[0], "-o", "json"}, args[1:]...)...)
	cmd.Dir, cmd.Env = j.vars["DIR"], j.env
	if args[0] != "login" && args[0] != "passwd" { // which read a password from a pipe
		if _, err := cmd.StdinPipe(); err != nil {
			j.t.Fatal(err)
		}
	}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errs.String(), e.ExitCode()
	}
	if err != nil {
		j.t.Fatal(err)
	}
	return out.String(), errs.String(), 0
}

// completed lists all commands, as a shell learns them.
func (j *jsonServer) completed() string {
	cmd := exec.Command(j.bin.weir, "__complete", "--", "")
	cmd.Env = j.env
	out, err := cmd.Output()
	if err != nil {
		j.t.Fatal(err)
	}
	return string(out)
}

// take reads a result: one object, or with logs one a line.
func (j *jsonServer) take(what, stdout string, seen schema) {
	n := 0
	for d := json.NewDecoder(strings.NewReader(stdout)); d.More(); n++ {
		var v map[string]any
		if err := d.Decode(&v); err != nil {
			j.t.Errorf("%s: standard output is no JSON: %v\n%s", what, err, stdout)
			return
		}
		kind, _ := v["kind"].(string)
		if v["apiVersion"] != "weir/v1" || kind == "" {
			j.t.Errorf("%s: no apiVersion and kind: %s", what, stdout)
			return
		}
		j.answers[kind] = v
		delete(v, "apiVersion")
		delete(v, "kind")
		seen.add(kind, v)
	}
	if n != 1 && !strings.HasPrefix(what, "weir logs") {
		j.t.Errorf("%s: %d objects\n%s", what, n, stdout)
	}
}

// schema is which types were seen under a path such as App.app.processes[].type.
type schema map[string]map[string]bool

// open are the objects whose keys are the user's or the server's, not fields.
var open = regexp.MustCompile(`\.(options|userProvided|system|application|running|staging|env|data|evidence|log|dropped|curve)$`)

func (s schema) add(path string, v any) {
	note := func(typ string) {
		if s[path] == nil {
			s[path] = map[string]bool{}
		}
		s[path][typ] = true
	}
	switch x := v.(type) {
	case map[string]any:
		note("object")
		if open.MatchString(path) {
			return
		}
		for k, e := range x {
			s.add(path+"."+k, e)
		}
	case []any:
		note("list")
		for _, e := range x {
			s.add(path+"[]", e)
		}
	case string:
		note("text")
	case float64:
		note("number")
	case bool:
		note("bool")
	case nil:
		note("null")
	}
}

func (s schema) lines() (lines []string) {
	for _, path := range slices.Sorted(maps.Keys(s)) {
		lines = append(lines, path+" "+strings.Join(slices.Sorted(maps.Keys(s[path])), "|"))
	}
	return lines
}

// compare holds what was seen against the golden file.
func (s schema) compare(t *testing.T, file string) {
	b, err := os.ReadFile(file)
	if err != nil && !*updateJSON {
		t.Fatal(err)
	}
	golden := schema{}
	for line := range strings.Lines(string(b)) {
		path, types, _ := strings.Cut(strings.TrimSpace(line), " ")
		golden[path] = map[string]bool{}
		for typ := range strings.SplitSeq(types, "|") {
			golden[path][typ] = true
		}
	}
	if *updateJSON {
		for path, types := range s {
			if golden[path] == nil {
				golden[path] = map[string]bool{}
			}
			maps.Copy(golden[path], types)
		}
		if err := os.WriteFile(file, []byte(strings.Join(golden.lines(), "\n")+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	for path, types := range s {
		for typ := range types {
			if !golden.allows(path, typ) {
				t.Errorf("%s is %s, which %s does not say: if it was added, run the test with -update-json and describe it in docs/CLI.md", path, typ, file)
			}
		}
	}
	for path := range golden {
		parent := parentOf(path)
		if s[path] == nil && s[parent] != nil && s[parent]["object"] {
			t.Errorf("%s is gone: fields are never taken away", path)
		}
	}
}

// allows reports whether the schema has the type, or has only ever seen nothing
// there: null, or a list that was empty.
func (s schema) allows(path, typ string) bool {
	for at := path; at != ""; at = parentOf(at) {
		if len(s[at]) == 1 && s[at]["null"] {
			return true
		}
		if strings.HasSuffix(at, "[]") && s[at] == nil && s[parentOf(at)] != nil {
			return true
		}
	}
	return s[path][typ]
}

// parentOf returns the path of what holds a field or an element; "" for none.
func parentOf(path string) string {
	if list, ok := strings.CutSuffix(path, "[]"); ok {
		return list
	}
	return path[:max(0, strings.LastIndex(path, "."))]
}
