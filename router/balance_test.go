package router

import (
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// picks counts who gets n requests of a destination with the given instances
// and options; ask may change each request.
func picks(r *Router, rt *route, n int, change func(i int, t *trip)) map[string]int {
	got := map[string]int{}
	for i := range n {
		t := &trip{r: r, rt: rt, begun: r.now()}
		if change != nil {
			change(i, t)
		}
		got[rt.dests[0].pick(nil, t).guid]++
	}
	return got
}

func routeOver(t *testing.T, r *Router, n int, options ...string) *route {
	t.Helper()
	d := Destination{AppGUID: "a", Weight: 1}
	for i := range n {
		d.Backends = append(d.Backends, Backend{InstanceGUID: fmt.Sprintf("i%d", i), Index: i, Addr: "127.0.0.1:1"})
	}
	src := Route{Host: "a.test", Options: map[string]string{}, Destinations: []Destination{d}}
	for i := 0; i < len(options); i += 2 {
		src.Options[options[i]] = options[i+1]
	}
	r.writer.Lock()
	defer r.writer.Unlock()
	rt := r.compile(&src, nil)
	if rt.rules != nil && rt.rules.broken != nil {
		t.Fatal(rt.rules.broken)
	}
	return rt
}

func TestBalance_RoundRobinTakesTurns(t *testing.T) {
	r := New(Config{})
	rt := routeOver(t, r, 4, "loadbalancing", "round-robin")
	for guid, n := range picks(r, rt, 400, nil) {
		if n != 100 {
			t.Errorf("%s got %d", guid, n)
		}
	}
	rt.dests[0].backends[1].ejectedUntil.Store(int64(time.Hour))
	if got := picks(r, rt, 300, nil); got["i1"] != 0 {
		t.Errorf("got %v", got)
	}
}

func TestBalance_LeastConnectionTakesTheIdlest(t *testing.T) {
	r := New(Config{})
	rt := routeOver(t, r, 8, "loadbalancing", "least-connection")
	for i, b := range rt.dests[0].backends {
		b.inFlight.Store(int64(5 + i%4))
	}
	rt.dests[0].backends[5].inFlight.Store(1)
	if got := picks(r, rt, 100, nil); got["i5"] != 100 {
		t.Errorf("got %v", got)
	}
}

func TestBalance_HashMovesOnlyTheShareOfWhoCameOrWent(t *testing.T) {
	r := New(Config{})
	user := func(i int, t *trip) {
		t.ask.head = stdFields{"X-User": {fmt.Sprint("user", i)}}
	}
	where := func(rt *route, i int) string {
		t := &trip{r: r, rt: rt, begun: r.now()}
		user(i, t)
		return rt.dests[0].pick(nil, t).guid
	}
	four := routeOver(t, r, 4, "loadbalancing", "hash", "hash_header", "X-User")
	five := routeOver(t, r, 5, "loadbalancing", "hash", "hash_header", "X-User")
	for guid, n := range picks(r, four, 4000, user) {
		if n < 800 || n > 1200 {
			t.Errorf("%s got %d of 4000", guid, n)
		}
	}
	moved := 0
	for i := range 1000 {
		a, b := where(four, i), where(five, i)
		if a != b {
			if moved++; b != "i4" {
				t.Fatalf("user %d moved from %s to %s", i, a, b)
			}
		}
		if again := where(four, i); again != a {
			t.Fatalf("user %d: %s, then %s", i, a, again)
		}
	}
	if moved < 130 || moved > 270 {
		t.Errorf("%d of 1000 moved", moved)
	}
	// Without the field the address decides.
	byIP := picks(r, four, 100, func(_ int, t *trip) { t.ask.client = netip.MustParseAddr("192.0.2.1") })
	if len(byIP) != 1 {
		t.Errorf("got %v", byIP)
	}
}

func TestBalance_HashBalancePassesOverWhoIsBusy(t *testing.T) {
	r := New(Config{})
	rt := routeOver(t, r, 4, "loadbalancing", "hash", "hash_header", "X-User", "hash_balance", "1.25")
	tr := &trip{r: r, rt: rt, begun: r.now()}
	tr.ask.head = stdFields{"X-User": {"ann"}}
	first := rt.dests[0].pick(nil, tr)
	first.inFlight.Store(100)
	if second := rt.dests[0].pick(nil, tr); second == first {
		t.Error("the busy one was picked again")
	}
}

func TestSlowStart_GivesANewInstanceItsShareBitByBit(t *testing.T) {
	r := New(Config{SlowStart: time.Hour})
	rt := routeOver(t, r, 2)
	a, b := rt.dests[0].backends[0], rt.dests[0].backends[1]
	if got := picks(r, rt, 2000, nil); got["i0"] < 800 || got["i1"] < 800 {
		t.Errorf("both new: got %v", got)
	}
	a.since -= 2 * int64(time.Hour) // warm
	b.since -= int64(15 * time.Minute)
	if got := picks(r, rt, 4000, nil); got["i1"] < 350 || got["i1"] > 800 {
		t.Errorf("a quarter of the way: got %v", got)
	}
	b.since -= 2 * int64(time.Hour)
	rt.dests[0].warmUntil = 0
	if got := picks(r, rt, 2000, nil); got["i1"] < 800 {
		t.Errorf("both warm: got %v", got)
	}
}

func TestBackend_IsEjectedAfterFiveRequestsWithoutAnAnswer(t *testing.T) {
	b := &backend{}
	for range 4 {
		b.brokeOff(0)
	}
	b.reached(0)
	b.brokeOff(0)
	if b.ejectedUntil.Load() != 0 {
		t.Error("ejected though it answered between")
	}
	until := []time.Duration{}
	now := int64(0)
	for range 7 {
		for range 5 {
			b.brokeOff(now)
		}
		until = append(until, time.Duration(b.ejectedUntil.Load()-now))
		now = b.ejectedUntil.Load() + 1
		b.reached(now) // one good answer does not make up for it
	}
	if fmt.Sprint(until) != "[10s 20s 40s 1m20s 2m40s 5m0s 5m0s]" {
		t.Errorf("got %v", until)
	}
	b.reached(now + int64(time.Hour))
	if b.ejectedUntil.Load() != 0 || b.outages.Load() != 0 {
		t.Error("not forgiven after an hour")
	}
}
