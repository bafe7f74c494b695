package judge

import "math"

// onsets is evidence whose hypotheses begin at different occasions. Those that
// differ by nothing else are multiplied by the same factors, so that one
// number stands for all of them: the logarithm of their weighted sum, relative
// to the weight of those that begin at once.
//
// Those that begin at once have weight first; those that begin at the k-th
// later occasion share the rest as notBegun(k) - notBegun(k+1), so that all sum
// up to one.
type onsets struct {
	Begun uint32  // later occasions so far
	Peak  float64 // the largest evidence so far
}

// notBegun is the share of the hypotheses that begin later which begin at the
// k-th occasion or after it. It falls slowly, so that the weight of a single
// occasion falls as k^-1.3, little faster than it has to for a sum of one.
func notBegun(k uint32) float64 { return math.Pow(float64(k), -0.3) }

// begin adds hypotheses that begin now to each of the sums.
func (o *onsets) begin(first float64, sums ...[]float64) {
	o.Begun++
	more := (1 - first) * (notBegun(o.Begun) - notBegun(o.Begun+1)) / first
	for _, s := range sums {
		for i := range s {
			s[i] = math.Log(math.Exp(min(s[i], maxLog)) + more)
		}
	}
}

// evidence returns the evidence if the mean of the sums is mean. Hypotheses
// that have not begun bet nothing and count as one.
func (o *onsets) evidence(first, mean float64) float64 {
	return float64(first*mean) + float64((1-first)*notBegun(o.Begun+1))
}

// note remembers the largest evidence, and returns it as it is.
func (o *onsets) note(evidence float64) float64 {
	o.Peak = max(o.Peak, evidence)
	return evidence
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
