package buildpacks

import (
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseProcfile(t *testing.T) {
	for _, c := range []struct {
		text string
		want map[string]string
		bad  []int
	}{
		{"", map[string]string{}, nil},
		{"web: node server.js\nworker:   sleep 1 # inline\r\n", map[string]string{"web": "node server.js", "worker": "sleep 1 # inline"}, nil},
		{"\ufeff---\n# comment\n\nweb: a: b\ttab\nweb: last wins", map[string]string{"web": "last wins"}, nil},
		{"web: \"quoted as YAML\"\nx: 'one'\ny: \"a\" and \"b\"", map[string]string{"web": "quoted as YAML", "x": "one", "y": `"a" and "b"`}, nil},
		{"web:\nfoo\n we b: x\nok-1_A:y", map[string]string{"ok-1_A": "y"}, []int{1, 2, 3}},
	} {
		got, bad := ParseProcfile([]byte(c.text))
		if !cmp.Equal(got, c.want) || !cmp.Equal(bad, c.bad) {
			t.Errorf("%q: %s %s", c.text, cmp.Diff(c.want, got), cmp.Diff(c.bad, bad))
		}
	}
}

func FuzzParseProcfile(f *testing.F) {
	f.Add([]byte("web: x\nworker: \"y\"\n#c\nbad"))
	f.Fuzz(func(t *testing.T, data []byte) {
		processes, _ := ParseProcfile(data)
		for typ, command := range processes {
			if !procfileLine.MatchString(typ+": x") || strings.ContainsAny(command, "\n\x00") {
				t.Errorf("%q: %q", typ, command)
			}
		}
	})
}

func TestParseRelease_EmptyMeansNothingToSay(t *testing.T) {
	for _, text := range []string{"", "---\n", "--- {}\n", "---\ndefault_process_types: {}\n", "---\ndefault_process_types:\n  web: \n", "addons: [x]"} {
		r, err := parseRelease([]byte(text))
		if err != nil || len(r.processes) != 0 {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	for _, text := range []string{"[", "default_process_types: [a]", "default_process_types: {web: {a: b}}"} {
		if _, err := parseRelease([]byte(text)); err == nil {
			t.Errorf("%q was accepted", text)
		}
	}
}

func FuzzParseRelease(f *testing.F) {
	f.Add([]byte("default_process_types: {web: x}\nconfig_vars: {A: 1}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRelease(data)
		if err == nil {
			for _, command := range r.processes {
				if strings.TrimSpace(command) == "" {
					t.Error("an empty command")
				}
			}
		}
	})
}

func FuzzParseLaunch(f *testing.F) {
	f.Add([]byte("processes:\n- {type: web, command: x, limits: {memory: 3}, platforms: {cloudfoundry: {sidecar_for: [web]}}}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLaunch(data)
		if err == nil && slices.Contains(slices.Collect(maps.Values(l.processes)), "") {
			t.Error("an empty command")
		}
	})
}

func TestExportDefaults_AnyValueSurvivesTheShell(t *testing.T) {
	vars := map[string]string{"A": "it's \"$HOME\" `id`\nnext", "B": "", "bad name": "x", "PATH": "/nowhere"}
	script := exportDefaults(vars) + `printf '%s|%s|%s' "$A" "${B-unset}" "$PATH"`
	cmd := exec.Command("bash", "-c", script)
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if want := vars["A"] + "||/usr/bin:/bin"; string(out) != want {
		t.Error(cmp.Diff(want, string(out)))
	}
}

func TestParseList(t *testing.T) {
	got := ParseList([]byte("# first\nhttps://github.com/x/y#v1\n\n  go \n"))
	if want := []string{"https://github.com/x/y#v1", "go"}; !cmp.Equal(got, want) {
		t.Error(cmp.Diff(want, got))
	}
}
