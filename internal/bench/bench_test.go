package main

import (
	"errors"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"weir/internal/bench/load"
)

func TestReadBenchmarks_TakesEveryFigureOfALine(t *testing.T) {
	figures := map[string]float64{}
	readBenchmarks("goos: linux\nBenchmarkFind/1000000-2   \t 1000\t 156.5 ns/op\t 140.0 B/route\t 0 allocs/op\nBenchmarkStage/files=100/built-in  5  20 own-ms\nPASS\n", figures)
	for name, want := range map[string]float64{
		"BenchmarkFind/1000000 ns/op": 156.5, "BenchmarkFind/1000000 B/route": 140, "BenchmarkFind/1000000 allocs/op": 0,
		"BenchmarkStage/files=100/built-in own-ms": 20, // on one processor, which is not named
	} {
		if got, ok := figures[name]; !ok || got != want {
			t.Errorf("%s: got %v, want %v", name, figures[name], want)
		}
	}
}

func TestMatrix_RatioIsTheMedianOfTheRounds(t *testing.T) {
	x := measure{name: "x", cost: perRequest}
	at := func(us ...int) (cells []cell) {
		for _, n := range us {
			cells = append(cells, cell{cpu: time.Duration(n) * time.Microsecond, result: load.Result{Requests: 1}})
		}
		return cells
	}
	// The second round was on a machine half as fast.
	m := matrix{cells: map[string]map[string][]cell{"x": {"weir": at(10, 20, 11), "nginx": at(20, 40, 20)}}}
	if got, ok := m.ratio(x, "weir", "nginx", x.cost); !ok || got != 0.5 {
		t.Errorf("got %v, %t, want 0.5", got, ok)
	}
	m.cells["x"]["nginx"][0].err, m.cells["x"]["nginx"][1].err = errors.New("wrong answers"), errors.New("wrong answers")
	if got, ok := m.ratio(x, "weir", "nginx", x.cost); !ok || got != 0.55 {
		t.Errorf("with two rounds that failed: got %v, %t, want 0.55", got, ok)
	}
	if _, ok := m.ratio(x, "weir", "caddy", x.cost); ok {
		t.Error("got a ratio to a proxy that is not there")
	}
}

func TestSlow_ReadsWhatSlowhttptestSays(t *testing.T) {
	for out, want := range map[string]string{
		"Test ended on 11th second\nExit status:\x1b[1;36m No open connections left\n": "the last after 11 s",
		"Test ended on 21th second\nExit status:\x1b[1;36m Hit test time limit\n":      "not all ended in 20s",
	} {
		if got := attackerSaw([]byte(out)); got != want {
			t.Errorf("%q: got %q, want %q", out, got, want)
		}
	}
}

func TestClients_CountsThoseOfTheRouter(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("/proc/net/tcp is needed")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range 3 {
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	c := newClients(ln.Addr().String())
	if got := c.count(); got != 3 {
		t.Errorf("got %d connections, want 3", got)
	}
	if got := tcpMemory(); got < 0 || got%int64(os.Getpagesize()) != 0 {
		t.Errorf("got %d bytes of memory", got)
	}
}
