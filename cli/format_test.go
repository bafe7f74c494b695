package cli

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// inFormat returns what a result is printed as.
func inFormat(t *testing.T, format, kind string, v any) (string, error) {
	t.Helper()
	var out bytes.Buffer
	u := newUI(strings.NewReader(""), &out, &bytes.Buffer{})
	if err := u.configure(format, false, false, false); err != nil {
		return "", err
	}
	err := u.print(kind, v, []string{"a", "b"}, func(p *page) {
		p.table("", append([]string{"name"}, p.more("guid")...), [][]string{{"a", "1"}, {"b", "2"}})
	})
	return out.String(), err
}

func TestFormats_WriteTheSameResult(t *testing.T) {
	type item struct {
		Name string `json:"name"`
		Size int64  `json:"size"`
	}
	list := map[string]any{"apps": []item{{"a", 1 << 40}, {"b", 2}}, "table": 7}
	for format, want := range map[string]string{
		"table":                         "name\na\nb\n",
		"wide":                          "name   guid\na      1\nb      2\n",
		"name":                          "a\nb\n",
		"json":                          "{\n  \"apiVersion\": \"weir/v1\",\n  \"kind\": \"AppList\",\n  \"apps\": [\n    {\n      \"name\": \"a\",\n      \"size\": 1099511627776\n    },\n    {\n      \"name\": \"b\",\n      \"size\": 2\n    }\n  ],\n  \"table\": 7\n}\n",
		"jsonl":                         `{"apiVersion":"weir/v1","kind":"AppListItem","name":"a","size":1099511627776}` + "\n" + `{"apiVersion":"weir/v1","kind":"AppListItem","name":"b","size":2}` + "\n",
		"yaml":                          "apiVersion: weir/v1\nkind: AppList\napps:\n  - name: a\n    size: 1099511627776\n  - name: b\n    size: 2\ntable: 7\n",
		"jsonpath={.apps[*].name}":      "a b\n",
		"jsonpath=apps[0].size":         "1099511627776\n",
		"jsonpath=$.kind":               "AppList\n",
		"jsonpath={.apps[?(@.size>5)]}": `{"name":"a","size":1099511627776}` + "\n",
		`jsonpath={range .apps[*]}{.name}{"\t"}{.size}{"\n"}{end}`: "a\t1099511627776\nb\t2\n",
		`jsonpath={.apps[?(@.name=="b")].size}`:                    "2\n",
	} {
		if got, err := inFormat(t, format, "AppList", list); err != nil || got != want {
			t.Errorf("-o %s: %v\n%s", format, err, cmp.Diff(want, got))
		}
	}
	one := map[string]any{"app": item{"a", 1}}
	if got, err := inFormat(t, "jsonl", "App", one); err != nil || got != `{"apiVersion":"weir/v1","kind":"App","app":{"name":"a","size":1}}`+"\n" {
		t.Errorf("%v %s", err, got)
	}
	if got, err := inFormat(t, "jsonl", "AppList", map[string]any{"apps": []item{}}); err != nil || got != "" {
		t.Errorf("%v %s", err, got)
	}
}

// What a YAML parser of any age reads is what JSON says.
func TestYAML_ReadsAsTheSameAsJSON(t *testing.T) {
	v := map[string]any{"values": []any{
		"on", "yes", "No", "true", "null", "~", "", "1.10", "012", "0x1f", "12:30", "1e3", "2026-01-02", "2026-01-02T03:04:05Z",
		"- x", "a: b", "# c", " lead", "trail ", "two\nlines\n", "tab\there", "quote\"s'", "<a>&", "\u2028", "\x01", "日本 🙂", "@x", "%x", "{", "[", "!x", "&a", "*a", "|", ">",
		true, false, nil, 0, -1, 1.5, int64(1) << 60,
		map[string]any{},
		[]any{},
		map[string]any{"on": 1, "a b": []any{1}},
	}}
	text, err := inFormat(t, "yaml", "X", v)
	if err != nil {
		t.Fatal(err)
	}
	var fromYAML, fromJSON any
	if err := yaml.Unmarshal([]byte(text), &fromYAML); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	object, err := encode("X", v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(object, &fromJSON); err != nil {
		t.Fatal(err)
	}
	back, err := json.Marshal(fromYAML)
	if err != nil {
		t.Fatal(err)
	}
	var again any
	if err := json.Unmarshal(back, &again); err != nil || !cmp.Equal(fromJSON, again) {
		t.Errorf("%v\n%s\n%s", err, cmp.Diff(fromJSON, again), text)
	}
	for _, old := range []string{"on", "yes", "No", "12:30"} { // YAML 1.1 reads them as something else
		if !strings.Contains(text, "- \""+old+"\"\n") {
			t.Errorf("%s has no quotation marks:\n%s", old, text)
		}
	}
}

func TestFormats_RefuseWhatCannotBeRead(t *testing.T) {
	for _, format := range []string{"xml", "", "jsonpath", "jsonpath=", "jsonpath={.a", "jsonpath={.a[}", "json=x"} {
		_, err := inFormat(t, format, "X", map[string]any{"a": []int{}})
		if err == nil || asFailure(err).hint == "" {
			t.Errorf("-o %s: %v", format, err)
		}
	}
	if _, err := inFormat(t, "jsonpath={.nothing}", "X", struct{}{}); err == nil || asFailure(err).exit != exitFailed {
		t.Errorf("%v", err)
	}
}

// The format of an error is known before the flags are parsed.
func TestFormatOf_FindsFormatsForPrograms(t *testing.T) {
	for line, want := range map[string]string{
		"apps -o json": "json", "apps -ojson": "json", "apps -o=yaml": "yaml", "apps --output jsonl": "jsonl",
		"apps --output=jsonpath={.a}": "jsonpath", "apps -ojsonpath=a": "jsonpath", "apps -o jsonpath=a": "jsonpath",
		"apps": "table", "apps -o wide": "table", "apps -o": "table", "apps -- -o json": "table", "map-route a b -o sticky=json": "table",
	} {
		if got := formatOf(strings.Fields(line)); got != want {
			t.Errorf("weir %s: %s, want %s", line, got, want)
		}
	}
}

// Long work says a line at a time what it does.
func TestJSONL_BringsStepsAndWarnings(t *testing.T) {
	var out, errs bytes.Buffer
	u := newUI(strings.NewReader(""), &out, &errs)
	if err := u.configure("jsonl", false, false, false); err != nil {
		t.Fatal(err)
	}
	u.step("Building %s", "a")
	u.warn("slowly")
	if err := u.print("Push", map[string]any{"apps": []int{1}}, nil, nil); err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for line := range strings.Lines(out.String()) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err, line)
		}
		kinds = append(kinds, v["kind"].(string))
	}
	if !slices.Equal(kinds, []string{"Step", "Warning", "Push"}) || errs.Len() > 0 {
		t.Errorf("%q\n%s", kinds, errs.String())
	}
}
