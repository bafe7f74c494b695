package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"weir/api/client"
	v3 "weir/api/v3"
	"weir/internal/platform"
)

// run runs a command line that never reaches a server.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	t.Setenv("WEIR_HOME", t.TempDir())
	t.Setenv("WEIR_DATA", t.TempDir())
	var out, errs bytes.Buffer
	code = Program{}.Main(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestCommands_AreDescribedWhole(t *testing.T) {
	seen := map[string]string{}
	for _, c := range commands() {
		for _, n := range append([]string{c.name}, c.aliases...) {
			if other := seen[n]; other != "" {
				t.Errorf("%s and %s are both called %s", other, c.name, n)
			}
			seen[n] = c.name
		}
		if c.usage == "" || len(c.examples) == 0 || c.run == nil {
			t.Errorf("%s lacks usage, examples or run", c.name)
		}
		if !c.hidden && !slices.Contains(categories, c.category) {
			t.Errorf("%s has the category %q", c.name, c.category)
		}
		flags := map[string]bool{}
		for _, f := range c.allFlags() {
			for _, n := range f.Names() {
				if flags[n] {
					t.Errorf("%s has two flags called %s", c.name, n)
				}
				flags[n] = true
			}
		}
		if !flags["output"] {
			t.Errorf("%s has no --output", c.name)
		}
	}
}

// Every example must be a command line that the command understands.
func TestCommands_ExamplesCanBeTyped(t *testing.T) {
	sh := testShell()
	for _, c := range commands() {
		for _, e := range c.examples {
			e, _, _ = strings.Cut(e, "  #")
			e, _, _ = strings.Cut(e, " && ")
			e, _, _ = strings.Cut(e, " <")
			e, _, _ = strings.Cut(e, " > ")
			e = strings.TrimSuffix(strings.TrimPrefix(e, "source <(weir "), ")")
			e = strings.TrimPrefix(e, "help ")
			if strings.HasPrefix(e, "source") || strings.HasPrefix(e, "WEIR_") {
				continue
			}
			words := strings.Fields(strings.TrimPrefix(e, "weir "))
			line, err := sh.split(words)
			if err != nil || line.cmd == nil || line.cmd.name != c.name {
				t.Errorf("%s: example %q is another command: %v", c.name, e, err)
				continue
			}
			if _, err := reorder(line.cmd, line.args); err != nil {
				t.Errorf("%s: example %q: %v", c.name, e, err)
			}
		}
	}
}

func TestHelp_BeginsWithExamples(t *testing.T) {
	for _, c := range commands() {
		for _, args := range [][]string{{c.name, "--help"}, {"help", c.name}, {c.name, "x", "-h"}} {
			code, out, errs := run(t, args...)
			if code != 0 || errs != "" {
				t.Fatalf("%v: exit %d, %s", args, code, errs)
			}
			lines := strings.Split(out, "\n")
			if len(lines) < 4 || lines[2] != "Examples:" || !strings.HasPrefix(lines[3], "  ") {
				t.Fatalf("%v does not begin with examples:\n%s", args, out)
			}
			if c.noJSON != "" && !strings.Contains(out, "no -o json") {
				t.Errorf("%v does not say why there is no JSON", args)
			}
		}
	}
	code, out, _ := run(t)
	if code != 0 || !strings.Contains(out, "Getting started:") || strings.Contains(out, completeCommand) {
		t.Errorf("exit %d\n%s", code, out)
	}
}

// No command may wait for an answer that nobody gives, and each must explain
// itself when there is no server.
func TestCommands_NeitherAskNorHangWithoutTerminal(t *testing.T) {
	for _, c := range commands() {
		if c.hidden || c.noJSON != "" && c.name == "completion" || slices.Contains([]string{"version", "logout", "concepts", "init"}, c.name) {
			continue
		}
		args := []string{c.name, "-o", "json"}
		if c.noJSON != "" {
			args = []string{c.name}
		}
		least, _ := c.limits()
		for i := range least {
			args = append(args, []string{"a", "1", "c"}[i])
		}
		switch c.name {
		case "set-env":
			args = append(args, "v")
		case "create-buildpack":
			args[len(args)-1] = "."
		case "push":
			args = append(args, "a")
		case "update-buildpack":
			args = append(args, "--enable")
		case "update-route":
			args = append(args, "--weight", "a=1")
		}
		code, out, errs := run(t, args...)
		if code != exitLogin && code != exitUsage && code != exitNotFound {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
			continue
		}
		if c.noJSON != "" {
			continue
		}
		var e map[string]any
		if err := json.Unmarshal([]byte(errs), &e); err != nil || out != "" {
			t.Errorf("%v: stderr is not one JSON object: %q (stdout %q)", args, errs, out)
			continue
		}
		for _, key := range []string{"code", "message", "hint", "retryable"} {
			if _, ok := e[key]; !ok || len(e) != 4 {
				t.Errorf("%v: error %v", args, e)
			}
		}
	}
}

func TestMain_ShowsErrorsWithHints(t *testing.T) {
	for _, tc := range []struct {
		args string
		code int
		want string
	}{
		{"apps", exitLogin, "weir: not logged in, and no server was found on this machine\nweir: hint: start one here: weir serve; or log in to another: weir login -a URL -u USER\n"},
		{"app", exitUsage, "weir: APP is missing\nweir: hint: usage: weir app APP\n"},
		{"app a b", exitUsage, "weir: unexpected argument \"b\"\nweir: hint: usage: weir app APP\n"},
		{"apps -o xml", exitUsage, "weir: there is no output format \"xml\"\nweir: hint: -o table, wide, json, jsonl, yaml, name, or jsonpath=TEMPLATE\n"},
		{"curl /v3/apps -o json", exitUsage, "curl has no -o json: the answer is the server's, as it is"},
		{"scale a -i many", exitUsage, "weir: --instances \"many\" is no whole number\nweir: hint: weir scale --help lists its flags\n"},
		{"undo --if-table -3", exitUsage, "weir: --if-table \"-3\" is no whole number of 0 or more\n"},
		{"push a --wait-timeout soon", exitUsage, "weir: --wait-timeout \"soon\" is no duration\nweir: hint: write a number with a unit: 30s, 5m or 1h\n"},
		{"scale a -m lots", exitUsage, "weir: --memory \"lots\" is no size\nweir: hint: write a number with a unit: 256M or 1G\n"},
		{"login -a ftp://x", exitUsage, "weir: \"ftp://x\" is not the address of an API"},
		{"login -a 127.0.0.1:1", exitFailed, "weir: the server at http://127.0.0.1:1 does not answer\nweir: hint: is it running?"},
		{"map-route a b --weight 1001", exitUsage, "weir: a weight is a number from 0 to 1000, not 1001\n"},
		{"push a --git https://h/x -p .", exitUsage, "weir: --git and --path exclude each other\n"},
		{"push a --strategy blue", exitUsage, "weir: there is no strategy \"blue\"\nweir: hint: choose rolling or canary as with cf, or a rollout: canary with --steps, blue-green, linear, rings, shadow, all-at-once, canary-10-5m, linear-10-1m\n"},
		{"restart a --strategy blue", exitUsage, "weir: there is no strategy \"blue\"\nweir: hint: choose rolling or canary\n"},
		{"push a --docker-image x", exitUsage, "weir: weir does not run container images"},
		{"push a --env X", exitUsage, "weir: --env \"X\" is not a name and a value\n"},
		{"completion tcsh", exitUsage, "weir: no completion for \"tcsh\"\n"},
	} {
		code, out, errs := run(t, strings.Fields(tc.args)...)
		if code != tc.code || !strings.Contains(errs, tc.want) || out != "" {
			t.Errorf("%s: exit %d, want %d\n%s%swant %s", tc.args, code, tc.code, out, errs, tc.want)
		}
	}
}

func TestProgram_RunsCommandsHandedIn(t *testing.T) {
	fast, level := false, 0
	p := Program{Version: "1.2", Commands: []Command{{
		Name: "serve", Usage: "serve", Examples: []string{"serve"},
		Flags: func(fs *flag.FlagSet) {
			fs.IntVar(&level, "level", 3, "`NUMBER` of it")
			fs.BoolFunc("fast", "go fast", func(string) error { fast = true; return nil })
		},
		Run: func(_ context.Context, stdout io.Writer) error {
			io.WriteString(stdout, "served")
			return &platform.Error{Kind: platform.KindInvalid, Msg: "no more", Hint: "stop"}
		},
	}}}
	var out, errs bytes.Buffer
	code := p.Main(t.Context(), []string{"serve", "--fast", "--level", "7"}, nil, &out, &errs)
	if code != 1 || level != 7 || !fast || out.String() != "served" ||
		errs.String() != "weir: no more\nweir: hint: stop\n" {
		t.Errorf("exit %d, level %d, fast %t, stdout %q, stderr %q", code, level, fast, out.String(), errs.String())
	}
	if code := p.Main(t.Context(), []string{"serve", "dir"}, nil, &out, &errs); code != exitUsage {
		t.Errorf("an argument too many: exit %d", code)
	}
	out.Reset()
	if code := p.Main(t.Context(), []string{"serve", "--help"}, nil, &out, &errs); code != 0 || !strings.Contains(out.String(), "--level NUMBER") {
		t.Errorf("exit %d\n%s", code, out.String())
	}
	out.Reset()
	t.Setenv("WEIR_HOME", t.TempDir())
	t.Setenv("WEIR_DATA", t.TempDir())
	if code := p.Main(t.Context(), []string{"version", "-q"}, nil, &out, &errs); code != 0 || out.String() != "1.2\n" {
		t.Errorf("exit %d: %q", code, out.String())
	}
}

func TestMain_EndsWith130WhenInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := Program{Commands: []Command{{
		Name: "wait", Usage: "wait", Examples: []string{"wait"},
		Run: func(ctx context.Context, _ io.Writer) error { cancel(); <-ctx.Done(); return ctx.Err() },
	}}}
	var out, errs bytes.Buffer
	if code := p.Main(ctx, []string{"wait"}, nil, &out, &errs); code != exitInterrupted || errs.String() != "weir: interrupted\n" {
		t.Errorf("exit %d: %q", code, errs.String())
	}
}

func TestAsFailure_KnowsExitCodes(t *testing.T) {
	for _, tc := range []struct {
		err  error
		exit int
		code string
	}{
		{platform.NotFound("App"), exitNotFound, "not-found"},
		{&platform.Error{Kind: platform.KindConflict, Msg: "x"}, exitConflict, "conflict"},
		{context.Canceled, exitInterrupted, "interrupted"},
		{context.DeadlineExceeded, exitTimedOut, "timed-out"},
		{errors.New("boom"), exitFailed, "failed"},
		{os.ErrNotExist, exitFailed, "not-found"},
		{&client.JobError{Operation: "x"}, exitFailed, "failed"},
		{&client.JobError{Errors: []v3.Error{{Detail: "Instances must be an integer"}}}, exitFailed, "failed"},
		{&client.JobError{Errors: []v3.Error{{Detail: "For application 'a': Cannot scale this process while a deployment is in flight."}}}, exitConflict, "conflict"},
	} {
		if f := asFailure(tc.err); f.exit != tc.exit || f.code != tc.code {
			t.Errorf("%v: %d %s", tc.err, f.exit, f.code)
		}
	}
}
