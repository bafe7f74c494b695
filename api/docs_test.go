package api

import (
	"os"
	"regexp"
	"strings"
	"testing"
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
