package droplets

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the process that is killed: with
// WEIR_TEST_CRASH set it works on the store until somebody ends it.
func TestMain(m *testing.M) {
	if dir := os.Getenv("WEIR_TEST_CRASH"); dir != "" {
		crashWorker(dir, os.Getenv("WEIR_TEST_CRASH_KIND"))
		return
	}
	goleak.VerifyTestMain(m)
}

// crashFiles is what the worker works with; large enough that a kill lands
// somewhere inside.
func crashFiles() files {
	f := files{}
	for i := range 150 {
		f[fmt.Sprintf("app/dir-%d/file-%d", i%10, i)] = strings.Repeat(fmt.Sprint(i), 200+i*20)
	}
	return f
}

type crashed struct{ t string }

func (c crashed) fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, c.t, err)
		os.Exit(1)
	}
}

// crashWorker says "ready", then commits again and again, each time something
// that is not there yet.
func crashWorker(dir, kind string) {
	s, err := Open(dir, Options{})
	crashed{"open"}.fail(err)
	bits, err := io.ReadAll(os.Stdin)
	crashed{"read"}.fail(err)
	keep := strings.Fields(os.Getenv("WEIR_TEST_CRASH_KEEP")) // a droplet and a package
	fmt.Println("ready")
	ctx := context.Background()
	for i := 0; ; i++ {
		switch kind {
		case "package":
			_, _, err = s.PutPackage(ctx, bytes.NewReader(bits), nil)
		case "stream":
			_, _, err = s.PutPackage(ctx, struct{ io.Reader }{bytes.NewReader(bits)}, nil)
		case "droplet":
			_, err = s.Import(ctx, bytes.NewReader(bits), func(string) (CommitInfo, error) {
				return CommitInfo{Stack: fmt.Sprint(i)}, nil
			})
		}
		crashed{kind}.fail(err)
		if kind != "droplet" {
			_, err = s.Sweep(ctx, keep[:1], keep[1:], 0)
			crashed{"sweep"}.fail(err)
		}
		fmt.Println("done")
	}
}

func TestStore_KilledAtAnyPointShowsNothingHalfDone(t *testing.T) {
	rounds := 8
	if n, err := strconv.Atoi(os.Getenv("WEIR_TEST_CRASH_ROUNDS")); err == nil {
		rounds = n
	}
	bits := crashFiles().zip(t).Bytes()
	for _, kind := range []string{"package", "stream", "droplet"} {
		t.Run(kind, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "store")
			s, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			// Something to keep, sharing files with what is being uploaded.
			kept := crashFiles()
			kept["app/kept"] = "kept"
			keep := put(t, s, kept)
			keepTree := commit(t, s, kept, CommitInfo{}).Digest
			want, _ := usage(t, dir)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			outcomes := map[string]int{}
			once := killWorker(t, dir, kind, keepTree+" "+keep, bits, 0)
			for range rounds {
				killWorker(t, dir, kind, keepTree+" "+keep, bits, 1+rand.N(once*3/2))
				outcomes[afterCrash(t, dir, keep, keepTree, want)]++
			}
			t.Log(kind, outcomes)
		})
	}
}

// killWorker starts a worker and ends it with SIGKILL: a while after it began,
// or if that is 0 when it is done once. It returns how long it worked.
func killWorker(t *testing.T, dir, kind, keep string, bits []byte, after time.Duration) time.Duration {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "WEIR_TEST_CRASH="+dir, "WEIR_TEST_CRASH_KIND="+kind, "WEIR_TEST_CRASH_KEEP="+keep)
	cmd.Stdin = bytes.NewReader(bits)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	if _, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("the worker did not start: %v %s", err, stderr.String())
	}
	start := time.Now()
	if after > 0 {
		time.Sleep(after) // the point of the test: any moment
	} else if _, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("the worker did not finish once: %v %s", err, stderr.String())
	}
	took := time.Since(start)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	if stderr.Len() > 0 {
		t.Fatalf("the worker failed: %s", stderr.String())
	}
	return took
}

// afterCrash opens the store as the next start does and looks it over.
func afterCrash(t *testing.T, dir, keep, keepTree string, want int64) (outcome string) {
	t.Helper()
	leftovers, err := os.ReadDir(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if now, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(now) != 1 {
		t.Errorf("tmp holds %v, %v: want only our own", now, err)
	}
	outcome = "nothing"
	for _, a := range []area{trees, packages} {
		found, err := s.list(a)
		if err != nil {
			t.Fatal(err)
		}
		for _, digest := range found {
			// What is visible is whole.
			m, err := s.readManifest(t.Context(), a, digest)
			if err != nil {
				t.Fatal(err)
			}
			bad, err := s.compare(t.Context(), &m, s.treePath(a, digest), true)
			if err != nil || bad != "" {
				t.Errorf("%s %s: %s %v", a, digest, bad, err)
			}
			if digest != keep && digest != keepTree {
				outcome = "whole"
			}
		}
	}
	if outcome == "nothing" && len(leftovers) > 0 {
		outcome = "leftovers"
	}
	// Nobody acknowledged the rest, so it goes, and takes no space.
	if _, err := s.Sweep(t.Context(), []string{keepTree}, []string{keep}, 0); err != nil {
		t.Fatal(err)
	}
	if got, _ := usage(t, dir); got != want {
		t.Errorf("uses %d bytes, before %d", got, want)
	}
	return outcome
}

func TestOpen_RemovesLeftoversButNotAnothersWork(t *testing.T) {
	s := newStore(t, Options{})
	work, err := s.temp("x")
	if err != nil {
		t.Fatal(err)
	}
	built.write(t, filepath.Join(work, "tree"))
	if err := os.Chmod(filepath.Join(work, "tree/app"), 0o500); err != nil {
		t.Fatal(err)
	}
	beside, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer beside.Close()
	if _, err := os.Stat(work); err != nil {
		t.Error("another's work is gone:", err)
	}
	m := commit(t, s, built, info)
	orphan := strings.Repeat("a", 64)
	for _, ext := range []string{".json", ".damaged"} {
		if err := os.WriteFile(s.treePath(trees, orphan)+ext, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	before := maps.Clone(read(t, s.treePath(trees, m.Digest)))
	again := reopen(t, s, Options{})
	if _, err := os.Stat(work); err == nil {
		t.Error("leftovers are still there")
	}
	if got := read(t, filepath.Join(s.dir, "trees")); got[orphan+".json"] != "" || len(got) != len(before)+2 {
		t.Errorf("orphans are still there: %d entries", len(got))
	}
	if _, ok := again.Tree(m.Digest); !ok {
		t.Error("a droplet is gone")
	}
}
