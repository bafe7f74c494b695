package judge

import (
	"math"
	"math/rand/v2"
	"slices"
)

// Detection says how soon a regression of the error rate would be found.
type Detection struct {
	// Ratio is how many times more often requests of the candidate fail.
	Ratio float64
	// Median and P90 are after how many requests of the candidate half and
	// nine tenths of such rollouts are rejected. Zero: not within the limit.
	Median, P90 int
	// Failed is how many requests of the candidate have failed by then, in the
	// median.
	Failed int
}

// DetectRatios are the regressions that a person is told about.
var DetectRatios = []float64{1.5, 2, 3, 5, 10, 20}

// detectRuns is how many rollouts Detect plays through.
const detectRuns = 400

// Detect plays rollouts through in which a share rate of the stable version's
// requests fails and ratio times as many of the candidate's, and returns after
// how many requests they were rejected, if that took the candidate at most
// limit requests. share is the candidate's share of the traffic. The same
// question gets the same answer.
func Detect(cfg Config, rate, ratio, share float64, limit int) Detection {
	d := Detection{Ratio: ratio}
	if rate <= 0 || share <= 0 || share >= 1 || ratio <= 1 || cfg.withDefaults().ErrorAlpha <= 0 {
		return d
	}
	rnd := rand.New(rand.NewPCG(1, 1))
	var requests, failed []int
	for range detectRuns {
		if n, bad, ok := detectOnce(cfg, rnd, rate, ratio, share, limit); ok {
			requests, failed = append(requests, n), append(failed, bad)
		}
	}
	slices.Sort(requests)
	slices.Sort(failed)
	if n := len(requests); n >= detectRuns/2 {
		d.Median, d.Failed = requests[detectRuns/2-1], failed[n/2]
	}
	if len(requests) >= detectRuns*9/10 {
		d.P90 = requests[detectRuns*9/10-1]
	}
	return d
}

// detectOnce goes from failure to failure of one rollout.
func detectOnce(cfg Config, rnd *rand.Rand, rate, ratio, share float64, limit int) (candidate, bad int, ok bool) {
	cfg = cfg.withDefaults()
	e := Rate{Tolerance: cfg.ErrorTolerance}
	candidateRate := min(1, rate*ratio)
	perRequest := (1-share)*rate + share*candidateRate
	ofCandidate := share * candidateRate / perRequest
	seen, renew := 0.0, float64(cfg.Renew)
	stable := uint64(0) // failures not told yet: they only ever lower the evidence
	for {
		gap := 1.0
		if perRequest < 1 {
			gap += math.Floor(math.Log(1-rnd.Float64()) / math.Log(1-perRequest))
		}
		for seen += gap; seen >= renew; renew += float64(cfg.Renew) {
			e.Add(share, stable, 0)
			stable = 0
			e.Renew()
		}
		// Golden-ratio assignment is even, so that the share is exact.
		if candidate = int(seen*share + 0.5); candidate > limit {
			return candidate, bad, false
		}
		if rnd.Float64() >= ofCandidate {
			stable++
			continue
		}
		bad++
		e.Add(share, stable, 0)
		stable = 0
		if e.Add(share, 0, 1) >= 1/cfg.ErrorAlpha {
			return max(candidate, bad), bad, true
		}
	}
}

// Detectable returns the smallest of DetectRatios that would have been found
// with a probability of at least nine tenths among n requests of the
// candidate, and zero if none would.
func Detectable(cfg Config, rate, share float64, n int) float64 {
	for _, ratio := range DetectRatios {
		if d := Detect(cfg, rate, ratio, share, n); d.P90 > 0 {
			return ratio
		}
	}
	return 0
}
