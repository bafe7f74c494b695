package main

import (
	"fmt"
	"slices"
	"time"
)

// print prints a block for each measure and then the gates.
func (m *matrix) print(took time.Duration) {
	fmt.Printf("\nweir's router beside others: medians of %d × %d turns of %s, one processor for the proxy, one for the load; %s in all\n",
		m.rounds, m.turns, m.each, toSecond(took))
	fmt.Println("weir: 10,000 hosts, two weighted destinations, metrics, access log, sticky check; nginx: one host, access log; the others: one host, no log.")
	fmt.Printf("cost is CPU of the proxy's processes; × is its ratio to ours; others: processors used by anybody else, ! above %.2f\n", noisy)
	for _, x := range m.measures {
		fmt.Printf("\n%-53s %9s %7s %8s %6s %6s %9s %9s %8s\n", x.what, x.unit, "÷ weir", "req/s", "proxy", "load", "p50 µs", "p99 µs", "others")
		for _, s := range starters {
			if why := m.absent[s.name]; why != "" {
				fmt.Printf("  %-51s %s\n", s.name, why)
			} else if cells := m.cells[x.name][s.name]; len(cells) > 0 {
				fmt.Println(m.line(x, s.name, cells))
			}
		}
	}
	m.printGates()
}

// line is one row of a block.
func (m *matrix) line(x measure, name string, cells []cell) string {
	for _, c := range cells {
		if c.err != nil {
			return fmt.Sprintf("  %-51s %v", name, c.err)
		}
	}
	over := func(f func(cell) float64) float64 { return medianOf(cells, f) }
	ratio := "-"
	if r, ok := m.ratio(x, name, "weir", x.cost); ok {
		ratio = fmt.Sprintf("%.2f", r)
	}
	latency := func(p float64) string {
		if x.plan.Rate == 0 {
			return "-"
		}
		return fmt.Sprintf("%.0f", over(percentile(p)))
	}
	mark := ""
	if slices.ContainsFunc(cells, func(c cell) bool { return c.others > noisy }) {
		mark = "!"
	}
	busy := [3]string{"-", "-", "-"}
	if !x.plan.Hold {
		busy = [3]string{
			fmt.Sprintf("%.0f", over(cell.rate)), fmt.Sprintf("%.2f", over(cell.share)),
			fmt.Sprintf("%.2f", over(func(c cell) float64 { return c.result.CPU.Seconds() / c.result.Elapsed.Seconds() })),
		}
	}
	return fmt.Sprintf("  %-51s %9.3g %7s %8s %6s %6s %9s %9s %7.2f%s", name, over(x.cost), ratio, busy[0], busy[1], busy[2],
		latency(50), latency(99), over(func(c cell) float64 { return c.others }), mark)
}

func percentile(p float64) func(cell) float64 {
	return func(c cell) float64 { return float64(c.result.Percentile(p).Nanoseconds()) / 1e3 }
}

// ratio is the median, over the rounds, of what one proxy needed divided by
// what another needed in the same round: what changed on the machine between
// two rounds cancels out.
func (m *matrix) ratio(x measure, a, b string, figure func(cell) float64) (float64, bool) {
	as, bs := m.cells[x.name][a], m.cells[x.name][b]
	var ratios []float64
	for i := range min(len(as), len(bs)) {
		if as[i].err == nil && bs[i].err == nil {
			ratios = append(ratios, figure(as[i])/figure(bs[i]))
		}
	}
	if len(ratios) == 0 {
		return 0, false
	}
	return median(ratios), true
}

func medianOf(cells []cell, f func(cell) float64) float64 {
	var all []float64
	for _, c := range cells {
		all = append(all, f(c))
	}
	return median(all)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	n := len(v)
	return (v[(n-1)/2] + v[n/2]) / 2
}
