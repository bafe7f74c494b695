package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

func TestParseManifest_ResolvesAnchorsVariablesAndOldSpellings(t *testing.T) {
	vars, err := loadVariables(nil, []string{"n=2", "dom=example.com", "ver=1.10", "word=yes"})
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseManifest("m.yml", []byte(`---
defaults: &d
  memory: 256M
  env: {LEVEL: 010}
  no-route: yes
applications:
- <<: *d
  name: web
  instances: ((n))
  memory: 1G
  no-route: off
  path: ./web
  routes:
  - route: www.((dom))/x
  env:
    VERSION: 1.10
    SWITCH: on
    GIVEN: ((ver))
    PART: v((ver))-((word))
    NOTHING:
    NUMBER: 0x10
- name: worker
  <<: [*d, {disk_quota: 1G, memory: 2G}]
`), vars)
	if err != nil {
		t.Fatal(err)
	}
	got, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `applications:
  - name: web
    instances: 2
    memory: 1G
    no-route: false
    routes:
      - route: www.example.com/x
    env:
      VERSION: "1.10"
      SWITCH: "on"
      GIVEN: "1.10"
      PART: v1.10-yes
      NOTHING:
      NUMBER: "0x10"
  - name: worker
    memory: 256M
    env: {LEVEL: "010"}
    no-route: true
    disk_quota: 1G
`
	if d := cmp.Diff(want, string(got)); d != "" {
		t.Error(d)
	}
	if p := m.apps[0].text("path"); p != "./web" {
		t.Errorf("path %q", p)
	}
}

func TestParseManifest_SaysWhatIsWrongAndWhere(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "m.yml: it is empty",
		"applications: [":                      "m.yml: line 1: did not find expected node content",
		"- a":                                  "m.yml: it is not a list of keys",
		"name: x":                              "m.yml: it has no applications",
		"applications: []":                     "m.yml: it has no applications",
		"applications:\n- x":                   "m.yml: line 2: application 1 is not a list of keys",
		"applications:\n- name: a\n  name: b":  `m.yml: line 3: key "name" is given twice`,
		"applications:\n- name: a\n- name: a":  `m.yml: line 3: app "a" is listed twice`,
		"applications:\n- name: ((x))-((y.z))": "m.yml: no value for ((x)), ((y.z))",
		"applications:\n- <<: 3":               "m.yml: line 2: << wants keys and values",
		"applications:\n- {[a]: b}":            "m.yml: line 2: a key is not plain text",
		"a: 1\n---\nb: 2":                      "m.yml: it holds more than one document",
		"applications:\n- name: *x":            "m.yml: unknown anchor 'x' referenced",
		"\tapplications":                       "m.yml: found character that cannot start any token",
	} {
		_, err := parseManifest("m.yml", []byte(text), nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
	bomb := "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
	for c := 'b'; c < 'k'; c++ {
		prev := string(c - 1)
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+prev+",", 10), ",") + "]\n"
	}
	if _, err := parseManifest("m.yml", []byte(bomb+"applications: *j"), nil); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("bomb: %v", err)
	}
}

func TestLoadVariables_FlagsGoBeforeFilesAndLaterFilesBeforeEarlier(t *testing.T) {
	dir := t.TempDir()
	one, two := filepath.Join(dir, "1.yml"), filepath.Join(dir, "2.yml")
	os.WriteFile(one, []byte("a: 1\nb: 1\nc: 1\ndb: {host: h, port: 5}"), 0o600)
	os.WriteFile(two, []byte("b: 2\nc: 2"), 0o600)
	vars, err := loadVariables([]string{one, two}, []string{"c=3", "list=[1, 2]", "eq=a=b"})
	if err != nil {
		t.Fatal(err)
	}
	n := textNode("((a))((b))((c)) ((db.host)):((db.port)) ((list)) ((eq))")
	if err := vars.fill(n); err != nil {
		t.Fatal(err)
	}
	if want := "123 h:5 [1, 2] a=b"; n.Value != want {
		t.Errorf("got %q, want %q", n.Value, want)
	}
	whole := textNode("((db))")
	if err := vars.fill(whole); err != nil || whole.Kind != yaml.MappingNode {
		t.Errorf("((db)) became %v, %v", whole, err)
	}
	if err := vars.fill(textNode("x((db))")); err == nil {
		t.Error("a mapping became part of a text")
	}
	for _, bad := range [][2]string{{"", "novalue"}, {filepath.Join(dir, "none"), ""}} {
		var files, pairs []string
		if bad[0] != "" {
			files = []string{bad[0]}
		} else {
			pairs = []string{bad[1]}
		}
		if _, err := loadVariables(files, pairs); asFailure(err).exit != exitUsage {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte("applications:\n- name: a\n  env: {A: 1}\n  routes: [{route: x.y}]"))
	f.Add([]byte("x: &x {memory: 1G}\napplications:\n- <<: *x\n  name: ((v))\n  processes: [{type: web}]"))
	f.Add([]byte("applications: &a [{name: x, b: *a}]"))
	f.Add([]byte("applications: [{<<: [{}, {a: b}], ? a : b}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseManifest("m.yml", data, variables{"v": textNode("value")})
		if err != nil {
			return
		}
		m.apps[0].set("memory", "1G")
		m.apps[0].setEnv("K", "V")
		m.apps[0].web().set("instances", 1)
		out, err := m.encode()
		if err != nil {
			t.Fatalf("%q cannot be written: %v", data, err)
		}
		again, err := parseManifest("m.yml", out, nil)
		if err != nil {
			if strings.Contains(err.Error(), "no value for") {
				return // a value brought in looks like a variable itself
			}
			t.Fatalf("%q became %q: %v", data, out, err)
		}
		if len(again.apps) != len(m.apps) {
			t.Fatalf("%q became %q", data, out)
		}
	})
}
