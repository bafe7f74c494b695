package main

import "testing"

// The figures of the whole simulation, with few rollouts and fixed seeds.
func TestSim_FindsRegressionsInTime(t *testing.T) {
	own := func() method { return newEvidence(0.01, 0) }
	for _, tt := range []struct {
		name              string
		stable, candidate float64
		median, most      int
	}{
		{"1→5 %", 0.01, 0.05, 170, 350}, {"1→20 %", 0.01, 0.2, 20, 45}, {"all fail", 0.01, 1, 5, 5},
	} {
		res := play(200, 1, steady(60_000, 0.05, tt.stable, tt.candidate), own)
		median, _ := res.quantile(0.5)
		most, ok := res.quantile(0.9)
		if !ok || median > tt.median || most > tt.most {
			t.Errorf("%s: found after %s requests, want %d/%d", tt.name, soon(res), tt.median, tt.most)
		}
	}
	res := playLatency(50, 4, 10_000, latencies{share: 0.05, sigma: 0.5, slower: 0.2}, 0, func() judging { return &slowness{limit: 100} })
	if most, ok := res.quantile(0.9); !ok || most > 250 {
		t.Errorf("latency +20 %%: found after %s requests, want 100/200 or a little more", soon(res))
	}
	if late := play(60, 2, late(50_000, 0.01, 5), own); len(late.requests) < 57 {
		t.Errorf("a late regression was found in %d of %d rollouts", len(late.requests), late.runs)
	}
}

func TestSim_SparesGoodVersions(t *testing.T) {
	own := func() method { return newEvidence(0.01, 0) }
	for name, res := range map[string]*result{
		"whole rollout":    play(150, 7, whole(20_000, 0.01, 1), own),
		"with an incident": play(150, 8, incident(20_000, 0.01), own),
		"clustered":        playSticky(60, 9, 1500, []float64{0.01, 0.05, 0.25, 0.5}, halfBroken, 0.01, true),
		"together":         everything(6, 10, 10_000),
		"standing still":   playLatency(50, 4, 50_000, latencies{share: 0.05, sigma: 0.5, stalls: 0.003}, 0, func() judging { return &slowness{limit: 100} }),
	} {
		if n := len(res.requests); float64(n) > 0.04*float64(res.runs) {
			t.Errorf("%s: %d of %d good versions were rejected", name, n, res.runs)
		}
	}
	if res := play(60, 8, incident(20_000, 0.01), func() method { return &zTest{} }); res.rejected() < 0.5 {
		t.Errorf("a z-test at every look rejected only %v of good versions: the incident is not one", res.rejected())
	}
}
