package acceptance

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pageScript is what the pages of writePage run: it tells the test that the
// page is open, which answers when something else took over, then loads what a
// page loads late, and says what came of it. Then it goes to the page anew.
const pageScript = `
const here = new URL(location.href), tell = here.searchParams.get("tell");
const me = "?page=" + here.hostname + (here.searchParams.has("again") ? "&again" : "");
await fetch(tell + "/opened" + me);
const style = new Promise((done) => {
  const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: "/late.HASH.css" });
  link.onload = () => done("LABEL");
  link.onerror = () => done("failed");
  document.head.append(link);
});
const said = {
  page: "LABEL",
  chunk: await import("/late.HASH.js").then((m) => m.label, () => "failed"),
  style: await style,
  api: await fetch("/api.json").then((r) => r.json()).then((a) => a.label, () => "failed"),
};
await fetch(tell + "/said" + me, { method: "POST", body: JSON.stringify(said) });
if (!me.endsWith("&again")) location.href = here.href + "&again";
`

// writePage writes a website of static files, those that a page loads late
// with a hash in their names, as bundlers of scripts name them.
func writePage(t *testing.T, label, hash string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	must(t, "opening the directory", os.Chmod(dir, 0o755))
	fill := strings.NewReplacer("LABEL", label, "HASH", hash)
	for name, content := range map[string]string{
		"Staticfile":    "",
		"index.html":    `<!doctype html><title>LABEL</title><script type="module" src="/page.HASH.js"></script>`,
		"page.HASH.js":  pageScript,
		"late.HASH.js":  `export const label = "LABEL";`,
		"late.HASH.css": `body { color: green }`,
		"api.json":      `{"label":"LABEL"}`,
	} {
		write(t, filepath.Join(dir, fill.Replace(name)), fill.Replace(content))
	}
	return dir
}

// late is what a page got of what it asked for late: the label of the version
// that it came from, or "failed".
type late struct{ Page, Chunk, Style, API string }

// saying is what a page tells the test: the first one of a tab, or the one it
// went to then.
type saying struct {
	host  string
	again bool
	late  late
}

// browser opens page in a real browser until the test ends.
func browser(t *testing.T, page string) {
	t.Helper()
	program := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		t.Skip("no browser is on the PATH: install chromium to run this test")
	}
	home := t.TempDir()
	cmd := exec.Command(program, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
		"--disable-background-networking", "--disable-popup-blocking", "--host-resolver-rules=MAP * 127.0.0.1",
		"--user-data-dir="+filepath.Join(home, "profile"), page)
	cmd.Env = append(os.Environ(), "HOME="+home, "XDG_CONFIG_HOME="+home, "XDG_CACHE_HOME="+home)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	must(t, "starting "+program, cmd.Start())
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
	})
}

// G19: a page that is open in a browser while another version takes over goes
// on: what it loads late comes from its own version, and the next page is one
// of the new version.
func TestRelease_OpenPagesGoOnInABrowser(t *testing.T) {
	s := start(t)
	s.mustIn(writePage(t, "v1", "1a2b3c4d"), "push", "web", "-m", "64M", "--version", "v1")
	s.mustIn(writePage(t, "v2", "5e6f7a8b"), "push", "web", "-m", "64M", "--version", "v2", "--no-traffic")
	// Browsers tell hosts below localhost, as they do those over https, with
	// Sec-Fetch-Mode what is a page; others only by what they accept.
	s.must("create-domain", "example.test")
	want := map[string]late{}
	for _, r := range []struct{ host, domain, option, late, api string }{
		{"plain", "apps.localhost", "", "failed", "v2"}, // what happens without
		{"skew", "apps.localhost", "skew=1h", "v1", "v1"},
		{"skew", "example.test", "skew=1h", "v1", "v1"},
		{"assets", "apps.localhost", "asset-fallback=on", "v1", "v2"},
	} {
		args := []string{"map-route", "web", r.domain, "-n", r.host}
		if r.option != "" {
			args = append(args, "-o", r.option)
		}
		s.must(args...)
		want[r.host+"."+r.domain] = late{Page: "v1", Chunk: r.late, Style: r.late, API: r.api}
	}

	opened, tookOver, sayings := make(chan string, len(want)), make(chan struct{}), make(chan saying, 2*len(want))
	_, port, err := net.SplitHostPort(s.http)
	must(t, "reading the apps' address", err)
	test := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "*")
		q := r.URL.Query()
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html")
			for host := range want {
				tab := "http://" + net.JoinHostPort(host, port) + "/?tell=" + url.QueryEscape("http://"+r.Host)
				fmt.Fprintf(w, "<script>window.open(%q, '_blank', 'noopener')</script>\n", tab)
			}
		case "/opened":
			if !q.Has("again") {
				opened <- q.Get("page")
			}
			select {
			case <-tookOver:
			case <-r.Context().Done():
			}
		case "/said":
			said := saying{host: q.Get("page"), again: q.Has("again")}
			if err := json.NewDecoder(r.Body).Decode(&said.late); err != nil {
				t.Errorf("a page said what cannot be read: %v", err)
			}
			sayings <- said
		}
	}))
	defer test.Close()
	browser(t, test.URL)
	within := time.After(2 * time.Minute)
	for range want {
		select {
		case <-opened:
		case <-within:
			t.Fatal("the browser did not open all pages")
		}
	}
	s.must("route", "web", "--from", "v1", "--to", "v2")
	close(tookOver)
	failed := 0
	for range 2 * len(want) {
		select {
		case got := <-sayings:
			expected := want[got.host]
			if got.again {
				expected = late{Page: "v2", Chunk: "v2", Style: "v2", API: "v2"}
			}
			if got.late != expected {
				failed++
				t.Errorf("%s, again %t: got %+v, want %+v", got.host, got.again, got.late, expected)
			}
		case <-within:
			t.Fatal("the browser did not say what its pages loaded")
		}
	}
	figure(t, "G19", fmt.Sprintf("of %d pages in a browser, v1 and then v2, with wrong late files", 2*len(want)), fmt.Sprint(failed), "0", failed == 0)
}
