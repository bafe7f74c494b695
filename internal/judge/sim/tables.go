package main

import (
	"fmt"
	"strings"
)

// falseAlarms is the bar: of a hundred good versions, how many may be rejected.
const falseAlarms = 0.01

// margin is how far chance may carry a figure of so many runs over its bar:
// two standard deviations.
func margin(runs int) float64 {
	m := 0.0
	for x := falseAlarms * (1 - falseAlarms) / float64(runs); m*m < 4*x; {
		m += 0.0005
	}
	return m
}

var errorMethods = []struct {
	name  string
	ours  bool
	begin func() method
}{
	{"threshold > 1 %, 5 windows", false, func() method { return &threshold{} }},
	{"z-test at every look", false, func() method { return &zTest{} }},
	{"Fisher at every look", false, func() method { return &fisher{} }},
	{"weir", true, func() method { return newEvidence(0.01, 0) }},
	{"weir, α 0.5 %", false, func() method { return newEvidence(0.005, 0) }},
	{"weir, tolerance 25 %", false, func() method { return newEvidence(0.01, 0.25) }},
}

// errors prints how errors are found at one share.
func (r *report) errors(share float64, bars map[string][2]float64) {
	cases := []struct {
		name              string
		stable, candidate float64
		requests          int
	}{
		{"0.1 %", 0.001, 0.001, 200_000},
		{"1 %", 0.01, 0.01, 200_000},
		{"0.1→1 %", 0.001, 0.01, 100_000},
		{"1→2 %", 0.01, 0.02, 400_000},
		{"1→5 %", 0.01, 0.05, 60_000},
		{"1→20 %", 0.01, 0.2, 20_000},
		{"all fail", 0.01, 1, 10_000},
	}
	results := make([][]*result, len(errorMethods))
	var tasks []func()
	for i, m := range errorMethods {
		results[i] = make([]*result, len(cases))
		tasks = append(tasks, func() {
			for k, c := range cases {
				results[i][k] = play(r.runs, 1, steady(c.requests, share, c.stable, c.candidate), m.begin)
			}
		})
	}
	parallel(tasks...)
	fmt.Printf("\nErrors, candidate %.0f %%: good versions rejected | requests of the candidate until it is rejected, median/90 %%\n", 100*share)
	fmt.Printf("%-28s", "")
	for _, c := range cases {
		fmt.Printf("%14s", c.name)
	}
	fmt.Println()
	for i, m := range errorMethods {
		fmt.Printf("%-28s", m.name)
		for k, c := range cases {
			if c.stable == c.candidate {
				fmt.Printf("%13.1f%%", 100*results[i][k].rejected())
				continue
			}
			fmt.Printf("%14s", soon(results[i][k]))
		}
		fmt.Println()
	}
	for i, m := range errorMethods {
		if !m.ours {
			continue
		}
		for k, c := range cases {
			if c.stable == c.candidate {
				r.alarm("good version at "+c.name, results[i][k])
			} else if bar, ok := bars[c.name]; ok {
				r.soon(c.name, results[i][k], bar)
			}
		}
	}
}

// soon shows when half and nine tenths were rejected.
func soon(res *result) string {
	var parts []string
	for _, q := range []float64{0.5, 0.9} {
		if n, ok := res.quantile(q); ok {
			parts = append(parts, fmt.Sprint(n))
		} else {
			parts = append(parts, "-")
		}
	}
	return strings.Join(parts, "/")
}

func (r *report) alarm(name string, res *result) {
	got := res.rejected()
	fmt.Printf("  %-52s %6.2f %%   bar ≤ 1 %%   %s\n", name+": rejected", 100*got, r.check(got <= falseAlarms+margin(res.runs)))
}

func (r *report) soon(name string, res *result, bar [2]float64) {
	median, ok := res.quantile(0.5)
	most, okMost := res.quantile(0.9)
	fmt.Printf("  %-52s %6s     bar ≤ %.0f/%.0f   %s\n", name+": requests, median/90 %", soon(res), bar[0], bar[1],
		r.check(ok && okMost && float64(median) <= bar[0] && float64(most) <= bar[1]))
}

// wholeRollouts prints what happens over all steps.
func (r *report) wholeRollouts() {
	const perStep = 50_000
	cases := []struct {
		name   string
		stages []stage
		good   bool
	}{
		{"both 1 %", whole(perStep, 0.01, 1), true},
		{"both 0.1 %", whole(perStep, 0.001, 1), true},
		{"incident", incident(perStep, 0.01), true},
		{"1.1 times", whole(perStep, 0.01, 1.1), false},
		{"1→5 %", whole(perStep, 0.01, 5), false},
		{"late 1→5 %", late(perStep, 0.01, 5), false},
	}
	results := make([][]*result, len(errorMethods))
	var tasks []func()
	for i, m := range errorMethods {
		results[i] = make([]*result, len(cases))
		tasks = append(tasks, func() {
			for k, c := range cases {
				results[i][k] = play(r.runs/2, 2, c.stages, m.begin)
			}
		})
	}
	parallel(tasks...)
	fmt.Printf("\nWhole rollout 1, 5, 25, 50 %%, %d requests each: rejected; for regressions the candidate's requests, median/90 %%\n%-28s", perStep, "")
	for _, c := range cases {
		fmt.Printf("%14s", c.name)
	}
	fmt.Println()
	for i, m := range errorMethods {
		fmt.Printf("%-28s", m.name)
		for k, c := range cases {
			if strings.Contains(c.name, "→") {
				fmt.Printf("%14s", soon(results[i][k]))
			} else {
				fmt.Printf("%13.1f%%", 100*results[i][k].rejected())
			}
		}
		fmt.Println()
	}
	for i, m := range errorMethods {
		if !m.ours {
			continue
		}
		for k, c := range cases {
			if c.good {
				r.alarm("whole rollout, "+c.name, results[i][k])
			}
		}
		r.soon("late 1→5 % at 50 %", results[i][5], [2]float64{1000, 4000})
	}
}

// sticky prints what clients do that stay with a version.
func (r *report) sticky() {
	cases := []struct {
		name      string
		kind      clustering
		candidate float64
		shares    []float64
	}{
		{"independent", independent, 0.01, []float64{0.05}},
		{"2 % fail half", halfBroken, 0.01, []float64{0.05}},
		{"bots", bots, 0.01, []float64{0.05}},
		{"all steps, 2 %", halfBroken, 0.01, []float64{0.01, 0.05, 0.25, 0.5}},
		{"all steps, bots", bots, 0.01, []float64{0.01, 0.05, 0.25, 0.5}},
		{"1→5 %", independent, 0.05, []float64{0.05}},
	}
	fmt.Printf("\nClients stay with their version (5 %%; 4000 clients a step): rejected; requests for the regression\n%-28s", "")
	for _, c := range cases {
		fmt.Printf("%17s", c.name)
	}
	var ours []*result
	for _, first := range []bool{false, true} {
		results := make([]*result, len(cases))
		var tasks []func()
		for k, c := range cases {
			tasks = append(tasks, func() {
				results[k] = playSticky(r.runs/2, 3, 4000, c.shares, c.kind, c.candidate, first)
			})
		}
		parallel(tasks...)
		fmt.Printf("\n%-28s", map[bool]string{false: "every failure counts", true: "weir: a client's first"}[first])
		for k, c := range cases {
			if c.candidate > 0.01 {
				fmt.Printf("%17s", soon(results[k]))
			} else {
				fmt.Printf("%16.1f%%", 100*results[k].rejected())
			}
		}
		ours = results
	}
	fmt.Println()
	for k, c := range cases {
		if c.candidate <= 0.01 {
			r.alarm("sticky, "+c.name, ours[k])
		}
	}
}

// latency prints how slowness is found at one share.
func (r *report) latency(share float64) {
	cases := []struct {
		name     string
		l        latencies
		later    float64
		requests int
		good     bool
		bar      [2]float64
	}{
		{"good", latencies{sigma: 0.5}, 0, 100_000, true, [2]float64{}},
		{"both +50 %", latencies{sigma: 0.5}, 0.5, 100_000, true, [2]float64{}},
		{"both stall", latencies{sigma: 0.5, stalls: 0.003}, 0, 100_000, true, [2]float64{}},
		{"+20 %, σ 0.5", latencies{sigma: 0.5, slower: 0.2}, 0, 60_000, false, [2]float64{100, 200}},
		{"+20 %, σ 1", latencies{sigma: 1, slower: 0.2}, 0, 100_000, false, [2]float64{350, 700}},
		{"tail 5 % ×5", latencies{sigma: 0.5, tail: 0.05}, 0, 60_000, false, [2]float64{200, 400}},
	}
	methods := []struct {
		name  string
		begin func() judging
	}{
		{"p99 > 1.5 × baseline, 5 windows", func() judging { return &slowTail{} }},
		{"Mann–Whitney at every look", func() judging { return &mannWhitney{} }},
		{"weir", func() judging { return &slowness{limit: 100} }},
		{"weir, α 0.3 %", func() judging { return &slowness{limit: 1 / 0.003} }},
		{"weir, tolerance 10 %", func() judging { return &slowness{limit: 100, latency: tolerant()} }},
	}
	results := make([][]*result, len(methods))
	var tasks []func()
	for i, m := range methods {
		results[i] = make([]*result, len(cases))
		tasks = append(tasks, func() {
			for k, c := range cases {
				c.l.share = share
				n := r.runs / 3
				if !c.good {
					n = r.runs // their quantiles are held to bars, to within a few requests
				}
				results[i][k] = playLatency(n, 4, c.requests, c.l, c.later, m.begin)
			}
		})
	}
	parallel(tasks...)
	fmt.Printf("\nLatency, candidate %.0f %%: good versions rejected | requests of the candidate until it is rejected, median/90 %%\n%-34s", 100*share, "")
	for _, c := range cases {
		fmt.Printf("%14s", c.name)
	}
	fmt.Println()
	for i, m := range methods {
		fmt.Printf("%-34s", m.name)
		for k, c := range cases {
			if c.good {
				fmt.Printf("%13.1f%%", 100*results[i][k].rejected())
			} else {
				fmt.Printf("%14s", soon(results[i][k]))
			}
		}
		fmt.Println()
	}
	for k, c := range cases {
		switch {
		case c.good:
			r.alarm("latency, "+c.name, results[2][k])
		case share == 0.05:
			r.soon("latency "+c.name, results[2][k], c.bar)
		}
	}
}

// together prints the promise itself: everything at once, default settings.
func (r *report) together() {
	half := r.runs / 2
	results := make([]*result, 2)
	parallel(func() { results[0] = everything(half, 5, 50_000) }, func() { results[1] = everything(half, 6, 50_000) })
	all := &result{runs: 2 * half, requests: append(results[0].requests, results[1].requests...)}
	fmt.Println("\nErrors and latency together, default settings, 1, 5, 25, 50 %, cold instances at the beginning and in the middle of each step, an incident in the last")
	r.alarm("good version", all)
}
