package buildpacks_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"weir/buildpacks"
)

// launcher starts a process as the platform does: profile scripts, then the
// command, from the app's directory.
const launcher = `for f in ../profile.d/*.sh .profile.d/*.sh .profile; do if [ -f "$f" ]; then . "$f"; fi; done; exec bash -c "$1"`

// answers starts a process of the built droplet and returns what it answers.
func (s *stage) answers(command, path string) string {
	s.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	// The droplet runs elsewhere than where it was built.
	root := filepath.Join(s.t.TempDir(), "root")
	if err := os.Rename(filepath.Join(s.dir, buildpacks.DropletDir), root); err != nil {
		s.t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command("bash", "-c", launcher, "launcher", command)
	cmd.Dir = filepath.Join(root, "app")
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + cmd.Dir, "TMPDIR=" + filepath.Join(root, "tmp"), "DEPS_DIR=" + filepath.Join(root, "deps"),
		fmt.Sprintf("PORT=%d", port), "CF_INSTANCE_INDEX=0", "VCAP_APP_HOST=127.0.0.1",
		"WEIR_EXE=" + s.executable(), "STATIC_SERVER=1", "LANG=C.UTF-8",
	}
	cmd.Stdout, cmd.Stderr = &log, &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { cmd.Wait(); close(ended) }()
	defer func() {
		syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		<-ended
	}()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", port, path))
		if err == nil {
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			return string(body)
		}
		select {
		case <-ended:
			s.t.Fatalf("%q ended: %s\n%s", command, cmd.ProcessState, &log)
		default:
		}
	}
	s.t.Fatalf("%q did not answer", command)
	return ""
}

func (s *stage) executable() string {
	exe, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	return exe
}

// example returns the files of an example app by path.
func example(t *testing.T, name string) map[string]string {
	t.Helper()
	files := map[string]string{}
	root := filepath.Join("..", "examples", name)
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		rel, _ := filepath.Rel(root, p)
		files[rel] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// needs skips a test whose toolchain this machine lacks.
func needs(t *testing.T, commands ...string) {
	t.Helper()
	for _, c := range commands {
		if _, err := exec.LookPath(c); err != nil {
			t.Skipf("there is no %s on this machine", c)
		}
	}
}

// digest names the content of a tree: paths, kinds, modes and bytes.
func digest(t *testing.T, root string) (string, map[string]string) {
	t.Helper()
	parts := map[string]string{}
	err := filepath.WalkDir(root, func(p string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(root, p)
		switch {
		case info.Mode().IsRegular():
			data, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			parts[rel] = fmt.Sprintf("%v %x", info.Mode()&0o111 != 0, sha256.Sum256(data))
		case info.Mode().Type() == fs.ModeSymlink:
			parts[rel], err = os.Readlink(p)
			return err
		default:
			parts[rel] = info.Mode().Type().String()
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.New()
	for _, p := range slices.Sorted(maps.Keys(parts)) {
		fmt.Fprintln(sum, p, parts[p])
	}
	return hex.EncodeToString(sum.Sum(nil)), parts
}

func TestExamples_BuildAnswerAndAreReproducible(t *testing.T) {
	for _, c := range []struct {
		example, pack string
		needs         []string
		env           []string
		path, answer  string
		version       bool // of a toolchain is recorded
	}{
		{"hello-go", "go", []string{"go"}, nil, "/", "Hello from hello-go 1.0, instance 0\n", false},
		{"hello-node", "nodejs", []string{"node", "npm"}, nil, "/", "Hello from hello-node, instance 0\n", true},
		{"hello-python", "python", []string{"python3"}, nil, "/", "Hello from hello-python, instance 0\n", true},
		{"hello-static", "staticfile", nil, nil, "/", "<h1>Hello from hello-static</h1>", false},
		{"hello-procfile", "procfile", []string{"perl"}, nil, "/", "Hello from hello-procfile, instance 0\n", false},
		{"web-and-worker", "go", []string{"go"}, nil, "/", "Hello from the web process, instance 0\n", false},
		{"blue-green/shop-a", "static", nil, nil, "/", "The shop, version A", false},
	} {
		t.Run(c.example, func(t *testing.T) {
			needs(t, c.needs...)
			files := example(t, c.example)
			first := newStage(t, files)
			first.useGoCache(c.pack)
			r := first.build(buildpacks.Plan{Packs: first.builtIn(), Detect: true}, c.env...)
			if r.Code != 0 || len(r.Used) != 1 || r.Used[0].Key != c.pack {
				t.Fatalf("%+v\n%s", r, &first.out)
			}
			want, wantParts := digest(t, filepath.Join(first.dir, buildpacks.DropletDir))

			// Once more elsewhere, with the cache of the first build.
			second := newStage(t, files)
			if err := os.Rename(filepath.Join(first.dir, buildpacks.CacheDir), filepath.Join(second.dir, buildpacks.CacheDir)); err != nil {
				t.Fatal(err)
			}
			start := time.Now()
			if r := second.build(buildpacks.Plan{Packs: second.builtIn(c.pack)}, c.env...); r.Code != 0 {
				t.Fatalf("%+v\n%s", r, &second.out)
			}
			t.Logf("the second build took %s", time.Since(start).Round(time.Millisecond))
			if got, parts := digest(t, filepath.Join(second.dir, buildpacks.DropletDir)); got != want {
				for _, p := range slices.Sorted(maps.Keys(parts)) {
					if parts[p] != wantParts[p] {
						t.Errorf("%s differs between two builds", p)
					}
				}
				t.Errorf("two builds of the same source differ; files of the first: %d, of the second: %d", len(wantParts), len(parts))
			}
			if got := first.answers(r.ProcessTypes["web"], c.path); !strings.Contains(got, c.answer) {
				t.Errorf("%q answered %q, want %q", r.ProcessTypes["web"], got, c.answer)
			}
		})
	}
}

// useGoCache gives a build of Go the cache that already compiled these tests.
// Builds of the platform never share one.
func (s *stage) useGoCache(pack string) {
	s.t.Helper()
	if pack != "go" {
		return
	}
	shared, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	dir := filepath.Join(s.dir, buildpacks.CacheDir, "pack-go")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Symlink(strings.TrimSpace(string(shared)), filepath.Join(dir, "build")); err != nil {
		s.t.Fatal(err)
	}
}
