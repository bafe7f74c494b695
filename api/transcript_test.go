package api_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	v3 "weir/api/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// transcript collects requests and answers for a golden file.
type transcript struct {
	f     *fixture
	b     strings.Builder
	guids map[string]string
}

func (f *fixture) transcript() *transcript { return &transcript{f: f, guids: map[string]string{}} }

// do sends a request, notes it with its answer, and holds it to a status.
func (tr *transcript) do(status int, method, path, body string) answer {
	tr.f.t.Helper()
	a := tr.f.wants(status, method, path, body)
	tr.note(method, path, body, a)
	return a
}

func (tr *transcript) note(method, path, body string, a answer) {
	fmt.Fprintf(&tr.b, "== %s %s\n", method, tr.plain(path))
	if body != "" {
		fmt.Fprintf(&tr.b, "%s\n", tr.plain(strings.TrimSpace(body)))
	}
	fmt.Fprintf(&tr.b, "-- %d\n", a.status)
	for _, h := range []string{"Location", v3.DeploymentHeader} {
		if v := a.header.Get(h); v != "" {
			fmt.Fprintf(&tr.b, "%s: %s\n", h, tr.plain(v))
		}
	}
	text := a.body
	var pretty bytes.Buffer
	if json.Indent(&pretty, bytes.TrimSpace(a.body), "", "  ") == nil {
		text = pretty.Bytes()
	}
	if len(text) > 0 {
		fmt.Fprintf(&tr.b, "%s\n", tr.plain(string(text)))
	}
	tr.b.WriteByte('\n')
}

// plain replaces what differs from run to run.
func (tr *transcript) plain(s string) string {
	s = guidPattern.ReplaceAllStringFunc(s, func(g string) string {
		if strings.HasSuffix(g, "-4000-8000-000000000001") {
			return g // fixed ones
		}
		if tr.guids[g] == "" {
			tr.guids[g] = fmt.Sprintf("<guid-%d>", len(tr.guids)+1)
		}
		return tr.guids[g]
	})
	s = timePattern.ReplaceAllString(s, "<time>")
	s = digestPattern.ReplaceAllString(s, "<digest>")
	s = tablePattern.ReplaceAllString(s, "table$1 <n>")
	s = addressPattern.ReplaceAllString(s, `"<address>"`)
	s = secondsPattern.ReplaceAllString(s, `"$1": 0`)
	return signaturePattern.ReplaceAllString(s, "<signed>")
}

// golden compares the transcript with testdata/golden/<name>.txt.
func (tr *transcript) golden(name string) {
	tr.f.t.Helper()
	path := filepath.Join("testdata", "golden", name+".txt")
	if *update {
		tr.f.must(os.MkdirAll(filepath.Dir(path), 0o755))
		tr.f.must(os.WriteFile(path, []byte(tr.b.String()), 0o644))
		return
	}
	want, err := os.ReadFile(path)
	tr.f.must(err)
	if diff := cmp.Diff(string(want), tr.b.String()); diff != "" {
		tr.f.t.Errorf("%s differs (-update rewrites it):\n%s", path, diff)
	}
}

// checkShape holds any answer to what clients of Cloud Foundry insist on.
func checkShape(t *testing.T, what string, b []byte) {
	t.Helper()
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		t.Errorf("%s: %v", what, err)
		return
	}
	walk(t, what, "", v)
}

func walk(t *testing.T, what, path string, v any) {
	t.Helper()
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			walk(t, what, path+"[]", e)
		}
	case map[string]any:
		if p, ok := v["pagination"]; ok && p != nil {
			if _, ok := v["resources"].([]any); !ok {
				t.Errorf("%s: %s.resources is not an array", what, path)
			}
		}
		for k, e := range v {
			switch s, _ := e.(string); {
			case k == "href" && !strings.HasPrefix(s, "http://"):
				t.Errorf("%s: the link %s.href is not absolute: %v", what, path, e)
			case strings.HasSuffix(k, "_at") && e != nil && !wholeSeconds.MatchString(s):
				t.Errorf("%s: %s.%s is %v", what, path, k, e)
			case k == "options" && path != ".options" && e != nil && strings.Contains(what, "/routes"):
				for name, o := range e.(map[string]any) {
					if _, ok := o.(string); !ok {
						t.Errorf("%s: route option %s is %v", what, name, o)
					}
				}
			}
			walk(t, what, path+"."+k, e)
		}
	}
}
