package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// goGates are those of a package's Go benchmarks: a line of this name is to
// say at most so much in this unit.
var goGates = []struct {
	bench, unit string
	must        float64
	what        string
}{
	{"BenchmarkFastPath/GET", "allocs/op", 0, "allocations per request on the fast path: GET"},
	{"BenchmarkFastPath/pinned_session", "allocs/op", 0, "  a session that is held to its instance"},
	{"BenchmarkFastPath/POST", "allocs/op", 0, "  POST"},
	{"BenchmarkFastPath/chunked_POST", "allocs/op", 0, "  a chunked POST"},
	{"BenchmarkFastPath/chunked_answer", "allocs/op", 0, "  a chunked answer"},
	{"BenchmarkFind/1000000", "ns/op", 250, "look-up among 1,000,000 routes, ns"},
	{"BenchmarkFind/1000000", "B/route", 250, "memory of a route among 1,000,000, bytes"},
	{"BenchmarkApply/1000000", "ns/op", 5000, "update among 1,000,000 routes, ns"},
}

// goBench are benchmarks of a package, and how often or long each runs.
type goBench struct{ pattern, time string }

// figuresOf runs benchmarks of a package and returns their figures, under
// "name unit". The package is named by its directory.
func figuresOf(ctx context.Context, pkg string, benches ...goBench) (map[string]float64, error) {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	test := filepath.Join(dir, "bench.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", test, pkg)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the benchmarks of %s: %w\n%s", pkg, err, out)
	}
	figures := map[string]float64{}
	for _, b := range benches {
		cmd := exec.CommandContext(ctx, test, "-test.run", "^$", "-test.bench", b.pattern, "-test.benchmem", "-test.benchtime", b.time)
		cmd.WaitDelay = time.Second
		cmd.Dir = pkg
		out, err := cmd.CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("running %s of %s: %w: %s", b.pattern, pkg, err, lastLine(string(out)))
		}
		readBenchmarks(string(out), figures)
	}
	return figures, nil
}

// goGated runs the benchmarks of package router that have a gate.
func goGated(ctx context.Context) error {
	figures, err := figuresOf(ctx, "./router", goBench{"^BenchmarkFastPath$", "10000x"}, goBench{"^Benchmark(Find|Apply)$/^1000000$", "1s"})
	if err != nil {
		return err
	}
	fmt.Printf("\n%-50s %9s %9s\n", "gates of go test -bench", "measured", "must be ≤")
	for _, g := range goGates {
		got, ok := figures[g.bench+" "+g.unit]
		verdict := "MISSED"
		switch {
		case !ok:
			fmt.Printf("  %-48s %9s %9.0f  not measured: no %s\n", g.what, "-", g.must, g.bench)
			continue
		case got <= g.must:
			verdict = "holds"
		}
		fmt.Printf("  %-48s %9.4g %9.0f  %s\n", g.what, got, g.must, verdict)
	}
	return nil
}

// readBenchmarks takes the figures from lines of go test -bench, under
// "name unit".
func readBenchmarks(out string, figures map[string]float64) {
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) < 4 || !strings.HasPrefix(f[0], "Benchmark") {
			continue
		}
		name := f[0]
		if i := strings.LastIndexByte(name, '-'); i > 0 {
			if _, err := strconv.Atoi(name[i+1:]); err == nil { // the number of processors
				name = name[:i]
			}
		}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				figures[name+" "+f[i+1]] = v
			}
		}
	}
}
