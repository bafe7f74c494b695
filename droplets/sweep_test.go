package droplets

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
)

func TestSweep_KeepsWhatIsLiveLeasedOrYoung(t *testing.T) {
	s := newStore(t, Options{})
	mk := func(name string) Manifest { return commit(t, s, files{"app/f": name}, CommitInfo{}) }
	live, leased, gone := mk("live"), mk("leased"), mk("gone")
	release, err := s.Lease(leased.Digest)
	if err != nil {
		t.Fatal(err)
	}
	release2, err := s.Lease(leased.Digest)
	if err != nil {
		t.Fatal(err)
	}
	livePackage, gonePackage := put(t, s, files{"x": "live", "y": "both"}), put(t, s, files{"x": "gone", "y": "both"})
	have := func(want ...bool) {
		t.Helper()
		var got []bool
		for _, d := range []string{live.Digest, leased.Digest, gone.Digest} {
			_, ok := s.Tree(d)
			got = append(got, ok)
		}
		for _, d := range []string{livePackage, gonePackage} {
			got = append(got, s.present(packages, d))
		}
		match, err := s.Match(t.Context(), []Resource{resource("", "gone", 0), resource("", "both", 0)})
		if err != nil {
			t.Fatal(err)
		}
		if got = append(got, match...); !cmp.Equal(want, got) {
			t.Errorf("live, leased, gone, package live, gone, file gone, both: got %v, want %v", got, want)
		}
	}
	sweep := func(grace time.Duration) int64 {
		t.Helper()
		freed, err := s.Sweep(t.Context(), []string{live.Digest}, []string{livePackage}, grace)
		if err != nil {
			t.Fatal(err)
		}
		return freed
	}
	if freed := sweep(time.Hour); freed != 0 {
		t.Errorf("freed %d of what is young", freed)
	}
	have(true, true, true, true, true, true, true)
	if freed := sweep(0); freed != int64(len("gone"+"gone")) {
		t.Errorf("freed %d", freed)
	}
	have(true, true, false, true, false, false, true)
	release()
	release() // more than once is fine, and counts once
	sweep(0)
	have(true, true, false, true, false, false, true)
	release2()
	sweep(0)
	have(true, false, false, true, false, false, true)
	if _, err := s.Lease(leased.Digest); platform.KindOf(err) != platform.KindNotFound {
		t.Errorf("lease on what was swept: %v", err)
	}
}

func TestSweep_ACommitOfWhatIsThereMakesItYoung(t *testing.T) {
	s := newStore(t, Options{})
	m := commit(t, s, built, info)
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(s.manifestPath(trees, m.Digest), old, old); err != nil {
		t.Fatal(err)
	}
	commit(t, s, built, info)
	if _, err := s.Sweep(t.Context(), nil, nil, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.Tree(m.Digest); !ok {
		t.Error("swept right after it was committed again")
	}
}

func TestLease_AndSweepRace(t *testing.T) {
	s := newStore(t, Options{})
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if _, err := s.Sweep(t.Context(), nil, nil, 0); err != nil {
				t.Error(err)
			}
		}
	})
	for range 60 {
		m := commit(t, s, files{"app/f": "x"}, CommitInfo{})
		release, err := s.Lease(m.Digest)
		if err != nil {
			continue // swept in between
		}
		dir := s.treePath(trees, m.Digest)
		for range 20 {
			if b, err := os.ReadFile(filepath.Join(dir, "app/f")); err != nil || string(b) != "x" {
				t.Fatalf("a leased tree changed: %q %v", b, err)
			}
		}
		release()
	}
	close(stop)
	wg.Wait()
}
