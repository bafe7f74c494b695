package router

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// randomKey names a route of a small world, in which hosts, wildcards and
// paths meet often.
func randomKey(rnd *rand.Rand) RouteKey {
	k := RouteKey{Host: fmt.Sprintf("h%d.test", rnd.IntN(300))}
	if rnd.IntN(4) == 0 {
		k.Host = "*." + k.Host
	}
	if rnd.IntN(2) == 0 {
		k.Path = fmt.Sprintf("/p%d", rnd.IntN(12))
	}
	return k
}

// randomUpdate returns a change of the table numbered n, and makes it in want.
func randomUpdate(rnd *rand.Rand, n uint64, want map[RouteKey]string) Update {
	u := Update{From: n, Number: n + 1}
	for range rnd.IntN(4) {
		k := randomKey(rnd)
		u.Delete = append(u.Delete, k)
		delete(want, k)
	}
	for range rnd.IntN(12) {
		k := randomKey(rnd)
		guid := fmt.Sprint(rnd.Uint64())
		u.Upsert = append(u.Upsert, Route{Host: k.Host, Path: k.Path, GUID: guid})
		want[k] = guid
	}
	return u
}

func TestTable_AgreesWithASimpleMap(t *testing.T) {
	r := New(Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	want := map[RouteKey]string{}
	for n := uint64(0); n < 1500; n++ {
		if err := r.apply(randomUpdate(rnd, n, want)); err != nil {
			t.Fatal(err)
		}
		if n == 700 { // a table that is sent whole in between changes nothing
			if err := r.put(r.table.Load().table()); err != nil {
				t.Fatal(err)
			}
		}
		tab := r.table.Load()
		if tab.routes() != len(want) || tab.number() != n+1 {
			t.Fatalf("table %d: %d routes, want %d", tab.number(), tab.routes(), len(want))
		}
		if n%100 == 0 {
			agree(t, tab, want)
		}
		for range 5 {
			k := randomKey(rnd)
			path := k.Path + []string{"", "/x", "x", "/"}[rnd.IntN(4)]
			host := strings.Replace(k.Host, "*", "a.b", 1)
			got := ""
			if rt := tab.find(host, path); rt != nil {
				got = rt.src.GUID
			}
			if w := oracle(want, host, path); got != w {
				t.Fatalf("%s%s: got %q, want %q", host, path, got, w)
			}
		}
	}
}

// agree compares a table with what should be in it.
func agree(t *testing.T, tab *table, want map[RouteKey]string) {
	t.Helper()
	seen := 0
	for rt := range tab.all {
		seen++
		if want[rt.src.Key()] != rt.src.GUID {
			t.Errorf("%v: got %s, want %s", rt.src.Key(), rt.src.GUID, want[rt.src.Key()])
		}
	}
	if seen != len(want) {
		t.Errorf("%d routes, want %d", seen, len(want))
	}
}

// Two routes change places again and again, and a host is served by a
// wildcard or by its own route, but always by one of them. Nobody ever sees
// half of a change.
func TestTable_ReadersSeeChangesAsAWhole(t *testing.T) {
	r := New(Config{})
	swap := func(n uint64) Update {
		u := Update{From: n, Number: n + 1}
		own, wild := RouteKey{Host: "x.a.test"}, RouteKey{Host: "*.a.test"}
		if n%2 == 0 {
			u.Upsert, u.Delete = []Route{{Host: own.Host, GUID: "own"}}, []RouteKey{wild}
		} else {
			u.Upsert, u.Delete = []Route{{Host: wild.Host, GUID: "wild"}}, []RouteKey{own}
		}
		for i := range int(n % 40) { // and other hosts come and go, so that the index grows
			u.Upsert = append(u.Upsert, Route{Host: fmt.Sprintf("h%d-%d.test", n, i)})
		}
		return u
	}
	if err := r.put(Table{Number: 1, Routes: []Route{{Host: "*.a.test", GUID: "wild"}}}); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for !stop.Load() {
				if rt := r.table.Load().find("x.a.test", "/"); rt == nil {
					t.Error("a reader found neither route")
					return
				}
			}
		})
	}
	for n := uint64(1); n <= 2000; n++ {
		if err := r.apply(swap(n)); err != nil {
			t.Fatal(err)
		}
	}
	stop.Store(true)
	readers.Wait()
}

func TestPools_AreSharedAndForgotten(t *testing.T) {
	r := New(Config{})
	d := to("a", "127.0.0.1:1")
	for n := range uint64(100) {
		u := Update{From: n, Number: n + 1, Upsert: []Route{{Host: fmt.Sprintf("h%d.test", n), Destinations: []Destination{d}}}}
		if err := r.apply(u); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.pools.byHash) != 1 || len(r.backends.known) != 1 {
		t.Errorf("%d pools, %d instances", len(r.pools.byHash), len(r.backends.known))
	}
	if err := r.put(Table{Number: 200}); err != nil {
		t.Fatal(err)
	}
	if len(r.pools.byHash) != 0 || len(r.backends.known) != 0 {
		t.Errorf("%d pools, %d instances are left", len(r.pools.byHash), len(r.backends.known))
	}
}

func TestHost_WithManyPathsAnswersWithTheLongest(t *testing.T) {
	r := New(Config{})
	tab := Table{Number: 1}
	for i := range 100 {
		tab.Routes = append(tab.Routes, Route{Host: "a.test", Path: fmt.Sprintf("/p%d", i), GUID: fmt.Sprint(i)}, Route{Host: "a.test", Path: fmt.Sprintf("/p%d/deep/er", i), GUID: fmt.Sprint("deep", i)})
	}
	if err := r.put(tab); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/p7": "7", "/p7/": "7", "/p77/x": "77", "/p7/deep": "7", "/p7/deep/er/x": "deep7", "/p": "", "/": "", "": "", "/p100": ""} {
		got := ""
		if rt := r.table.Load().find("a.test", path); rt != nil {
			got = rt.src.GUID
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", path, got, want)
		}
	}
}

// Beside a writer that never rests, each reader gets for each host what it
// had at some moment between question and answer: neither what was replaced
// before nor anything else.
func TestTable_IsNeverWrongWhileItChanges(t *testing.T) {
	const hosts, changes = 20_000, 6000
	r := New(Config{})
	// Host i in its state n: its own route if n is even, else the wildcard's.
	host := func(i int) string { return fmt.Sprintf("h%d.z%d.test", i, i%7) }
	guid := func(i int, n int64) string {
		if n%2 == 1 {
			return fmt.Sprintf("*%d", i%7)
		}
		return fmt.Sprintf("%d/%d", i, n)
	}
	first := Table{Number: 1}
	for z := range 7 {
		first.Routes = append(first.Routes, Route{Host: fmt.Sprintf("*.z%d.test", z), GUID: fmt.Sprintf("*%d", z)})
	}
	for i := range hosts {
		first.Routes = append(first.Routes, Route{Host: host(i), GUID: guid(i, 0)})
	}
	if err := r.put(first); err != nil {
		t.Fatal(err)
	}
	begun, done := make([]atomic.Int64, hosts), make([]atomic.Int64, hosts)
	var stop atomic.Bool
	var asked atomic.Int64
	var readers sync.WaitGroup
	for seed := range uint64(3) {
		readers.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, 1))
			for n := 0; !stop.Load(); n++ {
				i := rnd.IntN(hosts)
				if n%2 == 0 {
					i = rnd.IntN(50) // that change all the time
				}
				from := done[i].Load()
				rt := r.table.Load().find(host(i), "/x")
				to := begun[i].Load()
				if asked.Add(1); rt == nil || !isOneOf(rt.src.GUID, from, to, func(n int64) string { return guid(i, n) }) {
					t.Errorf("%s between its states %d and %d: %+v", host(i), from, to, rt)
					return
				}
			}
		})
	}
	rnd := rand.New(rand.NewPCG(9, 9))
	for n := uint64(1); n <= changes && !t.Failed(); n++ {
		u := Update{From: n, Number: n + 1}
		var changed []int
		for range 1 + rnd.IntN(3) {
			i := rnd.IntN(50)
			if rnd.IntN(2) == 0 {
				i = rnd.IntN(hosts)
			}
			if slices.Contains(changed, i) {
				continue
			}
			changed = append(changed, i)
			if next := begun[i].Add(1); next%2 == 1 {
				u.Delete = append(u.Delete, RouteKey{Host: host(i)})
			} else {
				u.Upsert = append(u.Upsert, Route{Host: host(i), GUID: guid(i, next)})
			}
		}
		if err := r.apply(u); err != nil {
			t.Fatal(err)
		}
		for _, i := range changed {
			done[i].Add(1)
		}
	}
	eventually(t, "the readers had their say", func() bool { return asked.Load() > changes || t.Failed() })
	stop.Store(true)
	readers.Wait()
}

// isOneOf reports whether got is what say tells of one of the states.
func isOneOf(got string, from, to int64, say func(int64) string) bool {
	for n := from; n <= to; n++ {
		if got == say(n) {
			return true
		}
	}
	return false
}
