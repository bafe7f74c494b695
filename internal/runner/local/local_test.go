package local_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/internal/keeper"
	"weir/internal/platform"
	"weir/internal/runner"
	"weir/internal/runner/local"
	"weir/internal/runner/runnertest"
	"weir/isolation"
)

func TestMain(m *testing.M) {
	if isolation.IsInit() {
		isolation.InitMain()
	}
	goleak.VerifyTestMain(m)
}

// dataDir returns a data directory that the users of instances can pass.
func dataDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "weir-local-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

// startKeeper runs a keeper without children until the returned function is called.
func startKeeper(t *testing.T, cfg keeper.Config) (stop func()) {
	t.Helper()
	cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	cfg.UID, cfg.GID = 199999, 199999
	cfg.InitEnv = []string{"GORACE=atexit_sleep_ms=0"} // else each init lingers for a second
	k := keeper.New(cfg)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	select {
	case <-k.Ready():
	case err := <-done:
		cancel()
		t.Fatalf("the keeper ended: %v", err)
	}
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestRunner_KeepsTheContract(t *testing.T) {
	for _, without := range [][]string{nil, {isolation.WithoutNamespaces, isolation.WithoutCgroups}} {
		runnertest.Run(t, func(t *testing.T) runner.Runner {
			dir := dataDir(t)
			t.Cleanup(startKeeper(t, keeper.Config{DataDir: dir, Without: without}))
			return local.New(local.Config{DataDir: dir, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
		})
	}
}

func TestRunner_WithoutAKeeper(t *testing.T) {
	r := local.New(local.Config{DataDir: dataDir(t), DialTimeout: 50 * time.Millisecond})
	if _, err := r.List(t.Context()); platform.KindOf(err) != platform.KindUnavailable {
		t.Errorf("list: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Watch(ctx); !errors.Is(err, context.Canceled) && platform.KindOf(err) != platform.KindUnavailable {
		t.Errorf("watch: %v", err)
	}
}

func TestRunner_WaitsForAKeeperThatComesBack(t *testing.T) {
	dir := dataDir(t)
	r := local.New(local.Config{DataDir: dir})
	listed := make(chan error, 1)
	go func() {
		_, err := r.List(t.Context())
		listed <- err
	}()
	stop := startKeeper(t, keeper.Config{DataDir: dir})
	if err := <-listed; err != nil {
		t.Error(err)
	}
	events, err := r.Watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stop()
	if _, ok := <-events; ok {
		t.Error("an event came from a keeper that was stopped")
	}
	defer startKeeper(t, keeper.Config{DataDir: dir})()
	if _, err := r.Watch(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestKeeper_StopsEverythingAndLeavesNothing(t *testing.T) {
	dir := dataDir(t)
	stop := startKeeper(t, keeper.Config{DataDir: dir})
	r := local.New(local.Config{DataDir: dir})
	tree := filepath.Join(dir, "tree")
	if err := os.MkdirAll(filepath.Join(tree, "app"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, guid := range []string{"a", "b", "c"} {
		_, err := r.Start(t.Context(), runner.Spec{
			GUID: guid, Tree: tree, Dir: "app", Grace: 200 * time.Millisecond,
			Args: []string{"/bin/sh", "-c", "trap '' TERM; sleep 1000"},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Start(t.Context(), runner.Spec{GUID: "../x", Tree: tree, Args: []string{"/bin/true"}}); platform.KindOf(err) != platform.KindInvalid {
		t.Errorf("a GUID with a path: %v", err)
	}
	stop()
	for _, sub := range []string{"instances/*", "run/*", "keeper*"} {
		if left, _ := filepath.Glob(filepath.Join(dir, sub)); len(left) != 0 {
			t.Errorf("left: %v", left)
		}
	}
}

func TestInstances_DoNotSeeThePlatformsFiles(t *testing.T) {
	dir := dataDir(t)
	defer startKeeper(t, keeper.Config{DataDir: dir})()
	r := local.New(local.Config{DataDir: dir})
	for _, sub := range []string{"tree/app", "bin", "cache"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"weir.db", "weir.db-wal", "admin-password"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	users := map[string]bool{}
	for guid, c := range map[string]struct{ tree, root string }{
		"app":   {tree: filepath.Join(dir, "tree")},
		"build": {root: filepath.Join(dir, "tree")},
	} {
		st, err := r.Start(t.Context(), runner.Spec{
			GUID: guid, Tree: c.tree, Root: c.root, Args: []string{"/bin/sh", "-c", "id -u; ls " + dir},
			Env: func(runner.Endpoint) []string { return []string{"PATH=/usr/bin:/bin"} },
		})
		if err != nil {
			t.Fatal(err)
		}
		if st.Endpoint.Root != isolation.HomeRoot {
			t.Skip("this machine allows no namespaces")
		}
		stdout, _ := r.Logs(guid)
		f, err := os.OpenFile(stdout, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(f)
		f.Close()
		user, sees, _ := strings.Cut(string(got), "\n")
		if sees != "bin\n" || err != nil {
			t.Errorf("%s sees %q, %v", guid, sees, err)
		}
		users[user] = true
	}
	if os.Geteuid() == 0 && (len(users) != 2 || users["0"]) {
		t.Errorf("an app and a build have no users of their own: %v", users)
	}
}
