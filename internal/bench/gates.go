package main

import (
	"fmt"
	"slices"
)

// gate is what weir must be beside another: its figure divided by the other's
// is to be at most must, and is wanted at most want.
type gate struct {
	measure, peer string
	must, want    float64
	figure        func(cell) float64 // nil: the measure's cost
	what          string             // if it is not the cost
}

// cpuGates are router.md's. Where it says "n times below a peer", the ratio is
// 1/n. Debian's Caddy is older than the one the goal was set beside, and
// slower.
var cpuGates = []gate{
	{measure: "h1-64", peer: "nginx", must: 0.95, want: 0.85},
	{measure: "h1-64", peer: "haproxy", must: 0.85, want: 0.75},
	{measure: "h1-64", peer: "reverseproxy", must: 1 / 3.8, want: 1 / 4.4},
	{measure: "h1-64", peer: "caddy", must: 1 / 7.0, want: 1 / 8.0},
	{measure: "h1-256", peer: "nginx", must: 0.95, want: 0.85},
	{measure: "h1-256", peer: "haproxy", must: 0.85, want: 0.75},
	{measure: "h1-tls", peer: "nginx", must: 1.15, want: 1.05},
	{measure: "h1-tls", peer: "haproxy", must: 1.05, want: 1.0},
	{measure: "h2-tls", peer: "nginx", must: 0.95, want: 0.78},
	{measure: "h2-tls", peer: "haproxy", must: 1.1, want: 0.92},
	{measure: "h2-tls", peer: "caddy", must: 1 / 10.0, want: 1 / 12.9},
	{measure: "new-conn", peer: "nginx", must: 1.3, want: 1.15},
	{measure: "new-conn", peer: "reverseproxy", must: 1 / 2.5, want: 1 / 2.5},
	{measure: "new-conn", peer: "caddy", must: 1 / 2.5, want: 1 / 2.5},
	{measure: "large", peer: "nginx", must: 0.5, want: 0.3},
	{measure: "rate", peer: "nginx", must: 1.1, want: 1.0},
	{measure: "rate", peer: "nginx", must: 1.05, want: 1.0, figure: percentile(50), what: "p50"},
	{measure: "rate", peer: "nginx", must: 1.4, want: 1.1, figure: percentile(99), what: "p99"},
	{measure: "idle", must: 8, want: 6.5},
	{measure: "idle", peer: "reverseproxy", must: 1 / 3.0, want: 1 / 3.0},
	{measure: "idle", peer: "caddy", must: 1 / 3.0, want: 1 / 3.0},
}

// printGates says which gates hold. One without a peer is about the figure.
func (m *matrix) printGates() {
	fmt.Printf("\n%-50s %9s %9s %9s\n", "gates", "measured", "must be ≤", "wanted ≤")
	held, judged := 0, 0
	for _, g := range cpuGates {
		i := slices.IndexFunc(m.measures, func(x measure) bool { return x.name == g.measure })
		if i < 0 {
			continue
		}
		x := m.measures[i]
		figure, what := x.cost, x.unit
		if g.figure != nil {
			figure, what = g.figure, g.what
		}
		name := fmt.Sprintf("  %s: %s", g.measure, what)
		got, ok := m.absolute(x, figure), true
		if g.peer != "" {
			name += " beside " + g.peer
			got, ok = m.ratio(x, "weir", g.peer, figure)
		}
		if !ok || got < 0 {
			fmt.Printf("%-50s %9s %9.3f %9.3f  not measured\n", name, "-", g.must, g.want)
			continue
		}
		judged++
		verdict := "MISSED"
		if got <= g.must {
			held++
			verdict = "holds"
		}
		if got <= g.want {
			verdict = "holds, and the target"
		}
		fmt.Printf("%-50s %9.3f %9.3f %9.3f  %s\n", name, got, g.must, g.want, verdict)
	}
	fmt.Printf("%d of %d measured gates hold\n", held, judged)
}

// absolute is weir's own median, negative if there is none.
func (m *matrix) absolute(x measure, figure func(cell) float64) float64 {
	cells := slices.DeleteFunc(slices.Clone(m.cells[x.name]["weir"]), func(c cell) bool { return c.err != nil })
	if len(cells) == 0 {
		return -1
	}
	return medianOf(cells, figure)
}
