package main

import (
	"context"
	"errors"
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
	{"BenchmarkFastPath", "allocs/op", 0, "allocations per request on the fast path"},
	{"BenchmarkFind/1000000", "ns/op", 250, "look-up among 1,000,000 routes, ns"},
	{"BenchmarkFind/1000000", "B/route", 250, "memory of a route among 1,000,000, bytes"},
	{"BenchmarkApply/1000000", "ns/op", 5000, "update among 1,000,000 routes, ns"},
}

// goBenchmarks runs the benchmarks of package router that have a gate.
func goBenchmarks(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	test := filepath.Join(dir, "router.test")
	build := exec.CommandContext(ctx, "go", "test", "-c", "-o", test, "./router")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("building the router's benchmarks: %w\n%s", err, out)
	}
	figures := map[string]float64{}
	for _, pattern := range []string{"^BenchmarkFastPath$", "^Benchmark(Find|Apply)$/^1000000$"} {
		cmd := exec.CommandContext(ctx, test, "-test.run", "^$", "-test.bench", pattern, "-test.benchmem", "-test.benchtime", "1s")
		cmd.WaitDelay = time.Second
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			return errors.Join(fmt.Errorf("running %s: %w", pattern, err), errors.New(lastLine(string(out))))
		}
		readBenchmarks(string(out), figures)
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
		if i := strings.LastIndexByte(name, '-'); i > 0 { // the number of processors
			name = name[:i]
		}
		for i := 2; i+1 < len(f); i += 2 {
			if v, err := strconv.ParseFloat(f[i], 64); err == nil {
				figures[name+" "+f[i+1]] = v
			}
		}
	}
}
