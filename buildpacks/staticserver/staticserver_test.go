package staticserver

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/bcrypt"
)

// site writes files into a directory and serves them as its Staticfile says.
func site(t *testing.T, files map[string]string) *httptest.Server {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	conf, err := LoadConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := New(dir, conf)
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(h)
	t.Cleanup(func() { srv.Close(); h.Close() })
	return srv
}

// get makes a request as it stands: no redirect followed, nothing unpacked.
func get(t *testing.T, url string, change ...func(*http.Request)) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range change {
		c(req)
	}
	resp, err := (&http.Transport{DisableCompression: true, DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(body)
}

func header(k, v string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(k, v) }
}

func TestServer_AnswersWithFilesAndIndexPages(t *testing.T) {
	srv := site(t, map[string]string{
		"index.html": "home", "a/index.html": "a", "a/b.css": "b{}", "data.bin": "\x00\x01",
		"Staticfile": "# nothing set\n", ".env": "SECRET=1", ".git/config": "x", ".well-known/x": "known", "empty/keep": "",
	})
	for _, c := range []struct {
		path   string
		status int
		typ    string
		body   string
	}{
		{"/", 200, "text/html; charset=utf-8", "home"},
		{"/index.html", 200, "text/html; charset=utf-8", "home"},
		{"/a/", 200, "text/html; charset=utf-8", "a"},
		{"/a", 301, "", ""},
		{"/a/b.css", 200, "text/css; charset=utf-8", "b{}"},
		{"/a/b.css/", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/data.bin", 200, "application/octet-stream", "\x00\x01"},
		{"/.well-known/x", 200, "application/octet-stream", "known"},
		{"/nothing", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/empty/", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/Staticfile", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/.env", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/.git/config", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/a/../../../etc/passwd", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/%2e%2e/%2e%2e/etc/passwd", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
		{"/a%00.html", 404, "text/plain; charset=utf-8", "404 Not Found\n"},
	} {
		resp, body := get(t, srv.URL+c.path)
		got := []any{resp.StatusCode, resp.Header.Get("Content-Type"), body}
		if want := []any{c.status, c.typ, c.body}; !cmp.Equal(got, want) {
			t.Errorf("GET %s: %s", c.path, cmp.Diff(want, got))
		}
	}
	if resp, _ := get(t, srv.URL+"/a?x=1"); resp.Header.Get("Location") != "./a/?x=1" {
		t.Errorf("GET /a?x=1 redirects to %q", resp.Header.Get("Location"))
	}
	resp, err := http.Post(srv.URL+"/", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST answered %s", resp.Status)
	}
}

func TestServer_DoesNotFollowLinksOutOfTheSite(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(dir, "link.txt")); err != nil {
		t.Fatal(err)
	}
	h, err := New(dir, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/link.txt", nil))
	if w.Code != 404 || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a link out of the site answered %d %q", w.Code, w.Body)
	}
}

func TestServer_TagsContentAndPacksIt(t *testing.T) {
	long := strings.Repeat("all work and no play ", 200)
	srv := site(t, map[string]string{"long.txt": long, "short.txt": "short"})
	resp, body := get(t, srv.URL+"/long.txt")
	tag := resp.Header.Get("ETag")
	if body != long || tag == "" || resp.Header.Get("Last-Modified") != "" {
		t.Fatalf("plain answer: ETag %q, Last-Modified %q", tag, resp.Header.Get("Last-Modified"))
	}
	if resp, _ := get(t, srv.URL+"/long.txt", header("If-None-Match", tag)); resp.StatusCode != 304 {
		t.Errorf("If-None-Match answered %s", resp.Status)
	}
	if resp, body := get(t, srv.URL+"/long.txt", header("Range", "bytes=4-7"), header("Accept-Encoding", "gzip")); resp.StatusCode != 206 || body != "work" {
		t.Errorf("a range answered %s %q", resp.Status, body)
	}
	resp, packed := get(t, srv.URL+"/long.txt", header("Accept-Encoding", "br, gzip"))
	if resp.Header.Get("Content-Encoding") != "gzip" || resp.Header.Get("ETag") == tag || len(packed) >= len(long)/4 {
		t.Fatalf("asked for gzip: %v, %d bytes", resp.Header, len(packed))
	}
	z, err := gzip.NewReader(strings.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if got, _ := io.ReadAll(z); string(got) != long {
		t.Error("the packed answer unpacks to something else")
	}
	for _, refusal := range []string{"gzip;q=0", "br", "identity"} {
		if resp, _ := get(t, srv.URL+"/long.txt", header("Accept-Encoding", refusal)); resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("Accept-Encoding %q answered with gzip", refusal)
		}
	}
	if resp, _ := get(t, srv.URL+"/short.txt", header("Accept-Encoding", "gzip")); resp.Header.Get("Content-Encoding") != "" {
		t.Error("a file of five bytes was packed")
	}
}

func TestServer_PushState(t *testing.T) {
	srv := site(t, map[string]string{"Staticfile": "pushstate: enabled\n", "index.html": "app", "x.js": "js"})
	for path, want := range map[string]string{"/": "app", "/deep/in/app": "app", "/x.js": "js"} {
		if resp, body := get(t, srv.URL+path); resp.StatusCode != 200 || body != want {
			t.Errorf("GET %s: %s %q", path, resp.Status, body)
		}
	}
}

func TestServer_DirectoryListing(t *testing.T) {
	srv := site(t, map[string]string{"Staticfile": "directory: visible\n", "d/<b>.txt": "x", "d/.hidden": "x", "d/sub/y": "y"})
	resp, body := get(t, srv.URL+"/d/")
	if resp.StatusCode != 200 || !strings.Contains(body, "&lt;b&gt;.txt") || !strings.Contains(body, `href="./sub/"`) {
		t.Errorf("listing: %s\n%s", resp.Status, body)
	}
	if strings.Contains(body, "hidden") || strings.Contains(body, "<b>") {
		t.Errorf("listing shows what it must not:\n%s", body)
	}
	if _, body := get(t, srv.URL+"/"); strings.Contains(body, "Staticfile") {
		t.Errorf("listing shows the configuration:\n%s", body)
	}
}

func TestServer_ErrorPages(t *testing.T) {
	srv := site(t, map[string]string{
		"Staticfile": "status_codes:\n  405: /no.html\n", "404.html": "not here", "no.html": "not so", "index.html": "x",
	})
	if resp, body := get(t, srv.URL+"/nothing"); resp.StatusCode != 404 || body != "not here" || resp.Header.Get("ETag") != "" {
		t.Errorf("GET /nothing: %s %q", resp.Status, body)
	}
	if resp, body := get(t, srv.URL+"/", func(r *http.Request) { r.Method = http.MethodDelete }); resp.StatusCode != 405 || body != "not so" {
		t.Errorf("DELETE /: %s %q", resp.Status, body)
	}
}

func TestServer_HeadersAndHSTS(t *testing.T) {
	srv := site(t, map[string]string{
		"Staticfile": "http_strict_transport_security: true\nhttp_strict_transport_security_preload: true\n" +
			"headers:\n  X-All: \"1\"\n  /assets/*:\n    Cache-Control: max-age=60\n  /*.js:\n    X-Top: \"yes\"\n",
		"index.html": "x", "assets/a.js": "a", "top.js": "t",
	})
	resp, _ := get(t, srv.URL+"/")
	if resp.Header.Get("X-All") != "1" || resp.Header.Get("Cache-Control") != "no-cache" || resp.Header.Get("Strict-Transport-Security") != "max-age=31536000; preload" {
		t.Errorf("headers of /: %v", resp.Header)
	}
	resp, _ = get(t, srv.URL+"/assets/a.js")
	if resp.Header.Get("X-All") != "1" || resp.Header.Get("Cache-Control") != "max-age=60" || resp.Header.Get("X-Top") != "" {
		t.Errorf("headers of /assets/a.js: %v", resp.Header)
	}
	if resp, _ = get(t, srv.URL+"/top.js"); resp.Header.Get("X-Top") != "yes" {
		t.Errorf("headers of /top.js: %v", resp.Header)
	}
}

func TestServer_BasicAuth(t *testing.T) {
	hash, err := bcrypt.GenerateFromPassword([]byte("secret"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	srv := site(t, map[string]string{"index.html": "in", "Staticfile.auth": "# users\n" +
		"apr:$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/\n" +
		"sha:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n" +
		"bcr:$2y$" + string(hash[4:]) + "\n"})
	resp, _ := get(t, srv.URL+"/")
	if resp.StatusCode != 401 || resp.Header.Get("WWW-Authenticate") == "" {
		t.Errorf("without a password: %s", resp.Status)
	}
	for _, user := range []string{"apr", "sha", "bcr"} {
		for range 2 { // the second time from memory
			if resp, body := get(t, srv.URL+"/", func(r *http.Request) { r.SetBasicAuth(user, "secret") }); resp.StatusCode != 200 || body != "in" {
				t.Errorf("%s with the right password: %s", user, resp.Status)
			}
		}
		if resp, _ := get(t, srv.URL+"/", func(r *http.Request) { r.SetBasicAuth(user, "wrong") }); resp.StatusCode != 401 {
			t.Errorf("%s with a wrong password: %s", user, resp.Status)
		}
	}
}

func TestServer_ForceHTTPS(t *testing.T) {
	srv := site(t, map[string]string{"Staticfile": "force_https: true", "index.html": "x"})
	resp, _ := get(t, srv.URL+"/p?q=1", header("X-Forwarded-Proto", "http"))
	if resp.StatusCode != 301 || !strings.HasPrefix(resp.Header.Get("Location"), "https://127.0.0.1") || !strings.HasSuffix(resp.Header.Get("Location"), "/p?q=1") {
		t.Errorf("got %s to %q", resp.Status, resp.Header.Get("Location"))
	}
	if resp, _ := get(t, srv.URL+"/", header("X-Forwarded-Proto", "https")); resp.StatusCode != 200 {
		t.Errorf("over https: %s", resp.Status)
	}
}

func TestParseConfig_SaysWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		"pushstate: perhaps":               "line 1",
		"status_codes: {200: /x.html}":     "200 is not the status of an error",
		"headers: {\"Bad Header\": x}":     "is not a header",
		"headers: {/x: {A: \"b\\r\\nc\"}}": "is not a header",
		"{":                                "yaml",
	} {
		if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", text, err, want)
		}
	}
	for _, text := range []string{"", "---\n", "root: x\nlocation_include: y/*.conf\nssi: enabled\n"} {
		if _, err := ParseConfig([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"", "name", "name:plain", ":{SHA}x"} {
		if _, err := parseUsers([]byte(text)); err == nil {
			t.Errorf("the password file %q was accepted", text)
		}
	}
}

func TestServe_StopsGracefully(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("up"), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	t.Setenv("PORT", fmt.Sprint(port))
	t.Setenv("VCAP_APP_HOST", "127.0.0.1")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, ".", io.Discard, io.Discard) }()
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if resp, err := http.Get(url); err == nil {
			resp.Body.Close()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the server did not come up")
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopping: %v", err)
	}
}

func TestMain_RefusesWhatMakesNoSense(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, c := range []struct {
		port string
		args []string
		code int
	}{{"", nil, 1}, {"http", nil, 1}, {"80800", nil, 1}, {"8080", []string{"a", "b"}, 2}, {"8080", []string{"missing"}, 1}} {
		t.Setenv("PORT", c.port)
		var out bytes.Buffer
		if got := Main(c.args, &out, &out); got != c.code || out.Len() == 0 {
			t.Errorf("PORT=%q %q: code %d, output %q", c.port, c.args, got, &out)
		}
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte("root: public\npushstate: enabled\nstatus_codes:\n  404: /x.html\nheaders:\n  A: b\n  /c/*:\n    D: e\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig(data)
		if err != nil {
			return
		}
		for _, r := range c.Headers {
			for k, v := range r.Headers {
				if !validHeader(k, v) {
					t.Errorf("accepted header %q: %q", k, v)
				}
			}
		}
	})
}
