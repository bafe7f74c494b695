package store_test

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"weir/internal/platform"
	"weir/internal/store"
)

// open returns a store on a file of its own, with the defaults in it.
func open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "weir.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	must(t, s.EnsureDefaults(t.Context(), "apps.localhost"))
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// got returns the first of a call's results and fails on its error.
func got[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return v
	}
}

// start is when everything in these tests was created.
var start = time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)

func res() platform.Resource { return platform.NewResource(start) }

func TestStore_KeepsEveryFieldOfEveryResource(t *testing.T) {
	s := open(t)
	f := full(t, s)
	ctx := t.Context()
	for name, pair := range f.read(ctx, s) {
		if pair.err != nil {
			t.Errorf("%s: %v", name, pair.err)
			continue
		}
		if diff := cmp.Diff(pair.want, pair.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func space(t testing.TB, s *store.Store) platform.Space {
	t.Helper()
	all, _, err := s.Spaces(context.Background(), store.Query{})
	must(t, err)
	return all[0]
}
