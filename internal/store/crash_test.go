package store_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"weir/internal/platform"
	"weir/internal/store"
)

// childVariable makes the test binary write to the store it names until it is
// killed, instead of running tests.
const childVariable = "WEIR_STORE_TEST_WRITE_TO"

func TestMain(m *testing.M) {
	if path := os.Getenv(childVariable); path != "" {
		if err := writeForever(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

// writeForever adds an app, its process and an event in one transaction after
// the other, and reports each app once it was acknowledged.
func writeForever(path string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, path)
	if err != nil {
		return err
	}
	if err := s.EnsureDefaults(ctx, "apps.localhost"); err != nil {
		return err
	}
	spaces, _, err := s.Spaces(ctx, store.Query{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	for {
		app := platform.App{Resource: platform.NewResource(time.Now()), SpaceGUID: spaces[0].GUID}
		app.Name = app.GUID
		err := s.Tx(ctx, func(tx *store.Tx) error {
			if err := tx.InsertApp(ctx, app); err != nil {
				return err
			}
			if err := tx.InsertProcess(ctx, platform.NewProcess(platform.NewResource(time.Now()), app.GUID, "web")); err != nil {
				return err
			}
			return tx.InsertEvent(ctx, platform.Event{Resource: platform.NewResource(time.Now()), TargetGUID: app.GUID})
		})
		if err != nil {
			return err
		}
		n, err := s.NextTableNumber(ctx)
		if err != nil {
			return err
		}
		fmt.Println(app.GUID, n)
	}
}

// killWriter lets a child write to path for a while and kills it. It returns
// the lines the child printed whole.
func killWriter(t *testing.T, path string, untilOpen bool, delay time.Duration) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+path)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	r := bufio.NewReader(out)
	if untilOpen {
		_, err := r.ReadString('\n')
		must(t, err)
	}
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	text, _ := io.ReadAll(r)
	if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
		t.Fatalf("the child ended by itself: %v", err)
	}
	lines := strings.SplitAfter(string(text), "\n")
	return lines[:len(lines)-1] // the last one has no end
}

func TestStore_KillLosesNothingAcknowledgedAndLeavesNothingHalf(t *testing.T) {
	t.Parallel()
	const kills = 12 // of each database
	databases := 1
	if os.Getenv("WEIR_TEST_LONG") != "" {
		databases = 84 // 1,008 kills
	}
	total := 0
	for range databases {
		total += killAndCheck(t, filepath.Join(t.TempDir(), "weir.db"), kills)
	}
	if total == 0 {
		t.Fatal("nothing was acknowledged in any round; the test proves nothing")
	}
	t.Logf("%d kills, %d acknowledged transactions", databases*kills, total)
}

// killAndCheck kills a writer to path again and again, and looks at the rows
// after each time. It returns how many transactions were acknowledged.
func killAndCheck(t *testing.T, path string, kills int) int {
	t.Helper()
	ctx := t.Context()
	var acknowledged []string
	for range kills {
		for _, line := range killWriter(t, path, true, time.Duration(rand.IntN(120))*time.Millisecond) {
			acknowledged = append(acknowledged, strings.TrimSpace(line))
		}
		s, err := store.Open(ctx, path)
		must(t, err)
		apps, napps, err := s.Apps(ctx, store.Query{})
		must(t, err)
		_, nprocesses, err := s.Processes(ctx, store.Query{})
		must(t, err)
		_, nevents, err := s.Events(ctx, store.Query{})
		must(t, err)
		if napps != nprocesses || napps != nevents {
			t.Fatalf("%d apps, %d processes, %d events: a transaction is half there", napps, nprocesses, nevents)
		}
		here := make(map[string]bool, napps)
		for _, a := range apps {
			here[a.GUID] = true
		}
		next, err := s.NextTableNumber(ctx)
		must(t, err)
		for _, line := range acknowledged {
			var guid string
			var number uint64
			if _, err := fmt.Sscan(line, &guid, &number); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			if !here[guid] {
				t.Fatalf("app %s was acknowledged and is gone", guid)
			}
			if number >= next {
				t.Fatalf("table number %d was given out before, next is %d", number, next)
			}
		}
		must(t, s.Close())
	}
	return len(acknowledged)
}

func TestOpen_SurvivesKillsDuringTheFirstMigration(t *testing.T) {
	t.Parallel()
	for range 15 {
		dir := t.TempDir()
		path := filepath.Join(dir, "weir.db")
		killWriter(t, path, false, time.Duration(rand.IntN(40))*time.Millisecond)
		s, err := store.Open(t.Context(), path)
		if err != nil {
			t.Fatalf("opening what a killed first start left: %v", err)
		}
		must(t, s.EnsureDefaults(t.Context(), "apps.localhost"))
		if _, n, err := s.Organizations(t.Context(), store.Query{}); n != 1 || err != nil {
			t.Errorf("%d organizations, %v", n, err)
		}
		must(t, s.Close())
	}
}
