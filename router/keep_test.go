package router

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// keeping returns a Router with the table kept in dir, loaded.
func keeping(t testing.TB, dir string) *Router {
	t.Helper()
	r := New(Config{Dir: dir, Logger: testLogger(t)})
	if err := r.load(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.keep.close)
	return r
}

func small(i int) Route {
	return Route{
		Host: fmt.Sprintf("h%d.test", i%50), Path: "/p", GUID: fmt.Sprint(i), Options: map[string]string{"timeout": "9s"},
		Destinations: []Destination{to("a", "127.0.0.1:1", "127.0.0.1:2")},
	}
}

func asMap(t Table) map[RouteKey]Route {
	m := map[RouteKey]Route{}
	for _, r := range t.Routes {
		m[r.Key()] = r
	}
	return m
}

func TestKeeper_LoadsWhatWasKept(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	number := uint64(0)
	for round := range 12 {
		if round%4 == 1 {
			number += 100
			if err := r.put(Table{Number: number, Routes: []Route{small(round)}}); err != nil {
				t.Fatal(err)
			}
		}
		for i := range rand.IntN(30) {
			u := Update{From: number, Number: number + 1, Upsert: []Route{small(i * round)}, Delete: []RouteKey{small(i + round).Key()}}
			if err := r.apply(u); err != nil {
				t.Fatal(err)
			}
			number++
		}
		again := keeping(t, dir)
		got, want := again.table.Load().table(), r.table.Load().table()
		if got.Number != want.Number {
			t.Fatalf("round %d: table %d, want %d", round, got.Number, want.Number)
		}
		if d := cmp.Diff(asMap(want), asMap(got)); d != "" {
			t.Fatalf("round %d: %s", round, d)
		}
		if round%2 == 0 {
			r = again
		} else {
			r = keeping(t, dir) // the abandoned ones wrote nothing
		}
	}
}

func TestKeeper_IgnoresATornLine(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	if err := r.put(Table{Number: 1, Routes: []Route{small(1)}}); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 4; n++ {
		if err := r.apply(Update{From: n, Number: n + 1, Upsert: []Route{small(int(n) + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	r.keep.close()
	journals, _ := filepath.Glob(filepath.Join(dir, "journal.*"))
	if len(journals) != 1 {
		t.Fatalf("journals: %v", journals)
	}
	whole, _ := os.ReadFile(journals[0])
	lines := strings.SplitAfter(string(whole), "\n")
	for cut := 1; cut < len(lines[2]); cut += 7 {
		if err := os.WriteFile(journals[0], []byte(lines[0]+lines[1]+lines[2][:len(lines[2])-cut]), 0o600); err != nil {
			t.Fatal(err)
		}
		r := keeping(t, dir)
		if n := r.table.Load().number(); n != 3 {
			t.Fatalf("cut %d: table %d", cut, n)
		}
		// What comes after must not stick to the torn line.
		if err := r.apply(Update{From: 3, Number: 33, Upsert: []Route{small(7)}}); err != nil {
			t.Fatal(err)
		}
		r.keep.close()
		if n := keeping(t, dir).table.Load().number(); n != 33 {
			t.Fatalf("cut %d: table %d after another update", cut, n)
		}
		_ = os.Remove(r.keep.path("journal", r.keep.gen))
	}
}

func TestKeeper_CompactsALongJournal(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	for n := range uint64(8000) {
		if err := r.apply(Update{From: n, Number: n + 1, Upsert: []Route{small(int(n))}}); err != nil {
			t.Fatal(err)
		}
	}
	r.keep.close()
	size := int64(0)
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		i, _ := e.Info()
		size += i.Size()
	}
	if size > 3*minJournal {
		t.Errorf("%d bytes for 50 routes", size)
	}
	if tables, _ := filepath.Glob(filepath.Join(dir, "table.*")); len(tables) != 1 {
		t.Errorf("got %v", tables)
	}
	again := keeping(t, dir)
	if d := cmp.Diff(asMap(r.table.Load().table()), asMap(again.table.Load().table())); d != "" {
		t.Error(d)
	}
	if again.table.Load().number() != 8000 {
		t.Errorf("table %d", again.table.Load().number())
	}
}

func TestKeeper_LoadsWithACompactionUnfinished(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	if err := r.put(Table{Number: 1, Routes: []Route{small(1)}}); err != nil {
		t.Fatal(err)
	}
	for n := uint64(1); n < 20; n++ {
		if n == 10 {
			// As compact does, killed before it wrote the table.
			r.keep.gen++
			r.keep.closeJournal()
			if err := os.WriteFile(r.keep.path("table", r.keep.gen)+".tmp", []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.apply(Update{From: n, Number: n + 1, Upsert: []Route{small(int(n) + 1)}}); err != nil {
			t.Fatal(err)
		}
	}
	again := keeping(t, dir)
	if s := again.table.Load(); s.number() != 20 || s.routes() != 20 {
		t.Errorf("table %d with %d routes", s.number(), s.routes())
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*.tmp")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestKeeper_StartsEmptyFromADamagedTable(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	if err := r.put(Table{Number: 7, Routes: []Route{small(1), small(2)}}); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(Update{From: 7, Number: 8, Upsert: []Route{small(3)}}); err != nil {
		t.Fatal(err)
	}
	r.keep.close()
	tables, _ := filepath.Glob(filepath.Join(dir, "table.*"))
	b, _ := os.ReadFile(tables[0])
	for _, bad := range [][]byte{nil, b[:len(b)/2], []byte("{}x")} {
		if err := os.WriteFile(tables[0], bad, 0o600); err != nil {
			t.Fatal(err)
		}
		again := keeping(t, dir)
		if s := again.table.Load(); s.number() != 0 || s.routes() != 0 {
			t.Errorf("%q: table %d with %d routes", bad, s.number(), s.routes())
		}
	}
	again := keeping(t, dir)
	if err := again.put(Table{Number: 9, Routes: []Route{small(4)}}); err != nil {
		t.Fatal(err)
	}
	if s := keeping(t, dir).table.Load(); s.number() != 9 || s.routes() != 1 {
		t.Errorf("table %d with %d routes", s.number(), s.routes())
	}
}

func TestRouter_GoesOnWhenTheTableCannotBeKept(t *testing.T) {
	dir := t.TempDir()
	r := keeping(t, dir)
	if err := r.put(Table{Number: 1, Routes: []Route{small(1)}}); err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	r.keep.closeJournal()
	r.keep.dir = gone
	if err := r.apply(Update{From: 1, Number: 2, Upsert: []Route{small(2)}}); err != nil {
		t.Fatal(err)
	}
	if st := r.status(); st.Number != 2 || st.Persisted {
		t.Errorf("got %+v", st)
	}
	if err := os.Mkdir(gone, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := r.apply(Update{From: 2, Number: 3, Upsert: []Route{small(3)}}); err != nil {
		t.Fatal(err)
	}
	if st := r.status(); !st.Persisted {
		t.Errorf("got %+v", st)
	}
	if s := keeping(t, gone).table.Load(); s.number() != 3 || s.routes() != 3 {
		t.Errorf("table %d with %d routes", s.number(), s.routes())
	}
}
