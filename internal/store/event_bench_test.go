package store

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"weir/internal/platform"
)

// manyEvents is a store with events of a thousand targets, a second apart.
func manyEvents(b *testing.B, n int) *Store {
	b.Helper()
	s, err := Open(b.Context(), filepath.Join(b.TempDir(), "weir.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	begin := time.Now().Add(-time.Duration(n) * time.Second)
	for i := 0; i < n; {
		err := s.Tx(b.Context(), func(tx *Tx) error {
			for range 1000 {
				e := platform.Event{
					Resource: platform.NewResource(begin.Add(time.Duration(i) * time.Second)), Type: "audit.app.traffic.weight",
					TargetGUID: fmt.Sprintf("app-%d", i%1000), TargetType: "app", TargetName: "shop", SpaceGUID: "space", OrgGUID: "org",
					Data: map[string]any{"text": "Set the weights of app shop to v1 95, v2 5", "table": i, "split": i},
				}
				if err := tx.InsertEvent(b.Context(), e); err != nil {
					return err
				}
				i++
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	return s
}

// What `weir events APP` and the first page of all events cost among a hundred
// thousand, and one more event.
func BenchmarkEvents_HundredThousand(b *testing.B) {
	s := manyEvents(b, 100_000)
	for name, q := range map[string]Query{
		"OfOneApp": {In: map[string][]string{"target_guids": {"app-7"}}, OrderBy: "created_at", Desc: true, PerPage: 50},
		"OfASpace": {In: map[string][]string{"space_guids": {"space"}}, OrderBy: "created_at", Desc: true, PerPage: 50},
		"All":      {PerPage: 50},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, _, err := s.Events(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("Insert", func(b *testing.B) {
		for b.Loop() {
			e := platform.Event{Resource: platform.NewResource(time.Now()), Type: "t", TargetGUID: "app-7", SpaceGUID: "space"}
			if err := s.InsertEvent(b.Context(), e); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("SweepNothing", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.SweepEvents(b.Context(), time.Now().Add(-90*24*time.Hour), 10_000); err != nil {
				b.Fatal(err)
			}
		}
	})
}
