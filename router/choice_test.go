package router

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
)

// weighted returns a route over destinations with these weights, and the
// order in which it chose them.
func weighted(weights []int, n int) (r *route, chosen []int) {
	src := Route{Host: "a.test"}
	for i, w := range weights {
		src.Destinations = append(src.Destinations, Destination{
			AppGUID: fmt.Sprint(i), Weight: w, Backends: []Backend{{InstanceGUID: fmt.Sprint(i), Addr: "127.0.0.1:1"}},
		})
	}
	r = New(Config{}).compile(&src, nil)
	at := map[*destination]int{}
	for i := range r.dests {
		at[&r.dests[i]] = i
	}
	for range n {
		chosen = append(chosen, at[r.next()])
	}
	return r, chosen
}

// worst returns the largest distance, over all destinations and all windows of
// the given length, between what one got and its share.
func worst(weights, chosen []int, window int) float64 {
	total := 0
	for _, w := range weights {
		total += w
	}
	max := 0.0
	for i, w := range weights {
		share := float64(window) * float64(w) / float64(total)
		got := 0
		for n, c := range chosen {
			if c == i {
				got++
			}
			if n >= window && chosen[n-window] == i {
				got--
			}
			if n >= window-1 {
				max = math.Max(max, math.Abs(float64(got)-share))
			}
		}
	}
	return max
}

// The golden-ratio sequence is never further than 2.7 from the share of any
// part of the interval in 100 steps. Requests come in whole numbers, so a
// share of whole percents is met within two, and any share lies between two
// less than itself rounded down and two more than itself rounded up.
func TestNext_StaysWithinTwoOfEachShareInAnyHundredRequests(t *testing.T) {
	percents := [][]int{{95, 5}, {50, 50}, {99, 1}, {70, 20, 7, 2, 1}, {34, 33, 33}, {0, 25, 0, 75}, {13, 12, 13, 12, 13, 12, 13, 12}}
	for range 100 {
		w := make([]int, 2+rand.IntN(7))
		for left := 100; left > 0; left-- {
			w[rand.IntN(len(w))]++
		}
		percents = append(percents, w)
	}
	for _, w := range percents {
		_, chosen := weighted(w, 5000)
		if d := worst(w, chosen, 100); d > 2 {
			t.Errorf("weights %v: off by %.2f in a window of 100", w, d)
		}
		if d := worst(w, chosen, 5000); d > 10 {
			t.Errorf("weights %v: off by %.2f in 5000", w, d)
		}
	}
	for range 100 {
		w := make([]int, 2+rand.IntN(7))
		for i := range w {
			w[i] = 1 + rand.IntN(1000)
		}
		_, chosen := weighted(w, 5000)
		if d := worst(w, chosen, 100); d > 2.7 {
			t.Errorf("weights %v: off by %.2f in a window of 100", w, d)
		}
	}
}

func TestNext_DoesNotAliasWithPagesOfTwentyRequests(t *testing.T) {
	_, chosen := weighted([]int{95, 5}, 20*5000)
	var at [20]int
	for n, c := range chosen {
		at[n%20] += c
	}
	for i, n := range at {
		if share := float64(n) / 5000; share < 0.04 || share > 0.06 {
			t.Errorf("request %d of each page: %.3f go to the 5%% version", i, share)
		}
	}
}

func TestNewRoute_LeavesOutWhatCannotTakeRequests(t *testing.T) {
	src := Route{Destinations: []Destination{
		to("zero", "127.0.0.1:1"), to("none"), to("some", "127.0.0.1:2"), to("more", "127.0.0.1:3"),
	}}
	src.Destinations[0].Weight = 0
	src.Destinations[3].Weight = 3
	r := New(Config{}).compile(&src, nil)
	got := map[string]int{}
	for range 400 {
		got[r.next().src.AppGUID]++
	}
	if len(r.share.live) != 2 || got["some"] < 98 || got["some"] > 102 || got["more"] < 298 {
		t.Errorf("got %v", got)
	}
	if r.next().instance("zero-0") != nil {
		t.Error("an instance of weight 0 was found")
	}
}

// oracle finds a route the slow way.
func oracle(routes map[RouteKey]string, host, path string) string {
	hosts := []string{host}
	for rest := host; rest != ""; {
		_, rest, _ = strings.Cut(rest, ".")
		hosts = append(hosts, "*."+rest)
	}
	for _, h := range hosts {
		best, guid := -1, ""
		for k, g := range routes {
			if k.Host == h && (path == k.Path || strings.HasPrefix(path, k.Path+"/") || k.Path == "") && len(k.Path) > best {
				best, guid = len(k.Path), g
			}
		}
		if best >= 0 {
			return guid
		}
	}
	return ""
}

func TestApply_RefusesWhatDoesNotFit(t *testing.T) {
	r := New(Config{})
	if err := r.apply(Update{From: 1, Number: 2}); err == nil {
		t.Error("an update for another table was taken")
	}
	for _, rt := range []Route{
		{Host: ""},
		{Host: "a b"},
		{Host: "a.test:80x"},
		{Host: "a.test", Path: "x"},
		{Host: "a.test", Destinations: []Destination{{Weight: -1}}},
		{Host: "a.test", Destinations: []Destination{{Protocol: "http3"}}},
		{Host: "a.test", Destinations: []Destination{{Backends: []Backend{{InstanceGUID: "i", Addr: "nowhere"}}}}},
		{Host: "a.test", Destinations: []Destination{{Backends: []Backend{{Addr: "127.0.0.1:1"}}}}},
	} {
		if err := r.put(Table{Number: 1, Routes: []Route{rt}}); err == nil {
			t.Errorf("taken: %+v", rt)
		}
	}
	if err := r.put(Table{Number: 1, Routes: []Route{{Host: "a.test"}, {Host: "A.test."}}}); err == nil {
		t.Error("a table with the same route twice was taken")
	}
	if r.table.Load().number() != 0 {
		t.Error("a refused table left traces")
	}
}

func TestPut_KeepsTheCountersOfRoutesThatDidNotChange(t *testing.T) {
	r := New(Config{})
	tab := Table{Number: 1, Routes: []Route{
		{Host: "a.test", Destinations: []Destination{to("a", "127.0.0.1:1")}},
		{Host: "b.test", Destinations: []Destination{to("b", "127.0.0.1:2")}},
	}}
	if err := r.put(tab); err != nil {
		t.Fatal(err)
	}
	a, b := r.table.Load().find("a.test", "/"), r.table.Load().find("b.test", "/")
	counts := b.dests[0].counts()
	tab.Number = 2
	tab.Routes = []Route{tab.Routes[0], {Host: "b.test", Destinations: []Destination{to("b", "127.0.0.1:3")}}}
	if err := r.put(tab); err != nil {
		t.Fatal(err)
	}
	if r.table.Load().find("a.test", "/") != a {
		t.Error("an unchanged route was made anew")
	}
	if now := r.table.Load().find("b.test", "/"); now == b || now.dests[0].counts() != counts {
		t.Error("a changed route must be new and keep its counts")
	}
	if !b.dests[0].backends[0].gone.Load() || a.dests[0].backends[0].gone.Load() {
		t.Error("wrong instances are gone")
	}
	if n := len(r.backends.known); n != 2 {
		t.Errorf("%d instances known, want 2", n)
	}
}

func FuzzFind(f *testing.F) {
	r := New(Config{})
	err := r.put(Table{Number: 1, Routes: []Route{
		{Host: "a.test"},
		{Host: "a.test", Path: "/api"},
		{Host: "*.test", Path: "/w"},
		{Host: "*"},
	}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add("A.Test.:80", "/api/../x%2f")
	f.Add("[::1]:8080", "//")
	f.Add("a.test..", "/")
	f.Fuzz(func(t *testing.T, host, path string) {
		name, ok := normalHost(host)
		if !ok {
			return
		}
		if again, ok := normalHost(name); !ok || again != name {
			t.Errorf("%q becomes %q becomes %q", host, name, again)
		}
		rt := r.table.Load().find(name, path)
		if rt == nil {
			t.Fatalf("%q %q: the catch-all does not match", name, path)
		}
		if !underPath(path, rt.src.Path) {
			t.Errorf("%q matched %q", path, rt.src.Path)
		}
		if clean, ok := cleanPath(path); ok && isPlainPath(path) && path != "*" && strings.TrimSuffix(path, "/") != strings.TrimSuffix(clean, "/") {
			t.Errorf("plain path %q is cleaned to %q", path, clean)
		}
	})
}
