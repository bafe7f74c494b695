package acceptance

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestExamples_PushAndAnswer pushes every example as its README says and reads
// what it answers.
func TestExamples_PushAndAnswer(t *testing.T) {
	t.Parallel()
	s := start(t)
	cases := []struct {
		example string
		needs   string // a program of the host
		want    string // in the body of GET /
	}{
		{"hello-go", "go", "hello"},
		{"hello-node", "npm", "hello"},
		{"hello-python", "python3", "hello"},
		{"hello-static", "", "<html"},
		{"hello-procfile", "perl", "hello"},
		{"hello-binary", "", "hello"},
		{"web-and-worker", "", ""},
		{"canary-gone-wrong", "go", "shop v1"},
		{"shadow-difference", "go", ""},
		{"sticky-ab", "go", "blue"},
	}
	for _, c := range cases {
		t.Run(c.example, func(t *testing.T) {
			dir := filepath.Join(repo(t), "examples", c.example)
			if _, err := os.Stat(dir); err != nil {
				t.Fatal(err)
			}
			if c.needs != "" && !onPath(c.needs) {
				t.Skipf("%s is not installed where apps can reach it", c.needs)
			}
			began := time.Now()
			out := s.mustIn(dir, "push", c.example)
			status, body, err := s.get(c.example+".apps.localhost", "/")
			must(t, "asking it", err)
			if status != 200 || !strings.Contains(strings.ToLower(body), c.want) {
				t.Errorf("it answers %d %q", status, body)
			}
			t.Logf("first answer after %s", time.Since(began).Round(time.Millisecond))
			for _, want := range []string{c.example, "http://" + c.example + ".apps.localhost"} {
				if !strings.Contains(out, want) {
					t.Errorf("push does not print %q:\n%s", want, out)
				}
			}
		})
	}
}

// onPath reports whether a program is in one of the directories that builds
// and apps of the server see.
func onPath(program string) bool {
	for _, dir := range []string{"/usr/local/go/bin", "/usr/local/bin", "/usr/bin", "/bin"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err == nil {
			return true
		}
	}
	path, err := exec.LookPath(program)
	return err == nil && !strings.HasPrefix(path, "/root/")
}

// TestPush_SecondUploadCarriesOnlyWhatChanged pushes an app of many files
// twice and reads how much travelled.
func TestPush_SecondUploadCarriesOnlyWhatChanged(t *testing.T) {
	t.Parallel()
	s := start(t)
	dir := t.TempDir()
	files := 2_000
	if long() {
		files = 10_000
	}
	for i := range files {
		write(t, filepath.Join(dir, fmt.Sprintf("node_modules/m%02d/f%d.js", i%50, i)), strings.Repeat(fmt.Sprintf("// %d\n", i), 40))
	}
	write(t, filepath.Join(dir, "index.html"), "<html>one</html>")
	write(t, filepath.Join(dir, "Staticfile"), "")
	sent := func() (uploaded string) {
		r := s.weir(dir, "push", "big")
		if r.code != 0 {
			t.Fatalf("push: exit %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		m := regexp.MustCompile(`(?m)^.*[Uu]pload.*$`).FindAllString(r.stderr, -1)
		return strings.Join(m, "\n")
	}
	first := sent()
	write(t, filepath.Join(dir, "index.html"), "<html>two</html>")
	second := sent()
	t.Logf("%d files\nfirst:  %s\nsecond: %s", files, first, second)
	if _, body, _ := s.get("big.apps.localhost", "/"); body != "<html>two</html>" {
		t.Errorf("after the second push it answers %q", body)
	}
	if !strings.Contains(second, "Uploading 1 file, 16B") { // and not the empty Staticfile
		t.Errorf("the second push does not tell that it uploaded one file: %s", second)
	}
}

// TestPush_OverARunningAppDropsNothing pushes, restarts, restages and scales
// an app under load, with weir's commands and with the calls of cf's.
func TestPush_OverARunningAppDropsNothing(t *testing.T) {
	s := start(t)
	dir := filepath.Join(repo(t), "examples/hello-go")
	s.mustIn(dir, "push", "web", "-i", "2", "-m", "64M")
	l := s.startLoad("http://web.apps.localhost/", 200)
	s.mustIn(dir, "push", "web", "-i", "2", "-m", "64M")
	s.must("restart", "web")
	s.must("restage", "web")
	s.must("scale", "web", "-m", "80M", "-f")
	s.must("scale", "web", "-i", "3")
	// What a cf push without a strategy ends with. It answers at once; a push
	// does not wait for the one before it.
	for range 2 {
		s.must("curl", "--fail", "-X", "POST", "/v3/apps/"+s.guid("web")+"/actions/restart")
	}
	s.eventually(time.Minute, "the restarted instances", func() error { return s.running("web", 3) })
	s.must("scale", "web", "-i", "1")
	sent, failed, why := l.stop()
	t.Logf("%d requests, %d failed", sent, failed)
	if failed > 0 {
		t.Errorf("%d of %d requests failed:\n%s", failed, sent, why)
	}
}

// TestPush_ThatNeverGetsHealthyLeavesTheOldOneServing pushes a version that
// exits, and one that never listens, over a good one.
func TestPush_ThatNeverGetsHealthyLeavesTheOldOneServing(t *testing.T) {
	s := start(t)
	dir := filepath.Join(repo(t), "examples/hello-go")
	s.mustIn(dir, "push", "web", "-m", "64M")
	_, before, err := s.get("web.apps.localhost", "/")
	must(t, "asking", err)
	l := s.startLoad("http://web.apps.localhost/", 100)
	for name, c := range map[string]struct{ command, want string }{
		"exits":         {"echo going away >&2; exit 7", "status 7"},
		"never listens": {"sleep 600", "listen"},
	} {
		r := s.weir(dir, "push", "web", "-m", "64M", "-c", c.command, "-t", "3")
		if r.code == 0 {
			t.Errorf("%s: push succeeded\n%s", name, r.stdout)
		}
		if !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: push does not say why (%q):\n%s", name, c.want, r.stderr)
		}
	}
	sent, failed, why := l.stop()
	if failed > 0 {
		t.Errorf("%d of %d requests failed:\n%s", failed, sent, why)
	}
	if _, after, _ := s.get("web.apps.localhost", "/"); after == "" || len(l.bodies) == 0 || after[:5] != before[:5] {
		t.Errorf("it answered %q before and %q after", before, after)
	}
	s.must("restart", "web") // the app is not left with the bad command's droplet
	s.answers("web.apps.localhost", 200)
}

func write(t testing.TB, path, content string) {
	t.Helper()
	must(t, "making "+path, os.MkdirAll(filepath.Dir(path), 0o755))
	must(t, "writing "+path, os.WriteFile(path, []byte(content), 0o644))
}
