package api

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"weir/router"
)

var documented = regexp.MustCompile("(?m)^\\| (\\S+) \\| `([A-Z]+ /(?:v3\\S*)?)` \\|")

func TestRoutes_AreAllInTheDocumentation(t *testing.T) {
	b, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	in := map[string]string{}
	for _, m := range documented.FindAllStringSubmatch(string(b), -1) {
		in[m[2]] = m[1]
	}
	for _, r := range routes() {
		name := r.method + " " + r.path
		if in[name] != string(r.permission) {
			t.Errorf("docs/API.md says %q of %s, the route list says %q", in[name], name, r.permission)
		}
		delete(in, name)
	}
	for name := range in {
		t.Errorf("docs/API.md has %s, which does not exist", name)
	}
	if !strings.Contains(string(b), Version) {
		t.Errorf("docs/API.md does not say %s", Version)
	}
}

func TestRouteOptions_AreAllInTheDocumentation(t *testing.T) {
	b, err := os.ReadFile("../docs/API.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n### Route options\n")
	section, _, _ = strings.Cut(section, "\n### ")
	in := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*`) \\|").FindAllStringSubmatch(section, -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			in[strings.Trim(name, "`")] = true
		}
	}
	for _, name := range router.OptionNames() {
		if !in[name] {
			t.Errorf("docs/API.md does not have the route option %q", name)
		}
		delete(in, name)
	}
	for name := range in {
		t.Errorf("docs/API.md has the route option %q, which does not exist", name)
	}
}
