package api

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"weir/internal/auth"
)

func TestRoutes_EachDeclaresAPermission(t *testing.T) {
	public := []string{
		"GET /", "GET /v3", "GET /v3/info",
		// reached by signed URLs
		"GET /v3/packages/:guid/bits", "GET /v3/droplets/:guid/bits",
	}
	seen := map[string]bool{}
	for _, r := range routes() {
		name := r.method + " " + r.path
		if seen[name] {
			t.Errorf("%s is listed twice", name)
		}
		seen[name] = true
		if !r.permission.Known() {
			t.Errorf("%s declares no permission", name)
		}
		if (r.permission == auth.Public) != slices.Contains(public, name) {
			t.Errorf("%s: permission %q", name, r.permission)
		}
		if r.method != "GET" && r.permission == auth.Read && name != "POST /v3/spaces/:guid/manifest_diff" {
			t.Errorf("%s changes things and asks only for %q", name, r.permission)
		}
	}
}

func TestRoutes_UnauthenticatedRequestsGet401(t *testing.T) {
	a, err := New(Config{Auth: auth.New(auth.Config{})})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range routes() {
		if r.permission == auth.Public {
			continue
		}
		path := strings.NewReplacer(":guid", "g", ":type", "web", ":index", "0", ":name", "n", ":destination", "d").Replace(r.path)
		for _, header := range []string{"", "Basic Y2Y6", "bearer", "bearer "} {
			req := httptest.NewRequest(r.method, path, strings.NewReader("{not json"))
			if header != "" {
				req.Header.Set("Authorization", header)
			}
			w := httptest.NewRecorder()
			a.ServeHTTP(w, req)
			if w.Code != http.StatusUnauthorized || !strings.Contains(w.Body.String(), `"code":10002,"title":"CF-NotAuthenticated","detail":"Authentication error"`) {
				t.Errorf("%s %s with %q: %d %s", r.method, r.path, header, w.Code, w.Body)
			}
		}
	}
}
