package judge

import "math"

// firstWeight is the weight of the hypotheses that the regression was there
// from the beginning; those that it began later share the rest.
const firstWeight = 0.65

// beginWeight returns the weight of the hypotheses that begin at the k-th
// occasion, counted from zero. All of them sum up to one.
func beginWeight(k uint32) float64 {
	if k == 0 {
		return firstWeight
	}
	n := float64(k)
	return (1 - firstWeight) / (n * (n + 1))
}

// unbegun returns the weight of the hypotheses that begin after occasion k.
// They bet nothing yet.
func unbegun(k uint32) float64 { return (1 - firstWeight) / float64(k+1) }

// onsets is evidence whose hypotheses begin at different occasions. Those that
// differ by nothing else are multiplied by the same factors, so that one
// number stands for all of them: the logarithm of their weighted sum, relative
// to firstWeight.
type onsets struct {
	Begun uint32  // occasions after the first
	Peak  float64 // the largest evidence so far
}

// begin adds hypotheses that begin now to each of the sums.
func (o *onsets) begin(sums ...[]float64) {
	o.Begun++
	more := beginWeight(o.Begun) / firstWeight
	for _, s := range sums {
		for i := range s {
			s[i] = math.Log(math.Exp(min(s[i], maxLog)) + more)
		}
	}
}

// evidence returns the evidence if the mean of the sums is mean.
func (o *onsets) evidence(mean float64) float64 {
	e := firstWeight*mean + unbegun(o.Begun)
	o.Peak = max(o.Peak, e)
	return e
}

// maxLog bounds logarithms of evidence, so that nothing overflows.
const maxLog = 300

// mixture returns Σ weight·exp(log).
func mixture(logs, weights []float64) float64 {
	sum := 0.0
	for i, l := range logs {
		sum += float64(weights[i] * math.Exp(min(l, maxLog)))
	}
	return sum
}
